//! What is found by search: the service time, how requests wait, what a machine adds.

mod empirical;

use highwater_model::{
    spec::{Distribution, PathKind, Service},
    time::Nanos,
};

use super::{
    super::{
        CalibrateError,
        load::Times,
        seen::Seen,
        shape::{self, Family, Grid},
        told::Origin,
    },
    Candidate, FAMILY_MARGIN, Fit, Load, Score,
    record::cpu_per_request,
};

/// So often a service time is corrected by what the simulator makes of it.
const ROUNDS: u32 = 3;
/// A candidate that is so many times as far off as the nearest so far is not corrected any more.
const HOPELESS: f64 = 3.0;
/// A plainer model is taken if it is worse by no more than this share.
const PLAIN_MARGIN: f64 = 0.004;
/// CPU and workers are told by the record if they explain it so much better than none.
const TELLING: f64 = 0.02;

impl Fit {
    pub(super) fn service(&mut self, seen: &Seen<'_>, times: &Times) -> Result<(), CalibrateError> {
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
                if !is_first && start == plain.service {
                    break;
                }
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
        let chosen = self.empirical(chosen, times)?;
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
        let start = goal.less(self.known(&service).0 as f64);
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
                if off > self.nearest.max(TELLING) * HOPELESS {
                    break;
                }
                self.nearest = self.nearest.min(off);
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

    /// What a request that waits for nobody takes beside the service's latency.
    fn known(&self, service: &Service) -> Nanos {
        let ways = match self.scenario.path.kind {
            PathKind::L4 => 2,
            PathKind::L7 => 4,
        };
        Nanos(self.scenario.simulation.network.0 * ways + service.cpu.0)
    }

    /// What the machine adds, where the service is taken at its word.
    pub(super) fn overhead(&mut self, times: &Times) -> Result<(), CalibrateError> {
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
