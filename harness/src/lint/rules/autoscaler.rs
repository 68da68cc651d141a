//! Autoscalers and what they scale.

use highwater_model::units::MilliCpu;
use k8s_openapi::api::{autoscaling::v2::HPAScalingPolicy, core::v1::Container};

use super::super::{
    draft::{Draft, number, pods, seconds, shown},
    finding::Level,
    hpa::{Hpa, Utilization},
    patch::{Patch, Spot},
    table,
    world::{Workload, World},
};

/// The share by which a metric must exceed its target: `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;

pub(super) fn check<'a>(world: &'a World, hpa: &'a Hpa) -> Vec<Draft<'a>> {
    let mut found = Vec::new();
    let target = world.target_of(hpa);
    found.extend(no_down_stabilization(hpa).map(|draft| match target {
        Some(workload) => draft.with(&workload.subject),
        None => draft,
    }));
    let Some(workload) = target else { return found };
    found.extend(replicas_and_hpa(hpa, workload));
    for utilization in &hpa.utilizations {
        found.extend(without_request(world, hpa, workload, utilization));
        found.extend(limit_hides(hpa, workload, utilization));
    }
    if world.is_served(workload) {
        found.extend(min_one(hpa, workload));
    }
    found
}

/// Of a workload, with or without an autoscaler.
pub(super) fn check_limits<'a>(world: &'a World, workload: &'a Workload) -> Vec<Draft<'a>> {
    if !world.is_served(workload) {
        return Vec::new();
    }
    let serving = world.serving(workload).into_iter();
    serving.filter_map(|(index, container)| throttles(workload, container, index)).collect()
}

/// The containers that a metric is about, and their keys.
fn about<'a>(workload: &'a Workload, utilization: &Utilization) -> Vec<(String, &'a Container)> {
    let is_meant = |container: &Container| {
        utilization.container.as_ref().is_none_or(|name| *name == container.name)
    };
    workload.lasting().filter(|(_, container)| is_meant(container)).collect()
}

fn requests(container: &Container, resource: &str) -> bool {
    let resources = container.resources.as_ref();
    // The API server takes a limit for a request that is not given.
    resources.is_some_and(|resources| {
        [&resources.requests, &resources.limits]
            .into_iter()
            .flatten()
            .any(|list| list.contains_key(resource))
    })
}

fn without_request<'a>(
    world: &World,
    hpa: &'a Hpa,
    workload: &'a Workload,
    utilization: &Utilization,
) -> Option<Draft<'a>> {
    let resource = utilization.resource.as_str();
    let of_pod = workload.pod.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    if of_pod.is_some_and(|requests| requests.contains_key(resource)) {
        return None;
    }
    let has_default = world.limit_ranges.iter().any(|(subject, range)| {
        let gives = range.limits.iter().filter(|item| item.type_ == "Container").any(|item| {
            let lists = [&item.default_request, &item.default];
            lists.into_iter().flatten().any(|list| list.contains_key(resource))
        });
        gives && subject.is_near(&workload.subject)
    });
    let containers = about(workload, utilization);
    if containers.is_empty() {
        let name = utilization.container.as_deref().unwrap_or_default();
        return Some(
            Draft::new(
                &table::UTILIZATION_WITHOUT_REQUEST,
                &hpa.subject,
                utilization.path.clone(),
                format!("the metric is about the container `{}`, which no pod has", shown(name)),
            )
            .with(&workload.subject)
            .then("the autoscaler says FailedGetContainerResourceMetric and never scales on it")
            .fix("the name of one of the containers"),
        );
    }
    let lacks = |(_, container): &&(String, &Container)| !requests(container, resource);
    let lacking: Vec<_> = containers.iter().filter(lacks).collect();
    let (path, container) = lacking.first().filter(|_| !has_default)?;
    let names: Vec<String> =
        lacking.iter().map(|(_, container)| format!("`{}`", shown(&container.name))).collect();
    let message = format!(
        "{} aims at {} % of the {} request, and {} requests none",
        hpa.subject.title(),
        utilization.percent,
        shown(resource),
        names.join(", ")
    );
    let draft = Draft::new(
        &table::UTILIZATION_WITHOUT_REQUEST,
        &workload.subject,
        format!("{path}.resources"),
        message,
    )
    .with(&hpa.subject)
    .then(format!(
        "the autoscaler says FailedGetResourceMetric and stays where it is: at {} of {} in every \
         spike",
        pods(hpa.min_replicas()),
        hpa.max_replicas
    ));
    let is_sidecar = path.contains("initContainers");
    let example = match resource {
        "cpu" => "100m",
        _ => "128Mi",
    };
    Some(if is_sidecar || !["cpu", "memory"].contains(&resource) {
        draft
    } else {
        draft.patch(&Patch {
            subject: &workload.subject,
            spot: Spot::Container(&container.name),
            lines: format!("resources:\n  requests:\n    {resource}: {example} # what it uses"),
        })
    })
}

