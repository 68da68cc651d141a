//! What `run` prints at its end: a page of a terminal at most, without colours.

use std::fmt::Write as _;

use super::{clean, figures, phrases};
use crate::analyze::{Analysis, Loss};

/// More causes than this are only counted.
const LOSSES_MAX: usize = 4;
/// More objectives than this are only counted.
const OBJECTIVES_MAX: usize = 5;
/// More reasons of distrust than this are only counted.
const REASONS_MAX: usize = 3;
/// Longer lines are cut.
const LINE_CHARS: usize = 160;
/// Width of the first column.
const MARGIN: usize = 13;

/// Renders the summary: at most 25 lines.
pub fn render(analysis: &Analysis) -> String {
    let mut lines = Lines(String::new());
    let verdict = analysis.verdict.name().to_uppercase();
    lines.push(&verdict, &clean::line(&analysis.sentence));
    if !analysis.audit.trusted {
        distrust(&mut lines, &analysis.audit.reasons);
    }
    if let Some(gaps) = phrases::gaps(analysis) {
        lines.push("watch", &gaps);
    }
    counts(&mut lines, analysis);
    if let Some(closed) = phrases::closed_loop(analysis) {
        lines.push("rate", &closed);
    }
    for loss in analysis.losses.iter().take(LOSSES_MAX) {
        self::loss(&mut lines, loss);
    }
    if let Some(more @ 1..) = analysis.losses.len().checked_sub(LOSSES_MAX) {
        lines.push("", &format!("and {}", figures::counted(more as u64, "more cause")));
    }
    if let untold @ 1.. = figures::untold(analysis) {
        lines.push("unexplained", &figures::count(untold));
    }
    if let Some(found) = phrases::findings(analysis) {
        lines.push("found", &clean::line(&found));
    }
    if let Some(rescued) = phrases::retries(analysis) {
        lines.push("retries", &clean::line(&rescued));
    }
    if let Some(pods) = phrases::passed_over(analysis) {
        lines.push("passed over", &pods);
    }
    let of = &analysis.latency;
    let latency = [("p50", of.p50), ("p90", of.p90), ("p99", of.p99), ("p99.9", of.p999)]
        .map(|(name, value)| format!("{name} {}", figures::percentile(of, value)));
    lines.push("latency", &latency.join("   "));
    lines.push(
        "transitions",
        &figures::transitions(&analysis.transitions, figures::lost(&analysis.requests)),
    );
    let retries = &analysis.retries;
    let told = scaling(&mut lines, analysis)
        + usize::from(retries.attempts > 0)
        + usize::from(retries.ejections > 0);
    // Where there is most to tell, the page is full.
    let room =
        if analysis.audit.trusted { OBJECTIVES_MAX } else { OBJECTIVES_MAX.saturating_sub(told) };
    objectives(&mut lines, analysis, room);
    if analysis.audit.trusted {
        let warnings = match analysis.audit.warnings.as_slice() {
            [] => String::new(),
            [warning] => format!("; {}", clean::line(warning)),
            [warning, more @ ..] => format!(
                "; {} (and {})",
                clean::line(warning),
                figures::counted(more.len() as u64, "more warning")
            ),
        };
        lines.push("trust", &format!("yes{warnings}"));
    }
    lines.0
}

/// Lines of two columns.
struct Lines(String);

impl Lines {
    /// The first column is empty where it would say the same as the line before.
    fn push(&mut self, name: &str, text: &str) {
        let line = format!("{name:<MARGIN$}{text}");
        let line = clean::shorten(line.trim_end(), LINE_CHARS);
        // A String takes whatever is written.
        let _ = writeln!(self.0, "{line}");
    }
}

fn distrust(lines: &mut Lines, reasons: &[String]) {
    lines.push("trust", "NO: the numbers below cannot be believed");
    for reason in reasons.iter().take(REASONS_MAX) {
        lines.push("", &format!("- {}", clean::line(reason)));
    }
    if let Some(more @ 1..) = reasons.len().checked_sub(REASONS_MAX) {
        lines.push("", &format!("- and {}", figures::counted(more as u64, "more reason")));
    }
}

fn counts(lines: &mut Lines, analysis: &Analysis) {
    let requests = &analysis.requests;
    let mut text = format!(
        "{} owed   {} ok   {} failed   {} unsent",
        figures::count(requests.owed),
        figures::count(requests.ok),
        figures::count(requests.failed),
        figures::count(requests.unsent)
    );
    if requests.pending > 0 {
        let _ = write!(text, "   {} unknown", figures::count(requests.pending));
    }
    lines.push("requests", &text);
}

fn loss(lines: &mut Lines, loss: &Loss) {
    let pods = match loss.pods.len() {
        0 => String::new(),
        1..=3 => format!(" on {}", clean::line(&loss.pods.join(", "))),
        n => format!(" on {n} pods"),
    };
    lines.push("lost", &format!("{}  {}{pods}", figures::count(loss.count), loss.cause.title()));
    if !loss.fix.advice.trim().is_empty() {
        lines.push("", &format!("→ {}", clean::line(&loss.fix.advice)));
    }
}

/// Autoscaler, time to scale, scorecard, and generators with the cost; how many lines that took, with that of
/// the watch.
fn scaling(lines: &mut Lines, analysis: &Analysis) -> usize {
    let mut told = usize::from(!analysis.cluster.gaps.is_empty());
    let mut push = |name: &str, text: Option<String>| {
        if let Some(text) = text {
            lines.push(name, &clean::line(&text));
            told += 1;
        }
    };
    push("autoscaler", phrases::autoscaler(analysis));
    push("scale-up", phrases::time_to_scale(analysis));
    push("scorecard", phrases::scorecard(analysis));
    let cost = || phrases::cost(analysis).map(|cost| format!("; {cost}")).unwrap_or_default();
    push("load", phrases::generators(analysis).map(|text| text + &cost()));
    told
}

/// Those that are missed first.
fn objectives(lines: &mut Lines, analysis: &Analysis, room: usize) {
    let mut objectives: Vec<_> = analysis.objectives.iter().collect();
    objectives.sort_by_key(|objective| objective.met);
    for (index, objective) in objectives.iter().take(room).enumerate() {
        let result = match (objective.met, objective.value) {
            (true, _) => "met",
            (false, Some(_)) => "MISSED",
            (false, None) => "unknown",
        };
        let shown = clean::line(&objective.shown);
        lines.push(
            if index == 0 { "objectives" } else { "" },
            &format!("{result:<7}  {}: {shown}", clean::line(&objective.name)),
        );
    }
    if let Some(more @ 1..) = objectives.len().checked_sub(room) {
        let met = objectives[room..].iter().filter(|one| one.met).count();
        lines.push("", &format!("and {more} more, {met} of them met"));
    }
}
