//! How a container ends, as far as a cluster shows it: it shows neither preStop nor signals.
//!
//! The kubelet says by the Event `Killing` that it begins to end a container. SIGTERM follows when
//! the preStop hook is over; of a target that tells of its life, its own word counts, of all
//! others an estimate. SIGKILL is known by exit code 137 after the grace period.
//!
//! *Source*: `lifecycle-semantics.md` sections 2.4 and 3.1; `kuberuntime_container.go`,
//! `killContainer`.

use highwater_model::{
    event::{EventKind, ProbeKind, Signal, Source},
    time::{Nanos, SECOND, Timestamp},
};
use k8s_openapi::api::core::v1::Container;

use super::{
    Scribe,
    pod::PodState,
    time::{Estimate, Stated},
};

/// How long the kubelet may take to see a deletion, and its Event to come. Measured: 6 ms to
/// 0.9 s.
const KUBELET_DELAY: Nanos = Nanos::from_millis(1_500);
/// How long a line of the target's is waited for before its signal is estimated.
const LINE_DELAY: Nanos = Nanos::from_secs(5);
/// How long a deletion is waited for that explains a `Killing`; it comes by another watch.
const DELETION_DELAY: Nanos = Nanos::from_secs(1);
/// The least time between SIGTERM and SIGKILL.
const LEAST_DRAIN: Nanos = Nanos::from_secs(2);

/// The kubelet's word that it ends a container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Killing {
    at: Estimate,
    probe: Option<ProbeKind>,
    grace: Nanos,
    hook_failed: Option<Estimate>,
    pub(super) due: Timestamp,
}

/// What runs before SIGTERM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hook {
    /// Nothing.
    #[default]
    None,
    /// A wait.
    Sleep(Nanos),
    /// A command or a request: nobody knows how long.
    Other,
}

/// The end of a container under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    begin: Estimate,
    grace: Nanos,
    /// When SIGKILL may come; `None` after a probe's kill: `begin` and `grace` tell.
    deadline: Option<Stated>,
    hook: Hook,
    has_word: bool,
    hook_failed: Option<Estimate>,
    exited: Option<Estimate>,
    is_told: bool,
    tells: bool,
    due: Timestamp,
}

impl Stop {
    /// When SIGTERM was sent, as far as can be told.
    pub(super) fn sigterm(&self) -> Estimate {
        let doubt = if self.has_word { Nanos::ZERO } else { KUBELET_DELAY };
        match (self.hook, self.hook_failed) {
            (_, Some(failed)) => failed,
            (Hook::None, None) => self.begin.later(Nanos::ZERO, doubt),
            (Hook::Sleep(span), None) => self.begin.later(span.min(self.grace), doubt),
            (Hook::Other, None) => self.begin.later(Nanos::ZERO, self.grace),
        }
    }

    /// When the estimate is told, if nothing better came.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        (!self.is_told).then_some(self.due)
    }

    /// The hook ended at `at`: it failed.
    fn hook_over(&mut self, at: Estimate) {
        self.hook_failed = Some(at);
        self.has_word = true;
        self.hook = Hook::None;
    }

    /// Sets when to tell the estimate: when no better word can come any more.
    fn plan(&mut self) {
        let lines = if self.tells { LINE_DELAY } else { Nanos::ZERO };
        let from = match (self.exited, self.hook) {
            (Some(exited), _) => exited.at,
            (None, Hook::Other) => self.begin.at + self.grace + LEAST_DRAIN,
            (None, _) if self.has_word => self.sigterm().at,
            (None, _) => self.sigterm().at + KUBELET_DELAY,
        };
        self.due = from + lines;
    }

    pub(super) fn deadline_seen(&mut self, deadline: Stated, grace: Nanos) {
        if grace < self.grace {
            self.deadline = Some(deadline);
            self.grace = grace;
        }
    }

    /// SIGTERM, if it was sent before the container ended.
    fn told(&self) -> Option<Estimate> {
        let sigterm = self.sigterm();
        let Some(exited) = self.exited else { return Some(sigterm) };
        let doubt = sigterm.precision.unwrap_or_default() + exited.precision.unwrap_or_default();
        let is_before = sigterm.at <= exited.at + doubt;
        is_before.then_some(Estimate { at: sigterm.at.min(exited.at), ..sigterm })
    }
}

impl Hook {
    fn of(container: &Container) -> Self {
        let lifecycle = container.lifecycle.as_ref();
        let Some(hook) = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()) else {
            return Self::None;
        };
        match &hook.sleep {
            Some(sleep) => Self::Sleep(seconds(sleep.seconds)),
            None => Self::Other,
        }
    }
}

/// The spec's own stop signal; `None` also for one that has no name here.
fn stop_signal(container: &Container) -> Option<Signal> {
    let named = container.lifecycle.as_ref()?.stop_signal.as_ref()?;
    serde_json::from_value(named.as_str().into()).ok()
}

