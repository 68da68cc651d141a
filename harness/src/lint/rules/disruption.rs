//! Evictions: disruption budgets and single pods.

use super::{
    super::{
        draft::{Draft, pods},
        finding::Level,
        patch::{Patch, Spot},
        table,
        world::{Budget, Workload, WorkloadKind, World},
    },
    rollout::read,
};

/// Of the pods of a workload.
pub(super) fn check<'a>(world: &'a World, workload: &'a Workload) -> Vec<Draft<'a>> {
    let known = &workload.known;
    if !world.is_served(workload) || (known.is_scenario && !known.has_evictions) {
        return Vec::new();
    }
    let (least, most) = world.replicas(workload);
    let has_budget = world.budgets_of(workload).next().is_some();
    let mut found = Vec::new();
    if least >= 2 && !has_budget {
        found.push(no_budget(workload, least));
    }
    let is_alone = most == 1
        && workload.kind == WorkloadKind::Deployment
        && world.hpa_of(workload).is_none()
        && !world.has_peers(workload)
        && !world.is_scaled_elsewhere(workload);
    if is_alone {
        found.push(single_replica(world, workload));
    }
    found
}

fn no_budget(workload: &Workload, least: u32) -> Draft<'_> {
    let path = if workload.replicas.is_some() { "spec.replicas" } else { "metadata.name" };
    Draft::new(
        &table::NO_BUDGET,
        &workload.subject,
        path,
        format!("{} are served, and no PodDisruptionBudget selects them", pods(least)),
    )
    .then(format!(
        "draining nodes may evict all {least} in the same moment; nobody answers until new ones \
         have started"
    ))
    .figure("pods_at_once", f64::from(least))
}

fn single_replica<'a>(world: &World, workload: &'a Workload) -> Draft<'a> {
    let has_claim = world.mounts_single_claim(workload);
    let path = if workload.replicas.is_some() { "spec.replicas" } else { "metadata.name" };
    Draft::new(
        &table::SINGLE_REPLICA,
        &workload.subject,
        path,
        "one pod answers everything, and nothing gives it a second",
    )
    .level(if has_claim { Level::Note } else { Level::Warning })
    .then(
        "every drained node, eviction, crash and lost node is an outage of at least a pod's start, \
         and of 40 s more if the node was lost",
    )
    .figure("available_pods", 0.0)
    .patch(&Patch {
        subject: &workload.subject,
        spot: Spot::Spec,
        lines: "replicas: 2".into(),
    })
}

/// Of a budget.
pub(super) fn check_budget<'a>(world: &'a World, budget: &'a Budget) -> Option<Draft<'a>> {
    let selects =
        |workload: &&Workload| world.budgets_of(workload).any(|found| std::ptr::eq(found, budget));
    let workload = world.workloads.iter().find(selects);
    let spec = &budget.spec;
    let (key, value) = match (&spec.max_unavailable, &spec.min_available) {
        (Some(value), _) => ("maxUnavailable", value),
        (None, Some(value)) => ("minAvailable", value),
        (None, None) => return None,
    };
    let bound = read(Some(value))?;
    let (least, most) = workload.map_or((100, 100), |workload| world.replicas(workload));
    let allows = |replicas: u32| {
        let bound = bound.resolve_up(replicas);
        if key == "maxUnavailable" { bound } else { replicas.saturating_sub(bound) }
    };
    // Of an unknown number of pods only what holds for every number is said.
    let is_certain = workload.is_some()
        || matches!(bound, highwater_model::units::IntOrPercent::Percent(_))
        || key == "maxUnavailable";
    if least == 0 || allows(least) > 0 || !is_certain {
        return None;
    }
    let (level, when) = if allows(most) == 0 {
        (Level::Error, "ever".to_owned())
    } else {
        (Level::Warning, format!("while there are {least}, the autoscaler's least"))
    };
    let shown = match value {
        k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(count) => count.to_string(),
        k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(text) => {
            super::super::draft::shown(text)
        }
    };
    let of = workload.map_or_else(String::new, |workload| {
        format!(" of {} ({})", pods(least), workload.subject.title())
    });
    let lines = "maxUnavailable: 1\nminAvailable: null".to_owned();
    let draft = Draft::new(
        &table::BUDGET_BLOCKS_DRAIN,
        &budget.subject,
        format!("spec.{key}"),
        format!("{key} {shown}{of} allows no eviction {when}"),
    )
    .level(level)
    .then("`kubectl drain` asks again every 5 s for ever; node upgrades stand still")
    .figure("evictions_allowed", f64::from(allows(least)))
    .patch(&Patch { subject: &budget.subject, spot: Spot::Spec, lines });
    Some(match workload {
        Some(workload) => draft.with(&workload.subject),
        None => draft,
    })
}
