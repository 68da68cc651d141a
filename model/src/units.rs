//! Kubernetes quantities and rates as integers with their unit in the type.

use alloc::{borrow::Cow, format, string::String, string::ToString};
use core::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Reads a YAML scalar as text, whether it was written as text or as a number.
///
/// # Errors
/// What the deserializer says of anything that is neither.
pub fn deserialize_scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Scalar;
    impl de::Visitor<'_> for Scalar {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text or a number")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_string())
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    deserializer.deserialize_any(Scalar)
}

/// Why a quantity, rate or percentage could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseUnitError {
    /// What was written.
    pub text: String,
    /// What was expected, with an example.
    pub expected: &'static str,
}

macro_rules! text_type {
    ($type:ident, $name:literal, $pattern:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_scalar(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": ["string", "number"],
                    "pattern": $pattern,
                    "description": $description
                })
            }
        }
    };
}

/// Requests per second; finite, not negative, at most 10 million.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct RatePerSec(pub f64);

/// The highest rate that a scenario may ask for, per second. Above any single generator's reach;
/// it keeps counts and schedules inside integers.
pub const RATE_PER_SEC_MAX: f64 = 10_000_000.0;

impl FromStr for RatePerSec {
    type Err = ParseUnitError;

    /// Reads `50/s`, `3000/m`, `7200/h` or a bare number per second.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUnitError {
            text: text.into(),
            expected: "a rate between 0/s and 10000000/s; write it like 50/s or 3000/m",
        };
        let (number, divisor) = match text.trim().split_once('/') {
            None => (text.trim(), 1.0),
            Some((number, "s")) => (number, 1.0),
            Some((number, "m")) => (number, 60.0),
            Some((number, "h")) => (number, 3600.0),
            Some(_) => return Err(error()),
        };
        let rate = number.trim().parse::<f64>().map_err(|_| error())? / divisor;
        if (0.0..=RATE_PER_SEC_MAX).contains(&rate) { Ok(Self(rate)) } else { Err(error()) }
    }
}

impl fmt::Display for RatePerSec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

text_type!(
    RatePerSec,
    "Rate",
    r"^[0-9.]+(/[smh])?$",
    "Requests per second, such as 50/s or 3000/m"
);

/// CPU in thousandths of a core, as Kubernetes counts it (`100m`, `0.5`, `2`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MilliCpu(pub u64);

impl FromStr for MilliCpu {
    type Err = ParseUnitError;

    /// Rounds up to whole thousandths, as a Kubernetes quantity does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUnitError {
            text: text.into(),
            expected: "a CPU quantity; write it like 100m, 0.5 or 2",
        };
        let trimmed = text.trim();
        let (number, factor) = match trimmed.strip_suffix('m') {
            Some(number) => (number, 1.0),
            None => (trimmed, 1000.0),
        };
        let milli = libm::ceil(number.parse::<f64>().map_err(|_| error())? * factor - 1e-6);
        if (0.0..1e12).contains(&milli) { Ok(Self(milli as u64)) } else { Err(error()) }
    }
}

impl fmt::Display for MilliCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

text_type!(MilliCpu, "Cpu", r"^[0-9.]+m?$", "A CPU quantity such as 100m or 0.5");

/// A number of bytes (`512`, `64Ki`, `1Gi`, `10M`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl FromStr for Bytes {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUnitError {
            text: text.into(),
            expected: "a number of bytes; write it like 512, 64Ki or 1Gi",
        };
        let trimmed = text.trim();
        let (number, unit) = BYTE_UNITS
            .iter()
            .find_map(|(suffix, unit)| Some((trimmed.strip_suffix(suffix)?, *unit)))
            .unwrap_or((trimmed, 1));
        let bytes = number.parse::<f64>().map_err(|_| error())? * unit as f64;
        if (0.0..9e18).contains(&bytes) { Ok(Self(bytes as u64)) } else { Err(error()) }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = BYTE_UNITS[..4]
            .iter()
            .find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        match unit {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

text_type!(Bytes, "Bytes", r"^[0-9.]+([kMGT]|[KMGT]i)?$", "A number of bytes such as 64Ki");

/// A count, or a percentage of another one, as in `maxSurge: 25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    /// A count.
    Int(u32),
    /// A percentage, 0 and up.
    Percent(u32),
}

impl IntOrPercent {
    /// The count, with a percentage of `whole` rounded up. Source: `intstr.GetScaledValueFromIntOrPercent`.
    pub fn resolve_up(self, whole: u32) -> u32 {
        match self {
            Self::Int(count) => count,
            Self::Percent(percent) => {
                clamp_u32((u64::from(percent) * u64::from(whole)).div_ceil(100))
            }
        }
    }

    /// The count, with a percentage of `whole` rounded down. Source: as [`Self::resolve_up`].
    pub fn resolve_down(self, whole: u32) -> u32 {
        match self {
            Self::Int(count) => count,
            Self::Percent(percent) => clamp_u32(u64::from(percent) * u64::from(whole) / 100),
        }
    }
}

fn clamp_u32(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl FromStr for IntOrPercent {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |_| ParseUnitError {
            text: text.into(),
            expected: "a count or a percentage; write it like 1 or 25%",
        };
        match text.trim().strip_suffix('%') {
            Some(percent) => percent.parse().map(Self::Percent).map_err(error),
            None => text.trim().parse().map(Self::Int).map_err(error),
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for IntOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(count) => serializer.serialize_u32(*count),
            Self::Percent(percent) => serializer.serialize_str(&format!("{percent}%")),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_scalar(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "pattern": r"^[0-9]+%?$", "minimum": 0})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, milli) in [("100m", 100), ("0.5", 500), ("2", 2000), ("0.0001", 1), ("0", 0)] {
            assert_eq!(text.parse(), Ok(MilliCpu(milli)), "{text}");
        }
        for (text, bytes) in [("512", 512), ("64Ki", 65_536), ("1Gi", 1 << 30), ("10M", 10_000_000)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "-1", "m", "1q", "NaN", "inf"] {
            assert!(text.parse::<MilliCpu>().is_err(), "{text}");
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_finite_and_bounded() {
        assert_eq!("50/s".parse(), Ok(RatePerSec(50.0)));
        assert_eq!("3000/m".parse(), Ok(RatePerSec(50.0)));
        assert_eq!("7".parse(), Ok(RatePerSec(7.0)));
        for text in ["-1/s", "NaN", "inf/s", "1e300/s", "5/d", "", "/s"] {
            assert!(text.parse::<RatePerSec>().is_err(), "{text}");
        }
    }

    #[test]
    fn surge_rounds_up_and_unavailable_down() {
        let quarter = IntOrPercent::Percent(25);
        for (replicas, surge, unavailable) in
            [(1, 1, 0), (4, 1, 1), (5, 2, 1), (10, 3, 2), (100, 25, 25)]
        {
            assert_eq!(
                (quarter.resolve_up(replicas), quarter.resolve_down(replicas)),
                (surge, unavailable)
            );
        }
        assert_eq!("3".parse(), Ok(IntOrPercent::Int(3)));
        assert!("-1%".parse::<IntOrPercent>().is_err());
    }
}
