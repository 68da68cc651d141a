//! Where a plan is carried out. Each backend writes the same record.

pub mod kube;
pub mod local;
mod service;
pub mod sim;

use std::path::PathBuf;

use tokio::sync::watch;

use highwater_model::{spec::Scenario, time::Nanos};

use crate::{
    plan::{Plan, PlanError},
    record::{BackendKind, EndReason, Limits, Sink, WriteError},
};

/// A place where a plan is carried out: virtual time, processes of this machine, a cluster.
///
/// A backend emits events, windows, failures and samples in the vocabulary of the record; what
/// they mean is told from the record alone. `sim` needs no runtime and `local` and `kube` bring
/// their own, so the trait is plain.
pub trait Backend {
    /// Which it is.
    fn kind(&self) -> BackendKind;

    /// Where the target's output is kept; nowhere if this is not called.
    fn keep_logs_in(&mut self, folder: PathBuf);

    /// The first thing of a scenario that this backend cannot do: the key, and why not.
    fn unsupported(&self, scenario: &Scenario) -> Option<(String, String)>;

    /// Refuses what this backend cannot do, by the name of the key.
    ///
    /// # Errors
    /// [`PlanError::Unsupported`].
    fn check(&self, plan: &Plan) -> Result<(), PlanError> {
        match self.unsupported(&plan.scenario) {
            None => Ok(()),
            Some((path, message)) => {
                Err(PlanError::Unsupported { backend: self.kind(), path, message })
            }
        }
    }

    /// Carries the plan out and writes all but the record's header and footer.
    ///
    /// # Errors
    /// If it could not be carried out; what is in the record by then is valid.
    fn run(
        &mut self,
        plan: &Plan,
        sink: &mut dyn Sink,
        control: &mut Control<'_>,
    ) -> Result<Ended, BackendError>;
}

/// How a run ended that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// As planned, or interrupted.
    pub reason: EndReason,
    /// When, on the run's axis.
    pub end: highwater_model::time::Timestamp,
    /// The least of the generators' limits, where they are not this process.
    pub limits: Option<Limits>,
}

/// What comes in and goes out beside the record while a run goes on.
pub struct Control<'a> {
    /// How often the user asked to stop: once ends the traffic and lets requests in flight end,
    /// twice gives up at once.
    pub interrupts: watch::Receiver<u32>,
    /// Told once per second.
    pub progress: &'a mut dyn FnMut(&Progress),
}

/// How a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What goes on: `starting`, `traffic`, `stopping`.
    pub stage: &'static str,
    /// Since the start of the traffic.
    pub elapsed: Nanos,
    /// The traffic's length.
    pub total: Nanos,
    /// Requests owed in the last second.
    pub rate: u64,
    /// 99th percentile of latency in the last second, nanoseconds.
    pub latency_p99: Option<u64>,
    /// Failures so far.
    pub failed: u64,
    /// Unsent so far.
    pub unsent: u64,
    /// Ready pods.
    pub ready: u32,
    /// Pods wanted.
    pub desired: u32,
    /// Pods on their way out.
    pub terminating: u32,
}

/// A run could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The cluster may not be acted on, or is not to be had.
    #[error(transparent)]
    Access(#[from] kube::client::AccessError),
    /// The cluster could not do what was needed.
    #[error(transparent)]
    Cluster(#[from] kube::error::ClusterError),
    /// Something that the run changed or made is still so.
    #[error("{0}; `highwater cleanup` undoes what is left")]
    NotRestored(#[source] kube::error::ClusterError),
    /// What was found before the run.
    #[error("the cluster is not ready for this run:{}", findings.iter().map(|one| format!("\n  - {one}")).collect::<String>())]
    Preflight {
        /// Each in a sentence, with what to do.
        findings: Vec<String>,
    },
    /// The record could not be written.
    #[error(transparent)]
    Record(#[from] WriteError),
    /// The operating system refused something that the backend needs.
    #[error("{doing}: {source}")]
    System {
        /// What was attempted.
        doing: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The target never became ready.
    #[error("the target did not become ready within {within}: {seen}")]
    NeverReady {
        /// How long was waited.
        within: Nanos,
        /// What was seen of it.
        seen: String,
    },
    /// A part of the harness ended.
    #[error("{part} ended in the middle of the run: {reason}")]
    PartEnded {
        /// Which.
        part: &'static str,
        /// How.
        reason: String,
    },
}

impl BackendError {
    /// An error of the operating system while `doing`.
    pub fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::System { doing, source }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What a backend says of a scenario with these keys: the key that it cannot do.
    fn refused(backend: &dyn Backend, more: &Value) -> Option<String> {
        let mut scenario = json!({"name": "a", "traffic": {"phases": [{"hold": 1, "for": "1s"}]}});
        for (key, value) in more.as_object().expect("keys") {
            scenario[key] = value.clone();
        }
        let plan = Plan::new(serde_json::from_value(scenario).expect("a scenario"));
        match backend.check(&plan.expect("a plan")) {
            Err(PlanError::Unsupported { path, message, .. }) => {
                assert!(!message.is_empty());
                Some(path)
            }
            Ok(()) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_a_backend_cannot_do_is_refused_by_name() {
        let access = kube::client::Access::default();
        let options = kube::Options { access, namespace: "a".into(), image: "a".into() };
        let (local, kube, sim) = (local::Local::default(), kube::Kube::new(options), sim::Sim);
        let l7 = json!({"path": {"kind": "l7", "retry": "idempotent", "balancing": "random",
            "passiveHealth": {"maxFails": 2}, "maxRequestsPerConnection": 9}});
        // The scenario's keys, and which of them is refused by local, kube and sim.
        let rows = [
            (json!({}), [None, None, None]),
            (l7, [None, None, None]),
            (json!({"nodes": {"count": 2}}), [Some("nodes"), Some("nodes"), None]),
            (json!({"simulation": {"cores": 1}}), [None, None, None]),
            (
                json!({"target": {"command": ["sh"]}}),
                [None, Some("target.command"), Some("target.command")],
            ),
        ];
        let backends: [&dyn Backend; 3] = [&local, &kube, &sim];
        for (more, expected) in rows {
            for (backend, expected) in backends.into_iter().zip(expected) {
                let name = backend.kind().name();
                assert_eq!(refused(backend, &more).as_deref(), expected, "{name}: {more}");
            }
        }
    }
}
