//! Counts, histograms and failures of the current second. Its memory is bounded by the second,
//! not by the run.

use std::{
    collections::{BTreeMap, HashMap},
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use highwater_model::{
    outcome::{Failure, HopError, Outcome, OutcomeGroup},
    time::{MILLISECOND, Timestamp},
};

use crate::record::{
    OutcomeWindow, Window,
    hist::{self, Encoded, Hist},
};

/// Failures that are kept one by one within a second; past it, like ones are counted into one.
/// Enough to see every loss of a rollout at any usual rate, and a bound of half a megabyte of
/// record per second when everything fails.
pub const SINGLE_FAILURES_MAX: usize = 1_000;
/// Entries of a second in all; past it, the slot of time no longer keeps like ones apart.
const FAILURE_ENTRIES_MAX: usize = 5_000;
/// Failures within the same slot are alike.
const SLOT_NS: u64 = 10 * MILLISECOND;

/// Requests of one second of schedule and one phase, since the last flush.
#[derive(Debug, Default)]
pub struct WindowPart {
    /// Requests that became due.
    pub owed: u64,
    /// Those whose outcome became known.
    pub outcomes: BTreeMap<Outcome, OutcomePart>,
}

/// Requests of one outcome.
#[derive(Debug)]
pub struct OutcomePart {
    /// How many.
    pub n: u64,
    /// Latency, service time and send lag; absent for unsent requests.
    pub times: Option<Pooled>,
}

/// Latency, service time and send lag of requests. When it is dropped, its memory goes back to
/// the recorder that it came from: three histograms are 700 KB, and to have them mapped anew every
/// second holds the engine up by a large part of a millisecond.
#[derive(Debug)]
pub struct Pooled {
    hists: Option<Hists>,
    pool: Pool,
}

/// More than a recorder uses at once, as a rule; beyond it memory is freed.
const POOL_MAX: usize = 16;

#[derive(Clone, Debug, Default)]
struct Pool(Arc<Mutex<Vec<Hists>>>);

/// In a box: they move, and a histogram is a large struct even without its places.
type Hists = Box<[Hist; 3]>;

impl Pool {
    fn take(&self) -> Pooled {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let hists = spare.unwrap_or_else(|| Box::new([hist::new(), hist::new(), hist::new()]));
        Pooled { hists: Some(hists), pool: self.clone() }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let Some(mut hists) = self.hists.take() else { return };
        hists.iter_mut().for_each(Hist::reset);
        let mut spare = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < POOL_MAX {
            spare.push(hists);
        }
    }
}

impl Deref for Pooled {
    type Target = [Hist; 3];

    fn deref(&self) -> &Self::Target {
        self.hists.as_deref().expect("only a drop takes them")
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.hists.as_deref_mut().expect("only a drop takes them")
    }
}

impl WindowPart {
    /// The record's form.
    pub fn encode(&self, second: u64, phase: u16) -> Window {
        let outcomes = self.outcomes.iter().map(|(outcome, part)| {
            let mut window = OutcomeWindow { n: part.n, ..OutcomeWindow::default() };
            if let Some(times) = &part.times {
                let [latency, service, lag] = &**times;
                window.latency = Encoded::new(latency);
                window.service = Encoded::new(service);
                window.lag = Encoded::new(lag);
            }
            (*outcome, window)
        });
        Window { second, phase, owed: self.owed, outcomes: outcomes.collect() }
    }
}

/// The instants of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// When it was owed.
    pub scheduled: Timestamp,
    /// When it was sent.
    pub sent: Timestamp,
    /// When its outcome was known.
    pub ended: Timestamp,
}

/// What like failures agree in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Likeness {
    slot: u64,
    outcome: Outcome,
    phase: u16,
    kind: u16,
    pod: Option<String>,
    is_reused: bool,
    consumer: Option<u32>,
    hop_error: Option<HopError>,
    hop_consumer: Option<u32>,
}

/// Collects until it is drained.
#[derive(Debug, Default)]
pub struct Recorder {
    windows: Windows,
    failures: Vec<Failure>,
    alike: HashMap<Likeness, usize>,
    pool: Pool,
}

type Windows = BTreeMap<(u64, u16), WindowPart>;

impl Recorder {
    /// Takes the memory of two seconds from the machine, so that no request waits for it.
    pub(super) fn warm(&self) {
        // Both at a time, and given back with all of their places written.
        drop([self.pool.take(), self.pool.take()]);
    }

    /// A request became due.
    pub fn owed(&mut self, scheduled: Timestamp, phase: u16) {
        self.windows.entry((scheduled.second(), phase)).or_default().owed += 1;
    }

    /// A sent request's outcome.
    pub fn ended(&mut self, outcome: Outcome, phase: u16, times: Times) {
        let part = count(&mut self.windows, outcome, phase, times.scheduled);
        let [latency, service, lag] = &mut **part.times.get_or_insert_with(|| self.pool.take());
        latency.saturating_record(times.ended.since(times.scheduled).0);
        service.saturating_record(times.ended.since(times.sent).0);
        lag.saturating_record(times.sent.since(times.scheduled).0);
    }

    /// A request that was never sent.
    pub fn unsent(&mut self, outcome: Outcome, phase: u16, scheduled: Timestamp) {
        debug_assert_eq!(outcome.group(), OutcomeGroup::Unsent);
        count(&mut self.windows, outcome, phase, scheduled);
    }

