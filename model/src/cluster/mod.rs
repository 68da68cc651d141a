//! A Deployment with its pods and its service, as one machine: Deployment and ReplicaSet
//! controllers, a node's kubelet (containers, probes, hooks, terminations), the EndpointSlice and
//! its propagation to each consumer.
//!
//! The driver (`local` with processes, `sim` with models) owns the clock. It calls
//! [`Cluster::handle`] with what happened and [`Cluster::advance`] when a deadline has come, and
//! carries out the [`Effect`]s that come back. Same config, same inputs at the same times: same
//! effects.
//!
//! 1. [`controllers`]: the API server's objects with the [`deployment`] and [`replicaset`] controllers
//!    and their work queues (`queue`)
//! 2. [`pod`]: the kubelet's view of one pod: containers, hooks, terminations, back-off
//! 3. [`probe`]: the probes of one pod
//! 4. [`endpoints`]: the EndpointSlice and its way to each consumer
//! 5. `nodes`: the scheduler and the cluster autoscaler, where nodes have bounds
//! 6. `machine`: all of them joined

pub mod controllers;
pub mod deployment;
pub mod endpoints;
mod machine;
mod nodes;
pub mod pod;
pub mod probe;
mod queue;
pub mod replicaset;

pub use self::machine::{Cluster, PodPhase, PodState, PodView, Status};

use alloc::{string::String, vec::Vec};

use crate::{
    event::{DeleteReason, EventKind, ProbeKind, Signal, Source},
    spec::{Deployment, Distribution, LifecycleHandler, Which},
    time::{Nanos, Timestamp},
};

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Deployment.
    pub deployment: Deployment,
    /// How many consumers of the endpoints there are (clients or proxy workers).
    pub consumers: u32,
    /// How long a change of the endpoints takes to each consumer.
    pub propagation: Distribution,
    /// What Kubernetes itself takes.
    pub timing: Timing,
    /// Seed of everything random.
    pub seed: u64,
}

/// The delays of Kubernetes' own parts.
///
/// *Source* of defaults: `lifecycle-semantics.md` section 7.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// From a pod's creation to the start of its container, without the container's own start
    /// (scheduling, sandbox).
    pub start: Distribution,
    /// From a deletion to the kubelet's first step (preStop or SIGTERM).
    pub kubelet_delay: Distribution,
    /// From a change of a pod to the EndpointSlice's.
    pub endpoints_delay: Distribution,
    /// How often the kubelet looks for ended containers (PLEG relist).
    pub relist: Nanos,
    /// From the container's end to the pod's being gone: the kubelet's next relist, the sandbox, and
    /// the status manager's last word to the API server.
    ///
    /// *Source* of the default: the recordings of `tests/recorded.rs`.
    pub teardown: Distribution,
}

impl Default for Timing {
    fn default() -> Self {
        let millis =
            |low, high| Distribution::Uniform(Nanos::from_millis(low), Nanos::from_millis(high));
        Self {
            start: millis(50, 200),
            kubelet_delay: millis(10, 100),
            endpoints_delay: millis(10, 200),
            relist: Nanos::from_secs(1),
            teardown: millis(400, 1600),
        }
    }
}

/// A container of a pod: the pod's number, and how many containers the pod had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    /// The pod, ascending from 0 in order of creation, never used again.
    pub pod: u32,
    /// Containers of this pod before this one.
    pub restarts: u32,
}

/// What happened, told to the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The container's process runs (answer to [`Effect::StartContainer`]).
    ContainerStarted {
        /// Which.
        container: ContainerId,
        /// Its address and port, for the record.
        address: Option<String>,
        /// Its process, for the record.
        pid: Option<u32>,
    },
    /// The container could not be started (answer to [`Effect::StartContainer`]). Tried again with
    /// back-off.
    ContainerStartFailed {
        /// Which.
        container: ContainerId,
        /// Why.
        reason: String,
    },
    /// The container's process ended. The cluster notices at its next relist, or at once if it
    /// waits for this end (termination).
    ContainerExited {
        /// Which.
        container: ContainerId,
        /// Exit code, or 128 + signal.
        code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// A probe's answer (to [`Effect::RunProbe`]). Late answers, of containers that are gone or
    /// probes that are over, are ignored.
    ProbeDone {
        /// As in [`Effect::RunProbe`].
        probe: u64,
        /// Whether it passed.
        passed: bool,
        /// What it saw, for the record.
        detail: String,
    },
    /// A hook's end (answer to [`Effect::RunPreStop`]).
    PreStopDone {
        /// Which.
        container: ContainerId,
        /// Whether it did what it should.
        ok: bool,
        /// What went wrong.
        detail: String,
    },
    /// `kubectl rollout restart` or a change of the template.
    Rollout,
    /// A new `spec.replicas`.
    Scale {
        /// The new number.
        replicas: u32,
    },
    /// A graceful deletion of one pod (never one that is on its way out already).
    DeletePod {
        /// Which.
        which: Which,
        /// Who wanted it.
        reason: DeleteReason,
    },
    /// A signal from outside to one pod's process.
    Kill {
        /// Which.
        which: Which,
        /// The signal.
        signal: Signal,
    },
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start the container's process; answer with `ContainerStarted` or `ContainerStartFailed`.
    StartContainer {
        /// Which.
        container: ContainerId,
        /// The pod's name.
        pod: String,
        /// The revision of its template, from 1.
        revision: u32,
    },
    /// Send a signal to the container's process.
    Signal {
        /// Which.
        container: ContainerId,
        /// The signal.
        signal: Signal,
    },
    /// Run a probe once, within `timeout` (answering later than that is answering "failed");
    /// answer with `ProbeDone`.
    RunProbe {
        /// Number of this run, ascending, never used again.
        probe: u64,
        /// Which container.
        container: ContainerId,
        /// Which of the template's probes (of the pod's revision).
        kind: ProbeKind,
        /// The bound.
        timeout: Nanos,
    },
    /// Run a preStop hook of kind `exec` or `httpGet`, within `timeout`; answer with
    /// `PreStopDone`. (`sleep` the cluster does itself.)
    RunPreStop {
        /// Which container.
        container: ContainerId,
        /// The hook.
        hook: LifecycleHandler,
        /// The bound.
        timeout: Nanos,
    },
    /// A consumer learns of the endpoints now.
    ApplyView {
        /// Client or proxy worker.
        consumer: u32,
        /// The endpoints' version.
        version: u64,
        /// The pods that it may choose now (numbers, in order of creation), after kube-proxy's
        /// fallback to serving and terminating ones where none is ready.
        routed: Vec<u32>,
    },
    /// The pod's sandbox is gone; free what belongs to it.
    RemovePod {
        /// Which.
        pod: u32,
    },
    /// Something for the record, at the time of this call. The driver adds time and number.
    Emit {
        /// Who says so.
        source: Source,
        /// What.
        kind: EventKind,
    },
}

/// Times as the API server stores them: whole seconds.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::ZERO + Nanos::from_secs(at.second())
}
