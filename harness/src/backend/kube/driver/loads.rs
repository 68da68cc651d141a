//! The load: generators as pods, or the engine of this process.

use std::collections::BTreeSet;

use highwater_model::{
    event::{EventKind, Source, WarningCode},
    load::Schedule,
    outcome::{Outcome, OutcomeGroup},
    spec::Generators as Wanted,
    time::{Nanos, Timestamp},
};
use tokio::sync::mpsc;

use super::Driver;
use crate::{
    agent::link,
    backend::{
        BackendError,
        kube::{
            manifests::CONTROL_PORT, observe::time::Offset, pods_of_job::Seen, port_forward, stage,
        },
    },
    clock::RunClock,
    generator::{self, Generators, What},
    load::{self, Route, Update},
    record::{Line, Window, hist},
};

/// From all generators' being ready to the first phase: the word of it has to reach each of them.
const LEAD: Nanos = Nanos::from_millis(1_500);

/// Where the load comes from.
#[derive(Debug)]
pub(super) enum Load {
    /// The pods of a Job that are not all there yet: their names by index.
    Starting { count: u32, pods: std::collections::BTreeMap<u32, String> },
    /// Generators.
    Pods { generators: Generators, news: mpsc::Receiver<generator::News>, unfinished: u32 },
    /// The engine of this process, before its start.
    Here { address: String, host: String },
    /// The engine of this process.
    Local(load::Handle),
}

impl Load {
    pub(super) fn what_is_missing(&self, ready: &BTreeSet<u32>) -> String {
        match self {
            Self::Starting { count, pods } => {
                format!("{} of {count} generators' pods run", pods.len())
            }
            Self::Pods { generators, .. } => {
                format!("{} of {} generators are ready", ready.len(), generators.count())
            }
            Self::Here { address, .. } => format!("{address} was not looked up"),
            Self::Local(_) => "the load engine runs".into(),
        }
    }
}

/// News of the load.
#[derive(Debug)]
pub(super) enum LoadNews {
    /// Of a generator; `None` if there is none to come.
    Generator(Option<generator::News>),
    /// Of the engine.
    Engine(Option<Update>),
}

/// The next news; pending while there is nothing that could tell.
pub(super) async fn next(load: &mut Option<Load>) -> LoadNews {
    match load {
        Some(Load::Pods { news, .. }) => LoadNews::Generator(news.recv().await),
        Some(Load::Local(handle)) => LoadNews::Engine(handle.updates.recv().await),
        _ => std::future::pending().await,
    }
}

