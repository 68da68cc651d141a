//! Distributions of durations.

use alloc::{borrow::Cow, string::String};
use core::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use crate::{rng::Stream, time::Nanos};

/// A distribution of durations: `12ms`, `{uniform: [0s, 2s]}`, `{exponential: {mean: 12ms}}` or
/// `{lognormal: {median: 12ms, p99: 60ms}}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Fixed(Nanos),
    /// Uniform between two ends, both included.
    Uniform(Nanos, Nanos),
    /// Exponential with this mean.
    Exponential {
        /// The mean.
        mean: Nanos,
    },
    /// Lognormal, given by two of its quantiles.
    Lognormal {
        /// The median.
        median: Nanos,
        /// The 99th percentile.
        p99: Nanos,
    },
}

/// A distribution, prepared for draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// Always the same.
    Fixed(Nanos),
    /// Uniform: the least, and how many there are from it on. Nanoseconds.
    Uniform {
        /// The least.
        low: u64,
        /// How many.
        width: u64,
    },
    /// Exponential.
    Exponential {
        /// Nanoseconds.
        mean: f64,
    },
    /// Lognormal.
    Lognormal {
        /// Nanoseconds.
        median: f64,
        /// Of the logarithm.
        sigma: f64,
    },
}

impl Sampler {
    /// One draw.
    pub fn sample(&self, stream: &mut Stream) -> Nanos {
        match *self {
            Self::Fixed(span) => span,
            Self::Uniform { low, width } => Nanos(low + stream.below(width)),
            Self::Exponential { mean } => Nanos((mean * stream.exponential()) as u64),
            Self::Lognormal { median, sigma } => Nanos((median * stream.lognormal(sigma)) as u64),
        }
    }
}

/// The standard normal's 99th percentile.
const NORMAL_P99: f64 = 2.326_347_874_040_841;

impl Default for Distribution {
    fn default() -> Self {
        Self::Fixed(Nanos::ZERO)
    }
}

impl Distribution {
    /// One draw.
    pub fn sample(&self, stream: &mut Stream) -> Nanos {
        self.sampler().sample(stream)
    }

    /// For many draws: what is the same for all of them is calculated once.
    pub fn sampler(&self) -> Sampler {
        match self {
            Self::Fixed(span) => Sampler::Fixed(*span),
            Self::Uniform(low, high) => Sampler::Uniform {
                low: low.0,
                width: high.0.saturating_sub(low.0).saturating_add(1),
            },
            Self::Exponential { mean } => Sampler::Exponential { mean: mean.0 as f64 },
            Self::Lognormal { median, p99 } => Sampler::Lognormal {
                median: median.0 as f64,
                sigma: libm::log(p99.0 as f64 / median.0 as f64) / NORMAL_P99,
            },
        }
    }

    /// The largest draw possible; `None` for distributions without an end.
    pub fn upper_bound(&self) -> Option<Nanos> {
        match self {
            Self::Fixed(span) => Some(*span),
            Self::Uniform(_, high) => Some(*high),
            Self::Exponential { .. } | Self::Lognormal { .. } => None,
        }
    }

    /// The quantile `q` in (0, 1).
    pub fn quantile(&self, q: f64) -> Nanos {
        match self {
            Self::Fixed(span) => *span,
            Self::Uniform(low, high) => Nanos(low.0 + ((high.0 - low.0) as f64 * q) as u64),
            Self::Exponential { mean } => Nanos((-(mean.0 as f64) * libm::log1p(-q)) as u64),
            Self::Lognormal { median, p99 } => {
                let sigma = libm::log(p99.0 as f64 / median.0 as f64) / NORMAL_P99;
                Nanos((median.0 as f64 * libm::exp(sigma * normal_quantile(q))) as u64)
            }
        }
    }

    /// Why the numbers make no distribution, if they do not.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Uniform(low, high) if low > high => Some("the lower end is above the upper end"),
            Self::Exponential { mean } if mean.0 == 0 => Some("the mean must be above zero"),
            Self::Lognormal { median, .. } if median.0 == 0 => {
                Some("the median must be above zero")
            }
            Self::Lognormal { median, p99 } if p99 < median => Some("p99 is below the median"),
            _ => None,
        }
    }
}

