//! The runs of one backend against the local ones of the same scenario, as numbers to be read.

use std::fmt::Write as _;

use super::{
    difference,
    group::{Group, Run},
};
use crate::{
    analyze::{Analysis, Cause, Percentiles, ReplicaPoint},
    record::BackendKind,
    report::{
        figures::{self, NONE},
        markdown::code,
    },
};

/// One comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Against<'a> {
    /// Of this scenario.
    pub(super) group: &'a Group,
    /// What is held against the local runs.
    pub(super) other: BackendKind,
}

/// By how much the ratio of two p95 may be off by chance alone, as a share.
pub(super) fn chance(base: &Run, other: &Run) -> Option<f64> {
    Some(base.p95_chance?.hypot(other.p95_chance?))
}

/// The share of the time in which replicas were the same within one sync.
pub(super) fn within(base: &Run, other: &Run, of: fn(&ReplicaPoint) -> u32) -> Option<f64> {
    let (base, other) = (&base.analysis.timeline, &other.analysis.timeline);
    difference::within_share(base, other, difference::SYNC, of)
}

/// The least and the greatest of some numbers, shown as one if they are shown alike.
fn range(values: impl Iterator<Item = Option<f64>>, show: impl Fn(f64) -> String) -> String {
    let known: Option<Vec<f64>> = values.collect();
    let Some(known) = known.filter(|known| !known.is_empty()) else { return NONE.into() };
    let low = show(known.iter().copied().fold(f64::INFINITY, f64::min));
    let high = show(known.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    if low == high { low } else { format!("{low} to {high}") }
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2} ×")
}

impl<'a> Against<'a> {
    /// All pairs of a local run and one of the other backend.
    pub(super) fn pairs(self) -> impl Iterator<Item = (&'a Run, &'a Run)> {
        let Self { group, other } = self;
        let local = group.of(BackendKind::Local).iter();
        local.flat_map(move |base| group.of(other).iter().map(move |run| (base, run)))
    }

    /// How many requests the runs of a backend lost.
    pub(super) fn lost(self, backend: BackendKind) -> String {
        let runs = self.group.of(backend).iter();
        let lost = runs.map(|run| Some(figures::lost(&run.analysis.requests) as f64));
        range(lost, |lost| figures::count(lost as u64))
    }

    /// How much longer a percentile of the latency is.
    pub(super) fn ratio(self, of: fn(&Percentiles) -> u64) -> String {
        let ratio = |(base, other): (&Run, &Run)| {
            difference::ratio(&base.analysis.latency, &other.analysis.latency, of)
        };
        range(self.pairs().map(ratio), times)
    }

    /// By how much the ratio of p95 may be off by chance alone.
    pub(super) fn chance(self) -> String {
        let shares = self.pairs().map(|(base, other)| chance(base, other));
        range(shares, |share| format!("± {:.0} %", share * 100.0))
    }

    /// The share of the time in which replicas were the same within one sync.
    pub(super) fn within(self, of: fn(&ReplicaPoint) -> u32) -> String {
        range(self.pairs().map(|(base, other)| within(base, other, of)), figures::percent)
    }

    fn equal(self, of: fn(&ReplicaPoint) -> u32) -> String {
        let share = |(base, other): (&Run, &Run)| {
            difference::equal_share(&base.analysis.timeline, &other.analysis.timeline, of)
        };
        range(self.pairs().map(share), figures::percent)
    }

    /// A list of the differences.
    pub(super) fn differences(self, out: &mut String) -> std::fmt::Result {
        if self.pairs().next().is_none() {
            return writeln!(out, "- nothing to compare: it was not run locally");
        }
        let (ratio, chance) = (self.ratio(|of| of.p95), self.chance());
        writeln!(out, "- latency p95: {ratio} as long ({chance} by chance alone)")?;
        writeln!(
            out,
            "- replicas the same within one sync (15 s) for so much of the time with traffic: desired {}, ready {}; \
             at the very instant: desired {}, ready {}",
            self.within(|point| point.desired),
            self.within(|point| point.ready),
            self.equal(|point| point.desired),
            self.equal(|point| point.ready)
        )?;
        let lost = |run: &Run| figures::lost(&run.analysis.requests) as f64;
        let more = self.pairs().map(|(base, other)| Some(lost(other) - lost(base)));
        let more = range(more, |more| if more == 0.0 { "0".into() } else { format!("{more:+}") });
        writeln!(out, "- requests lost: {more}")?;
        writeln!(out, "- causes on one side only: {}", self.one_sided())?;
        self.scaling(out)
    }

    /// Causes that one side has in some run and the other in none.
    fn one_sided(self) -> String {
        let all = |backend| -> Vec<Cause> {
            let runs = self.group.of(backend).iter();
            runs.flat_map(|run| difference::losses(&run.analysis).into_keys()).collect()
        };
        let (local, others) = (all(BackendKind::Local), all(self.other));
        let side = |name: &str, of: &[Cause], other: &[Cause]| {
            let mut only: Vec<Cause> =
                of.iter().filter(|cause| !other.contains(cause)).copied().collect();
            only.sort_unstable();
            only.dedup();
            let names: Vec<String> = only.iter().map(|cause| code(cause.name())).collect();
            (!names.is_empty()).then(|| format!("{name} {}", names.join(", ")))
        };
        let sides = [side("local", &local, &others), side(self.other.name(), &others, &local)];
        let sides: Vec<String> = sides.into_iter().flatten().collect();
        if sides.is_empty() { "none".into() } else { sides.join("; ") }
    }

    fn scaling(self, out: &mut String) -> std::fmt::Result {
        let longer = |(base, other): (&Run, &Run)| {
            let span =
                |run: &Analysis| difference::time_to_scale(run).map(|(span, _)| span.as_secs_f64());
            Some(span(&other.analysis)? - span(&base.analysis)?)
        };
        if self.pairs().all(|pair| longer(pair).is_none()) {
            return Ok(());
        }
        let spans = range(self.pairs().map(longer), |span| format!("{span:+.1}"));
        writeln!(out, "- slowest scale-up, s: {spans}")
    }
}
