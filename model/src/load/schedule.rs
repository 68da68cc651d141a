//! Arrivals on a profile.

use alloc::vec::Vec;

use super::Profile;
use crate::{
    rng::Stream,
    spec::{Arrivals, Trace, TraceIter, played},
    time::Nanos,
};

/// One request that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, from the start of the traffic.
    pub at: Nanos,
    /// Index of its phase.
    pub phase: u16,
    /// Ascending from 0.
    pub number: u64,
    /// What it asks for, if a trace says so: an index of the kinds of all traces, in order of the
    /// phases.
    pub kind: Option<u32>,
}

/// The arrivals, in order of time.
///
/// Constant arrivals are where the expected count passes 1/2, 3/2, 5/2 ...; so a phase of whole
/// expected count owes exactly that. Poisson arrivals are a unit Poisson process run through the
/// inverse of the expected count (time rescaling; Lewis and Shedler 1979). Those of a trace are
/// where the trace has them, and the process goes on behind it as if it were not there.
#[derive(Clone, Debug)]
pub struct Schedule {
    profile: Profile,
    arrivals: Arrivals,
    stream: Stream,
    /// Of the process: the next arrival, in expected counts without those of traces.
    unit: f64,
    /// Whether `unit` is drawn and not yet placed.
    is_drawn: bool,
    /// Expected counts of the traces so far.
    skipped: f64,
    /// Arrivals of the process so far.
    even: u64,
    player: Option<Player>,
    piece: usize,
    /// Requests expected in that piece, once it was looked at.
    in_piece: Option<f64>,
    number: u64,
    last: Nanos,
}

impl Schedule {
    /// The schedule of a profile. Its randomness is the seed's stream `arrivals`.
    pub fn new(profile: Profile, arrivals: Arrivals, seed: u64) -> Self {
        Self {
            in_piece: None,
            profile,
            arrivals,
            stream: Stream::new(seed, "arrivals"),
            unit: 0.0,
            is_drawn: false,
            skipped: 0.0,
            even: 0,
            player: None,
            piece: 0,
            number: 0,
            last: Nanos::ZERO,
        }
    }

    /// The profile it is made from.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    fn draw(&mut self) {
        self.unit = following(self.arrivals, self.unit, self.even, &mut self.stream);
        self.even += 1;
        self.is_drawn = true;
    }

    /// Appends the next arrivals to `block`, until that has `most` or there are no more: the same as
    /// one by one, but faster.
    pub(crate) fn extend(&mut self, block: &mut Vec<Arrival>, most: usize) {
        while block.len() < most
            && let Some(arrival) = self.next()
        {
            block.push(arrival);
            self.extend_in_piece(block, most);
        }
    }

    /// As far as the present piece goes.
    fn extend_in_piece(&mut self, block: &mut Vec<Arrival>, most: usize) {
        let (None, Some(expected), false) = (&self.player, self.in_piece, self.is_drawn) else {
            return;
        };
        let Some(piece) = self.profile.piece(self.piece).copied() else { return };
        let (mut stream, mut number, mut last) = (self.stream.clone(), self.number, self.last);
        let (mut unit, mut even, arrivals) = (self.unit, self.even, self.arrivals);
        while block.len() < most {
            unit = following(arrivals, unit, even, &mut stream);
            even += 1;
            let into = unit + self.skipped - piece.expected_before;
            if into >= expected {
                self.is_drawn = true;
                break;
            }
            last = piece.at(into).max(last);
            block.push(Arrival { at: last, phase: piece.phase, number, kind: None });
            number += 1;
        }
        (self.stream, self.number, self.last) = (stream, number, last);
        (self.unit, self.even) = (unit, even);
    }

    /// The next instant, with its phase and kind.
    fn place(&mut self) -> Option<(Nanos, u16, Option<u32>)> {
        loop {
            if let Some(player) = &mut self.player {
                if let Some((at, kind)) = player.next() {
                    return Some((at, player.phase, kind));
                }
                self.player = None;
            }
            if !self.is_drawn {
                self.draw();
            }
            let piece = self.profile.piece(self.piece)?;
            let expected = match self.in_piece {
                Some(expected) => expected,
                None => {
                    if let Some((player, behind)) = self.profile.trace(piece.phase) {
                        let last = self.profile.piece(behind - 1)?;
                        self.skipped +=
                            last.expected_before + last.expected() - piece.expected_before;
                        self.player = Some(player.clone());
                        self.piece = behind;
                        continue;
                    }
                    *self.in_piece.insert(piece.expected())
                }
            };
            let into = self.unit + self.skipped - piece.expected_before;
            if into >= expected {
                (self.piece, self.in_piece) = (self.piece + 1, None);
                continue;
            }
            self.is_drawn = false;
            return Some((piece.at(into), piece.phase, None));
        }
    }
}

/// The arrival of the process behind `unit`, of which there were `even` before; in expected counts.
#[inline]
fn following(arrivals: Arrivals, unit: f64, even: u64, stream: &mut Stream) -> f64 {
    match arrivals {
        Arrivals::Constant => even as f64 + 0.5,
        Arrivals::Poisson => unit + stream.exponential(),
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let (at, phase, kind) = self.place()?;
        // Nor must it reorder them.
        let at = at.max(self.last);
        self.last = at;
        let arrival = Arrival { at, phase, number: self.number, kind };
        self.number += 1;
        Some(arrival)
    }
}

/// Plays a trace.
#[derive(Clone, Debug)]
pub(super) struct Player {
    trace: TraceIter,
    speed: Option<f64>,
    scale: f64,
    begin: Nanos,
    end: Nanos,
    phase: u16,
    first_kind: u32,
    /// Requests of the trace so far, and those that are played of the present one.
    seen: u64,
    present: Option<(Nanos, Option<u32>)>,
    copies: u64,
}

impl Player {
    /// `None` if the trace is without its requests.
    pub(super) fn new(
        trace: &Trace,
        scale: f64,
        (begin, end): (Nanos, Nanos),
        phase: u16,
        first_kind: u32,
    ) -> Option<Self> {
        let data = trace.data.as_ref().filter(|data| data.has_requests())?;
        Some(Self {
            trace: data.iter(),
            speed: trace.speed,
            scale,
            begin,
            end,
            phase,
            first_kind,
            seen: 0,
            present: None,
            copies: 0,
        })
    }

    /// How many of the first `seen` requests are played.
    fn played(&self, seen: u64) -> u64 {
        (seen as f64 * self.scale) as u64
    }

    fn next(&mut self) -> Option<(Nanos, Option<u32>)> {
        while self.copies == 0 {
            self.present = self.trace.next();
            self.present?;
            self.copies = self.played(self.seen + 1) - self.played(self.seen);
            self.seen += 1;
        }
        let (at, kind) = self.present?;
        let at = self.begin + played(at, self.speed);
        if at >= self.end {
            // Cut by the phase's own `for`.
            return None;
        }
        self.copies -= 1;
        Some((at, kind.map(|kind| self.first_kind + kind)))
    }
}
