//! What `highwater tune` may change, and by what it judges.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most values that one parameter can have.
pub const LEVELS_MAX: usize = 64;
/// The most parameters.
pub const PARAMETERS_MAX: usize = 24;

/// The search of `highwater tune`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tune {
    /// What may be changed: a short name (`target`, `down-window`) or a path as `--set` takes it, with
    /// the values that it may have. What the autoscaler has, if not given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Choice>,
    /// Relations that hold between parameters or paths: `min <= max`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// What a pod costs in an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<f64>,
    /// How many seeds are searched with; 3 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u32>,
    /// How many seeds are held out, and judged with at the end; 2 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out_seeds: Option<u32>,
}

/// The values of a parameter: those of a list, or those of a range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Choice {
    /// These.
    Values(Vec<Text>),
    /// Those from one to another.
    Range(Range),
}

/// A range of numbers, both ends included, with a unit (`50m`, `10s`) or without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// The first.
    pub from: Text,
    /// The last.
    pub to: Text,
    /// From one to the next; about a dozen values if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Text>,
    /// How the values are spaced.
    #[serde(default, skip_serializing_if = "Spacing::is_default")]
    pub scale: Spacing,
}

/// See [`Range::scale`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// Evenly.
    #[default]
    Linear,
    /// Each as many times the one before.
    Log,
}

impl Spacing {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A value as it is written: a number, or a text of YAML.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::units::deserialize_scalar(deserializer).map(Self)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "TuneValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "number", "integer", "boolean"],
            "description": "A value as it is written: a number, or a text of YAML"
        })
    }
}

/// Why a choice gives no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// An empty list.
    #[error("has no value")]
    Empty,
    /// Too many.
    #[error("has {0} values; {LEVELS_MAX} are the most")]
    TooMany(usize),
    /// An end of a range that is no number.
    #[error("`{0}` is no number")]
    NoNumber(String),
    /// Ends with different units.
    #[error("`{0}` and `{1}` are not of the same unit")]
    Units(String, String),
    /// It goes down.
    #[error("`from` is above `to`")]
    Descends,
    /// A step that leads nowhere.
    #[error("the step must be above zero")]
    Step,
    /// A logarithm of nothing.
    #[error("on a logarithmic scale `from` must be above zero")]
    Log,
}

impl Choice {
    /// The values, in order.
    ///
    /// # Errors
    /// Why there are none.
    pub fn values(&self) -> Result<Vec<String>, ChoiceError> {
        let values = match self {
            Self::Values(values) => values.iter().map(|value| value.0.clone()).collect(),
            Self::Range(range) => range.values()?,
        };
        match values.len() {
            0 => Err(ChoiceError::Empty),
            1..=LEVELS_MAX => Ok(values),
            many => Err(ChoiceError::TooMany(many)),
        }
    }
}

/// How many values a range without a step has, about.
const ABOUT: f64 = 12.0;

impl Range {
    fn values(&self) -> Result<Vec<String>, ChoiceError> {
        let ((from, unit), (to, other)) = (number(&self.from.0)?, number(&self.to.0)?);
        if unit != other && from != 0.0 {
            return Err(ChoiceError::Units(self.from.0.clone(), self.to.0.clone()));
        }
        if from > to {
            return Err(ChoiceError::Descends);
        }
        let is_whole = libm::trunc(from) == from && libm::trunc(to) == to;
        let show = |value: f64| {
            let value = if is_whole && self.step.is_none() { libm::round(value) } else { value };
            // What steps leave behind the ninth place is rounding.
            alloc::format!("{}{other}", libm::round(value * 1e9) / 1e9)
        };
        let mut values: Vec<String> = match (self.scale, &self.step) {
            (Spacing::Log, _) if from <= 0.0 => return Err(ChoiceError::Log),
            (Spacing::Log, _) => {
                let ratio = libm::log(to / from) / (ABOUT - 1.0);
                (0..ABOUT as u32).map(|n| show(from * libm::exp(ratio * f64::from(n)))).collect()
            }
            (Spacing::Linear, Some(step)) => {
                let step = number(&step.0)?.0;
                if step <= 0.0 {
                    return Err(ChoiceError::Step);
                }
                let count = libm::floor((to - from) / step + 1e-9) + 1.0;
                if count > LEVELS_MAX as f64 {
                    return Err(ChoiceError::TooMany(count.min(1e9) as usize));
                }
                (0..count as u32).map(|n| show(from + step * f64::from(n))).collect()
            }
            (Spacing::Linear, None) => {
                let count = if is_whole { (to - from + 1.0).min(ABOUT) } else { ABOUT };
                let step = (to - from) / (count - 1.0).max(1.0);
                (0..count as u32).map(|n| show(from + step * f64::from(n))).collect()
            }
        };
        values.dedup();
        Ok(values)
    }
}

/// A number and its unit.
fn number(text: &str) -> Result<(f64, &str), ChoiceError> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+')));
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let value: f64 = digits.parse().map_err(|_| ChoiceError::NoNumber(text.into()))?;
    if value.is_finite() { Ok((value, unit)) } else { Err(ChoiceError::NoNumber(text.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(yaml: &str) -> Result<Vec<String>, ChoiceError> {
        serde_json::from_str::<Choice>(yaml).expect("a choice").values()
    }

    #[test]
    fn ranges_and_lists_give_their_values() {
        for (json, wanted) in [
            (r#"{"from": 30, "to": 60, "step": 10}"#, "30 40 50 60"),
            (r#"{"from": 1, "to": 4}"#, "1 2 3 4"),
            (r#"{"from": "50m", "to": "150m", "step": "50m"}"#, "50m 100m 150m"),
            (r#"{"from": 0, "to": "10s", "step": 5}"#, "0s 5s 10s"),
            (r#"{"from": 0.1, "to": 0.3, "step": 0.1}"#, "0.1 0.2 0.3"),
            (r#"{"from": 7, "to": 7}"#, "7"),
            (r#"[0, "30", "[a, b]"]"#, "0 30 [a, b]"),
        ] {
            assert_eq!(values(json).expect(json).join(" "), wanted, "{json}");
        }
        let log = values(r#"{"from": 1, "to": 1000, "scale": "log"}"#).expect("a range");
        assert_eq!((log.first(), log.last()), (Some(&"1".into()), Some(&"1000".into())));
        assert_eq!(values(r#"{"from": 10, "to": 500}"#).map(|all| all.len()), Ok(12));
    }

    #[test]
    fn what_gives_no_values_says_why() {
        for (json, fragment) in [
            ("[]", "no value"),
            (r#"{"from": 5, "to": 1}"#, "above"),
            (r#"{"from": "x", "to": 1}"#, "no number"),
            (r#"{"from": 1, "to": "y"}"#, "no number"),
            (r#"{"from": "1m", "to": "2s"}"#, "same unit"),
            (r#"{"from": 0, "to": 5, "scale": "log"}"#, "above zero"),
            (r#"{"from": 0, "to": 5, "step": 0}"#, "step"),
            (r#"{"from": 0, "to": 5000, "step": 1}"#, "64"),
            (r#"{"from": 0, "to": 1, "step": 1e-300}"#, "64"),
        ] {
            let told = values(json).expect_err(json);
            assert!(alloc::string::ToString::to_string(&told).contains(fragment), "{json}: {told}");
        }
    }
}
