//! Runs as they come: clean, lossy, untrusted, aborted.

use super::*;

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
pub(in super::super) fn clean() -> Analysis {
    let timeline = rolling(&[]);
    let requests = requests(&timeline.seconds, &[]);
    Analysis {
        scenario: "rolling-update".into(),
        description: "A rolling update under traffic. Does anybody notice?".into(),
        backend: BackendKind::Local,
        seed: 7,
        path: "l7 through 2 proxy workers, keep-alive".into(),
        closed_loop: None,
        verdict: Verdict::Met,
        sentence: "All 9,994 requests were answered while 3 pods came and 3 went.".into(),
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

fn race(pods: &[PodLane], count: u64) -> Loss {
    Loss {
        cause: Cause::TerminationRace,
        count,
        pods: pods.iter().map(|pod| pod.name.clone()).collect(),
        by_outcome: [(Outcome::Status502, count)].into(),
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
            pod: Some(pods[0].name.clone()),
            story: "27.544 s  due, sent to proxy worker 1\n27.550 s  SIGTERM to the pod, which \
                    closes its listener\n27.558 s  worker 1 connects: refused\n27.560 s  502 from \
                    worker 1, which learnt of the deletion at 28.912 s"
                .into(),
        }],
    }
}

fn no_endpoint(count: u64) -> Loss {
    Loss {
        cause: Cause::NoReadyEndpoint,
        count,
        pods: Vec::new(),
        by_outcome: [(Outcome::Status503, count)].into(),
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
    }
}

/// A rolling update that loses requests on the old pods, and some on no pod.
pub(in super::super) fn lossy() -> Analysis {
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
    Analysis {
        verdict: Verdict::Missed,
        sentence: "46 of 9,994 requests were lost, most of them on pods that were being \
                   terminated."
            .into(),
        losses: vec![race(&timeline.pods[..3], on_pods), no_endpoint(46 - on_pods)],
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
pub(in super::super) fn untrusted() -> Analysis {
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
pub(in super::super) fn aborted() -> Analysis {
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
