//! Whom the endpoints offered to new connections, and when nobody.
//!
//! kube-proxy takes the ready endpoints; if there is none, those that serve and terminate; if there
//! is none of them either, it rejects every connection. Ingresses differ in whether they have that
//! second choice, and all answer 503 without a ready endpoint.
//!
//! *Source*: `lifecycle-semantics.md` sections 3.4 and 3.5; `pkg/proxy/topology.go`.

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::{
    event::{Endpoint, Event, EventKind},
    time::{Nanos, Timestamp},
};

use super::Way;
use crate::analyze::{
    moment::{Axis, Moment},
    pods::{Lives, PodLife},
};

/// The data path may know of a change this much before our own watch of it does.
///
/// *Source*: `backend/kube/observe/time.rs`, `WATCH_DELAY`.
const WATCH_DELAY: Nanos = Nanos::from_millis(250);

/// From when to when something was so; open if it still was at the end.
type Span = (Moment, Option<Moment>);

/// The endpoints of a run, over time.
#[derive(Debug, Default)]
pub(super) struct Offers<'a> {
    pods: Vec<Offered<'a>>,
    none: Vec<Span>,
    /// Gaps after which nobody was offered who was before: whether there was anybody all the time,
    /// is not known.
    doubts: Vec<Moment>,
}

/// A pod that was an endpoint.
#[derive(Debug)]
struct Offered<'a> {
    pod: &'a str,
    life: &'a PodLife,
    spans: Vec<Span>,
}

/// What one version of the endpoints offers.
#[derive(Debug, Default)]
struct Version<'a> {
    pods: BTreeSet<&'a str>,
    is_nobody: bool,
}

impl<'a> Offers<'a> {
    /// Reads them. A record without endpoints tells of ready pods only.
    pub(super) fn of(events: &'a [Event], lives: &'a Lives, way: Way) -> Self {
        let axis = Axis::of(events);
        let mut offers = Self::default();
        let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
        let mut last: Option<Version<'_>> = None;
        for event in events {
            let EventKind::Endpoints { endpoints, .. } = &event.kind else { continue };
            let (at, now) = (axis.moment(event), Version::of(endpoints, way));
            offers.take(at, last.as_ref(), &now);
            change(&mut spans, at, &now.pods);
            last = Some(now);
        }
        if last.is_none() {
            let ready = lives.pods.iter().filter_map(|(pod, life)| {
                let end = life.deletion.map(|deletion| deletion.at).or(life.gone);
                Some((pod.as_str(), vec![(life.first_ready?, end)]))
            });
            spans = ready.collect();
        }
        let pods = lives.pods.iter().filter_map(|(pod, life)| {
            let mut spans = spans.remove(pod.as_str())?;
            // An endpoint does not outlive its pod, even if nobody takes it out.
            if let Some(gone) = life.gone {
                let ends = spans.iter_mut().map(|(_, end)| end);
                ends.for_each(|end| *end = Some(end.map_or(gone, |end| end.not_after(gone))));
            }
            Some(Offered { pod, life, spans })
        });
        offers.pods = pods.collect();
        offers
    }

    fn take(&mut self, at: Moment, last: Option<&Version<'_>>, now: &Version<'_>) {
        match self.none.last_mut() {
            Some((_, end @ None)) if !now.is_nobody => *end = Some(at),
            Some((_, None)) => {}
            _ if now.is_nobody => self.none.push((at, None)),
            _ => {}
        }
        if at.is_vague() && last.is_none_or(|last| last.pods.is_disjoint(&now.pods)) {
            self.doubts.push(at);
        }
    }

    /// The pods that the data path may have chosen between `from` and `until`, by name, and by how
    /// much it must lag behind the endpoints for that: zero if they offer the pod then.
    pub(super) fn between(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = (&'a str, &'a PodLife, Nanos)> {
        // The endpoints of a gap may seem to hold a pod that was made in it, from its begin on.
        let made = self.pods.iter().filter(move |one| one.life.created.may_be_by(until));
        made.filter_map(move |one| {
            let lag = one.spans.iter().filter_map(|span| lag(span, from, until)).min()?;
            Some((one.pod, one.life, lag))
        })
    }

    /// By how much the data path must lag to choose nobody between `from` and `until`.
    pub(super) fn lag_of_none(&self, from: Timestamp, until: Timestamp) -> Option<Nanos> {
        self.none.iter().filter_map(|span| lag(span, from, until)).min()
    }

    /// Whether there was nobody to choose all the time from `from` to `until`.
    pub(super) fn is_nobody(&self, from: Timestamp, until: Timestamp) -> bool {
        self.none
            .iter()
            .any(|(begin, end)| begin.is_by(from) && end.is_none_or(|end| end.earliest >= until))
    }

    /// Whether the endpoints let nobody say that there was somebody to choose.
    pub(super) fn is_in_doubt(&self, from: Timestamp, until: Timestamp) -> bool {
        self.doubts.iter().any(|gap| gap.may_be_by(until) && gap.latest >= from)
    }
}

/// Begins and ends the spans of the pods at a new version.
fn change<'a>(spans: &mut BTreeMap<&'a str, Vec<Span>>, at: Moment, now: &BTreeSet<&'a str>) {
    for (pod, spans) in spans.iter_mut() {
        if let Some((_, end @ None)) = spans.last_mut().filter(|_| !now.contains(pod)) {
            *end = Some(at);
        }
    }
    for pod in now {
        let spans = spans.entry(pod).or_default();
        if spans.last().is_none_or(|(_, end)| end.is_some()) {
            spans.push((at, None));
        }
    }
}

