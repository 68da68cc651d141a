//! What must hold for a run to pass: `{failed: 0}`, `{latency.p99: <250ms, during: [hold-2]}`.

use alloc::{borrow::Cow, format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bounded::{self, Reading};
use crate::time::Nanos;

/// A bound on one measure of a run, over all phases or some.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// What is measured.
    pub measure: Measure,
    /// What it may be.
    pub bound: Bound,
    /// The phases that count; all if empty.
    pub during: Vec<String>,
}

macro_rules! measures {
    ($($variant:ident $name:literal $unit:ident $doc:literal,)*) => {
        /// What an objective can bound.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Measure {
            $(#[doc = $doc] $variant,)*
        }

        impl Measure {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// The keys of all of them.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The key in scenario files.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The unit of its values.
            pub const fn unit(self) -> MeasureUnit {
                match self { $(Self::$variant => MeasureUnit::$unit,)* }
            }
        }
    };
}

/// The unit of a [`Measure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasureUnit {
    /// A count of requests.
    Count,
    /// A share between 0 and 1.
    Share,
    /// A duration in nanoseconds.
    Nanos,
}

measures! {
    Failed "failed" Count "Sent requests that failed.",
    Unsent "unsent" Count "Owed requests that our own limits kept from being sent.",
    Unexplained "unexplained" Count "Failed requests without a cause.",
    ErrorRate "error-rate" Share "Failed requests per sent request.",
    LatencyP50 "latency.p50" Nanos "Median latency of good answers, from the scheduled instant.",
    LatencyP90 "latency.p90" Nanos "90th percentile of latency.",
    LatencyP95 "latency.p95" Nanos "95th percentile of latency.",
    LatencyP99 "latency.p99" Nanos "99th percentile of latency.",
    LatencyP999 "latency.p999" Nanos "99.9th percentile of latency.",
    LatencyMax "latency.max" Nanos "Largest latency.",
    ServiceTimeP50 "service-time.p50" Nanos "Median time from sending to the last byte.",
    ServiceTimeP99 "service-time.p99" Nanos "99th percentile of the time from sending to the last byte.",
    TimeToScale "time-to-scale" Nanos "The slowest scale-up by the autoscaler: from the metric's asking for more to the last new pod's endpoint.",
}

/// A bound: `0` and `<=0` allow 0, `<250ms` does not allow 250 ms itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// How the value compares with the limit.
    pub op: BoundOp,
    /// In the measure's unit: a count, a share, or nanoseconds.
    pub limit: f64,
}

/// See [`Bound`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundOp {
    /// Below.
    Less,
    /// Below or equal.
    LessOrEqual,
}

impl Bound {
    /// Whether `value` (same unit) is allowed.
    pub fn allows(self, value: f64) -> bool {
        match self.op {
            BoundOp::Less => value < self.limit,
            BoundOp::LessOrEqual => value <= self.limit,
        }
    }
}

impl Measure {
    /// Reads a bound in this measure's unit.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse_bound(self, text: &str) -> Result<Bound, String> {
        let trimmed = text.trim();
        let (op, rest) = if let Some(rest) = trimmed.strip_prefix("<=") {
            (BoundOp::LessOrEqual, rest)
        } else if let Some(rest) = trimmed.strip_prefix('<') {
            (BoundOp::Less, rest)
        } else {
            (BoundOp::LessOrEqual, trimmed)
        };
        let rest = rest.trim();
        let limit = match self.unit() {
            MeasureUnit::Count => rest.parse::<u64>().ok().map(|count| count as f64),
            MeasureUnit::Share => match rest.strip_suffix('%') {
                Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
                None => rest.parse::<f64>().ok(),
            }
            .filter(|share| (0.0..=1.0).contains(share)),
            MeasureUnit::Nanos => Nanos::from_str(rest).ok().map(|span| span.0 as f64),
        };
        let example = match self.unit() {
            MeasureUnit::Count => "a count such as 0 or <10",
            MeasureUnit::Share => "a share such as <0.1%",
            MeasureUnit::Nanos => "a duration such as <250ms",
        };
        limit
            .map(|limit| Bound { op, limit })
            .ok_or_else(|| format!("`{text}` is no bound for `{}`; write {example}", self.name()))
    }

    /// A value of this measure as people read it.
    pub fn display(self, value: f64) -> String {
        match self.unit() {
            MeasureUnit::Count => format!("{value}"),
            MeasureUnit::Share => format!("{:.4}%", value * 100.0),
            MeasureUnit::Nanos => crate::time::human(Nanos(value as u64)),
        }
    }
}

