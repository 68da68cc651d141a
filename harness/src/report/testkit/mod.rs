//! Hand-built analyses for tests of reports.

mod hostile;
mod hour;
mod kube;
mod runs;

use std::collections::BTreeMap;

use highwater_model::{
    outcome::Outcome,
    time::{MILLISECOND, SECOND, Timestamp},
};

use crate::{
    analyze::{
        ActionMark, Analysis, Cause, Example, FailureMark, Fix, Loss, ObjectiveResult, Percentiles,
        PhaseResult, PodLane, PodPhase, ReplicaPoint, ReplicaRange, Requests, SecondPoint, Span,
        Timeline, Transitions, Verdict,
        audit::{Audit, AuditFact},
        autoscaler::Autoscaling,
        cluster::Cluster,
        scaling::PodStarts,
    },
    record::{BackendKind, EndReason, folder::Provenance},
};

pub(super) use hostile::{HOSTILE, hostile};
pub(super) use hour::{day, hour};
pub(super) use kube::{kube, kube_of, kube_record};
pub(super) use runs::{aborted, clean, lossy, untrusted};

/// Numbers that look random and are always the same.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// From 0 to `below` (exclusive).
    pub(super) fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below.max(1)
    }
}

pub(super) fn at(seconds: f64) -> Timestamp {
    Timestamp((seconds * SECOND as f64) as u64)
}

pub(super) fn percentiles(count: u64, p50_ms: f64) -> Percentiles {
    let ms = |factor: f64| (p50_ms * factor * MILLISECOND as f64) as u64;
    Percentiles {
        count,
        p50: ms(1.0),
        p90: ms(1.9),
        p95: ms(2.4),
        p99: ms(4.2),
        p999: ms(7.5),
        max: ms(12.0),
    }
}

fn second(second: u64, owed: u64, failed: u64, p50_ms: f64) -> SecondPoint {
    SecondPoint {
        second,
        owed,
        ok: owed - failed,
        failed,
        unsent: 0,
        latency: percentiles(owed - failed, p50_ms),
    }
}

/// The life of a pod: `pending`, `started`, `ready`, and if it goes `deleted`, `term`, `exit`,
/// `gone`.
fn lane(name: &str, revision: u32, life: &[f64], end: f64) -> PodLane {
    const PHASES: [PodPhase; 6] = [
        PodPhase::Pending,
        PodPhase::Starting,
        PodPhase::Ready,
        PodPhase::PreStop,
        PodPhase::Draining,
        PodPhase::Exited,
    ];
    let ends = life[1..].iter().copied().chain([end]);
    let spans = life.iter().zip(ends).zip(PHASES).map(|((from, to), phase)| Span {
        from: at(*from),
        to: at(to),
        phase,
    });
    let routed_until = life.get(3).map_or(end, |deleted| deleted + 1.4);
    PodLane {
        name: name.into(),
        revision,
        node: None,
        spans: spans.filter(|span| span.from < span.to).collect(),
        routed: life.get(2).map(|ready| (at(ready + 0.3), at(routed_until))).into_iter().collect(),
        lost: 0,
    }
}

fn fact(name: &str, found: &str, bound: &str, holds: bool) -> AuditFact {
    AuditFact { name: name.into(), found: found.into(), bound: bound.into(), holds }
}

fn objective(name: &str, value: f64, shown: &str, met: bool) -> ObjectiveResult {
    ObjectiveResult { name: name.into(), value: Some(value), shown: shown.into(), met }
}

/// Nothing at all.
pub(super) fn empty() -> Analysis {
    Analysis {
        closed_loop: None,
        scenario: "empty".into(),
        description: String::new(),
        backend: BackendKind::Sim,
        seed: 0,
        path: "l4".into(),
        verdict: Verdict::Met,
        sentence: "Nothing was owed and nothing was lost.".into(),
        end_reason: Some(EndReason::Completed),
        requests: Requests::default(),
        losses: Vec::new(),
        findings: Vec::new(),
        retries: crate::analyze::retries::Retries::default(),
        unexplained: 0,
        transitions: Transitions::default(),
        latency: Percentiles::default(),
        service_time: Percentiles::default(),
        send_lag: Percentiles::default(),
        phases: Vec::new(),
        replicas: ReplicaRange::default(),
        pod_hours: 0.0,
        cost_per_thousand_good: None,
        autoscaling: Autoscaling::default(),
        scale_ups: Vec::new(),
        pod_starts: Vec::new(),
        starts: PodStarts::default(),
        actions: Vec::new(),
        cluster: Cluster::default(),
        scorecard: crate::analyze::scorecard::Scorecard::default(),
        objectives: Vec::new(),
        audit: Audit { trusted: true, ..Audit::default() },
        timeline: Timeline::default(),
    }
}

fn requests(seconds: &[SecondPoint], outcomes: &[(Outcome, u64)]) -> Requests {
    let sum = |of: fn(&SecondPoint) -> u64| seconds.iter().map(of).sum::<u64>();
    let (owed, ok, failed, unsent) = (
        sum(|second| second.owed),
        sum(|second| second.ok),
        sum(|second| second.failed),
        sum(|second| second.unsent),
    );
    let mut by_outcome: BTreeMap<Outcome, u64> = outcomes.iter().copied().collect();
    by_outcome.insert(Outcome::Ok, ok);
    Requests { owed, sent: ok + failed, unsent, pending: 0, ok, failed, by_outcome }
}

fn phase(name: &str, from: f64, to: f64, timeline: &Timeline, p50_ms: f64) -> PhaseResult {
    let within: Vec<SecondPoint> = timeline
        .seconds
        .iter()
        .filter(|second| (from..to).contains(&(second.second as f64)))
        .copied()
        .collect();
    let requests = requests(&within, &[]);
    PhaseResult {
        name: name.into(),
        start: at(from),
        end: at(to),
        latency: percentiles(requests.ok, p50_ms),
        service_time: percentiles(requests.ok, p50_ms * 0.98),
        requests,
    }
}

/// Where and when, made up.
pub(super) fn provenance() -> Provenance {
    Provenance {
        started: "2026-11-23T07:08:59Z".into(),
        version: "0.1.0".into(),
        command: ["highwater", "run", "rolling-update", "--seed", "7"].map(Into::into).into(),
        host: "build-7".into(),
        system: "Linux 6.12.9 x86_64".into(),
        processor: "AMD EPYC 7763".into(),
        cores: 2,
        scenario: "rolling-update (bundled)".into(),
        note: "No kind cluster was found, so it ran on local processes.".into(),
    }
}
