//! One probe of one container: a worker with a ticker of its own.
//!
//! *Source*: Kubernetes v1.35, `pkg/kubelet/prober/worker.go` and `prober_manager.go`. The ticker
//! runs from the pod's admission on, so its phase has nothing to do with the container's start.
//! A tick that comes while a probe is under way waits for its end (Go's ticker keeps one).

use crate::{
    event::ProbeKind,
    spec,
    time::{Nanos, Timestamp},
};

/// How long after a probe's own timeout its answer is still waited for.
const PATIENCE: Nanos = Nanos::from_secs(1);

/// The worker of one probe. It lives as long as the pod, through all its containers.
#[derive(Clone, Debug)]
pub struct Prober {
    kind: ProbeKind,
    period: Nanos,
    timeout: Nanos,
    initial_delay_seconds: u64,
    success_threshold: u32,
    failure_threshold: u32,
    /// When the container started, while one is seen to run.
    container: Option<Timestamp>,
    next_tick: Timestamp,
    /// A turn besides the ticker's: asked for, or kept from a tick during a probe.
    turn: Option<Timestamp>,
    in_flight: Option<InFlight>,
    verdict: Option<bool>,
    last: Option<bool>,
    run: u32,
    is_on_hold: bool,
    is_stopped: bool,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    probe: u64,
    give_up: Timestamp,
    keeps_turn: bool,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Run a probe.
    Run {
        /// Its number.
        probe: u64,
        /// Its bound.
        timeout: Nanos,
    },
    /// No answer came: counted as a failure.
    GaveUp(Recorded),
}

/// A result as it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Whether the probe passed.
    pub passed: bool,
    /// Results of this kind in a row.
    pub run: u32,
    /// Whether the verdict is another one now.
    pub is_change: bool,
    /// Whether the result belongs into the record: changes, and failures below the threshold.
    pub is_news: bool,
}

impl Prober {
    /// A worker whose ticker ticks first at `first_tick`.
    pub fn new(kind: ProbeKind, probe: &spec::Probe, first_tick: Timestamp) -> Self {
        let seconds = |count: u32| Nanos::from_secs(u64::from(count.max(1)));
        Self {
            kind,
            period: seconds(probe.period_seconds),
            timeout: seconds(probe.timeout_seconds),
            initial_delay_seconds: u64::from(probe.initial_delay_seconds),
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
            container: None,
            next_tick: first_tick,
            turn: None,
            in_flight: None,
            verdict: initial(kind),
            last: None,
            run: 0,
            is_on_hold: false,
            is_stopped: false,
        }
    }

    /// Which probe it is.
    pub fn kind(&self) -> ProbeKind {
        self.kind
    }

    /// The verdict on the present container; `None` while unknown.
    pub fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// A new container is seen to run: the verdict starts again. The count of equal results goes
    /// on, as upstream's does.
    pub fn see_container(&mut self, now: Timestamp, started_at: Timestamp) {
        self.container = Some(started_at);
        self.verdict = initial(self.kind);
        self.is_on_hold = false;
        self.in_flight = None;
        self.turn = None;
        self.skip_ticks(now);
    }

    /// The container is seen to have ended. An answer to a probe of it comes too late.
    pub fn lose_container(&mut self) {
        self.container = None;
        self.verdict = initial(self.kind);
        self.in_flight = None;
        self.turn = None;
    }

    /// Probes no more (liveness and startup, when the pod's termination begins).
    pub fn stop(&mut self) {
        self.is_stopped = true;
        self.in_flight = None;
        self.turn = None;
    }

    /// Asks for a probe at once, which also starts the ticker's period again.
    ///
    /// *Source*: `prober_manager.go`, `UpdatePodStatus`; `worker.go`, `run`.
    pub fn trigger(&mut self, now: Timestamp) {
        match &mut self.in_flight {
            Some(in_flight) => in_flight.keeps_turn = true,
            None => self.turn = Some(now),
        }
        self.next_tick = now + self.period;
    }

    /// When it has something to do.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if !self.is_active() {
            return None;
        }
        let give_up = self.in_flight.map(|in_flight| in_flight.give_up);
        [Some(self.next_tick), self.turn, give_up].into_iter().flatten().min()
    }

    /// Does what is due. `is_started` is whether the startup probe has passed or there is none;
    /// the number of a probe that is to be run is taken from `numbers`.
    pub fn fire(&mut self, now: Timestamp, is_started: bool, numbers: &mut u64) -> Option<Fired> {
        if !self.is_active() {
            return None;
        }
        let is_tick = self.next_tick <= now;
        let is_turn = is_tick || self.turn.is_some_and(|at| at <= now);
        if is_tick {
            self.next_tick = self.next_tick + self.period;
            self.skip_ticks(now);
        }
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.keeps_turn |= is_turn;
            let probe = in_flight.probe;
            return (in_flight.give_up <= now)
                .then(|| self.done(now, probe, false))
                .flatten()
                .map(Fired::GaveUp);
        }
        if !is_turn {
            return None;
        }
        self.turn = None;
        let started_at = self.container?;
        let is_delayed = now.since(started_at).0 < self.initial_delay_seconds * crate::time::SECOND;
        if is_delayed || is_started == (self.kind == ProbeKind::Startup) {
            return None;
        }
        let (probe, timeout) = (*numbers, self.timeout);
        *numbers += 1;
        self.in_flight =
            Some(InFlight { probe, give_up: now + timeout + PATIENCE, keeps_turn: false });
        Some(Fired::Run { probe, timeout })
    }

    /// Counts an answer. Late ones, to probes that are over, give `None`.
    ///
    /// *Source*: `worker.go`, `doProbe`.
    pub fn done(&mut self, now: Timestamp, probe: u64, passed: bool) -> Option<Recorded> {
        let in_flight = self.in_flight.filter(|flying| flying.probe == probe)?;
        self.in_flight = None;
        if in_flight.keeps_turn {
            self.turn = Some(now);
        }
        if self.last == Some(passed) {
            self.run = self.run.saturating_add(1);
        } else {
            (self.last, self.run) = (Some(passed), 1);
        }
        let run = self.run;
        let threshold = if passed { self.success_threshold } else { self.failure_threshold };
        if run < threshold {
            return Some(Recorded { passed, run, is_change: false, is_news: !passed });
        }
        let is_change = self.verdict != Some(passed);
        self.verdict = Some(passed);
        if self.kind == ProbeKind::Startup || (self.kind == ProbeKind::Liveness && !passed) {
            self.is_on_hold = true;
            self.run = 0;
        }
        Some(Recorded { passed, run, is_change, is_news: is_change })
    }

    fn is_active(&self) -> bool {
        self.container.is_some() && !self.is_on_hold && !self.is_stopped
    }

    /// Moves the next tick behind `now`; those between had no one to hear them.
    fn skip_ticks(&mut self, now: Timestamp) {
        if self.next_tick <= now {
            let missed = now.since(self.next_tick).0 / self.period.0 + 1;
            self.next_tick = self.next_tick + Nanos(missed * self.period.0);
        }
    }
}

/// The verdict before the first result. *Source*: `worker.go`, `newWorker`.
fn initial(kind: ProbeKind) -> Option<bool> {
    match kind {
        ProbeKind::Readiness => Some(false),
        ProbeKind::Liveness => Some(true),
        ProbeKind::Startup => None,
    }
}

#[cfg(test)]
mod tests;
