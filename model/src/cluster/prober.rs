//! The kubelet's probe worker: one per container and probe.
//!
//! *Source*: kubernetes v1.35 `pkg/kubelet/prober/worker.go`.

use crate::{
    event::ProbeKind,
    rng::Stream,
    spec::Probe,
    time::{Nanos, SECOND, Timestamp},
};

/// A worker.
#[derive(Clone, Debug)]
pub struct Worker {
    kind: ProbeKind,
    probe: Probe,
    started: Timestamp,
    next_tick: Option<Timestamp>,
    in_flight: Option<u64>,
    verdict: Option<bool>,
    last: Option<bool>,
    run: u32,
}

/// What a probe's answer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Answers of this kind in a row.
    pub run: u32,
    /// The new verdict, if it changed.
    pub changed: Option<bool>,
}

impl Worker {
    /// A worker for a container that runs since `started`.
    ///
    /// The ticker's phase has nothing to do with the container's start, except for readiness: the
    /// kubelet pokes that one as soon as it has noticed that the container runs, within a second.
    pub fn new(kind: ProbeKind, probe: Probe, started: Timestamp, stream: &mut Stream) -> Self {
        let period = u64::from(probe.period_seconds.max(1)) * SECOND;
        let phase = if kind == ProbeKind::Readiness { SECOND.min(period) } else { period };
        let next_tick = Some(started + Nanos(stream.below(phase)));
        // Before the first answer readiness fails, liveness passes, startup is unknown.
        let verdict = match kind {
            ProbeKind::Readiness => Some(false),
            ProbeKind::Liveness => Some(true),
            ProbeKind::Startup => None,
        };
        Self { kind, probe, started, next_tick, in_flight: None, verdict, last: None, run: 0 }
    }

    /// Which probe.
    pub fn kind(&self) -> ProbeKind {
        self.kind
    }

    /// The probe's settings.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// The verdict so far; `None` is unknown.
    pub fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// When it wants to tick next; `None` if it is over.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.next_tick
    }

    /// The bound on one run of the probe.
    pub fn timeout(&self) -> Nanos {
        Nanos::from_secs(u64::from(self.probe.timeout_seconds.max(1)))
    }

    /// A poke: probes at `now`, and every period from then.
    pub fn poke(&mut self, now: Timestamp) {
        if self.next_tick.is_some() {
            self.next_tick = Some(now);
        }
    }

    /// Stops for good (termination, or a failure that ends the container).
    pub fn stop(&mut self) {
        self.next_tick = None;
        self.in_flight = None;
    }

    /// A tick at `now`: whether to run the probe. `may_run`: startup is over (or this is it).
    pub fn tick(&mut self, now: Timestamp, may_run: bool) -> bool {
        let period = Nanos::from_secs(u64::from(self.probe.period_seconds.max(1)));
        self.next_tick = self.next_tick.map(|_| now + period);
        let running_seconds = now.since(self.started).0 / SECOND;
        may_run
            && self.in_flight.is_none()
            && self.next_tick.is_some()
            && running_seconds >= u64::from(self.probe.initial_delay_seconds)
    }

    /// The probe runs under this number.
    pub fn runs(&mut self, number: u64) {
        self.in_flight = Some(number);
    }

    /// An answer; `None` if nobody waits for it any more.
    pub fn answer(&mut self, number: u64, passed: bool) -> Option<Answer> {
        if self.in_flight != Some(number) {
            return None;
        }
        self.in_flight = None;
        self.run = if self.last == Some(passed) { self.run + 1 } else { 1 };
        self.last = Some(passed);
        let threshold =
            if passed { self.probe.success_threshold } else { self.probe.failure_threshold };
        let is_new = self.run >= threshold && self.verdict != Some(passed);
        if is_new {
            self.verdict = Some(passed);
        }
        Some(Answer { run: self.run, changed: is_new.then_some(passed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(kind: ProbeKind, probe: Probe) -> Worker {
        Worker::new(kind, probe, Timestamp::ZERO, &mut Stream::new(1, "worker"))
    }

    fn answers(worker: &mut Worker, given: &[bool]) -> std::vec::Vec<Option<bool>> {
        let numbered = given.iter().enumerate();
        numbered
            .map(|(number, passed)| {
                worker.runs(number as u64);
                worker.answer(number as u64, *passed).expect("waited for").changed
            })
            .collect()
    }

    #[test]
    fn thresholds_count_answers_in_a_row() {
        let probe = Probe { success_threshold: 2, failure_threshold: 3, ..Probe::default() };
        let mut worker = worker(ProbeKind::Readiness, probe);
        assert_eq!(worker.verdict(), Some(false), "readiness fails before the first answer");
        let given = [true, false, true, true, false, false, true, false, false, false];
        let changes = answers(&mut worker, &given);
        let expected = [None, None, None, Some(true), None, None, None, None, None, Some(false)];
        assert_eq!(changes, expected);
    }

    #[test]
    fn liveness_passes_and_startup_is_unknown_before_the_first_answer() {
        assert_eq!(worker(ProbeKind::Liveness, Probe::default()).verdict(), Some(true));
        assert_eq!(worker(ProbeKind::Startup, Probe::default()).verdict(), None);
    }

    #[test]
    fn the_first_readiness_probe_comes_within_a_second_and_then_every_period() {
        let mut worker = worker(ProbeKind::Readiness, Probe::default());
        let first = worker.next_tick().expect("ticks");
        assert!(first < Timestamp(SECOND));
        assert!(worker.tick(first, true));
        assert_eq!(worker.next_tick(), Some(first + Nanos::from_secs(10)));
    }

    #[test]
    fn nothing_runs_before_the_initial_delay_while_starting_or_twice_at_once() {
        let probe = Probe { initial_delay_seconds: 5, ..Probe::default() };
        let mut worker = worker(ProbeKind::Liveness, probe);
        assert!(!worker.tick(Timestamp(5 * SECOND - 1), true), "initial delay, in whole seconds");
        assert!(!worker.tick(Timestamp(5 * SECOND), false), "startup is not over");
        assert!(worker.tick(Timestamp(5 * SECOND), true));
        worker.runs(1);
        assert!(!worker.tick(Timestamp(15 * SECOND), true), "one is in flight");
        assert_eq!(worker.answer(2, false), None, "nobody waits for that one");
    }
}
