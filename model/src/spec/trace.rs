//! A trace: single requests as they once arrived.

use alloc::{string::String, sync::Arc, vec::Vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RequestKind, shape::played};
use crate::time::{Nanos, SECOND};

/// The most requests of a trace; about 5 bytes of memory each.
pub const TRACE_REQUESTS_MAX: u64 = 10_000_000;
/// The most different requests of a trace; each is a kind of request of its own.
pub const TRACE_KINDS_MAX: usize = 1000;

/// Requests at the instants, and of the kinds, that a file says. `arrivals` does not hold for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trace {
    /// The file, with one request a line: comma-separated values, or a JSON object a line. A path
    /// from the scenario file.
    pub file: String,
    /// The column (or key) of the times; the first column, or the key `at`, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The method; GET if not given. Here, in `path` and in `body`, `{COLUMN}` stands for what the
    /// line says in that column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path, such as `/work?cpu={Tokens}us`; requests are of the traffic's own kinds if it is
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many bytes the body has, such as `{Bytes}`; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// To how many significant digits numbers are rounded that are put in by `{COLUMN}`, so that
    /// fewer requests differ; not at all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<u32>,
    /// How much faster than written it is played; 1 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Where in the file's time it begins; at 0 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Nanos>,
    /// Where in the file's time it ends; after the last request if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Nanos>,
    /// What was read from the file: no key of scenario files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub data: Option<TraceData>,
}

impl Trace {
    /// How long it is played; `None` before its file was read.
    pub fn lasts(&self) -> Option<Nanos> {
        Some(played(self.data.as_ref()?.lasts, self.speed))
    }
}

/// The requests of a trace, cut to `from` and `until`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, try_from = "Wire", into = "Wire")]
pub struct TraceData {
    /// How many requests.
    pub requests: u64,
    /// How long it lasts, in the file's time.
    pub lasts: Nanos,
    /// The different requests; empty if they are of the traffic's own kinds.
    pub kinds: Vec<RequestKind>,
    /// For each request two numbers of seven bits a byte, the lowest first: nanoseconds since the
    /// request before, and 0 or 1 + its kind. `None` in a record, which does not need them.
    stream: Option<Arc<[u8]>>,
}

/// How a trace's requests are written in JSON.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    requests: u64,
    lasts: Nanos,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<RequestKind>,
    /// Nanoseconds since the request before, and 0 or 1 + its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arrivals: Option<Vec<(u64, u32)>>,
}

impl From<TraceData> for Wire {
    fn from(data: TraceData) -> Self {
        let arrivals = data.has_requests().then(|| {
            let mut last = 0;
            let arrivals = data.iter().map(|(at, kind)| {
                let gap = at.0 - last;
                last = at.0;
                (gap, kind.map_or(0, |kind| kind + 1))
            });
            arrivals.collect()
        });
        Self { requests: data.requests, lasts: data.lasts, kinds: data.kinds, arrivals }
    }
}

impl TryFrom<Wire> for TraceData {
    type Error = TraceError;

    fn try_from(wire: Wire) -> Result<Self, TraceError> {
        let Some(arrivals) = wire.arrivals else {
            let Wire { requests, lasts, kinds, .. } = wire;
            return Ok(Self { requests, lasts, kinds, stream: None });
        };
        let mut builder = TraceBuilder::default();
        let mut at = Nanos::ZERO;
        for (gap, kind) in arrivals {
            at = at + Nanos(gap);
            builder.push(at, kind.checked_sub(1))?;
        }
        builder.finish(wire.lasts, wire.kinds)
    }
}

/// A trace that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// More than [`TRACE_REQUESTS_MAX`].
    #[error("a trace has more than {TRACE_REQUESTS_MAX} requests")]
    TooMany,
    /// A request before the one before it.
    #[error("the requests of a trace do not ascend in time")]
    Descends,
    /// A request after the end.
    #[error("a request of a trace is after its end")]
    AfterEnd,
    /// A kind that is not there.
    #[error("a request of a trace is of no kind that the trace has")]
    Kind,
}

