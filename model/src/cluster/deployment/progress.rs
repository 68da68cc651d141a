//! Status, completeness and the progress deadline.

use alloc::vec::Vec;

use super::{Change, Conflict, Counts, Deployment, Look};
use crate::{
    cluster::whole_second,
    time::{Nanos, Timestamp},
};

/// The deployment's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The generation that it belongs to.
    pub observed: u64,
    /// Pods that are not terminating.
    pub replicas: u32,
    /// Of these, of the wanted template.
    pub updated: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Of these, ready for long enough.
    pub available: u32,
    /// What the ReplicaSets lack of their sizes.
    pub unavailable: u32,
    /// Being deleted.
    pub terminating: u32,
    /// Condition `Available`: whether as many are available as the strategy asks for. `None` before
    /// the first count.
    pub minimum: Option<bool>,
    /// Condition `Progressing`.
    pub progress: Option<Progress>,
}

/// The condition `Progressing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its reason.
    pub reason: Reason,
    /// When it was last written, in whole seconds.
    pub updated: Timestamp,
}

/// Reason of the condition `Progressing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `NewReplicaSetCreated`.
    Created,
    /// `FoundNewReplicaSet`.
    FoundNew,
    /// `ReplicaSetUpdated`: there was progress.
    Updated,
    /// `NewReplicaSetAvailable`: complete.
    Available,
    /// `ProgressDeadlineExceeded`.
    TimedOut,
    /// `DeploymentPaused`.
    Paused,
    /// `DeploymentResumed`.
    Resumed,
}

/// How long after the deadline the controller looks, and the nearest that it plans a look.
const LOOK_AGAIN: Nanos = Nanos::from_secs(1);

impl Deployment {
    /// Whether a status is that of a finished rollout. Old pods may still be terminating.
    ///
    /// *Source*: `deployment_util.go`, `DeploymentComplete`.
    pub fn is_complete(&self, status: &Status) -> bool {
        let wanted = self.wanted.replicas;
        (status.updated, status.replicas, status.available) == (wanted, wanted, wanted)
            && status.observed >= self.generation
    }

    /// *Source*: `sync.go`, `calculateStatus`.
    fn calculate_status(&self) -> Status {
        let sum =
            |count: fn(&Counts) -> u32| self.sets.iter().map(|set| count(&set.status)).sum::<u32>();
        let available = sum(|c| c.available);
        Status {
            observed: self.generation,
            replicas: sum(|c| c.replicas),
            updated: self.set(self.wanted.template).map_or(0, |set| set.status.replicas),
            ready: sum(|c| c.ready),
            available,
            unavailable: self.seen.saturating_sub(available),
            terminating: sum(|c| c.terminating),
            minimum: Some(available >= self.wanted.min_available()),
            progress: self.status.progress,
        }
    }

    /// *Source*: `sync.go`, `syncDeploymentStatus`.
    pub(super) fn sync_status(&mut self, changes: &mut Vec<Change>) -> Result<(), Conflict> {
        let status = self.calculate_status();
        self.write(status, changes).map(drop)
    }

    /// Writes the status with the progress that it shows. Returns whether to look again.
    ///
    /// *Source*: `progress.go`, `syncRolloutStatus`.
    pub(super) fn sync_rollout_status(
        &mut self,
        now: Timestamp,
        changes: &mut Vec<Change>,
    ) -> Result<Look, Conflict> {
        let (old, mut status) = (self.status, self.calculate_status());
        let reason = old.progress.map(|progress| progress.reason);
        let was_complete = status.replicas == status.updated && reason == Some(Reason::Available);
        if self.wanted.progress_deadline.is_none() {
            status.progress = None;
        } else if !was_complete {
            let updated = whole_second(now);
            if self.is_complete(&status) {
                status.progress = changed(status.progress, Reason::Available, updated);
            } else if is_progressing(&old, &status) {
                let reason = Reason::Updated;
                status.progress = Some(Progress { reason, updated });
            } else if self.is_timed_out(&status, now) {
                status.progress = changed(status.progress, Reason::TimedOut, updated);
            }
        }
        Ok(if self.write(status, changes)? { Look::Never } else { self.next_look(now) })
    }

    /// Returns whether that is a change.
    fn write(&mut self, status: Status, changes: &mut Vec<Change>) -> Result<bool, Conflict> {
        if status == self.status {
            return Ok(false);
        }
        if self.is_stale {
            return Err(Conflict);
        }
        self.status = status;
        changes.push(Change::Status);
        Ok(true)
    }

    pub(super) fn set_progress(&mut self, reason: Reason, now: Timestamp) {
        self.status.progress = changed(self.status.progress, reason, whole_second(now));
    }

    /// *Source*: `sync.go`, `checkPausedConditions`: the deadline does not run while paused.
    pub(super) fn note_pause(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        let reason = self.status.progress.map(|progress| progress.reason);
        if self.wanted.progress_deadline.is_none() || reason == Some(Reason::TimedOut) {
            return;
        }
        match (self.wanted.paused, reason == Some(Reason::Paused)) {
            (true, false) => self.set_progress(Reason::Paused, now),
            (false, true) => self.set_progress(Reason::Resumed, now),
            _ => return,
        }
        self.write_early(changes);
    }

    /// *Source*: `deployment_util.go`, `DeploymentTimedOut`.
    fn is_timed_out(&self, status: &Status, now: Timestamp) -> bool {
        let (Some(deadline), Some(progress)) = (self.wanted.progress_deadline, status.progress)
        else {
            return false;
        };
        match progress.reason {
            Reason::Available => false,
            Reason::TimedOut => true,
            _ => progress.updated + deadline < now,
        }
    }

    /// *Source*: `progress.go`, `requeueStuckDeployment`.
    fn next_look(&self, now: Timestamp) -> Look {
        let (Some(deadline), Some(progress)) =
            (self.wanted.progress_deadline, self.status.progress)
        else {
            return Look::Never;
        };
        if self.is_complete(&self.status) || progress.reason == Reason::TimedOut {
            return Look::Never;
        }
        let left = (progress.updated + deadline).since(now);
        if left < LOOK_AGAIN { Look::Soon } else { Look::After(left + LOOK_AGAIN) }
    }
}

/// A condition is written again only if its reason changes. *Source*: `SetDeploymentCondition`.
fn changed(progress: Option<Progress>, reason: Reason, updated: Timestamp) -> Option<Progress> {
    match progress {
        Some(same) if same.reason == reason => Some(same),
        _ => Some(Progress { reason, updated }),
    }
}

/// *Source*: `deployment_util.go`, `DeploymentProgressing`.
fn is_progressing(old: &Status, new: &Status) -> bool {
    let outdated = |status: &Status| i64::from(status.replicas) - i64::from(status.updated);
    new.updated > old.updated
        || outdated(new) < outdated(old)
        || new.ready > old.ready
        || new.available > old.available
}