fn limit_hides<'a>(
    hpa: &'a Hpa,
    workload: &'a Workload,
    utilization: &Utilization,
) -> Option<Draft<'a>> {
    if utilization.resource != "cpu" || workload.pod.resources.is_some() {
        return None;
    }
    let cpu = |list: Option<&std::collections::BTreeMap<_, _>>| -> Option<u64> {
        let quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity =
            list?.get("cpu")?;
        quantity.0.parse::<MilliCpu>().ok().map(|cpu| cpu.0)
    };
    let containers = about(workload, utilization);
    let sum = containers.iter().try_fold((0_u64, 0_u64), |(request, limit), (_, container)| {
        let resources = container.resources.as_ref()?;
        let own = cpu(resources.limits.as_ref())?;
        let asked = cpu(resources.requests.as_ref()).unwrap_or(own);
        Some((request.saturating_add(asked), limit.saturating_add(own)))
    });
    let (request, limit) = sum.filter(|(request, _)| *request > 0)?;
    let most = limit as f64 / request as f64 * 100.0;
    let tolerance = hpa
        .behavior
        .scale_up
        .as_ref()
        .and_then(|rules| rules.tolerance.as_ref()?.0.parse().ok())
        .unwrap_or(TOLERANCE);
    let needed = f64::from(utilization.percent) * (1.0 + tolerance);
    if most > needed {
        return None;
    }
    let (path, _) = containers.first()?;
    Some(
        Draft::new(
            &table::LIMIT_HIDES_LOAD,
            &workload.subject,
            format!("{path}.resources.limits"),
            format!(
                "the CPU limit keeps utilisation at {} % at most, and {} acts above {} %",
                number(most),
                hpa.subject.title(),
                number(needed)
            ),
        )
        .with(&hpa.subject)
        .then(format!(
            "the pods are throttled at {} and the replicas stay as they are, whatever the load",
            MilliCpu(limit)
        ))
        .figure("utilization_percent_max", most)
        .figure("scale_up_above_percent", needed),
    )
}

fn throttles<'a>(
    workload: &'a Workload,
    container: &'a Container,
    index: usize,
) -> Option<Draft<'a>> {
    /// One core: a single thread is never throttled by more.
    const CORE: u64 = 1_000;
    /// A tenth of a core: nine tenths of each period may be standing still.
    const TENTH: u64 = 100;
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    let limit = limits.get("cpu")?.0.parse::<MilliCpu>().ok()?.0;
    if limit >= CORE {
        return None;
    }
    let work = limit as f64 / 10.0;
    Some(
        Draft::new(
            &table::CPU_LIMIT_THROTTLES,
            &workload.subject,
            format!("spec.template.spec.containers[{index}].resources.limits.cpu"),
            format!(
                "container `{}` has a CPU limit of {}",
                shown(&container.name),
                MilliCpu(limit)
            ),
        )
        .level(if limit <= TENTH { Level::Warning } else { Level::Note })
        .then(format!(
            "{} ms of work in each 100 ms; one thread that uses them at once then stands still for \
             {} ms, and so do probes",
            number(work),
            number(100.0 - work)
        ))
        .figure("work_ms_per_period", work),
    )
}

