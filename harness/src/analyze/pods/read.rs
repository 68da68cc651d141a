//! Reading the lives of pods from the events.

use std::net::{IpAddr, SocketAddr};

use highwater_model::{
    event::{Event, EventKind, LifecyclePhase, Signal},
    time::Timestamp,
};

use super::{Container, Deletion, Exit, Lives, PodLife, PodPhase};
use crate::analyze::moment::{Axis, Moment};

impl Lives {
    /// Reads them from the events, which are in order of time.
    ///
    /// What targets say of themselves is read last: its instants are exact, and may lie before
    /// those of the containers that said it, which need not be.
    pub fn of(events: &[Event]) -> Self {
        let axis = Axis::of(events);
        let mut lives = Self::default();
        for event in events {
            lives.take(axis.moment(event), event);
        }
        for event in events {
            if let EventKind::Lifecycle { pod, phase, detail } = &event.kind
                && let Some(life) = lives.pods.get_mut(pod)
            {
                life.hear(axis.moment(event), *phase, detail);
            }
        }
        lives.pods.values_mut().for_each(PodLife::bound);
        lives
    }

    fn take(&mut self, at: Moment, event: &Event) {
        match &event.kind {
            EventKind::PodCreated { pod, revision } => {
                let mut life = PodLife { revision: *revision, created: at, ..PodLife::default() };
                life.change(at.at, PodPhase::Pending);
                self.order.push(pod.clone());
                self.pods.insert(pod.clone(), life);
            }
            EventKind::ViewApplied { consumer, routed, .. } => self.view(at.at, *consumer, routed),
            EventKind::NodeCondition { node, condition, status, .. } if condition == "Ready" => {
                self.node(at, node, status == "True");
            }
            kind => {
                if let Some(life) = pod_of(kind).and_then(|pod| self.pods.get_mut(pod)) {
                    life.take(at, kind);
                }
            }
        }
    }

    fn node(&mut self, at: Moment, node: &str, is_ready: bool) {
        let is_there = |life: &&mut PodLife| life.node.as_deref() == Some(node);
        for life in self.pods.values_mut().filter(is_there) {
            match life.node_lost.last_mut() {
                Some((_, end @ None)) if is_ready => *end = Some(at),
                Some((_, None)) => {}
                _ if !is_ready => life.node_lost.push((at, None)),
                _ => {}
            }
        }
    }

    fn view(&mut self, at: Timestamp, consumer: u32, routed: &[String]) {
        for (name, life) in &mut self.pods {
            let is_routed = routed.contains(name);
            let spans = life.routed.entry(consumer).or_default();
            match spans.last_mut() {
                Some((_, end @ None)) if !is_routed => *end = Some(at),
                Some((_, None)) => {}
                _ if is_routed => spans.push((at, None)),
                _ => {}
            }
        }
        self.pods.values_mut().for_each(|life| life.routed.retain(|_, spans| !spans.is_empty()));
    }
}

/// The pod that an event is about.
fn pod_of(kind: &EventKind) -> Option<&str> {
    match kind {
        EventKind::PodScheduled { pod, .. }
        | EventKind::ContainerStarted { pod, .. }
        | EventKind::PodReady { pod }
        | EventKind::PodUnready { pod, .. }
        | EventKind::ProbeKill { pod, .. }
        | EventKind::PodDeleted { pod, .. }
        | EventKind::SignalSent { pod, .. }
        | EventKind::ContainerExited { pod, .. }
        | EventKind::PodGone { pod } => Some(pod),
        _ => None,
    }
}

impl PodLife {
    fn change(&mut self, at: Timestamp, phase: PodPhase) {
        if self.changes.last().is_none_or(|(_, last)| *last != phase) {
            self.changes.push((at, phase));
        }
    }

