//! A rate over time: counts of requests in bins, or points as they are.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use highwater_model::{
    spec::CURVE_POINTS_MAX,
    time::{Nanos, SECOND},
};

use super::{
    Written,
    error::ImportError,
    time::{Instant, shown},
};

/// The most bins or points in memory: ten times what a curve may have, since a wrong time is told
/// better with the others.
const KEPT_MAX: usize = 10 * CURVE_POINTS_MAX;

/// Requests by the span that they are in; spans begin at multiples of the resolution since 1970.
#[derive(Debug)]
pub(super) struct Bins {
    width: i64,
    counts: BTreeMap<i64, u64>,
}

impl Bins {
    pub(super) fn new(resolution: Nanos) -> Self {
        Self { width: i64::try_from(resolution.0).unwrap_or(i64::MAX), counts: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Counts a request.
    pub(super) fn add(&mut self, at: Instant) -> Result<(), ImportError> {
        let bin = at.at.div_euclid(self.width);
        *self.counts.entry(bin).or_default() += 1;
        if self.counts.len() > KEPT_MAX {
            return Err(ImportError::TooManyBins { limit: KEPT_MAX });
        }
        Ok(())
    }

    /// Writes every span from the first to the last, the empty ones too.
    pub(super) fn write(self, out: &mut dyn Write, file: &str) -> Result<Written, ImportError> {
        let (Some((first, _)), Some((last, _))) =
            (self.counts.first_key_value(), self.counts.last_key_value())
        else {
            return Ok(Written { rows: 0, notes: Vec::new() });
        };
        let (first, last) = (*first, *last);
        let spans = last.abs_diff(first).saturating_add(1);
        if spans > CURVE_POINTS_MAX as u64 {
            let width = (self.width as u64).saturating_mul(spans).div_ceil(CURVE_POINTS_MAX as u64);
            return Err(ImportError::TooManyPoints {
                first: shown(first.saturating_mul(self.width)),
                last: shown(last.saturating_mul(self.width)),
                points: spans,
                limit: CURVE_POINTS_MAX,
                // A round number, and one more for where the spans begin.
                needed: Nanos((width / SECOND + 1) * SECOND),
            });
        }
        let seconds = self.width as f64 / SECOND as f64;
        let mut rows = 0;
        let mut row = |bin: i64, count: u64| {
            rows += 1;
            let at = Nanos((bin.abs_diff(first)).saturating_mul(self.width as u64));
            line(out, at, count as f64 / seconds)
        };
        for bin in first..=last {
            row(bin, self.counts.get(&bin).copied().unwrap_or(0)).map_err(ImportError::Write)?;
        }
        if first == last {
            // Two points make a curve.
            row(first + 1, 0).map_err(ImportError::Write)?;
        }
        let mut notes = vec![format!(
            "in the scenario: traffic: {{phases: [{{curve: {{file: {file}, interpolation: step}}}}]}}"
        )];
        notes.push(format!("the curve begins at {}", shown(first.saturating_mul(self.width))));
        Ok(Written { rows, notes })
    }
}

/// Points as they were recorded; those of one time are added up.
#[derive(Debug, Default)]
pub(super) struct Points {
    rates: BTreeMap<i64, f64>,
}

impl Points {
    /// Adds a rate in requests per second.
    pub(super) fn add(&mut self, at: Instant, rate: f64) -> Result<(), ImportError> {
        *self.rates.entry(at.at).or_default() += rate;
        if self.rates.len() > KEPT_MAX {
            return Err(ImportError::TooManyBins { limit: KEPT_MAX });
        }
        Ok(())
    }

    /// Writes all points.
    pub(super) fn write(self, out: &mut dyn Write, file: &str) -> Result<Written, ImportError> {
        let (Some((first, _)), Some((last, rate))) =
            (self.rates.first_key_value(), self.rates.last_key_value())
        else {
            return Ok(Written { rows: 0, notes: Vec::new() });
        };
        if self.rates.len() > CURVE_POINTS_MAX {
            let needed = last.abs_diff(*first) / CURVE_POINTS_MAX as u64;
            return Err(ImportError::TooManyPoints {
                first: shown(*first),
                last: shown(*last),
                points: self.rates.len() as u64,
                limit: CURVE_POINTS_MAX,
                needed: Nanos((needed / SECOND + 1) * SECOND),
            });
        }
        for (at, rate) in &self.rates {
            line(out, Nanos(at.abs_diff(*first)), *rate).map_err(ImportError::Write)?;
        }
        let mut rows = self.rates.len() as u64;
        if first == last {
            // Two points make a curve.
            line(out, Nanos(SECOND), *rate).map_err(ImportError::Write)?;
            rows += 1;
        }
        let notes = vec![
            format!("in the scenario: traffic: {{phases: [{{curve: {{file: {file}}}}}]}}"),
            format!("the curve begins at {}", shown(*first)),
        ];
        Ok(Written { rows, notes })
    }
}

/// A point: seconds, and requests per second.
fn line(out: &mut dyn Write, at: Nanos, rate: f64) -> io::Result<()> {
    if at.0 == 0 {
        out.write_all(b"time,rate\n")?;
    }
    writeln!(out, "{},{rate}", seconds(at))
}

/// Seconds with as many decimals as there are.
pub(super) fn seconds(at: Nanos) -> String {
    let (whole, rest) = (at.0 / SECOND, at.0 % SECOND);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:09}").trim_end_matches('0').to_owned()
}