/// The standard normal quantile by bisection of `erfc`; good to 1e-9, which is far below a
/// nanosecond's share of any span here.
fn normal_quantile(q: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if 0.5 * libm::erfc(-middle / core::f64::consts::SQRT_2) < q {
            low = middle
        } else {
            high = middle
        }
    }
    (low + high) / 2.0
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(span) => write!(f, "{span}"),
            Self::Uniform(low, high) => write!(f, "uniform {low} to {high}"),
            Self::Exponential { mean } => write!(f, "exponential with mean {mean}"),
            Self::Lognormal { median, p99 } => {
                write!(f, "lognormal with median {median} and p99 {p99}")
            }
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Mean {
    mean: Nanos,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Quantiles {
    median: Nanos,
    p99: Nanos,
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::Fixed(span) = self {
            return span.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Fixed(_) => {}
            Self::Uniform(low, high) => map.serialize_entry("uniform", &[low, high])?,
            Self::Exponential { mean } => {
                map.serialize_entry("exponential", &Mean { mean: *mean })?
            }
            Self::Lognormal { median, p99 } => {
                map.serialize_entry("lognormal", &Quantiles { median: *median, p99: *p99 })?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistributionVisitor)
    }
}

struct DistributionVisitor;

const SHAPES: &[&str] = &["uniform", "exponential", "lognormal"];

impl<'de> de::Visitor<'de> for DistributionVisitor {
    type Value = Distribution;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 12ms, or one of uniform, exponential and lognormal")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Distribution, E> {
        text.parse().map(Distribution::Fixed).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Distribution, E> {
        self.visit_str(&alloc::format!("{number}"))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Distribution, E> {
        self.visit_str(&alloc::format!("{number}"))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Distribution, A::Error> {
        let shape: String = map.next_key()?.ok_or_else(|| {
            de::Error::custom("one of uniform, exponential and lognormal is missing")
        })?;
        let distribution = match shape.as_str() {
            "uniform" => {
                let [low, high] = map.next_value::<[Nanos; 2]>()?;
                Distribution::Uniform(low, high)
            }
            "exponential" => Distribution::Exponential { mean: map.next_value::<Mean>()?.mean },
            "lognormal" => {
                let Quantiles { median, p99 } = map.next_value()?;
                Distribution::Lognormal { median, p99 }
            }
            other => return Err(de::Error::unknown_field(other, SHAPES)),
        };
        if let Some(extra) = map.next_key::<String>()? {
            return Err(de::Error::custom(alloc::format!(
                "`{extra}` stands beside `{shape}`; give one shape only"
            )));
        }
        match distribution.problem() {
            Some(problem) => Err(de::Error::custom(problem)),
            None => Ok(distribution),
        }
    }
}

impl JsonSchema for Distribution {
    fn schema_name() -> Cow<'static, str> {
        "Distribution".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let duration = generator.subschema_for::<Nanos>();
        let mean = generator.subschema_for::<Mean>();
        let quantiles = generator.subschema_for::<Quantiles>();
        json_schema!({
            "description": "A duration, or a distribution of durations",
            "anyOf": [
                duration,
                {"type": "object", "additionalProperties": false, "required": ["uniform"], "properties": {
                    "uniform": {"type": "array", "items": duration, "minItems": 2, "maxItems": 2}}},
                {"type": "object", "additionalProperties": false, "required": ["exponential"], "properties": {
                    "exponential": mean}},
                {"type": "object", "additionalProperties": false, "required": ["lognormal"], "properties": {
                    "lognormal": quantiles}},
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn read(json: &str) -> Result<Distribution, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_shape_is_read_and_written_back() {
        let rows = [
            r#""12ms""#,
            r#"{"uniform":["0s","2s"]}"#,
            r#"{"exponential":{"mean":"12ms"}}"#,
            r#"{"lognormal":{"median":"12ms","p99":"60ms"}}"#,
        ];
        for json in rows {
            let distribution = read(json).expect(json);
            assert_eq!(serde_json::to_string(&distribution).expect("serialises"), json);
        }
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        for json in [
            r#"{"uniform":["2s","0s"]}"#,
            r#"{"exponential":{"mean":"0s"}}"#,
            r#"{"lognormal":{"median":"60ms","p99":"12ms"}}"#,
            r#"{"gamma":{}}"#,
            r#"{}"#,
            r#"{"exponential":{"mean":"1s"},"uniform":["0s","1s"]}"#,
            r#""fast""#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn draws_have_the_quantiles_that_were_asked_for() {
        let lognormal =
            Distribution::Lognormal { median: Nanos::from_millis(12), p99: Nanos::from_millis(60) };
        let mut stream = Stream::new(5, "draws");
        let mut draws: Vec<u64> = (0..100_000).map(|_| lognormal.sample(&mut stream).0).collect();
        draws.sort_unstable();
        assert!((draws[50_000] as f64 / 12e6 - 1.0).abs() < 0.02);
        assert!((draws[99_000] as f64 / 60e6 - 1.0).abs() < 0.05);
        assert!((lognormal.quantile(0.99).0 as f64 / 60e6 - 1.0).abs() < 1e-6);
        let uniform = Distribution::Uniform(Nanos(3), Nanos(5));
        assert!((0..1000).all(|_| (3..=5).contains(&uniform.sample(&mut stream).0)));
    }
}
