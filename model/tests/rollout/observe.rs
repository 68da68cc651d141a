//! What the world notes of the deployment's status and of the endpoints.

use std::collections::BTreeMap;

use highwater_model::{
    cluster::{
        deployment::Reason,
        endpoints::Entry,
        replicaset::{Phase, Pod},
    },
    time::Nanos,
};
use serde_json::json;

use crate::world::World;

/// What the EndpointSlice controller looks at in a pod.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    has_address: bool,
    is_ready: bool,
    is_terminating: bool,
}

impl World<'_> {
    /// The EndpointSlice controller writes some time after a pod came, went, or changed its
    /// address, readiness or deletion; other changes, like the eviction of one that is not ready,
    /// it notes with the next of these.
    pub(super) fn look_at_pods(&mut self) {
        let look = |pod: &Pod| {
            let had_address = self.seen.get(&pod.pod).is_some_and(|seen| seen.has_address);
            let has_address = match pod.phase {
                Phase::Pending => false,
                Phase::Running => true,
                Phase::Failed => had_address,
            };
            let is_ready = pod.ready.is_some();
            (pod.pod, Seen { has_address, is_ready, is_terminating: pod.is_terminating })
        };
        let seen: BTreeMap<u32, Seen> = self.controllers.pods().iter().map(look).collect();
        if seen == self.seen {
            return;
        }
        self.seen = seen;
        if self.case.batch == Nanos::ZERO {
            self.note_endpoints();
        } else {
            self.slice_due.get_or_insert(self.now + self.case.batch);
        }
    }

    /// The endpoints: pods with an address that have not failed.
    pub(super) fn note_endpoints(&mut self) {
        let entries: Vec<Entry> = self
            .controllers
            .pods()
            .iter()
            .filter(|pod| pod.phase == Phase::Running)
            .map(|pod| {
                let name = format!("v{}-{}", pod.template, pod.number);
                Entry::new(pod.pod, &name, pod.ready.is_some(), pod.is_terminating)
            })
            .collect();
        if entries != self.endpoints {
            let endpoints: Vec<_> = entries.iter().map(|entry| &entry.endpoint).collect();
            self.add(json!({"kind": "endpoints", "endpoints": endpoints}));
            self.endpoints = entries;
        }
    }

    pub(super) fn note_status(&mut self) {
        let deployment = self.controllers.deployment();
        let (status, revision) = (*deployment.status(), deployment.revision());
        if self.status == Some((status, revision)) {
            return;
        }
        self.status = Some((status, revision));
        self.add(json!({"kind": "deployment-revision", "revision": revision.to_string()}));
        self.add(json!({"kind": "deployment-status", "replicas": status.replicas,
            "updated": status.updated, "ready": status.ready, "available": status.available,
            "terminating": status.terminating}));
        if let Some(minimum) = status.minimum {
            let status = if minimum { "True" } else { "False" };
            self.add(
                json!({"kind": "deployment-condition", "type": "Available", "status": status}),
            );
        }
        if let Some(progress) = status.progress {
            let reason = match progress.reason {
                Reason::Available => "NewReplicaSetAvailable",
                Reason::TimedOut => "ProgressDeadlineExceeded",
                Reason::Paused => "DeploymentPaused",
                Reason::Resumed => "DeploymentResumed",
                Reason::FoundNew => "FoundNewReplicaSet",
                Reason::Created => "NewReplicaSetCreated",
                Reason::Updated => "ReplicaSetUpdated",
            };
            let updated = progress.updated.second();
            self.add(json!({"kind": "deployment-condition", "type": "Progressing",
                "reason": reason, "lastUpdate": updated}));
        }
    }
}
