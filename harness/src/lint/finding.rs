//! What a rule is, what it finds, and the report that both come to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

/// The name and version of the report's form.
pub const SCHEMA: &str = "highwater.lint/v1";
/// The most findings that are told; the rest are counted.
pub const FINDINGS_MAX: usize = 10_000;

/// How sure and how bad a finding is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Depends on what the manifest does not tell.
    Note,
    /// Loses requests or capacity, unless the service does something about it by itself.
    Warning,
    /// Contradicts itself: whatever the service does, this cannot be meant.
    Error,
}

impl Level {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A rule, and its page.
#[derive(Debug)]
pub struct Rule {
    /// Its name, in kebab-case: what `--disable`, `--only` and annotations take.
    pub name: &'static str,
    /// The level of most of its findings.
    pub level: Level,
    /// One sentence: what it looks for.
    pub summary: &'static str,
    /// Why that is wrong.
    pub reason: &'static str,
    /// What happens then, and how its numbers come about.
    pub consequence: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Where the facts are from.
    pub source: &'static str,
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// How bad.
    pub level: Level,
    /// The file, as it was given; `stdin` for the standard input.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The object, as `Deployment/web` or `Deployment/shop/web`; the scenario's name for a scenario.
    pub object: String,
    /// The key, from the object or the scenario.
    pub path: String,
    /// What is so.
    pub message: String,
    /// What follows from it, in numbers where they can be computed.
    pub consequence: String,
    /// What to do about it.
    pub fix: String,
    /// The fix as a strategic merge patch of the object, or as keys of the scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// The numbers of the consequence; each name ends with its unit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
}

/// What `highwater lint --format json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// By file and line, the worst first on a line; [`FINDINGS_MAX`] at most.
    pub findings: Vec<Finding>,
    /// How many findings there are beyond those.
    pub omitted: usize,
    /// How many findings `--level` leaves out.
    pub below_level: usize,
    /// How many findings annotations switched off.
    pub suppressed: usize,
    /// What could not be read, in words with file and line.
    pub unreadable: Vec<String>,
    /// How many objects were looked at: workloads, Services, autoscalers, budgets, and the like.
    pub objects: usize,
    /// How many objects were passed over, since no rule is about their kind.
    pub passed_over: usize,
}

impl Report {
    /// Counts of errors, warnings and notes.
    pub fn counts(&self) -> [usize; 3] {
        [Level::Error, Level::Warning, Level::Note]
            .map(|level| self.findings.iter().filter(|finding| finding.level == level).count())
    }
}
