//! How much a number of pods can take.

use alloc::{vec, vec::Vec};

use crate::{
    erlang::erlang_c,
    spec::{Distribution, Service},
    time::Nanos,
    units::MilliCpu,
};

/// The most pods that are looked at.
const PODS_MAX: u32 = 10_000;
/// How often an interval is halved: below a millionth of the rate.
const HALVINGS: u32 = 40;
/// Into how many parts each stretch of a distribution is cut.
const PARTS: u32 = 64;
/// The stretches: finer where the objectives look.
const STRETCHES: [(f64, f64); 6] =
    [(0.0, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 0.999), (0.999, 0.999_9), (0.999_9, 1.0)];

/// What pods can take.
#[derive(Clone, Debug, PartialEq)]
pub enum Capacity {
    /// So many requests per second each: what a pod can do at most, times the utilisation at which
    /// it shall run.
    Rate(f64),
    /// As many as leave the latency within its objective.
    Latency(Latency),
}

/// A service, and the objective of its latency.
///
/// The wait at a station is that of an M/G/c queue as Allen and Cunneen approximate it: it is above
/// 0 with Erlang's probability C(c, a), and then exponential with the mean
/// `E[S] / (c (1 - ρ)) · (1 + cv²) / 2`. That is exact for M/M/c. Of several stations the busiest
/// one's wait is taken.
///
/// *Source*: Allen, "Probability, Statistics, and Queueing Theory", 2nd edition, 1990, chapter 5.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// Where requests wait for their turn.
    pub stations: Vec<Station>,
    /// The response time without any waiting, in parts: probability, seconds.
    response: Vec<(f64, f64)>,
    /// What the latency may be.
    pub limit: Nanos,
    /// For which share of the requests: 0.99 for p99.
    pub share: f64,
    /// How the requests find a pod.
    pub sharing: Sharing,
}

/// Servers of a pod that take one request at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Station {
    /// How many.
    pub servers: u32,
    /// How long a request holds one, mean; seconds.
    pub mean: f64,
    /// The squared coefficient of variation of that.
    pub scv: f64,
}

/// How requests find a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// At random: each pod has a queue of its own.
    #[default]
    Split,
    /// As if all pods were one: no request waits while any pod has a free server. No balancer can
    /// do better.
    Pooled,
}

/// Why there is no capacity to calculate with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapacityError {
    /// A request costs nothing, so that one pod takes any number.
    #[error("a request holds neither CPU nor a worker, so that one pod would do for any traffic")]
    Free,
    /// The objective fails without any traffic.
    #[error("no number of pods holds the objective: a request alone takes longer")]
    Hopeless,
    /// Nothing is known of what a request costs.
    #[error("the scenario does not say what a request costs its pods")]
    NoModel,
    /// Not a number above zero.
    #[error("the capacity of a pod is not above zero")]
    Nothing,
}

impl Latency {
    /// That of a service on pods of so many `cores` and this CPU limit, at an objective of `share`
    /// of the requests within `limit`.
    ///
    /// CPU work is one station: as many servers as the pod may use cores, each as fast as the limit
    /// lets it be on average (a quota that is not used up lets it be faster, so that this errs to
    /// the safe side). Workers, if the service bounds them, are another, held for the whole request.
    ///
    /// # Errors
    /// [`CapacityError::Free`].
    pub fn of_service(
        service: &Service,
        (cores, cpu): (u32, Option<MilliCpu>),
        (limit, share): (Nanos, f64),
        sharing: Sharing,
    ) -> Result<Self, CapacityError> {
        let (work, servers) = (service.cpu.as_secs_f64(), cores.max(1));
        let allowed = cpu.map_or(f64::from(servers), |cpu| (cpu.0 as f64 / 1e3).max(1e-3));
        let servers = servers.min(libm::ceil(allowed) as u32);
        let stretched = work * (f64::from(servers) / allowed).max(1.0);
        let (wait, variance) = service.latency.moments();
        let mut stations = Vec::new();
        if stretched > 0.0 {
            stations.push(Station { servers, mean: stretched, scv: 0.0 });
        }
        let held = wait + stretched;
        if let Some(workers) = service.workers.filter(|_| held > 0.0) {
            let scv = variance / (held * held);
            stations.push(Station { servers: workers.max(1), mean: held, scv });
        }
        let response = parts(&service.latency, stretched);
        Self { stations, response, limit, share, sharing }.checked()
    }

    /// A station whose requests take as long as they hold a server: M/M/c with an exponential
    /// `held`.
    ///
    /// # Errors
    /// [`CapacityError::Free`].
    pub fn of_station(
        servers: u32,
        held: &Distribution,
        (limit, share): (Nanos, f64),
        sharing: Sharing,
    ) -> Result<Self, CapacityError> {
        let (mean, variance) = held.moments();
        let scv = if mean > 0.0 { variance / (mean * mean) } else { 0.0 };
        let stations = vec![Station { servers: servers.max(1), mean, scv }];
        Self { stations, response: parts(held, 0.0), limit, share, sharing }.checked()
    }

