//! Reports of analyses that make no sense: no panic, no broken page, no page without bound.

use highwater_model::{
    event::{Event, EventKind, MetricReading, MetricUnit, Source},
    time::{Nanos, Timestamp},
};
use proptest::{
    collection::vec,
    prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest},
};

use super::{super::testkit, html, markdown, tags, text};
use crate::{
    analyze::{
        ActionMark, Analysis, Cause, FailureMark, Percentiles, PodLane, PodPhase, ReplicaPoint,
        SecondPoint, Span, Timeline, Transitions,
    },
    report::RenderOptions,
};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0u64),
        Just(u64::MAX),
        Just(u64::MAX - 1),
        0..100u64,
        0..100_000_000_000u64,
        any::<u64>(),
    ]
}

fn instant() -> impl Strategy<Value = Timestamp> {
    number().prop_map(Timestamp)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(testkit::HOSTILE.to_owned()),
        ".{0,40}",
        vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect()),
    ]
}

fn percentiles() -> impl Strategy<Value = Percentiles> {
    vec(number(), 7).prop_map(|n| Percentiles {
        count: n[0],
        p50: n[1],
        p90: n[2],
        p95: n[3],
        p99: n[4],
        p999: n[5],
        max: n[6],
    })
}

fn second() -> impl Strategy<Value = SecondPoint> {
    (vec(number(), 5), percentiles()).prop_map(|(n, latency)| SecondPoint {
        second: n[0],
        owed: n[1],
        ok: n[2],
        failed: n[3],
        unsent: n[4],
        latency,
    })
}

fn pod() -> impl Strategy<Value = PodLane> {
    let span = (instant(), instant(), 0..PodPhase::ALL.len()).prop_map(|(from, to, phase)| Span {
        from,
        to,
        phase: PodPhase::ALL[phase],
    });
    (name(), vec(span, 0..6), vec((instant(), instant()), 0..3), number()).prop_map(
        |(name, spans, routed, lost)| PodLane {
            name,
            revision: 1,
            node: None,
            spans,
            routed,
            lost,
        },
    )
}

fn failure() -> impl Strategy<Value = FailureMark> {
    let pod = prop_oneof![Just(None), name().prop_map(Some)];
    (instant(), pod, 0..Cause::ALL.len(), number()).prop_map(|(at, pod, cause, n)| FailureMark {
        at,
        pod,
        cause: Cause::ALL[cause],
        n,
    })
}

fn timeline() -> impl Strategy<Value = Timeline> {
    let replica = (instant(), any::<[u32; 4]>()).prop_map(|(at, n)| ReplicaPoint {
        at,
        desired: n[0],
        current: n[1],
        ready: n[2],
        terminating: n[3],
    });
    let action = (instant(), name()).prop_map(|(at, label)| ActionMark { at, label });
    (
        vec(instant(), 3),
        vec(second(), 0..20),
        vec(replica, 0..20),
        vec(pod(), 0..10),
        vec(failure(), 0..20),
        vec(action, 0..8),
    )
        .prop_map(|(times, seconds, replicas, pods, failures, actions)| Timeline {
            traffic_start: times[0],
            traffic_end: times[1],
            end: times[2],
            seconds,
            replicas,
            pods,
            failures,
            actions,
        })
}

