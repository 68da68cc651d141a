//! Explanations against the real controller: the model's conformance cases, as objects of a cluster.
//!
//! *Source* of the answers: `model/tests/data/hpa.jsonl`. Cases whose world objects cannot say are
//! left out, and counted: pods that follow the scale, changes of the autoscaler's spec, a scale that
//! cannot be written, and samples that no API of a cluster would give.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Explanation, explain_objects, explained, input};

/// The real controller's clock begins then, as the cases have it.
const START: &str = "2026-01-01T00:00:00Z";

fn date(seconds: f64) -> String {
    let start: k8s_openapi::jiff::Timestamp = START.parse().expect("a date");
    let nanos = start.as_nanosecond() + (seconds * 1e6).round() as i128 * 1_000;
    k8s_openapi::jiff::Timestamp::from_nanosecond(nanos).expect("in range").to_string()
}

/// The syncs of a line, of which each has only what differs from the one before.
fn syncs(packed: &Value) -> Vec<Map<String, Value>> {
    let mut sync = Map::new();
    let unpack = |packed: &Value| {
        sync.extend(packed.as_object().expect("an object").clone());
        sync.retain(|_, value| !value.is_null());
        sync.clone()
    };
    packed.as_array().expect("a list").iter().map(unpack).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// The world of a case at one time, in the oracle's form.
#[derive(Clone, Default)]
struct World {
    pods: Value,
    metrics: Value,
    replicas: Option<u64>,
    status: Option<i64>,
    scale_error: String,
}

/// Whether objects can say what the case says.
fn can_be_said(case: &Value) -> bool {
    let is_plain = |step: &Value| {
        let names = pod_names(&step["pods"]);
        step.get("autoscaler").is_none()
            && step.get("load").is_none()
            && step["scaleError"] != "update"
            && names.len() == list(&step["pods"]).len()
    };
    case.get("follow").is_none() && list(&case["steps"]).iter().all(is_plain)
}

fn pod_names(pods: &Value) -> BTreeSet<&str> {
    list(pods).iter().filter_map(|pod| pod["name"].as_str()).collect()
}

/// Pods as `v1` has them.
fn pod(pod: &Value) -> Value {
    let mut status =
        json!({"phase": pod["phase"].as_str().filter(|p| !p.is_empty()).unwrap_or("Running")});
    if let Some(at) = pod["startedAt"].as_f64() {
        status["startTime"] = date(at).into();
    }
    if let Some(ready) = pod["ready"].as_str() {
        let mut condition = json!({"type": "Ready", "status": ready});
        if let Some(since) = pod["readySince"].as_f64().or(pod["startedAt"].as_f64()) {
            condition["lastTransitionTime"] = date(since).into();
        }
        status["conditions"] = json!([condition]);
    }
    let containers: Vec<Value> = list(&pod["containers"])
        .iter()
        .map(|container| {
            json!({"name": container["name"], "resources": {"requests": container["requests"]}})
        })
        .collect();
    let mut metadata = json!({"name": pod["name"]});
    if pod["deleted"] == true {
        metadata["deletionTimestamp"] = START.into();
    }
    json!({"kind": "Pod", "metadata": metadata, "spec": {"containers": containers}, "status": status})
}

impl World {
    fn apply(&mut self, step: &Value) {
        if step.get("pods").is_some() {
            self.pods = step["pods"].clone();
        }
        if step.get("metrics").is_some() {
            self.metrics = step["metrics"].clone();
        }
        self.replicas = step["replicas"].as_u64().or(self.replicas);
        if let Some(status) = step["statusReplicas"].as_i64() {
            self.status = Some(status);
        }
        if let Some(error) = step["scaleError"].as_str() {
            self.scale_error = error.to_owned();
        }
    }

    /// The state at `at`; `None` if no API would say so.
    fn state(&self, at: f64, replicas: u64, wanted: &BTreeSet<String>) -> Option<Value> {
        let mut objects: Vec<Value> = list(&self.pods).iter().map(pod).collect();
        objects.extend(self.resources(at)?);
        objects.extend(self.values()?);
        let status = self.status.filter(|status| *status >= 0).unwrap_or(replicas as i64);
        objects.push(json!({
            "kind": "Deployment", "metadata": {"name": "target"},
            "spec": {"replicas": replicas}, "status": {"replicas": status},
        }));
        let mut errors: Map<String, Value> = Map::new();
        if self.scale_error == "get" {
            errors.insert("scale".into(), "scale: get fails".into());
        }
        for name in wanted {
            let kinds = ["resource", "pods", "object", "external"];
            let is_given = kinds.iter().any(|kind| self.metrics[*kind].get(name).is_some());
            if !is_given || list(&self.metrics["errors"]).contains(&Value::from(name.as_str())) {
                errors.insert(name.clone(), "no such metric".into());
            }
        }
        Some(json!({"at": date(at), "objects": objects, "errors": errors}))
    }

    /// PodMetrics. One API speaks of all resources of a pod at one time.
    fn resources(&self, at: f64) -> Option<Vec<Value>> {
        type Item = (Value, f64, BTreeMap<String, Map<String, Value>>);
        let names = pod_names(&self.pods);
        let mut items: BTreeMap<String, Item> = BTreeMap::new();
        let all = self.metrics["resource"].as_object();
        let mut known: Option<BTreeSet<&str>> = None;
        for (resource, samples) in all.into_iter().flatten() {
            let of: BTreeSet<&str> =
                list(samples).iter().filter_map(|sample| sample["pod"].as_str()).collect();
            if !of.is_subset(&names) || *known.get_or_insert_with(|| of.clone()) != of {
                return None;
            }
            for sample in list(samples) {
                let name = sample["pod"].as_str()?.to_owned();
                let time = sample.get("timestamp").cloned().unwrap_or(at.into());
                let window = sample["window"].as_f64().unwrap_or(15.0);
                let item =
                    items.entry(name).or_insert_with(|| (time.clone(), window, BTreeMap::new()));
                if (&item.0, item.1) != (&time, window) {
                    return None;
                }
                let container = sample["container"].as_str().unwrap_or_default().to_owned();
                let usage = item.2.entry(container).or_default();
                let text = format!("{}m", sample["milli"]);
                if usage.insert(resource.clone(), text.into()).is_some() {
                    return None;
                }
            }
        }
        // A container with one resource and not another is no sample of the other.
        let count = all.map_or(0, Map::len);
        let mut found = Vec::new();
        for (name, (time, window, containers)) in items {
            if containers.values().any(|usage| usage.len() != count) {
                return None;
            }
            let containers: Vec<Value> = containers
                .into_iter()
                .map(|(name, usage)| json!({"name": name, "usage": usage}))
                .collect();
            found.push(json!({
                "kind": "PodMetrics", "metadata": {"name": name}, "timestamp": date(number(&time)),
                "window": format!("{window}s"), "containers": containers,
            }));
        }
        Some(found)
    }

    /// Values of custom and external metrics.
    fn values(&self) -> Option<Vec<Value>> {
        let names = pod_names(&self.pods);
        let mut found = Vec::new();
        let of = |kind: &str| self.metrics[kind].as_object().into_iter().flatten();
        for (metric, samples) in of("pods") {
            for sample in list(samples) {
                names.get(sample["pod"].as_str()?)?;
                found.push(json!({
                    "kind": "MetricValue", "describedObject": {"kind": "Pod", "name": sample["pod"]},
                    "metric": {"name": metric}, "value": format!("{}m", sample["milli"]),
                }));
            }
        }
        for (metric, series) in of("external") {
            found.extend(list(series).iter().map(|milli| {
                json!({
                    "kind": "ExternalMetricValue", "metricName": metric, "metricLabels": {},
                    "value": format!("{milli}m"),
                })
            }));
        }
        Some(found)
    }
}

/// The names of all metrics of a spec.
fn metric_names(spec: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::from(["cpu".to_owned()]);
    for metric in list(&spec["metrics"]) {
        for source in metric.as_object().into_iter().flat_map(Map::values) {
            let name = source["metric"]["name"].as_str().or(source["name"].as_str());
            names.extend(name.map(str::to_owned));
        }
    }
    names
}

/// The case as a file for `explain`: one state per sync.
fn file(case: &Value, syncs: &[Map<String, Value>]) -> Option<(String, Vec<String>)> {
    let mut spec = case["autoscaler"].clone();
    spec["scaleTargetRef"] = json!({"kind": "Deployment", "name": "target"});
    let wanted = metric_names(&spec);
    let hpa = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "hpa"}, "spec": spec,
    });
    let (mut world, mut states) = (World::default(), Vec::new());
    let mut steps = list(&case["steps"]).iter().peekable();
    for sync in syncs {
        let at = number(&sync["at"]);
        while let Some(step) = steps.next_if(|step| number(&step["at"]) <= at) {
            world.apply(step);
        }
        let mut state = world.state(at, sync["specBefore"].as_u64()?, &wanted)?;
        let objects = world.metrics["object"].as_object().cloned().unwrap_or_default();
        let values = objects.into_iter().map(|(name, milli)| (name, format!("{milli}m").into()));
        state["object"] = Value::Object(values.collect());
        states.push(state);
    }
    let mut line = vec!["--feature-gate".into(), "HPAScaleToZero=true".into()];
    let controller = &case["controller"];
    for (key, flag) in [
        ("syncPeriodSeconds", "--sync-period"),
        ("downscaleStabilizationSeconds", "--downscale-stabilization"),
        ("cpuInitializationPeriodSeconds", "--cpu-initialization-period"),
        ("initialReadinessDelaySeconds", "--initial-readiness-delay"),
    ] {
        if let Some(seconds) = controller[key].as_f64() {
            line.extend([flag.into(), format!("{seconds}s")]);
        }
    }
    if let Some(tolerance) = controller["tolerance"].as_f64() {
        line.extend(["--tolerance".into(), tolerance.to_string()]);
    }
    Some((format!("{hpa}\n---\n{}\n", json!({"states": states})), line))
}

