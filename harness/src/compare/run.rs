//! One run, boiled down to what a comparison needs: what was asked of it, whether it can be
//! trusted, and its figures by cells of time, from which every figure of a whole run or phase is
//! added up exactly.
//!
//! It is made from a record, or, with much less in it, from a `summary.json`; as JSON it is what a
//! committed baseline holds.

use std::collections::BTreeMap;

use highwater_model::{
    outcome::{Outcome, OutcomeGroup},
    time::SECOND,
};
use serde::{Deserialize, Serialize};

use super::asked;
use crate::{
    analyze::{self, Analysis, AnalyzeError, Cause, Summary, Verdict, scaling::Progress},
    record::{BackendKind, RunRecord, folder::Provenance, hist},
};

/// A run has about so many cells at most: enough for the noise within a run, and few enough that a
/// baseline of an hour can be committed.
pub const CELLS: u64 = 120;

/// A run's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFigures {
    /// Where it came from.
    pub label: String,
    /// Name of its scenario.
    pub scenario: String,
    /// What was asked, key by key; see [`asked`]. `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<BTreeMap<String, String>>,
    /// Its backend.
    pub backend: BackendKind,
    /// Its seed.
    pub seed: u64,
    /// The machine in words; `None` if it is not known or of no account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Why its numbers must not be believed; empty if they can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Names of the traffic's phases, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<String>,
    /// Seconds of one cell; 0 without any.
    pub cell_seconds: u64,
    /// By time and phase, ascending; empty if only a summary is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// Mean number of pods by cell's time from the start of the traffic, those on their way out
    /// included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<f64>,
    /// Requests of the whole run.
    pub counts: Counts,
    /// Losses of the whole run, by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<Cause, u64>,
    /// Latency at each of [`super::measure::QUANTILES`] in nanoseconds, where only a summary is
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_latency: Option<[u64; 4]>,
    /// Most pods at a time that were not on their way out.
    pub pods_max: u32,
    /// Pod-hours of the run.
    pub pod_hours: f64,
    /// The slowest scale-up, nanoseconds, if there was one and it was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_scale: Option<u64>,
    /// Failures without a cause.
    pub unexplained: u64,
}

/// What happened in one stretch of time of one phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Which stretch, from the start of the traffic.
    pub time: u64,
    /// Index of the phase.
    pub phase: u16,
    /// Counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// Latency of the good answers.
    #[serde(default, skip_serializing_if = "hist::Encoded::is_empty")]
    pub latency: hist::Encoded,
    /// Losses by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<Cause, u64>,
}

/// Requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words are the glossary's")]
pub struct Counts {
    pub owed: u64,
    pub ok: u64,
    pub failed: u64,
    pub unsent: u64,
}

impl Counts {
    /// Requests that were sent.
    pub const fn sent(self) -> u64 {
        self.ok.saturating_add(self.failed)
    }

    /// Adds others.
    pub const fn add(&mut self, other: Self) {
        self.owed = self.owed.saturating_add(other.owed);
        self.ok = self.ok.saturating_add(other.ok);
        self.failed = self.failed.saturating_add(other.failed);
        self.unsent = self.unsent.saturating_add(other.unsent);
    }
}

/// The figures of a record.
///
/// # Errors
/// If the record contradicts itself.
pub fn of_record(
    label: &str,
    record: &RunRecord,
    provenance: Option<&Provenance>,
) -> Result<RunFigures, AnalyzeError> {
    let analysis = analyze::analyze(record)?;
    let planned = record.header.phases.last().map_or(0, |phase| phase.end.0.div_ceil(SECOND));
    let cell_seconds = planned.div_ceil(CELLS).max(1);
    let start = analysis.timeline.traffic_start.second();
    let mut cells = cells(record, start, cell_seconds)?;
    mark_lost(&mut cells, &analysis, start, cell_seconds);
    let requests = &analysis.requests;
    Ok(RunFigures {
        label: label.into(),
        scenario: analysis.scenario.clone(),
        asked: Some(asked::keys(&record.header.scenario)),
        backend: analysis.backend,
        seed: analysis.seed,
        machine: provenance.and_then(|known| machine(known, analysis.backend)),
        doubts: doubts(analysis.verdict, &analysis.audit.reasons, requests.pending),
        phases: record.header.phases.iter().map(|phase| phase.name.clone()).collect(),
        cell_seconds,
        pods: pods(&analysis, cell_seconds),
        cells,
        counts: Counts {
            owed: requests.owed,
            ok: requests.ok,
            failed: requests.failed,
            unsent: requests.unsent,
        },
        lost: analysis.losses.iter().map(|loss| (loss.cause, loss.count)).collect(),
        told_latency: None,
        pods_max: analysis.replicas.max,
        pod_hours: analysis.pod_hours,
        time_to_scale: time_to_scale(&analysis),
        unexplained: analysis.unexplained,
    })
}

/// The figures of a summary: no cells, so nothing is known of phases and of the noise within.
pub fn of_summary(label: &str, summary: &Summary, provenance: Option<&Provenance>) -> RunFigures {
    let nanos = |ms: f64| (ms.max(0.0) * 1e6) as u64;
    let latency = &summary.latency_ms;
    let requests = &summary.requests;
    let complete = summary.time_to_scale_ms.filter(|known| known.complete);
    RunFigures {
        label: label.into(),
        scenario: summary.scenario.clone(),
        asked: None,
        backend: summary.backend,
        seed: summary.seed,
        machine: provenance.and_then(|known| machine(known, summary.backend)),
        doubts: doubts(summary.verdict, &summary.audit.reasons, 0),
        phases: Vec::new(),
        cell_seconds: 0,
        cells: Vec::new(),
        pods: Vec::new(),
        counts: Counts {
            owed: requests.owed,
            ok: requests.ok,
            failed: requests.failed,
            unsent: requests.unsent,
        },
        lost: summary.losses.iter().map(|loss| (loss.cause, loss.count)).collect(),
        told_latency: (requests.ok > 0)
            .then(|| [latency.p50, latency.p90, latency.p99, latency.p999].map(nanos)),
        pods_max: summary.replicas.max,
        pod_hours: summary.pod_hours,
        time_to_scale: complete.map(|known| nanos(known.total)),
        unexplained: summary.unexplained,
    }
}