fn event_kind() -> impl Strategy<Value = EventKind> {
    let pod = || "[a-d]";
    let decision = any::<[u32; 2]>().prop_map(|[from, to]| (from % 9, to % 9));
    let status = (any::<[u32; 2]>(), any::<[f64; 2]>(), any::<bool>());
    prop_oneof![
        decision.prop_map(|(from, to)| EventKind::AutoscalerDecision {
            from,
            to,
            reason: testkit::HOSTILE.into()
        }),
        status.prop_map(|(n, [current, target], known)| EventKind::AutoscalerStatus {
            current: n[0],
            desired: n[1] % 9,
            metrics: vec![MetricReading {
                name: "cpu".into(),
                unit: MetricUnit::Percent,
                current: known.then_some(current),
                target,
            }],
            conditions: Vec::new(),
        }),
        (pod(), any::<u32>()).prop_map(|(pod, revision)| EventKind::PodCreated { pod, revision }),
        pod().prop_map(|pod| EventKind::PodScheduled { node: pod.clone(), pod }),
        pod().prop_map(|pod| EventKind::PodReady { pod }),
        pod().prop_map(|pod| EventKind::PodGone { pod }),
        pod().prop_map(|pod| EventKind::PodUnschedulable { message: name_of(&pod), pod }),
        (pod(), instant()).prop_map(|(what, from)| EventKind::WatchGap {
            reason: name_of(&what),
            what,
            from
        }),
        (pod(), vec(number(), 4)).prop_map(|(pod, n)| EventKind::ApiUse {
            pod,
            requests: n[0],
            conflicts: n[1],
            throttled: n[2],
            errors: n[3],
        }),
        (pod(), vec(number(), 2)).prop_map(|(pod, n)| EventKind::PodMetrics {
            pod,
            cpu_nano: n[0],
            memory: n[1],
            window: Nanos(n[0]),
        }),
        (any::<[u32; 2]>(), number()).prop_map(|(n, unsent)| EventKind::GeneratorLost {
            generator: n[0] % 4,
            reason: testkit::HOSTILE.into(),
            unsent,
        }),
    ]
}

fn name_of(pod: &str) -> String {
    format!("{pod}{}", testkit::HOSTILE)
}

/// Events in any order, as a damaged record could hold them.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (instant(), number(), any::<bool>(), event_kind()).prop_map(
        |(at, precision, is_coarse, kind)| Event {
            at,
            seq: precision,
            source: Source::Api,
            precision: is_coarse.then_some(Nanos(precision)),
            stated: None,
            kind,
        },
    );
    vec(event, 0..40)
}

fn analysis() -> impl Strategy<Value = Analysis> {
    ((timeline(), events()), vec(percentiles(), 3), vec(number(), 8), any::<[f64; 2]>(), name())
        .prop_map(|((timeline, events), percentiles, n, floats, text)| {
            let mut analysis = testkit::hostile();
            analysis.timeline = timeline;
            analysis.latency = percentiles[0];
            analysis.service_time = percentiles[1];
            analysis.send_lag = percentiles[2];
            analysis.sentence = text.clone();
            let requests = &mut analysis.requests;
            (requests.owed, requests.ok, requests.failed) = (n[0], n[1], n[2]);
            (requests.unsent, requests.pending) = (n[3], n[4]);
            analysis.transitions =
                Transitions { observed: n[5], with_loss: n[6], upper_bound95: floats[0] };
            analysis.pod_hours = floats[1];
            for loss in &mut analysis.losses {
                (loss.count, loss.evidence) = (n[7], text.clone());
                (loss.first, loss.last) = (Timestamp(n[0]), Timestamp(n[1]));
            }
            if n[0] % 2 == 0 {
                analysis.losses.clear();
            }
            let of_events = testkit::kube_of(events);
            analysis.autoscaling = of_events.autoscaling;
            analysis.scale_ups = of_events.scale_ups;
            analysis.pod_starts = of_events.pod_starts;
            analysis.starts = of_events.starts;
            analysis.cluster = of_events.cluster;
            analysis.cost_per_thousand_good = Some(floats[0]);
            analysis
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn no_analysis_breaks_a_report(analysis in analysis(), columns in 0..5_000u32) {
        let options = RenderOptions { chart_columns: columns };
        let page = html::render(&analysis, None, &options);
        tags::check(&page).map_err(proptest::test_runner::TestCaseError::fail)?;
        assert!(!page.contains("NaN") && page.len() < 400_000);
        assert!(text::render(&analysis).lines().count() <= 25);
        markdown::render(&analysis);
    }
}
