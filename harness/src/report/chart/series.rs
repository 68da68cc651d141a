//! Series of numbers, thinned to the width of the picture.

use std::collections::BTreeMap;

use super::model::Point;
use crate::analyze::{ReplicaPoint, SecondPoint};

/// Steps with which a series is thinned, in seconds.
const STEPS: [u64; 16] = [1, 2, 3, 4, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_800, 3_600];
/// A point of a series is at least this wide.
const POINT_WIDTH: u64 = 1;

/// Seconds that one point stands for, if `seconds` must fit into `columns`.
pub(super) fn step(seconds: u64, columns: u32) -> u64 {
    let points = (u64::from(columns) / POINT_WIDTH).max(1);
    let least = seconds.div_ceil(points).max(1);
    STEPS
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or_else(|| least.div_ceil(3_600).saturating_mul(3_600))
}

/// The seconds that one point stands for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// How many seconds are in it.
    pub(super) seconds: u64,
    pub(super) owed: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) unsent: u64,
    /// Lowest and highest median of its seconds, if any has one.
    pub(super) p50: Option<(u64, u64)>,
    pub(super) p99: Option<(u64, u64)>,
    pub(super) p999: Option<(u64, u64)>,
}

impl Bucket {
    fn add(&mut self, second: &SecondPoint) {
        self.seconds = self.seconds.saturating_add(1);
        self.owed = self.owed.saturating_add(second.owed);
        self.ok = self.ok.saturating_add(second.ok);
        self.failed = self.failed.saturating_add(second.failed);
        self.unsent = self.unsent.saturating_add(second.unsent);
        if second.latency.count > 0 {
            widen(&mut self.p50, second.latency.p50);
            widen(&mut self.p99, second.latency.p99);
            widen(&mut self.p999, second.latency.p999);
        }
    }
}

fn widen(range: &mut Option<(u64, u64)>, value: u64) {
    *range = Some(match *range {
        Some((low, high)) => (low.min(value), high.max(value)),
        None => (value, value),
    });
}

/// The seconds by point: its first second, and what is in it.
pub(super) fn buckets(seconds: &[SecondPoint], step: u64) -> Vec<(u64, Bucket)> {
    let mut buckets: BTreeMap<u64, Bucket> = BTreeMap::new();
    for second in seconds {
        let first = second.second / step * step;
        buckets.entry(first).or_default().add(second);
    }
    buckets.into_iter().collect()
}

/// A rate per second: the mean over the seconds of each point.
pub(super) fn rates(buckets: &[(u64, Bucket)], of: impl Fn(&Bucket) -> u64) -> Vec<Point> {
    let rate = |bucket: &Bucket| round(of(bucket) as f64 / bucket.seconds.max(1) as f64);
    buckets
        .iter()
        .map(|(first, bucket)| {
            let rate = rate(bucket);
            Point(*first as f64, rate, rate)
        })
        .collect()
}

/// Sums, on top of those of `below`; only points above zero.
pub(super) fn sums(
    buckets: &[(u64, Bucket)],
    of: impl Fn(&Bucket) -> u64,
    below: impl Fn(&Bucket) -> u64,
) -> Vec<Point> {
    buckets
        .iter()
        .filter(|(_, bucket)| of(bucket) > 0)
        .map(|(first, bucket)| {
            let low = below(bucket) as f64;
            Point(*first as f64, low, low + of(bucket) as f64)
        })
        .collect()
}