    fn ready_changed(&mut self, moment: Moment, ready: bool) {
        let at = moment.at;
        self.readiness.push((moment, ready));
        if ready {
            self.first_ready.get_or_insert(moment);
            if let Some(container) = self.containers.last_mut() {
                container.ready.get_or_insert(moment);
            }
        }
        let is_running = self.containers.last().is_some_and(|container| container.exited.is_none());
        if self.deletion.is_none() && is_running {
            self.change(at, if ready { PodPhase::Ready } else { PodPhase::Unready });
        }
    }

    fn take(&mut self, at: Moment, kind: &EventKind) {
        match kind {
            EventKind::PodScheduled { node, .. } => self.node = Some(node.clone()),
            EventKind::ContainerStarted { address, .. } => {
                let address = address.as_ref().and_then(|text| text.parse::<SocketAddr>().ok());
                let address = address.map(|address| address.ip());
                self.containers.push(Container { started: at, address, ..Container::default() });
                if self.deletion.is_none() {
                    self.change(at.at, PodPhase::Starting);
                }
            }
            EventKind::PodReady { .. } => self.ready_changed(at, true),
            EventKind::PodUnready { .. } => self.ready_changed(at, false),
            EventKind::PodDeleted { grace, reason, .. } => {
                self.deletion = Some(Deletion { at, grace: *grace, reason: *reason });
                let phase = match self.containers.last() {
                    Some(container) if container.exited.is_some() => PodPhase::Exited,
                    // A deletion that was seen a little after the target told of the signal.
                    Some(container) if container.sigterm.is_some() => PodPhase::Draining,
                    Some(_) => PodPhase::PreStop,
                    None => PodPhase::Exited,
                };
                self.change(at.at, phase);
            }
            EventKind::PodGone { .. } => self.gone = Some(at),
            _ => self.take_container(at, kind),
        }
    }

    fn take_container(&mut self, at: Moment, kind: &EventKind) {
        let Some(container) = self.containers.last_mut() else { return };
        match kind {
            EventKind::ProbeKill { probe, .. } => container.probe_kill = Some((at, *probe)),
            EventKind::SignalSent { signal: Signal::Sigkill, by_kubelet: true, .. } => {
                container.sigkill = Some(at);
            }
            EventKind::SignalSent { signal: Signal::Sigstop, .. } => {
                container.frozen.push((at, None));
            }
            EventKind::SignalSent { signal: Signal::Sigcont, .. } => {
                let frozen = container.frozen.iter_mut().filter(|(_, until)| until.is_none());
                frozen.for_each(|(_, until)| *until = Some(at));
            }
            EventKind::SignalSent { signal, by_kubelet: true, .. } => {
                (container.sigterm, container.stop_signal) = (Some(at), Some(*signal));
                self.change(at.at, PodPhase::Draining);
            }
            EventKind::ContainerExited { code, signal, oom, .. } => {
                container.exited = Some(Exit { at, code: *code, signal: *signal, oom: *oom });
                self.change(at.at, PodPhase::Exited);
            }
            _ => {}
        }
    }

    /// Takes the target's own word.
    fn hear(&mut self, at: Moment, phase: LifecyclePhase, detail: &str) {
        let is_first = phase == LifecyclePhase::Starting;
        let speaker = self.speaker.filter(|_| !is_first).filter(|index| {
            self.containers[*index].exited.is_none_or(|exit| exit.at.latest >= at.earliest)
        });
        let newest = || self.containers.iter().rposition(|one| one.started.may_be_by(at.latest));
        let Some(index) = speaker.or_else(newest) else { return };
        if is_first {
            self.speaker = Some(index);
        }
        let container = &mut self.containers[index];
        container.tells = true;
        match phase {
            LifecyclePhase::Starting => {
                container.tells_all = true;
                // It ran before it could say so.
                container.started = container.started.not_after(at);
            }
            LifecyclePhase::Listening => {
                container.listening = Some(at);
                container.is_on_loopback = is_loopback(detail, container.address);
            }
            LifecyclePhase::Signal => {
                container.heard_signal.get_or_insert(at);
            }
            LifecyclePhase::QueueFull => container.full.push(at),
            LifecyclePhase::ListenerClosed => container.listener_closed = Some(at),
            LifecyclePhase::Cancelled => container.cancelled = Some(at),
            LifecyclePhase::Exiting => container.exiting = Some(at),
            _ => {}
        }
    }