/// Latencies of another machine are another thing; of a simulation no machine matters.
fn machine(known: &Provenance, backend: BackendKind) -> Option<String> {
    let Provenance { processor, cores, system, .. } = known;
    let architecture = system.rsplit(' ').next().unwrap_or_default();
    let is_known = backend != BackendKind::Sim && *cores > 0;
    is_known.then(|| format!("{processor}, {cores} cores, {architecture}"))
}

fn doubts(verdict: Verdict, reasons: &[String], pending: u64) -> Vec<String> {
    let mut doubts: Vec<String> = reasons.to_vec();
    if verdict == Verdict::Aborted {
        doubts.push("it ended before it was done".into());
    }
    if verdict == Verdict::Untrusted && reasons.is_empty() {
        doubts.push("its own judgement is not good enough".into());
    }
    if pending > 0 {
        doubts.push(format!("its record was cut off: {pending} requests have no outcome in it"));
    }
    doubts
}

fn time_to_scale(analysis: &Analysis) -> Option<u64> {
    let complete = analysis.scale_ups.iter().all(|up| up.progress == Progress::Complete);
    let slowest = analysis.scale_ups.iter().map(|up| up.took.span.0).max();
    slowest.filter(|_| complete)
}

/// The windows, added up into cells.
fn cells(record: &RunRecord, start: u64, seconds: u64) -> Result<Vec<Cell>, AnalyzeError> {
    let mut cells: BTreeMap<(u64, u16), Vec<(u64, &crate::record::WindowSum)>> = BTreeMap::new();
    for ((second, phase), window) in &record.windows {
        let time = second.saturating_sub(start) / seconds;
        cells.entry((time, *phase)).or_default().push((*second, window));
    }
    let mut sum = hist::new();
    let cell = |((time, phase), windows): ((u64, u16), Vec<(u64, &crate::record::WindowSum)>)| {
        let mut cell = Cell { time, phase, ..Cell::default() };
        sum.reset();
        for (second, window) in windows {
            let damaged = |source| AnalyzeError::Window { second, source };
            cell.counts.owed = cell.counts.owed.saturating_add(window.owed);
            for (outcome, part) in &window.outcomes {
                let count = match outcome.group() {
                    OutcomeGroup::Ok => &mut cell.counts.ok,
                    OutcomeGroup::Failed => &mut cell.counts.failed,
                    OutcomeGroup::Unsent => &mut cell.counts.unsent,
                };
                *count = count.saturating_add(part.n);
                if *outcome == Outcome::Ok {
                    for encoded in &part.latency {
                        encoded.add_to(&mut sum).map_err(damaged)?;
                    }
                }
            }
        }
        cell.latency = hist::Encoded::new(&sum);
        Ok(cell)
    };
    cells.into_iter().map(cell).collect()
}

/// Puts the causes of losses into the cells of their time: the last cell that has a failure up to
/// then, since a failure is known after it was due.
fn mark_lost(cells: &mut [Cell], analysis: &Analysis, start: u64, seconds: u64) {
    for mark in &analysis.timeline.failures {
        let time = mark.at.second().saturating_sub(start) / seconds;
        let until = cells.partition_point(|cell| cell.time <= time);
        let place = cells[..until].iter().rposition(|cell| cell.counts.failed > 0);
        let place = place.or_else(|| until.checked_sub(1));
        if let Some(cell) = place.and_then(|place| cells.get_mut(place)) {
            *cell.lost.entry(mark.cause).or_default() += mark.n;
        }
    }
}

/// The mean number of pods in each stretch of the traffic.
fn pods(analysis: &Analysis, seconds: u64) -> Vec<f64> {
    let timeline = &analysis.timeline;
    if timeline.replicas.is_empty() {
        return Vec::new();
    }
    let (from, to) = (timeline.traffic_start.as_secs_f64(), timeline.traffic_end.as_secs_f64());
    let count = ((to - from) / seconds as f64).round().max(0.0) as usize;
    let mut sums = vec![0.0; count.min(2 * CELLS as usize)];
    let starts = timeline.replicas.iter().map(|point| {
        (point.at.as_secs_f64(), f64::from(point.current) + f64::from(point.terminating))
    });
    let ends = timeline.replicas.iter().skip(1).map(|point| point.at.as_secs_f64());
    for ((begin, pods), end) in starts.zip(ends.chain([f64::INFINITY])) {
        let (begin, end) = ((begin - from).max(0.0), (end.min(to) - from).max(0.0));
        let first = (begin / seconds as f64) as usize;
        for (index, sum) in sums.iter_mut().enumerate().skip(first) {
            let (left, right) =
                ((index as u64 * seconds) as f64, ((index as u64 + 1) * seconds) as f64);
            if left >= end {
                break;
            }
            *sum += pods * (end.min(right) - begin.max(left)).max(0.0);
        }
    }
    sums.into_iter().map(|sum| (sum / seconds as f64 * 1e6).round() / 1e6).collect()
}
