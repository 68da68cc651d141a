//! What real runs said, as data: `confirm` in `tune.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    compare::result::{Comparison, Shown},
    record::BackendKind,
    tune::told::TuneRun,
};

/// The settings on a real backend, beside what the simulator said of the same runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuneConfirm {
    /// The backend.
    pub backend: BackendKind,
    /// So many runs of each setting were wanted.
    pub repeat: u32,
    /// Whether all of them came to their end.
    pub complete: bool,
    /// What came of it.
    pub verdict: ConfirmVerdict,
    /// The verdict in words, and why.
    pub why: Vec<String>,
    /// Why runs are missing, or cannot be trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// The settings, in the order of the first round.
    pub settings: Vec<ConfirmSetting>,
    /// The recommended setting against the others, as `highwater compare` has it.
    pub comparisons: Vec<Comparison>,
    /// The command that fits the scenario to what was measured; absent if all promises held, or
    /// none can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrate: Option<String>,
}

/// Whether the simulator's promise of the recommended setting held; without one, those of all
/// settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConfirmVerdict {
    /// A real run of the recommended setting missed an objective.
    Misses,
    /// A promise did not hold.
    NotHeld,
    /// All promises held.
    Held,
    /// Some held, and the others cannot be told.
    CannotTell,
}

/// A setting and its real runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmSetting {
    /// Which of the result's `settings`.
    pub setting: usize,
    /// Its name there.
    pub name: String,
    /// Where its runs are, in the result's folder: what `compare` takes.
    pub folder: String,
    /// Its runs, in the order of their seeds; those that were not begun are absent.
    pub runs: Vec<ConfirmRun>,
    /// What the simulator promised of these runs.
    pub promises: Vec<Promise>,
}

impl ConfirmSetting {
    /// In how many of its runs that can be trusted all objectives held, and of how many.
    pub fn held(&self) -> (usize, usize) {
        let sound = self.runs.iter().filter(|run| run.doubts.is_empty());
        let held = sound.clone().filter(|run| run.measured.missed.is_empty());
        (held.count(), sound.count())
    }
}

/// A real run, and the simulator's of the same scenario and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfirmRun {
    /// Its folder, in the result's.
    pub folder: String,
    /// Its seed.
    pub seed: u64,
    /// Why it must not be believed; empty if it can be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// What the simulator said.
    pub simulated: TuneRun,
    /// What was measured.
    pub measured: TuneRun,
}

/// A figure that the simulator promised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Promise {
    /// Which: `pod-hours`, `latency.p99` (milliseconds), `error-rate` (share of the sent requests).
    pub measure: String,
    /// What the simulator said of the same seeds.
    pub simulated: Option<f64>,
    /// What was measured, of all runs together.
    pub measured: Option<f64>,
    /// By how much that is off; absent if it cannot be estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<Off>,
    /// By how much it may be off, in the unit of `off`.
    pub tolerance: f64,
    /// Whether it held.
    pub verdict: PromiseVerdict,
    /// If it cannot be told: about how many runs of each setting would tell; absent if not known, or
    /// more than may be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// The values in words: the simulator's are the base's, the measured ones the new's.
    pub shown: Shown,
}

/// The difference between measured and simulated, and its interval at 95 %, from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Off {
    /// Whether the values are relative to the simulated one (0.1 is 10 % more), else shares.
    pub relative: bool,
    /// The difference.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Whether a promise held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PromiseVerdict {
    /// The simulated value lies in the interval of the measured one, widened by the tolerance.
    Held,
    /// It does not.
    NotHeld,
    /// The interval is so wide that it says nothing.
    CannotTell,
}
