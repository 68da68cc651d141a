//! Who ended a pod, and how its container ended.

use highwater_model::event::{DeleteReason, EventKind};
use serde_json::{Value, json};

use super::super::{
    super::Target, Bench, container, deleted, pod, running, set, stamp, target, terminated,
};

/// A pod whose container runs since second 2, with `lifecycle` and more in its container's spec.
fn web(spec: Value) -> Value {
    let mut pod = pod("a", json!({"containerStatuses": [container(0, running(2), json!({}))]}));
    if let (Some(container), Value::Object(spec)) =
        (pod.pointer_mut("/spec/containers/0").and_then(Value::as_object_mut), spec)
    {
        container.extend(spec);
    }
    pod
}

fn ended(mut pod: Value, code: i32, reason: &str, to: i64) -> Value {
    pod["status"]["containerStatuses"] =
        json!([container(0, terminated(0, code, reason, 2, to), json!({}))]);
    pod
}

fn event(reason: &str, second: i64) -> Value {
    json!({
        "metadata": {"uid": format!("{reason}{second}"), "name": "e"}, "reason": reason,
        "involvedObject": {"kind": "Pod", "name": "a", "fieldPath": "spec.containers{web}"},
        "lastTimestamp": stamp(second), "message": "in words"
    })
}

fn signal_line(second: f64) -> Value {
    let (whole, nanos) = (second as i64, (second.fract() * 1e9) as u32);
    let time = stamp(whole).replace('Z', &format!(".{nanos:09}Z"));
    json!({
        "highwater": "lifecycle/v1", "event": "signal", "monoNs": 1, "time": time, "pod": "a",
        "signal": "SIGTERM"
    })
}

fn signals(bench: &Bench) -> Vec<String> {
    bench.told(|kind| matches!(kind, EventKind::SignalSent { .. } | EventKind::ProbeKill { .. }))
}

fn reason(bench: &Bench) -> Option<DeleteReason> {
    let mut reasons = bench.out.iter().filter_map(|told| match &told.kind {
        EventKind::PodDeleted { pod, reason, .. } if pod == "a" => Some(*reason),
        _ => None,
    });
    let first = reasons.next();
    assert_eq!(reasons.next(), None, "told twice");
    first
}

fn evicted(mut pod: Value, reason: &str) -> Value {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": reason,
        "lastTransitionTime": stamp(10)
    });
    pod["status"]["conditions"].as_array_mut().expect("has conditions").push(condition);
    pod
}

#[test]
fn who_deleted_a_pod_is_told_from_its_condition_its_set_and_the_driver() {
    type Step = fn(&mut Bench);
    let gone = || deleted(web(json!({})), 10, 30);
    let rows: [(&str, Step, DeleteReason); 9] = [
        (
            "the driver said so",
            |bench| {
                bench.observer.expect_deletion(super::super::at(9.9), "a", DeleteReason::Deleted)
            },
            DeleteReason::Deleted,
        ),
        (
            "the driver said so of another pod",
            |bench| {
                bench.observer.expect_deletion(super::super::at(9.9), "b", DeleteReason::Deleted)
            },
            DeleteReason::Unknown,
        ),
        ("the run is over", |bench| bench.observer.expect_teardown(), DeleteReason::Teardown),
        (
            "its set was lowered",
            |bench| bench.tell(9.9, "replicasets", "modified", set("web-a", 1, 1)),
            DeleteReason::ScaleDown,
        ),
        (
            "its set was lowered and there is a newer one",
            |bench| {
                bench.tell(9.8, "replicasets", "added", set("web-b", 2, 1));
                bench.tell(9.9, "replicasets", "modified", set("web-a", 1, 1));
            },
            DeleteReason::Rollout,
        ),
        (
            "its set was emptied before there is a newer one",
            |bench| {
                bench.tell(
                    9.8,
                    "deployments",
                    "modified",
                    json!({
                        "metadata": {"name": "web"},
                        "spec": {"replicas": 2, "selector": {}, "template": {}}
                    }),
                );
                bench.tell(9.9, "replicasets", "modified", set("web-a", 1, 0));
            },
            DeleteReason::Rollout,
        ),
        (
            "there is a newer set, and its own was not lowered",
            |bench| bench.tell(9.8, "replicasets", "added", set("web-b", 2, 1)),
            DeleteReason::Unknown,
        ),
        (
            "its set was lowered before, to what it has",
            |bench| {
                bench.tell(5.0, "replicasets", "modified", set("web-a", 1, 1));
                bench.tell(5.1, "pods", "modified", {
                    let mut other = deleted(web(json!({})), 5, 30);
                    other["metadata"]["name"] = json!("b");
                    other["metadata"]["uid"] = json!("b");
                    other
                });
            },
            DeleteReason::Unknown,
        ),
        ("nobody knows", |_| {}, DeleteReason::Unknown),
    ];
    for (case, step, wanted) in rows {
        let mut bench = Bench::seen(target());
        for name in ["a", "b"] {
            let mut pod = web(json!({}));
            pod["metadata"]["name"] = json!(name);
            pod["metadata"]["uid"] = json!(name);
            bench.tell(3.0, "pods", "added", pod);
        }
        step(&mut bench);
        bench.tell(10.2, "pods", "modified", gone());
        // Its replacement does not make it one too many.
        let mut next = web(json!({}));
        next["metadata"]["name"] = json!("c");
        next["metadata"]["uid"] = json!("c");
        bench.tell(10.3, "pods", "added", next);
        bench.tell(10.4, "replicasets", "modified", set("web-z", 0, 0));
        bench.fire(11.0);
        assert_eq!(reason(&bench), Some(wanted), "{case}");
    }
}

