//! The [`Observer`]: it hands news on to the parts that know what they mean.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use highwater_model::{
    event::{DeleteReason, EventKind, Source},
    time::{Nanos, Timestamp},
};
use k8s_openapi::api::core::v1::{Event, Pod};

use super::{
    Observation, Scribe, Target,
    autoscaler::Autoscaler,
    cluster_event::{Counts, Told},
    endpoints::Endpoints,
    metrics::Metrics,
    news::{News, Seen, Watched},
    node::Nodes,
    pod::{Around, MEMORY, PodState, owner},
    time::{Anchor, Clocks, Offset, Sight},
    workload::Workload,
};

/// How long a pod is held back whose ReplicaSet, which gives it its revision, was not seen yet.
const SET_DELAY: Nanos = Nanos::from_secs(1);
/// How many sightings of such pods are held back at most.
const HELD_MAX: usize = 10_000;
/// How long an announced deletion may take to be seen.
const EXPECTED: Nanos = Nanos::from_secs(60);

/// Turns what is learnt of a cluster into the events of a run.
///
/// It is told [`News`] in the order of their observation. Whatever it appends to `out` happened
/// no later than the `now` of the call.
#[derive(Debug)]
pub struct Observer {
    target: Target,
    clocks: Arc<Clocks>,
    pods: BTreeMap<String, PodState>,
    /// Pods seen so far: their order.
    pods_seen: u64,
    /// Sightings of pods whose set is not known yet.
    held: VecDeque<(Sight, Pod)>,
    workload: Workload,
    pub(super) endpoints: Endpoints,
    pub(super) autoscaler: Autoscaler,
    pub(super) nodes: Nodes,
    counts: Counts,
    metrics: Metrics,
    pub(super) gaps: BTreeMap<Watched, (Timestamp, String)>,
    /// What was seen whole at least once.
    pub(super) listed: BTreeSet<Watched>,
    expected: BTreeMap<String, (DeleteReason, Timestamp)>,
    is_teardown: bool,
}

impl Observer {
    /// One that has seen nothing yet.
    pub fn new(target: Target, anchor: Anchor) -> Self {
        Self {
            workload: Workload::new(&target.deployment),
            endpoints: Endpoints::new(&target.service),
            autoscaler: Autoscaler::new(target.autoscaler.as_deref()),
            clocks: Arc::new(Clocks::new(anchor)),
            pods: BTreeMap::new(),
            pods_seen: 0,
            held: VecDeque::new(),
            nodes: Nodes::default(),
            counts: Counts::default(),
            metrics: Metrics::default(),
            gaps: BTreeMap::new(),
            listed: BTreeSet::new(),
            expected: BTreeMap::new(),
            is_teardown: false,
            target,
        }
    }

    /// Sets what is known of a node's clock: its containers' times and its pods' lines.
    pub fn set_node_clock(&mut self, node: &str, offset: Offset) {
        Arc::make_mut(&mut self.clocks).set_node(node, offset);
    }

    /// The driver is about to have `pod` deleted, for `reason`.
    pub fn expect_deletion(&mut self, now: Timestamp, pod: &str, reason: DeleteReason) {
        self.expected.insert(pod.into(), (reason, now + EXPECTED));
    }

