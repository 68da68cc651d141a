//! What a setting is judged by: the objectives on a coarse run, and its cost.

use highwater_model::{
    coarse::{Outcome, Station},
    spec::{Bound, BoundOp, Measure, MeasureUnit, Objective, Scenario, validate},
};
use std::cmp::Ordering;

use crate::analyze::ObjectiveResult;

/// Half a request is none: counts of a coarse run are expectations.
const NONE: f64 = 0.5;
/// Without objectives the 99th percentile may be so many times that of pods in half use.
const DEFAULT_TIMES: f64 = 2.0;
/// Without objectives so many requests may fail, as a share.
const DEFAULT_FAILED: f64 = 0.001;
/// The shortfall where what is asked for cannot be told: a time to scale where nothing was scaled.
const UNTOLD: f64 = 1.0;
/// Costs that differ by less, as a share, are the same.
const COST_MARGIN: f64 = 1e-9;

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Goals {
    pub(super) objectives: Vec<Objective>,
    /// Whether the scenario has none that a setting could be judged by.
    pub(super) is_default: bool,
}

/// What a setting came to on one traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    /// By how much the objectives are missed, all together; 0 if they hold. Latencies by the
    /// logarithm of the ratio to their limit, counts and shares in percent of the requests.
    pub(super) shortfall: f64,
    pub(super) pod_hours: f64,
    /// Seconds.
    pub(super) p99: f64,
    /// Share of the requests without a good answer.
    pub(super) lost: f64,
    /// How often the number of replicas was changed.
    pub(super) changes: f64,
}

impl Goals {
    /// The scenario's objectives; without one that a setting could miss, a default from the latency
    /// of its pods is added.
    pub(super) fn of(scenario: &Scenario, station: &Station) -> Self {
        let counts = |objective: &&Objective| is_judged(objective.measure);
        let mut objectives = scenario.objectives.clone();
        let is_default = !objectives.iter().any(|objective| counts(&objective));
        if is_default {
            let add = |measure, op, limit| Objective {
                measure,
                bound: Bound { op, limit },
                during: Vec::new(),
            };
            let limit = (station.latency(0.5, 0.99) * DEFAULT_TIMES * 1e3).ceil() * 1e6;
            objectives.push(add(Measure::ErrorRate, BoundOp::LessOrEqual, DEFAULT_FAILED));
            objectives.push(add(Measure::LatencyP99, BoundOp::Less, limit));
        }
        Self { objectives, is_default }
    }

    /// What a coarse run of a scenario with these objectives came to.
    pub(super) fn score(&self, scenario: &Scenario, outcome: &Outcome) -> Score {
        let names = validate::phase_names(&scenario.traffic);
        let shortfall = scenario.objectives.iter().map(|one| shortfall(one, &names, outcome)).sum();
        let all = outcome.total(&[]);
        Score {
            shortfall,
            pod_hours: outcome.pod_seconds / 3600.0,
            p99: outcome.latency(&all, 0.99).unwrap_or(0.0),
            lost: if all.owed > 0.0 { all.failed() / all.owed } else { 0.0 },
            changes: f64::from(outcome.desired_changes),
        }
    }
}

/// Whether a coarse run tells it.
const fn is_judged(measure: Measure) -> bool {
    quantile(measure).is_some()
        || matches!(measure, Measure::Failed | Measure::ErrorRate | Measure::TimeToScale)
}

const fn quantile(measure: Measure) -> Option<f64> {
    match measure {
        Measure::LatencyP50 | Measure::ServiceTimeP50 => Some(0.5),
        Measure::LatencyP90 => Some(0.9),
        Measure::LatencyP95 => Some(0.95),
        Measure::LatencyP99 | Measure::ServiceTimeP99 => Some(0.99),
        Measure::LatencyP999 => Some(0.999),
        _ => None,
    }
}

fn shortfall(objective: &Objective, names: &[String], outcome: &Outcome) -> f64 {
    let is_in = |name: &String| objective.during.contains(name);
    let phases: Vec<usize> =
        names.iter().enumerate().filter(|(_, name)| is_in(name)).map(|(place, _)| place).collect();
    let part = outcome.total(&phases);
    if part.owed <= 0.0 {
        return 0.0;
    }
    let value = match (objective.measure, quantile(objective.measure)) {
        (Measure::Failed, _) => {
            let more = (part.failed() - NONE).floor() + 1.0;
            return if objective.bound.allows(more.max(0.0)) {
                0.0
            } else {
                too_many(objective, more, part.owed)
            };
        }
        (Measure::ErrorRate, _) => Some(part.failed() / part.owed),
        // As the analysis has it: without a scale-up it is not met.
        (Measure::TimeToScale, _) => match outcome.time_to_scale {
            Some(seconds) => Some(seconds * 1e9),
            None => return UNTOLD,
        },
        // No good answer at all is as bad as it can be.
        (_, Some(q)) => Some(outcome.latency(&part, q).map_or(f64::MAX, |seconds| seconds * 1e9)),
        _ => None,
    };
    match value {
        Some(value) if !objective.bound.allows(value) => excess(objective, value),
        _ => 0.0,
    }
}

