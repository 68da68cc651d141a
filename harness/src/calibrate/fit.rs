//! The fit: from a record to a scenario that reproduces it on the simulator.
//!
//! 1. what the record tells by itself: start-up, propagation, CPU per request
//! 2. how requests wait for each other, where the busy seconds tell: CPU and workers, by search
//! 3. the service time of the quiet seconds: first by their quantiles, then corrected by what the
//!    simulator makes of it

use highwater_model::{
    cluster::Timing,
    spec::{Distribution, PathKind, Scenario, Service},
    time::Nanos,
};

use super::{
    CalibrateError,
    load::{ANSWERS_MIN, Rule, Times},
    seen::{CpuReading, Seen},
    shape::{self, Family, Grid},
    told::{Origin, Parameter},
    trial::{TRIALS_MAX, Trials},
};

/// So often a service time is corrected by what the simulator makes of it.
const ROUNDS: u32 = 3;
/// A family is tried if it is worse by no more than this share than the best.
const FAMILY_MARGIN: f64 = 0.02;
/// A plainer model is taken if it is worse by no more than this share.
const PLAIN_MARGIN: f64 = 0.004;
/// Busy seconds are slower than this, against quiet ones, where requests wait for each other.
const SLOWER: f64 = 1.08;
/// CPU and workers are told by the record if they explain it so much better than none.
const TELLING: f64 = 0.02;
/// Fewer CPU readings than this tell nothing.
const READINGS_MIN: usize = 5;
/// Fewer delays than this tell no distribution.
const DELAYS_MIN: usize = 8;

/// What is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The service and the machine.
    All,
    /// The machine alone: the scenario's service is taken at its word.
    Machine,
}

/// A fit.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) scenario: Scenario,
    pub(super) parameters: Vec<Parameter>,
    pub(super) times: Times,
    pub(super) trials: u32,
}

/// Fits `base` to what is seen.
///
/// # Errors
/// If there are too few good answers, or the simulator cannot run the scenario.
pub(super) fn fit(
    base: Scenario,
    parameters: Vec<Parameter>,
    seen: &Seen<'_>,
    scope: Scope,
) -> Result<Fitted, CalibrateError> {
    let answers: u64 = seen.seconds.iter().map(|second| second.ok).sum();
    let mut rule = Rule::of(seen).ok_or(CalibrateError::TooFew { answers, least: ANSWERS_MIN })?;
    let mut times = rule.times(seen).map_err(CalibrateError::Damaged)?;
    let load = Load::of(&times);
    if load == Load::NotSlower {
        rule = Rule::ALL;
        times = rule.times(seen).map_err(CalibrateError::Damaged)?;
    }
    let mut fit = Fit {
        trials: Trials::new(rule, answers),
        goal: Score::of(&times),
        load,
        scenario: base,
        parameters,
        family: None,
    };
    fit.machine(seen);
    match scope {
        Scope::Machine => fit.overhead(&times)?,
        Scope::All => {
            fit.startup(seen);
            fit.propagation(seen);
            fit.service(seen, &times)?;
        }
    }
    let Fit { scenario, mut parameters, trials, .. } = fit;
    if trials.are_over() {
        let why = format!("the search ended after {TRIALS_MAX} trials: the best so far");
        parameters.push(Parameter::new("", "", Origin::Search, why));
    }
    Ok(Fitted { scenario, parameters, times, trials: trials.made })
}

/// The quantiles that a simulation is judged by.
#[derive(Clone, Debug)]
struct Score(Vec<f64>);

impl Score {
    const SHARES: [f64; 6] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95];

    fn of(times: &Times) -> Self {
        let classes = std::iter::once(&times.quiet).chain(&times.busy);
        let at = |hist: &crate::record::hist::Hist| {
            Self::SHARES.map(|share| hist.value_at_quantile(share) as f64)
        };
        Self(classes.flat_map(at).collect())
    }

    /// The mean of how far each quantile is off, as a share.
    fn off(&self, other: &Self) -> f64 {
        let off = self.0.iter().zip(&other.0).map(|(a, b)| (b.max(1.0) / a.max(1.0)).ln().abs());
        off.sum::<f64>() / self.0.len().max(1) as f64
    }
}

