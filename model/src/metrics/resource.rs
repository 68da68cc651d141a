//! CPU and memory: kubelet and metrics-server.
//!
//! *Source*: kubernetes-sigs/metrics-server `pkg/storage/pod.go` (`Store`, `GetMetrics`) and
//! `types.go` (`resourceUsage`); `hpa-semantics.md` section 13.

use alloc::{collections::BTreeMap, format, vec::Vec};

use super::Wish;
use crate::{
    cluster::ContainerId,
    rng::Stream,
    spec::{Distribution, MetricsPipeline},
    time::{Nanos, Timestamp},
};

/// A container that is younger than this at its first scrape waits for the next one.
const FRESH_MIN: Nanos = Nanos::from_secs(10);

/// What a container has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since its start, nanoseconds.
    pub cpu: u64,
    /// Working set, bytes.
    pub memory: u64,
}

/// What metrics-server says of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Billionths of a core, averaged over the window; towards zero.
    pub cpu_nano: u64,
    /// Bytes, at its end.
    pub memory: u64,
    /// The window's end.
    pub at: Timestamp,
    /// Its length.
    pub window: Nanos,
}

/// Kubelet and metrics-server for the pods of one Deployment, each with one container.
#[derive(Clone, Debug)]
pub struct ResourceMetrics {
    seed: u64,
    interval: Distribution,
    resolution: Nanos,
    next_scrape: Timestamp,
    containers: BTreeMap<ContainerId, Watched>,
    /// By pod: the newest point, and the one before.
    last: BTreeMap<u32, Point>,
    before: BTreeMap<u32, Point>,
}

/// A container as its kubelet sees it.
#[derive(Clone, Debug)]
struct Watched {
    start: Timestamp,
    next: Timestamp,
    draws: Stream,
    newest: Option<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    start: Timestamp,
    at: Timestamp,
    usage: Usage,
}

