//! What one pod does with requests, as tables: capacity, and latency by utilisation.

use alloc::{vec, vec::Vec};

use super::wait::Wait;
use crate::{
    rng::Stream,
    sim::cpu::Cpu,
    spec::{Distribution, OnCancel, PathKind, Scenario},
    time::{Nanos, Timestamp},
};

/// Steps of utilisation that latency is tabulated for: each 1/128, up to [`CAP`].
pub(super) const STEPS: usize = 124;
const STEP: f64 = 1.0 / 128.0;
/// Above this utilisation (123/128) the queue is followed from second to second, not taken as in
/// equilibrium.
pub(super) const CAP: f64 = (STEPS - 1) as f64 * STEP;
/// Steps of latency, evenly spaced in its logarithm.
pub(super) const GRID: usize = 320;
/// The least latency that is told apart, seconds.
const LEAST: f64 = 50e-6;
/// The longest, seconds.
const LONGEST: f64 = 120.0;

/// So many requests are played to see how a CPU quota throttles, after so many that are not counted.
const PLAYED: usize = 3_000;
const WARM: usize = 300;

/// How a request's wait (what it does not need CPU for) is cut into points: shares up to so much of
/// it, in so many points. Finer where latencies of interest lie.
const POINTS: [(f64, usize); 5] = [(0.9, 64), (0.99, 32), (0.999, 24), (0.9999, 12), (1.0, 1)];

/// What one pod does with requests.
#[derive(Clone, Debug)]
pub struct Station {
    /// Requests per second that it can serve for good.
    pub(super) capacity: f64,
    /// CPU seconds that a request takes.
    pub(super) cpu: f64,
    /// Whether the bottleneck is its workers, which leave requests alone whose clients are gone.
    pub(super) leaves_late: bool,
    /// How many requests may wait; `None` for any number.
    pub(super) queue: Option<f64>,
    /// Which share finds the queue full, by utilisation.
    pub(super) full: Vec<f64>,
    /// Mean latency by utilisation, seconds.
    pub(super) mean: Vec<f64>,
    /// By utilisation, then by latency: which share is slower.
    slower: Vec<f64>,
    /// Latencies of the grid, seconds.
    grid: Vec<f64>,
    /// A client's patience, seconds.
    pub(super) timeout: f64,
    /// The 90th percentile of an idle pod, seconds: how long a drain takes.
    pub(super) calm: f64,
}

impl Station {
    /// A pod of the scenario.
    ///
    /// *Behaviour*: of a service that needs CPU and has bounded workers the tighter one makes the
    /// queue. Warm-up and wrong behaviours are left out.
    pub fn new(scenario: &Scenario) -> Self {
        let service = scenario.target.service.clone().unwrap_or_default();
        let simulation = &scenario.simulation;
        let cores = f64::from(simulation.cores.max(1));
        let limit = scenario.target.deployment.template.resources.limits.cpu;
        let usable = limit.map_or(cores, |limit| (limit.0 as f64 / 1_000.0).min(cores)).max(1e-3);
        let cpu = service.cpu.as_secs_f64();
        let hops = if scenario.path.kind == PathKind::L7 { 4.0 } else { 2.0 };
        let fixed = cpu + hops * simulation.network.as_secs_f64();
        let points = points(&service.latency, &simulation.overhead);
        let (waits, square) = moments(&points);
        let by_cpu = if cpu > 0.0 { usable / cpu } else { f64::INFINITY };
        let held = cpu + waits;
        let by_workers = match service.workers {
            Some(workers) if held > 0.0 => f64::from(workers) / held,
            _ => f64::INFINITY,
        };
        let is_workers = by_workers < by_cpu;
        let (servers, time, variation) = if is_workers {
            let variance = (square - waits * waits).max(0.0);
            (service.workers.unwrap_or(1), held, variance / (held * held))
        } else {
            (simulation.cores.max(1), cpu, 0.0)
        };
        let is_throttled = !is_workers && usable < cores && cpu > 0.0;
        let queue = service.queue.map(|queue| queue.length).filter(|_| is_workers);
        let capacity = by_cpu.min(by_workers);
        let grid = grid();
        let base: Vec<(f64, f64)> =
            points.iter().map(|(seconds, share)| (seconds + fixed, *share)).collect();
        let mut slower = vec![0.0; STEPS * GRID];
        let (mut mean, mut full) = (vec![0.0; STEPS], vec![0.0; STEPS]);
        for step in 0..STEPS {
            let utilization = step as f64 * STEP;
            let row = &mut slower[step * GRID..(step + 1) * GRID];
            if is_throttled {
                let limit = (simulation.cores, limit.map(|limit| limit.0));
                let waited = throttled(limit, service.cpu, utilization * capacity);
                fill_played(row, &grid, &base, &waited);
                mean[step] = fixed + waits + waited.iter().sum::<f64>() / waited.len() as f64;
                continue;
            }
            let mut wait = Wait::new(servers, time, variation, utilization);
            if let Some(queue) = queue {
                (wait, full[step]) = wait.in_a_queue_of(queue, utilization);
            }
            fill(row, &grid, &base, wait);
            mean[step] = fixed + waits + wait.share * wait.mean;
        }
        let calm = fixed + quantile_of(&points, 0.9);
        Self {
            capacity,
            cpu,
            leaves_late: is_workers && service.on_cancel == OnCancel::Stop,
            queue: service.queue.map(|queue| f64::from(queue.length)),
            full,
            mean,
            slower,
            grid,
            timeout: scenario.traffic.timeout.as_secs_f64(),
            calm,
        }
    }

