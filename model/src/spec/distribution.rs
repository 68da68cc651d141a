//! Distributions of durations.

mod moments;

use alloc::{borrow::Cow, string::String, sync::Arc, vec::Vec};
use core::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use crate::{rng::Stream, time::Nanos};

/// The most values or quantiles of a distribution: they also go through command lines.
pub const VALUES_MAX: usize = 1001;

/// A distribution of durations: `12ms`, `{uniform: [0s, 2s]}`, `{exponential: {mean: 12ms}}`,
/// `{lognormal: {median: 12ms, p99: 60ms}}`, `{values: [8ms, 9ms, 30ms]}`,
/// `{quantiles: [[0, 5ms], [0.5, 8ms], [1, 40ms]]}` or `{file: latencies.csv}`.
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
    /// One of these, all as likely.
    Values(Arc<[Nanos]>),
    /// Given by quantiles, from 0 to 1 and ascending; in a straight line between two of them.
    Quantiles(Arc<[(f64, Nanos)]>),
    /// To be read of a file before it is used: it then is one of the two above.
    File(ValuesFile),
}

/// A file with a value a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValuesFile {
    /// Where it is.
    pub path: String,
    /// The column of the values, by its name in the first line; the first one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

/// A distribution, prepared for draws.
#[derive(Clone, Debug, PartialEq)]
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
    /// One of these.
    Values(Arc<[Nanos]>),
    /// Of these, in a straight line between two.
    Quantiles(Arc<[(f64, Nanos)]>),
}

impl Sampler {
    /// One draw.
    pub fn sample(&self, stream: &mut Stream) -> Nanos {
        match self {
            Self::Fixed(span) => *span,
            Self::Uniform { low, width } => Nanos(low + stream.below(*width)),
            Self::Exponential { mean } => exponential(*mean, stream),
            Self::Lognormal { median, sigma } => lognormal(*median, *sigma, stream),
            Self::Values(values) => values[stream.below(values.len() as u64) as usize],
            Self::Quantiles(quantiles) => between(quantiles, stream.unit()),
        }
    }
}

#[inline]
fn exponential(mean: f64, stream: &mut Stream) -> Nanos {
    Nanos((mean * stream.exponential()) as u64)
}

#[inline]
fn lognormal(median: f64, sigma: f64, stream: &mut Stream) -> Nanos {
    Nanos((median * stream.lognormal(sigma)) as u64)
}

/// So many draws are made at a time.
const BLOCK: usize = 32;

/// The draws of one stream, made in blocks: that is faster than one by one.
#[derive(Clone, Debug)]
pub struct Draws {
    /// All of them, if they are the same.
    fixed: Option<Nanos>,
    sampler: Sampler,
    stream: Stream,
    block: Vec<Nanos>,
    place: usize,
}

impl Draws {
    /// All that the stream gives.
    pub fn new(sampler: Sampler, stream: Stream) -> Self {
        let fixed = match sampler {
            Sampler::Fixed(span) => Some(span),
            _ => None,
        };
        Self { fixed, sampler, stream, block: Vec::new(), place: 0 }
    }

    /// The next one: what [`Sampler::sample`] would give.
    #[inline]
    pub fn draw(&mut self) -> Nanos {
        if let Some(span) = self.fixed {
            return span;
        }
        if self.place == self.block.len() {
            self.fill();
        }
        let drawn = self.block[self.place];
        self.place += 1;
        drawn
    }

