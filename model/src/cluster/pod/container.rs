//! A container's start, exit and restart.

use alloc::{format, string::String, vec::Vec};

use super::{Effect, EventKind, Pod, backoff::comes_back, emit};
use crate::{
    event::{ProbeKind, Signal},
    rng::Stream,
    time::{Nanos, Timestamp},
};

/// Where the pod's container is.
#[derive(Clone, Debug)]
pub(super) enum Container {
    /// The pod has no node.
    Unscheduled,
    /// The pod is scheduled, its sandbox made.
    Pending { start_at: Timestamp },
    /// The driver was asked to start it.
    Starting,
    /// It runs. `seen_at` is the kubelet's first look at it, until that has happened.
    Running { started_at: Timestamp, seen_at: Option<Timestamp> },
    /// It ended; the kubelet has not looked yet.
    Exited { at: Timestamp, code: i32, seen_at: Timestamp },
    /// Back-off. `had_run` tells an exit from a failed start.
    Waiting { until: Timestamp, exited_at: Timestamp, had_run: bool },
    /// None will run again.
    Over,
}

impl Container {
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        match *self {
            Self::Pending { start_at } => Some(start_at),
            Self::Running { seen_at, .. } => seen_at,
            Self::Exited { seen_at, .. } => Some(seen_at),
            Self::Waiting { until, .. } => Some(until),
            Self::Unscheduled | Self::Starting | Self::Over => None,
        }
    }
}

impl Pod {
    pub(super) fn fire_container(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.container.next_deadline().is_none_or(|at| at > now) {
            return;
        }
        match self.container {
            Container::Pending { .. } => self.ask_for_container(effects),
            Container::Running { started_at, .. } => self.see_container(now, started_at, effects),
            Container::Exited { at, code, .. } => self.see_exit(now, at, code, effects),
            Container::Waiting { exited_at, had_run, .. } => {
                self.restart(now, exited_at, had_run, effects)
            }
            Container::Unscheduled | Container::Starting | Container::Over => {}
        }
    }

    fn ask_for_container(&mut self, effects: &mut Vec<Effect>) {
        self.container = Container::Starting;
        self.was_asked_for = true;
        effects.push(Effect::StartContainer {
            container: self.container_id(),
            pod: self.name(),
            revision: self.identity.revision,
        });
    }

    /// The driver started the container.
    ///
    /// *Panics* if none was asked for, or one with another number.
    pub fn container_started(
        &mut self,
        now: Timestamp,
        restarts: u32,
        address: Option<String>,
        pid: Option<u32>,
        effects: &mut Vec<Effect>,
    ) {
        self.assert_starting(restarts);
        self.container =
            Container::Running { started_at: now, seen_at: Some(self.relist.next_after(now)) };
        let pod = self.name();
        let kind = EventKind::ContainerStarted { pod, restarts, address, pid };
        emit(effects, kind);
        if self.is_stopping() {
            self.begin_stop(now, effects);
        }
    }

    /// The driver could not start the container.
    ///
    /// *Panics* as [`Self::container_started`].
    pub fn container_start_failed(
        &mut self,
        now: Timestamp,
        restarts: u32,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        self.assert_starting(restarts);
        let pod = self.name();
        emit(effects, EventKind::ContainerStartFailed { pod, reason });
        if self.is_stopping() {
            self.end(now, effects);
        } else {
            self.back_off(now, now, false, effects);
        }
    }

    fn assert_starting(&self, restarts: u32) {
        assert!(
            matches!(self.container, Container::Starting) && restarts == self.restarts,
            "{} was not asked to start container {restarts}",
            self.identity.name
        );
    }

