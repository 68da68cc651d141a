//! Whom the endpoints offered to new connections, and when nobody.
//!
//! *Source*: `lifecycle-semantics.md` section 3.4; `pkg/proxy/topology.go`: ready endpoints; if there
//! is none, those that serve and terminate; if there is none of them either, every connection is
//! rejected.

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::{
    event::{Endpoint, Event, EventKind},
    time::{Nanos, Timestamp},
};

use crate::analyze::{moment::Moment, pods::Lives};

/// The data path may know of a change this much before our own watch of it does.
///
/// *Source*: `backend/kube/observe/time.rs`, `WATCH_DELAY`.
const WATCH_DELAY: Nanos = Nanos::from_millis(250);

/// From when to when something was so; open if it still was at the end.
type Span = (Moment, Option<Moment>);

/// The endpoints of a run, over time.
#[derive(Debug, Default)]
pub(super) struct Offers<'a> {
    pods: BTreeMap<&'a str, Vec<Span>>,
    none: Vec<Span>,
    /// Gaps after which nobody was offered who was before: whether there was anybody all the time,
    /// is not known.
    doubts: Vec<Moment>,
}

impl<'a> Offers<'a> {
    /// Reads them. A record without endpoints tells of ready pods only.
    pub(super) fn of(events: &'a [Event], lives: &'a Lives) -> Self {
        let mut offers = Self::default();
        let mut last: Option<BTreeSet<&str>> = None;
        for event in events {
            let EventKind::Endpoints { endpoints, .. } = &event.kind else { continue };
            let now = offered(endpoints);
            offers.change(Moment::of(event), last.as_ref(), &now);
            last = Some(now);
        }
        if last.is_none() {
            let ready = lives.pods.iter().filter_map(|(pod, life)| {
                let end = life.deletion.map(|deletion| deletion.at).or(life.gone);
                Some((pod.as_str(), vec![(life.first_ready?, end)]))
            });
            offers.pods = ready.collect();
        }
        offers
    }

    fn change(&mut self, at: Moment, last: Option<&BTreeSet<&'a str>>, now: &BTreeSet<&'a str>) {
        for pod in now {
            let spans = self.pods.entry(pod).or_default();
            if spans.last().is_none_or(|(_, end)| end.is_some()) {
                spans.push((at, None));
            }
        }
        for pod in last.into_iter().flatten().filter(|pod| !now.contains(*pod)) {
            if let Some((_, end)) = self.pods.get_mut(pod).and_then(|spans| spans.last_mut()) {
                *end = Some(at);
            }
        }
        match self.none.last_mut() {
            Some((_, end @ None)) if !now.is_empty() => *end = Some(at),
            Some((_, None)) => {}
            _ if now.is_empty() => self.none.push((at, None)),
            _ => {}
        }
        if at.is_vague() && last.is_none_or(|last| last.is_disjoint(now)) {
            self.doubts.push(at);
        }
    }

    /// By how much the data path must lag behind the endpoints to choose this pod between `from`
    /// and `until`; zero if the endpoints offer it then; `None` if they had not yet.
    pub(super) fn lag(&self, pod: &str, from: Timestamp, until: Timestamp) -> Option<Nanos> {
        let spans = self.pods.get(pod)?;
        spans.iter().filter_map(|span| lag(span, from, until)).min()
    }

    /// The same for choosing nobody.
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

fn lag((begin, end): &Span, from: Timestamp, until: Timestamp) -> Option<Nanos> {
    let is_begun = begin.may_be_by(until + WATCH_DELAY);
    is_begun.then(|| end.map_or(Nanos::ZERO, |end| from.since(end.latest)))
}

fn offered(endpoints: &[Endpoint]) -> BTreeSet<&str> {
    let names = |wanted: fn(&Endpoint) -> bool| -> BTreeSet<&str> {
        endpoints.iter().filter(|one| wanted(one)).map(|one| one.pod.as_str()).collect()
    };
    let ready = names(|one| one.ready);
    if ready.is_empty() { names(|one| one.serving && one.terminating) } else { ready }
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

    #[test]
    fn a_lag_is_that_behind_the_last_endpoints_that_offered_a_pod() {
        let events = [endpoints(1_000, "a b", None), endpoints(2_000, "b a!", None)];
        let lives = Lives::default();
        let offers = Offers::of(&events, &lives);
        let lag = |pod, ms| offers.lag(pod, at(ms), at(ms)).map(Nanos::as_millis_f64);
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
        let lives = Lives::default();
        let offers = Offers::of(&events, &lives);
        assert_eq!(offers.lag("a", at(2_500), at(2_500)), Some(Nanos::ZERO));
        assert!(!offers.is_nobody(at(2_500), at(2_501)));
        assert!(offers.is_nobody(at(3_000), at(3_001)) && !offers.is_nobody(at(5_999), at(6_001)));
        let none = |ms| offers.lag_of_none(at(ms), at(ms)).map(Nanos::as_millis_f64);
        assert_eq!((none(2_500), none(4_000), none(6_400)), (None, Some(0.0), Some(400.0)));
    }

    #[test]
    fn a_gap_that_nobody_outlives_leaves_doubt_and_one_with_a_survivor_does_not() {
        let gap = Some(Nanos::from_secs(30));
        let lives = Lives::default();
        for (after, is_in_doubt) in [("c d", true), ("b c", false)] {
            let events = [endpoints(1_000, "a b", None), endpoints(40_000, after, gap)];
            let offers = Offers::of(&events, &lives);
            let doubt = |ms| offers.is_in_doubt(at(ms), at(ms));
            assert_eq!([doubt(9_000), doubt(20_000)], [false, is_in_doubt], "{after}");
            assert_eq!(offers.lag("a", at(20_000), at(20_000)), Some(Nanos::ZERO));
            assert_eq!(offers.lag("c", at(20_000), at(20_000)), Some(Nanos::ZERO));
        }
    }
}
