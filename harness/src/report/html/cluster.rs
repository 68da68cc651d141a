//! What else was seen of the cluster: gaps, generators, nodes, pods, events, the use of the API.

use super::{
    super::{clean, figures, phrases},
    scaling::more,
    writer::Html,
};
use crate::analyze::{
    Analysis,
    cluster::{ApiPoint, ClusterNote, Gap, Generator, NodeChange, Unschedulable},
    scaling::{COARSE, Moment, PodStart},
};

/// More rows than this of a table are not listed.
const ROWS_MAX: usize = 200;
/// Characters of a message.
const MESSAGE_CHARS: usize = 400;
/// Rows of the use of the API.
const API_ROWS: usize = 12;

/// All of it; nothing if nothing was seen.
pub(super) fn cluster(html: &mut Html, analysis: &Analysis) {
    let known = &analysis.cluster;
    let has_nodes = analysis.pod_starts.iter().any(|pod| pod.node.is_some());
    let is_empty = known.gaps.is_empty()
        && known.unschedulable.is_empty()
        && known.nodes.is_empty()
        && known.events.is_empty()
        && known.api.is_empty()
        && known.generators.is_empty()
        && !has_nodes;
    if is_empty {
        return;
    }
    html.lit("<section id=\"cluster\"><h2>The cluster</h2>\n");
    unschedulable(html, &known.unschedulable);
    api(html, &known.api);
    generators(html, analysis, &known.generators);
    gaps(html, &known.gaps);
    nodes(html, &known.nodes);
    if has_nodes {
        pods(html, &analysis.pod_starts);
    }
    events(html, &known.events);
    html.lit("</section>\n");
}

/// Opens a folded table of so many rows.
fn folded(html: &mut Html, rows: usize, (one, many): (&str, &str), head: &'static str) {
    let summary = format!("{} {}", figures::count(rows as u64), if rows == 1 { one } else { many });
    html.put("<details><summary>", summary, "</summary>\n")
        .lit("<div class=\"scroll\"><table class=\"wide\"><thead><tr>")
        .lit(head)
        .lit("</tr></thead><tbody>\n");
}

fn end(html: &mut Html, rows: usize) {
    html.lit("</tbody></table></div>\n");
    more(html, rows);
    html.lit("</details>\n");
}

fn message(text: &str) -> String {
    clean::shorten(&clean::line(text), MESSAGE_CHARS)
}

fn unschedulable(html: &mut Html, pods: &[Unschedulable]) {
    if pods.is_empty() {
        return;
    }
    html.put("<p><span class=\"no\">", figures::counted(pods.len() as u64, "pod"), "")
        .lit(" found no node.</span> What the scheduler said last:</p>\n<ul class=\"doubts\">");
    for waits in pods.iter().take(ROWS_MAX) {
        html.put("<li><code>", &waits.pod, "</code> ").put(
            "from ",
            figures::instant(waits.at),
            " ",
        );
        match waits.until {
            Some(until) => html.put("to ", figures::instant(until), ""),
            None => html.lit("to the end"),
        };
        html.put(": ", message(&waits.message), "</li>");
    }
    html.lit("</ul>\n");
    more(html, pods.len());
}

