//! A short summary in Markdown, for a terminal or a comment on a pull request.

use std::fmt::Write as _;

use super::{clean, figures, phrases};
use crate::analyze::{Analysis, Loss, Verdict};

/// More causes than this are not listed.
const LOSSES_MAX: usize = 8;
/// More rows than this of a table are not listed.
const ROWS_MAX: usize = 20;
/// More pods than this are not named.
const PODS_MAX: usize = 5;

/// Renders the summary.
///
/// *Behaviour*: text from a file cannot become markup, a mention or a link; patches stand in fences
/// that they cannot close.
pub fn render(analysis: &Analysis) -> String {
    let mut out = String::new();
    let _ = write_all(&mut out, analysis);
    out
}

fn write_all(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    let sign = match analysis.verdict {
        Verdict::Met => "✅",
        Verdict::Missed => "❌",
        Verdict::Untrusted => "❔",
        Verdict::Aborted => "⏹️",
    };
    let word = analysis.verdict.name().to_uppercase();
    writeln!(out, "### {sign} {word}: {}\n", escape(&analysis.scenario))?;
    writeln!(out, "{}\n", escape(&analysis.sentence))?;
    if !analysis.audit.trusted {
        writeln!(out, "**The numbers below cannot be trusted:**\n")?;
        for reason in &analysis.audit.reasons {
            writeln!(out, "- {}", escape(reason))?;
        }
        writeln!(out)?;
    }
    for warning in &analysis.audit.warnings {
        writeln!(out, "> {}\n", escape(warning))?;
    }
    counts(out, analysis)?;
    if let Some(closed) = phrases::closed_loop(analysis) {
        writeln!(out, "**Rate:** {}\n", escape(&closed))?;
    }
    losses(out, analysis)?;
    retries(out, analysis)?;
    findings(out, analysis)?;
    percentiles(out, analysis)?;
    scaling(out, analysis)?;
    objectives(out, analysis)?;
    writeln!(
        out,
        "<sub>Highwater, {} run, seed {}, path {}; {} pod-hours{}</sub>",
        analysis.backend.name(),
        analysis.seed,
        escape(&analysis.path),
        figures::hours(analysis.pod_hours),
        phrases::cost(analysis).map(|cost| format!(", {cost}")).unwrap_or_default()
    )
}

fn counts(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    let requests = &analysis.requests;
    writeln!(out, "| owed | ok | failed | unsent |")?;
    writeln!(out, "| ---: | ---: | ---: | ---: |")?;
    writeln!(
        out,
        "| {} | {} | {} | {} |\n",
        figures::count(requests.owed),
        figures::count(requests.ok),
        figures::count(requests.failed),
        figures::count(requests.unsent)
    )?;
    if requests.pending > 0 {
        writeln!(out, "{} of unknown outcome.\n", figures::counted(requests.pending, "request"))?;
    }
    writeln!(
        out,
        "{}\n",
        figures::transitions(&analysis.transitions, figures::lost(&analysis.requests))
    )
}

fn losses(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    if analysis.losses.is_empty() {
        return unexplained(out, analysis);
    }
    writeln!(out, "#### Lost, by cause\n")?;
    for loss in analysis.losses.iter().take(LOSSES_MAX) {
        self::loss(out, loss)?;
    }
    if let Some(more @ 1..) = analysis.losses.len().checked_sub(LOSSES_MAX) {
        writeln!(out, "- … and {}", figures::counted(more as u64, "more cause"))?;
    }
    writeln!(out)?;
    unexplained(out, analysis)
}

/// What went wrong with pods, whether it lost a request or not.
fn retries(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    if let Some(pods) = phrases::passed_over(analysis) {
        writeln!(out, "**Passed over by the proxy for failures:** {pods}.\n")?;
    }
    let Some(told) = phrases::retries(analysis) else { return Ok(()) };
    writeln!(out, "**Retries:** {}.\n", escape(&told))?;
    if analysis.retries.by_cause.is_empty() {
        return Ok(());
    }
    writeln!(out, "| rescued by a retry | requests | seen |")?;
    writeln!(out, "| --- | ---: | --- |")?;
    for loss in analysis.retries.by_cause.iter().take(LOSSES_MAX) {
        let count = figures::count(loss.count);
        writeln!(out, "| {} | {count} | {} |", loss.cause.title(), escape(&loss.evidence))?;
    }
    if let Some(more @ 1..) = analysis.retries.by_cause.len().checked_sub(LOSSES_MAX) {
        writeln!(out, "| … and {} | | |", figures::counted(more as u64, "more cause"))?;
    }
    writeln!(out)
}

fn findings(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    if analysis.findings.is_empty() {
        return Ok(());
    }
    writeln!(out, "#### What else went wrong\n")?;
    for finding in &analysis.findings {
        let (title, advice) = (finding.kind.title(), finding.kind.advice());
        writeln!(out, "- **{title}.** {}. **Fix:** {}", escape(&finding.evidence), escape(advice))?;
    }
    writeln!(out)
}

