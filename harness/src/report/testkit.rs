//! Hand-built analyses for tests of reports.

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
    },
    record::{BackendKind, EndReason, folder::Provenance},
};

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
        unexplained: 0,
        transitions: Transitions::default(),
        latency: Percentiles::default(),
        service_time: Percentiles::default(),
        send_lag: Percentiles::default(),
        phases: Vec::new(),
        replicas: ReplicaRange::default(),
        pod_hours: 0.0,
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

/// A rolling update of three pods under 60 seconds of traffic; `lost` by second of the run.
fn rolling(lost: &[(u64, u64)]) -> Timeline {
    let mut noise = Noise::new(7);
    let failed = |second: u64| lost.iter().find(|(at, _)| *at == second).map_or(0, |(_, n)| *n);
    let seconds = (4..64)
        .map(|at| {
            let rate = if at < 24 { 100 } else { 200 };
            let slow = if failed(at) > 0 { 2.5 } else { 1.0 };
            let p50 = (11.0 + noise.below(40) as f64 / 10.0) * slow;
            second(at, rate - 9 + noise.below(19), failed(at), p50)
        })
        .collect();
    let old = [24.3, 29.2, 33.9];
    let mut pods: Vec<PodLane> = (0..3)
        .map(|index| {
            let gone = old[index] + 3.2;
            let life = [0.0, 0.2, 1.9, gone, gone + 0.05, gone + 1.1, gone + 1.9];
            let names = ["checkout-5d8f7c-2kx9q", "checkout-5d8f7c-8mw4t", "checkout-5d8f7c-zr6vb"];
            lane(names[index], 1, &life[..6], gone + 1.9)
        })
        .collect();
    let names = ["checkout-7b9cd4-4hs2n", "checkout-7b9cd4-c8xpl", "checkout-7b9cd4-qq7dj"];
    for (index, name) in names.into_iter().enumerate() {
        let born = old[index];
        pods.push(lane(name, 2, &[born, born + 0.2, born + 2.9], 66.0));
    }
    let mut replicas = vec![(0.0, 3, 3, 0, 0), (1.9, 3, 3, 3, 0)];
    for born in old {
        replicas.push((born, 3, 4, 3, 0));
        replicas.push((born + 2.9, 3, 4, 4, 0));
        replicas.push((born + 3.2, 3, 3, 3, 1));
        replicas.push((born + 4.9, 3, 3, 3, 0));
    }
    replicas.sort_by(|a, b| a.0.total_cmp(&b.0));
    Timeline {
        traffic_start: at(4.0),
        traffic_end: at(64.0),
        end: at(66.0),
        seconds,
        replicas: replicas
            .into_iter()
            .map(|(seconds, desired, current, ready, terminating)| ReplicaPoint {
                at: at(seconds),
                desired,
                current,
                ready,
                terminating,
            })
            .collect(),
        pods,
        failures: Vec::new(),
        actions: vec![ActionMark { at: at(24.3), label: "rollout".into() }],
    }
}

/// A rolling update without a loss.
pub(super) fn clean() -> Analysis {
    let timeline = rolling(&[]);
    let requests = requests(&timeline.seconds, &[]);
    Analysis {
        scenario: "rolling-update".into(),
        description: "A rolling update under traffic. Does anybody notice?".into(),
        backend: BackendKind::Local,
        seed: 7,
        path: "l7 through 2 proxy workers, keep-alive".into(),
        verdict: Verdict::Met,
        sentence: "All 9,049 requests were answered while 3 pods came and 3 went.".into(),
        latency: percentiles(requests.ok, 12.4),
        service_time: percentiles(requests.ok, 12.3),
        send_lag: percentiles(requests.sent, 0.021),
        phases: vec![
            phase("hold-1", 4.0, 24.0, &timeline, 12.2),
            phase("hold-2", 24.0, 64.0, &timeline, 12.6),
        ],
        requests,
        transitions: Transitions { observed: 6, with_loss: 0, upper_bound95: 0.393 },
        replicas: ReplicaRange { min: 3, max: 4, desired_changes: 0 },
        pod_hours: 0.0581,
        objectives: vec![
            objective("failed 0", 0.0, "0", true),
            objective("latency.p99 <250ms during hold-2", 52.9e6, "52.9 ms", true),
        ],
        audit: Audit {
            trusted: true,
            reasons: Vec::new(),
            warnings: Vec::new(),
            facts: vec![
                fact("schedule slip, p99.9", "0.16 ms", "< 1 ms", true),
                fact("achieved of owed rate", "100.00 %", "> 99.9 %", true),
                fact("own CPU", "14 %", "< 80 %", true),
                fact("local ports in use", "212 of 28,232", "< 90 %", true),
            ],
        },
        timeline,
        ..empty()
    }
}