impl FromStr for Measure {
    type Err = crate::units::ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|known| known.name() == text).ok_or_else(|| {
            crate::units::ParseUnitError { text: text.into(), expected: "a measure" }
        })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.measure.name(), self.bound_text())?;
        if !self.during.is_empty() {
            write!(f, " during {}", self.during.join(", "))?;
        }
        Ok(())
    }
}

impl Objective {
    fn bound_text(&self) -> String {
        let op = match self.bound.op {
            BoundOp::Less => "<",
            BoundOp::LessOrEqual => "<=",
        };
        let limit = match self.measure.unit() {
            MeasureUnit::Count => format!("{}", self.bound.limit),
            MeasureUnit::Share => format!("{}%", self.bound.limit * 100.0),
            MeasureUnit::Nanos => format!("{}", Nanos(self.bound.limit as u64)),
        };
        format!("{op}{limit}")
    }
}

impl Serialize for Objective {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bounded::serialize(serializer, self.measure.name(), &self.bound_text(), &self.during)
    }
}

impl<'de> Deserialize<'de> for Objective {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (measure, bound, during) = deserializer.deserialize_map(Reading {
            noun: "an objective",
            example: "such as {failed: 0} or {latency.p99: <250ms}",
            names: Measure::NAMES,
            parse: |measure: &Measure, text| measure.parse_bound(text),
        })?;
        Ok(Objective { measure, bound, during })
    }
}

impl JsonSchema for Objective {
    fn schema_name() -> Cow<'static, str> {
        "Objective".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({"type": ["string", "integer", "number"]});
        let mut schema = json_schema!({
            "type": "object",
            "description": "A bound on one measure, over all phases or those in `during`",
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 2,
            "properties": {"during": generator.subschema_for::<Vec<String>>()}
        });
        if let Some(properties) =
            schema.ensure_object().get_mut("properties").and_then(|p| p.as_object_mut())
        {
            for name in Measure::NAMES {
                properties.insert((*name).into(), text.clone().to_value());
            }
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_read_and_written_back() {
        let rows = [
            (r#"{"failed":0}"#, r#"{"failed":"<=0"}"#),
            (
                r#"{"latency.p99":"<250ms","during":["hold-2"]}"#,
                r#"{"latency.p99":"<250ms","during":["hold-2"]}"#,
            ),
            (r#"{"error-rate":"<1%"}"#, r#"{"error-rate":"<1%"}"#),
            (r#"{"time-to-scale":"<60s"}"#, r#"{"time-to-scale":"<1m"}"#),
        ];
        for (json, written) in rows {
            let objective: Objective = serde_json::from_str(json).expect(json);
            assert_eq!(serde_json::to_string(&objective).expect("serialises"), written);
        }
    }

    #[test]
    fn bounds_include_or_exclude_their_limit_as_written() {
        let below = Measure::LatencyP99.parse_bound("<250ms").expect("a bound");
        assert!(below.allows(249e6) && !below.allows(250e6));
        let upto = Measure::Failed.parse_bound("0").expect("a bound");
        assert!(upto.allows(0.0) && !upto.allows(1.0));
    }

    #[test]
    fn what_is_no_objective_is_refused() {
        for json in [
            r#"{}"#,
            r#"{"during":["hold-1"]}"#,
            r#"{"failed":"<10ms"}"#,
            r#"{"failed":-1}"#,
            r#"{"latency.p99":"250"}"#,
            r#"{"error-rate":"200%"}"#,
            r#"{"error-rate":"NaN"}"#,
            r#"{"failed":0,"unsent":0}"#,
            r#"{"latency.p42":"<1s"}"#,
            r#"{"time-to-scale":"<3"}"#,
        ] {
            assert!(serde_json::from_str::<Objective>(json).is_err(), "{json}");
        }
    }
}
