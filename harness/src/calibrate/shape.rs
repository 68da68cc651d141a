//! Which distribution gives such quantiles: pure arithmetic.
//!
//! Everything goes by a grid of quantiles from 2.5 % to 97.5 %, which a few outliers do not move.

use highwater_model::{
    spec::Distribution,
    time::{Nanos, SECOND},
};

use super::seen::Delay;
use crate::record::hist::Hist;

/// How many quantiles a grid has.
pub(super) const PLACES: usize = 39;
/// The grid's place `index` is this quantile.
pub(super) fn share(index: usize) -> f64 {
    (index + 1) as f64 / (PLACES + 1) as f64
}

/// Quantiles in nanoseconds, ascending.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grid(pub(super) [f64; PLACES]);

impl Grid {
    /// Those of a histogram; zeros of an empty one.
    pub(super) fn of(hist: &Hist) -> Self {
        Self(std::array::from_fn(|index| hist.value_at_quantile(share(index)) as f64))
    }

    /// Those of a distribution.
    pub(super) fn of_distribution(distribution: &Distribution) -> Self {
        Self(std::array::from_fn(|index| distribution.quantile(share(index)).0 as f64))
    }

    /// The same, each less by `span`, not below a microsecond.
    pub(super) fn less(mut self, span: f64) -> Self {
        for value in &mut self.0 {
            *value = (*value - span).max(1_000.0);
        }
        self
    }

    /// The mean of the quantiles: a trimmed mean.
    pub(super) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / PLACES as f64
    }

    /// The mean square of what the quantiles differ from their mean by.
    pub(super) fn variance(&self) -> f64 {
        let mean = self.mean();
        self.0.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / PLACES as f64
    }

    /// The mean difference, as a share of the mean of `self`.
    pub(super) fn distance(&self, other: &Self) -> f64 {
        let differences = self.0.iter().zip(&other.0).map(|(a, b)| (a - b).abs());
        differences.sum::<f64>() / PLACES as f64 / self.mean().max(1.0)
    }
}

/// The families that a fit chooses from, the plainest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Always the same.
    Fixed,
    /// By its mean.
    Exponential,
    /// Between two ends.
    Uniform,
    /// By median and p99.
    Lognormal,
}

impl Family {
    pub(super) const ALL: [Self; 4] =
        [Self::Fixed, Self::Exponential, Self::Uniform, Self::Lognormal];

    /// The two numbers that a distribution of this family is made of, by least squares over the grid.
    ///
    /// *Source*: a quantile plot is a straight line for a family of location and scale: value = a + b
    /// x(p), with x(p) = p (uniform), -ln(1 - p) through the origin (exponential), and, of the
    /// logarithm, the normal's quantile (lognormal).
    pub(super) fn numbers(self, grid: &Grid) -> [f64; 2] {
        match self {
            Self::Fixed => [grid.mean(), 0.0],
            Self::Exponential => {
                let x = |index| -(1.0 - share(index)).ln();
                let sum = |of: &dyn Fn(usize) -> f64| (0..PLACES).map(of).sum::<f64>();
                [sum(&|i| grid.0[i] * x(i)) / sum(&|i| x(i) * x(i)), 0.0]
            }
            Self::Uniform => line(share, |index| grid.0[index]),
            Self::Lognormal => line(normal, |index| grid.0[index].max(1.0).ln()),
        }
    }

    /// The distribution with these numbers, its spans with four significant digits.
    pub(super) fn distribution(self, [a, b]: [f64; 2]) -> Distribution {
        match self {
            Self::Fixed => Distribution::Fixed(span(a)),
            Self::Exponential => Distribution::Exponential { mean: span(a.max(1_000.0)) },
            Self::Uniform => Distribution::Uniform(span(a), span(a + b.max(0.0)).max(span(a))),
            Self::Lognormal => {
                let median = span(a.min(60.0).exp().max(1_000.0));
                let p99 = span(((a + b.max(0.0) * normal_at(0.99)).min(60.0)).exp()).max(median);
                Distribution::Lognormal { median, p99 }
            }
        }
    }

