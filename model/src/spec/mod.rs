//! The scenario as plain data: what a scenario file says, in the spelling of the file.
//!
//! Keys are spelled as in Kubernetes (`camelCase`); unknown keys are errors. Reading a file, with
//! line numbers and advice, is the harness's work; relations between fields are in [`validate`].

mod deployment;
mod distribution;
mod objective;
mod target;
mod traffic;
pub mod validate;

use alloc::{string::String, vec::Vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use deployment::{
    Deployment, EnvVar, ExecAction, HttpGetAction, HttpHeader, Lifecycle, LifecycleHandler,
    PodTemplate, Port, Probe, ResourceList, Resources, RollingUpdate, SleepAction, Strategy,
    StrategyType, TcpSocketAction,
};
pub use distribution::Distribution;
pub use objective::{Bound, BoundOp, Measure, Objective};
pub use target::{Dependency, Drain, Misbehaviour, Service, Target};
pub use traffic::{Arrivals, Expect, Header, Phase, PhaseShape, Ramp, RequestKind, Traffic};

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
    /// The requests that are owed.
    pub traffic: Traffic,
    /// What is done to the deployment, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ScheduledEvent>,
    /// What must hold for the run to pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objectives: Vec<Objective>,
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
    /// Whether the proxy resends a request that failed (`l7`).
    pub retry: Retry,
    /// Whether the proxy keeps its connections to the pods (`l7`).
    pub keep_alive: bool,
    /// How long the proxy waits for a connection to a pod (`l7`).
    pub connect_timeout: Nanos,
    /// How long the proxy waits for the next byte of a pod's response (`l7`).
    pub response_timeout: Nanos,
    /// After how long the proxy closes an idle connection to a pod (`l7`).
    pub idle_timeout: Nanos,
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
            keep_alive: true,
            connect_timeout: Nanos::from_secs(5),
            response_timeout: Nanos::from_secs(60),
            idle_timeout: Nanos::from_secs(60),
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

/// See [`Path::retry`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Never: every failure is seen.
    #[default]
    None,
}

/// Something done to the deployment at a time.
///
/// Exactly one of `rollout`, `scale`, `delete` and `kill` must be given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduledEvent {
    /// When, from the start of the traffic.
    pub at: Nanos,
    /// `kubectl rollout restart`: replaces every pod by the deployment's strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// `kubectl scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// `kubectl delete pod`: graceful deletion of one pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<PodChoice>,
    /// A signal to one pod's process, as a crash gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<Kill>,
    /// Does the same again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Repeat>,
}

impl ScheduledEvent {
    /// The one action of this event, if exactly one is given.
    pub fn action(&self) -> Option<Action> {
        let mut actions = [
            self.rollout.clone().map(Action::Rollout),
            self.scale.clone().map(Action::Scale),
            self.delete.clone().map(Action::Delete),
            self.kill.clone().map(Action::Kill),
        ]
        .into_iter()
        .flatten();
        let action = actions.next();
        if actions.next().is_some() { None } else { action }
    }
}

/// What an event does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// See [`ScheduledEvent::rollout`].
    Rollout(Rollout),
    /// See [`ScheduledEvent::scale`].
    Scale(Scale),
    /// See [`ScheduledEvent::delete`].
    Delete(PodChoice),
    /// See [`ScheduledEvent::kill`].
    Kill(Kill),
}

/// A rollout to a new revision of the pod template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    /// The wrong behaviours of the new revision; as the old one if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misbehave: Option<Vec<Misbehaviour>>,
}

/// A change of `spec.replicas`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// The new number of replicas.
    pub replicas: u32,
}

/// Which pod is meant: chosen among the running ones at that moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodChoice {
    /// `oldest` (default) or `newest`.
    pub pod: Which,
}

/// See [`PodChoice`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The pod that was created first.
    #[default]
    Oldest,
    /// The pod that was created last.
    Newest,
}

/// A signal to a pod's process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kill {
    /// Which pod.
    pub pod: Which,
    /// Which signal.
    pub signal: KillSignal,
}

impl Default for Kill {
    fn default() -> Self {
        Self { pod: Which::Oldest, signal: KillSignal::Sigkill }
    }
}

/// See [`Kill::signal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum KillSignal {
    /// Ends the process at once.
    #[default]
    Sigkill,
    /// Asks the process to end.
    Sigterm,
}

/// A repetition of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repeat {
    /// The time between one and the next.
    pub every: Nanos,
    /// How often in all, the first one included.
    pub times: u32,
}
