//! Bounded lines, fields, times and numbers, each with its place.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
};

use highwater_model::time::{Nanos, SECOND};

use super::{DataProblem, Found};
use crate::scenario::error::shown;

/// The longest line.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;

/// The lines of a text file, one at a time: without their ends (LF or CRLF), without a byte order
/// mark, without empty lines and those that begin with `#`.
#[derive(Debug)]
pub(super) struct Lines {
    input: std::io::Take<BufReader<File>>,
    bytes: Vec<u8>,
    /// Of the present line, from 1.
    pub(super) number: usize,
    limit: u64,
}

impl Lines {
    /// Opens a regular file of `limit` bytes at most.
    pub(super) fn open(path: &Path, limit: u64) -> Result<Self, Found> {
        let whole = |problem| (None, problem);
        // Before it is opened: opening a pipe would wait for its other end.
        let metadata = std::fs::metadata(path).map_err(|error| whole(error.into()))?;
        if !metadata.is_file() {
            return Err(whole(DataProblem::NotAFile));
        }
        let file = File::open(path).map_err(|error| whole(error.into()))?;
        // One byte more tells a file that grows beyond it.
        let input = BufReader::with_capacity(1 << 16, file).take(limit + 1);
        Ok(Self { input, bytes: Vec::new(), number: 0, limit })
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<&str>, Found> {
        loop {
            self.bytes.clear();
            let mut line = (&mut self.input).take(LINE_BYTES_MAX as u64 + 2);
            let read = line.read_until(b'\n', &mut self.bytes);
            if read.map_err(|error| (None, error.into()))? == 0 {
                break;
            }
            if self.input.limit() == 0 {
                return Err((None, DataProblem::TooLong(self.limit)));
            }
            self.number += 1;
            if self.number == 1 && self.bytes.starts_with(b"\xef\xbb\xbf") {
                self.bytes.drain(..3);
            }
            let ends = self.bytes.iter().rev().take_while(|byte| b"\r\n".contains(byte)).count();
            self.bytes.truncate(self.bytes.len() - ends);
            if self.bytes.len() > LINE_BYTES_MAX {
                let problem = DataProblem::LineTooLong(LINE_BYTES_MAX);
                return Err((Some((self.number, 1)), problem));
            }
            if self.bytes.iter().any(|byte| !byte.is_ascii_whitespace()) && self.bytes[0] != b'#' {
                return self.text().map(Some);
            }
        }
        Ok(None)
    }

    fn text(&self) -> Result<&str, Found> {
        std::str::from_utf8(&self.bytes).map_err(|error| {
            let sound = String::from_utf8_lossy(&self.bytes[..error.valid_up_to()]);
            (Some((self.number, sound.chars().count() + 1)), DataProblem::NotText)
        })
    }
}

/// One field of a line, without spaces around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// In characters, from 1.
    pub(crate) column: usize,
    pub(crate) text: Cow<'a, str>,
}

/// The fields of a line of comma-separated values (RFC 4180, but a field ends in its line).
///
/// # Errors
/// The column of a field whose quotes do not match.
pub(crate) fn fields(line: &str) -> Result<Vec<Field<'_>>, (usize, DataProblem)> {
    let mut fields = Vec::new();
    let (mut rest, mut column) = (line, 1);
    loop {
        let spaces = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let at = column + spaces;
        let (text, length) = match rest[spaces..].strip_prefix('"') {
            None => {
                let length = rest.find(',').unwrap_or(rest.len());
                (Cow::Borrowed(rest[..length].trim()), length)
            }
            Some(quoted) => {
                let (text, used) = unquoted(quoted).ok_or((at, DataProblem::Quotes))?;
                let behind = &quoted[used..];
                let length = behind.find(',').unwrap_or(behind.len());
                if !behind[..length].trim().is_empty() {
                    return Err((at, DataProblem::Quotes));
                }
                (Cow::Owned(text), spaces + 1 + used + length)
            }
        };
        fields.push(Field { column: at, text });
        if length == rest.len() {
            return Ok(fields);
        }
        column += rest[..length].chars().count() + 1;
        rest = &rest[length + 1..];
    }
}

/// What stands before the closing quote, and how many bytes it takes with the quote.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let (mut out, mut at) = (String::new(), 0);
    loop {
        let quote = at + text[at..].find('"')?;
        out.push_str(&text[at..quote]);
        at = quote + 1;
        if !text[at..].starts_with('"') {
            return Some((out, at));
        }
        out.push('"');
        at += 1;
    }
}

