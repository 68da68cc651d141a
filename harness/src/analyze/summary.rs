//! `summary.json`: the contract of a run for programs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use highwater_model::{outcome::Outcome, time::Nanos};

mod scorecard;

pub use scorecard::{
    SummaryAttainment, SummaryElasticity, SummaryOracle, SummaryScaleDown, SummaryScorecard,
};

use super::{
    Analysis, Cause, ClosedLoop, Percentiles, Verdict,
    autoscaler::Autoscaling,
    cluster::Cluster,
    findings::{Finding, FindingKind},
    retries::Retries,
    scaling::{self, Progress, ScaleUp},
};
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
    /// Requests that a retry of the proxy's rescued, by what would have lost them; absent without
    /// any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden_by_retries: Vec<SummaryHidden>,
    /// What the proxy's retries and its passive health did; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<SummaryProxy>,
    /// What went wrong with pods, whether it lost a request or not; absent if nothing did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<SummaryFinding>,
    /// Failures without a cause.
    pub unexplained: u64,
    /// Pods that came and went.
    pub transitions: SummaryTransitions,
    /// Present if the run was a closed loop, whose latency is not that of an open system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_loop: Option<SummaryClosedLoop>,
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
    /// Pod-seconds per thousand good answers; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_thousand_good: Option<f64>,
    /// What the autoscaler decided; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<SummaryAutoscaler>,
    /// The slowest scale-up by the autoscaler; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_scale_ms: Option<SummaryTimeToScale>,
    /// How well the pods followed the demand, and what it would have cost to know it ahead; absent in
    /// summaries that were written before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scorecard: Option<SummaryScorecard>,
    /// The generators of the load; absent if it came from the harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generators: Option<SummaryGenerators>,
    /// Times in which nothing was heard of the cluster; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_gaps: Option<SummaryWatchGaps>,
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

/// Requests that a retry rescued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryHidden {
    /// What would have lost them.
    pub cause: Cause,
    /// How many.
    pub count: u64,
    /// The pods concerned.
    pub pods: Vec<String>,
    /// What was seen.
    pub evidence: String,
}

/// What the proxy did of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryProxy {
    /// Requests that a retry rescued.
    pub rescued: u64,
    /// Retries, those in vain included.
    pub retries: u64,
    /// How often a worker passed a pod over for its failures.
    pub ejections: u64,
}

/// What went wrong with pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryFinding {
    /// What.
    pub kind: FindingKind,
    /// The pods concerned.
    pub pods: Vec<String>,
    /// What was seen.
    pub evidence: String,
    /// What stops it.
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
        let ms = |ns: u64| millis(Nanos(ns));
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

/// What the autoscaler decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryAutoscaler {
    /// Changes of `spec.replicas` by it.
    pub decisions: u64,
    /// Of these, to more.
    pub scale_ups: u64,
    /// Of these, to fewer.
    pub scale_downs: u64,
    /// Decisions that a limit kept from going further.
    pub limited: u64,
}

/// The slowest scale-up, in milliseconds. A stage that is not known is null.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryTimeToScale {
    /// From the first reading that asked for more to the last new pod's endpoint: what the
    /// objective `time-to-scale` judges.
    pub total: f64,
    /// Whether all of its pods took traffic; if not, `total` lasts until the end of the run.
    pub complete: bool,
    /// From the load's rise to that reading; not in `total`.
    pub metric_lag: Option<f64>,
    /// From that reading to the decision.
    pub decision: Option<f64>,
    /// Until the last new pod had a node.
    pub scheduling: Option<f64>,
    /// Until the last container ran.
    pub start: Option<f64>,
    /// Until the last pod was ready.
    pub readiness: Option<f64>,
    /// Until the last pod could be chosen.
    pub endpoint: Option<f64>,
}

/// A run whose connections each waited for their answer before they sent the next request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryClosedLoop {
    /// How many connections.
    pub connections: u32,
    /// Good answers per second.
    pub rate: f64,
    /// What that means for the latencies.
    pub note: String,
}

/// The generators of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryGenerators {
    /// How many.
    pub count: u64,
    /// Of these, lost.
    pub lost: u64,
}

