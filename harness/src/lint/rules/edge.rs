//! What stands before the cluster.

use super::super::{
    draft::Draft,
    finding::Level,
    patch::quoted,
    subject::Subject,
    table,
    world::{Ingress, Workload, World},
};

/// The label that lets the AWS load balancer controller add its readiness gate to pods.
const GATE: &str = "elbv2.k8s.aws/pod-readiness-gate-inject";

pub(super) fn check<'a>(world: &'a World, workload: &'a Workload) -> Option<Draft<'a>> {
    let (by, path) = sends_to_pods(world, workload)?;
    let space = workload.subject.namespace();
    let found = world.namespaces.iter().find(|(subject, _)| subject.name() == space);
    let has_gate = |labels: &super::super::world::Pairs| {
        labels.get(GATE).is_some_and(|value| value == "enabled")
    };
    if found.is_some_and(|(_, labels)| has_gate(labels)) {
        return None;
    }
    let has_own = workload
        .pod
        .readiness_gates
        .iter()
        .flatten()
        .any(|gate| gate.condition_type.starts_with("target-health."));
    if has_own {
        return None;
    }
    let is_known = found.is_some();
    let space = if space.is_empty() { "NAMESPACE" } else { space };
    Some(
        Draft::new(
            &table::NO_READINESS_GATE,
            by,
            path,
            format!(
                "an AWS load balancer sends to the pods of {}, and {}",
                workload.subject.title(),
                if is_known {
                    "the namespace has no label for its readiness gate"
                } else {
                    "no namespace with the label for its readiness gate is among the files"
                }
            ),
        )
        .with(&workload.subject)
        .level(if is_known { Level::Warning } else { Level::Note })
        .then(
            "at the end of each rollout 502, 503 and 504 for about 30 s, until the load balancer \
             knows the new pods",
        )
        .fix(format!("kubectl label namespace {} {GATE}=enabled", quoted(space))),
    )
}

/// What makes an AWS load balancer send to the addresses of the pods, and its key.
fn sends_to_pods<'a>(
    world: &'a World,
    workload: &'a Workload,
) -> Option<(&'a Subject, &'static str)> {
    let by_ingress = world.ingresses.iter().find(|ingress| {
        let target = ingress.annotations.get("alb.ingress.kubernetes.io/target-type");
        is_alb(ingress)
            && target.is_some_and(|target| target == "ip")
            && ingress.leads_to(world, workload)
    });
    let by_service = || {
        world.services_of(workload).find(|service| {
            let key = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type";
            service.annotations.get(key).is_some_and(|target| target == "ip")
        })
    };
    by_ingress
        .map(|ingress| &ingress.subject)
        .or_else(|| by_service().map(|service| &service.subject))
        .map(|subject| (subject, "metadata.annotations"))
}

fn is_alb(ingress: &Ingress) -> bool {
    let by_annotation = ingress.annotations.get("kubernetes.io/ingress.class");
    ingress.class.as_deref().or(by_annotation.map(String::as_str)) == Some("alb")
}

/// Whether clients come through an AWS load balancer, which learns of changes late.
pub(super) fn is_behind_aws(world: &World, workload: &Workload) -> bool {
    sends_to_pods(world, workload).is_some()
        || world
            .ingresses
            .iter()
            .any(|ingress| is_alb(ingress) && ingress.leads_to(world, workload))
}
