//! The intended rate over time.

use alloc::vec::Vec;

use super::lines::{self, LINES_MAX, Line};
use crate::{
    spec::Traffic,
    time::{Nanos, SECOND},
};

/// The intended rate over time, in straight lines; [`super::lines`] tells how close they are to
/// the shapes.
///
/// Symbols: `t` seconds from the start of the traffic, `r` requests per second, `n` expected
/// requests until `t` (the integral of `r`).
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    phases: Vec<(Nanos, Nanos)>,
    pieces: Vec<Piece>,
}

/// A straight line; nanoseconds from the start of the traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    rate_start: f64,
    rate_end: f64,
    pub(super) expected_before: f64,
    pub(super) phase: u16,
}

impl Piece {
    /// Seconds.
    fn lasts(&self) -> f64 {
        seconds(self.end - self.start)
    }

    fn slope(&self) -> f64 {
        (self.rate_end - self.rate_start) / self.lasts()
    }

    pub(super) fn expected(&self) -> f64 {
        (self.rate_start + self.rate_end) / 2.0 * self.lasts()
    }

    fn expected_until(&self, into: f64) -> f64 {
        (self.rate_start + self.slope() * into / 2.0) * into
    }

    /// Seconds into the piece at which `n` requests are expected in it. The form of the quadratic
    /// formula that does not cancel.
    pub(super) fn inverse(&self, n: f64) -> f64 {
        if n <= 0.0 {
            return 0.0;
        }
        let discriminant = self.rate_start * self.rate_start + 2.0 * self.slope() * n;
        let root = libm::sqrt(discriminant.max(0.0));
        (2.0 * n / (self.rate_start + root)).min(self.lasts())
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / SECOND as f64
}

impl Profile {
    /// The profile of the traffic's phases.
    ///
    /// # Errors
    /// The first phase whose keys make no shape (its index and what is wrong).
    pub fn new(traffic: &Traffic) -> Result<Self, (usize, &'static str)> {
        let mut profile =
            Self { phases: Vec::with_capacity(traffic.phases.len()), pieces: Vec::new() };
        let mut rate = 0.0;
        for (index, phase) in traffic.phases.iter().enumerate() {
            let lines = lines::of_phase(phase, rate).map_err(|problem| (index, problem))?;
            if profile.pieces.len() + lines.len() > LINES_MAX {
                return Err((index, lines::TOO_MANY));
            }
            rate = lines.last().map_or(rate, |line| line.to);
            profile.add(&lines);
        }
        Ok(profile)
    }

    fn add(&mut self, lines: &[Line]) {
        let begin = self.lasts();
        let phase = self.phases.len() as u16;
        let mut expected = self.expected();
        for line in lines {
            let piece = Piece {
                start: begin.0.saturating_add(line.start),
                end: begin.0.saturating_add(line.end),
                rate_start: line.from,
                rate_end: line.to,
                expected_before: expected,
                phase,
            };
            expected += piece.expected();
            self.pieces.push(piece);
        }
        self.phases.push((begin, begin + Nanos(lines.last().map_or(0, |line| line.end))));
    }

    pub(super) fn piece(&self, index: usize) -> Option<&Piece> {
        self.pieces.get(index)
    }

    /// Index of the piece that `at` lies in; that of the last one from its end on.
    fn index(&self, at: Nanos) -> usize {
        self.pieces.partition_point(|piece| piece.start <= at.0).saturating_sub(1)
    }

    /// Begin and end of each phase, from the start of the traffic.
    pub fn phases(&self) -> impl Iterator<Item = (Nanos, Nanos)> {
        self.phases.iter().copied()
    }

    /// How long the traffic lasts.
    pub fn lasts(&self) -> Nanos {
        self.phases.last().map_or(Nanos::ZERO, |last| last.1)
    }

    /// Requests per second at `at`; at a boundary, those of the piece that begins.
    pub fn rate(&self, at: Nanos) -> f64 {
        let piece = self.piece(self.index(at)).filter(|piece| at.0 < piece.end);
        piece.map_or(0.0, |piece| piece.rate_start + piece.slope() * seconds(at.0 - piece.start))
    }

    /// The highest rate from `from` to `to`, both included.
    pub fn peak(&self, from: Nanos, to: Nanos) -> f64 {
        let within = self.pieces.get(self.index(from)..=self.index(to)).unwrap_or_default();
        within.iter().fold(0.0, |peak, piece| peak.max(piece.rate_start).max(piece.rate_end))
    }

    /// Requests expected until `at`.
    pub fn expected_until(&self, at: Nanos) -> f64 {
        self.piece(self.index(at)).map_or(0.0, |piece| {
            let into = seconds(at.0.min(piece.end).saturating_sub(piece.start));
            piece.expected_before + piece.expected_until(into)
        })
    }

    /// Requests expected in all.
    pub fn expected(&self) -> f64 {
        self.pieces.last().map_or(0.0, |last| last.expected_before + last.expected())
    }

    /// When the rate begins to rise: where it jumps up, and where it starts to climb after it fell
    /// or stayed.
    pub fn rises(&self) -> impl Iterator<Item = Nanos> {
        let mut before = (0.0, false);
        self.pieces.iter().filter_map(move |piece| {
            let (rate, was_rising) = before;
            let climbs = piece.rate_end > piece.rate_start;
            before = (piece.rate_end, climbs);
            let rises = piece.rate_start > rate || (climbs && !was_rising);
            rises.then_some(Nanos(piece.start))
        })
    }
}