/// Times in which nothing was heard of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryWatchGaps {
    /// How many.
    pub count: u64,
    /// Their sum, milliseconds.
    pub total_ms: f64,
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
            hidden_by_retries: analysis.retries.by_cause.iter().map(SummaryHidden::of).collect(),
            proxy: SummaryProxy::of(&analysis.retries),
            findings: analysis.findings.iter().map(SummaryFinding::of).collect(),
            unexplained: analysis.unexplained,
            transitions: SummaryTransitions {
                observed: analysis.transitions.observed,
                with_loss: analysis.transitions.with_loss,
                upper_bound95: analysis.transitions.upper_bound95,
            },
            closed_loop: analysis.closed_loop.map(|closed| SummaryClosedLoop {
                connections: closed.connections,
                rate: (closed.rate * 10.0).round() / 10.0,
                note: ClosedLoop::NOTE.into(),
            }),
            latency_ms: analysis.latency.into(),
            service_time_ms: analysis.service_time.into(),
            send_lag_ms: analysis.send_lag.into(),
            replicas: SummaryReplicas {
                min: analysis.replicas.min,
                max: analysis.replicas.max,
                desired_changes: analysis.replicas.desired_changes,
            },
            pod_hours: analysis.pod_hours,
            cost_per_thousand_good: analysis
                .cost_per_thousand_good
                .map(|cost| (cost * 1e3).round() / 1e3),
            autoscaler: SummaryAutoscaler::of(&analysis.autoscaling),
            time_to_scale_ms: scaling::slowest_of(&analysis.scale_ups).map(SummaryTimeToScale::of),
            scorecard: Some(SummaryScorecard::of(&analysis.scorecard)),
            generators: SummaryGenerators::of(&analysis.cluster),
            watch_gaps: SummaryWatchGaps::of(&analysis.cluster),
            objectives: analysis.objectives.iter().map(SummaryObjective::of).collect(),
            audit: SummaryAudit {
                trusted: analysis.audit.trusted,
                reasons: analysis.audit.reasons.clone(),
            },
        }
    }
}

impl SummaryAutoscaler {
    fn of(known: &Autoscaling) -> Option<Self> {
        known.is_known().then(|| Self {
            decisions: known.decisions.len() as u64,
            scale_ups: known.scale_ups() as u64,
            scale_downs: known.scale_downs() as u64,
            limited: known.limited() as u64,
        })
    }
}

impl SummaryTimeToScale {
    fn of(up: &ScaleUp) -> Self {
        let [metric_lag, decision, scheduling, start, readiness, endpoint] =
            up.stages.map(|stage| stage.map(|took| millis(took.span)));
        let complete = up.progress == Progress::Complete;
        let total = millis(up.took.span);
        Self { total, complete, metric_lag, decision, scheduling, start, readiness, endpoint }
    }
}

impl SummaryGenerators {
    fn of(cluster: &Cluster) -> Option<Self> {
        let lost = cluster.generators.iter().filter(|generator| generator.lost.is_some()).count();
        let count = cluster.generators.len() as u64;
        (count > 0).then_some(Self { count, lost: lost as u64 })
    }
}

impl SummaryWatchGaps {
    fn of(cluster: &Cluster) -> Option<Self> {
        let count = cluster.gaps.len() as u64;
        (count > 0).then(|| Self { count, total_ms: millis(cluster.deaf()) })
    }
}

/// Microseconds are finer than three digits of a millisecond, and keep the file readable.
fn millis(span: Nanos) -> f64 {
    (span.0 as f64 / 1e3).round() / 1e3
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

impl SummaryHidden {
    fn of(loss: &super::Loss) -> Self {
        let super::Loss { cause, count, .. } = *loss;
        Self { cause, count, pods: loss.pods.clone(), evidence: loss.evidence.clone() }
    }
}

impl SummaryProxy {
    fn of(retries: &Retries) -> Option<Self> {
        let Retries { rescued, attempts, ejections, .. } = *retries;
        (!retries.is_empty()).then_some(Self { rescued, retries: attempts, ejections })
    }
}

impl SummaryFinding {
    fn of(finding: &Finding) -> Self {
        Self {
            kind: finding.kind,
            pods: finding.pods.clone(),
            evidence: finding.evidence.clone(),
            fix: finding.kind.advice().into(),
        }
    }
}

impl SummaryObjective {
    fn of(result: &super::ObjectiveResult) -> Self {
        // Durations are told in milliseconds, like all of the summary.
        let is_duration = ["latency", "service-time", "time-to-scale"]
            .iter()
            .any(|measure| result.name.starts_with(measure));
        let scale = if is_duration { 1e-6 } else { 1.0 };
        Self {
            name: result.name.clone(),
            met: result.met,
            value: result.value.map(|value| value * scale),
        }
    }
}