    /// The step of a utilisation; the last one from [`CAP`] on.
    pub(super) fn step(utilization: f64) -> usize {
        ((utilization * (1.0 / STEP) + 0.5) as usize).min(STEPS - 1)
    }

    /// Which share of requests at this step is slower than each latency of the grid.
    pub(super) fn row(&self, step: usize) -> &[f64] {
        &self.slower[step * GRID..(step + 1) * GRID]
    }

    /// Which share is slower than `seconds`, at this step.
    pub(super) fn slower_than(&self, step: usize, seconds: f64) -> f64 {
        at(self.row(step), seconds)
    }

    /// Latencies of the grid, seconds, ascending.
    pub(super) fn grid(&self) -> &[f64] {
        &self.grid
    }

    /// How many requests per second one pod can serve for good; infinite if they need nothing.
    pub const fn capacity(&self) -> f64 {
        self.capacity
    }

    /// The mean latency at a utilisation, seconds.
    pub fn mean_latency(&self, utilization: f64) -> f64 {
        self.mean[Self::step(utilization)]
    }

    /// The quantile `q` of latency at a utilisation, seconds.
    pub fn latency(&self, utilization: f64, q: f64) -> f64 {
        quantile(self.row(Self::step(utilization)), &self.grid, 1.0 - q)
    }
}

/// The value of a row at `seconds`, in a straight line between its points.
pub(super) fn at(row: &[f64], seconds: f64) -> f64 {
    let place = place(seconds);
    if place <= 0.0 {
        return 1.0;
    }
    let below = place as usize;
    match (row.get(below), row.get(below + 1)) {
        (Some(low), Some(high)) => low + (high - low) * (place - below as f64),
        _ => 0.0,
    }
}

/// As [`at`], of counts: the first one stands for all.
pub(super) fn at_count(counts: &[f64], seconds: f64) -> f64 {
    let place = place(seconds).max(0.0);
    let below = place as usize;
    match (counts.get(below), counts.get(below + 1)) {
        (Some(low), Some(high)) => low + (high - low) * (place - below as f64),
        _ => counts.last().copied().unwrap_or(0.0),
    }
}

/// Where a latency is in the grid.
fn place(seconds: f64) -> f64 {
    let span = libm::log(LONGEST / LEAST);
    libm::log(seconds.max(1e-9) / LEAST) / span * (GRID - 1) as f64
}

/// The latency that `share` of the row's requests exceed; the row need not begin at 1.
pub(super) fn quantile(row: &[f64], grid: &[f64], share: f64) -> f64 {
    let behind = row.partition_point(|slower| *slower > share);
    let (Some(&high), true) = (grid.get(behind), behind > 0) else {
        return if behind == 0 { grid[0] } else { grid[grid.len() - 1] };
    };
    let (above, below) = (row[behind - 1], row[behind]);
    let part = if above > below { (above - share) / (above - below) } else { 0.0 };
    grid[behind - 1] + (high - grid[behind - 1]) * part
}

