//! The life of one pod, from its object: made, scheduled, ready, deleted, gone.

use highwater_model::{
    event::{DeleteReason, EventKind, Source},
    time::{Nanos, SECOND, Timestamp},
};
use k8s_openapi::api::core::v1::{Container, Pod, PodCondition};

use super::{
    Scribe, Target,
    container::Instance,
    ending::{Killing, Manner, Stop},
    time::{Clock, Estimate, Sight, Stated},
    workload::Workload,
};

/// How long the word of who wanted a deletion is waited for. The ReplicaSet's new size is written
/// some 10 ms before the deletion, and comes by another watch.
pub(super) const REASON_DELAY: Nanos = Nanos::from_millis(500);
/// How long a pod is remembered after it is gone: lines of its log may still come.
pub(super) const MEMORY: Nanos = Nanos::from_secs(10);

/// A pod as it was last seen.
#[derive(Clone, Debug)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The revision of its template; 0 if not known.
    pub revision: u32,
    /// The ReplicaSet that it belongs to.
    pub set: Option<String>,
    /// When it was made; the run's start if before it.
    pub created: Timestamp,
    /// Its node.
    pub node: Option<String>,
    /// Its address and port, once it has one.
    pub address: Option<String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Its Ready condition.
    pub is_ready: bool,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
    /// The reason and message of its container's waiting.
    pub waiting: Option<(String, String)>,
    /// Why no node takes it.
    pub unschedulable: Option<String>,
    /// Its last container.
    pub container: Option<Instance>,
    /// Its deletion.
    pub deletion: Option<Deletion>,
    /// When it was gone.
    pub gone: Option<Timestamp>,
    /// Stated second of its creation and the order in which it was seen: oldest first.
    pub(super) order: (i64, u64),
    pub(super) flow: Flow,
}

/// A pod's deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// T0: when it was asked for.
    pub at: Timestamp,
    /// The grace period.
    pub grace: Nanos,
    /// Who wanted it; `None` as long as that is not clear.
    pub reason: Option<DeleteReason>,
}

/// What was told of a pod, and what waits to be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    pub(super) was_told: bool,
    /// Whether the target tells of its life.
    pub(super) tells: bool,
    /// The name of the container that serves.
    pub(super) container: String,
    /// What the spec says of its end.
    pub(super) manner: Manner,
    pub(super) is_scheduled: bool,
    pub(super) scheduled: Timestamp,
    /// When its readiness last changed, as stated.
    pub(super) ready_changed: Option<i64>,
    /// Reasons that were told of a container that does not start.
    pub(super) start_failures: Vec<String>,
    /// Containers whose end was told, by id: the last ones.
    pub(super) ended: Vec<String>,
    /// The exit whose back-off was told.
    pub(super) backed_off: Option<u32>,
    /// When the kubelet said by an Event that it started a container.
    pub(super) start_hint: Option<Estimate>,
    /// A deletion whose reason is waited for.
    pub(super) undecided: Option<Undecided>,
    /// The kubelet's word that it ends the container, of which is not clear yet why.
    pub(super) killing: Option<Killing>,
    /// The deletion: when it was asked for, its deadline and its grace period.
    pub(super) deleted: Option<(Estimate, Stated, Nanos)>,
    /// The end of the container under way.
    pub(super) stop: Option<Stop>,
    /// When the target said that SIGTERM came.
    pub(super) sigterm_line: Option<Timestamp>,
    /// When the last container ended; the run's start before that.
    pub(super) last_exit: Timestamp,
    /// When the target said that it starts, in a line that is held back.
    pub(super) starting: Option<Estimate>,
    /// Lines of a container that was not seen to start yet.
    pub(super) held: Vec<(Sight, String)>,
    /// When the target said that it exits.
    pub(super) exiting: Option<Estimate>,
    /// The last that the target said.
    pub(super) last_line: Timestamp,
    /// Signals that the driver said it would send.
    pub(super) expected_kills: u32,
}

/// A deletion whose reason is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undecided {
    at: Estimate,
    grace: Nanos,
    /// How many pods its set had left.
    left: u32,
    pub(super) due: Timestamp,
}

