//! A real cluster: Kubernetes decides, Highwater acts and observes.
//!
//! 1. which cluster, and whether it may be acted on: [`client`]
//! 2. what is found wrong before anything is made: [`rights`], [`preflight`]
//! 3. the one namespace that a run owns, and its return: [`home`], [`sweep`], [`cleanup`]
//! 4. what a run makes in it: [`manifests`]
//! 5. what it changes of what is not its own, and puts back: [`journal`]
//! 6. what the scenario does to the target: [`act`]
//! 7. what is seen meanwhile: [`watch`], and what that tells: [`observe`]
//! 8. the run itself: `driver`, on what stands in the cluster ([`stage`]) with load from pods
//!    ([`pods_of_job`]), through Highwater's proxy if the path is one ([`proxies`]); both are
//!    talked to by [`port_forward`]

pub mod act;
pub mod cleanup;
pub mod client;
mod driver;
pub mod error;
pub mod home;
pub mod journal;
pub mod manifests;
pub mod names;
pub mod observe;
pub mod pods_of_job;
pub mod port_forward;
pub mod preflight;
pub mod proxies;
pub mod rights;
pub mod stage;
pub mod sweep;
pub mod watch;

use std::path::PathBuf;

use highwater_model::spec::{Generators, KillSignal, PathKind, Scenario, ServiceType};

use super::{Backend, BackendError, Control, Ended};
use crate::{
    generator,
    plan::Plan,
    record::{BackendKind, Sink},
};

/// Which cluster, and how it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which cluster.
    pub access: client::Access,
    /// The namespace that the run owns.
    pub namespace: String,
    /// The image with `highwater` in it.
    pub image: String,
}

/// The kube backend.
#[derive(Debug)]
pub struct Kube {
    options: Options,
    logs: Option<PathBuf>,
}

impl Kube {
    /// A backend that has not connected yet.
    pub fn new(options: Options) -> Self {
        Self { options, logs: None }
    }
}

impl Backend for Kube {
    fn kind(&self) -> BackendKind {
        BackendKind::Kube
    }

    fn keep_logs_in(&mut self, folder: PathBuf) {
        self.logs = Some(folder);
    }

    fn unsupported(&self, scenario: &Scenario) -> Option<(String, String)> {
        unsupported(scenario)
    }

    fn run(
        &mut self,
        plan: &Plan,
        sink: &mut dyn Sink,
        control: &mut Control<'_>,
    ) -> Result<Ended, BackendError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(BackendError::system("starting the runtime"))?;
        runtime.block_on(driver::run(&self.options, self.logs.clone(), plan, sink, control))
    }
}

/// The first thing of a scenario that this backend cannot do.
fn unsupported(scenario: &Scenario) -> Option<(String, String)> {
    let found = |path: &str, message: &str| Some((path.to_string(), message.to_string()));
    let (target, path) = (&scenario.target, &scenario.path);
    if target.command.is_some() {
        return found(
            "target.command",
            "a command is started on this machine; deploy it, and name it as target.workload",
        );
    }
    let of_this_machine = [
        ("target.url", target.url.is_some()),
        ("traffic.saturate", scenario.traffic.saturate.is_some()),
    ];
    if let Some((key, _)) = of_this_machine.into_iter().find(|(_, is_given)| *is_given) {
        return found(key, "it is for this machine's load engine alone; use --backend local");
    }
    if scenario.traffic.threads.is_some() {
        return found("traffic.threads", "each pod has one thread; use more traffic.generators");
    }
    if target.workload.is_some() && scenario.autoscaler.is_some() {
        return found(
            "autoscaler",
            "a workload has its own; to try other settings, use a patchAutoscaler event",
        );
    }
    if !scenario.controller_manager.is_default() {
        return found(
            "controllerManager",
            "a cluster's controller manager has settings of its own; leave it out on kube",
        );
    }
    if scenario.nodes.is_some() {
        return found("nodes", "a cluster has nodes of its own; leave it out on kube");
    }
    if path.clients > 1 {
        return found("path.clients", "the clients are the generators; use traffic.generators");
    }
    let is_local = scenario.traffic.generators == Some(Generators::Local);
    if is_local && path.url.is_none() && path.service_type == ServiceType::ClusterIp {
        return found(
            "traffic.generators",
            "a ClusterIP answers only within the cluster; use path.serviceType: NodePort, or \
             path.url",
        );
    }
    if !is_local && let Some(problem) = generator::too_long(scenario) {
        return Some(problem);
    }
    if path.kind == PathKind::L7 && target.workload.is_some() && path.url.is_none() {
        return found(
            "path.kind",
            "Highwater's proxy stands before the bundled service; for a workload use l4, or the \
             path.url of its ingress",
        );
    }
    for (index, event) in scenario.events.iter().enumerate() {
        let is_sigkill = event.kill.as_ref().is_some_and(|kill| kill.signal == KillSignal::Sigkill);
        if is_sigkill && target.workload.is_some() {
            return found(
                &format!("events[{index}].kill.signal"),
                "the kernel lets nothing inside a container kill its process 1 by SIGKILL \
                 (pid_namespaces(7)); use SIGTERM, or delete",
            );
        }
    }
    local_only(scenario)
}

/// What only local processes have.
fn local_only(scenario: &Scenario) -> Option<(String, String)> {
    let message = || "only --backend local can do it".to_string();
    if scenario.target.pod_disruption_budget.is_some() {
        return Some(("target.podDisruptionBudget".into(), message()));
    }
    for (index, event) in scenario.events.iter().enumerate() {
        let rollout = event.rollout.as_ref();
        let signal = event.kill.as_ref().map(|kill| kill.signal);
        let ends = [KillSignal::Sigterm, KillSignal::Sigkill];
        for (key, is_given) in [
            ("freeze", event.freeze.is_some()),
            ("dependencyOutage", event.dependency_outage.is_some()),
            ("rollout.service", rollout.is_some_and(|rollout| rollout.service.is_some())),
            ("kill.signal", signal.is_some_and(|signal| !ends.contains(&signal))),
        ] {
            if is_given {
                return Some((format!("events[{index}].{key}"), message()));
            }
        }
    }
    None
}
