//! From a record to what it means: pure functions, no clock, no files, no terminal.
//!
//! 1. the life of each pod, from the events: [`pods`]
//! 2. the cause of each failure, from the phase of its pod and the state of its connection at
//!    that instant: [`attribute`]; likewise of what a proxy's retries hid: [`retries`]
//! 3. what each cause means, its evidence and its fix: [`causes`]
//!    What went wrong without a loss: [`findings`]
//! 4. what the autoscaler and the scenario did, and how long scale-ups took: [`autoscaler`],
//!    [`actions`], [`scaling`]; what else was seen of a cluster: [`cluster`]
//! 5. what had to hold, and whether the run can be trusted: [`objectives`], [`audit`]
//! 6. how well the pods followed the demand: [`scorecard`]
//! 7. the contract for programs, `summary.json`: [`summary`]
//!
//! [`analyze`] joins them into an [`Analysis`], which reports are made from.

pub mod actions;
mod arrivals;
mod assemble;
pub mod attribute;
pub mod audit;
pub mod autoscaler;
pub mod causes;
pub mod cluster;
mod evidence;
pub mod findings;
mod losses;
pub mod moment;
pub mod objectives;
mod path;
pub mod pods;
pub mod retries;
pub mod scaling;
pub mod scorecard;
pub mod series;
pub mod summary;

use std::collections::BTreeMap;

use highwater_model::{outcome::Outcome, time::Timestamp};

use crate::record::{BackendKind, EndReason, RunRecord, hist};

pub use assemble::group_digits;
pub use causes::{Cause, Fix};
pub use objectives::ObjectiveResult;
pub use pods::PodPhase;
pub use summary::Summary;

/// Everything that a report says of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Name of the scenario.
    pub scenario: String,
    /// What the scenario proves.
    pub description: String,
    /// Which backend ran it.
    pub backend: BackendKind,
    /// The seed.
    pub seed: u64,
    /// The path in words: `l7 through 2 proxy workers, keep-alive`.
    pub path: String,
    /// What was a closed loop; `None` for an open one, whose latency is that of an open system.
    pub closed_loop: Option<ClosedLoop>,
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict in one sentence.
    pub sentence: String,
    /// How the run ended; `None` if its record was cut off.
    pub end_reason: Option<EndReason>,
    /// Counts over the whole run.
    pub requests: Requests,
    /// Losses by cause, most first.
    pub losses: Vec<Loss>,
    /// What went wrong with pods, whether it lost a request or not.
    pub findings: Vec<findings::Finding>,
    /// What a proxy's retries hid, and whom it passed over.
    pub retries: retries::Retries,
    /// Failures without a cause.
    pub unexplained: u64,
    /// Pods that came and went.
    pub transitions: Transitions,
    /// Latency of good answers, from scheduled to end.
    pub latency: Percentiles,
    /// Service time of good answers, from sent to end.
    pub service_time: Percentiles,
    /// Send lag of all sent requests, from scheduled to sent.
    pub send_lag: Percentiles,
    /// By phase, in order.
    pub phases: Vec<PhaseResult>,
    /// The range of the replicas.
    pub replicas: ReplicaRange,
    /// Sum over pods of the time between their container's start and end, in hours.
    pub pod_hours: f64,
    /// Pod-seconds per thousand good answers; `None` without any.
    pub cost_per_thousand_good: Option<f64>,
    /// What the autoscaler measured and decided; empty without one.
    pub autoscaling: autoscaler::Autoscaling,
    /// How long each scale-up by the autoscaler took, in order.
    pub scale_ups: Vec<scaling::ScaleUp>,
    /// The first instants of every pod's life, in order of creation.
    pub pod_starts: Vec<scaling::PodStart>,
    /// How long pods took to start that were made while traffic ran.
    pub starts: scaling::PodStarts,
    /// What the scenario did, and what became of it.
    pub actions: Vec<actions::ActionResult>,
    /// What else was seen of the cluster; empty on other backends.
    pub cluster: cluster::Cluster,
    /// How well the pods followed the demand, and what it would have cost to know it ahead.
    pub scorecard: scorecard::Scorecard,
    /// What had to hold.
    pub objectives: Vec<ObjectiveResult>,
    /// Whether the run can be trusted.
    pub audit: audit::Audit,
    /// The series of the time axis.
    pub timeline: Timeline,
}

/// A run whose connections each waited for their answer before they sent the next request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClosedLoop {
    /// How many connections.
    pub connections: u32,
    /// Good answers per second.
    pub rate: f64,
}

impl ClosedLoop {
    /// What must stand beside its figures wherever they are shown.
    pub const NOTE: &str = "closed loop: latency is not that of an open system";
}

/// The verdict on a run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All objectives are met.
    Met,
    /// An objective is missed.
    Missed,
    /// The generator cannot be trusted.
    Untrusted,
    /// The run ended early.
    Aborted,
}

impl Verdict {
    /// `met`, `missed`, `untrusted` or `aborted`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Untrusted => "untrusted",
            Self::Aborted => "aborted",
        }
    }
}

/// owed = sent + unsent + pending, sent = ok + failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requests that became due.
    pub owed: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that our own limits kept from being sent.
    pub unsent: u64,
    /// Requests whose outcome the record does not hold; 0 unless it was cut off.
    pub pending: u64,
    /// Good answers.
    pub ok: u64,
    /// Sent requests without a good answer.
    pub failed: u64,
    /// By outcome; only those that occur.
    pub by_outcome: BTreeMap<Outcome, u64>,
}

impl From<crate::record::Totals> for Requests {
    fn from(totals: crate::record::Totals) -> Self {
        Self {
            owed: totals.owed,
            sent: totals.sent(),
            unsent: totals.unsent(),
            pending: totals.pending(),
            ok: totals.ok(),
            failed: totals.failed(),
            by_outcome: totals.by_outcome,
        }
    }
}

