//! A change of `spec.replicas`.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Change, Conflict, Deployment, Shrink};
use crate::time::Timestamp;

impl Deployment {
    /// A sync that only scales: rollouts wait for the next one.
    ///
    /// *Source*: `sync.go`, `sync`.
    pub(super) fn sync_scaling(
        &mut self,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<(), Conflict> {
        let new = self.find_new(now, false, changes)?;
        let as_read = self.wanted.paused.then(|| self.sets.clone());
        self.scale(new, changes);
        if as_read.is_some() {
            self.clean_history(as_read.as_deref(), changes);
        }
        self.sync_status(changes)
    }

    /// *Source*: `sync.go`, `scale`.
    fn scale(&mut self, new: Option<usize>, changes: &mut Vec<Change>) {
        let wanted = self.wanted.replicas;
        let active: Vec<usize> =
            (0..self.sets.len()).filter(|&i| self.sets[i].replicas > 0).collect();
        match active.as_slice() {
            [] => {
                if let Some(only) = new.or(self.sets.len().checked_sub(1)) {
                    self.resize(only, wanted, Shrink::Scaling, false, changes);
                }
            }
            &[only] => {
                self.resize(only, wanted, Shrink::Scaling, false, changes);
            }
            _ if new.is_some_and(|new| self.is_saturated(new)) => {
                for &i in active.iter().filter(|&&i| Some(i) != new) {
                    self.resize(i, 0, Shrink::Rollout, false, changes);
                }
            }
            _ if self.wanted.is_rolling() => self.scale_in_proportion(active, changes),
            _ => {}
        }
    }

    /// *Source*: `deployment_util.go`, `IsSaturated`.
    fn is_saturated(&self, new: usize) -> bool {
        let (set, wanted) = (&self.sets[new], self.wanted.replicas);
        set.replicas == wanted && set.desired == wanted && set.status.available == wanted
    }

    /// Every active ReplicaSet gets its share of what comes or goes, so that a change in the
    /// middle of a rollout keeps the mix of versions. What rounding leaves goes to the largest.
    fn scale_in_proportion(&mut self, mut active: Vec<usize>, changes: &mut Vec<Change>) {
        let wanted = self.wanted.replicas;
        let allowed =
            if wanted > 0 { i64::from(wanted) + i64::from(self.wanted.max_surge()) } else { 0 };
        let to_add = allowed - i64::from(self.total());
        let size = |i: usize| self.sets[i].replicas;
        if to_add > 0 {
            active.sort_by_key(|&i| (Reverse(size(i)), Reverse(i)));
        } else if to_add < 0 {
            active.sort_by_key(|&i| (Reverse(size(i)), i));
        }
        let mut added = 0;
        let mut sizes: Vec<(usize, i64)> = Vec::new();
        for i in active {
            let share = self.share(i, to_add, added);
            added += share;
            sizes.push((i, i64::from(size(i)) + share));
        }
        if let Some((_, largest)) = sizes.first_mut() {
            *largest = (*largest + to_add - added).max(0);
        }
        for (i, size) in sizes {
            let size = u32::try_from(size).expect("a share is bounded by what is allowed");
            self.resize(i, size, Shrink::Scaling, true, changes);
        }
    }

    /// *Source*: `deployment_util.go`, `GetReplicaSetProportion`, `getReplicaSetFraction`.
    fn share(&self, index: usize, to_add: i64, added: i64) -> i64 {
        let set = &self.sets[index];
        let size = i64::from(set.replicas);
        let left = to_add - added;
        if size == 0 || left == 0 || to_add == 0 {
            return 0;
        }
        let most = i64::from(self.wanted.replicas) + i64::from(self.wanted.max_surge());
        let before = match set.max {
            0 => i64::from(self.status.replicas),
            max => i64::from(max),
        };
        let fraction = match (self.wanted.replicas, before) {
            (0, _) => -size,
            (_, 0) => 0,
            _ => {
                // As upstream: in floating point, half up. Both factors are below 2^31.
                let exact = (size * most) as f64 / before as f64;
                (exact + 0.5) as i64 - size
            }
        };
        if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
    }
}
