//! What the tools found.

use std::{collections::BTreeMap, time::Duration};

use crate::tools::Tool;

/// The offered rate of the open loop, requests per second.
pub(crate) const OPEN_RATE: u32 = 20_000;
/// Keep-alive connections of a saturating run.
pub(crate) const CONNECTIONS: u32 = 50;

/// All of it; empty where nothing was measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Versions of what took part, and peers that did not.
    pub(crate) versions: Vec<String>,
    pub(crate) missing: Vec<String>,
    /// Answers per second, by round.
    pub(crate) saturate: BTreeMap<Tool, Vec<f64>>,
    /// By round.
    pub(crate) open: BTreeMap<Tool, Vec<Open>>,
    /// Answers per second of a bare closed loop, by round.
    pub(crate) bare_rates: Vec<f64>,
    /// What the machine lets any program do at the open loop's rate, by round.
    pub(crate) bare: Vec<[Bare; 2]>,
    /// A million requests, ten times as many, and a million in as long as those took.
    pub(crate) memory: Vec<(Tool, Saturated, Saturated, Option<u64>)>,
    pub(crate) report: Option<Report>,
}

/// A saturating run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saturated {
    /// Answers per second.
    pub(crate) rate: f64,
    /// Requests in all.
    pub(crate) requests: f64,
    /// The most resident memory that was seen, bytes.
    pub(crate) memory: u64,
}

/// A run at a given rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    /// Sent, against what was asked for.
    pub(crate) achieved: f64,
    /// Of the whole process, from its start to its end, over its requests; microseconds.
    pub(crate) cpu_us: f64,
    /// Of the engine's own thread, where it is known.
    pub(crate) engine_us: Option<f64>,
    /// Median and 99.9th percentile, milliseconds, where they are known.
    pub(crate) lag_ms: Option<[f64; 2]>,
    /// 99th percentile of latency, milliseconds.
    pub(crate) p99_ms: f64,
    /// The most resident memory that was seen, bytes.
    pub(crate) memory: u64,
}

/// A bare loop at the open loop's rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bare {
    /// CPU for each of its turns, microseconds.
    pub(crate) cpu_us: f64,
    /// How late it was awake: median and 99.9th percentile, milliseconds.
    pub(crate) lag_ms: [f64; 2],
}

/// The report of an hour's run.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// By round: reading the record, analysing it, rendering and writing.
    pub(crate) took: Vec<Duration>,
    /// Bytes of the page.
    pub(crate) page: u64,
    /// Bytes of the record.
    pub(crate) record: u64,
}

/// The middle one; the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
