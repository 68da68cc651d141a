//! The seconds in which the objectives held.

use highwater_model::{
    elasticity,
    spec::{Measure, Objective},
    time::{Nanos, SECOND, Timestamp},
};

use super::Known;
use crate::{
    analyze::{PhaseResult, SecondPoint, objectives::counts},
    record::RunRecord,
};

/// In how much of the run the objectives held.
#[derive(Clone, Debug, PartialEq)]
pub struct Attainment {
    /// Seconds of schedule in which requests were owed.
    pub seconds: u64,
    /// Of these, in which every objective on latency, failures and unsent requests would have held,
    /// had it been judged by that second alone.
    pub held: u64,
    /// The objectives that were judged so, in words.
    pub judged: Vec<String>,
    /// Requests within the strictest objective of latency; `None` without one.
    pub requests: Option<Within>,
}

impl Attainment {
    /// The share of seconds that held.
    pub fn share(&self) -> f64 {
        self.held as f64 / self.seconds as f64
    }
}

/// Requests within a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// The limit.
    pub limit: Nanos,
    /// Requests that were owed.
    pub owed: u64,
    /// Of these, answered well within the limit.
    pub good: u64,
}

/// Whether a second can be judged by an objective's measure.
const fn is_of_seconds(measure: Measure) -> bool {
    !matches!(
        measure,
        Measure::Unexplained
            | Measure::ServiceTimeP50
            | Measure::ServiceTimeP99
            | Measure::TimeToScale
    )
}

/// By second: whether the objectives held in it.
pub(super) fn held(record: &RunRecord, known: &Known<'_>) -> Vec<bool> {
    let objectives = &record.header.scenario.objectives;
    let judged: Vec<_> = objectives.iter().filter(|one| is_of_seconds(one.measure)).collect();
    known.seconds.iter().map(|second| holds(second, &judged, known.phases)).collect()
}

fn holds(second: &SecondPoint, objectives: &[&Objective], phases: &[PhaseResult]) -> bool {
    if objectives.is_empty() {
        return second.failed == 0 && second.unsent == 0;
    }
    // A second at the border of two phases is of both.
    let (from, to) = (second.second * SECOND, (second.second + 1) * SECOND);
    let is_in = |phase: &PhaseResult| phase.start.0 < to && phase.end.0 > from;
    objectives.iter().all(|objective| {
        let mut phases_of = phases.iter().enumerate().filter(|(_, phase)| is_in(phase));
        let applies = objective.during.is_empty()
            || phases_of.any(|(index, _)| counts(objective, phases, index));
        !applies || second_holds(second, objective)
    })
}

fn second_holds(second: &SecondPoint, objective: &Objective) -> bool {
    let latency = &second.latency;
    let value = match objective.measure {
        Measure::Failed => second.failed,
        Measure::Unsent => second.unsent,
        Measure::ErrorRate => {
            let sent = second.ok + second.failed;
            return sent == 0 || objective.bound.allows(second.failed as f64 / sent as f64);
        }
        Measure::LatencyP50 => latency.p50,
        Measure::LatencyP90 => latency.p90,
        Measure::LatencyP95 => latency.p95,
        Measure::LatencyP99 => latency.p99,
        Measure::LatencyP999 => latency.p999,
        Measure::LatencyMax => latency.max,
        Measure::Unexplained
        | Measure::ServiceTimeP50
        | Measure::ServiceTimeP99
        | Measure::TimeToScale => return true,
    };
    let is_latency = !matches!(objective.measure, Measure::Failed | Measure::Unsent);
    // Without a good answer no latency is within anything, where one was due.
    (!is_latency || latency.count > 0 || second.owed == 0) && objective.bound.allows(value as f64)
}

/// The attainment, where `held` is that of each second.
pub(super) fn attainment(
    record: &RunRecord,
    known: &Known<'_>,
    held: &[bool],
) -> Option<Attainment> {
    let scenario = &record.header.scenario;
    let owing = || known.seconds.iter().zip(held).filter(|(second, _)| second.owed > 0);
    let seconds = owing().count() as u64;
    let judged = scenario.objectives.iter().filter(|one| is_of_seconds(one.measure));
    let strictest = elasticity::objective_of(scenario);
    (seconds > 0).then(|| Attainment {
        seconds,
        held: owing().filter(|(_, held)| **held).count() as u64,
        judged: judged.map(ToString::to_string).collect(),
        requests: strictest.map(|(limit, _)| within(known, limit)),
    })
}

fn within(known: &Known<'_>, limit: Nanos) -> Within {
    let mut within = Within { limit, owed: 0, good: 0 };
    for (index, phase) in known.phases.iter().enumerate() {
        within.owed += phase.requests.owed;
        within.good +=
            (known.latency)(index).map_or(0, |latency| latency.count_between(0, limit.0));
    }
    within
}

/// The second that an instant lies in, as a place in the list of seconds.
pub(super) fn place(seconds: &[SecondPoint], at: Timestamp) -> Option<usize> {
    let first = seconds.first()?.second;
    usize::try_from(at.second().checked_sub(first)?).ok().filter(|place| *place < seconds.len())
}
