//! Rollouts: how many pods go, when, and whether the new ones find a place.

use highwater_model::{
    spec::{RollingUpdate, Strategy},
    units::{IntOrPercent, MilliCpu},
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::{Selector, SelectorExt as _};

use super::super::{
    draft::{Draft, number, pods, seconds, shown},
    finding::Level,
    patch::{Patch, Spot},
    table,
    world::{ContainerExt as _, Workload, WorkloadKind, World},
};

/// What a rollout of a Deployment of so many replicas may do.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    replicas: u32,
    surge: u32,
    unavailable: u32,
}

pub(super) fn check<'a>(world: &'a World, workload: &'a Workload) -> Vec<Draft<'a>> {
    let mut found = Vec::new();
    if workload.kind != WorkloadKind::Deployment {
        return found;
    }
    let is_served = world.is_served(workload);
    if !workload.is_rolling() {
        let is_alone = is_served && !world.has_peers(workload);
        found.extend(is_alone.then(|| recreate(world, workload)));
        return found;
    }
    let (least, most) = world.replicas(workload);
    let all = [least.max(1), most.max(1)].map(|replicas| bounds(workload, replicas));
    if is_served {
        found.extend(takes_all(world, workload, all[0]));
        found.extend(cuts_capacity(workload, &all));
        found.extend(all_at_once(workload, all[0]));
    }
    found.extend(host_port(workload, all[1]));
    found.extend(surge_cannot_start(world, workload, all[1]));
    found
}

fn bounds(workload: &Workload, replicas: u32) -> Bounds {
    let given = workload.strategy.rolling_update.clone().unwrap_or_default();
    let standard = RollingUpdate::default();
    let update = RollingUpdate {
        max_surge: read(given.max_surge.as_ref()).unwrap_or(standard.max_surge),
        max_unavailable: read(given.max_unavailable.as_ref()).unwrap_or(standard.max_unavailable),
    };
    let strategy = Strategy { rolling_update: Some(update), ..Strategy::default() };
    let (surge, unavailable) = strategy.fenceposts(replicas);
    Bounds { replicas, surge, unavailable }
}

/// A count or a percentage; nothing if it is neither.
pub(super) fn read(value: Option<&IntOrString>) -> Option<IntOrPercent> {
    match value? {
        IntOrString::Int(count) => u32::try_from(*count).ok().map(IntOrPercent::Int),
        IntOrString::String(text) => text.parse().ok(),
    }
}

fn without_gap(workload: &Workload) -> Patch<'_> {
    let lines = "strategy:\n  rollingUpdate:\n    maxSurge: 1\n    maxUnavailable: 0".to_owned();
    Patch { subject: &workload.subject, spot: Spot::Spec, lines }
}

fn takes_all<'a>(world: &World, workload: &'a Workload, bounds: Bounds) -> Option<Draft<'a>> {
    if bounds.unavailable < bounds.replicas || world.has_peers(workload) {
        return None;
    }
    let startup = workload.known.startup;
    let outage =
        startup.map_or_else(String::new, |startup| format!(", {} and more", seconds(startup)));
    let draft = Draft::new(
        &table::ROLLOUT_TAKES_ALL,
        &workload.subject,
        "spec.strategy.rollingUpdate",
        format!("maxUnavailable comes to {} of {}", bounds.unavailable, pods(bounds.replicas)),
    )
    // Two pods cannot have such a claim, so that this is how it has to be.
    .level(if world.mounts_single_claim(workload) { Level::Note } else { Level::Error })
    .then(format!(
        "every rollout begins with ending all pods; nobody answers until a new one is ready{outage}"
    ))
    .figure("available_pods", 0.0);
    Some(draft.patch(&without_gap(workload)))
}

