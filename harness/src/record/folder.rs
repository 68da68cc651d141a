//! The run folder: its files and its name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The record's file name.
pub const RECORD: &str = "record.jsonl";
/// The scenario's file name.
pub const SCENARIO: &str = "scenario.yaml";
/// The provenance's file name.
pub const PROVENANCE: &str = "provenance.json";
/// The summary's file name.
pub const SUMMARY: &str = "summary.json";
/// The report's file name.
pub const REPORT: &str = "report.html";

/// Where and when a run was made: what the record must not hold, so that equal runs have equal
/// records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Provenance {
    /// Start of the run, RFC 3339, UTC.
    pub started: String,
    /// The build.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
    /// The machine's name.
    pub host: String,
    /// Operating system, kernel and architecture.
    pub system: String,
    /// The processor's model.
    pub processor: String,
    /// Processors.
    pub cores: u64,
    /// The scenario's origin: a path, or a bundled name.
    pub scenario: String,
    /// Why this backend, if it was not the one that was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A new folder `NAME-1`, `NAME-2` ... under `parent`, the first that is free.
///
/// # Errors
/// If none can be made.
pub fn create(parent: &Path, name: &str) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(parent)?;
    for number in 1..100_000u32 {
        let path = parent.join(format!("{name}-{number}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(std::io::Error::other(format!("{} holds 100000 runs of {name}", parent.display())))
}
