//! What a pass makes of each pod, for people who ask. A pass itself only counts them.

use alloc::{string::String, vec::Vec};

use super::{
    Derivation, Hpa,
    calculator::{self, Rules},
    combine::Measuring,
    pods::Standing,
    world::{Moment, Pod, PodPhase, Readiness, Sample, World},
};
use crate::spec::{MetricSource, MetricTarget, TargetType};

/// What a metric makes of a pod. Milli-values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The pod's number.
    pub pod: u32,
    /// What it is to a metric of the pods.
    pub standing: Standing,
    /// Its sample.
    pub usage: Option<i64>,
    /// What it requests, where the metric is a percentage of that.
    pub request: Option<i64>,
}

impl Inspected {
    /// What the pod is assumed to use, in a number that came about as `derivation` says; `None` if
    /// nothing is assumed of it. `full` is the most that a missing pod is assumed to use.
    pub fn assumed(&self, derivation: &Derivation, full: i64) -> Option<i64> {
        derivation.assumed?;
        match self.standing {
            Standing::Missing if derivation.ratio < 1.0 => Some(full),
            Standing::Missing | Standing::Unready(_) if derivation.ratio > 1.0 => Some(0),
            _ => None,
        }
    }
}

impl Hpa {
    /// What the metric at `place` makes of each pod, in their order; empty if it looks at no pod, or
    /// if its API does not answer. Reads what [`Hpa::sync`] reads, so call it before.
    pub fn inspect(&self, now: Moment, world: &mut dyn World, place: usize) -> Vec<Inspected> {
        let Some(source) = self.metrics.get(place).and_then(|metric| metric.source()) else {
            return Vec::new();
        };
        let Ok(scale) = world.scale() else { return Vec::new() };
        let measuring = Measuring { hpa: self, now, scale, world };
        let mut samples = Vec::new();
        let answer = match source {
            MetricSource::Resource(metric) => world.resource(&metric.name, None, &mut samples),
            MetricSource::ContainerResource(metric) => {
                world.resource(&metric.name, Some(&metric.container), &mut samples)
            }
            MetricSource::Pods(metric) => world.pods_metric(&metric.metric, &mut samples),
            MetricSource::Object(_) | MetricSource::External(_) => return Vec::new(),
        };
        if answer.is_err() {
            return Vec::new();
        }
        let (resource, container) = match source {
            MetricSource::Resource(metric) => (Some(&metric.name), None),
            MetricSource::ContainerResource(metric) => {
                (Some(&metric.name), Some(&metric.container))
            }
            _ => (None, None),
        };
        let is_utilization = is_utilization(source.target());
        let rules =
            measuring.rules(resource.is_some_and(|resource| resource == "cpu"), is_utilization);
        let of = resource.filter(|_| is_utilization).map(|resource| (resource, container));
        world.pods().iter().map(|pod| look(&rules, pod, &samples, of)).collect()
    }

    /// The most that a missing pod is assumed to use of a `target`: a milli-value, or where `request`
    /// is given, percent of it.
    pub fn full_of(&self, target: i64, request: Option<i64>) -> i64 {
        let Some(request) = request else { return target };
        let percent = u32::try_from(target).unwrap_or(0);
        calculator::full_of_request(self.settings.kubernetes, percent, request)
    }
}

/// Whether a pod counts for a value of the whole: those that run and are ready do.
pub fn counts_for_totals(phase: PodPhase, ready: Option<Readiness>) -> bool {
    phase == PodPhase::Running && ready == Some(Readiness::Ready)
}

fn is_utilization(target: &MetricTarget) -> bool {
    target.kind == TargetType::Utilization
}

fn look(
    rules: &Rules<'_>,
    pod: &Pod<'_>,
    samples: &[Sample],
    of: Option<(&String, Option<&String>)>,
) -> Inspected {
    let sample = samples.iter().find(|sample| sample.pod == pod.id);
    let request = of.and_then(|(resource, container)| {
        let container = container.map(String::as_str);
        calculator::request(rules.settings.kubernetes, pod, resource, container).ok()
    });
    Inspected {
        pod: pod.id,
        standing: Standing::of(rules, pod, sample),
        usage: sample.map(|sample| sample.milli),
        request,
    }
}