impl Driver<'_> {
    /// How many generator pods there are to be; `None` for the engine of this process.
    pub(super) fn generators_wanted(&self) -> Option<u32> {
        match self.plan.scenario.traffic.generators {
            Some(Wanted::Local) => None,
            Some(Wanted::Pods(count)) => Some(count),
            None => Some(1),
        }
    }

    /// Makes the Job, or finds the way for the engine of this process.
    pub(super) async fn prepare_load(&mut self) -> Result<(), BackendError> {
        let client = &self.cluster.client;
        let Some(count) = self.generators_wanted() else {
            let (address, host) = self.entry().await?;
            self.load = Some(Load::Here { address, host });
            return Ok(());
        };
        let traffic = self.plan.lasts().to_std().as_secs();
        let seconds = traffic + self.start_time().to_std().as_secs() + 300;
        stage::make_generators(client, &self.making(), count, seconds).await?;
        self.load = Some(Load::Starting { count, pods: std::collections::BTreeMap::new() });
        Ok(())
    }

    async fn entry(&self) -> Result<(String, String), BackendError> {
        let (client, scenario) = (&self.cluster.client, &self.plan.scenario);
        let proxy = self.making().proxy_name();
        Ok(stage::entry(client, scenario, &self.stage, &proxy).await?)
    }

    /// What was seen of a generator's pod.
    pub(super) fn generator_pod(&mut self, seen: Seen) -> Result<(), BackendError> {
        match (seen, &mut self.load) {
            (Seen::Running { index, pod }, Some(Load::Starting { pods, .. })) => {
                pods.insert(index, pod);
                Ok(())
            }
            (Seen::Waiting { index, reason, message }, Some(Load::Starting { .. }))
                if is_final(&reason) =>
            {
                let seen = format!("generator {index} cannot start ({reason}: {message})");
                Err(BackendError::NeverReady { within: self.start_time(), seen })
            }
            (Seen::Died { index, reason }, Some(Load::Starting { .. })) => {
                let seen = format!("generator {index} died before the traffic: {reason}");
                Err(BackendError::NeverReady { within: self.start_time(), seen })
            }
            (Seen::Died { index, reason }, Some(Load::Pods { generators, .. })) => {
                generators.gone(index, reason);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Connects to the generators once all their pods run.
    pub(super) async fn connect_generators(&mut self) -> Result<(), BackendError> {
        let Some(Load::Starting { count, pods }) = &self.load else { return Ok(()) };
        if pods.len() < *count as usize {
            return Ok(());
        }
        let (count, pods) = (*count, pods.clone());
        let (address, host) = self.entry().await?;
        let token = link::new_token().map_err(BackendError::system("drawing a token"))?;
        let config = generator::Config {
            link: link::Config::new(self.clock, token),
            scenario: self.plan.scenario.clone(),
            address,
            host,
            default_path: self.default_path().into(),
        };
        let (client, namespace) = (&self.cluster.client, &self.home.namespace);
        let connectors = pods
            .values()
            .map(|pod| port_forward::connector(client, namespace, pod, CONTROL_PORT))
            .collect();
        let (generators, news) = Generators::open(config, connectors).map_err(|error| {
            let reason = error.to_string();
            BackendError::PartEnded { part: "the generators", reason }
        })?;
        self.load = Some(Load::Pods { generators, news, unfinished: count });
        Ok(())
    }

    fn default_path(&self) -> &'static str {
        if self.plan.scenario.target.workload.is_some() { "/" } else { "/work" }
    }

    /// Starts the traffic, once everything is there.
    pub(super) async fn start_traffic(&mut self) -> Result<(), BackendError> {
        let start = self.clock.now() + LEAD;
        match &self.load {
            Some(Load::Pods { generators, .. })
                if self.generators_ready.len() == generators.count() as usize =>
            {
                generators.start(start);
            }
            Some(Load::Here { address, host }) => {
                let engine = self.local_engine(start, address.clone(), host.clone()).await?;
                self.load = Some(Load::Local(engine));
            }
            _ => return Ok(()),
        }
        self.start = Some(start);
        self.progress.stage = "traffic";
        self.emit(start, Source::Load, EventKind::TrafficStarted)?;
        let phases = self.plan.phases.iter();
        self.phases = phases.map(|phase| (start + phase.start, phase.name.clone())).collect();
        Ok(())
    }

    async fn local_engine(
        &self,
        start: Timestamp,
        address: String,
        host: String,
    ) -> Result<load::Handle, BackendError> {
        let looked_up = tokio::net::lookup_host(address.as_str()).await;
        let mut found = looked_up.map_err(BackendError::system(format!("looking up {address}")))?;
        let address = found.next().ok_or_else(|| BackendError::PartEnded {
            part: "the load engine",
            reason: format!("{address} has no address"),
        })?;
        let scenario = &self.plan.scenario;
        let route = match scenario.path.kind {
            highwater_model::spec::PathKind::L4 => Route::Service(address),
            highwater_model::spec::PathKind::L7 => Route::Proxy(address),
        };
        load::start(load::Config {
            clock: self.clock,
            start,
            schedule: Schedule::new(
                self.plan.profile.clone(),
                scenario.traffic.arrivals,
                scenario.seed,
            ),
            share: highwater_model::load::Share::WHOLE,
            kinds: load::request::compile(&scenario.traffic, self.default_path(), &host),
            traffic: scenario.traffic.clone(),
            route,
            // A proxy in pods has a clock of its own, and so tells instants on the run's axis.
            proxy_clock: RunClock::with_start(0),
            seed: scenario.seed,
        })
        .map_err(|error| BackendError::PartEnded {
            part: "the load engine",
            reason: error.to_string(),
        })
    }

    pub(super) fn stop_traffic(&mut self) {
        self.progress.stage = "stopping";
        self.actions.clear();
        match &self.load {
            Some(Load::Pods { generators, .. }) => generators.stop(),
            Some(Load::Local(engine)) => engine.order(load::Control::Stop),
            _ => {}
        }
    }

    /// Takes news of the load; true when all of it has its outcome.
    pub(super) fn load_news(&mut self, news: LoadNews) -> Result<bool, BackendError> {
        let broken = |part, reason: &str| BackendError::PartEnded { part, reason: reason.into() };
        match news {
            LoadNews::Generator(None) => Err(broken("the generators", "nothing is heard of them")),
            LoadNews::Generator(Some(news)) => self.generator_news(news.generator, news.what),
            LoadNews::Engine(None) => Err(broken("the load engine", "its thread panicked")),
            LoadNews::Engine(Some(Update::Broken(reason))) => {
                Err(broken("the load engine", &reason))
            }
            LoadNews::Engine(Some(Update::Second(second))) => {
                self.progress.rate = 0;
                for line in second.into_lines(0) {
                    self.load_line(line)?;
                }
                Ok(false)
            }
            LoadNews::Engine(Some(Update::Finished)) => {
                if let Some(Load::Local(engine)) = self.load.take() {
                    engine.join();
                }
                Ok(true)
            }
        }
    }

    fn generator_news(&mut self, generator: u32, what: What) -> Result<bool, BackendError> {
        let now = self.clock.now();
        match what {
            What::Ready { who, clock, limits, .. } => {
                let least =
                    self.limits.as_ref().map_or(limits.clone(), |known| known.least(&limits));
                self.limits = Some(least);
                let kind = EventKind::GeneratorReady {
                    generator,
                    pod: who.pod,
                    node: who.node.clone(),
                    offset_ns: clock.mono_ns,
                    uncertainty: clock.uncertainty,
                };
                self.generators_ready.insert(generator);
                self.node_clock(&who.node, &clock);
                self.emit(now, Source::Load, kind)?;
            }
            What::Started { late } if late > Nanos::ZERO => {
                let message = format!("generator {generator} learnt of its start {late} late");
                self.warn(WarningCode::Late, message)?;
            }
            What::Started { .. } | What::Clock { .. } => {}
            What::Lines(lines) => {
                self.progress.rate = 0;
                for line in lines {
                    self.load_line(line)?;
                }
            }
            What::Cut { .. } => {}
            What::Resumed { gap } => {
                let from = Timestamp(now.0.saturating_sub(gap.0));
                let what = format!("generator {generator}");
                let reason = "its control stream was cut; its lines came later, all of them".into();
                self.emit(now, Source::Load, EventKind::WatchGap { what, from, reason })?;
            }
            What::Lost { since, reason, unsent } => {
                if self.start.is_none() {
                    let reason = format!("generator {generator} before the traffic: {reason}");
                    return Err(BackendError::PartEnded { part: "a generator", reason });
                }
                let kind = EventKind::GeneratorLost { generator, reason, unsent };
                self.emit(since, Source::Load, kind)?;
            }
            What::Finished => {
                if let Some(Load::Pods { unfinished, .. }) = &mut self.load {
                    *unfinished -= 1;
                    if *unfinished == 0 {
                        self.load = None;
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// The wall clock of a generator's node tells when the pods beside it said something.
    pub(super) fn node_clock(&mut self, node: &str, clock: &crate::agent::clock::Offset) {
        if node.is_empty() {
            return;
        }
        let ours = crate::clock::signed(crate::clock::wall_ns())
            - crate::clock::signed(crate::clock::mono_ns());
        let offset = Offset { ahead_ns: clock.wall_ns - ours, uncertainty: clock.uncertainty };
        self.observer.set_node_clock(node, offset);
    }

    /// Records a line of a generator, and counts what it says for the progress.
    fn load_line(&mut self, line: Line) -> Result<(), BackendError> {
        if let Line::Window(window) = &line {
            self.count(window);
        }
        self.sink.line(line)?;
        Ok(())
    }

    fn count(&mut self, window: &Window) {
        self.progress.rate += window.owed;
        for (outcome, part) in &window.outcomes {
            match outcome.group() {
                OutcomeGroup::Ok => {}
                OutcomeGroup::Failed => self.failed += part.n,
                OutcomeGroup::Unsent => self.unsent += part.n,
            }
        }
        let good = window.outcomes.get(&Outcome::Ok);
        let mut latency = hist::new();
        // A damaged histogram is told when the record is analysed.
        if good.is_some_and(|part| part.latency.add_to(&mut latency).is_ok()) {
            self.progress.latency_p99 = Some(latency.value_at_quantile(0.99));
        }
    }
}

/// Whether a pod that waits for this reason will not start without somebody's help.
pub(super) fn is_final(reason: &str) -> bool {
    matches!(
        reason,
        "ErrImageNeverPull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "CreateContainerConfigError"
    )
}
