//! Is NEW worse than BASE, beyond noise? Pure functions of runs' figures; the shell around them is
//! [`command`] and [`input`].
//!
//! 1. a record, summary or baseline becomes a run's figures: [`run`], [`asked`]
//! 2. what must not be compared is refused: [`fit`]
//! 3. each [`measure`] is compared by runs, pairs of runs or blocks of time: [`units`], [`blocks`],
//!    by the statistics of [`stats`]
//! 4. all of them are judged together, corrected for being many: [`judge`]
//! 5. the scenario's gates: [`gates`]
//! 6. what comes out: [`result`]; shown by [`crate::report::compare`]
//! 7. many runs in a row: [`trend`], whose changes are found by [`changes`]
//!
//! Why these statistics: `docs/decisions/0021-comparing-runs.md`.

pub mod asked;
pub mod blocks;
pub mod changes;
pub mod command;
pub mod fit;
pub mod gates;
pub mod input;
pub mod judge;
pub mod measure;
pub mod result;
pub mod run;
pub mod stats;
pub mod trend;
pub mod units;

use highwater_model::spec::Gate;

use self::{
    judge::Judged,
    measure::{Kind, Measure, What},
    result::{Comparison, GateResult, GateVerdict, Method, RunLabel, SCHEMA, Side, Unit, Verdict},
    run::RunFigures,
};
use crate::record::hist::DecodeError;

/// What can be chosen about a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The chance that a comparison of equals calls anything better or worse, at most.
    pub level: f64,
    /// What counts as the same.
    pub margins: Margins,
    /// Compare although [`fit`] says no.
    pub force: bool,
    /// Seed of the resamples.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { level: 0.05, margins: Margins::default(), force: false, seed: 1 }
    }
}

/// Differences that are small enough to be the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margins {
    /// Of latencies and times to scale, relative.
    pub latency: f64,
    /// Of shares of requests, absolute.
    pub loss: f64,
    /// Of the mean number of pods, relative.
    pub pods: f64,
}

impl Default for Margins {
    /// Half of what is called a shift worth finding in the power study: 10 %, 1 in 1,000.
    fn default() -> Self {
        Self { latency: 0.05, loss: 0.000_5, pods: 0.05 }
    }
}

impl Margins {
    /// That of a measure, as its shift is: a logarithm of a ratio, a share, or pods.
    pub fn of(&self, what: What) -> f64 {
        match (what, what.kind()) {
            (What::Pods, _) => self.pods.ln_1p(),
            (_, Kind::Ratio) => self.latency.ln_1p(),
            (_, Kind::Share) => self.loss,
            // Less than one pod.
            (_, Kind::Difference) => 0.5,
        }
    }
}

