//! Pods: from made to gone.

use highwater_model::event::{EventKind, Source};
use serde_json::{Value, json};

use super::super::{
    super::{News, Watched, time::Offset},
    Bench, ZERO_S, at, container, deleted, lines, pod, running, set, span, stamp, target,
    terminated,
};

fn ready(status: &str, since: i64) -> Value {
    json!([
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(1)},
        {"type": "Ready", "status": status, "lastTransitionTime": stamp(since), "reason": "Why"}
    ])
}

/// A pod that runs since second 2 and is ready since second 3.
fn web(name: &str) -> Value {
    let containers = json!([container(0, running(2), json!({}))]);
    pod(name, json!({"conditions": ready("True", 3), "containerStatuses": containers}))
}

fn kinds(bench: &Bench) -> Vec<String> {
    let names = bench.all().into_iter().filter_map(|line| {
        line.split(' ').find(|word| word.contains('-') && !word.contains(':')).map(Into::into)
    });
    names.collect()
}

#[test]
fn objects_without_their_parts_are_taken_for_what_they_are() {
    let bare = json!({"metadata": {"name": "web", "uid": "u"}});
    let mut bench = Bench::new(target());
    for kind in ["pods", "deployments", "replicasets", "nodes"] {
        for action in ["added", "modified", "deleted"] {
            bench.tell(1.0, kind, action, bare.clone());
        }
    }
    let hpa = json!({"metadata": {"name": "web"}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "", "name": ""}}});
    bench.tell(1.0, "hpa", "added", hpa);
    bench.tell(1.0, "events", "added", json!({"metadata": {}, "involvedObject": {}}));
    let slice = json!({"metadata": {}, "addressType": "IPv4", "endpoints": []});
    bench.tell(1.0, "endpointslices", "added", slice);
    bench.fire(5.0);
    assert_eq!(
        kinds(&bench),
        ["pod-created", "pod-deleted", "pod-gone", "node-condition", "autoscaler-spec"]
    );
}

#[test]
fn a_life_is_told_once_however_often_it_is_shown() {
    let mut bench = Bench::seen(target());
    for seconds in [3.2, 3.3, 3.4] {
        bench.tell(seconds, "pods", "modified", web("a"));
    }
    bench.relist(4.0, 3.9, "pods", json!([web("a")]));
    assert_eq!(kinds(&bench), ["pod-created", "pod-scheduled", "container-started", "pod-ready"]);
}

