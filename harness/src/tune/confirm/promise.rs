//! Whether the simulator's promises held: pure functions of runs' figures. The statistics are those of
//! `compare`, whose base is the simulator and whose new side the real runs, in pairs of one seed.

use super::told::{Off, Promise, PromiseVerdict};
use crate::{
    compare::{
        CompareError, Margins, Options, compare,
        measure::{Measure, What},
        result::{MeasureResult, ShiftResult, Unit},
        run::RunFigures,
        stats::t_quantile,
    },
    report::figures,
};

/// By how much the 99th percentile of latency may be off, as a share.
///
/// *Source*: `docs/fidelity.md`: in 14 comparisons of the simulator with local processes it was 0.92 to
/// 1.15 times as long.
const P99_TOLERANCE: f64 = 0.15;
/// An interval whose half is wider than so many times the tolerance says nothing: what is called held
/// is off by three times the tolerance at most.
const WIDE: f64 = 2.0;

/// What was promised, with its name and its tolerance, relative or as a share of the requests.
fn promised() -> [(What, &'static str, f64); 3] {
    // What `compare` takes as the same: the simulator should not be held against less.
    let margins = Margins::default();
    [
        (What::Pods, "pod-hours", margins.pods),
        (What::Latency(2), "latency.p99", P99_TOLERANCE),
        (What::Lost, "error-rate", margins.loss),
    ]
}

/// Each promise beside what was measured.
///
/// *Units and shape*: the simulated and the real runs of one setting, of the same seeds.
///
/// # Errors
/// If a side is empty or a histogram is damaged.
pub(super) fn promises(
    simulated: &[RunFigures],
    real: &[RunFigures],
) -> Result<Vec<Promise>, CompareError> {
    // The backends differ, which is what is asked here.
    let options = Options { force: true, ..Options::default() };
    let compared = compare(("simulated", simulated), ("measured", real), &[], &options)?;
    let unit = compared.method.unit;
    let of = |(what, name, tolerance): (What, &str, f64)| {
        let measure = Measure::whole(what).name();
        let is_it = |one: &&MeasureResult| one.phase.is_none() && one.name == measure;
        let found = compared.measures.iter().find(is_it)?;
        let mut promise = promise(found, (name, tolerance), unit, hours(real));
        let is_open = promise.verdict == PromiseVerdict::CannotTell && unit == Unit::Pairs;
        let off = promise.off.filter(|_| is_open);
        promise.repeat = off.and_then(|off| repeat(&off, tolerance, real.len()));
        Some(promise)
    };
    Ok(promised().into_iter().filter_map(of).collect())
}

/// Hours of traffic in one run; a mean number of pods times this is pod-hours.
fn hours(runs: &[RunFigures]) -> f64 {
    let spans = runs.iter().map(|run| run.pods.len() as u64 * run.cell_seconds);
    spans.max().unwrap_or_default() as f64 / 3_600.0
}

/// Pod-hours of a run while traffic ran; `None` if it has no pods that are known.
pub(super) fn pod_hours(run: &RunFigures) -> Option<f64> {
    let sum: f64 = run.pods.iter().sum();
    (!run.pods.is_empty()).then_some(sum * run.cell_seconds as f64 / 3_600.0)
}

fn promise(
    found: &MeasureResult,
    (name, tolerance): (&str, f64),
    unit: Unit,
    hours: f64,
) -> Promise {
    // In the unit that the rest of the result has.
    let scale = match found.unit.as_str() {
        "pods" => hours,
        "ns" => 1e-6,
        _ => 1.0,
    };
    let [simulated, measured] = [found.base, found.new].map(|value| value.map(|one| one * scale));
    let mut shown = found.shown.clone();
    if found.unit == "pods" {
        let hours =
            |value: Option<f64>| value.map_or(figures::NONE.into(), |one| format!("{one:.4}"));
        (shown.base, shown.new) = (hours(simulated), hours(measured));
    }
    let is_relative = found.shift.as_ref().is_some_and(|shift| shift.relative);
    shown.margin = if is_relative {
        format!("±{:.0} %", tolerance * 100.0)
    } else {
        format!("±{:.2} pp", tolerance * 100.0)
    };
    Promise {
        measure: name.into(),
        simulated,
        measured,
        off: found.shift.map(|shift| Off {
            relative: shift.relative,
            value: shift.value,
            low: shift.low,
            high: shift.high,
        }),
        tolerance,
        verdict: verdict(found.shift.as_ref(), tolerance, unit),
        repeat: None,
        shown,
    }
}

/// With how many pairs half of the interval is as wide as may be, if runs go on to differ as `pairs`
/// pairs of them did. It shrinks with the root of their number, and by Student's t; that of losses, of
/// which there are none or few, with their number.
fn repeat(off: &Off, tolerance: f64, pairs: usize) -> Option<u32> {
    let scaled = |value: f64| if off.relative { value.ln_1p() } else { value };
    let half = (scaled(off.high) - scaled(off.low)) / 2.0;
    let most = WIDE * scaled(tolerance);
    let share = |count: f64| {
        if off.relative { t_quantile(0.975, count - 1.0) / count.sqrt() } else { 1.0 / count }
    };
    let seen = share(pairs as f64);
    let is_enough = |count: &u32| half * share(f64::from(*count)) / seen <= most;
    (pairs as u32 + 1..=super::REPEAT_MAX as u32).find(is_enough)
}

/// Held if no difference at all lies in the interval of the difference, widened by the tolerance; not
/// to be told if that interval is too wide, or does not come from several runs.
pub(super) fn verdict(shift: Option<&ShiftResult>, tolerance: f64, unit: Unit) -> PromiseVerdict {
    let Some(shift) = shift else { return PromiseVerdict::CannotTell };
    // One run says nothing of how runs vary; of losses its own requests do.
    if unit == Unit::Blocks && shift.relative {
        return PromiseVerdict::CannotTell;
    }
    let scaled = |value: f64| if shift.relative { value.ln_1p() } else { value };
    let (low, high, tolerance) = (scaled(shift.low), scaled(shift.high), scaled(tolerance));
    match () {
        () if low > tolerance || high < -tolerance => PromiseVerdict::NotHeld,
        () if (high - low) / 2.0 > WIDE * tolerance => PromiseVerdict::CannotTell,
        () => PromiseVerdict::Held,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_runs_make_the_interval_as_narrow_as_it_must_be() {
        let off = |relative, low, high| Off { relative, value: 0.0, low, high };
        let rows = [
            // 0.35 of three pairs: a deviation of 0.14, whose t 2.2 / 11^0.5 is 0.094.
            (off(true, -0.295, 0.419), 0.05, Some(11)),
            (off(true, -0.9, 9.0), 0.05, None),
            (off(false, -0.01, 0.01), 0.001, Some(15)),
            (off(false, -1.0, f64::MAX), 0.001, None),
        ];
        for (off, tolerance, expected) in rows {
            assert_eq!(repeat(&off, tolerance, 3), expected, "{off:?}");
        }
    }

    #[test]
    fn a_promise_holds_if_it_lies_in_the_widened_interval_and_that_says_something() {
        use PromiseVerdict::{CannotTell, Held, NotHeld};
        let rows = [
            ("just as promised", (0.0, 0.0), Held),
            ("off by less than is tolerated", (0.02, 0.04), Held),
            ("off by more, but not beyond the tolerance for certain", (0.03, 0.09), Held),
            ("beyond it for certain", (0.06, 0.09), NotHeld),
            ("the same, to the other side", (-0.09, -0.06), NotHeld),
            ("too wide to say anything", (-0.2, 0.2), CannotTell),
            ("wide, but all of it beyond", (0.06, 0.9), NotHeld),
            ("nothing is left", (-1.0, -0.9), NotHeld),
            ("no end", (-0.5, f64::MAX), CannotTell),
        ];
        for (what, (low, high), expected) in rows {
            let of = |relative| {
                let value = f64::midpoint(low, high);
                ShiftResult { relative, value, low, high, p: 1.0, p_corrected: 1.0 }
            };
            let found = |relative, unit| verdict(Some(&of(relative)), 0.05, unit);
            assert_eq!(found(true, Unit::Pairs), expected, "{what}");
            assert_eq!(found(true, Unit::Runs), expected, "{what}");
            assert_eq!(found(true, Unit::Blocks), CannotTell, "{what}: one run");
            assert_eq!(found(false, Unit::Blocks), expected, "{what}: a share of one run");
        }
        assert_eq!(verdict(None, 0.05, Unit::Pairs), CannotTell, "no estimate");
    }
}
