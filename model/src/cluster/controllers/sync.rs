//! One sync of each controller, with what its writes queue.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{Controllers, Write};
use crate::{
    cluster::{
        deployment::{Change, Look, ReplicaSet},
        replicaset::{self, Difference, Phase, Pod},
        whole_second,
    },
    time::Timestamp,
};

/// How often in a row a sync that fails is tried again. *Source*: `maxRetries`.
const RETRIES_MAX: u32 = 15;

impl Controllers {
    pub(super) fn sync_deployment(&mut self, now: Timestamp, writes: &mut Vec<Write>) {
        let mut changes = Vec::new();
        let unfinished: BTreeSet<u32> = self
            .pods
            .iter()
            .filter(|pod| pod.phase != Phase::Failed && self.owner(pod).is_some())
            .map(|pod| pod.template)
            .collect();
        let has_other_pods = |new: Option<u32>| unfinished.iter().any(|&set| Some(set) != new);
        let look = self.deployment.sync(now, &has_other_pods, &mut changes);
        for change in changes {
            self.deployment_queue.add(());
            match change {
                Change::Created { template, .. }
                | Change::Scaled { template, .. }
                | Change::Annotated { template }
                | Change::Removed { template } => self.set_queue.add(template),
                Change::Status => {}
            }
            self.take();
            writes.push(Write::Deployment(change));
        }
        match look {
            Look::Conflict if self.deployment_queue.retries(()) < RETRIES_MAX => {
                self.deployment_queue.retry(now, ());
            }
            Look::Soon => {
                self.deployment_queue.retry(now, ());
                self.deployment_queue.forget(());
            }
            Look::After(wait) => {
                self.deployment_queue.add_after(now, (), wait);
                self.deployment_queue.forget(());
            }
            Look::Never | Look::Conflict => self.deployment_queue.forget(()),
        }
        self.deployment_queue.done();
    }

    /// *Source*: `syncReplicaSet`. The status counts the pods as they were before this sync made
    /// or deleted some: the next one, which these cause, counts those.
    pub(super) fn sync_set(
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
            Some(Difference::Delete { victims, by_chance }) => {
                for pod in victims {
                    let is_gone = self.delete(now, pod);
                    self.take();
                    let shrink = set.shrink;
                    writes.push(Write::PodDeleted { pod, shrink, is_gone, by_chance });
                }
            }
            None => {}
        }
        if self.deployment.count(template, counts) {
            self.set_queue.add(template);
            self.deployment_queue.add(());
        }
        if let Some(at) = next_check {
            self.set_queue.add_after(now, template, at.since(now));
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
            set: set.id,
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
        self.set_queue.add(template);
        writes.push(Write::PodCreated { pod, template, number });
    }
}
