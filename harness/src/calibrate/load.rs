//! Which seconds are quiet, and which busy.
//!
//! Where requests wait for each other, the time that one takes says little of what it costs. So a
//! fit goes by the quiet seconds, and the busy ones say how requests wait.

use super::seen::{Second, Seen};
use crate::record::hist::{self, DecodeError, Hist};

/// Fewer good answers than this make no class of seconds.
pub(super) const ANSWERS_MIN: u64 = 500;
/// A class has this part of all good answers,
const PART: u64 = 4;
/// or so many, which tell its quantiles well enough.
const ANSWERS_ENOUGH: u64 = 2_000;
/// Busy is this much more load per pod than quiet.
const BUSIER: f64 = 1.5;

/// The rule: *quiet* are the seconds with the least load per ready pod, one load after the other,
/// until they hold a quarter of all good answers (500 to 2,000 of them); *busy* likewise from the
/// top, if those have half as much load again as the quiet ones. Where the load hardly changes, all
/// seconds are quiet and none is busy. Load is averaged over five seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    /// At most so many requests per second and pod.
    pub(super) quiet: f64,
    /// At least so many; `None` if no second is busy.
    pub(super) busy: Option<f64>,
}

/// Service times of quiet and of busy seconds.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) quiet: Hist,
    pub(super) busy: Option<Hist>,
    /// How many seconds are quiet, and busy.
    pub(super) seconds: [u64; 2],
}

impl Rule {
    /// All seconds are quiet.
    pub(super) const ALL: Self = Self { quiet: f64::INFINITY, busy: None };

    /// `None` if there are fewer good answers than [`ANSWERS_MIN`].
    pub(super) fn of(seen: &Seen<'_>) -> Option<Self> {
        let mut seconds: Vec<&Second<'_>> = seen.seconds.iter().filter(|one| one.ok > 0).collect();
        seconds.sort_by(|a, b| a.load.total_cmp(&b.load));
        let all: u64 = seconds.iter().map(|one| one.ok).sum();
        if all < ANSWERS_MIN {
            return None;
        }
        let enough = (all / PART).clamp(ANSWERS_MIN, ANSWERS_ENOUGH);
        let quiet = reach(seconds.iter().copied(), enough)?;
        let busy = reach(seconds.iter().rev().copied(), enough)?;
        if busy >= BUSIER * quiet {
            return Some(Self { quiet, busy: Some(busy) });
        }
        Some(Self::ALL)
    }

    /// The service times, by class.
    ///
    /// # Errors
    /// If a histogram is damaged.
    pub(super) fn times(&self, seen: &Seen<'_>) -> Result<Times, DecodeError> {
        let mut times =
            Times { quiet: hist::new(), busy: self.busy.map(|_| hist::new()), seconds: [0, 0] };
        for second in &seen.seconds {
            if second.load <= self.quiet {
                second.add_to(&mut times.quiet)?;
                times.seconds[0] += 1;
            }
            if let (Some(from), Some(busy)) = (self.busy, &mut times.busy)
                && second.load >= from
            {
                second.add_to(busy)?;
                times.seconds[1] += 1;
            }
        }
        Ok(times)
    }
}

/// The load of the second with which there are enough answers.
fn reach<'a>(seconds: impl Iterator<Item = &'a Second<'a>>, enough: u64) -> Option<f64> {
    let mut answers = 0;
    for second in seconds {
        answers += second.ok;
        if answers >= enough {
            return Some(second.load);
        }
    }
    None
}

impl Times {
    /// Those of another run as well.
    pub(super) fn add(&mut self, other: &Self) {
        // All histograms have the record's bounds.
        let _ = self.quiet.add(&other.quiet);
        if let (Some(into), Some(from)) = (&mut self.busy, &other.busy) {
            let _ = into.add(from);
        }
    }
}