#[test]
fn ready_is_true_and_nothing_else() {
    let mut bench = Bench::seen(target());
    bench.tell(3.2, "pods", "added", web("a"));
    let mut unknown = web("a");
    unknown["status"]["conditions"] = ready("Unknown", 9);
    bench.tell(9.5, "pods", "modified", unknown);
    let told = bench.told(|kind| matches!(kind, EventKind::PodUnready { .. }));
    assert_eq!(told, [r#"+9.500 ±0.500 pod-unready {"pod":"a","reason":"Why"}"#]);
    // Ready since later than before: it was unready in between.
    bench.tell(12.1, "pods", "modified", web("a"));
    let mut again = web("a");
    again["status"]["conditions"] = ready("True", 14);
    bench.tell(14.1, "pods", "modified", again);
    let told = bench.told(|kind| matches!(kind, EventKind::PodUnready { .. }));
    assert_eq!(told.len(), 2);
    assert!(bench.observer.pod("a").is_some_and(|pod| pod.is_ready));
}

#[test]
fn clocks_that_disagree_move_nothing_past_its_observation() {
    // The cluster's lead, in seconds, known or not -> when the pod was made and ready.
    let rows = [
        ("the clocks agree", 0, 0, 1.2, 3.2),
        ("ahead and known", 3600, 3600, 1.2, 3.2),
        ("ahead and not known", 3600, 0, 1.2, 3.2),
        ("behind and not known", -3600, 0, 0.0, 3.2),
    ];
    for (case, lead, known, made, ready_at) in rows {
        let offset = Offset { ahead_ns: known * 1_000_000_000, ..Offset::default() };
        let mut bench = Bench::with_offset(target(), offset);
        bench.tell(0.0, "replicasets", "all", json!([set("web-a", 1, 2)]));
        bench.tell(0.0, "pods", "all", json!([]));
        let text = web("a").to_string();
        let mut shifted = text.clone();
        for second in 0..5 {
            let moved = k8s_openapi::jiff::Timestamp::from_second(ZERO_S + second + lead)
                .expect("in range");
            shifted = shifted.replace(&stamp(second), &moved.to_string());
        }
        let shifted: Value = serde_json::from_str(&shifted).expect("is JSON");
        let mut made_only = shifted.clone();
        made_only["status"] = json!({});
        bench.tell(1.2, "pods", "added", made_only);
        bench.tell(3.2, "pods", "modified", shifted);
        let find = |wanted: &str| {
            let found = bench.out.iter().find(|told| super::super::line(told).contains(wanted));
            found.unwrap_or_else(|| panic!("{case}: no {wanted}")).at.as_secs_f64()
        };
        assert!((find("pod-created") - made).abs() < 1e-9, "{case}: {}", find("pod-created"));
        let ready = find("pod-ready");
        let is_right = if lead < 0 && known == 0 { ready <= 3.2 } else { ready == ready_at };
        assert!(is_right, "{case}: {ready}");
        bench.all();
    }
}

#[test]
fn after_a_gap_what_is_missing_is_gone_and_what_changed_is_told_late() {
    let mut bench = Bench::seen(target());
    bench.tell(3.2, "pods", "added", web("a"));
    bench.tell(3.2, "pods", "added", web("b"));
    let restarted = container(1, running(12), terminated(0, 1, "Error", 2, 11));
    let mut other = web("b");
    other["status"]["containerStatuses"] = json!([restarted]);
    bench.relist(30.0, 10.0, "pods", json!([other]));
    bench.fire(31.0);
    let told = bench.told(|kind| !matches!(kind, EventKind::Replicas { .. }));
    assert_eq!(
        &told[8..],
        [
            r#"+11.500 ±0.500 container-exited {"code":1,"pod":"b"}"#,
            r#"+12.500 ±0.500 container-started {"address":"10.0.0.1:8080","pod":"b","restarts":1}"#,
            r#"+30.000 ±20.000 pod-deleted {"grace":"0s","pod":"a","reason":"unknown"}"#,
            r#"+30.000 ±20.000 pod-gone {"pod":"a"}"#,
        ]
    );
    assert_eq!(bench.observer.pods().len(), 1);
}

#[test]
fn a_pod_of_the_same_name_is_another_pod() {
    let mut bench = Bench::seen(target());
    bench.tell(3.2, "pods", "added", web("a"));
    let mut other = web("a");
    other["metadata"]["uid"] = json!("other");
    bench.tell(5.0, "pods", "added", other);
    bench.fire(6.0);
    let names = kinds(&bench);
    assert_eq!(names.iter().filter(|name| *name == "pod-created").count(), 2);
    assert_eq!(names.iter().filter(|name| *name == "pod-gone").count(), 1);
}

#[test]
fn a_pod_waits_for_the_set_that_gives_it_its_revision() {
    let mut bench = Bench::new(target());
    bench.tell(0.0, "replicasets", "all", json!([]));
    bench.tell(1.5, "pods", "added", web("a"));
    assert!(bench.out.is_empty());
    assert_eq!(bench.observer.next_deadline(), Some(at(2.5)));
    bench.tell(1.7, "replicasets", "added", set("web-a", 7, 1));
    let told = bench.told(|kind| matches!(kind, EventKind::PodCreated { .. }));
    assert_eq!(told, [r#"+1.500 ±0.500 pod-created {"pod":"a","revision":7}"#]);
    // One whose set is never seen is told without.
    let mut stray = web("b");
    stray["metadata"]["ownerReferences"][0]["name"] = json!("web-none");
    bench.tell(2.0, "pods", "added", stray);
    bench.fire(3.0);
    let told = bench.told(|kind| matches!(kind, EventKind::PodCreated { revision: 0, .. }));
    assert_eq!(told.len(), 1);
    // One that is gone before its set is seen is told all the same.
    let mut brief = web("c");
    brief["metadata"]["ownerReferences"][0]["name"] = json!("web-none");
    bench.tell(4.0, "pods", "added", brief.clone());
    bench.tell(4.1, "pods", "deleted", brief);
    bench.fire(5.0);
    let told = bench.told(|kind| matches!(kind, EventKind::PodGone { .. }));
    assert_eq!(told, [r#"+4.100 pod-gone {"pod":"c"}"#]);
}

#[test]
fn a_pod_without_a_node_says_why_and_does_so_once() {
    let mut bench = Bench::seen(target());
    let pending = |message: &str| {
        let mut pod = pod(
            "a",
            json!({"phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": message, "lastTransitionTime": stamp(1)
            }]}),
        );
        pod["spec"]["nodeName"] = Value::Null;
        pod
    };
    bench.tell(1.1, "pods", "added", pending("full"));
    bench.tell(2.0, "pods", "modified", pending("full"));
    bench.tell(3.0, "pods", "modified", pending("still full"));
    let told = bench.told(|kind| matches!(kind, EventKind::PodUnschedulable { .. }));
    assert_eq!(
        told,
        [
            r#"+1.100 pod-unschedulable {"message":"full","pod":"a"}"#,
            r#"+3.000 pod-unschedulable {"message":"still full","pod":"a"}"#,
        ]
    );
    assert!(bench.observer.pod("a").is_some_and(|pod| pod.unschedulable.is_some()));
    bench.tell(4.0, "pods", "modified", web("a"));
    assert!(bench.observer.pod("a").is_some_and(|pod| pod.unschedulable.is_none()));
}

#[test]
fn containers_that_do_not_start_say_why_once_each() {
    let waiting = |reason: &str| {
        let state = json!({"waiting": {"reason": reason, "message": "m"}});
        pod("a", json!({"containerStatuses": [container(0, state, json!({}))]}))
    };
    let mut bench = Bench::seen(target());
    for reason in [
        "ContainerCreating",
        "PodInitializing",
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
        "CreateContainerConfigError",
    ] {
        bench.tell(2.0, "pods", "modified", waiting(reason));
    }
    let state = json!({"terminated": {
        "containerID": "c0", "exitCode": 128, "reason": "StartError", "message": "no such file",
        "startedAt": "1970-01-01T00:00:00Z", "finishedAt": stamp(3)
    }});
    let failed = pod("a", json!({"containerStatuses": [container(0, state, json!({}))]}));
    bench.tell(3.5, "pods", "modified", failed);
    let told = bench.told(|kind| matches!(kind, EventKind::ContainerStartFailed { .. }));
    let reasons: Vec<&str> =
        told.iter().filter_map(|line| line.split(r#""reason":""#).nth(1)).collect();
    assert_eq!(
        reasons,
        [
            r#"ErrImagePull: m"}"#,
            r#"ImagePullBackOff: m"}"#,
            r#"CreateContainerConfigError: m"}"#,
            r#"StartError: no such file"}"#,
        ]
    );
    let exits = bench.told(|kind| {
        matches!(kind, EventKind::ContainerStarted { .. } | EventKind::ContainerExited { .. })
    });
    assert!(exits.is_empty(), "{exits:?}");
}

#[test]
fn restarts_and_their_back_off_are_told_from_the_counts() {
    let mut bench = Bench::seen(target());
    let show = |containers: Value| pod("a", json!({"containerStatuses": [containers]}));
    bench.tell(2.5, "pods", "added", show(container(0, running(2), json!({}))));
    let first = terminated(0, 1, "Error", 2, 3);
    bench.tell(3.5, "pods", "modified", show(container(0, first.clone(), json!({}))));
    bench.tell(4.5, "pods", "modified", show(container(1, running(4), first.clone())));
    let second = terminated(1, 137, "OOMKilled", 4, 5);
    bench.tell(5.5, "pods", "modified", show(container(1, second.clone(), first)));
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "m"}});
    for _ in 0..2 {
        let status = container(1, waiting.clone(), second.clone());
        bench.tell(6.5, "pods", "modified", show(status));
    }
    // A whole container that no watch told of.
    let third = terminated(2, 0, "Completed", 15, 16);
    bench.tell(40.0, "pods", "modified", show(container(3, running(36), third)));
    let told = bench.told(|kind| {
        !matches!(kind, EventKind::PodCreated { .. } | EventKind::PodScheduled { .. })
    });
    assert_eq!(
        told,
        [
            r#"+2.250 ±0.250 container-started {"address":"10.0.0.1:8080","pod":"a","restarts":0}"#,
            r#"+3.250 ±0.250 container-exited {"code":1,"pod":"a"}"#,
            r#"+4.250 ±0.250 container-started {"address":"10.0.0.1:8080","pod":"a","restarts":1}"#,
            r#"+5.250 ±0.250 container-exited {"code":137,"oom":true,"pod":"a","signal":9}"#,
            r#"+6.500 back-off {"pod":"a","wait":"10s"}"#,
            r#"+15.500 ±0.500 container-started {"address":"10.0.0.1:8080","pod":"a","restarts":2}"#,
            r#"+16.500 ±0.500 container-exited {"code":0,"pod":"a"}"#,
            r#"+36.500 ±0.500 container-started {"address":"10.0.0.1:8080","pod":"a","restarts":3}"#,
        ]
    );
}

#[test]
fn an_event_of_the_start_is_more_exact_than_the_status() {
    let started = |seconds: i64, container: &str| {
        json!({
            "metadata": {"uid": format!("e{seconds}"), "name": "e"}, "reason": "Started",
            "involvedObject": {
                "kind": "Pod", "name": "a", "fieldPath": format!("spec.containers{{{container}}}")
            },
            "lastTimestamp": stamp(seconds)
        })
    };
    // Event's second, container, observed -> start
    let rows = [
        ("in time", 2, "web", 2.1, 2.1),
        ("of another container", 2, "sidecar", 2.1, 2.5),
        ("of another start", 1, "web", 1.5, 2.5),
    ];
    for (case, second, of, seen, start) in rows {
        let mut bench = Bench::seen(target());
        let mut creating = web("a");
        creating["status"]["containerStatuses"] = json!([]);
        creating["status"]["conditions"] = json!([]);
        bench.tell(1.1, "pods", "added", creating);
        bench.tell(seen, "events", "added", started(second, of));
        bench.tell(4.0, "pods", "modified", web("a"));
        let found = bench.observer.pod("a").and_then(|pod| pod.container.clone());
        assert_eq!(found.map(|container| container.started), Some(at(start)), "{case}");
    }
}

#[test]
fn gaps_are_told_when_they_end_and_at_the_end() {
    let mut bench = Bench::new(target());
    let began = |what: Watched, from: f64| News::GapBegan {
        what,
        from: at(from),
        reason: "refused".into(),
    };
    bench.observer.take(at(11.0), &began(Watched::Pods, 10.0), &mut bench.out);
    bench.observer.take(at(12.0), &began(Watched::Pods, 11.0), &mut bench.out);
    bench.observer.take(at(12.0), &began(Watched::Log("a".into()), 11.5), &mut bench.out);
    assert!(bench.out.is_empty());
    assert_eq!(bench.observer.gaps().count(), 2);
    let ended = News::GapEnded { what: Watched::Pods };
    bench.observer.take(at(20.0), &ended, &mut bench.out);
    bench.observer.take(at(21.0), &ended, &mut bench.out);
    bench.observer.finish(at(30.0), &mut bench.out);
    assert_eq!(
        lines(&bench.out),
        [
            r#"+20.000 watch-gap {"from":10000000000,"reason":"refused","what":"pods"}"#,
            r#"+30.000 watch-gap {"from":11500000000,"reason":"refused","what":"the log of a"}"#,
        ]
    );
}

#[test]
fn lines_of_the_target_are_placed_by_its_nodes_clock() {
    let line = |event: &str, nanos: u32| {
        let time = format!("2026-01-01T00:00:10.{nanos:09}Z");
        json!({
            "highwater": "lifecycle/v1", "event": event, "monoNs": 5, "time": time, "pod": "a",
            "inFlight": 2, "requests": 9, "conflicts": 3, "throttled": 1
        })
    };
    let mut bench = Bench::seen(target());
    bench.tell(3.5, "pods", "added", web("a"));
    let offset = Offset { ahead_ns: 2_000_000_000, uncertainty: span(0.002) };
    bench.observer.set_node_clock("node-1", offset);
    let from = bench.out.len();
    bench.line(8.6, "a", line("listening", 500_000_000));
    bench.line(8.6, "a", line("self-scaling", 0));
    bench.line(8.7, "a", line("drained", 900_000_000));
    bench.line(8.7, "a", line("of-tomorrow", 0));
    bench.line(8.7, "nobody", line("ready", 0));
    bench.line(8.7, "a", json!("no object"));
    bench.line(8.7, "a", json!({"highwater": "other", "event": "ready"}));
    let told = &bench.out[from..];
    assert!(told.iter().all(|told| told.source == Source::Target));
    assert_eq!(
        lines(told),
        [
            r#"+8.000 ±0.002 api-use {"conflicts":3,"errors":0,"pod":"a","requests":9,"throttled":1}"#,
            r#"+8.500 ±0.002 lifecycle {"detail":"conflicts=3 inFlight=2 requests=9 throttled=1","phase":"listening","pod":"a"}"#,
            r#"+8.700 ±0.202 lifecycle {"detail":"conflicts=3 inFlight=2 requests=9 throttled=1","phase":"drained","pod":"a"}"#,
        ]
    );
}

#[test]
fn what_a_target_says_is_part_of_its_containers_life() {
    let line = |event: &str, time: &str| {
        json!({
            "highwater": "lifecycle/v1", "event": event, "monoNs": 5, "pod": "a",
            "time": format!("2026-01-01T00:00:{time}Z")
        })
    };
    let mut bench = Bench::seen(target());
    // Started in second 2, seen in second 3: at 2.5 by estimate.
    bench.tell(3.5, "pods", "added", web("a"));
    bench.line(3.6, "a", line("starting", "01.9"));
    bench.line(3.6, "a", line("starting", "02.1"));
    bench.line(3.6, "a", line("listening", "02.7"));
    bench.line(9.0, "a", line("exiting", "08.8"));
    let mut over = web("a");
    over["status"]["containerStatuses"] =
        json!([container(0, terminated(0, 0, "Completed", 2, 8), json!({}))]);
    bench.tell(10.0, "pods", "modified", over);
    let told = bench.told(|kind| {
        matches!(
            kind,
            EventKind::Lifecycle { .. }
                | EventKind::ContainerStarted { .. }
                | EventKind::ContainerExited { .. }
        )
    });
    assert_eq!(
        told,
        [
            // Of a container before.
            r#"+1.900 lifecycle {"phase":"starting","pod":"a"}"#,
            r#"+2.500 ±0.500 container-started {"address":"10.0.0.1:8080","pod":"a","restarts":0}"#,
            r#"+2.500 lifecycle {"phase":"starting","pod":"a"}"#,
            r#"+2.700 lifecycle {"phase":"listening","pod":"a"}"#,
            r#"+8.800 lifecycle {"phase":"exiting","pod":"a"}"#,
            r#"+8.800 ±0.050 container-exited {"code":0,"pod":"a"}"#,
        ]
    );
}

#[test]
fn lines_wait_for_the_container_that_they_are_of() {
    let line = |event: &str, time: &str| {
        json!({
            "highwater": "lifecycle/v1", "event": event, "monoNs": 5, "pod": "a",
            "time": format!("2026-01-01T00:00:{time}Z")
        })
    };
    let told = |bench: &Bench| {
        bench.told(|kind| {
            matches!(
                kind,
                EventKind::Lifecycle { .. }
                    | EventKind::ContainerStarted { .. }
                    | EventKind::ContainerExited { .. }
            )
        })
    };
    let mut creating = web("a");
    creating["status"]["containerStatuses"] = json!([]);
    let mut bench = Bench::seen(target());
    bench.tell(1.5, "pods", "added", creating);
    bench.line(2.5, "a", line("starting", "02.3"));
    bench.line(2.5, "a", line("listening", "02.4"));
    assert!(told(&bench).is_empty());
    bench.tell(3.1, "pods", "modified", web("a"));
    // It crashes in second 5, and what the next one says comes before its status.
    bench.line(5.9, "a", line("starting", "05.7"));
    bench.line(5.9, "a", line("listening", "05.8"));
    assert_eq!(bench.observer.next_deadline(), Some(at(10.9)));
    let mut again = web("a");
    again["status"]["containerStatuses"] =
        json!([container(1, running(5), terminated(0, 1, "Error", 2, 5))]);
    bench.tell(6.5, "pods", "modified", again);
    // Of a third nothing is ever seen.
    bench.line(8.0, "a", line("starting", "07.9"));
    bench.fire(13.0);
    assert_eq!(
        told(&bench),
        [
            r#"+2.300 ±0.050 container-started {"address":"10.0.0.1:8080","pod":"a","restarts":0}"#,
            r#"+2.300 lifecycle {"phase":"starting","pod":"a"}"#,
            r#"+2.400 lifecycle {"phase":"listening","pod":"a"}"#,
            r#"+5.350 ±0.350 container-exited {"code":1,"pod":"a"}"#,
            r#"+5.700 ±0.050 container-started {"address":"10.0.0.1:8080","pod":"a","restarts":1}"#,
            r#"+5.700 lifecycle {"phase":"starting","pod":"a"}"#,
            r#"+5.800 lifecycle {"phase":"listening","pod":"a"}"#,
            r#"+7.900 lifecycle {"phase":"starting","pod":"a"}"#,
        ]
    );
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let mut bench = Bench::seen(target());
    assert_eq!(bench.observer.diagnosis(), "there is no Deployment");
    bench.tell(1.0, "deployments", "added", json!({
        "metadata": {"name": "web", "generation": 1},
        "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": {"replicas": 2, "updatedReplicas": 2, "observedGeneration": 1, "conditions": [{
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "it takes too long"
        }]}
    }));
    let waiting = json!({"waiting": {"reason": "ErrImageNeverPull", "message": "no image"}});
    let stuck = pod("a", json!({"containerStatuses": [container(0, waiting, json!({}))]}));
    bench.tell(2.0, "pods", "added", stuck);
    bench.tell(2.0, "pods", "added", deleted(web("b"), 2, 30));
    assert_eq!(
        bench.observer.diagnosis(),
        "2 of 2 pods are there, 2 updated, 0 ready, 0 of them endpoints; it takes too long; \
         a waits (ErrImageNeverPull: no image); b terminates"
    );
}
