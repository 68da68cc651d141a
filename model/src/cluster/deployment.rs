//! The Deployment controller: one sync over the deployment and its ReplicaSets.
//!
//! *Source*: Kubernetes v1.35, `pkg/controller/deployment/{deployment_controller,sync,rolling,recreate,progress}.go`
//! and `util/deployment_util.go`. Each function here names the one that it follows.
//!
//! 1. [`Deployment::sync`] decides which of scaling, rolling update and recreation it is
//! 2. `rolling.rs`: one step of a rolling update
//! 3. `scaling.rs`: a change of `spec.replicas`, in proportion where a rollout is under way
//! 4. `sets.rs`: how ReplicaSets are found, made, resized and removed
//! 5. `progress.rs`: status, completeness and the progress deadline

mod progress;
mod rolling;
mod scaling;
mod sets;

use alloc::vec::Vec;

pub use self::{
    progress::{Progress, Reason, Status},
    sets::{Counts, ReplicaSet, Shrink},
};
use crate::{
    spec::{self, Strategy, StrategyType},
    time::{Nanos, Timestamp},
};

/// What is wanted: the deployment's spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.strategy`.
    pub strategy: Strategy,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: u32,
    /// `spec.progressDeadlineSeconds`; `None` for no deadline.
    pub progress_deadline: Option<Nanos>,
    /// `spec.revisionHistoryLimit`.
    pub history_limit: u32,
    /// `spec.paused`.
    pub paused: bool,
    /// Identity of the pod template: equal numbers are equal templates, so that going back to an
    /// old one finds its ReplicaSet.
    pub template: u32,
    /// What decides between ReplicaSets that were made within the same second: upstream compares
    /// their names, which are hashes of the template. Equal ones go by template.
    pub name: u64,
}

/// `spec.revisionHistoryLimit` where none is given.
///
/// *Source*: `pkg/apis/apps/v1/defaults.go`.
pub const HISTORY_LIMIT: u32 = 10;

impl Wanted {
    /// What a scenario's deployment wants, with its first template.
    pub fn new(deployment: &spec::Deployment) -> Self {
        Self {
            replicas: deployment.replicas,
            strategy: deployment.strategy.clone(),
            min_ready_seconds: deployment.min_ready_seconds,
            progress_deadline: Some(Nanos::from_secs(u64::from(
                deployment.progress_deadline_seconds,
            ))),
            history_limit: HISTORY_LIMIT,
            paused: false,
            template: 1,
            name: 0,
        }
    }

    /// Whether pods are replaced step by step.
    pub fn is_rolling(&self) -> bool {
        self.strategy.kind == StrategyType::RollingUpdate
    }

    /// How many pods there may be above `replicas` now. *Source*: `MaxSurge`.
    pub fn max_surge(&self) -> u32 {
        if self.is_rolling() { self.strategy.fenceposts(self.replicas).0 } else { 0 }
    }

    /// How many pods may be unavailable now. *Source*: `MaxUnavailable`.
    pub fn max_unavailable(&self) -> u32 {
        if self.is_rolling() {
            self.strategy.fenceposts(self.replicas).1.min(self.replicas)
        } else {
            0
        }
    }

    /// How many pods must stay available in a rolling update.
    pub fn min_available(&self) -> u32 {
        self.replicas - self.max_unavailable()
    }
}

/// What a sync wrote.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A ReplicaSet was made, sized already.
    Created {
        /// Its template.
        template: u32,
        /// Its size.
        replicas: u32,
    },
    /// A ReplicaSet changed its size.
    Scaled {
        /// Its template.
        template: u32,
        /// Old size.
        from: u32,
        /// New size.
        to: u32,
    },
    /// Annotations or `minReadySeconds` of a ReplicaSet changed.
    Annotated {
        /// Its template.
        template: u32,
    },
    /// A ReplicaSet left the history.
    Removed {
        /// Its template.
        template: u32,
    },
    /// The deployment's status changed.
    Status,
}

/// What a sync asks for, besides the further syncs that its writes cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing.
    Never,
    /// Another sync soon: the progress deadline is less than a second away.
    Soon,
    /// Another sync after so long: the progress deadline has passed then.
    After(Nanos),
    /// Another sync soon: this one failed. It had written the deployment or a ReplicaSet, and then
    /// tried to write it again from its old copy.
    Conflict,
}

