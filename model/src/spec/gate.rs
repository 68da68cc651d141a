//! What a comparison with a baseline must not exceed: `{failed: 0}`, `{latency.p99: +5%}`,
//! `{error-rate.termination-race: +0.05pp, during: [rollouts]}`.

use alloc::{borrow::Cow, format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Bound, BoundOp, Measure,
    bounded::{self, Reading},
};
use crate::time::Nanos;

/// A bound on one measure of a comparison, over all phases or each of some.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// What is measured.
    pub measure: GateMeasure,
    /// What it may be.
    pub bound: GateBound,
    /// The phases in each of which it must hold; the whole run if empty.
    pub during: Vec<String>,
}

/// What a gate can bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateMeasure {
    /// One of [`GateMeasure::NAMES`].
    pub name: &'static str,
    /// The cause of loss, one of [`GateMeasure::CAUSES`]; all if not given.
    pub cause: Option<&'static str>,
}

/// What a gate allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GateBound {
    /// Of the new runs alone: `0`, `<250ms`.
    Absolute {
        /// How the value compares with the limit.
        op: BoundOp,
        /// In the measure's unit: a count, a share, nanoseconds, or pods.
        limit: f64,
    },
    /// So much more than the base, relative to it: `+5%` is 0.05.
    Relative(f64),
    /// So much more than the base, in the measure's unit: `+10ms`, `+0.1pp` (0.001), `+1`.
    Increase(f64),
}

/// The unit of a gate's bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Count,
    Share,
    Nanos,
    Pods,
}

impl GateMeasure {
    /// The names, without causes.
    pub const NAMES: &[&str] = &[
        "failed",
        "error-rate",
        "unsent",
        "unexplained",
        "latency.p50",
        "latency.p90",
        "latency.p99",
        "latency.p999",
        "pods",
        "pods.max",
        "time-to-scale",
    ];

    /// The causes of loss that may follow `failed.` and `error-rate.`: the names of the analysis,
    /// which a test of it holds these against.
    pub const CAUSES: &[&str] = &[
        "termination-race",
        "premature-ready",
        "no-ready-endpoint",
        "accept-queue-drop",
        "idle-timeout-race",
        "grace-exceeded",
        "abrupt-exit",
        "liveness-kill",
        "crash",
        "overload",
        "throttling",
        "blackhole",
        "client-limit",
        "refused-by-app",
        "wrong-bind",
        "unobserved",
        "unexplained",
    ];

    /// Whether it is a count of requests in one run.
    pub fn is_count(&self) -> bool {
        self.unit() == Unit::Count
    }

    fn unit(&self) -> Unit {
        match self.name {
            "failed" | "unsent" | "unexplained" => Unit::Count,
            "error-rate" => Unit::Share,
            "pods" | "pods.max" => Unit::Pods,
            _ => Unit::Nanos,
        }
    }

