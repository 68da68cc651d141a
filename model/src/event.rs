//! The one vocabulary of events that every backend emits.

use alloc::{string::String, vec::Vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    spec::Action,
    time::{Nanos, Timestamp},
};

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it happened, as exactly as `source` knows.
    pub at: Timestamp,
    /// Ascending within a run; ties in `at` are in this order.
    pub seq: u64,
    /// Who says so.
    pub source: Source,
    /// How far off `at` may be; exact to the clock if absent. A cluster's own times are whole
    /// seconds, its observations are late by the watch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Nanos>,
    /// The time that the object itself gives, where `at` is the observation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated: Option<Timestamp>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Who knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The harness itself.
    Harness,
    /// The load engine.
    Load,
    /// Deployment, ReplicaSet and EndpointSlice controllers.
    Controller,
    /// The node: containers, probes, hooks, signals.
    Kubelet,
    /// A proxy, or a client's view of the endpoints.
    Proxy,
    /// The target, about itself.
    Target,
    /// A cluster's API server, as observed.
    Api,
    /// The autoscaler.
    Autoscaler,
    /// The metrics pipeline.
    Metrics,
}

/// What happened. Pods are named `v<revision>-<number>` by our own controllers, and as the cluster
/// names them on `kube`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum EventKind {
    /// The cluster that a run is on.
    ClusterFound {
        /// Kubernetes' version.
        version: String,
        /// Its nodes.
        nodes: Vec<String>,
        /// The run's own name in it.
        run: String,
        /// The namespace that the run owns in it.
        namespace: String,
    },
    /// The target is up; traffic begins.
    TrafficStarted,
    /// A phase of the traffic begins.
    PhaseStarted {
        /// Its name.
        phase: String,
    },
    /// The last request is owed.
    TrafficEnded,
    /// An event of the scenario begins.
    ActionStarted {
        /// Ascending from 0.
        action_id: u32,
        /// What is done.
        action: Action,
    },
    /// What had been asked for was accepted.
    ActionAccepted {
        /// As in `ActionStarted`.
        action_id: u32,
    },
    /// What had been asked for could not be done.
    ActionRefused {
        /// As in `ActionStarted`.
        action_id: u32,
        /// Why.
        reason: String,
    },
    /// What had been asked for began to show.
    ActionEffect {
        /// As in `ActionStarted`.
        action_id: u32,
        /// What was seen, in words.
        seen: String,
    },
    /// The numbers of the deployment changed.
    Replicas {
        /// `spec.replicas`.
        desired: u32,
        /// Pods that are not terminating.
        current: u32,
        /// Of these, of the newest revision.
        updated: u32,
        /// Of these, ready.
        ready: u32,
        /// Of these, available.
        available: u32,
        /// Pods on their way out.
        terminating: u32,
    },
    /// A rollout begins.
    RolloutStarted {
        /// The new revision.
        revision: u32,
    },
    /// A rollout is complete: all pods updated and available (old ones may still terminate).
    RolloutComplete {
        /// The new revision.
        revision: u32,
    },
    /// No progress for `progressDeadlineSeconds`.
    ProgressDeadlineExceeded {
        /// The new revision.
        revision: u32,
    },
    /// A ReplicaSet was made or changed its size.
    ReplicasetScaled {
        /// Its revision.
        revision: u32,
        /// Old size.
        from: u32,
        /// New size.
        to: u32,
    },
    /// A pod was made.
    PodCreated {
        /// Its name.
        pod: String,
        /// The revision of its template.
        revision: u32,
    },
    /// A pod was given to a node.
    PodScheduled {
        /// The pod.
        pod: String,
        /// The node.
        node: String,
    },
    /// No node has room for a pod, or none may take it.
    PodUnschedulable {
        /// The pod.
        pod: String,
        /// What the scheduler says.
        message: String,
    },
    /// A pod's container was started.
    ContainerStarted {
        /// The pod.
        pod: String,
        /// How many containers it had before.
        restarts: u32,
        /// The pod's address and port.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// The process, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
    },
    /// A pod's container could not be started.
    ContainerStartFailed {
        /// The pod.
        pod: String,
        /// Why.
        reason: String,
    },
    /// A pod's Ready condition became true.
    PodReady {
        /// The pod.
        pod: String,
    },
    /// A pod's Ready condition became false.
    PodUnready {
        /// The pod.
        pod: String,
        /// Why.
        reason: String,
    },
    /// A probe's verdict changed, or a probe failed below its threshold.
    ProbeResult {
        /// The pod.
        pod: String,
        /// Which probe.
        probe: ProbeKind,
        /// Whether it passed.
        passed: bool,
        /// Results of this kind in a row.
        run: u32,
        /// What it saw.
        detail: String,
    },
    /// A probe's failures end the container (no deletion: the endpoint stays until it is unready).
    ProbeKill {
        /// The pod.
        pod: String,
        /// `startup` or `liveness`.
        probe: ProbeKind,
    },
    /// A pod's deletion was requested: T0 of its termination.
    PodDeleted {
        /// The pod.
        pod: String,
        /// The grace period.
        grace: Nanos,
        /// Who wanted it.
        reason: DeleteReason,
    },
    /// The preStop hook began.
    PreStopStarted {
        /// The pod.
        pod: String,
    },
    /// The preStop hook ended.
    PreStopEnded {
        /// The pod.
        pod: String,
        /// Whether it did what it should.
        ok: bool,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// A signal was sent to the container.
    SignalSent {
        /// The pod.
        pod: String,
        /// Which.
        signal: Signal,
        /// Whether the termination sequence sent it (and not a `kill` of the scenario).
        by_kubelet: bool,
    },
    /// The container's process ended. `at` is when it did, not when the node noticed.
    ContainerExited {
        /// The pod.
        pod: String,
        /// Exit code, or 128 + signal.
        code: i32,
        /// The signal that ended it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        /// Killed for its memory.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        oom: bool,
    },
    /// A container will be started again.
    BackOff {
        /// The pod.
        pod: String,
        /// The wait, from the exit.
        wait: Nanos,
    },
    /// The pod is gone: its address answers no more and its object is deleted.
    PodGone {
        /// The pod.
        pod: String,
    },
    /// The EndpointSlices changed.
    Endpoints {
        /// Ascending.
        version: u64,
        /// All endpoints, by pod.
        endpoints: Vec<Endpoint>,
    },
    /// A consumer of the endpoints applied a version: new connections and picks follow it.
    ViewApplied {
        /// Client (`l4`) or proxy worker (`l7`).
        consumer: u32,
        /// The version.
        version: u64,
        /// The pods it may choose now.
        routed: Vec<String>,
    },
    /// The target's own word about its life.
    Lifecycle {
        /// The pod.
        pod: String,
        /// What.
        phase: LifecyclePhase,
        /// Details as the target gave them, as text.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
    },
    /// A proxy's client went away before the pod had answered, or just as the proxy answered itself.
    ClientGone {
        /// The request's id.
        request_id: u64,
        /// The try that it left.
        hop: crate::outcome::Hop,
    },
    /// A proxy sent a request again after an attempt that failed: what its client did not see.
    Retried {
        /// How many attempts this stands for; at least 1. The rest describes the first of them.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        n: u64,
        /// The request's id, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<u64>,
        /// Whether a pod answered a later attempt. The answer may still break, or be no good one:
        /// then the request is among the failures.
        rescued: bool,
        /// The attempt; its `tries` is its place among those of its request, from 1.
        hop: crate::outcome::Hop,
    },
    /// A proxy's worker passes a pod over from now on, as too many attempts there failed
    /// (`path.passiveHealth`).
    EndpointEjected {
        /// The worker.
        consumer: u32,
        /// The pod.
        pod: String,
        /// How many attempts failed.
        fails: u32,
    },
    /// It passes the pod over no more: an attempt there succeeded. (Of a pod that leaves the
    /// worker's view meanwhile, the view tells.)
    EndpointReadmitted {
        /// The worker.
        consumer: u32,
        /// The pod.
        pod: String,
    },
    /// What the autoscaler measured, wants and says of itself changed.
    AutoscalerStatus {
        /// Replicas that it saw.
        current: u32,
        /// Replicas that it wants.
        desired: u32,
        /// Its metrics, in the order of its spec.
        metrics: Vec<MetricReading>,
        /// Its conditions.
        conditions: Vec<AutoscalerCondition>,
    },
    /// The autoscaler changed `spec.replicas`.
    AutoscalerDecision {
        /// Old number.
        from: u32,
        /// New number.
        to: u32,
        /// Why, in the autoscaler's own words.
        reason: String,
    },
    /// The autoscaler's settings, at first and whenever they changed.
    AutoscalerSpec {
        /// `minReplicas`.
        min: u32,
        /// `maxReplicas`.
        max: u32,
    },
    /// A pod's resources as the metrics API gives them.
    PodMetrics {
        /// The pod.
        pod: String,
        /// CPU, in billionths of a core.
        cpu_nano: u64,
        /// Memory, bytes.
        memory: u64,
        /// The time that the figures are averaged over; it ends at `stated`.
        window: Nanos,
    },
    /// A condition of a node changed, or its being schedulable.
    NodeCondition {
        /// The node.
        node: String,
        /// `Ready`, `MemoryPressure`, ... or `Schedulable`.
        condition: String,
        /// `True`, `False` or `Unknown`.
        status: String,
        /// Why, in a word.
        reason: String,
    },
    /// An Event of the cluster about the target.
    ClusterEvent {
        /// What it is about: `Pod/web-1`.
        object: String,
        /// Whether it is a warning.
        warning: bool,
        /// Why, in a word.
        reason: String,
        /// In words.
        message: String,
        /// How often it was seen so far.
        count: u32,
    },
    /// A generator is ready for its share.
    GeneratorReady {
        /// Which, from 0.
        generator: u32,
        /// Its pod.
        pod: String,
        /// Its node.
        node: String,
        /// Its clock's lead over the harness's, nanoseconds.
        offset_ns: i64,
        /// How far off `offset_ns` may be.
        uncertainty: Nanos,
    },
    /// A generator died or was never heard of again; what it still owed is unsent.
    GeneratorLost {
        /// Which.
        generator: u32,
        /// How, in words.
        reason: String,
        /// How many requests that is.
        unsent: u64,
    },
    /// For a while nothing was heard of the cluster: what happened in it is known by its effects
    /// only, with times that are late by up to the gap's length.
    WatchGap {
        /// What was watched.
        what: String,
        /// Since when.
        from: Timestamp,
        /// Why, in words.
        reason: String,
    },
    /// Counts of what the target asked of the API server, as it tells them (`self-scaling`).
    ApiUse {
        /// The pod.
        pod: String,
        /// Requests.
        requests: u64,
        /// Of these, answered 409: another writer came first.
        conflicts: u64,
        /// Of these, answered 429: throttled.
        throttled: u64,
        /// Of these, anything else but 2xx.
        errors: u64,
    },
    /// The proxy is up.
    ProxyStarted {
        /// Where it listens.
        address: String,
    },
    /// The proxy ended although the run did not.
    ProxyExited {
        /// How.
        reason: String,
    },
    /// Something that weakens what the record says.
    Warning {
        /// Which kind.
        code: WarningCode,
        /// In words.
        message: String,
    },
}

