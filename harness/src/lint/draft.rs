//! Findings in the making, and the words that they share.

use std::collections::BTreeMap;

use super::{
    finding::{Finding, Level, Rule},
    patch::Patch,
    subject::Subject,
};

/// A finding in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    rule: &'static Rule,
    level: Level,
    subject: &'a Subject,
    /// What else may switch the rule off: the other side of a relation.
    other: Option<&'a Subject>,
    path: String,
    message: String,
    consequence: String,
    fix: Option<String>,
    patch: Option<String>,
    figures: BTreeMap<String, f64>,
}

impl<'a> Draft<'a> {
    /// Of a key of the object; `message` says what is so.
    pub(super) fn new(
        rule: &'static Rule,
        subject: &'a Subject,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            level: rule.level,
            subject,
            other: None,
            path: path.into(),
            message: message.into(),
            consequence: String::new(),
            fix: None,
            patch: None,
            figures: BTreeMap::new(),
        }
    }

    /// Another level than the rule's own.
    pub(super) fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// An object whose annotation may switch the rule off as well.
    pub(super) fn with(mut self, other: &'a Subject) -> Self {
        self.other = Some(other);
        self
    }

    /// What follows.
    pub(super) fn then(mut self, consequence: impl Into<String>) -> Self {
        self.consequence = consequence.into();
        self
    }

    /// What to do, if it is not what the rule's page says.
    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The fix as a patch of an object.
    pub(super) fn patch(mut self, patch: &Patch<'_>) -> Self {
        self.patch = Some(patch.render());
        self
    }

    /// A number of the consequence; the name ends with its unit.
    pub(super) fn figure(mut self, name: &str, value: f64) -> Self {
        if value.is_finite() {
            self.figures.insert(name.to_owned(), value);
        }
        self
    }

    /// The finding, and whether an annotation switches it off.
    pub(super) fn finish(self) -> (Finding, bool) {
        let switches = |subject: &Subject| {
            let mut names = subject.disabled.iter();
            names.any(|name| name == self.rule.name || name == "all")
        };
        let is_off = switches(self.subject) || self.other.is_some_and(switches);
        let (path, (line, column)) = self.subject.locate(&self.path);
        let finding = Finding {
            rule: self.rule.name.to_owned(),
            level: self.level,
            file: self.subject.file().to_string(),
            line,
            column,
            object: self.subject.title(),
            path,
            message: self.message,
            consequence: self.consequence,
            fix: self.fix.unwrap_or_else(|| self.rule.fix.trim_end_matches('.').to_owned()),
            patch: self.patch,
            figures: self.figures,
        };
        (finding, is_off)
    }
}

/// A number with one decimal at most, and none where it says nothing.
pub(super) fn number(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    if rounded.fract() == 0.0 { format!("{rounded:.0}") } else { format!("{rounded:.1}") }
}

/// A span in seconds.
pub(super) fn seconds(value: f64) -> String {
    format!("{} s", number(value))
}

/// `1 pod`, `3 pods`.
pub(super) fn pods(count: u32) -> String {
    if count == 1 { "1 pod".into() } else { format!("{count} pods") }
}

/// Text of a file, fit to be shown on one line.
pub(super) fn shown(text: &str) -> String {
    crate::scenario::error::shown(text)
}
