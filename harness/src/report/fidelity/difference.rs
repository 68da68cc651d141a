//! What differs between two runs of a scenario, as numbers.

use std::collections::BTreeMap;

use highwater_model::time::Nanos;

use crate::{
    analyze::{
        Analysis, Cause, Percentiles, ReplicaPoint, Timeline,
        scaling::{Progress, slowest_of},
    },
    record::hist::Hist,
};

/// The ratio of a percentile of `other` to that of `base`; `None` if either is not known.
pub fn ratio(
    base: &Percentiles,
    other: &Percentiles,
    of: impl Fn(&Percentiles) -> u64,
) -> Option<f64> {
    let is_known = base.count > 0 && other.count > 0 && of(base) > 0;
    is_known.then(|| of(other) as f64 / of(base) as f64)
}

/// The share of the time with traffic in both runs, from its start on, in which a number of
/// replicas was the same; `None` if there is no such time, or if either is not known at its start.
pub fn equal_share(
    base: &Timeline,
    other: &Timeline,
    of: impl Fn(&ReplicaPoint) -> u32,
) -> Option<f64> {
    let lasts = lasts(base).min(lasts(other));
    if lasts == Nanos::ZERO {
        return None;
    }
    let (base, other) = (steps(base, &of), steps(other, &of));
    let (mut here, mut there) = (value_at(&base, 0)?, value_at(&other, 0)?);
    let mut changes: Vec<u64> = base.keys().chain(other.keys()).copied().collect();
    changes.retain(|at| *at > 0 && *at < lasts.0);
    changes.push(lasts.0);
    changes.sort_unstable();
    let (mut equal, mut since) = (0, 0);
    for at in changes {
        if here == there {
            equal += at - since;
        }
        since = at;
        here = base.get(&at).copied().unwrap_or(here);
        there = other.get(&at).copied().unwrap_or(there);
    }
    Some(equal as f64 / lasts.0 as f64)
}

/// How often the autoscaler looks: what happens within it is the same to it.
///
/// *Source*: kube-controller-manager, `--horizontal-pod-autoscaler-sync-period`, by default 15 s.
pub const SYNC: Nanos = Nanos::from_secs(15);

/// The share of the time with traffic in both runs, from its start on, in which a number of replicas
/// of `other` lies within what `base` had at most `tolerance` before or after; `None` if there is no
/// such time, or if either is not known at its start.
pub fn within_share(
    base: &Timeline,
    other: &Timeline,
    tolerance: Nanos,
    of: impl Fn(&ReplicaPoint) -> u32,
) -> Option<f64> {
    let lasts = lasts(base).min(lasts(other));
    if lasts == Nanos::ZERO {
        return None;
    }
    let (base, other) = (steps(base, &of), steps(other, &of));
    value_at(&base, 0)?;
    value_at(&other, 0)?;
    // Between two of these instants neither the value nor what it is compared with changes.
    let around = base.keys().flat_map(|at| [at.saturating_sub(tolerance.0), at + tolerance.0]);
    let mut changes: Vec<u64> = around.chain(other.keys().copied()).chain([lasts.0]).collect();
    changes.retain(|at| (1..=lasts.0).contains(at));
    changes.sort_unstable();
    changes.dedup();
    let (mut within, mut since) = (0, 0);
    for at in changes {
        let middle = since + (at - since) / 2;
        let before = value_at(&base, middle.saturating_sub(tolerance.0));
        let until = middle.saturating_add(tolerance.0).min(lasts.0);
        let seen = base.range(middle.saturating_sub(tolerance.0)..=until).map(|(_, value)| *value);
        let seen: Vec<u32> = before.into_iter().chain(seen).collect();
        let (low, high) = (seen.iter().min(), seen.iter().max());
        let here = value_at(&other, middle);
        if here.as_ref() >= low && here.as_ref() <= high {
            within += at - since;
        }
        since = at;
    }
    Some(within as f64 / lasts.0 as f64)
}

/// By how much a quantile may be off by chance alone, as a share of it: half the width of its 95 %
/// interval, if the values were independent of each other; `None` of less than 20 values.
///
/// *Source*: the number of values below a quantile is binomial; 1.96 of its standard deviations.
pub fn spread(values: &Hist, q: f64) -> Option<f64> {
    let n = values.len();
    if n < 20 {
        return None;
    }
    let half = 1.96 * (q * (1.0 - q) / n as f64).sqrt();
    let at = |q: f64| values.value_at_quantile(q.clamp(0.0, 1.0)) as f64;
    Some((at(q + half) - at(q - half)) / 2.0 / at(q).max(1.0))
}

fn lasts(timeline: &Timeline) -> Nanos {
    timeline.traffic_end.since(timeline.traffic_start)
}

/// The values by the instant from which they hold, from the start of the traffic on; what held at
/// the start is at 0.
fn steps(timeline: &Timeline, of: impl Fn(&ReplicaPoint) -> u32) -> BTreeMap<u64, u32> {
    // Later points of the same instant win.
    let since = |point: &ReplicaPoint| point.at.since(timeline.traffic_start).0;
    timeline.replicas.iter().map(|point| (since(point), of(point))).collect()
}

fn value_at(steps: &BTreeMap<u64, u32>, at: u64) -> Option<u32> {
    steps.range(..=at).next_back().map(|(_, value)| *value)
}