fn lag((begin, end): &Span, from: Timestamp, until: Timestamp) -> Option<Nanos> {
    let is_begun = begin.may_be_by(until + WATCH_DELAY);
    is_begun.then(|| end.map_or(Nanos::ZERO, |end| from.since(end.latest)))
}

impl<'a> Version<'a> {
    fn of(endpoints: &'a [Endpoint], way: Way) -> Self {
        let names = |wanted: fn(&Endpoint) -> bool| -> BTreeSet<&str> {
            endpoints.iter().filter(|one| wanted(one)).map(|one| one.pod.as_str()).collect()
        };
        let ready = names(|one| one.ready);
        if !ready.is_empty() {
            return Self { pods: ready, is_nobody: false };
        }
        let pods = names(|one| one.serving && one.terminating);
        let is_nobody = pods.is_empty() || way == Way::Ingress;
        Self { pods, is_nobody }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::{event::Source, time::MILLISECOND};

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * MILLISECOND)
    }

    /// Endpoints by letter: `a` ready, `a!` serving and terminating, `a?` terminating only.
    fn endpoints(ms: u64, all: &str, precision: Option<Nanos>) -> Event {
        let endpoints = all.split_whitespace().map(|word| Endpoint {
            pod: word[..1].into(),
            ready: word.len() == 1,
            serving: !word.ends_with('?'),
            terminating: word.len() > 1,
        });
        let kind = EventKind::Endpoints { version: ms, endpoints: endpoints.collect() };
        Event { at: at(ms), seq: ms, source: Source::Controller, precision, stated: None, kind }
    }

    /// Pods that are there all the time.
    fn lives(names: &[&str]) -> Lives {
        let made = names.iter().map(|name| Event {
            kind: EventKind::PodCreated { pod: (*name).into(), revision: 1 },
            ..endpoints(0, "", None)
        });
        Lives::of(&made.collect::<Vec<_>>())
    }

    fn lag_of(offers: &Offers<'_>, pod: &str, ms: u64) -> Option<f64> {
        let mut all = offers.between(at(ms), at(ms));
        all.find(|(name, ..)| *name == pod).map(|(_, _, lag)| lag.as_millis_f64())
    }

    #[test]
    fn a_lag_is_that_behind_the_last_endpoints_that_offered_a_pod() {
        let events = [endpoints(1_000, "a b", None), endpoints(2_000, "b a!", None)];
        let lives = lives(&["a", "b", "c"]);
        let offers = Offers::of(&events, &lives, Way::Service);
        let lag = |pod, ms| lag_of(&offers, pod, ms);
        assert_eq!(lag("a", 700), None, "before anybody knew of it");
        assert_eq!(lag("a", 800), Some(0.0), "our watch may be late");
        assert_eq!(lag("a", 1_999), Some(0.0));
        assert_eq!(lag("a", 2_300), Some(300.0));
        assert_eq!(lag("b", 9_000), Some(0.0));
        assert_eq!(lag("c", 9_000), None);
    }

    #[test]
    fn without_ready_ones_those_that_serve_and_terminate_are_offered_and_then_nobody() {
        let events = [
            endpoints(1_000, "a", None),
            endpoints(2_000, "a!", None),
            endpoints(3_000, "a?", None),
            endpoints(6_000, "a? b", None),
        ];
        let lives = lives(&["a", "b"]);
        let offers = Offers::of(&events, &lives, Way::Service);
        assert_eq!(lag_of(&offers, "a", 2_500), Some(0.0));
        assert!(!offers.is_nobody(at(2_500), at(2_501)));
        let ingress = Offers::of(&events, &lives, Way::Ingress);
        assert!(ingress.is_nobody(at(2_500), at(2_501)), "which may not have that second choice");
        assert_eq!(lag_of(&ingress, "a", 2_500), Some(0.0), "and may have it");
        assert!(offers.is_nobody(at(3_000), at(3_001)) && !offers.is_nobody(at(5_999), at(6_001)));
        let none = |ms| offers.lag_of_none(at(ms), at(ms)).map(Nanos::as_millis_f64);
        assert_eq!((none(2_500), none(4_000), none(6_400)), (None, Some(0.0), Some(400.0)));
    }

    #[test]
    fn a_gap_that_nobody_outlives_leaves_doubt_and_one_with_a_survivor_does_not() {
        let gap = Some(Nanos::from_secs(30));
        let lives = lives(&["a", "b", "c", "d"]);
        for (after, is_in_doubt) in [("c d", true), ("b c", false)] {
            let events = [endpoints(1_000, "a b", None), endpoints(40_000, after, gap)];
            let offers = Offers::of(&events, &lives, Way::Service);
            let doubt = |ms| offers.is_in_doubt(at(ms), at(ms));
            assert_eq!([doubt(9_000), doubt(20_000)], [false, is_in_doubt], "{after}");
            assert_eq!(
                [lag_of(&offers, "a", 20_000), lag_of(&offers, "c", 20_000)],
                [Some(0.0); 2]
            );
        }
    }
}
