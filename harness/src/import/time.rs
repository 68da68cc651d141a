//! Times as people and programs write them, as nanoseconds since 1970.

use std::str::FromStr as _;

use highwater_model::time::SECOND;
use jiff::{Timestamp, civil};

/// An instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant {
    /// Nanoseconds since 1970-01-01 UTC.
    pub(super) at: i64,
    /// Whether it was written in whole seconds, so that requests of one second are in no order.
    pub(super) is_coarse: bool,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads RFC 3339 (`T` or a space, with or without an offset; UTC without), a time of the common
/// log format (`10/Oct/2000:13:55:36 -0700`), or a number since 1970: seconds, or milli-, micro- or
/// nanoseconds by its size.
pub(super) fn parse(text: &str) -> Option<Instant> {
    /// From 1970 to 2255: sums with spans fit.
    const KNOWN: std::ops::Range<i64> = 0..9_000_000_000_000_000_000;
    read(text).filter(|instant| KNOWN.contains(&instant.at))
}

fn read(text: &str) -> Option<Instant> {
    let first = text.bytes().next()?;
    if !first.is_ascii_digit() {
        return None;
    }
    if let Some(instant) = number(text) {
        return Some(instant);
    }
    if text.as_bytes().get(2) == Some(&b'/') {
        return common(text);
    }
    let at = match Timestamp::from_str(text) {
        Ok(stamp) => stamp,
        Err(_) => civil::DateTime::from_str(text)
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()?
            .timestamp(),
    };
    let at = i64::try_from(at.as_nanosecond()).ok()?;
    Some(Instant { at, is_coarse: !text.contains(['.', ',']) })
}

/// A number since 1970.
fn number(text: &str) -> Option<Instant> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let count: i64 = whole.parse().ok()?;
    // The year 5138 in seconds, 1973 in milliseconds; likewise for the others.
    let unit: i64 = match count {
        0..100_000_000_000 => SECOND as i64,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    let mut rest = 0;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        rest += i64::from(digit - b'0') * place;
    }
    let is_coarse = unit == SECOND as i64 && fraction.is_empty();
    Some(Instant { at: count.checked_mul(unit)?.checked_add(rest)?, is_coarse })
}

/// `10/Oct/2000:13:55:36 -0700`, with or without a fraction and an offset.
fn common(text: &str) -> Option<Instant> {
    let digits = |from: usize, to: usize| -> Option<i8> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is = |at: usize, byte: u8| text.as_bytes().get(at) == Some(&byte);
    if !(is(6, b'/') && is(11, b':') && is(14, b':') && is(17, b':')) {
        return None;
    }
    let month = MONTHS.iter().position(|month| text.get(3..6) == Some(*month))?;
    let year: i16 = text.get(7..11)?.parse().ok()?;
    let month = i8::try_from(month + 1).ok()?;
    let date = civil::Date::new(year, month, digits(0, 2)?).ok()?;
    // A leap second is the last one of its minute again.
    let time =
        civil::Time::new(digits(12, 14)?, digits(15, 17)?, digits(18, 20)?.min(59), 0).ok()?;
    let seconds = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let seconds = seconds.timestamp().as_second();
    let mut rest = &text[20..];
    let mut fraction = 0;
    let has_fraction = rest.starts_with(['.', ',']);
    if has_fraction {
        let length = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
        let written = format!("0.{}", &rest[1..1 + length]);
        fraction = number(&written)?.at;
        rest = &rest[1 + length..];
    }
    let offset = offset(rest.trim_start())?;
    let at = (seconds - offset).checked_mul(SECOND as i64)?.checked_add(fraction)?;
    Some(Instant { at, is_coarse: !has_fraction })
}

/// `-0700`, `+02:00`, `Z` or nothing, in seconds.
fn offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        ("Z", "") => return Some(0),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    Some(sign * (hours * 3_600 + minutes * 60))
}

/// The instant as RFC 3339.
pub(super) fn shown(at: i64) -> String {
    Timestamp::from_nanosecond(i128::from(at))
        .map_or_else(|_| at.to_string(), |stamp| stamp.to_string())
}

/// Reads times of which many in a row are the same, as in a log with seconds.
#[derive(Debug, Default)]
pub(super) struct Clock {
    text: String,
    last: Option<Instant>,
}

impl Clock {
    pub(super) fn parse(&mut self, text: &str) -> Option<Instant> {
        if self.text != text {
            self.last = parse(text);
            self.text.clear();
            self.text.push_str(text);
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_kinds_are_read() {
        let second = 1_000_000_000;
        for (text, at, is_coarse) in [
            ("2000-10-10T20:55:36Z", 971_211_336 * second, true),
            ("2000-10-10 13:55:36.5-07:00", 971_211_336 * second + 500_000_000, false),
            ("2000-10-10T20:55:36.000001Z", 971_211_336 * second + 1_000, false),
            ("2000-10-10T20:55:36", 971_211_336 * second, true),
            ("10/Oct/2000:13:55:36 -0700", 971_211_336 * second, true),
            ("10/Oct/2000:20:55:36.25 +0000", 971_211_336 * second + 250_000_000, false),
            ("971211336", 971_211_336 * second, true),
            ("971211336.250", 971_211_336 * second + 250_000_000, false),
            ("971211336250", 971_211_336 * second + 250_000_000, false),
            ("971211336250000000", 971_211_336 * second + 250_000_000, false),
        ] {
            assert_eq!(parse(text), Some(Instant { at, is_coarse }), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-",
            "now",
            "1.2.3",
            "10/Okt/2000:13:55:36 -0700",
            "32/Oct/2000:13:55:36 -0700",
            "10/Oct/2000:13:55:36 MST",
            "10/Oct/2000:25:55:36 +0000",
            "2000-13-01T00:00:00Z",
            "99999999999999999999",
            "9223372036854775807.9999",
            "10/Oct/2000:13:55:3",
            "1\u{e4}",
            "10/Oct/2000:13:55:36.\u{e4}",
            "1e9",
        ] {
            let found = parse(text);
            assert_eq!(found, None, "{text}");
        }
    }
}
