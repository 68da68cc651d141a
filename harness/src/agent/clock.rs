//! What an agent's clock reads when the harness's reads something: from pings, without any I/O.
//!
//! A pong was written between the sending of its ping and its own arrival, so the middle of the
//! two is wrong by half the round trip at most, whatever the way there and back share of it. Of
//! several pings the one with the shortest round trip says most.
//!
//! *Source*: Cristian, "Probabilistic clock synchronization" (1989); NTP filters its samples by
//! the least delay in the same way (RFC 5905, section 10).

use highwater_model::time::{Nanos, Timestamp};

use crate::clock::{RunClock, signed};

/// One ping and its pong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The harness's monotonic clock before the ping was sent.
    pub sent: u64,
    /// The harness's monotonic clock after the pong had come.
    pub received: u64,
    /// The agent's monotonic clock in between.
    pub mono: u64,
    /// The agent's wall clock in between.
    pub wall: u64,
}

impl Reading {
    fn round_trip(&self) -> Option<u64> {
        self.received.checked_sub(self.sent)
    }
}

/// How an agent's clocks stand to the harness's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The agent's monotonic clock, less the harness's.
    pub mono_ns: i64,
    /// The wall clock of the agent's machine, less the harness's monotonic clock.
    pub wall_ns: i64,
    /// How far off both may be: half of the shortest round trip.
    pub uncertainty: Nanos,
}

/// The best that the readings say; `None` if there are none. Readings whose pong came before its
/// ping are passed over.
pub fn estimate(readings: &[Reading]) -> Option<Offset> {
    let trips = readings.iter().filter_map(|reading| Some((reading.round_trip()?, reading)));
    let (trip, best) = trips.min_by_key(|(trip, _)| *trip)?;
    let middle = signed(best.sent + trip / 2);
    Some(Offset {
        mono_ns: signed(best.mono) - middle,
        wall_ns: signed(best.wall) - middle,
        uncertainty: Nanos(trip.div_ceil(2)),
    })
}

impl Offset {
    /// What the agent's monotonic clock read at the run's start; negative if that was before its
    /// machine's boot.
    pub fn run_start(&self, run: &RunClock) -> i64 {
        run.start_mono_ns().saturating_add(self.mono_ns)
    }

    /// The instant of a reading of the wall clock of the agent's machine; the run's start for
    /// earlier ones.
    pub fn at_wall(&self, run: &RunClock, wall_ns: u64) -> Timestamp {
        let mono_ns = signed(wall_ns).saturating_sub(self.wall_ns);
        Timestamp(u64::try_from(mono_ns.saturating_sub(run.start_mono_ns())).unwrap_or(0))
    }

    /// How far the agent's monotonic clock ran ahead of the harness's since `earlier`; known to
    /// the sum of both uncertainties.
    pub fn drift_since(&self, earlier: &Self) -> i64 {
        self.mono_ns.saturating_sub(earlier.mono_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ping that leaves at `sent`, takes `there` and `back`, to a clock that is `ahead`.
    fn reading(sent: u64, there: u64, back: u64, ahead: i64) -> Reading {
        let mono = (sent + there).checked_add_signed(ahead).expect("after its boot");
        Reading { sent, received: sent + there + back, mono, wall: mono + 1_000_000 }
    }

    #[test]
    fn the_truth_is_within_the_uncertainty_of_the_shortest_trip() {
        const AHEAD: i64 = -40_000;
        // The readings as (there, back), what is said of the offset, and how uncertain.
        type Row = (&'static str, &'static [(u64, u64)], i64, u64);
        let rows: [Row; 6] = [
            ("the same way there and back", &[(100, 100)], AHEAD, 100),
            ("all of it there", &[(200, 0)], AHEAD + 100, 100),
            ("all of it back", &[(0, 200)], AHEAD - 100, 100),
            ("an outlier before", &[(90_000, 10), (60, 40), (50, 51)], AHEAD + 10, 50),
            ("outliers all around", &[(5, 700), (9_000, 5), (21, 20)], AHEAD + 1, 21),
            ("no time at all", &[(0, 0)], AHEAD, 0),
        ];
        for (name, trips, mono_ns, uncertainty) in rows {
            let readings: Vec<Reading> = trips
                .iter()
                .zip(1u64..)
                .map(|((there, back), n)| reading(n * 1_000_000, *there, *back, AHEAD))
                .collect();
            let offset = estimate(&readings).expect(name);
            assert_eq!((offset.mono_ns, offset.uncertainty.0), (mono_ns, uncertainty), "{name}");
            assert!((offset.mono_ns - AHEAD).unsigned_abs() <= uncertainty, "{name}");
            assert_eq!(offset.wall_ns, mono_ns + 1_000_000, "{name}");
        }
    }

    #[test]
    fn nothing_is_said_without_a_reading_that_makes_sense() {
        assert_eq!(estimate(&[]), None);
        let backwards = Reading { sent: 10, received: 9, mono: 5, wall: 5 };
        assert_eq!(estimate(&[backwards]), None);
        let good = reading(1_000_000, 10, 10, 3);
        assert_eq!(estimate(&[backwards, good]), estimate(&[good]));
    }

    #[test]
    fn the_run_is_where_the_harness_says_on_both_clocks_of_the_agent() {
        let run = RunClock::with_start(5_000);
        let offset = Offset { mono_ns: -9_000, wall_ns: 1_000_000, uncertainty: Nanos(1) };
        assert_eq!(offset.run_start(&run), -4_000, "the agent's machine was booted later");
        // 7,000 on the harness's clock is 2,000 into the run.
        let there = RunClock::with_start(offset.run_start(&run));
        assert_eq!(run.at(17_000), there.at(8_000));
        assert_eq!(offset.at_wall(&run, 1_017_000), run.at(17_000));
        assert_eq!(offset.at_wall(&run, 3), Timestamp::ZERO);
        let later = Offset { mono_ns: -8_400, ..offset };
        assert_eq!(later.drift_since(&offset), 600);
    }
}
