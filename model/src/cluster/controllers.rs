//! The API server's objects with the Deployment and ReplicaSet controllers that work on them.
//!
//! As in the oracle: the controllers sync one at a time, each to its end, and see every write at
//! once. The Deployment controller goes first.
//!
//! *Source* of the handlers, which decide who syncs after which change: Kubernetes v1.35,
//! `deployment_controller.go` and `replica_set.go`.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};

use super::{
    deployment::{Change, Deployment, ReplicaSet, Shrink, Wanted},
    replicaset::{self, Difference, Phase, Pod},
    whole_second,
};
use crate::time::{Nanos, Timestamp};

/// What the controllers wrote.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// The Deployment controller's writes.
    Deployment(Change),
    /// A pod was made.
    PodCreated {
        /// The pod.
        pod: u32,
        /// Its template.
        template: u32,
        /// Its place among all pods ever made of its template, from 1.
        number: u32,
    },
    /// A ReplicaSet deletes a pod.
    PodDeleted {
        /// The pod.
        pod: u32,
        /// Why its ReplicaSet is smaller.
        shrink: Shrink,
        /// Whether it is gone with that, as pods without a node are.
        is_gone: bool,
    },
}

/// The order in which controllers with work get their turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// The Deployment controller first.
    #[default]
    DeploymentFirst,
    /// The ReplicaSet controller first.
    ReplicaSetFirst,
}

/// How many syncs an instant may need, before something is wrong: far above what 500 pods and
/// hundreds of revisions take.
const SYNCS_MAX: u32 = 1_000_000;

/// Deployment, ReplicaSets and pods as the API server has them, with their controllers.
#[derive(Clone, Debug)]
pub struct Controllers {
    deployment: Deployment,
    /// In order of creation.
    pods: Vec<Pod>,
    pods_created: u32,
    /// Pods ever made, by template.
    numbers: BTreeMap<u32, u32>,
    turn: Turn,
    deployment_queued: bool,
    sets_queued: VecDeque<u32>,
    deployment_timer: Option<Timestamp>,
    set_timers: BTreeMap<u32, Timestamp>,
}

impl Controllers {
    /// A deployment that was just created.
    pub fn new(wanted: Wanted, turn: Turn) -> Self {
        Self {
            deployment: Deployment::new(wanted),
            pods: Vec::new(),
            pods_created: 0,
            numbers: BTreeMap::new(),
            turn,
            deployment_queued: true,
            sets_queued: VecDeque::new(),
            deployment_timer: None,
            set_timers: BTreeMap::new(),
        }
    }

    /// The deployment.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The pods in order of creation.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// A pod, if it is not gone.
    pub fn pod(&self, pod: u32) -> Option<&Pod> {
        self.pods.iter().find(|known| known.pod == pod)
    }

    /// Changes the deployment's spec.
    pub fn want(&mut self, wanted: Wanted) {
        self.deployment_queued |= self.deployment.want(wanted);
    }

    /// Changes a pod: binding, phase, readiness, restarts. Gone ones are ignored.
    pub fn update(&mut self, now: Timestamp, pod: u32, change: impl FnOnce(&mut Pod)) {
        let Some(known) = self.pods.iter_mut().find(|known| known.pod == pod) else {
            return;
        };
        let before = known.clone();
        change(known);
        if *known == before {
            return;
        }
        let (template, turned_ready) = (
            known.template,
            before.ready.is_none() && known.ready.is_some() && !known.is_terminating,
        );
        self.queue_set(template);
        let min_ready = self.deployment.set(template).map_or(0, |set| set.min_ready_seconds);
        if turned_ready && min_ready > 0 {
            self.plan(template, now + Nanos::from_secs(u64::from(min_ready)));
        }
    }

    /// Deletes a pod gracefully. Pods without a node and failed ones are gone at once: returns
    /// whether it was.
    ///
    /// *Source*: `pkg/registry/core/pod/strategy.go`, `CheckGracefulDelete`.
    pub fn delete(&mut self, now: Timestamp, pod: u32) -> bool {
        let is_gone =
            self.pod(pod).is_none_or(|pod| pod.node.is_none() || pod.phase == Phase::Failed);
        if is_gone {
            self.remove(pod);
        } else {
            self.update(now, pod, |pod| pod.is_terminating = true);
        }
        is_gone
    }

    /// Removes a pod: it is gone.
    pub fn remove(&mut self, pod: u32) {
        let Some(place) = self.pods.iter().position(|known| known.pod == pod) else {
            return;
        };
        let template = self.pods.remove(place).template;
        self.queue_set(template);
        if !self.deployment.wanted().is_rolling() && self.pods.is_empty() {
            self.deployment_queued = true;
        }
    }