    fn checked(mut self) -> Result<Self, CapacityError> {
        self.stations.retain(|station| station.mean > 0.0);
        if self.stations.is_empty() { Err(CapacityError::Free) } else { Ok(self) }
    }

    /// Whether one queue of so many times the servers holds the objective at `rate` requests per
    /// second.
    fn holds(&self, times: u32, rate: f64) -> bool {
        self.late(times, rate) <= 1.0 - self.share
    }

    /// The share of requests that take longer than the limit, on `pods` pods at `rate` requests per
    /// second. 1 if they are overloaded.
    pub fn late_share(&self, pods: u32, rate: f64) -> f64 {
        match self.sharing {
            Sharing::Pooled => self.late(pods, rate),
            Sharing::Split => self.late(1, rate / f64::from(pods.max(1))),
        }
    }

    fn late(&self, times: u32, rate: f64) -> f64 {
        let load = |station: &Station| {
            rate * station.mean / f64::from(station.servers.saturating_mul(times))
        };
        let busiest = self.stations.iter().max_by(|one, other| load(one).total_cmp(&load(other)));
        let Some(station) = busiest else { return 0.0 };
        let (busy, servers) = (load(station), station.servers.saturating_mul(times));
        if busy >= 1.0 {
            return 1.0;
        }
        let waits = erlang_c(servers, busy);
        let spread = (1.0 + station.scv) / 2.0;
        let decay = f64::from(servers) * (1.0 - busy) / (station.mean * spread);
        let limit = self.limit.as_secs_f64();
        let late = |response: f64| match limit - response {
            left if left < 0.0 => 1.0,
            left => waits * libm::exp(-decay * left),
        };
        self.response.iter().map(|(probability, seconds)| probability * late(*seconds)).sum()
    }

    /// The rate at which a pod has no free server any more, requests per second.
    pub fn full(&self) -> f64 {
        let full = |station: &Station| f64::from(station.servers) / station.mean;
        self.stations.iter().map(full).fold(f64::MAX, f64::min)
    }

    /// The highest rate at which one queue of so many times the servers holds the objective.
    fn ceiling(&self, times: u32) -> f64 {
        let (mut low, mut high) = (0.0, self.full() * f64::from(times));
        if !self.holds(times, low) {
            return 0.0;
        }
        for _ in 0..HALVINGS {
            let middle = (low + high) / 2.0;
            if self.holds(times, middle) { low = middle } else { high = middle }
        }
        low
    }
}

/// The highest rate that 1, 2, 3 ... pods can take; requests per second.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceilings(Vec<f64>);

impl Ceilings {
    /// Those of as many pods as `peak` requests per second need, 10,000 at most.
    ///
    /// # Errors
    /// [`CapacityError::Hopeless`], [`CapacityError::Nothing`].
    pub fn new(capacity: &Capacity, peak: f64) -> Result<Self, CapacityError> {
        let one = match capacity {
            Capacity::Rate(rate) if rate.is_finite() && *rate > 0.0 => *rate,
            Capacity::Rate(_) => return Err(CapacityError::Nothing),
            Capacity::Latency(latency) => latency.ceiling(1),
        };
        let pooled = match capacity {
            Capacity::Latency(latency) if latency.sharing == Sharing::Pooled => Some(latency),
            _ => None,
        };
        if one <= 0.0 {
            return Err(CapacityError::Hopeless);
        }
        let mut ceilings = Vec::new();
        while ceilings.len() < PODS_MAX as usize && ceilings.last().is_none_or(|last| *last < peak)
        {
            let pods = ceilings.len() as u32 + 1;
            let least = ceilings.last().copied().unwrap_or(0.0);
            let ceiling = pooled.map_or(one * f64::from(pods), |latency| latency.ceiling(pods));
            ceilings.push(ceiling.max(least));
        }
        Ok(Self(ceilings))
    }

    /// The least pods that can take `rate`: 0 for none at all; one above the last number looked at
    /// if that is not enough.
    pub fn pods(&self, rate: f64) -> u32 {
        if rate <= 0.0 { 0 } else { self.0.partition_point(|ceiling| *ceiling < rate) as u32 + 1 }
    }

    /// The highest rate that `pods` pods can take; that of the last number looked at, if they are
    /// more.
    pub fn of(&self, pods: u32) -> f64 {
        let place = (pods as usize).min(self.0.len());
        place.checked_sub(1).map_or(0.0, |place| self.0[place])
    }

    /// How many pods were looked at.
    pub const fn pods_max(&self) -> u32 {
        self.0.len() as u32
    }
}

/// A distribution, later by some seconds, in parts: the probability of each, and its middle.
fn parts(distribution: &Distribution, later: f64) -> Vec<(f64, f64)> {
    if let Distribution::Fixed(span) = distribution {
        return vec![(1.0, span.as_secs_f64() + later)];
    }
    let part = |(from, to): (f64, f64), part: u32| {
        let wide = (to - from) / f64::from(PARTS);
        let middle = from + wide * (f64::from(part) + 0.5);
        (wide, distribution.quantile(middle).as_secs_f64() + later)
    };
    let stretch = |ends| (0..PARTS).map(move |index| part(ends, index));
    STRETCHES.into_iter().flat_map(stretch).collect()
}
