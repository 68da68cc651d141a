//! Several metrics: the one that asks for most wins; where some fail, nothing gets smaller.
//!
//! *Source*: `horizontal.go`: `computeReplicasForMetrics`, `computeReplicasForMetric`,
//! `computeStatusFor...`.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{
    Hpa, Reading,
    calculator::{self, Derivation, Number, Rules, Tolerances},
    milli, totals,
    words::{
        Condition, Failure, Invalid, MetricName, NoAnswer, Note, Obstacle, Reason, Stage, Whose,
    },
    world::{Moment, Scale, World},
};
use crate::spec::{
    ExternalMetric, MetricSource, MetricTarget, ObjectMetric, PodsMetric, TargetType,
};

/// What one metric asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Replicas.
    pub replicas: i32,
    /// The metric, in the controller's words.
    pub name: MetricName,
    /// How it came about.
    pub derivation: Derivation,
}

/// What all metrics ask for.
pub(super) struct Combined {
    /// The number; `None` if nothing can be done.
    pub(super) replicas: Option<u32>,
    /// The metric that asks for it.
    pub(super) name: MetricName,
    pub(super) winner: Option<usize>,
    pub(super) proposals: Vec<Result<Proposal, Failure>>,
    pub(super) readings: Vec<Option<Reading>>,
    pub(super) condition: Condition,
    /// What is wrong with some of them.
    pub(super) invalid: Option<Invalid>,
}

/// Evaluates every metric.
pub(super) fn combine(
    hpa: &Hpa,
    now: Moment,
    scale: Scale,
    world: &dyn World,
    notes: &mut Vec<Note>,
) -> Combined {
    let mut all = Combined {
        replicas: None,
        name: MetricName::None,
        winner: None,
        proposals: Vec::with_capacity(hpa.metrics.len()),
        readings: Vec::with_capacity(hpa.metrics.len()),
        condition: Condition::new(true, Reason::ScalingDisabled),
        invalid: None,
    };
    let (mut most, mut invalid, mut first) = (0, 0, None);
    for (place, metric) in hpa.metrics.iter().enumerate() {
        let source = metric.source().expect("a checked metric has its source");
        let measured = Measuring { hpa, now, scale, world }.measure(source);
        match measured {
            Ok((proposal, reading)) => {
                if most == 0 || proposal.replicas > most {
                    most = proposal.replicas;
                    all.name = proposal.name.clone();
                    all.winner = Some(place);
                }
                all.proposals.push(Ok(proposal));
                all.readings.push(Some(reading));
            }
            Err(failure) => {
                let failure = *failure;
                notes.push(Note::FailedGetMetric(failure.clone()));
                invalid += 1;
                first.get_or_insert_with(|| failure.clone());
                all.proposals.push(Err(failure));
                all.readings.push(None);
            }
        }
    }
    let of = hpa.metrics.len();
    let would_shrink = i64::from(most) < i64::from(scale.spec);
    let must_stop = invalid >= of || (invalid > 0 && would_shrink);
    match (&first, must_stop) {
        (Some(failure), true) => {
            all.condition = Condition::new(false, Reason::Unable(failure.clone()));
            all.winner = None;
        }
        _ => {
            all.condition = Condition::new(true, Reason::ValidMetricFound(all.name.clone()));
            all.replicas = Some(most.max(0) as u32);
        }
    }
    all.invalid = first.map(|first| Invalid { invalid, of, first: Box::new(first) });
    all
}

struct Measuring<'a> {
    hpa: &'a Hpa,
    now: Moment,
    scale: Scale,
    world: &'a dyn World,
}

type Measured = Result<(Proposal, Reading), Box<Failure>>;

/// An API's answer, in which nothing at all is as good as none.
fn some<T>(answer: Result<T, String>, is_nothing: impl Fn(&T) -> bool) -> Result<T, NoAnswer> {
    match answer {
        Err(error) => Err(NoAnswer::Failed(error)),
        Ok(nothing) if is_nothing(&nothing) => Err(NoAnswer::Nothing),
        Ok(answer) => Ok(answer),
    }
}