const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(n: &u64) -> bool {
    *n == 1
}

/// A metric of the autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricReading {
    /// Its name: `cpu`.
    pub name: String,
    /// What the figures count.
    pub unit: MetricUnit,
    /// What was measured; `None` if it could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<f64>,
    /// What it aims at.
    pub target: f64,
}

/// What a metric's figures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetricUnit {
    /// Percent of the pods' requests.
    Percent,
    /// Cores, or bytes, or whatever a custom metric counts; averaged over the pods.
    AverageValue,
    /// The same, in all.
    Value,
}

/// A condition of the autoscaler, as `kubectl describe hpa` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerCondition {
    /// `AbleToScale`, `ScalingActive` or `ScalingLimited`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: bool,
    /// Why, in a word.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// An endpoint of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Its pod.
    pub pod: String,
    /// Serving and not terminating.
    pub ready: bool,
    /// The pod's Ready condition.
    pub serving: bool,
    /// The pod is being deleted.
    pub terminating: bool,
}

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// `startupProbe`.
    Startup,
    /// `readinessProbe`.
    Readiness,
    /// `livenessProbe`.
    Liveness,
}

impl ProbeKind {
    /// `startup`, `readiness` or `liveness`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

/// Why a pod was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteReason {
    /// A rollout replaced it.
    Rollout,
    /// Fewer pods are wanted.
    ScaleDown,
    /// An event of the scenario deleted it.
    Deleted,
    /// The eviction API.
    Eviction,
    /// The run ended.
    Teardown,
    /// Not known (a cluster's own doing).
    Unknown,
}

