//! What was seen of a cluster beside pods and autoscaler: gaps, nodes, events, generators, the use
//! of the API, and how exactly the times of a run are known.

use std::collections::BTreeMap;

use highwater_model::{
    event::{Event, EventKind},
    time::{Nanos, Timestamp},
};

use super::scaling::COARSE;

/// Everything of it; empty on `local`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Times in which nothing was heard of something, ascending, overlapping ones joined.
    pub gaps: Vec<Gap>,
    /// Pods that no node had room for, in order.
    pub unschedulable: Vec<Unschedulable>,
    /// Changes of nodes, ascending.
    pub nodes: Vec<NodeChange>,
    /// Events of the cluster, ascending by their last time.
    pub events: Vec<ClusterNote>,
    /// What the target asked of the API server, ascending.
    pub api: Vec<ApiPoint>,
    /// The generators, by number.
    pub generators: Vec<Generator>,
    /// How exactly times are known.
    pub times: Times,
}

impl Cluster {
    /// The time within gaps.
    pub fn deaf(&self) -> Nanos {
        self.gaps.iter().fold(Nanos::ZERO, |sum, gap| sum + gap.to.since(gap.from))
    }
}

/// A time in which nothing was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Begin.
    pub from: Timestamp,
    /// End.
    pub to: Timestamp,
    /// Of what, each once.
    pub what: Vec<String>,
    /// Why, in words: the first reason that was told.
    pub reason: String,
}

/// A pod that found no node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unschedulable {
    /// The pod.
    pub pod: String,
    /// Since when.
    pub at: Timestamp,
    /// When it got a node; `None` if it never did.
    pub until: Option<Timestamp>,
    /// What the scheduler said last.
    pub message: String,
}

/// A condition of a node that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeChange {
    /// When.
    pub at: Timestamp,
    /// The node.
    pub node: String,
    /// Which condition.
    pub condition: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in a word.
    pub reason: String,
}

/// An Event of the cluster, all of its repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNote {
    /// When it was seen first.
    pub first: Timestamp,
    /// When it was seen last.
    pub at: Timestamp,
    /// What it is about.
    pub object: String,
    /// Whether it is a warning.
    pub warning: bool,
    /// Why, in a word.
    pub reason: String,
    /// In words.
    pub message: String,
    /// How often.
    pub count: u32,
}

/// Requests to the API server so far, of all pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApiPoint {
    /// When.
    pub at: Timestamp,
    /// Requests.
    pub requests: u64,
    /// Of these, answered 409.
    pub conflicts: u64,
    /// Of these, answered 429.
    pub throttled: u64,
    /// Of these, answered otherwise than 2xx.
    pub errors: u64,
}

/// A generator of load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generator {
    /// Its number.
    pub number: u32,
    /// Its pod; empty if it was never ready.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// Its clock's lead over the harness's, nanoseconds.
    pub offset_ns: i64,
    /// How far off that may be.
    pub uncertainty: Nanos,
    /// How it was lost, if it was.
    pub lost: Option<Lost>,
}

/// The end of a generator before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When.
    pub at: Timestamp,
    /// How.
    pub reason: String,
    /// Requests that it still owed.
    pub unsent: u64,
}

/// How exactly the times of events are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Events whose time is exact to the clock.
    pub exact: u64,
    /// Events whose time may be off, and is known to less than [`COARSE`].
    pub fine: u64,
    /// Events whose time is known to [`COARSE`] or worse: a server's own whole seconds, or what
    /// happened in a gap.
    pub coarse: u64,
    /// The most that a time may be off.
    pub worst: Nanos,
}

