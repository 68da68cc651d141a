//! What had to hold.

use highwater_model::{
    spec::{Measure, Objective},
    time::human,
};

use super::{Percentiles, PhaseResult, Requests, scaling::Slowest};
use crate::record::hist;

/// An objective and whether it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveResult {
    /// The objective in words: `latency.p99 <250ms during hold-2`.
    pub name: String,
    /// The value in the measure's unit (count, share, nanoseconds); `None` if it cannot be told.
    pub value: Option<f64>,
    /// The value in words.
    pub shown: String,
    /// Whether it holds.
    pub met: bool,
}

/// What objectives are judged by, over the phases that count.
#[derive(Debug)]
pub struct Measured {
    /// Counts.
    pub requests: Requests,
    /// Failures without a cause.
    pub unexplained: u64,
    /// Latency of good answers.
    pub latency: hist::Hist,
    /// Service time of good answers.
    pub service: hist::Hist,
    /// The slowest scale-up that was decided in them.
    pub slowest: Slowest,
}

/// Whether phase `index` counts for an objective.
pub fn counts(objective: &Objective, phases: &[PhaseResult], index: usize) -> bool {
    objective.during.is_empty()
        || phases.get(index).is_some_and(|phase| objective.during.contains(&phase.name))
}

/// Judges one objective. A percentile without any good answer cannot be told, and is not met; nor
/// is a time to scale without a scale-up, or with one that was not complete at the end of the run
/// (which is missed for certain if it has lasted too long already).
pub fn judge(objective: &Objective, measured: &Measured) -> ObjectiveResult {
    let requests = &measured.requests;
    let latency = Percentiles::of(&measured.latency);
    let service = Percentiles::of(&measured.service);
    let of = |percentiles: Percentiles, ns: u64| (percentiles.count > 0).then_some(ns as f64);
    let value = match objective.measure {
        Measure::Failed => Some(requests.failed as f64),
        Measure::Unsent => Some(requests.unsent as f64),
        Measure::Unexplained => Some(measured.unexplained as f64),
        Measure::ErrorRate => {
            (requests.sent > 0).then(|| requests.failed as f64 / requests.sent as f64)
        }
        Measure::LatencyP50 => of(latency, latency.p50),
        Measure::LatencyP90 => of(latency, latency.p90),
        Measure::LatencyP95 => of(latency, latency.p95),
        Measure::LatencyP99 => of(latency, latency.p99),
        Measure::LatencyP999 => of(latency, latency.p999),
        Measure::LatencyMax => of(latency, latency.max),
        Measure::ServiceTimeP50 => of(service, service.p50),
        Measure::ServiceTimeP99 => of(service, service.p99),
        Measure::TimeToScale => match measured.slowest {
            Slowest::Exactly(span) => Some(span.0 as f64),
            // It may yet be too long: only what is too long already is known.
            Slowest::AtLeast(span) => {
                Some(span.0 as f64).filter(|least| !objective.bound.allows(*least))
            }
            Slowest::None => None,
        },
    };
    let shown = match (objective.measure, measured.slowest) {
        (Measure::TimeToScale, Slowest::AtLeast(span)) => {
            format!("at least {}: not complete at the end", human(span))
        }
        (Measure::TimeToScale, Slowest::None) => "there was no scale-up".into(),
        _ => {
            value.map_or_else(|| "cannot be told".into(), |value| objective.measure.display(value))
        }
    };
    ObjectiveResult {
        name: objective.to_string(),
        value,
        shown,
        met: value.is_some_and(|value| objective.bound.allows(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::time::Nanos;

    #[test]
    fn a_time_to_scale_that_is_open_can_be_missed_and_never_met() {
        let objective: Objective =
            serde_json::from_str(r#"{"time-to-scale": "<60s"}"#).expect("an objective");
        let rows = [
            (Slowest::None, None, false, "there was no scale-up"),
            (Slowest::Exactly(Nanos::from_secs(59)), Some(59e9), true, "59.0 s"),
            (Slowest::Exactly(Nanos::from_secs(60)), Some(60e9), false, "60.0 s"),
            (
                Slowest::AtLeast(Nanos::from_secs(59)),
                None,
                false,
                "at least 59.0 s: not complete at the end",
            ),
            (
                Slowest::AtLeast(Nanos::from_secs(61)),
                Some(61e9),
                false,
                "at least 61.0 s: not complete at the end",
            ),
        ];
        for (slowest, value, met, shown) in rows {
            let measured = Measured {
                requests: Requests::default(),
                unexplained: 0,
                latency: hist::new(),
                service: hist::new(),
                slowest,
            };
            let name = "time-to-scale <1m".into();
            let expected = ObjectiveResult { name, value, shown: shown.into(), met };
            assert_eq!(judge(&objective, &measured), expected);
        }
    }
}
