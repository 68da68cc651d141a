//! What a record shows of a service and of the machine under it: pure, nothing is decided here.

use highwater_model::{
    event::{Event, EventKind, LifecyclePhase},
    outcome::{Outcome, OutcomeGroup},
    time::{Nanos, SECOND, Timestamp},
};
use std::collections::BTreeMap;

use crate::{
    analyze::{ReplicaPoint, series},
    record::{RunRecord, hist},
};

/// Loads are averaged over so many seconds around each one: a queue is of its last seconds.
const AROUND: u64 = 2;

/// What is seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen<'a> {
    /// Whole seconds of the traffic with a pod that was ready, ascending.
    pub(super) seconds: Vec<Second<'a>>,
    /// By pod: from its being given to a node (or made) to its container.
    pub(super) process_start: Vec<Nanos>,
    /// By pod: from its first container to its listening; `None` where pods do not tell.
    pub(super) listening: Vec<Nanos>,
    /// By pod: from its first container to its being ready.
    pub(super) ready: Vec<Nanos>,
    /// By change of the ready pods and consumer.
    pub(super) propagation: Vec<Delay>,
    /// What pods used.
    pub(super) cpu: Vec<CpuReading>,
    /// From SIGTERM by the kubelet to the end of the container.
    pub(super) exits: Vec<Nanos>,
    /// Most requests in flight at once, by the generators' samples.
    pub(super) in_flight: u64,
    /// Most pods that were wanted at the start of the traffic.
    pub(super) replicas: Option<u32>,
}

/// One second of the traffic.
#[derive(Clone, Debug)]
pub(super) struct Second<'a> {
    /// Requests per second and ready pod, averaged over the seconds around it.
    pub(super) load: f64,
    /// Good answers to requests of this second.
    pub(super) ok: u64,
    /// Their service times.
    service: Vec<&'a hist::Encoded>,
}

impl Second<'_> {
    /// Adds the service times to `into`.
    pub(super) fn add_to(&self, into: &mut hist::Hist) -> Result<(), hist::DecodeError> {
        self.service.iter().try_for_each(|encoded| encoded.add_to(into))
    }
}

/// How long a change of the endpoints took to reach a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    /// How long.
    pub(super) span: Nanos,
    /// Whether it arrived; if not, a newer change came first, and it took at least this long.
    pub(super) arrived: bool,
}

/// A pod's CPU over a window, and the requests that it had by then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CpuReading {
    /// Cores.
    pub(super) cores: f64,
    /// Good answers per second and pod in that window.
    pub(super) rate: f64,
}

impl<'a> Seen<'a> {
    /// Looks a record through.
    pub(super) fn of(record: &'a RunRecord) -> Self {
        let replicas = series::replicas(&record.events);
        let (start, end) = span(record);
        let rates = Rates::of(record, &replicas);
        let mut seen = Self {
            seconds: rates.seconds(record, start, end),
            cpu: rates.cpu(&record.events),
            propagation: propagation(&record.events),
            in_flight: record.samples.iter().map(|sample| sample.in_flight).max().unwrap_or(0),
            replicas: at(&replicas, start).map(|point| point.desired),
            ..Self::default()
        };
        seen.starts(&record.events);
        seen
    }

    fn starts(&mut self, events: &[Event]) {
        let mut placed: BTreeMap<&str, Timestamp> = BTreeMap::new();
        let mut started: BTreeMap<&str, Timestamp> = BTreeMap::new();
        let mut told: BTreeMap<&str, [bool; 2]> = BTreeMap::new();
        let mut signals: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for event in events {
            match &event.kind {
                EventKind::PodCreated { pod, .. } | EventKind::PodScheduled { pod, .. } => {
                    placed.insert(pod, event.at);
                }
                EventKind::ContainerStarted { pod, restarts: 0, .. } => {
                    if let Some(placed) = placed.get(pod.as_str()) {
                        self.process_start.push(event.at.since(*placed));
                    }
                    started.insert(pod, event.at);
                }
                EventKind::Lifecycle { pod, phase: LifecyclePhase::Listening, .. } => {
                    let told = told.entry(pod).or_default();
                    if let (false, Some(started)) = (told[0], started.get(pod.as_str())) {
                        self.listening.push(event.at.since(*started));
                    }
                    told[0] = true;
                }
                EventKind::PodReady { pod } => {
                    let told = told.entry(pod).or_default();
                    if let (false, Some(started)) = (told[1], started.get(pod.as_str())) {
                        self.ready.push(event.at.since(*started));
                    }
                    told[1] = true;
                }
                EventKind::SignalSent { pod, by_kubelet: true, .. } => {
                    signals.entry(pod).or_insert(event.at);
                }
                EventKind::ContainerExited { pod, .. } => {
                    if let Some(signal) = signals.get(pod.as_str()) {
                        self.exits.push(event.at.since(*signal));
                    }
                }
                _ => {}
            }
        }
    }
}