    /// A failure in detail.
    pub fn failure(&mut self, failure: Failure) {
        if self.failures.len() < SINGLE_FAILURES_MAX {
            self.failures.push(failure);
            return;
        }
        let is_crowded = self.failures.len() >= FAILURE_ENTRIES_MAX;
        let likeness = Likeness {
            slot: if is_crowded { u64::MAX } else { failure.ended.0 / SLOT_NS },
            outcome: failure.outcome,
            phase: failure.phase,
            kind: failure.kind,
            pod: failure.pod.clone(),
            is_reused: failure.connection.as_ref().is_some_and(|connection| connection.served > 0),
            consumer: failure.consumer,
            hop_error: failure.hop.as_ref().and_then(|hop| hop.error),
            hop_consumer: failure.hop.as_ref().map(|hop| hop.consumer),
        };
        match self.alike.get(&likeness) {
            Some(index) => self.failures[*index].n += failure.n,
            None => {
                self.alike.insert(likeness, self.failures.len());
                self.failures.push(failure);
            }
        }
    }

    /// Everything since the last call.
    pub fn drain(&mut self) -> (Vec<(u64, u16, WindowPart)>, Vec<Failure>) {
        let windows = std::mem::take(&mut self.windows);
        self.alike.clear();
        let windows = windows.into_iter().map(|((second, phase), part)| (second, phase, part));
        (windows.collect(), std::mem::take(&mut self.failures))
    }
}

/// Counts a request's outcome in the window that it was owed in.
fn count(
    windows: &mut Windows,
    outcome: Outcome,
    phase: u16,
    scheduled: Timestamp,
) -> &mut OutcomePart {
    let window = windows.entry((scheduled.second(), phase)).or_default();
    let nothing = || OutcomePart { n: 0, times: None };
    let part = window.outcomes.entry(outcome).or_insert_with(nothing);
    part.n += 1;
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::time::SECOND;

    fn failure(at_ns: u64, pod: &str) -> Failure {
        Failure {
            n: 1,
            outcome: Outcome::ConnectRefused,
            phase: 0,
            kind: 0,
            scheduled: Timestamp(at_ns),
            sent: Timestamp(at_ns),
            first_byte: None,
            ended: Timestamp(at_ns),
            status: None,
            errno: Some(111),
            pod: Some(pod.into()),
            connection: None,
            hop: None,
            request_id: None,
            consumer: Some(0),
        }
    }

    #[test]
    fn a_million_failures_in_a_second_are_all_counted_in_few_entries() {
        let mut recorder = Recorder::default();
        for number in 0..1_000_000u64 {
            recorder.failure(failure(number * 1_000, if number % 2 == 0 { "a" } else { "b" }));
        }
        let (_, failures) = recorder.drain();
        assert_eq!(failures.iter().map(|failure| failure.n).sum::<u64>(), 1_000_000);
        assert!(failures.len() <= SINGLE_FAILURES_MAX + 2 * 100, "{} entries", failures.len());
    }

    #[test]
    fn even_failures_that_all_differ_stay_below_a_bound() {
        let mut recorder = Recorder::default();
        for number in 0..100_000u64 {
            let mut one = failure(number * 10_000, "a");
            one.kind = (number % 40) as u16;
            recorder.failure(one);
        }
        let (_, failures) = recorder.drain();
        assert_eq!(failures.iter().map(|failure| failure.n).sum::<u64>(), 100_000);
        assert!(failures.len() <= FAILURE_ENTRIES_MAX + 40, "{} entries", failures.len());
    }

    #[test]
    fn a_request_counts_in_the_second_it_was_owed_in() {
        let mut recorder = Recorder::default();
        let scheduled = Timestamp(3 * SECOND - 1);
        recorder.owed(scheduled, 1);
        recorder.ended(
            Outcome::Ok,
            1,
            Times { scheduled, sent: Timestamp(3 * SECOND), ended: Timestamp(4 * SECOND) },
        );
        let (windows, _) = recorder.drain();
        let window = windows[0].2.encode(windows[0].0, windows[0].1);
        assert_eq!((window.second, window.phase, window.owed), (2, 1, 1));
        let ok = &window.outcomes[&Outcome::Ok];
        assert_eq!((ok.n, ok.latency.count(), ok.lag.count()), (1, Ok(1), Ok(1)));
        assert!(recorder.drain().0.is_empty());
    }

    #[test]
    fn memory_that_was_taken_ahead_is_used() {
        let mut recorder = Recorder::default();
        recorder.warm();
        let spare = |recorder: &Recorder| recorder.pool.0.lock().expect("no panic").len();
        assert_eq!(spare(&recorder), 2);
        let scheduled = Timestamp(SECOND);
        recorder.ended(Outcome::Ok, 0, Times { scheduled, sent: scheduled, ended: scheduled });
        assert_eq!(spare(&recorder), 1);
    }

    #[test]
    fn memory_that_comes_back_holds_nothing_of_the_second_before() {
        let mut recorder = Recorder::default();
        for second in 1..5 {
            let scheduled = Timestamp(second * SECOND);
            let times = Times { scheduled, sent: scheduled, ended: Timestamp(second * SECOND + 9) };
            for _ in 0..second {
                recorder.ended(Outcome::Ok, 0, times);
            }
            let (windows, _) = recorder.drain();
            let part = windows[0].2.outcomes[&Outcome::Ok].times.as_ref().expect("sent");
            assert_eq!(part.iter().map(|hist| hist.len()).collect::<Vec<_>>(), [second; 3]);
            drop(windows);
            assert_eq!(recorder.pool.0.lock().expect("no panic").len(), 1, "used again");
        }
    }
}
