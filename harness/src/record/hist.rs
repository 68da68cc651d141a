//! The histograms of a record: HDR, three significant digits, 64 ns to one hour, exactly mergeable.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2Serializer},
};
use serde::{Deserialize, Serialize, de};

/// Values below are counted as this: 64 ns, far below a loopback round trip.
pub const LOWEST_NS: u64 = 64;
/// Values above are counted as this: one hour, beyond every allowed time-out's sense.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Three digits: every value within 0.1 %.
const DIGITS: u8 = 3;

/// A histogram of nanoseconds.
pub type Hist = Histogram<u64>;

/// An empty histogram with the record's bounds (about 230 KB).
pub fn new() -> Hist {
    Hist::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS).expect("the constant bounds are valid")
}

/// A histogram in HDR's V2 encoding; in JSON as base64 without padding.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Encoded(Box<[u8]>);

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoded({} bytes)", self.0.len())
    }
}

/// An encoded histogram that cannot be decoded into the record's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a histogram cannot be decoded")]
pub struct DecodeError;

impl Encoded {
    /// Encodes a histogram; an empty one becomes the empty encoding.
    pub fn new(histogram: &Hist) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(histogram, &mut bytes)
            .expect("a vector takes any number of bytes, and counts fit in 64 bits");
        Self(bytes.into())
    }

    /// Whether it stands for no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds its values to `into`.
    ///
    /// # Errors
    /// If the bytes are no histogram or one of values beyond the record's bounds.
    pub fn add_to(&self, into: &mut Hist) -> Result<(), DecodeError> {
        if self.is_empty() {
            return Ok(());
        }
        let decoded: Hist = self.decode()?;
        into.add(&decoded).map_err(|_| DecodeError)
    }

    /// The number of values.
    ///
    /// # Errors
    /// As [`Self::add_to`].
    pub fn count(&self) -> Result<u64, DecodeError> {
        if self.is_empty() { Ok(0) } else { Ok(self.decode()?.len()) }
    }

    fn decode(&self) -> Result<Hist, DecodeError> {
        // The header's bounds decide how much is allocated: refuse foreign ones first.
        // Layout (HdrHistogram V2): cookie, payload length, offset, digits (4 bytes each), lowest,
        // highest (8 bytes each), ratio (8 bytes).
        let field = |from: usize, to: usize| self.0.get(from..to).ok_or(DecodeError);
        let digits = u32::from_be_bytes(field(12, 16)?.try_into().map_err(|_| DecodeError)?);
        let lowest = u64::from_be_bytes(field(16, 24)?.try_into().map_err(|_| DecodeError)?);
        let highest = u64::from_be_bytes(field(24, 32)?.try_into().map_err(|_| DecodeError)?);
        if digits != u32::from(DIGITS) || lowest != LOWEST_NS || highest != HIGHEST_NS {
            return Err(DecodeError);
        }
        Deserializer::new().deserialize(&mut &self.0[..]).map_err(|_| DecodeError)
    }
}

impl Serialize for Encoded {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(|bytes| Self(bytes.into())).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_keeps_every_count_and_merging_is_exact() {
        let (mut one, mut two, mut both) = (new(), new(), new());
        for value in (100..5_000_000u64).step_by(997) {
            let part = if value % 2 == 0 { &mut one } else { &mut two };
            part.saturating_record(value);
            both.saturating_record(value);
        }
        let mut merged = new();
        for part in [&one, &two] {
            Encoded::new(part).add_to(&mut merged).expect("decodes");
        }
        assert_eq!(merged, both);
        assert_eq!(Encoded::new(&both).count(), Ok(both.len()));
    }

    #[test]
    fn foreign_and_cut_bytes_are_errors() {
        let mut histogram = new();
        histogram.saturating_record(1_000_000);
        let good = Encoded::new(&histogram);
        for length in 1..good.0.len() {
            let cut = Encoded(good.0[..length].into());
            assert!(cut.count().is_err() || cut.count() == Ok(0), "cut at {length}");
        }
        let mut wide = good.clone();
        wide.0[24] = 0x7f;
        assert_eq!(wide.count(), Err(DecodeError), "bounds that would allocate without end");
        assert_eq!(
            Encoded(Box::from(&b"not a histogram at all, but long enough to look at"[..])).count(),
            Err(DecodeError)
        );
    }

    #[test]
    fn values_beyond_the_bounds_are_counted_at_the_bounds() {
        let mut histogram = new();
        histogram.saturating_record(u64::MAX);
        histogram.saturating_record(0);
        assert_eq!(histogram.len(), 2);
    }
}
