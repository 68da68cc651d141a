//! The generators' pods: which pod is which generator, and which of them has died.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use tokio::sync::mpsc;

use super::{error::call, names};

/// How often the pods are looked at. Only their coming and their death matter, and a generator
/// that dies is seen by its connection as well.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The label that says which of an Indexed Job's completions a pod is.
///
/// *Source*: `batch/v1/types.go`, `JobCompletionIndexAnnotation`; a label since 1.28.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What was seen of a generator's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It runs.
    Running {
        /// Which generator.
        index: u32,
        /// The pod.
        pod: String,
    },
    /// It cannot start.
    Waiting {
        /// Which generator.
        index: u32,
        /// Why, in a word.
        reason: String,
        /// In words.
        message: String,
    },
    /// It has failed, or its object is gone.
    Died {
        /// Which generator.
        index: u32,
        /// How, in words.
        reason: String,
    },
}

/// Looks at the pods until nobody listens; tells each change once.
pub async fn look(client: Client, namespace: String, run: String, news: mpsc::Sender<Seen>) {
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let labels = names::component_labels(&run, names::Component::Generator);
    let list = ListParams::default().labels(&names::selector(&labels));
    let mut known: BTreeMap<u32, Seen> = BTreeMap::new();
    loop {
        // A list that fails tells nothing of the pods: the API server may be away.
        if let Ok(found) = call("listing the generators' pods", pods.list(&list)).await {
            for seen in changes(&known, &found.items) {
                known.insert(index_of(&seen), seen.clone());
                if news.send(seen).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        if news.is_closed() {
            return;
        }
    }
}

fn index_of(seen: &Seen) -> u32 {
    match seen {
        Seen::Running { index, .. } | Seen::Waiting { index, .. } | Seen::Died { index, .. } => {
            *index
        }
    }
}

/// What differs from what is known.
fn changes(known: &BTreeMap<u32, Seen>, pods: &[Pod]) -> Vec<Seen> {
    let now: BTreeMap<u32, Seen> =
        pods.iter().filter_map(state).map(|seen| (index_of(&seen), seen)).collect();
    let gone = known
        .iter()
        .filter(|(index, seen)| matches!(seen, Seen::Running { .. }) && !now.contains_key(index));
    let gone: Vec<Seen> = gone
        .map(|(index, _)| Seen::Died { index: *index, reason: "its pod is gone".into() })
        .collect();
    let changed = now.into_iter().filter(|(index, seen)| known.get(index) != Some(seen));
    changed.map(|(_, seen)| seen).chain(gone).collect()
}

fn state(pod: &Pod) -> Option<Seen> {
    let index = pod.labels().get(INDEX)?.parse().ok()?;
    let status = pod.status.as_ref()?;
    let container = status.container_statuses.as_ref().and_then(|list| list.first());
    let state = container.and_then(|container| container.state.as_ref());
    match status.phase.as_deref() {
        Some("Failed") => {
            let ended = state.and_then(|state| state.terminated.as_ref());
            let how = ended.map_or_else(
                || status.reason.clone().unwrap_or_else(|| "Failed".into()),
                |ended| {
                    let reason = ended.reason.clone().unwrap_or_default();
                    format!("{reason}, exit code {}", ended.exit_code)
                },
            );
            Some(Seen::Died { index, reason: format!("its pod failed ({how})") })
        }
        Some("Running") => Some(Seen::Running { index, pod: pod.name_any() }),
        Some("Pending") => {
            let waiting = state.and_then(|state| state.waiting.as_ref());
            let unscheduled =
                status.conditions.iter().flatten().find(|condition| {
                    condition.type_ == "PodScheduled" && condition.status == "False"
                });
            let (reason, message) = match (waiting, unscheduled) {
                (Some(waiting), _) => (waiting.reason.clone(), waiting.message.clone()),
                (None, Some(condition)) => (condition.reason.clone(), condition.message.clone()),
                (None, None) => return None,
            };
            Some(Seen::Waiting {
                index,
                reason: reason.unwrap_or_default(),
                message: message.unwrap_or_default(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(index: u32, status: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": format!("load-{index}"), "labels": {INDEX: index.to_string()}},
            "status": status,
        }))
        .expect("a pod")
    }

    #[test]
    fn each_change_of_a_pod_is_told_once() {
        let running = pod(0, json!({"phase": "Running"}));
        let missing = pod(
            1,
            json!({"phase": "Pending", "containerStatuses": [{
            "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "no image"}}}]}),
        );
        let full = pod(
            2,
            json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/2 nodes"}]}),
        );
        let seen = changes(&BTreeMap::new(), &[running.clone(), missing, full]);
        assert_eq!(
            seen,
            [
                Seen::Running { index: 0, pod: "load-0".into() },
                Seen::Waiting {
                    index: 1,
                    reason: "ErrImageNeverPull".into(),
                    message: "no image".into()
                },
                Seen::Waiting {
                    index: 2,
                    reason: "Unschedulable".into(),
                    message: "0/2 nodes".into()
                },
            ]
        );
        let known: BTreeMap<u32, Seen> =
            [(0, Seen::Running { index: 0, pod: "load-0".into() })].into();
        assert_eq!(changes(&known, &[running]), []);
        let failed = pod(
            0,
            json!({"phase": "Failed", "containerStatuses": [{
            "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
        );
        let reason = "its pod failed (OOMKilled, exit code 137)".to_string();
        assert_eq!(changes(&known, &[failed]), [Seen::Died { index: 0, reason }]);
        let reason = "its pod is gone".to_string();
        assert_eq!(changes(&known, &[]), [Seen::Died { index: 0, reason }]);
    }
}