/// Reads it from the events, which are in order of time.
pub fn cluster(events: &[Event]) -> Cluster {
    let mut known = Cluster::default();
    let mut api = ApiUse::default();
    let mut notes: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    for event in events {
        known.times.take(event);
        known.take(event);
        match &event.kind {
            EventKind::ApiUse { pod, requests, conflicts, throttled, errors } => {
                let counts = [*requests, *conflicts, *throttled, *errors];
                known.api.push(api.add(event.at, pod, counts));
            }
            EventKind::ClusterEvent { object, warning, reason, message, count } => {
                let note = *notes.entry((object, reason, message)).or_insert_with(|| {
                    known.events.push(ClusterNote {
                        first: event.at,
                        at: event.at,
                        object: object.clone(),
                        warning: *warning,
                        reason: reason.clone(),
                        message: message.clone(),
                        count: 0,
                    });
                    known.events.len() - 1
                });
                let note = &mut known.events[note];
                note.at = event.at;
                note.count = note.count.max(*count);
            }
            _ => {}
        }
    }
    known.events.sort_by_key(|note| note.at);
    known.gaps = join(known.gaps);
    known.generators.sort_by_key(|generator| generator.number);
    known
}

impl Cluster {
    fn take(&mut self, event: &Event) {
        match &event.kind {
            EventKind::WatchGap { what, from, reason } => self.gaps.push(Gap {
                from: *from,
                to: event.at.max(*from),
                what: vec![what.clone()],
                reason: reason.clone(),
            }),
            EventKind::PodUnschedulable { pod, message } => {
                self.unschedulable(event.at, pod, message)
            }
            EventKind::PodScheduled { pod, .. } => {
                if let Some(waits) = self.waiting(pod) {
                    waits.until = Some(event.at);
                }
            }
            EventKind::NodeCondition { node, condition, status, reason } => {
                self.nodes.push(NodeChange {
                    at: event.at,
                    node: node.clone(),
                    condition: condition.clone(),
                    status: status.clone(),
                    reason: reason.clone(),
                });
            }
            EventKind::GeneratorReady { generator, pod, node, offset_ns, uncertainty } => {
                let known = self.generator(*generator);
                (known.pod, known.node) = (pod.clone(), node.clone());
                (known.offset_ns, known.uncertainty) = (*offset_ns, *uncertainty);
            }
            EventKind::GeneratorLost { generator, reason, unsent } => {
                let lost = Lost { at: event.at, reason: reason.clone(), unsent: *unsent };
                self.generator(*generator).lost = Some(lost);
            }
            _ => {}
        }
    }

    fn waiting(&mut self, pod: &str) -> Option<&mut Unschedulable> {
        self.unschedulable.iter_mut().rfind(|waits| waits.pod == pod && waits.until.is_none())
    }

    fn unschedulable(&mut self, at: Timestamp, pod: &str, message: &str) {
        if let Some(waits) = self.waiting(pod) {
            waits.message = message.into();
            return;
        }
        let (pod, message) = (pod.into(), message.into());
        self.unschedulable.push(Unschedulable { pod, at, until: None, message });
    }

    fn generator(&mut self, number: u32) -> &mut Generator {
        let index = self.generators.iter().position(|known| known.number == number);
        let index = index.unwrap_or_else(|| {
            self.generators.push(Generator {
                number,
                pod: String::new(),
                node: String::new(),
                offset_ns: 0,
                uncertainty: Nanos::ZERO,
                lost: None,
            });
            self.generators.len() - 1
        });
        &mut self.generators[index]
    }
}

impl Times {
    fn take(&mut self, event: &Event) {
        match event.precision {
            None | Some(Nanos::ZERO) => self.exact += 1,
            Some(precision) if precision < COARSE => self.fine += 1,
            Some(_) => self.coarse += 1,
        }
        self.worst = self.worst.max(event.precision.unwrap_or_default());
    }
}

/// Several watches are interrupted at once when the server goes: that is one gap.
fn join(mut gaps: Vec<Gap>) -> Vec<Gap> {
    gaps.sort_by_key(|gap| (gap.from, gap.to));
    let mut joined: Vec<Gap> = Vec::new();
    for gap in gaps {
        match joined.last_mut() {
            Some(last) if gap.from <= last.to => {
                last.to = last.to.max(gap.to);
                for what in gap.what {
                    if !last.what.contains(&what) {
                        last.what.push(what);
                    }
                }
            }
            _ => joined.push(gap),
        }
    }
    joined
}

/// Counters of pods, which begin anew when their container does.
#[derive(Default)]
struct ApiUse {
    /// The last counts of each pod.
    last: BTreeMap<String, [u64; 4]>,
    sum: [u64; 4],
}

