//! One run on a cluster: what is learnt is observed and recorded, what is due is done.
//!
//! `begin` makes or finds the target and waits until it serves, `loads` drives the generators,
//! `proxy` hears what Highwater's proxy tells,
//! `acting` does what the scenario says and tells when it shows, `close` puts everything back.

mod acting;
mod begin;
mod close;
mod loads;
mod proxy;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    path::PathBuf,
    time::Duration,
};

use highwater_model::{
    event::{Event, EventKind, Source, WarningCode},
    spec::Misbehaviour,
    time::{Nanos, Timestamp},
};
use tokio::sync::mpsc;

use super::{
    Options, act,
    client::Cluster,
    error::ClusterError,
    home::Home,
    manifests::Making,
    observe::{News, Observation, Observer},
    pods_of_job::Seen,
    proxies::Proxy,
    stage::Stage,
    watch::{self, Watches},
};
use crate::{
    backend::{BackendError, Control, Ended, Progress},
    clock::RunClock,
    plan::{Plan, PlannedAction},
    record::{EndReason, Limits, Line, Sink},
};

use loads::Load;

/// Messages of all tasks that wait to be taken.
const MESSAGES_MAX: usize = 4096;
/// After the last outcome: a pod's end is noticed up to a second late, and told after that.
const LINGER: Duration = Duration::from_secs(3);

/// What the tasks of a run tell its driver.
#[derive(Debug)]
pub(super) enum Message {
    /// What became of an action.
    Act(act::Report),
    /// A generator's pod.
    Generator(Seen),
    /// The run's Lease is gone.
    LeaseLost(ClusterError),
}

/// What is waited for to show after an action was accepted.
#[derive(Clone, Debug)]
struct Awaited {
    action_id: u32,
    effect: acting::Effect,
}

/// A run, from its driver's side.
struct Driver<'a> {
    plan: &'a Plan,
    sink: &'a mut dyn Sink,
    options: &'a Options,
    cluster: Cluster,
    home: Home,
    clock: RunClock,
    seq: u64,
    stage: Stage,
    observer: Observer,
    watches: Watches,
    orders: Option<mpsc::Sender<act::Order>>,
    load: Option<Load>,
    generators_ready: BTreeSet<u32>,
    /// The least of the generators' limits.
    limits: Option<Limits>,
    actions: VecDeque<PlannedAction>,
    awaited: Vec<Awaited>,
    phases: VecDeque<(Timestamp, String)>,
    start: Option<Timestamp>,
    /// The misbehaviours of the newest revision.
    misbehave: Vec<Misbehaviour>,
    logs: Option<PathBuf>,
    log_files: BTreeMap<String, (File, usize)>,
    proxy: Option<Proxy>,
    progress: Progress,
    failed: u64,
    unsent: u64,
}

/// Carries a plan out.
pub(super) async fn run(
    options: &Options,
    logs: Option<PathBuf>,
    plan: &Plan,
    sink: &mut dyn Sink,
    control: &mut Control<'_>,
) -> Result<Ended, BackendError> {
    let clock = RunClock::start();
    let cluster = options.access.connect(true).await?;
    let begun = begin::begin(options, &cluster, plan).await?;
    let (messages, mut inbox) = mpsc::channel(MESSAGES_MAX);
    let (home, client) = (begun.home.clone(), cluster.client.clone());
    let opened = Driver::open(options, cluster, plan, sink, clock, begun, logs, messages).await;
    let (mut driver, tasks) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            // Whatever was made by then is taken away again.
            let failures = close::give_back(&client, &home).await;
            return Err(match failures.into_iter().next() {
                None => error,
                Some(failure) => close::both(error, &BackendError::NotRestored(failure)),
            });
        }
    };
    let ended = driver.drive(&mut inbox, control).await;
    let end = driver.clock.now();
    let closed = driver.close(tasks).await;
    driver.sink.flush()?;
    match (ended, closed) {
        (Ok(reason), Ok(())) => Ok(Ended { reason, end, limits: driver.limits.clone() }),
        (Ok(_), Err(error)) => Err(error),
        (Err(error), Ok(())) => Err(error),
        (Err(error), Err(left)) => Err(close::both(error, &left)),
    }
}