/// Puts a trace together.
#[derive(Clone, Debug, Default)]
pub struct TraceBuilder {
    stream: Vec<u8>,
    requests: u64,
    last: Nanos,
    kinds: u32,
}

impl TraceBuilder {
    /// Adds a request; `kind` is an index of those given to [`Self::finish`].
    ///
    /// # Errors
    /// [`TraceError::TooMany`], [`TraceError::Descends`].
    pub fn push(&mut self, at: Nanos, kind: Option<u32>) -> Result<(), TraceError> {
        if self.requests == TRACE_REQUESTS_MAX {
            return Err(TraceError::TooMany);
        }
        let gap = at.0.checked_sub(self.last.0).ok_or(TraceError::Descends)?;
        let kind = kind.map_or(0, |kind| kind.saturating_add(1));
        write(&mut self.stream, gap);
        write(&mut self.stream, u64::from(kind));
        (self.requests, self.last) = (self.requests + 1, at);
        self.kinds = self.kinds.max(kind);
        Ok(())
    }

    /// How many requests there are so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// When the last request is.
    pub fn last(&self) -> Nanos {
        self.last
    }

    /// The trace.
    ///
    /// # Errors
    /// [`TraceError::AfterEnd`], [`TraceError::Kind`].
    pub fn finish(self, lasts: Nanos, kinds: Vec<RequestKind>) -> Result<TraceData, TraceError> {
        if self.requests > 0 && self.last >= lasts {
            return Err(TraceError::AfterEnd);
        }
        if self.kinds as usize > kinds.len() {
            return Err(TraceError::Kind);
        }
        let stream = Some(self.stream.into());
        Ok(TraceData { requests: self.requests, lasts, kinds, stream })
    }
}

fn write(stream: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        stream.push(number as u8 | 0x80);
        number >>= 7;
    }
    stream.push(number as u8);
}

fn read(stream: &[u8], at: &mut usize) -> Option<u64> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = *stream.get(*at)?;
        *at += 1;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(number);
        }
        shift += 7;
    }
}

impl TraceData {
    /// Whether it has its requests; one of a record has not.
    pub fn has_requests(&self) -> bool {
        self.stream.is_some()
    }

    /// The same without its requests and their bodies, as records keep it.
    pub fn without_requests(&self) -> Self {
        let kinds = self.kinds.iter().map(|kind| RequestKind { body: None, ..kind.clone() });
        Self { requests: self.requests, lasts: self.lasts, kinds: kinds.collect(), stream: None }
    }

    /// The requests in order: when, in the file's time, and of which of `kinds`.
    pub fn iter(&self) -> TraceIter {
        TraceIter { stream: self.stream.clone().unwrap_or_default(), at: 0, last: Nanos::ZERO }
    }

    /// How many requests there are in each second of its time when it is played at `speed`; evenly
    /// spread if it is without them.
    pub fn by_second(&self, speed: Option<f64>) -> Vec<u64> {
        let lasts = played(self.lasts, speed);
        let seconds = usize::try_from(lasts.0.div_ceil(SECOND)).unwrap_or(usize::MAX);
        let mut counts = Vec::new();
        if self.has_requests() {
            counts.resize(seconds, 0);
            for (at, _) in self.iter() {
                let second = (played(at, speed).0 / SECOND) as usize;
                counts[second.min(seconds - 1)] += 1;
            }
        } else {
            let until = |second: usize| {
                (u128::from(self.requests) * second as u128 / seconds as u128) as u64
            };
            counts.extend((0..seconds).map(|second| until(second + 1) - until(second)));
        }
        counts
    }
}

/// See [`TraceData::iter`].
#[derive(Clone, Debug)]
pub struct TraceIter {
    stream: Arc<[u8]>,
    at: usize,
    last: Nanos,
}

impl Iterator for TraceIter {
    type Item = (Nanos, Option<u32>);

    fn next(&mut self) -> Option<Self::Item> {
        let gap = read(&self.stream, &mut self.at)?;
        let kind = read(&self.stream, &mut self.at)?;
        self.last = self.last + Nanos(gap);
        Some((self.last, (kind as u32).checked_sub(1)))
    }
}
