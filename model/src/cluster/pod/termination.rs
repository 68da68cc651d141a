//! Deletion of the pod, and the end of its container in steps.

use alloc::vec::Vec;

use super::{
    Effect, EventKind, Pod,
    container::Container,
    emit,
    stop::{Step, Stop},
};
use crate::{
    event::{DeleteReason, ProbeKind, Source},
    time::{Nanos, Timestamp},
};

/// The deletion of a pod.
#[derive(Clone, Debug)]
pub(super) struct Deletion {
    grace: Nanos,
    /// When the kubelet takes its first step, until that is done.
    begin_at: Option<Timestamp>,
}

/// The least grace period that the kubelet works with.
///
/// *Source*: `pod_workers.go`, `calculateEffectiveGracePeriod`.
const GRACE_MIN: Nanos = Nanos::from_secs(1);

impl Deletion {
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.begin_at
    }
}

impl Pod {
    /// Deletes the pod gracefully, with `grace` or the template's grace period: T0 of its
    /// termination. A pod whose container was never asked for is gone at once. A second deletion
    /// can only shorten the grace period.
    pub fn delete(
        &mut self,
        now: Timestamp,
        grace: Option<Nanos>,
        reason: DeleteReason,
        effects: &mut Vec<Effect>,
    ) {
        if self.is_gone {
            return;
        }
        let grace = match grace {
            _ if !self.was_asked_for => Nanos::ZERO,
            Some(grace) => grace,
            None => Nanos::from_secs(u64::from(self.template.termination_grace_period_seconds)),
        };
        match &mut self.deletion {
            Some(deletion) if grace < deletion.grace => {
                deletion.grace = grace;
                if let Some(stop) = self.stop.as_mut().filter(|_| deletion.begin_at.is_none()) {
                    stop.shorten(now, grace.max(GRACE_MIN));
                }
            }
            Some(_) => return,
            None => {
                self.deletion =
                    Some(Deletion { grace, begin_at: Some(now + self.draws.kubelet_delay) });
            }
        }
        let pod = self.name();
        effects.push(Effect::Emit {
            source: Source::Controller,
            kind: EventKind::PodDeleted { pod, grace, reason },
        });
        if !self.was_asked_for {
            self.container = Container::Over;
            self.vanish(effects);
        }
    }

    /// Whether the API server let the object go at the deletion itself (no grace period).
    pub(super) fn is_object_gone(&self) -> bool {
        self.deletion.as_ref().is_some_and(|deletion| deletion.grace == Nanos::ZERO)
    }

    /// Whether the kubelet has begun to end the pod.
    pub(super) fn is_stopping(&self) -> bool {
        self.deletion.as_ref().is_some_and(|deletion| deletion.begin_at.is_none())
    }

    /// The kubelet's first step. Liveness and startup probes stop, readiness goes on.
    ///
    /// *Source*: `kubelet.go`, `SyncTerminatingPod`.
    pub(super) fn fire_deletion(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(deletion) = &mut self.deletion else {
            return;
        };
        if deletion.begin_at.is_none_or(|at| at > now) {
            return;
        }
        deletion.begin_at = None;
        let grace = deletion.grace.max(GRACE_MIN);
        for prober in self.probers.iter_mut().flatten() {
            if prober.kind() != ProbeKind::Readiness {
                prober.stop();
            }
        }
        match self.container {
            // The answer is awaited; what it started is ended then.
            Container::Starting => {}
            Container::Running { .. } => match &mut self.stop {
                Some(stop) => stop.shorten(now, grace),
                None => self.begin_stop(now, effects),
            },
            Container::Unscheduled
            | Container::Pending { .. }
            | Container::Exited { .. }
            | Container::Waiting { .. }
            | Container::Over => self.end(now, effects),
        }
    }

    /// Ends the running container because the pod is deleted.
    pub(super) fn begin_stop(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let grace =
            self.deletion.as_ref().map_or(GRACE_MIN, |deletion| deletion.grace.max(GRACE_MIN));
        self.begin_stop_within(now, grace, effects);
    }

    /// Ends the running container within a grace period.
    pub(super) fn begin_stop_within(
        &mut self,
        now: Timestamp,
        grace: Nanos,
        effects: &mut Vec<Effect>,
    ) {
        let mut steps = Vec::new();
        let stop = Stop::begin(now, grace, self.template.lifecycle.as_ref(), &mut steps);
        self.stop = Some(stop);
        self.take(steps, effects);
    }

    pub(super) fn fire_stop(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut steps = Vec::new();
        if let Some(stop) = &mut self.stop {
            stop.fire(now, &mut steps);
        }
        self.take(steps, effects);
    }

    /// The hook that was to be run ended. Late answers are ignored.
    pub fn pre_stop_done(
        &mut self,
        now: Timestamp,
        restarts: u32,
        ok: bool,
        detail: alloc::string::String,
        effects: &mut Vec<Effect>,
    ) {
        let mut steps = Vec::new();
        if let Some(stop) = self.stop.as_mut().filter(|_| restarts == self.restarts) {
            stop.hook_done(now, ok, detail, &mut steps);
        }
        self.take(steps, effects);
    }

    /// The container ended. Returns whether that was awaited.
    pub(super) fn end_stop(&mut self, effects: &mut Vec<Effect>) -> bool {
        let Some(stop) = self.stop.take() else {
            return false;
        };
        let mut steps = Vec::new();
        stop.container_exited(&mut steps);
        self.take(steps, effects);
        true
    }

    /// No container runs or will run: the sandbox is taken down.
    pub(super) fn end(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.lose_container("container ended", effects);
        self.container = Container::Over;
        self.gone_at = Some(now + self.draws.teardown);
    }

    fn take(&self, steps: Vec<Step>, effects: &mut Vec<Effect>) {
        for step in steps {
            let pod = self.name();
            match step {
                Step::HookStarted => emit(effects, EventKind::PreStopStarted { pod }),
                Step::RunHook { hook, timeout } => {
                    emit(effects, EventKind::PreStopStarted { pod });
                    effects.push(Effect::RunPreStop {
                        container: self.container_id(),
                        hook,
                        timeout,
                    });
                }
                Step::HookEnded { ok, detail } => {
                    emit(effects, EventKind::PreStopEnded { pod, ok, detail });
                }
                Step::Signal(signal) => self.signal(signal, true, effects),
            }
        }
    }
}
