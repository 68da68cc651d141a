//! From shapes to straight lines: what a phase's rate is, piece by piece.
//!
//! All shapes but `sine` and `product` are made of straight lines, so their integral and its
//! inverse are exact. Those two are drawn by chords:
//!
//! - a turn of a sine by [`TURN_CHORDS`]: the rate is off by at most `amplitude * (2 pi / 128)^2
//!   / 8`, 0.031 % of the amplitude (the error of a chord is `h^2 / 8` times the greatest second
//!   derivative), and nothing over a whole turn, since the chords lie as far above as below;
//! - a product of two lines `f` and `g` in so many parts that the rate is off by at most
//!   [`CHORD_ERROR`] of `max f * max g` there: the middle of one chord is off by `(f1 - f0) (g1 -
//!   g0) / 4`, that of `m` chords by that over `m^2`, so 50 are always enough.

use alloc::{vec, vec::Vec};

use crate::{
    spec::{Curve, Interpolation, Phase, Ramp, Sine, Spike, Step, Trace, played, validate},
    time::SECOND,
    units::RATE_PER_SEC_MAX,
};

/// The most straight lines of a whole profile; 32 bytes each.
pub const LINES_MAX: usize = 1 << 20;
/// The chords that a turn of a sine is drawn by.
pub const TURN_CHORDS: u64 = 128;
/// See the module.
pub const CHORD_ERROR: f64 = 1e-4;

pub(super) const TOO_MANY: &str = "takes more than 1048576 straight lines to draw; make it shorter, its \
                        periods longer or its curve coarser";
const TOO_HIGH: &str = "goes above 10000000/s, the highest rate";

/// A straight piece of a rate: nanoseconds from the beginning of the phase, requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Line {
    fn flat(start: u64, end: u64, rate: f64) -> Self {
        Self { start, end, from: rate, to: rate }
    }

    fn at(&self, ns: u64) -> f64 {
        let into = (ns - self.start) as f64 / (self.end - self.start) as f64;
        self.from + (self.to - self.from) * into
    }

    fn cut(&self, start: u64, end: u64) -> Self {
        let from = if start == self.start { self.from } else { self.at(start) };
        let to = if end == self.end { self.to } else { self.at(end) };
        Self { start, end, from, to }
    }
}

/// Lines that follow each other without a gap, from 0 on.
type Lines = Vec<Line>;

fn push(lines: &mut Lines, line: Line) -> Result<(), &'static str> {
    if lines.len() >= LINES_MAX {
        return Err(TOO_MANY);
    }
    if line.end > line.start {
        lines.push(line);
    }
    Ok(())
}

/// The rate of a phase over its length; `before` is the rate at the end of the phase before.
///
/// # Errors
/// What is wrong with the shape or one of its parts.
pub(super) fn of_phase(phase: &Phase, before: f64) -> Result<Lines, &'static str> {
    if let Some((_, problem)) = phase.fault(false) {
        return Err(problem);
    }
    let lasts = phase.length().unwrap_or_default().0;
    if lasts == 0 {
        return Err("a phase must last longer than nothing");
    }
    if lasts > validate::LENGTH_MAX.0 {
        return Err("lasts longer than 7 days");
    }
    let lines = shape(phase, lasts, before)?;
    if lines.iter().any(|line| line.from.max(line.to) > RATE_PER_SEC_MAX) {
        return Err(TOO_HIGH);
    }
    Ok(lines)
}

/// A shape without its name and beginning, over `lasts` nanoseconds.
fn shape(phase: &Phase, lasts: u64, before: f64) -> Result<Lines, &'static str> {
    let over = phase.over.unwrap_or_default().0;
    let mut lines = if let Some(rate) = phase.hold {
        vec![Line::flat(0, lasts, rate.0)]
    } else if let Some(given) = &phase.ramp {
        vec![ramp(given, over, before)]
    } else if let Some(given) = &phase.step {
        steps(given, lasts)?
    } else if let Some(given) = &phase.spike {
        spike(given)
    } else if let Some(given) = &phase.sine {
        sine(given, lasts)?
    } else if let Some(given) = &phase.curve {
        curve(given)?
    } else if let Some(given) = &phase.trace {
        trace(given)?
    } else if phase.sum.is_empty() {
        join(&phase.product, lasts, product)?
    } else {
        join(&phase.sum, lasts, sum)?
    };
    fit(&mut lines, lasts)?;
    let scale = phase.scale.unwrap_or(1.0);
    for line in &mut lines {
        line.from *= scale;
        line.to *= scale;
    }
    Ok(lines)
}

