//! Rate profiles and arrival processes: when each request is owed.
//!
//! A [`Profile`] is the intended rate over time, with its integral and the inverse of that; a
//! [`Schedule`] places the arrivals on it. Both are values: the same scenario and seed owe the
//! same requests on every backend, and N generators that each take every Nth arrival owe exactly
//! the whole together.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{
    rng::Stream,
    spec::{Arrivals, PhaseShape, Traffic},
    time::{Nanos, SECOND},
};

/// The intended rate over time: one linear piece per phase.
///
/// Symbols: `t` seconds from the start of the traffic, `r` requests per second, `n` expected
/// requests until `t` (the integral of `r`).
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    start: f64,
    lasts: f64,
    rate_start: f64,
    rate_end: f64,
    expected_before: f64,
}

impl Piece {
    fn slope(&self) -> f64 {
        (self.rate_end - self.rate_start) / self.lasts
    }

    fn expected(&self) -> f64 {
        (self.rate_start + self.rate_end) / 2.0 * self.lasts
    }

    fn expected_until(&self, into: f64) -> f64 {
        (self.rate_start + self.slope() * into / 2.0) * into
    }

    /// Seconds into the piece at which `n` requests are expected in it. The form of the quadratic
    /// formula that does not cancel.
    fn inverse(&self, n: f64) -> f64 {
        if n <= 0.0 {
            return 0.0;
        }
        let discriminant = self.rate_start * self.rate_start + 2.0 * self.slope() * n;
        let root = libm::sqrt(discriminant.max(0.0));
        (2.0 * n / (self.rate_start + root)).min(self.lasts)
    }
}

impl Profile {
    /// The profile of the traffic's phases.
    ///
    /// # Errors
    /// The first phase whose keys make no shape (its index and what is wrong).
    pub fn new(traffic: &Traffic) -> Result<Self, (usize, &'static str)> {
        let mut pieces = Vec::with_capacity(traffic.phases.len());
        let (mut start, mut expected, mut rate) = (0.0, 0.0, 0.0);
        for (index, phase) in traffic.phases.iter().enumerate() {
            let (from, to, lasts) = match phase.shape().map_err(|problem| (index, problem))? {
                PhaseShape::Hold { rate, lasts } => (rate.0, rate.0, lasts),
                PhaseShape::Ramp { from, to, lasts } => {
                    (from.map_or(rate, |from| from.0), to.0, lasts)
                }
            };
            if lasts == Nanos::ZERO {
                return Err((index, "a phase must last longer than nothing"));
            }
            let piece = Piece {
                start,
                lasts: lasts.as_secs_f64(),
                rate_start: from,
                rate_end: to,
                expected_before: expected,
            };
            start += piece.lasts;
            expected += piece.expected();
            rate = to;
            pieces.push(piece);
        }
        Ok(Self { pieces })
    }

    /// Begin and end of each phase, from the start of the traffic.
    pub fn phases(&self) -> impl Iterator<Item = (Nanos, Nanos)> {
        self.pieces.iter().map(|piece| {
            (Nanos::from_secs_f64(piece.start), Nanos::from_secs_f64(piece.start + piece.lasts))
        })
    }

    /// How long the traffic lasts.
    pub fn lasts(&self) -> Nanos {
        self.pieces.last().map_or(Nanos::ZERO, |last| Nanos::from_secs_f64(last.start + last.lasts))
    }

    /// Requests per second at `at`; at a boundary, those of the phase that begins.
    pub fn rate(&self, at: Nanos) -> f64 {
        let t = at.as_secs_f64();
        let piece = self
            .pieces
            .iter()
            .rev()
            .find(|piece| t >= piece.start && t < piece.start + piece.lasts);
        piece.map_or(0.0, |piece| piece.rate_start + piece.slope() * (t - piece.start))
    }

    /// Requests expected until `at`.
    pub fn expected_until(&self, at: Nanos) -> f64 {
        let t = at.as_secs_f64();
        let piece = self.pieces.iter().rev().find(|piece| t >= piece.start);
        piece.map_or(0.0, |piece| {
            piece.expected_before + piece.expected_until((t - piece.start).min(piece.lasts))
        })
    }

    /// Requests expected in all.
    pub fn expected(&self) -> f64 {
        self.pieces.last().map_or(0.0, |last| last.expected_before + last.expected())
    }
}

/// One request that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, from the start of the traffic.
    pub at: Nanos,
    /// Index of its phase.
    pub phase: u16,
    /// Ascending from 0.
    pub number: u64,
}

/// The arrivals, in order of time.
///
/// Constant arrivals are where the expected count passes 1/2, 3/2, 5/2 ...; so a phase of whole
/// expected count owes exactly that. Poisson arrivals are a unit Poisson process run through the
/// inverse of the expected count (time rescaling; Lewis and Shedler 1979).
#[derive(Clone, Debug)]
pub struct Schedule {
    profile: Profile,
    arrivals: Arrivals,
    stream: Stream,
    expected: f64,
    piece: usize,
    number: u64,
    last: Nanos,
}

