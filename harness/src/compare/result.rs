//! What a comparison says: the contract for programs, `comparison.json`, from which all pages and
//! comments are made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::asked::Difference;
use crate::record::BackendKind;

/// The version of the format.
pub const SCHEMA: &str = "highwater.comparison/v1";

/// Whether NEW is worse than BASE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict in one sentence.
    pub sentence: String,
    /// The runs that are compared against.
    pub base: Side,
    /// The runs that are judged.
    pub new: Side,
    /// How it was compared.
    pub method: Method,
    /// What is known to differ in what was asked.
    pub changed: Vec<Difference>,
    /// What a reader must know before the figures.
    pub notes: Vec<String>,
    /// What was compared: the whole runs first, then by phase.
    pub measures: Vec<MeasureResult>,
    /// The gates, if there are any; then they decide.
    pub gates: Vec<GateResult>,
}

/// The verdict on a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Something is worse beyond noise, or a gate does not hold.
    Worse,
    /// Nothing is worse, and something is better beyond noise.
    Better,
    /// All that decides is equal within its margin, or every gate holds.
    Same,
    /// More runs are needed.
    CannotTell,
    /// Some run cannot be trusted.
    Untrusted,
}

impl Verdict {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Same => "same",
            Self::CannotTell => "cannot-tell",
            Self::Untrusted => "untrusted",
        }
    }
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// What was given on the command line.
    pub label: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The backend.
    pub backend: BackendKind,
    /// Its machine; null if it is not known or of no account.
    pub machine: Option<String>,
    /// Its runs.
    pub runs: Vec<RunLabel>,
    /// Requests owed in all of them.
    pub owed: u64,
    /// Of these, failed.
    pub failed: u64,
}

/// One run of a side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunLabel {
    /// Where it came from.
    pub label: String,
    /// Its seed.
    pub seed: u64,
    /// Why it must not be believed; empty if it can be.
    pub doubts: Vec<String>,
}

/// How it was compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// What counts as one observation.
    pub unit: Unit,
    /// The confidence of intervals, between 0 and 1.
    pub confidence: f64,
    /// The chance that a comparison of equals calls anything better or worse, at most.
    pub level: f64,
}

/// What counts as one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A run.
    Runs,
    /// Two runs of one seed.
    Pairs,
    /// Blocks of seconds within runs: too few runs.
    Blocks,
}

/// One measure on both sides. Values are in `unit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasureResult {
    /// Which: `latency.p99`, `error-rate`, `error-rate.termination-race`, `pods` ...
    pub name: String,
    /// The phase; null for the whole run.
    pub phase: Option<String>,
    /// `ns`, `share` or `pods`.
    pub unit: String,
    /// The base's, of all its runs together; null if it has none.
    pub base: Option<f64>,
    /// The new's.
    pub new: Option<f64>,
    /// For shares: how many of how many, and the exact interval of the share.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base_share: Option<Share>,
    /// See `baseShare`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new_share: Option<Share>,
    /// The difference; null if it cannot be estimated.
    pub shift: Option<ShiftResult>,
    /// What is small enough to be the same: relative to the base, or in `unit`, as the shift is.
    pub margin: f64,
    /// The verdict.
    pub verdict: MeasureVerdict,
    /// Whether the verdict on the whole waits for this one.
    pub decides: bool,
    /// If it cannot be told: how many runs on each side would tell a difference of the margin in
    /// nine of ten cases; null if not known.
    pub repeats: Option<u64>,
    /// The values in words.
    pub shown: Shown,
}

/// A share and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// Lower end of the exact interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A difference, new minus base.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShiftResult {
    /// Whether the values are relative to the base (0.1 is 10 % more) or in the measure's unit.
    pub relative: bool,
    /// The difference.
    pub value: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The chance of such a difference between equals.
    pub p: f64,
    /// The same, corrected for the number of measures.
    pub p_corrected: f64,
}

/// The verdict on one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeasureVerdict {
    /// Worse beyond noise, and not within the margin.
    Worse,
    /// Better beyond noise, and not within the margin.
    Better,
    /// Equal within the margin.
    Same,
    /// Neither can be said.
    CannotTell,
}

impl MeasureVerdict {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Same => "same",
            Self::CannotTell => "cannot-tell",
        }
    }
}

/// Values in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// The base's.
    pub base: String,
    /// The new's.
    pub new: String,
    /// The difference.
    pub shift: String,
    /// Its interval.
    pub interval: String,
    /// What is small enough to be the same.
    pub margin: String,
}

/// A gate and whether it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateResult {
    /// The gate in words: `latency.p99 +5% during hold-2`.
    pub name: String,
    /// Whether it holds.
    pub verdict: GateVerdict,
    /// What was found, in words.
    pub found: String,
    /// If it cannot be told: how many runs on each side would tell.
    pub repeats: Option<u64>,
}

/// Whether a gate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GateVerdict {
    /// It holds.
    Holds,
    /// It does not, beyond noise.
    Fails,
    /// Neither can be said.
    CannotTell,
}

impl GateVerdict {
    /// Its name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::CannotTell => "cannot-tell",
        }
    }
}

impl MeasureResult {
    /// The name with its phase.
    pub fn full_name(&self) -> String {
        match &self.phase {
            None => self.name.clone(),
            Some(phase) => format!("{} during {phase}", self.name),
        }
    }
}