fn seconds(seconds: i64) -> Nanos {
    Nanos((seconds.max(0) as u64).saturating_mul(SECOND))
}

/// What a container's spec says of its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manner {
    hook: Hook,
    grace: Nanos,
    has_startup: bool,
    has_liveness: bool,
    startup_grace: Option<Nanos>,
    liveness_grace: Option<Nanos>,
    /// What is sent in place of SIGTERM. The image's STOPSIGNAL is not in the spec, and not known.
    stop_signal: Option<Signal>,
}

impl Manner {
    /// Reads it. `grace` is the pod's.
    pub(super) fn of(container: &Container, grace: Option<i64>) -> Self {
        let own = |probe: &Option<k8s_openapi::api::core::v1::Probe>| {
            probe.as_ref()?.termination_grace_period_seconds.map(seconds)
        };
        Self {
            hook: Hook::of(container),
            grace: seconds(grace.unwrap_or(30)),
            has_startup: container.startup_probe.is_some(),
            has_liveness: container.liveness_probe.is_some(),
            startup_grace: own(&container.startup_probe),
            liveness_grace: own(&container.liveness_probe),
            stop_signal: stop_signal(container),
        }
    }
}

impl PodState {
    /// The pod's deletion begins the end of its container, if one runs.
    pub(super) fn begin_stop(
        &mut self,
        at: Estimate,
        deadline: Stated,
        grace: Nanos,
        scribe: &mut Scribe<'_>,
    ) {
        self.flow.deleted = Some((at, deadline, grace));
        // A `Killing` long before the deletion was a probe's, one at it is the deletion's.
        let killing = self.flow.killing.filter(|killing| killing.at.at + DELETION_DELAY > at.at);
        if killing.is_none() {
            self.resolve_killing(scribe);
        }
        self.flow.killing = None;
        if !self.is_running() {
            return;
        }
        if let Some(stop) = self.flow.stop.take() {
            self.tell_sigterm(stop, scribe);
        }
        let begin = killing.map_or(at, |killing| killing.at.not_before(at.at));
        let mut stop = self.stop(begin, grace, killing);
        stop.deadline = Some(deadline);
        stop.plan();
        self.flow.stop = Some(stop);
    }

    /// A container was started although the pod is being deleted: the kubelet was about to.
    pub(super) fn stop_late_start(&mut self, started: Timestamp, scribe: &mut Scribe<'_>) {
        if let Some((at, deadline, grace)) = self.flow.deleted {
            self.begin_stop(at.not_before(started), deadline, grace, scribe);
        }
    }

    /// The first that was heard of the end of the container that runs.
    pub(super) fn begun_by(&self) -> Option<Timestamp> {
        let killing = self.flow.killing.map(|killing| killing.at.at);
        [killing, self.flow.sigterm_line].into_iter().flatten().min()
    }

    /// The end that begins at `begin`, and of which the kubelet said so much.
    fn stop(&self, begin: Estimate, grace: Nanos, killing: Option<Killing>) -> Stop {
        let mut stop = Stop {
            begin,
            grace,
            deadline: None,
            hook: self.flow.manner.hook,
            has_word: killing.is_some(),
            hook_failed: None,
            exited: None,
            is_told: self.flow.sigterm_line.is_some(),
            tells: self.flow.tells,
            due: begin.at,
        };
        if let Some(failed) = killing.and_then(|killing| killing.hook_failed) {
            stop.hook_over(failed);
        }
        stop
    }

    /// The kubelet says by an Event that it ends the container.
    pub(super) fn killing(&mut self, at: Estimate, scribe: &mut Scribe<'_>) {
        if self.deletion.is_some() {
            if let Some(stop) = self.flow.stop.as_mut().filter(|stop| !stop.has_word) {
                stop.has_word = true;
                stop.begin = at.not_before(stop.begin.at);
                stop.plan();
            }
            return;
        }
        let manner = self.flow.manner;
        let is_started = self.container.as_ref().is_some_and(|container| container.is_started);
        let (probe, own_grace) = if !is_started && manner.has_startup {
            (Some(ProbeKind::Startup), manner.startup_grace)
        } else if manner.has_liveness {
            (Some(ProbeKind::Liveness), manner.liveness_grace)
        } else {
            (None, None)
        };
        let (grace, due) = (own_grace.unwrap_or(manner.grace), scribe.now() + DELETION_DELAY);
        self.flow.killing = Some(Killing { at, probe, grace, hook_failed: None, due });
        // The status may have been faster than the Event.
        if self.has_ended_since(at.at) {
            self.resolve_killing(scribe);
        }
    }

    /// Whether the container that ran at `at` has ended.
    fn has_ended_since(&self, at: Timestamp) -> bool {
        let container = self.container.as_ref();
        container.is_none_or(|one| one.exited.is_some() || one.started > at)
    }

