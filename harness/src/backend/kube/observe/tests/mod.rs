//! Recorded sequences of a real cluster, and made-up ones that no cluster shows on demand.

mod made_up;
mod recorded;

use highwater_model::{
    event::{Event, EventKind},
    time::{Nanos, Timestamp},
};
use serde_json::{Value, json};

use super::{
    News, Observation, Observer, Seen, Target,
    time::{Anchor, Offset},
};

/// The run's zero in made-up sequences: 2026-01-01T00:00:00Z.
const ZERO_S: i64 = 1_767_225_600;

fn target() -> Target {
    Target {
        deployment: "web".into(),
        service: "web".into(),
        autoscaler: Some("web".into()),
        ..Target::default()
    }
}

/// The news of a kind from its JSON: `type` is `all`, `added`, `modified` or `deleted`.
fn news(kind: &str, action: &str, object: Value, since: Option<f64>) -> News {
    fn seen<K: serde::de::DeserializeOwned>(
        action: &str,
        object: Value,
        since: Option<f64>,
    ) -> Seen<K> {
        let since = since.map(at);
        match action {
            "all" => Seen::All { objects: serde_json::from_value(object).expect("objects"), since },
            "deleted" => Seen::Gone(serde_json::from_value(object).expect("an object")),
            _ => Seen::Changed(serde_json::from_value(object).expect("an object")),
        }
    }
    match kind {
        "pods" => News::Pods(seen(action, object, since)),
        "endpointslices" => News::EndpointSlices(seen(action, object, since)),
        "deployments" => News::Deployments(seen(action, object, since)),
        "replicasets" => News::ReplicaSets(seen(action, object, since)),
        "hpa" => News::Autoscalers(seen(action, object, since)),
        "events" => News::Events(seen(action, object, since)),
        "nodes" => News::Nodes(seen(action, object, since)),
        "metrics" => News::Metrics(serde_json::from_value(object).expect("metrics")),
        other => panic!("unknown kind {other}"),
    }
}

fn at(seconds: f64) -> Timestamp {
    Timestamp((seconds * 1e9).round() as u64)
}

/// What an observation says, on one line: `+1.250 ±0.250 PodReady {"pod":"web-1"}`.
fn line(observation: &Observation) -> String {
    let Observation { at, precision, kind, .. } = observation;
    let Value::Object(mut words) = serde_json::to_value(kind).expect("serialises") else {
        panic!("an event is an object")
    };
    let name = words.remove("kind").expect("has a kind");
    let precision = precision.map_or(String::new(), |off| format!(" ±{:.3}", off.as_secs_f64()));
    let name = name.as_str().unwrap_or_default();
    format!("+{:.3}{precision} {name} {}", at.as_secs_f64(), Value::Object(words))
}

/// The lines of all observations, in the order of a record.
fn lines(observations: &[Observation]) -> Vec<String> {
    let mut sorted: Vec<&Observation> = observations.iter().collect();
    sorted.sort_by_key(|observation| observation.at);
    sorted.into_iter().map(line).collect()
}

/// What holds in any sequence: per pod nothing ends before it began, and nothing lies later than
/// it was known.
fn check_order(observations: &[Observation]) {
    let mut sorted: Vec<Event> = Vec::new();
    for (seq, observation) in observations.iter().cloned().enumerate() {
        sorted.push(observation.event(seq as u64));
    }
    sorted.sort_by_key(|event| (event.at, event.seq));
    let lives = crate::analyze::pods::Lives::of(&sorted);
    for (name, life) in &lives.pods {
        let mut last = life.created.at;
        for container in &life.containers {
            assert!(container.started.at >= last, "{name} was started too early");
            last = container.started.at;
            if let Some(exit) = container.exited {
                assert!(exit.at.at >= last, "{name} ended before it began");
                last = exit.at.at;
            }
        }
        if let (Some(deletion), Some(gone)) = (life.deletion, life.gone) {
            assert!(gone.at >= deletion.at.at, "{name} was gone before it was deleted");
        }
    }
}

/// An observer that is told made-up objects.
struct Bench {
    observer: Observer,
    out: Vec<Observation>,
}

impl Bench {
    fn new(target: Target) -> Self {
        Self::with_offset(target, Offset::default())
    }

