//! All measures, compared and judged together.

use super::{
    Options, blocks,
    measure::{Kind, Measure, What},
    measures,
    result::{GateResult, MeasureResult, MeasureVerdict, Share, ShiftResult, Shown, Unit},
    run::RunFigures,
    stats::{self, Estimate},
    units::{self, ShareShift, Shift, worth},
};
use crate::{record::hist::DecodeError, report::figures};

/// What the whole verdict waits for, and how much of the level each gets before the others: they
/// must not drown in the number of phases and causes.
const DECIDING: [What; 4] = [What::Lost, What::Latency(0), What::Latency(2), What::Pods];
/// See [`DECIDING`].
const WEIGHT: f64 = 4.0;

/// All measures.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What was compared.
    pub measures: Vec<One>,
    /// What counted as one observation.
    pub unit: Unit,
    /// An autoscaler decided, and blocks of time do not show how much two runs of the same differ.
    pub is_fed_back: bool,
}

/// One measure with what its result was made from.
#[derive(Clone, Debug)]
pub struct One {
    /// Which.
    pub measure: Measure,
    /// The difference; `None` if it cannot be estimated.
    pub shift: Option<Shift>,
    /// What is said of it.
    pub result: MeasureResult,
}

impl Judged {
    /// The most repeats that anything that decides asks for.
    pub fn repeats(&self, gates: &[GateResult]) -> Option<u64> {
        if !gates.is_empty() {
            return gates.iter().filter_map(|gate| gate.repeats).max();
        }
        let deciding = self.measures.iter().filter(|one| one.result.decides);
        deciding.filter_map(|one| one.result.repeats).max()
    }
}

/// The runs of both sides in the order in which they are paired, if they are.
struct Sides<'a> {
    base: Vec<&'a RunFigures>,
    new: Vec<&'a RunFigures>,
    unit: Unit,
}

/// Compares and judges all measures.
///
/// # Errors
/// If a histogram is damaged.
pub fn judge(
    (base, new): (&[RunFigures], &[RunFigures]),
    options: &Options,
) -> Result<Judged, DecodeError> {
    let sides = sides(base, new);
    let measures = measures(base, new);
    let weights: Vec<f64> = measures.iter().map(weight).collect();
    let shifts: Result<Vec<_>, _> =
        measures.iter().map(|measure| shift(measure, &sides, (base, new), options.seed)).collect();
    let shifts = shifts?;
    // What cannot be estimated is no test.
    let tested: Vec<usize> = (0..shifts.len()).filter(|index| shifts[*index].is_some()).collect();
    let p: Vec<f64> = shifts.iter().flatten().map(Shift::p).collect();
    let tested_weights: Vec<f64> = tested.iter().map(|index| weights[*index]).collect();
    let corrected = stats::holm(&p, &tested_weights);
    let sum: f64 = weights.iter().sum();
    let is_fed_back = sides.unit == Unit::Blocks && is_autoscaled(base.iter().chain(new));
    let mut judged = Vec::new();
    for (index, (measure, shift)) in measures.into_iter().zip(shifts).enumerate() {
        let corrected = tested.binary_search(&index).map_or(1.0, |place| corrected[place]);
        let level = options.level * weights[index] / sum;
        let unit = sides.unit;
        let context = Context { options, corrected, level, unit, is_fed_back };
        let result = result(&measure, shift, (base, new), &context)?;
        judged.push(One { measure, shift, result });
    }
    Ok(Judged { measures: judged, unit: sides.unit, is_fed_back })
}

/// Where an autoscaler decides, so many runs on each side at least.
const FED_BACK_RUNS: u64 = 5;

/// Whether an autoscaler decides how many pods there are: one decision lasts for minutes, so that
/// blocks of seconds do not show how much two runs of the same differ (28 of 100 single runs of `spike`
/// were called different by them).
fn is_autoscaled<'a>(mut runs: impl Iterator<Item = &'a RunFigures>) -> bool {
    runs.any(|run| {
        let asked = run.asked.iter().flatten();
        asked.into_iter().any(|(key, _)| key.starts_with("autoscaler."))
    })
}

