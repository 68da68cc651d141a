//! What a scenario says of the capacity of its pods.

use super::{Capacity, CapacityError, Latency, Sharing};
use crate::{
    spec::{Measure, Scenario},
    time::Nanos,
    units::MilliCpu,
};

/// At which utilisation a pod runs where no latency is an objective.
pub const UTILISATION: f64 = 0.8;

/// What a scenario says of the capacity of its pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Modelled {
    /// What pods can take.
    pub capacity: Capacity,
    /// What CPU a pod is taken to have.
    pub cpu: Cpu,
    /// The objective of latency that it leaves met: the limit, and for which share of the requests.
    pub objective: Option<(Nanos, f64)>,
}

/// What CPU a pod is taken to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// Its limit.
    Limit(MilliCpu),
    /// Its request, without a limit: what it can count on when its node is busy.
    Request(MilliCpu),
    /// All cores of its node: neither is set.
    Cores(u32),
}

impl Cpu {
    /// That of a scenario's pods.
    pub fn of(scenario: &Scenario) -> Self {
        let resources = &scenario.target.deployment.template.resources;
        match (resources.limits.cpu, resources.requests.cpu) {
            (Some(limit), _) => Self::Limit(limit),
            (None, Some(request)) => Self::Request(request),
            (None, None) => Self::Cores(scenario.simulation.cores),
        }
    }

    /// Thousandths of a core; `None` for whole nodes.
    pub const fn milli(self) -> Option<MilliCpu> {
        match self {
            Self::Limit(cpu) | Self::Request(cpu) => Some(cpu),
            Self::Cores(_) => None,
        }
    }
}

/// The strictest objective of latency as a limit and a share: that of the highest percentile, of
/// several the one with the least limit. `None` without one; a maximum is no percentile.
pub fn objective_of(scenario: &Scenario) -> Option<(Nanos, f64)> {
    let share = |measure: Measure| -> Option<f64> {
        match measure {
            Measure::LatencyP50 => Some(0.5),
            Measure::LatencyP90 => Some(0.9),
            Measure::LatencyP95 => Some(0.95),
            Measure::LatencyP99 => Some(0.99),
            Measure::LatencyP999 => Some(0.999),
            _ => None,
        }
    };
    let known = scenario.objectives.iter().filter_map(|objective| {
        Some((Nanos(objective.bound.limit as u64), share(objective.measure)?))
    });
    known.max_by(|one, other| one.1.total_cmp(&other.1).then(other.0.cmp(&one.0)))
}

impl Modelled {
    /// The capacity of the pods of a scenario whose target is the bundled service. Pods have queues
    /// of their own; without an objective of latency they run at [`UTILISATION`] of what they can do
    /// at most.
    ///
    /// # Errors
    /// [`CapacityError::NoModel`] of other targets, [`CapacityError::Free`].
    pub fn of(scenario: &Scenario) -> Result<Self, CapacityError> {
        let target = &scenario.target;
        let others = target.command.is_some() || target.workload.is_some() || target.url.is_some();
        let asks = |kind: &crate::spec::RequestKind| kind.get.as_deref().is_some_and(has_query);
        if others || scenario.traffic.requests.iter().any(asks) {
            return Err(CapacityError::NoModel);
        }
        let service = target.service.clone().unwrap_or_default();
        let cpu = Cpu::of(scenario);
        let cores = scenario.simulation.cores;
        let objective = objective_of(scenario);
        let of = objective.unwrap_or((Nanos(u64::MAX), 1.0));
        let latency = Latency::of_service(&service, (cores, cpu.milli()), of, Sharing::Split)?;
        let capacity = match objective {
            Some(_) => Capacity::Latency(latency),
            None => Capacity::Rate(latency.full() * UTILISATION),
        };
        Ok(Self { capacity, cpu, objective })
    }
}

/// A request that says itself what it costs.
fn has_query(path: &str) -> bool {
    path.contains('?')
}