    /// Reads a bound in this measure's unit.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse_bound(&self, text: &str) -> Result<GateBound, String> {
        let trimmed = text.trim();
        let Some(more) = trimmed.strip_prefix('+') else {
            return self.parse_absolute(trimmed);
        };
        let number = |text: &str| {
            text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
        };
        let bound = match (self.unit(), more.strip_suffix('%')) {
            (Unit::Nanos | Unit::Pods, Some(percent)) => {
                number(percent).map(|percent| GateBound::Relative(percent / 100.0))
            }
            (Unit::Nanos, None) => {
                Nanos::from_str(more.trim()).ok().map(|span| GateBound::Increase(span.0 as f64))
            }
            (Unit::Pods, None) => number(more).map(GateBound::Increase),
            (Unit::Share, None) => {
                let points = more.strip_suffix("pp").and_then(number);
                points.map(|points| GateBound::Increase(points / 100.0))
            }
            (Unit::Share | Unit::Count, _) => None,
        };
        bound.ok_or_else(|| {
            let example = match self.unit() {
                Unit::Count => "a count that every new run keeps, such as 0 or <10; how much more is a matter of `error-rate: +0.05pp`",
                Unit::Share => "percentage points such as +0.05pp: of nothing, no percentage is more",
                Unit::Nanos => "+5% or +10ms",
                Unit::Pods => "+5% or +1",
            };
            format!("`{text}` is no bound for `{self}`; write {example}")
        })
    }

    fn parse_absolute(&self, text: &str) -> Result<GateBound, String> {
        if self.unit() == Unit::Pods {
            let (op, rest) = match (text.strip_prefix("<="), text.strip_prefix('<')) {
                (Some(rest), _) => (BoundOp::LessOrEqual, rest),
                (None, Some(rest)) => (BoundOp::Less, rest),
                (None, None) => (BoundOp::LessOrEqual, text),
            };
            let limit =
                rest.trim().parse::<f64>().ok().filter(|limit| limit.is_finite() && *limit >= 0.0);
            return limit.map(|limit| GateBound::Absolute { op, limit }).ok_or_else(|| {
                format!("`{text}` is no bound for `{self}`; write a number such as <=4, or +1")
            });
        }
        // The same words as in objectives.
        let alike = match self.unit() {
            Unit::Count => Measure::Failed,
            Unit::Share => Measure::ErrorRate,
            Unit::Nanos | Unit::Pods => Measure::LatencyP99,
        };
        match alike.parse_bound(text) {
            Ok(Bound { op, limit }) => Ok(GateBound::Absolute { op, limit }),
            Err(_) => Err(format!(
                "`{text}` is no bound for `{self}`; write what every new run may have (0, <0.1%, <250ms), or how much more than the base (+5%, +10ms, +0.05pp)"
            )),
        }
    }
}

impl fmt::Display for GateMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            None => f.write_str(self.name),
            Some(cause) => write!(f, "{}.{cause}", self.name),
        }
    }
}

impl FromStr for GateMeasure {
    type Err = crate::units::ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let exactly = Self::NAMES.iter().find(|name| **name == text);
        if let Some(name) = exactly {
            return Ok(Self { name, cause: None });
        }
        let with_cause = ["failed", "error-rate"].into_iter().find_map(|name| {
            let cause = text.strip_prefix(name)?.strip_prefix('.')?;
            let known = Self::CAUSES.iter().find(|known| **known == cause)?;
            Some(Self { name, cause: Some(known) })
        });
        with_cause.ok_or_else(|| crate::units::ParseUnitError {
            text: text.into(),
            expected: "a measure",
        })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.measure, self.bound_text())?;
        if !self.during.is_empty() {
            write!(f, " during {}", self.during.join(", "))?;
        }
        Ok(())
    }
}

impl Gate {
    /// The bound as it is written.
    pub fn bound_text(&self) -> String {
        let unit = self.measure.unit();
        let value = |value: f64| match unit {
            Unit::Nanos => format!("{}", Nanos(value as u64)),
            Unit::Count | Unit::Pods => format!("{value}"),
            Unit::Share => format!("{}%", rounded(value * 100.0)),
        };
        match self.bound {
            GateBound::Absolute { op: BoundOp::Less, limit } => format!("<{}", value(limit)),
            GateBound::Absolute { limit, .. } => format!("<={}", value(limit)),
            GateBound::Relative(more) => format!("+{}%", rounded(more * 100.0)),
            GateBound::Increase(more) if unit == Unit::Share => {
                format!("+{}pp", rounded(more * 100.0))
            }
            GateBound::Increase(more) => format!("+{}", value(more)),
        }
    }
}

/// Without the noise of binary fractions.
fn rounded(value: f64) -> f64 {
    libm::round(value * 1e9) / 1e9
}

impl Serialize for Gate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bounded::serialize(
            serializer,
            &format!("{}", self.measure),
            &self.bound_text(),
            &self.during,
        )
    }
}

