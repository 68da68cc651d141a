//! `highwater import`: what others recorded, as a rate curve or a request trace for `traffic`.
//!
//! 1. `input`: files, the standard input, gzip; bounded lines
//! 2. `format`: which of the known forms it is
//! 3. `entry`, `access`, `json`, `table`, `time`: a line as a request, or as nothing, or as a bad line
//! 4. `prometheus`: a range response, as points
//! 5. `curve`, `trace`: what is written
//!
//! Lines stream through; what is kept is bounded: the bins of a curve, or the requests of a short
//! window that puts a trace in order.

mod access;
mod curve;
mod entry;
mod error;
pub mod format;
mod input;
mod json;
mod prometheus;
mod table;
#[cfg(test)]
mod tests;
mod time;
mod trace;

use std::{
    io::{BufWriter, Read, Write},
    path::PathBuf,
};

use clap::ValueEnum;
use highwater_model::time::Nanos;

use curve::{Bins, Points};
use entry::{Entry, Reader};
pub use error::ImportError;
use error::{Bad, LineProblem};
use format::Format;
use input::{Line, Lines};
use trace::Trace;

/// What to read, and what to make of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Files, gzipped or not; `-` for the standard input
    #[arg(required = true)]
    pub files: Vec<String>,
    /// What the files are
    #[arg(long, value_enum, default_value = "auto")]
    pub format: Format,
    /// What to make of them
    #[arg(long = "as", value_enum, default_value = "curve")]
    pub into: Into,
    /// The span of a point of the curve
    #[arg(long, value_name = "SPAN", default_value = "1s")]
    pub resolution: Nanos,
    /// Where to write [default: the standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The key or column of the time (`json`, `csv`): time, or request.time within an object
    #[arg(long, value_name = "NAME")]
    pub time_field: Option<String>,
    /// The key or column of the method
    #[arg(long, value_name = "NAME")]
    pub method_field: Option<String>,
    /// The key or column of the path, the URL or the request line
    #[arg(long, value_name = "NAME")]
    pub path_field: Option<String>,
    /// The column or key of a rate: each line is a point of the curve, not a request
    #[arg(long, value_name = "NAME")]
    pub rate_field: Option<String>,
    /// The span that the numbers of --rate-field are counts in
    #[arg(long, value_name = "SPAN", default_value = "1s")]
    pub per: Nanos,
    /// How many lines may be unreadable
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub max_bad: u64,
    /// How far a log may be out of order, for a trace
    #[arg(long, value_name = "SPAN", default_value = "10s")]
    pub reorder: Nanos,
    /// Keep the query of paths in a trace; it may hold secrets, and makes every request a kind
    #[arg(long)]
    pub keep_query: bool,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Into {
    /// A rate over time, for `curve`
    Curve,
    /// Single requests, for `trace`
    Trace,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Requests, or points.
    pub taken: u64,
    /// Lines that are no request and need not be: comments, other metrics.
    pub passed_over: u64,
    /// Lines that could not be read.
    pub bad: u64,
    /// Rows written.
    pub rows: u64,
    /// What goes into the scenario, and what to look at.
    pub notes: Vec<String>,
}

/// The command. Returns the exit code: 0 written, 2 bad input.
pub fn main(args: &Args) -> u8 {
    match write(args) {
        Ok(summary) => {
            let mut err = std::io::stderr().lock();
            // Where nobody reads it, the file still tells.
            let _ = err.write_all(told(&summary).as_bytes());
            crate::cli::MET
        }
        Err(error) => {
            crate::cli::complain(error);
            crate::cli::BAD_INPUT
        }
    }
}

fn told(summary: &Summary) -> String {
    let mut out = format!(
        "highwater: {} taken, {} rows written, {} lines passed over, {} unreadable\n",
        summary.taken, summary.rows, summary.passed_over, summary.bad
    );
    for note in &summary.notes {
        out.push_str(&format!("highwater: {note}\n"));
    }
    out
}

