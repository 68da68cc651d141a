//! Keeps the cluster machine's clock, carries out its effects, and writes the record.

mod actions;
mod autoscaler;
mod effects;
mod messages;
pub(super) mod traffic;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    time::Duration,
};

use highwater_model::{
    autoscaling::Autoscaling,
    cluster::{Cluster, Config, ContainerId, Timing},
    event::{Event, EventKind, Source, WarningCode},
    spec::{PathKind, Probe},
    time::{Nanos, Timestamp},
};
use tokio::sync::mpsc;

use self::{actions::Later, traffic::Rates};
use super::{
    address::{Addresses, PodAddress},
    message::Message,
    pods::{Pods, Version},
    probe::Prober,
    proxy::Proxy,
};
use crate::{
    backend::{BackendError, Control, Ended, Progress},
    clock::RunClock,
    load::{self, Update},
    plan::{Plan, PlannedAction},
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
    autoscaling: Option<Autoscaling>,
    /// The processes of the containers that run.
    pids: BTreeMap<ContainerId, u32>,
    pods: Pods,
    prober: Prober,
    addresses: Addresses,
    pod_addresses: BTreeMap<u32, PodAddress>,
    /// What each revision runs, from the first.
    versions: Vec<Version>,
    /// Where files say which dependencies are out.
    outages: Option<tempfile::TempDir>,
    /// What actions leave to be done.
    later: Vec<(Timestamp, Later)>,
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
    rates: Rates,
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
    Ok(Ended { reason, end: driver.clock.now(), limits: None })
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
        let has_outage = scenario.events.iter().any(|event| event.dependency_outage.is_some());
        let folder = has_outage.then(tempfile::tempdir).transpose();
        let outages = folder.map_err(BackendError::system("making a folder for outages"))?;
        let folder = outages.as_ref().map(tempfile::TempDir::path);
        let pods = Pods::new(scenario, logs, folder, messages.clone())?;
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
            autoscaling: Autoscaling::new(scenario),
            pids: BTreeMap::new(),
            pods,
            prober,
            addresses: Addresses::new(),
            pod_addresses: BTreeMap::new(),
            versions: vec![Version::of(&scenario.target)],
            outages,
            later: Vec::new(),
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
            progress: Progress { stage: "starting", total: plan.lasts(), ..Progress::default() },
            rates: Rates::default(),
        };
        if scenario.path.kind == PathKind::L7 {
            let proxy =
                Proxy::start(&scenario.path, scenario.seed, driver.messages.clone()).await?;
            let address = proxy.address.to_string();
            driver.proxy = Some(proxy);
            driver.emit(driver.clock.now(), Source::Proxy, EventKind::ProxyStarted { address })?;
        }
        let limits = &scenario.target.deployment.template.resources.limits;
        if limits.cpu.is_some() {
            let message = "the pods' CPU limits are not enforced by this backend".into();
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
                // Before the messages: a target that prints without end must not hold up the rest.
                () = sleep(wait), if wait.is_some() => self.deadline().await?,
                _ = ticks.tick() => {
                    self.tell_progress();
                    (control.progress)(&self.progress);
                    self.sink.flush()?;
                }
                Some(message) = inbox.recv() => self.message(message).await?,
            }
            self.start_when_ready()?;
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let start = self.start;
        let action = start.and_then(|start| Some(start + self.actions.front()?.at));
        let phase = self.phases.front().map(|(at, _)| *at);
        let limit = start.is_none().then(|| Timestamp::ZERO + self.start_time());
        let later = self.later.iter().map(|(at, _)| *at).min();
        let autoscaling = self.autoscaling.as_ref().map(Autoscaling::next_deadline);
        let cluster = self.cluster.next_deadline();
        [cluster, autoscaling, action, phase, limit, later].into_iter().flatten().min()
    }

    /// How long to wait for the target: what its own settings may take, and a margin; no longer
    /// than its progress deadline, after which Kubernetes gives a rollout up as well.
    fn start_time(&self) -> Nanos {
        let deadline = self.plan.scenario.target.deployment.progress_deadline_seconds;
        self.usual_start_time().min(Nanos::from_secs(u64::from(deadline)))
    }

    fn usual_start_time(&self) -> Nanos {
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
        self.autoscale(now).await?;
        if let Some(start) = self.start {
            while self.actions.front().is_some_and(|action| start + action.at <= now) {
                if let Some(action) = self.actions.pop_front() {
                    self.act(action).await?;
                }
            }
        }
        self.act_later(now).await?;
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

    fn emit(&mut self, at: Timestamp, source: Source, kind: EventKind) -> Result<(), BackendError> {
        self.emit_stated(at, source, kind, None)
    }

    fn emit_stated(
        &mut self,
        at: Timestamp,
        source: Source,
        kind: EventKind,
        stated: Option<Timestamp>,
    ) -> Result<(), BackendError> {
        let seq = self.seq;
        self.seq += 1;
        self.sink.line(Line::Event(Event { at, seq, source, precision: None, stated, kind }))?;
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

pub(super) async fn sleep(wait: Option<Duration>) {
    match wait {
        // A timer of no time would be ready a tick later, and be forgotten by then for a message.
        Some(Duration::ZERO) => {}
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
