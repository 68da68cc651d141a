//! Keeps the cluster machine's clock, carries out its effects, and writes the record.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use highwater_model::{
    cluster::{Cluster, Config, ContainerId, Effect, Input, Timing},
    event::{
        DeleteReason, Event, EventKind, LifecyclePhase, ProbeKind, Signal, Source, WarningCode,
    },
    load::Schedule,
    outcome::{Outcome, OutcomeGroup},
    spec::{Action, KillSignal, Misbehaviour, PathKind, Probe},
    time::{Nanos, Timestamp},
};
use tokio::sync::mpsc;

use super::{
    address::{Addresses, PodAddress},
    message::Message,
    pods::Pods,
    probe::Prober,
    proxy::Proxy,
    shim::News,
};
use crate::{
    backend::{BackendError, Control, Ended, Progress},
    clock::{self, RunClock},
    load::{self, Route, Update},
    plan::{Plan, PlannedAction},
    proxy::protocol::{Control as ProxyControl, EndpointAddress, Report, View},
    record::{EndReason, Line, Sink},
};

/// How long the target may take to be ready before any traffic, beside its own probes' delays.
const START_TIME: Nanos = Nanos::from_secs(120);
/// From the target's being ready to the first phase: the engine's thread starts meanwhile.
const LEAD: Nanos = Nanos::from_millis(200);
/// Lines of the target that are kept to explain why it does not become ready.
const LAST_LINES: usize = 3;

/// What a run is, from its driver's side.
struct Driver<'a> {
    plan: &'a Plan,
    sink: &'a mut dyn Sink,
    clock: RunClock,
    seq: u64,
    cluster: Cluster,
    pods: Pods,
    prober: Prober,
    addresses: Addresses,
    pod_addresses: BTreeMap<u32, PodAddress>,
    /// The misbehaviours of each revision, from the first.
    revisions: Vec<Vec<Misbehaviour>>,
    proxy: Option<Proxy>,
    views: BTreeMap<u32, Vec<u32>>,
    /// The versions that the proxy's workers were told of and do not follow yet.
    unapplied: BTreeMap<u32, u64>,
    engine: Option<load::Handle>,
    messages: mpsc::Sender<Message>,
    actions: VecDeque<PlannedAction>,
    phases: VecDeque<(Timestamp, String)>,
    start: Option<Timestamp>,
    last_lines: VecDeque<String>,
    last_probe: String,
    progress: Progress,
    failed: u64,
    unsent: u64,
}

/// Carries a plan out.
pub(super) async fn run(
    plan: &Plan,
    logs: Option<&Path>,
    sink: &mut dyn Sink,
    control: &mut Control<'_>,
) -> Result<Ended, BackendError> {
    let (messages, inbox) = mpsc::channel(4096);
    let mut driver = Driver::new(plan, logs, sink, messages).await?;
    let ended = driver.drive(inbox, control).await;
    // Whatever happened, nothing is left behind.
    driver.teardown().await;
    let reason = ended?;
    driver.sink.flush()?;
    Ok(Ended { reason, end: driver.clock.now() })
}

impl<'a> Driver<'a> {
    async fn new(
        plan: &'a Plan,
        logs: Option<&Path>,
        sink: &'a mut dyn Sink,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, BackendError> {
        let scenario = &plan.scenario;
        let cluster = Cluster::new(Config {
            deployment: scenario.target.deployment.clone(),
            consumers: scenario.path.consumers(),
            propagation: scenario.path.propagation.clone(),
            timing: Timing::default(),
            seed: scenario.seed,
        });
        let pods = Pods::new(scenario, logs, messages.clone())?;
        let is_service = scenario.target.command.is_none();
        let prober = Prober::new(is_service).map_err(|error| BackendError::System {
            doing: "making the prober".into(),
            source: std::io::Error::other(error),
        })?;
        let mut driver = Self {
            plan,
            sink,
            clock: RunClock::start(),
            seq: 0,
            cluster,
            pods,
            prober,
            addresses: Addresses::new(),
            pod_addresses: BTreeMap::new(),
            revisions: vec![scenario.target.misbehave.clone()],
            proxy: None,
            views: BTreeMap::new(),
            unapplied: BTreeMap::new(),
            engine: None,
            messages,
            actions: plan.actions.iter().cloned().collect(),
            phases: VecDeque::new(),
            start: None,
            last_lines: VecDeque::new(),
            last_probe: String::new(),
            progress: Progress {
                stage: "starting",
                total: plan.profile.lasts(),
                ..Progress::default()
            },
            failed: 0,
            unsent: 0,
        };
        if scenario.path.kind == PathKind::L7 {
            let proxy = Proxy::start(&scenario.path, driver.messages.clone()).await?;
            let address = proxy.address.to_string();
            driver.proxy = Some(proxy);
            driver.emit(driver.clock.now(), Source::Proxy, EventKind::ProxyStarted { address })?;
        }
        let limits = &scenario.target.deployment.template.resources.limits;
        if limits.cpu.is_some() || limits.memory.is_some() {
            let message = "the pods' limits are not enforced by this backend".into();
            let kind = EventKind::Warning { code: WarningCode::LimitsNotEnforced, message };
            driver.emit(driver.clock.now(), Source::Harness, kind)?;
        }
        Ok(driver)
    }

