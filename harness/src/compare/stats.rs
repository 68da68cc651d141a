//! The statistics: intervals, tests and sample sizes. Pure functions of numbers.
//!
//! Everything rests on [`Estimate`]: a difference with its standard error and degrees of freedom.
//! What the standard error is made of is the business of [`super::units`].

use statrs::distribution::{Beta, ChiSquared, ContinuousCDF as _, Normal, StudentsT};

/// Halvings of a search: more than a double has bits.
const STEPS: usize = 200;

/// A difference between two sides, how exactly it is known, and by how much knowledge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The difference.
    pub value: f64,
    /// Its standard error; zero if both sides do not vary at all.
    pub error: f64,
    /// Degrees of freedom of the standard error; above zero.
    pub freedom: f64,
}

impl Estimate {
    /// The chance of a difference from `from` as large as this or larger in either direction, if
    /// there is none.
    pub fn p_two_sided(&self, from: f64) -> f64 {
        (2.0 * self.p_above(from).min(self.p_below(from))).min(1.0)
    }

    /// The chance of so large a value if the truth is `limit` or less: small if it is above.
    pub fn p_above(&self, limit: f64) -> f64 {
        1.0 - self.below(limit)
    }

    /// The chance of so small a value if the truth is `limit` or more: small if it is below.
    pub fn p_below(&self, limit: f64) -> f64 {
        self.below(limit)
    }

    /// The distribution function of the value, seen from `limit`.
    fn below(&self, limit: f64) -> f64 {
        let distance = self.value - limit;
        if self.error <= 0.0 {
            return match distance {
                d if d > 0.0 => 1.0,
                d if d < 0.0 => 0.0,
                _ => 0.5,
            };
        }
        t_cdf(distance / self.error, self.freedom)
    }

    /// The same difference with the error of `other`, which is independent of it, as well.
    ///
    /// *Source*: the degrees of freedom of Satterthwaite 1946.
    pub fn with(&self, other: &Self) -> Self {
        let error = self.error.hypot(other.error);
        let parts = self.error.powi(4) / self.freedom + other.error.powi(4) / other.freedom;
        let least = self.freedom.min(other.freedom);
        let freedom = if parts > 0.0 { error.powi(4) / parts } else { least };
        Self { value: self.value, error, freedom }
    }

    /// The interval that holds the truth with this confidence.
    pub fn interval(&self, confidence: f64) -> (f64, f64) {
        let half = t_quantile(0.5 + confidence / 2.0, self.freedom) * self.error;
        (self.value - half, self.value + half)
    }
}

/// The distribution function of Student's t.
pub fn t_cdf(t: f64, freedom: f64) -> f64 {
    // Beyond a million the normal distribution is the same to six digits.
    StudentsT::new(0.0, 1.0, freedom.clamp(0.1, 1e6)).map_or(0.5, |known| known.cdf(t))
}

/// The quantile of Student's t, for 0.5 < p < 1.
pub fn t_quantile(p: f64, freedom: f64) -> f64 {
    search(0.0, 1e9, |t| t_cdf(t, freedom) < p)
}

/// The quantile of the standard normal distribution.
pub fn z_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// The largest value within the range for which `is_below` holds, by halving; it must hold below
/// one point and not above it.
fn search(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..STEPS {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if is_below(middle) { low = middle } else { high = middle }
    }
    low + (high - low) / 2.0
}

/// The exact interval of a share of which `k` in `n` were seen; both need not be whole.
///
/// *Source*: Clopper and Pearson 1934, by the quantiles of the beta distribution. With the
/// effective `k` and `n` of a sample that is not of independent parts: Korn and Graubard 1998.
pub fn exact_interval(k: f64, n: f64, confidence: f64) -> (f64, f64) {
    if n <= 0.0 {
        return (0.0, 1.0);
    }
    let k = k.clamp(0.0, n);
    let tail = (1.0 - confidence) / 2.0;
    let low = if k <= 0.0 { 0.0 } else { beta_quantile(tail, k, n - k + 1.0) };
    let high = if k >= n { 1.0 } else { beta_quantile(1.0 - tail, k + 1.0, n - k) };
    (low, high)
}

fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    match Beta::new(a, b) {
        Ok(beta) => search(0.0, 1.0, |x| beta.cdf(x) < p),
        Err(_) => f64::NAN,
    }
}