/// A time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// From the start of what the file tells.
    Offset(Nanos),
    /// A time of day: nanoseconds since 1970-01-01, in the zone that it is written in.
    OfDay(i64),
}

/// Turns the times of a file into spans: those of day count from the first one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    first: Option<Time>,
    last: Nanos,
}

impl Clock {
    /// The span of the next line, which must not be before that of the one before.
    pub(super) fn read(&mut self, text: &str) -> Result<Nanos, DataProblem> {
        let time = time(text).ok_or_else(|| DataProblem::Time(shown(text)))?;
        let span = match (time, *self.first.get_or_insert(time)) {
            (Time::Offset(span), Time::Offset(_)) => span,
            (Time::OfDay(now), Time::OfDay(first)) => match u64::try_from(now - first) {
                Ok(span) => Nanos(span),
                Err(_) => return Err(DataProblem::Descends(Nanos((first - now).unsigned_abs()))),
            },
            _ => return Err(DataProblem::MixedTimes),
        };
        if span < self.last {
            return Err(DataProblem::Descends(Nanos(self.last.0 - span.0)));
        }
        self.last = span;
        Ok(span)
    }
}

/// Reads `12.5` (seconds), `1m30s`, or `2024-05-01 12:30:00.5`.
pub(super) fn time(text: &str) -> Option<Time> {
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if is_digits(whole) && is_digits(fraction) {
        let seconds: u64 = whole.parse().ok()?;
        return Some(Time::Offset(Nanos(
            seconds.checked_mul(SECOND)?.checked_add(fraction_ns(fraction))?,
        )));
    }
    if let Ok(span) = text.parse() {
        return Some(Time::Offset(span));
    }
    if let Some(time) = of_day(text) {
        return Some(Time::OfDay(time));
    }
    let seconds: f64 = text.parse().ok()?;
    // Such as 1e3; what is above 584 years is no time.
    (0.0..1.8e10).contains(&seconds).then(|| Time::Offset(Nanos::from_secs_f64(seconds)))
}

/// `5` after the point is 500,000,000 nanoseconds; what is finer than one is cut off.
fn fraction_ns(digits: &str) -> u64 {
    let (mut sum, mut place) = (0, SECOND);
    for digit in digits.bytes() {
        place /= 10;
        sum += u64::from(digit - b'0') * place;
    }
    sum
}

/// `2024-05-01 12:30:00.5`, with `T` in place of the space, with or without seconds; `Z` or an
/// offset such as `+02:00` at the end is left out of account.
fn of_day(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is = |at: usize, bytes: &[u8]| text.as_bytes().get(at).is_some_and(|b| bytes.contains(b));
    if !(is(4, b"-") && is(7, b"-") && is(10, b" T") && is(13, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute) = (number(11, 13)?, number(14, 16)?);
    let (second, mut rest) = if is(16, b":") { (number(17, 19)?, 19) } else { (0, 16) };
    let mut fraction = 0;
    if rest == 19 && is(19, b".") {
        let digits = text[20..].bytes().take_while(u8::is_ascii_digit).count();
        fraction = i64::try_from(fraction_ns(&text[20..20 + digits])).ok()?;
        rest = 20 + digits;
    }
    let zone = &text[rest..];
    let is_offset = zone.len() == 6 && zone.starts_with(['+', '-']);
    let is_sound = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    if !is_sound || second > 60 || !(zone.is_empty() || zone == "Z" || is_offset) {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    seconds.checked_mul(SECOND as i64)?.checked_add(fraction)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar: years begin with March, so that the
/// leap day is the last of them.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    // From 0000-03-01 to 1970-01-01.
    365 * year + leap_days + day_of_year - 719_468
}

/// Where a column stands: by its name in the first line.
///
/// # Errors
/// If there is none of that name.
pub(super) fn column(header: &[Field<'_>], name: &str) -> Result<usize, DataProblem> {
    const KNOWN_MAX: usize = 12;
    header.iter().position(|field| field.text == name).ok_or_else(|| {
        let known: Vec<String> =
            header.iter().take(KNOWN_MAX).map(|field| shown(&field.text)).collect();
        DataProblem::NoColumn { name: shown(name), known: known.join(", ") }
    })
}

/// The field at `index`.
///
/// # Errors
/// If the line is too short; the place is that of its last field.
pub(super) fn field<'a, 'b>(
    fields: &'a [Field<'b>],
    index: usize,
) -> Result<&'a Field<'b>, (usize, DataProblem)> {
    fields.get(index).ok_or_else(|| {
        let column = fields.last().map_or(1, |field| field.column);
        (column, DataProblem::NoField { found: fields.len(), wanted: index + 1 })
    })
}