    /// The container's process ended. The kubelet notices when it looks, unless it waits for this.
    /// Ignored if that container was not running any more.
    pub fn container_exited(
        &mut self,
        now: Timestamp,
        restarts: u32,
        code: i32,
        signal: Option<i32>,
        effects: &mut Vec<Effect>,
    ) {
        if !self.is_running() || restarts != self.restarts {
            return;
        }
        let pod = self.name();
        let kind = EventKind::ContainerExited { pod, code, signal, oom: false };
        emit(effects, kind);
        let is_awaited = self.end_stop(effects);
        if self.is_stopping() {
            self.end(now, effects);
        } else if is_awaited {
            self.see_killed(now, code, effects);
        } else {
            self.container =
                Container::Exited { at: now, code, seen_at: self.relist.next_after(now) };
        }
    }

    /// A signal from outside. Returns whether there was a process to get it.
    pub fn kill(&mut self, signal: Signal, effects: &mut Vec<Effect>) -> bool {
        if self.is_running() {
            self.signal(signal, false, effects);
        }
        self.is_running()
    }

    pub(super) fn signal(&self, signal: Signal, by_kubelet: bool, effects: &mut Vec<Effect>) {
        let kind = EventKind::SignalSent { pod: self.name(), signal, by_kubelet };
        emit(effects, kind);
        effects.push(Effect::Signal { container: self.container_id(), signal });
    }

    /// The kubelet sees that the container runs: the pod gets its address, probes begin.
    fn see_container(&mut self, now: Timestamp, started_at: Timestamp, effects: &mut Vec<Effect>) {
        self.container = Container::Running { started_at, seen_at: None };
        if self.is_stopping() {
            // The pod's worker is busy ending it and reports nothing more.
            return;
        }
        self.was_seen = true;
        for prober in self.probers.iter_mut().flatten() {
            prober.see_container(now, started_at);
        }
        if self.prober(ProbeKind::Startup).is_none() {
            self.see_started(now, effects);
        }
    }

    fn see_exit(
        &mut self,
        now: Timestamp,
        exited_at: Timestamp,
        code: i32,
        effects: &mut Vec<Effect>,
    ) {
        self.lose_container(&format!("container exited with {code}"), effects);
        self.back_off(now, exited_at, true, effects);
    }

    /// The kubelet has ended the container itself, and wants to start it again in the same sync.
    fn see_killed(&mut self, now: Timestamp, code: i32, effects: &mut Vec<Effect>) {
        if !self.backoff.passes_after_kill(now, self.last_exit) {
            return self.see_exit(now, now, code, effects);
        }
        self.lose_container(&format!("container exited with {code}"), effects);
        self.last_exit = Some(now);
        let pod = self.name();
        emit(effects, EventKind::BackOff { pod, wait: Nanos::ZERO });
        self.restarts += 1;
        self.ask_for_container(effects);
    }

    pub(super) fn lose_container(&mut self, reason: &str, effects: &mut Vec<Effect>) {
        for prober in self.probers.iter_mut().flatten() {
            prober.lose_container();
        }
        self.set_ready(false, reason, effects);
    }

    fn back_off(
        &mut self,
        now: Timestamp,
        exited_at: Timestamp,
        had_run: bool,
        effects: &mut Vec<Effect>,
    ) {
        let wait = self.backoff.wait(exited_at);
        let mut until = exited_at + wait;
        if let Some(seed) = self.draws.retries {
            let mut chance = Stream::new(seed, &format!("{}", self.restarts));
            let look = |at| self.relist.next_after(at);
            until = comes_back(now, until, || chance.unit(), look);
        }
        let pod = self.name();
        emit(effects, EventKind::BackOff { pod, wait });
        if until <= now {
            self.restart(now, exited_at, had_run, effects);
        } else {
            self.container = Container::Waiting { until, exited_at, had_run };
        }
    }

    fn restart(
        &mut self,
        now: Timestamp,
        exited_at: Timestamp,
        had_run: bool,
        effects: &mut Vec<Effect>,
    ) {
        self.backoff.restart(now, exited_at);
        if had_run {
            self.last_exit = Some(exited_at);
        }
        self.restarts += u32::from(had_run);
        self.ask_for_container(effects);
    }
}
