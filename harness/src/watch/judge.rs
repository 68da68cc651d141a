//! What the autoscaler makes of each pod for a resource: counted, missing, unready or ignored.
//!
//! *Source*: `hpa-semantics.md` sections 5.1, 5.3 and 5.4; `replica_calculator.go`, `groupPods`.
//! The controller's two periods are its flags' defaults, which a cluster does not tell.

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
    jiff,
};
use serde::Serialize;

use crate::backend::kube::observe::{
    metrics::{ContainerMetrics, PodMetrics},
    quantity::number,
};

/// `--horizontal-pod-autoscaler-cpu-initialization-period`, seconds.
const CPU_INITIALIZATION_S: i64 = 300;
/// `--horizontal-pod-autoscaler-initial-readiness-delay`, seconds.
const READINESS_DELAY_S: i64 = 30;

/// A resource that an autoscaler goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// `cpu` or `memory`.
    pub name: String,
    /// The container that counts; all if not given.
    pub container: Option<String>,
}

/// What the autoscaler does with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Its figure counts.
    Counted,
    /// There is no figure: assumed to use nothing when scaling up, its request when scaling down.
    Missing,
    /// Too young: assumed to use nothing when scaling up, left out when scaling down.
    Unready,
    /// Left out.
    Ignored,
}

/// A pod as the autoscaler sees it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodFigure {
    /// Its name.
    pub pod: String,
    /// What it uses: cores or bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<f64>,
    /// What it requests. Without, the autoscaler can make no percentage of any pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<f64>,
    /// What the autoscaler does with it.
    pub standing: Standing,
    /// Why, in words; empty if it is counted.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
}

/// All pods of an autoscaler for one resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// `cpu`, or `web/cpu` for one container's.
    pub resource: String,
    /// Percent of the requests that the counted pods use, rounded down as the autoscaler does;
    /// `None` if there are none, or if a pod requests nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
    /// The pods by name.
    pub pods: Vec<PodFigure>,
}

impl Resource {
    /// Its name in the autoscaler's metrics.
    pub fn label(&self) -> String {
        match &self.container {
            Some(container) => format!("{container}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Judges all pods at `now`.
pub fn judge_all(
    pods: &[Pod],
    samples: &[PodMetrics],
    resource: &Resource,
    now: jiff::Timestamp,
) -> Figures {
    let mut figures: Vec<PodFigure> = pods
        .iter()
        .map(|pod| {
            let sample = samples.iter().find(|sample| sample.metadata.name == pod.metadata.name);
            judge(pod, sample, resource, now)
        })
        .collect();
    figures.sort_by(|a, b| a.pod.cmp(&b.pod));
    Figures { resource: resource.label(), percent: percent(&figures), pods: figures }
}

fn percent(figures: &[PodFigure]) -> Option<u64> {
    // One pod without a request spoils it for all.
    figures.iter().map(|figure| figure.request).collect::<Option<Vec<f64>>>()?;
    let counted = figures.iter().filter(|figure| figure.standing == Standing::Counted);
    let (mut usage, mut request) = (0.0, 0.0);
    for figure in counted {
        usage += figure.usage.unwrap_or(0.0);
        request += figure.request.unwrap_or(0.0);
    }
    (request > 0.0).then(|| (100.0 * usage / request + 1e-9).floor() as u64)
}

fn judge(
    pod: &Pod,
    sample: Option<&PodMetrics>,
    resource: &Resource,
    now: jiff::Timestamp,
) -> PodFigure {
    let usage = sample.and_then(|sample| used(sample, resource));
    let (standing, why) = standing(pod, sample.filter(|_| usage.is_some()), resource, now);
    PodFigure {
        pod: pod.metadata.name.clone().unwrap_or_default(),
        usage,
        request: requested(pod, resource),
        standing,
        why,
    }
}

fn standing(
    pod: &Pod,
    sample: Option<&PodMetrics>,
    resource: &Resource,
    now: jiff::Timestamp,
) -> (Standing, &'static str) {
    let status = pod.status.clone().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return (Standing::Ignored, "is being deleted");
    }
    match status.phase.as_deref() {
        Some("Failed") => return (Standing::Ignored, "has failed"),
        Some("Pending") => return (Standing::Unready, "is pending"),
        _ => {}
    }
    let Some(sample) = sample else { return (Standing::Missing, "has no sample") };
    if resource.name != "cpu" {
        return (Standing::Counted, "");
    }
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
    let (Some(ready), Some(start)) = (ready, &status.start_time) else {
        return (Standing::Unready, "was not started yet");
    };
    let is_unready = ready.status == "False";
    let seconds = |time: jiff::Timestamp| time.as_nanosecond() as f64 / 1e9;
    let start = seconds(start.0);
    let changed = ready.last_transition_time.as_ref().map_or(start, |time| seconds(time.0));
    if start + CPU_INITIALIZATION_S as f64 > seconds(now) {
        let window = sample.window().unwrap_or_default().as_secs_f64();
        if is_unready {
            return (Standing::Unready, "is not ready");
        }
        if seconds(sample.timestamp.0) < changed + window {
            return (Standing::Unready, "has a sample from before it was ready");
        }
    } else if is_unready && start + READINESS_DELAY_S as f64 > changed {
        return (Standing::Unready, "was never ready");
    }
    (Standing::Counted, "")
}

/// What a sample says of the resource; `None` if a container has no figure. Each container's is
/// rounded up to thousandths, as the autoscaler does.
fn used(sample: &PodMetrics, resource: &Resource) -> Option<f64> {
    let rounded = |value: f64| (value * 1e3 - 1e-6).ceil() / 1e3;
    let of = |container: &ContainerMetrics| {
        container.usage.get(&resource.name).and_then(number).map(rounded)
    };
    match &resource.container {
        Some(name) => of(sample.containers.iter().find(|container| container.name == *name)?),
        None => sample.containers.iter().map(of).reduce(|sum, figure| Some(sum? + figure?))?,
    }
}

/// What a pod requests of the resource; `None` if one of its containers requests nothing.
fn requested(pod: &Pod, resource: &Resource) -> Option<f64> {
    let spec = pod.spec.as_ref()?;
    let of = |container: &Container| {
        let requests = container.resources.as_ref()?.requests.as_ref()?;
        requests.get(&resource.name).and_then(number)
    };
    if let Some(name) = &resource.container {
        return of(spec.containers.iter().find(|container| container.name == *name)?);
    }
    let of_pod = |requests: &std::collections::BTreeMap<String, Quantity>| {
        requests.get(&resource.name).and_then(number)
    };
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    if let Some(request) = whole.and_then(of_pod) {
        return Some(request);
    }
    let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
    spec.containers.iter().chain(sidecars).map(of).reduce(|sum, one| Some(sum? + one?))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// 2026-01-01T00:00:00Z.
    const ZERO_S: i64 = 1_767_225_600;

    fn time(seconds: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(ZERO_S + seconds).expect("in range")
    }

    /// A pod that started at second 0 and is `ready` since `since`.
    fn pod(phase: &str, ready: &str, since: i64, more: Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "a"},
            "spec": {"containers": [
                {"name": "web", "resources": {"requests": {"cpu": "100m", "memory": "1Mi"}}}
            ]},
            "status": {
                "phase": phase, "startTime": time(0).to_string(),
                "conditions": [{
                    "type": "Ready", "status": ready,
                    "lastTransitionTime": time(since).to_string()
                }]
            }
        });
        if let (Some(metadata), Value::Object(more)) = (pod["metadata"].as_object_mut(), more) {
            metadata.extend(more);
        }
        serde_json::from_value(pod).expect("a pod")
    }

