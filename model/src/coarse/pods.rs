//! The pods of a coarse run: each with the instants of its life, known as soon as they are caused.

use alloc::{format, string::String, vec::Vec};

use crate::{
    autoscaling::Target,
    cluster::{
        PodState, Timing,
        replicaset::{self, Phase},
    },
    hpa::Scale,
    rng::Stream,
    spec::{Distribution, Lifecycle, Probe, Scenario, Service},
    time::{Nanos, SECOND, Timestamp},
};

/// The least from SIGTERM to SIGKILL; as in `cluster::pod::stop`.
const GRACE_MIN: Nanos = Nanos::from_secs(2);

/// A pod.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) number: u32,
    name: String,
    uid: u64,
    created: Timestamp,
    /// Its container runs.
    pub(super) running: Timestamp,
    /// Its process listens.
    pub(super) listens: Timestamp,
    ready: Timestamp,
    /// It is in the views of the clients.
    pub(super) serving: Timestamp,
    deleted: Option<Timestamp>,
    /// It is out of the views; the mean over them.
    pub(super) leaves: Timestamp,
    /// Its container ended.
    pub(super) ends: Timestamp,
    is_told_running: bool,
    is_told_ended: bool,
    /// CPU used, seconds, until the present second, and in it.
    pub(super) cpu: [f64; 2],
    /// Requests answered, likewise.
    pub(super) answered: [f64; 2],
    /// Requests answered by bucket of latency, where that is asked for.
    pub(super) buckets: Vec<f64>,
    /// Requests that are at work or wait, in the mean.
    pub(super) in_flight: f64,
    /// Requests per second that it gets.
    pub(super) rate: f64,
    /// Connections that lead to it (`l4` with keep-alive).
    pub(super) connections: u32,
    /// Requests that wait beyond what equilibrium has.
    pub(super) backlog: f64,
    /// How long a request takes now, in the mean, seconds.
    pub(super) latency: f64,
}

impl Pod {
    /// Whether clients send to it at `at`.
    pub(super) fn serves(&self, at: Timestamp) -> bool {
        self.serving <= at && at < self.leaves
    }

    /// Requests per second over its connections, if each is idle for so many seconds between two.
    pub(super) fn turn(&self, idle: f64) -> f64 {
        f64::from(self.connections) / (self.latency + idle).max(1e-6)
    }

    fn is_gone(&self, at: Timestamp) -> bool {
        self.ends <= at
    }
}

/// What becomes of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Started(u32),
    Ended(u32),
}

/// What was lost by a pod's going.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lost {
    pub(super) requests: f64,
}

/// All pods.
#[derive(Clone, Debug)]
pub(super) struct Pods {
    pub(super) all: Vec<Pod>,
    pub(super) desired: u32,
    now: Timestamp,
    made: u32,
    seed: u64,
    timing: Timing,
    propagation: Distribution,
    consumers: u32,
    process_start: Distribution,
    service: Service,
    lifecycle: Option<Lifecycle>,
    grace: Nanos,
    startup_probe: Option<Probe>,
    readiness_probe: Option<Probe>,
    streams: Streams,
    /// How long what is in flight needs to be done.
    drain: Nanos,
    /// Whether connections outlive requests and lead to the pods.
    pub(super) keeps_connections: bool,
    /// Seconds that containers ran, of those that ended.
    ended_seconds: f64,
}

#[derive(Clone, Debug)]
struct Streams {
    process_start: Stream,
    endpoints: Stream,
    views: Stream,
}

impl Pods {
    pub(super) fn new(scenario: &Scenario, drain: f64, keeps_connections: bool) -> Self {
        let seed = scenario.seed;
        let template = &scenario.target.deployment.template;
        Self {
            all: Vec::new(),
            desired: 0,
            now: Timestamp::ZERO,
            made: 0,
            seed,
            timing: Timing::default(),
            propagation: scenario.path.propagation.clone(),
            consumers: scenario.path.consumers().max(1),
            process_start: scenario.simulation.process_start.clone(),
            service: scenario.target.service.clone().unwrap_or_default(),
            lifecycle: template.lifecycle.clone(),
            grace: Nanos::from_secs(u64::from(template.termination_grace_period_seconds)),
            startup_probe: template.startup_probe.clone(),
            readiness_probe: template.readiness_probe.clone(),
            streams: Streams {
                process_start: Stream::new(seed, "process-start"),
                endpoints: Stream::new(seed, "endpoints"),
                views: Stream::new(seed, "coarse/views"),
            },
            drain: Nanos::from_secs_f64(drain),
            keeps_connections,
            ended_seconds: 0.0,
        }
    }

