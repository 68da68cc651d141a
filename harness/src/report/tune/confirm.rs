//! What real runs said of a search, printed and on its page.

use std::fmt::Write as _;

use super::{
    super::{clean, compare, figures, html::writer::Html},
    ROWS_MAX,
};
use crate::{
    compare::result::Comparison,
    tune::told::{ConfirmSetting, ConfirmVerdict, Promise, PromiseVerdict, TuneConfirm, TuneRun},
};

/// The verdict, short enough for a headline.
pub(super) fn headline(confirmed: &TuneConfirm, is_recommended: bool) -> String {
    let on = confirmed.backend.name();
    let but = if confirmed.complete { "" } else { ", as far as it ran" };
    let promise = if is_recommended { "its promise" } else { "the simulator's promise" };
    match confirmed.verdict {
        ConfirmVerdict::Misses => format!("but it MISSES its objectives on {on}{but}"),
        ConfirmVerdict::NotHeld => format!("{promise} did not hold on {on}{but}"),
        ConfirmVerdict::Held => format!("{promise} held on {on}{but}"),
        ConfirmVerdict::CannotTell => {
            format!("whether {promise} holds on {on} cannot be told{but}")
        }
    }
}

/// A promise in a word.
fn word(promise: &Promise) -> String {
    match (promise.verdict, promise.repeat) {
        (PromiseVerdict::Held, _) => "held".into(),
        (PromiseVerdict::NotHeld, _) => "NOT HELD".into(),
        (PromiseVerdict::CannotTell, None) => "?".into(),
        (PromiseVerdict::CannotTell, Some(n)) => format!("? about {n} runs would tell"),
    }
}

/// Setting, measure, simulated, measured, off by, interval, tolerated; by promise.
fn rows(confirmed: &TuneConfirm) -> Vec<([String; 7], &Promise)> {
    let rows = confirmed.settings.iter().flat_map(|setting| {
        setting.promises.iter().map(move |promise| {
            let shown = &promise.shown;
            let row = [
                clean::line(&setting.name),
                clean::line(&promise.measure),
                shown.base.clone(),
                shown.new.clone(),
                shown.shift.clone(),
                shown.interval.clone(),
                shown.margin.clone(),
            ];
            (row, promise)
        })
    });
    rows.take(ROWS_MAX).collect()
}

/// What is printed of it.
pub(super) fn write_text(out: &mut String, confirmed: &TuneConfirm) -> std::fmt::Result {
    writeln!(out, "\nconfirmed on {}: {}", confirmed.backend.name(), settings_in_words(confirmed))?;
    for doubt in confirmed.doubts.iter().take(ROWS_MAX) {
        writeln!(out, "  doubt: {}", clean::line(doubt))?;
    }
    for why in confirmed.why.iter().take(ROWS_MAX) {
        writeln!(out, "  {}", clean::line(why))?;
    }
    if let Some(command) = &confirmed.calibrate {
        writeln!(out, "  {}", clean::line(command))?;
    }
    let head =
        ["", "", "simulated", "measured", "off by", "interval", "tolerated"].map(String::from);
    let rows = rows(confirmed);
    let all: Vec<(&[String; 7], String)> = std::iter::once((&head, String::new()))
        .chain(rows.iter().map(|(row, promise)| (row, word(promise))))
        .collect();
    let width = |column: usize| {
        all.iter().map(|(row, _)| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for (row, verdict) in all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "  {}", format!("{line}  {verdict}").trim_end())?;
    }
    Ok(())
}

/// How many runs there are of each setting.
fn settings_in_words(confirmed: &TuneConfirm) -> String {
    let runs = |one: &ConfirmSetting| {
        let (held, of) = one.held();
        let name = clean::line(&one.name);
        format!("{name} holds in {held} of {}", figures::counted(of as u64, "run"))
    };
    confirmed.settings.iter().map(runs).collect::<Vec<_>>().join(", ")
}

/// Its part of the page.
pub(super) fn section(html: &mut Html, confirmed: &TuneConfirm) {
    html.put("<section><h2>Confirmed on ", confirmed.backend.name(), "</h2>\n<ul>");
    for doubt in confirmed.doubts.iter().take(ROWS_MAX) {
        html.put("<li><span class=\"unsure\">doubt</span> ", clean::line(doubt), "</li>");
    }
    for why in confirmed.why.iter().take(ROWS_MAX) {
        html.put("<li>", clean::line(why).replace('`', ""), "</li>");
    }
    if let Some(command) = &confirmed.calibrate {
        html.put("<li><code>", command, "</code></li>");
    }
    html.lit("</ul>\n");
    promises(html, confirmed);
    for comparison in &confirmed.comparisons {
        compared(html, comparison);
    }
    runs(html, confirmed);
    html.lit("</section>\n");
}

