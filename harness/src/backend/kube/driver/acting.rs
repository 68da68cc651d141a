//! What the scenario asks for, and when it shows.

use highwater_model::{
    event::{DeleteReason, EventKind, Source},
    spec::{Action, KillSignal, Which},
};

use super::{Awaited, Driver};
use crate::{
    backend::{
        BackendError,
        kube::{act, observe::pod::PodState},
    },
    plan::PlannedAction,
};

/// What is seen of an action that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// A rollout begins.
    Rollout,
    /// So many replicas are wanted.
    Replicas(u32),
    /// A pod's deletion.
    Deletion(String),
    /// A container's end.
    Exit(String),
    /// A node takes no pods.
    Cordon(String),
    /// The autoscaler's settings are others.
    Settings,
    /// The autoscaler measures nothing.
    NoMetrics,
}

impl Effect {
    /// What is seen, if `kind` is it.
    fn shows(&self, kind: &EventKind) -> Option<String> {
        match (self, kind) {
            (Self::Rollout, EventKind::RolloutStarted { revision }) => {
                Some(format!("revision {revision} begins"))
            }
            (Self::Replicas(wanted), EventKind::Replicas { desired, .. }) if desired == wanted => {
                Some(format!("{desired} replicas are wanted"))
            }
            (Self::Deletion(name), EventKind::PodDeleted { pod, .. }) if pod == name => {
                Some(format!("{pod} terminates"))
            }
            (Self::Exit(name), EventKind::ContainerExited { pod, code, .. }) if pod == name => {
                Some(format!("the container of {pod} ended with {code}"))
            }
            (Self::Cordon(name), EventKind::NodeCondition { node, condition, status, .. })
                if node == name && condition == "Schedulable" && status == "False" =>
            {
                Some(format!("{node} takes no pods"))
            }
            (Self::Settings, EventKind::AutoscalerSpec { min, max }) => {
                Some(format!("between {min} and {max} replicas"))
            }
            (Self::NoMetrics, EventKind::AutoscalerStatus { conditions, .. }) => {
                let active = conditions.iter().find(|one| one.kind == "ScalingActive")?;
                (!active.status).then(|| format!("the autoscaler says {}", active.reason))
            }
            _ => None,
        }
    }
}

