//! What the scenario did: start, acceptance or refusal, and effect of each action.

use highwater_model::{
    event::{Event, EventKind},
    spec::{Action, PatchAutoscaler, Rollout, Which},
    time::Timestamp,
};

/// An action and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionResult {
    /// When it was begun.
    pub at: Timestamp,
    /// In a few words: `scale to 5`.
    pub label: String,
    /// With its settings: `patch autoscaler: maxReplicas 20`.
    pub text: String,
    /// When it was accepted.
    pub accepted: Option<Timestamp>,
    /// Why it could not be done, and when that was known.
    pub refused: Option<(Timestamp, String)>,
    /// The first that was seen of it.
    pub effect: Option<(Timestamp, String)>,
}

/// Reads them from the events, which are in order of time.
pub fn actions(events: &[Event]) -> Vec<ActionResult> {
    let mut ids: Vec<u32> = Vec::new();
    let mut all: Vec<ActionResult> = Vec::new();
    for event in events {
        let known = match &event.kind {
            EventKind::ActionStarted { action_id, action } => {
                ids.push(*action_id);
                all.push(ActionResult {
                    at: event.at,
                    label: label(action),
                    text: text(action),
                    accepted: None,
                    refused: None,
                    effect: None,
                });
                continue;
            }
            EventKind::ActionAccepted { action_id }
            | EventKind::ActionRefused { action_id, .. }
            | EventKind::ActionEffect { action_id, .. } => {
                ids.iter().rposition(|known| known == action_id)
            }
            _ => continue,
        };
        if let Some(action) = known.and_then(|index| all.get_mut(index)) {
            action.take(event);
        }
    }
    all
}

impl ActionResult {
    fn take(&mut self, event: &Event) {
        match &event.kind {
            EventKind::ActionAccepted { .. } => self.accepted = self.accepted.or(Some(event.at)),
            EventKind::ActionRefused { reason, .. } => {
                self.refused.get_or_insert_with(|| (event.at, reason.clone()));
            }
            EventKind::ActionEffect { seen, .. } => {
                self.effect.get_or_insert_with(|| (event.at, seen.clone()));
            }
            _ => {}
        }
    }
}

/// An action in a few words.
pub fn label(action: &Action) -> String {
    match action {
        Action::Rollout(_) => "rollout".into(),
        Action::Scale(scale) => format!("scale to {}", scale.replicas),
        Action::Delete(_) => "delete pod".into(),
        Action::Kill(_) => "kill".into(),
        Action::Evict(_) => "evict pod".into(),
        Action::DrainNode(_) => "drain node".into(),
        Action::PatchAutoscaler(_) => "patch autoscaler".into(),
        Action::MetricsOutage(_) => "metrics outage".into(),
        Action::Freeze(_) => "freeze pod".into(),
        Action::DependencyOutage(outage) => format!("outage of {}", outage.name),
    }
}

/// An action with its settings.
pub fn text(action: &Action) -> String {
    let which = |which: Which| match which {
        Which::Oldest => "the oldest",
        Which::Newest => "the newest",
    };
    let details = match action {
        Action::Scale(_) => String::new(),
        Action::Rollout(rollout) => rolled(rollout),
        Action::Delete(choice) | Action::Evict(choice) => which(choice.pod).into(),
        Action::Kill(kill) => {
            format!("{} to {}", kill.signal.signal().name(), which(kill.pod))
        }
        Action::DrainNode(drain) => {
            let lasts = drain.for_.map(|lasts| format!(", for {lasts}")).unwrap_or_default();
            format!("that of {}{lasts}", which(drain.pod))
        }
        Action::PatchAutoscaler(patch) => patched(patch),
        Action::MetricsOutage(outage) => format!("for {}", outage.for_),
        Action::Freeze(freeze) => format!("{}, for {}", which(freeze.pod), freeze.for_),
        Action::DependencyOutage(outage) => format!("for {}", outage.for_),
    };
    if details.is_empty() { label(action) } else { format!("{}: {details}", label(action)) }
}

fn rolled(rollout: &Rollout) -> String {
    let mut parts = Vec::new();
    if let Some(image) = &rollout.image {
        parts.push(format!("image {image}"));
    }
    if let Some(wrongs) = &rollout.misbehave {
        let names: Vec<&str> = wrongs.iter().map(|wrong| wrong.name()).collect();
        parts.push(format!("misbehave [{}]", names.join(", ")));
    }
    parts.extend(rollout.service.as_ref().map(|_| "another service".into()));
    parts.extend(rollout.command.as_ref().map(|_| "another command".into()));
    parts.extend(rollout.env.iter().map(|var| format!("env {}", var.name)));
    parts.join(", ")
}

fn patched(patch: &PatchAutoscaler) -> String {
    let mut parts = Vec::new();
    parts.extend(patch.min_replicas.map(|min| format!("minReplicas {min}")));
    parts.extend(patch.max_replicas.map(|max| format!("maxReplicas {max}")));
    parts.extend(patch.metrics.as_ref().map(|_| "metrics".into()));
    parts.extend(patch.behavior.as_ref().map(|_| "behavior".into()));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::{event::Source, spec::Scale};

    fn event(at: u64, kind: EventKind) -> Event {
        let at = Timestamp(at);
        Event { at, seq: at.0, source: Source::Harness, precision: None, stated: None, kind }
    }

    #[test]
    fn each_action_has_its_own_answer_and_its_first_effect() {
        let started = |at, action_id, replicas| {
            let action = Action::Scale(Scale { replicas });
            event(at, EventKind::ActionStarted { action_id, action })
        };
        let effect = |at, action_id| {
            event(at, EventKind::ActionEffect { action_id, seen: format!("seen at {at}") })
        };
        let refused = EventKind::ActionRefused { action_id: 1, reason: "PDB".into() };
        let all = actions(&[
            started(1, 0, 5),
            started(2, 1, 6),
            event(3, EventKind::ActionAccepted { action_id: 0 }),
            event(4, refused),
            effect(5, 0),
            effect(6, 0),
        ]);
        assert_eq!(all[0].accepted, Some(Timestamp(3)));
        assert_eq!(all[0].effect, Some((Timestamp(5), "seen at 5".into())));
        assert_eq!(all[1].refused, Some((Timestamp(4), "PDB".into())));
        assert!(all[1].effect.is_none() && all[1].accepted.is_none());
    }

    #[test]
    fn settings_are_told() {
        let patch = PatchAutoscaler { max_replicas: Some(20), ..PatchAutoscaler::default() };
        assert_eq!(text(&Action::PatchAutoscaler(patch)), "patch autoscaler: maxReplicas 20");
        assert_eq!(text(&Action::Scale(Scale { replicas: 2 })), "scale to 2");
        assert_eq!(text(&Action::Rollout(Rollout::default())), "rollout");
    }
}
