//! A run in virtual time: the machines of the cluster and of the autoscaler, with a model of each
//! replica, of the client and of the proxy, on one agenda.
//!
//! Nothing here knows of files or of the clock: the same scenario, build and seed give the same
//! calls of the [`Observer`] in the same order.
//!
//! 1. what is to come: `agenda`
//! 2. one container: `replica`, with its `cpu`
//! 3. clients and what they send: `traffic`; how it reaches a pod: `sending` (`l4`), `proxy` with its
//!    `worker`s (`l7`)
//! 4. what the cluster and the scenario want done: `carrying`
//! 5. the ends of requests: `ending`

mod agenda;
mod asks;
mod carrying;
pub(crate) mod cpu;
mod ending;
mod exec;
mod proxy;
mod replica;
mod sending;
mod soon;
#[cfg(test)]
mod tests;
mod traffic;
mod worker;

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
    vec,
    vec::Vec,
};

use self::{
    agenda::{Agenda, What},
    asks::Ask,
    replica::Replica,
    traffic::{Client, Due},
    worker::Proxy,
};
use crate::{
    autoscaling::Autoscaling,
    cluster::{Cluster, Config, Timing},
    event::{EventKind, Source},
    load::{Arrival, Profile, Schedule},
    outcome::{Failure, Outcome},
    proxy::retry::may_repeat,
    rng::Stream,
    spec::{Action, Misbehaviour, PathKind, Probe, RequestKind, Scenario, Service},
    time::{Nanos, SECOND, Timestamp},
};

/// How long the target may take to be ready before any traffic, beside its own probes' delays: as
/// on `local`.
const START_TIME: Nanos = Nanos::from_secs(120);
/// From the target's being ready to the first phase, as on `local`.
const LEAD: Nanos = Nanos::from_millis(200);

/// Who is told what happens. Times never go back by more than a request's time-out, and calls of
/// [`Observer::second`] come in order.
pub trait Observer {
    /// Something for the record.
    fn event(&mut self, at: Timestamp, source: Source, kind: EventKind, stated: Option<Timestamp>);
    /// A request became due.
    fn owed(&mut self, scheduled: Timestamp, arrival: Arrival);
    /// A request is sent, or its connection begun, so long after it became due; in the order in which
    /// they became due. Some never are.
    fn sent(&mut self, at: Timestamp, arrival: Arrival, late: Nanos);
    /// A sent request's outcome.
    fn ended(&mut self, outcome: Outcome, phase: u16, times: Times);
    /// A request that was never sent.
    fn unsent(&mut self, outcome: Outcome, phase: u16, scheduled: Timestamp);
    /// A failure in detail; it has been told by `ended` or `unsent`, too.
    fn failure(&mut self, failure: Failure);
    /// A second is over. Returns whether to go on: `false` ends the traffic.
    fn second(&mut self, state: &State) -> bool;
}

/// The instants of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it was owed.
    pub scheduled: Timestamp,
    /// When it was sent.
    pub sent: Timestamp,
    /// When its outcome was known.
    pub ended: Timestamp,
}

/// The generator's own state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// When.
    pub at: Timestamp,
    /// When the traffic began; `None` before.
    pub start: Option<Timestamp>,
    /// Requests due so far.
    pub owed: u64,
    /// Requests sent so far.
    pub sent: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that wait for a connection.
    pub waiting: u64,
    /// Open connections.
    pub connections: u64,
    /// Connections opened so far.
    pub connects: u64,
    /// Pods that are wanted, ready, and on their way out.
    pub replicas: [u32; 3],
}

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Run {
    /// The scenario.
    pub scenario: Scenario,
    /// Its rate over time.
    pub profile: Profile,
    /// Its phases: begin, from the start of the traffic, and name.
    pub phases: Vec<(Nanos, String)>,
    /// Its actions, ascending: when, from the start of the traffic; their numbers; what.
    pub actions: Vec<(Nanos, u32, Action)>,
}

/// Why a run did not come to its traffic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// The target did not become ready.
    #[error("the target is not ready after {within}: {ready} of {desired} pods are")]
    NeverReady {
        /// Within this.
        within: Nanos,
        /// How many pods were ready.
        ready: u32,
        /// How many were wanted.
        desired: u32,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Whether the observer ended the traffic.
    pub is_early: bool,
}

