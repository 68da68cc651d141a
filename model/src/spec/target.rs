//! What is put under load.

use alloc::{string::String, vec::Vec};
use core::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Deployment, Distribution, EnvVar, Workload};
use crate::{
    time::Nanos,
    units::{Bytes, IntOrPercent},
};

/// The target: the bundled service (`service`, the default), any `command` (`local`), a
/// `workload` that is already there (`kube`), or whatever answers at a `url` (`local`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Target {
    /// The bundled service and what a request costs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// A command that listens on the port in `$PORT` (also `{port}`), on the address in `$HOST`
    /// (`{host}`). Program and arguments; no shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// A Deployment and a Service of the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// A server without any deployment, as `http://host:port`: nothing is started, nothing is
    /// done to it, and nothing is known of what is behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Environment of the command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// The Deployment.
    pub deployment: Deployment,
    /// What evictions have to leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<DisruptionBudget>,
    /// The switchable wrong behaviours of the bundled service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub misbehave: Vec<Misbehaviour>,
}

/// `policy/v1` PodDisruptionBudget spec for the pods of the target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DisruptionBudget {
    /// How many ready pods an eviction must leave; a percentage is of the replicas, rounded up.
    pub min_available: IntOrPercent,
}

/// The bundled service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    /// CPU time that a request takes.
    pub cpu: Nanos,
    /// Time that a request waits, apart from CPU.
    pub latency: Distribution,
    /// Size of the response body.
    pub body: Bytes,
    /// From the process's start to its listening.
    pub startup: Nanos,
    /// How many requests it works on at once, the others wait; any number if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// How many requests may wait for a worker, and what becomes of one more; any number if not
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// How its first requests are slower; not at all if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<WarmUp>,
    /// What becomes of a request whose client is gone.
    #[serde(skip_serializing_if = "OnCancel::is_default")]
    pub on_cancel: OnCancel,
    /// What it does on SIGTERM.
    pub drain: Drain,
    /// After how long it closes an idle connection; never if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Nanos>,
    /// What it closes at the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
}

/// The queue before the workers of the bundled service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Queue {
    /// How many requests may wait; with 0 none does.
    pub length: u32,
    /// What becomes of one more.
    #[serde(default)]
    pub full: WhenFull,
}

/// What a service with a full queue does with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Answers 503 at once.
    #[default]
    Unavailable,
    /// Closes its connection without an answer.
    Close,
}

/// Why a service is slower at first: caches are empty, code is not compiled yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WarmUp {
    /// How long, from its listening; or
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub for_: Option<Nanos>,
    /// how many requests of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// How many times as long such a request takes, CPU and waiting alike.
    pub factor: f64,
}

/// What becomes of a request whose client is gone: it timed out, or closed its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnCancel {
    /// It waits no more, neither for its turn nor in it, and another has its worker. CPU work that
    /// was begun is done.
    #[default]
    Stop,
    /// It is worked on to its end, for nobody.
    Finish,
}

impl OnCancel {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The drain of the bundled service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// How long it serves on after SIGTERM, until every client has learnt that it goes.
    pub delay: Nanos,
    /// When it cancels what is still in flight, from SIGTERM.
    pub deadline: Nanos,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Nanos::from_secs(5), deadline: Nanos::from_secs(30) }
    }
}

/// Something that the bundled service closes at the end of its drain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// How long closing it takes.
    #[serde(default)]
    pub close: Nanos,
}

macro_rules! misbehaviours {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A wrong behaviour of the bundled service, each a named anti-pattern.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Misbehaviour {
            $(#[doc = $doc] $variant,)*
        }

        impl Misbehaviour {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in scenario files.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

misbehaviours! {
    NoSignalHandler "no-signal-handler" "Ignores SIGTERM, as PID 1 without a handler does.",
    ExitOnSigterm "exit-on-sigterm" "Exits at once on SIGTERM.",
    CloseListenerFirst "close-listener-first" "Closes the listener at once on SIGTERM.",
    DropAcceptQueue "drop-accept-queue" "Closes the listener with connections still in its queue.",
    RefuseWhileDraining "refuse-while-draining" "Answers 503 while it drains.",
    StayReady "stay-ready" "Stays ready while it drains.",
    UnreadyTooEarly "unready-too-early" "Fails readiness at once although it is the last pod.",
    ReadyBeforeListening "ready-before-listening" "Says that it is ready before it listens.",
    ReadyBeforeWarm "ready-before-warm" "Says that it is ready before it is warm.",
    BindLoopback "bind-loopback" "Binds 127.0.0.1 only.",
    ShortIdleTimeout "short-idle-timeout" "Closes idle connections before its clients do.",
    NoConnectionClose "no-connection-close" "Drains without `Connection: close`.",
    BlockingCleanup "blocking-cleanup" "Cleans up before it serves what is in flight.",
    EndlessDrain "endless-drain" "Drains without a deadline.",
    LivenessOnDependency "liveness-on-dependency" "Fails liveness when a dependency fails.",
    SlowProbeUnderLoad "slow-probe-under-load" "Answers probes behind the traffic.",
    ColdStart "cold-start" "Is slow on its first requests.",
    MemoryGrowth "memory-growth" "Grows with each request.",
    CrashOnRequest "crash-on-request" "Crashes on some requests.",
    SelfScaling "self-scaling" "PATCHes its own replicas.",
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Misbehaviour {
    type Err = crate::units::ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|known| known.name() == text).ok_or_else(|| {
            crate::units::ParseUnitError {
                text: text.into(),
                expected: "a wrong behaviour of the bundled service",
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_file_format() {
        for known in Misbehaviour::ALL {
            assert_eq!(
                serde_json::to_string(known).expect("serialises"),
                std::format!("\"{known}\"")
            );
            assert_eq!(known.name().parse(), Ok(*known));
        }
        assert!("exit".parse::<Misbehaviour>().is_err());
    }
}
