//! The kubelet's view of one pod: its container, probes, hooks, restarts and end.
//!
//! *Source*: Kubernetes v1.35, `pkg/kubelet/{pod_workers,kubelet}.go`, `kuberuntime/`, and
//! `lifecycle-semantics.md` sections 2 and 3.1.
//!
//! 1. `container.rs`: start, exit, restart
//! 2. `termination.rs`: deletion, and the end of a container in steps
//! 3. `probes.rs`: what probes mean for the pod
//! 4. `stop.rs`, `backoff.rs`: the machines of a container's end and of its restarts

mod backoff;
mod container;
mod probes;
mod stop;
mod termination;

use alloc::{string::String, sync::Arc, vec::Vec};

use self::{backoff::BackOff, container::Container, stop::Stop, termination::Deletion};
use super::{ContainerId, Effect, probe::Prober, replicaset::Phase};
use crate::{
    event::{EventKind, ProbeKind, Source},
    spec::{PodTemplate, Probe},
    time::{Nanos, Timestamp},
};

/// When the kubelet looks for containers that began or ended (PLEG): a grid.
///
/// *Source*: `pkg/kubelet/pleg/generic.go`, `kubelet.go` `genericPlegRelistPeriod`.
#[derive(Clone, Copy, Debug)]
pub struct Relist {
    /// The first look.
    pub phase: Nanos,
    /// From look to look.
    pub period: Nanos,
}

impl Relist {
    /// The first look after `at`.
    pub fn next_after(&self, at: Timestamp) -> Timestamp {
        let period = self.period.0.max(1);
        let first = self.phase.0 % period;
        let looks = at.0.saturating_sub(first) / period + u64::from(at.0 >= first);
        Timestamp(first.saturating_add(looks.saturating_mul(period)))
    }
}

/// Which pod it is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its number.
    pub pod: u32,
    /// Its name.
    pub name: String,
    /// The revision of its template.
    pub revision: u32,
}

/// The random times of one pod.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draws {
    /// From creation to the start of its container.
    pub start: Nanos,
    /// From deletion to the kubelet's first step.
    pub kubelet_delay: Nanos,
    /// From its container's end to its own.
    pub teardown: Nanos,
    /// From creation to the first tick of the startup, readiness and liveness probe.
    pub ticks: [Nanos; 3],
    /// Seed of how late the kubelet comes back to a container in back-off; never late without.
    pub retries: Option<u64>,
}

/// A pod as the kubelet reports it to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether a container was asked for.
    pub is_bound: bool,
    /// Its node; 0 once a container was asked for, where nodes have no bounds.
    pub node: Option<u32>,
    /// Its phase.
    pub phase: Phase,
    /// Condition Ready.
    pub is_ready: bool,
    /// How often its container was started again.
    pub restarts: u32,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// Whether its object is gone.
    pub is_gone: bool,
}

/// One pod on its node.
#[derive(Clone, Debug)]
pub struct Pod {
    identity: Identity,
    template: Arc<PodTemplate>,
    draws: Draws,
    relist: Relist,
    container: Container,
    /// Containers before the present one.
    restarts: u32,
    backoff: BackOff,
    /// When the container before the present one ended.
    last_exit: Option<Timestamp>,
    /// The end of the present container, if that is under way.
    stop: Option<Stop>,
    deletion: Option<Deletion>,
    /// Startup, readiness, liveness.
    probers: [Option<Prober>; 3],
    node: Option<u32>,
    was_asked_for: bool,
    was_seen: bool,
    is_ready: bool,
    gone_at: Option<Timestamp>,
    is_gone: bool,
}

impl Pod {
    /// A pod that was just created.
    pub fn new(
        now: Timestamp,
        identity: Identity,
        template: Arc<PodTemplate>,
        draws: Draws,
        relist: Relist,
    ) -> Self {
        let probers = probers(now, &template, draws);
        Self {
            identity,
            template,
            draws,
            relist,
            container: Container::Pending { start_at: now + draws.start },
            restarts: 0,
            backoff: BackOff::default(),
            last_exit: None,
            stop: None,
            deletion: None,
            probers,
            node: None,
            was_asked_for: false,
            was_seen: false,
            is_ready: false,
            gone_at: None,
            is_gone: false,
        }
    }

