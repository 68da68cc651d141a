//! Kubernetes' autoscaler on real CPU figures.

use highwater_model::{event::EventKind, time::Nanos};

use crate::lab::Lab;

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn a_spike_is_met_by_new_pods_and_every_decision_has_its_reason() {
    let lab = Lab::new("spike");
    let done = lab
        .bundled("run", "spike")
        .set(&[
            "traffic.phases=[{name: calm, hold: 10/s, for: 20s}, \
             {name: rise, ramp: {to: 60/s}, over: 2s}, {name: spike, hold: 60/s, for: 78s}]",
            "autoscaler.maxReplicas=5",
            "objectives=[{failed: 0}, {unexplained: 0}]",
        ])
        .go();
    done.is_flawless();
    let decisions: Vec<(u32, u32, &str)> = done
        .record
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::AutoscalerDecision { from, to, reason } => {
                Some((*from, *to, reason.as_str()))
            }
            _ => None,
        })
        .collect();
    let told = done.summary.autoscaler.expect("there is an autoscaler");
    assert_eq!(told.decisions, decisions.len() as u64);
    assert!(told.scale_ups >= 1, "{}", done.printed);
    assert!(decisions.iter().all(|(from, to, why)| from != to && !why.is_empty()), "{decisions:?}");
    assert!(done.summary.replicas.max > 2, "{}", done.printed);
    let took = done.summary.time_to_scale_ms.expect("it scaled");
    assert!(took.complete, "{took:?}");
    for (stage, known) in [
        ("decision", took.decision),
        ("scheduling", took.scheduling),
        ("start", took.start),
        ("readiness", took.readiness),
        ("endpoint", took.endpoint),
    ] {
        assert!(known.is_some_and(|ms| ms >= 0.0), "{stage}: {took:?}\n{}", done.printed);
    }
    // What lags behind the load's rise is the first of them; later ones follow from the same rise.
    let analysis = highwater::analyze::analyze(&done.record).unwrap();
    let lag = analysis.scale_ups[0].stages[0];
    assert!(lag.is_some_and(|lag| lag.span > Nanos::ZERO), "{lag:?}\n{}", done.printed);
    let measured = |kind: &EventKind| match kind {
        EventKind::AutoscalerStatus { metrics, .. } => {
            metrics.iter().any(|metric| metric.name == "cpu" && metric.current.is_some())
        }
        _ => false,
    };
    assert!(done.events(measured) >= 2, "{}", done.printed);
    assert!(done.events(|kind| matches!(kind, EventKind::PodMetrics { .. })) >= 2);
    done.left_nothing();
}
