//! A rate over time: comma-separated times and rates.

use std::path::Path;

use highwater_model::{
    spec::{CURVE_POINTS_MAX, Curve, CurvePoint},
    time::Nanos,
    units::{RATE_PER_SEC_MAX, RatePerSec},
};

use super::{
    DataProblem, Found,
    text::{Clock, Field, Lines, column, field, fields, time},
};
use crate::scenario::error::shown;

/// The longest file.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads the curve's file into its points.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn read(curve: &mut Curve, path: &Path) -> Result<(), Found> {
    if !curve.points.is_empty() {
        return Err((None, DataProblem::Twice));
    }
    let mut lines = Lines::open(path, FILE_BYTES_MAX)?;
    let mut clock = Clock::default();
    let mut columns = None;
    while let Some(line) = lines.next()? {
        let line = line.to_owned();
        let at = |(column, problem)| (Some((lines.number, column)), problem);
        let fields = fields(&line).map_err(at)?;
        let (times, rates) = match columns {
            Some(known) => known,
            None => {
                let (known, is_header) =
                    find(curve, &fields).map_err(|problem| at((1, problem)))?;
                columns = Some(known);
                if is_header {
                    continue;
                }
                known
            }
        };
        if curve.points.len() == CURVE_POINTS_MAX {
            return Err((None, DataProblem::TooMany(CURVE_POINTS_MAX)));
        }
        let point = point(curve, &mut clock, &fields, (times, rates)).map_err(at)?;
        curve.points.push(point);
    }
    match curve.points.len() {
        found @ (0 | 1) => Err((None, DataProblem::TooFew { found, needed: 2 })),
        _ => Ok(()),
    }
}

/// The columns of times and rates, and whether the first line names them.
fn find(curve: &Curve, first: &[Field<'_>]) -> Result<((usize, usize), bool), DataProblem> {
    let named = |name: &Option<String>, default| match name {
        Some(name) => column(first, name),
        None => Ok(default),
    };
    let columns = (named(&curve.time, 0)?, named(&curve.rate, 1)?);
    let is_named = curve.time.is_some() || curve.rate.is_some();
    let is_header = is_named || first.first().is_some_and(|field| time(&field.text).is_none());
    Ok((columns, is_header))
}

fn point(
    curve: &Curve,
    clock: &mut Clock,
    fields: &[Field<'_>],
    (times, rates): (usize, usize),
) -> Result<CurvePoint, (usize, DataProblem)> {
    let (time, value) = (field(fields, times)?, field(fields, rates)?);
    let before = curve.points.last().map(|point| point.0);
    let at = clock.read(&time.text).map_err(|problem| (time.column, problem))?;
    if before == Some(at) {
        return Err((time.column, DataProblem::Repeats));
    }
    let what = "rate from 0 to 10000000/s; write a number, or 50/s";
    let wrong = || (value.column, DataProblem::Number { value: shown(&value.text), what });
    Ok(CurvePoint(at, rate(&value.text, curve.per).ok_or_else(wrong)?))
}

/// A rate with its unit, or a number of requests in `per`.
fn rate(text: &str, per: Option<Nanos>) -> Option<RatePerSec> {
    if text.contains('/') {
        return text.parse().ok();
    }
    let rate = text.parse::<f64>().ok()? / per.map_or(1.0, Nanos::as_secs_f64);
    (0.0..=RATE_PER_SEC_MAX).contains(&rate).then_some(RatePerSec(rate))
}
