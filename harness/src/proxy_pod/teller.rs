//! What becomes of the proxy's reports: lines of the record, once the run's axis is known.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use highwater_model::event::{Event, EventKind, Source};

use super::Word;
use crate::{
    agent::protocol::Item,
    clock::RunClock,
    proxy::protocol::{Report, View},
    record::Line,
};

/// What is watched, in the words of a gap's event.
const WATCHED: &str = "the proxy's endpointslices";

/// What a worker goes by.
#[derive(Clone, Debug)]
struct Followed {
    since: u64,
    version: u64,
    routed: Vec<String>,
}

/// Turns what happens in the pod into what is told. Instants are the pod's monotonic clock,
/// nanoseconds.
///
/// *Behaviour*: before [`Teller::start`] nothing is told but words; what each worker goes by is
/// kept and told then, the rest is the matter of no run.
#[derive(Debug, Default)]
pub struct Teller {
    clock: Option<RunClock>,
    seq: u64,
    listens: Option<(SocketAddr, u64)>,
    /// Views that a worker was given and does not go by yet, by worker: as many as the way to the
    /// proxy holds.
    given: BTreeMap<u32, VecDeque<(u64, Vec<String>)>>,
    followed: BTreeMap<u32, Followed>,
    /// Since when nothing is heard of the endpoints, and why.
    deaf: Option<(u64, String)>,
}

impl Teller {
    /// A worker is being given a view.
    pub fn given(&mut self, view: &View) {
        let routed = view.endpoints.iter().map(|endpoint| endpoint.pod.clone()).collect();
        self.given.entry(view.worker).or_default().push_back((view.version, routed));
    }

    /// The run's axis is known; `clock` is the run's, by the pod's own monotonic clock.
    pub fn start(&mut self, clock: RunClock) -> Vec<Item<Word>> {
        let is_first = self.clock.replace(clock).is_none();
        if !is_first {
            return Vec::new();
        }
        let mut kinds = Vec::new();
        if let Some((address, since)) = self.listens {
            kinds.push((since, EventKind::ProxyStarted { address: address.to_string() }));
        }
        for (worker, followed) in &self.followed {
            kinds.push((followed.since, applied(*worker, followed.clone())));
        }
        self.lines(kinds)
    }

    /// Takes a report that came at `now`.
    pub fn report(&mut self, now: u64, report: Report) -> Vec<Item<Word>> {
        match report {
            Report::Started { address, mono_ns } => {
                self.listens = Some((address, mono_ns));
                let kind = EventKind::ProxyStarted { address: address.to_string() };
                self.lines(vec![(mono_ns, kind)])
            }
            Report::ViewApplied { worker, version, mono_ns } => {
                self.applied(worker, version, mono_ns)
            }
            report => {
                let Some(clock) = self.clock else { return Vec::new() };
                let at = report.happened().unwrap_or(now);
                let kind = report.into_event(&clock);
                self.lines(kind.map(|kind| (at, kind)).into_iter().collect())
            }
        }
    }

    fn applied(&mut self, worker: u32, version: u64, since: u64) -> Vec<Item<Word>> {
        let given = self.given.entry(worker).or_default();
        let mut routed = None;
        while given.front().is_some_and(|(given, _)| *given <= version) {
            routed = given.pop_front();
        }
        let Some((_, routed)) = routed else { return Vec::new() };
        let followed = Followed { since, version, routed };
        self.followed.insert(worker, followed.clone());
        self.lines(vec![(since, applied(worker, followed))])
    }

    /// Nothing is heard of the endpoints since `since`.
    pub fn deaf(&mut self, since: u64, reason: String) -> Vec<Item<Word>> {
        if self.deaf.is_some() {
            return Vec::new();
        }
        self.deaf = Some((since, reason.clone()));
        vec![Item::Word(Word::Deaf { reason })]
    }

