//! When more pods were asked for: by the autoscaler's own readings, and by what the metrics API
//! told before the autoscaler looked.
//!
//! The autoscaler tells a reading in the pass in which it acts on it, so its readings alone would
//! make every metric late and every decision prompt. The pods' figures in the metrics API tell the
//! two apart, where they are in the record and the pods' requests are known. They are what the
//! autoscaler computes with, but for its corrections for pods that are not ready or have no
//! sample.

use std::collections::BTreeMap;

use highwater_model::{
    event::{Event, EventKind, MetricUnit},
    load::Profile,
    spec::{ResourceList, Scenario},
    time::{SECOND, Timestamp},
};

use super::{
    super::autoscaler::{Autoscaling, PASS},
    Moment,
};
use crate::record::RunRecord;

/// Above `target * (1 + TOLERANCE)` the autoscaler asks for more pods.
///
/// *Source*: `hpa-semantics.md` section 1, `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;

/// Readings in order, each with whether it asks for more.
type Readings = Vec<(Moment, bool)>;

/// What asks for more pods, over time.
pub(super) struct Demands {
    /// By the autoscaler.
    told: Readings,
    /// In the metrics API.
    measured: Readings,
}

impl Demands {
    /// Those of a run.
    pub(super) fn of(record: &RunRecord, autoscaling: &Autoscaling) -> Self {
        let scenario = &record.header.scenario;
        let tolerance = tolerance(scenario);
        let asks = |current: f64, target: f64| current > target * (1.0 + tolerance);
        let requests = &scenario.target.deployment.template.resources.requests;
        let usage = Usage { requests, autoscaling, asks: &asks };
        Self { told: told(autoscaling, asks), measured: usage.readings(&record.events) }
    }

    /// The first reading since the decision before (`before`), and without a break, that asked
    /// for what was decided at `at`; never later than that.
    pub(super) fn before(&self, at: Timestamp, before: Option<Timestamp>) -> Option<Moment> {
        // The pass that decides tells its reading a little after its decision.
        let told = first(&self.told, at + PASS, before);
        let measured = first(&self.measured, at, before);
        let earliest = told.into_iter().chain(measured).min()?;
        Some(Moment { at: earliest.at.min(at), ..earliest })
    }
}

fn first(readings: &Readings, until: Timestamp, before: Option<Timestamp>) -> Option<Moment> {
    let after = |limit: Timestamp| readings.partition_point(|(moment, _)| moment.at <= limit);
    let begin = before.map_or(0, |before| after(before + PASS));
    let within = readings.get(begin..after(until)).unwrap_or_default();
    let mut since = None;
    for (moment, asks) in within {
        since = if *asks { since.or(Some(*moment)) } else { None };
    }
    since
}

/// The tolerance on the way up.
fn tolerance(scenario: &Scenario) -> f64 {
    let behavior = scenario.autoscaler.as_ref().and_then(|spec| spec.behavior.as_ref());
    let given = behavior.and_then(|behavior| behavior.scale_up.as_ref()?.tolerance.as_ref());
    given.map_or(TOLERANCE, |tolerance| tolerance.milli() as f64 / 1e3)
}

/// The autoscaler's readings; those that could not be taken say nothing and are left out.
fn told(autoscaling: &Autoscaling, asks: impl Fn(f64, f64) -> bool) -> Readings {
    let statuses = autoscaling.statuses.iter();
    let readings = statuses.filter_map(|status| {
        let known: Vec<(f64, f64)> = status
            .metrics
            .iter()
            .filter_map(|metric| Some((metric.current?, metric.target)))
            .collect();
        let above = known.iter().any(|(current, target)| asks(*current, *target));
        (!known.is_empty()).then_some((status.moment, above))
    });
    readings.collect()
}

/// The pods' figures as the autoscaler's metrics have them.
struct Usage<'a> {
    requests: &'a ResourceList,
    autoscaling: &'a Autoscaling,
    asks: &'a dyn Fn(f64, f64) -> bool,
}

impl Usage<'_> {
    fn readings(&self, events: &[Event]) -> Readings {
        // CPU in cores and memory in bytes of each pod, as last told.
        let mut pods: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        let mut readings = Readings::new();
        for event in events {
            match &event.kind {
                EventKind::PodMetrics { pod, cpu_nano, memory, .. } => {
                    pods.insert(pod, (*cpu_nano as f64 / SECOND as f64, *memory as f64));
                    if let Some(asks) = self.asks_for_more(&pods, event.at) {
                        readings.push((Moment::of(event), asks));
                    }
                }
                EventKind::PodDeleted { pod, .. } | EventKind::PodGone { pod } => {
                    pods.remove(pod.as_str());
                }
                _ => {}
            }
        }
        readings
    }

    /// Whether the mean over the pods is above the target of one of the metrics; `None` if none
    /// of them can be told.
    fn asks_for_more(&self, pods: &BTreeMap<&str, (f64, f64)>, at: Timestamp) -> Option<bool> {
        let count = pods.len() as f64;
        let cpu = pods.values().map(|(cpu, _)| cpu).sum::<f64>() / count;
        let memory = pods.values().map(|(_, memory)| memory).sum::<f64>() / count;
        let request = |name: &str| match name {
            "cpu" => self.requests.cpu.map(|cpu| cpu.0 as f64 / 1e3),
            _ => self.requests.memory.map(|memory| memory.0 as f64),
        };
        let mut answers = self.autoscaling.metrics.iter().filter_map(|metric| {
            let usage = match metric.name.as_str() {
                "cpu" => cpu,
                "memory" => memory,
                _ => return None,
            };
            let current = match metric.unit {
                MetricUnit::Percent => usage / request(&metric.name)? * 100.0,
                MetricUnit::AverageValue => usage,
                MetricUnit::Value => return None,
            };
            let known = metric.points.partition_point(|point| point.at <= at);
            let target = metric.points.get(known.saturating_sub(1))?.target;
            Some((self.asks)(current, target))
        });
        answers.next().map(|first| first || answers.any(|asks| asks))
    }
}

/// The instants at which the offered load rises.
pub(super) fn rises(record: &RunRecord, traffic_start: Timestamp) -> Vec<Timestamp> {
    // A scenario that was run has shapes.
    let profile = Profile::new(&record.header.scenario.traffic);
    profile
        .map(|profile| profile.rises().map(|at| traffic_start + at).collect())
        .unwrap_or_default()
}
