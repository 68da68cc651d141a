//! What an autoscaler finds, in one form wherever it was read from.

use std::collections::BTreeMap;

use highwater_model::{
    hpa::{self, Moment, PodPhase, Readiness, Requests},
    spec::Quantity,
    time::{Nanos, SECOND},
};
use k8s_openapi::jiff;

use super::{
    error::ExplainError,
    given::{self, Phase, Series},
};

/// The most pods of a state. A pass compares each with each sample.
pub(super) const PODS_MAX: usize = 2_000;
/// The container of a pod that names none.
const CONTAINER: &str = "app";

/// Everything that passes go through.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// At least one.
    pub(super) states: Vec<State>,
    pub(super) until: Option<Moment>,
    /// Oldest first.
    pub(super) recommended: Vec<(Moment, u32)>,
    pub(super) changed: Vec<(Moment, u32, u32)>,
    pub(super) clock: Clock,
    /// Which autoscalers have the same pods, if others have.
    pub(super) ambiguous: Option<hpa::Ambiguous>,
    /// What a reader has to know of how it was read.
    pub(super) notes: Vec<String>,
}

/// How times are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// From the beginning of the timeline.
    Relative,
    /// Moments are nanoseconds since 1970.
    Absolute,
}

/// What it finds from a time on.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) at: Moment,
    pub(super) replicas: Option<u32>,
    pub(super) status: Option<u32>,
    pub(super) pods: Vec<Pod>,
    pub(super) objects: Vec<ObjectValue>,
    pub(super) external: Vec<ExternalValue>,
    pub(super) errors: BTreeMap<String, String>,
}

/// A pod and what the metrics APIs say of it.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) phase: PodPhase,
    pub(super) is_deleted: bool,
    pub(super) ready: Option<(Readiness, Moment)>,
    pub(super) started: Option<Moment>,
    pub(super) requests: Vec<Requests>,
    pub(super) whole: Option<Requests>,
    /// By container; `None` if `metrics.k8s.io` does not know the pod.
    pub(super) usage: Option<Vec<Requests>>,
    pub(super) sampled: Sampled,
    /// By metric of `custom.metrics.k8s.io`.
    pub(super) values: BTreeMap<String, i64>,
}

/// The end of a sample's window, and the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampled {
    pub(super) at: SampledAt,
    pub(super) window: Nanos,
}

/// When a sample was taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum SampledAt {
    /// Then.
    At(Moment),
    /// So long before each pass.
    Ago(Nanos),
}

/// A value of an object. What is not known of the object fits any.
#[derive(Clone, Debug)]
pub(super) struct ObjectValue {
    pub(super) metric: String,
    pub(super) object: Option<(String, String)>,
    pub(super) milli: i64,
}

/// A series of an external metric. Labels that it has not fit any selector.
#[derive(Clone, Debug)]
pub(super) struct ExternalValue {
    pub(super) metric: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) milli: i64,
}

impl Clock {
    /// A time as people read it; `start` is the beginning of the timeline.
    pub(super) fn tell(self, at: Moment, start: Moment) -> String {
        match self {
            Self::Relative => {
                let span = at.0.saturating_sub(start.0);
                let sign = if span < 0 { "-" } else { "" };
                format!("{sign}{}", Nanos(span.unsigned_abs()))
            }
            Self::Absolute => match jiff::Timestamp::from_nanosecond(i128::from(at.0)) {
                Ok(time) => time.to_string(),
                Err(_) => format!("{} ns", at.0),
            },
        }
    }
}

