//! How ReplicaSets are found, made, resized and removed.

use alloc::vec::Vec;

use super::{Change, Conflict, Deployment, Reason};
use crate::{cluster::whole_second, time::Timestamp};

/// Pods of a ReplicaSet as its controller last counted them (`status`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Not terminating.
    pub replicas: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Of these, ready for long enough.
    pub available: u32,
    /// Being deleted.
    pub terminating: u32,
}

/// Why a ReplicaSet was last made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shrink {
    /// A rollout replaces its pods.
    #[default]
    Rollout,
    /// Fewer pods are wanted.
    Scaling,
}

/// A ReplicaSet.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaSet {
    /// Its number, ascending from 1 in order of creation: never given again, unlike its template.
    pub id: u32,
    /// Identity of its pod template.
    pub template: u32,
    /// The [`name`](super::Wanted::name) that it was made with.
    pub name: u64,
    /// When it was made, in whole seconds.
    pub created: Timestamp,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: u32,
    /// Annotation `deployment.kubernetes.io/revision`.
    pub revision: u32,
    /// Annotation `deployment.kubernetes.io/desired-replicas`.
    pub desired: u32,
    /// Annotation `deployment.kubernetes.io/max-replicas`.
    pub max: u32,
    /// Counts changes of the spec.
    pub generation: u64,
    /// The generation that `status` belongs to.
    pub observed: u64,
    /// Its pods as last counted.
    pub status: Counts,
    /// Why it was last made smaller.
    pub shrink: Shrink,
}

impl Deployment {
    /// The new ReplicaSet, with its revision brought up to date; made, already as large as the
    /// surge allows, if there is none and `create` is set.
    ///
    /// *Source*: `sync.go`, `getAllReplicaSetsAndSyncRevision`, `getNewReplicaSet`.
    pub(super) fn find_new(
        &mut self,
        now: Timestamp,
        create: bool,
        changes: &mut Vec<Change>,
    ) -> Result<Option<usize>, Conflict> {
        let template = self.wanted.template;
        let is_old = |set: &&ReplicaSet| set.template != template;
        let revision =
            1 + self.sets.iter().filter(is_old).map(|set| set.revision).max().unwrap_or(0);
        if let Some(new) = self.sets.iter().position(|set| set.template == template) {
            let min_ready_seconds = self.wanted.min_ready_seconds;
            let set = &mut self.sets[new];
            let is_resized = set.min_ready_seconds != min_ready_seconds;
            if set.revision < revision || is_resized {
                set.revision = set.revision.max(revision);
                set.min_ready_seconds = min_ready_seconds;
                set.generation += u64::from(is_resized);
                changes.push(Change::Annotated { template });
                return Ok(Some(new));
            }
            let revision = set.revision;
            let is_first =
                self.wanted.progress_deadline.is_some() && self.status.progress.is_none();
            self.note_revision(revision, is_first.then_some(Reason::FoundNew), now, changes)?;
            return Ok(Some(new));
        }
        if !create {
            return Ok(None);
        }
        let new = self.create_new(now, revision, changes);
        let reason = self.wanted.progress_deadline.map(|_| Reason::Created);
        self.note_revision(revision, reason, now, changes)?;
        Ok(Some(new))
    }

