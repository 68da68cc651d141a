//! Each rule with what trips it and a near twin that does not; input that is hostile; the forms of
//! the report.

mod cases;
mod forms;
mod input;

use super::{Args, Format, Level, Report, lint_text};

/// A Deployment, its Service and its budget, of which no rule finds anything.
const BASE: &str = include_str!("base.yaml");
/// Its autoscaler.
const HPA: &str = include_str!("hpa.yaml");

fn args() -> Args {
    Args {
        files: vec!["-".into()],
        disable: Vec::new(),
        only: Vec::new(),
        level: Level::Note,
        format: Format::Text,
        propagation: None,
        slowest: None,
        rate: None,
        explain: None,
    }
}

fn lint(text: &str) -> Report {
    lint_text(text, &args()).expect("no rule is named")
}

/// The text with each of `changes` made, which must be possible exactly once.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "`{from}` stands once in:\n{text}");
        text.replace(from, to)
    })
}

/// The base without fixed replicas, and the autoscaler.
fn scaled(changes: &[(&str, &str)]) -> String {
    let all = format!("{BASE}{HPA}");
    changed(&changed(&all, &[("  replicas: 3\n", "")]), changes)
}