impl ApiUse {
    fn add(&mut self, at: Timestamp, pod: &str, counts: [u64; 4]) -> ApiPoint {
        let last = self.last.entry(pod.into()).or_default();
        let anew = counts[0] < last[0];
        for (index, count) in counts.into_iter().enumerate() {
            let more = if anew { count } else { count.saturating_sub(last[index]) };
            self.sum[index] = self.sum[index].saturating_add(more);
        }
        *last = counts;
        let [requests, conflicts, throttled, errors] = self.sum;
        ApiPoint { at, requests, conflicts, throttled, errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::{event::Source, time::SECOND};

    fn at(seconds: u64, kind: EventKind) -> Event {
        Event {
            at: Timestamp(seconds * SECOND),
            seq: seconds,
            source: Source::Api,
            precision: None,
            stated: None,
            kind,
        }
    }

    fn gap(what: &str, from: u64, to: u64) -> Event {
        let (what, from) = (what.into(), Timestamp(from * SECOND));
        at(to, EventKind::WatchGap { what, from, reason: "connection refused".into() })
    }

    #[test]
    fn gaps_of_several_watches_at_once_are_one() {
        let known = cluster(&[gap("pods", 10, 41), gap("events", 11, 42), gap("pods", 50, 52)]);
        let found: Vec<(u64, u64, usize)> = known
            .gaps
            .iter()
            .map(|gap| (gap.from.second(), gap.to.second(), gap.what.len()))
            .collect();
        assert_eq!(found, [(10, 42, 2), (50, 52, 1)]);
        assert_eq!(known.deaf(), Nanos::from_secs(34));
    }

    #[test]
    fn a_pod_waits_until_it_has_a_node() {
        let unschedulable = |pod: &str, message: &str| EventKind::PodUnschedulable {
            pod: pod.into(),
            message: message.into(),
        };
        let scheduled = EventKind::PodScheduled { pod: "a".into(), node: "n".into() };
        let known = cluster(&[
            at(1, unschedulable("a", "0/2 nodes")),
            at(2, unschedulable("b", "0/2 nodes")),
            at(3, unschedulable("a", "0/3 nodes")),
            at(9, scheduled),
        ]);
        let found: Vec<_> = known
            .unschedulable
            .iter()
            .map(|waits| (waits.pod.as_str(), waits.message.as_str(), waits.until))
            .collect();
        assert_eq!(
            found,
            [("a", "0/3 nodes", Some(Timestamp(9 * SECOND))), ("b", "0/2 nodes", None)]
        );
    }

    #[test]
    fn counters_that_begin_anew_are_added_up() {
        let used = |pod: &str, requests, conflicts| EventKind::ApiUse {
            pod: pod.into(),
            requests,
            conflicts,
            throttled: 0,
            errors: 0,
        };
        let known = cluster(&[
            at(1, used("a", 10, 4)),
            at(2, used("b", 5, 0)),
            at(3, used("a", 16, 5)),
            // Its container was started again.
            at(4, used("a", 3, 1)),
        ]);
        let found: Vec<(u64, u64)> =
            known.api.iter().map(|point| (point.requests, point.conflicts)).collect();
        assert_eq!(found, [(10, 4), (15, 4), (21, 5), (24, 6)]);
    }

    #[test]
    fn events_that_are_told_again_are_one_with_their_highest_count() {
        let told = |count| EventKind::ClusterEvent {
            object: "Pod/a".into(),
            warning: true,
            reason: "Unhealthy".into(),
            message: "Readiness probe failed".into(),
            count,
        };
        let known = cluster(&[at(1, told(1)), at(5, told(7)), at(6, told(0))]);
        assert_eq!(known.events.len(), 1);
        assert_eq!((known.events[0].count, known.events[0].first.second()), (7, 1));
    }

    #[test]
    fn a_generator_may_be_lost_before_it_was_ready() {
        let lost = EventKind::GeneratorLost { generator: 1, reason: "OOM".into(), unsent: 9 };
        let known = cluster(&[at(1, lost)]);
        assert_eq!(known.generators[0].lost.as_ref().map(|lost| lost.unsent), Some(9));
    }
}
