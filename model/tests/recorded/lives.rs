//! What a record tells of each pod: of a recorded one as of one that our machines made.

use std::collections::BTreeMap;

use highwater_model::{
    event::{DeleteReason, Event, EventKind, LifecyclePhase, Signal},
    time::Timestamp,
};

/// One pod.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) revision: u32,
    pub(crate) created: Timestamp,
    /// In order; one that was never started has none.
    pub(crate) containers: Vec<Container>,
    pub(crate) ready: Vec<Timestamp>,
    pub(crate) deleted: Option<(Timestamp, DeleteReason)>,
    pub(crate) gone: Option<Timestamp>,
}

/// One of its containers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Container {
    pub(crate) started: Timestamp,
    /// When its port accepted, by the service's own word.
    pub(crate) listening: Option<Timestamp>,
    /// When its readiness began to pass, by the same.
    pub(crate) serving: Option<Timestamp>,
    /// When a probe's failures ended it.
    pub(crate) killed_by_probe: Option<Timestamp>,
    /// When SIGTERM reached it.
    pub(crate) sigterm: Option<Timestamp>,
    pub(crate) exited: Option<(Timestamp, i32)>,
}

/// The lives of all pods, in order of creation.
pub(crate) fn lives(events: &[Event]) -> Vec<Life> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut lives: Vec<Life> = Vec::new();
    for event in events {
        if let EventKind::PodCreated { pod, revision } = &event.kind {
            places.insert(pod, lives.len());
            lives.push(Life {
                revision: *revision,
                created: event.at,
                containers: Vec::new(),
                ready: Vec::new(),
                deleted: None,
                gone: None,
            });
        }
    }
    for event in events {
        let Some(life) = pod_of(&event.kind).and_then(|pod| places.get(pod)) else { continue };
        lives[*life].take_in(event);
    }
    lives
}

fn pod_of(kind: &EventKind) -> Option<&str> {
    match kind {
        EventKind::ContainerStarted { pod, .. }
        | EventKind::PodReady { pod }
        | EventKind::ProbeKill { pod, .. }
        | EventKind::PodDeleted { pod, .. }
        | EventKind::SignalSent { pod, .. }
        | EventKind::ContainerExited { pod, .. }
        | EventKind::PodGone { pod }
        | EventKind::Lifecycle { pod, .. } => Some(pod),
        _ => None,
    }
}

impl Life {
    fn take_in(&mut self, event: &Event) {
        let at = event.at;
        match &event.kind {
            EventKind::ContainerStarted { .. } => {
                self.containers.push(Container { started: at, ..Container::default() });
            }
            EventKind::PodReady { .. } => self.ready.push(at),
            EventKind::PodDeleted { reason, .. } => self.deleted = Some((at, *reason)),
            EventKind::PodGone { .. } => self.gone = Some(at),
            kind => {
                let Some(container) = self.containers.last_mut() else { return };
                match kind {
                    EventKind::ProbeKill { .. } => container.killed_by_probe = Some(at),
                    EventKind::SignalSent { signal: Signal::Sigterm, .. } => {
                        container.sigterm = Some(at);
                    }
                    EventKind::ContainerExited { code, .. } => {
                        container.exited = Some((at, *code));
                    }
                    // The service's own log is exact where the status has whole seconds.
                    EventKind::Lifecycle { phase: LifecyclePhase::Starting, .. } => {
                        container.started = event.stated.unwrap_or(at);
                    }
                    EventKind::Lifecycle { phase: LifecyclePhase::Signal, .. } => {
                        container.sigterm = Some(at);
                    }
                    EventKind::Lifecycle { phase: LifecyclePhase::Listening, .. } => {
                        container.listening = Some(at);
                    }
                    EventKind::Lifecycle { phase: LifecyclePhase::Ready, .. } => {
                        container.serving = Some(at);
                    }
                    _ => {}
                }
            }
        }
    }
}
