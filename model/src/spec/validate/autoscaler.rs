//! The autoscaler, as the API server validates it.
//!
//! *Source*: `pkg/apis/autoscaling/validation/validation.go` (Kubernetes 1.35).

use alloc::{collections::BTreeSet, format, string::String};

use super::{Problems, REPLICAS_MAX};
use crate::spec::{
    Autoscaler, Behavior, MetricSource, MetricSpec, MetricTarget, PatchAutoscaler, ScalingRules,
    Scenario, TargetType,
};

/// The longest stabilisation window, seconds.
const WINDOW_MAX: u32 = 3_600;
/// The longest period of a policy, seconds.
const PERIOD_MAX: u32 = 1_800;

pub(super) fn check(found: &mut Problems, scenario: &Scenario) {
    let Some(autoscaler) = &scenario.autoscaler else {
        if scenario.events.iter().any(|event| event.patch_autoscaler.is_some())
            && scenario.target.workload.is_none()
        {
            found.add("autoscaler", "is missing, and an event patches it");
        }
        return;
    };
    check_bounds(found, "autoscaler", autoscaler, REPLICAS_MAX);
    check_metrics(found, "autoscaler.metrics", Some(scenario), &autoscaler.metrics);
    if let Some(behavior) = &autoscaler.behavior {
        check_behavior(found, "autoscaler.behavior", behavior);
    }
}

/// The fields that an event may change.
pub(super) fn check_patch(
    found: &mut Problems,
    path: &str,
    scenario: &Scenario,
    patch: &PatchAutoscaler,
) {
    if *patch == PatchAutoscaler::default() {
        found.add(path, "changes nothing; give minReplicas, maxReplicas, metrics or behavior");
    }
    if let Some(most) = patch.max_replicas {
        found.check_within(format!("{path}.maxReplicas"), most, 1, REPLICAS_MAX);
    }
    if let Some(metrics) = &patch.metrics {
        check_metrics(found, &format!("{path}.metrics"), Some(scenario), metrics);
    }
    if let Some(behavior) = &patch.behavior {
        check_behavior(found, &format!("{path}.behavior"), behavior);
    }
}

/// An autoscaler without a scenario, as the API server has it; its keys begin with `path`.
pub(super) fn check_manifest(found: &mut Problems, path: &str, autoscaler: &Autoscaler) {
    check_bounds(found, path, autoscaler, i32::MAX as u32);
    check_metrics(found, &format!("{path}.metrics"), None, &autoscaler.metrics);
    if let Some(behavior) = &autoscaler.behavior {
        check_behavior(found, &format!("{path}.behavior"), behavior);
    }
}

fn check_bounds(found: &mut Problems, path: &str, autoscaler: &Autoscaler, most: u32) {
    found.check_within(format!("{path}.maxReplicas"), autoscaler.max_replicas, 1, most);
    if autoscaler.min_replicas > autoscaler.max_replicas {
        found.add(
            format!("{path}.minReplicas"),
            format!("must not be above maxReplicas, which is {}", autoscaler.max_replicas),
        );
    }
    let from_outside = |metric: &MetricSpec| metric.object.is_some() || metric.external.is_some();
    if autoscaler.min_replicas == 0 && !autoscaler.metrics.iter().any(from_outside) {
        found.add(
            format!("{path}.minReplicas"),
            "may be 0 only with an Object or External metric: no pod is there to be measured",
        );
    }
}

fn check_metrics(
    found: &mut Problems,
    path: &str,
    scenario: Option<&Scenario>,
    metrics: &[MetricSpec],
) {
    found.check_entries(path, metrics.len());
    let mut seen = BTreeSet::new();
    for (index, metric) in metrics.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(source) = metric.source() else {
            found.add(
                path,
                "needs exactly the block that `type` names, such as \
                 {type: Resource, resource: {name: cpu, target: ...}}",
            );
            continue;
        };
        // Elsewhere, one name may stand for several series or objects.
        let is_new = seen.insert((source.api_group(), source.name().clone()));
        if !is_new && scenario.is_some() {
            found.add(path.as_str(), format!("measures `{}` a second time", source.name()));
        }
        check_source(found, &path, scenario, source);
    }
}

fn check_source(
    found: &mut Problems,
    path: &str,
    scenario: Option<&Scenario>,
    source: MetricSource<'_>,
) {
    let target = source.target();
    let is_utilization = target.kind == TargetType::Utilization;
    match source {
        MetricSource::Resource(_) | MetricSource::ContainerResource(_) => {
            if let Some(scenario) = scenario {
                check_request(found, path, scenario, source.name(), is_utilization);
            }
        }
        _ if is_utilization => {
            found.add(path, "Utilization is for CPU and memory; use AverageValue or Value");
        }
        MetricSource::Pods(_) if target.kind != TargetType::AverageValue => {
            found.add(path, "a Pods metric aims at an AverageValue");
        }
        _ => {}
    }
    check_target(found, path, target);
}

/// A percentage needs a request to be one of.
fn check_request(
    found: &mut Problems,
    path: &str,
    scenario: &Scenario,
    name: &str,
    is_utilization: bool,
) {
    if !["cpu", "memory"].contains(&name) {
        found.add(format!("{path}.resource.name"), format!("`{name}` is neither cpu nor memory"));
        return;
    }
    let requests = &scenario.target.deployment.template.resources.requests;
    let has = if name == "cpu" { requests.cpu.is_some() } else { requests.memory.is_some() };
    if is_utilization && !has && scenario.target.workload.is_none() {
        found.add(
            path,
            format!(
                "aims at a percentage of the {name} request, and \
                 target.deployment.template.resources.requests.{name} is not given"
            ),
        );
    }
}

fn check_target(found: &mut Problems, path: &str, target: &MetricTarget) {
    let given = (
        target.average_utilization.is_some(),
        target.average_value.is_some(),
        target.value.is_some(),
    );
    let fits = match target.kind {
        TargetType::Utilization => given == (true, false, false),
        TargetType::AverageValue => given == (false, true, false),
        TargetType::Value => given == (false, false, true),
    };
    if !fits {
        found.add(
            format!("{path}.target"),
            "needs exactly the value that `type` names: Utilization averageUtilization, \
             AverageValue averageValue, Value value",
        );
    }
    let values = [&target.average_value, &target.value];
    let is_low = values.into_iter().flatten().any(|value| value.milli() <= 0);
    if is_low || target.average_utilization == Some(0) {
        found.add(format!("{path}.target"), "must be above zero");
    }
}

fn check_behavior(found: &mut Problems, path: &str, behavior: &Behavior) {
    for (name, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
        if let Some(rules) = rules {
            check_rules(found, &format!("{path}.{name}"), rules);
        }
    }
}

fn check_rules(found: &mut Problems, path: &str, rules: &ScalingRules) {
    if let Some(window) = rules.stabilization_window_seconds {
        found.check_within(format!("{path}.stabilizationWindowSeconds"), window, 0, WINDOW_MAX);
    }
    if rules.tolerance.as_ref().is_some_and(|tolerance| tolerance.milli() < 0) {
        found.add(format!("{path}.tolerance"), "must not be below zero");
    }
    found.check_entries(&format!("{path}.policies"), rules.policies.len());
    for (index, policy) in rules.policies.iter().enumerate() {
        let path: String = format!("{path}.policies[{index}]");
        if policy.value == 0 {
            found.add(format!("{path}.value"), "must be above zero");
        }
        found.check_within(format!("{path}.periodSeconds"), policy.period_seconds, 1, PERIOD_MAX);
    }
}