const SCENARIO_PATCH: &str = "target:\n  deployment:\n    template:\n      lifecycle:\n        preStop:\n          sleep: {seconds: 5}\n";
const DEPLOYMENT_PATCH: &str = "spec:\n  template:\n    spec:\n      containers:\n        - name: checkout\n          lifecycle:\n            preStop:\n              sleep:\n                seconds: 5\n";

/// A rolling update that loses requests on the old pods, and some on no pod.
pub(super) fn lossy() -> Analysis {
    let mut timeline = rolling(&[(27, 14), (28, 3), (32, 11), (33, 2), (37, 9), (38, 7)]);
    let mut noise = Noise::new(3);
    for pod in 0..3usize {
        let gone = [27.5, 32.4, 37.1][pod];
        let lane = &mut timeline.pods[pod];
        for index in 0..9u64 {
            let n = 1 + noise.below(2);
            lane.lost += n;
            timeline.failures.push(FailureMark {
                at: at(gone + 0.06 + index as f64 * 0.12),
                pod: Some(lane.name.clone()),
                cause: Cause::TerminationRace,
                n,
            });
        }
    }
    let on_pods: u64 = timeline.pods.iter().map(|pod| pod.lost).sum();
    timeline.failures.push(FailureMark {
        at: at(38.2),
        pod: None,
        cause: Cause::NoReadyEndpoint,
        n: 46 - on_pods,
    });
    let outcomes = [(Outcome::Status502, on_pods), (Outcome::Status503, 46 - on_pods)];
    let requests = requests(&timeline.seconds, &outcomes);
    let names = |range: std::ops::Range<usize>| {
        timeline.pods[range].iter().map(|pod| pod.name.clone()).collect::<Vec<_>>()
    };
    let race = Loss {
        cause: Cause::TerminationRace,
        count: on_pods,
        pods: names(0..3),
        by_outcome: [(Outcome::Status502, on_pods)].into(),
        evidence: "All of them came within 1.02 s after SIGTERM, while the proxy's workers still \
                   had the pod in their view (up to 1.4 s after its deletion); connect was refused."
            .into(),
        fix: Fix {
            advice:
                "Wait in preStop until every proxy has taken the pod out: 1.4 s was the longest \
                     seen, so sleep for 5 s before SIGTERM."
                    .into(),
            scenario_patch: Some(SCENARIO_PATCH.into()),
            deployment_patch: Some(DEPLOYMENT_PATCH.into()),
        },
        first: at(27.56),
        last: at(38.1),
        examples: vec![Example {
            at: at(27.56),
            outcome: Outcome::Status502,
            pod: Some(timeline.pods[0].name.clone()),
            story: "27.544 s  due, sent to proxy worker 1\n27.550 s  SIGTERM to the pod, which \
                    closes its listener\n27.558 s  worker 1 connects: refused\n27.560 s  502 from \
                    worker 1, which learnt of the deletion at 28.912 s"
                .into(),
        }],
    };
    let no_endpoint = Loss {
        cause: Cause::NoReadyEndpoint,
        count: 46 - on_pods,
        pods: Vec::new(),
        by_outcome: [(Outcome::Status503, 46 - on_pods)].into(),
        evidence: "For 34 ms worker 0 had no endpoint in its view.".into(),
        fix: Fix {
            advice:
                "Let more pods be ready before old ones go: maxUnavailable 0 and minReadySeconds 2."
                    .into(),
            ..Fix::default()
        },
        first: at(38.2),
        last: at(38.2),
        examples: Vec::new(),
    };
    Analysis {
        verdict: Verdict::Missed,
        sentence: "46 of 9,049 requests were lost, most of them on pods that were being \
                   terminated."
            .into(),
        losses: vec![race, no_endpoint],
        transitions: Transitions { observed: 6, with_loss: 3, upper_bound95: 0.847 },
        phases: vec![
            phase("hold-1", 4.0, 24.0, &timeline, 12.2),
            phase("hold-2", 24.0, 64.0, &timeline, 13.4),
        ],
        objectives: vec![
            objective("failed 0", 46.0, "46", false),
            objective("latency.p99 <250ms during hold-2", 56.3e6, "56.3 ms", true),
        ],
        requests,
        timeline,
        ..clean()
    }
}

