//! The response header that tells what the proxy met on the way to the pod.
//!
//! `worker=0;tries=1;pod=v1-1;conn=17;opened=5;served=3;idle=2;start=8;end=9;error=eof`: fields in
//! this order, those that do not apply left out. Instants are nanoseconds of the proxy's
//! CLOCK_MONOTONIC, or since the start of a run once it was told of one; `idle` is a span in
//! nanoseconds. Bytes of the pod's name other than letters, digits, `-`, `.`,
//! `_`, `:` and `/` are percent-encoded, so that any name comes through.

use std::fmt::Write;

use highwater_model::{
    outcome::{Connection, Hop, HopError},
    time::Nanos,
};
use serde::{Deserialize, Serialize};

use crate::clock::RunClock;

/// Name of the header.
pub const NAME: &str = "x-highwater-upstream";

/// What the proxy did towards a pod for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamInfo {
    /// Which worker, and so whose view of the endpoints.
    pub worker: u32,
    /// How many tries it made: 1, or 0 if there was none to make (no endpoint, refused upgrade).
    pub tries: u32,
    /// The pod it tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The connection to the pod, even if connecting failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<UpstreamConnection>,
    /// When the try began.
    pub start: u64,
    /// When the head of the response was there or the error was met.
    pub end: u64,
    /// What was met; `None` if the pod answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<HopError>,
}

/// A connection from the proxy to a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamConnection {
    /// Its number, unique in the life of the proxy.
    pub conn: u64,
    /// When `connect` was called.
    pub opened: u64,
    /// Requests answered on it before this one.
    pub served: u64,
    /// How long it had been idle before this one, in nanoseconds.
    pub idle: u64,
}

impl UpstreamInfo {
    /// The try in the record's terms. `clock` is the run's, by the proxy's own monotonic clock.
    /// Instants before the run's start become its start.
    pub fn to_hop(&self, clock: &RunClock) -> Hop {
        let at = |mono_ns: u64| clock.at(mono_ns);
        Hop {
            consumer: self.worker,
            error: self.error,
            pod: self.pod.clone(),
            connection: self.connection.map(|connection| Connection {
                id: connection.conn,
                opened: at(connection.opened),
                served: connection.served,
                idle: Nanos(connection.idle),
            }),
            started: at(self.start),
            ended: at(self.end),
            tries: self.tries,
        }
    }
}

/// The header's value, with instants as they are.
pub fn format(info: &UpstreamInfo) -> String {
    format_as(info, |mono_ns| mono_ns)
}

/// The header's value, with instants on the axis of a run. `clock` is the run's, by the proxy's own
/// monotonic clock; instants before the run's start become its start.
pub fn format_since(info: &UpstreamInfo, clock: &RunClock) -> String {
    format_as(info, |mono_ns| clock.at(mono_ns).0)
}

fn format_as(info: &UpstreamInfo, instant: impl Fn(u64) -> u64) -> String {
    let mut text = String::with_capacity(192);
    push(&mut text, "worker=", u64::from(info.worker));
    push(&mut text, ";tries=", u64::from(info.tries));
    if let Some(pod) = &info.pod {
        text.push_str(";pod=");
        push_encoded(&mut text, pod);
    }
    if let Some(connection) = &info.connection {
        push(&mut text, ";conn=", connection.conn);
        push(&mut text, ";opened=", instant(connection.opened));
        push(&mut text, ";served=", connection.served);
        push(&mut text, ";idle=", connection.idle);
    }
    push(&mut text, ";start=", instant(info.start));
    push(&mut text, ";end=", instant(info.end));
    if let Some(error) = info.error {
        text.push_str(";error=");
        text.push_str(error.name());
    }
    text
}

/// `key` and the decimal digits of `number`; this runs for every request, and `write!` costs
/// several times as much.
fn push(text: &mut String, key: &str, mut number: u64) {
    text.push_str(key);
    let mut digits = [b'0'; 20];
    let mut first = digits.len() - 1;
    while number >= 10 {
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        first -= 1;
    }
    digits[first] = b'0' + number as u8;
    text.extend(digits[first..].iter().map(|digit| char::from(*digit)));
}

fn push_encoded(text: &mut String, name: &str) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

/// Why a header's value could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A part without `=`.
    #[error("reading {NAME}: `{0}` is not a field; is there another proxy on the way?")]
    NotAField(String),
    /// A field that is not known or comes twice.
    #[error("reading {NAME}: the field `{0}` is unknown or repeated; do the versions agree?")]
    Unexpected(String),
    /// A field that must be there is not.
    #[error("reading {NAME}: the field `{0}` is missing; do the versions agree?")]
    Missing(&'static str),
    /// A value that is no number, no name or no error.
    #[error("reading {NAME}: `{value}` cannot be the value of `{field}`")]
    BadValue {
        /// The field.
        field: String,
        /// Its value.
        value: String,
    },
}

/// Names of the numeric fields, in the order in which [`parse`] reads them.
const NUMBERS: [&str; 8] = ["worker", "tries", "conn", "opened", "served", "idle", "start", "end"];

/// Reads a header's value. The order of the fields does not matter.
///
/// *Errors*: see [`ParseError`]; the whole value is then of no use.
pub fn parse(value: &str) -> Result<UpstreamInfo, ParseError> {
    let mut numbers: [Option<u64>; NUMBERS.len()] = [None; NUMBERS.len()];
    let (mut pod, mut error) = (None, None);
    for part in value.split(';') {
        let (field, value) =
            part.split_once('=').ok_or_else(|| ParseError::NotAField(part.into()))?;
        let bad = || ParseError::BadValue { field: field.into(), value: value.into() };
        let repeated = if let Some(index) = NUMBERS.iter().position(|name| *name == field) {
            let number = value.parse().map_err(|_| bad())?;
            numbers[index].replace(number).is_some()
        } else if field == "pod" {
            pod.replace(decode(value).ok_or_else(bad)?).is_some()
        } else if field == "error" {
            error.replace(HopError::from_name(value).ok_or_else(bad)?).is_some()
        } else {
            true
        };
        if repeated {
            return Err(ParseError::Unexpected(field.into()));
        }
    }
    assemble(numbers, pod, error)
}

fn assemble(
    numbers: [Option<u64>; NUMBERS.len()],
    pod: Option<String>,
    error: Option<HopError>,
) -> Result<UpstreamInfo, ParseError> {
    let number = |index: usize| numbers[index].ok_or(ParseError::Missing(NUMBERS[index]));
    let small = |index: usize| {
        let value = number(index)?;
        u32::try_from(value).map_err(|_| ParseError::BadValue {
            field: NUMBERS[index].into(),
            value: value.to_string(),
        })
    };
    let connection = if numbers[2..6].iter().any(Option::is_some) {
        Some(UpstreamConnection {
            conn: number(2)?,
            opened: number(3)?,
            served: number(4)?,
            idle: number(5)?,
        })
    } else {
        None
    };
    Ok(UpstreamInfo {
        worker: small(0)?,
        tries: small(1)?,
        pod,
        connection,
        start: number(6)?,
        end: number(7)?,
        error,
    })
}

fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
