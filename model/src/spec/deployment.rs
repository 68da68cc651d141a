//! The Deployment block, in Kubernetes' own spelling. A pod here has one container, so the fields
//! of the pod and of its container stand side by side under `template`.
//!
//! *Source* of defaults: kubernetes/api `apps/v1/types.go`, `core/v1/types.go`.

use alloc::{borrow::Cow, string::String, vec::Vec};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    event::Signal,
    units::{Bytes, IntOrPercent, MilliCpu},
};

/// `apps/v1` Deployment spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Deployment {
    /// How many pods are wanted.
    pub replicas: u32,
    /// How old pods are replaced.
    pub strategy: Strategy,
    /// How long a pod must be ready to count as available.
    pub min_ready_seconds: u32,
    /// After how long without progress the rollout is reported as stuck.
    pub progress_deadline_seconds: u32,
    /// The pod.
    pub template: PodTemplate,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            replicas: 1,
            strategy: Strategy::default(),
            min_ready_seconds: 0,
            progress_deadline_seconds: 600,
            template: PodTemplate::default(),
        }
    }
}

/// `spec.strategy`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Strategy {
    /// `RollingUpdate` (default) or `Recreate`.
    #[serde(rename = "type")]
    pub kind: StrategyType,
    /// Only with `RollingUpdate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
}

impl Strategy {
    /// The bounds of a rolling update for `replicas`: pods above, pods unavailable. If both come
    /// to zero, one may be unavailable.
    ///
    /// *Source*: `pkg/controller/deployment/util/deployment_util.go`, `ResolveFenceposts`.
    pub fn fenceposts(&self, replicas: u32) -> (u32, u32) {
        let update = self.rolling_update.clone().unwrap_or_default();
        let surge = update.max_surge.resolve_up(replicas);
        let unavailable = update.max_unavailable.resolve_down(replicas);
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }
}

/// `spec.strategy.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StrategyType {
    /// New pods come as old ones go.
    #[default]
    RollingUpdate,
    /// All old pods go first.
    Recreate,
}

/// `spec.strategy.rollingUpdate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RollingUpdate {
    /// How many pods there may be above `replicas`.
    pub max_surge: IntOrPercent,
    /// How many pods may be unavailable.
    pub max_unavailable: IntOrPercent,
}

impl Default for RollingUpdate {
    fn default() -> Self {
        Self { max_surge: IntOrPercent::Percent(25), max_unavailable: IntOrPercent::Percent(25) }
    }
}

/// The pod and its one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodTemplate {
    /// How long the pod has from deletion to SIGKILL.
    pub termination_grace_period_seconds: u32,
    /// Hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Passes once the container has started; the other probes wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// Passes while the pod should get traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// Fails when the container should be restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// Requests and limits.
    pub resources: Resources,
}

impl Default for PodTemplate {
    fn default() -> Self {
        Self {
            termination_grace_period_seconds: 30,
            lifecycle: None,
            startup_probe: None,
            readiness_probe: None,
            liveness_probe: None,
            resources: Resources::default(),
        }
    }
}

/// `lifecycle`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Lifecycle {
    /// Runs before the stop signal, within the grace period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<LifecycleHandler>,
    /// The signal that asks the container to end: SIGTERM if not given.
    ///
    /// *Source*: KEP 4960, since Kubernetes 1.33 behind the feature gate `ContainerStopSignals`;
    /// in older clusters the image's STOPSIGNAL does the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<Signal>,
}

/// `preStop`: exactly one of the actions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LifecycleHandler {
    /// Waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepAction>,
    /// Runs a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// Makes a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
}

/// `sleep`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SleepAction {
    /// How long, whole seconds.
    pub seconds: u32,
}

/// `exec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecAction {
    /// Program and arguments; no shell.
    pub command: Vec<String>,
}

/// `httpGet`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGetAction {
    /// The path; `/` if not given.
    #[serde(default = "root_path")]
    pub path: String,
    /// A port's name (`http`, `health`) or number. The bundled service's probes go to `health`
    /// and a command's to `http` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// `HTTP` is the only one that `local` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Headers of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_headers: Vec<HttpHeader>,
}

fn root_path() -> String {
    "/".into()
}

/// One of `httpHeaders`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpHeader {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// `tcpSocket`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpSocketAction {
    /// As [`HttpGetAction::port`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
}

/// A port by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    /// `http` or `health`.
    Name(String),
    /// A number.
    Number(u16),
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Number(number) => serializer.serialize_u16(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = crate::units::deserialize_scalar(deserializer)?;
        Ok(text.parse().map_or(Self::Name(text), Self::Number))
    }
}

impl JsonSchema for Port {
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "description": "A port's name (http, health) or number"})
    }
}

/// A probe: exactly one of `httpGet`, `tcpSocket` and `exec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Probe {
    /// A GET that must answer 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
    /// A connection that must come about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocketAction>,
    /// A command that must exit 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// From the container's start to the first probe.
    pub initial_delay_seconds: u32,
    /// From probe to probe; at least 1.
    pub period_seconds: u32,
    /// How long a probe may take; at least 1.
    pub timeout_seconds: u32,
    /// Passes in a row that make a success; must be 1 for startup and liveness.
    pub success_threshold: u32,
    /// Failures in a row that make a failure.
    pub failure_threshold: u32,
    /// Grace period when this probe (startup, liveness) ends the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<u32>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            http_get: None,
            tcp_socket: None,
            exec: None,
            initial_delay_seconds: 0,
            period_seconds: 10,
            timeout_seconds: 1,
            success_threshold: 1,
            failure_threshold: 3,
            termination_grace_period_seconds: None,
        }
    }
}

/// `resources`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// What the pod reserves, and what utilisation is a percentage of.
    pub requests: ResourceList,
    /// What the pod may not exceed.
    pub limits: ResourceList,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResourceList {
    /// CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
}

/// One of `env`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVar {
    /// Name.
    pub name: String,
    /// Value.
    #[serde(default)]
    pub value: String,
}