/// A second write of an object in one sync, which the API server refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Conflict;

/// The deployment with its ReplicaSets, as the API server has them.
#[derive(Clone, Debug)]
pub struct Deployment {
    wanted: Wanted,
    generation: u64,
    sets_made: u32,
    /// In order of creation.
    sets: Vec<ReplicaSet>,
    status: Status,
    /// Annotation `deployment.kubernetes.io/revision`.
    revision: u32,
    /// Whether this sync has written the deployment: its copy is old then, and a second write
    /// fails with a conflict, which ends it. The next sync, which the first write caused, makes up
    /// for it.
    is_stale: bool,
    /// The sum of the ReplicaSets' sizes in this sync's copies of them: what it scales itself
    /// counts from the next one on.
    seen: u32,
}

impl Deployment {
    /// A deployment without any ReplicaSet yet.
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            generation: 1,
            sets_made: 0,
            sets: Vec::new(),
            status: Status::default(),
            revision: 0,
            is_stale: false,
            seen: 0,
        }
    }

    /// What is wanted.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Wants something else. Returns whether that is a change.
    pub fn want(&mut self, wanted: Wanted) -> bool {
        let changed = wanted != self.wanted;
        if changed {
            self.wanted = wanted;
            self.generation += 1;
        }
        changed
    }

    /// The status as last written.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Annotation `deployment.kubernetes.io/revision`; 0 before the first.
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// The ReplicaSets in order of creation.
    pub fn sets(&self) -> &[ReplicaSet] {
        &self.sets
    }

    /// The ReplicaSet of a template.
    pub fn set(&self, template: u32) -> Option<&ReplicaSet> {
        self.sets.iter().find(|set| set.template == template)
    }

    /// Writes the status of a ReplicaSet. Returns whether it changed.
    ///
    /// *Source*: `pkg/controller/replicaset/replica_set_utils.go`, `updateReplicaSetStatus`.
    pub fn count(&mut self, template: u32, counts: Counts) -> bool {
        let set = self.sets.iter_mut().find(|set| set.template == template);
        let Some(set) = set else { return false };
        let changed = set.status != counts || set.observed != set.generation;
        set.status = counts;
        set.observed = set.generation;
        changed
    }

    /// One sync: reads what is, takes at most one step, and appends what it wrote. Returns what is
    /// to follow even if nothing happens until then.
    ///
    /// `has_other_pods` tells whether there is a pod of one of the ReplicaSets, terminating ones
    /// included, that has not finished and is not of this template (or any at all, for `None`).
    ///
    /// *Source*: `deployment_controller.go`, `syncDeployment`.
    pub fn sync(
        &mut self,
        now: Timestamp,
        has_other_pods: &dyn Fn(Option<u32>) -> bool,
        changes: &mut Vec<Change>,
    ) -> Look {
        self.is_stale = false;
        self.seen = self.total();
        self.step(now, has_other_pods, changes).unwrap_or(Look::Conflict)
    }

    fn step(
        &mut self,
        now: Timestamp,
        has_other_pods: &dyn Fn(Option<u32>) -> bool,
        changes: &mut Vec<Change>,
    ) -> Result<Look, Conflict> {
        self.note_pause(now, changes);
        if self.wanted.paused {
            self.sync_scaling(now, changes)?;
            return Ok(Look::Never);
        }
        let is_scaling = self.is_scaling_event(now, changes)?;
        if changes.iter().any(|change| matches!(change, Change::Annotated { .. })) {
            // Upstream goes on with its old copy of the ReplicaSet.
            return Err(Conflict);
        }
        if is_scaling {
            self.sync_scaling(now, changes)?;
            return Ok(Look::Never);
        }
        match self.wanted.strategy.kind {
            StrategyType::RollingUpdate => self.sync_rolling(now, changes),
            StrategyType::Recreate => self.sync_recreate(now, has_other_pods, changes),
        }
    }

    /// *Source*: `sync.go`, `isScalingEvent`.
    fn is_scaling_event(
        &mut self,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<bool, Conflict> {
        self.find_new(now, false, changes)?;
        let wanted = self.wanted.replicas;
        Ok(self.sets.iter().any(|set| set.replicas > 0 && set.desired != wanted))
    }
}

#[cfg(test)]
mod tests;
