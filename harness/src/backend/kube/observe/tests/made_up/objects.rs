//! What is no pod: endpoints, Deployment and sets, autoscaler, Events, nodes, metrics.

use highwater_model::event::{EventKind, MetricUnit};
use serde_json::{Value, json};

use super::super::{Bench, at, pod, set, stamp, target};

fn slice(name: &str, service: &str, endpoints: Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints
    })
}

fn endpoint(pod: &str, conditions: Value) -> Value {
    json!({
        "addresses": ["10.0.0.1"], "conditions": conditions,
        "targetRef": {"kind": "Pod", "name": pod}
    })
}

/// The endpoints of the last version as `a+s-t`: pod, ready, serving, terminating.
fn endpoints(bench: &Bench) -> String {
    let all = bench.observer.endpoints().iter().map(|endpoint| {
        let mark = |is: bool, letter: &str| if is { letter.to_uppercase() } else { letter.into() };
        format!(
            "{}:{}{}{}",
            endpoint.pod,
            mark(endpoint.ready, "r"),
            mark(endpoint.serving, "s"),
            mark(endpoint.terminating, "t")
        )
    });
    all.collect::<Vec<_>>().join(" ")
}

#[test]
fn several_slices_are_one_set_of_endpoints() {
    let up = || json!({"ready": true, "serving": true, "terminating": false});
    let down = || json!({"ready": false, "serving": true, "terminating": true});
    let mut bench = Bench::new(target());
    bench.tell(1.0, "endpointslices", "all", json!([slice("x", "web", json!([]))]));
    assert_eq!((endpoints(&bench).as_str(), bench.out.len()), ("", 1));
    bench.tell(2.0, "endpointslices", "modified", slice("x", "web", json!([endpoint("a", up())])));
    let second =
        json!([endpoint("b", down()), endpoint("c", json!({})), {"addresses": ["9.9.9.9"]}]);
    bench.tell(3.0, "endpointslices", "added", slice("y", "web", second));
    assert_eq!(endpoints(&bench), "a:RSt b:rST c:RSt");
    bench.tell(3.1, "endpointslices", "added", slice("z", "other", json!([endpoint("d", up())])));
    // A pod that moves from one slice to the other is in both for a moment.
    let both = json!([endpoint("a", json!({"ready": false})), endpoint("b", down())]);
    bench.tell(3.2, "endpointslices", "modified", slice("y", "web", both));
    assert_eq!(endpoints(&bench), "a:RSt b:rST");
    bench.tell(4.0, "endpointslices", "deleted", slice("x", "web", json!([])));
    assert_eq!(endpoints(&bench), "a:rst b:rST");
    bench.relist(9.0, 5.0, "endpointslices", json!([]));
    let versions: Vec<u64> = bench
        .out
        .iter()
        .filter_map(|told| match told.kind {
            EventKind::Endpoints { version, .. } => Some(version),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        bench.out.last().and_then(|told| told.precision).map(|off| off.0),
        Some(4_000_000_000)
    );
}

fn deployment(revision: u32, generation: u32, numbers: [i32; 4], more: Value) -> Value {
    let [desired, current, updated, available] = numbers;
    let mut status = json!({
        "observedGeneration": generation, "replicas": current, "updatedReplicas": updated,
        "readyReplicas": available, "availableReplicas": available
    });
    if let (Value::Object(status), Value::Object(more)) = (&mut status, more) {
        status.extend(more);
    }
    json!({
        "metadata": {
            "name": "web", "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()}
        },
        "spec": {"replicas": desired, "selector": {}, "template": {}}, "status": status
    })
}

fn rollouts(bench: &Bench) -> Vec<String> {
    bench.told(|kind| {
        matches!(
            kind,
            EventKind::RolloutStarted { .. }
                | EventKind::RolloutComplete { .. }
                | EventKind::ProgressDeadlineExceeded { .. }
        )
    })
}

#[test]
fn a_rollout_begins_with_a_revision_and_is_complete_by_its_numbers() {
    let mut bench = Bench::new(target());
    let progressing = |status: &str, reason: &str| {
        json!({"conditions": [{
            "type": "Progressing", "status": status, "reason": reason, "message": "m",
            "lastUpdateTime": stamp(5)
        }]})
    };
    let steps = [
        (1.0, deployment(1, 2, [2, 2, 2, 2], json!({})), 0),
        // The spec is newer than what the status speaks of.
        (2.0, deployment(2, 1, [2, 2, 2, 2], json!({})), 1),
        (3.0, deployment(2, 2, [2, 3, 1, 2], json!({})), 1),
        (5.1, deployment(2, 2, [2, 3, 1, 2], progressing("False", "ProgressDeadlineExceeded")), 2),
        (5.2, deployment(2, 2, [2, 3, 1, 2], progressing("False", "ProgressDeadlineExceeded")), 2),
        (6.0, deployment(2, 2, [2, 2, 2, 2], progressing("True", "Unheard")), 3),
        // A change of size is no rollout.
        (7.0, deployment(2, 2, [3, 2, 2, 2], json!({})), 3),
        (8.0, deployment(2, 2, [3, 3, 3, 3], json!({})), 3),
    ];
    for (now, object, told) in steps {
        bench.tell(now, "deployments", "modified", object);
        assert_eq!(rollouts(&bench).len(), told, "at {now}");
    }
    assert_eq!(
        rollouts(&bench),
        [
            r#"+2.000 rollout-started {"revision":2}"#,
            r#"+5.100 ±0.100 progress-deadline-exceeded {"revision":2}"#,
            r#"+6.000 rollout-complete {"revision":2}"#,
        ]
    );
}

#[test]
fn a_deployment_that_is_not_complete_at_first_is_rolling_out() {
    let mut bench = Bench::new(target());
    bench.tell(0.5, "replicasets", "all", json!([set("web-a", 4, 2)]));
    bench.tell(1.0, "deployments", "all", json!([deployment(4, 2, [2, 2, 2, 1], json!({}))]));
    bench.tell(2.0, "deployments", "modified", deployment(4, 2, [2, 2, 2, 2], json!({})));
    assert_eq!(
        rollouts(&bench),
        [r#"+1.000 rollout-started {"revision":4}"#, r#"+2.000 rollout-complete {"revision":4}"#]
    );
    // Another Deployment in the namespace is none of ours.
    let mut other = deployment(9, 2, [2, 2, 2, 2], json!({}));
    other["metadata"]["name"] = json!("other");
    bench.tell(3.0, "deployments", "added", other);
    assert_eq!(bench.observer.revision(), 4);
}

#[test]
fn terminating_pods_are_counted_where_the_cluster_does_not() {
    let mut bench = Bench::seen(target());
    bench.tell(1.0, "deployments", "all", json!([deployment(1, 2, [1, 1, 1, 1], json!({}))]));
    let going = super::super::deleted(pod("a", json!({})), 5, 30);
    bench.tell(5.2, "pods", "added", going.clone());
    bench.tell(6.0, "pods", "deleted", going);
    let counts = |bench: &Bench| -> Vec<u32> {
        let counts = bench.out.iter().filter_map(|told| match told.kind {
            EventKind::Replicas { terminating, .. } => Some(terminating),
            _ => None,
        });
        counts.collect()
    };
    assert_eq!(counts(&bench), [0, 1, 0]);
    let counted = deployment(1, 2, [1, 1, 1, 1], json!({"terminatingReplicas": 3}));
    bench.tell(7.0, "deployments", "modified", counted);
    assert_eq!(counts(&bench), [0, 1, 0, 3]);
}

#[test]
fn sets_tell_their_sizes_from_the_second_sight_on() {
    let mut bench = Bench::seen(target());
    let mut foreign = set("x-a", 1, 1);
    foreign["metadata"]["ownerReferences"][0]["name"] = json!("x");
    bench.tell(1.0, "replicasets", "added", foreign);
    bench.tell(2.0, "replicasets", "modified", set("web-a", 1, 2));
    bench.tell(2.1, "replicasets", "modified", set("web-a", 1, 5));
    bench.relist(9.0, 4.0, "replicasets", json!([set("web-a", 1, 5), set("web-b", 2, 1)]));
    let told = bench.told(|kind| matches!(kind, EventKind::ReplicasetScaled { .. }));
    assert_eq!(
        told,
        [
            r#"+0.500 ±0.500 replicaset-scaled {"from":0,"revision":2,"to":1}"#,
            r#"+2.100 replicaset-scaled {"from":2,"revision":1,"to":5}"#,
        ]
    );
}

fn autoscaler(last_scale: Option<i64>, current: i32, desired: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "minReplicas": 2, "maxReplicas": 9, "scaleTargetRef": {"kind": "", "name": ""},
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}
            }}]
        },
        "status": {
            "currentReplicas": current, "desiredReplicas": desired,
            "lastScaleTime": last_scale.map(stamp),
            "conditions": [{
                "type": "AbleToScale", "status": "True", "reason": "SucceededRescale",
                "message": "able"
            }]
        }
    })
}