fn api(html: &mut Html, points: &[ApiPoint]) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let share = |n: u64| figures::share(n, last.requests);
    html.put("<p>The pods asked the API server ", figures::count(last.requests), " times: ")
        .put("", figures::count(last.conflicts), " conflicts (409, ")
        .put("", share(last.conflicts), "), ")
        .put("", figures::count(last.throttled), " throttled (429, ")
        .put("", share(last.throttled), "), ")
        .put("", figures::count(last.errors), " other errors.</p>\n");
    html.lit("<details><summary>Over time</summary>\n<div class=\"scroll\"><table><thead><tr><th scope=\"col\" class=\"num\">Until</th><th scope=\"col\" class=\"num\">Requests per second</th><th scope=\"col\" class=\"num\">Conflicts per second</th><th scope=\"col\" class=\"num\">Throttled per second</th></tr></thead><tbody>\n");
    let seconds = last.at.since(first.at).as_secs_f64() / API_ROWS as f64;
    let mut before = *first;
    for row in 1..=API_ROWS {
        let until = first.at.as_secs_f64() + seconds * row as f64;
        let reached = points.iter().rfind(|point| point.at.as_secs_f64() <= until + 1e-6);
        let now = reached.copied().unwrap_or(before);
        let lasted = now.at.since(before.at).as_secs_f64();
        if lasted <= 0.0 {
            continue;
        }
        let rate = |of: fn(&ApiPoint) -> u64| {
            phrases::amount(of(&now).saturating_sub(of(&before)) as f64 / lasted)
        };
        html.put("<tr><th scope=\"row\" class=\"num\">", figures::instant(now.at), "</th>")
            .put("<td class=\"num\">", rate(|point| point.requests), "</td>")
            .put("<td class=\"num\">", rate(|point| point.conflicts), "</td>")
            .put("<td class=\"num\">", rate(|point| point.throttled), "</td></tr>\n");
        before = now;
    }
    html.lit("</tbody></table></div></details>\n");
}

fn generators(html: &mut Html, analysis: &Analysis, all: &[Generator]) {
    let Some(summary) = phrases::generators(analysis) else { return };
    let lost = all.iter().any(|generator| generator.lost.is_some());
    html.lit(if lost { "<details open>" } else { "<details>" });
    html.put("<summary>", summary, "</summary>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">Generator</th><th scope=\"col\">Pod</th><th scope=\"col\">Node</th><th scope=\"col\" class=\"num\">Clock ahead of the harness</th><th scope=\"col\" class=\"num\">±</th><th scope=\"col\">Lost</th></tr></thead><tbody>\n");
    for generator in all.iter().take(ROWS_MAX) {
        let sign = if generator.offset_ns < 0 { "−" } else { "" };
        let offset = figures::nanos(generator.offset_ns.unsigned_abs());
        html.put("<tr><th scope=\"row\" class=\"num\">", generator.number, "</th>")
            .put("<td><code>", &generator.pod, "</code></td>")
            .put("<td>", &generator.node, "</td>")
            .put("<td class=\"num\">", sign, "")
            .put("", offset, "</td>")
            .put("<td class=\"num\">", figures::nanos(generator.uncertainty.0), "</td>");
        match &generator.lost {
            None => html.lit("<td>no</td></tr>\n"),
            Some(lost) => html
                .put("<td><span class=\"no\">at ", figures::instant(lost.at), ":</span> ")
                .put("", message(&lost.reason), "; ")
                .put("", figures::count(lost.unsent), " unsent</td></tr>\n"),
        };
    }
    html.lit("</tbody></table></div>\n");
    more(html, all.len());
    html.lit("</details>\n");
}

fn gaps(html: &mut Html, gaps: &[Gap]) {
    if gaps.is_empty() {
        return;
    }
    folded(
        html,
        gaps.len(),
        ("time without news", "times without news"),
        "<th scope=\"col\" class=\"num\">From</th><th scope=\"col\" class=\"num\">To</th><th scope=\"col\" class=\"num\">Lasted</th><th scope=\"col\">Of what</th><th scope=\"col\">Why</th>",
    );
    for gap in gaps.iter().take(ROWS_MAX) {
        html.put("<tr><th scope=\"row\" class=\"num\">", figures::instant(gap.from), "</th>")
            .put("<td class=\"num\">", figures::instant(gap.to), "</td>")
            .put("<td class=\"num\">", figures::nanos(gap.to.since(gap.from).0), "</td>")
            .put("<td>", message(&gap.what.join(", ")), "</td>")
            .put("<td>", message(&gap.reason), "</td></tr>\n");
    }
    end(html, gaps.len());
}

