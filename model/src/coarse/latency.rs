//! Latencies of many requests, as how many there were at each utilisation and behind each backlog.

use alloc::{vec, vec::Vec};

use super::station::{self, GRID, STEPS, Station};

/// Steps of the wait behind a backlog, each [`LATE_STEP`] times the one before.
const LATE: usize = 96;
const LATE_STEP: f64 = 1.1;
/// The shortest wait behind a backlog that is told apart, seconds.
const LATE_LEAST: f64 = 0.01;

/// Requests that were answered or timed out, by what they met.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    /// By step of utilisation.
    calm: Vec<f64>,
    /// By wait behind a backlog.
    late: Vec<f64>,
}

impl Default for Latency {
    fn default() -> Self {
        Self { calm: vec![0.0; STEPS], late: vec![0.0; LATE] }
    }
}

impl Latency {
    /// So many requests at a step of utilisation, behind a backlog of so many seconds.
    #[inline]
    pub(super) fn add(&mut self, requests: f64, step: usize, behind: f64) {
        if behind < LATE_LEAST {
            self.calm[step] += requests;
            return;
        }
        let late = (libm::log(behind / LATE_LEAST) / libm::log(LATE_STEP)) as usize;
        self.late[late.min(LATE - 1)] += requests;
    }

    /// How many requests are slower than each latency of the station's grid.
    pub(super) fn slower(&self, station: &Station) -> Vec<f64> {
        let mut slower = vec![0.0; GRID];
        for (step, &requests) in self.calm.iter().enumerate().filter(|(_, n)| **n > 0.0) {
            let row = station.row(step);
            slower.iter_mut().zip(row).for_each(|(sum, share)| *sum += requests * share);
        }
        // The backlog is the queue: who is behind it waits for that, and then only for what it needs.
        let full = station.row(0);
        for (late, &requests) in self.late.iter().enumerate().filter(|(_, n)| **n > 0.0) {
            let behind = LATE_LEAST * libm::pow(LATE_STEP, late as f64 + 0.5);
            for (sum, latency) in slower.iter_mut().zip(station.grid()) {
                let rest = latency - behind;
                *sum += requests * if rest > 0.0 { station::at(full, rest) } else { 1.0 };
            }
        }
        slower
    }
}
