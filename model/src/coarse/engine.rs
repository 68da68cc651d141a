//! The run: one second of traffic after the other, and within each whatever decides, at its instant.

use alloc::{format, string::String, vec, vec::Vec};

use super::{
    CoarseError, Load, Outcome, Point, Station,
    latency::Latency,
    load::Second,
    outcome::Part,
    pods::{Change, Lost, Pods},
    station::CAP,
};
use crate::{
    autoscaling::{Autoscaling, Step},
    cluster::ContainerId,
    metrics::{Wish, prometheus::Told, resource::Usage},
    rng::Stream,
    spec::{Action, MetricSource, PathKind, Recipe, Scenario},
    time::{Nanos, SECOND, Timestamp},
};

/// How long the target may take to be ready before any traffic; as [`crate::sim`] waits.
const START_TIME: Nanos = Nanos::from_secs(120);
/// From its being ready to the first request; likewise.
const LEAD: Nanos = Nanos::from_millis(200);
/// The memory of an idle service, bytes; likewise.
const MEMORY: u64 = 6 << 20;
/// Upper bounds of the latency histogram that the bundled service tells, seconds.
const BUCKETS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What else is wanted of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether the numbers of every second are kept.
    pub keeps_curve: bool,
}

/// Runs the traffic of `load` on the scenario's target, which `station` is made from.
///
/// *Behaviour*: pure; the same arguments, the same outcome to the bit.
///
/// # Errors
/// If the target is not ready in time.
pub fn run(
    scenario: &Scenario,
    load: &Load,
    station: &Station,
    options: Options,
) -> Result<Outcome, CoarseError> {
    let mut engine = Engine::new(scenario, load, station, options);
    engine.start()?;
    for second in load.all() {
        engine.second(second);
    }
    Ok(engine.end())
}

struct Engine<'a> {
    scenario: &'a Scenario,
    load: &'a Load,
    station: &'a Station,
    options: Options,
    pods: Pods,
    autoscaling: Option<Autoscaling>,
    tells: Tells,
    /// When the present second began, and when the traffic did.
    now: Timestamp,
    start: Timestamp,
    steps: Vec<Step>,
    balancing: Stream,
    draws: Stream,
    patches: Vec<(Nanos, crate::spec::PatchAutoscaler)>,
    /// Requests so far: how rare a crowd has been seen.
    seen: f64,
    phases: Vec<Counts>,
    phase: usize,
    desired_changes: u32,
    serving: (u32, u32),
    time_to_scale: Option<f64>,
    curve: Vec<Point>,
}

/// What a phase's requests met.
#[derive(Clone, Debug, Default)]
struct Counts {
    owed: f64,
    refused: f64,
    cut: f64,
    late: f64,
    latency: Latency,
}

/// What the pods have to tell their metrics' readers.
#[derive(Clone, Copy, Debug, Default)]
struct Tells {
    custom: bool,
    buckets: bool,
}

impl Tells {
    fn of(scenario: &Scenario) -> Self {
        let mut tells = Self::default();
        let Some(autoscaler) = &scenario.autoscaler else { return tells };
        for source in autoscaler.metrics.iter().filter_map(|metric| metric.source()) {
            if matches!(source, MetricSource::Resource(_) | MetricSource::ContainerResource(_)) {
                continue;
            }
            tells.custom = true;
            let recipe = scenario.metrics_pipeline.prometheus.recipe(source.name());
            tells.buckets |= match recipe {
                Recipe::Quantile { .. } => true,
                Recipe::Rate(name) | Recipe::Gauge(name) => name.ends_with("_bucket"),
            };
        }
        tells
    }
}