fn cuts_capacity<'a>(workload: &'a Workload, all: &[Bounds]) -> Option<Draft<'a>> {
    /// From this share on it is more than the headroom of usual targets.
    const SHARE_BAD: f64 = 0.2;
    let cut = all.iter().filter(|bounds| (1..bounds.replicas).contains(&bounds.unavailable));
    let share = |bounds: &Bounds| f64::from(bounds.unavailable) / f64::from(bounds.replicas);
    let worst = cut.max_by(|left, right| share(left).total_cmp(&share(right)))?;
    let others = f64::from(worst.replicas - worst.unavailable);
    let load = f64::from(worst.replicas) / others;
    let is_default = workload
        .strategy
        .rolling_update
        .as_ref()
        .is_none_or(|update| update.max_unavailable.is_none());
    let message = format!(
        "a rollout of {} ends {} at its first moment{}",
        pods(worst.replicas),
        worst.unavailable,
        if is_default { ": maxUnavailable is 25 % if it is not given" } else { "" }
    );
    Some(
        Draft::new(
            &table::ROLLOUT_CUTS_CAPACITY,
            &workload.subject,
            "spec.strategy.rollingUpdate.maxUnavailable",
            message,
        )
        .level(if share(worst) >= SHARE_BAD { Level::Warning } else { Level::Note })
        .then(format!(
            "the other {} carry {} % of their load until the rollout is over",
            number(others),
            number(load * 100.0)
        ))
        .figure("unavailable_pods", f64::from(worst.unavailable))
        .figure("load_factor_ratio", load)
        .patch(&Patch {
            subject: &workload.subject,
            spot: Spot::Spec,
            lines: "strategy:\n  rollingUpdate:\n    maxUnavailable: 0".to_owned(),
        }),
    )
}

fn all_at_once(workload: &Workload, bounds: Bounds) -> Option<Draft<'_>> {
    if bounds.replicas < 2 || bounds.surge < bounds.replicas {
        return None;
    }
    Some(
        Draft::new(
            &table::ALL_AT_ONCE,
            &workload.subject,
            "spec.strategy.rollingUpdate.maxSurge",
            format!("maxSurge comes to {} of {}", bounds.surge, pods(bounds.replicas)),
        )
        .then(format!(
            "all {} old pods get SIGTERM within about {}, and the rollout needs {} in between",
            bounds.replicas,
            // The controller manager's 20 requests per second.
            seconds((f64::from(bounds.replicas) / 20.0).ceil().max(1.0)),
            pods(bounds.replicas.saturating_add(bounds.surge))
        ))
        .figure("pods_at_once", f64::from(bounds.replicas))
        .patch(&Patch {
            subject: &workload.subject,
            spot: Spot::Spec,
            lines: "strategy:\n  rollingUpdate:\n    maxSurge: 25%".to_owned(),
        }),
    )
}

fn recreate<'a>(world: &World, workload: &'a Workload) -> Draft<'a> {
    let grace = f64::from(workload.grace());
    let startup = workload.known.startup.unwrap_or(0.0);
    let has_claim = world.mounts_single_claim(workload);
    let draft = Draft::new(
        &table::RECREATE_WHILE_SERVED,
        &workload.subject,
        "spec.strategy.type",
        if has_claim {
            "a served Deployment is replaced by Recreate; its volume may need that"
        } else {
            "a served Deployment is replaced by Recreate"
        },
    )
    .level(if has_claim { Level::Note } else { Level::Warning })
    .then(format!(
        "nobody answers during each rollout: up to {} until the old pods are gone, and the start \
         of a new one",
        seconds(grace)
    ))
    .figure("outage_s", grace + startup);
    if has_claim {
        return draft
            .fix("a volume that several nodes may use, or a StatefulSet; else live with it");
    }
    draft.patch(&Patch {
        subject: &workload.subject,
        spot: Spot::Spec,
        lines: "strategy:\n  type: RollingUpdate\n  rollingUpdate:\n    maxSurge: 1\n    \
                maxUnavailable: 0"
            .to_owned(),
    })
}

fn host_port(workload: &Workload, bounds: Bounds) -> Option<Draft<'_>> {
    if bounds.surge == 0 {
        return None;
    }
    let host_network = workload.pod.host_network == Some(true);
    let containers = workload.pod.containers.iter().enumerate();
    let mut ports = containers.flat_map(|(index, container)| {
        container.ports().iter().enumerate().map(move |(at, port)| (index, at, port))
    });
    let (index, at, port) =
        ports.find(|(_, _, port)| host_network || port.host_port.is_some_and(|port| port > 0))?;
    let number = port.host_port.filter(|port| *port > 0).unwrap_or(port.container_port);
    let key = if host_network { "" } else { ".hostPort" };
    let stalls = bounds.unavailable == 0;
    Some(
        Draft::new(
            &table::HOST_PORT_CLASH,
            &workload.subject,
            format!("spec.template.spec.containers[{index}].ports[{at}]{key}"),
            format!(
                "pods take port {number} of their node, and a rollout makes {} above {}",
                bounds.surge, bounds.replicas
            ),
        )
        .level(if stalls { Level::Warning } else { Level::Note })
        .then(if stalls {
            format!(
                "without {} more the new pod stays Pending and the rollout stands still; after {} the \
                 Deployment says so",
                nodes(bounds.surge),
                seconds(f64::from(workload.progress_deadline_seconds))
            )
        } else {
            format!(
                "without a free node the new pod starts only after an old one has gone: {} less \
                 all the time",
                pods(bounds.unavailable)
            )
        })
        .figure("nodes_needed", f64::from(bounds.replicas) + f64::from(bounds.surge))
        .patch(&Patch {
            subject: &workload.subject,
            spot: Spot::Spec,
            lines: "strategy:\n  rollingUpdate:\n    maxSurge: 0\n    maxUnavailable: 1".to_owned(),
        }),
    )
}

