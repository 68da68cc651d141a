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
}

/// The standard normal's 99th percentile.
const NORMAL_P99: f64 = 2.326_347_874_040_841;
/// No draw is longer: the longest wait that a request may ask for.
const LONGEST: Duration = Duration::from_secs(600);

impl std::str::FromStr for Distribution {
    type Err = ParseError;

    /// Reads `12ms`, `uniform:0ms:20ms`, `exponential:12ms` or `lognormal:12ms:60ms`.
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
            _ => Err(error()),
        }
    }
}

impl Distribution {
    /// One draw.
    pub fn sample(&self, random: &mut Xoshiro256PlusPlus) -> Duration {
        let mut unit = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let drawn = match self {
            Self::Fixed(span) => return *span,
            Self::Uniform(low, high) => low.as_secs_f64() + (*high - *low).as_secs_f64() * unit(),
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
}
