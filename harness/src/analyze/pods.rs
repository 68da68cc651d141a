//! The life of each pod, told from the events.

use std::collections::BTreeMap;

use highwater_model::{
    event::{DeleteReason, Event, EventKind, LifecyclePhase, ProbeKind, Signal},
    time::{Nanos, Timestamp},
};

use super::{PodLane, Span};

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
    pub started: Timestamp,
    /// Whether it tells of its own life.
    pub tells: bool,
    /// When it said that it listens.
    pub listening: Option<Timestamp>,
    /// When it said that its listener is closed.
    pub listener_closed: Option<Timestamp>,
    /// When it said that it cancelled what was in flight.
    pub cancelled: Option<Timestamp>,
    /// When the kubelet sent SIGTERM.
    pub sigterm: Option<Timestamp>,
    /// When the kubelet sent SIGKILL.
    pub sigkill: Option<Timestamp>,
    /// When its probes had it killed.
    pub probe_kill: Option<(Timestamp, ProbeKind)>,
    /// When it ended, and how: code and signal.
    pub exited: Option<(Timestamp, i32, Option<i32>)>,
}

/// A pod's deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// T0.
    pub at: Timestamp,
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
    pub created: Timestamp,
    /// Its node, once it has one.
    pub node: Option<String>,
    /// Its containers, in order.
    pub containers: Vec<Container>,
    /// When it became ready for the first time.
    pub first_ready: Option<Timestamp>,
    /// Its deletion.
    pub deletion: Option<Deletion>,
    /// When it was gone.
    pub gone: Option<Timestamp>,
    /// While each consumer could choose it; the last end is open while it still can.
    pub routed: BTreeMap<u32, Vec<(Timestamp, Option<Timestamp>)>>,
    /// Its phases: since when, ascending.
    changes: Vec<(Timestamp, PodPhase)>,
    is_ready: bool,
}

impl PodLife {
    /// The container that runs at `at`, or the last one that was started by then.
    pub fn container_at(&self, at: Timestamp) -> Option<&Container> {
        self.containers.iter().rev().find(|container| container.started <= at)
    }

    /// The container before that one.
    pub fn container_before(&self, at: Timestamp) -> Option<&Container> {
        self.containers.iter().rev().filter(|container| container.started <= at).nth(1)
    }