/// A signal of the termination sequence, of a `kill` or of a `freeze`. What a program makes of those
/// that can be caught is its own affair.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// The default.
    Sigterm,
    /// Ends at once.
    Sigkill,
    /// As Ctrl-C.
    Sigint,
    /// As a terminal that is gone.
    Sighup,
    /// As Ctrl-\; asks nginx to finish its requests first.
    Sigquit,
    /// As `abort`.
    Sigabrt,
    /// The program's own meaning.
    Sigusr1,
    /// The program's own meaning.
    Sigusr2,
    /// Asks Apache's httpd to finish its requests first.
    Sigwinch,
    /// Freezes.
    Sigstop,
    /// Thaws.
    Sigcont,
}

impl Signal {
    /// The name, as in `SIGTERM`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sigterm => "SIGTERM",
            Self::Sigkill => "SIGKILL",
            Self::Sigint => "SIGINT",
            Self::Sighup => "SIGHUP",
            Self::Sigquit => "SIGQUIT",
            Self::Sigabrt => "SIGABRT",
            Self::Sigusr1 => "SIGUSR1",
            Self::Sigusr2 => "SIGUSR2",
            Self::Sigwinch => "SIGWINCH",
            Self::Sigstop => "SIGSTOP",
            Self::Sigcont => "SIGCONT",
        }
    }

    /// The number that a parent sees of a process that it ended, on Linux for x86 and ARM.
    ///
    /// *Source*: signal(7).
    pub const fn number(self) -> i32 {
        match self {
            Self::Sighup => 1,
            Self::Sigint => 2,
            Self::Sigquit => 3,
            Self::Sigabrt => 6,
            Self::Sigkill => 9,
            Self::Sigusr1 => 10,
            Self::Sigusr2 => 12,
            Self::Sigterm => 15,
            Self::Sigcont => 18,
            Self::Sigstop => 19,
            Self::Sigwinch => 28,
        }
    }
}

