//! The Deployment and its ReplicaSets: numbers, sizes, rollouts.

use std::collections::BTreeMap;

use highwater_model::{
    event::{DeleteReason, EventKind, Source},
    time::Timestamp,
};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Scribe, news::Seen, time::Clock};

/// Where the Deployment controller writes a revision.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// The Deployment's numbers and the sizes of its ReplicaSets.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    name: String,
    deployment: Option<DeploymentState>,
    sets: BTreeMap<String, SetState>,
    /// The newest revision that was seen; 0 before the first.
    newest: u32,
    is_rolling_out: bool,
    has_timed_out: bool,
    told: Option<Numbers>,
}

/// The Deployment as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentState {
    /// `spec.replicas`.
    pub desired: u32,
    /// Pods that are not terminating.
    pub current: u32,
    /// Of these, of the newest revision.
    pub updated: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Of these, available.
    pub available: u32,
    /// Pods on their way out; `None` if this cluster does not count them (before 1.35).
    pub terminating: Option<u32>,
    /// The newest revision; 0 if the controller has not seen the Deployment yet.
    pub revision: u32,
    /// Whether all pods are of the newest revision and available, and the controller has seen the
    /// spec as it is. Old pods may still terminate.
    pub is_complete: bool,
    /// Whether there was no progress for `progressDeadlineSeconds`, with the controller's word.
    pub stuck: Option<String>,
    /// What the controller says of pods that cannot be made (quota, admission).
    pub replica_failure: Option<String>,
}

/// A ReplicaSet as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetState {
    /// Its uid.
    pub uid: String,
    /// Its revision; 0 if it has none.
    pub revision: u32,
    /// `spec.replicas`.
    pub wanted: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    desired: u32,
    current: u32,
    updated: u32,
    ready: u32,
    available: u32,
    terminating: u32,
}

impl Workload {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The Deployment; `None` before it was seen, or if there is none.
    pub fn deployment(&self) -> Option<&DeploymentState> {
        self.deployment.as_ref()
    }

    /// The newest revision that was seen; 0 before the first.
    pub fn revision(&self) -> u32 {
        self.newest
    }

    /// A ReplicaSet of the Deployment.
    pub fn set(&self, name: &str) -> Option<&SetState> {
        self.sets.get(name)
    }

    /// Why the Deployment lets one of a set's pods go, if it does: the set wants fewer than `left`,
    /// the pods that it had when this one was gone, or as many.
    pub(super) fn wants_fewer(&self, set: &str, left: u32) -> Option<DeleteReason> {
        let set = self.sets.get(set)?;
        if left < set.wanted {
            return None;
        }
        // `Recreate` empties the old set before there is a new one.
        let is_emptied = set.wanted == 0 && self.deployment.as_ref().is_some_and(|d| d.desired > 0);
        Some(if set.revision < self.newest || is_emptied {
            DeleteReason::Rollout
        } else {
            DeleteReason::ScaleDown
        })
    }

    pub(super) fn deployments(&mut self, seen: &Seen<Deployment>, scribe: &mut Scribe<'_>) {
        match seen {
            Seen::All { objects, .. } => {
                match objects.iter().find(|object| self.is_it(&object.metadata)) {
                    Some(object) => self.deployment_seen(object, scribe),
                    None => self.deployment = None,
                }
            }
            Seen::Changed(object) if self.is_it(&object.metadata) => {
                self.deployment_seen(object, scribe);
            }
            Seen::Gone(object) if self.is_it(&object.metadata) => self.deployment = None,
            Seen::Changed(_) | Seen::Gone(_) => {}
        }
    }

    fn is_it(&self, metadata: &ObjectMeta) -> bool {
        metadata.name.as_deref() == Some(&self.name)
    }

    fn deployment_seen(&mut self, object: &Deployment, scribe: &mut Scribe<'_>) {
        let is_first = self.deployment.is_none();
        let state = state(object);
        if is_first && state.is_complete {
            self.newest = self.newest.max(state.revision);
        } else if is_first && state.revision > 0 && !self.is_rolling_out {
            self.newest = state.revision - 1;
        }
        if state.revision > self.newest {
            self.begin_rollout(state.revision, None, scribe);
        }
        if self.is_rolling_out && state.is_complete && state.revision == self.newest {
            self.is_rolling_out = false;
            let kind = EventKind::RolloutComplete { revision: state.revision };
            scribe.unstated(Source::Controller, kind);
        }
        self.note_deadline(object, &state, scribe);
        self.deployment = Some(state);
    }

    fn note_deadline(
        &mut self,
        object: &Deployment,
        state: &DeploymentState,
        scribe: &mut Scribe<'_>,
    ) {
        let has_timed_out = state.stuck.is_some();
        if has_timed_out && !self.has_timed_out {
            let updated = condition(object, "Progressing")
                .and_then(|progressing| progressing.last_update_time.as_ref())
                .map(|time| scribe.clocks.second(time, Clock::Server));
            let at = scribe.written(updated, Timestamp::ZERO);
            let kind = EventKind::ProgressDeadlineExceeded { revision: state.revision };
            scribe.at(at, Source::Controller, kind);
        }
        self.has_timed_out = has_timed_out;
    }