#[test]
fn a_deletion_waits_a_little_for_its_reason() {
    for (late, wanted) in [(0.3, DeleteReason::ScaleDown), (0.8, DeleteReason::Unknown)] {
        let mut bench = Bench::seen(target());
        for name in ["a", "b"] {
            let mut pod = web(json!({}));
            pod["metadata"]["name"] = json!(name);
            pod["metadata"]["uid"] = json!(name);
            bench.tell(3.0, "pods", "added", pod);
        }
        bench.tell(10.2, "pods", "modified", deleted(web(json!({})), 10, 30));
        assert_eq!(reason(&bench), None);
        bench.tell(10.2 + late, "replicasets", "modified", set("web-a", 1, 1));
        assert_eq!(reason(&bench), Some(wanted), "{late}");
        let told = bench.told(|kind| matches!(kind, EventKind::PodDeleted { .. }));
        assert!(told[0].starts_with("+10.200 ±0.200"), "{told:?}");
    }
}

#[test]
fn evictions_say_so_themselves() {
    for (word, wanted) in [
        ("EvictionByEvictionAPI", DeleteReason::Eviction),
        ("PreemptionByScheduler", DeleteReason::Unknown),
        ("DeletionByTaintManager", DeleteReason::Unknown),
    ] {
        let mut bench = Bench::seen(target());
        bench.tell(3.0, "pods", "added", web(json!({})));
        bench.tell(10.2, "pods", "modified", evicted(deleted(web(json!({})), 10, 30), word));
        assert_eq!(reason(&bench), Some(wanted), "{word}");
    }
}

#[test]
fn the_kubelets_last_request_is_no_new_deletion() {
    let mut bench = Bench::seen(target());
    bench.tell(3.0, "pods", "added", web(json!({})));
    bench.tell(10.2, "pods", "modified", deleted(web(json!({})), 10, 30));
    let over = ended(deleted(web(json!({})), 13, 0), 0, "Completed", 12);
    bench.tell(13.1, "pods", "modified", over.clone());
    bench.tell(13.2, "pods", "deleted", over);
    bench.fire(20.0);
    let told =
        bench.told(|kind| matches!(kind, EventKind::PodDeleted { .. } | EventKind::PodGone { .. }));
    assert_eq!(
        told,
        [
            r#"+10.200 ±0.200 pod-deleted {"grace":"30s","pod":"a","reason":"unknown"}"#,
            r#"+13.200 pod-gone {"pod":"a"}"#,
        ]
    );
}