    /// When the last consumer stopped choosing it; `None` if one still could at the end.
    pub fn unrouted(&self) -> Option<Timestamp> {
        let ends = self.routed.values().filter_map(|spans| spans.last()).map(|(_, end)| *end);
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// How long the last consumer chose it after its deletion was requested.
    pub fn propagation(&self) -> Option<Nanos> {
        Some(self.unrouted()?.since(self.deletion?.at))
    }

    fn change(&mut self, at: Timestamp, phase: PodPhase) {
        if self.changes.last().is_none_or(|(_, last)| *last != phase) {
            self.changes.push((at, phase));
        }
    }

    fn ready_changed(&mut self, at: Timestamp, ready: bool) {
        self.is_ready = ready;
        if ready {
            self.first_ready.get_or_insert(at);
        }
        let is_running = self.containers.last().is_some_and(|container| container.exited.is_none());
        if self.deletion.is_none() && is_running {
            self.change(at, if ready { PodPhase::Ready } else { PodPhase::Unready });
        }
    }

    /// The hours that its containers ran, until `end` at the latest.
    pub fn hours(&self, end: Timestamp) -> f64 {
        let spans = self.containers.iter().map(|container| {
            let until = container.exited.map_or(end, |(at, _, _)| at).min(end);
            until.since(container.started).as_secs_f64()
        });
        spans.sum::<f64>() / 3_600.0
    }

    /// Its lane, until `end` at the latest.
    pub fn lane(&self, name: &str, end: Timestamp, lost: u64) -> PodLane {
        let until = self.gone.unwrap_or(end).min(end);
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
    /// Reads them from the events, which are in order of time.
    pub fn of(events: &[Event]) -> Self {
        let mut lives = Self::default();
        for event in events {
            lives.take(event);
        }
        lives
    }

    /// One pod's life.
    pub fn get(&self, pod: &str) -> Option<&PodLife> {
        self.pods.get(pod)
    }

    fn take(&mut self, event: &Event) {
        let at = event.at;
        match &event.kind {
            EventKind::PodCreated { pod, revision } => {
                let mut life = PodLife { revision: *revision, created: at, ..PodLife::default() };
                life.change(at, PodPhase::Pending);
                self.order.push(pod.clone());
                self.pods.insert(pod.clone(), life);
            }
            EventKind::ViewApplied { consumer, routed, .. } => self.view(at, *consumer, routed),
            kind => {
                if let Some(life) = pod_of(kind).and_then(|pod| self.pods.get_mut(pod)) {
                    life.take(at, kind);
                }
            }
        }
    }

    fn view(&mut self, at: Timestamp, consumer: u32, routed: &[String]) {
        for (name, life) in &mut self.pods {
            let is_routed = routed.contains(name);
            let spans = life.routed.entry(consumer).or_default();
            match spans.last_mut() {
                Some((_, end @ None)) if !is_routed => *end = Some(at),
                Some((_, None)) => {}
                _ if is_routed => spans.push((at, None)),
                _ => {}
            }
        }
        self.pods.values_mut().for_each(|life| life.routed.retain(|_, spans| !spans.is_empty()));
    }
}

/// The pod that an event is about.
fn pod_of(kind: &EventKind) -> Option<&str> {
    match kind {
        EventKind::PodScheduled { pod, .. }
        | EventKind::ContainerStarted { pod, .. }
        | EventKind::PodReady { pod }
        | EventKind::PodUnready { pod, .. }
        | EventKind::ProbeKill { pod, .. }
        | EventKind::PodDeleted { pod, .. }
        | EventKind::SignalSent { pod, .. }
        | EventKind::ContainerExited { pod, .. }
        | EventKind::PodGone { pod }
        | EventKind::Lifecycle { pod, .. } => Some(pod),
        _ => None,
    }
}

impl PodLife {
    fn take(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::PodScheduled { node, .. } => self.node = Some(node.clone()),
            EventKind::ContainerStarted { .. } => {
                self.containers.push(Container { started: at, ..Container::default() });
                if self.deletion.is_none() {
                    self.change(at, PodPhase::Starting);
                }
            }
            EventKind::PodReady { .. } => self.ready_changed(at, true),
            EventKind::PodUnready { .. } => self.ready_changed(at, false),
            EventKind::PodDeleted { grace, reason, .. } => {
                self.deletion = Some(Deletion { at, grace: *grace, reason: *reason });
                let is_running =
                    self.containers.last().is_some_and(|container| container.exited.is_none());
                self.change(at, if is_running { PodPhase::PreStop } else { PodPhase::Exited });
            }
            EventKind::PodGone { .. } => self.gone = Some(at),
            _ => self.take_container(at, kind),
        }
    }

    fn take_container(&mut self, at: Timestamp, kind: &EventKind) {
        let Some(container) = self.containers.last_mut() else { return };
        match kind {
            EventKind::ProbeKill { probe, .. } => container.probe_kill = Some((at, *probe)),
            EventKind::SignalSent { signal: Signal::Sigterm, by_kubelet: true, .. } => {
                container.sigterm = Some(at);
                self.change(at, PodPhase::Draining);
            }
            EventKind::SignalSent { signal: Signal::Sigkill, by_kubelet: true, .. } => {
                container.sigkill = Some(at);
            }
            EventKind::ContainerExited { code, signal, .. } => {
                container.exited = Some((at, *code, *signal));
                self.change(at, PodPhase::Exited);
            }
            EventKind::Lifecycle { phase, .. } => {
                container.tells = true;
                match phase {
                    LifecyclePhase::Listening => container.listening = Some(at),
                    LifecyclePhase::ListenerClosed => container.listener_closed = Some(at),
                    LifecyclePhase::Cancelled => container.cancelled = Some(at),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}