    /// The driver is about to send SIGTERM into a pod's container itself; what the target says of
    /// it is not the kubelet's signal. (The driver records its own signal.)
    pub fn expect_sigterm(&mut self, pod: &str) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.flow.expected_kills += 1;
        }
    }

    /// The run is over: every deletion from now on is its end's.
    pub fn expect_teardown(&mut self) {
        self.is_teardown = true;
    }

    pub(super) fn all_pods(&self) -> impl Iterator<Item = &PodState> {
        self.pods.values()
    }

    pub(super) fn workload(&self) -> &Workload {
        &self.workload
    }

    /// Takes news that were learnt at `now`, and appends what they tell.
    pub fn take(&mut self, now: Timestamp, news: &News, out: &mut Vec<Observation>) {
        self.fire(now, out);
        let clocks = Arc::clone(&self.clocks);
        let mut sight = Sight::at(now);
        if let Some((what, since)) = whole(news) {
            self.listed.insert(what);
            sight.since = since;
        }
        let mut scribe = Scribe { clocks: &clocks, sight, out };
        match news {
            News::Pods(seen) => self.pods_news(seen, &mut scribe),
            News::EndpointSlices(seen) => self.endpoints.take(seen, &mut scribe),
            News::Deployments(seen) => {
                self.workload.deployments(seen, &mut scribe);
                if let Some(deployment) = self.workload.deployment() {
                    self.autoscaler.replicas_seen(deployment.desired);
                }
            }
            News::ReplicaSets(seen) => {
                self.workload.replica_sets(seen, &mut scribe);
                self.release(None, &mut scribe);
                for pod in self.pods.values_mut() {
                    pod.look_for_reason(&self.workload, &mut scribe);
                }
            }
            News::Autoscalers(seen) => self.autoscaler.take(seen, &mut scribe),
            News::Events(seen) => self.events(seen, &mut scribe),
            News::Nodes(seen) => self.nodes.take(seen, &mut scribe),
            News::Metrics(metrics) => {
                let pods = &self.pods;
                self.metrics.take(metrics, |pod| pods.contains_key(pod), &mut scribe);
            }
            News::Line { pod, line } => {
                if let Some(pod) = self.pods.get_mut(pod) {
                    pod.line(line, &mut scribe);
                }
            }
            News::GapBegan { what, from, reason } => {
                self.gaps.entry(what.clone()).or_insert((*from, reason.clone()));
            }
            News::GapEnded { what } => self.gap_ended(what, &mut scribe),
        }
        self.note_numbers(&mut scribe);
    }

    fn gap_ended(&mut self, what: &Watched, scribe: &mut Scribe<'_>) {
        let Some((from, reason)) = self.gaps.remove(what) else { return };
        let kind = EventKind::WatchGap { what: what.to_string(), from, reason };
        scribe.at(Sight::at(scribe.now()).unstated(), Source::Api, kind);
    }

    fn note_numbers(&mut self, scribe: &mut Scribe<'_>) {
        let is_going = |pod: &&PodState| pod.deletion.is_some() && pod.gone.is_none();
        let terminating = self.pods.values().filter(is_going).count();
        self.workload.note_numbers(terminating as u32, scribe);
    }

    fn pods_news(&mut self, seen: &Seen<Pod>, scribe: &mut Scribe<'_>) {
        match seen {
            Seen::All { objects, .. } => {
                objects.iter().for_each(|pod| self.pod_seen(pod, scribe));
                let ids: Vec<&str> =
                    objects.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
                let is_missing =
                    |pod: &&PodState| pod.gone.is_none() && !ids.contains(&pod.uid.as_str());
                let missing: Vec<String> =
                    self.pods.values().filter(is_missing).map(|pod| pod.name.clone()).collect();
                missing.iter().for_each(|name| self.pod_gone(name, scribe));
            }
            Seen::Changed(pod) => self.pod_seen(pod, scribe),
            Seen::Gone(pod) => {
                self.pod_seen(pod, scribe);
                let name = pod.metadata.name.as_deref().unwrap_or_default();
                // One that was held back until now is told at once, as what it is.
                self.release(Some(name), scribe);
                self.pod_gone(name, scribe);
            }
        }
    }

    /// Takes a pod, or holds it back until its ReplicaSet is known.
    fn pod_seen(&mut self, pod: &Pod, scribe: &mut Scribe<'_>) {
        let is_unknown = owner(pod).is_some_and(|set| self.workload.set(set).is_none());
        let is_new = self.known(pod).is_none();
        if is_unknown && is_new && self.held.len() < HELD_MAX {
            self.held.push_back((scribe.sight, pod.clone()));
        } else {
            self.pod_taken(pod, scribe);
        }
    }

    fn known(&self, pod: &Pod) -> Option<&PodState> {
        let known = self.pods.get(pod.metadata.name.as_deref()?)?;
        (Some(&known.uid) == pod.metadata.uid.as_ref()).then_some(known)
    }

    /// Takes pods that were held back: those whose set is known by now, and in any case that of
    /// the name `forced`.
    fn release(&mut self, forced: Option<&str>, scribe: &mut Scribe<'_>) {
        let sight = scribe.sight;
        for (seen, pod) in std::mem::take(&mut self.held) {
            let is_known = owner(&pod).is_some_and(|set| self.workload.set(set).is_some());
            let is_forced = forced.is_some() && pod.metadata.name.as_deref() == forced;
            if is_known || is_forced || seen.now + SET_DELAY <= sight.now {
                scribe.sight = seen;
                self.pod_taken(&pod, scribe);
                scribe.sight = sight;
            } else {
                self.held.push_back((seen, pod));
            }
        }
    }

    fn pod_taken(&mut self, pod: &Pod, scribe: &mut Scribe<'_>) {
        let Some(name) = pod.metadata.name.clone() else { return };
        if self.known(pod).is_none() {
            // Another pod by that name is gone.
            if self.pods.get(&name).is_some_and(|known| known.gone.is_none()) {
                self.pod_gone(&name, scribe);
            }
            let made = pod.metadata.creation_timestamp.as_ref();
            let order = (made.map_or(0, |time| time.0.as_second()), self.pods_seen);
            self.pods_seen += 1;
            let mut state = PodState::new(pod, order);
            let set = state.set.as_ref().and_then(|set| self.workload.set(set));
            state.revision = set.map_or(0, |set| set.revision);
            self.pods.insert(name.clone(), state);
        }
        let (expected, left) = self.odds(&name);
        if let Some(state) = self.pods.get_mut(&name).filter(|state| state.gone.is_none()) {
            let (target, workload) = (&self.target, &self.workload);
            state.seen(pod, &Around { target, workload, expected, left }, scribe);
            if state.deletion.is_some() {
                self.expected.remove(&name);
            }
        }
    }

    fn pod_gone(&mut self, name: &str, scribe: &mut Scribe<'_>) {
        let (expected, left) = self.odds(name);
        if let Some(state) = self.pods.get_mut(name).filter(|state| state.gone.is_none()) {
            let (target, workload) = (&self.target, &self.workload);
            state.gone(&Around { target, workload, expected, left }, scribe);
            self.expected.remove(name);
        }
    }

    /// Who was announced to delete a pod, and how many of its set would be left.
    fn odds(&self, name: &str) -> (Option<DeleteReason>, u32) {
        let announced = self.expected.get(name).map(|(reason, _)| *reason);
        let expected = if self.is_teardown { Some(DeleteReason::Teardown) } else { announced };
        let set = self.pods.get(name).and_then(|pod| pod.set.as_ref());
        let others = self.pods.values().filter(|pod| pod.name != name);
        let left = others.filter(|pod| pod.set.as_ref() == set && pod.is_active()).count();
        (expected, left as u32)
    }

    fn events(&mut self, seen: &Seen<Event>, scribe: &mut Scribe<'_>) {
        let news = self.counts.news(seen, scribe);
        for told in news {
            if self.is_about_target(&told) {
                told.tell(scribe);
                self.event(&told, scribe);
            }
        }
    }

    fn is_about_target(&self, told: &Told<'_>) -> bool {
        let name = told.object_name();
        match told.object_kind() {
            "Deployment" => name == self.target.deployment,
            "Service" | "Endpoints" => name == self.target.service,
            "HorizontalPodAutoscaler" => self.autoscaler.is_named(name),
            "ReplicaSet" => self.workload.set(name).is_some(),
            "Pod" => {
                let set = name.rsplit_once('-').map(|(set, _)| set);
                self.pods.contains_key(name)
                    || set.is_some_and(|set| self.workload.set(set).is_some())
            }
            _ => false,
        }
    }

    /// Events that tell more than their text.
    fn event(&mut self, told: &Told<'_>, scribe: &mut Scribe<'_>) {
        match (told.object_kind(), told.reason) {
            ("HorizontalPodAutoscaler", "SuccessfulRescale") => {
                self.autoscaler.rescaled(told.at, told.message, scribe);
            }
            ("Pod", reason) => {
                let Some(pod) = self.pods.get_mut(told.object_name()) else { return };
                if told.container().is_some_and(|name| name != pod.flow.container) {
                    return;
                }
                match reason {
                    "Started" => pod.flow.start_hint = Some(told.at),
                    "Killing" => pod.killing(told.at, scribe),
                    "FailedPreStopHook" => pod.hook_failed(told.at, told.message, scribe),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// When [`Observer::fire`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let held = self.held.front().map(|(sight, _)| sight.now + SET_DELAY);
        let pods = self.pods.values().filter_map(PodState::next_deadline).min();
        [held, pods, self.autoscaler.next_deadline()].into_iter().flatten().min()
    }

    /// Tells what waited for another word until `now`. [`Observer::take`] does so too.
    pub fn fire(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        let clocks = Arc::clone(&self.clocks);
        let mut scribe = Scribe { clocks: &clocks, sight: Sight::at(now), out };
        self.release(None, &mut scribe);
        for pod in self.pods.values_mut() {
            pod.fire(now, &mut scribe);
        }
        self.pods.retain(|_, pod| pod.gone.is_none_or(|gone| gone + MEMORY > now));
        self.expected.retain(|_, (_, due)| *due > now);
        self.autoscaler.fire(now, &mut scribe);
    }

    /// The observation ends at `now`: tells all that still waits, and the gaps that are open.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<Observation>) {
        let clocks = Arc::clone(&self.clocks);
        let mut scribe = Scribe { clocks: &clocks, sight: Sight::at(now), out };
        for (_, pod) in std::mem::take(&mut self.held) {
            self.pod_taken(&pod, &mut scribe);
        }
        for pod in self.pods.values_mut() {
            pod.finish(now, &mut scribe);
        }
        self.autoscaler.fire(Timestamp::MAX, &mut scribe);
        let open: Vec<Watched> = self.gaps.keys().cloned().collect();
        open.iter().for_each(|what| self.gap_ended(what, &mut scribe));
    }
}

/// What all of was seen, and the end of what was heard of it before a gap.
fn whole(news: &News) -> Option<(Watched, Option<Timestamp>)> {
    fn of<K>(what: Watched, seen: &Seen<K>) -> Option<(Watched, Option<Timestamp>)> {
        match seen {
            Seen::All { since, .. } => Some((what, *since)),
            Seen::Changed(_) | Seen::Gone(_) => None,
        }
    }
    match news {
        News::Pods(seen) => of(Watched::Pods, seen),
        News::EndpointSlices(seen) => of(Watched::EndpointSlices, seen),
        News::Deployments(seen) => of(Watched::Deployments, seen),
        News::ReplicaSets(seen) => of(Watched::ReplicaSets, seen),
        News::Autoscalers(seen) => of(Watched::Autoscalers, seen),
        News::Events(seen) => of(Watched::Events, seen),
        News::Nodes(seen) => of(Watched::Nodes, seen),
        News::Metrics(_) => Some((Watched::Metrics, None)),
        News::Line { .. } | News::GapBegan { .. } | News::GapEnded { .. } => None,
    }
}
