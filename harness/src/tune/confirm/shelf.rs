//! Where the runs are kept: read back, and what is no finished run set aside.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use highwater_model::spec::Scenario;

use super::order::Job;
use crate::{
    analyze::{self, AnalyzeError},
    compare::{
        asked,
        run::{RunFigures, of_record},
    },
    record::{self, BackendKind, EndReason, ReadError, folder},
    run::read_provenance,
    tune::{finals, told::TuneRun},
};

/// Where runs go that did not come to their end, next to the settings' folders.
const UNFINISHED: &str = "unfinished";

/// A run that was made.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) figures: RunFigures,
    pub(super) run: TuneRun,
    /// Whether it came to its end.
    pub(super) is_finished: bool,
}

/// Why what is there is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// A run cannot be read.
    #[error("reading a run that was confirmed before: {0}")]
    Read(#[from] ReadError),
    /// A record contradicts itself.
    #[error("analysing {}: {source}", path.display())]
    Analyze {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: AnalyzeError,
    },
    /// A run of something else.
    #[error(
        "{} is a run of another scenario, seed or backend than is to be confirmed; move it away, or \
         search again into a new folder",
        path.display()
    )]
    Foreign {
        /// Which.
        path: PathBuf,
    },
    /// A run cannot be moved.
    #[error("moving {} out of the way: {source}", path.display())]
    Move {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The finished run of a job, if there is one; what did not come to its end is set aside.
pub(super) fn look(job: &Job, backend: BackendKind) -> Result<Option<Kept>, ShelfError> {
    if !job.folder.exists() {
        return Ok(None);
    }
    match look_at(job, backend)? {
        Some(kept) if kept.is_finished => Ok(Some(kept)),
        _ => set_aside(&job.folder).map(|()| None),
    }
}

/// What is there of a job's run; `None` if no record was begun.
pub(super) fn look_at(job: &Job, backend: BackendKind) -> Result<Option<Kept>, ShelfError> {
    if !job.folder.join(folder::RECORD).is_file() {
        return Ok(None);
    }
    let record = match record::read(&job.folder) {
        Ok(record) => record,
        // Killed before its header was written.
        Err(ReadError::Empty { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let header = &record.header;
    if header.backend != backend || !is_same(&header.scenario, &job.plan.scenario) {
        return Err(ShelfError::Foreign { path: job.folder.clone() });
    }
    let failed = |source| ShelfError::Analyze { path: job.folder.clone(), source };
    let analysis = analyze::analyze(&record).map_err(failed)?;
    let label = job.folder.display().to_string();
    let provenance = read_provenance(&job.folder);
    let reason = record.footer.as_ref().map(|footer| footer.reason);
    Ok(Some(Kept {
        figures: of_record(&label, &record, provenance.as_ref()).map_err(failed)?,
        run: finals::figures(&record.header.scenario, &analysis),
        is_finished: reason == Some(EndReason::Completed),
    }))
}

/// Whether the same was asked and the same had to hold.
fn is_same(one: &Scenario, other: &Scenario) -> bool {
    one.seed == other.seed
        && one.objectives == other.objectives
        && asked::keys(one) == asked::keys(other)
}

fn set_aside(run: &Path) -> Result<(), ShelfError> {
    let failed = |source| ShelfError::Move { path: run.to_owned(), source };
    let arm = run.parent().unwrap_or(run);
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let parent = arm.parent().unwrap_or(arm).join(UNFINISHED);
    let free = folder::create(&parent, &format!("{}-{}", name(arm), name(run))).map_err(failed)?;
    // An empty folder gives way to another.
    fs::rename(run, free).map_err(failed)
}

/// A path within a folder, as it is told.
pub(super) fn within(out: &Path, path: &Path) -> String {
    path.strip_prefix(out).unwrap_or(path).display().to_string()
}