    /// How many there are that are not being deleted.
    fn current(&self) -> u32 {
        self.all.iter().filter(|pod| pod.deleted.is_none()).count() as u32
    }

    /// How many clients send to at `at`.
    pub(super) fn serving(&self, at: Timestamp) -> u32 {
        self.all.iter().filter(|pod| pod.serves(at)).count() as u32
    }

    /// When all that are not being deleted are in the views.
    pub(super) fn settled_at(&self) -> Timestamp {
        let living = self.all.iter().filter(|pod| pod.deleted.is_none());
        living.map(|pod| pod.serving).max().unwrap_or(Timestamp::ZERO)
    }

    pub(super) fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Makes or deletes pods until there are `desired`. What is lost by those that go.
    pub(super) fn scale(&mut self, now: Timestamp, desired: u32) -> Lost {
        self.desired = desired;
        self.now = now;
        let current = self.current();
        for _ in current..desired {
            self.create(now);
        }
        let mut lost = Lost::default();
        if current > desired {
            for victim in self.victims(now, (current - desired) as usize) {
                lost.requests += self.delete(now, victim);
            }
        }
        lost
    }

    fn create(&mut self, now: Timestamp) {
        let number = self.made;
        self.made += 1;
        let name = format!("v1-{}", number + 1);
        let seed = self.seed;
        let stream = |purpose: &str| Stream::new(seed, &format!("{purpose}/{name}"));
        let start = self.timing.start.sample(&mut stream("pod-start"));
        let process = self.process_start.sample(&mut self.streams.process_start);
        let running = now + start + process;
        let listens = running + self.service.startup;
        let mut passes = running;
        for (probe, purpose) in
            [(&self.startup_probe, "probe/startup"), (&self.readiness_probe, "probe/readiness")]
        {
            let Some(probe) = probe else { continue };
            let period = Nanos::from_secs(u64::from(probe.period_seconds.max(1)));
            let first = now + Nanos(stream(purpose).below(period.0));
            passes = probed(probe, first, period, running, listens.max(passes));
        }
        let seen = self.timing.endpoints_delay.sample(&mut self.streams.endpoints);
        let serving = passes + seen + self.propagated();
        let uid = stream("uid").next_u64();
        self.all.push(Pod {
            number,
            uid,
            created: now,
            running,
            listens,
            ready: passes,
            serving,
            deleted: None,
            leaves: Timestamp::MAX,
            ends: Timestamp::MAX,
            is_told_running: false,
            is_told_ended: false,
            cpu: [0.0; 2],
            answered: [0.0; 2],
            buckets: Vec::new(),
            in_flight: 0.0,
            rate: 0.0,
            connections: 0,
            backlog: 0.0,
            latency: self.drain.as_secs_f64(),
            name,
        });
    }

    /// How long a change takes to the clients, in the mean over them.
    fn propagated(&mut self) -> Nanos {
        let (propagation, stream) = (&self.propagation, &mut self.streams.views);
        let sum: u64 = (0..self.consumers).map(|_| propagation.sample(stream).0).sum();
        Nanos(sum / u64::from(self.consumers))
    }

    fn victims(&self, now: Timestamp, count: usize) -> Vec<u32> {
        let whole = |at: Timestamp| Timestamp(at.second() * SECOND);
        let known = |pod: &Pod| replicaset::Pod {
            pod: pod.number,
            template: 1,
            set: 1,
            number: pod.number + 1,
            uid: pod.uid,
            created: whole(pod.created),
            node: Some(0),
            phase: if pod.running <= now { Phase::Running } else { Phase::Pending },
            ready: (pod.ready <= now).then(|| whole(pod.ready)),
            restarts: 0,
            deletion_cost: 0,
            is_terminating: pod.deleted.is_some(),
        };
        let pods: Vec<replicaset::Pod> = self.all.iter().map(known).collect();
        replicaset::victims(&pods, count, now)
    }