/// Why two sides are not compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CompareError {
    /// A side has no run.
    #[error("comparing: {0} has no run")]
    Empty(String),
    /// They are not alike.
    #[error("comparing {base} with {new} would mislead: {}; --force compares all the same", reasons.join("; "))]
    Unlike {
        /// The base's label.
        base: String,
        /// The new's label.
        new: String,
        /// What is not alike.
        reasons: Vec<String>,
    },
    /// A histogram of a run is damaged.
    #[error("comparing: the figures of a run are damaged: {0}")]
    Damaged(#[from] DecodeError),
    /// A gate cannot be judged.
    #[error("comparing: {0}")]
    Gate(#[from] gates::GateError),
}

/// Compares two sides.
///
/// *Units and shape*: each side is its label and its runs, in any order.
///
/// # Errors
/// If a side is empty, if the sides must not be compared (unless forced), if a histogram is
/// damaged, or if a gate names what there is not.
pub fn compare(
    (base_label, base): (&str, &[RunFigures]),
    (new_label, new): (&str, &[RunFigures]),
    gates: &[Gate],
    options: &Options,
) -> Result<Comparison, CompareError> {
    for (label, runs) in [(base_label, base), (new_label, new)] {
        if runs.is_empty() {
            return Err(CompareError::Empty(label.into()));
        }
    }
    let fit = fit::examine(base, new);
    if !fit.forbids.is_empty() && !options.force {
        return Err(CompareError::Unlike {
            base: base_label.into(),
            new: new_label.into(),
            reasons: fit.forbids,
        });
    }
    let judged = judge::judge((base, new), options)?;
    let gates = gates::judge(gates, (base, new), &judged, options)?;
    let sides = (side(base_label, base), side(new_label, new));
    let mut notes = fit.notes;
    notes.extend(fit.forbids.iter().map(|reason| format!("compared by force: {reason}")));
    if judged.unit == Unit::Blocks {
        notes.push(
            "too few runs for their own noise: blocks of seconds within them stand in for it, and what \
             differs from run to run is not seen; `run --repeat 5` on each side is better"
                .into(),
        );
    }
    if judged.is_fed_back {
        notes.push(
            "an autoscaler's decision lasts for minutes, which blocks of seconds do not see: only shares \
             of requests are called better or worse"
                .into(),
        );
    }
    notes.extend(judged.measures.iter().filter_map(|one| missing(&one.measure, base, new)));
    let is_trusted = [base, new].iter().all(|runs| runs.iter().all(|run| run.doubts.is_empty()))
        && fit.forbids.is_empty();
    let verdict = verdict(&judged, &gates, is_trusted);
    Ok(Comparison {
        schema: SCHEMA.into(),
        verdict,
        sentence: sentence(verdict, &judged, &gates),
        base: sides.0,
        new: sides.1,
        method: Method { unit: judged.unit, confidence: 1.0 - options.level, level: options.level },
        changed: fit.changed,
        notes,
        measures: judged.measures.into_iter().map(|one| one.result).collect(),
        gates,
    })
}

/// That some runs say nothing of a scale-up, as it had not ended with them: those left out are the
/// slowest.
fn missing(measure: &Measure, base: &[RunFigures], new: &[RunFigures]) -> Option<String> {
    let known = |runs: &[RunFigures]| runs.iter().filter(|run| run.time_to_scale.is_some()).count();
    let (known_base, known_new) = (known(base), known(new));
    let is_partial = known_base < base.len() || known_new < new.len();
    (measure.what == What::TimeToScale && is_partial).then(|| {
        format!(
            "time-to-scale is known of {known_base} of {} base runs and {known_new} of {} new ones: where a \
             scale-up had not ended with the run, or there was none, it is left out",
            base.len(),
            new.len()
        )
    })
}

fn side(label: &str, runs: &[RunFigures]) -> Side {
    let run = |run: &RunFigures| RunLabel {
        label: run.label.clone(),
        seed: run.seed,
        doubts: run.doubts.clone(),
    };
    Side {
        label: label.into(),
        scenario: runs[0].scenario.clone(),
        backend: runs[0].backend,
        machine: runs[0].machine.clone(),
        runs: runs.iter().map(run).collect(),
        owed: runs.iter().fold(0, |sum, run| sum.saturating_add(run.counts.owed)),
        failed: runs.iter().fold(0, |sum, run| sum.saturating_add(run.counts.failed)),
    }
}

fn verdict(judged: &Judged, gates: &[GateResult], is_trusted: bool) -> Verdict {
    use result::MeasureVerdict as Of;
    if !is_trusted {
        return Verdict::Untrusted;
    }
    let any = |wanted: Of| judged.measures.iter().any(|one| one.result.verdict == wanted);
    if !gates.is_empty() {
        let any_gate = |wanted| gates.iter().any(|gate| gate.verdict == wanted);
        return match () {
            () if any_gate(GateVerdict::Fails) => Verdict::Worse,
            () if any_gate(GateVerdict::CannotTell) => Verdict::CannotTell,
            () if any(Of::Better) && !any(Of::Worse) => Verdict::Better,
            () => Verdict::Same,
        };
    }
    let open = |one: &judge::One| one.result.decides && one.result.verdict == Of::CannotTell;
    match () {
        () if any(Of::Worse) => Verdict::Worse,
        () if judged.measures.iter().any(open) => Verdict::CannotTell,
        () if any(Of::Better) => Verdict::Better,
        () => Verdict::Same,
    }
}

/// More names than this are not told in the sentence.
const NAMES_MAX: usize = 3;

fn sentence(verdict: Verdict, judged: &Judged, gates: &[GateResult]) -> String {
    use result::MeasureVerdict as Of;
    let of = |wanted: Of, decides: bool| -> Vec<String> {
        let those = judged
            .measures
            .iter()
            .map(|one| &one.result)
            .filter(|one| one.verdict == wanted && (one.decides || !decides));
        those.map(|one| format!("{} {}", one.full_name(), one.shown.shift)).collect()
    };
    let gate = |wanted| -> Vec<String> {
        gates.iter().filter(|gate| gate.verdict == wanted).map(|gate| gate.name.clone()).collect()
    };
    let with_repeats = |text: String| match judged.repeats(gates) {
        Some(n) => format!("{text}; {n} runs on each side would tell"),
        None => text,
    };
    match verdict {
        Verdict::Untrusted => "A run cannot be trusted, so neither can the comparison".into(),
        Verdict::Worse if !gates.is_empty() => {
            format!("Does not hold: {}", listed(&gate(GateVerdict::Fails)))
        }
        Verdict::CannotTell if !gates.is_empty() => with_repeats(format!(
            "Whether this holds is within noise: {}",
            listed(&gate(GateVerdict::CannotTell))
        )),
        Verdict::Same if !gates.is_empty() => format!("All {} gates hold", gates.len()),
        Verdict::Worse => format!("Worse beyond noise: {}", listed(&of(Of::Worse, false))),
        Verdict::Better => format!("Better beyond noise: {}", listed(&of(Of::Better, false))),
        Verdict::Same => "The same within the margins".into(),
        Verdict::CannotTell => with_repeats(format!(
            "Nothing is worse beyond noise, but not known to be the same: {}",
            listed(&of(Of::CannotTell, true))
        )),
    }
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// The phases' names of a measure's scope are those of the plan, which both sides share.
pub(crate) fn measures(base: &[RunFigures], new: &[RunFigures]) -> Vec<Measure> {
    measure::all(base.iter().chain(new))
}
