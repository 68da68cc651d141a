//! From what is seen of autoscalers to what changed: pure.

use std::collections::BTreeMap;

use highwater_model::{
    event::{AutoscalerCondition, MetricReading},
    time::Timestamp,
};
use k8s_openapi::{
    api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Event},
    jiff,
};

use super::{
    change::{Change, Line},
    judge::Figures,
};
use crate::backend::kube::observe::{
    News, Seen, Watched,
    autoscaler::{AutoscalerState, aims, state},
};

/// What is known of the autoscalers of a namespace.
#[derive(Debug)]
pub struct Reporter {
    /// The time of day at the start.
    start: jiff::Timestamp,
    /// Only this one, if given.
    only: Option<String>,
    known: BTreeMap<String, Known>,
    events: BTreeMap<String, u32>,
    gaps: BTreeMap<Watched, Timestamp>,
}

#[derive(Debug, Default)]
struct Known {
    settings: Option<Change>,
    status: Option<Change>,
    conditions: BTreeMap<String, AutoscalerCondition>,
    figures: BTreeMap<String, Figures>,
    metrics: BTreeMap<String, Change>,
}

/// Values by object, or why they could not be read.
pub type Reading = Result<Vec<(String, f64)>, String>;

/// What a look at the metrics showed for one autoscaler.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Its pods by resource.
    pub figures: Vec<Figures>,
    /// Its other metrics by name.
    pub metrics: Vec<(String, Reading)>,
}

impl Reporter {
    /// One that knows nothing yet. `start` is the time of day at the clock's zero.
    pub fn new(start: jiff::Timestamp, only: Option<&str>) -> Self {
        Self {
            start,
            only: only.map(Into::into),
            known: BTreeMap::new(),
            events: BTreeMap::new(),
            gaps: BTreeMap::new(),
        }
    }

    /// The time of day at an instant of the clock.
    pub fn time(&self, at: Timestamp) -> jiff::Timestamp {
        let ns = self.start.as_nanosecond().saturating_add(at.0.into());
        jiff::Timestamp::from_nanosecond(ns).unwrap_or(self.start)
    }

    /// Takes news, and appends what changed.
    pub fn take(&mut self, at: Timestamp, news: &News, out: &mut Vec<Line>) {
        match news {
            News::Autoscalers(seen) => self.autoscalers(at, seen, out),
            News::Events(seen) => self.events(at, seen, out),
            News::GapBegan { what, from, reason } => self.silent(at, what, *from, reason, out),
            News::GapEnded { what } => {
                if let Some(from) = self.gaps.remove(what) {
                    let (what, after) = (what.to_string(), at.since(from));
                    self.tell(at, None, Change::Heard { what, after }, out);
                }
            }
            _ => {}
        }
    }

    fn silent(
        &mut self,
        at: Timestamp,
        what: &Watched,
        from: Timestamp,
        reason: &str,
        out: &mut Vec<Line>,
    ) {
        if self.gaps.insert(what.clone(), from).is_none() {
            let (what, reason) = (what.to_string(), reason.into());
            self.tell(at, None, Change::Silent { what, reason }, out);
        }
    }

    /// Takes a look at the metrics of one autoscaler, and appends what changed.
    pub fn look(&mut self, at: Timestamp, autoscaler: &str, look: Look, out: &mut Vec<Line>) {
        let Some(known) = self.known.get_mut(autoscaler) else { return };
        let mut changes = Vec::new();
        for figures in look.figures {
            let before = known.figures.insert(figures.resource.clone(), figures.clone());
            if before.as_ref() != Some(&figures) {
                changes.push(Change::Pods(figures));
            }
        }
        known.metrics.retain(|name, _| look.metrics.iter().any(|(looked, _)| looked == name));
        for (name, values) in look.metrics {
            let change = match values {
                Ok(values) => Change::Metric { metric: name.clone(), values },
                Err(reason) => Change::Unread { what: name.clone(), reason },
            };
            if known.metrics.insert(name, change.clone()).as_ref() != Some(&change) {
                changes.push(change);
            }
        }
        changes.into_iter().for_each(|change| self.tell(at, Some(autoscaler), change, out));
    }