/// What a pass and a sync must agree in. Which of several bad pods a message names is no decision.
fn essence_of_sync(sync: &Map<String, Value>) -> Value {
    let conditions: Vec<Value> = list(sync.get("conditions").unwrap_or(&Value::Null))
        .iter()
        .map(|known| {
            json!([known["type"], known["status"], known["reason"], masked(&known["message"])])
        })
        .collect();
    let events: Vec<Value> =
        list(sync.get("events").unwrap_or(&Value::Null)).iter().map(masked).collect();
    json!([sync["specBefore"], sync["specAfter"], conditions, events])
}

fn masked(message: &Value) -> Value {
    let text = message.as_str().unwrap_or_default();
    if text.contains("Pod ") { Value::Null } else { text.into() }
}

fn essence_of_pass(pass: &super::super::told::Pass, before: &Value) -> Value {
    let conditions: Vec<Value> = pass
        .conditions
        .iter()
        .map(|known| {
            let status = if known.status { "True" } else { "False" };
            json!([known.kind, status, known.reason, masked(&known.message.clone().into())])
        })
        .collect();
    let events: Vec<Value> = pass
        .events
        .iter()
        .map(|event| masked(&format!("{}: {}", event.reason, event.message).into()))
        .collect();
    // What cannot be read stays.
    let number = |count: Option<u32>| count.map_or(before.clone(), Value::from);
    json!([number(pass.from), number(pass.to), conditions, events])
}