impl Driver<'_> {
    /// The loop: whatever comes first of interrupts, news, deadlines and the load.
    async fn drive(
        &mut self,
        inbox: &mut mpsc::Receiver<Message>,
        control: &mut Control<'_>,
    ) -> Result<EndReason, BackendError> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        let mut interrupted = 0;
        let mut linger: Option<tokio::time::Instant> = None;
        loop {
            let wait = self.next_deadline().map(|at| at.since(self.clock.now()).to_std());
            tokio::select! {
                biased;
                changed = control.interrupts.changed(), if interrupted < 2 => {
                    // The sender lives as long as the program.
                    interrupted = if changed.is_ok() { *control.interrupts.borrow() } else { 2 };
                    if interrupted >= 2 || self.start.is_none() {
                        return Ok(EndReason::Interrupted);
                    }
                    self.stop_traffic();
                }
                () = until(linger), if linger.is_some() => {
                    return Ok(if interrupted > 0 { EndReason::Interrupted } else { EndReason::Completed });
                }
                news = loads::next(&mut self.load), if self.load.is_some() => {
                    if self.load_news(news)? {
                        self.emit(self.clock.now(), Source::Load, EventKind::TrafficEnded)?;
                        linger = Some(tokio::time::Instant::now() + LINGER);
                    }
                }
                news = proxy::next(&mut self.proxy), if self.proxy.is_some() => {
                    self.proxy_news(news)?;
                }
                Some(message) = self.watches.next() => self.news(message)?,
                Some(message) = inbox.recv() => self.message(message)?,
                () = sleep(wait), if wait.is_some() => self.deadline().await?,
                _ = ticks.tick() => {
                    self.tell_progress();
                    (control.progress)(&self.progress);
                    self.sink.flush()?;
                }
            }
            if self.start.is_none() {
                self.go_on_beginning().await?;
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let start = self.start;
        let action = start.and_then(|start| Some(start + self.actions.front()?.at));
        let phase = self.phases.front().map(|(at, _)| *at);
        let limit = start.is_none().then(|| Timestamp::ZERO + self.start_time());
        self.observer.next_deadline().into_iter().chain(action).chain(phase).chain(limit).min()
    }

    async fn deadline(&mut self) -> Result<(), BackendError> {
        let now = self.clock.now();
        if self.start.is_none() && now >= Timestamp::ZERO + self.start_time() {
            return Err(self.never_ready(self.start_time()));
        }
        while self.phases.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((at, phase)) = self.phases.pop_front() {
                self.emit(at, Source::Load, EventKind::PhaseStarted { phase })?;
            }
        }
        let mut seen = Vec::new();
        self.observer.fire(now, &mut seen);
        self.observed(seen)?;
        let Some(start) = self.start else { return Ok(()) };
        while self.actions.front().is_some_and(|action| start + action.at <= now) {
            if let Some(action) = self.actions.pop_front() {
                self.act(action).await?;
            }
        }
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<(), BackendError> {
        match message {
            Message::Act(report) => self.act_report(report),
            Message::Generator(seen) => self.generator_pod(seen),
            Message::LeaseLost(error) => Err(error.into()),
        }
    }

    /// Takes what was learnt of the cluster.
    fn news(&mut self, message: watch::Message) -> Result<(), BackendError> {
        if let News::Line { pod, line } = &message.what {
            self.keep_line(pod, line);
        }
        let mut seen = Vec::new();
        self.observer.take(message.at, &message.what, &mut seen);
        if matches!(message.what, News::Pods(_)) {
            self.follow_logs();
        }
        self.observed(seen)
    }

    /// Follows the logs of pods that tell of their own life.
    fn follow_logs(&mut self) {
        if !self.stage.target.tells {
            return;
        }
        for pod in self.observer.pods() {
            // One that cannot be followed is known by what the cluster shows of it.
            let _ = self.watches.follow(&pod.name, Some(&self.stage.subject.container));
        }
    }

    /// Records what was observed, and with it what an action was waited to show.
    fn observed(&mut self, seen: Vec<Observation>) -> Result<(), BackendError> {
        for observation in seen {
            let at = observation.at;
            let effect = self.effect_of(&observation.kind);
            let event = observation.event(self.next_seq());
            self.sink.line(Line::Event(event))?;
            if let Some((action_id, seen)) = effect {
                self.emit(at, Source::Api, EventKind::ActionEffect { action_id, seen })?;
            }
        }
        Ok(())
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn emit(&mut self, at: Timestamp, source: Source, kind: EventKind) -> Result<(), BackendError> {
        let seq = self.next_seq();
        let event = Event { at, seq, source, precision: None, stated: None, kind };
        self.sink.line(Line::Event(event))?;
        Ok(())
    }

    fn warn(&mut self, code: WarningCode, message: String) -> Result<(), BackendError> {
        let kind = EventKind::Warning { code, message };
        self.emit(self.clock.now(), Source::Harness, kind)
    }

    fn making(&self) -> Making<'_> {
        Making {
            scenario: &self.plan.scenario,
            namespace: &self.home.namespace,
            run: &self.home.run,
            image: &self.options.image,
        }
    }

    fn never_ready(&self, within: Nanos) -> BackendError {
        let mut seen = self.observer.diagnosis();
        if seen.is_empty() && !self.is_proxy_ready() {
            seen = self.proxy.as_ref().map(Proxy::what_is_missing).unwrap_or_default();
        }
        if seen.is_empty() {
            seen = self.load.as_ref().map_or_else(
                || "the target is ready, and the generators were not started".into(),
                |load| load.what_is_missing(&self.generators_ready),
            );
        }
        BackendError::NeverReady { within, seen }
    }

    fn tell_progress(&mut self) {
        let pods = self.observer.pods();
        let progress = &mut self.progress;
        progress.ready =
            pods.iter().filter(|pod| pod.is_ready && pod.deletion.is_none()).count() as u32;
        progress.terminating = pods.iter().filter(|pod| pod.deletion.is_some()).count() as u32;
        progress.desired = self.observer.deployment().map_or(0, |deployment| deployment.desired);
        progress.elapsed = self.start.map_or(Nanos::ZERO, |start| self.clock.now().since(start));
        progress.failed = self.failed;
        progress.unsent = self.unsent;
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
