//! Since when? The points at which the mean of a series changes.
//!
//! *Source*: optimal partitioning (Jackson and others 2005) for changes in the mean of normal values:
//! what PELT (Killick, Fearnhead and Eckley 2012) finds, without its pruning, which a thousand values
//! do not need, and which is not exact where stretches have a least length. The deviation of the
//! values is that of their differences from one to the next (their median absolute deviation, over
//! the square root of two), so that the changes themselves do not count as noise.

use super::stats;

/// What a change must save, in variances times the logarithm of how many values there are, and so
/// much more per value that is there, since the deviation of a few is not known well. Measured: of
/// 4,000 series of equal values so many have a false change: with 12 values 5 %, with 30 2 %, with
/// 100 0.3 %; with 2 and nothing more (the information criterion of Schwarz) 31 %, 21 % and 11 %.
const PENALTY: f64 = 4.0;
/// See [`PENALTY`].
const PENALTY_OF_FEW: f64 = 8.0;
/// The median absolute deviation of normal values is their deviation over this.
const MAD: f64 = 1.482_6;
/// A stretch between changes has so many values at least.
const LEAST: usize = 2;

/// The indexes at which a stretch with another mean begins, ascending.
///
/// *Units and shape*: any unit; logarithms where ratios matter. `deviation_min` is the least
/// deviation that is believed.
/// *Behaviour*: fewer than five values have no changes, nor do values that are no numbers.
pub fn changes(values: &[f64], deviation_min: f64) -> Vec<usize> {
    let n = values.len();
    if n < 5 || values.iter().any(|value| !value.is_finite()) {
        return Vec::new();
    }
    let penalty = penalty(values, deviation_min);
    let sums = Sums::new(values);
    // best[i]: the least cost of the first i values; last[i]: where their last stretch begins.
    let (mut best, mut last) = (vec![-penalty], vec![0]);
    for end in 1..=n {
        let starts = (0..=end.saturating_sub(LEAST)).filter(|start| end - start >= LEAST);
        let cost = |start: usize| (best[start] + sums.cost(start, end) + penalty, start);
        let (least, start) =
            starts.map(cost).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0));
        best.push(least);
        last.push(start);
    }
    let mut found = Vec::new();
    let mut at = last[n];
    while at > 0 {
        found.push(at);
        at = last[at];
    }
    found.reverse();
    found
}

/// What one change must save.
fn penalty(values: &[f64], deviation_min: f64) -> f64 {
    let n = values.len() as f64;
    let variance = deviation(values).max(deviation_min).max(f64::MIN_POSITIVE).powi(2);
    PENALTY * (1.0 + PENALTY_OF_FEW / n) * variance * n.ln()
}

fn deviation(values: &[f64]) -> f64 {
    let differences: Vec<f64> = values.windows(2).map(|two| two[1] - two[0]).collect();
    let middle = median(differences.clone());
    let away = differences.iter().map(|difference| (difference - middle).abs()).collect();
    MAD * median(away) / 2f64.sqrt()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Sums of values and squares from the start on, from a mean that keeps them small.
struct Sums(Vec<(f64, f64)>);

impl Sums {
    fn new(values: &[f64]) -> Self {
        let (mean, _) = stats::moments(values);
        let mut sums = vec![(0.0, 0.0)];
        let (mut sum, mut squares) = (0.0, 0.0);
        for value in values {
            sum += value - mean;
            squares += (value - mean).powi(2);
            sums.push((sum, squares));
        }
        Self(sums)
    }

    /// The squared distances of a stretch from its mean.
    fn cost(&self, start: usize, end: usize) -> f64 {
        let (from, to) = (self.0[start], self.0[end]);
        let n = (end - start) as f64;
        (to.1 - from.1 - (to.0 - from.0).powi(2) / n).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::rng::Stream;

    fn noise(seed: u64, n: usize) -> Vec<f64> {
        let mut random = Stream::new(seed, "changes");
        (0..n).map(|_| random.normal()).collect()
    }

    #[test]
    fn steps_are_found_where_they_are() {
        let mut values = noise(1, 60);
        values[20..40].iter_mut().for_each(|value| *value += 8.0);
        values[40..].iter_mut().for_each(|value| *value -= 5.0);
        assert_eq!(changes(&values, 0.0), [20, 40]);
        assert_eq!(changes(&[1.0, 1.0, 1.0, 2.0, 2.0, 2.0], 0.01), [3]);
        let lone_first = [9.0, 1.0, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0, 1.1, 1.0];
        assert!(!changes(&lone_first, 0.01).contains(&1), "one value is no stretch");
    }

    /// The least cost of all ways to cut the values, tried one by one.
    fn least_cost(values: &[f64], penalty: f64) -> f64 {
        let sums = Sums::new(values);
        let n = values.len();
        let ways = 0u32..1 << (n - 1);
        let cost = |way: u32| {
            let cuts = (1..n).filter(|at| way & (1 << (at - 1)) != 0);
            let edges: Vec<usize> = std::iter::once(0).chain(cuts).chain([n]).collect();
            let is_long = edges.windows(2).all(|two| two[1] - two[0] >= LEAST);
            let cost: f64 = edges.windows(2).map(|two| sums.cost(two[0], two[1])).sum();
            is_long.then_some(cost + penalty * (edges.len() - 2) as f64)
        };
        ways.filter_map(cost).fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_other_way_to_cut_costs_less() {
        for seed in 0..50 {
            let mut values = noise(seed, 10);
            let at = 1 + seed as usize % 9;
            values[at..].iter_mut().for_each(|value| *value += 6.0);
            let found = changes(&values, 0.0);
            let penalty = penalty(&values, 0.0);
            let sums = Sums::new(&values);
            let edges: Vec<usize> = [&[0], &found[..], &[10]].concat();
            let cost: f64 = edges.windows(2).map(|two| sums.cost(two[0], two[1])).sum();
            let least = least_cost(&values, penalty);
            let cost = cost + penalty * found.len() as f64;
            assert!((cost - least).abs() < 1e-9, "{seed}: {found:?} costs {cost}, not {least}");
        }
    }

    #[test]
    fn what_is_no_series_has_no_change() {
        assert!(changes(&[], 0.1).is_empty());
        assert!(changes(&[1.0, 9.0], 0.1).is_empty());
        assert!(changes(&[1.0, 2.0, f64::NAN, 4.0, 5.0, 6.0], 0.1).is_empty());
        assert!(changes(&[3.0; 50], 0.0).is_empty());
    }

    #[test]
    fn noise_alone_is_seldom_a_change() {
        for n in [12, 30, 100] {
            let alarms = (0..200).filter(|seed| !changes(&noise(*seed, n), 0.0).is_empty()).count();
            assert!(alarms <= 20, "{alarms} of 200 with {n} values");
        }
    }
}
