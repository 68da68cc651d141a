//! Phases, latency and provenance.

use super::{
    super::{figures, phrases},
    writer::Html,
};
use crate::{
    analyze::{Analysis, Percentiles},
    record::folder::Provenance,
};

/// More phases than this have no row.
const PHASES_MAX: usize = 200;

type Pick = fn(&Percentiles) -> u64;

/// The percentiles of a table, and their names.
const COLUMNS: [(&str, Pick); 6] = [
    ("p50", |of| of.p50),
    ("p90", |of| of.p90),
    ("p95", |of| of.p95),
    ("p99", |of| of.p99),
    ("p99.9", |of| of.p999),
    ("max", |of| of.max),
];

fn numbers(html: &mut Html, of: &Percentiles, columns: &[(&'static str, Pick)]) {
    for (_, pick) in columns {
        html.put("<td class=\"num\">", figures::percentile(of, pick(of)), "</td>");
    }
}

fn heads(html: &mut Html, columns: &[(&'static str, Pick)]) {
    for (name, _) in columns {
        html.put("<th scope=\"col\" class=\"num\">", name, "</th>");
    }
}

/// A row per phase of the traffic.
pub(super) fn phases(html: &mut Html, analysis: &Analysis) {
    html.lit("<section id=\"phases\"><h2>By phase of the traffic</h2>\n");
    if analysis.phases.is_empty() {
        html.lit("<p class=\"muted\">There was none.</p></section>\n");
        return;
    }
    let columns = [COLUMNS[0], COLUMNS[3], COLUMNS[4]];
    html.lit("<div class=\"scroll\"><table><thead><tr><th scope=\"col\" rowspan=\"2\">Phase</th><th scope=\"col\" rowspan=\"2\" class=\"num\">Begin</th><th scope=\"col\" rowspan=\"2\" class=\"num\">End</th><th colspan=\"4\" scope=\"colgroup\" class=\"group\">Requests</th><th colspan=\"3\" scope=\"colgroup\" class=\"group\">Latency</th><th colspan=\"3\" scope=\"colgroup\" class=\"group\">Service time</th></tr><tr>");
    for name in ["owed", "ok", "failed", "unsent"] {
        html.put("<th scope=\"col\" class=\"num\">", name, "</th>");
    }
    heads(html, &columns);
    heads(html, &columns);
    html.lit("</tr></thead><tbody>\n");
    for phase in analysis.phases.iter().take(PHASES_MAX) {
        html.put("<tr><th scope=\"row\">", &phase.name, "</th>")
            .put("<td class=\"num\">", figures::instant(phase.start), "</td>")
            .put("<td class=\"num\">", figures::instant(phase.end), "</td>")
            .put("<td class=\"num\">", figures::count(phase.requests.owed), "</td>")
            .put("<td class=\"num\">", figures::count(phase.requests.ok), "</td>");
        for n in [phase.requests.failed, phase.requests.unsent] {
            let class = if n > 0 { "num loss" } else { "num" };
            html.put("<td class=\"", class, "\">").put("", figures::count(n), "</td>");
        }
        numbers(html, &phase.latency, &columns);
        numbers(html, &phase.service_time, &columns);
        html.lit("</tr>\n");
    }
    html.lit("</tbody></table></div>\n");
    if let Some(more @ 1..) = analysis.phases.len().checked_sub(PHASES_MAX) {
        html.put("<p class=\"muted\">… and ", figures::count(more as u64), " more.</p>\n");
    }
    html.lit("</section>\n");
}

/// Latency, service time and send lag over the whole run.
pub(super) fn latency(html: &mut Html, analysis: &Analysis) {
    html.lit("<section id=\"latency\"><h2>How long it took</h2>\n");
    if let Some(closed) = phrases::closed_loop(analysis) {
        html.put("<p class=\"muted\">", closed, ".</p>\n");
    }
    html.lit("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Whole run</th>");
    heads(html, &COLUMNS);
    html.lit("<th scope=\"col\" class=\"num\">values</th></tr></thead><tbody>\n");
    for (name, what, of) in [
        ("Latency", "scheduled to end, good answers", &analysis.latency),
        ("Service time", "sent to end, good answers", &analysis.service_time),
        ("Send lag", "scheduled to sent, all sent", &analysis.send_lag),
    ] {
        html.put("<tr><th scope=\"row\">", name, "").put(" <small>", what, "</small></th>");
        numbers(html, of, &COLUMNS);
        html.put("<td class=\"num\">", figures::count(of.count), "</td></tr>\n");
    }
    html.lit("</tbody></table></div></section>\n");
}

/// What was run, where and when.
pub(super) fn provenance(html: &mut Html, analysis: &Analysis, provenance: Option<&Provenance>) {
    html.lit("<section id=\"provenance\"><h2>Provenance</h2>\n<dl class=\"facts\">\n");
    let mut row = |name: &'static str, value: &str| {
        if !value.trim().is_empty() {
            html.put("<dt>", name, "</dt>").put("<dd>", value, "</dd>\n");
        }
    };
    row("Backend", analysis.backend.name());
    row("Path", &analysis.path);
    row("Seed", &analysis.seed.to_string());
    let Some(provenance) = provenance else {
        html.lit("</dl>\n<p class=\"muted\">Where and when it ran is not known.</p></section>\n");
        return;
    };
    row("Why this backend", &provenance.note);
    row("Scenario", &provenance.scenario);
    row("Started", &provenance.started);
    row("Highwater", &provenance.version);
    row("Host", &provenance.host);
    row("System", &provenance.system);
    let processor = match provenance.cores {
        0 => provenance.processor.clone(),
        cores => format!("{} ({})", provenance.processor, figures::counted(cores, "core")),
    };
    row("Processor", &processor);
    if !provenance.command.is_empty() {
        html.put("<dt>Command</dt><dd><code>", provenance.command.join(" "), "</code></dd>\n");
    }
    html.lit("</dl></section>\n");
}
