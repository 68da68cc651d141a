//! The scorecard, for programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        scaling::slowest_down,
        scorecard::{Attainment, Basis, Elastic, REST, Scorecard},
    },
    millis,
};

/// How well the pods followed the demand. Everything is over the time of the traffic; shares are of
/// 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryScorecard {
    /// In how much of the run the objectives held; absent without traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attainment: Option<SummaryAttainment>,
    /// Supply against demand; absent if the demand is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticity: Option<SummaryElasticity>,
    /// Why the demand is not known; absent if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_demand: Option<String>,
    /// The slowest scale-down by the autoscaler of which the end was seen; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down_ms: Option<SummaryScaleDown>,
}

/// In how much of the run the objectives held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryAttainment {
    /// Seconds in which requests were owed.
    pub seconds: u64,
    /// Of these, in which each objective in `judged` would have held by that second alone; without
    /// any, in which nothing failed or stayed unsent.
    pub held: u64,
    /// The objectives that a second can be judged by.
    pub judged: Vec<String>,
    /// The share of all owed requests that were answered well within the strictest objective of
    /// latency; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_within: Option<f64>,
}

/// Supply against demand.
///
/// *Source*: SPEC Research Group, cloud group: Herbst et al. 2015, 2018; Bauer et al. 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryElasticity {
    /// Whence it is known what a pod can take: `model`, `usage` or `throughput`.
    pub basis: String,
    /// What one pod can take, requests per second.
    pub per_pod: f64,
    /// Most pods demanded.
    pub peak_demand: u32,
    /// Accuracy of under-provisioning: missing pods per pod demanded.
    pub under_accuracy: f64,
    /// Accuracy of over-provisioning: idle pods per pod demanded.
    pub over_accuracy: f64,
    /// The share of time in which pods were missing.
    pub under_timeshare: f64,
    /// The share of time in which pods were idle.
    pub over_timeshare: f64,
    /// The share of time in which supply and demand did not move alike.
    pub instability: f64,
    /// Changes of the supply above those of the demand, per hour.
    pub jitter_per_hour: f64,
    /// Pods that were not gone, in hours.
    pub pod_hours: f64,
    /// The scaler that knows the future.
    pub oracle: SummaryOracle,
}

/// The scaler that knows the future.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryOracle {
    /// What it has, those that start included.
    pub pod_hours: f64,
    /// How much more than that there was, as a share of it; null if it has nothing.
    pub regret: Option<f64>,
    /// How long before it is needed it orders a pod, milliseconds.
    pub lead_ms: f64,
    /// For how long a pod must not be needed to be stopped, milliseconds.
    pub rest_ms: f64,
}

/// A scale-down, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryScaleDown {
    /// From the decision until the last of its pods was gone.
    pub total: f64,
    /// From the decision until the last of its pods was asked to go.
    pub deletion: f64,
    /// From there until the last of them was gone.
    pub drain: f64,
}

/// Six digits are enough of a share, and keep the file readable.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl SummaryScorecard {
    pub(super) fn of(card: &Scorecard) -> Self {
        let down = slowest_down(&card.scale_downs);
        let down = down.and_then(|down| Some((down.total()?, down.deletion?, down.drain?)));
        Self {
            attainment: card.attainment.as_ref().map(SummaryAttainment::of),
            elasticity: card.elastic.as_ref().ok().map(SummaryElasticity::of),
            no_demand: card.elastic.as_ref().err().map(ToString::to_string),
            scale_down_ms: down.map(|(total, deletion, drain)| SummaryScaleDown {
                total: millis(total),
                deletion: millis(deletion),
                drain: millis(drain),
            }),
        }
    }
}

impl SummaryAttainment {
    fn of(known: &Attainment) -> Self {
        let share = |good: u64, owed: u64| (owed > 0).then(|| rounded(good as f64 / owed as f64));
        Self {
            seconds: known.seconds,
            held: known.held,
            judged: known.judged.clone(),
            requests_within: known.requests.and_then(|within| share(within.good, within.owed)),
        }
    }
}

impl SummaryElasticity {
    fn of(known: &Elastic) -> Self {
        let basis = match known.basis {
            Basis::Model { .. } => "model",
            Basis::Usage { .. } => "usage",
            Basis::Throughput { .. } => "throughput",
        };
        let metrics = &known.metrics;
        Self {
            basis: basis.into(),
            per_pod: rounded(known.per_pod),
            peak_demand: known.peak,
            under_accuracy: rounded(metrics.under_accuracy),
            over_accuracy: rounded(metrics.over_accuracy),
            under_timeshare: rounded(metrics.under_timeshare),
            over_timeshare: rounded(metrics.over_timeshare),
            instability: rounded(metrics.instability),
            jitter_per_hour: rounded(metrics.jitter_per_hour),
            pod_hours: rounded(known.pod_hours),
            oracle: SummaryOracle {
                pod_hours: rounded(known.oracle_hours),
                regret: known.regret.map(rounded),
                lead_ms: millis(known.lead),
                rest_ms: millis(REST),
            },
        }
    }
}
