//! The load engine's side: start, news of each second, end.

use highwater_model::{
    event::{EventKind, Source},
    load::{Schedule, Share},
    outcome::OutcomeGroup,
    time::Nanos,
};

use super::{Driver, LEAD};
use crate::{
    backend::BackendError,
    load::{self, Route, Update},
};

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
        let engine = load::start(load::Config {
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
        })
        .map_err(|error| BackendError::PartEnded {
            part: "the load engine",
            reason: error.to_string(),
        })?;
        self.engine = Some(engine);
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
        let broken = |reason: String| BackendError::PartEnded { part: "the load engine", reason };
        match update {
            None => Err(broken("its thread panicked".into())),
            Some(Update::Broken(reason)) => Err(broken(reason)),
            Some(Update::Second(second)) => {
                self.second(*second)?;
                Ok(false)
            }
            Some(Update::Finished) => {
                let now = self.clock.now();
                self.emit(now, Source::Load, EventKind::TrafficEnded)?;
                if let Some(engine) = self.engine.take() {
                    engine.join();
                }
                Ok(true)
            }
        }
    }

    pub(super) fn second(&mut self, second: load::Second) -> Result<(), BackendError> {
        self.progress.rate = 0;
        for (_, _, part) in &second.windows {
            self.progress.rate += part.owed;
            for (outcome, outcomes) in &part.outcomes {
                match outcome.group() {
                    OutcomeGroup::Ok => {}
                    OutcomeGroup::Failed => self.failed += outcomes.n,
                    OutcomeGroup::Unsent => self.unsent += outcomes.n,
                }
            }
        }
        let latency = second.latency.as_ref();
        self.progress.latency_p99 = latency.map(|latency| latency.value_at_quantile(0.99));
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
        progress.failed = self.failed;
        progress.unsent = self.unsent;
        progress.ready = numbers.ready;
        progress.desired = numbers.desired;
        progress.terminating = numbers.terminating;
    }
}
