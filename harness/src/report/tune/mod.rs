//! The result of a search for settings: a page, and what is printed.

mod confirm;
mod page;
mod scatter;

use std::fmt::Write as _;

pub use page::html;

use super::{clean, figures};
use crate::tune::told::{ConfirmVerdict, TuneConfirm, TuneSetting, TuneVerdict, Tuning};

/// More settings than this are not listed.
const ROWS_MAX: usize = 32;

/// What `highwater tune` prints.
pub fn text(tuning: &Tuning) -> String {
    let mut out = String::new();
    // A String takes whatever is written.
    let _ = write_text(&mut out, tuning);
    out
}

/// The verdict in words.
fn verdict(tuning: &Tuning) -> String {
    let recommended = tuning.recommended.and_then(|place| tuning.settings.get(place));
    let mut verdict = match (tuning.verdict, recommended) {
        (TuneVerdict::Better, Some(setting)) => format!("recommended: {}", setting.name),
        (TuneVerdict::NothingHolds, _) => "no setting holds the objectives".into(),
        _ => "nothing better than the present setting was found".into(),
    };
    for confirmed in &tuning.confirm {
        verdict.push_str("; ");
        verdict.push_str(&confirm::headline(confirmed, recommended.is_some()));
    }
    verdict
}

/// Whether something that was recommended or promised fails on a real backend.
fn is_missed(tuning: &Tuning) -> bool {
    let misses = |one: &TuneConfirm| one.verdict == ConfirmVerdict::Misses;
    tuning.verdict == TuneVerdict::NothingHolds || tuning.confirm.iter().any(misses)
}

fn searched(tuning: &Tuning) -> String {
    let search = &tuning.search;
    let all = if search.exhaustive { "all" } else { "of" };
    let settings = figures::counted(search.settings as u64, "setting");
    let cut = if search.cut { "; the budget ended the search early" } else { "" };
    let simulated = match search.simulated {
        0 => String::new(),
        count => format!(", {count} of them on the full simulator"),
    };
    let held = tuning.cases.iter().filter(|case| case.held_out).count();
    format!(
        "{settings} tried ({all} {}){simulated}, {} searched with, {held} held out{cut}",
        search.space,
        figures::counted((tuning.cases.len() - held) as u64, "case")
    )
}

fn write_text(out: &mut String, tuning: &Tuning) -> std::fmt::Result {
    writeln!(out, "{}: {}", clean::line(&tuning.scenario), verdict(tuning))?;
    writeln!(out, "{}", searched(tuning))?;
    let kind = if tuning.objectives_are_default { "objectives (default)" } else { "objectives" };
    writeln!(out, "{kind}: {}", clean::line(&tuning.objectives.join("; ")))?;
    for why in &tuning.why {
        writeln!(out, "  {}", clean::line(why))?;
    }
    if let Some(setting) = tuning.recommended.and_then(|place| tuning.settings.get(place)) {
        for set in &setting.set {
            writeln!(out, "  --set '{}'", clean::line(set))?;
        }
    }
    writeln!(
        out,
        "\n{:<20} {:>7} {:>9} {:>10} {:>9} {:>9} {:>7} {:>8}",
        "", "holds", "held out", "pod-hours", "regret", "p99 ms", "lost", "changes"
    )?;
    for setting in tuning.settings.iter().take(ROWS_MAX) {
        let [holds, held_out, hours, regret, p99, lost, changes] = row(setting);
        writeln!(
            out,
            "{:<20} {holds:>7} {held_out:>9} {hours:>10} {regret:>9} {p99:>9} {lost:>7} {changes:>8}",
            clean::line(&setting.name)
        )?;
    }
    writeln!(out, "\nwhat matters (share of the variance explained)")?;
    for parameter in tuning.parameters.iter().take(ROWS_MAX) {
        writeln!(
            out,
            "  {:<16} pod-hours {:>5}  objectives {:>5}",
            clean::line(&parameter.name),
            figures::percent(parameter.effect_on_pod_hours),
            figures::percent(parameter.effect_on_objectives)
        )?;
    }
    tuning.confirm.iter().try_for_each(|confirmed| confirm::write_text(out, confirmed))
}

/// Holds, holds of those held out, pod-hours, regret, p99, lost, changes.
fn row(setting: &TuneSetting) -> [String; 7] {
    let (searched, held_out) = (&setting.searched, &setting.held_out);
    [
        format!("{}/{}", searched.met, searched.of),
        format!("{}/{}", held_out.met, held_out.of),
        format!("{:.4}", searched.pod_hours),
        setting.regret.map_or("–".into(), |regret| format!("{:+.0} %", regret * 100.0)),
        format!("{:.1}", searched.p99_ms.max(held_out.p99_ms)),
        (searched.lost + held_out.lost).to_string(),
        format!("{:.1}", searched.changes),
    ]
}
