//! Objects of a cluster as a state: pods, what the metrics APIs say, and the scaled object.
//!
//! *Source* of what a pod requests: `replica_calculator.go`, `calculateRequests`; of the objects'
//! forms: see `forms`.

use std::collections::BTreeMap;

use highwater_model::{
    hpa::{Moment, PodPhase, Readiness, Requests, Version},
    time::Nanos,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{Selector, SelectorExt as _};

use super::{
    error::ExplainError,
    facts::{self, ExternalValue, ObjectValue, PODS_MAX, Pod, Sampled, SampledAt, State},
    forms::{Container, Metadata, MetricValue, PodMetrics, PodObject, PodSpec, Scaled},
    input::Object,
    manifest::Manifest,
};

/// The window of a value that tells none.
///
/// *Source*: `metrics/client.go`, `metricServerDefaultMetricWindow`.
const WINDOW: Nanos = Nanos::from_secs(60);

/// A state and how it was read.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) state: State,
    /// The newest time of a sample.
    pub(super) sampled: Option<Moment>,
    /// The newest time of anything.
    pub(super) newest: Option<Moment>,
    pub(super) notes: Vec<String>,
}

/// What the objects say of what the autoscaler finds. `context` are the objects that hold always:
/// those beside the autoscaler.
pub(super) fn read(
    manifest: &Manifest,
    objects: &[Object],
    context: &[Object],
    kubernetes: Version,
) -> Result<Snapshot, ExplainError> {
    let mut reader = Reader { manifest, kubernetes, selector: None, snapshot: Snapshot::default() };
    let scaled = objects.iter().chain(context).find(|object| reader.is_scaled(object));
    if let Some(object) = scaled {
        reader.scaled(object, objects.iter().any(|known| reader.is_scaled(known)))?;
    }
    let is_here = |object: &&Object| {
        let namespace = object.namespace();
        namespace.is_empty() || namespace == manifest.identity.namespace
    };
    let here: Vec<&Object> = objects.iter().filter(is_here).collect();
    for object in here.iter().filter(|object| object.kind == "Pod") {
        reader.pod(object)?;
    }
    for object in &here {
        match object.kind.as_str() {
            "PodMetrics" => reader.pod_metrics(object)?,
            "MetricValue" | "ExternalMetricValue" => reader.value(object)?,
            _ => {}
        }
    }
    Ok(reader.finish())
}

struct Reader<'a> {
    manifest: &'a Manifest,
    kubernetes: Version,
    selector: Option<Selector>,
    snapshot: Snapshot,
}

/// Pods that samples speak of and that are not there.
const STRANGE: &str = "samples of pods that are not given, or not the target's, are left out";

