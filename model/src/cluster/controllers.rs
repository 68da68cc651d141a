//! The API server's objects with the Deployment and ReplicaSet controllers that work on them.
//!
//! As in the oracle: the controllers sync one at a time, each to its end, and see every write at
//! once. The Deployment controller goes first.
//!
//! *Source* of the handlers, which decide who syncs after which change: Kubernetes v1.35,
//! `deployment_controller.go` and `replica_set.go`.

mod sync;

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    deployment::{Change, Deployment, ReplicaSet, Shrink, Wanted},
    queue::Queue,
    replicaset::{Phase, Pod},
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
        /// Whether a real cluster might as well have taken another one, though the pods differ.
        by_chance: bool,
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
    deployment_queue: Queue<()>,
    /// By template, which is what a ReplicaSet's name comes from.
    set_queue: Queue<u32>,
}

impl Controllers {
    /// A deployment that was just created.
    pub fn new(wanted: Wanted, turn: Turn) -> Self {
        let mut deployment_queue = Queue::new();
        deployment_queue.add(());
        Self {
            deployment: Deployment::new(wanted),
            pods: Vec::new(),
            pods_created: 0,
            numbers: BTreeMap::new(),
            turn,
            deployment_queue,
            set_queue: Queue::new(),
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
        if self.deployment.want(wanted) {
            self.deployment_queue.add(());
        }
    }

    /// Writes a pod: binding, phase, readiness, restarts. Its ReplicaSet syncs even if nothing of
    /// what is kept here changed, as with a status that tells of the crash of a container which was
    /// never ready. Gone ones are ignored.
    pub fn update(&mut self, now: Timestamp, pod: u32, change: impl FnOnce(&mut Pod)) {
        let Some(known) = self.pods.iter_mut().find(|known| known.pod == pod) else {
            return;
        };
        let before = known.clone();
        change(known);
        let turned_ready = before.ready.is_none() && known.ready.is_some();
        let is_up = turned_ready && !known.is_terminating;
        let Some(set) = self.owner(&before) else {
            return;
        };
        let (template, min_ready) = (set.template, u64::from(set.min_ready_seconds));
        self.set_queue.add(template);
        if is_up && min_ready > 0 {
            self.set_queue.add_after(now, template, Nanos::from_secs(min_ready));
        }
    }

    /// The ReplicaSet of a pod, if it still exists: one that was made anew for the same template
    /// is another one.
    fn owner(&self, pod: &Pod) -> Option<&ReplicaSet> {
        self.deployment.set(pod.template).filter(|set| set.id == pod.set)
    }

    /// Deletes a pod gracefully. Pods without a node and failed ones are gone at once: returns
    /// whether it was.
    ///
    /// *Source*: `pkg/registry/core/pod/strategy.go`, `CheckGracefulDelete`.
    pub fn delete(&mut self, now: Timestamp, pod: u32) -> bool {
        let is_gone =
            self.pod(pod).is_none_or(|pod| pod.node.is_none() || pod.phase == Phase::Failed);
        let is_terminating = self.pod(pod).is_some_and(|pod| pod.is_terminating);
        if is_gone {
            self.remove(pod);
        } else if !is_terminating {
            self.update(now, pod, |pod| pod.is_terminating = true);
        }
        is_gone
    }

    /// Removes a pod: it is gone.
    pub fn remove(&mut self, pod: u32) {
        let Some(place) = self.pods.iter().position(|known| known.pod == pod) else {
            return;
        };
        let pod = self.pods.remove(place);
        if self.owner(&pod).is_none() {
            return;
        }
        self.set_queue.add(pod.template);
        let is_last = !self.pods.iter().any(|other| self.owner(other).is_some());
        if is_last && !self.deployment.wanted().is_rolling() {
            self.deployment_queue.add(());
        }
    }

    /// Queues what time alone has made due.
    pub fn fire(&mut self, now: Timestamp) {
        self.deployment_queue.fire(now);
        self.set_queue.fire(now);
    }

    /// When something becomes due by the passing of time alone.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = [self.deployment_queue.next_deadline(), self.set_queue.next_deadline()];
        deadlines.into_iter().flatten().min()
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
            let (deployment, set) = self.take();
            let is_set_first = self.turn == Turn::ReplicaSetFirst && set.is_some();
            if deployment.is_some() && !is_set_first {
                self.sync_deployment(now, writes);
            } else if let Some(template) = set {
                self.sync_set(now, template, uid, writes);
                self.set_queue.done();
            } else {
                return;
            }
        }
        panic!("the controllers do not settle");
    }

    /// Lets idle workers take a key, as they do after each write. Returns what they have in hand.
    fn take(&mut self) -> (Option<()>, Option<u32>) {
        (self.deployment_queue.take(), self.set_queue.take())
    }
}

#[cfg(test)]
mod tests;