fn decides(measure: &Measure) -> bool {
    measure.phase.is_none() && DECIDING.contains(&measure.what)
}

fn weight(measure: &Measure) -> f64 {
    if decides(measure) { WEIGHT } else { 1.0 }
}

/// Pairs runs by seed where both sides have the same three or more, each once.
fn sides<'a>(base: &'a [RunFigures], new: &'a [RunFigures]) -> Sides<'a> {
    let sorted = |runs: &'a [RunFigures]| {
        let mut runs: Vec<&RunFigures> = runs.iter().collect();
        runs.sort_by_key(|run| run.seed);
        runs
    };
    let (base, new) = (sorted(base), sorted(new));
    let seeds = |runs: &[&RunFigures]| runs.iter().map(|run| run.seed).collect::<Vec<_>>();
    let is_distinct = base.windows(2).all(|two| two[0].seed != two[1].seed);
    let is_paired = base.len() >= 3 && is_distinct && seeds(&base) == seeds(&new);
    let (few, all) = (base.len().min(new.len()), base.len() + new.len());
    let unit = match () {
        () if is_paired => Unit::Pairs,
        () if all >= 4 && few >= 1 => Unit::Runs,
        () => Unit::Blocks,
    };
    Sides { base, new, unit }
}

/// The difference of a measure that is not among those that are judged together.
///
/// # Errors
/// If a histogram is damaged.
pub(super) fn shift_of(
    measure: &Measure,
    (base, new): (&[RunFigures], &[RunFigures]),
    seed: u64,
) -> Result<Option<Shift>, DecodeError> {
    shift(measure, &sides(base, new), (base, new), seed)
}

/// The difference of one measure; `None` if it cannot be estimated.
fn shift(
    measure: &Measure,
    sides: &Sides<'_>,
    (base, new): (&[RunFigures], &[RunFigures]),
    seed: u64,
) -> Result<Option<Shift>, DecodeError> {
    if sides.unit == Unit::Blocks {
        return blocks::shift(measure, (base, new), seed);
    }
    let values = |runs: &[&RunFigures]| -> Result<Vec<Option<f64>>, DecodeError> {
        let scaled = |value: f64| match measure.what.kind() {
            Kind::Ratio => value.ln(),
            Kind::Share | Kind::Difference => value,
        };
        runs.iter().map(|run| Ok(measure.value(run)?.map(scaled))).collect()
    };
    let (base_values, new_values) = (values(&sides.base)?, values(&sides.new)?);
    let least = measure.what.deviation_min();
    let known = |values: &[Option<f64>]| values.iter().flatten().copied().collect::<Vec<f64>>();
    let estimate = if sides.unit == Unit::Pairs {
        let pairs = base_values.iter().zip(&new_values).filter_map(|(a, b)| a.zip(*b));
        let (base, new): (Vec<f64>, Vec<f64>) = pairs.unzip();
        units::paired(&base, &new, least)
    } else {
        units::between(&known(&base_values), &known(&new_values), least)
    };
    if measure.what.kind() != Kind::Share {
        return Ok(estimate.map(Shift::Mean));
    }
    let sides = [(base, known(&base_values)), (new, known(&new_values))];
    Ok(Some(Shift::Share(share_of_runs(measure, sides, estimate, seed))))
}

/// Shares by runs. A side of one run says nothing of how runs vary; if it had a burst of losses, the
/// blocks of time within it tell.
fn share_of_runs(
    measure: &Measure,
    sides: [(&[RunFigures], Vec<f64>); 2],
    mut units: Option<Estimate>,
    seed: u64,
) -> ShareShift {
    let [base, new] = sides.map(|(runs, values)| {
        let part = measure.pooled_part(runs);
        let (n, variance) = (values.len() as f64, stats::moments(&values).1);
        let own = match (runs, variance) {
            ([one], _) => {
                let within = blocks::share_within(measure, one, seed);
                units = units.zip(within).map(|(units, within)| units.with(&within));
                within.map(|within| (within.error.powi(2), within.freedom))
            }
            (_, variance) => variance.map(|variance| (variance / n, n - 1.0)),
        };
        (part, own.map_or(1.0, |(variance, freedom)| worth(part, variance, freedom)))
    });
    ShareShift { base: base.0, new: new.0, worth: (base.1, new.1), units }
}