impl Schedule {
    /// The schedule of a profile. Its randomness is the seed's stream `arrivals`.
    pub fn new(profile: Profile, arrivals: Arrivals, seed: u64) -> Self {
        Self {
            profile,
            arrivals,
            stream: Stream::new(seed, "arrivals"),
            expected: 0.0,
            piece: 0,
            number: 0,
            last: Nanos::ZERO,
        }
    }

    /// The profile it is made from.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        match self.arrivals {
            Arrivals::Constant => self.expected = self.number as f64 + 0.5,
            Arrivals::Poisson => self.expected += self.stream.exponential(),
        }
        let piece = loop {
            let piece = self.profile.pieces.get(self.piece)?;
            if self.expected < piece.expected_before + piece.expected() {
                break piece;
            }
            self.piece += 1;
        };
        let seconds = piece.start + piece.inverse(self.expected - piece.expected_before);
        // Rounding must neither reorder arrivals nor put one past the end of its phase.
        let end = Nanos(((piece.start + piece.lasts) * SECOND as f64) as u64).0.saturating_sub(1);
        let at = Nanos(Nanos::from_secs_f64(seconds).0.min(end)).max(self.last);
        self.last = at;
        let arrival = Arrival { at, phase: self.piece as u16, number: self.number };
        self.number += 1;
        Some(arrival)
    }
}

