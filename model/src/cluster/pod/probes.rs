//! What probes mean for the pod.

use alloc::{format, string::String, vec::Vec};

use super::{Effect, EventKind, Pod, emit};
use crate::{
    cluster::probe::{Fired, Prober, Recorded},
    event::ProbeKind,
    time::{Nanos, Timestamp},
};

fn place(kind: ProbeKind) -> usize {
    match kind {
        ProbeKind::Startup => 0,
        ProbeKind::Readiness => 1,
        ProbeKind::Liveness => 2,
    }
}

impl Pod {
    pub(super) fn prober(&self, kind: ProbeKind) -> Option<&Prober> {
        self.probers[place(kind)].as_ref()
    }

    /// Whether the startup probe has passed, or there is none.
    fn is_started(&self) -> bool {
        self.prober(ProbeKind::Startup).is_none_or(|prober| prober.verdict() == Some(true))
    }

    pub(super) fn fire_probes(
        &mut self,
        now: Timestamp,
        numbers: &mut u64,
        effects: &mut Vec<Effect>,
    ) {
        for place in 0..self.probers.len() {
            let (is_started, container) = (self.is_started(), self.container_id());
            let Some(prober) = &mut self.probers[place] else {
                continue;
            };
            let kind = prober.kind();
            match prober.fire(now, is_started, numbers) {
                Some(Fired::Run { probe, timeout }) => {
                    effects.push(Effect::RunProbe { probe, container, kind, timeout })
                }
                Some(Fired::GaveUp(recorded)) => {
                    let detail = "no answer".into();
                    self.probed(now, kind, recorded, detail, effects);
                }
                None => {}
            }
        }
    }

    /// A probe was answered. Returns whether it was one of this pod's that is awaited.
    pub fn probe_done(
        &mut self,
        now: Timestamp,
        probe: u64,
        passed: bool,
        detail: &str,
        effects: &mut Vec<Effect>,
    ) -> bool {
        for place in 0..self.probers.len() {
            let Some(prober) = &mut self.probers[place] else {
                continue;
            };
            let kind = prober.kind();
            if let Some(recorded) = prober.done(now, probe, passed) {
                self.probed(now, kind, recorded, detail.into(), effects);
                return true;
            }
        }
        false
    }

    fn probed(
        &mut self,
        now: Timestamp,
        kind: ProbeKind,
        recorded: Recorded,
        detail: String,
        effects: &mut Vec<Effect>,
    ) {
        let Recorded { passed, run, is_change, is_news } = recorded;
        let reason = format!("readiness probe failed: {detail}");
        if is_news {
            let result =
                EventKind::ProbeResult { pod: self.name(), probe: kind, passed, run, detail };
            emit(effects, result);
        }
        match (kind, passed) {
            _ if !is_change => {}
            (ProbeKind::Readiness, _) => self.set_ready(passed, &reason, effects),
            (ProbeKind::Startup, true) => self.see_started(now, effects),
            (ProbeKind::Liveness, true) => {}
            (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                self.fail_container(now, kind, effects);
            }
        }
    }

    /// The container counts as started: without a readiness probe it is ready, with one it is
    /// probed at once.
    pub(super) fn see_started(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match &mut self.probers[place(ProbeKind::Readiness)] {
            Some(prober) => prober.trigger(now),
            None => self.set_ready(true, "", effects),
        }
    }

    /// A startup or liveness probe failed for good: the container is ended as in a deletion, but
    /// the pod and its endpoint stay. A container that ends already is left alone.
    fn fail_container(&mut self, now: Timestamp, kind: ProbeKind, effects: &mut Vec<Effect>) {
        if !self.is_running() || self.stop.is_some() {
            return;
        }
        let probe = match kind {
            ProbeKind::Startup => &self.template.startup_probe,
            ProbeKind::Readiness | ProbeKind::Liveness => &self.template.liveness_probe,
        };
        let own = probe.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
        let grace = own.unwrap_or(self.template.termination_grace_period_seconds);
        let pod = self.name();
        emit(effects, EventKind::ProbeKill { pod, probe: kind });
        self.begin_stop_within(now, Nanos::from_secs(u64::from(grace)), effects);
    }
}