/// Requests lost by cause. Failures without a cause count as [`Cause::Unexplained`].
pub fn losses(analysis: &Analysis) -> BTreeMap<Cause, u64> {
    let mut losses: BTreeMap<Cause, u64> = BTreeMap::new();
    for loss in analysis.losses.iter().filter(|loss| loss.cause != Cause::Unexplained) {
        *losses.entry(loss.cause).or_default() += loss.count;
    }
    if analysis.unexplained > 0 {
        losses.insert(Cause::Unexplained, analysis.unexplained);
    }
    losses
}

/// The slowest scale-up, and whether it was complete.
pub fn time_to_scale(analysis: &Analysis) -> Option<(Nanos, bool)> {
    let up = slowest_of(&analysis.scale_ups)?;
    Some((up.took.span, up.progress == Progress::Complete))
}

#[cfg(test)]
mod tests {
    use highwater_model::time::{SECOND, Timestamp};

    use super::*;

    /// Traffic from `start` on for `lasts` seconds, and ready pods from instants of the run on.
    fn timeline(start: u64, lasts: u64, ready: &[(u64, u32)]) -> Timeline {
        Timeline {
            traffic_start: Timestamp(start * SECOND),
            traffic_end: Timestamp((start + lasts) * SECOND),
            replicas: ready
                .iter()
                .map(|(at, ready)| ReplicaPoint {
                    at: Timestamp(at * SECOND),
                    ready: *ready,
                    ..ReplicaPoint::default()
                })
                .collect(),
            ..Timeline::default()
        }
    }

    #[test]
    fn replicas_are_compared_from_the_start_of_the_traffic_on() {
        let base = timeline(5, 100, &[(0, 1), (3, 3), (15, 4), (25, 3)]);
        // what it is, the other run, the share
        let rows = [
            ("the same", base.clone(), Some(1.0)),
            ("the same on another axis", timeline(50, 100, &[(9, 3), (60, 4), (70, 3)]), Some(1.0)),
            ("the same, later by 5 s", timeline(0, 100, &[(0, 3), (15, 4), (25, 3)]), Some(0.9)),
            (
                "a change that is undone at once",
                {
                    let mut undone = base.clone();
                    undone.replicas.extend(timeline(5, 100, &[(40, 9), (40, 3)]).replicas);
                    undone
                },
                Some(1.0),
            ),
            ("never", timeline(0, 100, &[(0, 7)]), Some(0.0)),
            ("half as long", timeline(0, 50, &[(0, 3), (10, 4)]), Some(0.4)),
            ("known too late", timeline(0, 100, &[(1, 3)]), None),
            ("nothing known", timeline(0, 100, &[]), None),
            ("no traffic", timeline(0, 0, &[(0, 3)]), None),
        ];
        for (case, other, share) in rows {
            for (a, b) in [(&base, &other), (&other, &base)] {
                let got = equal_share(a, b, |point| point.ready);
                let is_right = match (got, share) {
                    (Some(got), Some(share)) => (got - share).abs() < 1e-9,
                    (None, None) => true,
                    _ => false,
                };
                assert!(is_right, "{case}: {got:?}");
            }
        }
    }

    #[test]
    fn a_change_within_the_tolerance_is_none() {
        let base = timeline(5, 100, &[(0, 1), (3, 3), (15, 4), (25, 3)]);
        let late = timeline(0, 100, &[(0, 3), (15, 4), (25, 3)]);
        // what it is, the other run, the tolerance in seconds, the share
        let rows = [
            ("the same", base.clone(), 0, Some(1.0)),
            ("later by 5 s, and none allowed", late.clone(), 0, Some(0.9)),
            ("later by 5 s, and 2 s allowed", late.clone(), 2, Some(0.94)),
            ("later by 5 s, and 5 s allowed", late, 5, Some(1.0)),
            ("never", timeline(0, 100, &[(0, 7)]), 15, Some(0.0)),
            ("one more after the end of it", timeline(0, 100, &[(0, 3), (40, 4)]), 5, Some(0.4)),
            ("no traffic", timeline(0, 0, &[(0, 3)]), 15, None),
            ("known too late", timeline(0, 100, &[(1, 3)]), 15, None),
        ];
        for (case, other, tolerance, share) in rows {
            let got = within_share(&base, &other, Nanos::from_secs(tolerance), |point| point.ready);
            let is_right = match (got, share) {
                (Some(got), Some(share)) => (got - share).abs() < 1e-9,
                (None, None) => true,
                _ => false,
            };
            assert!(is_right, "{case}: {got:?}");
        }
    }

    #[test]
    fn chance_shrinks_with_the_number_of_values() {
        let of = |n: u64| {
            let mut values = crate::record::hist::new();
            (1..=n).for_each(|value| values.saturating_record(value * 1_000_000 / n));
            spread(&values, 0.95)
        };
        assert_eq!(of(19), None);
        let (few, many) = (of(100).expect("enough"), of(10_000).expect("enough"));
        // 1.96 sqrt(0.95 * 0.05 / n) / 0.95 of evenly spaced values.
        assert!((few - 0.045).abs() < 0.01 && (many - 0.0045).abs() < 0.001, "{few} {many}");
    }

    #[test]
    fn ratios_of_nothing_are_not_known() {
        let of = |count, p95| Percentiles { count, p95, ..Percentiles::default() };
        for (base, other, expected) in [
            (of(9, 10), of(9, 15), Some(1.5)),
            (of(9, 10), of(9, 0), Some(0.0)),
            (of(9, 0), of(9, 15), None),
            (of(0, 10), of(9, 15), None),
            (of(9, 10), of(0, 15), None),
        ] {
            assert_eq!(ratio(&base, &other, |of| of.p95), expected);
        }
    }
}
