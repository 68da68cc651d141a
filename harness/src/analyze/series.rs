//! Series over time, and sums of histograms.

use std::collections::BTreeMap;

use highwater_model::{
    event::{Event, EventKind},
    outcome::{Outcome, OutcomeGroup},
    time::Timestamp,
};

use super::{
    ActionMark, AnalyzeError, FailureMark, Percentiles, PhaseResult, ReplicaPoint, ReplicaRange,
    SecondPoint, actions::ActionResult, attribute::Attributed,
};
use crate::record::{RunRecord, Totals, WindowSum, hist};

/// Failures of a pod within this much are one mark.
const MARK_NS: u64 = 100_000_000;

/// The histograms of a run, added up.
#[derive(Debug)]
pub struct Sums {
    /// Latency of good answers.
    pub latency: hist::Hist,
    /// Service time of good answers.
    pub service: hist::Hist,
    /// Send lag of all sent requests.
    pub lag: hist::Hist,
    /// By phase: counts, latency, service time.
    pub phases: BTreeMap<u16, (Totals, hist::Hist, hist::Hist)>,
    /// By second.
    pub seconds: Vec<SecondPoint>,
}

/// Adds up all windows, each decoded once.
///
/// # Errors
/// If a histogram is damaged.
pub fn sums(record: &RunRecord) -> Result<Sums, AnalyzeError> {
    let mut sums = Sums {
        latency: hist::new(),
        service: hist::new(),
        lag: hist::new(),
        phases: BTreeMap::new(),
        seconds: Vec::new(),
    };
    let mut scratch = hist::new();
    let first = record.windows.keys().next().map(|(second, _)| *second);
    for ((second, phase), window) in &record.windows {
        let damaged = |source| AnalyzeError::Window { second: *second, source };
        let (totals, latency, service) = sums
            .phases
            .entry(*phase)
            .or_insert_with(|| (Totals::default(), hist::new(), hist::new()));
        totals.add(window);
        for sum in window.outcomes.values() {
            for encoded in &sum.lag {
                encoded.add_to(&mut sums.lag).map_err(damaged)?;
            }
        }
        if let Some(ok) = window.outcomes.get(&Outcome::Ok) {
            for encoded in &ok.service {
                encoded.add_to(service).map_err(damaged)?;
            }
            for encoded in &ok.latency {
                encoded.add_to(latency).map_err(damaged)?;
            }
        }
        // The phases of a second follow each other in the map: the scratch holds one second.
        let index = (*second - first.unwrap_or(*second)) as usize;
        if sums.seconds.len() <= index {
            scratch.reset();
            let known = sums.seconds.len() as u64 + first.unwrap_or(*second);
            sums.seconds.extend(
                (known..=*second).map(|second| SecondPoint { second, ..SecondPoint::default() }),
            );
        }
        if let Some(ok) = window.outcomes.get(&Outcome::Ok) {
            for encoded in &ok.latency {
                encoded.add_to(&mut scratch).map_err(damaged)?;
            }
        }
        count(&mut sums.seconds[index], window, &scratch);
    }
    for (_, latency, service) in sums.phases.values() {
        // All have the record's bounds.
        let _ = sums.latency.add(latency);
        let _ = sums.service.add(service);
    }
    Ok(sums)
}

fn count(point: &mut SecondPoint, window: &WindowSum, latency: &hist::Hist) {
    point.owed += window.owed;
    for (outcome, sum) in &window.outcomes {
        match outcome.group() {
            OutcomeGroup::Ok => point.ok += sum.n,
            OutcomeGroup::Failed => point.failed += sum.n,
            OutcomeGroup::Unsent => point.unsent += sum.n,
        }
    }
    point.latency = Percentiles::of(latency);
}

/// The phases of the traffic with their results.
pub fn phases(record: &RunRecord, sums: &Sums, traffic_start: Timestamp) -> Vec<PhaseResult> {
    let planned = record.header.phases.iter().enumerate();
    planned
        .map(|(index, plan)| {
            let found = sums.phases.get(&(index as u16));
            PhaseResult {
                name: plan.name.clone(),
                start: traffic_start + plan.start,
                end: traffic_start + plan.end,
                requests: found.map(|(totals, _, _)| totals.clone().into()).unwrap_or_default(),
                latency: found.map(|(_, latency, _)| Percentiles::of(latency)).unwrap_or_default(),
                service_time: found
                    .map(|(_, _, service)| Percentiles::of(service))
                    .unwrap_or_default(),
            }
        })
        .collect()
}

/// The steps of the replicas.
pub fn replicas(events: &[Event]) -> Vec<ReplicaPoint> {
    let points = events.iter().filter_map(|event| match event.kind {
        EventKind::Replicas { desired, current, ready, terminating, .. } => {
            Some(ReplicaPoint { at: event.at, desired, current, ready, terminating })
        }
        _ => None,
    });
    points.collect()
}

/// The range of the replicas between `from` and `to`.
pub fn range(points: &[ReplicaPoint], from: Timestamp, to: Timestamp) -> ReplicaRange {
    let before = points.iter().rev().find(|point| point.at <= from);
    let within: Vec<&ReplicaPoint> = before
        .into_iter()
        .chain(points.iter().filter(|point| point.at > from && point.at <= to))
        .collect();
    let changes = within.windows(2).filter(|pair| pair[0].desired != pair[1].desired).count();
    ReplicaRange {
        min: within.iter().map(|point| point.ready).min().unwrap_or_default(),
        max: within.iter().map(|point| point.current).max().unwrap_or_default(),
        desired_changes: changes as u32,
    }
}

/// Marks of what the scenario did.
pub fn actions(results: &[ActionResult]) -> Vec<ActionMark> {
    let label = |result: &ActionResult| match result.refused {
        Some(_) => format!("{} (refused)", result.label),
        None => result.label.clone(),
    };
    results.iter().map(|result| ActionMark { at: result.at, label: label(result) }).collect()
}

/// Failures as marks: one per pod, cause and tenth of a second.
pub fn marks(attributed: &[Attributed<'_>]) -> Vec<FailureMark> {
    let mut marks: BTreeMap<(u64, Option<&str>, super::Cause), u64> = BTreeMap::new();
    for one in attributed {
        let slot = one.case.ended.0 / MARK_NS;
        *marks.entry((slot, one.pod(), one.cause)).or_default() += one.case.failure.n;
    }
    let marks = marks.into_iter();
    marks
        .map(|((slot, pod, cause), n)| FailureMark {
            at: Timestamp(slot * MARK_NS + MARK_NS / 2),
            pod: pod.map(Into::into),
            cause,
            n,
        })
        .collect()
}
