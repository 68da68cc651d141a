//! Objects and scenarios as the [`World`] that rules look at.

use std::rc::Rc;

use highwater_model::spec::Scenario;
use k8s_openapi::api::{
    apps::v1::DeploymentStrategy,
    core::v1::{PersistentVolumeClaimSpec, PodSpec, ServiceSpec},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    hpa::{self, Hpa},
    known::{Given, Known},
    subject::{Subject, View},
    world::{Budget, Ingress, Pairs, Service, Workload, WorkloadKind, World},
};
use crate::{
    backend::kube::manifests::Making,
    explain::input::{Object, read_value},
    scenario::{
        Fault, scalar,
        tree::{Kind, Node},
    },
};

/// The parts of a Deployment's or StatefulSet's spec that rules look at.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WorkloadSpec {
    replicas: Option<u32>,
    strategy: Option<DeploymentStrategy>,
    min_ready_seconds: Option<u32>,
    progress_deadline_seconds: Option<u32>,
    template: Template,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: Option<PodSpec>,
}

/// The target of a KEDA ScaledObject.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScaledObject {
    scale_target_ref: ScaledName,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ScaledName {
    name: String,
}

/// Takes an object into the world; tells whether any rule is about its kind.
///
/// # Errors
/// A part of it that is not what its kind needs, with its place.
pub(super) fn add(world: &mut World, object: Object, given: &Given) -> Result<bool, Vec<Fault>> {
    let group = object.api_version.split('/').next().unwrap_or_default().to_owned();
    let is_core = object.api_version == "v1";
    let is_apps = ["apps", "extensions"].contains(&group.as_str());
    match object.kind.as_str() {
        "Deployment" if is_apps => {
            let read = workload(object, WorkloadKind::Deployment, "Deployment", given)?;
            world.workloads.push(read);
        }
        "StatefulSet" if is_apps => {
            let read = workload(object, WorkloadKind::StatefulSet, "StatefulSet", given)?;
            world.workloads.push(read);
        }
        "Service" if is_core => {
            let (annotations, spec) = (annotations(&object), part::<ServiceSpec>(&object)?);
            let subject = Subject::manifest(object, "Service");
            world.services.push(Service { subject, annotations, spec });
        }
        "HorizontalPodAutoscaler" => {
            let spec: hpa::Spec = part(&object)?;
            let subject = Subject::manifest(object, "HorizontalPodAutoscaler");
            world.hpas.push(Hpa::new(subject, spec));
        }
        "PodDisruptionBudget" => {
            let spec = part(&object)?;
            let subject = Subject::manifest(object, "PodDisruptionBudget");
            world.budgets.push(Budget { subject, spec });
        }
        "Ingress" if group == "networking.k8s.io" || group == "extensions" => {
            let (annotations, spec) = (annotations(&object), part(&object)?);
            let subject = Subject::manifest(object, "Ingress");
            world.ingresses.push(Ingress::new(subject, annotations, &spec));
        }
        "Namespace" if is_core => {
            let labels = pairs(at(&object.node, &["metadata", "labels"]));
            world.namespaces.push((Subject::manifest(object, "Namespace"), labels));
        }
        "PersistentVolumeClaim" if is_core => {
            let spec: PersistentVolumeClaimSpec = part(&object)?;
            world.claims.push((Subject::manifest(object, "PersistentVolumeClaim"), spec));
        }
        "ResourceQuota" if is_core => {
            let spec = part(&object)?;
            world.quotas.push((Subject::manifest(object, "ResourceQuota"), spec));
        }
        "LimitRange" if is_core => {
            let spec = part(&object)?;
            world.limit_ranges.push((Subject::manifest(object, "LimitRange"), spec));
        }
        "ScaledObject" => {
            let spec: ScaledObject = part(&object)?;
            let subject = Subject::manifest(object, "ScaledObject");
            world.scaled_elsewhere.push((subject, spec.scale_target_ref.name));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn workload(
    object: Object,
    kind: WorkloadKind,
    name: &'static str,
    given: &Given,
) -> Result<Workload, Vec<Fault>> {
    let spec: WorkloadSpec = part(&object)?;
    let labels = pairs(at(&object.node, &["spec", "template", "metadata", "labels"]));
    let subject = Subject::manifest(object, name);
    Ok(built(subject, kind, spec, labels, Known::of_manifests(given)))
}

fn built(
    subject: Subject,
    kind: WorkloadKind,
    spec: WorkloadSpec,
    labels: Pairs,
    known: Known,
) -> Workload {
    Workload {
        subject,
        kind,
        replicas: spec.replicas,
        strategy: spec.strategy.unwrap_or_default(),
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        progress_deadline_seconds: spec.progress_deadline_seconds.unwrap_or(600),
        labels,
        pod: spec.template.spec.unwrap_or_default(),
        known,
    }
}

/// Takes what a scenario describes into the world: its Deployment, autoscaler and budget; tells
/// whether it describes any.
pub(super) fn add_scenario(
    world: &mut World,
    root: Object,
    scenario: &Scenario,
    given: &Given,
) -> bool {
    let target = &scenario.target;
    if target.workload.is_some() || target.url.is_some() {
        return false;
    }
    let root = Rc::new(root);
    let making = Making { scenario, namespace: "highwater", run: "lint", image: "service" };
    let spec = json!(making.deployment().spec);
    let labels = pairs_of(&spec["template"]["metadata"]["labels"]);
    let spec = serde_json::from_value(spec).unwrap_or_default();
    let subject = Subject::scenario(&root, View::Target);
    let known = Known::of_scenario(scenario, given);
    world.workloads.push(built(subject, WorkloadKind::Deployment, spec, labels.clone(), known));
    if let Some(autoscaler) = &scenario.autoscaler {
        let subject = Subject::scenario(&root, View::Autoscaler);
        let mut spec = json!(autoscaler);
        spec["scaleTargetRef"] = json!({"kind": "Deployment", "name": subject.name()});
        let spec: hpa::Spec = serde_json::from_value(spec).unwrap_or_default();
        world.hpas.push(Hpa::new(subject, spec));
    }
    if let Some(budget) = &target.pod_disruption_budget {
        let subject = Subject::scenario(&root, View::Budget);
        let mut spec = json!(budget);
        spec["selector"] = json!({"matchLabels": labels});
        let spec = serde_json::from_value(spec).unwrap_or_default();
        world.budgets.push(Budget { subject, spec });
    }
    true
}

/// The `spec` of an object; what it is without any key if there is none.
fn part<T: DeserializeOwned + Default>(object: &Object) -> Result<T, Vec<Fault>> {
    const KEY: &str = "spec";
    match at(&object.node, &[KEY]) {
        Some(node) if matches!(node.kind, Kind::Map(_)) => {
            let mut value = scalar::to_json(node);
            drop_nulls(&mut value);
            read_value(node, value).map_err(|mut faults| {
                for fault in &mut faults {
                    fault.path = format!("{KEY}.{}", fault.path);
                }
                faults
            })
        }
        _ => Ok(T::default()),
    }
}

/// Takes away the keys without a value, as the API server does: charts leave many.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn at<'a>(node: &'a Node, keys: &[&str]) -> Option<&'a Node> {
    keys.iter().try_fold(node, |node, key| Some(&node.entry(key)?.value))
}

fn annotations(object: &Object) -> Pairs {
    pairs(at(&object.node, &["metadata", "annotations"]))
}

/// A mapping of texts, however they are written.
fn pairs(node: Option<&Node>) -> Pairs {
    let Some(Kind::Map(entries)) = node.map(|node| &node.kind) else { return Pairs::new() };
    let texts = entries.iter().filter_map(|entry| match &entry.value.kind {
        Kind::Scalar { text, .. } => Some((entry.key.clone(), text.clone())),
        _ => None,
    });
    texts.collect()
}

fn pairs_of(value: &Value) -> Pairs {
    serde_json::from_value(value.clone()).unwrap_or_default()
}