/// What a result is made with beside the measure itself.
struct Context<'a> {
    options: &'a Options,
    /// The corrected p-value.
    corrected: f64,
    /// The level of this measure alone if all are tested.
    level: f64,
    unit: Unit,
    /// Blocks of time, and what happens in one decides what happens long after it.
    is_fed_back: bool,
}

fn result(
    measure: &Measure,
    shift: Option<Shift>,
    (base, new): (&[RunFigures], &[RunFigures]),
    context: &Context<'_>,
) -> Result<MeasureResult, DecodeError> {
    let what = measure.what;
    let margin = context.options.margins.of(what);
    let confidence = 1.0 - context.options.level;
    let (base_value, new_value) = (measure.pooled(base)?, measure.pooled(new)?);
    let verdict = verdict(what, shift.as_ref(), margin, context);
    let is_open = verdict == MeasureVerdict::CannotTell;
    let sizes = (base.len(), new.len());
    let repeats = shift
        .as_ref()
        .filter(|_| is_open)
        .and_then(|shift| repeats(what, shift, sizes, (margin, context.level), context.unit))
        .map(|n| if context.is_fed_back { n.max(FED_BACK_RUNS) } else { n });
    let shares = shift.as_ref().and_then(|shift| match shift {
        Shift::Mean(_) => None,
        Shift::Share(share) => Some((
            share_of(share.base, share.of_base(confidence)),
            share_of(share.new, share.of_new(confidence)),
        )),
    });
    let shown = Shown {
        margin: shown_shift(what, margin).replace('+', "±"),
        base: shown(what, base_value, shares.map(|(base, _)| base)),
        new: shown(what, new_value, shares.map(|(_, new)| new)),
        shift: shift.map_or_else(|| figures::NONE.into(), |shift| shown_shift(what, shift.value())),
        interval: shift.map_or_else(String::new, |shift| {
            let (low, high) = shift.interval(confidence);
            format!("{} to {}", shown_shift(what, low), shown_shift(what, high))
        }),
    };
    Ok(MeasureResult {
        name: what.name(),
        phase: measure.phase.clone(),
        unit: unit_name(what).into(),
        base: base_value,
        new: new_value,
        base_share: shares.map(|(base, _)| base),
        new_share: shares.map(|(_, new)| new),
        shift: shift.map(|shift| shift_result(what, &shift, confidence, context.corrected)),
        margin: told(what, margin),
        verdict,
        decides: decides(measure),
        repeats,
        shown,
    })
}

/// Worse or better beyond noise, unless that is within the margin; the same if the whole interval
/// is within the margin.
fn verdict(
    what: What,
    shift: Option<&Shift>,
    margin: f64,
    context: &Context<'_>,
) -> MeasureVerdict {
    let Some(shift) = shift else { return MeasureVerdict::CannotTell };
    let (low, high) = shift.interval(1.0 - context.options.level);
    match () {
        () if low >= -margin && high <= margin => MeasureVerdict::Same,
        () if context.corrected > context.options.level => MeasureVerdict::CannotTell,
        () if context.is_fed_back && what.kind() != Kind::Share => MeasureVerdict::CannotTell,
        // All that is compared is better when there is less of it.
        () if shift.value() > 0.0 => MeasureVerdict::Worse,
        () => MeasureVerdict::Better,
    }
}

