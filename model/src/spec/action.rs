//! What is done to the target while the traffic runs.

use alloc::{boxed::Box, string::String, vec::Vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Behavior, EnvVar, MetricSpec, Misbehaviour, Service};
use crate::{event::Signal, time::Nanos};

/// Something done to the deployment at a time.
///
/// Exactly one of the actions must be given.
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
    /// The eviction API, as `kubectl drain` uses it: asks the PodDisruptionBudgets first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evict: Option<PodChoice>,
    /// `kubectl drain`: cordons a node and evicts the target's pods from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_node: Option<DrainNode>,
    /// Changes the autoscaler's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_autoscaler: Option<PatchAutoscaler>,
    /// Takes the resource metrics away for a while, as a broken metrics-server does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_outage: Option<MetricsOutage>,
    /// Stops a pod's processes for a while (SIGSTOP, then SIGCONT), as a long pause of its runtime or
    /// of its machine does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// Takes a dependency of the bundled service away for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency_outage: Option<DependencyOutage>,
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
            self.evict.clone().map(Action::Evict),
            self.drain_node.clone().map(Action::DrainNode),
            self.patch_autoscaler.clone().map(Action::PatchAutoscaler),
            self.metrics_outage.clone().map(Action::MetricsOutage),
            self.freeze.clone().map(Action::Freeze),
            self.dependency_outage.clone().map(Action::DependencyOutage),
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
    /// See [`ScheduledEvent::evict`].
    Evict(PodChoice),
    /// See [`ScheduledEvent::drain_node`].
    DrainNode(DrainNode),
    /// See [`ScheduledEvent::patch_autoscaler`].
    PatchAutoscaler(PatchAutoscaler),
    /// See [`ScheduledEvent::metrics_outage`].
    MetricsOutage(MetricsOutage),
    /// See [`ScheduledEvent::freeze`].
    Freeze(Freeze),
    /// See [`ScheduledEvent::dependency_outage`].
    DependencyOutage(DependencyOutage),
}

impl Action {
    /// The key in scenario files.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Rollout(_) => "rollout",
            Self::Scale(_) => "scale",
            Self::Delete(_) => "delete",
            Self::Kill(_) => "kill",
            Self::Evict(_) => "evict",
            Self::DrainNode(_) => "drainNode",
            Self::PatchAutoscaler(_) => "patchAutoscaler",
            Self::MetricsOutage(_) => "metricsOutage",
            Self::Freeze(_) => "freeze",
            Self::DependencyOutage(_) => "dependencyOutage",
        }
    }
}

/// A rollout to a new revision of the pod template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    /// The wrong behaviours of the new revision; as the old one if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misbehave: Option<Vec<Misbehaviour>>,
    /// The image of the new revision; as the old one if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The bundled service of the new revision, the whole of it; as the old one if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Box<Service>>,
    /// The command of the new revision; as the old one if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Environment that the new revision has in addition, or with other values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
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
    /// As Ctrl-C.
    Sigint,
    /// As a terminal that is gone.
    Sighup,
    /// As Ctrl-\.
    Sigquit,
    /// As `abort`.
    Sigabrt,
    /// The program's own meaning.
    Sigusr1,
    /// The program's own meaning.
    Sigusr2,
}

impl KillSignal {
    /// The signal of the record's events.
    pub const fn signal(self) -> Signal {
        match self {
            Self::Sigkill => Signal::Sigkill,
            Self::Sigterm => Signal::Sigterm,
            Self::Sigint => Signal::Sigint,
            Self::Sighup => Signal::Sighup,
            Self::Sigquit => Signal::Sigquit,
            Self::Sigabrt => Signal::Sigabrt,
            Self::Sigusr1 => Signal::Sigusr1,
            Self::Sigusr2 => Signal::Sigusr2,
        }
    }
}

/// A node to be drained: the one that the chosen pod runs on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DrainNode {
    /// Which of the target's pods points at the node.
    pub pod: Which,
    /// After how long the node takes pods again; at the end of the run if not given.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<Nanos>,
}

/// Fields of the autoscaler's spec that take the place of the present ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PatchAutoscaler {
    /// `minReplicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<u32>,
    /// `maxReplicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<u32>,
    /// `metrics`, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<MetricSpec>>,
    /// `behavior`, the whole of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
}

/// A time without resource metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsOutage {
    /// How long.
    #[serde(rename = "for")]
    pub for_: Nanos,
}

/// A pause of one pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// Which pod.
    #[serde(default)]
    pub pod: Which,
    /// How long.
    #[serde(rename = "for")]
    pub for_: Nanos,
}

/// A time without a dependency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DependencyOutage {
    /// Which of `target.service.dependencies`.
    pub name: String,
    /// How long.
    #[serde(rename = "for")]
    pub for_: Nanos,
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
