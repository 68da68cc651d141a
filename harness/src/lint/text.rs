//! The report for people.

use std::fmt::Write as _;

use super::finding::{Finding, Report};
use crate::report::clean;

/// One block a finding, then the counts.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        block(&mut out, finding);
    }
    let [errors, warnings, notes] = report.counts();
    let mut counts = Vec::new();
    for (count, one) in [(errors, "error"), (warnings, "warning"), (notes, "note")] {
        if count > 0 {
            counts.push(format!("{count} {one}{}", if count == 1 { "" } else { "s" }));
        }
    }
    let found = if counts.is_empty() { "nothing found".into() } else { counts.join(", ") };
    line(&mut out, 0, "", &format!("{found} in {}", objects(report)));
    out
}

fn objects(report: &Report) -> String {
    let mut text =
        format!("{} object{}", report.objects, if report.objects == 1 { "" } else { "s" });
    let mut more = Vec::new();
    for (count, what) in [
        (report.passed_over, "of other kinds passed over"),
        (report.below_level, "below --level"),
        (report.suppressed, "switched off by annotations"),
        (report.omitted, "more not shown"),
    ] {
        if count > 0 {
            more.push(format!("{count} {what}"));
        }
    }
    if !more.is_empty() {
        text.push_str(&format!(" ({})", more.join(", ")));
    }
    text
}

fn block(out: &mut String, finding: &Finding) {
    let head = format!(
        "{}:{}:{}: {}: {} [{}]",
        finding.file,
        finding.line,
        finding.column,
        finding.level.name(),
        finding.message,
        finding.rule
    );
    line(out, 0, "", &head);
    line(out, 1, "", &format!("{} {}", finding.object, finding.path));
    line(out, 1, "then: ", &finding.consequence);
    line(out, 1, "fix: ", &finding.fix);
    for text in finding.patch.as_deref().unwrap_or_default().lines() {
        // A String takes whatever is written.
        let _ = writeln!(out, "      {}", clean::block(text));
    }
    out.push('\n');
}

/// A line, on one line whatever the text has in it.
fn line(out: &mut String, depth: usize, lead: &str, text: &str) {
    let _ = writeln!(out, "{}{lead}{}", "  ".repeat(depth), clean::line(text));
}
