//! The response of a range query, read as it comes: its series are added up, time by time.
//!
//! *Source*: Prometheus, "HTTP API", range queries: `data.result[].values` of pairs of a time in
//! seconds and a number as text.

use std::io::{BufReader, Read};

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{curve::Points, error::ImportError};

/// The longest response: Prometheus gives 11,000 points of a series at most.
const BYTES_MAX: u64 = 1 << 30;

/// Adds a response's series to `points`; tells how many values were taken and how many are no rate.
pub(super) fn read(
    name: &str,
    stream: Box<dyn Read>,
    points: &mut Points,
) -> Result<(u64, u64), ImportError> {
    let mut seen = Seen { points, taken: 0, odd: 0, full: None };
    let input = BufReader::new(stream.take(BYTES_MAX));
    let mut json = serde_json::Deserializer::from_reader(input);
    let done = Level::Response.visit(&mut seen, &mut json);
    if let Some(error) = seen.full {
        return Err(error);
    }
    let done = done.and_then(|()| json.end());
    done.map_err(|error| ImportError::Prometheus {
        name: super::shown_name(name),
        problem: error.to_string(),
    })?;
    Ok((seen.taken, seen.odd))
}

struct Seen<'a> {
    points: &'a mut Points,
    taken: u64,
    odd: u64,
    /// Why no more is taken.
    full: Option<ImportError>,
}

/// Where in the response we are.
#[derive(Clone, Copy)]
enum Level {
    Response,
    Data,
    Result,
    Series,
    Values,
}

impl Level {
    /// The key that leads further, in a mapping.
    fn key(self) -> &'static str {
        match self {
            Self::Response => "data",
            Self::Data => "result",
            _ => "values",
        }
    }

    fn below(self) -> Self {
        match self {
            Self::Response => Self::Data,
            Self::Data => Self::Result,
            Self::Result => Self::Series,
            Self::Series | Self::Values => Self::Values,
        }
    }

    fn visit<'de, D: Deserializer<'de>>(
        self,
        seen: &mut Seen<'_>,
        json: D,
    ) -> Result<(), D::Error> {
        At { level: self, seen }.deserialize(json)
    }
}

struct At<'a, 'b> {
    level: Level,
    seen: &'a mut Seen<'b>,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        match self.level {
            Level::Response | Level::Data | Level::Series => json.deserialize_map(self),
            Level::Result | Level::Values => json.deserialize_seq(self),
        }
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.level {
            Level::Response => "an object with `data`",
            Level::Data => "an object with `result`",
            Level::Result => "a list of series",
            Level::Series => "a series with `values`",
            Level::Values => "a list of pairs of time and value",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_there = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.level.key() {
                is_there = true;
                map.next_value_seed(At { level: self.level.below(), seen: &mut *self.seen })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        // A vector has `value` and histograms `histograms`: both are no rates over time.
        if is_there { Ok(()) } else { Err(A::Error::missing_field(self.level.key())) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if let Level::Result = self.level {
            while seq
                .next_element_seed(At { level: Level::Series, seen: &mut *self.seen })?
                .is_some()
            {}
            return Ok(());
        }
        while let Some((time, value)) = seq.next_element::<(f64, String)>()? {
            let rate = value.parse::<f64>().ok();
            let rate = rate.filter(|rate| rate.is_finite() && *rate >= 0.0);
            let at = (0.0..9e9).contains(&time).then_some((time * 1e9).round() as i64);
            match (at, rate) {
                (Some(at), Some(rate)) => {
                    let at = super::time::Instant { at, is_coarse: false };
                    if let Err(error) = self.seen.points.add(at, rate) {
                        self.seen.full = Some(error);
                        return Err(A::Error::custom("too many times"));
                    }
                    self.seen.taken += 1;
                }
                _ => self.seen.odd += 1,
            }
        }
        Ok(())
    }
}
