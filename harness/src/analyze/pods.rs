//! The life of each pod, told from the events.

mod read;

use std::{collections::BTreeMap, net::IpAddr};

use highwater_model::{
    event::{DeleteReason, ProbeKind, Signal},
    time::{Nanos, Timestamp},
};

use super::{PodLane, Span, moment::Moment};

/// A service that turns requests away tells so once in this time at most.
const FULL_LASTS: Nanos = Nanos::from_secs(1);

/// The phases of a pod's life, as a lane shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodPhase {
    /// Made, and its container does not run yet.
    Pending,
    /// The container runs and is not ready yet.
    Starting,
    /// Ready.
    Ready,
    /// Was ready, and is not any more (without a deletion).
    Unready,
    /// Deletion was requested, and SIGTERM was not sent yet (preStop).
    PreStop,
    /// SIGTERM was sent, and the process runs on (drain).
    Draining,
    /// The process has ended and the pod is not gone, or waits for a restart.
    Exited,
}

impl PodPhase {
    /// All of them, in order of life.
    pub const ALL: &[Self] = &[
        Self::Pending,
        Self::Starting,
        Self::Ready,
        Self::Unready,
        Self::PreStop,
        Self::Draining,
        Self::Exited,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::PreStop => "preStop",
            Self::Draining => "draining",
            Self::Exited => "exited",
        }
    }
}

/// One container of a pod.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// When its process started.
    pub started: Moment,
    /// Whether it tells of its own life.
    pub tells: bool,
    /// Whether it told of it from the start, so that what it has not said was not.
    pub tells_all: bool,
    /// When it said that it listens.
    pub listening: Option<Moment>,
    /// Its pod's address, if it is known.
    pub address: Option<IpAddr>,
    /// Whether it said that it listens on a loopback address that is not its pod's.
    pub is_on_loopback: bool,
    /// When it said that a signal arrived.
    pub heard_signal: Option<Moment>,
    /// While its processes were stopped; the last end is open if they never went on.
    pub frozen: Vec<(Moment, Option<Moment>)>,
    /// When it said that its queue was full: from each on, for `FULL_LASTS`, it may have turned
    /// requests away. In order; one per second at most.
    pub full: Vec<Moment>,
    /// When it said that its listener is closed.
    pub listener_closed: Option<Moment>,
    /// When it said that it cancelled what was in flight.
    pub cancelled: Option<Moment>,
    /// When it said that it is about to exit.
    pub exiting: Option<Moment>,
    /// When the kubelet sent SIGTERM, or the stop signal in its place.
    pub sigterm: Option<Moment>,
    /// What it sent then.
    pub stop_signal: Option<Signal>,
    /// When the kubelet sent SIGKILL.
    pub sigkill: Option<Moment>,
    /// When its probes had it killed.
    pub probe_kill: Option<(Moment, ProbeKind)>,
    /// How it ended.
    pub exited: Option<Exit>,
    /// When it was ready for the first time.
    pub ready: Option<Moment>,
}

impl Container {
    /// Whether it may have been frozen at some time from `from` to `until`.
    pub fn was_frozen(&self, from: Timestamp, until: Timestamp) -> bool {
        let mut frozen = self.frozen.iter();
        frozen.any(|(since, to)| since.may_be_by(until) && to.is_none_or(|to| to.latest >= from))
    }

    /// Whether it may have turned requests away at some time from `from` to `until`, since its queue
    /// was full.
    pub fn was_full(&self, from: Timestamp, until: Timestamp) -> bool {
        self.full.iter().any(|at| at.may_be_by(until) && at.latest + FULL_LASTS >= from)
    }

    /// When it ended: as was seen, or else by its own last word.
    pub fn ended(&self) -> Option<Moment> {
        self.exited.map(|exit| exit.at).or(self.exiting)
    }
}

/// The end of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When.
    pub at: Moment,
    /// Exit code, or 128 + signal.
    pub code: i32,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether it was killed for its memory.
    pub oom: bool,
}

/// A pod's deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// T0.
    pub at: Moment,
    /// Its grace period.
    pub grace: Nanos,
    /// Who wanted it.
    pub reason: DeleteReason,
}

