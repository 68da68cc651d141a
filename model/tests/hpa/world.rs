//! The oracle's world: `../shared/oracle/hpa/world.go`.

use std::collections::BTreeMap;

use highwater_model::{
    hpa::{self, Hpa, Moment, PodPhase, Readiness, Requests, Scale, Version},
    spec::{MetricIdentifier, ObjectReference, Quantity},
    time::Nanos,
};
use serde_json::{Value, json};

use crate::case::{Case, Container, Follow, Load, Metrics, Pod, Sample, Step, autoscaler, nanos};

const NO_METRIC: &str = "no such metric";

/// Everything outside of the autoscaler.
struct World {
    now: i64,
    replicas: u32,
    status_replicas: Option<u32>,
    follow: Option<Follow>,
    /// When the pods that follow the scale were made.
    born: Vec<i64>,
    given: Vec<Pod>,
    metrics: Metrics,
    load: Load,
    scale_error: String,
    numbers: BTreeMap<String, u32>,
    pods: Vec<hpa::Pod<'static>>,
}

fn pod_name(index: usize) -> String {
    format!("pod-{index:04}")
}

/// The model's pods borrow their texts; those of a test live as long as it does.
fn leak<T: ?Sized>(text: Box<T>) -> &'static T {
    Box::leak(text)
}

fn requests(container: &Container) -> Requests {
    let given = container.requests.clone().unwrap_or_default();
    let milli = |text: &str| Quantity::parse(text).expect("a quantity").milli();
    Requests {
        container: container.name.clone(),
        resources: given.into_iter().map(|(name, text)| (name, milli(&text))).collect(),
    }
}

impl World {
    fn number(&mut self, name: &str) -> u32 {
        let next = self.numbers.len() as u32;
        *self.numbers.entry(name.into()).or_insert(next)
    }

    fn number_of(&self, name: &str) -> u32 {
        self.numbers.get(name).copied().unwrap_or(u32::MAX)
    }

    fn apply(&mut self, step: &Step) {
        if let Some(replicas) = step.replicas {
            self.set_replicas(replicas, nanos(step.at));
        }
        if let Some(error) = &step.scale_error {
            self.scale_error.clone_from(error);
        }
        if let Some(status) = step.status_replicas {
            self.status_replicas = u32::try_from(status).ok();
        }
        if let Some(metrics) = &step.metrics {
            self.metrics = metrics.clone();
        }
        if let Some(load) = &step.load {
            self.load = load.clone();
        }
        if let Some(pods) = &step.pods {
            self.given = pods.clone();
            self.given.sort_by(|one, other| one.name.cmp(&other.name));
            self.pods = self.given.clone().iter().map(|pod| self.pod(pod)).collect();
        }
    }

