//! All machines of a cluster joined into one.

mod actions;
mod observe;
mod service;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
    vec::Vec,
};

use self::observe::{Numbers, Rollout, Times};
pub use self::observe::{PodPhase, PodState, PodView, Status};
use super::{
    Config, Effect, Timing,
    controllers::{Controllers, Turn, Write},
    deployment::{Change, Shrink, Wanted},
    endpoints::{Slice, View},
    nodes::{News, Nodes},
    pod::{Draws, Identity, Pod, Relist, Report},
    whole_second,
};
use crate::{
    event::{DeleteReason, EventKind, Source},
    rng::Stream,
    spec::{self, PodTemplate, Probe},
    time::{Nanos, Timestamp},
};

/// A part of the cluster that may have something due; in the order in which parts fire that are
/// due at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Controllers,
    Nodes,
    Pod(u32),
    Slice,
    View(u32),
}

/// A Deployment with its pods and its service.
///
/// *Behaviour*: nothing exists before the first [`Cluster::advance`]. Every call does all that its
/// input causes at that instant; what takes time becomes due later. Parts that are due at one
/// instant fire in a fixed order: controllers, nodes, pods by number, EndpointSlice, consumers by number.
#[derive(Clone, Debug)]
pub struct Cluster {
    seed: u64,
    timing: Timing,
    template: Arc<PodTemplate>,
    relist: Relist,
    controllers: Controllers,
    pods: BTreeMap<u32, Pod>,
    /// What the API server was last told of each pod.
    reports: BTreeMap<u32, Report>,
    /// The times in each pod's status.
    times: BTreeMap<u32, Times>,
    /// Names of all pods ever made, by number.
    names: Vec<String>,
    slice: Slice,
    views: Vec<View>,
    /// `None` if there is always room.
    nodes: Option<Nodes>,
    /// What the nodes told and nobody has acted upon yet.
    news: Vec<News>,
    /// Numbers of probes used so far.
    probes: u64,
    wakes: BTreeSet<(Timestamp, Part)>,
    planned: BTreeMap<Part, Timestamp>,
    numbers: Numbers,
    rollout: Rollout,
    is_torn_down: bool,
    has_begun: bool,
}

impl Cluster {
    /// A cluster whose deployment will be created at the first [`Cluster::advance`].
    pub fn new(config: Config) -> Self {
        let Config { deployment, consumers, propagation, timing, seed } = config;
        let phase = Stream::new(seed, "relist").below(timing.relist.0);
        let relist = Relist { phase: Nanos(phase), period: timing.relist };
        let views =
            (0..consumers).map(|consumer| View::new(consumer, propagation.clone(), seed)).collect();
        let wanted = Wanted::new(&deployment);
        Self {
            seed,
            template: Arc::new(deployment.template),
            relist,
            controllers: Controllers::new(wanted, Turn::default()),
            pods: BTreeMap::new(),
            reports: BTreeMap::new(),
            times: BTreeMap::new(),
            names: Vec::new(),
            slice: Slice::new(timing.endpoints_delay.clone(), seed),
            timing,
            views,
            nodes: None,
            news: Vec::new(),
            probes: 0,
            wakes: BTreeSet::from([(Timestamp::ZERO, Part::Controllers)]),
            planned: BTreeMap::from([(Part::Controllers, Timestamp::ZERO)]),
            numbers: Numbers::default(),
            rollout: Rollout::default(),
            is_torn_down: false,
            has_begun: false,
        }
    }

    /// The same with nodes that have bounds. Called before the first [`Cluster::advance`].
    #[must_use]
    pub fn with_nodes(mut self, nodes: &spec::Nodes) -> Self {
        self.nodes = Some(Nodes::new(nodes, &self.template.resources, self.seed));
        self
    }