#[test]
fn sigterm_is_estimated_where_nobody_tells_of_it() {
    let sleep = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}});
    let long = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 60}}}});
    let exec = json!({"lifecycle": {"preStop": {"exec": {"command": ["x"]}}}});
    // Container's spec, Events with their second and instant, grace, exit -> SIGTERM
    type Row<'a> =
        (&'a str, Value, &'a [(&'a str, i64, f64)], i64, Option<(i32, i64, f64)>, &'a str);
    let rows: [Row<'_>; 10] = [
        ("no hook, no Event", json!({}), &[], 30, None, "+10.200 ±1.700"),
        ("no hook", json!({}), &[("Killing", 10, 10.4)], 30, None, "+10.400 ±0.400"),
        (
            "no hook, a late kubelet",
            json!({}),
            &[("Killing", 11, 11.1)],
            30,
            None,
            "+11.100 ±0.100",
        ),
        ("sleep", sleep.clone(), &[("Killing", 10, 10.4)], 30, None, "+15.400 ±0.400"),
        ("sleep, no Event", sleep.clone(), &[], 30, None, "+15.200 ±1.700"),
        (
            "a sleep longer than the grace",
            long,
            &[("Killing", 10, 10.4)],
            30,
            None,
            "+40.400 ±0.400",
        ),
        ("an exec hook", exec.clone(), &[("Killing", 10, 10.4)], 30, None, "+10.400 ±30.400"),
        (
            "an exec hook that failed",
            exec,
            &[("Killing", 10, 10.4), ("FailedPreStopHook", 10, 10.5)],
            30,
            None,
            "+10.500 ±0.500",
        ),
        (
            "ended by it",
            sleep.clone(),
            &[("Killing", 10, 10.4)],
            30,
            Some((0, 15, 16.5)),
            "+15.400 ±0.400",
        ),
        ("ended before it", sleep, &[("Killing", 10, 10.4)], 30, Some((1, 12, 13.5)), ""),
    ];
    for (case, spec, events, grace, exit, wanted) in rows {
        let mut bench = Bench::seen(target());
        bench.tell(3.0, "pods", "added", web(spec.clone()));
        bench.tell(10.2, "pods", "modified", deleted(web(spec.clone()), 10, grace));
        for (reason, second, seen) in events {
            bench.tell(*seen, "events", "added", event(reason, *second));
        }
        if let Some((code, second, seen)) = exit {
            let over = ended(deleted(web(spec), 10, grace), code, "Error", second);
            bench.tell(seen, "pods", "modified", over);
        }
        bench.fire(60.0);
        bench.fire(61.0);
        let told = signals(&bench);
        match wanted {
            "" => assert!(told.is_empty(), "{case}: {told:?}"),
            wanted => {
                assert_eq!(told.len(), 1, "{case}: {told:?}");
                assert!(told[0].starts_with(wanted), "{case}: {told:?}");
            }
        }
    }
}

#[test]
fn a_target_that_tells_of_its_sigterm_is_believed() {
    let tells = || Target { tells: true, ..target() };
    // When the line says, when it comes; the exit -> SIGTERM
    let rows = [
        ("its line", Some((10.5, 10.6)), None, "+10.500"),
        ("its line before the deletion is seen", Some((10.05, 10.1)), None, "+10.050"),
        ("its line after its end", Some((10.5, 13.0)), Some((0, 11, 12.0)), "+10.500"),
        ("no line at all", None, Some((143, 10, 11.4)), "+10.300 ±0.300"),
        ("no line and no end", None, None, "+10.300 ±0.300"),
    ];
    for (case, line, exit, wanted) in rows {
        let mut bench = Bench::seen(tells());
        bench.tell(3.0, "pods", "added", web(json!({})));
        let mut steps: Vec<(f64, &str)> = vec![(10.2, "delete"), (10.3, "killing")];
        steps.extend(line.map(|(_, comes)| (comes, "line")));
        steps.extend(exit.map(|(_, _, seen)| (seen, "exit")));
        steps.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (now, step) in steps {
            let going = deleted(web(json!({})), 10, 30);
            match (step, exit) {
                ("delete", _) => bench.tell(now, "pods", "modified", going),
                ("killing", _) => bench.tell(now, "events", "added", event("Killing", 10)),
                ("exit", Some((code, second, _))) => {
                    bench.tell(now, "pods", "modified", ended(going, code, "Error", second));
                }
                _ => bench.line(now, "a", signal_line(line.expect("has one").0)),
            }
        }
        bench.fire(30.0);
        bench.fire(31.0);
        let told = signals(&bench);
        assert_eq!(told.len(), 1, "{case}: {told:?}");
        assert!(told[0].starts_with(wanted), "{case}: {told:?}");
        assert!(told[0].contains(r#""byKubelet":true"#), "{case}: {told:?}");
        let all = bench.told(|kind| {
            matches!(kind, EventKind::PodDeleted { .. } | EventKind::SignalSent { .. })
        });
        assert!(all[0].contains("pod-deleted"), "{case}: {all:?}");
    }
}

#[test]
fn a_sigterm_of_the_drivers_is_not_the_kubelets() {
    let mut bench = Bench::seen(Target { tells: true, ..target() });
    bench.tell(3.0, "pods", "added", web(json!({})));
    bench.observer.expect_sigterm("a");
    bench.line(10.6, "a", signal_line(10.5));
    bench.tell(12.0, "pods", "modified", ended(web(json!({})), 0, "Completed", 11));
    bench.fire(30.0);
    assert!(signals(&bench).is_empty());
}

#[test]
fn sigkill_is_the_kubelets_only_after_the_grace() {
    let rows = [
        ("at the deadline", 137, "Error", 20, true),
        ("later", 137, "Error", 22, true),
        ("long before", 137, "Error", 15, false),
        ("out of memory", 137, "OOMKilled", 20, false),
        ("by itself", 1, "Error", 20, false),
    ];
    for (case, code, reason, second, wanted) in rows {
        let mut bench = Bench::seen(target());
        bench.tell(3.0, "pods", "added", web(json!({})));
        bench.tell(10.2, "pods", "modified", deleted(web(json!({})), 10, 10));
        let over = ended(deleted(web(json!({})), 10, 10), code, reason, second);
        bench.tell(second as f64 + 1.5, "pods", "modified", over);
        let told = signals(&bench);
        let was_killed = told.iter().any(|line| line.contains("SIGKILL"));
        assert_eq!(was_killed, wanted, "{case}: {told:?}");
    }
}

#[test]
fn a_kill_without_a_deletion_is_a_probes() {
    let both = json!({"livenessProbe": {}, "startupProbe": {}});
    let liveness = json!({"livenessProbe": {}});
    // Container's spec, whether its startup has passed, what comes after -> the kill
    let rows = [
        ("liveness", liveness.clone(), true, "", Some("liveness")),
        ("startup", both.clone(), false, "", Some("startup")),
        ("liveness after startup", both, true, "", Some("liveness")),
        ("no probe could have", json!({}), true, "", None),
        ("a deletion by another watch", liveness.clone(), true, "deletion", None),
        ("an exit confirms it", liveness.clone(), true, "exit", Some("liveness")),
        ("a restart that was seen first", liveness, true, "restart first", Some("liveness")),
    ];
    for (case, spec, is_started, after, wanted) in rows {
        let show = |containers: Value| {
            let mut pod = web(spec.clone());
            pod["status"]["containerStatuses"] = json!([containers]);
            pod
        };
        let mut first = container(0, running(2), json!({}));
        first["started"] = json!(is_started);
        let mut bench = Bench::seen(target());
        bench.tell(3.0, "pods", "added", show(first));
        let next = show(container(1, running(12), terminated(0, 0, "Completed", 2, 11)));
        if after == "restart first" {
            bench.tell(12.9, "pods", "modified", next);
        }
        bench.tell(
            if after == "restart first" { 13.0 } else { 10.4 },
            "events",
            "added",
            event("Killing", 10),
        );
        match after {
            "deletion" => bench.tell(10.6, "pods", "modified", deleted(web(spec), 10, 30)),
            "exit" => bench.tell(11.2, "pods", "modified", ended(web(spec), 0, "Completed", 10)),
            _ => {}
        }
        bench.fire(14.0);
        bench.fire(60.0);
        let told = signals(&bench);
        let kills: Vec<&String> = told.iter().filter(|line| line.contains("probe-kill")).collect();
        match wanted {
            Some(probe) => {
                assert_eq!(kills.len(), 1, "{case}: {told:?}");
                assert!(kills[0].contains(probe), "{case}: {told:?}");
                let is_told = told.iter().any(|line| line.contains("SIGTERM"));
                assert!(is_told, "{case}: no SIGTERM in {told:?}");
            }
            None => assert!(kills.is_empty(), "{case}: {told:?}"),
        }
    }
}

#[test]
fn a_hook_that_failed_ends_where_its_event_says_also_when_a_probe_killed() {
    let spec = json!({
        "livenessProbe": {}, "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}
    });
    // Whether the pod is deleted as well, by another watch -> SIGTERM
    for is_deleted in [false, true] {
        let mut bench = Bench::seen(target());
        bench.tell(3.0, "pods", "added", web(spec.clone()));
        bench.tell(10.4, "events", "added", event("Killing", 10));
        bench.tell(10.5, "events", "added", event("FailedPreStopHook", 10));
        if is_deleted {
            bench.tell(10.6, "pods", "modified", deleted(web(spec.clone()), 10, 30));
        }
        bench.fire(60.0);
        bench.fire(61.0);
        let told = signals(&bench);
        assert_eq!(told.len(), if is_deleted { 1 } else { 2 }, "{told:?}");
        let last = told.last().expect("has one");
        assert!(last.starts_with("+10.500 ±0.500 signal-sent"), "{told:?}");
    }
}

#[test]
fn a_container_that_starts_in_a_deleted_pod_is_ended_as_well() {
    let mut bench = Bench::seen(target());
    let mut creating = web(json!({}));
    creating["status"]["containerStatuses"] = json!([]);
    bench.tell(1.5, "pods", "added", creating.clone());
    bench.tell(1.7, "pods", "modified", deleted(creating, 1, 30));
    // Its Ready condition is written in the second of its end.
    let mut ready = deleted(web(json!({})), 1, 30);
    ready["status"]["conditions"] =
        json!([{"type": "Ready", "status": "True", "lastTransitionTime": stamp(3)}]);
    bench.tell(3.8, "pods", "modified", ready);
    let mut over = ended(deleted(web(json!({})), 1, 30), 0, "Completed", 3);
    over["status"]["conditions"] =
        json!([{"type": "Ready", "status": "False", "lastTransitionTime": stamp(4)}]);
    bench.tell(4.9, "pods", "modified", over);
    bench.fire(20.0);
    let told = bench.told(|kind| {
        matches!(
            kind,
            EventKind::ContainerStarted { .. }
                | EventKind::PodReady { .. }
                | EventKind::SignalSent { .. }
                | EventKind::ContainerExited { .. }
                | EventKind::PodUnready { .. }
        )
    });
    let heads: Vec<&str> = told.iter().filter_map(|line| line.split(" {").next()).collect();
    assert_eq!(
        heads,
        [
            "+2.500 ±0.500 container-started",
            "+2.500 ±1.700 signal-sent",
            "+3.800 ±0.800 pod-ready",
            "+3.900 ±0.100 container-exited",
            "+4.900 ±0.900 pod-unready",
        ]
    );
}

#[test]
fn a_deletion_goes_before_its_signal_though_it_is_told_later() {
    let mut bench = Bench::seen(target());
    bench.tell(3.0, "pods", "added", web(json!({})));
    // After a gap, all of it at once: nobody knows more than the second of the deletion.
    let over = ended(deleted(web(json!({})), 10, 30), 0, "Completed", 11);
    bench.relist(30.0, 9.0, "pods", json!([over]));
    bench.fire(31.0);
    bench.fire(60.0);
    let told = bench.told(|kind| {
        matches!(
            kind,
            EventKind::PodDeleted { .. }
                | EventKind::SignalSent { .. }
                | EventKind::ContainerExited { .. }
        )
    });
    let kinds: Vec<&str> = told.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(kinds, ["pod-deleted", "signal-sent", "container-exited"], "{told:?}");
}

#[test]
fn exit_codes_name_their_signals() {
    for (code, signal) in [(0, None), (1, None), (139, Some(11)), (143, Some(15)), (255, None)] {
        let mut bench = Bench::seen(target());
        bench.tell(3.0, "pods", "added", web(json!({})));
        bench.tell(9.0, "pods", "modified", ended(web(json!({})), code, "Error", 8));
        let found = bench.out.iter().find_map(|told| match &told.kind {
            EventKind::ContainerExited { code, signal, .. } => Some((*code, *signal)),
            _ => None,
        });
        assert_eq!(found, Some((code, signal)));
    }
}

#[test]
fn a_container_that_was_lost_has_ended_some_time() {
    let mut bench = Bench::seen(target());
    bench.tell(3.0, "pods", "added", web(json!({})));
    let state = json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}});
    let mut lost = web(json!({}));
    lost["status"]["containerStatuses"] = json!([container(0, state, json!({}))]);
    bench.tell(20.0, "pods", "modified", lost.clone());
    bench.tell(21.0, "pods", "modified", lost);
    let told = bench.told(|kind| matches!(kind, EventKind::ContainerExited { .. }));
    assert_eq!(told, [r#"+20.000 ±17.500 container-exited {"code":137,"pod":"a"}"#]);
}