    /// Queues what time alone has made due.
    pub fn fire(&mut self, now: Timestamp) {
        if self.deployment_timer.is_some_and(|at| at <= now) {
            self.deployment_timer = None;
            self.deployment_queued = true;
        }
        let due: Vec<u32> = self
            .set_timers
            .iter()
            .filter(|&(_, &at)| at <= now)
            .map(|(&template, _)| template)
            .collect();
        for template in due {
            self.set_timers.remove(&template);
            self.queue_set(template);
        }
    }

    /// When something becomes due by the passing of time alone.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.set_timers.values().copied().chain(self.deployment_timer).min()
    }

    /// Lets the controllers work until they find nothing more to do. New pods get their UID from
    /// `uid`, which is told template and number.
    pub fn settle(
        &mut self,
        now: Timestamp,
        uid: &mut dyn FnMut(u32, u32) -> u64,
        writes: &mut Vec<Write>,
    ) {
        for _ in 0..SYNCS_MAX {
            let set_first = self.turn == Turn::ReplicaSetFirst && !self.sets_queued.is_empty();
            if self.deployment_queued && !set_first {
                self.sync_deployment(now, writes);
            } else if let Some(template) = self.sets_queued.pop_front() {
                self.sync_set(now, template, uid, writes);
            } else {
                return;
            }
        }
        panic!("the controllers do not settle");
    }

    fn sync_deployment(&mut self, now: Timestamp, writes: &mut Vec<Write>) {
        self.deployment_queued = false;
        let mut changes = Vec::new();
        let pods = &self.pods;
        let has_other_pods = |template: Option<u32>| {
            pods.iter().any(|pod| Some(pod.template) != template && pod.phase != Phase::Failed)
        };
        let look = self.deployment.sync(now, &has_other_pods, &mut changes);
        if let Some(at) = look {
            self.deployment_timer = Some(self.deployment_timer.map_or(at, |old| old.min(at)));
        }
        for change in changes {
            self.deployment_queued = true;
            match change {
                Change::Created { template, .. }
                | Change::Scaled { template, .. }
                | Change::Annotated { template } => self.queue_set(template),
                Change::Removed { .. } | Change::Status => {}
            }
            writes.push(Write::Deployment(change));
        }
    }

    /// *Source*: `syncReplicaSet`. The status counts the pods as they were before this sync made
    /// or deleted some: the next one, which these cause, counts those.
    fn sync_set(
        &mut self,
        now: Timestamp,
        template: u32,
        uid: &mut dyn FnMut(u32, u32) -> u64,
        writes: &mut Vec<Write>,
    ) {
        let Some(set) = self.deployment.set(template).cloned() else {
            return;
        };
        let counts = replicaset::count(&set, &self.pods, now);
        let next_check = replicaset::next_check(&set, &self.pods, now);
        match replicaset::difference(&set, &self.pods, now) {
            Some(Difference::Create(count)) => {
                for _ in 0..count {
                    self.create(now, &set, uid, writes);
                }
            }
            Some(Difference::Delete(victims)) => {
                for pod in victims {
                    let is_gone = self.delete(now, pod);
                    let shrink = set.shrink;
                    writes.push(Write::PodDeleted { pod, shrink, is_gone });
                }
            }
            None => {}
        }
        if self.deployment.count(template, counts) {
            self.queue_set(template);
            self.deployment_queued = true;
        }
        if let Some(at) = next_check {
            self.plan(template, at);
        }
    }

    fn create(
        &mut self,
        now: Timestamp,
        set: &ReplicaSet,
        uid: &mut dyn FnMut(u32, u32) -> u64,
        writes: &mut Vec<Write>,
    ) {
        let number = self.numbers.entry(set.template).or_default();
        *number += 1;
        let (pod, template, number) = (self.pods_created, set.template, *number);
        self.pods_created += 1;
        self.pods.push(Pod {
            pod,
            template,
            number,
            uid: uid(template, number),
            created: whole_second(now),
            node: None,
            phase: Phase::Pending,
            ready: None,
            restarts: 0,
            deletion_cost: 0,
            is_terminating: false,
        });
        self.queue_set(template);
        writes.push(Write::PodCreated { pod, template, number });
    }

    fn queue_set(&mut self, template: u32) {
        if !self.sets_queued.contains(&template) {
            self.sets_queued.push_back(template);
        }
    }

    fn plan(&mut self, template: u32, at: Timestamp) {
        let timer = self.set_timers.entry(template).or_insert(at);
        *timer = at.min(*timer);
    }
}

#[cfg(test)]
mod tests;
