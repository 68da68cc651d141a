//! How well the number of pods followed the demand for them: the elasticity metrics of the SPEC
//! Research Group, and the scaler that knows the future.
//!
//! 1. curves in steps, on integers of nanoseconds: [`Steps`]
//! 2. supply against demand: [`measure`]
//! 3. how much a number of pods can take while the objective holds: [`Capacity`]; that of a
//!    scenario's pods: [`Modelled`]
//! 4. the demand, and the least that it costs to meet it: [`demand`], [`Oracle`], [`regret`]
//!
//! *Source*: Herbst, Kounev, Weber and Groenda, "BUNGEE: an elasticity benchmark for self-adaptive
//! IaaS cloud environments", SEAMS 2015 (accuracy, timeshare, jitter); Herbst et al., "Quantifying
//! cloud performance and dependability: taxonomy, metric design, and emerging challenges", ACM
//! TOMPECS 3(4), 2018, and Bauer, Herbst, Spinner, Ali-Eldin and Kounev, "Chameleon: a hybrid,
//! proactive auto-scaling mechanism on a level-playing field", IEEE TPDS 30(4), 2019 (accuracy
//! normalised by demand, instability).

mod capacity;
mod oracle;
mod service;
mod steps;
#[cfg(test)]
mod tests;

pub use capacity::{Capacity, CapacityError, Ceilings, Latency, Sharing, Station};
pub use oracle::{Demand, Oracle, demand, regret};
pub use service::{Cpu, Modelled, UTILISATION, objective_of};
pub use steps::Steps;

use alloc::collections::BTreeMap;

use crate::time::{Nanos, SECOND, Timestamp};

/// The metrics of a supply against a demand. Shares are of 1, not of 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Elasticity {
    /// θ_U, accuracy of under-provisioning: the missing pods as a share of those demanded, mean
    /// over time. 0 is best, 1 the worst.
    pub under_accuracy: f64,
    /// θ_O, accuracy of over-provisioning: the idle pods as a share of those demanded, mean over
    /// time. 0 is best; it may exceed 1.
    pub over_accuracy: f64,
    /// τ_U: the share of time in which pods were missing.
    pub under_timeshare: f64,
    /// τ_O: the share of time in which pods were idle.
    pub over_timeshare: f64,
    /// υ: the share of time in which supply and demand did not move in the same direction.
    pub instability: f64,
    /// Changes of the supply above those of the demand, per hour: above 0 the supply is restless,
    /// below it is inert.
    pub jitter_per_hour: f64,
    /// Missing pods times nanoseconds.
    pub missing_pod_ns: u128,
    /// Idle pods times nanoseconds.
    pub idle_pod_ns: u128,
}

/// The metrics of `supply` against `demand` over `[0, end)`, or `None` if that is empty.
///
/// *Behaviour*: where the demand is 0 the published accuracy would divide by it; the idle pods
/// there count as if one were demanded. The integrals are exact, and every metric is made of exact
/// integrals by one division (the accuracies: one per level of demand).
///
/// The published instability compares the signs of the changes from sample to sample and takes
/// curves at a fixed distance; of curves in steps it would hang on where the samples lie. Here it is
/// the mean of that over all places of the samples: the share of instants `t` in `[window, end)` at
/// which the sign of `s(t) - s(t - window)` is not that of `d(t) - d(t - window)`. `window` is the
/// distance of the samples; 0 if it is no shorter than the run. It should be no shorter than what
/// lies between two decisions.
pub fn measure(
    demand: &Steps,
    supply: &Steps,
    end: Timestamp,
    window: Nanos,
) -> Option<Elasticity> {
    if end == Timestamp::ZERO {
        return None;
    }
    let (mut under, mut over) = (BTreeMap::new(), BTreeMap::new());
    let (mut missing_ns, mut spare_ns) = (0, 0);
    let mut known = Elasticity::default();
    steps::walk([(demand, 0), (supply, 0)], 0, end.0, |[wanted, had], lasts| {
        let (missing, spare) = (wanted.saturating_sub(had), had.saturating_sub(wanted));
        let (missing_area, spare_area) = (area(missing, lasts), area(spare, lasts));
        *under.entry(wanted.max(1)).or_insert(0) += missing_area;
        *over.entry(wanted.max(1)).or_insert(0) += spare_area;
        known.missing_pod_ns += missing_area;
        known.idle_pod_ns += spare_area;
        missing_ns += if missing > 0 { lasts } else { 0 };
        spare_ns += if spare > 0 { lasts } else { 0 };
    });
    let whole = end.0 as f64;
    known.under_accuracy = normalised(&under) / whole;
    known.over_accuracy = normalised(&over) / whole;
    known.under_timeshare = missing_ns as f64 / whole;
    known.over_timeshare = spare_ns as f64 / whole;
    known.instability = instability(demand, supply, end, window);
    let more = supply.changes(end) as f64 - demand.changes(end) as f64;
    known.jitter_per_hour = more / (whole / SECOND as f64) * 3600.0;
    Some(known)
}

fn area(pods: u32, lasts: u64) -> u128 {
    u128::from(pods) * u128::from(lasts)
}

/// The sum of areas, each divided by the demand that it was at.
fn normalised(areas: &BTreeMap<u32, u128>) -> f64 {
    areas.iter().map(|(demand, area)| *area as f64 / f64::from(*demand)).sum()
}

fn instability(demand: &Steps, supply: &Steps, end: Timestamp, window: Nanos) -> f64 {
    if window == Nanos::ZERO || window.0 >= end.0 {
        return 0.0;
    }
    let curves = [(demand, window.0), (demand, 0), (supply, window.0), (supply, 0)];
    let mut apart = 0;
    steps::walk(curves, window.0, end.0, |[wanted_then, wanted, had_then, had], lasts| {
        if wanted.cmp(&wanted_then) != had.cmp(&had_then) {
            apart += lasts;
        }
    });
    apart as f64 / (end.0 - window.0) as f64
}