fn rescale(count: i32, second: i64) -> Value {
    json!({
        "metadata": {"uid": "r", "name": "r"}, "reason": "SuccessfulRescale", "count": count,
        "involvedObject": {"kind": "HorizontalPodAutoscaler", "name": "web"},
        "lastTimestamp": stamp(second), "message": "New size: 4; reason: above target"
    })
}

#[test]
fn an_event_and_a_status_are_one_decision() {
    // What comes when; "event", "status" and "replicas"
    type Row<'a> = (&'a str, &'a [(&'a str, f64)], &'a [&'a str]);
    let rows: [Row<'_>; 6] = [
        ("both", &[("status", 10.2), ("event", 10.3)], &["+10.200 2 4 New"]),
        ("the other way round", &[("event", 10.2), ("status", 10.3)], &["+10.200 2 4 New"]),
        (
            "the Event again",
            &[("event", 10.2), ("status", 10.3), ("event", 10.4)],
            &["+10.200 2 4 New"],
        ),
        (
            "the status again",
            &[("status", 10.2), ("event", 10.3), ("status", 10.4)],
            &["+10.200 2 4 New"],
        ),
        ("only the status", &[("status", 10.2)], &["+10.200 2 4 able"]),
        ("only the Event", &[("replicas", 10.1), ("event", 10.2)], &["+10.200 2 4 New"]),
    ];
    for (case, steps, wanted) in rows {
        let mut bench = Bench::new(target());
        bench.tell(0.0, "events", "all", json!([]));
        bench.tell(1.0, "deployments", "all", json!([deployment(1, 2, [2, 2, 2, 2], json!({}))]));
        bench.tell(1.0, "hpa", "all", json!([autoscaler(Some(-60), 2, 2)]));
        for (what, now) in steps {
            match *what {
                "event" => bench.tell(*now, "events", "added", rescale(1, 10)),
                "status" => bench.tell(*now, "hpa", "modified", autoscaler(Some(10), 2, 4)),
                _ => {
                    let scaled = deployment(1, 2, [4, 2, 2, 2], json!({}));
                    bench.tell(*now, "deployments", "modified", scaled);
                }
            }
        }
        bench.fire(13.5);
        bench.fire(20.0);
        let told: Vec<String> = bench
            .out
            .iter()
            .filter_map(|told| match &told.kind {
                EventKind::AutoscalerDecision { from, to, reason } => {
                    let word = reason.split([' ', ':']).next().unwrap_or_default();
                    Some(format!("+{:.3} {from} {to} {word}", told.at.as_secs_f64()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(told, wanted, "{case}");
    }
}

#[test]
fn decisions_that_follow_each_other_are_not_mixed_up() {
    let mut bench = Bench::new(target());
    bench.tell(0.0, "events", "all", json!([]));
    bench.tell(1.0, "hpa", "all", json!([autoscaler(None, 2, 2)]));
    bench.tell(10.2, "hpa", "modified", autoscaler(Some(10), 2, 4));
    bench.tell(10.3, "events", "added", rescale(1, 10));
    bench.tell(25.2, "events", "modified", rescale(2, 25));
    bench.tell(25.3, "hpa", "modified", autoscaler(Some(25), 4, 8));
    let told = bench.told(|kind| matches!(kind, EventKind::AutoscalerDecision { .. }));
    assert_eq!(told.len(), 2);
    assert!(told[1].starts_with("+25.200") && told[1].contains(r#""from":4"#), "{told:?}");
}

#[test]
fn every_kind_of_metric_is_read() {
    let metric = |name: &str| json!({"name": name});
    let object = json!({"kind": "Service", "name": "s"});
    let specs = json!([
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "64Mi"}}},
        {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "web", "target": {"type": "Utilization", "averageUtilization": 60}}},
        {"type": "Pods", "pods": {"metric": metric("rps"), "target": {"type": "AverageValue", "averageValue": "1500m"}}},
        {"type": "Object", "object": {"metric": metric("hits"), "describedObject": object, "target": {"type": "Value", "value": "2k"}}},
        {"type": "External", "external": {"metric": metric("queue"), "target": {"type": "AverageValue", "averageValue": "30"}}},
    ]);
    let readings = json!([
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 77, "averageValue": "38m"}}},
        {"type": ""},
        {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "web", "current": {"averageUtilization": 61}}},
        {"type": "Pods", "pods": {"metric": metric("rps"), "current": {"averageValue": "2"}}},
        {"type": "Object", "object": {"metric": metric("hits"), "describedObject": object, "current": {"value": "1k"}}},
        {"type": "External", "external": {"metric": metric("queue"), "current": {"averageValue": "31500m"}}},
    ]);
    let mut object = autoscaler(None, 2, 2);
    object["spec"]["metrics"] = specs;
    object["status"]["currentMetrics"] = readings;
    let mut bench = Bench::new(target());
    bench.tell(1.0, "hpa", "added", object.clone());
    bench.tell(1.1, "hpa", "modified", object);
    let state = bench.observer.autoscaler().state().expect("has one");
    let found: Vec<(&str, MetricUnit, Option<f64>, f64)> = state
        .metrics
        .iter()
        .map(|reading| (reading.name.as_str(), reading.unit, reading.current, reading.target))
        .collect();
    assert_eq!(
        found,
        [
            ("cpu", MetricUnit::Percent, Some(77.0), 50.0),
            ("memory", MetricUnit::AverageValue, None, 67_108_864.0),
            ("web/cpu", MetricUnit::Percent, Some(61.0), 60.0),
            ("rps", MetricUnit::AverageValue, Some(2.0), 1.5),
            ("hits", MetricUnit::Value, Some(1000.0), 2000.0),
            ("queue", MetricUnit::AverageValue, Some(31.5), 30.0),
        ]
    );
    assert_eq!(bench.out.len(), 2, "its settings and its status, once each");
}