/// A revision's program.
#[derive(Clone, Debug)]
struct Version {
    service: Service,
    misbehave: Vec<Misbehaviour>,
}

/// The run.
struct Sim<'a> {
    run: &'a Run,
    observer: &'a mut dyn Observer,
    now: Timestamp,
    agenda: Agenda,
    cluster: Cluster,
    autoscaling: Option<Autoscaling>,
    versions: Vec<Version>,
    /// By pod: its present container.
    replicas: Vec<Option<Replica>>,
    views: Vec<Vec<u32>>,
    /// Which consumers have had a view with a pod.
    known: BTreeSet<u32>,
    client: Client,
    proxy: Proxy,
    kinds: Kinds,
    endpoints: Stream,
    balancing: Stream,
    process_start: Stream,
    due: Due,
    start: Option<Timestamp>,
    phases: VecDeque<(Nanos, String)>,
    actions: VecDeque<(Nanos, u32, Action)>,
    /// Dependencies that are out, with when each is back and the action that took it away.
    outages: BTreeMap<String, (Timestamp, u32)>,
    next_second: Timestamp,
    /// When the cluster, the autoscaler, a phase, an action or a second is due.
    control_at: Timestamp,
    is_stopping: bool,
}

/// Kinds of requests, as the load engine draws them.
struct Kinds {
    /// Up to which draw each is chosen.
    until: Vec<f64>,
    timeouts: Vec<Nanos>,
    /// Of those that a trace names.
    timeout: Nanos,
    /// Whether a proxy sends them again though they may have been received: the scenario's, then
    /// those of traces.
    repeats: Vec<bool>,
    /// What each asks for: the scenario's, then those of traces.
    asks: Arc<[Ask]>,
    stream: Stream,
}

/// Runs to the end.
///
/// # Errors
/// The target never became ready.
pub fn run(run: &Run, observer: &mut dyn Observer) -> Result<Ended, SimError> {
    let mut sim = Sim::new(run, observer);
    sim.drive()
}

impl<'a> Sim<'a> {
    fn new(run: &'a Run, observer: &'a mut dyn Observer) -> Self {
        let scenario = &run.scenario;
        let seed = scenario.seed;
        let consumers = scenario.path.consumers();
        let cluster = Cluster::new(Config {
            deployment: scenario.target.deployment.clone(),
            consumers,
            propagation: scenario.path.propagation.clone(),
            timing: Timing::default(),
            seed,
        });
        let cluster = match &scenario.nodes {
            Some(nodes) => cluster.with_nodes(nodes),
            None => cluster,
        };
        let first = Version {
            service: scenario.target.service.clone().unwrap_or_default(),
            misbehave: scenario.target.misbehave.clone(),
        };
        let arrivals = scenario.traffic.arrivals;
        let due = Due::new(Schedule::new(run.profile.clone(), arrivals, seed));
        Self {
            run,
            observer,
            now: Timestamp::ZERO,
            agenda: Agenda::default(),
            cluster,
            autoscaling: Autoscaling::new(scenario),
            versions: vec![first],
            replicas: Vec::new(),
            views: vec![Vec::new(); consumers as usize],
            known: BTreeSet::new(),
            client: Client::default(),
            proxy: Proxy::new(&scenario.path, seed),
            kinds: Kinds::new(scenario),
            endpoints: Stream::new(seed, "endpoints/0"),
            balancing: Stream::new(seed, "workers"),
            process_start: Stream::new(seed, "process-start"),
            due,
            start: None,
            phases: run.phases.iter().cloned().collect(),
            actions: run.actions.iter().cloned().collect(),
            outages: BTreeMap::new(),
            next_second: Timestamp(SECOND),
            control_at: Timestamp::ZERO,
            is_stopping: false,
        }
    }

    /// One event after the other. What is due at one instant: the cluster and the scenario first,
    /// then the agenda, then arrivals.
    fn drive(&mut self) -> Result<Ended, SimError> {
        if self.run.scenario.path.kind == PathKind::L7 {
            let address = String::from("proxy");
            self.emit(Source::Proxy, EventKind::ProxyStarted { address });
        }
        loop {
            let agenda = self.agenda.next();
            let arrival = self.arrival();
            if self.control_at <= agenda && self.control_at <= arrival {
                self.now = self.control_at;
                self.control()?;
            } else if agenda <= arrival {
                self.now = agenda;
                if let Some(what) = self.agenda.take() {
                    self.happen(what);
                }
            } else {
                self.now = arrival;
                self.arrive();
            }
            if self.is_over() {
                self.emit(Source::Load, EventKind::TrafficEnded);
                self.tell_second();
                return Ok(Ended { at: self.now, is_early: self.is_stopping });
            }
        }
    }