fn unexplained(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    match figures::untold(analysis) {
        0 => Ok(()),
        untold => writeln!(out, "Unexplained: {}.\n", figures::count(untold)),
    }
}

fn loss(out: &mut String, loss: &Loss) -> std::fmt::Result {
    write!(out, "- **{}: {} lost**", loss.cause.title(), figures::count(loss.count))?;
    if !loss.pods.is_empty() {
        let named: Vec<String> = loss.pods.iter().take(PODS_MAX).map(|pod| code(pod)).collect();
        write!(out, " on {}", named.join(", "))?;
        if let Some(more @ 1..) = loss.pods.len().checked_sub(PODS_MAX) {
            write!(out, " and {more} more")?;
        }
    }
    writeln!(out, ". {}", escape(&loss.evidence))?;
    if !loss.fix.advice.trim().is_empty() {
        writeln!(out, "  **Fix:** {}", escape(&loss.fix.advice))?;
    }
    if let Some(patch) = loss.fix.scenario_patch.as_ref().or(loss.fix.deployment_patch.as_ref()) {
        fence(out, patch)?;
    }
    Ok(())
}

fn percentiles(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    writeln!(out, "| | p50 | p90 | p99 | p99.9 | max |")?;
    writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
    for (name, of) in [
        ("latency", &analysis.latency),
        ("service time", &analysis.service_time),
        ("send lag", &analysis.send_lag),
    ] {
        write!(out, "| {name} |")?;
        for value in [of.p50, of.p90, of.p99, of.p999, of.max] {
            write!(out, " {} |", figures::percentile(of, value))?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

fn scaling(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    for (name, text) in [
        ("Autoscaler", phrases::autoscaler(analysis)),
        ("Time to scale", phrases::time_to_scale(analysis)),
        ("Scorecard", phrases::scorecard(analysis)),
        ("Load", phrases::generators(analysis)),
    ] {
        if let Some(text) = text {
            writeln!(out, "**{name}:** {}\n", escape(&text))?;
        }
    }
    Ok(())
}

fn objectives(out: &mut String, analysis: &Analysis) -> std::fmt::Result {
    if analysis.objectives.is_empty() {
        return Ok(());
    }
    writeln!(out, "| objective | found | |")?;
    writeln!(out, "| --- | ---: | --- |")?;
    for objective in analysis.objectives.iter().take(ROWS_MAX) {
        let result = match (objective.met, objective.value) {
            (true, _) => "✅ met",
            (false, Some(_)) => "❌ **missed**",
            (false, None) => "❔ unknown",
        };
        writeln!(out, "| {} | {} | {result} |", code(&objective.name), escape(&objective.shown))?;
    }
    if let Some(more @ 1..) = analysis.objectives.len().checked_sub(ROWS_MAX) {
        writeln!(out, "| … and {more} more | | |")?;
    }
    writeln!(out)
}

/// One line of text in which nothing is markup, a mention, a link or a reference.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean::line(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '@' => escaped.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '$' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    // Hosts that are not links are not followed by accident.
    escaped.replace("://", ":&#47;/").replace("www.", "www&#46;")
}

/// A name in a code span that it cannot close.
pub(super) fn code(name: &str) -> String {
    let name = clean::line(name).replace('|', "\\|");
    let ticks = "`".repeat(longest_run(&name) + 1);
    let pad =
        if name.starts_with('`') || name.ends_with('`') || name.is_empty() { " " } else { "" };
    format!("{ticks}{pad}{name}{pad}{ticks}")
}

/// A patch in a fence that it cannot close.
fn fence(out: &mut String, patch: &str) -> std::fmt::Result {
    let patch = clean::block(patch);
    let ticks = "`".repeat(longest_run(&patch).max(2) + 1);
    writeln!(out, "\n  {ticks}yaml")?;
    for line in patch.trim_end().lines() {
        writeln!(out, "  {line}")?;
    }
    writeln!(out, "  {ticks}")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let rows = [
            ("a_b|c", "a\\_b\\|c"),
            ("<img src=x> @all #1", "&lt;img src=x> &#64;all \\#1"),
            ("see http://x/ [y](z)", "see http:&#47;/x/ \\[y\\](z)"),
            ("two\nlines\u{202e}", "two lines\\\\u{202e}"),
        ];
        for (text, escaped) in rows {
            assert_eq!(escape(text), escaped);
        }
        assert_eq!(code("a``b"), "```a``b```");
        let mut fenced = String::new();
        fence(&mut fenced, "a: 1\n```\nb: 2\n").expect("a string takes it");
        assert_eq!(fenced, "\n  ````yaml\n  a: 1\n  ```\n  b: 2\n  ````\n");
    }
}