/// By how much a run on the full simulator with so many requests owed missed an objective, as
/// [`Score::shortfall`] has it.
pub(super) fn missed_by(objective: &Objective, result: &ObjectiveResult, owed: u64) -> f64 {
    let Some(value) = result.value.filter(|_| !result.met) else {
        // No good answer, or no scale-up that came to its end.
        return if result.met { 0.0 } else { UNTOLD };
    };
    match objective.measure.unit() {
        MeasureUnit::Count => too_many(objective, value, owed.max(1) as f64),
        _ => excess(objective, value),
    }
}

/// A count that is not allowed, in percent of the requests owed.
fn too_many(objective: &Objective, count: f64, owed: f64) -> f64 {
    (count - objective.bound.limit).max(NONE) / owed * 100.0
}

fn excess(objective: &Objective, value: f64) -> f64 {
    let limit = objective.bound.limit;
    let excess = match objective.measure.unit() {
        MeasureUnit::Nanos => (value / limit.max(1.0)).ln().min(20.0),
        MeasureUnit::Share | MeasureUnit::Count => (value - limit) * 100.0,
    };
    // What is at its limit is not allowed if the bound says so.
    excess.max(1e-6)
}

impl Score {
    /// A setting that the scenario refuses, or whose target never comes up, is as bad as can be.
    pub(super) const HOPELESS: Self =
        Self { shortfall: 1e9, pod_hours: 1e9, p99: 1e9, lost: 1.0, changes: 1e9 };

    pub(super) const fn is_hopeless(&self) -> bool {
        self.shortfall >= Self::HOPELESS.shortfall
    }

    /// The mean of some; the shortfall is their sum. Zero of none.
    pub(super) fn mean(scores: &[Self]) -> Self {
        let mean =
            |of: fn(&Self) -> f64| scores.iter().map(of).sum::<f64>() / scores.len().max(1) as f64;
        Self {
            shortfall: scores.iter().map(|score| score.shortfall).sum(),
            pod_hours: mean(|score| score.pod_hours),
            p99: mean(|score| score.p99),
            lost: mean(|score| score.lost),
            changes: mean(|score| score.changes),
        }
    }

    /// The better first: what holds, then what costs less, then what changes less. Of those that do
    /// not hold, what misses by less.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let near = |a: f64, b: f64| (a - b).abs() <= COST_MARGIN * a.abs().max(b.abs());
        self.shortfall.total_cmp(&other.shortfall).then_with(|| {
            if near(self.pod_hours, other.pod_hours) {
                self.changes.total_cmp(&other.changes)
            } else {
                self.pod_hours.total_cmp(&other.pod_hours)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_told_as_the_search_has_it() {
        let rows = [
            (r#"{"failed": 0}"#, Some(0.0), 0.0),
            (r#"{"failed": 0}"#, Some(10.0), 1.0),
            (r#"{"failed": "<=5"}"#, Some(10.0), 0.5),
            // What is at its limit is missed by half a request.
            (r#"{"failed": "<5"}"#, Some(5.0), 0.05),
            (r#"{"error-rate": "<=0.01"}"#, Some(0.03), 2.0),
            (r#"{"latency.p99": "<100ms"}"#, Some(99e6), 0.0),
            (r#"{"latency.p99": "<100ms"}"#, Some(200e6), 2.0_f64.ln()),
            (r#"{"latency.p99": "<100ms"}"#, Some(100e6), 1e-6),
            (r#"{"latency.p99": "<100ms"}"#, None, UNTOLD),
            (r#"{"time-to-scale": "<60s"}"#, Some(60e9 * 3.0), 3.0_f64.ln()),
            (r#"{"time-to-scale": "<60s"}"#, None, UNTOLD),
        ];
        for (text, value, expected) in rows {
            let objective: Objective = serde_json::from_str(text).expect("an objective");
            let met = value.is_some_and(|value| objective.bound.allows(value));
            let result = ObjectiveResult { name: String::new(), value, shown: String::new(), met };
            let found = missed_by(&objective, &result, 1_000);
            assert!((found - expected).abs() < 1e-9, "{text} {value:?}: {found}, not {expected}");
        }
    }
}