impl Measuring<'_> {
    fn measure(&self, source: MetricSource<'_>) -> Measured {
        match source {
            MetricSource::Resource(metric) => {
                let whose = Whose::Resource(metric.name.clone());
                self.of_resource(&metric.name, None, &metric.target, whose)
            }
            MetricSource::ContainerResource(metric) => {
                let (resource, container) = (metric.name.clone(), metric.container.clone());
                let whose = Whose::Container { resource, container };
                self.of_resource(&metric.name, Some(&metric.container), &metric.target, whose)
            }
            MetricSource::Pods(metric) => self.of_pods(metric),
            MetricSource::Object(metric) => self.of_object(metric),
            MetricSource::External(metric) => self.of_external(metric),
        }
    }

    fn tolerances(&self) -> Tolerances {
        let standard = self.hpa.settings.tolerance;
        let behaviors = self.hpa.behaviors.as_ref();
        Tolerances {
            up: behaviors.and_then(|rules| rules.up.tolerance).unwrap_or(standard),
            down: behaviors.and_then(|rules| rules.down.tolerance).unwrap_or(standard),
        }
    }

    fn rules(&self, is_cpu: bool) -> Rules<'_> {
        Rules {
            settings: &self.hpa.settings,
            tolerances: self.tolerances(),
            replicas: self.scale.spec,
            is_cpu,
            now: self.now,
        }
    }

    fn of_resource(
        &self,
        resource: &str,
        container: Option<&str>,
        target: &MetricTarget,
        whose: Whose,
    ) -> Measured {
        let average = milli(target.average_value.as_ref());
        let stage = if average.is_some() { Stage::Usage } else { Stage::Utilization };
        let failed = |obstacle| Box::new(Failure { obstacle, stage, whose: whose.clone() });
        let mut samples = Vec::new();
        some(self.world.resource(resource, container, &mut samples), |pods| *pods == 0)
            .map_err(|error| failed(Obstacle::ResourceApi { resource: resource.into(), error }))?;
        let (rules, pods) = (self.rules(resource == "cpu"), self.world.pods());
        if let Some(target) = average {
            let number = calculator::by_value(&rules, target, pods, &samples).map_err(failed)?;
            return Ok(of_number(number, MetricName::Resource(resource.into())));
        }
        let target = target.average_utilization.unwrap_or(0);
        let number =
            calculator::by_utilization(&rules, target, pods, &samples, resource, container)
                .map_err(failed)?;
        let is_container = container.is_some();
        Ok(of_number(number, MetricName::Utilization { resource: resource.into(), is_container }))
    }

    fn of_pods(&self, metric: &PodsMetric) -> Measured {
        let failed =
            |obstacle| Box::new(Failure { obstacle, stage: Stage::Plain, whose: Whose::Pods });
        let (mut samples, name) = (Vec::new(), &metric.metric.name);
        some(self.world.pods_metric(&metric.metric, &mut samples), |pods| *pods == 0)
            .map_err(|error| failed(Obstacle::PodsApi { metric: name.clone(), error }))?;
        let target = milli(metric.target.average_value.as_ref()).unwrap_or(0);
        let number = calculator::by_value(&self.rules(false), target, self.world.pods(), &samples)
            .map_err(failed)?;
        Ok(of_number(number, MetricName::Pods(name.clone())))
    }

    fn of_object(&self, metric: &ObjectMetric) -> Measured {
        let (name, object) = (&metric.metric.name, &metric.described_object);
        let is_value = metric.target.kind == TargetType::Value;
        let whose = Whose::Object((!is_value).then(|| name.clone()));
        let total = self.world.object(&metric.metric, object).map_err(|error| {
            Box::new(Failure {
                obstacle: Obstacle::ObjectApi {
                    metric: name.clone(),
                    kind: object.kind.clone(),
                    namespace: self.hpa.identity.namespace.clone(),
                    name: object.name.clone(),
                    error: NoAnswer::Failed(error),
                },
                stage: Stage::Plain,
                whose: whose.clone(),
            })
        })?;
        if is_value {
            let called = MetricName::Object { kind: object.kind.clone(), name: name.clone() };
            return self.in_all(total, &metric.target, called, whose);
        }
        let called = MetricName::External(metric.metric.clone());
        Ok(self.per_pod(total, &metric.target, called, false))
    }

    fn of_external(&self, metric: &ExternalMetric) -> Measured {
        let (name, is_average) =
            (metric.metric.name.clone(), metric.target.average_value.is_some());
        let whose = Whose::External { name, is_average };
        let values = some(self.world.external(&metric.metric), Vec::is_empty);
        let values = values.map_err(|error| {
            Box::new(Failure {
                obstacle: Obstacle::ExternalApi {
                    namespace: self.hpa.identity.namespace.clone(),
                    metric: metric.metric.clone(),
                    error,
                },
                stage: Stage::Plain,
                whose: whose.clone(),
            })
        })?;
        let (total, called) = (totals::sum(&values), MetricName::External(metric.metric.clone()));
        if is_average {
            return Ok(self.per_pod(total, &metric.target, called, true));
        }
        self.in_all(total, &metric.target, called, whose)
    }

    fn in_all(
        &self,
        total: i64,
        target: &MetricTarget,
        name: MetricName,
        whose: Whose,
    ) -> Measured {
        let target = milli(target.value.as_ref()).unwrap_or(0);
        let (tolerances, pods) = (self.tolerances(), self.world.pods());
        let (replicas, shown, derivation) =
            totals::by_value(tolerances, self.scale, total, target, pods).map_err(|obstacle| {
                Box::new(Failure { obstacle, stage: Stage::ReadyPods, whose })
            })?;
        let reading = Reading { value: Some(shown), ..Reading::default() };
        Ok((Proposal { replicas, name, derivation }, reading))
    }

    fn per_pod(
        &self,
        total: i64,
        target: &MetricTarget,
        name: MetricName,
        is_external: bool,
    ) -> (Proposal, Reading) {
        let target = milli(target.average_value.as_ref()).unwrap_or(0);
        let (replicas, shown, derivation) =
            totals::by_average(self.tolerances(), self.scale, total, target, is_external);
        let reading = Reading { average: Some(shown), ..Reading::default() };
        (Proposal { replicas, name, derivation }, reading)
    }
}

fn of_number(number: Number, name: MetricName) -> (Proposal, Reading) {
    let Number { replicas, utilization, average, derivation } = number;
    let reading = Reading { utilization, average: Some(average), value: None };
    (Proposal { replicas, name, derivation }, reading)
}