/// Lowest and highest, in the middle of each point.
pub(super) fn ranges(
    buckets: &[(u64, Bucket)],
    step: u64,
    of: impl Fn(&Bucket) -> Option<(u64, u64)>,
) -> Vec<Point> {
    buckets
        .iter()
        .filter_map(|(first, bucket)| {
            let (low, high) = of(bucket)?;
            Some(Point(*first as f64 + step as f64 / 2.0, low as f64, high as f64))
        })
        .collect()
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The steps of one of the numbers of replicas.
pub(super) fn replica_steps(
    points: &[ReplicaPoint],
    window: (f64, f64, u32),
    of: impl Fn(&ReplicaPoint) -> u32,
) -> Vec<Point> {
    steps(points.iter().map(|point| (point.at.as_secs_f64(), f64::from(of(point)))), window)
}

/// Steps of values by seconds, of which those that are not numbers say that there is none: only
/// where they change, and of many changes within one column the first, the lowest, the highest and
/// the last, which draws the same picture.
pub(super) fn steps(
    points: impl Iterator<Item = (f64, f64)>,
    (from, to, columns): (f64, f64, u32),
) -> Vec<Point> {
    let mut changes: Vec<(f64, f64)> = Vec::new();
    for (at, value) in points {
        let same = |last: f64| last == value || (last.is_nan() && value.is_nan());
        if !changes.last().is_some_and(|(_, last)| same(*last)) {
            changes.push((at, value));
        }
    }
    if changes.len() > 2 * columns as usize {
        changes = thin(&changes, from, (to - from) / f64::from(columns.max(1)));
    }
    changes.into_iter().map(|(at, value)| Point(millis(at), round(value), round(value))).collect()
}

/// A time in seconds, rounded to milliseconds.
pub(super) fn millis(at: f64) -> f64 {
    round(at)
}

fn thin(changes: &[(f64, f64)], from: f64, width: f64) -> Vec<(f64, f64)> {
    let mut thinned = Vec::new();
    for column in changes.chunk_by(|a, b| {
        ((a.0 - from) / width).floor() as i64 == ((b.0 - from) / width).floor() as i64
    }) {
        let extreme = |better: fn(f64, f64) -> bool| {
            let mut best = 0;
            for (index, change) in column.iter().enumerate() {
                if better(change.1, column[best].1) {
                    best = index;
                }
            }
            best
        };
        let mut kept = vec![0, extreme(|a, b| a < b), extreme(|a, b| a > b), column.len() - 1];
        kept.sort_unstable();
        kept.dedup();
        thinned.extend(kept.into_iter().map(|index| column[index]));
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::Percentiles;
    use highwater_model::time::Timestamp;

    fn second(second: u64, owed: u64, p99: u64) -> SecondPoint {
        SecondPoint {
            second,
            owed,
            ok: owed,
            latency: Percentiles { count: owed, p99, ..Percentiles::default() },
            ..SecondPoint::default()
        }
    }

    #[test]
    fn points_stand_for_round_numbers_of_seconds() {
        let rows = [(0, 1), (930, 1), (931, 2), (3_600, 4), (86_400, 120)];
        for (seconds, expected) in rows {
            assert_eq!(step(seconds, 930), expected, "{seconds}");
        }
        assert!(step(u64::MAX, 1) >= u64::MAX / 2);
    }

    #[test]
    fn thinning_keeps_means_sums_and_extremes() {
        let seconds = [second(3, 10, 5), second(4, 30, 9), second(5, 20, 2), second(6, 0, 0)];
        let buckets = buckets(&seconds, 2);
        assert_eq!(
            rates(&buckets, |b| b.owed),
            [Point(2.0, 10.0, 10.0), Point(4.0, 25.0, 25.0), Point(6.0, 0.0, 0.0)]
        );
        assert_eq!(
            sums(&buckets, |b| b.owed, |_| 1),
            [Point(2.0, 1.0, 11.0), Point(4.0, 1.0, 51.0)]
        );
        // A second without answers leaves a gap and not a zero.
        assert_eq!(ranges(&buckets, 2, |b| b.p99), [Point(3.0, 5.0, 5.0), Point(5.0, 2.0, 9.0)]);
    }

    #[test]
    fn many_steps_in_a_column_keep_their_extremes() {
        let points: Vec<_> = (0..1_000u32)
            .map(|index| ReplicaPoint {
                at: Timestamp(u64::from(index) * 1_000_000),
                ready: if index == 500 { 90 } else { index % 2 },
                ..ReplicaPoint::default()
            })
            .collect();
        let steps = replica_steps(&points, (0.0, 1.0, 10), |point| point.ready);
        assert!(steps.len() <= 40, "{}", steps.len());
        assert!(steps.iter().any(|Point(at, _, high)| *high == 90.0 && *at == 0.5));
        assert!(steps.is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn values_that_are_missing_stay_missing_and_are_no_change() {
        let values = [(1.0, 5.0), (2.0, 5.0), (3.0, f64::NAN), (4.0, f64::NAN), (5.0, 5.0)];
        let steps = steps(values.into_iter(), (0.0, 10.0, 100));
        assert_eq!(
            serde_json::to_string(&steps).expect("JSON"),
            "[[1.0,5.0,5.0],[3.0,null,null],[5.0,5.0,5.0]]"
        );
    }
}
