//! The autoscaler's decisions, and how long scale-ups and starts of pods took.

use super::{
    super::{figures, phrases},
    writer::Html,
};
use crate::{
    analyze::{
        Analysis,
        autoscaler::Decision,
        scaling::{COARSE, Progress, ScaleUp, Stage, StartStage, Took},
    },
    record::BackendKind,
};

/// More rows than this of a table are not listed.
const ROWS_MAX: usize = 200;
/// A longer table of decisions is folded: what follows it should be found.
const ROWS_SHOWN: usize = 15;

/// All of it; nothing without an autoscaler and off a cluster.
pub(super) fn scaling(html: &mut Html, analysis: &Analysis) {
    if let Some(summary) = phrases::autoscaler(analysis) {
        html.put("<section id=\"autoscaler\"><h2>Autoscaler</h2>\n<p>It took ", summary, "")
            .lit(".</p>\n");
        limits(html, analysis);
        decisions(html, &analysis.autoscaling.decisions);
        html.lit("</section>\n");
    }
    let starts = analysis.backend == BackendKind::Kube && analysis.starts.pods > 0;
    if !analysis.scale_ups.is_empty() || starts {
        html.lit("<section id=\"time-to-scale\"><h2>How long new pods took</h2>\n");
        scale_ups(html, &analysis.scale_ups);
        if starts {
            self::starts(html, analysis);
        }
        html.lit("</section>\n");
    }
}

fn limits(html: &mut Html, analysis: &Analysis) {
    let limits = &analysis.autoscaling.limits;
    let Some(first) = limits.first() else { return };
    html.put("<p class=\"muted\">From ", first.min, " to ").put("", first.max, " replicas");
    for limits in limits.iter().skip(1).take(20) {
        html.put("; from ", limits.min, " to ").put("", limits.max, " since ").put(
            "",
            figures::instant(limits.at),
            "",
        );
    }
    html.lit(".</p>\n");
}

fn decisions(html: &mut Html, decisions: &[Decision]) {
    if decisions.is_empty() {
        return;
    }
    let is_folded = decisions.len() > ROWS_SHOWN;
    if is_folded {
        html.put("<details><summary>", figures::counted(decisions.len() as u64, "decision"), "")
            .lit(", each with its reason</summary>\n");
    }
    html.lit("<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\" class=\"num\">At</th><th scope=\"col\" class=\"num\">Replicas</th><th scope=\"col\">Why, in the autoscaler’s words</th><th scope=\"col\">Metrics at that instant</th><th scope=\"col\">Conditions that changed</th><th scope=\"col\">Held back</th></tr></thead><tbody>\n");
    for decision in decisions.iter().take(ROWS_MAX) {
        self::decision(html, decision);
    }
    html.lit("</tbody></table></div>\n");
    more(html, decisions.len());
    html.lit(if is_folded { "</details>\n" } else { "" });
}

fn decision(html: &mut Html, decision: &Decision) {
    html.put("<tr><th scope=\"row\" class=\"num\">", figures::instant(decision.at), "");
    if decision.precision >= COARSE {
        html.put(" <small>± ", figures::nanos(decision.precision.0), "</small>");
    }
    html.put("</th><td class=\"num nowrap\">", decision.from, " → ")
        .put("", decision.to, "</td>")
        .put("<td>", &decision.reason, "</td><td>");
    for (index, metric) in decision.readings.iter().enumerate() {
        html.lit(if index > 0 { "<br>" } else { "" }).text(phrases::reading(metric));
    }
    if decision.readings.is_empty() {
        html.text(figures::NONE);
    }
    html.lit("</td><td>");
    for (index, condition) in decision.changed.iter().enumerate() {
        html.lit(if index > 0 { "<br>" } else { "" });
        let status = if condition.status { "True" } else { "False" };
        html.put("<code>", &condition.kind, "</code> ")
            .put("", status, " ")
            .text(&condition.reason);
    }
    if decision.changed.is_empty() {
        html.text(figures::NONE);
    }
    match &decision.limited {
        Some(reason) => html.put("</td><td><span class=\"unsure\">", reason, "</span></td></tr>\n"),
        None => html.lit("</td><td>no</td></tr>\n"),
    };
}