    #[inline(never)]
    fn fill(&mut self) {
        let mut stream = self.stream.clone();
        self.block.clear();
        match self.sampler {
            // Written out, as most are of these two kinds.
            Sampler::Exponential { mean } => {
                self.block.extend((0..BLOCK).map(|_| exponential(mean, &mut stream)));
            }
            Sampler::Lognormal { median, sigma } => {
                self.block.extend((0..BLOCK).map(|_| lognormal(median, sigma, &mut stream)));
            }
            _ => self.block.extend((0..BLOCK).map(|_| self.sampler.sample(&mut stream))),
        }
        self.stream = stream;
        self.place = 0;
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
            Self::Values(values) if values.is_empty() => Sampler::Fixed(Nanos::ZERO),
            Self::Values(values) => Sampler::Values(values.clone()),
            Self::Quantiles(quantiles) => Sampler::Quantiles(quantiles.clone()),
            // A scenario with a file that was not read does not pass its checks.
            Self::File(_) => Sampler::Fixed(Nanos::ZERO),
        }
    }

    /// The largest draw possible; `None` for distributions without an end.
    pub fn upper_bound(&self) -> Option<Nanos> {
        match self {
            Self::Fixed(span) => Some(*span),
            Self::Uniform(_, high) => Some(*high),
            Self::Values(values) => values.iter().max().copied(),
            Self::Quantiles(quantiles) => quantiles.last().map(|(_, span)| *span),
            Self::Exponential { .. } | Self::Lognormal { .. } | Self::File(_) => None,
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
            Self::Values(values) => {
                let mut values = values.to_vec();
                values.sort_unstable();
                let place = (values.len() as f64 * q) as usize;
                values.get(place).or(values.last()).copied().unwrap_or_default()
            }
            Self::Quantiles(quantiles) => between(quantiles, q),
            Self::File(_) => Nanos::ZERO,
        }
    }

    /// What a file's values make: themselves, if they are [`VALUES_MAX`] at most, else as many of
    /// their quantiles, at equal distances. `None` without any.
    pub fn of_values(mut values: Vec<Nanos>) -> Option<Self> {
        let last = values.len().checked_sub(1)?;
        if values.len() <= VALUES_MAX {
            return Some(Self::Values(values.into()));
        }
        values.sort_unstable();
        let steps = VALUES_MAX - 1;
        let at = |step: usize| (step as f64 / steps as f64, values[last * step / steps]);
        Some(Self::Quantiles((0..=steps).map(at).collect()))
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
            Self::Values(values) if values.is_empty() => Some("there is no value"),
            Self::Values(values) if values.len() > VALUES_MAX => {
                Some("there are more than 1001 values; give their quantiles, or a file")
            }
            Self::Quantiles(quantiles) => quantiles_problem(quantiles),
            _ => None,
        }
    }
}

fn quantiles_problem(quantiles: &[(f64, Nanos)]) -> Option<&'static str> {
    let ends = (quantiles.first().map(|one| one.0), quantiles.last().map(|one| one.0));
    if quantiles.len() > VALUES_MAX {
        return Some("there are more than 1001 quantiles");
    }
    if ends != (Some(0.0), Some(1.0)) {
        return Some("quantiles begin with that of 0 and end with that of 1");
    }
    let ascend = |pair: &[(f64, Nanos)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
    (!quantiles.windows(2).all(ascend)).then_some("quantiles must ascend")
}