/// One generator's part of the whole: every `of`th arrival, and its part of what is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Which part, from 0; below `of`.
    pub index: u32,
    /// How many parts there are; at least 1.
    pub of: u32,
}

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    /// All parts of `of`, in order.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (0..of).map(move |index| Self { index, of })
    }

    /// Whether there is such a part.
    pub const fn is_valid(self) -> bool {
        self.index < self.of
    }

    /// Whether the arrival of that number is in this part. Each is in exactly one.
    pub fn owns(self, number: u64) -> bool {
        number % u64::from(self.of) == u64::from(self.index)
    }

    /// This part of `total` things that cannot be cut. Parts differ by one at most, and add up.
    pub fn part(self, total: u32) -> u32 {
        total / self.of + u32::from(self.index < total % self.of)
    }

    /// The `n`th number (from 0) of those that this part may give away, so that no two parts give
    /// the same.
    pub fn number(self, n: u64) -> u64 {
        n * u64::from(self.of) + u64::from(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        spec::{Phase, Ramp},
        units::RatePerSec,
    };
    use alloc::vec;
    use proptest::prelude::*;

    fn hold(rate: f64, seconds: u64) -> Phase {
        Phase {
            hold: Some(RatePerSec(rate)),
            for_: Some(Nanos::from_secs(seconds)),
            ..Phase::default()
        }
    }

    fn ramp(to: f64, seconds: u64) -> Phase {
        Phase {
            ramp: Some(Ramp { from: None, to: RatePerSec(to) }),
            over: Some(Nanos::from_secs(seconds)),
            ..Phase::default()
        }
    }

    fn traffic(phases: Vec<Phase>) -> Traffic {
        Traffic {
            arrivals: Arrivals::Constant,
            phases,
            requests: vec![],
            timeout: Nanos::from_secs(1),
            keep_alive: true,
            max_connections: 1,
            generators: None,
            saturate: None,
            threads: None,
        }
    }

    fn schedule(phases: Vec<Phase>, arrivals: Arrivals, seed: u64) -> Schedule {
        Schedule::new(Profile::new(&traffic(phases)).expect("shapes"), arrivals, seed)
    }

    #[test]
    fn constant_arrivals_are_as_many_as_expected_and_even() {
        let arrivals: Vec<Arrival> =
            schedule(vec![hold(50.0, 20), hold(200.0, 10)], Arrivals::Constant, 1).collect();
        assert_eq!(arrivals.len(), 3000);
        assert_eq!(arrivals.iter().filter(|arrival| arrival.phase == 0).count(), 1000);
        assert_eq!(arrivals[0].at, Nanos::from_millis(10));
        assert_eq!(arrivals[1].at, Nanos::from_millis(30));
        assert_eq!(arrivals[1000].at, Nanos(20 * SECOND + 2_500_000));
    }

    #[test]
    fn a_ramp_goes_on_from_the_phase_before() {
        let profile =
            Profile::new(&traffic(vec![hold(50.0, 20), ramp(200.0, 10), hold(200.0, 10)]))
                .expect("shapes");
        assert!((profile.rate(Nanos::from_secs(25)) - 125.0).abs() < 1e-9);
        assert!((profile.expected() - (1000.0 + 1250.0 + 2000.0)).abs() < 1e-9);
        assert!((profile.expected_until(Nanos::from_secs(25)) - (1000.0 + 437.5)).abs() < 1e-9);
        assert_eq!(profile.rate(Nanos::from_secs(41)), 0.0);
        let owed =
            schedule(vec![hold(50.0, 20), ramp(200.0, 10), hold(200.0, 10)], Arrivals::Constant, 1);
        assert_eq!(owed.count(), 4250);
    }

    #[test]
    fn a_silent_phase_owes_nothing_and_time_goes_on() {
        let arrivals: Vec<Arrival> =
            schedule(vec![hold(10.0, 1), hold(0.0, 100), hold(10.0, 1)], Arrivals::Constant, 1)
                .collect();
        assert_eq!(arrivals.len(), 20);
        assert_eq!((arrivals[9].phase, arrivals[10].phase), (0, 2));
        assert!(arrivals[10].at > Nanos::from_secs(101));
    }

    #[test]
    fn poisson_arrivals_have_exponential_gaps() {
        let gaps: Vec<f64> = {
            let arrivals: Vec<Arrival> =
                schedule(vec![hold(1000.0, 100)], Arrivals::Poisson, 9).collect();
            arrivals.windows(2).map(|pair| (pair[1].at.0 - pair[0].at.0) as f64 / 1e6).collect()
        };
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance =
            gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "mean {mean} ms");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }

    #[test]
    fn the_seed_alone_moves_poisson_arrivals() {
        let of = |seed| schedule(vec![hold(100.0, 5)], Arrivals::Poisson, seed).collect::<Vec<_>>();
        assert_eq!(of(4), of(4));
        assert_ne!(of(4), of(5));
    }

    #[test]
    fn phases_without_a_shape_are_refused() {
        assert_eq!(Profile::new(&traffic(vec![hold(1.0, 1), Phase::default()])).unwrap_err().0, 1);
        assert!(Profile::new(&traffic(vec![hold(1.0, 0)])).is_err());
    }

    type Counts = std::collections::BTreeMap<(u64, u16), u64>;

    /// Arrivals by second and phase.
    fn counts(schedule: impl Iterator<Item = Arrival>) -> Counts {
        let mut counts = Counts::new();
        for arrival in schedule {
            *counts.entry((arrival.at.0 / SECOND, arrival.phase)).or_default() += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn shares_add_up_to_the_whole_second_by_second_and_phase_by_phase(
            rates in proptest::collection::vec((0.0..300.0f64, 1u64..4, any::<bool>()), 1..5),
            poisson in any::<bool>(),
            seed in any::<u64>(),
            of in 1u32..=8,
            total in 1u32..5000,
        ) {
            let phases: Vec<Phase> = rates
                .iter()
                .map(|(rate, seconds, is_ramp)| if *is_ramp { ramp(*rate, *seconds) } else { hold(*rate, *seconds) })
                .collect();
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let whole = counts(schedule(phases.clone(), arrivals, seed));
            let mut sum = Counts::new();
            for share in Share::all(of) {
                let part = schedule(phases.clone(), arrivals, seed);
                for (window, n) in counts(part.filter(|arrival| share.owns(arrival.number))) {
                    *sum.entry(window).or_default() += n;
                }
            }
            prop_assert_eq!(sum, whole);
            let parts: Vec<u32> = Share::all(of).map(|share| share.part(total)).collect();
            prop_assert_eq!(parts.iter().sum::<u32>(), total);
            prop_assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1);
            let mut given: Vec<u64> = Share::all(of).flat_map(|share| (0..9).map(move |n| share.number(n))).collect();
            given.sort_unstable();
            prop_assert_eq!(given, (0..u64::from(of) * 9).collect::<Vec<u64>>());
        }

        #[test]
        fn arrivals_ascend_within_their_phase_and_never_run_ahead_of_the_profile(
            rates in proptest::collection::vec((0.0..500.0f64, 1u64..5, any::<bool>()), 1..6),
            poisson in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let phases: Vec<Phase> = rates
                .iter()
                .map(|(rate, seconds, is_ramp)| if *is_ramp { ramp(*rate, *seconds) } else { hold(*rate, *seconds) })
                .collect();
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let schedule = schedule(phases, arrivals, seed);
            let profile = schedule.profile().clone();
            let spans: Vec<_> = profile.phases().collect();
            let mut last = Nanos::ZERO;
            for (number, arrival) in schedule.enumerate() {
                prop_assert!(arrival.at >= last);
                let (start, end) = spans[usize::from(arrival.phase)];
                prop_assert!(arrival.at >= start && arrival.at < end);
                prop_assert_eq!(arrival.number, number as u64);
                if !poisson {
                    let expected = profile.expected_until(arrival.at);
                    prop_assert!((expected - (number as f64 + 0.5)).abs() < 0.01, "{} at {}", expected, number);
                }
                last = arrival.at;
            }
        }
    }
}