    fn sample(end: i64, window: &str, cpu: &str) -> PodMetrics {
        serde_json::from_value(json!({
            "metadata": {"name": "a"}, "timestamp": time(end).to_string(), "window": window,
            "containers": [{"name": "web", "usage": {"cpu": cpu, "memory": "1Mi"}}]
        }))
        .expect("a sample")
    }

    fn of(name: &str) -> Resource {
        Resource { name: name.into(), container: None }
    }

    #[test]
    fn pods_stand_as_the_autoscaler_sorts_them() {
        let deleted = json!({"deletionTimestamp": time(90).to_string()});
        let good = || Some(sample(80, "15s", "50m"));
        // The pod, its sample, the resource, now -> its standing
        let rows = [
            (
                "counted",
                pod("Running", "True", 5, json!({})),
                good(),
                "cpu",
                100,
                Standing::Counted,
            ),
            ("deleted", pod("Running", "True", 5, deleted), good(), "cpu", 100, Standing::Ignored),
            ("failed", pod("Failed", "False", 5, json!({})), good(), "cpu", 100, Standing::Ignored),
            (
                "pending",
                pod("Pending", "False", 5, json!({})),
                None,
                "memory",
                100,
                Standing::Unready,
            ),
            (
                "no sample",
                pod("Running", "True", 5, json!({})),
                None,
                "cpu",
                100,
                Standing::Missing,
            ),
            (
                "young and unready",
                pod("Running", "False", 5, json!({})),
                good(),
                "cpu",
                100,
                Standing::Unready,
            ),
            (
                "unready, for memory",
                pod("Running", "False", 5, json!({})),
                good(),
                "memory",
                100,
                Standing::Counted,
            ),
            (
                "a sample that began before it was ready",
                pod("Running", "True", 70, json!({})),
                good(),
                "cpu",
                100,
                Standing::Unready,
            ),
            (
                "a sample that began as it got ready",
                pod("Running", "True", 65, json!({})),
                good(),
                "cpu",
                100,
                Standing::Counted,
            ),
            (
                "old, and unready since later",
                pod("Running", "False", 60, json!({})),
                good(),
                "cpu",
                300,
                Standing::Counted,
            ),
            (
                "old, and never ready",
                pod("Running", "False", 29, json!({})),
                good(),
                "cpu",
                300,
                Standing::Unready,
            ),
            (
                "nearly old",
                pod("Running", "False", 60, json!({})),
                good(),
                "cpu",
                299,
                Standing::Unready,
            ),
        ];
        for (case, pod, sample, resource, now, wanted) in rows {
            let figure = judge(&pod, sample.as_ref(), &of(resource), time(now));
            assert_eq!(figure.standing, wanted, "{case}");
            assert_eq!(figure.why.is_empty(), wanted == Standing::Counted, "{case}");
        }
        let bare = judge(&Pod::default(), Some(&sample(80, "15s", "1")), &of("cpu"), time(100));
        assert_eq!(bare.standing, Standing::Unready);
    }