/// The quantile `q`, in a straight line between those that are given.
fn between(quantiles: &[(f64, Nanos)], q: f64) -> Nanos {
    let behind = quantiles.partition_point(|(share, _)| *share <= q);
    match (quantiles.get(behind.wrapping_sub(1)), quantiles.get(behind)) {
        (Some((below, low)), Some((above, high))) => {
            let part = (q - below) / (above - below);
            Nanos(low.0 + ((high.0 - low.0) as f64 * part) as u64)
        }
        (Some((_, last)), None) => *last,
        (None, first) => first.map_or(Nanos::ZERO, |(_, span)| *span),
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
            Self::Values(values) => write!(f, "one of {} values", values.len()),
            Self::Quantiles(quantiles) => write!(f, "of {} quantiles", quantiles.len()),
            Self::File(file) => write!(f, "as in {}", file.path),
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
            Self::Values(values) => map.serialize_entry("values", &values[..])?,
            Self::Quantiles(quantiles) => map.serialize_entry("quantiles", &quantiles[..])?,
            Self::File(file) => map.serialize_entry("file", file)?,
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

const SHAPES: &[&str] = &["uniform", "exponential", "lognormal", "values", "quantiles", "file"];

impl<'de> de::Visitor<'de> for DistributionVisitor {
    type Value = Distribution;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a duration such as 12ms, or one of uniform, exponential, lognormal, values, quantiles \
             and file",
        )
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
            de::Error::custom(
                "one of uniform, exponential, lognormal, values, quantiles and file is missing",
            )
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
            "values" => Distribution::Values(map.next_value::<Vec<Nanos>>()?.into()),
            "quantiles" => Distribution::Quantiles(map.next_value::<Vec<(f64, Nanos)>>()?.into()),
            "file" => Distribution::File(map.next_value()?),
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
        let file = generator.subschema_for::<ValuesFile>();
        let pairs = generator.subschema_for::<Vec<(f64, Nanos)>>();
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
                {"type": "object", "additionalProperties": false, "required": ["values"], "properties": {
                    "values": {"type": "array", "items": duration, "minItems": 1, "maxItems": VALUES_MAX}}},
                {"type": "object", "additionalProperties": false, "required": ["quantiles"], "properties": {
                    "quantiles": pairs}},
                {"type": "object", "additionalProperties": false, "required": ["file"], "properties": {
                    "file": file}},
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Distribution, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// All that can be drawn from.
    const DRAWN: [&str; 6] = [
        r#""12ms""#,
        r#"{"uniform":["0s","2s"]}"#,
        r#"{"exponential":{"mean":"12ms"}}"#,
        r#"{"lognormal":{"median":"12ms","p99":"60ms"}}"#,
        r#"{"values":["12ms","8ms","8ms"]}"#,
        r#"{"quantiles":[[0.0,"0s"],[0.5,"8ms"],[1.0,"40ms"]]}"#,
    ];

    #[test]
    fn every_shape_is_read_and_written_back() {
        let file = r#"{"file":{"path":"latency.csv","column":"ms"}}"#;
        for json in DRAWN.into_iter().chain([file]) {
            let distribution = read(json).expect(json);
            assert_eq!(serde_json::to_string(&distribution).expect("serialises"), json);
        }
    }

    #[test]
    fn draws_in_blocks_are_those_one_by_one() {
        for json in DRAWN {
            let sampler = read(json).expect(json).sampler();
            let mut stream = Stream::new(5, json);
            let mut draws = Draws::new(sampler.clone(), stream.clone());
            // Some of them from the edges of the ziggurat's layers.
            for draw in 0..3_000 {
                assert_eq!(draws.draw(), sampler.sample(&mut stream), "{json}: {draw}");
            }
        }
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        for json in [
            r#"{"uniform":["2s","0s"]}"#,
            r#"{"exponential":{"mean":"0s"}}"#,
            r#"{"lognormal":{"median":"60ms","p99":"12ms"}}"#,
            r#"{"gamma":{}}"#,
            r#"{"values":[]}"#,
            r#"{"values":["1ms",2]}"#,
            r#"{"quantiles":[[0.1,"0s"],[1,"8ms"]]}"#,
            r#"{"quantiles":[[0,"0s"],[0.9,"8ms"]]}"#,
            r#"{"quantiles":[[0,"0s"],[0.5,"9ms"],[1,"8ms"]]}"#,
            r#"{"quantiles":[[0,"0s"],[0.5,"1ms"],[0.5,"2ms"],[1,"8ms"]]}"#,
            r#"{"quantiles":[]}"#,
            r#"{"file":"latency.csv"}"#,
            r#"{}"#,
            r#"{"exponential":{"mean":"1s"},"uniform":["0s","1s"]}"#,
            r#""fast""#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn draws_of_what_was_measured_are_as_that_was() {
        let mut stream = Stream::new(5, "draws");
        let values = read(r#"{"values":["12ms","8ms","8ms","20ms"]}"#).expect("values");
        let sampler = values.sampler();
        let draws: Vec<u64> = (0..40_000).map(|_| sampler.sample(&mut stream).0).collect();
        let eights = draws.iter().filter(|draw| **draw == 8_000_000).count();
        assert!(eights.abs_diff(20_000) < 500, "half of them: {eights}");
        assert_eq!(values.upper_bound(), Some(Nanos::from_millis(20)));
        let quantiles = read(r#"{"quantiles":[[0,"2ms"],[0.9,"11ms"],[1,"100ms"]]}"#);
        let sampler = quantiles.expect("quantiles").sampler();
        let mut draws: Vec<u64> = (0..100_000).map(|_| sampler.sample(&mut stream).0).collect();
        draws.sort_unstable();
        for (place, ms) in [(45_000, 6.5), (81_000, 10.1), (95_000, 55.5)] {
            assert!((draws[place] as f64 / 1e6 / ms - 1.0).abs() < 0.03, "{}", draws[place]);
        }
        assert!(draws[0] >= 2_000_000 && draws[99_999] <= 100_000_000);
    }

    #[test]
    fn many_values_become_quantiles_and_few_stay_themselves() {
        let few: Vec<Nanos> = (0..1001).rev().map(Nanos).collect();
        assert_eq!(Distribution::of_values(few.clone()), Some(Distribution::Values(few.into())));
        let many = Distribution::of_values((0..50_001).map(Nanos).collect()).expect("many");
        assert_eq!(many.problem(), None);
        for q in [0.0, 0.001, 0.25, 0.5004, 0.9999, 1.0] {
            assert!(many.quantile(q).0.abs_diff((50_000.0 * q) as u64) <= 1, "{q}");
        }
        assert_eq!(Distribution::of_values(Vec::new()), None);
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
