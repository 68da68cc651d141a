//! Mean and variance of distributions.

use super::{Distribution, NORMAL_P99};
use crate::time::Nanos;

impl Distribution {
    /// Mean (seconds) and variance (seconds squared), by their closed forms.
    pub fn moments(&self) -> (f64, f64) {
        let secs = Nanos::as_secs_f64;
        match self {
            Self::Fixed(span) => (span.as_secs_f64(), 0.0),
            Self::Uniform(low, high) => {
                let width = high.as_secs_f64() - low.as_secs_f64();
                ((low.as_secs_f64() + high.as_secs_f64()) / 2.0, width * width / 12.0)
            }
            Self::Exponential { mean } => {
                let mean = mean.as_secs_f64();
                (mean, mean * mean)
            }
            Self::Lognormal { median, p99 } => {
                let sigma = libm::log(p99.0 as f64 / median.0 as f64) / NORMAL_P99;
                let mean = median.as_secs_f64() * libm::exp(sigma * sigma / 2.0);
                (mean, mean * mean * libm::expm1(sigma * sigma))
            }
            Self::Values(values) => {
                let count = values.len().max(1) as f64;
                let mean = values.iter().copied().map(secs).sum::<f64>() / count;
                let away = |span: &Nanos| (span.as_secs_f64() - mean) * (span.as_secs_f64() - mean);
                (mean, values.iter().map(away).sum::<f64>() / count)
            }
            Self::Quantiles(quantiles) => of_quantiles(quantiles),
            // A scenario with a file that was not read does not pass its checks.
            Self::File(_) => (0.0, 0.0),
        }
    }
}

/// Between two quantiles it is uniform.
fn of_quantiles(quantiles: &[(f64, Nanos)]) -> (f64, f64) {
    let (mut mean, mut square) = (0.0, 0.0);
    for pair in quantiles.windows(2) {
        let [(from, low), (to, high)] = pair else { continue };
        let (low, high) = (low.as_secs_f64(), high.as_secs_f64());
        mean += (to - from) * (low + high) / 2.0;
        square += (to - from) * (low * low + low * high + high * high) / 3.0;
    }
    (mean, (square - mean * mean).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moments_are_those_of_the_textbook() {
        let ms = Nanos::from_millis;
        let uniform = [(0.0, ms(0)), (0.5, ms(6)), (1.0, ms(12))];
        let rows = [
            (Distribution::Fixed(ms(5)), 5.0, 0.0),
            (Distribution::Uniform(ms(0), ms(12)), 6.0, 12.0),
            (Distribution::Quantiles(uniform.into()), 6.0, 12.0),
            (Distribution::Exponential { mean: ms(7) }, 7.0, 49.0),
            (Distribution::Values([ms(1), ms(3)].into()), 2.0, 1.0),
            (Distribution::Values([].into()), 0.0, 0.0),
            (Distribution::Lognormal { median: ms(9), p99: ms(9) }, 9.0, 0.0),
        ];
        for (distribution, mean, variance) in rows {
            let known = distribution.moments();
            let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
            assert!(near(known.0 * 1e3, mean) && near(known.1 * 1e6, variance), "{known:?}");
        }
    }

    #[test]
    fn the_moments_of_a_lognormal_are_those_of_its_quantiles() {
        let lognormal =
            Distribution::Lognormal { median: Nanos::from_millis(10), p99: Nanos::from_millis(40) };
        let (mean, variance) = lognormal.moments();
        let draws = 200_000;
        let at = |draw: u32| lognormal.quantile((f64::from(draw) + 0.5) / f64::from(draws));
        let (sum, square) = (0..draws)
            .map(|draw| at(draw).as_secs_f64())
            .fold((0.0, 0.0), |(sum, square), draw| (sum + draw, square + draw * draw));
        let sampled = sum / f64::from(draws);
        assert!((sampled / mean - 1.0).abs() < 1e-3, "{sampled} {mean}");
        let spread = square / f64::from(draws) - sampled * sampled;
        assert!((spread / variance - 1.0).abs() < 1e-2, "{spread} {variance}");
    }
}