impl<'de> Deserialize<'de> for Gate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (measure, bound, during) = deserializer.deserialize_map(Reading {
            noun: "a gate",
            example: "such as {failed: 0} or {latency.p99: +5%}",
            names: GateMeasure::NAMES,
            parse: GateMeasure::parse_bound,
        })?;
        let of_whole = ["pods", "pods.max", "time-to-scale"];
        if !during.is_empty() && of_whole.contains(&measure.name) {
            return Err(de::Error::custom(format!(
                "`{measure}` is of the whole run; leave out `during`"
            )));
        }
        Ok(Gate { measure, bound, during })
    }
}

impl JsonSchema for Gate {
    fn schema_name() -> Cow<'static, str> {
        "Gate".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({"type": ["string", "integer", "number"]});
        let mut schema = json_schema!({
            "type": "object",
            "description": "A bound on one measure of `highwater compare`: of the new runs (0, <250ms), or how much more than the base (+5%, +10ms, +0.05pp)",
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 2,
            "properties": {"during": generator.subschema_for::<Vec<String>>()}
        });
        if let Some(properties) =
            schema.ensure_object().get_mut("properties").and_then(|p| p.as_object_mut())
        {
            for name in GateMeasure::NAMES {
                properties.insert((*name).into(), text.clone().to_value());
            }
            for name in ["failed", "error-rate"] {
                for cause in GateMeasure::CAUSES {
                    properties.insert(format!("{name}.{cause}"), text.clone().to_value());
                }
            }
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_and_written_back() {
        let rows = [
            (r#"{"failed":0}"#, r#"{"failed":"<=0"}"#),
            (r#"{"failed.crash":"<3"}"#, r#"{"failed.crash":"<3"}"#),
            (
                r#"{"latency.p99":"+5%","during":["hold-2"]}"#,
                r#"{"latency.p99":"+5%","during":["hold-2"]}"#,
            ),
            (r#"{"latency.p50":"+10ms"}"#, r#"{"latency.p50":"+10ms"}"#),
            (r#"{"latency.p50":"<250ms"}"#, r#"{"latency.p50":"<250ms"}"#),
            (r#"{"error-rate.crash":"+0.05pp"}"#, r#"{"error-rate.crash":"+0.05pp"}"#),
            (r#"{"error-rate":"<0.1%"}"#, r#"{"error-rate":"<0.1%"}"#),
            (r#"{"pods":"+1"}"#, r#"{"pods":"+1"}"#),
            (r#"{"pods.max":4}"#, r#"{"pods.max":"<=4"}"#),
            (r#"{"time-to-scale":"+10%"}"#, r#"{"time-to-scale":"+10%"}"#),
        ];
        for (json, written) in rows {
            let gate: Gate = serde_json::from_str(json).expect(json);
            assert_eq!(serde_json::to_string(&gate).expect("serialises"), written);
        }
    }

    #[test]
    fn what_is_no_gate_is_refused() {
        for json in [
            r#"{}"#,
            r#"{"during":["hold-1"]}"#,
            r#"{"failed":"+5%"}"#,
            r#"{"failed":"+3"}"#,
            r#"{"error-rate":"+5%"}"#,
            r#"{"latency.p99":"+5"}"#,
            r#"{"latency.p99":"+-5%"}"#,
            r#"{"latency.p99":"+NaN%"}"#,
            r#"{"latency.p42":"+5%"}"#,
            r#"{"latency.p99.crash":"+5%"}"#,
            r#"{"failed.":0}"#,
            r#"{"failed.crashes":0}"#,
            r#"{"pods":"-1"}"#,
            r#"{"pods":"+1","during":["hold-1"]}"#,
            r#"{"failed":0,"unsent":0}"#,
        ] {
            assert!(serde_json::from_str::<Gate>(json).is_err(), "{json}");
        }
    }
}
