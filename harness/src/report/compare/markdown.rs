//! A comment on a pull request: short, with the rest folded away, and without any picture.

use std::fmt::Write as _;

use super::{
    super::{
        figures,
        markdown::{code, escape},
    },
    advice, is_told, measure_word, method, word,
};
use crate::compare::result::{
    Comparison, GateResult, GateVerdict, MeasureResult, MeasureVerdict, Verdict,
};

/// More rows than this are not listed.
const ROWS_MAX: usize = 60;
/// More notes than this are not told.
const NOTES_MAX: usize = 8;

/// Renders it. Text from files cannot become markup, a mention or a link.
pub fn render(compared: &Comparison) -> String {
    let mut out = String::new();
    // A String takes whatever is written.
    let _ = write_all(&mut out, compared);
    out
}

const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Worse => "❌",
        Verdict::Better => "🎉",
        Verdict::Same => "✅",
        Verdict::CannotTell | Verdict::Untrusted => "❔",
    }
}

fn write_all(out: &mut String, compared: &Comparison) -> std::fmt::Result {
    let (sign, word) = (sign(compared.verdict), word(compared.verdict));
    writeln!(out, "### {sign} {word}: {}\n", escape(&compared.new.scenario))?;
    writeln!(out, "{}.\n", escape(&compared.sentence))?;
    for note in compared.notes.iter().take(NOTES_MAX) {
        writeln!(out, "> {}\n", escape(note))?;
    }
    gates(out, &compared.gates)?;
    let (told, folded): (Vec<_>, Vec<_>) = compared.measures.iter().partition(|one| is_told(one));
    table(out, &told)?;
    if !folded.is_empty() {
        writeln!(
            out,
            "<details><summary>{} more</summary>\n",
            figures::counted(folded.len() as u64, "measure")
        )?;
        table(out, &folded)?;
        writeln!(out, "</details>\n")?;
    }
    changes(out, compared)?;
    writeln!(
        out,
        "<sub>Highwater, {} runs: {}.</sub>",
        compared.new.backend.name(),
        method(compared)
    )
}

fn gates(out: &mut String, gates: &[GateResult]) -> std::fmt::Result {
    if gates.is_empty() {
        return Ok(());
    }
    writeln!(out, "| gate | found | |\n| --- | --- | --- |")?;
    for gate in gates.iter().take(ROWS_MAX) {
        let verdict = match (gate.verdict, gate.repeats) {
            (GateVerdict::Holds, _) => "✅ holds".to_owned(),
            (GateVerdict::Fails, _) => "❌ **fails**".to_owned(),
            (GateVerdict::CannotTell, Some(n)) => format!("❔ {n} runs on each side would tell"),
            (GateVerdict::CannotTell, None) => "❔ cannot tell".to_owned(),
        };
        writeln!(out, "| {} | {} | {verdict} |", code(&gate.name), escape(&gate.found))?;
    }
    writeln!(out)
}

fn table(out: &mut String, measures: &[&MeasureResult]) -> std::fmt::Result {
    writeln!(out, "| | base | new | difference | 95 % interval | |")?;
    writeln!(out, "| --- | ---: | ---: | ---: | --- | --- |")?;
    for measure in measures.iter().take(ROWS_MAX) {
        let shown = &measure.shown;
        let verdict = match measure.verdict {
            MeasureVerdict::Worse => "❌ **worse**".to_owned(),
            MeasureVerdict::Better => "🎉 better".to_owned(),
            MeasureVerdict::Same => "✅ same".to_owned(),
            MeasureVerdict::CannotTell => {
                format!(
                    "❔ {}",
                    advice(measure).unwrap_or_else(|| measure_word(measure.verdict).into())
                )
            }
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {verdict} |",
            code(&measure.full_name()),
            escape(&shown.base),
            escape(&shown.new),
            escape(&shown.shift),
            escape(&shown.interval),
        )?;
    }
    if let Some(more @ 1..) = measures.len().checked_sub(ROWS_MAX) {
        writeln!(out, "| … and {more} more | | | | | |")?;
    }
    writeln!(out)
}

fn changes(out: &mut String, compared: &Comparison) -> std::fmt::Result {
    if compared.changed.is_empty() {
        return Ok(());
    }
    let many = figures::counted(compared.changed.len() as u64, "key");
    writeln!(out, "<details><summary>{many} of the scenario changed</summary>\n")?;
    writeln!(out, "| key | base | new |\n| --- | --- | --- |")?;
    for change in compared.changed.iter().take(ROWS_MAX) {
        let value = |value: &Option<String>| value.as_deref().map_or(figures::NONE.into(), code);
        writeln!(
            out,
            "| {} | {} | {} |",
            code(&change.key),
            value(&change.base),
            value(&change.new)
        )?;
    }
    writeln!(out, "\n</details>\n")
}