    /// Deletes a pod; how many requests are lost by it.
    fn delete(&mut self, now: Timestamp, number: u32) -> f64 {
        let Some(place) = self.all.iter().position(|pod| pod.number == number) else { return 0.0 };
        let stream = Stream::new(self.seed, &format!("kubelet-delay/{}", self.all[place].name));
        let begins = now + self.timing.kubelet_delay.sample(&mut stream.clone());
        let noted = now + self.timing.endpoints_delay.sample(&mut self.streams.endpoints);
        let leaves: Vec<Timestamp> = (0..self.consumers)
            .map(|_| noted + self.propagation.sample(&mut self.streams.views))
            .collect();
        let kill_at = begins + self.grace.max(GRACE_MIN);
        let hook = self.hook().min(self.grace);
        let closes = (begins + hook + self.service.drain.delay).min(kill_at);
        let closing: u64 = self.service.dependencies.iter().map(|part| part.close.0).sum();
        let done = closes + self.drain + Nanos(closing);
        let late: f64 = leaves.iter().map(|at| at.since(closes).as_secs_f64()).sum::<f64>()
            / leaves.len() as f64;
        let mean = leaves.iter().map(|at| at.0).sum::<u64>() / leaves.len() as u64;
        let others = self.serving(now).max(1);
        let pod = &mut self.all[place];
        pod.deleted = Some(now);
        pod.leaves = Timestamp(mean).min(closes.max(now));
        pod.ends = done.min(kill_at).max(pod.running);
        if !pod.serves(now) {
            return 0.0;
        }
        // A client's connections are closed in good order; what comes after is refused.
        let mut lost = pod.rate * late;
        if self.keeps_connections {
            lost = lost.min(f64::from(pod.connections) / f64::from(others));
        }
        // What is at work when the grace period is over.
        let is_cut = kill_at < closes + self.drain;
        lost + if is_cut { pod.in_flight } else { 0.0 }
    }

    /// How long the preStop hook takes.
    fn hook(&self) -> Nanos {
        let hook = self.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(hook) = hook else { return Nanos::ZERO };
        if let Some(sleep) = &hook.sleep {
            return Nanos::from_secs(u64::from(sleep.seconds));
        }
        let is_own = hook.http_get.as_ref().is_some_and(|get| get.path == "/prestop");
        if is_own { self.service.drain.delay } else { Nanos::ZERO }
    }

    /// When the next container starts or ends.
    pub(super) fn next_change(&self) -> Timestamp {
        let next = |pod: &Pod| {
            if !pod.is_told_running {
                pod.running
            } else if pod.is_told_ended {
                Timestamp::MAX
            } else {
                pod.ends
            }
        };
        self.all.iter().map(next).min().unwrap_or(Timestamp::MAX)
    }

    /// The containers that started or ended until `now`; pods that are gone are forgotten.
    pub(super) fn changes(&mut self, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for pod in &mut self.all {
            if !pod.is_told_running && pod.running <= now {
                pod.is_told_running = true;
                changes.push(Change::Started(pod.number));
            }
            if !pod.is_told_ended && pod.ends <= now {
                pod.is_told_ended = true;
                self.ended_seconds += pod.ends.since(pod.running).as_secs_f64();
                changes.push(Change::Ended(pod.number));
            }
        }
        self.all.retain(|pod| !(pod.is_told_ended && pod.is_gone(now)));
        changes
    }

    /// Seconds that containers ran until `end`.
    pub(super) fn seconds(&self, end: Timestamp) -> f64 {
        let running = self.all.iter().map(|pod| pod.ends.min(end).since(pod.running));
        self.ended_seconds + running.map(Nanos::as_secs_f64).sum::<f64>()
    }

    fn state<'a>(&self, pod: &'a Pod) -> PodState<'a> {
        let is_ready = pod.ready <= self.now;
        PodState {
            pod: pod.number,
            name: &pod.name,
            is_running: pod.running <= self.now,
            is_terminating: pod.deleted.is_some(),
            is_ready,
            ready_since: if is_ready { pod.ready } else { pod.created },
            started: Some(pod.created),
        }
    }

    pub(super) fn find(&self, number: u32) -> Option<&Pod> {
        let place = self.all.binary_search_by_key(&number, |pod| pod.number).ok()?;
        self.all.get(place)
    }
}

/// When a probe has passed often enough that fails before `good`.
fn probed(
    probe: &Probe,
    first: Timestamp,
    period: Nanos,
    running: Timestamp,
    good: Timestamp,
) -> Timestamp {
    let delayed = running + Nanos::from_secs(u64::from(probe.initial_delay_seconds));
    let from = delayed.max(good);
    let ticks = from.since(first).0.div_ceil(period.0.max(1));
    let more = u64::from(probe.success_threshold.max(1)) - 1;
    first + Nanos((ticks + more) * period.0)
}

impl Target for Pods {
    fn pods(&self) -> Vec<PodState<'_>> {
        self.all.iter().map(|pod| self.state(pod)).collect()
    }

    fn scale(&self) -> Scale {
        Scale { spec: self.desired, status: self.current() }
    }

    fn pod_name(&self, pod: u32) -> &str {
        self.find(pod).map_or("", |pod| &pod.name)
    }
}
