//! The scenario as plain data: what a scenario file says, in the spelling of the file.
//!
//! Keys are spelled as in Kubernetes (`camelCase`); unknown keys are errors. Reading a file, with
//! line numbers and advice, is the harness's work; relations between fields are in [`validate`].

mod action;
mod autoscaler;
mod bounded;
mod deployment;
mod distribution;
mod gate;
mod l7;
mod metrics;
mod nodes;
mod objective;
mod shape;
mod simulation;
mod target;
mod trace;
mod traffic;
pub mod tune;
pub mod validate;
mod workload;

use alloc::{string::String, vec::Vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use action::{
    Action, DependencyOutage, DrainNode, Freeze, Kill, KillSignal, MetricsOutage, PatchAutoscaler,
    PodChoice, Repeat, Rollout, Scale, ScheduledEvent, Which,
};
pub use autoscaler::{
    Autoscaler, Behavior, ContainerResourceMetric, ExternalMetric, LabelSelector, MetricIdentifier,
    MetricSource, MetricSpec, MetricTarget, MetricType, ObjectMetric, ObjectReference, PodsMetric,
    Quantity, ResourceMetric, ScalingPolicy, ScalingPolicyType, ScalingRules, SelectPolicy,
    TargetType,
};
pub use deployment::{
    Deployment, EnvVar, ExecAction, HttpGetAction, HttpHeader, Lifecycle, LifecycleHandler,
    PodTemplate, Port, Probe, ResourceList, Resources, RollingUpdate, SleepAction, Strategy,
    StrategyType, TcpSocketAction,
};
pub use distribution::{Distribution, Draws, Sampler, VALUES_MAX, ValuesFile};
pub use gate::{Gate, GateBound, GateMeasure};
pub use l7::{Balancing, PassiveHealth, Retry};
pub use metrics::{ControllerManager, MetricRule, MetricsPipeline, Prometheus, Quantile, Recipe};
pub use nodes::{Allocatable, ClusterAutoscaler, Nodes};
pub use objective::{Bound, BoundOp, Measure, MeasureUnit, Objective};
pub use shape::{
    CURVE_POINTS_MAX, Curve, CurvePoint, Interpolation, PARTS_MAX, PERIOD_MIN, Phase, Ramp,
    SCALE_MAX, SPEED_MAX, STEPS_MAX, ShapeFault, Sine, Spike, Step, played,
};
pub use simulation::Simulation;
pub use target::{
    Dependency, DisruptionBudget, Drain, Misbehaviour, OnCancel, Queue, Service, Target, WarmUp,
    WhenFull,
};
pub use trace::{
    TRACE_KINDS_MAX, TRACE_REQUESTS_MAX, Trace, TraceBuilder, TraceData, TraceError, TraceIter,
};
pub use traffic::{Arrivals, Expect, Generators, Header, RequestKind, Saturate, Traffic};

pub use tune::Tune;
pub use workload::Workload;

use crate::time::Nanos;

/// A whole scenario file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// Short name, used for the run folder: letters, digits and dashes.
    pub name: String,
    /// What this scenario proves, in a sentence or two.
    #[serde(default)]
    pub description: String,
    /// Seed of everything random in the run.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// What is put under load.
    #[serde(default)]
    pub target: Target,
    /// How a request reaches a pod.
    #[serde(default)]
    pub path: Path,
    /// Who changes `spec.replicas` by what it measures: an `autoscaling/v2` spec without its
    /// `scaleTargetRef`, which is the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<Autoscaler>,
    /// How metrics reach the autoscaler (`local`, `sim`; on `kube` the cluster has its own).
    #[serde(default, skip_serializing_if = "MetricsPipeline::is_default")]
    pub metrics_pipeline: MetricsPipeline,
    /// How the autoscaler's controller is set (`local`, `sim`; a cluster has its own).
    #[serde(default, skip_serializing_if = "ControllerManager::is_default")]
    pub controller_manager: ControllerManager,
    /// The machines and the network under a simulated run (`sim`).
    #[serde(default, skip_serializing_if = "Simulation::is_default")]
    pub simulation: Simulation,
    /// Nodes that have room for so many pods (`sim`). Without them there is always room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Nodes>,
    /// The requests that are owed.
    pub traffic: Traffic,
    /// What is done to the deployment, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ScheduledEvent>,
    /// What must hold for the run to pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<Objective>,
    /// What `highwater tune` may change; what the autoscaler has, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tune: Option<Tune>,
    /// What `highwater compare` holds a new run against: bounds of the run itself, or of how much
    /// more it may have than the base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
}