impl<'a> Engine<'a> {
    fn new(scenario: &'a Scenario, load: &'a Load, station: &'a Station, options: Options) -> Self {
        let keeps = scenario.path.kind == PathKind::L4 && scenario.traffic.keep_alive;
        let patch = |event: &crate::spec::ScheduledEvent| match event.action() {
            Some(Action::PatchAutoscaler(patch)) => Some((event.at, patch)),
            _ => None,
        };
        let mut patches: Vec<_> = scenario.events.iter().filter_map(patch).collect();
        patches.sort_by_key(|(at, _)| core::cmp::Reverse(*at));
        Self {
            scenario,
            load,
            station,
            options,
            pods: Pods::new(scenario, station.calm, keeps),
            autoscaling: Autoscaling::new(scenario).map(Autoscaling::quietly),
            tells: Tells::of(scenario),
            now: Timestamp::ZERO,
            start: Timestamp::ZERO,
            steps: Vec::new(),
            balancing: Stream::new(scenario.seed, "endpoints/0"),
            draws: Stream::new(scenario.seed, "coarse/in-flight"),
            patches,
            seen: 1.0,
            phases: vec![Counts::default(); load.phases().len().max(1)],
            phase: 0,
            desired_changes: 0,
            serving: (u32::MAX, 0),
            time_to_scale: None,
            curve: Vec::new(),
        }
    }

    /// Until every pod that is wanted is in the clients' views.
    fn start(&mut self) -> Result<(), CoarseError> {
        self.pods.scale(Timestamp::ZERO, self.scenario.target.deployment.replicas);
        let within = START_TIME + self.start_allowance();
        let bound = Timestamp::ZERO + within;
        loop {
            let next = self.next_deadline();
            let settled = self.pods.settled_at();
            if settled > bound {
                return Err(CoarseError::NeverReady { within });
            }
            if next > settled {
                self.start = settled + LEAD;
                break;
            }
            self.control(next, 0.0);
        }
        self.catch_up(self.start);
        self.now = self.start;
        Ok(())
    }

    /// What the target's own settings may take.
    fn start_allowance(&self) -> Nanos {
        let template = &self.scenario.target.deployment.template;
        let probes = [&template.startup_probe, &template.readiness_probe];
        let seconds = probes.into_iter().flatten().map(|probe| {
            u64::from(probe.initial_delay_seconds)
                + u64::from(probe.period_seconds) * u64::from(probe.success_threshold)
        });
        let startup = self.scenario.target.service.as_ref().map_or(Nanos::ZERO, |one| one.startup);
        Nanos::from_secs(seconds.sum()) + startup
    }

    fn catch_up(&mut self, until: Timestamp) {
        loop {
            let next = self.next_deadline();
            if next >= until {
                return;
            }
            self.control(next, 0.0);
        }
    }

    fn next_deadline(&self) -> Timestamp {
        let autoscaling = self.autoscaling.as_ref().map(Autoscaling::next_deadline);
        self.pods.next_change().min(autoscaling.unwrap_or(Timestamp::MAX))
    }

    /// One second of traffic, and what is due within it.
    fn second(&mut self, second: &Second) {
        let (begin, end) = (self.now, self.now + Nanos(SECOND));
        self.patch(begin);
        self.phase = usize::from(second.phase).min(self.phases.len() - 1);
        let middle = begin + Nanos(SECOND / 2);
        let serving = self.pods.serving(middle);
        self.serve(second, middle, serving);
        self.serving = (self.serving.0.min(serving), self.serving.1.max(serving));
        if self.options.keeps_curve {
            let requests = second.count as u32;
            self.curve.push(Point { desired: self.pods.desired, serving, requests });
        }
        loop {
            let next = self.next_deadline();
            if next >= end {
                break;
            }
            let part = next.since(begin).0 as f64 / SECOND as f64;
            self.control(next, part);
        }
        for pod in &mut self.pods.all {
            pod.cpu = [pod.cpu[0] + pod.cpu[1], 0.0];
            pod.answered = [pod.answered[0] + pod.answered[1], 0.0];
        }
        self.now = end;
    }