    fn pod(&mut self, pod: &Pod) -> hpa::Pod<'static> {
        let moment = |seconds: f64| Moment(nanos(seconds));
        let since = pod.ready_since.or(pod.started_at);
        // A transition without a time is at Go's zero time.
        let since = since.map_or(Moment(i64::MIN), moment);
        let containers = pod.containers.clone().unwrap_or_default();
        let all: Vec<Requests> = containers.iter().map(requests).collect();
        hpa::Pod {
            id: self.number(&pod.name),
            name: leak(pod.name.clone().into_boxed_str()),
            phase: match pod.phase.as_str() {
                "" | "Running" => PodPhase::Running,
                "Pending" => PodPhase::Pending,
                "Failed" => PodPhase::Failed,
                "Succeeded" => PodPhase::Succeeded,
                _ => PodPhase::Unknown,
            },
            is_deleted: pod.deleted,
            ready: pod.ready.as_deref().map(|ready| {
                let ready = match ready {
                    "True" => Readiness::Ready,
                    "False" => Readiness::NotReady,
                    _ => Readiness::Unknown,
                };
                (ready, since)
            }),
            started: pod.started_at.map(moment),
            requests: leak(all.into_boxed_slice()),
            whole: None,
        }
    }

    fn set_replicas(&mut self, replicas: u32, at: i64) {
        self.replicas = replicas;
        if self.follow.is_some() {
            self.born.resize(replicas as usize, at);
        }
    }

    /// Brings the pods that follow the scale up to now.
    fn refresh(&mut self) {
        let Some(follow) = self.follow.clone() else { return };
        let container = Container { name: "main".into(), requests: Some(follow.requests.clone()) };
        let pods: Vec<Pod> = (0..self.born.len())
            .map(|index| {
                let started = self.born[index] as f64 / 1e9;
                let is_ready = self.is_ready(index);
                Pod {
                    name: pod_name(index),
                    ready: Some(if is_ready { "True" } else { "False" }.into()),
                    started_at: Some(started),
                    ready_since: is_ready.then_some(started + follow.startup_seconds),
                    containers: Some(vec![container.clone()]),
                    ..Pod::default()
                }
            })
            .collect();
        self.pods = pods.iter().map(|pod| self.pod(pod)).collect();
    }

    fn is_ready(&self, index: usize) -> bool {
        let startup = self.follow.as_ref().map_or(0.0, |follow| follow.startup_seconds);
        self.now >= self.born[index] + nanos(startup)
    }

    /// The samples given, and the share of each pod that follows.
    fn samples(
        &self,
        name: &str,
        given: &BTreeMap<String, Option<Vec<Sample>>>,
        totals: &BTreeMap<String, i64>,
    ) -> Result<Vec<Sample>, String> {
        let (list, total) = (given.get(name), totals.get(name));
        if self.metrics.errors.iter().any(|known| known == name)
            || (list.is_none() && total.is_none())
        {
            return Err(NO_METRIC.into());
        }
        let list = list.cloned().flatten().unwrap_or_default();
        let (Some(total), Some(follow)) = (total, &self.follow) else { return Ok(list) };
        let ready = (0..self.born.len()).filter(|index| self.is_ready(*index)).count() as i64;
        let at = self.now as f64 / 1e9 - follow.metric_lag_seconds;
        let window =
            if follow.metric_window_seconds == 0.0 { 15.0 } else { follow.metric_window_seconds };
        let mut all: Vec<Sample> = (0..self.born.len())
            .map(|index| Sample {
                pod: pod_name(index),
                container: "main".into(),
                milli: if self.is_ready(index) { total / ready } else { 0 },
                timestamp: Some(at),
                window: Some(window),
            })
            .collect();
        all.extend(list);
        Ok(all)
    }

    fn time(&self, sample: &Sample) -> (Moment, Nanos) {
        let at = sample.timestamp.map_or(self.now, nanos);
        (Moment(at), Nanos(nanos(sample.window.unwrap_or(15.0)).unsigned_abs()))
    }
}

impl hpa::World for World {
    fn scale(&mut self) -> Result<Scale, String> {
        if self.scale_error == "get" {
            return Err("scale: get fails".into());
        }
        self.refresh();
        let status = self.status_replicas.unwrap_or(self.replicas);
        Ok(Scale { spec: self.replicas, status })
    }

    fn write(&mut self, replicas: u32) -> Result<(), String> {
        if self.scale_error == "update" {
            return Err("scale: update fails".into());
        }
        self.set_replicas(replicas, self.now);
        Ok(())
    }

    fn pods(&self) -> &[hpa::Pod<'_>] {
        &self.pods
    }

    fn resource(
        &self,
        resource: &str,
        container: Option<&str>,
        into: &mut Vec<hpa::Sample>,
    ) -> Result<usize, String> {
        let samples = self.samples(resource, &self.metrics.resource, &self.load.resource)?;
        // By pod, in the order of their first samples: sum, time, and whether it counts.
        let mut items: Vec<(u32, hpa::Sample, bool)> = Vec::new();
        for sample in &samples {
            let id = self.number_of(&sample.pod);
            let (at, window) = self.time(sample);
            let place = items.iter().position(|(known, ..)| *known == id).unwrap_or_else(|| {
                let new = hpa::Sample { pod: id, milli: 0, at: Moment(i64::MIN), window };
                items.push((id, new, false));
                items.len() - 1
            });
            let (_, item, counts) = &mut items[place];
            if container.is_none_or(|container| container == sample.container) {
                (item.at, item.window) = (at, window);
                item.milli += sample.milli;
                *counts = true;
            }
        }
        into.extend(items.iter().filter(|(_, _, counts)| *counts).map(|(_, item, _)| *item));
        Ok(items.len())
    }

    fn pods_metric(
        &self,
        metric: &MetricIdentifier,
        into: &mut Vec<hpa::Sample>,
    ) -> Result<usize, String> {
        let samples = self.samples(&metric.name, &self.metrics.pods, &self.load.pods)?;
        for sample in &samples {
            let (at, window) = self.time(sample);
            let pod = self.number_of(&sample.pod);
            into.retain(|known| known.pod != pod);
            into.push(hpa::Sample { pod, milli: sample.milli, at, window });
        }
        Ok(samples.len())
    }