fn grid() -> Vec<f64> {
    let ratio = libm::log(LONGEST / LEAST) / (GRID - 1) as f64;
    (0..GRID).map(|step| LEAST * libm::exp(ratio * step as f64)).collect()
}

/// The distribution of wait and overhead as points with their shares, ascending.
fn points(wait: &Distribution, overhead: &Distribution) -> Vec<(f64, f64)> {
    let (mut points, mut from) = (Vec::new(), 0.0);
    for (until, count) in POINTS {
        let width = (until - from) / count as f64;
        points.extend((0..count).map(|n| (from + (n as f64 + 0.5) * width, width)));
        from = until;
    }
    // Independent of the wait: each of its points goes with another one of the overhead's, in the
    // order of van der Corput's sequence.
    let spread = |n: usize| (n as u32 + 1).reverse_bits() as f64 / 4_294_967_296.0;
    let place = |(n, (q, share)): (usize, (f64, f64))| {
        let overhead = overhead.quantile(spread(n)).as_secs_f64();
        (wait.quantile(q).as_secs_f64() + overhead, share)
    };
    let mut points: Vec<(f64, f64)> = points.into_iter().enumerate().map(place).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    points
}

/// Mean and mean square.
fn moments(points: &[(f64, f64)]) -> (f64, f64) {
    let sum = |of: fn(f64) -> f64| points.iter().map(|(at, share)| of(*at) * share).sum::<f64>();
    (sum(|at| at), sum(|at| at * at))
}

fn quantile_of(points: &[(f64, f64)], q: f64) -> f64 {
    let mut below = 0.0;
    let found = points.iter().find(|(_, share)| {
        below += share;
        below >= q
    });
    found.or(points.last()).map_or(0.0, |(at, _)| *at)
}

/// Which share is slower than each latency of the grid: base and wait, independent of each other.
/// Both ascend, so that what waits is carried from one latency to the next.
fn fill(row: &mut [f64], grid: &[f64], base: &[(f64, f64)], wait: Wait) {
    let decay = |span: f64| if wait.mean > 0.0 { libm::exp(-span / wait.mean) } else { 0.0 };
    let (mut next, mut still, mut waits, mut last) = (0, 1.0, 0.0, 0.0);
    for (slower, &latency) in row.iter_mut().zip(grid) {
        waits *= decay(latency - last);
        while let Some((at, share)) = base.get(next).filter(|(at, _)| *at <= latency) {
            still -= share;
            waits += share * decay(latency - at);
            next += 1;
        }
        last = latency;
        *slower = (still + wait.share * waits).clamp(0.0, 1.0);
    }
}

/// How long requests wait for a container's CPU, seconds and ascending, that come at random: played on
/// the very CPU of the full simulation, as there is no closed form for a quota. The same arrivals at
/// each rate, only closer.
fn throttled((cores, limit): (u32, Option<u64>), work: Nanos, rate: f64) -> Vec<f64> {
    let mut stream = Stream::new(0, "coarse/quota");
    let mut cpu = Cpu::new(Timestamp::ZERO, cores, limit);
    if rate <= 0.0 {
        return vec![0.0];
    }
    let mut at = 0.0;
    let waits = (0..WARM + PLAYED).map(|_| {
        at += stream.exponential() / rate;
        let now = Timestamp::ZERO + Nanos::from_secs_f64(at);
        let done = cpu.run(now, work);
        done.since(now + work).as_secs_f64()
    });
    let mut waits: Vec<f64> = waits.collect();
    waits.drain(..WARM);
    waits.sort_by(f64::total_cmp);
    waits
}

/// As [`fill`], with waits that are given one by one, ascending.
fn fill_played(row: &mut [f64], grid: &[f64], base: &[(f64, f64)], waited: &[f64]) {
    let all = waited.len() as f64;
    let first = base.first().map_or(0.0, |(at, _)| *at);
    for (slower, &latency) in row.iter_mut().zip(grid) {
        let mut share = 0.0;
        // As the base grows, less is left to wait: both ascend, so one walk is enough, from where the
        // shortest base leaves most.
        let mut left = waited.partition_point(|wait| *wait <= latency - first);
        for (at, weight) in base {
            let room = latency - at;
            while left > 0 && waited[left - 1] > room {
                left -= 1;
            }
            share += weight * (all - left as f64) / all;
        }
        *slower = share.clamp(0.0, 1.0);
    }
}