impl ResourceMetrics {
    /// A pipeline; metrics-server's first scrape is at a time of the seed's.
    pub fn new(spec: &MetricsPipeline, seed: u64) -> Self {
        let phase = Stream::new(seed, "metrics-server").below(spec.metric_resolution.0);
        Self {
            seed,
            interval: spec.kubelet_interval.clone(),
            resolution: spec.metric_resolution,
            next_scrape: Timestamp(phase),
            containers: BTreeMap::new(),
            last: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }

    /// A container runs.
    pub fn started(&mut self, now: Timestamp, container: ContainerId) {
        let ContainerId { pod, restarts } = container;
        let mut draws = Stream::new(self.seed, &format!("kubelet/{pod}/{restarts}"));
        // The first reading comes with the container.
        let next = now + Nanos(draws.below(self.interval.sample(&mut draws.clone()).0));
        self.containers.insert(container, Watched { start: now, next, draws, newest: None });
    }

    /// A container ended: nothing more is read of it.
    pub fn ended(&mut self, container: ContainerId) {
        self.containers.remove(&container);
    }

    /// When something is due.
    pub fn next_deadline(&self) -> Timestamp {
        let readings = self.containers.values().map(|watched| watched.next);
        readings.min().unwrap_or(Timestamp::MAX).min(self.next_scrape)
    }

    /// Does what is due. Answers to wishes must be given before the next call. Returns whether
    /// metrics-server has scraped.
    pub fn advance(&mut self, now: Timestamp, wishes: &mut Vec<Wish>) -> bool {
        for (&container, watched) in &mut self.containers {
            if watched.next <= now {
                wishes.push(Wish::Usage(container));
                let wait = self.interval.sample(&mut watched.draws).0.max(1);
                watched.next = now + Nanos(wait);
            }
        }
        if self.next_scrape > now {
            return false;
        }
        self.scrape();
        let period = self.resolution.0.max(1);
        let missed = now.since(self.next_scrape).0 / period + 1;
        self.next_scrape = self.next_scrape + Nanos(missed.saturating_mul(period));
        true
    }

    /// What the container has used, at `now`.
    pub fn used(&mut self, now: Timestamp, container: ContainerId, usage: Usage) {
        if let Some(watched) = self.containers.get_mut(&container) {
            watched.newest = Some(Point { start: watched.start, at: now, usage });
        }
    }

    /// Takes the kubelets' newest points.
    fn scrape(&mut self) {
        let (mut last, mut before) = (BTreeMap::new(), BTreeMap::new());
        for (container, watched) in &self.containers {
            let Some(point) = watched.newest else { continue };
            let pod = container.pod;
            if let Some(earlier) = self.point_before(pod, point) {
                before.insert(pod, earlier);
            }
            last.insert(pod, point);
        }
        (self.last, self.before) = (last, before);
    }

    /// The point that a new one is compared with.
    fn point_before(&self, pod: u32, point: Point) -> Option<Point> {
        let age = point.at.since(point.start);
        if age >= FRESH_MIN && age < self.resolution {
            return Some(Point { at: point.start, usage: Usage::default(), ..point });
        }
        let known = self.last.get(&pod).filter(|known| point.start < known.at)?;
        if point.at > known.at {
            return Some(*known);
        }
        self.before.get(&pod).filter(|before| before.at < point.at).copied()
    }

    /// What metrics-server says of a pod.
    pub fn of(&self, pod: u32) -> Option<Served> {
        let (last, before) = (self.last.get(&pod)?, self.before.get(&pod)?);
        let used = last.usage.cpu.checked_sub(before.usage.cpu)?;
        let window = last.at.since(before.at);
        let per_second = used as f64 / window.as_secs_f64();
        Some(Served { cpu_nano: per_second as u64, memory: last.usage.memory, at: last.at, window })
    }

    /// Whatever metrics-server says, by pod.
    pub fn all(&self) -> impl Iterator<Item = (u32, Served)> {
        self.last.keys().filter_map(|&pod| Some((pod, self.of(pod)?)))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const POD: ContainerId = ContainerId { pod: 3, restarts: 0 };

    fn spec(kubelet: u64) -> MetricsPipeline {
        MetricsPipeline {
            kubelet_interval: Distribution::Fixed(Nanos::from_secs(kubelet)),
            ..MetricsPipeline::default()
        }
    }

    /// Plays `until` seconds of a container that uses half a core and starts at `start`; the first
    /// time at which metrics-server knows it, and what it says at the end.
    fn play(kubelet: u64, start: u64, until: u64) -> (Option<u64>, Option<Served>) {
        let mut metrics = ResourceMetrics::new(&spec(kubelet), 1);
        metrics.next_scrape = Timestamp::ZERO;
        let mut known = None;
        for second in 0..=until {
            let now = Timestamp(second * 1_000_000_000);
            if second == start {
                metrics.started(now, POD);
                metrics.containers.get_mut(&POD).unwrap().next = now + Nanos::from_secs(1);
            }
            let mut wishes = vec![];
            metrics.advance(now, &mut wishes);
            for wish in wishes {
                assert_eq!(wish, Wish::Usage(POD));
                let cpu = (second - start) * 500_000_000;
                metrics.used(now, POD, Usage { cpu, memory: 1 << 20 });
            }
            if known.is_none() && metrics.of(3).is_some() {
                known = Some(second);
            }
        }
        (known, metrics.of(3))
    }

    #[test]
    fn a_container_is_known_at_its_first_scrape_only_if_it_is_of_the_right_age() {
        // Readings at ages of 1 s, 11 s, 21 s ...; scrapes at 0, 15, 30 ...
        for (start, known) in [
            // At 15 its reading is of age 11: at once.
            (2, 15),
            // At 15 its reading is of age 1, at 30 of age 21: with the second.
            (7, 30),
        ] {
            let (first, served) = play(10, start, 60);
            assert_eq!(first, Some(known), "started at {start}");
            let served = served.expect("it is known for good");
            assert_eq!(served.cpu_nano, 500_000_000, "half a core");
            assert_eq!(served.memory, 1 << 20);
        }
    }

    #[test]
    fn a_window_is_the_time_between_the_readings_and_the_last_is_served_until_the_next() {
        let (_, served) = play(10, 2, 62);
        let served = served.expect("known");
        // Scrapes at 45 and 60 took the readings of 43 and 53.
        assert_eq!((served.at.second(), served.window), (53, Nanos::from_secs(10)));
    }

    #[test]
    fn a_restart_begins_anew_and_what_ended_is_not_served() {
        let mut metrics = ResourceMetrics::new(&spec(10), 1);
        metrics.next_scrape = Timestamp::ZERO;
        let at = |second: u64| Timestamp(second * 1_000_000_000);
        metrics.started(at(0), POD);
        for second in [12, 15, 27, 30] {
            metrics.used(at(second), POD, Usage { cpu: second * 1_000_000_000, memory: 0 });
            metrics.advance(at(second), &mut vec![]);
        }
        assert!(metrics.of(3).is_some());
        metrics.ended(POD);
        let again = ContainerId { restarts: 1, ..POD };
        metrics.started(at(31), again);
        metrics.used(at(32), again, Usage { cpu: 5, memory: 0 });
        metrics.advance(at(45), &mut vec![]);
        assert_eq!(metrics.of(3), None, "one point of the new container is none");
        metrics.ended(again);
        metrics.advance(at(60), &mut vec![]);
        assert_eq!(metrics.all().count(), 0);
    }
}