/// What a pod is seen in the light of.
pub(super) struct Around<'a> {
    pub(super) target: &'a Target,
    pub(super) workload: &'a Workload,
    /// Who will be deleted by whom, from the driver.
    pub(super) expected: Option<DeleteReason>,
    /// Pods of the same set that are not being deleted, without this one.
    pub(super) left: u32,
}

impl PodState {
    pub(super) fn new(pod: &Pod, order: (i64, u64)) -> Self {
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            revision: 0,
            set: owner(pod).map(Into::into),
            created: Timestamp::ZERO,
            node: None,
            address: None,
            phase: String::new(),
            is_ready: false,
            ready_since: None,
            waiting: None,
            unschedulable: None,
            container: None,
            deletion: None,
            gone: None,
            order,
            flow: Flow::default(),
        }
    }

    /// Whether its container runs.
    pub fn is_running(&self) -> bool {
        self.container.as_ref().is_some_and(|container| container.exited.is_none())
    }

    /// How often its container was started again.
    pub fn restarts(&self) -> u32 {
        self.container.as_ref().map_or(0, |container| container.restarts)
    }

    /// Whether its set counts it: not being deleted, and not ended for good.
    pub fn is_active(&self) -> bool {
        self.deletion.is_none()
            && self.gone.is_none()
            && !matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    pub(super) fn seen(&mut self, pod: &Pod, around: &Around<'_>, scribe: &mut Scribe<'_>) {
        self.node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let status = pod.status.as_ref();
        self.phase = status.and_then(|status| status.phase.clone()).unwrap_or_default();
        let container = container(pod, around.target);
        self.address = address(pod, container, around.target.port);
        self.flow.tells = around.target.tells;
        if let Some(container) = container {
            let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
            self.flow.manner = Manner::of(container, grace);
            self.flow.container.clone_from(&container.name);
        }
        if !self.flow.was_told {
            self.made(pod, scribe);
        }
        self.scheduling(pod, scribe);
        let name = container.map(|container| container.name.as_str());
        let of_container = status
            .and_then(|status| status.container_statuses.as_ref())
            .and_then(|all| all.iter().find(|status| Some(status.name.as_str()) == name));
        if let Some(status) = of_container {
            self.started(status, scribe);
        }
        self.readiness(pod, true, scribe);
        self.deleted(pod, around, scribe);
        if let Some(status) = of_container {
            self.ended(status, scribe);
            self.waits(status, scribe);
        }
        self.readiness(pod, false, scribe);
    }

    fn made(&mut self, pod: &Pod, scribe: &mut Scribe<'_>) {
        self.flow.was_told = true;
        let made = pod.metadata.creation_timestamp.as_ref();
        let made = made.map(|time| scribe.clocks.second(time, Clock::Server));
        let at = scribe.written(made, Timestamp::ZERO);
        self.created = at.at;
        let kind = EventKind::PodCreated { pod: self.name.clone(), revision: self.revision };
        scribe.at(at, Source::Controller, kind);
    }

    fn scheduling(&mut self, pod: &Pod, scribe: &mut Scribe<'_>) {
        let Some(condition) = condition(pod, "PodScheduled") else { return };
        let reason = condition.reason.as_deref();
        if condition.status == "True" {
            self.unschedulable = None;
            let Some(node) = self.node.clone().filter(|_| !self.flow.is_scheduled) else { return };
            self.flow.is_scheduled = true;
            let changed = changed(condition, Clock::Server, scribe);
            let at = scribe.written(changed, self.created);
            self.flow.scheduled = at.at;
            let kind = EventKind::PodScheduled { pod: self.name.clone(), node };
            scribe.at(at, Source::Controller, kind);
        } else if reason == Some("Unschedulable") {
            let message = condition.message.clone().unwrap_or_default();
            if self.unschedulable.as_ref() == Some(&message) {
                return;
            }
            // The condition changes once, its message with each attempt.
            let is_first = self.unschedulable.is_none();
            let changed = changed(condition, Clock::Server, scribe).filter(|_| is_first);
            let at = scribe.written(changed, self.created);
            self.unschedulable = Some(message.clone());
            let kind = EventKind::PodUnschedulable { pod: self.name.clone(), message };
            scribe.at(at, Source::Controller, kind);
        }
    }

    /// Takes the Ready condition, if it is `to` now.
    fn readiness(&mut self, pod: &Pod, to: bool, scribe: &mut Scribe<'_>) {
        let Some(condition) = condition(pod, "Ready") else { return };
        let is_ready = condition.status == "True";
        if is_ready != to {
            return;
        }
        let changed = changed(condition, Clock::Node(self.node.as_deref()), scribe);
        let stated = changed.map(Stated::from_ns);
        if is_ready && self.is_ready && stated > self.flow.ready_changed {
            // It was unready in between, and no watch told of it.
            let until = scribe.written(changed, Timestamp::ZERO);
            let since = self.ready_since.unwrap_or(self.created);
            // If its container ended meanwhile, then that was why.
            let at = Estimate {
                at: self.flow.last_exit.max(since).min(until.at),
                precision: Some(until.at.since(since)),
                stated: None,
            };
            self.unready("NotSeen", at, scribe);
        }
        let was_ready = std::mem::replace(&mut self.is_ready, is_ready);
        self.flow.ready_changed = stated;
        if was_ready == is_ready {
            return;
        }
        if is_ready {
            let floor = self.container.as_ref().map_or(self.created, |container| container.started);
            let at = scribe.written(changed, floor);
            self.ready_since = Some(at.at);
            scribe.at(at, Source::Kubelet, EventKind::PodReady { pod: self.name.clone() });
        } else {
            let floor = self.ready_since.unwrap_or(self.created);
            let at = scribe.written(changed, floor);
            self.unready(condition.reason.as_deref().unwrap_or_default(), at, scribe);
        }
    }

    fn unready(&mut self, reason: &str, at: Estimate, scribe: &mut Scribe<'_>) {
        self.is_ready = false;
        self.ready_since = None;
        let kind = EventKind::PodUnready { pod: self.name.clone(), reason: reason.into() };
        scribe.at(at, Source::Kubelet, kind);
    }

    fn deleted(&mut self, pod: &Pod, around: &Around<'_>, scribe: &mut Scribe<'_>) {
        let Some(deadline) = &pod.metadata.deletion_timestamp else { return };
        let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(0) as u64;
        let grace = Nanos(seconds.saturating_mul(SECOND));
        let deadline = scribe.clocks.second(deadline, Clock::Server);
        if self.deletion.is_some() {
            // Asked again with less. The kubelet's own last request has none, and comes when all
            // is over.
            if grace > Nanos::ZERO
                && let Some(stop) = &mut self.flow.stop
            {
                stop.deadline_seen(deadline, grace);
            }
            return;
        }
        let asked = deadline.minus(grace);
        let mut at = asked.written(scribe.sight, self.created);
        // What comes of it may have been heard of before by another way.
        let earlier = self.begun_by().filter(|by| asked.from() < *by && *by <= at.at);
        if let Some(by) = earlier {
            at.at = Timestamp(by.0 - 1);
        }
        if grace == Nanos::ZERO && scribe.sight.since.is_some() {
            // The kubelet's last request; when the first one was is not to be seen any more.
            at.precision = scribe.sight.unstated().precision;
        }
        self.begin_deletion(at, grace, pod, around, scribe);
        self.begin_stop(at, deadline, grace, scribe);
    }

    /// Tells of the deletion, if it is clear who wanted it; else that waits.
    fn begin_deletion(
        &mut self,
        at: Estimate,
        grace: Nanos,
        pod: &Pod,
        around: &Around<'_>,
        scribe: &mut Scribe<'_>,
    ) {
        self.deletion = Some(Deletion { at: at.at, grace, reason: None });
        let due = scribe.now() + REASON_DELAY;
        self.flow.undecided = Some(Undecided { at, grace, left: around.left, due });
        let disruption = condition(pod, "DisruptionTarget");
        let disruption = disruption.filter(|condition| condition.status == "True");
        let disrupted = disruption.map(|condition| match condition.reason.as_deref() {
            Some("EvictionByEvictionAPI") => DeleteReason::Eviction,
            // Preemption, a taint, the node's pressure: nothing of the scenario's.
            _ => DeleteReason::Unknown,
        });
        match around.expected.or(disrupted) {
            Some(reason) => self.decide(reason, scribe),
            None => self.look_for_reason(around.workload, scribe),
        }
    }

    /// Decides who wanted the deletion, if the set's size tells.
    pub(super) fn look_for_reason(&mut self, workload: &Workload, scribe: &mut Scribe<'_>) {
        let (Some(undecided), Some(set)) = (self.flow.undecided, &self.set) else { return };
        if let Some(reason) = workload.wants_fewer(set, undecided.left) {
            self.decide(reason, scribe);
        }
    }

    /// Tells of a deletion that waited for its reason.
    pub(super) fn decide(&mut self, reason: DeleteReason, scribe: &mut Scribe<'_>) {
        let Some(undecided) = self.flow.undecided.take() else { return };
        if let Some(deletion) = &mut self.deletion {
            deletion.reason = Some(reason);
        }
        let kind = EventKind::PodDeleted { pod: self.name.clone(), grace: undecided.grace, reason };
        scribe.at(undecided.at, Source::Controller, kind);
    }

    /// The object is gone. One that was never seen to be deleted was deleted without grace, or in
    /// a gap.
    pub(super) fn gone(&mut self, around: &Around<'_>, scribe: &mut Scribe<'_>) {
        let at = scribe.sight.unstated();
        if self.deletion.is_none() {
            self.begin_deletion(at, Nanos::ZERO, &Pod::default(), around, scribe);
        }
        if self.flow.undecided.is_some_and(|undecided| undecided.at.at >= at.at) {
            // Nothing may lie after its end.
            self.decide(DeleteReason::Unknown, scribe);
        }
        self.force_lines(scribe);
        self.gone = Some(at.at);
        self.stop_is_over(at);
        scribe.at(at, Source::Api, EventKind::PodGone { pod: self.name.clone() });
    }
}

