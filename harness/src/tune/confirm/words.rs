//! What real runs said, in words and in one verdict: pure functions of the result.

use std::path::Path;

use super::told::{
    ConfirmRun, ConfirmSetting, ConfirmVerdict, Promise, PromiseVerdict, TuneConfirm,
};
use crate::{
    report::figures,
    tune::{recommend, told::Tuning},
};

/// The settings whose promises count: the recommended one; without it all.
fn counted(
    settings: &[ConfirmSetting],
    recommended: Option<usize>,
) -> impl Iterator<Item = &ConfirmSetting> {
    settings.iter().filter(move |one| recommended.is_none_or(|place| place == one.setting))
}

/// The runs of the recommended setting that missed an objective and can be trusted.
fn misses(settings: &[ConfirmSetting], recommended: Option<usize>) -> Vec<&ConfirmRun> {
    let setting = settings.iter().find(|one| Some(one.setting) == recommended);
    let runs = setting.into_iter().flat_map(|one| &one.runs);
    runs.filter(|run| run.doubts.is_empty() && !run.measured.missed.is_empty()).collect()
}

/// The verdict; the worst that is known.
pub(super) fn verdict(settings: &[ConfirmSetting], recommended: Option<usize>) -> ConfirmVerdict {
    let promises: Vec<PromiseVerdict> = counted(settings, recommended)
        .flat_map(|one| one.promises.iter().map(|promise| promise.verdict))
        .collect();
    match () {
        () if !misses(settings, recommended).is_empty() => ConfirmVerdict::Misses,
        () if promises.contains(&PromiseVerdict::NotHeld) => ConfirmVerdict::NotHeld,
        () if promises.is_empty() || promises.contains(&PromiseVerdict::CannotTell) => {
            ConfirmVerdict::CannotTell
        }
        () => ConfirmVerdict::Held,
    }
}

/// What is missing, and what cannot be trusted.
pub(super) fn doubts(settings: &[ConfirmSetting], repeat: u32) -> Vec<String> {
    let mut doubts = Vec::new();
    for setting in settings {
        let begun = setting.runs.len();
        if begun < repeat as usize {
            doubts.push(format!("{}: {begun} of {repeat} runs were made", setting.name));
        }
        for run in setting.runs.iter().filter(|run| !run.doubts.is_empty()) {
            doubts.push(format!("{}: {}", run.folder, run.doubts.join("; ")));
        }
    }
    doubts
}

/// The command that fits the scenario to what was measured: by the first sound run of a setting whose
/// promise did not hold.
pub(super) fn calibrate(
    confirmed: &TuneConfirm,
    recommended: Option<usize>,
    out: &Path,
) -> Option<String> {
    let is_broken = |one: &&ConfirmSetting| {
        one.promises.iter().any(|promise| promise.verdict == PromiseVerdict::NotHeld)
    };
    let of_recommended = counted(&confirmed.settings, recommended).find(is_broken);
    let setting = of_recommended.or_else(|| confirmed.settings.iter().find(is_broken))?;
    let run = setting.runs.iter().find(|run| run.doubts.is_empty())?;
    Some(format!(
        "highwater calibrate {} --out calibrated.yaml",
        quoted(&out.join(&run.folder).display().to_string())
    ))
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:".contains(c);
    if path.chars().all(is_plain) {
        path.into()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// The verdict in words, the worst first.
pub(super) fn why(confirmed: &TuneConfirm, tuning: &Tuning) -> Vec<String> {
    let (settings, on) = (&confirmed.settings, confirmed.backend.name());
    let name = tuning.recommended.and_then(|place| Some(tuning.settings.get(place)?.name.as_str()));
    let mut why = Vec::new();
    if let Some(name) = name {
        why.extend(objectives(settings, (name, on), tuning.recommended));
    }
    for setting in settings {
        for promise in &setting.promises {
            why.extend(broken(&setting.name, promise));
        }
    }
    why.extend(kept(confirmed, tuning.recommended));
    if confirmed.calibrate.is_some() {
        why.push(
            "The scenario does not describe this service well enough: `highwater calibrate` fits it to what \
             was measured; then tune that."
                .into(),
        );
    }
    for comparison in &confirmed.comparisons {
        why.push(format!(
            "{} against {}, measured: {}.",
            recommend::capital(&comparison.new.label),
            comparison.base.label,
            comparison.sentence
        ));
    }
    why
}

/// Whether the recommended setting holds its objectives for real.
fn objectives(
    settings: &[ConfirmSetting],
    (name, on): (&str, &str),
    recommended: Option<usize>,
) -> Option<String> {
    let setting = settings.iter().find(|one| Some(one.setting) == recommended)?;
    let (held, of) = setting.held();
    let runs = figures::counted(of as u64, "run");
    let name = &recommend::capital(name);
    let missed = misses(settings, recommended);
    Some(match missed.first() {
        _ if of == 0 => format!("No run of {name} on {on} can be trusted: nothing is confirmed."),
        Some(run) => format!(
            "{name} was recommended, but misses its objectives in {} of {runs} on {on}: {}.",
            of - held,
            run.measured.missed.join("; ")
        ),
        None => format!("{name} holds all objectives in {held} of {runs} on {on}."),
    })
}

/// A promise that did not hold, and by how much.
fn broken(name: &str, promise: &Promise) -> Option<String> {
    let off = promise.off.filter(|_| promise.verdict == PromiseVerdict::NotHeld)?;
    let Promise { measure, shown, .. } = promise;
    let word = if off.value > 0.0 { "more" } else { "less" };
    Some(format!(
        "Not held for {name}: the simulator promised {measure} of {}, measured was {}, {} {word} \
         ({}; {} is tolerated).",
        shown.base,
        shown.new,
        shown.shift.trim_start_matches(['+', '−']),
        shown.interval,
        shown.margin
    ))
}

/// Which promises held, and which cannot be told.
fn kept(confirmed: &TuneConfirm, recommended: Option<usize>) -> Vec<String> {
    let of = |wanted: PromiseVerdict| -> Vec<String> {
        let promises = counted(&confirmed.settings, recommended)
            .flat_map(|one| one.promises.iter().map(move |promise| (one, promise)));
        promises
            .filter(|(_, promise)| promise.verdict == wanted)
            .map(|(one, promise)| match recommended {
                Some(_) => promise.measure.clone(),
                None => format!("{} ({})", promise.measure, one.name),
            })
            .collect()
    };
    let (held, open) = (of(PromiseVerdict::Held), of(PromiseVerdict::CannotTell));
    let mut told = Vec::new();
    if !held.is_empty() {
        told.push(format!("The simulator's promise held: {}.", held.join(", ")));
    }
    if !open.is_empty() {
        let promises = counted(&confirmed.settings, recommended).flat_map(|one| &one.promises);
        let repeat = promises.filter_map(|promise| promise.repeat).max();
        let repeat = repeat.map_or("a larger --repeat".into(), |n| format!("about --repeat {n}"));
        told.push(format!(
            "Not to be told, as the runs differ too much or are too few: {}; {repeat} would tell.",
            open.join(", ")
        ));
    }
    told
}
