//! Verdict, trust and objectives: what a reader sees first.

use super::{
    super::{figures, phrases},
    writer::Html,
};
use crate::{
    analyze::{Analysis, Verdict, audit::AuditFact},
    record::EndReason,
};

/// The mark and the word of a verdict.
const fn mark(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Met => ("✓", "Met"),
        Verdict::Missed => ("✕", "Missed"),
        Verdict::Untrusted => ("?", "Untrusted"),
        Verdict::Aborted => ("■", "Aborted"),
    }
}

/// The verdict in one sentence, and the numbers behind it.
pub(super) fn banner(html: &mut Html, analysis: &Analysis) {
    let (sign, word) = mark(analysis.verdict);
    html.put("<header class=\"banner ", analysis.verdict.name(), "\">\n")
        .put("<p class=\"kicker\">Highwater · ", analysis.backend.name(), " run")
        .put(" · seed ", analysis.seed, "</p>\n")
        .put("<h1>", &analysis.scenario, "</h1>\n");
    if !analysis.description.trim().is_empty() {
        html.put("<p class=\"about\">", &analysis.description, "</p>\n");
    }
    html.put("<p class=\"verdict\"><strong class=\"mark\"><span aria-hidden=\"true\">", sign, "")
        .put("</span> ", word, "</strong> ")
        .put("<span class=\"sentence\">", &analysis.sentence, "</span></p>\n");
    caveat(html, analysis);
    numbers(html, analysis);
    html.lit("</header>\n");
}

/// Above the numbers: why they must not be believed, or are not all.
fn caveat(html: &mut Html, analysis: &Analysis) {
    let reasons = &analysis.audit.reasons;
    if analysis.verdict == Verdict::Untrusted || !analysis.audit.trusted {
        html.lit("<div class=\"caveat\" role=\"note\"><p><strong>The numbers below cannot be trusted.</strong>");
        match reasons.as_slice() {
            [] => html.lit(" The generator's own judgement is not good enough.</p>"),
            [reason] => html.put(" ", reason, "</p>"),
            reasons => {
                html.lit("</p><ul>");
                for reason in reasons {
                    html.put("<li>", reason, "</li>");
                }
                html.lit("</ul>")
            }
        };
        html.lit("</div>\n");
    }
    if let Some(gaps) = phrases::gaps(analysis) {
        html.put("<div class=\"caveat\" role=\"note\"><p>", gaps, " ").lit(
            "What happened is known by its effects. Requests were counted all the same.</p></div>\n",
        );
    }
    let early = match analysis.end_reason {
        Some(EndReason::Completed) if analysis.verdict == Verdict::Aborted => "before it was done",
        Some(EndReason::Completed) => return,
        Some(EndReason::Interrupted) => "by an interruption",
        Some(EndReason::Failed) => "because it could not be carried out",
        None => "and its record was cut off",
    };
    html.put(
        "<div class=\"caveat\" role=\"note\"><p><strong>The run ended early, ",
        early,
        ".</strong> The numbers below count what happened until then.</p></div>\n",
    );
}

fn numbers(html: &mut Html, analysis: &Analysis) {
    let requests = &analysis.requests;
    html.lit("<dl class=\"numbers\">");
    let mut number = |name: &'static str, class: &'static str, n: u64, share: bool| {
        html.put("<div class=\"", class, "\"><dt>")
            .put("", name, "</dt><dd>")
            .text(figures::count(n));
        if share {
            html.put(" <small>", figures::share(n, requests.owed), "</small>");
        }
        html.lit("</dd></div>");
    };
    let class = |n: u64, class| if n > 0 { class } else { "zero" };
    number("owed", "", requests.owed, false);
    number("answered well", "", requests.ok, requests.owed > 0);
    number("failed", class(requests.failed, "loss"), requests.failed, requests.failed > 0);
    number("not sent", class(requests.unsent, "doubt"), requests.unsent, requests.unsent > 0);
    if requests.pending > 0 {
        number("outcome unknown", "doubt", requests.pending, true);
    }
    html.lit("</dl>\n");
    why(html, analysis);
}