struct Fit {
    trials: Trials,
    goal: Score,
    load: Load,
    scenario: Scenario,
    parameters: Vec<Parameter>,
    /// Of the service time: chosen by the first candidate, the same for all.
    family: Option<Family>,
}

/// A service that was tried.
#[derive(Clone, Debug)]
struct Candidate {
    service: Service,
    off: f64,
}

impl Fit {
    fn tell(&mut self, key: &str, value: impl ToString, origin: Origin, why: impl Into<String>) {
        self.parameters.push(Parameter::new(key, &value.to_string(), origin, why));
    }

    fn service_of(scenario: &mut Scenario) -> &mut Service {
        scenario.target.service.get_or_insert_default()
    }

    fn machine(&mut self, seen: &Seen<'_>) {
        let key = "simulation.processStart";
        let own = self.scenario.simulation.process_start.clone();
        let grid =
            shape::grid_of_spans(&seen.process_start).filter(|_| seen.process_start.len() > 1);
        let Some(grid) = grid else {
            return self.tell(key, own, Origin::Scenario, "no two pods were seen to start");
        };
        let n = seen.process_start.len();
        // The simulator's kubelet takes its time as well.
        let own_start = Timing::default().start;
        let (fitted, kubelet) = (less(&grid, &own_start), own_start.quantile(0.5));
        let why =
            format!("from pod to container, {n} pods, less the kubelet's part (about {kubelet})");
        self.tell(key, &fitted, Origin::Record, why);
        self.scenario.simulation.process_start = fitted;
        let network = self.scenario.simulation.network;
        let why = "a record cannot tell it from the service time";
        self.tell("simulation.network", network, Origin::Scenario, why);
    }

    fn startup(&mut self, seen: &Seen<'_>) {
        let key = "target.service.startup";
        let own = Self::service_of(&mut self.scenario).startup;
        let median = |spans: &[Nanos]| {
            let mut spans = spans.to_vec();
            spans.sort_unstable();
            spans.get(spans.len() / 2).copied()
        };
        let template = &self.scenario.target.deployment.template;
        let period = template.readiness_probe.as_ref().map_or(0, |probe| probe.period_seconds);
        let (value, origin, why) = match (median(&seen.listening), median(&seen.ready)) {
            (Some(listens), _) => {
                let n = seen.listening.len();
                (listens, Origin::Record, format!("container to listening, median of {n} pods"))
            }
            (None, Some(ready)) => {
                // The probe finds out half a period late, on the average.
                let half = Nanos(Nanos::from_secs(u64::from(period)).0 / 2);
                let n = seen.ready.len();
                let why = format!("container to ready less half a probe's period, {n} pods");
                (Nanos(ready.0.saturating_sub(half.0)), Origin::Record, why)
            }
            (None, None) => (own, Origin::Scenario, "no pod was seen to start".into()),
        };
        let value = shape::span(value.0 as f64);
        Self::service_of(&mut self.scenario).startup = value;
        self.tell(key, value, origin, why);
    }

    fn propagation(&mut self, seen: &Seen<'_>) {
        let key = "path.propagation";
        let own = self.scenario.path.propagation.clone();
        let n = seen.propagation.iter().filter(|delay| delay.arrived).count();
        let grid = shape::grid_of_delays(&seen.propagation);
        let Some(grid) = grid.filter(|_| n >= DELAYS_MIN) else {
            let why = format!("{n} arrivals of changes at consumers were seen, too few to tell");
            return self.tell(key, own, Origin::Scenario, why);
        };
        if shape::may_be_of(&grid, n, &own) {
            let why = format!("{n} arrivals at consumers do not contradict it");
            return self.tell(key, own, Origin::Scenario, why);
        }
        let family = Family::best(&grid, FAMILY_MARGIN);
        let fitted = family.distribution(family.numbers(&grid));
        let why = format!("endpoints to consumers, {n} arrivals");
        self.tell(key, &fitted, Origin::Record, why);
        self.scenario.path.propagation = fitted;
    }

