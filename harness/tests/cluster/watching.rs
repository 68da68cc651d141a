//! What is seen of a cluster while things are done to a workload: by the observer that a run has,
//! and by `highwater watch`.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use highwater::{
    backend::kube::{
        client::Access,
        observe::{Observation, Observer, Target, time::Anchor},
        watch::{Pace, Plan, Watches, all_kinds},
    },
    clock::{RunClock, signed, wall_ns},
};
use highwater_model::{
    event::{DeleteReason, EventKind, Signal},
    time::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    kubectl::{json, kubectl_with},
    lab::{Lab, Workload},
};

/// Nothing takes this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Watches a workload with an observer of its own.
struct Watching {
    observer: Observer,
    watches: Watches,
    clock: RunClock,
    seen: Vec<Observation>,
}

impl Watching {
    async fn of(workload: &Workload) -> Self {
        let cluster = Access::default().connect(false).await.unwrap();
        let (name, clock) = (workload.name.clone(), RunClock::start());
        let target =
            Target { deployment: name.clone(), service: name.clone(), ..Target::default() };
        let plan = Plan {
            namespace: workload.namespace.clone(),
            pods: format!("app={name}"),
            deployment: Some(name.clone()),
            service: Some(name),
            autoscaler: None,
            kinds: all_kinds(),
            pace: Pace::default(),
        };
        let anchor = Anchor { zero_wall_ns: signed(wall_ns()), ..Anchor::default() };
        let watches = Watches::start(cluster.client, clock, &plan);
        Self { observer: Observer::new(target, anchor), watches, clock, seen: Vec::new() }
    }

    /// Observes until `is_so`, and nothing waits to be told any more.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Observer) -> bool) {
        let waiting = async {
            while !is_so(&self.observer) || self.observer.next_deadline().is_some() {
                let due = self.observer.next_deadline().unwrap_or(Timestamp::MAX);
                let wait = due.since(self.clock.now()).to_std().min(PATIENCE);
                tokio::select! {
                    message = self.watches.next() => {
                        let message = message.unwrap();
                        self.observer.take(message.at, &message.what, &mut self.seen);
                    }
                    () = tokio::time::sleep(wait) => {
                        self.observer.fire(self.clock.now(), &mut self.seen);
                    }
                }
            }
        };
        let is_in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(is_in_time, "waited in vain for {what}: {}", self.observer.diagnosis());
    }

    /// Waits until the workload is as it should be with `pods`, and all others are gone.
    async fn settled(&mut self, pods: usize) {
        self.until("the workload to settle", |observer| {
            let there = observer.pods();
            // The Deployment's numbers come by a watch of their own.
            let is_ready = there.iter().all(|pod| pod.is_ready && pod.deletion.is_none());
            observer.is_settled() && is_ready && there.len() == pods
        })
        .await;
    }

    /// Waits until pods are gone, and their replacements ready.
    async fn replaced(&mut self, gone: &[String], pods: usize) {
        self.until("pods to be replaced", |observer| {
            let there = observer.pods();
            let is_gone = |name: &String| there.iter().all(|pod| pod.name != *name);
            gone.iter().all(is_gone) && observer.is_settled() && there.len() == pods
        })
        .await;
    }

    /// Why pods were deleted, in order, since the last call.
    fn reasons(&mut self) -> Vec<DeleteReason> {
        let reasons = self.seen.iter().filter_map(|seen| match &seen.kind {
            EventKind::PodDeleted { reason, .. } => Some(*reason),
            _ => None,
        });
        let reasons = reasons.collect();
        self.seen.clear();
        reasons
    }

    fn pods(&self) -> Vec<String> {
        self.observer.pods().iter().map(|pod| pod.name.clone()).collect()
    }
}

/// A workload of four pods, and who watches it, once it has settled.
async fn watched(lab: &mut Lab) -> (Workload, Watching) {
    let workload = lab.workload("go");
    let mut watching = Watching::of(&workload).await;
    watching.settled(4).await;
    (workload, watching)
}

/// Which step of a pod's life an event is, from its making to its end.
fn step(kind: &EventKind, pod: &str) -> Option<usize> {
    let (of, step) = match kind {
        EventKind::PodCreated { pod, .. } => (pod, 0),
        EventKind::PodScheduled { pod, .. } => (pod, 1),
        EventKind::ContainerStarted { pod, .. } => (pod, 2),
        EventKind::PodReady { pod } => (pod, 3),
        EventKind::PodDeleted { pod, .. } => (pod, 4),
        EventKind::SignalSent { pod, signal: Signal::Sigterm, .. } => (pod, 5),
        EventKind::ContainerExited { pod, .. } => (pod, 6),
        EventKind::PodGone { pod } => (pod, 7),
        _ => return None,
    };
    (of == pod).then_some(step)
}

