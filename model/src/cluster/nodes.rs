//! Nodes with room for so many pods: the scheduler, and a cluster autoscaler that adds nodes.
//!
//! All pods are of one Deployment and request the same. So the scheduler's preferences for nodes
//! with the most left and for spreading agree: the node with the fewest of them; of several the
//! first, where upstream draws. Pods that found no room are tried in the order of their creation as
//! soon as room appears.
//!
//! *Source*: Kubernetes v1.35, `pkg/scheduler/framework/plugins/noderesources/{fit,least_allocated}.go`,
//! `pkg/scheduler/framework/types.go` (`FitError.Error`); `SchedulerPopFromBackoffQ` lets an idle
//! scheduler try without a back-off. Cluster autoscaler: every scan adds as many nodes as the pods
//! without room need beyond those that are on their way, within the limit.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use crate::{
    rng::Stream,
    spec::{Allocatable, ClusterAutoscaler, Distribution, Nodes as Spec, Resources},
    time::{Nanos, Timestamp},
};

/// What a pod requests: CPU in thousandths, memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Request {
    cpu: u64,
    memory: u64,
}

/// The nodes of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    allocatable: Allocatable,
    request: Request,
    /// By node: pods on it.
    on: Vec<u32>,
    /// By pod: its node.
    of: BTreeMap<u32, u32>,
    /// Pods without a node, in order of creation.
    pending: BTreeSet<u32>,
    scaler: Option<Scaler>,
}

/// The cluster autoscaler.
#[derive(Clone, Debug)]
struct Scaler {
    most: u32,
    interval: Nanos,
    provision: Distribution,
    chance: Stream,
    looks_at: Timestamp,
    /// When nodes will be ready that were asked for.
    coming: BTreeSet<(Timestamp, u32)>,
    /// Nodes asked for so far.
    asked: u32,
}

/// What became of a pod, or of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// A pod has a node.
    Bound { pod: u32, node: u32 },
    /// A pod has none, and why.
    NoRoom { pod: u32, message: String },
    /// A node is ready.
    Ready { node: u32 },
}

impl Nodes {
    pub(super) fn new(spec: &Spec, resources: &Resources, seed: u64) -> Self {
        let Resources { requests, limits } = resources;
        // The API server makes a request of a limit that stands alone.
        let cpu = requests.cpu.or(limits.cpu).map_or(0, |cpu| cpu.0);
        let memory = requests.memory.or(limits.memory).map_or(0, |memory| memory.0);
        Self {
            allocatable: spec.allocatable.clone(),
            request: Request { cpu, memory },
            on: alloc::vec![0; spec.count as usize],
            of: BTreeMap::new(),
            pending: BTreeSet::new(),
            scaler: spec.cluster_autoscaler.as_ref().map(|scaler| Scaler::new(scaler, seed)),
        }
    }

    /// The name of a node.
    pub(super) fn name(node: u32) -> String {
        format!("node-{}", node + 1)
    }

    /// How many nodes there are.
    pub(super) fn count(&self) -> u32 {
        self.on.len() as u32
    }

    /// How many of the pods one node has room for.
    fn room(&self) -> u32 {
        let Allocatable { cpu, memory, pods } = &self.allocatable;
        let of = |all: Option<u64>, each: u64| match (all, each) {
            (Some(all), 1..) => u32::try_from(all / each).unwrap_or(u32::MAX),
            _ => u32::MAX,
        };
        let cpu = of(cpu.map(|cpu| cpu.0), self.request.cpu);
        let memory = of(memory.map(|memory| memory.0), self.request.memory);
        cpu.min(memory).min(*pods)
    }

    /// A pod was made.
    pub(super) fn add(&mut self, pod: u32, news: &mut Vec<News>) {
        // Those before it found no room, and it needs as much.
        let is_first = self.pending.is_empty();
        self.pending.insert(pod);
        if !(is_first && self.bind(pod, news)) {
            news.push(News::NoRoom { pod, message: self.message() });
        }
    }

    /// A pod is gone: what waits may have its room.
    pub(super) fn remove(&mut self, pod: u32, news: &mut Vec<News>) {
        self.pending.remove(&pod);
        if let Some(node) = self.of.remove(&pod) {
            self.on[node as usize] -= 1;
            self.bind_pending(news);
        }
    }

