//! When to ping, and what the pongs say.

use crate::agent::{
    clock::{self, Offset, Reading},
    protocol::Who,
};

/// Pings in a row before anything else is done: enough for a quick one among them.
const FIRST_READINGS: usize = 20;
/// Readings of a later measurement; one per heartbeat, so one measurement in ten seconds.
const LATER_READINGS: usize = 10;

/// The pings of one agent.
#[derive(Debug, Default)]
pub(super) struct Pings {
    who: Who,
    n: u64,
    /// Number and sending time of the ping that waits for its pong.
    waits: Option<(u64, u64)>,
    readings: Vec<Reading>,
    first: Option<Offset>,
}

/// What a pong led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// Nothing yet.
    Nothing,
    /// The next ping is due at once.
    Again,
    /// The first measurement is done.
    First(Who, Offset),
    /// A later one is done; with the drift since the first.
    Later(Offset, i64),
}

impl Pings {
    /// There is a new connection: pongs of the one before do not come any more.
    pub(super) fn connected(&mut self, who: &Who) {
        self.who = who.clone();
        self.waits = None;
        if self.first.is_none() {
            self.readings.clear();
        }
    }

    /// Whether the first measurement is done.
    pub(super) fn is_measured(&self) -> bool {
        self.first.is_some()
    }

    /// The number of the next ping, sent at `now`; `None` while another waits.
    pub(super) fn next(&mut self, now: u64) -> Option<u64> {
        if self.waits.is_some() {
            return None;
        }
        self.n += 1;
        self.waits = Some((self.n, now));
        Some(self.n)
    }

    /// A pong came at `now`.
    pub(super) fn pong(&mut self, n: u64, mono: u64, wall: u64, now: u64) -> Measured {
        let Some((_, sent)) = self.waits.take_if(|(waits, _)| *waits == n) else {
            return Measured::Nothing;
        };
        self.readings.push(Reading { sent, received: now, mono, wall });
        let wanted = if self.first.is_some() { LATER_READINGS } else { FIRST_READINGS };
        if self.readings.len() < wanted {
            return if self.first.is_some() { Measured::Nothing } else { Measured::Again };
        }
        let measured = clock::estimate(&self.readings);
        self.readings.clear();
        match (measured, &self.first) {
            // Clocks that run backwards: there is nothing to be had but another try.
            (None, None) => Measured::Again,
            (None, Some(_)) => Measured::Nothing,
            (Some(offset), Some(first)) => Measured::Later(offset, offset.drift_since(first)),
            (Some(offset), None) => {
                self.first = Some(offset);
                Measured::First(self.who.clone(), offset)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_measurement_is_a_burst_and_later_ones_tell_the_drift() {
        let mut pings = Pings::default();
        pings.connected(&Who { pod: "a".into(), ..Who::default() });
        let mut measure = |ahead: u64, from: u64| {
            for step in 0..100 {
                let now = from + step * 1_000;
                let n = pings.next(now).expect("none waits");
                assert_eq!(pings.next(now), None, "one at a time");
                assert_eq!(pings.pong(n + 1, 0, 0, now), Measured::Nothing, "not asked for");
                match pings.pong(n, now + 50 + ahead, 0, now + 100) {
                    Measured::Nothing | Measured::Again => {}
                    measured => return (step + 1, measured),
                }
            }
            panic!("no measurement")
        };
        let (steps, measured) = measure(7, 0);
        let Measured::First(who, offset) = measured else { panic!("{measured:?}") };
        assert_eq!((steps, who.pod.as_str()), (FIRST_READINGS as u64, "a"));
        assert_eq!((offset.mono_ns, offset.uncertainty.0), (7, 50));
        let (steps, measured) = measure(9, 1_000_000);
        let Measured::Later(offset, drift) = measured else { panic!("{measured:?}") };
        assert_eq!((steps, offset.mono_ns, drift), (LATER_READINGS as u64, 9, 2));
    }

    #[test]
    fn a_cut_forgets_the_ping_that_was_under_way() {
        let mut pings = Pings::default();
        let n = pings.next(0).expect("none waits");
        pings.connected(&Who::default());
        assert_eq!(pings.pong(n, 0, 0, 1), Measured::Nothing);
        assert_eq!(pings.next(1), Some(n + 1));
    }
}