    /// The endpoints are heard of again, and what they are now is known.
    pub fn hears(&mut self, now: u64) -> Vec<Item<Word>> {
        let Some((since, reason)) = self.deaf.take() else { return Vec::new() };
        let mut items = vec![Item::Word(Word::Hears {})];
        if let Some(clock) = self.clock {
            let (what, from) = (WATCHED.into(), clock.at(since));
            items.extend(self.lines(vec![(now, EventKind::WatchGap { what, from, reason })]));
        }
        items
    }

    /// A gap that is still open at the end.
    pub fn finish(&mut self, now: u64) -> Vec<Item<Word>> {
        let mut items = self.hears(now);
        items.retain(|item| matches!(item, Item::Lines(_)));
        items
    }

    fn lines(&mut self, kinds: Vec<(u64, EventKind)>) -> Vec<Item<Word>> {
        let Some(clock) = self.clock else { return Vec::new() };
        let seq = &mut self.seq;
        let lines = kinds.into_iter().map(|(mono_ns, kind)| {
            *seq += 1;
            let (at, source) = (clock.at(mono_ns), Source::Proxy);
            Line::Event(Event { at, seq: *seq, source, precision: None, stated: None, kind })
        });
        let lines: Vec<Line> = lines.collect();
        if lines.is_empty() { Vec::new() } else { vec![Item::Lines(lines)] }
    }
}

fn applied(consumer: u32, Followed { version, routed, .. }: Followed) -> EventKind {
    EventKind::ViewApplied { consumer, version, routed }
}

#[cfg(test)]
mod tests {
    use highwater_model::{outcome::HopError, time::Timestamp};

    use super::*;
    use crate::proxy::{
        header::UpstreamInfo,
        protocol::{EndpointAddress, Stats},
    };

    fn view(worker: u32, version: u64, pods: &str) -> View {
        let address = "10.0.0.1:8080".parse().expect("an address");
        let endpoints =
            pods.chars().map(|pod| EndpointAddress { pod: pod.into(), address }).collect();
        View { worker, version, endpoints }
    }

    fn view_applied(worker: u32, version: u64, mono_ns: u64) -> Report {
        Report::ViewApplied { worker, version, mono_ns }
    }

    /// Lines as `at kind details`, words as they are.
    fn told(items: Vec<Item<Word>>) -> Vec<String> {
        let mut told = Vec::new();
        for item in items {
            match item {
                Item::Lines(lines) => told.extend(lines.into_iter().map(|line| match line {
                    Line::Event(Event { at: Timestamp(at), kind, .. }) => match kind {
                        EventKind::ViewApplied { consumer, version, routed } => {
                            format!("{at} view {consumer} v{version} {}", routed.concat())
                        }
                        EventKind::ProxyStarted { address } => format!("{at} started {address}"),
                        EventKind::WatchGap { from, reason, .. } => {
                            format!("{at} gap from {} {reason}", from.0)
                        }
                        EventKind::ClientGone { request_id, hop } => {
                            format!("{at} gone {request_id} {}..{}", hop.started.0, hop.ended.0)
                        }
                        EventKind::Retried { request_id, rescued, hop, .. } => {
                            let (from, to) = (hop.started.0, hop.ended.0);
                            format!("{at} retried {request_id:?} {from}..{to} {rescued}")
                        }
                        EventKind::EndpointEjected { consumer, pod, fails } => {
                            format!("{at} ejected {pod} by {consumer}: {fails}")
                        }
                        EventKind::EndpointReadmitted { consumer, pod } => {
                            format!("{at} readmitted {pod} by {consumer}")
                        }
                        EventKind::Warning { message, .. } => format!("{at} warning {message}"),
                        other => format!("{at} {other:?}"),
                    },
                    other => format!("{other:?}"),
                })),
                item => told.push(format!("{item:?}")),
            }
        }
        told
    }

