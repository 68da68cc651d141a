//! The traffic of a run, second by second: the same for every setting that is tried on it.

use alloc::{string::String, vec::Vec};

use crate::{
    load::{Profile, Schedule},
    rng::Stream,
    spec::Arrivals,
    time::{Nanos, SECOND},
};

/// Up to how many requests each single arrival is drawn, as the full simulation draws them.
const DRAWN_MAX: f64 = 2e7;

/// The traffic of a run.
#[derive(Clone, Debug)]
pub struct Load {
    phases: Vec<String>,
    seconds: Vec<Second>,
}

/// One second of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Second {
    /// Requests expected in it.
    pub(super) expected: f64,
    /// Requests in it.
    pub(super) count: f64,
    /// Its phase; of two that share it the one that it begins with.
    pub(super) phase: u16,
}

impl Load {
    /// The traffic of a profile with these phases, `seed`'s arrivals. Those of up to 20 million
    /// requests are the very ones that [`crate::sim`] draws; of more, counts with the spread of a
    /// Poisson process.
    pub fn new(profile: &Profile, phases: Vec<String>, arrivals: Arrivals, seed: u64) -> Self {
        let lasts = profile.lasts().0.div_ceil(SECOND) as usize;
        let (mut cursor, mut before) = (0, 0.0);
        let ends: Vec<Nanos> = profile.phases().map(|(_, end)| end).collect();
        let mut seconds: Vec<Second> = (0..lasts)
            .map(|second| {
                let from = Nanos(second as u64 * SECOND);
                let until = profile.expected_from(&mut cursor, from + Nanos(SECOND));
                let expected = until - before;
                before = until;
                let phase = ends.partition_point(|end| *end <= from).min(ends.len() - 1);
                Second { expected, count: 0.0, phase: phase as u16 }
            })
            .collect();
        if profile.expected() <= DRAWN_MAX {
            for arrival in Schedule::new(profile.clone(), arrivals, seed) {
                let last = seconds.len() - 1;
                seconds[((arrival.at.0 / SECOND) as usize).min(last)].count += 1.0;
            }
        } else {
            let mut stream = Stream::new(seed, "coarse/arrivals");
            for second in &mut seconds {
                let spread = libm::sqrt(second.expected) * stream.normal();
                let spread = if arrivals == Arrivals::Poisson { spread } else { 0.0 };
                second.count = libm::round((second.expected + spread).max(0.0));
            }
        }
        Self { phases, seconds }
    }

    /// Its phases.
    pub fn phases(&self) -> &[String] {
        &self.phases
    }

    /// How many seconds it lasts.
    pub fn seconds(&self) -> usize {
        self.seconds.len()
    }

    /// Requests in each second.
    pub fn counts(&self) -> impl Iterator<Item = f64> {
        self.seconds.iter().map(|second| second.count)
    }

    /// Requests expected in each second.
    pub fn expected(&self) -> impl Iterator<Item = f64> {
        self.seconds.iter().map(|second| second.expected)
    }

    /// The part of it from second `from` on, `count` seconds at most.
    #[must_use]
    pub fn part(&self, from: usize, count: usize) -> Self {
        let end = from.saturating_add(count).min(self.seconds.len());
        let seconds = self.seconds.get(from..end).unwrap_or_default().to_vec();
        Self { phases: self.phases.clone(), seconds }
    }

    pub(super) fn all(&self) -> &[Second] {
        &self.seconds
    }
}
