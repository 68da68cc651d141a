//! One step of a rollout: rolling update and recreation.

use alloc::vec::Vec;

use super::{Change, Conflict, Deployment, Look, Shrink};
use crate::time::Timestamp;

impl Deployment {
    /// *Source*: `rolling.go`, `rolloutRolling`.
    pub(super) fn sync_rolling(
        &mut self,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<Look, Conflict> {
        let new = self.find_new(now, true, changes)?.expect("a missing ReplicaSet is made");
        if !self.reconcile_new(new, changes)
            && !self.reconcile_old(new, changes)
            && self.is_complete(&self.status)
        {
            self.clean_history(None, changes);
        }
        self.sync_rollout_status(now, changes)
    }

    /// Brings the new ReplicaSet towards the wanted size. *Source*: `reconcileNewReplicaSet`.
    fn reconcile_new(&mut self, new: usize, changes: &mut Vec<Change>) -> bool {
        let (size, wanted) = (self.sets[new].replicas, self.wanted.replicas);
        let to = if size > wanted { wanted } else { self.new_size(size) };
        size != wanted && self.resize(new, to, Shrink::Scaling, false, changes)
    }

    /// Makes old ReplicaSets smaller as far as availability allows. Pods of the new one that are
    /// not available yet hold it back, so a rollout that crashes does not eat the old capacity.
    ///
    /// *Source*: `reconcileOldReplicaSets`.
    fn reconcile_old(&mut self, new: usize, changes: &mut Vec<Change>) -> bool {
        let old: Vec<usize> =
            (0..self.sets.len()).filter(|&i| i != new && self.sets[i].replicas > 0).collect();
        if old.is_empty() {
            return false;
        }
        let min_available = i64::from(self.wanted.min_available());
        let newest = &self.sets[new];
        let new_unavailable = i64::from(newest.replicas) - i64::from(newest.status.available);
        let most = i64::from(self.total()) - min_available - new_unavailable;
        if most <= 0 {
            return false;
        }
        let Some(cleaned) = self.clean_unhealthy(&old, most, changes) else {
            return false;
        };
        let available = |&i: &usize| i64::from(self.sets[i].status.available);
        let surplus = old.iter().map(available).sum::<i64>() + available(&new) - min_available;
        let mut left = surplus.max(0);
        for &i in &old {
            let size = self.sets[i].replicas;
            let down = u32::try_from(left.min(i64::from(size))).expect("is between 0 and a size");
            if down > 0 {
                self.resize(i, size - down, Shrink::Rollout, false, changes);
                left -= i64::from(down);
            }
        }
        cleaned + surplus.max(0) - left > 0
    }

    /// Takes pods that are not available from the old ReplicaSets, the oldest first. `None` where
    /// upstream gives up with an error: more pods are counted as available than the set wants.
    ///
    /// *Source*: `cleanupUnhealthyReplicas`.
    fn clean_unhealthy(
        &mut self,
        old: &[usize],
        most: i64,
        changes: &mut Vec<Change>,
    ) -> Option<i64> {
        let mut done = 0;
        for &i in old {
            if done >= most {
                break;
            }
            let set = &self.sets[i];
            let unavailable = i64::from(set.replicas) - i64::from(set.status.available);
            if set.replicas == 0 || unavailable == 0 {
                continue;
            }
            let down = unavailable.min(most - done);
            let to = u32::try_from(i64::from(set.replicas) - down).ok()?;
            if to > set.replicas {
                return None;
            }
            self.resize(i, to, Shrink::Rollout, false, changes);
            done += down;
        }
        Some(done)
    }

    /// *Source*: `recreate.go`, `rolloutRecreate`.
    pub(super) fn sync_recreate(
        &mut self,
        now: Timestamp,
        has_other_pods: &dyn Fn(Option<u32>) -> bool,
        changes: &mut Vec<Change>,
    ) -> Result<Look, Conflict> {
        let new = self.find_new(now, false, changes)?;
        let mut is_scaled = false;
        for i in (0..self.sets.len()).filter(|&i| Some(i) != new) {
            is_scaled |= self.resize(i, 0, Shrink::Rollout, false, changes);
        }
        if is_scaled || self.has_old_pods(new, has_other_pods) {
            return self.sync_rollout_status(now, changes);
        }
        let new = self.find_new(now, true, changes)?.expect("a missing ReplicaSet is made");
        self.resize(new, self.wanted.replicas, Shrink::Scaling, false, changes);
        if self.is_complete(&self.status) {
            self.clean_history(None, changes);
        }
        self.sync_rollout_status(now, changes)
    }

    /// *Source*: `recreate.go`, `oldPodsRunning`: terminating pods count, unlike in a rolling
    /// update.
    fn has_old_pods(
        &self,
        new: Option<usize>,
        has_other_pods: &dyn Fn(Option<u32>) -> bool,
    ) -> bool {
        let counted = (0..self.sets.len())
            .filter(|&i| Some(i) != new)
            .any(|i| self.sets[i].status.replicas > 0);
        counted || has_other_pods(new.map(|i| self.sets[i].template))
    }
}