    /// The loop: whatever comes first of messages, deadlines, news of the engine and interrupts.
    async fn drive(
        &mut self,
        mut inbox: mpsc::Receiver<Message>,
        control: &mut Control<'_>,
    ) -> Result<EndReason, BackendError> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut interrupted = 0;
        loop {
            let deadline = self.next_deadline();
            let wait = deadline.map(|at| at.since(self.clock.now()).to_std());
            tokio::select! {
                biased;
                changed = control.interrupts.changed(), if interrupted < 2 => {
                    // The sender lives as long as the program.
                    interrupted = if changed.is_ok() { *control.interrupts.borrow() } else { 2 };
                    if interrupted >= 2 || self.engine.is_none() {
                        return Ok(EndReason::Interrupted);
                    }
                    self.stop_traffic();
                }
                update = next_update(&mut self.engine), if self.engine.is_some() => {
                    if self.engine_update(update)? {
                        let reason = if interrupted > 0 { EndReason::Interrupted } else { EndReason::Completed };
                        return Ok(reason);
                    }
                }
                Some(message) = inbox.recv() => self.message(message).await?,
                () = sleep(wait), if wait.is_some() => self.deadline().await?,
                _ = ticks.tick() => {
                    self.tell_progress();
                    (control.progress)(&self.progress);
                    self.sink.flush()?;
                }
            }
            self.start_when_ready()?;
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let start = self.start;
        let action = start.and_then(|start| Some(start + self.actions.front()?.at));
        let phase = self.phases.front().map(|(at, _)| *at);
        let limit = start.is_none().then(|| Timestamp::ZERO + self.start_time());
        self.cluster.next_deadline().into_iter().chain(action).chain(phase).chain(limit).min()
    }

    /// How long to wait for the target: what its own settings may take, and a margin.
    fn start_time(&self) -> Nanos {
        let template = &self.plan.scenario.target.deployment.template;
        let of = |probe: &Option<Probe>| {
            probe.as_ref().map_or(0, |probe| {
                u64::from(probe.initial_delay_seconds)
                    + u64::from(probe.period_seconds) * u64::from(probe.success_threshold)
            })
        };
        let probes = of(&template.startup_probe) + of(&template.readiness_probe);
        let service = self
            .plan
            .scenario
            .target
            .service
            .as_ref()
            .map_or(Nanos::ZERO, |service| service.startup);
        START_TIME
            + Nanos::from_secs(
                probes + u64::from(self.plan.scenario.target.deployment.min_ready_seconds),
            )
            + service
    }

