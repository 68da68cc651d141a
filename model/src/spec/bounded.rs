//! Bounds on one measure as they are written: a mapping of the measure's name to its bound, and
//! `during` beside it.

use alloc::{format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serializer, de, ser::SerializeMap};

use crate::units::deserialize_scalar;

/// How a kind of bound is read.
pub(super) struct Reading<M, B> {
    /// What it is, for errors: `a gate`.
    pub(super) noun: &'static str,
    /// For an error, after the noun: `such as {failed: 0}`.
    pub(super) example: &'static str,
    /// The measures' names.
    pub(super) names: &'static [&'static str],
    /// Reads a bound on a measure.
    pub(super) parse: fn(&M, &str) -> Result<B, String>,
}

struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_scalar(deserializer).map(Self)
    }
}

/// Writes it as it is read.
///
/// # Errors
/// The serializer's.
pub(super) fn serialize<S: Serializer>(
    serializer: S,
    measure: &str,
    bound: &str,
    during: &[String],
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry(measure, bound)?;
    if !during.is_empty() {
        map.serialize_entry("during", during)?;
    }
    map.end()
}

impl<'de, M: FromStr, B> de::Visitor<'de> for Reading<M, B> {
    type Value = (M, B, Vec<String>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.noun, self.example)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut during) = (None, Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            if key == "during" {
                during = map.next_value()?;
                continue;
            }
            let measure: M = key.parse().map_err(|_| de::Error::unknown_field(&key, self.names))?;
            if found.is_some() {
                return Err(de::Error::custom(format!(
                    "{} bounds one measure; write a second one for the second",
                    self.noun
                )));
            }
            let Scalar(text) = map.next_value()?;
            let bound = (self.parse)(&measure, &text).map_err(de::Error::custom)?;
            found = Some((measure, bound));
        }
        let (measure, bound) = found.ok_or_else(|| {
            de::Error::custom(format!("{} names a measure, such as failed", self.noun))
        })?;
        Ok((measure, bound, during))
    }
}
