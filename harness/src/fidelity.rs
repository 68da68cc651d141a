//! `highwater fidelity`: the page of the same scenarios on several backends, from run folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    cli::{self, BAD_INPUT, MET, NOT_CARRIED_OUT},
    record, report, run,
};

/// More runs than this are not compared.
const RUNS_MAX: usize = 100;
/// The longest notes, bytes.
const NOTES_BYTES_MAX: u64 = 1 << 20;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The page to write; its pictures go to images/ beside it
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Markdown that is taken over as it is
    #[arg(long, value_name = "FILE")]
    pub notes: Option<PathBuf>,
    /// Run folders; runs of one name are compared
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
enum FidelityError {
    #[error("{0} runs are too many; {RUNS_MAX} is the most")]
    TooMany(usize),
    #[error(transparent)]
    Read(#[from] record::ReadError),
    #[error(transparent)]
    Group(#[from] report::fidelity::GroupError),
    #[error("reading the notes {}: {source}", path.display())]
    Notes { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Draw(#[from] report::chart::svg::DrawError),
    #[error("writing {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl FidelityError {
    const fn code(&self) -> u8 {
        match self {
            Self::Draw(_) | Self::Write { .. } => NOT_CARRIED_OUT,
            _ => BAD_INPUT,
        }
    }
}

/// Writes the page; the exit code.
pub fn main(args: &Args) -> u8 {
    match write(args) {
        Ok(()) => MET,
        Err(error) => {
            let code = error.code();
            cli::complain(error);
            code
        }
    }
}

fn write(args: &Args) -> Result<(), FidelityError> {
    if args.runs.len() > RUNS_MAX {
        return Err(FidelityError::TooMany(args.runs.len()));
    }
    let records: Result<Vec<_>, record::ReadError> = args
        .runs
        .iter()
        .map(|path| {
            let record = record::read(path)?;
            Ok((path.display().to_string(), record, run::read_provenance(path)))
        })
        .collect();
    let groups = report::fidelity::groups(records?)?;
    let notes = args.notes.as_deref().map(notes).transpose()?.unwrap_or_default();
    let page = report::fidelity::render(&groups, &notes)?;
    let folder = args.out.parent().unwrap_or(Path::new(".")).join("images");
    fs::create_dir_all(&folder)
        .map_err(|source| FidelityError::Write { path: folder.clone(), source })?;
    for picture in &page.pictures {
        put(&folder.join(&picture.name), &picture.svg)?;
    }
    put(&args.out, &page.markdown)
}

fn notes(path: &Path) -> Result<String, FidelityError> {
    let failed = |source| FidelityError::Notes { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > NOTES_BYTES_MAX {
        return Err(failed(io::Error::other(format!("longer than {NOTES_BYTES_MAX} bytes"))));
    }
    fs::read_to_string(path).map_err(failed)
}

fn put(path: &Path, text: &str) -> Result<(), FidelityError> {
    fs::write(path, text).map_err(|source| FidelityError::Write { path: path.to_owned(), source })
}
