//! The scenario that a fit begins with: the record's own, as far as the simulator has it.

use highwater_model::{
    spec::{
        Deployment, Drain, HttpGetAction, Misbehaviour, Path, PodChoice, Probe, Rollout, Scenario,
        ScheduledEvent, Service, Target,
    },
    time::Nanos,
};

use super::{
    CalibrateError,
    seen::Seen,
    told::{Origin, Parameter},
};
use crate::{
    analyze::{Analysis, Cause},
    record::RunRecord,
};

/// A process that is gone so soon after SIGTERM has not drained.
const ABRUPT: Nanos = Nanos::from_millis(500);

/// The scenario, and what had to be taken in place of what the simulator does not have.
///
/// # Errors
/// If it is one that no simulation can stand for.
pub(super) fn base(
    record: &RunRecord,
    seen: &Seen<'_>,
    analysis: &Analysis,
) -> Result<(Scenario, Vec<Parameter>), CalibrateError> {
    let mut scenario = record.header.scenario.clone();
    let refuse = |what| Err(CalibrateError::Unfit(what));
    if scenario.target.url.is_some() {
        return refuse("its target is a URL: nothing is known of pods");
    }
    if scenario.traffic.saturate.is_some() {
        return refuse("it is a closed loop (`traffic.saturate`)");
    }
    if scenario.traffic.phases.iter().any(|phase| phase.trace.is_some()) {
        return refuse("its traffic is a trace, of whose requests a record keeps only the number");
    }
    let mut told = Vec::new();
    if scenario.target.service.is_none() {
        scenario.target = stand_in(&scenario.target, seen, analysis, &mut told);
    }
    let path = Path::default();
    scenario.path.url = path.url;
    scenario.path.host = path.host;
    scenario.path.service_type = path.service_type;
    scenario.traffic.generators = None;
    scenario.traffic.threads = None;
    // The record has the points of its curves; the files may be gone.
    for curve in scenario.traffic.phases.iter_mut().filter_map(|phase| phase.curve.as_mut()) {
        (curve.file, curve.time, curve.rate, curve.per) = (None, None, None, None);
    }
    for (index, event) in scenario.events.iter_mut().enumerate() {
        if let Some(why) = translate(event) {
            told.push(Parameter::new(&format!("events[{index}]"), "", Origin::Assumed, why));
        }
    }
    Ok((scenario, told))
}

/// The bundled service in place of a command or a workload.
fn stand_in(
    target: &Target,
    seen: &Seen<'_>,
    analysis: &Analysis,
    told: &mut Vec<Parameter>,
) -> Target {
    let mut deployment = target.deployment.clone();
    if target.workload.is_some() {
        let probe = Probe {
            http_get: Some(HttpGetAction { path: "/readyz".into(), ..HttpGetAction::default() }),
            period_seconds: 1,
            ..Probe::default()
        };
        deployment = Deployment { replicas: seen.replicas.unwrap_or(1), ..Deployment::default() };
        deployment.template.readiness_probe = Some(probe);
        told.push(Parameter::new(
            "target.deployment",
            &format!("{} replicas, a readiness probe each second", deployment.replicas),
            Origin::Assumed,
            "the record has not the workload's manifest: paste its strategy, probes and grace period",
        ));
    }
    let lost = |cause| analysis.losses.iter().any(|loss| loss.cause == cause);
    let mut exits = seen.exits.clone();
    exits.sort_unstable();
    let exit = exits.get(exits.len() / 2).copied();
    let mut drain = Drain::default();
    let mut misbehave = Vec::new();
    let why = match exit {
        None => "no pod was told to end: the default",
        Some(exit) if exit < ABRUPT && lost(Cause::AbruptExit) => {
            misbehave.push(Misbehaviour::ExitOnSigterm);
            "requests were cut off by its exit at once"
        }
        Some(exit) if lost(Cause::TerminationRace) => {
            drain = Drain { delay: Nanos::ZERO, deadline: drain.deadline.max(exit) };
            "requests met its closed door: it serves on for no time"
        }
        Some(exit) => {
            drain = Drain { delay: exit, deadline: drain.deadline.max(exit) };
            "from SIGTERM to its end, the median: how much of it is a delay cannot be told"
        }
    };
    let shown = match misbehave.first() {
        Some(how) => how.name().into(),
        None => format!("delay {}", drain.delay),
    };
    told.push(Parameter::new("target.service.drain", &shown, Origin::Assumed, why));
    Target {
        service: Some(Service { drain, ..Service::default() }),
        deployment,
        pod_disruption_budget: target.pod_disruption_budget.clone(),
        misbehave,
        ..Target::default()
    }
}

/// An event that the simulator has in place of one that it has not; says which.
fn translate(event: &mut ScheduledEvent) -> Option<&'static str> {
    if let Some(drain) = event.drain_node.take() {
        event.evict = Some(PodChoice { pod: drain.pod });
        return Some("`drainNode` became the eviction of that pod alone");
    }
    let rollout = event.rollout.as_mut()?;
    let is_other = rollout.image.is_some() || rollout.command.is_some() || !rollout.env.is_empty();
    if is_other {
        *rollout = Rollout { misbehave: rollout.misbehave.take(), ..Rollout::default() };
        return Some("the new revision is simulated with the service of the old one");
    }
    None
}