/// Cuts what is after `lasts`, or goes on with the last rate.
fn fit(lines: &mut Lines, lasts: u64) -> Result<(), &'static str> {
    lines.truncate(lines.partition_point(|line| line.start < lasts));
    let Some(last) = lines.last_mut() else {
        return Err("gives no rate at all");
    };
    let (end, rate) = (last.end, last.to);
    if end > lasts {
        *last = last.cut(last.start, lasts);
        return Ok(());
    }
    push(lines, Line::flat(end, lasts, rate))
}

fn ramp(ramp: &Ramp, over: u64, before: f64) -> Line {
    Line { start: 0, end: over, from: ramp.from.map_or(before, |from| from.0), to: ramp.to.0 }
}

fn steps(step: &Step, lasts: u64) -> Result<Lines, &'static str> {
    let mut lines = Lines::new();
    let height = (step.to.0 - step.from.0) / f64::from(step.steps.max(2) - 1);
    for number in 0..step.steps {
        let start = step.each.0.saturating_mul(u64::from(number));
        if start >= lasts {
            break;
        }
        let end = start.saturating_add(step.each.0);
        push(&mut lines, Line::flat(start, end, step.from.0 + height * f64::from(number)))?;
    }
    Ok(lines)
}

fn spike(spike: &Spike) -> Lines {
    let (base, peak) = (spike.base.0, spike.peak.0);
    let top = spike.rise.0;
    let falls = top.saturating_add(spike.hold.0);
    let end = falls.saturating_add(spike.fall.0);
    // After a fall at once there is nothing of the base within the spike itself.
    let after = Line::flat(end, end.saturating_add(1), base);
    let mut lines = vec![
        Line { start: 0, end: top, from: base, to: peak },
        Line::flat(top, falls, peak),
        Line { start: falls, end, from: peak, to: base },
        after,
    ];
    lines.retain(|line| line.end > line.start);
    lines
}

fn sine(sine: &Sine, lasts: u64) -> Result<Lines, &'static str> {
    let period = sine.period.0 as f64;
    let begin = sine.phase.unwrap_or(0.0);
    let rate = |turn: f64| {
        let angle = core::f64::consts::TAU * (turn - libm::floor(turn));
        (sine.mean.0 + sine.amplitude.0 * libm::sin(angle)).max(0.0)
    };
    // Knots lie at whole parts of the turn, wherever in it the wave begins.
    let first = libm::floor(begin * TURN_CHORDS as f64) as u64 + 1;
    let (mut lines, mut start, mut from) = (Lines::new(), 0, rate(begin));
    for knot in first.. {
        let turn = knot as f64 / TURN_CHORDS as f64;
        let end = (((turn - begin) * period + 0.5) as u64).min(lasts);
        let to = if end == lasts { rate(begin + lasts as f64 / period) } else { rate(turn) };
        push(&mut lines, Line { start, end, from, to })?;
        if end == lasts {
            break;
        }
        (start, from) = (end, to);
    }
    Ok(lines)
}

fn curve(curve: &Curve) -> Result<Lines, &'static str> {
    let (begin, end) = curve.cut().ok_or("a curve has no points")?;
    let place = |at: u64| played(crate::time::Nanos(at.saturating_sub(begin.0)), curve.speed).0;
    let points = &curve.points;
    let mut lines = Lines::new();
    if let Some(first) = points.first() {
        push(&mut lines, Line::flat(0, place(first.0.0), first.1.0))?;
    }
    let curve_end = curve.end().unwrap_or_default().0;
    for (index, point) in points.iter().enumerate() {
        let is_flat = curve.interpolation == Interpolation::Step;
        let (until, to) = match points.get(index + 1) {
            Some(next) => (next.0.0, if is_flat { point.1.0 } else { next.1.0 }),
            None => (curve_end, point.1.0),
        };
        if until <= begin.0 || until <= point.0.0 {
            continue;
        }
        if point.0 >= end {
            break;
        }
        let line = Line { start: point.0.0, end: until, from: point.1.0, to };
        let line = line.cut(line.start.max(begin.0), line.end.min(end.0));
        let start = lines.last().map_or(0, |last| last.end);
        push(&mut lines, Line { start, end: place(line.end), ..line })?;
    }
    if lines.is_empty() {
        // Cut out behind the last point.
        let rate = points.last().map_or(0.0, |last| last.1.0);
        push(&mut lines, Line::flat(0, 1, rate))?;
    }
    Ok(lines)
}

