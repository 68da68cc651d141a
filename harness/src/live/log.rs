//! What of the events is worth a line while a run goes on.

use highwater_model::event::{DeleteReason, EventKind};

use crate::analyze::actions;

/// How a line is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Plain,
    /// What the scenario does.
    Action,
    /// Worth a look.
    Warning,
}

/// An event in a few words, as it came; `None` for what the rest of the view shows, or what is too
/// frequent to be read.
pub fn phrase(kind: &EventKind) -> Option<(Tone, String)> {
    pod(kind).or_else(|| run(kind))
}

/// Of the run, the scenario's events, the controllers and the cluster.
fn run(kind: &EventKind) -> Option<(Tone, String)> {
    use EventKind as E;
    let plain = |text: String| (Tone::Plain, text);
    let warning = |text: String| (Tone::Warning, text);
    let action = |text: String| (Tone::Action, text);
    Some(match kind {
        E::ClusterFound { version, nodes, namespace, .. } => {
            plain(format!("Kubernetes {version}, {} nodes, namespace {namespace}", nodes.len()))
        }
        E::TrafficStarted => plain("traffic begins".into()),
        E::TrafficEnded => plain("traffic ended".into()),
        E::PhaseStarted { phase } => plain(format!("phase {phase}")),
        E::ActionStarted { action: what, .. } => action(actions::text(what)),
        E::ActionRefused { reason, .. } => warning(format!("refused: {reason}")),
        E::ActionEffect { seen, .. } => action(format!("seen: {seen}")),
        E::RolloutStarted { revision } => action(format!("rollout of revision {revision} begins")),
        E::RolloutComplete { revision } => {
            action(format!("rollout of revision {revision} is complete"))
        }
        E::ProgressDeadlineExceeded { revision } => {
            warning(format!("rollout of revision {revision} makes no progress"))
        }
        E::AutoscalerDecision { from, to, reason } => {
            action(format!("autoscaler: {from} → {to}: {reason}"))
        }
        E::AutoscalerSpec { min, max } => plain(format!("autoscaler between {min} and {max}")),
        E::NodeCondition { node, condition, status, reason } => {
            plain(format!("node {node}: {condition} is {status}: {reason}"))
        }
        E::ClusterEvent { object, warning: true, reason, message, .. } => {
            warning(format!("{object}: {reason}: {message}"))
        }
        E::GeneratorLost { generator, reason, unsent } => {
            warning(format!("generator {generator} lost with {unsent} unsent: {reason}"))
        }
        E::WatchGap { what, reason, .. } => warning(format!("nothing heard of {what}: {reason}")),
        E::ProxyExited { reason } => warning(format!("the proxy ended: {reason}")),
        E::Warning { message, .. } => warning(message.clone()),
        _ => return None,
    })
}

/// Of a pod.
fn pod(kind: &EventKind) -> Option<(Tone, String)> {
    use EventKind as E;
    let (tone, pod, text) = match kind {
        E::PodReady { pod } => (Tone::Plain, pod, "ready".into()),
        E::PodUnready { pod, reason } => (Tone::Plain, pod, format!("unready: {reason}")),
        E::PodDeleted { pod, reason, .. } => {
            (Tone::Plain, pod, format!("deleted: {}", reason_of(*reason)))
        }
        E::PodUnschedulable { pod, message } => {
            (Tone::Warning, pod, format!("cannot be placed: {message}"))
        }
        E::ContainerStartFailed { pod, reason } => {
            (Tone::Warning, pod, format!("does not start: {reason}"))
        }
        E::ProbeKill { pod, probe } => {
            (Tone::Warning, pod, format!("killed by its {} probe", probe.name()))
        }
        E::PreStopEnded { pod, ok: false, detail } => {
            (Tone::Warning, pod, format!("preStop failed: {detail}"))
        }
        E::ContainerExited { pod, oom: true, .. } => {
            (Tone::Warning, pod, "killed for its memory".into())
        }
        E::ContainerExited { pod, code: code @ 1.., .. } => {
            (Tone::Warning, pod, format!("exited with {code}"))
        }
        E::BackOff { pod, wait } => (Tone::Warning, pod, format!("starts again after {wait}")),
        E::PodGone { pod } => (Tone::Plain, pod, "gone".into()),
        _ => return None,
    };
    Some((tone, format!("{pod} {text}")))
}

const fn reason_of(reason: DeleteReason) -> &'static str {
    match reason {
        DeleteReason::Rollout => "replaced by a rollout",
        DeleteReason::ScaleDown => "fewer are wanted",
        DeleteReason::Deleted => "by the scenario",
        DeleteReason::Eviction => "evicted",
        DeleteReason::Teardown => "the run ends",
        DeleteReason::Unknown => "not said why",
    }
}

#[cfg(test)]
mod tests {
    use highwater_model::{
        spec::{Action, Scale},
        time::Nanos,
    };

    use super::*;
    use crate::live::testkit::{exited, sigterm};

    #[test]
    fn what_matters_is_told_and_the_rest_is_not() {
        let pod = || "v1-1".to_string();
        let action = Action::Scale(Scale { replicas: 9 });
        let rows = [
            (EventKind::ActionStarted { action_id: 0, action }, Some((Tone::Action, "scale to 9"))),
            (EventKind::PodReady { pod: pod() }, Some((Tone::Plain, "v1-1 ready"))),
            (exited("v1-1", 137), Some((Tone::Warning, "v1-1 exited with 137"))),
            (exited("v1-1", 0), None),
            (sigterm("v1-1"), None),
            (
                EventKind::BackOff { pod: pod(), wait: Nanos::from_secs(10) },
                Some((Tone::Warning, "v1-1 starts again after 10s")),
            ),
            (
                EventKind::AutoscalerDecision { from: 2, to: 4, reason: "cpu".into() },
                Some((Tone::Action, "autoscaler: 2 → 4: cpu")),
            ),
        ];
        for (kind, told) in rows {
            let seen = phrase(&kind);
            assert_eq!(seen.as_ref().map(|(tone, text)| (*tone, text.as_str())), told, "{kind:?}");
        }
    }
}
