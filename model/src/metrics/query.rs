//! Arithmetic of Prometheus' query language.
//!
//! *Source*: prometheus/prometheus `promql/functions.go` (`extrapolatedRate`), `promql/quantile.go`
//! (`BucketQuantile`).

use crate::time::Timestamp;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// How much.
    pub value: f64,
}

/// `rate()` of a counter: its increase per second between `from` and `to`, extrapolated to these;
/// resets count as such. `None` with fewer than two points. `points` lie between both, ascending.
pub fn rate(points: &[Point], from: Timestamp, to: Timestamp) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let mut increase = last.value - first.value;
    for pair in points.windows(2) {
        if pair[1].value < pair[0].value {
            increase += pair[0].value;
        }
    }
    let sampled = last.at.since(first.at).as_secs_f64();
    if sampled <= 0.0 {
        return None;
    }
    let between = sampled / (points.len() - 1) as f64;
    let threshold = between * 1.1;
    let mut to_start = first.at.since(from).as_secs_f64();
    let mut to_end = to.since(last.at).as_secs_f64();
    if to_start >= threshold {
        to_start = between / 2.0;
    }
    if increase > 0.0 && first.value >= 0.0 {
        // A counter cannot have been below zero.
        to_start = to_start.min(sampled * (first.value / increase));
    }
    if to_end >= threshold {
        to_end = between / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled / to.since(from).as_secs_f64();
    Some(increase * factor)
}

/// `histogram_quantile()`: `buckets` are upper bounds with cumulative counts, ascending, the last
/// bound endless. `None` without observations or without such a bound.
pub fn quantile(q: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    let &(top, total) = buckets.last()?;
    if top != f64::INFINITY || buckets.len() < 2 || total.is_nan() || total <= 0.0 {
        return None;
    }
    let rank = q * total;
    let place = buckets[..buckets.len() - 1].iter().position(|&(_, count)| count >= rank);
    let Some(place) = place else { return Some(buckets[buckets.len() - 2].0) };
    let (end, mut count) = buckets[place];
    if place == 0 && end <= 0.0 {
        return Some(end);
    }
    let (start, below) = if place > 0 { buckets[place - 1] } else { (0.0, 0.0) };
    count -= below;
    if count <= 0.0 {
        return Some(end);
    }
    Some(start + (end - start) * ((rank - below) / count))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::time::SECOND;

    fn points(values: &[(u64, f64)]) -> Vec<Point> {
        let point = |&(second, value): &(u64, f64)| Point { at: Timestamp(second * SECOND), value };
        values.iter().map(point).collect()
    }

    #[test]
    fn a_rate_is_extrapolated_to_its_window_but_never_below_zero() {
        let (from, to) = (Timestamp::ZERO, Timestamp(60 * SECOND));
        for (values, expected) in [
            // Even growth from long before: the window's ends are near enough.
            (points(&[(5, 100.0), (20, 250.0), (35, 400.0), (50, 550.0)]), Some(10.0)),
            // The first value is small: the counter began 1 s before it, not at the window's start.
            (points(&[(20, 10.0), (35, 160.0), (50, 310.0)]), Some(300.0 * (41.0 / 30.0) / 60.0)),
            // A reset: what was before it counts.
            (
                points(&[(5, 100.0), (20, 50.0), (35, 200.0), (50, 350.0)]),
                Some(350.0 * (60.0 / 45.0) / 60.0),
            ),
            // Far from both ends: half an interval on each side.
            (points(&[(25, 1e6), (35, 1e6 + 100.0)]), Some(100.0 * (20.0 / 10.0) / 60.0)),
            (points(&[(20, 1.0)]), None),
            (points(&[]), None),
        ] {
            let got = rate(&values, from, to);
            let same = match (got, expected) {
                (Some(got), Some(expected)) => (got - expected).abs() < 1e-9,
                (got, expected) => got == expected,
            };
            assert!(same, "{values:?}: {got:?}, expected {expected:?}");
        }
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let endless = f64::INFINITY;
        let buckets = [(0.1, 50.0), (0.5, 90.0), (1.0, 100.0), (endless, 100.0)];
        for (q, expected) in [(0.5, 0.1), (0.25, 0.05), (0.7, 0.3), (0.95, 0.75), (1.0, 1.0)] {
            let got = quantile(q, &buckets).expect("there are observations");
            assert!((got - expected).abs() < 1e-12, "{q}: {got}");
        }
        // Above the last bound that ends, nothing better is known.
        assert_eq!(quantile(0.99, &[(0.1, 1.0), (endless, 100.0)]), Some(0.1));
        assert_eq!(quantile(0.5, &[(0.1, 0.0), (endless, 0.0)]), None);
        assert_eq!(quantile(0.5, &[(0.1, 5.0)]), None);
        assert_eq!(quantile(0.5, &[]), None);
    }
}
