//! The load engine's side: start, news of each second, end.

use std::collections::BTreeMap;

use highwater_model::{
    event::{EventKind, Source},
    load::{Schedule, Share},
    outcome::OutcomeGroup,
    time::Nanos,
};

use super::{Driver, LEAD};
use crate::{
    backend::{BackendError, Progress},
    limits,
    load::{self, Route, Update},
    plan::Plan,
};

/// What the threads of an engine did in their last second.
#[derive(Debug, Default)]
pub(in crate::backend::local) struct Rates(BTreeMap<u32, (u64, Option<u64>)>);

impl Rates {
    /// Takes a second's news of one thread into the progress of the run.
    pub(in crate::backend::local) fn take(
        &mut self,
        second: &load::Second,
        progress: &mut Progress,
    ) {
        let mut rate = 0;
        for (_, _, part) in &second.windows {
            rate += part.owed;
            for (outcome, outcomes) in &part.outcomes {
                match outcome.group() {
                    OutcomeGroup::Ok => {}
                    OutcomeGroup::Failed => progress.failed += outcomes.n,
                    OutcomeGroup::Unsent => progress.unsent += outcomes.n,
                }
            }
        }
        let latency = second.latency_p99();
        self.0.insert(second.thread, (rate, latency));
        progress.rate = self.0.values().map(|(rate, _)| rate).sum();
        progress.latency_p99 = self.0.values().filter_map(|(_, latency)| *latency).max();
    }
}

/// Starts the engine on as many threads as the plan needs here.
pub(in crate::backend::local) fn start_engine(
    plan: &Plan,
    config: load::Config,
) -> Result<load::Handle, BackendError> {
    let traffic = &plan.scenario.traffic;
    let threads = load::threads(traffic, &plan.profile, limits::of_machine().cores);
    load::start_on(config, threads).map_err(|error| broken(error.to_string()))
}

/// The second that is told; `None` at the end.
pub(in crate::backend::local) fn second_of(
    update: Option<Update>,
) -> Result<Option<Box<load::Second>>, BackendError> {
    match update {
        None => Err(broken("its thread panicked".into())),
        Some(Update::Broken(reason)) => Err(broken(reason)),
        Some(Update::Second(second)) => Ok(Some(second)),
        Some(Update::Finished) => Ok(None),
    }
}

fn broken(reason: String) -> BackendError {
    BackendError::PartEnded { part: "the load engine", reason }
}

impl Driver<'_> {
    /// Starts the traffic once all pods are available and every consumer knows them.
    pub(super) fn start_when_ready(&mut self) -> Result<(), BackendError> {
        if self.start.is_some() || !self.cluster.is_settled() || !self.has_views() {
            return Ok(());
        }
        let start = self.clock.now() + LEAD;
        let scenario = &self.plan.scenario;
        let (route, host) = match &self.proxy {
            Some(proxy) => (Route::Proxy(proxy.address), scenario.name.clone()),
            None => (Route::Endpoints { clients: scenario.path.clients }, scenario.name.clone()),
        };
        let default_path = if scenario.target.command.is_some() { "/" } else { "/work" };
        let config = load::Config {
            clock: self.clock,
            start,
            schedule: Schedule::new(
                self.plan.profile.clone(),
                scenario.traffic.arrivals,
                scenario.seed,
            ),
            share: Share::WHOLE,
            kinds: load::request::compile(&scenario.traffic, default_path, &host),
            traffic: scenario.traffic.clone(),
            route,
            proxy_clock: self.clock,
            seed: scenario.seed,
        };
        self.engine = Some(start_engine(self.plan, config)?);
        let views: Vec<(u32, Vec<u32>)> = self.views.iter().map(|(k, v)| (*k, v.clone())).collect();
        for (client, routed) in views {
            self.tell_client(client, &routed);
        }
        self.start = Some(start);
        self.progress.stage = "traffic";
        self.emit(start, Source::Load, EventKind::TrafficStarted)?;
        self.phases = self
            .plan
            .phases
            .iter()
            .map(|phase| (start + phase.start, phase.name.clone()))
            .collect();
        Ok(())
    }

    /// Whether every consumer may choose a pod and follows its view, or there is none to choose.
    pub(super) fn has_views(&self) -> bool {
        let scenario = &self.plan.scenario;
        let consumers = scenario.path.consumers() as usize;
        let known = self.views.values().filter(|routed| !routed.is_empty()).count();
        scenario.target.deployment.replicas == 0
            || (known == consumers && self.unapplied.is_empty())
    }

    pub(super) fn stop_traffic(&mut self) {
        self.progress.stage = "stopping";
        self.actions.clear();
        if let Some(engine) = &self.engine {
            engine.order(load::Control::Stop);
        }
    }

    /// Takes news of the engine; true when it has finished.
    pub(super) fn engine_update(&mut self, update: Option<Update>) -> Result<bool, BackendError> {
        if let Some(second) = second_of(update)? {
            self.second(*second)?;
            return Ok(false);
        }
        let now = self.clock.now();
        self.emit(now, Source::Load, EventKind::TrafficEnded)?;
        if let Some(engine) = self.engine.take() {
            engine.join();
        }
        Ok(true)
    }

    pub(super) fn second(&mut self, second: load::Second) -> Result<(), BackendError> {
        self.rates.take(&second, &mut self.progress);
        for line in second.into_lines(0) {
            self.sink.line(line)?;
        }
        self.sink.flush()?;
        Ok(())
    }

    pub(super) fn tell_progress(&mut self) {
        let numbers = self.cluster.status();
        let progress = &mut self.progress;
        progress.elapsed = self.start.map_or(Nanos::ZERO, |start| self.clock.now().since(start));
        progress.ready = numbers.ready;
        progress.desired = numbers.desired;
        progress.terminating = numbers.terminating;
    }
}
