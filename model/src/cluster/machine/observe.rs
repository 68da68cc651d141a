//! What is told about the cluster: its status, and the events of numbers and rollouts.

use alloc::{string::String, vec::Vec};

use super::{Cluster, emit};
use crate::{
    cluster::{
        Effect,
        deployment::Reason,
        pod::{Pod, Report},
        replicaset::Phase,
    },
    event::EventKind,
    time::Timestamp,
};

/// A cluster at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `spec.replicas`.
    pub desired: u32,
    /// Pods that are not terminating.
    pub current: u32,
    /// Of these, of the newest revision.
    pub updated: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Of these, available.
    pub available: u32,
    /// Pods on their way out.
    pub terminating: u32,
    /// The newest revision.
    pub revision: u32,
    /// Whether all pods are updated and available. Old ones may still terminate.
    pub is_complete: bool,
    /// All pods that are not gone, in order of creation.
    pub pods: Vec<PodView>,
}

/// One pod at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its number.
    pub pod: u32,
    /// Its name.
    pub name: String,
    /// The revision of its template.
    pub revision: u32,
    /// Where it is in its life.
    pub phase: PodPhase,
    /// Its Ready condition, also while it terminates.
    pub is_ready: bool,
    /// How often its container was started again.
    pub restarts: u32,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// No container of it has been seen to run.
    Pending,
    /// Its container runs, or its end has not been noticed yet.
    Running,
    /// Its container will be started again.
    BackOff,
    /// It is on its way out.
    Terminating,
}

/// A pod as the API server has it, for who watches it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodState<'a> {
    /// Its number.
    pub pod: u32,
    /// Its name.
    pub name: &'a str,
    /// Whether its phase is Running; Pending otherwise.
    pub is_running: bool,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// Its Ready condition.
    pub is_ready: bool,
    /// Since when that is so.
    pub ready_since: Timestamp,
    /// When the kubelet took it; `None` before.
    pub started: Option<Timestamp>,
}

/// The times in a pod's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    started: Option<Timestamp>,
    ready: bool,
    since: Timestamp,
}

impl Times {
    pub(super) fn see(&mut self, now: Timestamp, report: Report) {
        if report.is_bound && self.started.is_none() {
            (self.started, self.since) = (Some(now), now);
        }
        if self.ready != report.is_ready {
            (self.ready, self.since) = (report.is_ready, now);
        }
    }
}

/// The numbers of the last `replicas` event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    desired: u32,
    current: u32,
    updated: u32,
    ready: u32,
    available: u32,
    terminating: u32,
}

/// How far the rollout of the newest revision is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rollout {
    /// Begun and neither complete nor replaced by another.
    is_under_way: bool,
    has_timed_out: bool,
}

impl Cluster {
    /// Whether all pods are of the newest revision and available, and every consumer knows them.
    /// (Old pods may still terminate.)
    pub fn is_settled(&self) -> bool {
        self.status().is_complete
            && self.slice.next_deadline().is_none()
            && self.views.iter().all(|view| view.next_deadline().is_none())
    }

    /// How the cluster is now.
    pub fn status(&self) -> Status {
        let deployment = self.controllers.deployment();
        let numbers = self.numbers();
        Status {
            desired: numbers.desired,
            current: numbers.current,
            updated: numbers.updated,
            ready: numbers.ready,
            available: numbers.available,
            terminating: numbers.terminating,
            revision: deployment.wanted().template,
            is_complete: self.has_begun && deployment.is_complete(deployment.status()),
            pods: self.pods.values().map(view).collect(),
        }
    }

    /// The revision of a pod's template; `None` if it is gone.
    pub fn revision_of(&self, pod: u32) -> Option<u32> {
        self.pods.get(&pod).map(|pod| pod.identity().revision)
    }

    /// All pods that are not gone, as the API server has them, in order of creation.
    pub fn pod_states(&self) -> Vec<PodState<'_>> {
        self.pods
            .iter()
            .map(|(&number, pod)| {
                let report = pod.report();
                let times = self.times.get(&number).copied().unwrap_or_default();
                PodState {
                    pod: number,
                    name: self.pod_name(number),
                    is_running: report.phase == Phase::Running,
                    is_terminating: report.is_terminating,
                    is_ready: report.is_ready,
                    ready_since: times.since,
                    started: times.started,
                }
            })
            .collect()
    }

    fn numbers(&self) -> Numbers {
        let (deployment, mut numbers) = (self.controllers.deployment(), Numbers::default());
        numbers.desired = deployment.wanted().replicas;
        for set in deployment.sets() {
            let counts = set.status;
            numbers.current += counts.replicas;
            numbers.ready += counts.ready;
            numbers.available += counts.available;
            if set.template == deployment.wanted().template {
                numbers.updated = counts.replicas;
            }
        }
        for pod in self.pods.values() {
            numbers.terminating += u32::from(pod.report().is_terminating);
        }
        numbers
    }

    pub(super) fn note_numbers(&mut self, effects: &mut Vec<Effect>) {
        let numbers = self.numbers();
        if numbers == self.numbers {
            return;
        }
        self.numbers = numbers;
        let Numbers { desired, current, updated, ready, available, terminating } = numbers;
        let kind = EventKind::Replicas { desired, current, updated, ready, available, terminating };
        emit(effects, kind);
    }

    pub(super) fn begin_rollout(&mut self, effects: &mut Vec<Effect>) {
        self.rollout = Rollout { is_under_way: true, has_timed_out: false };
        let revision = self.controllers.deployment().wanted().template;
        emit(effects, EventKind::RolloutStarted { revision });
    }

    pub(super) fn note_rollout(&mut self, effects: &mut Vec<Effect>) {
        let deployment = self.controllers.deployment();
        let (status, revision) = (deployment.status(), deployment.wanted().template);
        let reason = status.progress.map(|progress| progress.reason);
        if self.rollout.is_under_way && deployment.is_complete(status) && !self.is_torn_down {
            self.rollout.is_under_way = false;
            emit(effects, EventKind::RolloutComplete { revision });
        }
        let is_timed_out = reason == Some(Reason::TimedOut);
        if is_timed_out && !self.rollout.has_timed_out && !self.is_torn_down {
            emit(effects, EventKind::ProgressDeadlineExceeded { revision });
        }
        self.rollout.has_timed_out = is_timed_out;
    }
}

fn view(pod: &Pod) -> PodView {
    let (identity, report) = (pod.identity(), pod.report());
    PodView {
        pod: identity.pod,
        name: identity.name.clone(),
        revision: identity.revision,
        phase: match report.phase {
            _ if report.is_terminating => PodPhase::Terminating,
            _ if pod.is_in_backoff() => PodPhase::BackOff,
            Phase::Pending => PodPhase::Pending,
            Phase::Running | Phase::Failed => PodPhase::Running,
        },
        is_ready: report.is_ready,
        restarts: report.restarts,
    }
}
