//! What a pod can take, and whence that is known.

use std::collections::BTreeMap;

use highwater_model::{
    elasticity::{Capacity, CapacityError, Ceilings, Cpu, Modelled, UTILISATION},
    event::EventKind,
    time::{Nanos, SECOND, Timestamp},
    units::MilliCpu,
};

use super::{Known, NoDemand, attain};
use crate::record::RunRecord;

/// Readings of the pods' CPU must tell of this share of the traffic's time at least.
const USAGE_KNOWN: f64 = 0.5;
/// A reading of CPU holds no longer than this.
const READING_LASTS: Nanos = Nanos::from_secs(60);

/// What a pod can take, and whence that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis {
    /// The scenario's model of its service.
    Model {
        /// What CPU a pod is taken to have.
        cpu: Usable,
        /// The latency that the demand leaves within its objective, and for which share of the
        /// requests; `None` if there is no such objective, and pods run at a utilisation.
        objective: Option<(Nanos, f64)>,
    },
    /// The CPU that a request took in the run, and the pods' limit or request.
    Usage {
        /// CPU time per request.
        per_request: Nanos,
        /// What CPU a pod is taken to have.
        cpu: Usable,
    },
    /// The most good answers per ready pod in a second in which all objectives held.
    Throughput {
        /// Which second, since the start of the run.
        second: u64,
    },
}

/// What CPU a pod is taken to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usable {
    /// Its limit.
    Limit(MilliCpu),
    /// Its request, as it has no limit.
    Request(MilliCpu),
    /// All of its node's cores, as it has neither.
    Cores(u32),
}

impl From<Cpu> for Usable {
    fn from(cpu: Cpu) -> Self {
        match cpu {
            Cpu::Limit(cpu) => Self::Limit(cpu),
            Cpu::Request(cpu) => Self::Request(cpu),
            Cpu::Cores(cores) => Self::Cores(cores),
        }
    }
}

/// The rates that numbers of pods can take, up to `peak` requests per second.
pub(super) fn capacity(
    record: &RunRecord,
    known: &Known<'_>,
    held: &[bool],
    peak: f64,
) -> Result<(Ceilings, Basis), NoDemand> {
    let (capacity, basis) = match Modelled::of(&record.header.scenario) {
        Ok(Modelled { capacity, cpu, objective }) => {
            (capacity, Basis::Model { cpu: cpu.into(), objective })
        }
        Err(CapacityError::NoModel) => {
            usage(record, known).or_else(|| throughput(known, held)).ok_or(NoDemand::NoCapacity)?
        }
        Err(error) => return Err(error.into()),
    };
    Ok((Ceilings::new(&capacity, peak)?, basis))
}

/// By the CPU that a request took.
fn usage(record: &RunRecord, known: &Known<'_>) -> Option<(Capacity, Basis)> {
    let cpu = Cpu::of(&record.header.scenario);
    let has = cpu.milli()?.0 as f64 / 1e3;
    let answered: u64 = known.seconds.iter().map(|second| second.ok + second.failed).sum();
    let used = cpu_seconds(record, known.traffic)?;
    let per_request = used / answered as f64;
    if !per_request.is_finite() || per_request <= 0.0 {
        return None;
    }
    let capacity = Capacity::Rate(has / per_request * UTILISATION);
    let basis = Basis::Usage { per_request: Nanos::from_secs_f64(per_request), cpu: cpu.into() };
    Some((capacity, basis))
}

/// CPU seconds of all pods while traffic ran, by the metrics API: each reading holds until the next
/// one of its pod. `None` if it tells of less than half of that time.
fn cpu_seconds(record: &RunRecord, (start, end): (Timestamp, Timestamp)) -> Option<f64> {
    let mut last: BTreeMap<&str, (Timestamp, u64)> = BTreeMap::new();
    let (mut used, mut first) = (0.0, None);
    let mut take = |(since, cpu_nano): (Timestamp, u64), until: Timestamp| {
        let until = until.min(end).min(since + READING_LASTS);
        used += cpu_nano as f64 / SECOND as f64 * until.since(since).as_secs_f64();
    };
    for event in record.events.iter().filter(|event| (start..end).contains(&event.at)) {
        match &event.kind {
            EventKind::PodMetrics { pod, cpu_nano, .. } => {
                first.get_or_insert(event.at);
                if let Some(before) = last.insert(pod, (event.at, *cpu_nano)) {
                    take(before, event.at);
                }
            }
            EventKind::PodGone { pod } => {
                if let Some(before) = last.remove(pod.as_str()) {
                    take(before, event.at);
                }
            }
            _ => {}
        }
    }
    last.into_values().for_each(|before| take(before, end));
    let (told, whole) = (end.since(first?).as_secs_f64(), end.since(start).as_secs_f64());
    // What was before the first reading was as what came after it.
    (told >= whole * USAGE_KNOWN).then(|| used * whole / told)
}

/// By the fullest second in which the objectives held.
fn throughput(known: &Known<'_>, held: &[bool]) -> Option<(Capacity, Basis)> {
    // The most pods that were ready at any time of each second.
    let mut ready: Vec<u32> = vec![0; known.seconds.len()];
    for (index, point) in known.replicas.iter().enumerate() {
        let until = known.replicas.get(index + 1).map_or(Timestamp(u64::MAX), |next| next.at);
        let from = attain::place(known.seconds, point.at.max(known.traffic.0)).unwrap_or(0);
        let to = attain::place(known.seconds, until).unwrap_or(known.seconds.len() - 1);
        if until <= known.traffic.0 {
            continue;
        }
        for second in ready.iter_mut().take(to + 1).skip(from) {
            *second = (*second).max(point.ready);
        }
    }
    let fullest = known.seconds.iter().zip(held).zip(&ready);
    let rates = fullest.filter(|((second, held), ready)| **held && second.ok > 0 && **ready > 0);
    let (rate, second) = rates
        .map(|((second, _), ready)| (second.ok as f64 / f64::from(*ready), second.second))
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    Some((Capacity::Rate(rate), Basis::Throughput { second }))
}