    #[test]
    fn usage_is_summed_over_containers_that_are_rounded_up() {
        let read = |usages: Value| {
            serde_json::from_value::<PodMetrics>(json!({
                "metadata": {"name": "a"}, "timestamp": time(0).to_string(), "window": "1s",
                "containers": usages
            }))
            .expect("a sample")
        };
        let container = |name: &str, cpu: &str| json!({"name": name, "usage": {"cpu": cpu}});
        let one = |name: &str| Resource { name: "cpu".into(), container: Some(name.into()) };
        let rows = [
            (json!([container("a", "992521n")]), of("cpu"), Some(0.001)),
            (json!([container("a", "1000001n"), container("b", "1m")]), of("cpu"), Some(0.003)),
            (json!([container("a", "1m"), {"name": "b"}]), of("cpu"), None),
            (json!([container("a", "1m"), {"name": "b"}]), one("a"), Some(0.001)),
            (json!([container("a", "1m")]), one("b"), None),
            (json!([]), of("cpu"), None),
        ];
        for (usages, resource, wanted) in rows {
            let found = used(&read(usages.clone()), &resource);
            let is_same = match (found, wanted) {
                (Some(found), Some(wanted)) => (found - wanted).abs() < 1e-9,
                (found, wanted) => found == wanted,
            };
            assert!(is_same, "{usages}: {found:?}");
        }
    }

    #[test]
    fn requests_are_summed_or_missing() {
        let read =
            |spec: Value| serde_json::from_value::<Pod>(json!({"spec": spec})).expect("a pod");
        let with = |cpu: &str| json!({"name": cpu, "resources": {"requests": {"cpu": cpu}}});
        let sidecar = |policy: Value| {
            let mut container = with("5m");
            container["restartPolicy"] = policy;
            container
        };
        let all = || of("cpu");
        let one = |name: &str| Resource { name: "cpu".into(), container: Some(name.into()) };
        let rows = [
            ("the sum", json!({"containers": [with("100m"), with("1")]}), all(), Some(1.1)),
            ("one without", json!({"containers": [with("100m"), {"name": "x"}]}), all(), None),
            (
                "the one that counts",
                json!({"containers": [with("100m"), {"name": "x"}]}),
                one("100m"),
                Some(0.1),
            ),
            ("one that is not there", json!({"containers": [with("100m")]}), one("y"), None),
            (
                "a sidecar",
                json!({"containers": [with("1")], "initContainers": [sidecar(json!("Always"))]}),
                all(),
                Some(1.005),
            ),
            (
                "an init container",
                json!({"containers": [with("1")], "initContainers": [sidecar(Value::Null)]}),
                all(),
                Some(1.0),
            ),
            (
                "the pod's own",
                json!({"resources": {"requests": {"cpu": "2"}}, "containers": [{"name": "x"}]}),
                all(),
                Some(2.0),
            ),
            ("none at all", json!({"containers": []}), all(), None),
        ];
        for (case, spec, resource, wanted) in rows {
            let found = requested(&read(spec), &resource);
            let is_same = match (found, wanted) {
                (Some(found), Some(wanted)) => (found - wanted).abs() < 1e-9,
                (found, wanted) => found == wanted,
            };
            assert!(is_same, "{case}: {found:?}");
        }
    }

    #[test]
    fn the_percentage_is_of_the_counted_pods_and_rounded_down() {
        let figure = |usage: f64, request: Option<f64>, standing: Standing| PodFigure {
            pod: String::new(),
            usage: Some(usage),
            request,
            standing,
            why: "",
        };
        let counted = |usage: f64| figure(usage, Some(0.1), Standing::Counted);
        let rows = [
            ("none", vec![], None),
            ("rounded down", vec![counted(0.0509)], Some(50)),
            ("exact", vec![counted(0.05)], Some(50)),
            (
                "others left out",
                vec![counted(0.05), figure(9.0, Some(0.1), Standing::Unready)],
                Some(50),
            ),
            (
                "one without a request",
                vec![counted(0.05), figure(0.0, None, Standing::Ignored)],
                None,
            ),
        ];
        for (case, figures, wanted) in rows {
            assert_eq!(percent(&figures), wanted, "{case}");
        }
    }
}