    /// CPU, workers and latency.
    fn service(&mut self, seen: &Seen<'_>, times: &Times) -> Result<(), CalibrateError> {
        let own = Self::service_of(&mut self.scenario).clone();
        let measured = cpu_per_request(&seen.cpu);
        let slower = self.load == Load::Slower;
        let with = |cpu, workers| Service { cpu, workers, ..own.clone() };
        let own_cpu = measured.as_ref().map_or(own.cpu, |(cpu, _)| *cpu);
        let none = || CalibrateError::Unfit("no trial of it came to an end");
        let plain = self.latency(with(own_cpu, own.workers), times)?.ok_or_else(none)?;
        let mut best = plain.clone();
        if slower {
            let cpus = if measured.is_none() { cpu_candidates(own_cpu, times) } else { Vec::new() };
            let workers = worker_candidates(own.workers, seen);
            // One after the other, from either side: together they would be hundreds of trials.
            let mut found = vec![plain.clone()];
            for is_first in [true, false] {
                let start = best.service.clone();
                for workers in &workers {
                    found.extend(self.latency(with(start.cpu, *workers), times)?);
                }
                for cpu in &cpus {
                    let workers = if is_first { own.workers } else { start.workers };
                    found.extend(self.latency(with(*cpu, workers), times)?);
                }
                for one in found.drain(..) {
                    if one.off < best.off - PLAIN_MARGIN {
                        best = one;
                    }
                }
            }
        }
        let is_told = plain.off - best.off > TELLING;
        let chosen = if is_told { best } else { plain };
        self.tell_service(&chosen, (&own, measured, is_told), times);
        *Self::service_of(&mut self.scenario) = chosen.service;
        Ok(())
    }

    fn tell_service(
        &mut self,
        chosen: &Candidate,
        (own, measured, is_told): (&Service, Option<(Nanos, String)>, bool),
        times: &Times,
    ) {
        let service = &chosen.service;
        let silent = match self.load {
            Load::Slower => "busy seconds are slower, but no other value explains them better",
            Load::NotSlower => "busy seconds are not slower than quiet ones",
            Load::Even => "the load per pod hardly changed: waiting cannot be told from working",
        };
        let found = "what explains the busy seconds best";
        match measured {
            Some((cpu, why)) => self.tell("target.service.cpu", cpu, Origin::Record, why),
            None if is_told && service.cpu != own.cpu => {
                self.tell("target.service.cpu", service.cpu, Origin::Search, found);
            }
            None => {
                let why = format!("no CPU was measured, and {silent}");
                self.tell("target.service.cpu", service.cpu, Origin::Scenario, why);
            }
        }
        let shown = |workers: Option<u32>| workers.map_or("any number".into(), |n| n.to_string());
        let workers = shown(service.workers);
        if is_told && service.workers != own.workers {
            self.tell("target.service.workers", workers, Origin::Search, found);
        } else {
            self.tell("target.service.workers", workers, Origin::Scenario, silent);
        }
        let quiet = if times.busy.is_some() { "quiet seconds" } else { "seconds" };
        let why = format!(
            "{} answers of {} {quiet}; the simulator's quantiles are off by {:.1} %",
            times.quiet.len(),
            times.seconds[0],
            chosen.off * 100.0
        );
        self.tell("target.service.latency", &service.latency, Origin::Search, why);
    }