fn promises(html: &mut Html, confirmed: &TuneConfirm) {
    html.lit("<h3>The simulator's promise</h3>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">Setting</th><th scope=\"col\">Measure</th><th scope=\"col\" class=\"num\">Simulated</th><th scope=\"col\" class=\"num\">Measured</th><th scope=\"col\" class=\"num\">Off by</th><th scope=\"col\" class=\"num\">Interval</th><th scope=\"col\" class=\"num\">Tolerated</th><th scope=\"col\"></th></tr></thead><tbody>\n");
    for ([name, measure, numbers @ ..], promise) in rows(confirmed) {
        html.put("<tr><th scope=\"row\">", name, "</th>").put("<td>", measure, "</td>");
        for number in numbers {
            html.put("<td class=\"num\">", number, "</td>");
        }
        match promise.verdict {
            PromiseVerdict::Held => html.lit("<td><span class=\"yes\">✓ held</span></td></tr>\n"),
            PromiseVerdict::NotHeld => {
                html.lit("<td><span class=\"no\">✕ not held</span></td></tr>\n")
            }
            PromiseVerdict::CannotTell => html.put(
                "<td><span class=\"unsure\">?</span> <small>",
                word(promise).trim_start_matches(['?', ' ']).to_owned(),
                "</small></td></tr>\n",
            ),
        };
    }
    html.lit("</tbody></table></div>\n<p class=\"muted\">The same scenarios with the same seeds, simulated and run. A promise held if the interval (95 %, from run to run) of the difference, widened by what is tolerated, has none in it; where half of it is wider than twice what is tolerated, it says nothing.</p>\n");
}

fn compared(html: &mut Html, comparison: &Comparison) {
    html.put("<h3>", clean::line(&comparison.new.label), " against ")
        .put("", clean::line(&comparison.base.label), ", measured</h3>\n<p>")
        .put("<b>", compare::word(comparison.verdict), "</b> – ")
        .put("", clean::line(&comparison.sentence), "</p>\n");
    html.lit("<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">Measure</th><th scope=\"col\" class=\"num\">");
    html.put("", clean::line(&comparison.base.label), "</th>");
    html.put("<th scope=\"col\" class=\"num\">", clean::line(&comparison.new.label), "</th>");
    html.lit("<th scope=\"col\" class=\"num\">Difference</th><th scope=\"col\" class=\"num\">Interval</th><th scope=\"col\"></th></tr></thead><tbody>\n");
    let told = comparison.measures.iter().filter(|one| compare::is_told(one));
    for measure in told.take(ROWS_MAX) {
        let shown = &measure.shown;
        html.put("<tr><th scope=\"row\">", clean::line(&measure.full_name()), "</th>");
        for value in [&shown.base, &shown.new, &shown.shift, &shown.interval] {
            html.put("<td class=\"num\">", value, "</td>");
        }
        let advice = compare::advice(measure).unwrap_or_default();
        html.put("<td>", compare::measure_word(measure.verdict), " <small>").put(
            "",
            advice,
            "</small></td></tr>\n",
        );
    }
    html.lit("</tbody></table></div>\n<p class=\"muted\">");
    html.put("", compare::method(comparison), ".</p>\n");
}

fn runs(html: &mut Html, confirmed: &TuneConfirm) {
    html.lit("<h3>The runs</h3>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">Run</th><th scope=\"col\" class=\"num\">Seed</th><th scope=\"col\">Simulated</th><th scope=\"col\">Measured</th></tr></thead><tbody>\n");
    let all = confirmed.settings.iter().flat_map(|setting| &setting.runs);
    for run in all.take(ROWS_MAX) {
        html.put("<tr><th scope=\"row\"><code>", clean::line(&run.folder), "</code></th>")
            .put("<td class=\"num\">", run.seed, "</td>")
            .put("<td>", told(&run.simulated), "</td>")
            .put("<td>", told(&run.measured), "</td></tr>\n");
    }
    html.lit("</tbody></table></div>\n");
}

fn told(run: &TuneRun) -> String {
    let missed = if run.missed.is_empty() {
        "holds".to_owned()
    } else {
        format!("misses {}", clean::line(&run.missed.join("; ")))
    };
    format!(
        "{:.4} pod-hours, p99 {:.1} ms, {} of {} lost, {missed}",
        run.pod_hours, run.p99_ms, run.lost, run.owed
    )
}