impl Reader<'_> {
    fn is_scaled(&self, object: &Object) -> bool {
        let identity = &self.manifest.identity;
        object.kind == identity.kind && object.name() == identity.name
    }

    /// The target: how many there are, if it is of this state, and which pods are its.
    fn scaled(&mut self, object: &Object, is_of_state: bool) -> Result<(), ExplainError> {
        let scaled: Scaled = object.read()?;
        if is_of_state {
            let status = scaled.status.unwrap_or_default().replicas.unwrap_or(0);
            self.snapshot.state.replicas = Some(scaled.spec.replicas);
            self.snapshot.state.status = Some(u32::try_from(status).unwrap_or(0));
        }
        if let Some(selector) = scaled.spec.selector {
            let parsed = Selector::try_from(selector).map_err(|error| {
                object.fault("spec.selector", crate::report::clean::line(&error.to_string()))
            })?;
            self.selector = Some(parsed);
        }
        Ok(())
    }

    fn is_selected(&self, metadata: &Metadata) -> bool {
        let nothing = BTreeMap::new();
        let labels = metadata.labels.as_ref().unwrap_or(&nothing);
        self.selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }

    fn note(&mut self, text: &str) {
        if !self.snapshot.notes.iter().any(|known| known == text) {
            self.snapshot.notes.push(text.to_owned());
        }
    }

    fn saw(&mut self, time: &Time, is_sample: bool) -> Moment {
        let at = facts::moment(time.0);
        self.snapshot.newest = self.snapshot.newest.max(Some(at));
        if is_sample {
            self.snapshot.sampled = self.snapshot.sampled.max(Some(at));
        }
        at
    }

    fn pod(&mut self, object: &Object) -> Result<(), ExplainError> {
        let pod: PodObject = object.read()?;
        if !self.is_selected(&pod.metadata) {
            self.note("pods that the target's selector does not match are left out");
            return Ok(());
        }
        if self.snapshot.state.pods.len() >= PODS_MAX {
            let origin = object.origin.to_string();
            return Err(ExplainError::TooManyPods { origin, limit: PODS_MAX });
        }
        if self.snapshot.state.pods.iter().any(|known| known.name == pod.metadata.name) {
            let name = super::input::name(&pod.metadata.name);
            return Err(object.fault("metadata.name", format!("pod `{name}` is given twice")));
        }
        let started = pod.status.start_time.as_ref().map(|time| self.saw(time, false));
        let conditions = pod.status.conditions.unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.kind == "Ready");
        let ready = ready.map(|condition| {
            let since = condition.last_transition_time.as_ref();
            // A transition without a time is at Go's zero time.
            let since = since.map_or(Moment(i64::MIN), |time| self.saw(time, false));
            (readiness(&condition.status), since)
        });
        let (requests, whole) = requested(self.kubernetes, pod.spec);
        self.snapshot.state.pods.push(Pod {
            name: pod.metadata.name,
            phase: phase(&pod.status.phase),
            is_deleted: pod.metadata.deletion_timestamp.is_some_and(|time| !time.is_null()),
            ready,
            started,
            requests,
            whole,
            usage: None,
            sampled: Sampled { at: SampledAt::Ago(Nanos::ZERO), window: WINDOW },
            values: BTreeMap::new(),
        });
        Ok(())
    }

    fn pod_metrics(&mut self, object: &Object) -> Result<(), ExplainError> {
        let metrics: PodMetrics = object.read()?;
        let at = self.saw(&metrics.timestamp, true);
        let pods = &mut self.snapshot.state.pods;
        let Some(pod) = pods.iter_mut().find(|pod| pod.name == metrics.metadata.name) else {
            self.note(STRANGE);
            return Ok(());
        };
        let usage = metrics.containers.into_iter().map(|of| facts::of(&of.name, of.usage));
        pod.usage = Some(usage.collect());
        pod.sampled = Sampled { at: SampledAt::At(at), window: metrics.window };
        Ok(())
    }

    fn value(&mut self, object: &Object) -> Result<(), ExplainError> {
        let value: MetricValue = object.read()?;
        if let Some(time) = &value.timestamp {
            self.saw(time, true);
        }
        let named = value.metric.map(|metric| metric.name).or(value.metric_name);
        let Some(metric) = named else {
            return Err(object.fault("", "a metric's value has no name of the metric".into()));
        };
        let milli = value.value.milli();
        let state = &mut self.snapshot.state;
        let Some(described) = value.described_object else {
            let labels = value.metric_labels.unwrap_or_default();
            state.external.push(ExternalValue { metric, labels, milli });
            return Ok(());
        };
        if described.kind != "Pod" {
            let object = Some((described.kind, described.name));
            state.objects.push(ObjectValue { metric, object, milli });
            return Ok(());
        }
        // Neither time nor window of such a value has an effect.
        let _ = value.window_seconds;
        match state.pods.iter_mut().find(|pod| pod.name == described.name) {
            Some(pod) => drop(pod.values.insert(metric, milli)),
            None => self.note(STRANGE),
        }
        Ok(())
    }

    fn finish(self) -> Snapshot {
        self.snapshot
    }
}

/// What a pod's containers request, and what it requests as a whole if its spec says so.
fn requested(kubernetes: Version, spec: PodSpec) -> (Vec<Requests>, Option<Requests>) {
    let is_sidecar = |container: &Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.unwrap_or_default().into_iter().filter(is_sidecar);
    let sidecars = sidecars.filter(|_| kubernetes.counts_sidecars());
    let containers = spec.containers.into_iter().chain(sidecars);
    let all: Vec<Requests> = containers
        .map(|container| {
            let requests = container.resources.unwrap_or_default().requests;
            facts::of(&container.name, requests.unwrap_or_default())
        })
        .collect();
    let own = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
    if own.is_empty() || !kubernetes.has_pod_level_requests() {
        return (all, None);
    }
    // A resource that the pod does not speak of is what its containers request together.
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (name, milli) in all.iter().flat_map(|container| &container.resources) {
        let sum = sums.entry(name).or_default();
        *sum = sum.saturating_add(*milli);
    }
    let mut whole = facts::of("", own);
    for (name, milli) in sums {
        if whole.resources.iter().all(|(known, _)| known != name) {
            whole.resources.push((name.to_owned(), milli));
        }
    }
    (all, Some(whole))
}

fn readiness(status: &str) -> Readiness {
    match status {
        "True" => Readiness::Ready,
        "False" => Readiness::NotReady,
        _ => Readiness::Unknown,
    }
}

fn phase(phase: &str) -> PodPhase {
    match phase {
        "Pending" => PodPhase::Pending,
        "Running" => PodPhase::Running,
        "Succeeded" => PodPhase::Succeeded,
        "Failed" => PodPhase::Failed,
        _ => PodPhase::Unknown,
    }
}
