//! Rate shapes: a phase of the traffic, and what phases are composed of.

use alloc::{string::String, vec::Vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TRACE_KINDS_MAX, Trace};
use crate::{time::Nanos, units::RatePerSec};

/// One shape of the rate over time: exactly one of `hold`, `ramp`, `step`, `spike`, `sine`,
/// `curve`, `trace`, `sum` and `product`.
///
/// The parts of a sum or a product are shapes of the same kind, without a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phase {
    /// A name for objectives and reports; `hold-1`, `ramp-1`, `hold-2` ... if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A constant rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<RatePerSec>,
    /// How long the shape lasts; its own length if not given. One that is longer than that keeps
    /// its last rate.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub for_: Option<Nanos>,
    /// A linear change of the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<Ramp>,
    /// How long `ramp` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Nanos>,
    /// Stairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// A rise to a peak and back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spike: Option<Spike>,
    /// A wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sine: Option<Sine>,
    /// A rate given point by point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// Single requests at given instants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Shapes whose rates are added up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sum: Vec<Phase>,
    /// Shapes whose rates are multiplied: one in requests per second, the others as plain factors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub product: Vec<Phase>,
    /// A factor for the shape's rate; 1 if not given. Of a trace with 0.5 every second request is
    /// played, with 2 every one twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// For a part of a sum or product: when it begins, from the beginning of the whole. Until then
    /// it has its first rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Nanos>,
}

/// A linear change of the rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ramp {
    /// The rate at the start; that of the phase before (or 0) if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<RatePerSec>,
    /// The rate at the end.
    pub to: RatePerSec,
}

/// Stairs: constant rates, equally far apart, each for the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// The rate of the first step.
    pub from: RatePerSec,
    /// The rate of the last step.
    pub to: RatePerSec,
    /// How many steps, the first and the last included; 2 at least.
    pub steps: u32,
    /// How long each lasts.
    pub each: Nanos,
}

/// A rise to a peak and back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spike {
    /// The rate before and after.
    pub base: RatePerSec,
    /// The rate at the top.
    pub peak: RatePerSec,
    /// How long the rise takes, in a straight line; at once if not given.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rise: Nanos,
    /// How long the peak lasts.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hold: Nanos,
    /// How long the fall takes, in a straight line; at once if not given.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fall: Nanos,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(span: &Nanos) -> bool {
    *span == Nanos::ZERO
}

/// A wave: `mean + amplitude * sin(2 pi (t / period + phase))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sine {
    /// The rate in the middle.
    pub mean: RatePerSec,
    /// How far it goes above and below that; the mean at most.
    pub amplitude: RatePerSec,
    /// How long a turn takes.
    pub period: Nanos,
    /// Where in its turn it begins, as a part of the turn: 0 (if not given) rises from the mean,
    /// 0.25 begins at the top, 0.75 at the bottom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<f64>,
}

/// A rate given point by point.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Curve {
    /// A file of comma-separated values, a point a line, in place of `points`; a path from the
    /// scenario file. The harness reads it into `points`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The file's column of times; the first one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The file's column of rates; the second one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// The span that the file's numbers are counts in; a second if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Nanos>,
    /// The points, ascending in time: `[[0s, 20/s], [10m, 80/s]]`. Two at least.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<CurvePoint>,
    /// How the rate goes from point to point.
    #[serde(default, skip_serializing_if = "Interpolation::is_default")]
    pub interpolation: Interpolation,
    /// How much faster than written it is played; 1 if not given. The rates stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Where in the points' time it begins; at the first point if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Nanos>,
    /// Where in the points' time it ends; at the end of the points if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Nanos>,
}

/// An instant of a curve, and the rate there: `[10m, 80/s]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePoint(pub Nanos, pub RatePerSec);

/// How a rate goes from point to point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// In a straight line.
    #[default]
    Linear,
    /// Each point's rate lasts until the next point; that of the last one as long as the one
    /// before.
    Step,
}

impl Interpolation {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Curve {
    /// Where the points end, in their own time; `None` without any.
    pub fn end(&self) -> Option<Nanos> {
        let last = self.points.last()?.0;
        let before = self.points.len().checked_sub(2).map_or(last, |index| self.points[index].0);
        Some(match self.interpolation {
            Interpolation::Linear => last,
            Interpolation::Step => last + Nanos(last.0.saturating_sub(before.0)),
        })
    }

