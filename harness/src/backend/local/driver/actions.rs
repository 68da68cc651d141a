//! What the scenario asks for, at its time and for as long as it says.

use highwater_model::{
    cluster::{ContainerId, Effect, Input, PodPhase},
    event::{DeleteReason, EventKind, Signal, Source},
    spec::{Action, Freeze, Which},
    time::{Nanos, Timestamp},
};

use super::Driver;
use crate::{backend::BackendError, plan::PlannedAction};

/// How often an eviction is asked for that the budget does not allow, as `kubectl drain` does it.
///
/// *Source*: kubectl `pkg/drain/drain.go`, `evictPods`.
const EVICT_EVERY: Nanos = Nanos::from_secs(5);
/// How long it is asked for, as on a cluster.
const EVICT_FOR: Nanos = Nanos::from_secs(120);

/// What an action leaves to be done.
#[derive(Clone, Debug)]
pub(super) enum Later {
    /// A frozen container goes on.
    Thaw(ContainerId),
    /// A dependency is back.
    Restore {
        /// The action that took it away.
        action_id: u32,
        /// Its name.
        name: String,
    },
    /// An eviction is asked for again.
    Evict {
        /// The action.
        action_id: u32,
        /// Which pod.
        which: Which,
        /// Until when.
        until: Timestamp,
    },
}