    #[test]
    fn what_workers_go_by_is_told_at_the_start_and_all_changes_from_then_on() {
        let mut teller = Teller::default();
        let address = "10.0.0.9:8080".parse().expect("an address");
        assert!(told(teller.report(100, Report::Started { address, mono_ns: 100 })).is_empty());
        for (worker, version, pods) in [(0, 1, "a"), (1, 1, "a"), (0, 2, "ab")] {
            teller.given(&view(worker, version, pods));
            let report = view_applied(worker, version, 110 + version);
            assert!(told(teller.report(500, report)).is_empty(), "no run knows of it");
        }
        assert_eq!(
            told(teller.start(RunClock::with_start(90))),
            ["10 started 10.0.0.9:8080", "22 view 0 v2 ab", "21 view 1 v1 a"]
        );
        teller.given(&view(1, 2, "ab"));
        teller.given(&view(1, 4, ""));
        assert_eq!(told(teller.report(200, view_applied(1, 2, 150))), ["60 view 1 v2 ab"]);
        assert_eq!(told(teller.report(200, view_applied(1, 4, 160))), ["70 view 1 v4 "]);
        assert!(told(teller.report(200, view_applied(1, 4, 160))).is_empty(), "it was told");
        assert!(told(teller.report(200, view_applied(7, 1, 160))).is_empty(), "no such worker");
        assert!(told(teller.start(RunClock::with_start(0))).is_empty(), "a run starts once");
    }

    #[test]
    fn reports_become_events_on_the_runs_axis_and_what_came_before_is_nobodys() {
        let gone = |request_id| Report::ClientGone {
            request_id,
            info: UpstreamInfo {
                start: 120,
                end: 130,
                error: Some(HopError::ClientGone),
                ..UpstreamInfo::default()
            },
        };
        let mut teller = Teller::default();
        assert!(teller.report(131, gone(Some(3))).is_empty());
        assert!(teller.start(RunClock::with_start(100)).is_empty());
        assert_eq!(told(teller.report(131, gone(Some(4)))), ["31 gone 4 20..30"]);
        assert!(teller.report(131, gone(None)).is_empty());
        assert!(teller.report(131, Report::Stats(Stats::default())).is_empty());
        let (worker, pod) = (1, String::from("a"));
        let ejected = Report::Ejected { worker, pod: pod.clone(), fails: 2, mono_ns: 125 };
        assert_eq!(told(teller.report(131, ejected)), ["25 ejected a by 1: 2"]);
        let readmitted = Report::Readmitted { worker, pod, mono_ns: 129 };
        assert_eq!(told(teller.report(131, readmitted)), ["29 readmitted a by 1"]);
        let info = UpstreamInfo { start: 120, end: 124, tries: 1, ..UpstreamInfo::default() };
        let retried = Report::Retried { n: 1, request_id: Some(9), rescued: true, info };
        assert_eq!(told(teller.report(131, retried)), ["24 retried Some(9) 20..24 true"]);
        let error = Report::Error { message: "odd".into() };
        assert_eq!(told(teller.report(140, error)), ["40 warning odd"]);
        let dropped = told(teller.report(140, Report::Dropped { count: 2 }));
        assert_eq!(
            dropped,
            ["40 warning the proxy did not report 2 clients that went away or retries"]
        );
    }

    #[test]
    fn a_gap_is_a_word_while_it_lasts_and_a_line_when_it_ends() {
        let mut teller = Teller::default();
        assert_eq!(told(teller.deaf(50, "no".into())), [r#"Word(Deaf { reason: "no" })"#]);
        assert!(teller.deaf(60, "still no".into()).is_empty());
        assert_eq!(told(teller.hears(70)), ["Word(Hears)"], "no run knew of it");
        assert!(teller.hears(71).is_empty());
        teller.start(RunClock::with_start(100));
        teller.deaf(150, "away".into());
        assert_eq!(told(teller.hears(180)), ["Word(Hears)", "80 gap from 50 away"]);
        teller.deaf(190, "away".into());
        assert_eq!(told(teller.finish(200)), ["100 gap from 90 away"]);
        assert!(teller.finish(210).is_empty());
    }
}
