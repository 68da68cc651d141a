//! Why requests were lost, and what stops it.

use super::{
    super::{clean, figures},
    writer::Html,
};
use crate::analyze::{Analysis, Example, Fix, Loss};

/// More pods than this are not named.
const PODS_MAX: usize = 12;

/// Losses by cause, most first.
pub(super) fn losses(html: &mut Html, analysis: &Analysis) {
    let lost = figures::lost(&analysis.requests);
    let none = lost == 0 && analysis.losses.is_empty();
    let title = if none { "Losses" } else { "Why requests were lost" };
    html.put("<section id=\"losses\"><h2>", title, "</h2>\n");
    if none && analysis.requests.pending > 0 {
        html.lit("<p>No request is known to be lost; of some the outcome is unknown.</p>\n");
    } else if none {
        html.lit("<p><span class=\"yes\">✓ No request was lost.</span></p>\n");
    }
    let bound = figures::transitions(&analysis.transitions, lost);
    html.put("<p>", bound, "</p>\n");
    if analysis.losses.is_empty() {
        if lost > 0 {
            html.put("<p><span class=\"no\">", figures::counted(lost, "request"), "")
                .lit(" had no good answer,</span> and no cause was told.</p>\n");
        }
    } else {
        shares(html, analysis, lost);
        for loss in &analysis.losses {
            article(html, loss, lost);
        }
    }
    let untold = figures::untold(analysis);
    if untold > 0 {
        html.put("<p class=\"muted\">Unexplained: ", figures::count(untold), "")
            .lit(". Nothing in the record says why.</p>\n");
    }
    html.lit("</section>\n");
}

/// All causes at a glance, where there are several.
fn shares(html: &mut Html, analysis: &Analysis, lost: u64) {
    if analysis.losses.len() < 2 {
        return;
    }
    html.lit("<div class=\"scroll\"><table class=\"causes\"><thead><tr><th scope=\"col\">Cause</th><th scope=\"col\" class=\"num\">Lost</th><th scope=\"col\" class=\"num\">Share</th><th scope=\"col\" class=\"num\">Pods</th><th scope=\"col\" class=\"num\">First</th><th scope=\"col\" class=\"num\">Last</th></tr></thead><tbody>\n");
    for loss in &analysis.losses {
        html.put("<tr><th scope=\"row\"><a href=\"#cause-", loss.cause.name(), "\">")
            .put("", loss.cause.title(), "</a></th>")
            .put("<td class=\"num loss\">", figures::count(loss.count), "</td>")
            .put("<td class=\"num\">", figures::share(loss.count, lost), "</td>")
            .put("<td class=\"num\">", figures::count(loss.pods.len() as u64), "</td>")
            .put("<td class=\"num\">", figures::instant(loss.first), "</td>")
            .put("<td class=\"num\">", figures::instant(loss.last), "</td></tr>\n");
    }
    html.lit("</tbody></table></div>\n");
}

fn article(html: &mut Html, loss: &Loss, lost: u64) {
    html.put("<article class=\"cause\" id=\"cause-", loss.cause.name(), "\">\n<h3>")
        .put("", loss.cause.title(), " <span class=\"loss\">")
        .put("", figures::count(loss.count), " lost</span>")
        .put(" <small>", figures::share(loss.count, lost), " of all losses</small></h3>\n")
        .put("<p>", loss.cause.meaning(), "</p>\n<dl class=\"facts\">\n");
    if !loss.evidence.trim().is_empty() {
        html.put("<dt>Seen</dt><dd>", &loss.evidence, "</dd>\n");
    }
    html.put("<dt>When</dt><dd>", figures::instant(loss.first), "");
    if loss.last > loss.first {
        html.put(" to ", figures::instant(loss.last), "");
    }
    html.lit("</dd>\n");
    pods(html, &loss.pods);
    if !loss.by_outcome.is_empty() {
        html.lit("<dt>Outcomes</dt><dd><ul class=\"chips\">");
        for (outcome, n) in &loss.by_outcome {
            html.put("<li><code>", outcome, "</code> × ").put("", figures::count(*n), "</li>");
        }
        html.lit("</ul></dd>\n");
    }
    html.lit("</dl>\n");
    fix(html, &loss.fix);
    examples(html, &loss.examples);
    html.lit("</article>\n");
}

fn pods(html: &mut Html, pods: &[String]) {
    if pods.is_empty() {
        return;
    }
    html.lit("<dt>Pods</dt><dd><ul class=\"chips\">");
    for pod in pods.iter().take(PODS_MAX) {
        html.put("<li><code>", pod, "</code></li>");
    }
    if let Some(more @ 1..) = pods.len().checked_sub(PODS_MAX) {
        html.put("<li>and ", figures::count(more as u64), " more</li>");
    }
    html.lit("</ul></dd>\n");
}

fn fix(html: &mut Html, fix: &Fix) {
    let patches = [
        ("In the scenario", &fix.scenario_patch),
        ("In the Deployment (strategic merge patch)", &fix.deployment_patch),
    ];
    if fix.advice.trim().is_empty() && patches.iter().all(|(_, patch)| patch.is_none()) {
        return;
    }
    html.put(
        "<div class=\"fix\"><h4>What stops it</h4>\n<p>",
        &fix.advice,
        "</p>\n<div class=\"patches\">",
    );
    for (name, patch) in patches {
        if let Some(patch) = patch {
            html.put("<div class=\"patch\"><p>", name, "</p>").put(
                "<pre><code>",
                clean::block(patch).trim_end(),
                "</code></pre></div>\n",
            );
        }
    }
    html.lit("</div></div>\n");
}

fn examples(html: &mut Html, examples: &[Example]) {
    if examples.is_empty() {
        return;
    }
    html.put(
        "<details><summary>",
        figures::counted(examples.len() as u64, "example"),
        " in detail</summary>\n<ol class=\"examples\">",
    );
    for example in examples {
        html.put("<li><p><span class=\"num\">", figures::instant(example.at), "</span> ").put(
            "<code>",
            example.outcome,
            "</code>",
        );
        if let Some(pod) = &example.pod {
            html.put(" on <code>", pod, "</code>");
        }
        html.put("</p><p class=\"story\">", clean::block(&example.story), "</p></li>\n");
    }
    html.lit("</ol></details>\n");
}

/// What went wrong with pods, whether it lost a request or not.
pub(super) fn findings(html: &mut Html, analysis: &Analysis) {
    if analysis.findings.is_empty() {
        return;
    }
    html.lit("<section id=\"findings\"><h2>What else went wrong</h2>\n");
    for finding in &analysis.findings {
        html.put("<article class=\"cause\" id=\"finding-", finding.kind.name(), "\">\n<h3>")
            .put("", finding.kind.title(), "</h3>\n<dl class=\"facts\">\n")
            .put("<dt>Seen</dt><dd>", &finding.evidence, "</dd>\n");
        pods(html, &finding.pods);
        html.put("<dt>What stops it</dt><dd>", finding.kind.advice(), "</dd>\n</dl>\n</article>\n");
    }
    html.lit("</section>\n");
}
