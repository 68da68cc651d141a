//! What `highwater compare` prints.

use std::fmt::Write as _;

use super::{super::clean, advice, measure_word, method, word};
use crate::compare::result::{Comparison, GateVerdict, MeasureResult};

/// More rows than this are not listed.
const ROWS_MAX: usize = 60;

/// Renders it.
pub fn render(compared: &Comparison) -> String {
    let mut out = String::new();
    // A String takes whatever is written.
    let _ = write_all(&mut out, compared);
    out
}

fn write_all(out: &mut String, compared: &Comparison) -> std::fmt::Result {
    let verdict = word(compared.verdict).to_uppercase();
    writeln!(out, "{verdict}  {}", clean::line(&compared.sentence))?;
    writeln!(out, "base   {}", clean::line(&compared.base.label))?;
    writeln!(out, "new    {}", clean::line(&compared.new.label))?;
    writeln!(out, "by     {}", method(compared))?;
    for note in &compared.notes {
        writeln!(out, "note   {}", clean::line(note))?;
    }
    for change in compared.changed.iter().take(ROWS_MAX) {
        let value = |value: &Option<String>| {
            clean::shorten(&clean::line(value.as_deref().unwrap_or("–")), 60)
        };
        let (base, new) = (value(&change.base), value(&change.new));
        writeln!(out, "change {}: {base} → {new}", clean::line(&change.key))?;
    }
    writeln!(out)?;
    for gate in compared.gates.iter().take(ROWS_MAX) {
        let verdict = match gate.verdict {
            GateVerdict::Holds => "holds",
            GateVerdict::Fails => "FAILS",
            GateVerdict::CannotTell => "?",
        };
        write!(out, "gate   {verdict:<6} {}: {}", clean::line(&gate.name), gate.found)?;
        match gate.repeats {
            Some(n) => writeln!(out, "; {n} runs on each side would tell")?,
            None => writeln!(out)?,
        }
    }
    if !compared.gates.is_empty() {
        writeln!(out)?;
    }
    table(out, &compared.measures)
}

fn table(out: &mut String, measures: &[MeasureResult]) -> std::fmt::Result {
    let rows: Vec<[String; 6]> =
        std::iter::once(["", "base", "new", "difference", "interval", ""].map(String::from))
            .chain(measures.iter().take(ROWS_MAX).map(row))
            .collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let pad = " ".repeat(width - cell.chars().count());
            let is_number = (1..=3).contains(&column);
            if is_number { format!("{pad}{cell}") } else { format!("{cell}{pad}") }
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    if let Some(more @ 1..) = measures.len().checked_sub(ROWS_MAX) {
        writeln!(out, "… and {more} more; --out DIR has all")?;
    }
    Ok(())
}

fn row(measure: &MeasureResult) -> [String; 6] {
    let shown = &measure.shown;
    let verdict = match advice(measure) {
        Some(advice) => format!("{} {advice}", measure_word(measure.verdict)),
        None => measure_word(measure.verdict).to_owned(),
    };
    let name = clean::line(&measure.full_name());
    [
        name,
        shown.base.clone(),
        shown.new.clone(),
        shown.shift.clone(),
        shown.interval.clone(),
        verdict,
    ]
}
