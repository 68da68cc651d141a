//! What went wrong in the life of pods, whether it lost a request or not.
//!
//! A mistake that loses nothing today (an old pod that lingers until SIGKILL, a rollout that does
//! not go on) is told all the same: it has a name, pods, and a remedy.

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::{
    event::{Event, EventKind, ProbeKind},
    spec::Action,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    moment::Moment,
    pods::{Container, Lives},
};

macro_rules! findings {
    ($($variant:ident $name:literal $title:literal $advice:literal,)*) => {
        /// What was found.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum FindingKind {
            $(#[doc = $title] $variant,)*
        }

        impl FindingKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in summaries.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// A short title for people.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What stops it.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

findings! {
    SigtermIgnored "sigterm-ignored" "SIGTERM is ignored"
        "Handle SIGTERM. As PID 1 a process without a handler ignores it; a shell that starts the process without `exec` keeps it to itself.",
    KilledAtGraceEnd "killed-at-grace-end" "Killed at the end of the grace period"
        "Bound the drain, and let terminationGracePeriodSeconds exceed preStop and drain together.",
    KilledWhileStarting "killed-while-starting" "Killed by a probe while it started"
        "Give slow starts a startupProbe; the liveness probe waits for it.",
    PreStopFailed "pre-stop-failed" "The preStop hook failed"
        "Use the `sleep` action, which needs no program in the image, and let the grace period exceed it.",
    RolloutStalled "rollout-stalled" "The rollout does not go on"
        "The new version does not become ready: see its pods' logs. Old pods serve on; roll back.",
    EvictionRefused "eviction-refused" "An eviction was refused"
        "Run more replicas than the disruption budget wants to stay, or no node can be drained.",
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// The pods concerned, in order of creation.
    pub pods: Vec<String>,
    /// What was seen, in a sentence.
    pub evidence: String,
}

/// All that was found, by kind.
pub fn findings(events: &[Event], lives: &Lives) -> Vec<Finding> {
    let mut found: BTreeMap<FindingKind, Vec<(String, String)>> = BTreeMap::new();
    let mut add = |kind, pod: &str, seen: String| {
        found.entry(kind).or_default().push((pod.into(), seen));
    };
    for pod in &lives.order {
        for container in lives.get(pod).into_iter().flat_map(|life| &life.containers) {
            if let Some((kind, seen)) = killed(container) {
                add(kind, pod, seen);
            }
        }
    }
    let mut evictions = BTreeSet::new();
    // Pods of which an exit has been told: of two events of one instant the first came first.
    let mut exited = BTreeSet::new();
    for event in events {
        match &event.kind {
            EventKind::ContainerExited { pod, .. } => {
                exited.insert((pod.as_str(), event.at));
            }
            EventKind::PreStopEnded { pod, ok: false, detail }
                // Whoever ends before its hook has no use for it.
                if !has_exited_by(lives, pod, event, &exited) =>
            {
                add(FindingKind::PreStopFailed, pod, detail.clone());
            }
            EventKind::ProgressDeadlineExceeded { revision } => {
                add(FindingKind::RolloutStalled, "", format!("revision {revision} made no progress"));
            }
            EventKind::ActionStarted { action_id, action: Action::Evict(_) } => {
                evictions.insert(*action_id);
            }
            EventKind::ActionRefused { action_id, reason } if evictions.contains(action_id) => {
                add(FindingKind::EvictionRefused, "", reason.clone());
            }
            _ => {}
        }
    }
    found.into_iter().map(|(kind, seen)| finding(kind, &seen)).collect()
}

fn finding(kind: FindingKind, seen: &[(String, String)]) -> Finding {
    let mut pods: Vec<String> = Vec::new();
    for (pod, _) in seen.iter().filter(|(pod, _)| !pod.is_empty()) {
        if !pods.contains(pod) {
            pods.push(pod.clone());
        }
    }
    let first = seen.first().map(|(_, seen)| seen.as_str()).unwrap_or_default();
    let evidence = match seen.len() {
        0 | 1 => first.to_string(),
        n => format!("{n} times; the first: {first}"),
    };
    Finding { kind, pods, evidence }
}

/// Whether and how a container was ended by force.
fn killed(container: &Container) -> Option<(FindingKind, String)> {
    let after = |later: Moment, earlier: Moment| later.at.since(earlier.at).as_secs_f64();
    if let (Some((killed, probe)), None) = (container.probe_kill, container.ready) {
        let name = if probe == ProbeKind::Startup { "startup" } else { "liveness" };
        let seconds = after(killed, container.started);
        let seen = format!("the {name} probe ended it {seconds:.1} s after its start, never ready");
        return Some((FindingKind::KilledWhileStarting, seen));
    }
    let (sigterm, sigkill) = (container.sigterm?, container.sigkill?);
    container.exited.filter(|exit| exit.at.latest >= sigkill.earliest)?;
    // Who was stopped from outside could do nothing.
    if container.was_frozen(sigterm.at, sigkill.at) {
        return None;
    }
    let seconds = after(sigkill, sigterm);
    if container.tells_all && container.heard_signal.is_none() {
        let seen =
            format!("it served on as if nothing was, and got SIGKILL {seconds:.1} s after SIGTERM");
        return Some((FindingKind::SigtermIgnored, seen));
    }
    let doing = match (container.listener_closed, container.tells) {
        (Some(_), _) => "its listener was closed, and it did not end",
        (None, true) => "its listener was still open",
        (None, false) => "it ran on",
    };
    Some((FindingKind::KilledAtGraceEnd, format!("{doing}: SIGKILL {seconds:.1} s after SIGTERM")))
}

fn has_exited_by(
    lives: &Lives,
    pod: &str,
    event: &Event,
    exited: &BTreeSet<(&str, Timestamp)>,
) -> bool {
    let container = lives.get(pod).and_then(|life| life.container_at(event.at));
    container.and_then(|one| one.exited).is_some_and(|exit| {
        exit.at.at < event.at || (exit.at.at == event.at && exited.contains(&(pod, event.at)))
    })
}

#[cfg(test)]
mod tests {
    use highwater_model::{
        event::{LifecyclePhase, Signal, Source},
        spec::PodChoice,
        time::MILLISECOND,
    };

    use super::*;

    fn events(kinds: Vec<(u64, EventKind)>) -> Vec<Event> {
        let numbered = kinds.into_iter().zip(0..);
        let event = |((ms, kind), seq)| Event {
            at: Timestamp(ms * MILLISECOND),
            seq,
            source: Source::Kubelet,
            precision: None,
            stated: None,
            kind,
        };
        numbered.map(event).collect()
    }

    fn started() -> Vec<(u64, EventKind)> {
        let pod = || "a".to_string();
        vec![
            (0, EventKind::PodCreated { pod: pod(), revision: 1 }),
            (10, EventKind::ContainerStarted { pod: pod(), restarts: 0, address: None, pid: None }),
        ]
    }

    fn said(phase: LifecyclePhase) -> EventKind {
        EventKind::Lifecycle { pod: "a".into(), phase, detail: String::new() }
    }

    fn sent(signal: Signal) -> EventKind {
        EventKind::SignalSent { pod: "a".into(), signal, by_kubelet: true }
    }

    fn exited(code: i32) -> EventKind {
        EventKind::ContainerExited { pod: "a".into(), code, signal: None, oom: false }
    }

    fn found(more: Vec<(u64, EventKind)>) -> Vec<FindingKind> {
        let events = events(started().into_iter().chain(more).collect());
        findings(&events, &Lives::of(&events)).into_iter().map(|one| one.kind).collect()
    }

    #[test]
    fn a_forced_end_is_told_by_what_its_container_did_of_the_signal() {
        use FindingKind as K;
        let force = || vec![(5_000, sent(Signal::Sigkill)), (5_010, exited(137))];
        let term = || (1_000, sent(Signal::Sigterm));
        let rows = [
            ("a proper end", vec![term(), (2_000, exited(0))], vec![]),
            ("a stranger", [vec![term()], force()].concat(), vec![K::KilledAtGraceEnd]),
            (
                "one that tells and did not hear",
                [vec![(20, said(LifecyclePhase::Starting)), term()], force()].concat(),
                vec![K::SigtermIgnored],
            ),
            (
                "one that heard",
                [
                    vec![(20, said(LifecyclePhase::Starting)), term()],
                    vec![(1_001, said(LifecyclePhase::Signal))],
                    force(),
                ]
                .concat(),
                vec![K::KilledAtGraceEnd],
            ),
            (
                "one that was frozen",
                [vec![(900, sent(Signal::Sigstop)), term()], force()].concat(),
                vec![],
            ),
            (
                "one that was never ready",
                vec![(4_000, EventKind::ProbeKill { pod: "a".into(), probe: ProbeKind::Liveness })],
                vec![K::KilledWhileStarting],
            ),
        ];
        for (name, more, expected) in rows {
            assert_eq!(found(more), expected, "{name}");
        }
    }

    #[test]
    fn a_hook_that_fails_is_told_and_one_whose_container_ended_first_is_not() {
        let failed = || EventKind::PreStopEnded { pod: "a".into(), ok: false, detail: "x".into() };
        assert_eq!(found(vec![(2_000, failed())]), [FindingKind::PreStopFailed]);
        assert_eq!(found(vec![(2_000, exited(1)), (2_000, failed())]), []);
        // In virtual time a process may end in the instant of what its hook was to hold up.
        let at_once = vec![(2_000, failed()), (2_000, exited(1))];
        assert_eq!(found(at_once), [FindingKind::PreStopFailed]);
    }

    #[test]
    fn stalled_rollouts_and_forbidden_evictions_are_told() {
        let reason = "it would violate the pod's disruption budget".to_string();
        let started = |action_id, action| EventKind::ActionStarted { action_id, action };
        let rows = vec![
            (2_000, started(0, Action::Evict(PodChoice::default()))),
            (2_000, started(1, Action::Delete(PodChoice::default()))),
            (3_000, EventKind::ProgressDeadlineExceeded { revision: 2 }),
            (4_000, EventKind::ActionRefused { action_id: 0, reason }),
            (5_000, EventKind::ActionRefused { action_id: 1, reason: "no pod runs".into() }),
        ];
        assert_eq!(found(rows), [FindingKind::RolloutStalled, FindingKind::EvictionRefused]);
    }
}
