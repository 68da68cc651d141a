//! What is known beside the manifests: how long a change takes to reach clients, how long requests
//! take, how many there are.

use highwater_model::{
    load::Profile,
    spec::{Misbehaviour, Scenario},
    time::Nanos,
    units::RatePerSec,
};

/// Facts about traffic and service; nothing is assumed where nothing is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// The longest time from a pod's deletion until no client sends to it, in seconds.
    pub(super) propagation: Option<f64>,
    /// The slowest request (or its 99.9th percentile), in seconds.
    pub(super) slowest: Option<f64>,
    /// Requests per second, over all pods.
    pub(super) rate: Option<f64>,
    /// How long the service serves on by itself after SIGTERM, in seconds.
    pub(super) serves_on: Option<f64>,
    /// From the process's start to its listening, in seconds.
    pub(super) startup: Option<f64>,
    /// Whether this is a scenario's deployment, which clients reach in any case.
    pub(super) is_scenario: bool,
    /// Whether pods are evicted, as far as a scenario tells.
    pub(super) has_evictions: bool,
}

/// What the command line says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Given {
    pub(super) propagation: Option<Nanos>,
    pub(super) slowest: Option<Nanos>,
    pub(super) rate: Option<RatePerSec>,
}

impl Known {
    /// Of manifests: what the command line says.
    pub(super) fn of_manifests(given: &Given) -> Self {
        Self::default().with(given)
    }

    /// Of a scenario; the command line wins.
    pub(super) fn of_scenario(scenario: &Scenario, given: &Given) -> Self {
        /// Where a distribution has no end.
        const QUANTILE: f64 = 0.999;
        let longest = |distribution: &highwater_model::spec::Distribution| {
            distribution.upper_bound().unwrap_or_else(|| distribution.quantile(QUANTILE))
        };
        let service = match (&scenario.target.service, &scenario.target.command) {
            (None, Some(_)) => None,
            (service, _) => Some(service.clone().unwrap_or_default()),
        };
        let exits = |how: &Misbehaviour| {
            matches!(
                how,
                Misbehaviour::ExitOnSigterm
                    | Misbehaviour::CloseListenerFirst
                    | Misbehaviour::DropAcceptQueue
                    | Misbehaviour::RefuseWhileDraining
            )
        };
        let drains = !scenario.target.misbehave.iter().any(exits);
        let rate = Profile::new(&scenario.traffic)
            .ok()
            .map(|profile| profile.peak(Nanos(0), profile.lasts()))
            .filter(|rate| *rate > 0.0);
        Self {
            propagation: Some(longest(&scenario.path.propagation).as_secs_f64()),
            slowest: service
                .as_ref()
                .map(|service| longest(&service.latency).as_secs_f64() + service.cpu.as_secs_f64()),
            rate,
            serves_on: service
                .as_ref()
                .filter(|_| drains)
                .map(|service| service.drain.delay.as_secs_f64()),
            startup: service.as_ref().map(|service| service.startup.as_secs_f64()),
            is_scenario: true,
            has_evictions: scenario
                .events
                .iter()
                .any(|event| event.evict.is_some() || event.drain_node.is_some()),
        }
        .with(given)
    }

    fn with(mut self, given: &Given) -> Self {
        let seconds = |span: Option<Nanos>| span.map(Nanos::as_secs_f64);
        self.propagation = seconds(given.propagation).or(self.propagation);
        self.slowest = seconds(given.slowest).or(self.slowest);
        self.rate = given.rate.map(|rate| rate.0).or(self.rate);
        self
    }
}