    fn arrival(&self) -> Timestamp {
        match (self.start, self.due.peek()) {
            (Some(start), Some(arrival)) if !self.is_stopping => start + arrival.at,
            _ => Timestamp::MAX,
        }
    }

    /// Whether every owed request has its outcome, and the traffic's time is over.
    fn is_over(&self) -> bool {
        let Some(start) = self.start else { return false };
        let is_quiet = self.client.attempts.len() == 0 && self.client.waiting.is_empty();
        let end = start + self.run.profile.lasts();
        is_quiet && (self.is_stopping || (self.due.peek().is_none() && self.now >= end))
    }

    fn emit(&mut self, source: Source, kind: EventKind) {
        self.observer.event(self.now, source, kind, None);
    }

    /// Whatever is due of the cluster, the autoscaler, the scenario and the clock.
    fn control(&mut self) -> Result<(), SimError> {
        let now = self.now;
        if self.start.is_none() && now >= Timestamp::ZERO + self.start_time() {
            let status = self.cluster.status();
            let within = self.start_time();
            let (ready, desired) = (status.ready, status.desired);
            return Err(SimError::NeverReady { within, ready, desired });
        }
        if let Some(start) = self.start {
            while self.phases.front().is_some_and(|(at, _)| start + *at <= now) {
                if let Some((at, phase)) = self.phases.pop_front() {
                    let kind = EventKind::PhaseStarted { phase };
                    self.observer.event(start + at, Source::Load, kind, None);
                }
            }
        }
        let mut effects = Vec::new();
        self.cluster.advance(now, &mut effects);
        self.carry_out(effects);
        self.autoscale();
        if let Some(start) = self.start {
            while !self.is_stopping
                && self.actions.front().is_some_and(|(at, ..)| start + *at <= now)
            {
                if let Some((_, id, action)) = self.actions.pop_front() {
                    self.act(id, action);
                }
            }
        }
        self.restore();
        if self.next_second <= now {
            self.tell_second();
            self.next_second = Timestamp((now.second() + 1) * SECOND);
        }
        self.start_when_ready();
        self.look_ahead();
        Ok(())
    }

    /// Finds when control is due next.
    fn look_ahead(&mut self) {
        let mut at = self.next_second;
        let mut by = |other: Option<Timestamp>| at = at.min(other.unwrap_or(Timestamp::MAX));
        by(self.cluster.next_deadline());
        by(self.autoscaling.as_ref().map(Autoscaling::next_deadline));
        by(self.outages.values().map(|(back, _)| *back).min());
        match self.start {
            None => by(Some(Timestamp::ZERO + self.start_time())),
            Some(start) => {
                by(self.phases.front().map(|(at, _)| start + *at));
                by(self.actions.front().map(|(at, ..)| start + *at));
                by(Some(start + self.run.profile.lasts()).filter(|end| *end > self.now));
            }
        }
        self.control_at = at.max(self.now);
    }

    /// How long to wait for the target: what its own settings may take, and a margin.
    fn start_time(&self) -> Nanos {
        let deployment = &self.run.scenario.target.deployment;
        let of = |probe: &Option<Probe>| {
            probe.as_ref().map_or(0, |probe| {
                u64::from(probe.initial_delay_seconds)
                    + u64::from(probe.period_seconds) * u64::from(probe.success_threshold)
            })
        };
        let template = &deployment.template;
        let probes = of(&template.startup_probe) + of(&template.readiness_probe);
        let seconds = probes + u64::from(deployment.min_ready_seconds);
        START_TIME + Nanos::from_secs(seconds) + self.versions[0].service.startup
    }

    fn start_when_ready(&mut self) {
        let is_known = self.known.len() == self.views.len()
            || self.run.scenario.target.deployment.replicas == 0;
        if self.start.is_some() || !is_known || !self.cluster.is_settled() {
            return;
        }
        let start = self.now + LEAD;
        self.start = Some(start);
        self.observer.event(start, Source::Load, EventKind::TrafficStarted, None);
    }

