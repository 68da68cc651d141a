//! The scorecard: how well the pods followed the demand, what that cost, and what it would have
//! cost to know the future.
//!
//! 1. `attain`: the seconds in which the objectives held
//! 2. `capacity`: what a pod can take, from the scenario's model of its service, else as measured
//! 3. supply against demand, by the metrics of [`highwater_model::elasticity`], and the oracle
//!
//! Everything counts over the time of the traffic.

mod attain;
mod capacity;
#[cfg(test)]
mod tests;

use highwater_model::{
    elasticity::{self, CapacityError, Demand, Elasticity, Oracle, Steps},
    load::Profile,
    time::{Nanos, Timestamp},
};

pub use attain::Attainment;
pub use capacity::{Basis, Usable};

use super::{
    PhaseResult, ReplicaPoint, SecondPoint,
    scaling::{PodStarts, ScaleDown},
};
use crate::record::{RunRecord, hist};

/// For how long the oracle must not need a pod to stop it: no pod is started and stopped within a
/// minute.
pub const REST: Nanos = Nanos::from_secs(60);

/// The scorecard of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Scorecard {
    /// The seconds in which the objectives held; `None` without traffic.
    pub attainment: Option<Attainment>,
    /// How long each scale-down by the autoscaler took, in order.
    pub scale_downs: Vec<ScaleDown>,
    /// Supply against demand, or why the demand is not known.
    pub elastic: Result<Elastic, NoDemand>,
}

impl Default for Scorecard {
    fn default() -> Self {
        Self { attainment: None, scale_downs: Vec::new(), elastic: Err(NoDemand::NoTraffic) }
    }
}

/// Supply against demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Elastic {
    /// What a pod can take, and whence that is known.
    pub basis: Basis,
    /// The most that one pod can take, requests per second.
    pub per_pod: f64,
    /// Most pods that were demanded.
    pub peak: u32,
    /// Whether more were demanded than were looked at.
    pub is_capped: bool,
    /// The metrics.
    pub metrics: Elasticity,
    /// Over which time changes of supply and demand are compared for the instability.
    pub window: Nanos,
    /// What was there: pods that were not gone, in hours.
    pub pod_hours: f64,
    /// What the oracle would have had.
    pub oracle_hours: f64,
    /// How much more than that was there, as a share of it.
    pub regret: Option<f64>,
    /// How long the oracle's pods take to start.
    pub lead: Nanos,
    /// Whether that is the median of the run's own pods, or of the scenario.
    pub is_lead_measured: bool,
    /// The demand; instants count from the start of the traffic.
    pub demand: Steps,
}

/// Why the demand is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDemand {
    /// No traffic.
    #[error("there was no traffic")]
    NoTraffic,
    /// A closed loop.
    #[error("a closed loop sends as much as is answered, so it demands nothing of its own")]
    ClosedLoop,
    /// No pods are known.
    #[error("nothing is known of the pods behind the target")]
    NoPods,
    /// Nothing tells what a pod can take.
    #[error(
        "what a pod can take is known neither from the scenario (a `target.service`) nor from the run \
         (its CPU and a limit, or a second in which all objectives held)"
    )]
    NoCapacity,
    /// The scenario's model has none.
    #[error("{0}")]
    Model(#[from] CapacityError),
}

/// What the scorecard is made of, beside the record.
pub(super) struct Known<'a> {
    pub(super) traffic: (Timestamp, Timestamp),
    pub(super) phases: &'a [PhaseResult],
    pub(super) seconds: &'a [SecondPoint],
    /// Latency of good answers by phase.
    pub(super) latency: &'a dyn Fn(usize) -> Option<&'a hist::Hist>,
    pub(super) replicas: &'a [ReplicaPoint],
    pub(super) starts: &'a PodStarts,
    pub(super) scale_downs: Vec<ScaleDown>,
}

/// The scorecard of a run.
pub(super) fn scorecard(record: &RunRecord, known: Known<'_>) -> Scorecard {
    let held = attain::held(record, &known);
    Scorecard {
        attainment: attain::attainment(record, &known, &held),
        elastic: elastic(record, &known, &held),
        scale_downs: known.scale_downs,
    }
}

fn elastic(record: &RunRecord, known: &Known<'_>, held: &[bool]) -> Result<Elastic, NoDemand> {
    let scenario = &record.header.scenario;
    let (start, end) = known.traffic;
    let lasted = Timestamp::ZERO + end.since(start);
    if lasted == Timestamp::ZERO {
        return Err(NoDemand::NoTraffic);
    }
    if scenario.traffic.saturate.is_some() {
        return Err(NoDemand::ClosedLoop);
    }
    let most = known.replicas.iter().map(|point| point.current).max().unwrap_or_default();
    if most == 0 {
        return Err(NoDemand::NoPods);
    }
    // A scenario that was run has shapes.
    let profile = Profile::new(&scenario.traffic).map_err(|_| NoDemand::NoTraffic)?;
    let peak = profile.peak(Nanos::ZERO, end.since(start));
    let (ceilings, basis) = capacity::capacity(record, known, held, peak)?;
    let Demand { pods: demand, is_capped } = elasticity::demand(&profile, &ceilings, 1);
    let [ready, there] = supplies(known.replicas).map(|steps| steps.since(start));
    let window = scenario.controller_manager.horizontal_pod_autoscaler_sync_period;
    let metrics = elasticity::measure(&demand, &ready, lasted, window);
    let (lead, is_lead_measured) = lead(record, known.starts);
    let oracle = Oracle::new(&demand, lead, REST);
    let (pod_hours, oracle_hours) = (there.pod_hours(lasted), oracle.paid.pod_hours(lasted));
    Ok(Elastic {
        basis,
        per_pod: ceilings.of(1),
        peak: demand.peak(lasted),
        is_capped,
        metrics: metrics.ok_or(NoDemand::NoTraffic)?,
        window,
        pod_hours,
        oracle_hours,
        regret: elasticity::regret(pod_hours, oracle_hours),
        lead,
        is_lead_measured,
        demand,
    })
}

/// The pods that are ready, and those that are not gone.
fn supplies(points: &[ReplicaPoint]) -> [Steps; 2] {
    let mut supplies = [Steps::default(), Steps::default()];
    for point in points {
        supplies[0].set(point.at, point.ready);
        supplies[1].set(point.at, point.current.saturating_add(point.terminating));
    }
    supplies
}

/// How long a pod takes from its order to its being ready: the median of the run's own, else what
/// the scenario says.
fn lead(record: &RunRecord, starts: &PodStarts) -> (Nanos, bool) {
    if starts.total.known > 0 {
        return (starts.total.median, true);
    }
    let target = &record.header.scenario.target;
    let startup = target.service.as_ref().map_or(Nanos::ZERO, |service| service.startup);
    let probe = target
        .deployment
        .template
        .readiness_probe
        .as_ref()
        .map_or(0, |probe| probe.initial_delay_seconds.saturating_add(probe.period_seconds));
    (startup + Nanos::from_secs(u64::from(probe)), false)
}