/// A run whose generator could not keep its schedule.
pub(super) fn untrusted() -> Analysis {
    let mut analysis = clean();
    analysis.verdict = Verdict::Untrusted;
    analysis.sentence =
        "The generator fell behind its schedule, so this run says nothing of the service.".into();
    analysis.audit = Audit {
        trusted: false,
        reasons: vec![
            "Requests were sent up to 412 ms late (p99.9), 1 ms is allowed: the generator's \
             processor was taken by others."
                .into(),
            "Only 97.2 % of the owed rate was achieved.".into(),
        ],
        warnings: vec!["The clock jumped by 3 ms at 41.2 s.".into()],
        facts: vec![
            fact("schedule slip, p99.9", "412 ms", "< 1 ms", false),
            fact("achieved of owed rate", "97.2 %", "> 99.9 %", false),
            fact("own CPU", "99 %", "< 80 %", false),
        ],
    };
    for point in &mut analysis.timeline.seconds {
        point.unsent = point.owed / 40;
        point.ok -= point.unsent;
    }
    analysis.requests = requests(&analysis.timeline.seconds, &[]);
    analysis.send_lag = percentiles(analysis.requests.sent, 55.0);
    analysis.losses = vec![Loss {
        cause: Cause::ClientLimit,
        count: analysis.requests.unsent,
        pods: Vec::new(),
        by_outcome: [(Outcome::UnsentConnections, analysis.requests.unsent)].into(),
        evidence: "The cap of 64 connections was reached in 60 of 60 seconds.".into(),
        fix: Fix {
            advice: "Give the generator a processor of its own, or lower the rate.".into(),
            ..Fix::default()
        },
        first: at(4.0),
        last: at(63.9),
        examples: Vec::new(),
    }];
    analysis
}

/// A run that was interrupted after five seconds of traffic.
pub(super) fn aborted() -> Analysis {
    let mut analysis = clean();
    analysis.verdict = Verdict::Aborted;
    analysis.sentence = "Interrupted after 5 of 60 seconds of traffic.".into();
    analysis.end_reason = Some(EndReason::Interrupted);
    let timeline = &mut analysis.timeline;
    timeline.seconds.truncate(5);
    timeline.pods.truncate(1);
    timeline.replicas.truncate(2);
    timeline.actions.clear();
    (timeline.traffic_end, timeline.end) = (at(9.0), at(9.2));
    timeline.pods[0] = lane("checkout-5d8f7c-2kx9q", 1, &[0.0, 0.2, 1.9], 9.2);
    analysis.phases = vec![phase("hold-1", 4.0, 9.0, timeline, 12.0)];
    analysis.requests = requests(&timeline.seconds, &[]);
    analysis.latency = percentiles(analysis.requests.ok, 12.0);
    analysis.service_time = percentiles(analysis.requests.ok, 11.9);
    analysis.transitions = Transitions::default();
    analysis.replicas.max = 3;
    for objective in &mut analysis.objectives {
        objective.value = None;
        objective.shown = "cannot be told".into();
        objective.met = false;
    }
    analysis
}

/// Text that wants to be markup, an escape sequence or a lie, wherever text can be.
pub(super) const HOSTILE: &str = "</script><script>alert(1)</script>'\"><img src=x onerror=y>]]>{{&amp;\u{202e}\u{1b}[31m\0`|@all";