impl PodState {
    /// When [`PodState::fire`] has something to do next.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let undecided = self.flow.undecided.map(|undecided| undecided.due);
        let killing = self.flow.killing.map(|killing| killing.due);
        let stop = self.flow.stop.and_then(|stop| stop.next_deadline());
        [undecided, killing, stop, self.lines_due()].into_iter().flatten().min()
    }

    /// Tells what waited for another word until `now`.
    pub(super) fn fire(&mut self, now: Timestamp, scribe: &mut Scribe<'_>) {
        if self.flow.undecided.is_some_and(|undecided| undecided.due <= now) {
            self.decide(DeleteReason::Unknown, scribe);
        }
        if self.lines_due().is_some_and(|due| due <= now) {
            self.force_lines(scribe);
        }
        self.fire_ending(now, scribe);
    }

    /// Tells all that waits.
    pub(super) fn finish(&mut self, now: Timestamp, scribe: &mut Scribe<'_>) {
        self.decide(DeleteReason::Unknown, scribe);
        self.force_lines(scribe);
        self.resolve_killing(scribe);
        self.finish_ending(now, scribe);
    }
}

/// The pod's ReplicaSet.
pub(super) fn owner(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let mut owners = owners.filter(|owner| owner.controller == Some(true));
    owners.find(|owner| owner.kind == "ReplicaSet").map(|owner| owner.name.as_str())
}

/// A condition by its type.
pub(super) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn changed(condition: &PodCondition, clock: Clock<'_>, scribe: &Scribe<'_>) -> Option<Stated> {
    condition.last_transition_time.as_ref().map(|time| scribe.clocks.second(time, clock))
}

/// The container that serves.
fn container<'a>(pod: &'a Pod, target: &Target) -> Option<&'a Container> {
    let containers = &pod.spec.as_ref()?.containers;
    let annotations = pod.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|all| all.get("kubectl.kubernetes.io/default-container"));
    let name = target.container.as_ref().or(annotated);
    let named = name.and_then(|name| containers.iter().find(|one| &one.name == name));
    named.or_else(|| containers.first())
}

fn address(pod: &Pod, container: Option<&Container>, port: Option<u16>) -> Option<String> {
    let ip = pod.status.as_ref()?.pod_ip.as_ref().filter(|ip| !ip.is_empty())?;
    let first = container.and_then(|one| one.ports.as_ref()?.first());
    let port = port.or_else(|| u16::try_from(first?.container_port).ok());
    Some(match port {
        Some(port) if ip.contains(':') => format!("[{ip}]:{port}"),
        Some(port) => format!("{ip}:{port}"),
        None => ip.clone(),
    })
}
