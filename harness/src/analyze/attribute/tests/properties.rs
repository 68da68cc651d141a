//! Whatever happens: one cause each, and no pod that was not there.

use proptest::{collection::vec, prelude::*};

use super::{cluster::*, *};

/// Longer than any data path lags, and than a node keeps a flow.
const LONGEST: f64 = 130.0;

fn pod() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")].prop_map(String::from)
}

fn kind() -> impl Strategy<Value = EventKind> {
    let signal = prop_oneof![Just(Signal::Sigterm), Just(Signal::Sigkill)];
    let phase = prop_oneof![
        Just(LifecyclePhase::Starting),
        Just(LifecyclePhase::Listening),
        Just(LifecyclePhase::ListenerClosed),
        Just(LifecyclePhase::Cancelled),
        Just(LifecyclePhase::Exiting),
    ];
    let grace = Nanos::from_secs(30);
    prop_oneof![
        pod().prop_map(|pod| EventKind::ContainerStarted {
            pod,
            restarts: 0,
            address: None,
            pid: None
        }),
        pod().prop_map(|pod| EventKind::PodReady { pod }),
        pod().prop_map(|pod| EventKind::PodUnready { pod, reason: String::new() }),
        pod().prop_map(|pod| EventKind::ProbeKill { pod, probe: ProbeKind::Liveness }),
        pod().prop_map(move |pod| EventKind::PodDeleted {
            pod,
            grace,
            reason: DeleteReason::Rollout
        }),
        (pod(), signal).prop_map(|(pod, signal)| EventKind::SignalSent {
            pod,
            signal,
            by_kubelet: true
        }),
        (pod(), prop_oneof![Just(0), Just(1), Just(137), Just(143)], any::<bool>()).prop_map(
            |(pod, code, oom)| EventKind::ContainerExited {
                pod,
                code,
                signal: (code > 128).then_some(code - 128),
                oom
            }
        ),
        pod().prop_map(|pod| EventKind::PodGone { pod }),
        (pod(), phase).prop_map(|(pod, phase)| EventKind::Lifecycle {
            pod,
            phase,
            detail: String::new()
        }),
        pod().prop_map(|pod| EventKind::PodScheduled { pod, node: "one".into() }),
        prop_oneof![Just("True"), Just("Unknown")].prop_map(|status| EventKind::NodeCondition {
            node: "one".into(),
            condition: "Ready".into(),
            status: status.into(),
            reason: String::new()
        }),
    ]
}

fn endpoints() -> impl Strategy<Value = String> {
    let one = |name: &'static str| {
        prop_oneof![
            Just(String::new()),
            Just(name.into()),
            Just(format!("{name}!")),
            Just(format!("{name}?"))
        ]
    };
    (one("a"), one("b"), one("c"), one("d")).prop_map(|(a, b, c, d)| [a, b, c, d].join(" "))
}

/// Pods that are made at some time, what befalls them, and the endpoints.
fn cluster() -> impl Strategy<Value = Cluster> {
    let off = || prop_oneof![Just(0.0), Just(0.25), Just(1.0), Just(30.0)];
    let made = (vec(0.0..60.0f64, 4), vec(1u32..3, 4));
    let events = vec((0.0..100.0f64, off(), kind()), 0..40);
    let endpoints = vec((0.0..100.0f64, off(), endpoints()), 0..8);
    let way =
        prop_oneof![Just(Way::Service), Just(Way::Ingress), Just(Way::Direct), Just(Way::Proxy)];
    (made, events, endpoints, way).prop_map(|((made, revisions), events, endpoints, way)| {
        let mut cluster = Cluster::default();
        for ((name, made), revision) in ["a", "b", "c", "d"].into_iter().zip(made).zip(revisions) {
            let kind = EventKind::PodCreated { pod: name.into(), revision };
            cluster = cluster.event(made, 0.0, kind);
        }
        for (at, off, kind) in events {
            cluster = cluster.event(at, off, kind);
        }
        for (at, off, all) in endpoints {
            cluster = cluster.endpoints_known_to(at, off, &all);
        }
        cluster.through(way)
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let outcome = (0..Outcome::ALL.len()).prop_map(|index| Outcome::ALL[index]);
    let served = prop_oneof![Just(0u64), Just(9)];
    (outcome, 0.0..50.0f64, 0.0..50.0f64, 0.0..3_000.0f64, served, 1..4u64).prop_map(
        |(outcome, opened, idle, ms, served, n)| {
            let mut failure = reused(outcome, opened, opened + idle, ms);
            failure.n = n;
            if let Some(connection) = &mut failure.connection {
                connection.served = served;
            }
            if served == 0 {
                failure.sent = at(opened);
                failure.ended = at(opened + ms / 1e3);
            }
            failure
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn every_failure_has_one_cause_and_no_pod_that_was_not_there(
        cluster in cluster(),
        failures in vec(failure(), 0..40),
    ) {
        let failed: Vec<&Failure> = failures
            .iter()
            .filter(|failure| failure.outcome.group() == OutcomeGroup::Failed)
            .collect();
        cluster.look(&failures, |all, lives| {
            prop_assert_eq!(all.len(), failed.len());
            for (one, failure) in all.iter().zip(failed) {
                prop_assert_eq!(one.case.failure, failure, "in their order");
                prop_assert!(one.doubt.is_none() || one.cause == Cause::Unexplained);
                let names: BTreeSet<&&str> = one.pods.iter().collect();
                prop_assert_eq!(names.len(), one.pods.len(), "each pod once");
                for pod in &one.pods {
                    let life = lives.get(pod).expect("a pod of the run");
                    prop_assert!(life.created.may_be_by(failure.ended), "{} was not made yet", pod);
                    let gone = life.gone.map_or(f64::MAX, |gone| gone.latest.as_secs_f64());
                    let since = one.case.chosen.as_secs_f64();
                    prop_assert!(gone + LONGEST >= since, "{} was gone for longer than any lag", pod);
                }
                if one.cause == Cause::NoReadyEndpoint {
                    prop_assert!(one.pods.is_empty());
                }
            }
            Ok(())
        })?;
    }

    /// What happens after a failure and is known exactly, is no reason for it. (It may tell how a
    /// program ends: so without what tells of that.)
    #[test]
    fn a_refusal_has_no_cause_in_its_future(
        cluster in cluster(),
        seconds in 0.0..100.0f64,
    ) {
        let refusal = [new(Outcome::ConnectRefused, seconds)];
        let later = seconds + 40.0;
        let with = cluster.clone().event(later, 0.0, EventKind::PodDeleted {
            pod: "a".into(),
            grace: Nanos::from_secs(30),
            reason: DeleteReason::Rollout,
        });
        // Nobody signals a pod before its deletion, but its probes.
        let is_ending = cluster.events().iter().any(|event| match &event.kind {
            EventKind::PodDeleted { pod, .. } | EventKind::SignalSent { pod, .. } => pod == "a",
            _ => false,
        });
        if !is_ending {
            prop_assert_eq!(cluster.judge(&refusal), with.judge(&refusal));
        }
    }
}