/// The top cause, or what no loss proves.
fn why(html: &mut Html, analysis: &Analysis) {
    let lost = figures::lost(&analysis.requests);
    let Some(top) = analysis.losses.first() else {
        if lost == 0 {
            html.put(
                "<p class=\"why\">",
                figures::transitions(&analysis.transitions, figures::lost(&analysis.requests)),
                "</p>\n",
            );
        }
        return;
    };
    html.put("<p class=\"why\"><span class=\"loss\">", figures::count(top.count), "")
        .put(" of ", figures::count(lost.max(top.count)), "")
        .put(" lost to: <a href=\"#losses\">", top.cause.title(), "</a>.</span> ")
        .put("", top.cause.meaning(), "");
    match analysis.losses.len() - 1 {
        0 => {}
        more => {
            html.put(" <a href=\"#losses\">", figures::counted(more as u64, "more cause"), ".</a>");
        }
    }
    html.lit("</p>\n");
}

/// Whether this run can be trusted.
pub(super) fn trust(html: &mut Html, analysis: &Analysis) {
    let audit = &analysis.audit;
    html.lit("<section id=\"trust\"><h2>Can this run be trusted?</h2>\n");
    if audit.trusted {
        html.lit("<p><span class=\"yes\">✓ Yes.</span> The generator kept its own bounds.</p>\n");
    } else {
        html.lit("<p><span class=\"no\">✕ No.</span></p>\n<ul class=\"doubts\">");
        for reason in &audit.reasons {
            html.put("<li>", reason, "</li>");
        }
        html.lit("</ul>\n");
    }
    if !audit.warnings.is_empty() {
        html.lit("<p>What weakens the numbers:</p>\n<ul class=\"doubts\">");
        for warning in &audit.warnings {
            html.put("<li>", warning, "</li>");
        }
        html.lit("</ul>\n");
    }
    facts(html, &audit.facts);
    html.lit("</section>\n");
}

/// What was measured; closed if all of it holds, because then it says no more than its summary.
fn facts(html: &mut Html, facts: &[AuditFact]) {
    if facts.is_empty() {
        return;
    }
    let hold = facts.iter().filter(|fact| fact.holds).count();
    html.lit(if hold < facts.len() { "<details open>" } else { "<details>" });
    html.put("<summary>", hold, " of ").put("", facts.len(), " bounds hold</summary>\n");
    html.lit("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Measured of the generator</th><th scope=\"col\" class=\"num\">Found</th><th scope=\"col\" class=\"num\">Demanded</th><th scope=\"col\">Holds</th></tr></thead><tbody>\n");
    for fact in facts {
        html.put("<tr><th scope=\"row\">", &fact.name, "</th>")
            .put("<td class=\"num\">", &fact.found, "</td>")
            .put("<td class=\"num\">", &fact.bound, "</td>");
        holds(html, fact.holds, "holds", "broken");
        html.lit("</tr>\n");
    }
    html.lit("</tbody></table></div></details>\n");
}

fn holds(html: &mut Html, holds: bool, yes: &'static str, no: &'static str) {
    if holds {
        html.put("<td><span class=\"yes\">✓ ", yes, "</span></td>");
    } else {
        html.put("<td><span class=\"no\">✕ ", no, "</span></td>");
    }
}

/// What had to hold.
pub(super) fn objectives(html: &mut Html, analysis: &Analysis) {
    html.lit("<section id=\"objectives\"><h2>Objectives</h2>\n");
    if analysis.objectives.is_empty() {
        html.lit("<p class=\"muted\">The scenario states none.</p></section>\n");
        return;
    }
    html.lit("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Objective</th><th scope=\"col\" class=\"num\">Found</th><th scope=\"col\">Result</th></tr></thead><tbody>\n");
    for objective in &analysis.objectives {
        html.put("<tr><th scope=\"row\"><code>", &objective.name, "</code></th>").put(
            "<td class=\"num\">",
            &objective.shown,
            "</td>",
        );
        if objective.value.is_none() && !objective.met {
            html.lit("<td><span class=\"unsure\">? unknown</span></td>");
        } else {
            holds(html, objective.met, "met", "missed");
        }
        html.lit("</tr>\n");
    }
    html.lit("</tbody></table></div></section>\n");
}
