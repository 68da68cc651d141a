//! A calibration as data: what was fitted, from what, and how well a simulation then reproduces the
//! run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{analyze::Cause, record::BackendKind};

/// The version of the format.
pub const SCHEMA: &str = "highwater.calibration/v1";

/// What `calibrate --format json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Calibration {
    /// [`SCHEMA`].
    pub schema: String,
    /// The scenario that was run.
    pub scenario: String,
    /// Where.
    pub backend: BackendKind,
    /// Good answers that the fit goes by.
    pub answers: u64,
    /// Seconds that the service time is fitted on: those with the least load per pod, or all.
    pub quiet_seconds: u64,
    /// Seconds with the most load per pod, which say how requests wait; 0 if the load hardly changed,
    /// or if requests do not wait for each other.
    pub busy_seconds: u64,
    /// How many simulations the fit took.
    pub trials: u32,
    /// What was fitted or taken.
    pub parameters: Vec<Parameter>,
    /// How well the simulator reproduces the run with it.
    pub reproduction: Reproduction,
    /// The scenario file, as YAML.
    pub yaml: String,
}

/// One parameter of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Its key in a scenario file.
    pub key: String,
    /// Its value there; empty if the remark is not about a value.
    pub value: String,
    /// Where the value is from.
    pub origin: Origin,
    /// How, or why nothing better could be told.
    pub why: String,
}

/// Where a value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Measured: the record tells it.
    Record,
    /// By search over the simulator: what reproduces the record best.
    Search,
    /// The record does not tell it, or does not contradict it: the scenario's own value.
    Scenario,
    /// The record does not tell it, and neither does the scenario: something was taken.
    Assumed,
}

impl Origin {
    /// As people read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "measured",
            Self::Search => "by search",
            Self::Scenario => "the scenario's",
            Self::Assumed => "assumed",
        }
    }
}

impl Parameter {
    pub(super) fn new(key: &str, value: &str, origin: Origin, why: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), origin, why: why.into() }
    }
}

/// A figure of the run and of the simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The run's.
    pub run: f64,
    /// The simulation's.
    pub sim: f64,
}

impl Pair {
    /// By how much the simulation's is larger, as a share of the run's; `None` if that is nothing.
    pub fn off(&self) -> Option<f64> {
        (self.run > 0.0).then(|| self.sim / self.run - 1.0)
    }
}

/// A run and its simulation, side by side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reproduction {
    /// Latency of good answers, milliseconds.
    pub p50_ms: Pair,
    /// See `p50_ms`.
    pub p95_ms: Pair,
    /// See `p50_ms`.
    pub p99_ms: Pair,
    /// By how much each side's p95 may be off by chance alone, as a share: half the width of its 95 %
    /// interval, if requests were independent of each other.
    pub p95_chance: Pair,
    /// Good answers.
    pub ok: Pair,
    /// Pod hours.
    pub pod_hours: Pair,
    /// Share of the traffic's time in which the wanted replicas were the same within one sync of the
    /// autoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_within_sync: Option<f64>,
    /// Likewise the ready ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_within_sync: Option<f64>,
    /// Likewise, at the very instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_equal: Option<f64>,
    /// Requests lost by cause.
    pub losses: BTreeMap<Cause, Pair>,
}
