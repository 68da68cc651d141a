//! The HorizontalPodAutoscaler: its settings, what it measured, and each of its decisions.
//!
//! A decision shows three times: as the Deployment's new `spec.replicas`, as an Event
//! `SuccessfulRescale` with the reason, and as a new `lastScaleTime` in the autoscaler's status
//! with the old and the new number. They come in any order, each by its own watch, within some
//! 20 ms. One decision is told when the Event and the status are both there, or when the other
//! has not come in time.

use std::collections::VecDeque;

use highwater_model::{
    event::{AutoscalerCondition, EventKind, MetricReading, MetricUnit, Source},
    time::{Nanos, Timestamp},
};
use k8s_openapi::{
    api::autoscaling::v2::{
        HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus,
        MetricTarget, MetricValueStatus,
    },
    jiff,
};

use super::{
    Scribe,
    news::Seen,
    quantity::number,
    time::{Clock, Estimate},
    workload::count,
};

/// How long the other half of a decision is waited for.
const HALF_DELAY: Nanos = Nanos::from_secs(3);
/// How many halves wait at most; an autoscaler decides every 15 s.
const HALVES_MAX: usize = 16;

/// The autoscaler of the target.
#[derive(Clone, Debug, Default)]
pub struct Autoscaler {
    name: Option<String>,
    /// The last that was told of it.
    status: Option<AutoscalerState>,
    limits: Option<(u32, u32)>,
    last_scale: Option<jiff::Timestamp>,
    /// Halves of decisions: at most one of the queues is not empty.
    changes: VecDeque<Change>,
    reasons: VecDeque<Reason>,
    /// `spec.replicas` of the Deployment, before and after its last change.
    replicas: Option<(u32, u32)>,
}

/// An autoscaler's status.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoscalerState {
    /// Replicas that it saw.
    pub current: u32,
    /// Replicas that it wants.
    pub desired: u32,
    /// Its metrics, in the order of its spec.
    pub metrics: Vec<MetricReading>,
    /// Its conditions.
    pub conditions: Vec<AutoscalerCondition>,
}

/// A decision as its status shows it.
#[derive(Clone, Debug)]
struct Change {
    at: Estimate,
    from: u32,
    to: u32,
    /// What the condition says, for want of the Event.
    word: String,
    due: Timestamp,
}

/// A decision as its Event shows it.
#[derive(Clone, Debug)]
struct Reason {
    at: Estimate,
    text: String,
    due: Timestamp,
}

impl Autoscaler {
    pub(super) fn new(name: Option<&str>) -> Self {
        Self { name: name.map(Into::into), ..Self::default() }
    }

    /// Its status; `None` before its first pass.
    pub fn state(&self) -> Option<&AutoscalerState> {
        self.status.as_ref()
    }

