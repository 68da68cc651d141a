//! A line as a request.

use super::{
    Args, access,
    error::LineProblem,
    format::Format,
    json::Objects,
    table::Table,
    time::{Clock, Instant},
};
use crate::scenario::error::shown;

/// A request, or a point of a curve.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) at: Instant,
    /// Empty if the line does not say.
    pub(super) method: String,
    /// A path or URL; empty if the line does not say.
    pub(super) target: String,
    /// The requests per second, if the line is a point.
    pub(super) rate: Option<f64>,
}

/// What a line has, before its time is read.
#[derive(Debug, Default)]
pub(super) struct Raw<'a> {
    pub(super) time: &'a str,
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) rate: Option<f64>,
}

impl<'a> Raw<'a> {
    /// `GET /path HTTP/1.1`.
    pub(super) fn of_request_line(time: &'a str, line: &'a str) -> Self {
        let mut words = line.splitn(3, ' ');
        let method = words.next().unwrap_or_default();
        Self { time, method, target: words.next().unwrap_or_default(), rate: None }
    }
}

/// Reads the lines of one file.
pub(super) struct Reader {
    format: Format,
    clock: Clock,
    table: Table,
    objects: Objects,
}

impl Reader {
    pub(super) fn new(format: Format, args: &Args) -> Self {
        let (table, objects) = (Table::new(format, args), Objects::new(args));
        Self { format, clock: Clock::default(), table, objects }
    }

    /// The request of a line; nothing if the line is of something else.
    pub(super) fn read(&mut self, line: &str) -> Result<Option<Entry>, LineProblem> {
        if line.starts_with('#') {
            return Ok(None);
        }
        let clock = &mut self.clock;
        let raw = match self.format {
            Format::Combined => access::combined(line)?,
            Format::Envoy => access::envoy(line)?,
            Format::Alb => access::alb(line)?,
            Format::Csv | Format::K6Csv | Format::VegetaCsv => {
                let Some(fields) = self.table.fields(line)? else { return Ok(None) };
                return self.table.read(&fields)?.map(|raw| entry(clock, &raw)).transpose();
            }
            Format::K6Json => return self.objects.k6(line, clock),
            Format::VegetaJson => return self.objects.vegeta(line, clock),
            Format::Json => return self.objects.read(line, clock).map(Some),
            // These are told before a reader is made.
            Format::Auto | Format::Prometheus => return Ok(None),
        };
        entry(clock, &raw).map(Some)
    }
}

/// The entry of what a line has.
pub(super) fn entry(clock: &mut Clock, raw: &Raw<'_>) -> Result<Entry, LineProblem> {
    let at = clock.parse(raw.time).ok_or_else(|| LineProblem::Time(shown(raw.time)))?;
    Ok(Entry { at, method: raw.method.into(), target: raw.target.into(), rate: raw.rate })
}
