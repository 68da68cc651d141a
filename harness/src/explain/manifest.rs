//! An autoscaler as `kubectl get hpa -o yaml` prints it. Its `spec` is read strictly; metadata and
//! status are what a cluster adds, and say nothing but its name, and whether it went to zero.

use highwater_model::{
    hpa::Identity,
    spec::{
        Autoscaler, MetricSpec, MetricTarget, MetricType, ResourceMetric, TargetType, validate,
    },
};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    error::{ExplainError, faults},
    input::{Object, read_node},
};
use crate::scenario::{
    Fault, FaultKind, check, path,
    tree::{Entry, Kind, Node},
};

/// `targetCPUUtilizationPercentage` where it is not given.
const CPU_PERCENT: u32 = 80;
/// Annotations in which `autoscaling/v1` hides what it cannot say.
const HIDDEN: [&str; 2] =
    ["autoscaling.alpha.kubernetes.io/metrics", "autoscaling.alpha.kubernetes.io/behavior"];

/// An autoscaler.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) identity: Identity,
    pub(super) spec: Autoscaler,
    /// `status.currentReplicas`.
    pub(super) seen: Option<u32>,
    /// Whether its status says that it went to zero itself.
    pub(super) went_to_zero: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Body {
    spec: Autoscaler,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OldBody {
    spec: OldSpec,
}

/// `HorizontalPodAutoscalerSpec` of `autoscaling/v1`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OldSpec {
    min_replicas: Option<u32>,
    max_replicas: u32,
    #[serde(rename = "targetCPUUtilizationPercentage")]
    percent: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Added {
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    current_replicas: Option<u32>,
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Whether an object is an autoscaler, of whatever version.
pub(super) fn is_one(object: &Object) -> bool {
    object.kind == "HorizontalPodAutoscaler"
}

/// `NAMESPACE/NAME`.
pub(super) fn full_name(object: &Object) -> String {
    format!("{}/{}", namespace(object), object.name())
}

fn namespace(object: &Object) -> &str {
    match object.namespace() {
        "" => "default",
        namespace => namespace,
    }
}

/// Reads an autoscaler.
pub(super) fn read(object: &Object) -> Result<Manifest, ExplainError> {
    let spec = match object.api_version.as_str() {
        "autoscaling/v2" => strict::<Body>(object)?.spec,
        "autoscaling/v1" => {
            let annotations = object.node.entry("metadata").map(|metadata| &metadata.value);
            let annotations = annotations.and_then(|node| node.entry("annotations"));
            let hides =
                |key: &&str| annotations.is_some_and(|node| node.value.entry(key).is_some());
            if let Some(key) = HIDDEN.iter().find(|key| hides(key)) {
                let message = format!(
                    "autoscaling/v1 hides a part of this autoscaler in the annotation {key}; print \
                     it as it is with `kubectl get hpa.v2.autoscaling {} -o yaml`",
                    super::input::name(object.name())
                );
                return Err(object.fault("apiVersion", message));
            }
            strict::<OldBody>(object)?.spec.into()
        }
        other => {
            let message = format!(
                "apiVersion `{}` is not read; print the autoscaler with `kubectl get \
                 hpa.v2.autoscaling NAME -o yaml`",
                super::input::name(other)
            );
            return Err(object.fault("apiVersion", message));
        }
    };
    let problems = validate::autoscaler_problems(&spec, "spec");
    if !problems.is_empty() {
        let told = problems.into_iter().map(|problem| Fault {
            place: path::find(&object.node, &problem.path).place.clone(),
            path: problem.path,
            kind: FaultKind::Relation(problem.message),
        });
        return Err(faults(&object.origin, told.collect()));
    }
    let added: Added = object.read().unwrap_or_default();
    let went_to_zero = added
        .status
        .conditions
        .iter()
        .any(|condition| condition.kind == "ScaledToZero" && condition.status == "True");
    Ok(Manifest {
        name: object.name().to_owned(),
        identity: identity(object)?,
        spec,
        seen: added.status.current_replicas,
        went_to_zero,
    })
}

fn identity(object: &Object) -> Result<Identity, ExplainError> {
    let of = |key: &str| {
        object.text(&["spec", "scaleTargetRef", key]).map(str::to_owned).ok_or_else(|| {
            let message = format!("key `{key}` is missing in spec.scaleTargetRef");
            object.fault("spec.scaleTargetRef", message)
        })
    };
    let (kind, name) = (of("kind")?, of("name")?);
    Ok(Identity { namespace: namespace(object).to_owned(), kind, name })
}

/// The `spec`, without its `scaleTargetRef`, which [`identity`] reads.
fn strict<T: DeserializeOwned + JsonSchema>(object: &Object) -> Result<T, ExplainError> {
    let Some(entry) = object.node.entry("spec") else {
        return Err(object.fault("", "key `spec` is missing in the autoscaler".into()));
    };
    let mut spec = entry.value.clone();
    if let Kind::Map(entries) = &mut spec.kind {
        entries.retain(|entry| entry.key != "scaleTargetRef");
    }
    let entry = Entry { key: "spec".into(), place: entry.place.clone(), value: spec };
    let body = Node { place: object.node.place.clone(), kind: Kind::Map(vec![entry]) };
    let found = check::check(&body, &schema_for!(T).to_value());
    if !found.is_empty() {
        return Err(faults(&object.origin, found));
    }
    read_node(&body).map_err(|found| faults(&object.origin, found))
}

impl From<OldSpec> for Autoscaler {
    fn from(old: OldSpec) -> Self {
        let target = MetricTarget {
            kind: TargetType::Utilization,
            average_utilization: Some(old.percent.unwrap_or(CPU_PERCENT)),
            average_value: None,
            value: None,
        };
        let metric = MetricSpec {
            kind: MetricType::Resource,
            resource: Some(ResourceMetric { name: "cpu".into(), target }),
            container_resource: None,
            pods: None,
            object: None,
            external: None,
        };
        Self {
            min_replicas: old.min_replicas.unwrap_or(1),
            max_replicas: old.max_replicas,
            metrics: vec![metric],
            behavior: None,
        }
    }
}