    /// The cut in the points' own time: begin and end.
    pub fn cut(&self) -> Option<(Nanos, Nanos)> {
        let begin = self.from.or(Some(self.points.first()?.0))?;
        Some((begin, self.until.or(self.end())?))
    }
}

/// `span` played `speed` times as fast, rounded to nanoseconds; saturates.
pub fn played(span: Nanos, speed: Option<f64>) -> Nanos {
    match speed {
        None => span,
        Some(speed) => Nanos((span.0 as f64 / speed + 0.5) as u64),
    }
}

impl Phase {
    /// The names of the shapes that it has, as the keys are spelled; exactly one if it is sound.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("hold", self.hold.is_some()),
            ("ramp", self.ramp.is_some()),
            ("step", self.step.is_some()),
            ("spike", self.spike.is_some()),
            ("sine", self.sine.is_some()),
            ("curve", self.curve.is_some()),
            ("trace", self.trace.is_some()),
            ("sum", !self.sum.is_empty()),
            ("product", !self.product.is_empty()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(kind, _)| kind)
    }

    /// How many parts it has, those of its parts included.
    fn parts(&self) -> usize {
        self.sum.iter().chain(&self.product).map(|part| 1 + part.parts()).sum()
    }

    /// How long it lasts: `for`, or what its shape says; `None` if neither does. Saturates.
    pub fn length(&self) -> Option<Nanos> {
        self.for_.or_else(|| self.own_length())
    }

    /// How long its shape lasts by itself.
    fn own_length(&self) -> Option<Nanos> {
        let parts = || self.sum.iter().chain(&self.product);
        let longest = || {
            let ends =
                parts().filter_map(|part| Some(part.at.unwrap_or_default() + part.length()?));
            ends.max()
        };
        let step = || {
            let step = self.step.as_ref()?;
            Some(Nanos(step.each.0.saturating_mul(u64::from(step.steps))))
        };
        let spike = || self.spike.as_ref().map(|spike| spike.rise + spike.hold + spike.fall);
        let curve = || {
            let curve = self.curve.as_ref()?;
            let (begin, end) = curve.cut()?;
            Some(played(Nanos(end.0.saturating_sub(begin.0)), curve.speed))
        };
        let trace = || self.trace.as_ref().and_then(Trace::lasts);
        self.over.or_else(step).or_else(spike).or_else(curve).or_else(trace).or_else(longest)
    }
}

/// The most points of a curve.
pub const CURVE_POINTS_MAX: usize = 100_000;
/// The most stairs of a step.
pub const STEPS_MAX: u32 = 1000;
/// The most parts of a sum or product, those of its parts included.
pub const PARTS_MAX: usize = 64;
/// The shortest turn of a sine.
pub const PERIOD_MIN: Nanos = Nanos::from_millis(10);
/// How fast, and how slowly, a file may be played.
pub const SPEED_MAX: f64 = 1e9;
/// The highest factor of a shape.
pub const SCALE_MAX: f64 = 1e9;

const NONE: &str = "has no shape; a phase is either {hold: 50/s, for: 20s} or {ramp: {to: 200/s}, \
                    over: 5s} or one of step, spike, sine, curve, trace, sum and product";

/// What is wrong with a shape: the key within it that it is about (empty for the whole), and what
/// to write instead.
pub type ShapeFault = (&'static str, &'static str);

impl Phase {
    /// The first thing that is wrong with this shape, apart from its parts.
    pub fn fault(&self, is_part: bool) -> Option<ShapeFault> {
        let kinds = self.kinds().count();
        if kinds == 0 {
            return Some(("", NONE));
        }
        if kinds > 1 {
            return Some(("", "has more than one shape; give one, or a `sum` of them"));
        }
        self.key_fault(is_part)
            .or_else(|| self.step.as_ref().and_then(Step::fault))
            .or_else(|| self.spike.as_ref().and_then(Spike::fault))
            .or_else(|| self.sine.as_ref().and_then(Sine::fault))
            .or_else(|| self.curve.as_ref().and_then(Curve::fault))
            .or_else(|| self.trace.as_ref().and_then(Trace::fault))
            .or_else(|| if is_part { None } else { self.length_fault() })
    }