    /// No deletion explains the `Killing`: it was a probe's.
    pub(super) fn resolve_killing(&mut self, scribe: &mut Scribe<'_>) {
        let Some(killing) = self.flow.killing.take() else { return };
        let (Some(probe), Some(container)) = (killing.probe, &self.container) else { return };
        let end = container.exited.unwrap_or(container.started);
        let pod = self.name.clone();
        let mut stop = self.stop(killing.at, killing.grace, Some(killing));
        scribe.at(killing.at, Source::Kubelet, EventKind::ProbeKill { pod, probe });
        if self.has_ended_since(killing.at.at) {
            stop.exited = Some(Estimate { at: end, precision: None, stated: None });
            self.tell_sigterm(stop, scribe);
        } else {
            stop.plan();
            self.flow.stop = Some(stop);
        }
    }

    /// The kubelet says by an Event that the preStop hook failed: it ended, and SIGTERM follows.
    pub(super) fn hook_failed(&mut self, at: Estimate, detail: &str, scribe: &mut Scribe<'_>) {
        let pod = self.name.clone();
        let kind = EventKind::PreStopEnded { pod, ok: false, detail: detail.into() };
        scribe.at(at, Source::Kubelet, kind);
        if let Some(killing) = &mut self.flow.killing {
            killing.hook_failed = Some(at);
        } else if let Some(stop) = &mut self.flow.stop {
            stop.hook_over(at);
            stop.plan();
        }
    }

    /// The container ended.
    pub(super) fn note_exit(&mut self, at: Estimate) {
        self.flow.last_exit = at.at;
        if let Some(container) = &mut self.container {
            container.exited = Some(at.at);
        }
        if let Some(stop) = &mut self.flow.stop {
            stop.exited = Some(at);
            stop.plan();
        }
    }

    /// The container ended by SIGKILL: the kubelet's if the grace period was over.
    pub(super) fn note_sigkill(
        &self,
        at: Estimate,
        finished: Option<Stated>,
        scribe: &mut Scribe<'_>,
    ) {
        let Some(stop) = &self.flow.stop else { return };
        let is_over = match (finished, stop.deadline) {
            (Some(finished), Some(deadline)) => finished.reaches(deadline),
            _ => at.at + at.precision.unwrap_or_default() >= stop.begin.at + stop.grace,
        };
        if is_over {
            let (pod, signal) = (self.name.clone(), Signal::Sigkill);
            let kind = EventKind::SignalSent { pod, signal, by_kubelet: true };
            scribe.at(at, Source::Kubelet, kind);
        }
    }

    /// Tells SIGTERM by estimate, if the target has not.
    fn tell_sigterm(&self, stop: Stop, scribe: &mut Scribe<'_>) {
        if stop.is_told {
            return;
        }
        if let Some(at) = stop.told() {
            // The deletion is told last where its reason is, and goes first all the same.
            let deleted = self.deletion.map(|deletion| deletion.at + Nanos(1));
            let at = at.not_before(deleted.unwrap_or_default().min(scribe.now()));
            let signal = self.flow.manner.stop_signal.unwrap_or(Signal::Sigterm);
            let pod = self.name.clone();
            let kind = EventKind::SignalSent { pod, signal, by_kubelet: true };
            scribe.at(at, Source::Kubelet, kind);
        }
    }

    /// Tells what is due.
    pub(super) fn fire_ending(&mut self, now: Timestamp, scribe: &mut Scribe<'_>) {
        if self.flow.killing.is_some_and(|killing| killing.due <= now) {
            self.resolve_killing(scribe);
        }
        if let Some(stop) = self.flow.stop
            && stop.next_deadline().is_some_and(|due| due <= now)
        {
            self.tell_sigterm(stop, scribe);
            if let Some(stop) = &mut self.flow.stop {
                stop.is_told = true;
            }
        }
    }

    /// Tells a signal that still waits for a better word, if its time has come.
    pub(super) fn finish_ending(&mut self, now: Timestamp, scribe: &mut Scribe<'_>) {
        if let Some(stop) = self.flow.stop.take_if(|stop| stop.sigterm().at <= now) {
            self.tell_sigterm(stop, scribe);
        }
    }

    /// The pod is gone: whatever still ran in it has ended.
    pub(super) fn stop_is_over(&mut self, at: Estimate) {
        if let Some(stop) = self.flow.stop.as_mut().filter(|stop| stop.exited.is_none()) {
            stop.exited = Some(at);
            stop.plan();
        }
    }

    /// The target says that SIGTERM came at `at`. Returns whether that is news: one that the
    /// driver sent is not, nor one that was told by estimate.
    pub(super) fn sigterm_heard(&mut self, at: Timestamp) -> bool {
        if self.flow.expected_kills > 0 {
            self.flow.expected_kills -= 1;
            return false;
        }
        // A line may come when the next container runs already.
        if self.container.as_ref().is_none_or(|container| container.started <= at) {
            self.flow.sigterm_line = Some(at);
        }
        self.flow.stop.as_mut().is_none_or(|stop| !std::mem::replace(&mut stop.is_told, true))
    }
}
