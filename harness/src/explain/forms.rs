//! The parts of a cluster's objects that an autoscaler reads; the rest of an object may be as it
//! likes.
//!
//! *Source*: `core/v1`, `metrics.k8s.io/v1beta1`, `custom.metrics.k8s.io/v1beta1` and `v1beta2`,
//! `external.metrics.k8s.io/v1beta1`.

use std::collections::BTreeMap;

use highwater_model::{spec::Quantity, time::Nanos};
use k8s_openapi::{
    api::apps::v1::DeploymentStatus,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, Time},
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) deletion_timestamp: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct PodObject {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: PodSpec,
    #[serde(default)]
    pub(super) status: PodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) containers: Vec<Container>,
    pub(super) init_containers: Option<Vec<Container>>,
    pub(super) resources: Option<Resources>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) resources: Option<Resources>,
    pub(super) restart_policy: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resources {
    pub(super) requests: Option<BTreeMap<String, Quantity>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    pub(super) phase: String,
    pub(super) start_time: Option<Time>,
    pub(super) conditions: Option<Vec<PodCondition>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodCondition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) last_transition_time: Option<Time>,
}

#[derive(Deserialize)]
pub(super) struct PodMetrics {
    pub(super) metadata: Metadata,
    pub(super) timestamp: Time,
    pub(super) window: Nanos,
    #[serde(default)]
    pub(super) containers: Vec<Usage>,
}

#[derive(Deserialize)]
pub(super) struct Usage {
    pub(super) name: String,
    #[serde(default)]
    pub(super) usage: BTreeMap<String, Quantity>,
}

/// A value of `custom.metrics.k8s.io` or `external.metrics.k8s.io`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricValue {
    pub(super) described_object: Option<Described>,
    pub(super) metric: Option<Named>,
    pub(super) metric_name: Option<String>,
    #[serde(default)]
    pub(super) metric_labels: Option<BTreeMap<String, String>>,
    pub(super) timestamp: Option<Time>,
    pub(super) window_seconds: Option<u64>,
    pub(super) value: Quantity,
}

#[derive(Deserialize)]
pub(super) struct Described {
    #[serde(default)]
    pub(super) kind: String,
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Scaled {
    pub(super) spec: ScaledSpec,
    #[serde(default)]
    pub(super) status: Option<DeploymentStatus>,
}

#[derive(Deserialize)]
pub(super) struct ScaledSpec {
    /// The API server's default.
    #[serde(default = "one")]
    pub(super) replicas: u32,
    pub(super) selector: Option<LabelSelector>,
}

const fn one() -> u32 {
    1
}
