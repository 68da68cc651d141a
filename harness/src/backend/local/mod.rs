//! Real processes, real sockets, real signals on loopback, under our own controllers.
//!
//! 1. the model's cluster machine decides: `driver` keeps its clock and carries out its effects
//! 2. each pod's process lives below a shim that leaves nothing behind: [`shim`]
//! 3. probes and hooks as a kubelet runs them, the proxy as a process of its own
//! 4. a target that is only an address has none of these: `bare`

mod address;
mod bare;
mod driver;
mod message;
mod metrics;
mod pods;
mod probe;
mod proxy;
pub mod shim;

use std::path::{Path, PathBuf};

use highwater_model::spec::{
    Generators, Misbehaviour, PathKind, Probe, Scenario, ScheduledEvent, ServiceType,
};
use rustix::fs::Access;

use super::{Backend, BackendError, Control, Ended, service};
use crate::{
    plan::Plan,
    record::{BackendKind, Sink},
};

/// The local backend.
#[derive(Debug, Default)]
pub struct Local {
    /// Where the pods' output is kept; nowhere if not given.
    pub logs: Option<PathBuf>,
}

impl Backend for Local {
    fn kind(&self) -> BackendKind {
        BackendKind::Local
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
        if plan.scenario.target.url.is_some() {
            return runtime.block_on(bare::run(plan, sink, control));
        }
        runtime.block_on(driver::run(plan, self.logs.as_deref(), sink, control))
    }
}

/// What only a cluster has: the keys of `scenario` that go with `--backend kube`.
fn cluster_only(scenario: &Scenario) -> Option<String> {
    let path = &scenario.path;
    for (key, is_given) in [
        ("target.workload", scenario.target.workload.is_some()),
        ("path.serviceType", path.service_type != ServiceType::ClusterIp),
        ("path.url", path.url.is_some()),
        ("traffic.generators", matches!(scenario.traffic.generators, Some(Generators::Pods(_)))),
    ] {
        if is_given {
            return Some(key.into());
        }
    }
    for (index, event) in scenario.events.iter().enumerate() {
        let rollout = event.rollout.as_ref();
        for (key, is_given) in [
            ("drainNode", event.drain_node.is_some()),
            ("rollout.image", rollout.is_some_and(|rollout| rollout.image.is_some())),
        ] {
            if is_given {
                return Some(format!("events[{index}].{key}"));
            }
        }
    }
    None
}

/// The first thing of a scenario that this backend cannot do.
fn unsupported(scenario: &Scenario) -> Option<(String, String)> {
    if let Some(key) = cluster_only(scenario) {
        return Some((key, "it needs a cluster; use --backend kube".into()));
    }
    if scenario.nodes.is_some() {
        let message = "its pods are processes of this machine, which has no room to be modelled";
        return Some(("nodes".into(), format!("{message}; use --backend sim")));
    }
    if scenario.autoscaler.is_some() && !metrics::can_account() {
        let message = "it needs the processes' accounting in /proc, which this machine has not";
        return Some(("autoscaler".into(), message.into()));
    }
    let template = &scenario.target.deployment.template;
    let probes = [
        ("startupProbe", &template.startup_probe),
        ("readinessProbe", &template.readiness_probe),
        ("livenessProbe", &template.liveness_probe),
    ];
    for (name, probe) in probes {
        let scheme =
            probe.as_ref().and_then(|probe: &Probe| probe.http_get.as_ref()?.scheme.as_ref());
        if scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case("http")) {
            let path = format!("target.deployment.template.{name}.httpGet.scheme");
            return Some((path, "it speaks HTTP only; use HTTP, or tcpSocket".into()));
        }
    }
    let needs_cluster = |how: &Misbehaviour| *how == Misbehaviour::SelfScaling;
    if let Some(how) = service::misbehaviours(scenario).find(|how| needs_cluster(how)) {
        let message = format!("`{how}` needs an API server, which only a cluster has");
        return Some(("target.misbehave".into(), message));
    }
    if let Some(program) = scenario.target.command.as_ref().and_then(|argv| argv.first())
        && !is_program(program)
    {
        let reason = format!("there is no program `{program}` on this machine that may be run");
        return Some(("target.command".into(), reason));
    }
    let is_service = scenario.target.command.is_none();
    let sets_env = |event: &ScheduledEvent| {
        event.rollout.as_ref().is_some_and(|rollout| !rollout.env.is_empty())
    };
    if let Some(index) = scenario.events.iter().position(|event| is_service && sets_env(event)) {
        let message = "the bundled service reads no variable; use rollout.service".to_string();
        return Some((format!("events[{index}].rollout.env"), message));
    }
    if scenario.path.kind == PathKind::L7
        && scenario.traffic.requests.iter().any(|kind| {
            kind.headers.iter().any(|header| header.name.eq_ignore_ascii_case("upgrade"))
        })
    {
        return Some(("traffic.requests".into(), "the proxy passes no upgrades on".into()));
    }
    None
}

/// Whether `program` can be started: a path to a file, or a name that `PATH` leads to.
fn is_program(program: &str) -> bool {
    let may_be_run =
        |path: &Path| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return may_be_run(Path::new(program));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| may_be_run(&folder.join(program)))
}