    /// It has no node yet. Told before anything of it is done.
    pub fn await_node(&mut self) {
        self.container = Container::Unscheduled;
        self.probers = [None, None, None];
    }

    /// The scheduler gave it to a node. Ignored unless it waits for one.
    pub fn bind(&mut self, now: Timestamp, node: u32) {
        if matches!(self.container, Container::Unscheduled) {
            self.node = Some(node);
            self.container = Container::Pending { start_at: now + self.draws.start };
            self.probers = probers(now, &self.template, self.draws);
        }
    }

    /// Which pod it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The pod as the API server knows it.
    pub fn report(&self) -> Report {
        Report {
            is_bound: self.was_asked_for,
            node: self.node.or(self.was_asked_for.then_some(0)),
            phase: if self.was_seen { Phase::Running } else { Phase::Pending },
            is_ready: self.is_ready,
            restarts: self.restarts,
            is_terminating: self.deletion.is_some(),
            is_gone: self.is_gone || self.is_object_gone(),
        }
    }

    /// Whether a container runs, as far as the driver said.
    pub fn is_running(&self) -> bool {
        matches!(self.container, Container::Running { .. })
    }

    /// Whether it waits to start its container again.
    pub fn is_in_backoff(&self) -> bool {
        matches!(self.container, Container::Waiting { .. })
    }

    /// Whether everything of it is gone.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.is_gone {
            return None;
        }
        let probes = self.probers.iter().flatten().map(Prober::next_deadline);
        [
            self.gone_at,
            self.deletion.as_ref().and_then(Deletion::next_deadline),
            self.stop.as_ref().and_then(Stop::next_deadline),
            self.container.next_deadline(),
        ]
        .into_iter()
        .chain(probes)
        .flatten()
        .min()
    }

    /// Does what is due. Numbers of probes are taken from `numbers`.
    pub fn fire(&mut self, now: Timestamp, numbers: &mut u64, effects: &mut Vec<Effect>) {
        if self.is_gone {
            return;
        }
        if self.gone_at.is_some_and(|at| at <= now) {
            self.vanish(effects);
            return;
        }
        self.fire_deletion(now, effects);
        self.fire_stop(now, effects);
        self.fire_container(now, effects);
        self.fire_probes(now, numbers, effects);
    }

    fn vanish(&mut self, effects: &mut Vec<Effect>) {
        (self.is_gone, self.gone_at) = (true, None);
        if self.was_asked_for {
            effects.push(Effect::RemovePod { pod: self.identity.pod });
        }
        let pod = self.name();
        emit(effects, EventKind::PodGone { pod });
    }

    fn set_ready(&mut self, is_ready: bool, reason: &str, effects: &mut Vec<Effect>) {
        if self.is_ready == is_ready {
            return;
        }
        self.is_ready = is_ready;
        let pod = self.name();
        let kind = if is_ready {
            EventKind::PodReady { pod }
        } else {
            EventKind::PodUnready { pod, reason: reason.into() }
        };
        emit(effects, kind);
    }

    fn name(&self) -> String {
        self.identity.name.clone()
    }

    fn container_id(&self) -> ContainerId {
        ContainerId { pod: self.identity.pod, restarts: self.restarts }
    }
}

/// The probes of a pod that its node takes at `now`.
fn probers(now: Timestamp, template: &PodTemplate, draws: Draws) -> [Option<Prober>; 3] {
    let prober = |kind, probe: &Option<Probe>, tick| {
        probe.as_ref().map(|probe| Prober::new(kind, probe, now + tick))
    };
    let [startup, readiness, liveness] = draws.ticks;
    [
        prober(ProbeKind::Startup, &template.startup_probe, startup),
        prober(ProbeKind::Readiness, &template.readiness_probe, readiness),
        prober(ProbeKind::Liveness, &template.liveness_probe, liveness),
    ]
}

fn emit(effects: &mut Vec<Effect>, kind: EventKind) {
    effects.push(Effect::Emit { source: Source::Kubelet, kind });
}

#[cfg(test)]
mod tests;
