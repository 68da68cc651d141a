//! The journal of a search: what each setting came to on each traffic, a line per trial, so that a
//! search that was ended goes on from there.
//!
//! The search itself knows nothing of it: a trial that is in the journal is not made again, and comes to
//! the same, to the bit. So a search that goes on gives the bytes of one that was never interrupted.
//! Lines are in the order in which threads were done; nothing depends on it.

mod line;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

use highwater_model::spec::Scenario;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{cases::Cases, judge::Goals, judge::Score, space::Space};
use line::{Coarse, Line, Simulated};
pub(super) use line::{Full, Ran, Trial};

/// The version of the format.
const SCHEMA: &str = "highwater.tune-journal/v2";
/// Its name in a result's folder.
pub const FILE: &str = "journal.jsonl";
/// So many bytes of the hash tell two searches apart.
const HASH_BYTES: usize = 16;
/// The longest journal that is read, bytes: so many as the most settings on the most traffics take.
const BYTES_MAX: u64 = 1 << 30;

/// Where the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Whether it is there and is gone on with; else it must not exist.
    pub is_resumed: bool,
}

/// Why a search cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("the journal {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line that is none.
    #[error("line {line} of the journal {} is damaged: {source}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Of something else.
    #[error(
        "the journal {} is of another search ({there}; this is {here}): the scenario, --set, --seed, \
         --param, --traces and the build must be those with which it was begun; without --resume a new \
         search begins",
        path.display()
    )]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What it says of itself.
        there: String,
        /// What was asked.
        here: String,
    },
    /// Too long.
    #[error("the journal {} is longer than {BYTES_MAX} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    schema: String,
    version: String,
    scenario: String,
    seed: u64,
    /// Of the scenario, the space, the objectives and the traffics.
    hash: String,
}

impl Header {
    /// In words.
    fn shown(&self) -> String {
        let Self { schema, version, scenario, seed, hash } = self;
        format!("{schema}, build {version}, `{scenario}`, seed {seed}, {hash}")
    }
}

/// What was tried, and where it is written.
#[derive(Debug)]
pub(super) struct Journal(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    trials: BTreeMap<Trial, Coarse>,
    full: BTreeMap<Full, Simulated>,
    file: File,
    /// Why it is no more written to.
    failed: Option<io::Error>,
}

impl Journal {
    /// Begins a journal, or reads what is there and goes on behind it: a last line without its end is
    /// cut off.
    pub(super) fn open(place: &Place, hash: &Hash) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Io { path: place.path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(!place.is_resumed);
        let file = options.open(&place.path).map_err(failed)?;
        let (trials, full) = (BTreeMap::new(), BTreeMap::new());
        let mut kept = Kept { trials, full, file, failed: None };
        if place.is_resumed {
            let end = kept.read(&place.path, &hash.0)?;
            kept.file.set_len(end).map_err(failed)?;
            kept.file.seek(SeekFrom::Start(end)).map_err(failed)?;
        }
        let is_new = kept.file.stream_position().map_err(failed)? == 0;
        if is_new {
            kept.file.write_all(line(&hash.0).as_bytes()).map_err(failed)?;
        }
        Ok(Self(Mutex::new(kept)))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nobody panics while it is held")
    }

    /// What a setting came to, known or found out now.
    pub(super) fn trial(&self, trial: Trial, find: impl FnOnce() -> Score) -> Score {
        if let Some(known) = self.kept().trials.get(&trial) {
            return known.into();
        }
        let score = find();
        self.kept().write(Line::Trial(trial, (&score).into()));
        score
    }

    /// What a full simulation came to, known or found out now.
    pub(super) fn full(&self, full: Full, find: impl FnOnce() -> Ran) -> Ran {
        if let Some(known) = self.kept().full.get(&full) {
            return known.into();
        }
        let ran = find();
        self.kept().write(Line::Full(full, Box::new((&ran).into())));
        ran
    }

    /// Why it could not be written to its end: the search came to its own all the same.
    pub(super) fn failure(self) -> Option<io::Error> {
        self.0.into_inner().expect("nobody panics while it is held").failed
    }
}

impl Kept {
    /// Reads all whole lines; where they end.
    fn read(&mut self, path: &Path, here: &Header) -> Result<u64, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        if self.file.metadata().map_err(failed)?.len() > BYTES_MAX {
            return Err(JournalError::TooLong { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).map_err(failed)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = bytes[..end].split_inclusive(|byte| *byte == b'\n');
        for (place, line) in lines.enumerate() {
            let damaged =
                |source| JournalError::Damaged { path: path.to_owned(), line: place + 1, source };
            if place > 0 {
                self.add(serde_json::from_slice(line).map_err(damaged)?);
                continue;
            }
            let there: Header = serde_json::from_slice(line).map_err(damaged)?;
            if there != *here {
                let (there, here) = (there.shown(), here.shown());
                return Err(JournalError::Foreign { path: path.to_owned(), there, here });
            }
        }
        Ok(end as u64)
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Trial(trial, score) => {
                self.trials.insert(trial, score);
            }
            Line::Full(full, simulated) => {
                self.full.insert(full, *simulated);
            }
        }
    }

    /// A line at a time, so that a search that is killed loses no more than its last.
    fn write(&mut self, made: Line) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(line(&made).as_bytes()).err();
        }
        self.add(made);
    }
}

fn line(of: &impl Serialize) -> String {
    let json = serde_json::to_string(of);
    json.expect("a line holds only what JSON can say") + "\n"
}

/// What a search is about: its journal is of no use to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hash(Header);

impl Hash {
    /// *Units and shape*: all that a trial's result depends on, files that were read included.
    pub(super) fn of(space: &Space, goals: &Goals, cases: &Cases, base: &Scenario) -> Self {
        let mut digest = Summed(Sha256::new());
        // All of them print every number so that it can be read back; a digest takes all.
        let _ = write!(digest, "{base:?}\n{space:?}\n{goals:?}\n{cases:?}");
        let hash: String =
            digest.0.finalize().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Self(Header {
            schema: SCHEMA.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            scenario: base.name.clone(),
            seed: base.seed,
            hash,
        })
    }
}

/// A digest of text.
struct Summed(Sha256);

impl fmt::Write for Summed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}