/// A time of either clock; `None` if the text says none.
pub(super) fn time(text: &str) -> Option<(Clock, Moment)> {
    if let Ok(span) = text.parse::<Nanos>() {
        return Some((Clock::Relative, Moment(i64::try_from(span.0).ok()?)));
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    Some((Clock::Absolute, moment(time)))
}

/// A time of a cluster.
pub(super) fn moment(time: jiff::Timestamp) -> Moment {
    let nanos = time.as_nanosecond();
    Moment(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
}

/// What was written down of a state's pods, at `at`.
pub(super) fn pods(
    origin: &str,
    given: Vec<given::Pod>,
    at: Moment,
) -> Result<Vec<Pod>, ExplainError> {
    let count: u64 = given.iter().map(|pod| u64::from(pod.count)).sum();
    if count > PODS_MAX as u64 {
        return Err(ExplainError::TooManyPods { origin: origin.to_owned(), limit: PODS_MAX });
    }
    Ok(given.into_iter().flat_map(|pod| several(pod, at)).collect())
}

fn several(given: given::Pod, at: Moment) -> Vec<Pod> {
    let (name, count) = (given.name.clone(), given.count);
    let pod = pod(given, at);
    if count == 1 {
        return vec![pod];
    }
    (0..count).map(|place| Pod { name: format!("{name}-{place}"), ..pod.clone() }).collect()
}

fn pod(given: given::Pod, at: Moment) -> Pod {
    let mut containers = given.containers;
    if containers.is_empty() {
        let (requests, usage) = (given.requests, given.usage);
        containers.push(given::Container { name: CONTAINER.into(), requests, usage });
    }
    let is_sampled = containers.iter().any(|container| container.usage.is_some());
    let usage = containers
        .iter()
        .map(|container| of(&container.name, container.usage.clone().unwrap_or_default()));
    let usage = is_sampled.then(|| usage.collect());
    let is_pending = given.phase == Phase::Pending;
    let ready = given.ready.or((!is_pending).then_some(given.phase == Phase::Running));
    let readiness = |is_ready| if is_ready { Readiness::Ready } else { Readiness::NotReady };
    let since = at.minus(given.ready_for.unwrap_or(given.age));
    Pod {
        name: given.name,
        phase: given.phase.into(),
        is_deleted: given.deleted,
        ready: ready.map(|is_ready| (readiness(is_ready), since)),
        started: Some(at.minus(given.age)),
        requests: containers
            .into_iter()
            .map(|container| of(&container.name, container.requests))
            .collect(),
        whole: None,
        usage,
        sampled: Sampled { at: SampledAt::Ago(given.sample_age), window: given.window },
        values: given.values.into_iter().map(|(metric, value)| (metric, value.milli())).collect(),
    }
}

/// Resources of a container.
pub(super) fn of(container: &str, resources: BTreeMap<String, Quantity>) -> Requests {
    Requests {
        container: container.to_owned(),
        resources: resources.into_iter().map(|(name, value)| (name, value.milli())).collect(),
    }
}

/// What was written down of objects: by metric, or by `KIND/NAME/METRIC`.
pub(super) fn objects(given: BTreeMap<String, Quantity>) -> Vec<ObjectValue> {
    let value = |(key, value): (String, Quantity)| {
        let milli = value.milli();
        let mut parts = key.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(name), Some(metric)) => {
                let object = Some((kind.to_owned(), name.to_owned()));
                ObjectValue { metric: metric.to_owned(), object, milli }
            }
            _ => ObjectValue { metric: key, object: None, milli },
        }
    };
    given.into_iter().map(value).collect()
}

/// What was written down of external metrics.
pub(super) fn external(given: BTreeMap<String, Series>) -> Vec<ExternalValue> {
    let mut all = Vec::new();
    for (metric, series) in given {
        let values = match series {
            Series::One(value) => vec![value],
            Series::Many(values) => values,
        };
        all.extend(values.into_iter().map(|value| ExternalValue {
            metric: metric.clone(),
            labels: BTreeMap::new(),
            milli: value.milli(),
        }));
    }
    all
}

impl From<Phase> for PodPhase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Running => Self::Running,
            Phase::Succeeded => Self::Succeeded,
            Phase::Failed => Self::Failed,
            Phase::Unknown => Self::Unknown,
        }
    }
}

/// Seconds from `start` to `at`.
pub(super) fn seconds(at: Moment, start: Moment) -> f64 {
    (at.0.saturating_sub(start.0)) as f64 / SECOND as f64
}