    fn tell_second(&mut self) {
        self.tell_retries();
        let status = self.cluster.status();
        let state = State {
            at: self.now,
            start: self.start,
            owed: self.client.owed,
            sent: self.client.sent,
            in_flight: self.client.attempts.len() as u64,
            waiting: self.client.waiting.len() as u64,
            connections: self.client.conns.len() as u64,
            connects: self.client.connects,
            replicas: [status.desired, status.ready, status.terminating],
        };
        if !self.observer.second(&state) {
            self.is_stopping = true;
        }
    }

    fn replica(&mut self, pod: u32, restarts: u32) -> Option<&mut Replica> {
        let replica = self.replicas.get_mut(pod as usize)?.as_mut()?;
        (replica.container.restarts == restarts).then_some(replica)
    }

    fn network(&self) -> Nanos {
        self.run.scenario.simulation.network
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Ending(attempt, version) => self.end(attempt, version),
            What::Waited => self.give_up_waiting(),
            What::Idle(worker) => self.close_idle(worker),
            other => {
                self.happen_in_cluster(other);
                self.look_ahead();
            }
        }
    }
}

impl Kinds {
    fn new(scenario: &Scenario) -> Self {
        let traffic = &scenario.traffic;
        let weights: Vec<f64> =
            traffic.requests.iter().map(|kind| kind.weight.unwrap_or(1.0)).collect();
        let sum: f64 = weights.iter().sum();
        let mut below = 0.0;
        let until = weights.iter().map(|weight| {
            below += weight / sum;
            below
        });
        let timeouts = traffic.requests.iter().map(|kind| kind.timeout.unwrap_or(traffic.timeout));
        let mut kinds = Self {
            until: until.collect(),
            timeouts: timeouts.collect(),
            timeout: traffic.timeout,
            repeats: repeats(scenario),
            asks: asks(scenario),
            stream: Stream::new(scenario.seed, "request-kinds/0"),
        };
        if kinds.timeouts.is_empty() {
            kinds.timeouts.push(traffic.timeout);
        }
        kinds
    }

    /// The kinds of traces come after those of the scenario.
    fn of_trace(&self, kind: u32) -> u16 {
        (self.timeouts.len() as u32 + kind) as u16
    }

    fn may_repeat(&self, kind: u16) -> bool {
        self.repeats.get(usize::from(kind)).copied().unwrap_or(false)
    }

    /// What a client makes of the service's answer to this kind, and its status.
    fn answer(&self, kind: u16) -> (Outcome, u16) {
        let ask = self.asks.get(usize::from(kind)).unwrap_or(&Ask::PLAIN);
        (ask.outcome, ask.status)
    }

    fn timeout(&self, kind: u16) -> Nanos {
        self.timeouts.get(usize::from(kind)).copied().unwrap_or(self.timeout)
    }

    fn draw(&mut self) -> u16 {
        if self.until.len() < 2 {
            return 0;
        }
        let draw = self.stream.unit();
        let place = self.until.iter().position(|until| draw < *until);
        place.unwrap_or(self.until.len() - 1) as u16
    }
}

/// See [`Kinds::repeats`].
fn repeats(scenario: &Scenario) -> Vec<bool> {
    let (retry, traffic) = (scenario.path.retry, &scenario.traffic);
    let of = |kind: &RequestKind| {
        let method = kind.method_and_path().map_or("GET", |(method, _)| method);
        may_repeat(retry, method)
    };
    let mut repeats: Vec<bool> = traffic.requests.iter().map(of).collect();
    if repeats.is_empty() {
        repeats.push(may_repeat(retry, "GET"));
    }
    repeats.extend(of_traces(scenario).map(of));
    repeats
}

/// See [`Kinds::asks`].
fn asks(scenario: &Scenario) -> Arc<[Ask]> {
    let mut asks: Vec<Ask> = scenario.traffic.requests.iter().map(Ask::new).collect();
    if asks.is_empty() {
        asks.push(Ask::PLAIN);
    }
    asks.extend(of_traces(scenario).map(Ask::new));
    asks.into()
}

/// The kinds that traces name, in order.
fn of_traces(scenario: &Scenario) -> impl Iterator<Item = &RequestKind> {
    let phases = scenario.traffic.phases.iter();
    phases.filter_map(|phase| phase.trace.as_ref()?.data.as_ref()).flat_map(|data| &data.kinds)
}
