//! The nodes under a simulated cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;
use crate::{
    time::Nanos,
    units::{Bytes, MilliCpu},
};

/// See [`Scenario::nodes`](super::Scenario::nodes).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nodes {
    /// How many there are at first.
    pub count: u32,
    /// What each has for the target's pods: `status.allocatable`, less what others request of it.
    #[serde(default)]
    pub allocatable: Allocatable,
    /// Who adds nodes where pods find no room; nobody if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_autoscaler: Option<ClusterAutoscaler>,
}

/// What a node has for pods. Of what is not given there is always enough.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Allocatable {
    /// CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// How many pods.
    pub pods: u32,
}

impl Default for Allocatable {
    /// *Source*: the kubelet's `maxPods`, 110.
    fn default() -> Self {
        Self { cpu: None, memory: None, pods: 110 }
    }
}

/// The cluster autoscaler of one group of equal nodes. It takes no node away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterAutoscaler {
    /// How many nodes there may be in all.
    pub max_nodes_total: u32,
    /// From one look at the pods without room to the next.
    #[serde(default = "scan_interval")]
    pub scan_interval: Nanos,
    /// From asking for a node to its being ready.
    #[serde(default = "provision_time")]
    pub provision_time: Distribution,
}

/// *Source*: cluster-autoscaler, `--scan-interval`, 10 s.
fn scan_interval() -> Nanos {
    Nanos::from_secs(10)
}

/// *Source*: an order of magnitude of managed clusters, where a machine is booted and joins; measure
/// yours.
fn provision_time() -> Distribution {
    Distribution::Uniform(Nanos::from_secs(60), Nanos::from_secs(120))
}