/// The requests that one cause lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// The cause.
    pub cause: Cause,
    /// How many requests.
    pub count: u64,
    /// The pods concerned, in order of creation.
    pub pods: Vec<String>,
    /// By outcome.
    pub by_outcome: BTreeMap<Outcome, u64>,
    /// What was seen, in a sentence with figures.
    pub evidence: String,
    /// What stops it.
    pub fix: Fix,
    /// The first of these failures.
    pub first: Timestamp,
    /// The last of these failures.
    pub last: Timestamp,
    /// Some of them in detail, at most [`EXAMPLES_MAX`].
    pub examples: Vec<Example>,
}

/// How many examples a loss keeps.
pub const EXAMPLES_MAX: usize = 5;

/// One lost request in detail.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// When its outcome was known.
    pub at: Timestamp,
    /// Its outcome.
    pub outcome: Outcome,
    /// Its pod, if known.
    pub pod: Option<String>,
    /// What happened to it, step by step, in words.
    pub story: String,
}

/// Pods that came and went under load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transitions {
    /// Pods that became ready, and pods whose termination began, while traffic ran.
    pub observed: u64,
    /// Of these, how many lost a request.
    pub with_loss: u64,
    /// Upper bound at 95 % of the share of transitions that lose a request.
    pub upper_bound95: f64,
}

/// Percentiles in nanoseconds; zeros if `count` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 95th percentile.
    pub p95: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

impl Percentiles {
    /// Those of a histogram.
    pub fn of(histogram: &hist::Hist) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |q| histogram.value_at_quantile(q);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

/// One phase of the traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseResult {
    /// Its name.
    pub name: String,
    /// Begin, on the run's axis.
    pub start: Timestamp,
    /// End, on the run's axis.
    pub end: Timestamp,
    /// Counts.
    pub requests: Requests,
    /// Latency of good answers.
    pub latency: Percentiles,
    /// Service time of good answers.
    pub service_time: Percentiles,
}

/// The range of the replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaRange {
    /// Fewest ready, while traffic ran.
    pub min: u32,
    /// Most pods that were not terminating.
    pub max: u32,
    /// Changes of `spec.replicas`.
    pub desired_changes: u32,
}

/// What is drawn over time. All instants are on the run's axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Begin of the traffic.
    pub traffic_start: Timestamp,
    /// End of the traffic.
    pub traffic_end: Timestamp,
    /// End of the run.
    pub end: Timestamp,
    /// By second of schedule, ascending, without gaps between first and last.
    pub seconds: Vec<SecondPoint>,
    /// Steps of the replicas, ascending.
    pub replicas: Vec<ReplicaPoint>,
    /// A lane per pod, in order of creation.
    pub pods: Vec<PodLane>,
    /// Failures, at most one per pod, cause and tenth of a second.
    pub failures: Vec<FailureMark>,
    /// What the scenario did.
    pub actions: Vec<ActionMark>,
}

/// One second of the traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SecondPoint {
    /// Whole seconds since the start of the run.
    pub second: u64,
    /// Requests due in it.
    pub owed: u64,
    /// Of these, answered well.
    pub ok: u64,
    /// Of these, failed.
    pub failed: u64,
    /// Of these, unsent.
    pub unsent: u64,
    /// Latency of the good answers, nanoseconds; zeros if there is none.
    pub latency: Percentiles,
}

/// The replicas from `at` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaPoint {
    /// From when.
    pub at: Timestamp,
    /// `spec.replicas`.
    pub desired: u32,
    /// Pods that are not terminating.
    pub current: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Pods on their way out.
    pub terminating: u32,
}

/// The life of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodLane {
    /// Its name.
    pub name: String,
    /// The revision of its template.
    pub revision: u32,
    /// Its node, where nodes are told.
    pub node: Option<String>,
    /// Its phases, ascending, without gaps.
    pub spans: Vec<Span>,
    /// While some consumer could choose it.
    pub routed: Vec<(Timestamp, Timestamp)>,
    /// Requests lost on it.
    pub lost: u64,
}

/// A phase of a pod's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Begin.
    pub from: Timestamp,
    /// End.
    pub to: Timestamp,
    /// Which phase.
    pub phase: PodPhase,
}

/// Failures at about one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureMark {
    /// When.
    pub at: Timestamp,
    /// The pod, if known.
    pub pod: Option<String>,
    /// The cause.
    pub cause: Cause,
    /// How many.
    pub n: u64,
}

/// Something that the scenario did.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionMark {
    /// When.
    pub at: Timestamp,
    /// In words: `rollout`, `scale to 5`.
    pub label: String,
}

/// Why a record cannot be analysed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnalyzeError {
    /// A histogram of the record is damaged.
    #[error("the record's window of second {second} is damaged: {source}")]
    Window {
        /// Which second.
        second: u64,
        /// What is wrong.
        #[source]
        source: hist::DecodeError,
    },
    /// The sums do not agree: owed is not sent + unsent (+ pending of a record that was cut off).
    #[error("the record's sums do not agree: {owed} owed, {sent} sent, {unsent} unsent")]
    Sums {
        /// Owed.
        owed: u64,
        /// Sent.
        sent: u64,
        /// Unsent.
        unsent: u64,
    },
    /// The failures in detail are not as many as the failures counted.
    #[error("the record counts {counted} failures and describes {described}")]
    Failures {
        /// In the windows.
        counted: u64,
        /// In detail.
        described: u64,
    },
}

/// Analyses a record.
///
/// # Errors
/// If the record contradicts itself.
pub fn analyze(record: &RunRecord) -> Result<Analysis, AnalyzeError> {
    assemble::assemble(record)
}