    /// The latency with which a service with this CPU and these workers is nearest to the record;
    /// `None` if there may be no more trials.
    fn latency(
        &mut self,
        service: Service,
        times: &Times,
    ) -> Result<Option<Candidate>, CalibrateError> {
        let goal = Grid::of(&times.quiet);
        let ways = match self.scenario.path.kind {
            PathKind::L4 => 2,
            PathKind::L7 => 4,
        };
        let known = self.scenario.simulation.network.0 * ways + service.cpu.0;
        let start = goal.less(known as f64);
        let mut best: Option<Candidate> = None;
        let families = self.family.map_or_else(|| families(&start), |family| vec![family]);
        for family in families {
            let (mut numbers, wanted) = (family.numbers(&start), family.numbers(&goal));
            for _ in 0..ROUNDS {
                let latency = family.distribution(numbers);
                let service = Service { latency, ..service.clone() };
                let mut scenario = self.scenario.clone();
                *Self::service_of(&mut scenario) = service.clone();
                let Some(got) = self.trials.times(&scenario)? else { return Ok(best) };
                let off = self.goal.off(&Score::of(&got));
                // Of one family the nearest, and a less plain family only if it is clearly nearer.
                let margin = if self.family == Some(family) { 0.0 } else { PLAIN_MARGIN };
                if best.as_ref().is_none_or(|best| off < best.off - margin) {
                    best = Some(Candidate { service, off });
                    self.family = Some(family);
                }
                let got = family.numbers(&Grid::of(&got.quiet));
                for place in 0..numbers.len() {
                    numbers[place] += wanted[place] - got[place];
                }
            }
        }
        Ok(best)
    }

    /// What the machine adds, where the service is taken at its word.
    fn overhead(&mut self, times: &Times) -> Result<(), CalibrateError> {
        let key = "simulation.overhead";
        self.scenario.simulation.overhead = Distribution::Fixed(Nanos::ZERO);
        let goal = Grid::of(&times.quiet);
        let none = self.trials.times(&self.scenario)?;
        let none = none.ok_or(CalibrateError::Unfit("no trial of it came to an end"))?;
        let missing = goal.mean() - Grid::of(&none.quiet).mean();
        let mut best = (Distribution::Fixed(Nanos::ZERO), self.goal.off(&Score::of(&none)));
        for shape in SHAPES {
            let mut mean = missing.max(0.0);
            for _ in 0..ROUNDS {
                let overhead = shape(mean);
                self.scenario.simulation.overhead = overhead.clone();
                let Some(got) = self.trials.times(&self.scenario)? else { break };
                let off = self.goal.off(&Score::of(&got));
                if off < best.1 - PLAIN_MARGIN {
                    best = (overhead, off);
                }
                mean = (mean + goal.mean() - Grid::of(&got.quiet).mean()).max(0.0);
            }
        }
        let (overhead, off) = best;
        let why = format!(
            "{} answers of {} quiet seconds, {} longer on the average than the service says; the \
             simulator's quantiles are off by {:.1} %",
            times.quiet.len(),
            times.seconds[0],
            shape::span(missing.max(0.0)),
            off * 100.0
        );
        self.tell(key, &overhead, Origin::Search, why);
        self.scenario.simulation.overhead = overhead;
        Ok(())
    }
}

/// What is left of delays without a part of them: by mean and variance, evenly spread.
fn less(of: &Grid, part: &Distribution) -> Distribution {
    let part = Grid::of_distribution(part);
    let mean = (of.mean() - part.mean()).max(0.0);
    // The variance of an even spread is the square of half its width, divided by 3.
    let half = (3.0 * (of.variance() - part.variance()).max(0.0)).sqrt().min(mean);
    match (shape::span(mean - half), shape::span(mean + half)) {
        (low, high) if low == high => Distribution::Fixed(low),
        (low, high) => Distribution::Uniform(low, high),
    }
}

/// Shapes of an overhead by its mean in nanoseconds: always the same, and ever longer tails.
const SHAPES: [fn(f64) -> Distribution; 4] = [
    |mean| Distribution::Fixed(shape::span(mean)),
    |mean| Distribution::Exponential { mean: shape::span(mean.max(1_000.0)) },
    |mean| lognormal(mean, 0.5),
    |mean| lognormal(mean, 1.5),
];

/// *Source*: the mean of a lognormal is its median times exp(sigma² / 2).
fn lognormal(mean: f64, sigma: f64) -> Distribution {
    let median = mean.max(1_000.0) / (sigma * sigma / 2.0).exp();
    Family::Lognormal.distribution([median.ln(), sigma])
}

/// The families that are worth a trial: the best, and what is nearly as good; three at most.
fn families(grid: &Grid) -> Vec<Family> {
    let misfits = Family::ALL.map(|family| family.misfit(grid));
    let least = misfits.iter().copied().fold(f64::INFINITY, f64::min);
    let near = Family::ALL.into_iter().zip(misfits);
    near.filter(|(_, misfit)| *misfit <= least + FAMILY_MARGIN).map(|(family, _)| family).collect()
}

