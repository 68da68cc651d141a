//! Comma-separated values: any with a header, k6's, vegeta's.
//!
//! *Source*: k6, "CSV" output; vegeta `lib/results.go`, `NewCSVEncoder`.

use super::{Args, entry::Raw, error::LineProblem, format::Format};
use crate::scenario::{
    data::text::{Field, fields},
    error::shown,
};

/// Names that columns and keys of times mostly have.
pub(super) const TIMES: &[&str] = &[
    "time",
    "timestamp",
    "@timestamp",
    "ts",
    "time_iso8601",
    "time_local",
    "start_time",
    "msec",
    "datetime",
    "date",
];
/// Of methods.
pub(super) const METHODS: &[&str] = &["method", "request_method", "verb", "http_method"];
/// Of paths and URLs.
pub(super) const TARGETS: &[&str] =
    &["path", "url", "uri", "request_uri", "request", "target", "http_path"];

/// The columns of vegeta's files, which have no header.
const VEGETA: (usize, usize, usize) = (0, 9, 10);

/// Where things are in a line.
#[derive(Clone, Copy, Debug)]
struct Columns {
    time: usize,
    method: Option<usize>,
    target: Option<usize>,
    rate: Option<usize>,
    /// k6: which metric a line is about.
    metric: Option<usize>,
}

/// The lines of a file of values.
pub(super) struct Table {
    names: Names,
    per: f64,
    columns: Option<Columns>,
}

struct Names {
    time: Option<String>,
    method: Option<String>,
    target: Option<String>,
    rate: Option<String>,
}

impl Table {
    pub(super) fn new(format: Format, args: &Args) -> Self {
        let (time, method, target) = VEGETA;
        let vegeta =
            Columns { time, method: Some(method), target: Some(target), rate: None, metric: None };
        Self {
            names: Names {
                time: args.time_field.clone(),
                method: args.method_field.clone(),
                target: args.path_field.clone(),
                rate: args.rate_field.clone(),
            },
            per: args.per.as_secs_f64(),
            columns: (format == Format::VegetaCsv).then_some(vegeta),
        }
    }

    /// The fields of a line; nothing of the header.
    pub(super) fn fields<'a>(
        &mut self,
        line: &'a str,
    ) -> Result<Option<Vec<Field<'a>>>, LineProblem> {
        let fields = fields(line).map_err(|_| LineProblem::NotOfForm("line of values: quotes"))?;
        if self.columns.is_some() {
            return Ok(Some(fields));
        }
        let (columns, is_header) = self.find(&fields)?;
        self.columns = Some(columns);
        Ok((!is_header).then_some(fields))
    }

    /// The columns by the first line, and whether it names them.
    fn find(&self, first: &[Field<'_>]) -> Result<(Columns, bool), LineProblem> {
        let at = |name: &str| first.iter().position(|field| field.text.eq_ignore_ascii_case(name));
        let of = |name: &Option<String>, known: &[&str]| match name {
            Some(name) => at(name).ok_or_else(|| LineProblem::NoColumn(shown(name))).map(Some),
            None => Ok(known.iter().find_map(|name| at(name))),
        };
        let names = &self.names;
        let time = of(&names.time, TIMES)?;
        let begins_with_time =
            first.first().is_some_and(|field| super::time::parse(&field.text).is_some());
        if time.is_none() && begins_with_time {
            let columns = Columns {
                time: 0,
                method: None,
                target: None,
                rate: names.rate.as_ref().map(|_| 1),
                metric: None,
            };
            return Ok((columns, false));
        }
        let columns = Columns {
            time: time.unwrap_or(0),
            method: of(&names.method, METHODS)?,
            target: of(&names.target, TARGETS)?,
            rate: of(&names.rate, &[])?,
            metric: at("metric_name"),
        };
        Ok((columns, true))
    }

    /// What a line has; nothing if it is of another metric.
    pub(super) fn read<'a>(&self, fields: &'a [Field<'_>]) -> Result<Option<Raw<'a>>, LineProblem> {
        let Some(columns) = self.columns else { return Ok(None) };
        let text = |index: usize| fields.get(index).map(|field| field.text.as_ref());
        if columns.metric.is_some_and(|metric| text(metric) != Some("http_reqs")) {
            return Ok(None);
        }
        let time = text(columns.time)
            .ok_or(LineProblem::NotOfForm("line of as many values as the first"))?;
        let of = |column: Option<usize>| column.and_then(text).unwrap_or_default();
        let rate = match columns.rate {
            Some(column) => Some(rate(text(column).unwrap_or_default(), self.per)?),
            None => None,
        };
        let (method, target) = (of(columns.method), of(columns.target));
        let mut raw = match target.split_once(' ') {
            Some(_) => Raw::of_request_line(time, target),
            None => Raw { time, method, target, rate: None },
        };
        raw.rate = rate;
        Ok(Some(raw))
    }
}

/// A rate per second of a number of requests in `per` seconds.
pub(super) fn rate(text: &str, per: f64) -> Result<f64, LineProblem> {
    let rate = text.trim().parse::<f64>().map(|count| count / per);
    match rate {
        Ok(rate) if (0.0..=highwater_model::units::RATE_PER_SEC_MAX).contains(&rate) => Ok(rate),
        _ => Err(LineProblem::Rate(shown(text))),
    }
}