/// The requests of a trace, counted by second.
fn trace(trace: &Trace) -> Result<Lines, &'static str> {
    let (Some(data), Some(lasts)) = (&trace.data, trace.lasts()) else {
        return Err("a trace has no requests");
    };
    if lasts > validate::LENGTH_MAX {
        return Err("a trace lasts longer than 7 days");
    }
    let mut lines = Lines::new();
    for (second, count) in data.by_second(trace.speed).into_iter().enumerate() {
        let start = second as u64 * SECOND;
        let end = lasts.0.min(start + SECOND);
        let rate = count as f64 * SECOND as f64 / (end - start) as f64;
        push(&mut lines, Line::flat(start, end, rate))?;
    }
    Ok(lines)
}

/// What becomes of two lines over the same span.
type Join = fn(&mut Lines, Line, Line) -> Result<(), &'static str>;

fn join(parts: &[Phase], lasts: u64, by: Join) -> Result<Lines, &'static str> {
    let mut whole: Option<Lines> = None;
    for phase in parts {
        let one = part(phase, lasts)?;
        whole = Some(match whole {
            None => one,
            Some(before) => zip(&before, &one, by)?,
        });
    }
    whole.ok_or("has no parts")
}

/// A part of a sum or product, over the whole of it.
fn part(phase: &Phase, whole: u64) -> Result<Lines, &'static str> {
    if let Some((_, problem)) = phase.fault(true) {
        return Err(problem);
    }
    let at = phase.at.unwrap_or_default().0.min(whole);
    // One nanosecond at least, so that a part that begins with the end has a first rate.
    let left = (whole - at).max(1);
    let own = phase.length().map_or(left, |length| length.0.clamp(1, left));
    let mut lines = shape(phase, own, 0.0)?;
    fit(&mut lines, left)?;
    if at == 0 {
        return Ok(lines);
    }
    let first = lines.first().map_or(0.0, |line| line.from);
    let mut shifted = vec![Line::flat(0, at, first)];
    for line in lines {
        push(&mut shifted, Line { start: line.start + at, end: line.end + at, ..line })?;
    }
    fit(&mut shifted, whole)?;
    Ok(shifted)
}

/// Two rates over the same time, cut at the knots of both.
fn zip(left: &[Line], right: &[Line], by: Join) -> Result<Lines, &'static str> {
    let mut lines = Lines::new();
    let (mut at, mut i, mut j) = (0, 0, 0);
    while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
        let end = a.end.min(b.end);
        by(&mut lines, a.cut(at, end), b.cut(at, end))?;
        i += usize::from(a.end == end);
        j += usize::from(b.end == end);
        at = end;
    }
    Ok(lines)
}

fn sum(lines: &mut Lines, a: Line, b: Line) -> Result<(), &'static str> {
    push(lines, Line { from: a.from + b.from, to: a.to + b.to, ..a })
}

fn product(lines: &mut Lines, a: Line, b: Line) -> Result<(), &'static str> {
    let bend = ((a.to - a.from) * (b.to - b.from)).abs() / 4.0;
    let highest = a.from.max(a.to) * b.from.max(b.to);
    let chords =
        if bend > 0.0 { libm::ceil(libm::sqrt(bend / (highest * CHORD_ERROR))) as u64 } else { 1 };
    let lasts = a.end - a.start;
    let (mut start, mut from) = (a.start, a.from * b.from);
    for chord in 1..=chords {
        let end = a.start + (u128::from(lasts) * u128::from(chord) / u128::from(chords)) as u64;
        let to = if end == a.end { a.to * b.to } else { a.at(end) * b.at(end) };
        push(lines, Line { start, end, from, to })?;
        (start, from) = (end, to);
    }
    Ok(())
}
