//! What came of a coarse run.

use alloc::vec::Vec;

use super::{
    latency::Latency,
    station::{self, GRID, Station},
};
use crate::time::Nanos;

/// Why a run did not come to its traffic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoarseError {
    /// The target did not become ready.
    #[error("the target is not ready after {within}")]
    NeverReady {
        /// Within this.
        within: Nanos,
    },
}

/// What came of a run. Counts of requests are expectations, and so need not be whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// By phase of the traffic.
    pub parts: Vec<Part>,
    /// Seconds of traffic.
    pub seconds: usize,
    /// Seconds that containers ran, those before the traffic included.
    pub pod_seconds: f64,
    /// How often `spec.replicas` was changed.
    pub desired_changes: u32,
    /// The fewest and the most pods that clients sent to.
    pub serving: (u32, u32),
    /// The slowest scale-up, seconds: from the first pass that asked for more until the last new pod
    /// could be chosen. `None` without one.
    pub time_to_scale: Option<f64>,
    /// Second by second, if that was asked for.
    pub curve: Vec<Point>,
    pub(super) grid: Vec<f64>,
}

/// One second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// `spec.replicas` at its begin.
    pub desired: u32,
    /// Pods that clients send to.
    pub serving: u32,
    /// Requests.
    pub requests: u32,
}

/// One phase of the traffic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Requests owed.
    pub owed: f64,
    /// Requests that found no pod, or a full queue.
    pub refused: f64,
    /// Requests lost by the going of pods.
    pub cut: f64,
    /// Requests whose clients gave up.
    pub late: f64,
    /// Of those that were answered: how many are slower than each latency of the grid.
    slower: Vec<f64>,
}

impl Part {
    pub(super) fn new(
        station: &Station,
        owed: f64,
        refused: f64,
        cut: f64,
        gave_up: f64,
        latency: &Latency,
    ) -> Self {
        let mut slower = latency.slower(station);
        let late = station::at_count(&slower, station.timeout);
        // Percentiles are those of good answers.
        slower.iter_mut().for_each(|slower| *slower = (*slower - late).max(0.0));
        let late = late + gave_up;
        Self { owed, refused, cut, late, slower }
    }

    /// Requests without a good answer.
    pub fn failed(&self) -> f64 {
        self.refused + self.cut + self.late
    }

    fn merge(&mut self, other: &Self) {
        self.owed += other.owed;
        self.refused += other.refused;
        self.cut += other.cut;
        self.late += other.late;
        self.slower.resize(GRID, 0.0);
        self.slower.iter_mut().zip(&other.slower).for_each(|(sum, one)| *sum += one);
    }
}

impl Outcome {
    pub(super) fn of(parts: Vec<Part>, station: &Station) -> Self {
        Self {
            parts,
            seconds: 0,
            pod_seconds: 0.0,
            desired_changes: 0,
            serving: (0, 0),
            time_to_scale: None,
            curve: Vec::new(),
            grid: station.grid().to_vec(),
        }
    }

    /// Phases taken together; all of them if `phases` is empty.
    pub fn total(&self, phases: &[usize]) -> Part {
        let mut total = Part::default();
        for (index, part) in self.parts.iter().enumerate() {
            if phases.is_empty() || phases.contains(&index) {
                total.merge(part);
            }
        }
        total
    }

    /// The quantile `q` of the latency of a part's good answers, seconds; `None` without any.
    pub fn latency(&self, part: &Part, q: f64) -> Option<f64> {
        let good = part.slower.first().copied().unwrap_or(0.0);
        (good > 0.5).then(|| station::quantile(&part.slower, &self.grid, (1.0 - q) * good))
    }

    /// How many of a part's requests got a good answer within `seconds`.
    pub fn within(&self, part: &Part, seconds: f64) -> f64 {
        let good = part.slower.first().copied().unwrap_or(0.0);
        good - station::at_count(&part.slower, seconds).min(good)
    }
}