/// The chance of counts that differ as much or more, if both sides lose the same share: `base` of
/// `base_n` and `new` of `new_n` independent requests, two-sided.
///
/// *Source*: the conditional test of two Poisson rates, Przyborowski and Wilenski 1940: given
/// their sum, `new` is binomial. Two-sided by doubling the smaller tail.
pub fn p_of_counts((base, base_n): (u64, u64), (new, new_n): (u64, u64)) -> f64 {
    let sum = base.saturating_add(new);
    if sum == 0 || base_n == 0 || new_n == 0 {
        return 1.0;
    }
    let share = new_n as f64 / (base_n as f64 + new_n as f64);
    let at_most = binomial_cdf(new, sum, share);
    let at_least = if new == 0 { 1.0 } else { 1.0 - binomial_cdf(new - 1, sum, share) };
    (2.0 * at_most.min(at_least)).clamp(0.0, 1.0)
}

/// The chance of at most `k` in `n`, by the beta distribution.
fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    Beta::new((n - k) as f64, (k + 1) as f64).map_or(f64::NAN, |beta| beta.cdf(1.0 - p))
}

/// Mean and variance of some values; the variance of fewer than two is `None`.
pub fn moments(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() < 2 {
        return (mean, None);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, Some(squares / (n - 1.0)))
}

