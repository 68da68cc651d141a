//! The form in which people write down what an autoscaler finds: states, one after the other.

use std::collections::BTreeMap;

use highwater_model::{spec::Quantity, time::Nanos};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// What an autoscaler finds, one state after the other.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct States {
    /// In the order of their times. The first pass is at the first state's time, and then there is
    /// one every sync period; each sees the last state that is not later than it.
    pub states: Vec<State>,
    /// Passes go on until then: a time like a state's `at`. Otherwise the first that sees the last
    /// state is the last.
    #[serde(default)]
    pub until: Option<String>,
    /// What the autoscaler recommended before, oldest first. Without `recommended` and `changed` it
    /// has just been seen for the first time.
    #[serde(default)]
    pub recommended: Vec<Recommended>,
    /// How it changed the replicas before, oldest first.
    #[serde(default)]
    pub changed: Vec<Changed>,
}

/// A recommendation of before.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recommended {
    /// How long before the first state.
    pub ago: Nanos,
    /// How many replicas.
    pub replicas: u32,
}

/// A change of before.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changed {
    /// How long before the first state.
    pub ago: Nanos,
    /// Replicas before it.
    pub from: u32,
    /// Replicas after it.
    pub to: u32,
}

/// What it finds at one time. What is not given is as in the state before, but for `errors`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct State {
    /// When: `0s`, `1m30s` from the beginning, or `2026-01-01T12:00:00Z`; all in one way. The first
    /// may leave it out, and so may those with `objects`, which say it themselves.
    pub at: Option<String>,
    /// The target's `spec.replicas`; otherwise what the autoscaler last wrote.
    pub replicas: Option<u32>,
    /// The target's `status.replicas`; otherwise as many as `spec.replicas`.
    pub status_replicas: Option<u32>,
    /// The pods that the target's selector matches, with what the metrics APIs say of them.
    pub pods: Option<Vec<Pod>>,
    /// Values of objects, by metric, or by `KIND/NAME/METRIC` where several objects have it.
    pub object: Option<BTreeMap<String, Quantity>>,
    /// Values of external metrics, by metric: one, or one per series.
    pub external: Option<BTreeMap<String, Series>>,
    /// Metrics whose API fails, by resource or metric, and what it says; `scale` for the scale.
    pub errors: BTreeMap<String, String>,
    /// Objects as `kubectl get -o json` prints them: pods, PodMetricsList, the target. They go in
    /// place of `pods` and `replicas`.
    pub objects: Option<Vec<BTreeMap<String, Value>>>,
}

/// One value, or one per series.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Series {
    /// One.
    One(Quantity),
    /// One per series.
    Many(Vec<Quantity>),
}

/// A pod, or several alike.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pod {
    /// Its name. Several are called NAME-0, NAME-1 and so on.
    pub name: String,
    /// How many there are.
    #[serde(default = "one")]
    pub count: u32,
    /// `status.phase`.
    #[serde(default)]
    pub phase: Phase,
    /// Whether it is being deleted.
    #[serde(default)]
    pub deleted: bool,
    /// Its Ready condition. A pending pod has none unless it is given.
    #[serde(default)]
    pub ready: Option<bool>,
    /// How long it has been started, at the time of the state.
    #[serde(default = "hour")]
    pub age: Nanos,
    /// How long its Ready condition has been what it is; since its start if not given.
    #[serde(default)]
    pub ready_for: Option<Nanos>,
    /// What its one container `app` requests.
    #[serde(default)]
    pub requests: BTreeMap<String, Quantity>,
    /// What that container uses, as metrics-server tells; without, there is no sample.
    #[serde(default)]
    pub usage: Option<BTreeMap<String, Quantity>>,
    /// Its containers, in place of `requests` and `usage`.
    #[serde(default)]
    pub containers: Vec<Container>,
    /// Its values of custom metrics, by metric.
    #[serde(default)]
    pub values: BTreeMap<String, Quantity>,
    /// How old the samples are at each pass.
    #[serde(default)]
    pub sample_age: Nanos,
    /// The time that a sample is averaged over.
    #[serde(default = "quarter")]
    pub window: Nanos,
}

/// A container of a pod.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it requests.
    #[serde(default)]
    pub requests: BTreeMap<String, Quantity>,
    /// What it uses; a pod has a sample only if each of its containers has.
    #[serde(default)]
    pub usage: Option<BTreeMap<String, Quantity>>,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not all of its containers run yet.
    Pending,
    /// It runs.
    #[default]
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// Its node is not heard of.
    Unknown,
}

const fn one() -> u32 {
    1
}

const fn hour() -> Nanos {
    Nanos::from_secs(3600)
}

/// What metrics-server's samples are averaged over with `--metric-resolution=15s`, about.
const fn quarter() -> Nanos {
    Nanos::from_secs(15)
}
