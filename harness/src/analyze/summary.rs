//! `summary.json`: the contract of a run for programs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use highwater_model::outcome::Outcome;

use super::{Analysis, Cause, Percentiles, Verdict};
use crate::record::BackendKind;

/// The version of the summary's format.
pub const SCHEMA: &str = "highwater.summary/v1";

/// What programs read of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Which backend ran it.
    pub backend: BackendKind,
    /// The seed.
    pub seed: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// Counts.
    pub requests: SummaryRequests,
    /// Losses by cause, most first.
    pub losses: Vec<SummaryLoss>,
    /// Failures without a cause.
    pub unexplained: u64,
    /// Pods that came and went.
    pub transitions: SummaryTransitions,
    /// Latency of good answers, milliseconds.
    pub latency_ms: SummaryPercentiles,
    /// Service time of good answers, milliseconds.
    pub service_time_ms: SummaryPercentiles,
    /// Send lag, milliseconds.
    pub send_lag_ms: SummaryPercentiles,
    /// The range of the replicas.
    pub replicas: SummaryReplicas,
    /// Pod-hours.
    pub pod_hours: f64,
    /// What had to hold.
    pub objectives: Vec<SummaryObjective>,
    /// Whether the run can be trusted.
    pub audit: SummaryAudit,
}

/// owed = sent + unsent, sent = ok + failed. (A record that was cut off may owe more.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words are the glossary's")]
pub struct SummaryRequests {
    pub owed: u64,
    pub sent: u64,
    pub unsent: u64,
    pub ok: u64,
    pub failed: u64,
    /// By outcome other than `ok`; only those that occur.
    pub by_outcome: BTreeMap<String, u64>,
}

/// The requests that one cause lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryLoss {
    /// The cause.
    pub cause: Cause,
    /// How many.
    pub count: u64,
    /// The pods concerned.
    pub pods: Vec<String>,
    /// What was seen.
    pub evidence: String,
    /// What stops it: where a setting does it a YAML patch, of the scenario or else of the
    /// Deployment; else advice.
    pub fix: String,
}

/// Pods that came and went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryTransitions {
    /// How many.
    pub observed: u64,
    /// Of these, with a lost request.
    pub with_loss: u64,
    /// Upper bound at 95 % of the share that loses a request.
    pub upper_bound95: f64,
}

/// Percentiles in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the words are the glossary's")]
pub struct SummaryPercentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl From<Percentiles> for SummaryPercentiles {
    fn from(ns: Percentiles) -> Self {
        // Microseconds are finer than three digits of a millisecond, and keep the file readable.
        let ms = |ns: u64| (ns as f64 / 1e3).round() / 1e3;
        Self {
            p50: ms(ns.p50),
            p90: ms(ns.p90),
            p99: ms(ns.p99),
            p999: ms(ns.p999),
            max: ms(ns.max),
        }
    }
}

/// The range of the replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryReplicas {
    /// Fewest ready, while traffic ran.
    pub min: u32,
    /// Most pods that were not terminating.
    pub max: u32,
    /// Changes of `spec.replicas`.
    pub desired_changes: u32,
}

/// An objective and whether it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryObjective {
    /// In words.
    pub name: String,
    /// Whether it holds.
    pub met: bool,
    /// The value: a count, a share, or milliseconds; null if it cannot be told.
    pub value: Option<f64>,
}

/// The generator's judgement of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryAudit {
    /// Whether the numbers can be believed.
    pub trusted: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

impl Summary {
    /// The summary of an analysis.
    pub fn of(analysis: &Analysis) -> Self {
        let requests = &analysis.requests;
        let failures = requests.by_outcome.iter().filter(|(outcome, _)| **outcome != Outcome::Ok);
        Self {
            schema: SCHEMA.into(),
            scenario: analysis.scenario.clone(),
            backend: analysis.backend,
            seed: analysis.seed,
            verdict: analysis.verdict,
            requests: SummaryRequests {
                owed: requests.owed,
                sent: requests.sent,
                unsent: requests.unsent,
                ok: requests.ok,
                failed: requests.failed,
                by_outcome: failures.map(|(outcome, n)| (outcome.name().into(), *n)).collect(),
            },
            losses: analysis.losses.iter().map(SummaryLoss::of).collect(),
            unexplained: analysis.unexplained,
            transitions: SummaryTransitions {
                observed: analysis.transitions.observed,
                with_loss: analysis.transitions.with_loss,
                upper_bound95: analysis.transitions.upper_bound95,
            },
            latency_ms: analysis.latency.into(),
            service_time_ms: analysis.service_time.into(),
            send_lag_ms: analysis.send_lag.into(),
            replicas: SummaryReplicas {
                min: analysis.replicas.min,
                max: analysis.replicas.max,
                desired_changes: analysis.replicas.desired_changes,
            },
            pod_hours: analysis.pod_hours,
            objectives: analysis.objectives.iter().map(SummaryObjective::of).collect(),
            audit: SummaryAudit {
                trusted: analysis.audit.trusted,
                reasons: analysis.audit.reasons.clone(),
            },
        }
    }
}

impl SummaryLoss {
    fn of(loss: &super::Loss) -> Self {
        let patch = loss.fix.scenario_patch.as_ref().or(loss.fix.deployment_patch.as_ref());
        Self {
            cause: loss.cause,
            count: loss.count,
            pods: loss.pods.clone(),
            evidence: loss.evidence.clone(),
            fix: patch.unwrap_or(&loss.fix.advice).clone(),
        }
    }
}

impl SummaryObjective {
    fn of(result: &super::ObjectiveResult) -> Self {
        // Durations are told in milliseconds, like all of the summary.
        let is_duration =
            result.name.starts_with("latency") || result.name.starts_with("service-time");
        let scale = if is_duration { 1e-6 } else { 1.0 };
        Self {
            name: result.name.clone(),
            met: result.met,
            value: result.value.map(|value| value * scale),
        }
    }
}