impl Driver<'_> {
    pub(super) async fn act(&mut self, planned: PlannedAction) -> Result<(), BackendError> {
        let now = self.clock.now();
        let action_id = planned.id;
        let kind = EventKind::ActionStarted { action_id, action: planned.action.clone() };
        self.emit(now, Source::Harness, kind)?;
        let input = match planned.action {
            Action::Rollout(rollout) => {
                if let Some(last) = self.versions.last() {
                    self.versions.push(last.next(&rollout));
                }
                Input::Rollout
            }
            Action::Scale(scale) => Input::Scale { replicas: scale.replicas },
            Action::Delete(choice) => {
                Input::DeletePod { which: choice.pod, reason: DeleteReason::Deleted }
            }
            Action::Kill(kill) => Input::Kill { which: kill.pod, signal: kill.signal.signal() },
            Action::Evict(choice) => {
                let until = self.clock.now() + EVICT_FOR;
                return self.evict(action_id, choice.pod, until).await;
            }
            Action::Freeze(freeze) => return self.freeze(action_id, &freeze).await,
            Action::DependencyOutage(outage) => {
                self.later.push((
                    now + outage.for_,
                    Later::Restore { action_id, name: outage.name.clone() },
                ));
                self.set_outage(&outage.name, true)?;
                return self.accept(action_id);
            }
            Action::PatchAutoscaler(patch) => {
                if let Some(autoscaling) = &mut self.autoscaling {
                    autoscaling.patch(&patch);
                }
                return self.accept(action_id);
            }
            Action::MetricsOutage(outage) => {
                if let Some(autoscaling) = &mut self.autoscaling {
                    autoscaling.lose_metrics(now + outage.for_);
                }
                return self.accept(action_id);
            }
            // Refused when the plan was checked.
            other @ Action::DrainNode(_) => {
                let reason = format!("`{}` is nothing that this backend can do", other.key());
                return self.refuse(action_id, reason);
            }
        };
        self.input(now, now, input).await?;
        self.accept(action_id)
    }

    fn accept(&mut self, action_id: u32) -> Result<(), BackendError> {
        self.emit(self.clock.now(), Source::Harness, EventKind::ActionAccepted { action_id })
    }

    fn refuse(&mut self, action_id: u32, reason: String) -> Result<(), BackendError> {
        let kind = EventKind::ActionRefused { action_id, reason };
        self.emit(self.clock.now(), Source::Harness, kind)
    }

    /// Does what is due of what actions left to be done.
    pub(super) async fn act_later(&mut self, now: Timestamp) -> Result<(), BackendError> {
        while let Some(index) = self.later.iter().position(|(at, _)| *at <= now) {
            match self.later.swap_remove(index).1 {
                Later::Thaw(container) => self.thaw(container).await?,
                Later::Restore { action_id, name } => self.restore(action_id, &name)?,
                Later::Evict { action_id, which, until } => {
                    self.evict(action_id, which, until).await?;
                }
            }
        }
        Ok(())
    }

    async fn freeze(&mut self, action_id: u32, freeze: &Freeze) -> Result<(), BackendError> {
        let now = self.clock.now();
        let mut effects = Vec::new();
        let input = Input::Kill { which: freeze.pod, signal: Signal::Sigstop };
        self.cluster.handle(now, input, &mut effects);
        let frozen = effects.iter().find_map(|effect| match effect {
            Effect::Signal { container, signal: Signal::Sigstop } => Some(*container),
            _ => None,
        });
        self.carry_out(now, effects).await?;
        match frozen {
            Some(container) => {
                self.later.push((now + freeze.for_, Later::Thaw(container)));
                self.accept(action_id)
            }
            None => self.refuse(action_id, "no pod runs".into()),
        }
    }

    async fn thaw(&mut self, container: ContainerId) -> Result<(), BackendError> {
        self.pods.signal(container, Signal::Sigcont).await;
        let pod = self.cluster.pod_name(container.pod).to_string();
        let kind = EventKind::SignalSent { pod, signal: Signal::Sigcont, by_kubelet: false };
        self.emit(self.clock.now(), Source::Harness, kind)
    }

    /// Evicts a pod if the budget allows it, and else asks again later.
    async fn evict(
        &mut self,
        action_id: u32,
        which: Which,
        until: Timestamp,
    ) -> Result<(), BackendError> {
        let now = self.clock.now();
        if !self.may_evict() {
            let next = now + EVICT_EVERY;
            let reason = "it would violate the disruption budget; it is asked for again".into();
            if next < until {
                self.later.push((next, Later::Evict { action_id, which, until }));
            }
            return self.refuse(action_id, reason);
        }
        let input = Input::DeletePod { which, reason: DeleteReason::Eviction };
        self.input(now, now, input).await?;
        self.accept(action_id)
    }

    /// Whether one ready pod fewer is enough.
    ///
    /// *Source*: kubernetes `pkg/controller/disruption/disruption.go`: `disruptionsAllowed` is the
    /// number of healthy pods without those that are wanted; a percentage is of the replicas.
    fn may_evict(&self) -> bool {
        let Some(budget) = &self.plan.scenario.target.pod_disruption_budget else { return true };
        let status = self.cluster.status();
        let is_healthy = |pod: &&highwater_model::cluster::PodView| {
            pod.is_ready && pod.phase != PodPhase::Terminating
        };
        let healthy = status.pods.iter().filter(is_healthy).count();
        healthy > budget.min_available.resolve_up(status.desired) as usize
    }

    /// The last of the outages of a dependency that overlap ends it.
    fn restore(&mut self, action_id: u32, name: &str) -> Result<(), BackendError> {
        let is_same = |(_, later): &(Timestamp, Later)| matches!(later, Later::Restore { name: other, .. } if other == name);
        if self.later.iter().any(is_same) {
            return Ok(());
        }
        self.set_outage(name, false)?;
        let kind = EventKind::ActionEffect { action_id, seen: format!("{name} is back") };
        self.emit(self.clock.now(), Source::Harness, kind)
    }

    fn set_outage(&self, name: &str, is_out: bool) -> Result<(), BackendError> {
        // It was made, as the scenario has such an event.
        let Some(folder) = &self.outages else { return Ok(()) };
        let file = folder.path().join(name);
        let done = if is_out {
            std::fs::File::create(&file).map(drop)
        } else {
            std::fs::remove_file(&file)
        };
        done.map_err(BackendError::system(format!("marking an outage at {}", file.display())))
    }
}