/// Writes to the file that is wanted, whole or not at all.
fn write(args: &Args) -> Result<Summary, ImportError> {
    let Some(path) = &args.out else {
        let mut out = BufWriter::new(std::io::stdout().lock());
        let summary = import(args, &mut out)?;
        out.flush().map_err(ImportError::Write)?;
        return Ok(summary);
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(std::path::Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(ImportError::Write)?;
    let mut out = BufWriter::new(&mut file);
    let summary = import(args, &mut out)?;
    out.flush().map_err(ImportError::Write)?;
    drop(out);
    file.persist(path).map_err(|error| ImportError::Write(error.error))?;
    Ok(summary)
}

/// Reads all files and writes what they come to.
///
/// # Errors
/// See [`ImportError`].
pub fn import(args: &Args, out: &mut dyn Write) -> Result<Summary, ImportError> {
    let mut importer = Importer::new(args, out)?;
    for name in &args.files {
        let source = input::open(name)?;
        importer.source(name, source)?;
    }
    importer.finish()
}

/// Reads one stream as if it were the file `name`.
///
/// # Errors
/// As [`import`].
pub fn import_from(
    args: &Args,
    source: impl Read + 'static,
    out: &mut dyn Write,
) -> Result<Summary, ImportError> {
    let mut importer = Importer::new(args, out)?;
    importer.source("-", Box::new(source))?;
    importer.finish()
}

/// Where requests and points go.
enum Sink {
    Bins(Bins),
    Points(Points),
    Trace(Box<Trace>),
}

struct Importer<'a> {
    args: &'a Args,
    out: &'a mut dyn Write,
    sink: Sink,
    bad: Bad,
    summary: Summary,
}

impl<'a> Importer<'a> {
    fn new(args: &'a Args, out: &'a mut dyn Write) -> Result<Self, ImportError> {
        let has_points = args.rate_field.is_some() || args.format == Format::Prometheus;
        if args.resolution.0 == 0 || args.per.0 == 0 {
            return Err(ImportError::Flag("--resolution and --per must be above zero".into()));
        }
        let sink = match (args.into, has_points) {
            (Into::Trace, true) => return Err(ImportError::NoRequests),
            (Into::Trace, false) => Sink::Trace(Box::new(Trace::new(args))),
            (Into::Curve, true) => Sink::Points(Points::default()),
            (Into::Curve, false) => Sink::Bins(Bins::new(args.resolution)),
        };
        Ok(Self { args, out, sink, bad: Bad::new(args.max_bad), summary: Summary::default() })
    }

    fn source(&mut self, name: &str, source: Box<dyn Read>) -> Result<(), ImportError> {
        let (head, stream) = input::unpacked(name, source)?;
        let format = match self.args.format {
            Format::Auto => format::detect(&head, self.args.time_field.is_some())
                .ok_or_else(|| ImportError::UnknownFormat { name: shown_name(name) })?,
            given => given,
        };
        if format == Format::Prometheus {
            return self.prometheus(name, stream);
        }
        let mut reader = Reader::new(format, self.args);
        let mut lines = Lines::new(stream);
        loop {
            let (number, taken) = match lines.next(name)? {
                None => return Ok(()),
                Some(Line { number, text }) => (number, text.and_then(|text| reader.read(text))),
            };
            match taken {
                Ok(Some(entry)) => self.take(name, number, &entry)?,
                Ok(None) => self.summary.passed_over += 1,
                Err(problem) => self.bad.count(name, number, problem)?,
            }
        }
    }

    fn take(&mut self, name: &str, number: u64, entry: &Entry) -> Result<(), ImportError> {
        let taken = match &mut self.sink {
            Sink::Bins(bins) => bins.add(entry.at),
            Sink::Points(points) => match entry.rate {
                Some(rate) => points.add(entry.at, rate),
                None => Err(LineProblem::NoRate.into()),
            },
            Sink::Trace(trace) => trace.add(entry, self.out),
        };
        match taken {
            Ok(()) => {
                self.summary.taken += 1;
                Ok(())
            }
            Err(ImportError::Line(problem)) => self.bad.count(name, number, problem),
            Err(error) => Err(error),
        }
    }

    fn prometheus(&mut self, name: &str, stream: Box<dyn Read>) -> Result<(), ImportError> {
        let mut points = match &mut self.sink {
            Sink::Points(points) => std::mem::take(points),
            // Known only now, if the form was not said.
            Sink::Bins(bins) if bins.is_empty() => Points::default(),
            Sink::Bins(_) => return Err(ImportError::MixedFormats { name: shown_name(name) }),
            Sink::Trace(_) => return Err(ImportError::NoRequests),
        };
        let (taken, odd) = prometheus::read(name, stream, &mut points)?;
        self.summary.taken += taken;
        self.sink = Sink::Points(points);
        self.bad.count_more(name, odd)
    }

    fn finish(mut self) -> Result<Summary, ImportError> {
        if self.summary.taken == 0 {
            return Err(ImportError::Empty { bad: self.bad.to_string() });
        }
        let file = match &self.args.out {
            Some(path) => crate::report::clean::line(&path.display().to_string()),
            None => "FILE".into(),
        };
        let written = match self.sink {
            Sink::Bins(bins) => bins.write(self.out, &file)?,
            Sink::Points(points) => points.write(self.out, &file)?,
            Sink::Trace(trace) => trace.finish(self.out, &file)?,
        };
        self.summary.rows = written.rows;
        self.summary.notes = written.notes;
        self.summary.bad = self.bad.all;
        if self.bad.all > 0 {
            self.summary.notes.push(self.bad.to_string());
        }
        Ok(self.summary)
    }
}

/// What is written, and what to say of it.
struct Written {
    rows: u64,
    notes: Vec<String>,
}

fn shown_name(name: &str) -> String {
    crate::report::clean::line(name)
}
