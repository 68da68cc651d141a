//! The histograms of a record: HDR, three significant digits, 64 ns to one hour, exactly mergeable.

use std::{cell::RefCell, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD as BASE64};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer as _, V2Serializer},
};
use serde::{Deserialize, Serialize, de};

/// Values below are counted as this: 64 ns, far below a loopback round trip.
pub const LOWEST_NS: u64 = 64;
/// Values above are counted as this: one hour, beyond every allowed time-out's sense.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Three digits: every value within 0.1 %.
const DIGITS: u8 = 3;

/// [`LOWEST_NS`] is two to the power of this.
const UNIT_BITS: u32 = LOWEST_NS.ilog2();
/// Three digits need 2,000 places in each doubling of the values, so 2,048; the half of these.
const HALF_BITS: u32 = 10;
/// HDR's encoding V2 with varints.
const V2_COOKIE: u32 = 0x1c84_9303 | 0x10;
/// Before the counts.
const HEADER_BYTES: usize = 40;

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
        // The serializer's buffer has nine bytes for each place: made anew each time, it would be most
        // of the work.
        thread_local! {
            static SERIALIZER: RefCell<V2Serializer> = RefCell::new(V2Serializer::new());
        }
        let mut bytes = Vec::new();
        SERIALIZER
            .with_borrow_mut(|serializer| serializer.serialize(histogram, &mut bytes))
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
        self.each(|value, count| {
            into.saturating_record_n(value, count);
            Ok(())
        })
    }

    /// Calls for each value that occurs (the lowest of its place), ascending, with its count. An hour has thousands of
    /// histograms with some hundreds of values each: to decode every one into all of its 24,000
    /// places takes a hundred times as long.
    ///
    /// *Source*: <https://github.com/HdrHistogram/HdrHistogram>, `AbstractHistogram`, encoding V2:
    /// the counts in order of their index, as zigzag varints; a negative one stands for so many
    /// zeros.
    pub(crate) fn each(
        &self,
        mut take: impl FnMut(u64, u64) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut payload = self.payload()?;
        let mut index: u64 = 0;
        while !payload.is_empty() {
            let raw = varint(&mut payload)?;
            let count = (raw >> 1) as i64 ^ -((raw & 1) as i64);
            if count > 0 {
                take(value_of(index)?, count.unsigned_abs())?;
            }
            let places = if count < 0 { count.unsigned_abs() } else { 1 };
            index = index.checked_add(places).ok_or(DecodeError)?;
        }
        Ok(())
    }

    /// The number of values.
    ///
    /// # Errors
    /// As [`Self::add_to`].
    pub fn count(&self) -> Result<u64, DecodeError> {
        let mut sum: u64 = 0;
        self.each(|_, count| {
            sum = sum.checked_add(count).ok_or(DecodeError)?;
            Ok(())
        })?;
        Ok(sum)
    }

    /// The counts, after a header that must be that of the record's bounds.
    fn payload(&self) -> Result<&[u8], DecodeError> {
        // Layout (HdrHistogram V2): cookie, payload length, offset, digits (4 bytes each), lowest,
        // highest (8 bytes each), ratio (8 bytes).
        let field = |from: usize, to: usize| self.0.get(from..to).ok_or(DecodeError);
        let word = |from| {
            Ok(u32::from_be_bytes(field(from, from + 4)?.try_into().map_err(|_| DecodeError)?))
        };
        let (cookie, length, offset, digits) = (word(0)?, word(4)?, word(8)?, word(12)?);
        let lowest = u64::from_be_bytes(field(16, 24)?.try_into().map_err(|_| DecodeError)?);
        let highest = u64::from_be_bytes(field(24, 32)?.try_into().map_err(|_| DecodeError)?);
        let is_ours = (cookie, offset, digits) == (V2_COOKIE, 0, u32::from(DIGITS))
            && (lowest, highest) == (LOWEST_NS, HIGHEST_NS);
        let payload = field(HEADER_BYTES, self.0.len())?;
        if is_ours && payload.len() == length as usize { Ok(payload) } else { Err(DecodeError) }
    }
}

/// Takes a varint of nine bytes at most, of which the last has eight bits.
fn varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0;
    for place in 0..9 {
        let (first, rest) = bytes.split_first().ok_or(DecodeError)?;
        *bytes = rest;
        let is_last = place == 8 || first & 0x80 == 0;
        let bits = if place == 8 { *first } else { first & 0x7f };
        value |= u64::from(bits) << (7 * place);
        if is_last {
            break;
        }
    }
    Ok(value)
}

/// How many places there are: halves, of which all but the first two double the highest value.
const PLACES: u64 = {
    let (mut halves, mut end) = (2, LOWEST_NS << (HALF_BITS + 1));
    while end <= HIGHEST_NS {
        (halves, end) = (halves + 1, end << 1);
    }
    halves << HALF_BITS
};

/// The lowest value of a place. Above the first two halves each half doubles the width. The last
/// place may begin above [`HIGHEST_NS`]: what is beyond it is counted there.
fn value_of(index: u64) -> Result<u64, DecodeError> {
    let half = 1 << HALF_BITS;
    let (sub, shift) = match index >> HALF_BITS {
        _ if index >= PLACES => return Err(DecodeError),
        0 => (index, 0),
        bucket => (index % half + half, bucket - 1),
    };
    let shift = u32::try_from(shift).map_err(|_| DecodeError)?.saturating_add(UNIT_BITS);
    sub.checked_shl(shift).ok_or(DecodeError)
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
    fn every_place_is_read_as_the_library_reads_it() {
        let mut histogram = new();
        let mut value = 1.0f64;
        while value < 2.0 * HIGHEST_NS as f64 {
            histogram.saturating_record_n(value as u64, 1 + (value as u64) % 70_000);
            value *= 1.000_3;
        }
        histogram.saturating_record_n(5_000_000, u64::from(u32::MAX) * 1_000);
        let encoded = Encoded::new(&histogram);
        let library: Hist = hdrhistogram::serialization::Deserializer::new()
            .deserialize(&mut &encoded.0[..])
            .expect("decodes");
        let mut ours = new();
        encoded.add_to(&mut ours).expect("decodes");
        assert_eq!(ours, library);
        assert_eq!((ours.min(), ours.max()), (library.min(), library.max()));
        assert_eq!(encoded.count(), Ok(histogram.len()));
    }

    #[test]
    fn values_beyond_the_bounds_are_counted_at_the_bounds() {
        let mut histogram = new();
        histogram.saturating_record(u64::MAX);
        histogram.saturating_record(0);
        assert_eq!(histogram.len(), 2);
    }
}