    /// When something is due, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.wakes.first().map(|&(at, _)| at)
    }

    /// Fires what is due at `now`. Afterwards the next deadline is later than `now`.
    pub fn advance(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if !self.has_begun {
            self.has_begun = true;
            self.begin_rollout(effects);
        }
        while let Some(&(at, part)) = self.wakes.first() {
            if at > now {
                break;
            }
            self.fire(now, part, effects);
            self.plan(part);
        }
        self.note_numbers(effects);
    }

    /// The name of a pod: `v<revision>-<n>`, the nth ever made of its revision.
    ///
    /// *Panics* if there never was such a pod.
    pub fn pod_name(&self, pod: u32) -> &str {
        let place = usize::try_from(pod).expect("a pod's number fits");
        &self.names[place]
    }

    fn fire(&mut self, now: Timestamp, part: Part, effects: &mut Vec<Effect>) {
        match part {
            Part::Controllers => {
                self.controllers.fire(now);
                self.settle(now, effects);
            }
            Part::Nodes => {
                if let Some(nodes) = &mut self.nodes {
                    nodes.fire(now, &mut self.news);
                }
                self.settle(now, effects);
            }
            Part::Pod(number) => {
                if let Some(pod) = self.pods.get_mut(&number) {
                    pod.fire(now, &mut self.probes, effects);
                    self.follow(now, number, effects);
                }
            }
            Part::Slice => self.write_slice(now, effects),
            Part::View(consumer) => self.apply_view(now, consumer, effects),
        }
    }

    /// Keeps the plan of who is due when.
    fn plan(&mut self, part: Part) {
        let next = match part {
            Part::Controllers => self.controllers.next_deadline(),
            Part::Nodes => self.nodes.as_ref().and_then(Nodes::next_deadline),
            Part::Pod(pod) => self.pods.get(&pod).and_then(Pod::next_deadline),
            Part::Slice => self.slice.next_deadline(),
            Part::View(consumer) => self.view(consumer).next_deadline(),
        };
        let old = match next {
            Some(at) => self.planned.insert(part, at),
            None => self.planned.remove(&part),
        };
        if let Some(at) = old {
            self.wakes.remove(&(at, part));
        }
        if let Some(at) = next {
            self.wakes.insert((at, part));
        }
    }

    /// Tells the API server what became of a pod, and lets the controllers and endpoints follow.
    fn follow(&mut self, now: Timestamp, number: u32, effects: &mut Vec<Effect>) {
        let Some(pod) = self.pods.get(&number) else {
            return;
        };
        let (report, is_gone) = (pod.report(), pod.is_gone());
        if !is_gone && self.reports.get(&number) == Some(&report) {
            self.plan(Part::Pod(number));
            return;
        }
        self.reports.insert(number, report);
        self.times.entry(number).or_default().see(now, report);
        if report.is_gone {
            self.controllers.remove(number);
        } else {
            self.tell(now, number, report);
        }
        if is_gone {
            self.forget(number);
        }
        self.plan(Part::Pod(number));
        self.settle(now, effects);
    }

    /// Lets the controllers work, and carries out what they wrote, until they find nothing more.
    fn settle(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let seed = self.seed;
        let mut uid =
            |template, number| Stream::new(seed, &format!("uid/v{template}-{number}")).next_u64();
        loop {
            let mut writes = Vec::new();
            self.controllers.settle(now, &mut uid, &mut writes);
            if writes.is_empty() && !self.take_news(now, effects) {
                break;
            }
            for write in writes {
                self.carry_out(now, write, effects);
            }
        }
        self.plan(Part::Controllers);
        self.plan(Part::Nodes);
        self.note_rollout(effects);
        let entries = self.entries();
        self.slice.see(now, &entries);
        self.plan(Part::Slice);
    }

    fn carry_out(&mut self, now: Timestamp, write: Write, effects: &mut Vec<Effect>) {
        match write {
            Write::Deployment(change) => note_change(change, effects),
            Write::PodCreated { pod, template, number } => {
                self.create_pod(now, pod, template, number, effects)
            }
            Write::PodDeleted { pod, shrink, .. } => {
                let reason = match shrink {
                    _ if self.is_torn_down => DeleteReason::Teardown,
                    Shrink::Rollout => DeleteReason::Rollout,
                    Shrink::Scaling => DeleteReason::ScaleDown,
                };
                self.delete_pod(now, pod, reason, effects);
            }
        }
    }

    fn create_pod(
        &mut self,
        now: Timestamp,
        pod: u32,
        revision: u32,
        number: u32,
        effects: &mut Vec<Effect>,
    ) {
        let name = format!("v{revision}-{number}");
        let kind = EventKind::PodCreated { pod: name.clone(), revision };
        emit(effects, kind);
        let draws = self.draw(&name);
        let identity = Identity { pod, name: name.clone(), revision };
        self.names.push(name);
        let template = Arc::clone(&self.template);
        let mut machine = Pod::new(now, identity, template, draws, self.relist);
        if let Some(nodes) = &mut self.nodes {
            machine.await_node();
            nodes.wake(now);
            nodes.add(pod, &mut self.news);
        }
        self.pods.insert(pod, machine);
        self.plan(Part::Pod(pod));
    }

    /// Everything of a pod is gone.
    fn forget(&mut self, number: u32) {
        self.pods.remove(&number);
        self.reports.remove(&number);
        self.times.remove(&number);
        if let Some(nodes) = &mut self.nodes {
            nodes.remove(number, &mut self.news);
        }
    }

    /// Acts upon what the nodes told. Returns whether there was anything.
    fn take_news(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> bool {
        let all = core::mem::take(&mut self.news);
        let is_any = !all.is_empty();
        for news in all {
            match news {
                News::Bound { pod, node } => self.bind(now, pod, node, effects),
                News::NoRoom { pod, message } => {
                    let pod = self.pod_name(pod).into();
                    emit(effects, EventKind::PodUnschedulable { pod, message });
                }
                News::Ready { node } => {
                    let kind = EventKind::NodeCondition {
                        node: Nodes::name(node),
                        condition: "Ready".into(),
                        status: "True".into(),
                        reason: "KubeletReady".into(),
                    };
                    emit(effects, kind);
                }
            }
        }
        is_any
    }

    /// Writes what a pod reports, if the controllers would see a difference.
    fn tell(&mut self, now: Timestamp, number: u32, report: Report) {
        let Some(known) = self.controllers.pod(number) else {
            return;
        };
        let mut told = known.clone();
        report_to(&mut told, report, now);
        if told != *known {
            self.controllers.update(now, number, |known| *known = told);
        }
    }

    fn bind(&mut self, now: Timestamp, number: u32, node: u32, effects: &mut Vec<Effect>) {
        let Some(pod) = self.pods.get_mut(&number) else {
            return;
        };
        pod.bind(now, node);
        let report = pod.report();
        self.reports.insert(number, report);
        self.tell(now, number, report);
        self.plan(Part::Pod(number));
        let kind =
            EventKind::PodScheduled { pod: self.pod_name(number).into(), node: Nodes::name(node) };
        emit(effects, kind);
    }

    /// The random times of a pod, each from a stream of its own.
    fn draw(&self, name: &str) -> Draws {
        let stream = |purpose: &str| Stream::new(self.seed, &format!("{purpose}/{name}"));
        let tick = |purpose: &str, probe: &Option<Probe>| {
            let period = probe.as_ref().map_or(0, |probe| probe.period_seconds.max(1));
            Nanos(stream(purpose).below(Nanos::from_secs(u64::from(period)).0))
        };
        let PodTemplate { startup_probe, readiness_probe, liveness_probe, .. } = &*self.template;
        Draws {
            start: self.timing.start.sample(&mut stream("pod-start")),
            kubelet_delay: self.timing.kubelet_delay.sample(&mut stream("kubelet-delay")),
            teardown: self.timing.teardown.sample(&mut stream("teardown")),
            ticks: [
                tick("probe/startup", startup_probe),
                tick("probe/readiness", readiness_probe),
                tick("probe/liveness", liveness_probe),
            ],
            retries: Some(stream("retries").next_u64()),
        }
    }

    /// The kubelet's and the endpoints' side of a deletion.
    fn delete_pod(
        &mut self,
        now: Timestamp,
        number: u32,
        reason: DeleteReason,
        effects: &mut Vec<Effect>,
    ) {
        let pod =
            self.pods.get_mut(&number).expect("a pod that is deleted exists until it is gone");
        pod.delete(now, None, reason, effects);
        if pod.report().is_gone {
            self.controllers.remove(number);
        }
        if pod.is_gone() {
            self.forget(number);
        }
        self.plan(Part::Pod(number));
    }
}

/// Writes a kubelet's report into the API server's pod.
fn report_to(known: &mut super::replicaset::Pod, report: Report, now: Timestamp) {
    known.node = report.node;
    known.phase = report.phase;
    known.restarts = report.restarts;
    known.is_terminating |= report.is_terminating;
    if report.is_ready != known.ready.is_some() {
        known.ready = report.is_ready.then(|| whole_second(now));
    }
}

fn note_change(change: Change, effects: &mut Vec<Effect>) {
    let (revision, from, to) = match change {
        Change::Created { template, replicas } => (template, 0, replicas),
        Change::Scaled { template, from, to } => (template, from, to),
        Change::Annotated { .. } | Change::Removed { .. } | Change::Status => return,
    };
    emit(effects, EventKind::ReplicasetScaled { revision, from, to });
}

fn emit(effects: &mut Vec<Effect>, kind: EventKind) {
    effects.push(Effect::Emit { source: Source::Controller, kind });
}

#[cfg(test)]
mod tests;
