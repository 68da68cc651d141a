//! What a generator owed, so that nothing is missing from the sums when it dies. Pure.
//!
//! A generator owes the arrivals of its share in order, so how many it owed says which. What of
//! them has no outcome yet is kept by second and phase; what it never came to is in the schedule,
//! which everybody knows.

use std::collections::BTreeMap;

use highwater_model::{
    load::{Arrival, Schedule, Share},
    outcome::Outcome,
    time::{Nanos, Timestamp},
};

use crate::record::{Line, OutcomeWindow, Window};

/// What was heard of one generator's share. It holds the seconds that have requests without an
/// outcome, and so is as long as a request may take.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    owed: u64,
    /// Owed less outcomes, by second and phase, where they differ.
    open: BTreeMap<(u64, u16), i64>,
}

impl Ledger {
    /// Takes note of a generator's lines.
    pub fn take(&mut self, lines: &[Line]) {
        for line in lines {
            if let Line::Window(window) = line {
                self.window(window);
            }
        }
    }

    fn window(&mut self, window: &Window) {
        self.owed += window.owed;
        let ended: u64 = window.outcomes.values().map(|part| part.n).sum();
        let key = (window.second, window.phase);
        let open = self.open.entry(key).or_default();
        *open += signed(window.owed) - signed(ended);
        if *open == 0 {
            self.open.remove(&key);
        }
    }