    fn patch(&mut self, now: Timestamp) {
        while self.patches.last().is_some_and(|(at, _)| self.start + *at <= now) {
            if let (Some((_, patch)), Some(autoscaling)) =
                (self.patches.pop(), &mut self.autoscaling)
            {
                autoscaling.patch(&patch);
            }
        }
    }

    /// Spreads a second's requests over the pods.
    fn serve(&mut self, second: &Second, middle: Timestamp, serving: u32) {
        let counts = &mut self.phases[self.phase];
        counts.owed += second.count;
        self.seen += second.count;
        if serving == 0 {
            counts.refused += second.count;
            for pod in &mut self.pods.all {
                (pod.rate, pod.in_flight) = (0.0, 0.0);
            }
            return;
        }
        let sum = if self.pods.keeps_connections {
            self.connect(second, middle, serving);
            let of = |pod: &super::pods::Pod| pod.serves(middle).then_some(pod.connections);
            f64::from(self.pods.all.iter().filter_map(of).sum::<u32>())
        } else {
            f64::from(serving)
        };
        let keeps = self.pods.keeps_connections;
        let idle = if keeps { self.idle(second.expected, middle) } else { None };
        let turns = idle.map_or(1.0, |idle| self.turns(idle, middle).max(1e-9));
        let station = self.station;
        let counts = &mut self.phases[self.phase];
        for pod in &mut self.pods.all {
            if !pod.serves(middle) {
                (pod.rate, pod.in_flight, pod.connections) = (0.0, 0.0, 0);
                continue;
            }
            let share = match idle {
                _ if !keeps => 1.0 / sum,
                Some(idle) => pod.turn(idle) / turns,
                None => f64::from(pod.connections) / sum,
            };
            pod.rate = second.expected * share;
            let arrivals = second.count * share;
            if middle < pod.listens {
                counts.refused += arrivals;
                continue;
            }
            work(pod, arrivals, station, counts, self.tells.buckets);
        }
    }

    /// For how long a connection is idle, seconds, where pods are so unlike that this matters: the next
    /// request takes the connection that has been idle for longest, so that all are idle for as long,
    /// and one that leads to a slow pod comes less often.
    fn idle(&self, rate: f64, middle: Timestamp) -> Option<f64> {
        let serving = || self.pods.all.iter().filter(|pod| pod.serves(middle));
        let least = serving().map(|pod| pod.latency).fold(f64::INFINITY, f64::min);
        let most = serving().map(|pod| pod.latency).fold(0.0, f64::max);
        if most < UNLIKE * least || rate <= 0.0 {
            return None;
        }
        let all: u32 = serving().map(|pod| pod.connections).sum();
        let (mut low, mut high) = (0.0, f64::from(all) / rate);
        for _ in 0..HALVINGS {
            let middle_of = f64::midpoint(low, high);
            if self.turns(middle_of, middle) > rate { low = middle_of } else { high = middle_of }
        }
        Some(high)
    }

    /// Requests per second, if each connection is idle for so long between two of them.
    fn turns(&self, idle: f64, middle: Timestamp) -> f64 {
        let serving = self.pods.all.iter().filter(|pod| pod.serves(middle));
        serving.map(|pod| pod.turn(idle)).sum()
    }

    /// Opens connections as a crowd needs them, each to a pod at random; those that were opened stay.
    fn connect(&mut self, second: &Second, middle: Timestamp, serving: u32) {
        let (mut open, mut in_flight) = (0, 0.0);
        for pod in &mut self.pods.all {
            if pod.serves(middle) {
                open += pod.connections;
                in_flight += pod.backlog;
            } else {
                pod.connections = 0;
            }
        }
        let capacity = self.station.capacity * f64::from(serving);
        let step = Station::step(second.expected / capacity);
        let crowd = second.expected * self.station.mean[step] + in_flight;
        // The largest of so many samples of a Poisson distribution, by that of the normal one.
        let rare = libm::sqrt(2.0 * libm::log(self.seen.max(2.0)));
        let most = self.scenario.traffic.max_connections;
        let need = libm::ceil(crowd + rare * libm::sqrt(crowd)).max(1.0);
        let need = (need as u32).min(most);
        for _ in open..need {
            let mut place = self.balancing.below(u64::from(serving)) as u32;
            for pod in self.pods.all.iter_mut().filter(|pod| pod.serves(middle)) {
                if place == 0 {
                    pod.connections += 1;
                    break;
                }
                place -= 1;
            }
        }
    }