/// `1 node`, `3 nodes`.
fn nodes(count: u32) -> String {
    if count == 1 { "1 node".into() } else { format!("{count} nodes") }
}

fn surge_cannot_start<'a>(
    world: &'a World,
    workload: &'a Workload,
    bounds: Bounds,
) -> Option<Draft<'a>> {
    if bounds.unavailable > 0 || bounds.surge == 0 {
        return None;
    }
    let needed = bounds.replicas.saturating_add(bounds.surge);
    let (path, reason, level) = quota(world, workload, needed)
        .or_else(|| claim(world, workload))
        .or_else(|| anti_affinity(workload, needed))?;
    Some(
        Draft::new(
            &table::SURGE_CANNOT_START,
            &workload.subject,
            path,
            format!("a rollout needs {needed} pods at once and may end none before, and {reason}"),
        )
        .level(level)
        .then(format!(
            "if the pod finds no place, the rollout stands still; after {} the Deployment says so, \
             and nothing is rolled back",
            seconds(f64::from(workload.progress_deadline_seconds))
        ))
        .figure("pods_needed", f64::from(needed)),
    )
}

type Cause = (String, String, Level);

fn quota(world: &World, workload: &Workload, needed: u32) -> Option<Cause> {
    let near = world.quotas.iter().filter(|(subject, quota)| {
        // One with scopes may not be about these pods.
        let has_scopes = quota.scopes.is_some() || quota.scope_selector.is_some();
        subject.is_near(&workload.subject) && !has_scopes
    });
    let request = workload.lasting().try_fold(0_u64, |sum, (_, container)| {
        let requests = container.resources.as_ref()?.requests.as_ref()?;
        Some(sum.saturating_add(requests.get("cpu")?.0.parse::<MilliCpu>().ok()?.0))
    });
    for (subject, quota) in near {
        let hard = |key: &str| quota.hard.as_ref()?.get(key);
        if let Some(count) = hard("pods").and_then(|pods| pods.0.parse::<u32>().ok())
            && count < needed
        {
            let reason = format!("{} allows {}", subject.title(), pods(count));
            return Some(("spec.replicas".into(), reason, Level::Error));
        }
        let cpu =
            hard("requests.cpu").or(hard("cpu")).and_then(|cpu| cpu.0.parse::<MilliCpu>().ok());
        if let (Some(cpu), Some(request)) = (cpu, request) {
            let all = request.saturating_mul(u64::from(needed));
            if cpu.0 < all {
                let reason = format!(
                    "{} allows a CPU request of {cpu}, not {}",
                    subject.title(),
                    MilliCpu(all)
                );
                return Some(("spec.replicas".into(), reason, Level::Error));
            }
        }
    }
    None
}

fn claim(world: &World, workload: &Workload) -> Option<Cause> {
    let volumes = workload.pod.volumes.iter().flatten().enumerate();
    let mut claims = volumes.filter_map(|(index, volume)| {
        let claim = volume.persistent_volume_claim.as_ref()?;
        Some((index, claim.claim_name.as_str()))
    });
    let is_single = |name: &str| world.is_single_claim(workload, name) == Some(true);
    let (index, name) = claims.find(|(_, name)| is_single(name))?;
    let reason = format!("the claim `{}` is for one node at a time", shown(name));
    Some((format!("spec.template.spec.volumes[{index}]"), reason, Level::Warning))
}

fn anti_affinity(workload: &Workload, needed: u32) -> Option<Cause> {
    let affinity = workload.pod.affinity.as_ref()?.pod_anti_affinity.as_ref()?;
    let terms = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    terms.iter().find(|term| {
        let is_own =
            term.label_selector.clone().and_then(|selector| Selector::try_from(selector).ok());
        term.topology_key == "kubernetes.io/hostname"
            && is_own.is_some_and(|selector| selector.matches(&workload.labels))
    })?;
    Some((
        "spec.template.spec.affinity.podAntiAffinity".into(),
        format!("each wants a node of its own: {needed} nodes"),
        Level::Warning,
    ))
}