#[test]
fn explanations_are_what_the_real_controller_does() {
    let data = include_str!("../../../../model/tests/data/hpa.jsonl");
    let (mut cases, mut passes, mut left_out) = (0, 0, 0);
    for line in data.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let (case, syncs) = (&line["case"], syncs(&line["syncs"]));
        let made = can_be_said(case).then(|| file(case, &syncs)).flatten();
        let Some((text, flags)) = made else {
            left_out += 1;
            continue;
        };
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let told: Explanation =
            explained(&text, &flags).unwrap_or_else(|error| panic!("{}: {error}", case["id"]));
        assert_eq!(told.passes.len(), syncs.len(), "{}", case["id"]);
        for (pass, sync) in told.passes.iter().zip(&syncs) {
            let found = essence_of_pass(pass, &sync["specBefore"]);
            assert_eq!(found, essence_of_sync(sync), "{} at {}", case["id"], sync["at"]);
        }
        cases += 1;
        passes += syncs.len();
    }
    assert!(cases >= 15 && passes >= 200, "{cases} cases, {passes} passes, {left_out} left out");
}

#[test]
fn objects_of_another_namespace_are_not_looked_at() {
    let text = super::example("cluster")
        .replace("name: web-7c9-c, namespace: shop", "name: web-7c9-c, namespace: other");
    let objects = input::objects(&text, "test.yaml").expect("objects");
    let told = explain_objects(&objects, &super::args(&[])).expect("explained");
    assert_eq!(told.passes[0].metrics[0].pods.len(), 2);
}
