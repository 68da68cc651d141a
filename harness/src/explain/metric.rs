//! What each metric asks for, as told.

use highwater_model::{
    hpa::{self, Derivation, Hpa, Ignored, Inspected, Unready, counts_for_totals},
    spec::{MetricSource, MetricTarget, TargetType},
};

use super::{
    facts::State,
    told::{Amount, Metric, Pod, Shape, Standing, TargetKind},
};

/// Tells all metrics of a pass; `looks` has what each makes of each pod of the state.
pub(super) fn tell(
    hpa: &Hpa,
    why: &hpa::Why,
    looks: &[Vec<Inspected>],
    state: &State,
) -> Vec<Metric> {
    let all = hpa.metrics().iter().zip(&why.proposals).zip(looks);
    all.filter_map(|((spec, proposal), looks)| {
        let source = spec.source()?;
        let mut metric = begin(source);
        match proposal {
            Err(failure) => {
                metric.error = Some(failure.to_string());
                metric.pods = pods(hpa, None, &metric, looks, state);
            }
            Ok(proposal) => {
                fill(&mut metric, proposal);
                metric.pods = if is_total(source) {
                    members(metric.multiplied_by.is_some(), state)
                } else {
                    pods(hpa, Some(&proposal.derivation), &metric, looks, state)
                };
            }
        }
        Some(metric)
    })
    .collect()
}

fn begin(source: MetricSource<'_>) -> Metric {
    let (kind, of) = match source {
        MetricSource::Resource(_) => ("Resource", None),
        MetricSource::ContainerResource(metric) => {
            ("ContainerResource", Some(metric.container.clone()))
        }
        MetricSource::Pods(_) => ("Pods", None),
        MetricSource::Object(metric) => {
            let object = &metric.described_object;
            ("Object", Some(format!("{}/{}", object.kind, object.name)))
        }
        MetricSource::External(_) => ("External", None),
    };
    let (target_type, target) = target(source.target());
    Metric {
        source: kind,
        name: source.name().clone(),
        of,
        target,
        target_type,
        error: None,
        measured: None,
        ratio: None,
        assumed: None,
        adjusted_ratio: None,
        tolerance: None,
        multiplied_by: None,
        rounded: None,
        shape: None,
        replicas: None,
        pods: Vec::new(),
    }
}

fn target(target: &MetricTarget) -> (TargetKind, Amount) {
    let milli = |value: &Option<highwater_model::spec::Quantity>| {
        Amount::Milli(value.as_ref().map_or(0, |value| value.milli()))
    };
    match target.kind {
        TargetType::Utilization => {
            let percent = i64::from(target.average_utilization.unwrap_or(0));
            (TargetKind::Utilization, Amount::Percent(percent))
        }
        TargetType::AverageValue => (TargetKind::AverageValue, milli(&target.average_value)),
        TargetType::Value => (TargetKind::Value, milli(&target.value)),
    }
}

fn is_total(source: MetricSource<'_>) -> bool {
    matches!(source, MetricSource::Object(_) | MetricSource::External(_))
}

fn fill(metric: &mut Metric, proposal: &hpa::Proposal) {
    let derivation = &proposal.derivation;
    let amount = |value| match metric.target {
        Amount::Percent(_) => Amount::Percent(value),
        Amount::Milli(_) => Amount::Milli(value),
    };
    let finite = |ratio: f64| Some(ratio).filter(|ratio| ratio.is_finite());
    let tolerances = derivation.tolerances;
    metric.measured = Some(amount(derivation.measured));
    metric.assumed = derivation.assumed.map(amount);
    metric.ratio = finite(derivation.ratio);
    metric.adjusted_ratio = derivation.adjusted.and_then(finite);
    metric.tolerance = Some((1.0 - tolerances.down, 1.0 + tolerances.up));
    metric.multiplied_by = derivation.pods;
    metric.rounded = derivation.rounded;
    metric.shape = Some(match derivation.shape {
        hpa::Shape::Computed => Shape::Computed,
        hpa::Shape::WithinTolerance => Shape::WithinTolerance,
        hpa::Shape::Turned => Shape::Turned,
        hpa::Shape::Backwards => Shape::Backwards,
    });
    metric.replicas = Some(proposal.replicas);
}

/// The pods of a metric of the pods.
fn pods(
    hpa: &Hpa,
    derivation: Option<&Derivation>,
    metric: &Metric,
    looks: &[Inspected],
    state: &State,
) -> Vec<Pod> {
    let target = match metric.target {
        Amount::Percent(value) | Amount::Milli(value) => value,
    };
    let tell = |look: &Inspected| {
        let (standing, why) = standing(look.standing);
        let full = hpa.full_of(target, look.request);
        Pod {
            name: state
                .pods
                .get(look.pod as usize)
                .map_or_else(String::new, |pod| pod.name.clone()),
            standing,
            why,
            usage_milli: look.usage,
            request_milli: look.request,
            assumed_milli: derivation.and_then(|derivation| look.assumed(derivation, full)),
        }
    };
    looks.iter().map(tell).collect()
}

/// The pods of a metric of the whole, where their number counts.
fn members(count: bool, state: &State) -> Vec<Pod> {
    let pods = state.pods.iter().filter(|_| count).map(|pod| {
        let counts = counts_for_totals(pod.phase, pod.ready.map(|(readiness, _)| readiness));
        Pod {
            name: pod.name.clone(),
            standing: if counts { Standing::Counted } else { Standing::Unready },
            why: if counts { "" } else { "is not Running and Ready" },
            usage_milli: None,
            request_milli: None,
            assumed_milli: None,
        }
    });
    pods.collect()
}

fn standing(standing: hpa::Standing) -> (Standing, &'static str) {
    match standing {
        hpa::Standing::Counted => (Standing::Counted, ""),
        hpa::Standing::Missing => (Standing::Missing, "has no sample"),
        hpa::Standing::Unready(why) => (
            Standing::Unready,
            match why {
                Unready::Pending => "is Pending",
                Unready::Unknown => "has no Ready condition or no start time yet",
                Unready::NotReady => "is not Ready, within the CPU initialization period",
                Unready::SampledBeforeReady => "its sample began before it got Ready",
                Unready::NeverReady => "has not been Ready since its first moments",
            },
        ),
        hpa::Standing::Ignored(why) => (
            Standing::Ignored,
            match why {
                Ignored::Deleted => "is being deleted",
                Ignored::Failed => "has failed",
            },
        ),
    }
}