fn nodes(html: &mut Html, nodes: &[NodeChange]) {
    if nodes.is_empty() {
        return;
    }
    folded(
        html,
        nodes.len(),
        ("change of a node", "changes of nodes"),
        "<th scope=\"col\" class=\"num\">At</th><th scope=\"col\">Node</th><th scope=\"col\">Condition</th><th scope=\"col\">Status</th><th scope=\"col\">Why</th>",
    );
    for change in nodes.iter().take(ROWS_MAX) {
        html.put("<tr><th scope=\"row\" class=\"num\">", figures::instant(change.at), "</th>")
            .put("<td><code>", &change.node, "</code></td>")
            .put("<td>", &change.condition, "</td>")
            .put("<td>", &change.status, "</td>")
            .put("<td>", &change.reason, "</td></tr>\n");
    }
    end(html, nodes.len());
}

fn pods(html: &mut Html, pods: &[PodStart]) {
    folded(
        html,
        pods.len(),
        ("pod", "pods"),
        "<th scope=\"col\">Pod</th><th scope=\"col\">Node</th><th scope=\"col\" class=\"num\">Made</th><th scope=\"col\" class=\"num\">Has a node</th><th scope=\"col\" class=\"num\">Container runs</th><th scope=\"col\" class=\"num\">Ready</th><th scope=\"col\" class=\"num\">Endpoint</th><th scope=\"col\" class=\"num\">Deleted</th>",
    );
    for pod in pods.iter().take(ROWS_MAX) {
        html.put("<tr><th scope=\"row\"><code>", &pod.pod, "</code></th>").put(
            "<td>",
            pod.node.as_deref().unwrap_or(figures::NONE),
            "</td>",
        );
        for moment in [Some(pod.created), pod.scheduled, pod.started, pod.ready, pod.serving] {
            instant(html, moment);
        }
        let deleted = pod.deleted.map_or_else(|| figures::NONE.into(), figures::instant);
        html.put("<td class=\"num\">", deleted, "</td></tr>\n");
    }
    end(html, pods.len());
}

fn instant(html: &mut Html, moment: Option<Moment>) {
    let Some(moment) = moment else {
        html.put("<td class=\"num\">", figures::NONE, "</td>");
        return;
    };
    html.put("<td class=\"num\">", figures::instant(moment.at), "");
    if moment.precision >= COARSE {
        html.put(" <small>± ", figures::nanos(moment.precision.0), "</small>");
    }
    html.lit("</td>");
}

/// The first half of the rows that fit, and the last.
fn events(html: &mut Html, events: &[ClusterNote]) {
    if events.is_empty() {
        return;
    }
    folded(
        html,
        events.len(),
        ("event of the cluster", "events of the cluster"),
        "<th scope=\"col\" class=\"num\">Last at</th><th scope=\"col\">Object</th><th scope=\"col\">Reason</th><th scope=\"col\">Message</th><th scope=\"col\" class=\"num\">Times</th>",
    );
    let left_out = events.len().saturating_sub(ROWS_MAX);
    for (index, note) in events.iter().enumerate() {
        if left_out > 0 && index == ROWS_MAX / 2 {
            html.put(
                "<tr><td colspan=\"5\" class=\"muted\">… ",
                figures::count(left_out as u64),
                "",
            )
            .lit(" in between are left out …</td></tr>\n");
        }
        if (ROWS_MAX / 2..ROWS_MAX / 2 + left_out).contains(&index) {
            continue;
        }
        let class = if note.warning { "unsure" } else { "" };
        html.put("<tr><th scope=\"row\" class=\"num\">", figures::instant(note.at), "</th>")
            .put("<td><code>", message(&note.object), "</code></td>")
            .put("<td><span class=\"", class, "\">")
            .put("", message(&note.reason), "</span></td>")
            .put("<td>", message(&note.message), "</td>")
            .put("<td class=\"num\">", note.count, "</td></tr>\n");
    }
    html.lit("</tbody></table></div>\n</details>\n");
}