impl Driver<'_> {
    pub(super) async fn act(&mut self, planned: PlannedAction) -> Result<(), BackendError> {
        let now = self.clock.now();
        let PlannedAction { id, action, .. } = planned;
        let kind = EventKind::ActionStarted { action_id: id, action: action.clone() };
        self.emit(now, Source::Harness, kind)?;
        let order = self.order(id, action);
        self.expect(&order);
        let Some(orders) = &self.orders else { return Ok(()) };
        if let Err(error) = orders.try_send(order) {
            let reason = format!("too many actions wait already: {error}");
            let kind = EventKind::ActionRefused { action_id: id, reason };
            self.emit(now, Source::Harness, kind)?;
        }
        Ok(())
    }

    /// An action with the pod and node that it is about.
    fn order(&mut self, id: u32, action: Action) -> act::Order {
        let which = match &action {
            Action::Delete(choice) | Action::Evict(choice) => Some(choice.pod),
            Action::Kill(kill) => Some(kill.pod),
            Action::DrainNode(drain) => Some(drain.pod),
            _ => None,
        };
        let chosen = which.and_then(|which| self.choose(which));
        let pod = chosen.map(|pod| pod.name.clone());
        let node = chosen.and_then(|pod| pod.node.clone());
        let pods_of_node = self
            .observer
            .pods()
            .into_iter()
            .filter(|pod| node.is_some() && pod.node == node && pod.deletion.is_none())
            .map(|pod| pod.name.clone())
            .collect();
        let arguments = match &action {
            Action::Rollout(rollout) => rollout.misbehave.clone().map(|misbehave| {
                self.misbehave = misbehave;
                self.making().target_args(&self.misbehave)
            }),
            _ => None,
        };
        act::Order { id, action, pod, node, pods_of_node, arguments }
    }

    /// The oldest or newest pod that runs and is not on its way out.
    fn choose(&self, which: Which) -> Option<&PodState> {
        let pods = self.observer.pods();
        let mut running = pods.into_iter().filter(|pod| pod.is_running() && pod.deletion.is_none());
        match which {
            Which::Oldest => running.next(),
            Which::Newest => running.next_back(),
        }
    }

    /// Tells the observer whose doing it will be, and notes what is to be seen of it.
    fn expect(&mut self, order: &act::Order) {
        let now = self.clock.now();
        let (pod, node) = (order.pod.clone(), order.node.clone());
        let effect = match &order.action {
            Action::Rollout(_) => Some(Effect::Rollout),
            Action::Scale(scale) => Some(Effect::Replicas(scale.replicas)),
            Action::Delete(_) => pod.map(|pod| {
                self.observer.expect_deletion(now, &pod, DeleteReason::Deleted);
                Effect::Deletion(pod)
            }),
            Action::Evict(_) => pod.map(|pod| {
                self.observer.expect_deletion(now, &pod, DeleteReason::Eviction);
                Effect::Deletion(pod)
            }),
            Action::Kill(kill) => pod.map(|pod| {
                if kill.signal == KillSignal::Sigterm {
                    self.observer.expect_sigterm(&pod);
                }
                Effect::Exit(pod)
            }),
            Action::DrainNode(_) => {
                for pod in &order.pods_of_node {
                    self.observer.expect_deletion(now, pod, DeleteReason::Eviction);
                }
                node.map(Effect::Cordon)
            }
            Action::PatchAutoscaler(_) => Some(Effect::Settings),
            Action::MetricsOutage(_) => Some(Effect::NoMetrics),
            // Refused when the plan was checked.
            Action::Freeze(_) | Action::DependencyOutage(_) => None,
        };
        if let Some(effect) = effect {
            self.awaited.push(Awaited { action_id: order.id, effect });
        }
    }

    /// The action whose effect `kind` is, once.
    pub(super) fn effect_of(&mut self, kind: &EventKind) -> Option<(u32, String)> {
        let (index, seen) = self
            .awaited
            .iter()
            .enumerate()
            .find_map(|(index, awaited)| Some((index, awaited.effect.shows(kind)?)))?;
        Some((self.awaited.remove(index).action_id, seen))
    }

    pub(super) fn act_report(&mut self, report: act::Report) -> Result<(), BackendError> {
        let now = self.clock.now();
        match report {
            act::Report::Accepted(action_id) => {
                self.emit(now, Source::Api, EventKind::ActionAccepted { action_id })
            }
            act::Report::Refused(action_id, reason) => {
                self.awaited.retain(|awaited| awaited.action_id != action_id);
                self.emit(now, Source::Api, EventKind::ActionRefused { action_id, reason })
            }
            act::Report::NotRestored(message) => {
                self.warn(highwater_model::event::WarningCode::Late, message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_is_what_the_action_was_about_and_nothing_near_it() {
        let deleted = |pod: &str| EventKind::PodDeleted {
            pod: pod.into(),
            grace: highwater_model::time::Nanos::ZERO,
            reason: DeleteReason::Deleted,
        };
        let replicas = |desired| EventKind::Replicas {
            desired,
            current: 0,
            updated: 0,
            ready: 0,
            available: 0,
            terminating: 0,
        };
        let node = |status: &str| EventKind::NodeCondition {
            node: "a".into(),
            condition: "Schedulable".into(),
            status: status.into(),
            reason: String::new(),
        };
        for (effect, kind, shows) in [
            (Effect::Deletion("a".into()), deleted("a"), true),
            (Effect::Deletion("a".into()), deleted("b"), false),
            (Effect::Replicas(3), replicas(3), true),
            (Effect::Replicas(3), replicas(4), false),
            (Effect::Cordon("a".into()), node("False"), true),
            (Effect::Cordon("a".into()), node("True"), false),
            (Effect::Cordon("b".into()), node("False"), false),
            (Effect::Rollout, EventKind::RolloutStarted { revision: 2 }, true),
            (Effect::Rollout, EventKind::RolloutComplete { revision: 2 }, false),
        ] {
            assert_eq!(effect.shows(&kind).is_some(), shows, "{effect:?} {kind:?}");
        }
    }
}
