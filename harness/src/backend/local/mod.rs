//! Real processes, real sockets, real signals on loopback, under our own controllers.
//!
//! 1. the model's cluster machine decides: `driver` keeps its clock and carries out its effects
//! 2. each pod's process lives below a shim that leaves nothing behind: [`shim`]
//! 3. probes and hooks as a kubelet runs them, the proxy as a process of its own

mod address;
mod driver;
mod message;
mod pods;
mod probe;
mod proxy;
pub mod shim;

use std::path::PathBuf;

use highwater_model::spec::{Misbehaviour, PathKind, Probe, Scenario};

use super::{Backend, BackendError, Control, Ended};
use crate::{
    plan::{Plan, PlanError},
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

    fn check(&self, plan: &Plan) -> Result<(), PlanError> {
        match unsupported(&plan.scenario) {
            None => Ok(()),
            Some((path, message)) => {
                Err(PlanError::Unsupported { backend: BackendKind::Local, path, message })
            }
        }
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
        runtime.block_on(driver::run(plan, self.logs.as_deref(), sink, control))
    }
}

/// The first thing of a scenario that this backend cannot do.
fn unsupported(scenario: &Scenario) -> Option<(String, String)> {
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
    let can = [
        "exit-on-sigterm",
        "close-listener-first",
        "ready-before-listening",
        "refuse-while-draining",
    ];
    let revisions =
        scenario.events.iter().filter_map(|event| event.rollout.as_ref()?.misbehave.as_ref());
    let all = std::iter::once(&scenario.target.misbehave).chain(revisions).flatten();
    if let Some(how) = all.into_iter().find(|how| !can.contains(&how.name())) {
        let message = match how {
            Misbehaviour::SelfScaling => {
                format!("`{how}` needs an API server, which only a cluster has")
            }
            _ => format!("`{how}` is not there yet; there are {}", can.join(", ")),
        };
        return Some(("target.misbehave".into(), message));
    }
    if let Some(program) = scenario.target.command.as_ref().and_then(|argv| argv.first())
        && !is_program(program)
    {
        return Some((
            "target.command".into(),
            format!("there is no program `{program}` on this machine"),
        ));
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
    if program.contains('/') {
        return std::path::Path::new(program).is_file();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}
