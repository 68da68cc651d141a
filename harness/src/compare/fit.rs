//! What must not be compared, and what must be said when it is.

use super::{
    asked::{self, Difference},
    run::RunFigures,
};

/// More differing keys than this are not told one by one.
const KEYS_MAX: usize = 40;

/// Whether two sides fit together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fit {
    /// Why a comparison would mislead; empty if it would not.
    pub forbids: Vec<String>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// What is known to differ in what was asked.
    pub changed: Vec<Difference>,
}

/// Examines two sides that have a run each, at least.
pub fn examine(base: &[RunFigures], new: &[RunFigures]) -> Fit {
    let mut fit = Fit::default();
    for (side, runs) in [("the base's runs", base), ("the new's runs", new)] {
        for run in &runs[1..] {
            fit.pair(
                &format!("among {side} ({} and {})", runs[0].label, run.label),
                &runs[0],
                run,
                true,
            );
        }
    }
    fit.pair("", &base[0], &new[0], false);
    doubts(&mut fit, base, new);
    if base.iter().any(|one| new.iter().any(|other| one == other)) {
        fit.notes.push("a run is on both sides: it differs from itself in nothing".into());
    }
    for list in [&mut fit.forbids, &mut fit.notes] {
        let mut seen = std::collections::BTreeSet::new();
        list.retain(|text| seen.insert(text.clone()));
    }
    fit
}

/// What a reader must know of runs in a row: where one was not asked for the same as the one before.
pub fn along(runs: &[RunFigures]) -> Vec<String> {
    let mut fit = Fit::default();
    for two in runs.windows(2) {
        let who = format!("from {} to {}", two[0].label, two[1].label);
        fit.pair(&who, &two[0], &two[1], true);
    }
    doubts(&mut fit, &[], runs);
    fit.forbids.extend(fit.notes);
    fit.forbids
}

fn doubts(fit: &mut Fit, base: &[RunFigures], new: &[RunFigures]) {
    for run in base.iter().chain(new) {
        if let Some(doubt) = run.doubts.first() {
            fit.notes.push(format!("{} cannot be trusted: {doubt}", run.label));
        }
        if run.asked.is_none() {
            fit.notes.push(format!(
                "{} is a summary without its record: what was asked of it, its phases and its noise are not known",
                run.label
            ));
        }
    }
}

impl Fit {
    /// Examines two runs, which `is_one_side` says are repeats of each other.
    fn pair(&mut self, who: &str, one: &RunFigures, other: &RunFigures, is_one_side: bool) {
        let sentence = |text: String| match who {
            "" => text,
            who => format!("{who}: {text}"),
        };
        if one.backend != other.backend {
            let (a, b) = (one.backend.name(), other.backend.name());
            self.forbids.push(sentence(format!("the backends are {a} and {b}")));
        }
        match (&one.machine, &other.machine) {
            (Some(a), Some(b)) if a != b => {
                self.forbids.push(sentence(format!("the machines are `{a}` and `{b}`")));
            }
            (Some(_), None) | (None, Some(_)) => {
                self.notes.push(sentence("the machine of one of them is not known".into()));
            }
            _ => {}
        }
        match (&one.asked, &other.asked) {
            (Some(a), Some(b)) => self.asked(who, asked::differences(a, b), is_one_side),
            _ if one.scenario != other.scenario => {
                let (a, b) = (&one.scenario, &other.scenario);
                self.forbids.push(sentence(format!("the scenarios are `{a}` and `{b}`")));
            }
            _ => {}
        }
    }

    fn asked(&mut self, who: &str, differences: Vec<Difference>, is_one_side: bool) {
        let sentence = |text: String| match who {
            "" => text,
            who => format!("{who}: {text}"),
        };
        let (forbids, changed): (Vec<_>, Vec<_>) =
            differences.into_iter().partition(|one| is_one_side || one.misleads());
        if let Some(first) = forbids.first() {
            let (base, new) = (first.base.as_deref(), first.new.as_deref());
            let more = match forbids.len() - 1 {
                0 => String::new(),
                1 => ", and 1 more key".into(),
                more => format!(", and {more} more keys"),
            };
            self.forbids.push(sentence(format!(
                "not the same was asked: {} is {} and {}{more}",
                first.key,
                base.unwrap_or("not there"),
                new.unwrap_or("not there"),
            )));
        }
        if let Some(more @ 1..) = changed.len().checked_sub(KEYS_MAX) {
            self.notes.push(format!("{more} more keys of the scenario differ than are listed"));
        }
        self.changed.extend(changed.into_iter().take(KEYS_MAX));
        if !is_one_side {
            self.changed.extend(forbids.into_iter().take(KEYS_MAX));
        }
    }
}
