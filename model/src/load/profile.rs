//! The intended rate over time.

use alloc::vec::Vec;

use super::{
    lines::{self, LINES_MAX, Line},
    schedule::Player,
};
use crate::{
    spec::{Phase, Traffic},
    time::{Nanos, SECOND},
};

/// The intended rate over time, in straight lines; `lines` tells how close they are to
/// the shapes.
///
/// Symbols: `t` seconds from the start of the traffic, `r` requests per second, `n` expected
/// requests until `t` (the integral of `r`).
#[derive(Clone, Debug)]
pub struct Profile {
    phases: Vec<Span>,
    pieces: Vec<Piece>,
    /// How many kinds of requests its traces have.
    kinds: u32,
}

/// A phase.
#[derive(Clone, Debug)]
struct Span {
    start: Nanos,
    end: Nanos,
    /// Index of the piece behind its last one.
    pieces: usize,
    /// Where its requests come from, if not from the arrival process.
    trace: Option<Player>,
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
    /// Seconds.
    lasts: f64,
    /// Of the rate, per second.
    slope: f64,
}

impl Piece {
    pub(super) fn expected(&self) -> f64 {
        (self.rate_start + self.rate_end) / 2.0 * self.lasts
    }

    /// Requests expected until `at`, those before the piece included.
    fn until(&self, at: Nanos) -> f64 {
        let into = seconds(at.0.min(self.end).saturating_sub(self.start));
        self.expected_before + (self.rate_start + self.slope * into / 2.0) * into
    }

    /// When `n` requests are expected in it.
    pub(super) fn at(&self, n: f64) -> Nanos {
        let at = self.start + Nanos::from_secs_f64(self.inverse(n)).0;
        // Rounding must not put an arrival past the end of its piece.
        Nanos(at.min(self.end - 1))
    }

    /// Seconds into the piece at which `n` requests are expected in it. The form of the quadratic
    /// formula that does not cancel.
    fn inverse(&self, n: f64) -> f64 {
        if n <= 0.0 {
            return 0.0;
        }
        if self.rate_start == self.rate_end {
            return (n / self.rate_start).min(self.lasts);
        }
        let discriminant = self.rate_start * self.rate_start + 2.0 * self.slope * n;
        let root = libm::sqrt(discriminant.max(0.0));
        (2.0 * n / (self.rate_start + root)).min(self.lasts)
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
            Self { phases: Vec::with_capacity(traffic.phases.len()), pieces: Vec::new(), kinds: 0 };
        let mut rate = 0.0;
        for (index, phase) in traffic.phases.iter().enumerate() {
            let lines = lines::of_phase(phase, rate).map_err(|problem| (index, problem))?;
            if profile.pieces.len() + lines.len() > LINES_MAX {
                return Err((index, lines::TOO_MANY));
            }
            rate = lines.last().map_or(rate, |line| line.to);
            profile.add(phase, &lines);
        }
        Ok(profile)
    }

    fn add(&mut self, of: &Phase, lines: &[Line]) {
        let begin = self.lasts();
        let phase = self.phases.len() as u16;
        let mut expected = self.expected();
        for line in lines {
            let (start, end) =
                (begin.0.saturating_add(line.start), begin.0.saturating_add(line.end));
            let lasts = seconds(end - start);
            let piece = Piece {
                start,
                end,
                lasts,
                slope: (line.to - line.from) / lasts,
                rate_start: line.from,
                rate_end: line.to,
                expected_before: expected,
                phase,
            };
            expected += piece.expected();
            self.pieces.push(piece);
        }
        let end = begin + Nanos(lines.last().map_or(0, |line| line.end));
        let trace = of.trace.as_ref().and_then(|trace| {
            let scale = of.scale.unwrap_or(1.0);
            let player = Player::new(trace, scale, (begin, end), phase, self.kinds)?;
            self.kinds += trace.data.as_ref().map_or(0, |data| data.kinds.len() as u32);
            Some(player)
        });
        self.phases.push(Span { start: begin, end, pieces: self.pieces.len(), trace });
    }

    pub(super) fn piece(&self, index: usize) -> Option<&Piece> {
        self.pieces.get(index)
    }

    /// What plays a phase, if it is a trace, and the index of the first piece behind it.
    pub(super) fn trace(&self, phase: u16) -> Option<(&Player, usize)> {
        let span = self.phases.get(usize::from(phase))?;
        Some((span.trace.as_ref()?, span.pieces))
    }

    /// Whether requests of the phase come from a trace.
    pub fn is_trace(&self, phase: u16) -> bool {
        self.trace(phase).is_some()
    }

    /// Index of the piece that `at` lies in; that of the last one from its end on.
    fn index(&self, at: Nanos) -> usize {
        self.pieces.partition_point(|piece| piece.start <= at.0).saturating_sub(1)
    }

    /// Begin and end of each phase, from the start of the traffic.
    pub fn phases(&self) -> impl Iterator<Item = (Nanos, Nanos)> {
        self.phases.iter().map(|span| (span.start, span.end))
    }

    /// Its straight lines, in order: begin and end from the start of the traffic, and the rates
    /// there, requests per second.
    pub fn lines(&self) -> impl Iterator<Item = (Nanos, Nanos, (f64, f64))> {
        let line = |piece: &Piece| {
            (Nanos(piece.start), Nanos(piece.end), (piece.rate_start, piece.rate_end))
        };
        self.pieces.iter().map(line)
    }

    /// How long the traffic lasts.
    pub fn lasts(&self) -> Nanos {
        self.phases.last().map_or(Nanos::ZERO, |last| last.end)
    }

    /// Requests per second at `at`; at a boundary, those of the piece that begins.
    pub fn rate(&self, at: Nanos) -> f64 {
        let piece = self.piece(self.index(at)).filter(|piece| at.0 < piece.end);
        piece.map_or(0.0, |piece| piece.rate_start + piece.slope * seconds(at.0 - piece.start))
    }

    /// The highest rate from `from` to `to`, both included.
    pub fn peak(&self, from: Nanos, to: Nanos) -> f64 {
        let within = self.pieces.get(self.index(from)..=self.index(to)).unwrap_or_default();
        within.iter().fold(0.0, |peak, piece| peak.max(piece.rate_start).max(piece.rate_end))
    }

    /// Requests expected until `at`.
    pub fn expected_until(&self, at: Nanos) -> f64 {
        self.piece(self.index(at)).map_or(0.0, |piece| piece.until(at))
    }

    /// As [`Self::expected_until`], for instants that ascend: `cursor` (0 at first) remembers where
    /// the last one was. One before that is found too, but not as fast.
    pub fn expected_from(&self, cursor: &mut usize, at: Nanos) -> f64 {
        if self.piece(*cursor).is_some_and(|piece| piece.start > at.0) {
            *cursor = self.index(at);
        }
        while self.piece(*cursor + 1).is_some_and(|next| next.start <= at.0) {
            *cursor += 1;
        }
        self.piece(*cursor).map_or(0.0, |piece| piece.until(at))
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