fn scale_ups(html: &mut Html, ups: &[ScaleUp]) {
    if ups.is_empty() {
        return;
    }
    html.lit("<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\" class=\"num\">Decided</th><th scope=\"col\" class=\"num\">Replicas</th><th scope=\"col\" class=\"num\">Pods that served</th>");
    for stage in Stage::ALL {
        html.put("<th scope=\"col\" class=\"num\">", stage.name(), "</th>");
    }
    html.lit("<th scope=\"col\" class=\"num\">Time to scale</th><th scope=\"col\" class=\"num\">With the lag</th></tr></thead><tbody>\n");
    for up in ups.iter().take(ROWS_MAX) {
        scale_up(html, up);
    }
    html.lit("</tbody></table></div>\n");
    more(html, ups.len());
    html.lit("<p class=\"muted\">Each stage ends when the last of the new pods has come so far. The time to scale is from the first reading that asked for more to the last pod’s endpoint; the metric’s lag behind the load’s rise is in the last column only. – is not known.</p>\n");
}

fn scale_up(html: &mut Html, up: &ScaleUp) {
    let served = up.pods.iter().filter(|pod| pod.serving.is_some()).count();
    html.put("<tr><th scope=\"row\" class=\"num\">", figures::instant(up.at), "</th>")
        .put("<td class=\"num nowrap\">", up.from, " → ")
        .put("", up.to, "</td>")
        .put("<td class=\"num\">", served, " of ")
        .put("", up.to.saturating_sub(up.from), "</td>");
    for index in 0..Stage::ALL.len() {
        html.put("<td class=\"num\">", phrases::stage(up, index), "");
        if let Some(took) = up.stages[index].filter(Took::is_uncertain) {
            html.put("<br><small>± ", figures::nanos(took.precision.0), "</small>");
        }
        html.lit("</td>");
    }
    match up.progress {
        Progress::Complete => {
            html.put("<td class=\"num\"><strong>", phrases::span(&up.took), "</strong></td>");
        }
        Progress::Incomplete => {
            html.put(
                "<td class=\"num\"><span class=\"unsure\">more than ",
                phrases::span(&up.took),
                "",
            )
            .lit("</span></td>");
        }
        Progress::Abandoned => {
            html.lit("<td class=\"num\">taken back</td>");
        }
    }
    let since = up.stages[0].filter(|_| up.progress == Progress::Complete);
    let since = since.map(|lag| figures::nanos(lag.span.0.saturating_add(up.took.span.0)));
    html.put("<td class=\"num\">", since.unwrap_or_else(|| figures::NONE.into()), "</td></tr>\n");
}

fn starts(html: &mut Html, analysis: &Analysis) {
    let starts = &analysis.starts;
    html.put("<p>", figures::counted(starts.pods, "pod"), " ")
        .put("were made while traffic ran, for whatever reason, and ", starts.served, "")
        .lit(" of them took traffic:</p>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Stage of a pod’s start</th><th scope=\"col\" class=\"num\">Median</th><th scope=\"col\" class=\"num\">Slowest</th><th scope=\"col\" class=\"num\">Each ±</th><th scope=\"col\" class=\"num\">Pods</th></tr></thead><tbody>\n");
    for (stage, found) in Stage::OF_POD.iter().zip(&starts.stages) {
        start_row(html, stage.name(), found);
    }
    start_row(html, "from made to taking traffic", &starts.total);
    html.lit("</tbody></table></div>\n");
}

fn start_row(html: &mut Html, name: &'static str, stage: &StartStage) {
    let figure = |ns: u64| if stage.known > 0 { figures::nanos(ns) } else { figures::NONE.into() };
    html.put("<tr><th scope=\"row\">", name, "</th>")
        .put("<td class=\"num\">", figure(stage.median.0), "</td>")
        .put("<td class=\"num\">", figure(stage.slowest.0), "</td>")
        .put("<td class=\"num\">", figure(stage.precision.0), "</td>")
        .put("<td class=\"num\">", figures::count(stage.known), "</td></tr>\n");
}

/// What a table of [`ROWS_MAX`] rows leaves out.
pub(super) fn more(html: &mut Html, rows: usize) {
    if let Some(more @ 1..) = rows.checked_sub(ROWS_MAX) {
        html.put("<p class=\"muted\">… and ", figures::count(more as u64), " more.</p>\n");
    }
}