    fn tell(&self, at: Timestamp, of: Option<&str>, change: Change, out: &mut Vec<Line>) {
        out.push(Line { time: self.time(at), autoscaler: of.map(Into::into), change });
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == name)
    }

    fn autoscalers(
        &mut self,
        at: Timestamp,
        seen: &Seen<HorizontalPodAutoscaler>,
        out: &mut Vec<Line>,
    ) {
        let name = |object: &HorizontalPodAutoscaler| object.metadata.name.clone();
        match seen {
            Seen::All { objects, .. } => {
                let names: Vec<String> = objects.iter().filter_map(name).collect();
                let gone: Vec<String> =
                    self.known.keys().filter(|known| !names.contains(known)).cloned().collect();
                gone.iter().for_each(|name| self.gone(at, name, out));
                objects.iter().for_each(|object| self.autoscaler(at, object, out));
            }
            Seen::Changed(object) => self.autoscaler(at, object, out),
            Seen::Gone(object) => self.gone(at, &name(object).unwrap_or_default(), out),
        }
    }

    fn gone(&mut self, at: Timestamp, name: &str, out: &mut Vec<Line>) {
        if self.known.remove(name).is_some() {
            self.tell(at, Some(name), Change::Gone, out);
        }
    }

    fn autoscaler(&mut self, at: Timestamp, object: &HorizontalPodAutoscaler, out: &mut Vec<Line>) {
        let Some(name) = object.metadata.name.clone().filter(|name| self.is_wanted(name)) else {
            return;
        };
        let known = self.known.entry(name.clone()).or_default();
        let mut changes = Vec::new();
        let settings = settings(object);
        if settings.is_some() && known.settings != settings {
            known.settings.clone_from(&settings);
            changes.extend(settings);
        }
        // Before its first pass it has no conditions, and zeros that mean nothing.
        if let Some(state) = state(object).filter(|state| !state.conditions.is_empty()) {
            changes.extend(known.status(state));
        }
        changes.into_iter().for_each(|change| self.tell(at, Some(&name), change, out));
    }

    fn events(&mut self, at: Timestamp, seen: &Seen<Event>, out: &mut Vec<Line>) {
        match seen {
            Seen::All { objects, since } => {
                for event in objects {
                    self.event(at, event, since.is_none(), out);
                }
            }
            Seen::Changed(event) => self.event(at, event, false, out),
            Seen::Gone(event) => {
                self.events.remove(event.metadata.uid.as_deref().unwrap_or_default());
            }
        }
    }

    /// Takes an Event. Those that were there at first are old.
    fn event(&mut self, at: Timestamp, event: &Event, is_old: bool, out: &mut Vec<Line>) {
        let object = &event.involved_object;
        let is_autoscaler = object.kind.as_deref() == Some("HorizontalPodAutoscaler");
        let name = object.name.clone().filter(|name| is_autoscaler && self.is_wanted(name));
        let (Some(name), Some(uid)) = (name, event.metadata.uid.clone()) else { return };
        let series = event.series.as_ref().and_then(|series| series.count);
        let count = series.or(event.count).unwrap_or(1).max(1) as u32;
        if self.events.insert(uid, count) == Some(count) || is_old {
            return;
        }
        let change = Change::Event {
            warning: event.type_.as_deref() == Some("Warning"),
            reason: event.reason.clone().unwrap_or_default(),
            message: event.message.clone().unwrap_or_default(),
            count,
        };
        self.tell(at, Some(&name), change, out);
    }
}

impl Known {
    /// What changed in the status: replicas and metrics, then each condition.
    fn status(&mut self, state: AutoscalerState) -> Vec<Change> {
        let AutoscalerState { current, desired, metrics, conditions } = state;
        let mut changes = Vec::new();
        let status = Change::Status { current, desired, metrics };
        if self.status.as_ref() != Some(&status) {
            self.status = Some(status.clone());
            changes.push(status);
        }
        for condition in conditions {
            let before = self.conditions.insert(condition.kind.clone(), condition.clone());
            if before.as_ref() != Some(&condition) {
                changes.push(Change::Condition(condition));
            }
        }
        changes
    }
}