    /// Bounds what is not known exactly by what must have come before or after it.
    fn bound(&mut self) {
        let deletion = self.deletion.map(|deletion| deletion.at);
        for container in &mut self.containers {
            let begin = container.probe_kill.map(|(at, _)| at).or(deletion);
            let end = container.exited.map(|exit| exit.at);
            if let Some(sigterm) = &mut container.sigterm {
                *sigterm = begin.map_or(*sigterm, |begin| sigterm.not_before(begin));
                *sigterm = end.map_or(*sigterm, |end| sigterm.not_after(end));
            }
        }
    }
}

/// Whether the address in `addr=IP:PORT` is a loopback one, and not its pod's.
///
/// *Source*: `target-service/src/server.rs`, the line `listening`.
fn is_loopback(detail: &str, of_pod: Option<IpAddr>) -> bool {
    let mut words = detail.split_whitespace();
    let address = words.find_map(|word| word.strip_prefix("addr="));
    let address = address.and_then(|text| text.trim_matches('"').parse::<SocketAddr>().ok());
    address.is_some_and(|address| address.ip().is_loopback() && Some(address.ip()) != of_pod)
}

#[cfg(test)]
mod tests {
    use highwater_model::{
        event::{DeleteReason, Event, EventKind, Signal, Source},
        time::{Nanos, SECOND, Timestamp},
    };

    use crate::analyze::{PodPhase, pods::Lives};

    fn phases(signal_ms: u64, deletion_ms: u64) -> Vec<(PodPhase, u64)> {
        let pod = || "a".to_string();
        let rows = [
            (0, EventKind::PodCreated { pod: pod(), revision: 1 }),
            (
                1_000,
                EventKind::ContainerStarted { pod: pod(), restarts: 0, address: None, pid: None },
            ),
            (2_000, EventKind::PodReady { pod: pod() }),
            (
                deletion_ms,
                EventKind::PodDeleted {
                    pod: pod(),
                    grace: Nanos::from_secs(30),
                    reason: DeleteReason::ScaleDown,
                },
            ),
            (
                signal_ms,
                EventKind::SignalSent { pod: pod(), signal: Signal::Sigterm, by_kubelet: true },
            ),
            (15_000, EventKind::ContainerExited { pod: pod(), code: 0, signal: None, oom: false }),
        ];
        let mut events: Vec<Event> = rows
            .into_iter()
            .zip(0..)
            .map(|((ms, kind), seq)| Event {
                at: Timestamp(ms * SECOND / 1_000),
                seq,
                source: Source::Api,
                precision: Some(Nanos::from_millis(250)),
                stated: None,
                kind,
            })
            .collect();
        events.sort_by_key(|event| (event.at, event.seq));
        let lane = Lives::of(&events).get("a").expect("lives").lane("a", Timestamp(16 * SECOND), 0);
        let spans = lane.spans.iter().filter(|span| span.from.0 >= 5 * SECOND);
        spans.map(|span| (span.phase, span.from.0 * 1_000 / SECOND)).collect()
    }

    #[test]
    fn a_deletion_that_is_seen_after_the_signal_does_not_end_the_drain() {
        let (drains, exited) = (PodPhase::Draining, PodPhase::Exited);
        assert_eq!(phases(10_000, 10_090), [(drains, 10_000), (exited, 15_000)]);
        assert_eq!(
            phases(13_000, 10_000),
            [(PodPhase::PreStop, 10_000), (drains, 13_000), (exited, 15_000)]
        );
    }
}