#[test]
fn before_its_first_pass_an_autoscaler_says_nothing() {
    let mut bench = Bench::new(target());
    let mut object = autoscaler(None, 0, 0);
    object["status"] = json!({"currentMetrics": null, "desiredReplicas": 0});
    bench.tell(1.0, "hpa", "added", object);
    assert_eq!(bench.out.len(), 1);
    assert_eq!(bench.observer.autoscaler().limits(), Some((2, 9)));
    assert!(bench.observer.autoscaler().state().is_none());
}

#[test]
fn events_are_told_once_by_uid_and_count_and_only_of_the_target() {
    let event = |kind: &str, name: &str, count: i32, second: i64| {
        json!({
            "metadata": {"uid": format!("{kind}{name}"), "name": "e"}, "reason": "Unhealthy",
            "involvedObject": {"kind": kind, "name": name}, "lastTimestamp": stamp(second),
            "count": count, "type": "Warning", "message": "in words"
        })
    };
    let mut bench = Bench::seen(target());
    let old = event("Pod", "web-a-1", 1, -100);
    bench.tell(1.0, "events", "all", json!([old.clone()]));
    bench.tell(2.0, "events", "modified", old);
    bench.tell(5.1, "events", "modified", event("Pod", "web-a-1", 2, 5));
    bench.tell(5.2, "events", "modified", event("Pod", "web-a-1", 2, 5));
    for (kind, name) in [("Pod", "other-1"), ("Deployment", "x"), ("Node", "web"), ("", "")] {
        bench.tell(5.3, "events", "added", event(kind, name, 1, 5));
    }
    for (kind, name) in [("Deployment", "web"), ("ReplicaSet", "web-a"), ("Service", "web")] {
        bench.tell(6.1, "events", "added", event(kind, name, 1, 6));
    }
    let mut series = event("HorizontalPodAutoscaler", "web", 1, 0);
    series["lastTimestamp"] = Value::Null;
    series["count"] = Value::Null;
    series["eventTime"] = json!("2026-01-01T00:00:06.400000Z");
    series["series"] = json!({"count": 7, "lastObservedTime": "2026-01-01T00:00:07.250000Z"});
    bench.tell(7.3, "events", "added", series);
    let told = bench.all();
    let heads: Vec<&str> = told.iter().filter_map(|line| line.split('{').next()).collect();
    assert_eq!(
        heads,
        [
            "+5.100 ±0.100 cluster-event ",
            "+6.100 ±0.100 cluster-event ",
            "+6.100 ±0.100 cluster-event ",
            "+6.100 ±0.100 cluster-event ",
            "+7.250 ±0.000 cluster-event ",
        ]
    );
    assert!(told[4].contains(r#""count":7"#), "{told:?}");
}

#[test]
fn nodes_tell_what_is_not_as_it_should_be() {
    let node = |ready: &str, pressure: &str, cordoned: bool| {
        json!({
            "metadata": {"name": "n"}, "spec": {"unschedulable": cordoned},
            "status": {"conditions": [
                {"type": "Ready", "status": ready, "reason": "R", "lastTransitionTime": stamp(1)},
                {"type": "MemoryPressure", "status": pressure, "reason": "P"},
            ]}
        })
    };
    let mut bench = Bench::new(target());
    bench.tell(1.5, "nodes", "all", json!([node("True", "False", false)]));
    bench.tell(2.0, "nodes", "modified", node("True", "False", false));
    assert!(bench.observer.nodes().all()["n"].takes_pods());
    bench.tell(3.0, "nodes", "modified", node("Unknown", "True", true));
    assert!(!bench.observer.nodes().all()["n"].takes_pods());
    bench.tell(4.0, "nodes", "modified", node("True", "False", false));
    bench.relist(9.0, 5.0, "nodes", json!([]));
    let told: Vec<String> = bench
        .out
        .iter()
        .map(|told| match &told.kind {
            EventKind::NodeCondition { condition, status, reason, .. } => {
                format!("{condition}={status} {reason}")
            }
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "Ready=True R",
            "Ready=Unknown R",
            "MemoryPressure=True P",
            "Schedulable=False Cordoned",
            "Ready=True R",
            "MemoryPressure=False P",
            "Schedulable=True Uncordoned",
            "Ready=Unknown NodeDeleted",
        ]
    );
}

#[test]
fn metrics_are_told_when_they_are_new() {
    let metrics = |pod: &str, second: i64, cpu: &[&str]| {
        let containers: Vec<Value> = cpu
            .iter()
            .map(|cpu| json!({"name": "c", "usage": {"cpu": cpu, "memory": "2Mi"}}))
            .collect();
        json!({
            "metadata": {"name": pod}, "timestamp": stamp(second), "window": "14.981s",
            "containers": containers
        })
    };
    let mut bench = Bench::seen(target());
    bench.tell(1.0, "pods", "added", pod("a", json!({})));
    let from = bench.out.len();
    bench.tell(
        20.0,
        "metrics",
        "",
        json!([metrics("a", 18, &["5m", "1n"]), metrics("x", 18, &["1"])]),
    );
    bench.tell(25.0, "metrics", "", json!([metrics("a", 18, &["5m", "1n"])]));
    bench.tell(35.0, "metrics", "", json!([metrics("a", 33, &["nonsense"])]));
    bench.tell(36.0, "metrics", "", json!([metrics("a", 33, &[])]));
    bench.tell(37.0, "metrics", "", json!([metrics("a", 33, &["1"])]));
    let told = super::super::lines(&bench.out[from..]);
    assert_eq!(
        told,
        [
            r#"+20.000 pod-metrics {"cpuNano":5000001,"memory":4194304,"pod":"a","window":"14s981ms"}"#,
            r#"+37.000 pod-metrics {"cpuNano":1000000000,"memory":2097152,"pod":"a","window":"14s981ms"}"#,
        ]
    );
    assert_eq!(bench.out[from].stated, Some(at(18.0)));
}