    async fn deadline(&mut self) -> Result<(), BackendError> {
        let now = self.clock.now();
        if self.start.is_none() && now >= Timestamp::ZERO + self.start_time() {
            return Err(BackendError::NeverReady {
                within: self.start_time(),
                seen: self.what_was_seen(),
            });
        }
        while self.phases.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((at, phase)) = self.phases.pop_front() {
                self.emit(at, Source::Load, EventKind::PhaseStarted { phase })?;
            }
        }
        let mut effects = Vec::new();
        self.cluster.advance(now, &mut effects);
        self.carry_out(now, effects).await?;
        if let Some(start) = self.start {
            while self.actions.front().is_some_and(|action| start + action.at <= now) {
                if let Some(action) = self.actions.pop_front() {
                    self.act(action).await?;
                }
            }
        }
        Ok(())
    }

    fn what_was_seen(&self) -> String {
        let numbers = self.cluster.status();
        let mut seen = format!("{} of {} pods are ready", numbers.ready, numbers.desired);
        if !self.last_probe.is_empty() {
            seen.push_str(&format!("; the last probe said: {}", self.last_probe));
        }
        if !self.last_lines.is_empty() {
            let lines: Vec<&str> = self.last_lines.iter().map(String::as_str).collect();
            seen.push_str(&format!("; the target's last lines: {}", lines.join(" | ")));
        }
        seen
    }

    // Traffic.

    /// Starts the traffic once all pods are available and every consumer knows them.
    fn start_when_ready(&mut self) -> Result<(), BackendError> {
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
            share: (0, 1),
            kinds: load::request::compile(&scenario.traffic, default_path, &host),
            traffic: scenario.traffic.clone(),
            route,
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
    fn has_views(&self) -> bool {
        let scenario = &self.plan.scenario;
        let consumers = scenario.path.consumers() as usize;
        let known = self.views.values().filter(|routed| !routed.is_empty()).count();
        scenario.target.deployment.replicas == 0
            || (known == consumers && self.unapplied.is_empty())
    }

    fn stop_traffic(&mut self) {
        self.progress.stage = "stopping";
        self.actions.clear();
        if let Some(engine) = &self.engine {
            engine.order(load::Control::Stop);
        }
    }

    /// Takes news of the engine; true when it has finished.
    fn engine_update(&mut self, update: Option<Update>) -> Result<bool, BackendError> {
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

    fn second(&mut self, second: load::Second) -> Result<(), BackendError> {
        self.progress.rate = 0;
        for (number, phase, part) in &second.windows {
            self.progress.rate += part.owed;
            for (outcome, outcomes) in &part.outcomes {
                match outcome.group() {
                    OutcomeGroup::Ok => {}
                    OutcomeGroup::Failed => self.failed += outcomes.n,
                    OutcomeGroup::Unsent => self.unsent += outcomes.n,
                }
            }
            self.sink.line(Line::Window(part.encode(*number, *phase)))?;
        }
        self.progress.latency_p99 = second.latency.map(|latency| latency.value_at_quantile(0.99));
        for failure in second.failures {
            debug_assert_ne!(failure.outcome, Outcome::Ok);
            self.sink.line(Line::Failure(Box::new(failure)))?;
        }
        let mut sample = second.sample;
        sample.process_cpu = clock::process_cpu_ns();
        sample.descriptors =
            std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        self.sink.line(Line::Sample(sample))?;
        self.sink.flush()?;
        Ok(())
    }

    fn tell_progress(&mut self) {
        let numbers = self.cluster.status();
        let progress = &mut self.progress;
        progress.elapsed = self.start.map_or(Nanos::ZERO, |start| self.clock.now().since(start));
        progress.failed = self.failed;
        progress.unsent = self.unsent;
        progress.ready = numbers.ready;
        progress.desired = numbers.desired;
        progress.terminating = numbers.terminating;
    }

    // Actions of the scenario.

    async fn act(&mut self, planned: PlannedAction) -> Result<(), BackendError> {
        let now = self.clock.now();
        let action_id = planned.id;
        let kind = EventKind::ActionStarted { action_id, action: planned.action.clone() };
        self.emit(now, Source::Harness, kind)?;
        let input = match planned.action {
            Action::Rollout(rollout) => {
                let last = self.revisions.last().cloned().unwrap_or_default();
                self.revisions.push(rollout.misbehave.unwrap_or(last));
                Input::Rollout
            }
            Action::Scale(scale) => Input::Scale { replicas: scale.replicas },
            Action::Delete(choice) => {
                Input::DeletePod { which: choice.pod, reason: DeleteReason::Deleted }
            }
            Action::Kill(kill) => Input::Kill {
                which: kill.pod,
                signal: match kill.signal {
                    KillSignal::Sigkill => Signal::Sigkill,
                    KillSignal::Sigterm => Signal::Sigterm,
                },
            },
        };
        self.input(now, now, input).await?;
        self.emit(self.clock.now(), Source::Harness, EventKind::ActionAccepted { action_id })
    }

    // The cluster.

    /// Tells the cluster something that happened at `at`; it reacts `now`.
    async fn input(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        input: Input,
    ) -> Result<(), BackendError> {
        let mut effects = Vec::new();
        self.cluster.handle(now, input, &mut effects);
        self.carry_out(at.min(now), effects).await
    }

    /// Carries effects out; what they tell happened at `at`.
    async fn carry_out(&mut self, at: Timestamp, effects: Vec<Effect>) -> Result<(), BackendError> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Emit { source, kind } => self.emit(at, source, kind)?,
                Effect::StartContainer { container, pod, revision } => {
                    if let Err(reason) = self.start_container(container, &pod, revision) {
                        let now = self.clock.now();
                        let mut more = Vec::new();
                        let input = Input::ContainerStartFailed { container, reason };
                        self.cluster.handle(now, input, &mut more);
                        effects.extend(more);
                    }
                }
                Effect::Signal { container, signal } => self.pods.signal(container, signal).await,
                Effect::RunProbe { probe, container, kind, timeout } => {
                    self.run_probe(probe, container, kind, timeout);
                }
                Effect::RunPreStop { container, hook, timeout } => {
                    let (prober, messages) = (self.prober.clone(), self.messages.clone());
                    let Some(address) = self.pod_addresses.get(&container.pod).copied() else {
                        continue;
                    };
                    tokio::spawn(async move {
                        let (ok, detail) = prober.hook(&hook, address, timeout.to_std()).await;
                        // The receiver is gone when the run is over.
                        let _ = messages.send(Message::PreStop { container, ok, detail }).await;
                    });
                }
                Effect::ApplyView { consumer, version, routed } => {
                    self.apply_view(consumer, version, routed).await?;
                }
                Effect::RemovePod { pod } => {
                    self.pods.remove(pod);
                    if let Some(address) = self.pod_addresses.remove(&pod) {
                        self.addresses.give_back(address);
                    }
                }
            }
        }
        Ok(())
    }

    fn start_container(
        &mut self,
        container: ContainerId,
        pod: &str,
        revision: u32,
    ) -> Result<(), String> {
        let address = match self.pod_addresses.get(&container.pod) {
            Some(address) => *address,
            None => {
                let address =
                    self.addresses.take(container.pod).map_err(|error| error.to_string())?;
                self.pod_addresses.insert(container.pod, address);
                address
            }
        };
        let index = revision as usize - 1;
        let misbehave = self.revisions.get(index).cloned().unwrap_or_default();
        let seed = self.plan.scenario.seed;
        self.pods
            .start(container, pod, address, &misbehave, seed)
            .map_err(|error| error.to_string())
    }

    fn run_probe(&mut self, probe: u64, container: ContainerId, kind: ProbeKind, timeout: Nanos) {
        let template = &self.plan.scenario.target.deployment.template;
        let spec = match kind {
            ProbeKind::Startup => &template.startup_probe,
            ProbeKind::Readiness => &template.readiness_probe,
            ProbeKind::Liveness => &template.liveness_probe,
        };
        let (Some(spec), Some(address)) =
            (spec.clone(), self.pod_addresses.get(&container.pod).copied())
        else {
            return;
        };
        let (prober, messages) = (self.prober.clone(), self.messages.clone());
        tokio::spawn(async move {
            let (passed, detail) = prober.probe(&spec, address, timeout.to_std()).await;
            // The receiver is gone when the run is over.
            let _ = messages.send(Message::Probe { probe, passed, detail }).await;
        });
    }

    async fn apply_view(
        &mut self,
        consumer: u32,
        version: u64,
        routed: Vec<u32>,
    ) -> Result<(), BackendError> {
        match &mut self.proxy {
            None => self.tell_client(consumer, &routed),
            Some(proxy) => {
                let endpoints = routed.iter().filter_map(|pod| {
                    let address = self.pod_addresses.get(pod)?.main();
                    Some(EndpointAddress { pod: self.cluster.pod_name(*pod).into(), address })
                });
                self.unapplied.insert(consumer, version);
                let view = View { worker: consumer, version, endpoints: endpoints.collect() };
                if let Err(error) = proxy.order(&ProxyControl::View(view)).await {
                    let reason = format!("it takes no orders any more: {error}");
                    return Err(BackendError::PartEnded { part: "the proxy", reason });
                }
            }
        }
        self.views.insert(consumer, routed);
        Ok(())
    }

    fn tell_client(&self, client: u32, routed: &[u32]) {
        let (Some(engine), None) = (&self.engine, &self.proxy) else { return };
        let endpoints = routed.iter().filter_map(|pod| {
            let address = self.pod_addresses.get(pod)?.main();
            Some((Arc::from(self.cluster.pod_name(*pod)), address))
        });
        engine.order(load::Control::View { client, endpoints: endpoints.collect() });
    }

    // Messages.

    async fn message(&mut self, message: Message) -> Result<(), BackendError> {
        let now = self.clock.now();
        match message {
            Message::Container { container, news } => {
                self.container_news(now, container, news).await
            }
            Message::Probe { probe, passed, detail } => {
                self.last_probe.clone_from(&detail);
                self.input(now, now, Input::ProbeDone { probe, passed, detail }).await
            }
            Message::PreStop { container, ok, detail } => {
                self.input(now, now, Input::PreStopDone { container, ok, detail }).await
            }
            Message::Lifecycle { container, line } => self.lifecycle(container, &line),
            Message::Output(line) => {
                if self.start.is_none() && !line.is_empty() {
                    self.last_lines.push_back(line);
                    while self.last_lines.len() > LAST_LINES {
                        self.last_lines.pop_front();
                    }
                }
                Ok(())
            }
            Message::Proxy(report) => self.proxy_report(now, report),
            Message::ProxyExited(reason) => {
                Err(BackendError::PartEnded { part: "the proxy", reason })
            }
        }
    }

    async fn container_news(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        news: News,
    ) -> Result<(), BackendError> {
        match news {
            News::Started { pid, mono_ns } => {
                let address = self
                    .pod_addresses
                    .get(&container.pod)
                    .map(|address| address.main().to_string());
                let input = Input::ContainerStarted { container, address, pid: Some(pid) };
                self.input(now, self.clock.at(mono_ns), input).await
            }
            News::Failed(reason) => {
                self.input(now, now, Input::ContainerStartFailed { container, reason }).await
            }
            News::Exited { code, signal, mono_ns } => {
                let input = Input::ContainerExited { container, code, signal };
                self.input(now, self.clock.at(mono_ns), input).await
            }
        }
    }

    fn lifecycle(&mut self, container: ContainerId, line: &str) -> Result<(), BackendError> {
        let Ok(mut details) =
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line)
        else {
            return Ok(());
        };
        let phase = details
            .remove("event")
            .and_then(|event| serde_json::from_value::<LifecyclePhase>(event).ok());
        let at = details.remove("monoNs").and_then(|at| at.as_u64()).map(|at| self.clock.at(at));
        let (Some(phase), Some(at)) = (phase, at) else { return Ok(()) };
        for key in ["highwater", "time", "pod"] {
            details.remove(key);
        }
        let parts: Vec<String> =
            details.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let pod = self.cluster.pod_name(container.pod).to_string();
        // A target cannot write history: nothing of its is later than now.
        let at = at.min(self.clock.now());
        self.emit(at, Source::Target, EventKind::Lifecycle { pod, phase, detail: parts.join(" ") })
    }

    fn proxy_report(&mut self, now: Timestamp, report: Report) -> Result<(), BackendError> {
        match report {
            Report::Started { .. } | Report::Stats(_) => Ok(()),
            Report::ViewApplied { worker, version, .. } => {
                self.unapplied.retain(|other, waits| *other != worker || *waits > version);
                Ok(())
            }
            Report::ClientGone { request_id: None, .. } => Ok(()),
            Report::ClientGone { request_id: Some(request_id), info } => {
                let hop = info.to_hop(self.clock.start_mono_ns());
                self.emit(now, Source::Proxy, EventKind::ClientGone { request_id, hop })
            }
            Report::Dropped { count } => {
                let message = format!("the proxy did not report {count} clients that went away");
                self.emit(
                    now,
                    Source::Proxy,
                    EventKind::Warning { code: WarningCode::OutputDropped, message },
                )
            }
            Report::Error { message } => self.emit(
                now,
                Source::Proxy,
                EventKind::Warning { code: WarningCode::Late, message },
            ),
        }
    }

    fn emit(&mut self, at: Timestamp, source: Source, kind: EventKind) -> Result<(), BackendError> {
        let seq = self.seq;
        self.seq += 1;
        self.sink.line(Line::Event(Event { at, seq, source, precision: None, kind }))?;
        Ok(())
    }

    async fn teardown(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.order(load::Control::Stop);
            // Its thread ends by itself when its last request has timed out.
        }
        if let Some(proxy) = self.proxy.take() {
            proxy.stop().await;
        }
        self.pods.teardown().await;
    }
}

async fn next_update(engine: &mut Option<load::Handle>) -> Option<Update> {
    match engine {
        Some(engine) => engine.updates.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
