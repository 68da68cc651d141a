//! The files that a scenario's traffic and its service times are made from, read into the scenario
//! as data.
//!
//! 1. [`text`]: bounded lines, fields, times and numbers, each with its place
//! 2. [`curve`]: a rate over time
//! 3. [`trace`]: single requests
//! 4. [`values`]: service times that were measured
//!
//! A path counts from the folder of the scenario file; for a bundled scenario from the current
//! one.

mod curve;
#[cfg(test)]
mod tests;
pub(crate) mod text;
mod trace;
mod values;

use std::{
    io,
    path::{Path, PathBuf},
};

use highwater_model::{
    spec::{Curve, Distribution, Phase, Scenario, TraceError},
    time::Nanos,
};
use thiserror::Error;

use super::find::Origin;

/// A file of a scenario that cannot be used.
#[derive(Debug, Error)]
#[error("{}{}: {problem} ({key})", path.display(), Shown(*place))]
pub struct DataError {
    /// The file.
    pub path: PathBuf,
    /// Line and column (in characters), from 1.
    pub place: Option<(usize, usize)>,
    /// The key of the scenario that names it, as `traffic.phases[0].curve.file`.
    pub key: String,
    /// What is wrong.
    pub problem: DataProblem,
}

struct Shown(Option<(usize, usize)>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => Ok(()),
            Some((line, column)) => write!(f, ":{line}:{column}"),
        }
    }
}

/// What is wrong with a file. Text of the file is shown escaped and bounded.
#[derive(Debug, Error)]
pub enum DataProblem {
    /// The operating system would not give it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A directory, pipe or device.
    #[error("is no regular file")]
    NotAFile,
    /// More bytes than such a file may have.
    #[error("is longer than {0} bytes")]
    TooLong(u64),
    /// A line that never ends.
    #[error("the line is longer than {0} bytes; is this text, with an entry a line?")]
    LineTooLong(usize),
    /// Bytes that are no UTF-8.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// A quote that is not closed in its line, or with something behind it.
    #[error("the quotes of this field do not match; a field must end in its line")]
    Quotes,
    /// A column that is not there.
    #[error("there is no column `{name}`; there are {known}")]
    NoColumn {
        /// Which one.
        name: String,
        /// Those of the first line.
        known: String,
    },
    /// A line with too few fields.
    #[error("the line has {found} fields, and field {wanted} is needed")]
    NoField {
        /// How many it has.
        found: usize,
        /// Which one is needed, from 1.
        wanted: usize,
    },
    /// A time that cannot be read.
    #[error("`{0}` is no time; write seconds (12.5), a duration (1m30s) or 2024-05-01 12:30:00.5")]
    Time(String),
    /// Times of different kinds in one file.
    #[error("some times of the file are of day and others count from its start")]
    MixedTimes,
    /// A time before that of the line before.
    #[error("the time is {0} before that of the line before; times must ascend")]
    Descends(Nanos),
    /// The time of the line before, where each needs its own.
    #[error("the time is that of the line before; times must ascend")]
    Repeats,
    /// A number that cannot be used.
    #[error("`{value}` is no {what}")]
    Number {
        /// What was found.
        value: String,
        /// What is needed.
        what: &'static str,
    },
    /// More entries than are kept.
    #[error("has more than {0} entries")]
    TooMany(usize),
    /// Fewer entries than make sense.
    #[error("has {found} entries; {needed} are needed at least")]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// More different requests than there may be kinds.
    #[error("has more than {0} different requests; round the numbers in them, with `digits: 2`")]
    TooManyKinds(usize),
    /// Bodies that would fill the memory.
    #[error("its different requests have bodies of more than {0} bytes in all")]
    TooManyBytes(u64),
    /// A line of JSON that is no object.
    #[error("the line is no JSON object: {0}")]
    Json(String),
    /// A key that is not there, or has another value than a text or a number.
    #[error("there is no text and no number of the key `{0}`")]
    NoKey(String),
    /// A `{` without a `}`.
    #[error("`{0}` has a {{ without its }}; write {{COLUMN}}")]
    Template(String),
    /// What cannot stand in a request.
    #[error(
        "`{0}` has a space, a `#` or a character that is not ASCII; write it as %20 and the like"
    )]
    Unfit(String),
    /// A trace that makes no sense.
    #[error("{0}")]
    Trace(TraceError),
    /// The scenario says the same thing twice.
    #[error("stands beside `points`; give one of them")]
    Twice,
}

/// A problem at a place of the file, or of the file as a whole.
type Found = (Option<(usize, usize)>, DataProblem);

/// Reads all files that the scenario names.
///
/// # Errors
/// The first one that cannot be used.
pub(super) fn read(scenario: &mut Scenario, origin: &Origin) -> Result<(), DataError> {
    let folder = match origin {
        Origin::File(path) => path.parent().unwrap_or(Path::new("")),
        Origin::Bundled(_) => Path::new(""),
    };
    for (index, phase) in scenario.traffic.phases.iter_mut().enumerate() {
        read_phase(phase, folder, &format!("traffic.phases[{index}]"))?;
    }
    if let Some(service) = &mut scenario.target.service {
        read_latency(&mut service.latency, folder, "target.service")?;
    }
    for (index, event) in scenario.events.iter_mut().enumerate() {
        if let Some(service) = event.rollout.as_mut().and_then(|known| known.service.as_mut()) {
            let key = format!("events[{index}].rollout.service");
            read_latency(&mut service.latency, folder, &key)?;
        }
    }
    Ok(())
}

fn read_latency(latency: &mut Distribution, folder: &Path, key: &str) -> Result<(), DataError> {
    let Distribution::File(given) = &*latency else { return Ok(()) };
    let path = folder.join(&given.path);
    *latency = values::read(given, &path).map_err(|(place, problem)| DataError {
        path,
        place,
        key: format!("{key}.latency.file.path"),
        problem,
    })?;
    Ok(())
}

/// Reads one file of rates.
pub(super) fn read_curve(given: &mut Curve, path: &Path) -> Result<(), DataError> {
    curve::read(given, path).map_err(|(place, problem)| DataError {
        path: path.to_owned(),
        place,
        key: "--traces".into(),
        problem,
    })
}

/// Those of a phase and its parts; the schema bounds how deep they are nested.
fn read_phase(phase: &mut Phase, folder: &Path, key: &str) -> Result<(), DataError> {
    if let Some(given) = &mut phase.curve
        && let Some(file) = given.file.clone()
    {
        let path = folder.join(file);
        curve::read(given, &path).map_err(|(place, problem)| DataError {
            path,
            place,
            key: format!("{key}.curve.file"),
            problem,
        })?;
    }
    if let Some(given) = &mut phase.trace {
        let path = folder.join(&given.file);
        trace::read(given, &path).map_err(|(place, problem)| DataError {
            path,
            place,
            key: format!("{key}.trace.file"),
            problem,
        })?;
    }
    for (name, parts) in [("sum", &mut phase.sum), ("product", &mut phase.product)] {
        for (index, part) in parts.iter_mut().enumerate() {
            read_phase(part, folder, &format!("{key}.{name}[{index}]"))?;
        }
    }
    Ok(())
}
