//! The lines in which the bundled target tells of its own life, and of its use of the API.

use highwater_model::event::{EventKind, LifecyclePhase, Signal, Source};
use k8s_openapi::jiff;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Scribe,
    pod::PodState,
    time::{Clock, Estimate},
};

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

impl PodState {
    /// Takes a line of the pod's log. What is none of ours is left alone.
    pub(super) fn line(&mut self, text: &str, scribe: &mut Scribe<'_>) {
        let Ok(line) = serde_json::from_str::<Line>(text) else { return };
        if !line.highwater.starts_with("lifecycle/") {
            return;
        }
        let at = scribe.clocks.exact(line.time, Clock::Node(self.node.as_deref()));
        // A target cannot write history: nothing of its is later than now.
        let at = at.told(scribe.sight);
        let pod = self.name.clone();
        if line.event == SELF_SCALING {
            let counters = serde_json::from_value(Value::Object(line.details)).unwrap_or_default();
            let Counters { requests, conflicts, throttled, errors } = counters;
            let kind = EventKind::ApiUse { pod, requests, conflicts, throttled, errors };
            scribe.at(at, Source::Target, kind);
            return;
        }
        let Ok(phase) = serde_json::from_value::<LifecyclePhase>(Value::String(line.event)) else {
            return;
        };
        let at = self.heard(at, phase);
        let is_sigterm = line.details.get("signal").and_then(Value::as_str) == Some("SIGTERM");
        if phase == LifecyclePhase::Signal && is_sigterm && self.sigterm_heard(at.at) {
            let (pod, signal) = (pod.clone(), Signal::Sigterm);
            let kind = EventKind::SignalSent { pod, signal, by_kubelet: true };
            scribe.at(at, Source::Target, kind);
        }
        let detail = detail(&line.details);
        scribe.at(at, Source::Target, EventKind::Lifecycle { pod, phase, detail });
    }

    /// The container that runs says something of itself. Its own start is known by estimate only,
    /// and nothing of it comes before that.
    fn heard(&mut self, at: Estimate, phase: LifecyclePhase) -> Estimate {
        let Some(container) = self.container.as_ref().filter(|one| one.not_before <= at.at) else {
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
