//! Durations in the form `250us`, `5ms`, `2s`, `1m30s`, and distributions of them.

use std::time::Duration;

use rand_core::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Why a duration or distribution could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseError {
    /// What was written.
    pub text: String,
    /// What was expected, with an example.
    pub expected: &'static str,
}

/// Reads `250us`, `5ms`, `2s`, `1m30s`, `1h`; `0` needs no unit.
///
/// # Errors
/// If it is malformed or longer than a day.
pub fn parse(text: &str) -> Result<Duration, ParseError> {
    let error = || ParseError {
        text: text.into(),
        expected: "a duration of at most 24h; write it like 5ms, 2s or 1m30s",
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut total, mut rest) = (0.0f64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let number: f64 = rest[..digits].parse().map_err(|_| error())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(error()),
        };
        rest = &rest[letters..];
        total += number * unit;
    }
    if text.is_empty() || total > 86_400.0 {
        Err(error())
    } else {
        Ok(Duration::from_secs_f64(total))
    }
}

/// A distribution of durations.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Fixed(Duration),
    /// Exponential with this mean.
    Exponential(Duration),
    /// Lognormal by its median and 99th percentile.
    Lognormal(Duration, Duration),
    /// Uniform between two ends.
    Uniform(Duration, Duration),
    /// One of these, all as likely.
    Values(Vec<Duration>),
    /// Given by quantiles, from 0 to 1 and ascending; in a straight line between two of them.
    Quantiles(Vec<(f64, Duration)>),
}

/// The standard normal's 99th percentile.
const NORMAL_P99: f64 = 2.326_347_874_040_841;
/// No draw is longer: the longest wait that a request may ask for.
const LONGEST: Duration = Duration::from_secs(600);

impl std::str::FromStr for Distribution {
    type Err = ParseError;

    /// Reads `12ms`, `uniform:0ms:20ms`, `exponential:12ms`, `lognormal:12ms:60ms`,
    /// `values:8ms:9ms:30ms` or `quantiles:0=5ms:0.5=8ms:1=40ms`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError {
            text: text.into(),
            expected: "a distribution; write it like 12ms, exponential:12ms or lognormal:12ms:60ms",
        };
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [fixed] => parse(fixed).map(Self::Fixed),
            ["exponential", mean] => parse(mean).map(Self::Exponential),
            ["uniform", low, high] => {
                let (low, high) = (parse(low)?, parse(high)?);
                if low <= high { Ok(Self::Uniform(low, high)) } else { Err(error()) }
            }
            ["lognormal", median, p99] => {
                let (median, p99) = (parse(median)?, parse(p99)?);
                let is_sound = !median.is_zero() && p99 >= median;
                if is_sound { Ok(Self::Lognormal(median, p99)) } else { Err(error()) }
            }
            ["values", ref values @ ..] if !values.is_empty() => {
                values.iter().map(|value| parse(value)).collect::<Result<_, _>>().map(Self::Values)
            }
            ["quantiles", ref pairs @ ..] => {
                quantiles(pairs).map(Self::Quantiles).ok_or_else(error)
            }
            _ => Err(error()),
        }
    }
}

fn quantiles(pairs: &[&str]) -> Option<Vec<(f64, Duration)>> {
    let pair = |text: &&str| {
        let (share, span) = text.split_once('=')?;
        Some((share.parse().ok()?, parse(span).ok()?))
    };
    let found: Vec<(f64, Duration)> = pairs.iter().map(pair).collect::<Option<_>>()?;
    let ascends = found.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
    let ends = (found.first()?.0, found.last()?.0);
    (ascends && ends == (0.0, 1.0)).then_some(found)
}

/// The quantile `q`, in a straight line between those that are given, in seconds.
fn between(quantiles: &[(f64, Duration)], q: f64) -> f64 {
    let behind = quantiles.partition_point(|(share, _)| *share <= q);
    match (quantiles.get(behind.wrapping_sub(1)), quantiles.get(behind)) {
        (Some((below, low)), Some((above, high))) => {
            let part = (q - below) / (above - below);
            low.as_secs_f64() + (*high - *low).as_secs_f64() * part
        }
        (known, other) => known.or(other).map_or(0.0, |(_, span)| span.as_secs_f64()),
    }
}

impl Distribution {
    /// One draw.
    pub fn sample(&self, random: &mut Xoshiro256PlusPlus) -> Duration {
        let mut unit = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let drawn = match self {
            Self::Fixed(span) => return *span,
            Self::Uniform(low, high) => low.as_secs_f64() + (*high - *low).as_secs_f64() * unit(),
            Self::Values(values) => {
                let place = (unit() * values.len() as f64) as usize;
                values[place.min(values.len() - 1)].as_secs_f64()
            }
            Self::Quantiles(known) => between(known, unit()),
            Self::Exponential(mean) => -mean.as_secs_f64() * (-unit()).ln_1p(),
            Self::Lognormal(median, p99) => {
                let normal =
                    (-2.0 * (-unit()).ln_1p()).sqrt() * (std::f64::consts::TAU * unit()).cos();
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / NORMAL_P99;
                median.as_secs_f64() * (sigma * normal).exp()
            }
        };
        Duration::from_secs_f64(drawn.min(LONGEST.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    #[test]
    fn durations_are_read() {
        for (text, micros) in
            [("0", 0), ("250us", 250), ("5ms", 5_000), ("1m30s", 90_000_000), ("1.5s", 1_500_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "5", "-1s", "1x", "s", "25h", "NaNs", "99999999999999999999h", "1..5s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn distributions_have_their_quantiles() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let lognormal: Distribution = "lognormal:12ms:60ms".parse().expect("a distribution");
        let mut draws: Vec<Duration> = (0..50_000).map(|_| lognormal.sample(&mut random)).collect();
        draws.sort_unstable();
        assert!((draws[25_000].as_secs_f64() / 0.012 - 1.0).abs() < 0.03);
        assert!((draws[49_500].as_secs_f64() / 0.060 - 1.0).abs() < 0.08);
        for text in
            ["lognormal:60ms:12ms", "uniform:2s:1s", "gamma:1s", "exponential", "lognormal:0:1s"]
        {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_was_measured_is_drawn_as_it_was() {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut draws = |text: &str| {
            let drawn: Distribution = text.parse().expect("a distribution");
            let mut draws: Vec<Duration> = (0..20_000).map(|_| drawn.sample(&mut random)).collect();
            draws.sort_unstable();
            [draws[5_000], draws[10_100], draws[18_000], draws[19_999]].map(|at| at.as_secs_f64())
        };
        let near = |found: [f64; 4], known: [f64; 4]| {
            let is_near =
                found.iter().zip(known).all(|(found, known)| (found / known - 1.0).abs() < 0.05);
            assert!(is_near, "{found:?} is not {known:?}");
        };
        near(draws("values:8ms:20ms:8ms:12ms"), [0.008, 0.012, 0.02, 0.02]);
        near(draws("quantiles:0=2ms:0.9=11ms:1=100ms"), [0.0045, 0.00705, 0.011, 0.1]);
        for text in [
            "values",
            "values:",
            "values:1x",
            "quantiles",
            "quantiles:0=1ms",
            "quantiles:0=1ms:0.9=2ms",
            "quantiles:0.1=1ms:1=2ms",
            "quantiles:0=3ms:1=2ms",
            "quantiles:0=1ms:0=2ms:1=2ms",
            "quantiles:0:1",
        ] {
            assert!(text.parse::<Distribution>().is_err(), "{text}");
        }
    }
}