/// p-values corrected for being many: the chance that any of the true "no difference" is called
/// one is at most the level that the corrected value is held against, however they depend on each
/// other. `weights` say how the level is shared out; above zero.
///
/// *Source*: Holm 1979, with weights.
pub fn holm(p: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| (p[*a] / weights[*a]).total_cmp(&(p[*b] / weights[*b])));
    // left[place]: the weights from there on. Summed from the end, and not lessened from the start, so
    // that rounding never makes it less than the weight of the place itself.
    let mut left = vec![0.0; p.len()];
    let mut sum = 0.0;
    for (place, index) in order.iter().enumerate().rev() {
        sum += weights[*index];
        left[place] = sum;
    }
    let mut corrected = vec![1.0; p.len()];
    let mut largest: f64 = 0.0;
    for (index, left) in order.into_iter().zip(left) {
        largest = largest.max((p[index] * (left / weights[index])).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

/// How many values of a side are needed so that a true difference of `shift` is found with 90 %
/// chance by a two-sided test at `level`, when both sides vary by `deviation` from run to run.
/// `freedom` is that of the deviation: what is known from few runs is taken at its 80 % upper
/// bound, as otherwise half of all recommendations were too few.
///
/// *Source*: the usual two-sample formula; the upper bound is Browne's (1995).
pub fn repeats(deviation: f64, freedom: f64, shift: f64, level: f64, paired: bool) -> Option<u64> {
    const MOST: u64 = 10_000;
    let known = ChiSquared::new(freedom.max(0.5)).ok()?;
    let lower = search(0.0, 1e7, |x| known.cdf(x) < 0.2);
    let deviation = deviation * (freedom.max(0.5) / lower).sqrt();
    let is_enough = |n: u64| {
        let free = if paired { n as f64 - 1.0 } else { 2.0 * n as f64 - 2.0 };
        let sides: f64 = if paired { 1.0 } else { 2.0 };
        let error = deviation * (sides / n as f64).sqrt();
        (t_quantile(1.0 - level / 2.0, free) + t_quantile(0.9, free)) * error <= shift
    };
    // It holds from some number on: by halving.
    let (mut low, mut high) = (1, MOST);
    if !is_enough(high) {
        return None;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_enough(middle) { high = middle } else { low = middle }
    }
    Some(high.max(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(a: f64, b: f64, within: f64) -> bool {
        (a - b).abs() <= within
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Any table of Student's t, two-sided 5 %.
        for (freedom, t) in [(1.0, 12.706), (2.0, 4.303), (8.0, 2.306), (30.0, 2.042)] {
            assert!(near(t_quantile(0.975, freedom), t, 0.001), "{freedom}");
        }
        assert!(near(z_quantile(0.975), 1.959_96, 1e-5));
    }

    #[test]
    fn exact_intervals_are_those_of_the_tables() {
        // Clopper and Pearson, 95 %.
        for (k, n, low, high) in [
            (0.0, 100.0, 0.0, 0.036_217),
            (1.0, 100.0, 0.000_253, 0.054_459),
            (5.0, 10.0, 0.187_086, 0.812_914),
            (10.0, 10.0, 0.691_503, 1.0),
        ] {
            let (l, h) = exact_interval(k, n, 0.95);
            assert!(near(l, low, 1e-5) && near(h, high, 1e-5), "{k} in {n}: {l} {h}");
        }
        assert_eq!(exact_interval(0.0, 0.0, 0.95), (0.0, 1.0), "nothing is known");
    }

    #[test]
    fn counts_are_compared_exactly() {
        // 0 against 8 at equal exposure: 2 × 2^-8.
        assert!(near(p_of_counts((0, 1000), (8, 1000)), 2.0 / 256.0, 1e-9));
        assert_eq!(p_of_counts((0, 1000), (0, 1000)), 1.0);
        assert_eq!(p_of_counts((3, 0), (3, 10)), 1.0, "nothing was asked of one side");
        assert!(p_of_counts((100, 1000), (100, 1000)) > 0.99);
    }

    #[test]
    fn an_estimate_without_any_error_is_certain() {
        let exactly = |value| Estimate { value, error: 0.0, freedom: 4.0 };
        assert_eq!(exactly(0.1).p_two_sided(0.0), 0.0);
        assert_eq!(exactly(0.0).p_two_sided(0.0), 1.0);
        assert_eq!(exactly(0.1).interval(0.95), (0.1, 0.1));
    }

    #[test]
    fn errors_add_up_as_variances_do() {
        let of = |error, freedom| Estimate { value: 1.0, error, freedom };
        let both = of(3.0, 4.0).with(&of(4.0, 4.0));
        // 25² / (9²/4 + 16²/4) = 7.4.
        assert!(near(both.error, 5.0, 1e-9) && near(both.freedom, 7.418, 0.001), "{both:?}");
        let lone = of(0.0, 2.0).with(&of(4.0, 23.0));
        assert!(near(lone.freedom, 23.0, 1e-9), "what has no error says nothing: {lone:?}");
        assert_eq!(of(0.0, 2.0).with(&of(0.0, 23.0)), of(0.0, 2.0));
    }

    #[test]
    fn holm_is_that_of_the_paper_with_equal_weights() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005], &[1.0; 4]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        for (found, expected) in corrected.iter().zip(expected) {
            assert!(near(*found, expected, 1e-12), "{corrected:?}");
        }
        let weighted = holm(&[0.01, 0.01], &[4.0, 1.0]);
        assert!(near(weighted[0], 0.0125, 1e-12) && near(weighted[1], 0.0125, 1e-12));
        assert!(holm(&[], &[]).is_empty());
    }

    #[test]
    fn more_noise_needs_more_repeats_and_pairs_need_fewer() {
        let of = |deviation, paired| repeats(deviation, 8.0, 0.1, 0.05, paired);
        assert_eq!(of(0.0, false), Some(3), "no noise at all");
        // Without the upper bound: 2 (1.96 + 1.28)² 0.05²/0.1² = 5.3; and a little for t.
        assert!(matches!(of(0.05, false), Some(7..=12)), "{:?}", of(0.05, false));
        assert!(of(0.05, true) < of(0.05, false));
        assert_eq!(of(1e3, false), None, "never");
    }

    proptest! {
        #[test]
        fn corrected_values_are_never_smaller_and_keep_their_order(
            rows in proptest::collection::vec((0.0f64..1.0, 0.5f64..5.0), 1..30)
        ) {
            let (p, weights): (Vec<f64>, Vec<f64>) = rows.into_iter().unzip();
            let corrected = holm(&p, &weights);
            for (raw, corrected) in p.iter().zip(&corrected) {
                prop_assert!(corrected >= raw && *corrected <= 1.0);
            }
            // The order is that of the shares of the level.
            for one in 0..p.len() {
                for other in 0..p.len() {
                    if p[one] / weights[one] < p[other] / weights[other] {
                        prop_assert!(corrected[one] <= corrected[other]);
                    }
                }
            }
        }

        #[test]
        fn exact_intervals_hold_what_was_seen(k in 0u32..1000, more in 0u32..1000) {
            let (k, n) = (f64::from(k), f64::from(k + more + 1));
            let (low, high) = exact_interval(k, n, 0.95);
            prop_assert!(low <= k / n && k / n <= high && high <= 1.0 && low >= 0.0);
        }
    }
}