    /// Writes the new ReplicaSet's revision and, if there is one, the reason of its progress into
    /// the deployment.
    fn note_revision(
        &mut self,
        revision: u32,
        reason: Option<Reason>,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<(), Conflict> {
        if self.revision == revision && reason.is_none() {
            return Ok(());
        }
        if self.is_stale {
            return Err(Conflict);
        }
        self.revision = revision;
        if let Some(reason) = reason {
            self.set_progress(reason, now);
        }
        self.write_early(changes);
        Ok(())
    }

    fn create_new(&mut self, now: Timestamp, revision: u32, changes: &mut Vec<Change>) -> usize {
        let (template, replicas) = (self.wanted.template, self.new_size(0));
        self.sets_made += 1;
        self.seen += replicas;
        let id = self.sets_made;
        self.sets.push(ReplicaSet {
            id,
            template,
            name: self.wanted.name,
            created: whole_second(now),
            replicas,
            min_ready_seconds: self.wanted.min_ready_seconds,
            revision,
            desired: self.wanted.replicas,
            max: self.wanted.replicas + self.wanted.max_surge(),
            generation: 1,
            observed: 0,
            status: Counts::default(),
            shrink: Shrink::default(),
        });
        self.sets.sort_by_key(|set| (set.created, set.name, set.template));
        changes.push(Change::Created { template, replicas });
        self.sets.iter().position(|set| set.id == id).expect("the set was just pushed")
    }

    /// Writes the deployment before the end of the sync.
    pub(super) fn write_early(&mut self, changes: &mut Vec<Change>) {
        self.is_stale = true;
        changes.push(Change::Status);
    }

    /// How large the new ReplicaSet may be, if it has `size` now.
    ///
    /// *Source*: `deployment_util.go`, `NewRSNewReplicas`.
    pub(super) fn new_size(&self, size: u32) -> u32 {
        if !self.wanted.is_rolling() {
            return self.wanted.replicas;
        }
        let most = self.wanted.replicas + self.wanted.max_surge();
        let room = most.saturating_sub(self.total());
        size + room.min(self.wanted.replicas.saturating_sub(size))
    }

    /// Sum of the ReplicaSets' sizes. Terminating pods count nowhere.
    pub(super) fn total(&self) -> u32 {
        self.sets.iter().map(|set| set.replicas).sum()
    }

    /// Gives a ReplicaSet a size. With `annotate`, its annotations are brought up to date even
    /// where the size stays. Returns whether the size changed.
    ///
    /// *Source*: `sync.go`, `scaleReplicaSetAndRecordEvent` and (with `annotate`)
    /// `scaleReplicaSet`.
    pub(super) fn resize(
        &mut self,
        index: usize,
        to: u32,
        shrink: Shrink,
        annotate: bool,
        changes: &mut Vec<Change>,
    ) -> bool {
        let (desired, max) = (self.wanted.replicas, self.wanted.replicas + self.wanted.max_surge());
        let set = &mut self.sets[index];
        let (template, from) = (set.template, set.replicas);
        if from == to && (!annotate || (set.desired, set.max) == (desired, max)) {
            return false;
        }
        (set.replicas, set.desired, set.max) = (to, desired, max);
        if from == to {
            changes.push(Change::Annotated { template });
            return false;
        }
        set.generation += 1;
        if to < from {
            set.shrink = shrink;
        }
        changes.push(Change::Scaled { template, from, to });
        true
    }

    /// Removes the oldest revisions without pods above the limit. Upstream goes by the ReplicaSets as
    /// it read them at the beginning of its sync, `as_read` if that is not as they are: where it is
    /// paused, it removes one that it has just scaled up.
    ///
    /// *Source*: `sync.go`, `cleanupDeployment`.
    pub(super) fn clean_history(
        &mut self,
        as_read: Option<&[ReplicaSet]>,
        changes: &mut Vec<Change>,
    ) {
        let mut old: Vec<(u32, u32)> = self
            .sets
            .iter()
            .filter(|set| set.template != self.wanted.template)
            .map(|set| (set.revision, set.template))
            .collect();
        let excess = old
            .len()
            .saturating_sub(usize::try_from(self.wanted.history_limit).unwrap_or(usize::MAX));
        old.sort_unstable();
        for (_, template) in old.into_iter().take(excess) {
            let is_empty = |set: &ReplicaSet| {
                set.replicas == 0 && set.status.replicas == 0 && set.generation <= set.observed
            };
            let mut sets = as_read.unwrap_or(&self.sets).iter();
            if sets.find(|set| set.template == template).is_some_and(is_empty) {
                self.sets.retain(|set| set.template != template);
                changes.push(Change::Removed { template });
            }
        }
    }
}
