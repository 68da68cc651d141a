//! Fixes as YAML: a strategic merge patch of an object, or keys of a scenario.

use super::subject::{Subject, View};

/// Where in the object the lines stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spot<'a> {
    /// `spec`.
    Spec,
    /// The pod's spec.
    Pod,
    /// A container, by its name.
    Container(&'a str),
}

/// Lines at a spot of an object.
#[derive(Debug)]
pub(super) struct Patch<'a> {
    pub(super) subject: &'a Subject,
    pub(super) spot: Spot<'a>,
    /// Lines of YAML as they stand there, without indentation.
    pub(super) lines: String,
}

impl Patch<'_> {
    /// The patch.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        let mut depth = 0;
        let mut line = |depth: usize, text: &str| {
            out.push_str(&"  ".repeat(depth));
            out.push_str(text);
            out.push('\n');
        };
        let keys: &[&str] = match (self.subject.view(), self.spot) {
            (View::Target, Spot::Spec) => &["target", "deployment"],
            (View::Target, _) => &["target", "deployment", "template"],
            (View::Autoscaler, _) => &["autoscaler"],
            (View::Budget, _) => &["target", "podDisruptionBudget"],
            (View::Manifest, Spot::Spec) => &["spec"],
            (View::Manifest, Spot::Pod | Spot::Container(_)) => &["spec", "template", "spec"],
        };
        if self.subject.view() == View::Manifest {
            line(0, &format!("apiVersion: {}", quoted(self.subject.api_version())));
            line(0, &format!("kind: {}", self.subject.kind()));
            line(0, "metadata:");
            line(1, &format!("name: {}", quoted(self.subject.name())));
            if !self.subject.namespace().is_empty() {
                line(1, &format!("namespace: {}", quoted(self.subject.namespace())));
            }
        }
        for key in keys {
            line(depth, &format!("{key}:"));
            depth += 1;
        }
        if let (View::Manifest, Spot::Container(name)) = (self.subject.view(), self.spot) {
            line(depth, "containers:");
            line(depth + 1, &format!("- name: {}", quoted(name)));
            depth += 2;
        }
        for text in self.lines.lines() {
            line(depth, text);
        }
        out
    }
}

/// A name as YAML; what is no plain name is quoted, as JSON is, which YAML reads.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-./".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_lowercase().as_str());
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