    /// How far the best distribution of this family is from a grid.
    pub(super) fn misfit(self, grid: &Grid) -> f64 {
        let fitted = self.distribution(self.numbers(grid));
        let fitted = Grid(std::array::from_fn(|i| fitted.quantile(share(i)).0 as f64));
        grid.distance(&fitted)
    }

    /// The plainest family that is as good as the best: within `margin`.
    pub(super) fn best(grid: &Grid, margin: f64) -> Self {
        let misfits = Self::ALL.map(|family| family.misfit(grid));
        let least = misfits.iter().copied().fold(f64::INFINITY, f64::min);
        let place = misfits.iter().position(|misfit| *misfit <= least + margin);
        Self::ALL[place.unwrap_or(0)]
    }
}

/// Intercept and slope of the least squares line.
fn line(x: impl Fn(usize) -> f64, y: impl Fn(usize) -> f64) -> [f64; 2] {
    let n = PLACES as f64;
    let mean_x = (0..PLACES).map(&x).sum::<f64>() / n;
    let mean_y = (0..PLACES).map(&y).sum::<f64>() / n;
    let (mut above, mut below) = (0.0, 0.0);
    for index in 0..PLACES {
        above += (x(index) - mean_x) * (y(index) - mean_y);
        below += (x(index) - mean_x).powi(2);
    }
    let slope = above / below;
    [mean_y - slope * mean_x, slope]
}

/// The standard normal's quantile at a place of the grid.
fn normal(index: usize) -> f64 {
    normal_at(share(index))
}

/// The standard normal's quantile, from the logarithm of a lognormal's.
fn normal_at(share: f64) -> f64 {
    // Median one second, sigma one: the 99th percentile is its own logarithm there.
    const SIGMA_P99: f64 = 2.326_347_874_040_841;
    let p99 = Nanos((SIGMA_P99.exp() * SECOND as f64) as u64);
    let unit = Distribution::Lognormal { median: Nanos(SECOND), p99 };
    (unit.quantile(share).0 as f64 / SECOND as f64).ln()
}

/// A span of nanoseconds with four significant digits.
pub(super) fn span(nanos: f64) -> Nanos {
    if nanos.is_nan() || nanos < 1.0 {
        return Nanos::ZERO;
    }
    let unit = 10_f64.powi((nanos.log10().floor() as i32 - 3).max(0));
    Nanos(((nanos / unit).round() * unit) as u64)
}

/// The distribution of delays of which some are known to be longer only: the quantiles of the
/// product-limit estimate, as far as it goes; `None` without any that arrived.
///
/// *Source*: E. Kaplan, P. Meier, Nonparametric Estimation from Incomplete Observations, 1958.
pub(super) fn grid_of_delays(delays: &[Delay]) -> Option<Grid> {
    let mut delays = delays.to_vec();
    // Of equals, those that arrived come first: the others lasted longer.
    delays.sort_by_key(|delay| (delay.span, !delay.arrived));
    let mut steps: Vec<(f64, u64)> = Vec::new();
    let mut above = 1.0;
    for (index, delay) in delays.iter().enumerate() {
        if delay.arrived {
            above *= 1.0 - 1.0 / (delays.len() - index) as f64;
            steps.push((1.0 - above, delay.span.0));
        }
    }
    let last = steps.last()?.1;
    let at = |share: f64| {
        let place = steps.partition_point(|(below, _)| *below < share);
        steps.get(place).map_or(last, |(_, span)| *span)
    };
    Some(Grid(std::array::from_fn(|index| at(share(index)) as f64)))
}

/// The delays as if each had arrived, from plain spans.
pub(super) fn grid_of_spans(spans: &[Nanos]) -> Option<Grid> {
    let delays: Vec<Delay> =
        spans.iter().map(|span| Delay { span: *span, arrived: true }).collect();
    grid_of_delays(&delays)
}

