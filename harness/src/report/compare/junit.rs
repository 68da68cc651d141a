//! JUnit XML, as CI servers read it: a test case for each gate, or for each measure.

use super::super::html::writer::escape;
use crate::compare::result::{Comparison, GateVerdict, MeasureVerdict, Verdict};

/// One test case.
struct Case {
    name: String,
    found: String,
    result: Outcome,
}

enum Outcome {
    Passed,
    Failed,
    /// It cannot be told.
    Skipped,
}

/// Renders it.
///
/// *Behaviour*: gates are the cases if there are any, else the measures. The first case is the
/// whole: it is an error if a run cannot be trusted.
pub fn render(compared: &Comparison) -> String {
    let cases = cases(compared);
    let count =
        |wanted: fn(&Outcome) -> bool| cases.iter().filter(|one| wanted(&one.result)).count();
    let failures = count(|result| matches!(result, Outcome::Failed));
    let skipped = count(|result| matches!(result, Outcome::Skipped));
    let is_error = compared.verdict == Verdict::Untrusted;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let suite = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{}\" skipped=\"{skipped}\"",
        cases.len() + 1,
        u8::from(is_error),
    );
    out.push_str("<testsuites name=\"highwater compare\">\n<testsuite name=\"");
    escape(&mut out, &compared.new.scenario);
    out.push_str(&format!("\" {suite}>\n<testcase classname=\"highwater\" name=\"comparison\">"));
    let tag = if is_error { "error" } else { "system-out" };
    out.push_str(&format!("<{tag}>"));
    escape(&mut out, &compared.sentence);
    for note in &compared.notes {
        escape(&mut out, format_args!("\n{note}"));
    }
    out.push_str(&format!("</{tag}></testcase>\n"));
    for case in cases {
        out.push_str("<testcase classname=\"highwater\" name=\"");
        escape(&mut out, &case.name);
        out.push_str("\">");
        let (open, close) = match case.result {
            Outcome::Passed => ("<system-out>", "</system-out>"),
            Outcome::Failed => ("<failure message=\"worse beyond noise\">", "</failure>"),
            Outcome::Skipped => {
                ("<skipped message=\"cannot be told\"/><system-out>", "</system-out>")
            }
        };
        out.push_str(open);
        escape(&mut out, &case.found);
        out.push_str(close);
        out.push_str("</testcase>\n");
    }
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}

fn cases(compared: &Comparison) -> Vec<Case> {
    if !compared.gates.is_empty() {
        let gates = compared.gates.iter().map(|gate| Case {
            name: gate.name.clone(),
            found: gate.found.clone(),
            result: match gate.verdict {
                GateVerdict::Holds => Outcome::Passed,
                GateVerdict::Fails => Outcome::Failed,
                GateVerdict::CannotTell => Outcome::Skipped,
            },
        });
        return gates.collect();
    }
    let measures = compared.measures.iter().map(|measure| {
        let shown = &measure.shown;
        Case {
            name: measure.full_name(),
            found: format!("{} → {}: {} ({})", shown.base, shown.new, shown.shift, shown.interval),
            result: match measure.verdict {
                MeasureVerdict::Worse => Outcome::Failed,
                MeasureVerdict::Better | MeasureVerdict::Same => Outcome::Passed,
                MeasureVerdict::CannotTell => Outcome::Skipped,
            },
        }
    });
    measures.collect()
}