    /// Does what is due at `now`, so much of the present second being over.
    fn control(&mut self, now: Timestamp, part: f64) {
        self.pods.set_time(now);
        if self.pods.next_change() <= now {
            for change in self.pods.changes(now) {
                let Some(autoscaling) = &mut self.autoscaling else { continue };
                match change {
                    Change::Started(pod) => {
                        autoscaling.started(now, ContainerId { pod, restarts: 0 });
                    }
                    Change::Ended(pod) => autoscaling.ended(ContainerId { pod, restarts: 0 }),
                }
            }
        }
        let Some(autoscaling) = &mut self.autoscaling else { return };
        if autoscaling.next_deadline() > now {
            return;
        }
        let asks_since = autoscaling.asks_since();
        let mut steps = core::mem::take(&mut self.steps);
        autoscaling.advance(now, &self.pods, &mut steps);
        for step in steps.drain(..) {
            match step {
                Step::Wish(Wish::Usage(container)) => self.tell_usage(now, container, part),
                Step::Wish(Wish::Scrape(container)) => self.tell_page(now, container, part),
                Step::Scale(replicas) => self.scale(now, replicas, asks_since.unwrap_or(now)),
                Step::Emit { .. } => {}
            }
        }
        self.steps = steps;
    }

    fn scale(&mut self, now: Timestamp, replicas: u32, asks_since: Timestamp) {
        let is_more = replicas > self.pods.desired;
        let Lost { requests } = self.pods.scale(now, replicas);
        self.phases[self.phase].cut += requests;
        self.desired_changes += 1;
        if is_more && self.start > Timestamp::ZERO {
            let took = self.pods.settled_at().since(asks_since).as_secs_f64();
            self.time_to_scale = Some(self.time_to_scale.unwrap_or(0.0).max(took));
        }
    }

    fn tell_usage(&mut self, now: Timestamp, container: ContainerId, part: f64) {
        let (Some(pod), Some(autoscaling)) = (self.pods.find(container.pod), &mut self.autoscaling)
        else {
            return;
        };
        let seconds = pod.cpu[0] + pod.cpu[1] * part;
        let usage = Usage { cpu: (seconds * SECOND as f64) as u64, memory: MEMORY };
        autoscaling.used(now, container, usage);
    }

    fn tell_page(&mut self, now: Timestamp, container: ContainerId, part: f64) {
        if !self.tells.custom {
            return;
        }
        let in_flight = match self.pods.find(container.pod) {
            Some(pod) => poisson(pod.in_flight, &mut self.draws),
            None => return,
        };
        let (Some(pod), Some(autoscaling)) = (self.pods.find(container.pod), &mut self.autoscaling)
        else {
            return;
        };
        let answered = libm::floor(pod.answered[0] + pod.answered[1] * part);
        let labels = "{route=\"/work\",method=\"GET\",status=\"200\"}";
        let mut page: Vec<(&str, String, Option<f64>, f64)> = Vec::from([
            ("http_requests_total", String::from(labels), None, answered),
            ("http_requests_in_flight", String::new(), None, in_flight),
        ]);
        if self.tells.buckets {
            let name = "http_request_duration_seconds_bucket";
            for (bound, below) in BUCKETS.iter().zip(&pod.buckets) {
                let labels = format!("{{route=\"/work\",le=\"{bound}\"}}");
                page.push((name, labels, Some(*bound), libm::floor(*below)));
            }
            let labels = String::from("{route=\"/work\",le=\"+Inf\"}");
            page.push((name, labels, Some(f64::INFINITY), answered));
        }
        let told = page.iter().map(|(name, labels, le, value)| Told {
            name,
            labels,
            le: *le,
            value: *value,
        });
        autoscaling.scraped(now, container, told);
    }