    fn begin_rollout(
        &mut self,
        revision: u32,
        made: Option<super::time::Stated>,
        scribe: &mut Scribe<'_>,
    ) {
        self.newest = revision;
        self.is_rolling_out = true;
        let at = scribe.written(made, Timestamp::ZERO);
        scribe.at(at, Source::Controller, EventKind::RolloutStarted { revision });
    }

    /// Takes what was seen of ReplicaSets. Returns whether any of them changed.
    pub(super) fn replica_sets(&mut self, seen: &Seen<ReplicaSet>, scribe: &mut Scribe<'_>) {
        match seen {
            Seen::All { objects, since } => {
                let ours = |object: &&ReplicaSet| self.owns(object);
                let ours: Vec<&ReplicaSet> = objects.iter().filter(ours).collect();
                let names: Vec<&str> =
                    ours.iter().filter_map(|object| object.metadata.name.as_deref()).collect();
                self.sets.retain(|name, _| names.contains(&name.as_str()));
                let is_first = since.is_none();
                for object in ours {
                    self.set_seen(object, is_first, scribe);
                }
            }
            Seen::Changed(object) if self.owns(object) => self.set_seen(object, false, scribe),
            Seen::Gone(object) if self.owns(object) => {
                if let Some(name) = &object.metadata.name {
                    self.sets.remove(name);
                }
            }
            Seen::Changed(_) | Seen::Gone(_) => {}
        }
    }

    fn owns(&self, object: &ReplicaSet) -> bool {
        let owners = object.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.kind == "Deployment" && owner.name == self.name)
    }

    fn set_seen(&mut self, object: &ReplicaSet, is_first: bool, scribe: &mut Scribe<'_>) {
        let Some(name) = &object.metadata.name else { return };
        let wanted = object.spec.as_ref().and_then(|spec| spec.replicas);
        let state = SetState {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            revision: revision(&object.metadata),
            wanted: count(wanted),
        };
        let known = self.sets.get(name);
        let is_new = known.is_none();
        let from = known.map_or(0, |known| known.wanted);
        let made = object.metadata.creation_timestamp.as_ref().filter(|_| is_new);
        let made = made.map(|time| scribe.clocks.second(time, Clock::Server));
        if is_first {
            self.newest = self.newest.max(state.revision);
        } else if state.revision > self.newest {
            self.begin_rollout(state.revision, made, scribe);
        }
        if !is_first && from != state.wanted {
            let at = scribe.written(made, Timestamp::ZERO);
            let (revision, to) = (state.revision, state.wanted);
            scribe.at(at, Source::Controller, EventKind::ReplicasetScaled { revision, from, to });
        }
        self.sets.insert(name.clone(), state);
    }

    /// Tells the numbers if they changed. `terminating` is the count of such pods that were seen.
    pub(super) fn note_numbers(&mut self, terminating: u32, scribe: &mut Scribe<'_>) {
        let Some(state) = &self.deployment else { return };
        let &DeploymentState { desired, current, updated, ready, available, .. } = state;
        let terminating = state.terminating.unwrap_or(terminating);
        let numbers = Numbers { desired, current, updated, ready, available, terminating };
        if self.told.replace(numbers) != Some(numbers) {
            let kind =
                EventKind::Replicas { desired, current, updated, ready, available, terminating };
            scribe.unstated(Source::Controller, kind);
        }
    }
}

/// A revision from its annotation; 0 if there is none.
pub(super) fn revision(metadata: &ObjectMeta) -> u32 {
    let annotation = metadata.annotations.as_ref().and_then(|all| all.get(REVISION));
    annotation.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A count of the API: absent is 0.
pub(super) fn count(number: Option<i32>) -> u32 {
    number.unwrap_or(0).max(0) as u32
}

fn condition<'a>(object: &'a Deployment, kind: &str) -> Option<&'a DeploymentCondition> {
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn state(object: &Deployment) -> DeploymentState {
    let status = object.status.clone().unwrap_or_default();
    // The API server writes the default, 1, into the spec.
    let desired = count(object.spec.as_ref().and_then(|spec| spec.replicas));
    let is_current = status.observed_generation >= object.metadata.generation;
    let (current, updated) = (count(status.replicas), count(status.updated_replicas));
    let available = count(status.available_replicas);
    let said = |kind: &str, value: &str| {
        let condition = condition(object, kind).filter(|condition| condition.status == value)?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Some((text(&condition.reason), text(&condition.message)))
    };
    let stuck = said("Progressing", "False")
        .filter(|(reason, _)| is_current && reason == "ProgressDeadlineExceeded");
    DeploymentState {
        desired,
        current,
        updated,
        ready: count(status.ready_replicas),
        available,
        terminating: status.terminating_replicas.map(|number| count(Some(number))),
        revision: revision(&object.metadata),
        // *Source*: `deployment_util.go`, `DeploymentComplete`.
        is_complete: is_current
            && (updated, current, available) == (desired, desired, desired)
            && revision(&object.metadata) > 0,
        stuck: stuck.map(|(_, message)| message),
        replica_failure: said("ReplicaFailure", "True").map(|(_, message)| message),
    }
}
