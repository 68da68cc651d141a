//! How pods start: the first instants of each pod's life, and how long they are apart.

use std::collections::BTreeMap;

use highwater_model::{
    event::{Event, EventKind},
    time::{Nanos, Timestamp},
};

use super::{Moment, Took, took};

/// The first instants of a pod's life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStart {
    /// Its name.
    pub pod: String,
    /// Its node, where nodes are told.
    pub node: Option<String>,
    /// Made.
    pub created: Moment,
    /// Given to a node.
    pub scheduled: Option<Moment>,
    /// Its first container started.
    pub started: Option<Moment>,
    /// Ready for the first time.
    pub ready: Option<Moment>,
    /// Could be chosen for the first time.
    pub serving: Option<Moment>,
    /// Its deletion was requested.
    pub deleted: Option<Timestamp>,
}

impl PodStart {
    /// Given to a node, or made where nodes are not told.
    pub(super) fn placed(&self, knows_nodes: bool) -> Option<Moment> {
        if knows_nodes { self.scheduled } else { Some(self.created) }
    }

    /// Whether it went before it took traffic.
    pub(super) fn is_abandoned(&self) -> bool {
        self.serving.is_none() && self.deleted.is_some()
    }

    /// What each of its own stages took, in the order of [`super::Stage::OF_POD`]; `None` if unknown.
    /// Where nodes are not told, the start counts from the creation.
    fn stages(&self) -> [Option<Took>; 4] {
        let created = Some(self.created);
        [
            took(created, self.scheduled),
            took(self.scheduled.or(created), self.started),
            took(self.started, self.ready),
            took(self.ready, self.serving),
        ]
    }
}

/// The first instants of all pods, in order of creation.
pub fn pod_starts(events: &[Event]) -> Vec<PodStart> {
    let mut starts: Vec<PodStart> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let knows_views =
        events.iter().any(|event| matches!(event.kind, EventKind::ViewApplied { .. }));
    for event in events {
        if let EventKind::PodCreated { pod, .. } = &event.kind {
            index.insert(pod.clone(), starts.len());
            starts.push(PodStart {
                pod: pod.clone(),
                created: Moment::of(event),
                ..PodStart::default()
            });
            continue;
        }
        take(event, knows_views, |pod| index.get(pod).copied(), &mut starts);
    }
    starts
}

fn take(
    event: &Event,
    knows_views: bool,
    find: impl Fn(&str) -> Option<usize>,
    starts: &mut [PodStart],
) {
    let moment = Moment::of(event);
    let mut set = |pod: &str, field: fn(&mut PodStart) -> &mut Option<Moment>| {
        if let Some(start) = find(pod).and_then(|index| starts.get_mut(index)) {
            field(start).get_or_insert(moment);
        }
    };
    match &event.kind {
        EventKind::PodScheduled { pod, node } => {
            set(pod, |start| &mut start.scheduled);
            if let Some(start) = find(pod).and_then(|index| starts.get_mut(index)) {
                start.node.get_or_insert_with(|| node.clone());
            }
        }
        EventKind::ContainerStarted { pod, .. } => set(pod, |start| &mut start.started),
        EventKind::PodReady { pod } => set(pod, |start| &mut start.ready),
        EventKind::ViewApplied { routed, .. } => {
            routed.iter().for_each(|pod| set(pod, |start| &mut start.serving));
        }
        EventKind::Endpoints { endpoints, .. } if !knows_views => {
            let ready = endpoints.iter().filter(|endpoint| endpoint.ready);
            ready.for_each(|endpoint| set(&endpoint.pod, |start| &mut start.serving));
        }
        EventKind::PodDeleted { pod, .. } => {
            if let Some(start) = find(pod).and_then(|index| starts.get_mut(index)) {
                start.deleted.get_or_insert(event.at);
            }
        }
        _ => {}
    }
}

/// How long pods took to start, whoever wanted them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStarts {
    /// Pods that were made while traffic ran.
    pub pods: u64,
    /// Of these, how many took traffic.
    pub served: u64,
    /// By stage of [`super::Stage::OF_POD`].
    pub stages: [StartStage; 4],
    /// From creation to traffic.
    pub total: StartStage,
}

/// One stage over several pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartStage {
    /// Pods of which it is known.
    pub known: u64,
    /// The median.
    pub median: Nanos,
    /// The slowest.
    pub slowest: Nanos,
    /// How far off each may be, at most.
    pub precision: Nanos,
}

impl StartStage {
    fn of(mut all: Vec<Took>) -> Self {
        all.sort_unstable_by_key(|took| took.span);
        let Some(slowest) = all.last() else { return Self::default() };
        Self {
            known: all.len() as u64,
            median: all[(all.len() - 1) / 2].span,
            slowest: slowest.span,
            precision: all.iter().map(|took| took.precision).max().unwrap_or_default(),
        }
    }
}

/// How long the pods that were made between `from` and `to` took to start.
pub fn summarize(starts: &[PodStart], from: Timestamp, to: Timestamp) -> PodStarts {
    let within = || starts.iter().filter(|pod| pod.created.at >= from && pod.created.at <= to);
    let stage =
        |index: usize| StartStage::of(within().filter_map(|pod| pod.stages()[index]).collect());
    PodStarts {
        pods: within().count() as u64,
        served: within().filter(|pod| pod.serving.is_some()).count() as u64,
        stages: std::array::from_fn(stage),
        total: StartStage::of(
            within().filter_map(|pod| took(Some(pod.created), pod.serving)).collect(),
        ),
    }
}