    fn end(self) -> Outcome {
        let (station, end) = (self.station, self.now);
        let part = |counts: Counts| {
            let Counts { owed, refused, cut, late, latency } = counts;
            Part::new(station, owed, refused, cut, late, &latency)
        };
        let parts = self.phases.into_iter().map(part).collect();
        Outcome {
            seconds: self.load.seconds(),
            pod_seconds: self.pods.seconds(end),
            desired_changes: self.desired_changes,
            serving: (self.serving.0.min(self.serving.1), self.serving.1),
            time_to_scale: self.time_to_scale,
            curve: self.curve,
            ..Outcome::of(parts, station)
        }
    }
}

/// Pods of which one takes so many times as long as another are unlike.
const UNLIKE: f64 = 2.0;
/// So often the time is halved in which an idle connection's is looked for.
const HALVINGS: usize = 12;

/// A pod's requests of one second: what it serves, what waits on, what is refused.
#[inline]
fn work(
    pod: &mut super::pods::Pod,
    arrivals: f64,
    station: &Station,
    counts: &mut Counts,
    tells_buckets: bool,
) {
    let capacity = station.capacity;
    let utilization = pod.rate / capacity;
    let step = Station::step(utilization);
    pod.latency = station.mean[step] + pod.backlog / capacity;
    let mut taken = arrivals;
    if utilization < CAP && pod.backlog <= 0.0 && arrivals <= capacity {
        let refused = arrivals * station.full[step];
        counts.refused += refused;
        taken -= refused;
        counts.latency.add(taken, step, 0.0);
        pod.in_flight = pod.rate * station.mean[step];
        pod.cpu[1] = taken * station.cpu;
        pod.answered[1] = taken;
    } else {
        let before = pod.backlog;
        let mut after = (before + arrivals - capacity).max(0.0);
        let room = station.queue.unwrap_or(f64::INFINITY);
        let room = if station.leaves_late { room.min(station.timeout * capacity) } else { room };
        let over = (after - room).clamp(0.0, arrivals);
        after -= over;
        taken -= over;
        if station.queue.is_some_and(|queue| queue <= room) {
            counts.refused += over;
        } else {
            counts.late += over;
        }
        let served = before + taken - after;
        let behind = (before + after) / 2.0 / capacity;
        counts.latency.add(taken, step, behind);
        // A client that gives up closes its connection, and opens another one.
        let late = if behind > station.timeout { taken } else { 0.0 };
        pod.connections = pod.connections.saturating_sub(late as u32);
        pod.backlog = after;
        pod.in_flight = pod.rate * station.mean[step] + after;
        pod.cpu[1] = served * station.cpu;
        pod.answered[1] = served;
    }
    if tells_buckets {
        pod.buckets.resize(BUCKETS.len(), 0.0);
        let behind = pod.backlog / capacity;
        for (sum, bound) in pod.buckets.iter_mut().zip(BUCKETS) {
            *sum += taken * (1.0 - station.slower_than(step, (bound - behind).max(0.0)));
        }
    }
}

/// A draw of a Poisson distribution: by its gaps, or where it is large by the normal one.
fn poisson(mean: f64, stream: &mut Stream) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    if mean > 30.0 {
        return libm::round((mean + libm::sqrt(mean) * stream.normal()).max(0.0));
    }
    let (mut sum, mut count) = (stream.exponential(), 0.0);
    while sum < mean {
        sum += stream.exponential();
        count += 1.0;
    }
    count
}