    /// `minReplicas` and `maxReplicas`; `None` before it was seen, or if there is none.
    pub fn limits(&self) -> Option<(u32, u32)> {
        self.limits
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    pub(super) fn take(&mut self, seen: &Seen<HorizontalPodAutoscaler>, scribe: &mut Scribe<'_>) {
        let is_it = |object: &HorizontalPodAutoscaler| {
            object.metadata.name.is_some() && object.metadata.name == self.name
        };
        match seen {
            Seen::All { objects, .. } => match objects.iter().find(|object| is_it(object)) {
                Some(object) => self.seen(object, scribe),
                None => self.gone(),
            },
            Seen::Changed(object) if is_it(object) => self.seen(object, scribe),
            Seen::Gone(object) if is_it(object) => self.gone(),
            Seen::Changed(_) | Seen::Gone(_) => {}
        }
    }

    fn gone(&mut self) {
        self.status = None;
        self.limits = None;
        self.last_scale = None;
    }

    fn seen(&mut self, object: &HorizontalPodAutoscaler, scribe: &mut Scribe<'_>) {
        let is_first = self.limits.is_none();
        if let Some(spec) = &object.spec {
            let min = spec.min_replicas.map_or(1, |min| count(Some(min)));
            let max = count(Some(spec.max_replicas));
            if self.limits.replace((min, max)) != Some((min, max)) {
                scribe.unstated(Source::Autoscaler, EventKind::AutoscalerSpec { min, max });
            }
        }
        let Some(status) = &object.status else { return };
        // Before its first pass it has no conditions, and zeros that mean nothing.
        let Some(state) = state(object).filter(|state| !state.conditions.is_empty()) else {
            return;
        };
        self.scaled(status, &state, is_first, scribe);
        if self.status.as_ref() != Some(&state) {
            let AutoscalerState { current, desired, metrics, conditions } = state.clone();
            let kind = EventKind::AutoscalerStatus { current, desired, metrics, conditions };
            scribe.unstated(Source::Autoscaler, kind);
            self.status = Some(state);
        }
    }

    /// Notes a decision if `lastScaleTime` is a new one.
    fn scaled(
        &mut self,
        status: &HorizontalPodAutoscalerStatus,
        state: &AutoscalerState,
        is_first: bool,
        scribe: &mut Scribe<'_>,
    ) {
        let Some(time) = &status.last_scale_time else { return };
        let is_new = self.last_scale.replace(time.0) != Some(time.0);
        if !is_new || is_first {
            return;
        }
        let stated = scribe.clocks.second(time, Clock::Server);
        let able = state.conditions.iter().find(|condition| condition.kind == "AbleToScale");
        self.changes.push_back(Change {
            at: scribe.written(Some(stated), Timestamp::ZERO),
            from: state.current,
            to: state.desired,
            word: able.map(|able| able.message.clone()).unwrap_or_default(),
            due: scribe.now() + HALF_DELAY,
        });
        self.join(scribe);
    }

    /// An Event says why the autoscaler changed the Deployment's size.
    pub(super) fn rescaled(&mut self, at: Estimate, text: &str, scribe: &mut Scribe<'_>) {
        let due = scribe.now() + HALF_DELAY;
        self.reasons.push_back(Reason { at, text: text.into(), due });
        self.join(scribe);
    }

    /// The Deployment's `spec.replicas` is `replicas` now.
    pub(super) fn replicas_seen(&mut self, replicas: u32) {
        match self.replicas {
            Some((_, last)) if last == replicas => {}
            Some((_, last)) => self.replicas = Some((last, replicas)),
            None => self.replicas = Some((replicas, replicas)),
        }
    }

    /// Joins the halves that are both there.
    fn join(&mut self, scribe: &mut Scribe<'_>) {
        while !self.changes.is_empty() && !self.reasons.is_empty() {
            let (Some(change), Some(reason)) = (self.changes.pop_front(), self.reasons.pop_front())
            else {
                return;
            };
            let at = if reason.at.at < change.at.at { reason.at } else { change.at };
            decided(change.from, change.to, &reason.text, at, scribe);
        }
        let overflow = self.changes.len().max(self.reasons.len()) > HALVES_MAX;
        if overflow {
            self.fire(Timestamp::MAX, scribe);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let changes = self.changes.front().map(|change| change.due);
        changes.or(self.reasons.front().map(|reason| reason.due))
    }

    /// Tells decisions of which the other half did not come.
    pub(super) fn fire(&mut self, now: Timestamp, scribe: &mut Scribe<'_>) {
        while let Some(change) = self.changes.pop_front_if(|change| change.due <= now) {
            decided(change.from, change.to, &change.word, change.at, scribe);
        }
        while let Some(reason) = self.reasons.pop_front_if(|reason| reason.due <= now) {
            // Its status is not to be seen, so the Deployment's last change has to do.
            if let Some((from, to)) = self.replicas.filter(|(from, to)| from != to) {
                decided(from, to, &reason.text, reason.at, scribe);
            }
        }
    }
}

fn decided(from: u32, to: u32, reason: &str, at: Estimate, scribe: &mut Scribe<'_>) {
    if from != to {
        let kind = EventKind::AutoscalerDecision { from, to, reason: reason.into() };
        scribe.at(at, Source::Autoscaler, kind);
    }
}

/// The status of an autoscaler; `None` before its first pass.
pub fn state(object: &HorizontalPodAutoscaler) -> Option<AutoscalerState> {
    let status = object.status.as_ref()?;
    let specs = object.spec.as_ref().and_then(|spec| spec.metrics.as_deref()).unwrap_or_default();
    let readings = status.current_metrics.as_deref().unwrap_or_default();
    let conditions = status.conditions.iter().flatten().map(|condition| AutoscalerCondition {
        kind: condition.type_.clone(),
        status: condition.status == "True",
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    });
    Some(AutoscalerState {
        current: count(status.current_replicas),
        desired: count(Some(status.desired_replicas)),
        metrics: specs.iter().filter_map(|spec| reading(spec, readings)).collect(),
        conditions: conditions.collect(),
    })
}

/// What an autoscaler aims at, in the order of its spec, without what it measured.
pub fn aims(object: &HorizontalPodAutoscaler) -> Vec<MetricReading> {
    let specs = object.spec.as_ref().and_then(|spec| spec.metrics.as_deref()).unwrap_or_default();
    specs.iter().filter_map(|spec| reading(spec, &[])).collect()
}

/// A metric of the spec with what was measured of it. One that failed is empty in the status, or
/// missing.
fn reading(spec: &MetricSpec, readings: &[MetricStatus]) -> Option<MetricReading> {
    let (name, target) = named(spec)?;
    let current = readings.iter().find_map(|reading| {
        let (other, current) = measured(reading)?;
        (reading.type_ == spec.type_ && other == name).then_some(current)
    });
    let (unit, target) = aim(target)?;
    let current = current.and_then(|current| value(current, unit));
    Some(MetricReading { name, unit, current, target })
}

fn named(spec: &MetricSpec) -> Option<(String, &MetricTarget)> {
    if let Some(resource) = &spec.resource {
        return Some((resource.name.clone(), &resource.target));
    }
    if let Some(resource) = &spec.container_resource {
        return Some((format!("{}/{}", resource.container, resource.name), &resource.target));
    }
    if let Some(pods) = &spec.pods {
        return Some((pods.metric.name.clone(), &pods.target));
    }
    if let Some(object) = &spec.object {
        return Some((object.metric.name.clone(), &object.target));
    }
    spec.external.as_ref().map(|external| (external.metric.name.clone(), &external.target))
}

fn measured(status: &MetricStatus) -> Option<(String, &MetricValueStatus)> {
    if let Some(resource) = &status.resource {
        return Some((resource.name.clone(), &resource.current));
    }
    if let Some(resource) = &status.container_resource {
        return Some((format!("{}/{}", resource.container, resource.name), &resource.current));
    }
    if let Some(pods) = &status.pods {
        return Some((pods.metric.name.clone(), &pods.current));
    }
    if let Some(object) = &status.object {
        return Some((object.metric.name.clone(), &object.current));
    }
    status.external.as_ref().map(|external| (external.metric.name.clone(), &external.current))
}

/// What a metric aims at. An average wins over a utilization or a value.
///
/// *Source*: `hpa-semantics.md` section 3.
fn aim(target: &MetricTarget) -> Option<(MetricUnit, f64)> {
    if let Some(average) = &target.average_value {
        return Some((MetricUnit::AverageValue, number(average)?));
    }
    if let Some(percent) = target.average_utilization {
        return Some((MetricUnit::Percent, percent.into()));
    }
    target.value.as_ref().and_then(|value| Some((MetricUnit::Value, number(value)?)))
}

fn value(current: &MetricValueStatus, unit: MetricUnit) -> Option<f64> {
    match unit {
        MetricUnit::Percent => current.average_utilization.map(Into::into),
        MetricUnit::AverageValue => current.average_value.as_ref().and_then(number),
        MetricUnit::Value => current.value.as_ref().and_then(number),
    }
}
