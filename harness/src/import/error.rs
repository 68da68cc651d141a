//! What can be wrong with a file as a whole, and with a line of it.

use std::{fmt, io};

use highwater_model::time::{Nanos, human};
use thiserror::Error;

/// How many bad lines are told; the others are counted.
const TOLD_MAX: usize = 5;

/// Why nothing could be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The operating system would not give the file.
    #[error("reading {name}: {source}")]
    Read {
        /// The file.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("writing the result: {0}")]
    Write(#[source] io::Error),
    /// A directory.
    #[error("reading {name}: it is a directory; give files")]
    Directory {
        /// Which.
        name: String,
    },
    /// Packed in a way that is not read.
    #[error(
        "reading {name}: it is packed with {how}; unpack it: `{how} -dc {name} | highwater import -`"
    )]
    Packed {
        /// The file.
        name: String,
        /// The program that unpacks it.
        how: &'static str,
    },
    /// No known form.
    #[error(
        "{name}: no known form; say which with --format. A binary result of vegeta becomes one \
         with `vegeta encode`; JSON and CSV may need --time-field"
    )]
    UnknownFormat {
        /// The file.
        name: String,
    },
    /// Requests in one file and rates in the other.
    #[error("{name}: rates cannot be joined with the requests of the files before it")]
    MixedFormats {
        /// The file with the rates.
        name: String,
    },
    /// Rates make no trace.
    #[error("rates have no single requests; import them --as curve")]
    NoRequests,
    /// No response of a Prometheus range query.
    #[error(
        "{name}: no response of a range query of Prometheus (`/api/v1/query_range`, a matrix): \
         {problem}"
    )]
    Prometheus {
        /// The file.
        name: String,
        /// What the parser says.
        problem: String,
    },
    /// More unreadable lines than are allowed.
    #[error("more than {limit} unreadable lines (--max-bad): {bad}")]
    TooManyBad {
        /// How many are allowed.
        limit: u64,
        /// The first of them.
        bad: String,
    },
    /// No request at all.
    #[error("there is no request in the files: {bad}")]
    Empty {
        /// The first bad lines.
        bad: String,
    },
    /// More points than a curve may have.
    #[error(
        "from {first} to {last} are {points} points, and a curve may have {limit}; use \
         --resolution {needed} (or leave out the line with the wrong time)"
    )]
    TooManyPoints {
        /// The first time, as RFC 3339.
        first: String,
        /// The last one.
        last: String,
        /// How many points it would be.
        points: u64,
        /// The most.
        limit: usize,
        /// The least resolution that fits.
        needed: Nanos,
    },
    /// Times that are further apart than is kept in memory.
    #[error("more than {limit} different times; use a coarser --resolution")]
    TooManyBins {
        /// The most.
        limit: usize,
    },
    /// More requests than a trace may have.
    #[error("more than {limit} requests, which a trace may have; import them --as curve")]
    TooManyRequests {
        /// The most.
        limit: u64,
    },
    /// A flag that makes no sense.
    #[error("{0}")]
    Flag(String),
    /// One line; it is counted and passed over.
    #[error(transparent)]
    Line(#[from] LineProblem),
}

/// Why a line cannot be used. Text of the file is shown escaped and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LineProblem {
    /// No end within the bound.
    #[error("the line is longer than {0} bytes")]
    TooLong(usize),
    /// Bytes that are no UTF-8.
    #[error("the line is not UTF-8 text")]
    NotText,
    /// Not of this form.
    #[error("no {0}")]
    NotOfForm(&'static str),
    /// A time that cannot be read.
    #[error("`{0}` is no time")]
    Time(String),
    /// No time at all.
    #[error("there is no time under `{0}`; say where it is with --time-field")]
    NoTime(String),
    /// A column that the first line does not name.
    #[error("the first line names no column `{0}`")]
    NoColumn(String),
    /// A rate that cannot be read.
    #[error("`{0}` is no rate")]
    Rate(String),
    /// No rate where there must be one.
    #[error("there is no rate")]
    NoRate,
    /// No method or path where a trace needs one.
    #[error("there is no method and path; a curve needs none")]
    NoRequest,
    /// No JSON.
    #[error("no JSON object")]
    Json,
    /// Before what was written already.
    #[error("{} before a request that is written already; raise --reorder", human(*.0))]
    Late(Nanos),
}

/// Bad lines: counted, the first of them kept.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    limit: u64,
    pub(super) all: u64,
    told: Vec<String>,
}

impl Bad {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, all: 0, told: Vec::new() }
    }

    /// Counts a line.
    ///
    /// # Errors
    /// If it is one too many.
    pub(super) fn count(
        &mut self,
        name: &str,
        line: u64,
        problem: LineProblem,
    ) -> Result<(), ImportError> {
        if self.told.len() < TOLD_MAX {
            let name = crate::report::clean::line(name);
            self.told.push(format!("{name}:{line}: {problem}"));
        }
        self.all += 1;
        self.check()
    }

    /// Counts values without lines.
    pub(super) fn count_more(&mut self, name: &str, count: u64) -> Result<(), ImportError> {
        if count > 0 && self.told.len() < TOLD_MAX {
            let name = crate::report::clean::line(name);
            self.told.push(format!("{name}: {count} values are no rates"));
        }
        self.all += count;
        self.check()
    }

    fn check(&self) -> Result<(), ImportError> {
        if self.all > self.limit {
            return Err(ImportError::TooManyBad { limit: self.limit, bad: self.to_string() });
        }
        Ok(())
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.told.is_empty() {
            return f.write_str("all of their lines are empty or of other things");
        }
        f.write_str(&self.told.join("; "))?;
        let more = self.all.saturating_sub(self.told.len() as u64);
        if more > 0 {
            write!(f, "; and {more} more")?;
        }
        Ok(())
    }
}