fn settings(object: &HorizontalPodAutoscaler) -> Option<Change> {
    let spec = object.spec.as_ref()?;
    let of = &spec.scale_target_ref;
    let metrics: Vec<MetricReading> = aims(object);
    Some(Change::Settings {
        target: format!("{}/{}", of.kind, of.name),
        min: spec.min_replicas.unwrap_or(1).max(0) as u32,
        max: spec.max_replicas.max(0) as u32,
        metrics,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn hpa(name: &str, desired: i32, reason: &str, cpu: i32) -> Value {
        json!({
            "metadata": {"name": name},
            "spec": {
                "maxReplicas": 4, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}
                }}]
            },
            "status": {
                "currentReplicas": 2, "desiredReplicas": desired,
                "conditions": [
                    {"type": "AbleToScale", "status": "True", "reason": reason, "message": "m"}
                ],
                "currentMetrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "current": {"averageUtilization": cpu}
                }}]
            }
        })
    }

    fn all(objects: Value, since: Option<Timestamp>) -> News {
        let objects = serde_json::from_value(objects).expect("autoscalers");
        News::Autoscalers(Seen::All { objects, since })
    }

    fn changed(object: Value) -> News {
        News::Autoscalers(Seen::Changed(serde_json::from_value(object).expect("one")))
    }

    fn event(uid: &str, name: &str, count: i32) -> Event {
        serde_json::from_value(json!({
            "metadata": {"uid": uid}, "reason": "SuccessfulRescale", "message": "New size",
            "involvedObject": {"kind": "HorizontalPodAutoscaler", "name": name}, "count": count
        }))
        .expect("an Event")
    }

    struct Bench {
        reporter: Reporter,
        now: u64,
    }

    impl Bench {
        fn new(only: Option<&str>) -> Self {
            Self { reporter: Reporter::new(jiff::Timestamp::UNIX_EPOCH, only), now: 0 }
        }

        /// What it tells of the news, without the time.
        fn take(&mut self, news: &News) -> Vec<String> {
            self.now += 1_000_000_000;
            let mut out = Vec::new();
            self.reporter.take(Timestamp(self.now), news, &mut out);
            Self::words(&out)
        }

        fn words(out: &[Line]) -> Vec<String> {
            out.iter().map(|line| line.text()[13..].to_string()).collect()
        }
    }

    #[test]
    fn only_what_changed_is_told() {
        let mut bench = Bench::new(None);
        let first = bench.take(&all(json!([hpa("web", 2, "ReadyForNewScale", 40)]), None));
        assert_eq!(
            first,
            [
                "web  scales Deployment/web from 1 to 4, aiming at cpu 50%",
                "web  replicas 2 = 2; cpu 40%/50%",
                "web  AbleToScale=True ReadyForNewScale: m",
            ]
        );
        assert!(bench.take(&changed(hpa("web", 2, "ReadyForNewScale", 40))).is_empty());
        assert_eq!(
            bench.take(&changed(hpa("web", 4, "SucceededRescale", 77))),
            ["web  replicas 2 -> 4; cpu 77%/50%", "web  AbleToScale=True SucceededRescale: m"]
        );
        let mut wider = hpa("web", 4, "SucceededRescale", 77);
        wider["spec"]["maxReplicas"] = json!(9);
        assert_eq!(
            bench.take(&changed(wider)),
            ["web  scales Deployment/web from 1 to 9, aiming at cpu 50%"]
        );
        assert_eq!(bench.take(&all(json!([]), Some(Timestamp(1)))), ["web  is gone"]);
    }

    #[test]
    fn one_autoscaler_alone_can_be_chosen() {
        let mut bench = Bench::new(Some("web"));
        let both = json!([hpa("api", 2, "R", 1), hpa("web", 2, "R", 1)]);
        let told = bench.take(&all(both, None));
        assert!(told.iter().all(|line| line.starts_with("web ")), "{told:?}");
        let of_other = News::Events(Seen::Changed(Box::new(event("x", "api", 1))));
        assert!(bench.take(&of_other).is_empty());
    }

    #[test]
    fn events_are_told_once_and_not_those_of_before() {
        let mut bench = Bench::new(None);
        let old = News::Events(Seen::All { objects: vec![event("x", "web", 3)], since: None });
        assert!(bench.take(&old).is_empty());
        let again = |count| News::Events(Seen::Changed(Box::new(event("x", "web", count))));
        assert!(bench.take(&again(3)).is_empty());
        assert_eq!(bench.take(&again(4)), ["web  event SuccessfulRescale (4 times): New size"]);
        let late = vec![event("x", "web", 4), event("y", "web", 1)];
        let late = News::Events(Seen::All { objects: late, since: Some(Timestamp(1)) });
        assert_eq!(bench.take(&late), ["web  event SuccessfulRescale: New size"]);
    }

    #[test]
    fn gaps_are_told_at_both_ends() {
        let mut bench = Bench::new(None);
        let began = News::GapBegan {
            what: Watched::Autoscalers,
            from: Timestamp::ZERO,
            reason: "refused".into(),
        };
        assert_eq!(
            bench.take(&began),
            ["-  horizontalpodautoscalers: not heard of any more: refused"]
        );
        assert!(bench.take(&began).is_empty());
        let ended = News::GapEnded { what: Watched::Autoscalers };
        assert_eq!(bench.take(&ended), ["-  horizontalpodautoscalers: heard of again after 3.0 s"]);
        assert!(bench.take(&ended).is_empty());
    }

    #[test]
    fn looks_at_metrics_tell_what_is_new() {
        let mut bench = Bench::new(None);
        bench.take(&all(json!([hpa("web", 2, "R", 1)]), None));
        let figures = |percent| Figures { resource: "cpu".into(), percent, pods: Vec::new() };
        let look = |percent, value: Result<f64, String>| Look {
            figures: vec![figures(percent)],
            metrics: vec![("rps".into(), value.map(|value| vec![("Pod/a".into(), value)]))],
        };
        let mut tell = |look: Look| {
            let mut out = Vec::new();
            bench.reporter.look(Timestamp(1), "web", look, &mut out);
            Bench::words(&out)
        };
        assert_eq!(tell(look(Some(5), Ok(1.0))).len(), 2);
        assert!(tell(look(Some(5), Ok(1.0))).is_empty());
        assert_eq!(tell(look(Some(5), Err("404".into()))), ["web  rps cannot be read: 404"]);
        assert_eq!(
            tell(look(None, Err("404".into()))),
            ["web  pods by cpu: no percentage, 0 of 0 counted"]
        );
        // What could be read in between, is told when it cannot again.
        let nothing = Look::default();
        assert!(tell(nothing).is_empty());
        assert_eq!(tell(look(None, Err("404".into()))), ["web  rps cannot be read: 404"]);
        let mut out = Vec::new();
        bench.reporter.look(Timestamp(1), "unknown", look(None, Ok(1.0)), &mut out);
        assert!(out.is_empty());
    }
}
