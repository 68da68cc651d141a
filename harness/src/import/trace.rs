//! Single requests, in the order of their times.
//!
//! Logs are written when requests end, so they are a little out of order: requests wait in a heap
//! until those that came later are further ahead than the window. Times in whole seconds are in no
//! order at all: the requests of one second are spread evenly over it, in the order of the log.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    io::Write,
};

use highwater_model::{
    spec::{TRACE_KINDS_MAX, TRACE_REQUESTS_MAX},
    time::{Nanos, SECOND},
};

use super::{
    Args, Written,
    curve::seconds,
    entry::Entry,
    error::{ImportError, LineProblem},
    time::shown,
};

/// The most requests that wait.
const WAITING_MAX: usize = 200_000;
/// The longest path.
const PATH_BYTES_MAX: usize = 4 << 10;

/// A request that waits: its time, its number in the files, what it asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: i64,
    number: u64,
    is_coarse: bool,
    request: String,
}

/// The writer of a trace.
#[derive(Debug)]
pub(super) struct Trace {
    window: i64,
    keeps_query: bool,
    waiting: BinaryHeap<Reverse<Waiting>>,
    newest: i64,
    /// The requests of one second, in the order of the log.
    second: Vec<Waiting>,
    first: Option<i64>,
    last: i64,
    number: u64,
    rows: u64,
    kinds: BTreeSet<String>,
}

impl Trace {
    pub(super) fn new(args: &Args) -> Self {
        Self {
            window: i64::try_from(args.reorder.0).unwrap_or(i64::MAX),
            keeps_query: args.keep_query,
            waiting: BinaryHeap::new(),
            newest: i64::MIN,
            second: Vec::new(),
            first: None,
            last: i64::MIN,
            number: 0,
            rows: 0,
            kinds: BTreeSet::new(),
        }
    }

    /// Takes a request.
    pub(super) fn add(&mut self, entry: &Entry, out: &mut dyn Write) -> Result<(), ImportError> {
        let request = self.request(entry).ok_or(LineProblem::NoRequest)?;
        if entry.at.at < self.last {
            let late = Nanos(self.last.abs_diff(entry.at.at));
            return Err(LineProblem::Late(late).into());
        }
        self.number += 1;
        self.newest = self.newest.max(entry.at.at);
        self.waiting.push(Reverse(Waiting {
            at: entry.at.at,
            number: self.number,
            is_coarse: entry.at.is_coarse,
            request,
        }));
        let ripe = self.newest.saturating_sub(self.window);
        while self.waiting.peek().is_some_and(|next| next.0.at < ripe)
            || self.waiting.len() > WAITING_MAX
        {
            self.pop(out)?;
        }
        Ok(())
    }

    fn pop(&mut self, out: &mut dyn Write) -> Result<(), ImportError> {
        let Some(Reverse(next)) = self.waiting.pop() else { return Ok(()) };
        self.last = next.at;
        let is_same = self.second.first().is_some_and(|first| first.at == next.at);
        if !is_same || self.second.len() >= WAITING_MAX {
            self.flush(out)?;
        }
        self.second.push(next);
        Ok(())
    }

    /// Writes the requests of one time.
    fn flush(&mut self, out: &mut dyn Write) -> Result<(), ImportError> {
        let second = std::mem::take(&mut self.second);
        let count = second.len() as i64;
        for (index, request) in (0_i64..).zip(&second) {
            let within = if request.is_coarse { index * SECOND as i64 / count } else { 0 };
            self.row(request.at.saturating_add(within), &request.request, out)?;
        }
        Ok(())
    }

    fn row(&mut self, at: i64, request: &str, out: &mut dyn Write) -> Result<(), ImportError> {
        if self.rows >= TRACE_REQUESTS_MAX {
            return Err(ImportError::TooManyRequests { limit: TRACE_REQUESTS_MAX });
        }
        if self.rows == 0 {
            out.write_all(b"time,method,path\n").map_err(ImportError::Write)?;
        }
        self.rows += 1;
        let first = *self.first.get_or_insert(at);
        if self.kinds.len() <= TRACE_KINDS_MAX && !self.kinds.contains(request) {
            self.kinds.insert(request.to_owned());
        }
        let at = seconds(Nanos(at.abs_diff(first)));
        writeln!(out, "{at},{request}").map_err(ImportError::Write)
    }

    /// `METHOD,PATH`, as it is written; nothing if it is no request.
    fn request(&self, entry: &Entry) -> Option<String> {
        let method = if entry.method.is_empty() { "GET" } else { &entry.method };
        let is_method = method.len() <= 16 && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let path = self.path(&entry.target)?;
        is_method.then(|| format!("{method},{path}"))
    }

    /// The path of a path or URL, fit for a request and for a field of the file.
    fn path(&self, target: &str) -> Option<String> {
        let path = match target.split_once("://") {
            Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                rest.find('/').map_or("/", |at| &rest[at..])
            }
            _ => target,
        };
        let path = path.split('#').next().unwrap_or_default();
        let path = if self.keeps_query { path } else { path.split('?').next().unwrap_or_default() };
        if !path.starts_with('/') || path.len() > PATH_BYTES_MAX {
            return None;
        }
        let mut fit = String::with_capacity(path.len());
        for byte in path.bytes() {
            // A comma and a quote would need quotes, braces are the scenario's own.
            match byte {
                b',' | b'"' | b'{' | b'}' | b'\\' => fit.push_str(&format!("%{byte:02X}")),
                0x21..=0x7e => fit.push(char::from(byte)),
                _ => fit.push_str(&format!("%{byte:02X}")),
            }
        }
        Some(fit)
    }

    /// Writes what still waits.
    pub(super) fn finish(
        mut self,
        out: &mut dyn Write,
        file: &str,
    ) -> Result<Written, ImportError> {
        while !self.waiting.is_empty() {
            self.pop(out)?;
        }
        self.flush(out)?;
        let mut notes = vec![format!(
            "in the scenario: traffic: {{phases: [{{trace: {{file: {file}, method: \"{{method}}\", \
             path: \"{{path}}\"}}}}]}}"
        )];
        if self.kinds.len() > TRACE_KINDS_MAX {
            notes.push(format!(
                "there are more than {TRACE_KINDS_MAX} different requests, which is the most that a \
                 scenario takes: leave `path` out, and give the traffic's own `requests`"
            ));
        }
        if let Some(first) = self.first {
            notes.push(format!("the trace begins at {}", shown(first)));
        }
        Ok(Written { rows: self.rows, notes })
    }
}
