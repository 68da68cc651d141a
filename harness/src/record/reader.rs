//! Opening `record.jsonl`, also when it was cut off.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{Line, RunRecord, SCHEMA};

/// The longest line that is read. A second's window of all outcomes has some 20 KB.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A record could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("reading the record {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is empty.
    #[error("the record {} is empty: the run was ended before it began", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// It is no record, or one of another version.
    #[error("{} is no record that this build can read: it says `{found}`, and this build reads `{SCHEMA}`", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// A line is damaged.
    #[error("line {line} of the record {} is damaged: {source}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A line is too long.
    #[error("line {line} of the record {} is longer than {LINE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
    },
}

/// Opens a record file, or the one in a run folder.
///
/// # Errors
/// If it is missing, foreign or damaged before its last line. A last line that was cut off by the
/// end of the process is dropped.
pub fn read(path: &Path) -> Result<RunRecord, ReadError> {
    let path = if path.is_dir() { path.join(super::folder::RECORD) } else { path.to_owned() };
    let file = File::open(&path).map_err(|source| ReadError::Io { path: path.clone(), source })?;
    read_from(BufReader::with_capacity(1 << 18, file), &path)
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    schema: Option<String>,
}

/// Reads a record; `path` is for errors.
///
/// # Errors
/// As [`read`].
pub fn read_from(mut input: impl BufRead, path: &Path) -> Result<RunRecord, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let mut buffer = Vec::new();
    let mut record: Option<RunRecord> = None;
    let mut number = 0;
    loop {
        buffer.clear();
        let mut limited = std::io::Read::take(&mut input, LINE_BYTES_MAX as u64);
        if limited.read_until(b'\n', &mut buffer).map_err(io)? == 0 {
            break;
        }
        number += 1;
        let is_whole = buffer.last() == Some(&b'\n');
        if !is_whole && buffer.len() == LINE_BYTES_MAX {
            return Err(ReadError::TooLong { path: path.to_owned(), line: number });
        }
        let Some(known) = &mut record else {
            record = Some(header(&buffer, is_whole, path)?);
            continue;
        };
        match serde_json::from_slice::<Line>(&buffer) {
            Ok(line) => known.push(line),
            Err(_) if !is_whole => break,
            Err(source) => {
                return Err(ReadError::Damaged { path: path.to_owned(), line: number, source });
            }
        }
    }
    let mut record = record.ok_or_else(|| ReadError::Empty { path: path.to_owned() })?;
    if record.footer.as_ref().is_some_and(|footer| footer.lines + 1 != number) {
        record.footer = None;
    }
    record.sort();
    Ok(record)
}

fn header(line: &[u8], is_whole: bool, path: &Path) -> Result<RunRecord, ReadError> {
    let foreign = |found: String| ReadError::Foreign { path: path.to_owned(), found };
    let probe: Probe = match serde_json::from_slice(line) {
        Ok(probe) => probe,
        Err(_) if !is_whole => {
            return Err(ReadError::Empty { path: path.to_owned() });
        }
        Err(_) => return Err(foreign("no JSON".into())),
    };
    match probe.schema {
        Some(schema) if schema == SCHEMA => {}
        other => return Err(foreign(other.unwrap_or_else(|| "nothing".into()))),
    }
    match serde_json::from_slice(line) {
        Ok(Line::Header(header)) => Ok(RunRecord::new(*header)),
        Ok(_) => Err(foreign("another line than a header".into())),
        Err(source) => Err(ReadError::Damaged { path: path.to_owned(), line: 1, source }),
    }
}