/// How many runs on each side would tell a difference of `margin` at `level`.
pub(super) fn repeats(
    what: What,
    shift: &Shift,
    (base_n, new_n): (usize, usize),
    (margin, level): (f64, f64),
    unit: Unit,
) -> Option<u64> {
    let is_paired = unit == Unit::Pairs;
    let runs =
        if is_paired { 1.0 / base_n as f64 } else { 1.0 / base_n as f64 + 1.0 / new_n as f64 };
    match shift {
        Shift::Mean(estimate) => {
            let sides: f64 = if is_paired { 2.0 } else { 1.0 };
            let least = what.deviation_min() * sides.sqrt();
            let seen = estimate.error / runs.sqrt();
            // What is known from the rounding is known as if from many runs.
            let freedom = if seen <= least * 1.01 { 100.0 } else { estimate.freedom };
            stats::repeats(seen.max(least), freedom, margin, level, is_paired)
        }
        Shift::Share(share) => {
            // Also what would be seen if the margin were lost: a sample without any loss says
            // nothing of how losses vary.
            let requests =
                (share.base.1 as f64 / base_n as f64 + share.new.1 as f64 / new_n as f64) / 2.0;
            let lost = (share.base.0.saturating_add(share.new.0)) as f64
                / share.base.1.saturating_add(share.new.1).max(1) as f64;
            let worth = share.worth.0.min(share.worth.1);
            let sides = if is_paired { 2.0 } else { 1.0 };
            let independent = ((lost + margin / 2.0) / (requests * worth).max(1.0) * sides).sqrt();
            let seen = share.units.map_or(0.0, |units| units.error / runs.sqrt());
            // What is known by theory is known as if from many runs.
            let freedom =
                share.units.filter(|_| seen > independent).map_or(100.0, |units| units.freedom);
            stats::repeats(seen.max(independent), freedom, margin, level, is_paired)
        }
    }
}

const fn share_of((count, of): (u64, u64), (low, high): (f64, f64)) -> Share {
    Share { count, of, low, high }
}

const fn unit_name(what: What) -> &'static str {
    match what {
        What::Lost | What::LostTo(_) | What::Unsent => "share",
        What::Latency(_) | What::TimeToScale => "ns",
        What::Pods | What::PodsMax => "pods",
    }
}

/// A shift as it is told: relative, or in the measure's unit.
pub(super) fn told(what: What, shift: f64) -> f64 {
    if what.kind() == Kind::Ratio { shift.exp_m1() } else { shift }
}

fn shift_result(what: What, shift: &Shift, confidence: f64, corrected: f64) -> ShiftResult {
    let (low, high) = shift.interval(confidence);
    ShiftResult {
        relative: what.kind() == Kind::Ratio,
        value: told(what, shift.value()),
        low: told(what, low),
        // An interval that reaches anywhere has no end that JSON can say.
        high: told(what, high).min(f64::MAX),
        p: shift.p(),
        p_corrected: corrected,
    }
}

fn shown(what: What, value: Option<f64>, share: Option<Share>) -> String {
    match (value, share) {
        (None, _) => figures::NONE.into(),
        (Some(value), None) => what.show(value),
        (Some(value), Some(share)) => format!(
            "{} ({} of {})",
            what.show(value),
            figures::count(share.count),
            figures::count(share.of)
        ),
    }
}

/// A difference in words: `+4.2 %`, `+0.1 pp`, `+1 pod`.
pub(super) fn shown_shift(what: What, shift: f64) -> String {
    let sign = |value: f64| {
        if value > 0.0 {
            "+"
        } else if value < 0.0 {
            "−"
        } else {
            "±"
        }
    };
    match what.kind() {
        Kind::Ratio => {
            let percent = told(what, shift) * 100.0;
            if percent > 9_999.0 {
                return "more than +9999 %".into();
            }
            let digits = usize::from(percent.abs() < 10.0);
            format!("{}{:.digits$} %", sign(percent), percent.abs())
        }
        Kind::Share => {
            let share = super::measure::share(shift.abs());
            format!("{}{} pp", sign(shift), share.trim_end_matches(" %"))
        }
        Kind::Difference => format!("{}{:.1}", sign(shift), shift.abs()),
    }
}