/// From the first request that is owed to the last.
fn span(record: &RunRecord) -> (Timestamp, Timestamp) {
    let find = |is: fn(&EventKind) -> bool| {
        record.events.iter().find(|event| is(&event.kind)).map(|event| event.at)
    };
    let start = find(|kind| matches!(kind, EventKind::TrafficStarted)).unwrap_or(record.end());
    let lasts = record.header.phases.last().map_or(Nanos::ZERO, |phase| phase.end);
    let end = find(|kind| matches!(kind, EventKind::TrafficEnded)).unwrap_or(record.end());
    (start, (start + lasts).min(end))
}

/// The replicas at an instant.
fn at(points: &[ReplicaPoint], instant: Timestamp) -> Option<&ReplicaPoint> {
    let place = points.partition_point(|point| point.at <= instant);
    points.get(place.checked_sub(1)?)
}

/// Requests owed and answered, and ready pods, by second.
struct Rates {
    by_second: BTreeMap<u64, [u64; 2]>,
    ready: BTreeMap<u64, u32>,
}

impl Rates {
    fn of(record: &RunRecord, replicas: &[ReplicaPoint]) -> Self {
        let mut by_second: BTreeMap<u64, [u64; 2]> = BTreeMap::new();
        for ((second, _), window) in &record.windows {
            let counts = by_second.entry(*second).or_default();
            counts[0] += window.owed;
            counts[1] += window.outcomes.get(&Outcome::Ok).map_or(0, |sum| sum.n);
        }
        let ready = by_second.keys().filter_map(|second| {
            let middle = Timestamp(second * SECOND + SECOND / 2);
            Some((*second, at(replicas, middle)?.ready))
        });
        Self { ready: ready.collect(), by_second }
    }

    fn seconds<'a>(
        &self,
        record: &'a RunRecord,
        start: Timestamp,
        end: Timestamp,
    ) -> Vec<Second<'a>> {
        let mut seconds: BTreeMap<u64, Second<'a>> = BTreeMap::new();
        for ((second, _), window) in &record.windows {
            let is_whole = start.0 <= second * SECOND && (second + 1) * SECOND <= end.0;
            let has_failed = window.outcomes.keys().any(|of| of.group() != OutcomeGroup::Ok);
            let Some(load) = self.load(*second).filter(|_| is_whole) else { continue };
            let known = seconds.entry(*second).or_insert_with(|| Second {
                load,
                ok: 0,
                service: Vec::new(),
            });
            if let Some(ok) = window.outcomes.get(&Outcome::Ok).filter(|_| !has_failed) {
                known.ok += ok.n;
                known.service.extend(&ok.service);
            }
        }
        seconds.into_values().collect()
    }

    /// Requests owed per second and ready pod around a second; `None` without a ready pod.
    fn load(&self, second: u64) -> Option<f64> {
        let around = second.saturating_sub(AROUND)..=second + AROUND;
        let (mut owed, mut pods) = (0, 0);
        for (second, counts) in self.by_second.range(around) {
            owed += counts[0];
            pods += self.ready.get(second).copied().unwrap_or(0);
        }
        let is_ready = self.ready.get(&second).is_some_and(|ready| *ready > 0);
        is_ready.then(|| owed as f64 / f64::from(pods))
    }

    /// The readings of windows in which the pods that were ready had an equal share each.
    fn cpu(&self, events: &[Event]) -> Vec<CpuReading> {
        let readings = events.iter().filter_map(|event| {
            let EventKind::PodMetrics { cpu_nano, window, .. } = &event.kind else { return None };
            let end = event.stated.unwrap_or(event.at).second();
            let from = end.checked_sub((window.0 / SECOND).max(1))?;
            let seconds = end - from;
            let (mut ok, mut pods) = (0, 0);
            for (second, counts) in self.by_second.range(from..end) {
                ok += counts[1];
                pods += self.ready.get(second).copied().unwrap_or(0);
            }
            // A window that the traffic does not fill says little of a request.
            let is_full = self.by_second.range(from..end).count() as u64 == seconds;
            (is_full && pods > 0).then(|| CpuReading {
                cores: *cpu_nano as f64 / 1e9,
                rate: ok as f64 / f64::from(pods),
            })
        });
        readings.collect()
    }
}

/// Changes of the pods that are ready, and when each consumer had them. What a consumer applies
/// without any change of its own is not told, so versions that change nothing do not count.
fn propagation(events: &[Event]) -> Vec<Delay> {
    let mut delays = Vec::new();
    let mut changes: BTreeMap<u64, Timestamp> = BTreeMap::new();
    let mut known: Vec<&str> = Vec::new();
    let mut seen: BTreeMap<u32, u64> = BTreeMap::new();
    for event in events {
        match &event.kind {
            EventKind::Endpoints { version, endpoints } => {
                let ready = endpoints.iter().filter(|one| one.ready);
                let mut ready: Vec<&str> = ready.map(|one| one.pod.as_str()).collect();
                ready.sort_unstable();
                if ready != known {
                    changes.insert(*version, event.at);
                    known = ready;
                }
            }
            EventKind::ViewApplied { consumer, version, .. } => {
                let last = seen.insert(*consumer, *version).unwrap_or(0);
                // Versions ascend; a view that was told again is no news.
                if *version <= last {
                    continue;
                }
                for (change, at) in changes.range(last + 1..=*version) {
                    let span = event.at.since(*at);
                    delays.push(Delay { span, arrived: change == version });
                }
            }
            _ => {}
        }
    }
    delays
}
