//! Integer time: nanoseconds since the start of the run, and spans of nanoseconds.

use alloc::{borrow::Cow, format, string::String};
use core::{fmt, ops, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanoseconds in one second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in one millisecond.
pub const MILLISECOND: u64 = 1_000_000;

/// An instant: nanoseconds since the start of the run.
///
/// Serialised as an integer. A run may last 584 years before it overflows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A span of time in nanoseconds.
///
/// Written in scenarios as `250us`, `5ms`, `2s`, `1m30s`, `1h`; serialised in that form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Timestamp {
    /// The start of the run.
    pub const ZERO: Self = Self(0);
    /// Later than any instant of a run.
    pub const MAX: Self = Self(u64::MAX);

    /// The span from `earlier` to `self`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// Seconds since the start of the run.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }

    /// The whole second that this instant lies in.
    pub const fn second(self) -> u64 {
        self.0 / SECOND
    }
}

impl ops::Add<Nanos> for Timestamp {
    type Output = Self;

    /// Saturates at [`Timestamp::MAX`].
    fn add(self, span: Nanos) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl ops::Add for Nanos {
    type Output = Self;

    /// Saturates.
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of whole seconds; saturates.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    /// A span of whole milliseconds; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(MILLISECOND))
    }

    /// A span of `seconds`, rounded to nanoseconds; negative, NaN and endless become zero or the
    /// largest span.
    pub fn from_secs_f64(seconds: f64) -> Self {
        Self((seconds * SECOND as f64 + 0.5) as u64)
    }

    /// Seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }

    /// Milliseconds.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / MILLISECOND as f64
    }

    /// The span as the standard library has it.
    pub const fn to_std(self) -> core::time::Duration {
        core::time::Duration::from_nanos(self.0)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 6] = [
            (3600 * SECOND, "h"),
            (60 * SECOND, "m"),
            (SECOND, "s"),
            (MILLISECOND, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, name) in UNITS {
            if rest >= unit {
                write!(f, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        Ok(())
    }
}

/// Why a duration could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNanosError {
    /// Nothing was given.
    #[error("a duration is empty; write it like 250ms, 5s or 1m30s")]
    Empty,
    /// A number was expected and something else was found.
    #[error("`{0}` is not a duration; write it like 250ms, 5s or 1m30s")]
    Malformed(String),
    /// A number without a unit.
    #[error("`{0}` has no unit; write it like 250ms, 5s or 1m30s")]
    NoUnit(String),
    /// Longer than can be counted (584 years).
    #[error("`{0}` is longer than can be counted")]
    TooLong(String),
}

impl FromStr for Nanos {
    type Err = ParseNanosError;

    /// Reads `1h2m3s4ms5us6ns` in any order of units, with decimal fractions (`1.5s`); `0` alone
    /// needs no unit.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(ParseNanosError::Empty);
        }
        if trimmed == "0" {
            return Ok(Self::ZERO);
        }
        let malformed = || ParseNanosError::Malformed(text.into());
        let mut total: u64 = 0;
        let mut rest = trimmed;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            if digits == 0 {
                return Err(malformed());
            }
            let number = &rest[..digits];
            rest = &rest[digits..];
            let letters =
                rest.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(rest.len());
            let unit: u64 = match &rest[..letters] {
                "" => return Err(ParseNanosError::NoUnit(text.into())),
                "h" => 3600 * SECOND,
                "m" => 60 * SECOND,
                "s" => SECOND,
                "ms" => MILLISECOND,
                "us" | "µs" => 1_000,
                "ns" => 1,
                _ => return Err(malformed()),
            };
            rest = &rest[letters..];
            let part = scale(number, unit).ok_or_else(malformed)?;
            total = part
                .and_then(|part| total.checked_add(part))
                .ok_or_else(|| ParseNanosError::TooLong(text.into()))?;
        }
        Ok(Self(total))
    }
}

/// `number` (decimal digits with at most one point) times `unit`. `None` if malformed,
/// `Some(None)` on overflow.
fn scale(number: &str, unit: u64) -> Option<Option<u64>> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let Some(whole) = parse_digits(whole).and_then(|whole| whole.checked_mul(unit)) else {
        return Some(None);
    };
    let (mut sum, mut place) = (0u64, unit);
    for digit in fraction.bytes() {
        place /= 10;
        sum += u64::from(digit - b'0') * place;
    }
    Some(whole.checked_add(sum))
}

fn parse_digits(digits: &str) -> Option<u64> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok() }
}

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::units::deserialize_scalar(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Nanos {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^([0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns))+$|^0$",
            "description": "A duration such as 250ms, 5s or 1m30s"
        })
    }
}

/// A span as people read it: three significant digits and one unit.
pub fn human(span: Nanos) -> String {
    let ns = span.0 as f64;
    let (value, unit) = match span.0 {
        0..1_000 => return format!("{} ns", span.0),
        1_000..MILLISECOND => (ns / 1e3, "µs"),
        MILLISECOND..SECOND => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn durations_are_read_and_written() {
        let rows = [
            ("0", 0, "0s"),
            ("250us", 250_000, "250us"),
            ("5ms", 5 * MILLISECOND, "5ms"),
            ("1m30s", 90 * SECOND, "1m30s"),
            ("1.5s", 1_500 * MILLISECOND, "1s500ms"),
            ("2h", 7200 * SECOND, "2h"),
        ];
        for (text, ns, written) in rows {
            assert_eq!(text.parse(), Ok(Nanos(ns)), "{text}");
            assert_eq!(Nanos(ns).to_string(), written);
            assert_eq!(written.parse(), Ok(Nanos(ns)));
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_reason() {
        assert_eq!("".parse::<Nanos>(), Err(ParseNanosError::Empty));
        for text in ["-1s", "s", "1x", "1s2", "1..2s", ".s", "NaN", "inf"] {
            assert!(text.parse::<Nanos>().is_err(), "{text}");
        }
        assert_eq!("5".parse::<Nanos>(), Err(ParseNanosError::NoUnit("5".into())));
        let endless = "99999999999999999999s";
        assert_eq!(endless.parse::<Nanos>(), Err(ParseNanosError::TooLong(endless.into())));
        let sum = "5000000h5000000h";
        assert_eq!(sum.parse::<Nanos>(), Err(ParseNanosError::TooLong(sum.into())));
    }
}