fn min_one<'a>(hpa: &'a Hpa, workload: &'a Workload) -> Option<Draft<'a>> {
    if hpa.min_replicas() != 1 || hpa.max_replicas < 2 {
        return None;
    }
    let path = if hpa.min.is_some() { "spec.minReplicas" } else { "spec" };
    Some(
        Draft::new(
            &table::HPA_MIN_ONE,
            &hpa.subject,
            path,
            match hpa.min {
                Some(_) => "minReplicas is 1",
                None => "minReplicas is not given, which is 1",
            },
        )
        .with(&workload.subject)
        .then(
            "at the onset of a spike one pod takes all of it for about 25 to 60 s, and with one \
             pod every eviction is an outage",
        )
        .patch(&Patch {
            subject: &hpa.subject,
            spot: Spot::Spec,
            lines: "minReplicas: 2".to_owned(),
        }),
    )
}

fn replicas_and_hpa<'a>(hpa: &'a Hpa, workload: &'a Workload) -> Option<Draft<'a>> {
    // A scenario's replicas are those that it begins with.
    let replicas = workload.replicas.filter(|_| !workload.known.is_scenario)?;
    let (least, most) = (hpa.min_replicas(), hpa.max_replicas);
    if least == most && most == replicas {
        return None;
    }
    let consequence = match most.checked_sub(replicas).filter(|gone| *gone > 0) {
        Some(gone) => format!(
            "with the autoscaler at {most}, each apply ends {} in one moment, under the load that \
             called for them",
            pods(gone)
        ),
        None => {
            format!("each apply starts {replicas}, and the autoscaler ends what it does not want")
        }
    };
    Some(
        Draft::new(
            &table::REPLICAS_AND_HPA,
            &workload.subject,
            "spec.replicas",
            format!("replicas is {replicas}, and {} sets {least} to {most}", hpa.subject.title()),
        )
        .with(&hpa.subject)
        .then(consequence)
        .figure("pods_ended_at_apply", f64::from(most.saturating_sub(replicas))),
    )
}

fn no_down_stabilization(hpa: &Hpa) -> Option<Draft<'_>> {
    let rules = hpa.scale_down()?;
    let is_off = rules.select_policy.as_deref() == Some("Disabled");
    if rules.stabilization_window_seconds != Some(0) || is_off || is_gentle(hpa) {
        return None;
    }
    let gone = hpa.max_replicas.saturating_sub(hpa.min_replicas());
    Some(
        Draft::new(
            &table::NO_DOWN_STABILIZATION,
            &hpa.subject,
            "spec.behavior.scaleDown.stabilizationWindowSeconds",
            "the window of the way down is 0 s, and no policy slows it",
        )
        .then(format!(
            "one low reading may end up to {} within {}; when the load comes back, as many have to \
             start",
            pods(gone),
            seconds(15.0)
        ))
        .figure("pods_at_once", f64::from(gone))
        .patch(&Patch {
            subject: &hpa.subject,
            spot: Spot::Spec,
            lines: "behavior:\n  scaleDown:\n    stabilizationWindowSeconds: 300".to_owned(),
        }),
    )
}

/// Whether the policies of the way down let only a few pods go in a minute.
fn is_gentle(hpa: &Hpa) -> bool {
    let Some(rules) = hpa.scale_down() else { return false };
    let is_gentle = |policy: &HPAScalingPolicy| {
        let per_minute = f64::from(policy.value) * 60.0 / f64::from(policy.period_seconds.max(1));
        match policy.type_.as_str() {
            "Percent" => per_minute <= 20.0,
            _ => per_minute <= 2.0,
        }
    };
    let mut policies = rules.policies.iter().flatten();
    match rules.select_policy.as_deref() {
        Some("Min") => policies.any(is_gentle),
        _ => rules.policies.as_ref().is_some_and(|all| !all.is_empty()) && policies.all(is_gentle),
    }
}
