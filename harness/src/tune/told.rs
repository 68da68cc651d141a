//! What a search found, as data: `tune.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::confirm::told::{
    ConfirmRun, ConfirmSetting, ConfirmVerdict, Off, Promise, PromiseVerdict, TuneConfirm,
};

/// The schema of [`Tuning`].
pub const SCHEMA: &str = "highwater.tune/v1";

/// What a search found. The same scenario, seed and number of settings give the same, whatever the
/// number of threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tuning {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the scenario.
    pub scenario: String,
    /// The seed of the search.
    pub seed: u64,
    /// What came of it.
    pub verdict: TuneVerdict,
    /// The verdict in words, and why.
    pub why: Vec<String>,
    /// What had to hold.
    pub objectives: Vec<String>,
    /// Whether they are of `tune`, as the scenario has none that a setting could miss.
    pub objectives_are_default: bool,
    /// What a pod costs in an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// How it was searched.
    pub search: TuneSearch,
    /// What was varied.
    pub parameters: Vec<TuneParameter>,
    /// The traffics with their seeds.
    pub cases: Vec<TuneCase>,
    /// The present setting, the default of Kubernetes, and the best that were found, on the full
    /// simulator.
    pub settings: Vec<TuneSetting>,
    /// Which of `settings` is recommended; absent if nothing better than the present was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recommended: Option<usize>,
    /// All that went on to the last rung, on the coarse model.
    pub tried: Vec<TunePoint>,
    /// What real runs said of it, by backend; the only part that two searches need not have in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirm: Vec<TuneConfirm>,
}

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TuneVerdict {
    /// A better setting than the present one.
    Better,
    /// None is better than the present one.
    NothingBetter,
    /// None holds the objectives.
    NothingHolds,
}

/// How it was searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuneSearch {
    /// Settings that there are, constraints aside.
    pub space: u64,
    /// Settings that were tried.
    pub settings: usize,
    /// How many of them were on the full simulator before the finals.
    #[serde(default)]
    pub simulated: usize,
    /// Whether these are all.
    pub exhaustive: bool,
    /// Whether the time was up before all that were wanted were tried.
    pub cut: bool,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuneParameter {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub path: String,
    /// The values that it may have.
    pub values: Vec<String>,
    /// What it has now; absent if that is none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<String>,
    /// Which share of the variance of the pod-hours it explains alone.
    pub effect_on_pod_hours: f64,
    /// Which share of the variance of the shortfall it explains alone.
    pub effect_on_objectives: f64,
}

/// A traffic with a seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuneCase {
    /// Its name.
    pub name: String,
    /// Whether it was held out of the search.
    pub held_out: bool,
    /// Whether it is too large for the full simulator here, and was judged by the coarse one.
    pub coarse: bool,
}

/// A setting on the full simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuneSetting {
    /// `present`, `Kubernetes default`, `candidate 1`.
    pub name: String,
    /// What it changes, as `--set` takes it.
    pub set: Vec<String>,
    /// On the cases that were searched with.
    pub searched: TuneTotals,
    /// On those that were held out.
    pub held_out: TuneTotals,
    /// By how much its pod-hours are above those of the Kubernetes default, as a share of these: the
    /// mean over all cases and its interval at 95 %. Absent for the default itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against_default: Option<TuneInterval>,
    /// How much more than a scaler that knows the future it costs, as a share; absent if that is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regret: Option<f64>,
    /// By case.
    pub runs: Vec<TuneRun>,
    /// Ready pods on the first case: seconds since the start of the traffic, and how many from then
    /// on.
    pub ready: Vec<(f64, u32)>,
}

/// Several cases together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuneTotals {
    /// In how many all objectives held.
    pub met: usize,
    /// How many cases.
    pub of: usize,
    /// Mean of the pod-hours while traffic ran.
    pub pod_hours: f64,
    /// What the mean costs; absent without a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// The worst 99th percentile of latency, milliseconds.
    pub p99_ms: f64,
    /// Requests without a good answer, all together.
    pub lost: u64,
    /// Mean of the changes of the number of replicas.
    pub changes: f64,
}

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuneInterval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// A setting on a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TuneRun {
    /// The objectives that were missed, with what was measured; all held if empty.
    pub missed: Vec<String>,
    /// By how much they are missed, all together: 0 if all held. Latencies by the logarithm of the ratio
    /// to their limit, counts and shares in percent of the requests.
    #[serde(default)]
    pub shortfall: f64,
    /// Pod-hours while traffic ran.
    pub pod_hours: f64,
    /// Those of a scaler that knows the future; absent if the demand is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oracle_hours: Option<f64>,
    /// 99th percentile of latency, milliseconds.
    pub p99_ms: f64,
    /// Requests without a good answer.
    pub lost: u64,
    /// Requests owed.
    pub owed: u64,
    /// Share of the seconds in which the objectives held; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attainment: Option<f64>,
    /// How often the number of replicas was changed.
    pub changes: u64,
}

/// A setting on the coarse model: the mean over the cases that were searched with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TunePoint {
    /// The level of each parameter.
    pub setting: Vec<u8>,
    /// Pod-hours, the time before the traffic included.
    pub pod_hours: f64,
    /// 99th percentile of latency, milliseconds.
    pub p99_ms: f64,
    /// Share of the requests without a good answer.
    pub lost: f64,
    /// By how much the objectives are missed; 0 if they hold.
    pub shortfall: f64,
}