    fn object(&self, metric: &MetricIdentifier, _: &ObjectReference) -> Result<i64, String> {
        let is_error = self.metrics.errors.contains(&metric.name);
        let values = [&self.load.object, &self.metrics.object];
        let found = values.iter().find_map(|values| values.get(&metric.name));
        found.copied().filter(|_| !is_error).ok_or_else(|| NO_METRIC.into())
    }

    fn external(&self, metric: &MetricIdentifier) -> Result<Vec<i64>, String> {
        let mut found = self.metrics.external.get(&metric.name).cloned();
        if let Some(total) = self.load.external.get(&metric.name) {
            found = Some(Some(vec![*total]));
        }
        if self.metrics.errors.contains(&metric.name) {
            found = None;
        }
        found.map(Option::unwrap_or_default).ok_or_else(|| NO_METRIC.into())
    }
}

/// Plays a case: what each sync did, in the oracle's form.
pub(crate) fn play(case: &Case, kubernetes: Version) -> Vec<Value> {
    let settings = case.controller.settings(kubernetes);
    let mut world = World {
        now: 0,
        replicas: 0,
        status_replicas: None,
        follow: case.follow.clone(),
        born: Vec::new(),
        given: Vec::new(),
        metrics: Metrics::default(),
        load: Load::default(),
        scale_error: String::new(),
        numbers: BTreeMap::new(),
        pods: Vec::new(),
    };
    let age = case.follow.as_ref().map_or(0.0, |follow| follow.initial_age_seconds);
    world.set_replicas(case.replicas, -nanos(age));
    let identity = hpa::Identity {
        namespace: "default".into(),
        kind: "Deployment".into(),
        name: "target".into(),
    };
    let mut autoscaler_of = Hpa::new(identity, &autoscaler(&case.autoscaler), settings);
    let (mut steps, mut syncs) = (case.steps.iter().peekable(), Vec::new());
    let mut now = settings.sync_period.0 as i64;
    while now <= nanos(case.until) {
        while let Some(step) = steps.next_if(|step| nanos(step.at) <= now) {
            world.now = nanos(step.at);
            world.apply(step);
            if let Some(spec) = &step.autoscaler {
                autoscaler_of.change(&autoscaler(spec));
            }
        }
        world.now = now;
        let before = world.replicas;
        let sync = autoscaler_of.sync(Moment(now), &mut world);
        syncs.push(told(now, before, &world, autoscaler_of.status(), &sync));
        now += settings.sync_period.0 as i64;
    }
    syncs
}

fn told(now: i64, before: u32, world: &World, status: &hpa::Status, sync: &hpa::Sync) -> Value {
    let conditions: Vec<Value> = status
        .conditions
        .iter()
        .map(|condition| {
            json!({
                "type": condition.kind().name(),
                "status": if condition.holds { "True" } else { "False" },
                "reason": condition.word(),
                "message": anonymous(&condition.to_string()),
            })
        })
        .collect();
    let events: Vec<String> =
        sync.notes.iter().map(|note| anonymous(&format!("{}: {note}", note.reason()))).collect();
    let errors: Vec<String> =
        sync.trouble.iter().map(|trouble| anonymous(&trouble.to_string())).collect();
    let metrics: Vec<Value> = status
        .metrics
        .iter()
        .map(|reading| {
            let reading = reading.unwrap_or_default();
            let mut value = serde_json::Map::new();
            for (name, known) in [
                ("utilization", reading.utilization.map(i64::from)),
                ("average", reading.average),
                ("value", reading.value),
            ] {
                if let Some(known) = known {
                    value.insert(name.into(), known.into());
                }
            }
            Value::Object(value)
        })
        .collect();
    json!({
        "at": now as f64 / 1e9,
        "specBefore": before,
        "specAfter": world.replicas,
        "currentReplicas": status.current,
        "desiredReplicas": status.desired,
        "lastScale": status.last_scale.map(|at| (at.0 as f64 / 1e6).round() / 1e3),
        "conditions": conditions,
        "metrics": metrics,
        "events": events,
        "errors": errors,
    })
}

/// Which of several bad pods a message names is the order of a map upstream: the oracle prints `*`.
fn anonymous(text: &str) -> String {
    let Some(place) = text.find("Pod ") else { return text.into() };
    let is_word = place == 0 || text.as_bytes()[place - 1] == b' ';
    if !is_word {
        return text.into();
    }
    let end = text[place + 4..].find(' ').map_or(text.len(), |end| place + 4 + end);
    let mut start = place;
    if let Some(words) = text[..place].strip_suffix(" of ")
        && let Some(container) = words.rfind("in container ")
    {
        start = container;
    }
    format!("{}Pod *{}", &text[..start], anonymous(&text[end..]))
}