/// Whether `n` values with these quantiles may well be of a distribution: no quantile's share is
/// further off than Kolmogorov's bound at 1 %.
///
/// *Source*: N. Smirnov, Table for estimating the goodness of fit of empirical distributions, 1948:
/// 1.63 / sqrt(n).
pub(super) fn may_be_of(grid: &Grid, n: usize, distribution: &Distribution) -> bool {
    let bound = 1.63 / (n.max(1) as f64).sqrt();
    (0..PLACES).all(|index| {
        let (low, high) = (share(index) - bound, share(index) + bound);
        // A hundredth of a millisecond is no difference that anybody set.
        let slack = 10_000.0;
        let at = |share: f64| distribution.quantile(share).0 as f64;
        (low <= 0.0 || grid.0[index] + slack >= at(low))
            && (high >= 1.0 || grid.0[index] - slack <= at(high))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: f64) -> Nanos {
        Nanos((ms * 1e6) as u64)
    }

    #[test]
    fn each_family_is_known_by_its_own_quantiles() {
        let rows = [
            Distribution::Fixed(ms(12.0)),
            Distribution::Exponential { mean: ms(12.0) },
            Distribution::Uniform(ms(1.0), ms(6.0)),
            Distribution::Lognormal { median: ms(8.0), p99: ms(40.0) },
        ];
        for (family, of) in Family::ALL.into_iter().zip(rows) {
            let grid = Grid::of_distribution(&of);
            assert_eq!(Family::best(&grid, 0.005), family, "{of}");
            let fitted = family.distribution(family.numbers(&grid));
            for q in [0.1, 0.5, 0.9, 0.99] {
                let (got, want) = (fitted.quantile(q).0 as f64, of.quantile(q).0 as f64);
                assert!((got / want - 1.0).abs() < 0.01, "{of}: {fitted}");
            }
        }
    }

    #[test]
    fn spans_have_four_digits() {
        for (nanos, expected) in
            [(0.4, 0), (12.0, 12), (12_345_678.0, 12_350_000), (f64::NAN, 0), (-1.0, 0)]
        {
            assert_eq!(span(nanos), Nanos(expected), "{nanos}");
        }
    }

    #[test]
    fn delays_that_were_overtaken_count_as_longer_ones() {
        let delay = |ms, arrived| Delay { span: Nanos::from_millis(ms), arrived };
        assert_eq!(grid_of_delays(&[]), None);
        assert_eq!(grid_of_delays(&[delay(5, false)]), None);
        // Of 100 delays from 1 to 100 ms each second one was cut off at 50 ms at the latest.
        let delays: Vec<Delay> = (1..=100)
            .map(|ms| if ms % 2 == 0 { delay(ms.min(50), ms <= 50) } else { delay(ms, true) })
            .collect();
        let grid = grid_of_delays(&delays).expect("delays");
        let median = grid.0[PLACES / 2] / 1e6;
        assert!((49.0..=52.0).contains(&median), "{median}");
        let upper = grid.0[29] / 1e6;
        assert!((72.0..=78.0).contains(&upper), "75 % are below {upper}");
    }

    #[test]
    fn what_may_be_of_a_distribution() {
        let uniform = Distribution::Uniform(Nanos::ZERO, ms(2_000.0));
        let grid = Grid::of_distribution(&uniform);
        assert!(may_be_of(&grid, 10, &uniform) && may_be_of(&grid, 10_000, &uniform));
        let other = Distribution::Uniform(Nanos::ZERO, ms(2_400.0));
        assert!(may_be_of(&grid, 10, &other), "ten values do not tell");
        assert!(!may_be_of(&grid, 10_000, &other));
        assert!(!may_be_of(&grid, 100, &Distribution::Fixed(ms(1_000.0))));
    }
}