#[tokio::test]
#[ignore = "needs a cluster: just test-cluster"]
async fn whoever_ends_a_pod_is_found_out() {
    let mut lab = Lab::new("watched");
    let (workload, mut watching) = watched(&mut lab).await;
    let deployment = workload.deployment();
    assert_eq!(watching.reasons(), []);

    workload.kubectl(&["scale", &deployment, "--replicas=2"]);
    watching.settled(2).await;
    assert_eq!(watching.reasons(), [DeleteReason::ScaleDown; 2]);

    let (old, revision) = (watching.pods(), watching.observer.revision() + 1);
    workload.kubectl(&["rollout", "restart", &deployment]);
    watching.replaced(&old, 2).await;
    let is_complete = |seen: &&Observation| seen.kind == EventKind::RolloutComplete { revision };
    assert_eq!(watching.seen.iter().filter(is_complete).count(), 1);
    assert_eq!(watching.reasons(), [DeleteReason::Rollout; 2]);

    let pod = watching.pods().remove(0);
    let evict = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": workload.namespace}
    });
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", workload.namespace);
    kubectl_with(&["create", "--raw", &path, "--filename", "-"], &evict.to_string());
    watching.replaced(&[pod], 2).await;
    assert_eq!(watching.reasons(), [DeleteReason::Eviction]);

    // One that the driver announces, and one that nobody does.
    for (is_announced, reason) in [(true, DeleteReason::Deleted), (false, DeleteReason::Unknown)] {
        let pod = watching.pods().remove(0);
        if is_announced {
            let now = watching.clock.now();
            watching.observer.expect_deletion(now, &pod, DeleteReason::Deleted);
        }
        workload.kubectl(&["delete", "pod", &pod, "--wait=false"]);
        watching.replaced(&[pod], 2).await;
        assert_eq!(watching.reasons(), [reason]);
    }
}

#[tokio::test]
#[ignore = "needs a cluster: just test-cluster"]
async fn a_life_is_told_step_by_step() {
    let mut lab = Lab::new("lives");
    let (workload, mut watching) = watched(&mut lab).await;
    let old = watching.pods();
    workload.kubectl(&["scale", &workload.deployment(), "--replicas=6"]);
    watching.settled(6).await;
    let mut new = watching.pods();
    new.retain(|pod| !old.contains(pod));
    workload.kubectl(&["delete", "pod", &new[0], &new[1], "--wait=false"]);
    watching.replaced(&new, 6).await;
    let is_gap = |seen: &&Observation| matches!(seen.kind, EventKind::WatchGap { .. });
    assert_eq!(watching.seen.iter().find(is_gap), None, "the cluster went away meanwhile");
    for pod in &new {
        let mut steps: Vec<(Timestamp, usize)> = watching
            .seen
            .iter()
            .filter_map(|seen| Some((seen.at, step(&seen.kind, pod)?)))
            .collect();
        steps.sort_by_key(|(at, _)| *at);
        let order: Vec<usize> = steps.iter().map(|(_, step)| *step).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7], "{pod}: {steps:?}");
    }
}

/// Runs `highwater watch` to its end: its exit code, its lines and its complaints.
fn watch(args: &[&str]) -> (i32, Vec<Value>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["watch", "--format", "json"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines, String::from_utf8(output.stderr).unwrap())
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn an_autoscaler_is_watched_as_it_decides() {
    let mut lab = Lab::new("watch");
    let workload = lab.workload("go");
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "six"},
        "spec": {
            "minReplicas": 6, "maxReplicas": 8,
            "scaleTargetRef": {
                "apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name
            },
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}
            }}]
        }
    });
    let namespace = ["--namespace", &workload.namespace];
    // The first pass is up to one period of 15 s after this, and the watch is there before it.
    let apply = [&namespace[..], &["apply", "--filename", "-"]].concat();
    kubectl_with(&apply, &autoscaler.to_string());
    let (code, lines, errors) = watch(&[&namespace[..], &["--for", "60s"]].concat());
    assert_eq!(code, 0, "{errors}");
    let of = |change: &'static str| lines.iter().filter(move |line| line["change"] == change);
    let first = of("settings").next().expect("its settings");
    assert_eq!((&first["autoscaler"], &first["min"]), (&json!("six"), &json!(6)));
    assert!(of("status").any(|line| line["desired"] == 6), "{lines:#?}");
    assert!(of("event").any(|line| line["reason"] == "SuccessfulRescale"), "{lines:#?}");
    assert!(of("condition").any(|line| line["type"] == "AbleToScale"), "{lines:#?}");
    let pods: Vec<&Value> = of("pods").flat_map(|line| line["pods"].as_array().unwrap()).collect();
    assert!(pods.iter().any(|pod| pod["standing"] == "counted"), "{lines:#?}");
    // The new ones have no figures for a while.
    assert!(pods.iter().any(|pod| pod["standing"] != "counted"), "{lines:#?}");
    let found = json(&[&namespace[..], &["get", "deployment", &workload.name]].concat());
    assert_eq!(found["spec"]["replicas"], 6);
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn what_cannot_be_watched_is_said() {
    let lab = Lab::new("nothing");
    let broken = lab.file("kubeconfig", "{");
    let rows: [(&[&str], i32, &str); 4] = [
        (&["--context", "nowhere"], 2, "there is no context `nowhere`"),
        (&["--namespace", "hw-t-nowhere"], 2, "there is no namespace `hw-t-nowhere`"),
        (&["--namespace", "default", "none"], 2, "there is no HorizontalPodAutoscaler `none`"),
        (&["--kubeconfig", &broken], 2, "reading the kubeconfig"),
    ];
    for (args, wanted, words) in rows {
        let (code, lines, errors) = watch(&[args, &["--for", "5s"]].concat());
        assert_eq!((code, lines.len()), (wanted, 0), "{args:?}: {errors}");
        assert!(errors.contains(words), "{args:?}: {errors}");
    }
}
