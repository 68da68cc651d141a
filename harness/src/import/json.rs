//! A JSON object a line: logs, k6 and vegeta.
//!
//! *Source*: k6, "JSON" output; vegeta `lib/results.go`, `Result`.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Args,
    entry::{Entry, Raw, entry},
    error::LineProblem,
    table::{METHODS, TARGETS, TIMES},
    time::Clock,
};
use crate::scenario::error::shown;

/// Where things are in objects.
pub(super) struct Objects {
    time: Option<String>,
    method: Option<String>,
    target: Option<String>,
    rate: Option<String>,
    per: f64,
}

#[derive(Deserialize)]
struct K6Point {
    #[serde(rename = "type")]
    kind: String,
    metric: String,
    #[serde(default)]
    data: K6Data,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct K6Data {
    time: String,
    value: f64,
    tags: Option<K6Tags>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct K6Tags {
    method: String,
    url: String,
}

#[derive(Deserialize)]
struct VegetaResult {
    timestamp: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    url: String,
}

impl Objects {
    pub(super) fn new(args: &Args) -> Self {
        Self {
            time: args.time_field.clone(),
            method: args.method_field.clone(),
            target: args.path_field.clone(),
            rate: args.rate_field.clone(),
            per: args.per.as_secs_f64(),
        }
    }

    /// A line of a log.
    pub(super) fn read(&self, line: &str, clock: &mut Clock) -> Result<Entry, LineProblem> {
        let value: Value = serde_json::from_str(line).map_err(|_| LineProblem::Json)?;
        if !value.is_object() {
            return Err(LineProblem::Json);
        }
        let time = found(&value, self.time.as_deref(), TIMES).ok_or_else(|| {
            LineProblem::NoTime(shown(self.time.as_deref().unwrap_or("time, timestamp, ts, ...")))
        })?;
        let target = found(&value, self.target.as_deref(), TARGETS).unwrap_or_default();
        let method = found(&value, self.method.as_deref(), METHODS).unwrap_or_default();
        let rate = match &self.rate {
            None => None,
            Some(name) => {
                let text = found(&value, Some(name), &[]).ok_or(LineProblem::NoRate)?;
                Some(super::table::rate(&text, self.per)?)
            }
        };
        // A whole request line in one value.
        let mut raw = match target.split_once(' ') {
            Some(_) => Raw::of_request_line(&time, &target),
            None => Raw { time: &time, method: &method, target: &target, rate: None },
        };
        raw.rate = rate;
        entry(clock, &raw)
    }

    /// A point of k6; only those of `http_reqs` are requests.
    pub(super) fn k6(&self, line: &str, clock: &mut Clock) -> Result<Option<Entry>, LineProblem> {
        let point: K6Point = serde_json::from_str(line).map_err(|_| LineProblem::Json)?;
        if point.kind != "Point" || point.metric != "http_reqs" || point.data.value <= 0.0 {
            return Ok(None);
        }
        let tags = point.data.tags.unwrap_or_default();
        let raw =
            Raw { time: &point.data.time, method: &tags.method, target: &tags.url, rate: None };
        entry(clock, &raw).map(Some)
    }

    /// A result of vegeta, whose time is that of its sending.
    pub(super) fn vegeta(
        &self,
        line: &str,
        clock: &mut Clock,
    ) -> Result<Option<Entry>, LineProblem> {
        let result: VegetaResult = serde_json::from_str(line).map_err(|_| LineProblem::Json)?;
        let raw = Raw {
            time: &result.timestamp,
            method: &result.method,
            target: &result.url,
            rate: None,
        };
        entry(clock, &raw).map(Some)
    }
}

/// The text of a key, by its dotted name or the first known one.
fn found(value: &Value, name: Option<&str>, known: &[&str]) -> Option<String> {
    let of = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match name {
        None => known.iter().find_map(|key| of(value.get(key)?)),
        Some(name) => value
            .get(name)
            .and_then(of)
            .or_else(|| of(name.split('.').try_fold(value, |value, key| value.get(key))?)),
    }
}