    /// When something is due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let scaler = self.scaler.as_ref()?;
        let ready = scaler.coming.first().map(|(at, _)| *at);
        let may_ask = !self.pending.is_empty() && self.count_asked() < scaler.most;
        let looks = may_ask.then_some(scaler.looks_at);
        ready.into_iter().chain(looks).min()
    }

    fn count_asked(&self) -> u32 {
        let coming = self.scaler.as_ref().map_or(0, |scaler| scaler.coming.len() as u32);
        self.count() + coming
    }

    /// Does what is due.
    pub(super) fn fire(&mut self, now: Timestamp, news: &mut Vec<News>) {
        let is_ready = |scaler: &Scaler| scaler.coming.first().is_some_and(|(at, _)| *at <= now);
        while self.scaler.as_ref().is_some_and(is_ready) {
            if let Some(scaler) = &mut self.scaler {
                scaler.coming.pop_first();
            }
            news.push(News::Ready { node: self.count() });
            self.on.push(0);
            self.bind_pending(news);
        }
        let (asked, room, waiting) = (self.count_asked(), self.room(), self.pending.len() as u32);
        if let Some(scaler) = &mut self.scaler
            && scaler.looks_at <= now
        {
            scaler.look(now, waiting, room, asked);
        }
    }

    /// From now on the autoscaler looks at the pods again, at its own times.
    pub(super) fn wake(&mut self, now: Timestamp) {
        if let Some(scaler) = &mut self.scaler {
            scaler.wake(now);
        }
    }

    fn bind_pending(&mut self, news: &mut Vec<News>) {
        while let Some(pod) = self.pending.first().copied() {
            if !self.bind(pod, news) {
                return;
            }
        }
    }

    /// Gives a pod to a node, if one has room.
    fn bind(&mut self, pod: u32, news: &mut Vec<News>) -> bool {
        let room = self.room();
        let with_room = self.on.iter().enumerate().filter(|(_, on)| **on < room);
        let Some((node, _)) = with_room.min_by_key(|(_, on)| **on) else { return false };
        self.on[node] += 1;
        let node = node as u32;
        self.of.insert(pod, node);
        self.pending.remove(&pod);
        news.push(News::Bound { pod, node });
        true
    }

    /// Why no node takes another pod, in the scheduler's words.
    fn message(&self) -> String {
        let all = self.on.len();
        if all == 0 {
            return String::from("no nodes available to schedule pods");
        }
        let Allocatable { cpu, memory, pods } = &self.allocatable;
        let lacks = |all: Option<u64>, each: u64, on: u32| {
            each > 0 && all.is_some_and(|all| each.saturating_mul(u64::from(on) + 1) > all)
        };
        let (mut too_many, mut no_cpu, mut no_memory, mut hopeless) = (0, 0, 0, 0);
        for on in &self.on {
            let lacks_cpu = |on| lacks(cpu.map(|cpu| cpu.0), self.request.cpu, on);
            let lacks_memory = |on| lacks(memory.map(|memory| memory.0), self.request.memory, on);
            too_many += usize::from(*on >= *pods);
            no_cpu += usize::from(lacks_cpu(*on));
            no_memory += usize::from(lacks_memory(*on));
            // More than an empty node has: nobody's leaving helps.
            hopeless += usize::from(lacks_cpu(0) || lacks_memory(0));
        }
        let reasons = [
            (no_cpu, "Insufficient cpu"),
            (no_memory, "Insufficient memory"),
            (too_many, "Too many pods"),
        ];
        let no_help = "Preemption is not helpful for scheduling";
        let no_victims = "No preemption victims found for incoming pod";
        let preemption = [(all - hopeless, no_victims), (hopeless, no_help)];
        let nodes = format!("0/{all} nodes are available: ");
        format!("{nodes}{}. preemption: {nodes}{}.", counted(&reasons), counted(&preemption))
    }
}

/// Reasons with how many nodes have each, in order of their texts.
fn counted(reasons: &[(usize, &str)]) -> String {
    let mut texts: Vec<String> =
        reasons.iter().filter(|(n, _)| *n > 0).map(|(n, reason)| format!("{n} {reason}")).collect();
    texts.sort_unstable();
    texts.join(", ")
}

impl Scaler {
    fn new(spec: &ClusterAutoscaler, seed: u64) -> Self {
        let mut chance = Stream::new(seed, "cluster-autoscaler");
        let interval = Nanos(spec.scan_interval.0.max(1));
        let phase = Nanos(chance.below(interval.0));
        Self {
            most: spec.max_nodes_total,
            interval,
            provision: spec.provision_time.clone(),
            chance,
            looks_at: Timestamp::ZERO + phase,
            coming: BTreeSet::new(),
            asked: 0,
        }
    }

    /// The next look is in the future.
    fn wake(&mut self, now: Timestamp) {
        if self.looks_at < now {
            let missed = now.since(self.looks_at).0.div_ceil(self.interval.0);
            self.looks_at = self.looks_at + Nanos(missed.saturating_mul(self.interval.0));
        }
    }

    /// Asks for as many nodes as those that wait need beyond those that are coming.
    fn look(&mut self, now: Timestamp, waiting: u32, room: u32, asked: u32) {
        self.looks_at = now + self.interval;
        if room == 0 {
            return;
        }
        let needed = waiting.div_ceil(room).saturating_sub(self.coming.len() as u32);
        for _ in 0..needed.min(self.most.saturating_sub(asked)) {
            let takes = self.provision.sample(&mut self.chance);
            self.asked += 1;
            self.coming.insert((now + takes, self.asked));
        }
    }
}

#[cfg(test)]
mod tests;