/// What the target says of itself, in the words of its JSON lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LifecyclePhase {
    /// The process runs.
    Starting,
    /// The main port accepts connections.
    Listening,
    /// Readiness passes.
    Ready,
    /// Readiness fails.
    NotReady,
    /// A signal arrived.
    Signal,
    /// The drain began.
    DrainStarted,
    /// A request found the queue full and was turned away; of those of the next second it does not
    /// tell.
    QueueFull,
    /// The accept queue was emptied before the listener closed.
    AcceptQueueEmptied,
    /// The main port is closed.
    ListenerClosed,
    /// Nothing is in flight any more.
    Drained,
    /// What outlived the deadline was cancelled.
    Cancelled,
    /// A dependency was closed.
    DependencyClosed,
    /// The process is about to exit.
    Exiting,
}

/// What kind of doubt a warning raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarningCode {
    /// Limits of the pods are not enforced by this backend on this machine.
    LimitsNotEnforced,
    /// A watch was interrupted; events may be late or missing.
    WatchGap,
    /// The target printed more than was kept.
    OutputDropped,
    /// The backend is not the one that was wanted.
    BackendFallback,
    /// Something took longer than its bound.
    Late,
    /// The wall clock jumped.
    ClockJump,
    /// Requests to the API server were throttled.
    Throttled,
    /// A check before the run found something that may matter.
    Preflight,
    /// Something that the run changed could not be put back.
    NotRestored,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn events_are_flat_lines_that_read_back() {
        let event = Event {
            at: Timestamp(1_500),
            seq: 3,
            source: Source::Kubelet,
            precision: None,
            stated: None,
            kind: EventKind::SignalSent {
                pod: "v1-1".to_string(),
                signal: Signal::Sigterm,
                by_kubelet: true,
            },
        };
        let line = serde_json::to_string(&event).expect("serialises");
        assert_eq!(
            line,
            r#"{"at":1500,"seq":3,"source":"kubelet","kind":"signal-sent","pod":"v1-1","signal":"SIGTERM","byKubelet":true}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&line).expect("reads back"), event);
    }
}