fn default_seed() -> u64 {
    1
}

/// The way from a client to a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Path {
    /// `l4`: each new connection goes to one endpoint, as kube-proxy does it.
    /// `l7`: a reverse proxy with a keep-alive pool to the pods, as an ingress does it.
    pub kind: PathKind,
    /// How many independent views of the endpoints the clients have (`l4`): nodes with a
    /// kube-proxy of their own.
    pub clients: u32,
    /// How many workers the proxy has (`l7`); each learns of endpoints with a delay of its own.
    pub proxy_workers: u32,
    /// How long a change of the endpoints takes to reach a client or a proxy worker; drawn for
    /// each of them and each change.
    pub propagation: Distribution,
    /// Whether the proxy resends a request that failed (`l7`), to another pod where there is one.
    /// Every failure that it hides so is recorded.
    pub retry: Retry,
    /// How often the proxy resends one request at most (`l7` with `retry`).
    #[serde(skip_serializing_if = "is_default_retries")]
    pub retries: u32,
    /// How the proxy chooses among the pods (`l7`).
    #[serde(skip_serializing_if = "Balancing::is_default")]
    pub balancing: Balancing,
    /// When the proxy passes a pod over that failed (`l7`); never if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive_health: Option<PassiveHealth>,
    /// Whether the proxy keeps its connections to the pods (`l7`).
    pub keep_alive: bool,
    /// How long the proxy waits for a connection to a pod (`l7`).
    pub connect_timeout: Nanos,
    /// How long the proxy waits for the next byte of a pod's response (`l7`).
    pub response_timeout: Nanos,
    /// After how long the proxy closes an idle connection to a pod (`l7`).
    pub idle_timeout: Nanos,
    /// After how many requests the proxy closes a connection to a pod (`l7`); never if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_per_connection: Option<u32>,
    /// The kind of Service that clients connect to (`kube`): `ClusterIP` from pods, `NodePort`
    /// also from outside of the cluster.
    #[serde(skip_serializing_if = "ServiceType::is_default")]
    pub service_type: ServiceType,
    /// Where requests go in place of Highwater's own proxy (`l7` on `kube`): an ingress of the
    /// user's, as `http://host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The Host header of requests; that of `url`, or the scenario's name, if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Two retries make three tries, as ingress-nginx has them (`proxy-next-upstream-tries`).
const RETRIES: u32 = 2;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_default_retries(retries: &u32) -> bool {
    *retries == RETRIES
}

impl Default for Path {
    /// Time-outs as ingress-nginx has them (5 s connect, 60 s read, 60 s upstream keep-alive).
    /// Source: `ingress-nginx internal/ingress/controller/config/config.go`.
    fn default() -> Self {
        Self {
            kind: PathKind::L4,
            clients: 1,
            proxy_workers: 2,
            propagation: Distribution::Fixed(Nanos::from_millis(100)),
            retry: Retry::None,
            retries: RETRIES,
            balancing: Balancing::RoundRobin,
            passive_health: None,
            keep_alive: true,
            connect_timeout: Nanos::from_secs(5),
            response_timeout: Nanos::from_secs(60),
            idle_timeout: Nanos::from_secs(60),
            max_requests_per_connection: None,
            service_type: ServiceType::ClusterIp,
            url: None,
            host: None,
        }
    }
}

impl Path {
    /// How many consumers of the endpoints there are: clients (`l4`) or proxy workers (`l7`).
    pub fn consumers(&self) -> u32 {
        match self.kind {
            PathKind::L4 => self.clients,
            PathKind::L7 => self.proxy_workers,
        }
    }
}

/// See [`Path::kind`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// Connections go to the pods.
    #[default]
    L4,
    /// Requests go through a reverse proxy.
    L7,
}

/// See [`Path::service_type`]; the Service's `spec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// An address within the cluster.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// A port of every node.
    NodePort,
}

impl ServiceType {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