    fn with_offset(target: Target, server: Offset) -> Self {
        let anchor = Anchor { zero_wall_ns: ZERO_S * 1_000_000_000, server };
        Self { observer: Observer::new(target, anchor), out: Vec::new() }
    }

    /// The Deployment's set `web-a` of revision 1 with two pods wanted, in a cluster that was
    /// seen whole.
    fn seen(target: Target) -> Self {
        let mut bench = Self::new(target);
        bench.tell(0.0, "replicasets", "all", json!([set("web-a", 1, 2)]));
        bench.tell(0.0, "pods", "all", json!([]));
        bench
    }

    fn tell(&mut self, seconds: f64, kind: &str, action: &str, object: Value) {
        let news = news(kind, action, object, None);
        self.observer.take(at(seconds), &news, &mut self.out);
    }

    fn relist(&mut self, seconds: f64, since: f64, kind: &str, objects: Value) {
        let news = news(kind, "all", objects, Some(since));
        self.observer.take(at(seconds), &news, &mut self.out);
    }

    fn line(&mut self, seconds: f64, pod: &str, line: Value) {
        let news = News::Line { pod: pod.into(), line: line.to_string() };
        self.observer.take(at(seconds), &news, &mut self.out);
    }

    fn fire(&mut self, seconds: f64) {
        self.observer.fire(at(seconds), &mut self.out);
    }

    /// All that was told, in order, of the kinds that `wanted` picks.
    fn told(&self, wanted: impl Fn(&EventKind) -> bool) -> Vec<String> {
        check_order(&self.out);
        let picked: Vec<Observation> =
            self.out.iter().filter(|observation| wanted(&observation.kind)).cloned().collect();
        lines(&picked)
    }

    fn all(&self) -> Vec<String> {
        self.told(|_| true)
    }
}

/// Seconds of the run as an object states them.
fn stamp(seconds: i64) -> String {
    let time = k8s_openapi::jiff::Timestamp::from_second(ZERO_S + seconds).expect("in range");
    time.to_string()
}

fn set(name: &str, revision: u32, replicas: u32) -> Value {
    json!({
        "metadata": {
            "name": name, "uid": name, "creationTimestamp": stamp(0),
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d"}
            ]
        },
        "spec": {"replicas": replicas, "selector": {}}
    })
}

/// A pod of the set `web-a`, made at second 1, scheduled on `node-1`, with `status` merged in.
fn pod(name: &str, status: Value) -> Value {
    let mut all = json!({
        "phase": "Running", "podIP": "10.0.0.1",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(1)}]
    });
    if let (Value::Object(all), Value::Object(status)) = (&mut all, status) {
        all.extend(status);
    }
    json!({
        "metadata": {
            "name": name, "uid": name, "creationTimestamp": stamp(1),
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-a", "uid": "web-a",
                "controller": true
            }]
        },
        "spec": {
            "nodeName": "node-1", "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "web", "ports": [{"containerPort": 8080}]}]
        },
        "status": all
    })
}

/// A status with one container in `state`, after `last`.
fn container(restarts: u32, state: Value, last: Value) -> Value {
    let id = state.pointer("/terminated/containerID").cloned();
    json!({
        "name": "web", "image": "", "imageID": "", "ready": true, "started": true,
        "restartCount": restarts, "state": state, "lastState": last,
        "containerID": id.unwrap_or_else(|| json!(format!("c{restarts}")))
    })
}

fn running(since: i64) -> Value {
    json!({"running": {"startedAt": stamp(since)}})
}

fn terminated(number: u32, code: i32, reason: &str, from: i64, to: i64) -> Value {
    json!({"terminated": {
        "containerID": format!("c{number}"), "exitCode": code, "reason": reason,
        "startedAt": stamp(from), "finishedAt": stamp(to)
    }})
}

/// A pod that is being deleted: T0 is at second `at`.
fn deleted(mut pod: Value, at: i64, grace: i64) -> Value {
    pod["metadata"]["deletionTimestamp"] = json!(stamp(at + grace));
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    pod
}

fn span(seconds: f64) -> Nanos {
    Nanos((seconds * 1e9).round() as u64)
}