/// The life of one pod.
#[derive(Clone, Debug, Default)]
pub struct PodLife {
    /// The revision of its template.
    pub revision: u32,
    /// When it was made.
    pub created: Moment,
    /// Its node, once it has one.
    pub node: Option<String>,
    /// While its node was not ready, as far as it was noticed; the last end is open.
    pub node_lost: Vec<(Moment, Option<Moment>)>,
    /// Its containers, in order.
    pub containers: Vec<Container>,
    /// When it became ready for the first time.
    pub first_ready: Option<Moment>,
    /// The changes of its Ready condition, ascending.
    pub readiness: Vec<(Moment, bool)>,
    /// Its deletion.
    pub deletion: Option<Deletion>,
    /// When it was gone.
    pub gone: Option<Moment>,
    /// While each consumer could choose it; the last end is open while it still can.
    pub routed: BTreeMap<u32, Vec<(Timestamp, Option<Timestamp>)>>,
    /// Its phases: since when, ascending.
    changes: Vec<(Timestamp, PodPhase)>,
    /// The container that last said that it starts; what is said after it, is of the same one.
    speaker: Option<usize>,
}

impl PodLife {
    /// The container that runs at `at`, or the last one that was started by then.
    pub fn container_at(&self, at: Timestamp) -> Option<&Container> {
        self.containers_at(at).next()
    }

    /// The containers that may run at `at`, or be the last that was started by then: newest first,
    /// and more than one only where starts are not known exactly.
    pub fn containers_at(&self, at: Timestamp) -> impl Iterator<Item = &Container> {
        let started = self.containers.iter().rev().filter(move |one| one.started.may_be_by(at));
        let mut is_settled = false;
        started.take_while(move |one| !std::mem::replace(&mut is_settled, one.started.is_by(at)))
    }

    /// The container before another.
    pub fn container_before(&self, one: &Container) -> Option<&Container> {
        self.containers.iter().rev().find(|before| before.started.at < one.started.at)
    }

    /// Whether its deletion may have been asked for by `at`.
    pub fn may_be_deleted_by(&self, at: Timestamp) -> bool {
        self.deletion.is_some_and(|deletion| deletion.at.may_be_by(at))
    }

    /// When the last consumer stopped choosing it; `None` if one still could at the end.
    pub fn unrouted(&self) -> Option<Timestamp> {
        let ends = self.routed.values().filter_map(|spans| spans.last()).map(|(_, end)| *end);
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// How long the last consumer chose it after its deletion was requested.
    pub fn propagation(&self) -> Option<Nanos> {
        Some(self.unrouted()?.since(self.deletion?.at.at))
    }

    /// Whether it was ready and not being deleted all the time from `from` to `until`, for sure.
    pub fn is_ready(&self, from: Timestamp, until: Timestamp) -> bool {
        let by = self.readiness.iter().rev().find(|(at, _)| at.may_be_by(until));
        by.is_some_and(|(at, is_ready)| *is_ready && at.is_by(from))
            && !self.may_be_deleted_by(until)
            && self.runs(until)
    }

    /// Whether its container runs at `at`, for sure.
    fn runs(&self, at: Timestamp) -> bool {
        let has_not = |end: Option<Moment>| end.is_none_or(|end| !end.may_be_by(at));
        let container = self.container_at(at);
        has_not(self.gone) && container.is_some_and(|one| has_not(one.ended()))
    }

    /// The hours that its containers ran, until `end` at the latest.
    pub fn hours(&self, end: Timestamp) -> f64 {
        let spans = self.containers.iter().map(|container| {
            let until = container.exited.map_or(end, |exit| exit.at.at).min(end);
            until.since(container.started.at).as_secs_f64()
        });
        spans.sum::<f64>() / 3_600.0
    }

    /// Its lane, until `end` at the latest.
    pub fn lane(&self, name: &str, end: Timestamp, lost: u64) -> PodLane {
        let until = self.gone.map_or(end, |gone| gone.at).min(end);
        let starts = self.changes.iter();
        let ends = self.changes.iter().skip(1).map(|(at, _)| *at).chain([until]);
        let spans = starts.zip(ends).map(|((from, phase), to)| Span {
            from: *from,
            to: to.max(*from),
            phase: *phase,
        });
        let mut routed: Vec<(Timestamp, Timestamp)> = self
            .routed
            .values()
            .flatten()
            .map(|(from, to)| (*from, to.unwrap_or(until).max(*from)))
            .collect();
        routed.sort_unstable();
        let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
        for (from, to) in routed {
            match merged.last_mut() {
                Some((_, last)) if from <= *last => *last = to.max(*last),
                _ => merged.push((from, to)),
            }
        }
        PodLane {
            name: name.into(),
            revision: self.revision,
            node: self.node.clone(),
            spans: spans.collect(),
            routed: merged,
            lost,
        }
    }
}

/// The lives of all pods by name, and the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    /// By name.
    pub pods: BTreeMap<String, PodLife>,
    /// Names in order of creation.
    pub order: Vec<String>,
}

impl Lives {
    /// One pod's life.
    pub fn get(&self, pod: &str) -> Option<&PodLife> {
        self.pods.get(pod)
    }
}