    /// Requests owed so far.
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// Requests that were owed and have no outcome yet.
    pub fn open(&self) -> u64 {
        self.open.values().map(|n| u64::try_from(*n).unwrap_or(0)).sum()
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What a lost generator leaves undone: the outcomes that never came, and the rest of its share.
#[derive(Clone, Debug)]
pub struct Rest {
    open: BTreeMap<(u64, u16), i64>,
    schedule: Schedule,
    share: Share,
    next: Option<Arrival>,
}

impl Rest {
    /// The rest of a share. Goes through the schedule up to where the generator was: about a
    /// second of work for 30 million arrivals.
    pub fn new(ledger: Ledger, schedule: Schedule, share: Share) -> Self {
        let mut rest = Self { open: ledger.open, schedule, share, next: None };
        for _ in 0..ledger.owed {
            if rest.arrival().is_none() {
                break;
            }
        }
        rest.next = rest.arrival();
        rest
    }

    fn arrival(&mut self) -> Option<Arrival> {
        let share = self.share;
        self.schedule.by_ref().find(|arrival| share.owns(arrival.number))
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.next.is_none() && self.open.is_empty()
    }

    /// How many requests it is in all, those due before `until` only if it is given (from the
    /// start of the traffic). As much work as the schedule is long.
    pub fn count(&self, until: Option<Nanos>) -> u64 {
        let mut ahead = self.clone();
        let mut count = Ledger { owed: 0, open: ahead.open.clone() }.open();
        while let Some(arrival) = ahead.next {
            if until.is_some_and(|until| arrival.at >= until) {
                break;
            }
            count += 1;
            ahead.next = ahead.arrival();
        }
        count
    }

    /// What of it is due before `until`, the traffic having started at `start`: each request once,
    /// as owed and unsent. Outcomes that never came are in the first answer.
    pub fn due(&mut self, start: Timestamp, until: Timestamp) -> Vec<Line> {
        let mut windows: BTreeMap<(u64, u16), (u64, u64)> = BTreeMap::new();
        for (key, open) in std::mem::take(&mut self.open) {
            windows.entry(key).or_default().1 += u64::try_from(open).unwrap_or(0);
        }
        while let Some(arrival) = self.next.filter(|arrival| start + arrival.at < until) {
            let key = ((start + arrival.at).second(), arrival.phase);
            let (owed, unsent) = windows.entry(key).or_default();
            *owed += 1;
            *unsent += 1;
            self.next = self.arrival();
        }
        windows.into_iter().map(|(key, counts)| Line::Window(unsent_window(key, counts))).collect()
    }
}

fn unsent_window((second, phase): (u64, u16), (owed, unsent): (u64, u64)) -> Window {
    let part = OutcomeWindow { n: unsent, ..OutcomeWindow::default() };
    Window { second, phase, owed, outcomes: BTreeMap::from([(Outcome::UnsentGenerator, part)]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::{load::Profile, spec::Traffic, time::SECOND};
    use proptest::prelude::*;

    const START: Timestamp = Timestamp(2 * SECOND + 700_000_000);

    fn schedule() -> Schedule {
        let traffic = serde_json::json!({"phases": [
            {"hold": "40/s", "for": "2s"},
            {"ramp": {"to": "200/s"}, "over": "3s"},
        ]});
        let traffic: Traffic = serde_json::from_value(traffic).unwrap();
        Schedule::new(Profile::new(&traffic).unwrap(), traffic.arrivals, 3)
    }

    type Counts = BTreeMap<(u64, u16), (u64, u64)>;

    /// Owed and outcomes by second and phase.
    fn add(counts: &mut Counts, lines: &[Line]) {
        for line in lines {
            let Line::Window(window) = line else { panic!("{line:?}") };
            let (owed, ended) = counts.entry((window.second, window.phase)).or_default();
            *owed += window.owed;
            *ended += window.outcomes.values().map(|part| part.n).sum::<u64>();
        }
    }

    fn window(arrival: &Arrival, owed: u64, ended: u64) -> Line {
        let outcomes = if ended > 0 {
            BTreeMap::from([(Outcome::Ok, OutcomeWindow { n: ended, ..OutcomeWindow::default() })])
        } else {
            BTreeMap::new()
        };
        let second = (START + arrival.at).second();
        Line::Window(Window { second, phase: arrival.phase, owed, outcomes })
    }

    proptest! {
        /// Whatever a generator had owed and ended when it died, the rest completes its share.
        #[test]
        fn a_death_at_any_moment_leaves_the_sums_whole(
            of in 1u32..5,
            index in 0u32..5,
            died_after in 0usize..700,
            ended in proptest::collection::vec(any::<bool>(), 700),
            step in 1u64..9,
        ) {
            let share = Share { index: index % of, of };
            let own: Vec<Arrival> =
                schedule().filter(|arrival| share.owns(arrival.number)).collect();
            let (mut ledger, mut counts) = (Ledger::default(), Counts::new());
            let heard: Vec<Line> = own
                .iter()
                .take(died_after)
                .zip(&ended)
                .map(|(arrival, ended)| window(arrival, 1, u64::from(*ended)))
                .collect();
            ledger.take(&heard);
            add(&mut counts, &heard);
            let mut rest = Rest::new(ledger.clone(), schedule(), share);
            let unsent = rest.count(None);
            let mut counted = 0;
            let mut until = START;
            while !rest.is_over() {
                let lines = rest.due(START, until);
                let mut these = Counts::new();
                add(&mut these, &lines);
                counted += these.values().map(|(_, ended)| ended).sum::<u64>();
                add(&mut counts, &lines);
                until = until + Nanos(step * SECOND / 3);
            }
            prop_assert_eq!(counted, unsent);
            let mut whole = Counts::new();
            add(&mut whole, &own.iter().map(|arrival| window(arrival, 1, 1)).collect::<Vec<_>>());
            prop_assert_eq!(counts, whole);
        }
    }

    #[test]
    fn the_ledger_holds_only_what_is_open() {
        let mut ledger = Ledger::default();
        let own: Vec<Arrival> = schedule().collect();
        for arrival in &own {
            ledger.take(&[window(arrival, 1, 0)]);
            assert!(ledger.open.len() <= 1);
            ledger.take(&[window(arrival, 0, 1)]);
        }
        assert_eq!((ledger.owed(), ledger.open()), (own.len() as u64, 0));
        assert!(Rest::new(ledger, schedule(), Share::WHOLE).is_over());
    }

    #[test]
    fn what_is_due_after_the_end_of_the_traffic_is_not_counted() {
        let rest = Rest::new(Ledger::default(), schedule(), Share::WHOLE);
        let before = schedule().take_while(|arrival| arrival.at < Nanos::from_secs(2)).count();
        assert_eq!(rest.count(Some(Nanos::from_secs(2))), before as u64);
        assert_eq!(rest.count(None), schedule().count() as u64);
    }
}
