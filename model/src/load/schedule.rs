//! Arrivals on a profile.

use super::Profile;
use crate::{rng::Stream, spec::Arrivals, time::Nanos};

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
            let piece = self.profile.piece(self.piece)?;
            if self.expected < piece.expected_before + piece.expected() {
                break piece;
            }
            self.piece += 1;
        };
        let into = piece.inverse(self.expected - piece.expected_before);
        // Rounding must neither reorder arrivals nor put one past the end of its piece.
        let at = piece.start + Nanos::from_secs_f64(into).0;
        let at = Nanos(at.min(piece.end - 1)).max(self.last);
        self.last = at;
        let arrival = Arrival { at, phase: piece.phase, number: self.number };
        self.number += 1;
        Some(arrival)
    }
}