/// What the busy seconds say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// There are none.
    Even,
    /// Requests do not wait for each other: all seconds tell the service time.
    NotSlower,
    /// They are slower than quiet ones.
    Slower,
}

impl Load {
    fn of(times: &Times) -> Self {
        let Some(busy) = &times.busy else { return Self::Even };
        let slower = |share| {
            let [quiet, busy] = [&times.quiet, busy].map(|hist| hist.value_at_quantile(share));
            busy as f64 > SLOWER * quiet as f64
        };
        if slower(0.5) || slower(0.9) { Self::Slower } else { Self::NotSlower }
    }
}

/// The scenario's, none, and parts of what a fast request takes.
fn cpu_candidates(own: Nanos, times: &Times) -> Vec<Nanos> {
    let fast = times.quiet.value_at_quantile(0.05) as f64;
    let parts = [0.0, 0.1, 0.25, 0.5, 0.75, 0.95].map(|part| shape::span(fast * part));
    let mut all = vec![own];
    all.extend(parts);
    all.dedup();
    all
}

/// The scenario's, any number, and powers of two up to what was seen in flight.
fn worker_candidates(own: Option<u32>, seen: &Seen<'_>) -> Vec<Option<u32>> {
    let mut all = vec![own, None];
    let most = seen.in_flight.clamp(1, 64) as u32;
    all.extend([1, 2, 3, 4, 6, 8, 12, 16, 32, 64].into_iter().filter(|n| *n <= most).map(Some));
    let mut known = Vec::new();
    all.retain(|workers| {
        !known.contains(workers) && {
            known.push(*workers);
            true
        }
    });
    all
}

/// CPU time per request, and how it was told: the slope of CPU over requests, or, where the rate
/// hardly changed, their ratio. `None` of too few readings.
fn cpu_per_request(readings: &[CpuReading]) -> Option<(Nanos, String)> {
    let readings: Vec<&CpuReading> = readings.iter().filter(|one| one.rate > 0.0).collect();
    let n = readings.len();
    if n < READINGS_MIN {
        return None;
    }
    let mean =
        |of: fn(&CpuReading) -> f64| readings.iter().map(|one| of(one)).sum::<f64>() / n as f64;
    let (rate, cores) = (mean(|one| one.rate), mean(|one| one.cores));
    let least = readings.iter().map(|one| one.rate).fold(f64::INFINITY, f64::min);
    let most = readings.iter().map(|one| one.rate).fold(0.0, f64::max);
    let (mut above, mut below) = (0.0, 0.0);
    for one in &readings {
        above += (one.rate - rate) * (one.cores - cores);
        below += (one.rate - rate).powi(2);
    }
    let slope = above / below;
    if most >= 1.5 * least && slope > 0.0 {
        let idle = (cores - slope * rate).max(0.0);
        let why = format!("the slope of {n} CPU readings over requests; {idle:.3} cores at rest");
        return Some((shape::span(slope * 1e9), why));
    }
    let why = format!("the ratio of {n} CPU readings to requests: the rate hardly changed");
    (cores > 0.0).then(|| (shape::span(cores / rate * 1e9), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_per_request_is_a_slope_where_the_rate_changes() {
        let reading = |rate: f64, cores: f64| CpuReading { rate, cores };
        let of = |readings: &[CpuReading]| cpu_per_request(readings).map(|(cpu, _)| cpu);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[reading(10.0, 0.1); 4]), None, "too few");
        assert_eq!(of(&[reading(0.0, 0.1); 9]), None, "no requests");
        let line: Vec<_> =
            (1..9).map(|n| reading(f64::from(n), 0.05 + 0.004 * f64::from(n))).collect();
        assert_eq!(of(&line), Some(Nanos::from_millis(4)), "what is used at rest is not counted");
        assert_eq!(of(&[reading(10.0, 0.04); 6]), Some(Nanos::from_millis(4)));
        assert_eq!(of(&[reading(10.0, 0.0); 6]), None, "nothing was used");
    }
}
