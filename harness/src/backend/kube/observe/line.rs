//! The lines in which the bundled target tells of its own life, and of its use of the API.

use highwater_model::{
    event::{EventKind, LifecyclePhase, Signal, Source},
    time::{Nanos, Timestamp},
};
use k8s_openapi::jiff;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Scribe,
    pod::PodState,
    time::{Clock, Estimate},
};

/// A line that says that the process runs.
const STARTING: &str = "starting";
/// A line that counts what the target asked of the API server.
const SELF_SCALING: &str = "self-scaling";

/// A line of the target's. Its clock is the node's.
///
/// *Source*: `target-service/src/lifecycle.rs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    highwater: String,
    event: String,
    time: jiff::Timestamp,
    #[serde(flatten)]
    details: Map<String, Value>,
}

/// The counters of a `self-scaling` line, since the process started.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counters {
    requests: u64,
    conflicts: u64,
    throttled: u64,
    errors: u64,
}

/// How long lines are held back at most: a kubelet's word of a start is up to a second late.
const HOLD: Nanos = Nanos::from_secs(5);
/// How many lines are held back at most; a target tells some ten in its life.
const HELD_MAX: usize = 64;
/// How long after its process was started a target says so.
const START_DELAY: Nanos = Nanos::from_millis(50);

/// A line with its instant.
struct Told {
    at: Estimate,
    event: String,
    details: Map<String, Value>,
}

impl PodState {
    /// Takes a line of the pod's log. What is none of ours is left alone. Lines of a container
    /// that was not seen to start yet wait for that: they come by another way than its status.
    pub(super) fn line(&mut self, text: &str, scribe: &mut Scribe<'_>) {
        let Some(told) = self.read(text, scribe) else { return };
        let is_start = told.event == STARTING;
        let is_early = match &self.container {
            None => true,
            Some(container) => is_start && told.at.at > container.bounds.1,
        };
        if (is_early || !self.flow.held.is_empty()) && self.flow.held.len() < HELD_MAX {
            if is_start && self.flow.starting.is_none() {
                self.flow.starting = Some(told.at.later(Nanos::ZERO, START_DELAY));
            }
            self.flow.held.push((scribe.sight, text.into()));
        } else {
            self.tell_line(told, scribe);
        }
    }

    fn read(&self, text: &str, scribe: &Scribe<'_>) -> Option<Told> {
        let line = serde_json::from_str::<Line>(text).ok()?;
        if !line.highwater.starts_with("lifecycle/") {
            return None;
        }
        let at = scribe.clocks.exact(line.time, Clock::Node(self.node.as_deref()));
        // A target cannot write history: nothing of its is later than now.
        Some(Told { at: at.told(scribe.sight), event: line.event, details: line.details })
    }

    /// When lines that are held back are told in any case.
    pub(super) fn lines_due(&self) -> Option<Timestamp> {
        self.flow.held.first().map(|(sight, _)| sight.now + HOLD)
    }

    /// A container was seen to start: takes the lines that waited for it.
    pub(super) fn release_lines(&mut self, scribe: &mut Scribe<'_>) {
        let sight = scribe.sight;
        for (seen, text) in std::mem::take(&mut self.flow.held) {
            scribe.sight = seen;
            self.line(&text, scribe);
        }
        scribe.sight = sight;
    }

    /// Tells the lines that were held back, whatever they are of.
    pub(super) fn force_lines(&mut self, scribe: &mut Scribe<'_>) {
        let sight = scribe.sight;
        self.flow.starting = None;
        for (seen, text) in std::mem::take(&mut self.flow.held) {
            scribe.sight = seen;
            if let Some(told) = self.read(&text, scribe) {
                self.tell_line(told, scribe);
            }
        }
        scribe.sight = sight;
    }

    fn tell_line(&mut self, told: Told, scribe: &mut Scribe<'_>) {
        let Told { at, event, details } = told;
        let pod = self.name.clone();
        if event == SELF_SCALING {
            let counters = serde_json::from_value(Value::Object(details)).unwrap_or_default();
            let Counters { requests, conflicts, throttled, errors } = counters;
            let kind = EventKind::ApiUse { pod, requests, conflicts, throttled, errors };
            scribe.at(at, Source::Target, kind);
            return;
        }
        let Ok(phase) = serde_json::from_value::<LifecyclePhase>(Value::String(event)) else {
            return;
        };
        let at = self.heard(at, phase);
        let is_sigterm = details.get("signal").and_then(Value::as_str) == Some("SIGTERM");
        if phase == LifecyclePhase::Signal && is_sigterm && self.sigterm_heard(at.at) {
            let (pod, signal) = (pod.clone(), Signal::Sigterm);
            let kind = EventKind::SignalSent { pod, signal, by_kubelet: true };
            scribe.at(at, Source::Target, kind);
        }
        let detail = detail(&details);
        scribe.at(at, Source::Target, EventKind::Lifecycle { pod, phase, detail });
    }

    /// The container says something of itself. Its own start is known by estimate only, and
    /// nothing of it comes before that.
    fn heard(&mut self, at: Estimate, phase: LifecyclePhase) -> Estimate {
        let Some(container) = self.container.as_ref().filter(|one| one.bounds.0 <= at.at) else {
            return at;
        };
        let at = at.not_before(container.started);
        if container.exited.is_none() {
            self.flow.last_line = self.flow.last_line.max(at.at);
            self.flow.exiting = (phase == LifecyclePhase::Exiting).then_some(at);
        }
        at
    }
}

/// `key=value` for all but what every line has.
fn detail(details: &Map<String, Value>) -> String {
    let all = details.iter().filter(|(key, _)| !matches!(key.as_str(), "monoNs" | "pod"));
    all.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}