    /// Keys that stand beside each other wrongly.
    fn key_fault(&self, is_part: bool) -> Option<ShapeFault> {
        let is_bad_scale = |scale: f64| !(scale > 0.0 && scale <= SCALE_MAX);
        if self.scale.is_some_and(is_bad_scale) {
            return Some(("scale", "must be a number above 0, at most 1e9"));
        }
        match (self.ramp.is_some(), self.over.is_some()) {
            (true, false) => {
                return Some(("", "`ramp` needs `over`: {ramp: {to: 200/s}, over: 5s}"));
            }
            (false, true) => return Some(("over", "goes with `ramp` only; write `for`")),
            _ => {}
        }
        if !is_part && self.parts() > PARTS_MAX {
            return Some(("", "has more than 64 parts in all"));
        }
        if is_part && self.trace.is_some() {
            return Some(("trace", "is no rate, and so no part of a sum or product"));
        }
        if is_part {
            let name = self.name.as_ref();
            return name.map(|_| ("name", "names a part; only the phase as a whole has a name"));
        }
        let at = self.at.as_ref();
        at.map(|_| ("at", "is for parts of a sum or product; phases follow each other"))
    }

    fn length_fault(&self) -> Option<ShapeFault> {
        if self.length().is_some() {
            return None;
        }
        Some(match self.kinds().next() {
            Some("hold") => ("", "`hold` needs `for`: {hold: 50/s, for: 20s}"),
            Some("sine") => ("", "`sine` needs `for`, which says how long it lasts"),
            _ => ("", "no part says how long it lasts; give the whole a `for`"),
        })
    }
}

impl Step {
    fn fault(&self) -> Option<ShapeFault> {
        if !(2..=STEPS_MAX).contains(&self.steps) {
            return Some(("step.steps", "must lie between 2 and 1000"));
        }
        (self.each == Nanos::ZERO).then_some(("step.each", "must be above zero"))
    }
}

impl Spike {
    fn fault(&self) -> Option<ShapeFault> {
        let lasts = self.rise + self.hold + self.fall;
        (lasts == Nanos::ZERO)
            .then_some(("spike", "lasts no time; give it a `rise`, a `hold` or a `fall`"))
    }
}

impl Sine {
    fn fault(&self) -> Option<ShapeFault> {
        if self.amplitude > self.mean {
            return Some((
                "sine.amplitude",
                "is above the mean, so that the rate would go below 0",
            ));
        }
        if self.period < PERIOD_MIN {
            return Some(("sine.period", "must be at least 10ms"));
        }
        let is_within = self.phase.is_none_or(|phase| (0.0..=1.0).contains(&phase));
        (!is_within).then_some(("sine.phase", "must lie between 0 and 1"))
    }
}

fn is_bad_speed(speed: Option<f64>) -> bool {
    speed.is_some_and(|speed| !(1.0 / SPEED_MAX..=SPEED_MAX).contains(&speed))
}

impl Trace {
    fn fault(&self) -> Option<ShapeFault> {
        if is_bad_speed(self.speed) {
            return Some(("trace.speed", "must be a number between 1e-9 and 1e9"));
        }
        if self.digits.is_some_and(|digits| !(1..=9).contains(&digits)) {
            return Some(("trace.digits", "must lie between 1 and 9"));
        }
        if self.path.is_none() && (self.method.is_some() || self.body.is_some()) {
            return Some(("trace.path", "must be there if `method` or `body` is"));
        }
        let Some(data) = &self.data else {
            return Some(("trace.file", "was not read, so that nothing is known of its requests"));
        };
        if data.requests == 0 || self.lasts() == Some(Nanos::ZERO) {
            return Some(("trace", "has no request between `from` and `until`"));
        }
        (data.kinds.len() > TRACE_KINDS_MAX)
            .then_some(("trace", "has more than 1000 different requests; round their `digits`"))
    }
}

impl Curve {
    fn fault(&self) -> Option<ShapeFault> {
        let of_file = self.time.is_some() || self.rate.is_some() || self.per.is_some();
        if self.file.is_none() && of_file {
            return Some(("curve", "has `time`, `rate` or `per`, which tell of a `file`"));
        }
        if self.per == Some(Nanos::ZERO) {
            return Some(("curve.per", "must be above zero"));
        }
        if self.points.len() < 2 {
            return Some(("curve", "needs two `points` at least, or a `file` of them"));
        }
        if self.points.len() > CURVE_POINTS_MAX {
            return Some(("curve.points", "are more than 100000; make the curve coarser"));
        }
        if self.points.windows(2).any(|pair| pair[1].0 <= pair[0].0) {
            return Some(("curve.points", "do not ascend in time"));
        }
        if is_bad_speed(self.speed) {
            return Some(("curve.speed", "must be a number between 1e-9 and 1e9"));
        }
        let is_empty = self.cut().is_none_or(|(begin, end)| begin >= end);
        is_empty.then_some(("curve", "is empty between `from` and `until`"))
    }
}
