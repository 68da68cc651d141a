//! Two sets of runs against each other: for a terminal, a pull request, a CI server, and a page.

pub mod github;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod text;
pub mod trend;

use crate::compare::result::{Comparison, MeasureResult, MeasureVerdict, Side, Unit, Verdict};

/// The verdict in a word.
pub(crate) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Worse => "Worse",
        Verdict::Better => "Better",
        Verdict::Same => "Not worse",
        Verdict::CannotTell => "Cannot tell",
        Verdict::Untrusted => "Untrusted",
    }
}

/// The verdict on a measure in a word.
pub(crate) const fn measure_word(verdict: MeasureVerdict) -> &'static str {
    match verdict {
        MeasureVerdict::Worse => "worse",
        MeasureVerdict::Better => "better",
        MeasureVerdict::Same => "same",
        MeasureVerdict::CannotTell => "?",
    }
}

/// How it was compared, in a sentence.
pub(crate) fn method(compared: &Comparison) -> String {
    let runs = |side: &Side| match side.runs.len() {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    };
    let unit = match compared.method.unit {
        Unit::Runs => "run by run",
        Unit::Pairs => "in pairs of one seed",
        Unit::Blocks => "by blocks of seconds",
    };
    format!(
        "{} against {}, {unit}; intervals of {:.0} %; at most {:.0} % of comparisons of equals call anything better or worse",
        runs(&compared.new),
        runs(&compared.base),
        compared.method.confidence * 100.0,
        compared.method.level * 100.0,
    )
}

/// What would tell, where it cannot be told.
pub(crate) fn advice(measure: &MeasureResult) -> Option<String> {
    let is_open = measure.verdict == MeasureVerdict::CannotTell;
    match measure.repeats.filter(|_| is_open) {
        Some(n) => Some(format!("{n} runs on each side would tell {}", measure.shown.margin)),
        None if is_open => Some("too few runs to say".into()),
        None => None,
    }
}

/// Whether a measure is told where there is little room: those that decide, and all that is better
/// or worse.
pub(crate) fn is_told(measure: &MeasureResult) -> bool {
    measure.decides || matches!(measure.verdict, MeasureVerdict::Worse | MeasureVerdict::Better)
}