/// A lossy run in which all text is hostile.
pub(super) fn hostile() -> Analysis {
    let mut analysis = lossy();
    let text = || HOSTILE.to_owned();
    (analysis.scenario, analysis.description) = (text(), text());
    (analysis.path, analysis.sentence) = (text(), text());
    for loss in &mut analysis.losses {
        loss.evidence = text();
        loss.pods.fill(text());
        loss.fix = Fix {
            advice: text(),
            scenario_patch: Some(format!("a: 1\n```\n{HOSTILE}\r\n")),
            deployment_patch: Some(text()),
        };
        for example in &mut loss.examples {
            (example.pod, example.story) = (Some(text()), text());
        }
    }
    for phase in &mut analysis.phases {
        phase.name = text();
    }
    for objective in &mut analysis.objectives {
        (objective.name, objective.shown) = (text(), text());
    }
    let audit = &mut analysis.audit;
    (audit.reasons, audit.warnings) = (vec![text()], vec![text()]);
    audit.trusted = false;
    for fact in &mut audit.facts {
        (fact.name, fact.found, fact.bound) = (text(), text(), text());
    }
    for (index, pod) in analysis.timeline.pods.iter_mut().enumerate() {
        let name = format!("{index}{HOSTILE}{index}");
        for failure in &mut analysis.timeline.failures {
            if failure.pod.as_ref() == Some(&pod.name) {
                failure.pod = Some(name.clone());
            }
        }
        pod.name = name;
    }
    for action in &mut analysis.timeline.actions {
        action.label = text();
    }
    analysis
}

/// An hour with fifty pods and 5,000 marks of failures.
pub(super) fn hour() -> Analysis {
    let mut noise = Noise::new(11);
    let seconds: Vec<SecondPoint> = (5..3_605u64)
        .map(|at| {
            let wave = (at as f64 / 3_600.0 * std::f64::consts::TAU).sin();
            let rate = (2_000.0 - 1_500.0 * wave) as u64 + noise.below(120);
            let failed = if noise.below(9) == 0 { noise.below(12) } else { 0 };
            let spike = if noise.below(150) == 0 { 20.0 } else { 1.0 };
            second(at, rate, failed, (12.0 - 5.0 * wave + noise.below(30) as f64 / 10.0) * spike)
        })
        .collect();
    let mut pods: Vec<PodLane> = (0..50u64)
        .map(|index| {
            let born = if index < 12 { 0.0 } else { index as f64 * 60.0 - 500.0 };
            let gone = born + 900.0 + noise.below(1_400) as f64;
            let life = [born, born + 4.0, born + 19.0, gone, gone + 5.0, gone + 31.0];
            let name = format!("checkout-7b9cd4-{index:05}");
            lane(
                &name,
                1,
                if gone < 3_500.0 { &life } else { &life[..3] },
                3_620.0_f64.min(gone + 33.0),
            )
        })
        .collect();
    let failures: Vec<FailureMark> = (0..5_000u64)
        .map(|index| {
            let pod = &mut pods[(index % 50) as usize];
            pod.lost += 1;
            let (from, to) = (pod.spans[0].from.0, pod.spans[pod.spans.len() - 1].to.0);
            FailureMark {
                at: Timestamp(from + noise.below(to - from)),
                pod: (index % 17 != 0).then(|| pod.name.clone()),
                cause: Cause::ALL[(index % 7) as usize],
                n: 1 + noise.below(3),
            }
        })
        .collect();
    let replicas = (0..240u32)
        .map(|index| ReplicaPoint {
            at: at(f64::from(index) * 15.0),
            desired: 12 + (index / 7) % 9,
            current: 12 + ((index + 1) / 7) % 9,
            ready: 11 + (index / 8) % 9,
            terminating: index % 3,
        })
        .collect();
    let timeline = Timeline {
        traffic_start: at(5.0),
        traffic_end: at(3_605.0),
        end: at(3_620.0),
        seconds,
        replicas,
        pods,
        failures,
        actions: (0..14)
            .map(|index| ActionMark {
                at: at(60.0 + f64::from(index * index) * 18.0),
                label: format!("scale to {}", 12 + index),
            })
            .collect(),
    };
    let phases = ["warm-up", "morning", "noon", "evening", "night"];
    Analysis {
        scenario: "day-in-an-hour".into(),
        sentence: "Many requests were lost while the service was scaled 14 times.".into(),
        requests: requests(&timeline.seconds, &[]),
        phases: (0..5)
            .map(|index| {
                let from = 5.0 + f64::from(index) * 720.0;
                phase(phases[index as usize], from, from + 720.0, &timeline, 12.0)
            })
            .collect(),
        timeline,
        ..lossy()
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
