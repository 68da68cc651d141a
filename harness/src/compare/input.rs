//! From what the command line names to runs' figures: run folders, records, summaries, baselines,
//! folders of runs, and patterns.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::run::{self, RunFigures};
use crate::{
    analyze::{AnalyzeError, Summary, summary},
    record::{self, ReadError, folder},
    run::read_provenance,
};

/// The version of the baseline's format.
pub const SCHEMA: &str = "highwater.baseline/v1";
/// The file of a baseline.
pub const BASELINE: &str = "baseline.json";
/// Where baselines are committed.
pub const BASELINES: &str = "reports/baseline";
/// More runs than this are not read for one side.
pub const RUNS_MAX: usize = 200;
/// The longest summary or baseline, bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// A run has two cells per stretch of time at most where phases meet, and no more stretches.
const CELLS_MAX: usize = 20_000;
/// Folders that are looked through for a pattern.
const ENTRIES_MAX: usize = 100_000;

/// Runs that were accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// [`SCHEMA`].
    pub schema: String,
    /// The build that wrote it.
    pub version: String,
    /// The runs.
    pub runs: Vec<RunFigures>,
}

/// Why a side could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file could not be read.
    #[error("reading {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record could not be opened.
    #[error(transparent)]
    Record(#[from] ReadError),
    /// A record contradicts itself.
    #[error("analysing {}: {source}", path.display())]
    Analyze {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: AnalyzeError,
    },
    /// Neither summary nor baseline, or one of another version.
    #[error("{} is nothing that this build can compare: it says `{found}`, and this build reads `{}`, `{}` and `{SCHEMA}`", path.display(), record::SCHEMA, summary::SCHEMA)]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What it says of itself.
        found: String,
    },
    /// A summary or baseline is damaged.
    #[error("{} is damaged: {source}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A baseline tells of what no run has.
    #[error("{} is damaged: it has {what} that no run has", path.display())]
    Beyond {
        /// Which.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
    /// Too long.
    #[error("{} is longer than {FILE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// Nothing is there.
    #[error("{}: no run is there: give a run folder, a folder of run folders, a record, a summary.json, a baseline, or a pattern such as 'reports/spike-*' in quotes", path.display())]
    Nothing {
        /// What was given.
        path: PathBuf,
    },
    /// Too many runs.
    #[error("{}: {found} runs are too many; {most} is the most", path.display())]
    TooMany {
        /// What was given.
        path: PathBuf,
        /// How many.
        found: usize,
        /// The most.
        most: usize,
    },
}

/// Reads all runs that `given` names.
///
/// # Errors
/// See [`InputError`].
pub fn read(given: &str) -> Result<Vec<RunFigures>, InputError> {
    let given_path = Path::new(given);
    let paths = if given_path.exists() { vec![given_path.to_owned()] } else { matches(given)? };
    let mut places = Vec::new();
    for path in paths {
        places.extend(runs_in(&path)?);
    }
    if places.is_empty() {
        return Err(InputError::Nothing { path: given_path.to_owned() });
    }
    let mut runs = Vec::new();
    for place in &places {
        // A baseline is several runs.
        runs.extend(read_one(place)?);
        let found = runs.len().max(places.len());
        if found > RUNS_MAX {
            return Err(InputError::TooMany { path: given_path.to_owned(), found, most: RUNS_MAX });
        }
    }
    Ok(runs)
}

/// The record file of the first of the runs that `given` names, if that is a record.
pub fn first_record(given: &str) -> Option<PathBuf> {
    let path = Path::new(given);
    let paths = if path.exists() { vec![path.to_owned()] } else { matches(given).ok()? };
    let first = runs_in(paths.first()?).ok()?.into_iter().next()?;
    let file = if first.is_dir() { first.join(folder::RECORD) } else { first };
    (file.is_file() && file.extension().is_none_or(|extension| extension != "json")).then_some(file)
}

/// A run folder, a file, or the run folders in a folder.
fn runs_in(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let is_run = |path: &Path| {
        [folder::RECORD, BASELINE, folder::SUMMARY].iter().any(|name| path.join(name).is_file())
    };
    if !path.is_dir() || is_run(path) {
        return Ok(vec![path.to_owned()]);
    }
    let mut runs: Vec<PathBuf> = entries(path)?.into_iter().filter(|path| is_run(path)).collect();
    runs.sort_by_key(|path| natural(path));
    Ok(runs)
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let failed = |source| InputError::Io { path: path.to_owned(), source };
    let entries = fs::read_dir(path).map_err(failed)?.take(ENTRIES_MAX);
    entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}

/// `run-2` before `run-10`.
fn natural(path: &Path) -> (String, u64, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name[stem.len()..].parse().unwrap_or_default();
    (stem.to_owned(), number, name)
}

/// What a pattern with `*` and `?` in its last part matches.
fn matches(pattern: &str) -> Result<Vec<PathBuf>, InputError> {
    let path = Path::new(pattern);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.contains(['*', '?']) {
        return Err(InputError::Nothing { path: path.to_owned() });
    }
    let fits = |path: &PathBuf| {
        let name_there = path.file_name().unwrap_or_default().to_string_lossy();
        fits(name.as_bytes(), name_there.as_bytes())
    };
    let mut found: Vec<PathBuf> = entries(parent)?.into_iter().filter(fits).collect();
    found.sort_by_key(|path| natural(path));
    Ok(found)
}

/// Whether `name` fits a pattern of `*` (any number of bytes) and `?` (one).
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[place] => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, place) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

fn read_one(path: &Path) -> Result<Vec<RunFigures>, InputError> {
    let label = path.display().to_string();
    let file = if path.is_dir() {
        let names = [folder::RECORD, BASELINE, folder::SUMMARY];
        let there = names.iter().map(|name| path.join(name)).find(|path| path.is_file());
        there.ok_or_else(|| InputError::Nothing { path: path.to_owned() })?
    } else {
        path.to_owned()
    };
    let beside = file.parent().and_then(read_provenance);
    if file.extension().is_some_and(|extension| extension == "json") {
        return read_json(&file, &label, beside.as_ref());
    }
    let record = record::read(&file)?;
    let figures = run::of_record(&label, &record, beside.as_ref())
        .map_err(|source| InputError::Analyze { path: file, source })?;
    Ok(vec![figures])
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    schema: String,
}

fn read_json(
    path: &Path,
    label: &str,
    beside: Option<&folder::Provenance>,
) -> Result<Vec<RunFigures>, InputError> {
    let failed = |source| InputError::Io { path: path.to_owned(), source };
    let damaged = |source| InputError::Damaged { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(InputError::TooLong { path: path.to_owned() });
    }
    let bytes = fs::read(path).map_err(failed)?;
    let probe: Probe = serde_json::from_slice(&bytes).map_err(damaged)?;
    match probe.schema.as_str() {
        SCHEMA => {
            let baseline: Baseline = serde_json::from_slice(&bytes).map_err(damaged)?;
            let strange = baseline.runs.iter().find_map(strange);
            match strange {
                Some(what) => Err(InputError::Beyond { path: path.to_owned(), what }),
                None => Ok(baseline.runs),
            }
        }
        summary::SCHEMA => {
            let summary: Summary = serde_json::from_slice(&bytes).map_err(damaged)?;
            Ok(vec![run::of_summary(label, &summary, beside)])
        }
        other => {
            let found = if other.is_empty() { "nothing" } else { other };
            let found = found.chars().take(100).collect();
            Err(InputError::Foreign { path: path.to_owned(), found })
        }
    }
}

/// What a run from a file has that no run has: what follows holds something for each of them.
fn strange(run: &RunFigures) -> Option<&'static str> {
    let times = run.cells.iter().map(|cell| cell.time);
    let is_endless = |value: &f64| !value.is_finite() || *value < 0.0;
    match () {
        () if run.cells.len() > CELLS_MAX => Some("more cells"),
        () if times.max().unwrap_or_default() > CELLS_MAX as u64 => Some("a later cell"),
        () if run.pods.len() > CELLS_MAX => Some("more pods"),
        () if run.pods.iter().any(is_endless) || is_endless(&run.pod_hours) => Some("a number"),
        () if run.phases.len() > usize::from(u16::MAX) => Some("more phases"),
        () if run.cells.iter().any(|cell| cell.latency.count().is_err()) => Some("a histogram"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_a_shell_would_have_them_fit() {
        let rows = [
            ("spike-*", "spike-1", true),
            ("spike-*", "spike-", true),
            ("spike-*", "spike", false),
            ("*-1?", "run-12", true),
            ("*-1?", "run-1", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("**", "", true),
        ];
        for (pattern, name, expected) in rows {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_run_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let endless = r#"{"schema":"highwater.baseline/v1","version":"","runs":[{"label":"","scenario":"a",
            "backend":"sim","seed":1,"cellSeconds":1,"counts":{"owed":0,"ok":0,"failed":0,"unsent":0},
            "cells":[{"time":99999999999,"phase":0,"owed":1,"ok":1,"failed":0,"unsent":0}],
            "podsMax":0,"podHours":0,"unexplained":0}]}"#;
        let torn = endless.replace("\"time\":99999999999", "\"time\":1,\"latency\":\"AAAA\"");
        let rows = [
            ("/nowhere/at/all".into(), "no run is there"),
            (folder.path().display().to_string(), "no run is there"),
            (format!("{}/none-*", folder.path().display()), "no run is there"),
            (file("a.json", "{"), "is damaged"),
            (file("b.json", "[]"), "says `nothing`"),
            (file("c.json", "{}"), "says `nothing`"),
            (
                file("d.json", r#"{"schema":"highwater.baseline/v7"}"#),
                "says `highwater.baseline/v7`",
            ),
            (file("e.json", r#"{"schema":"highwater.summary/v1"}"#), "is damaged"),
            (file("f.json", endless), "a later cell that no run has"),
            (file("g.json", &torn), "a histogram that no run has"),
            (file("h.jsonl", ""), "is empty"),
            (file("i.jsonl", "{}\n"), "says `nothing`"),
            (file("j.txt", "hello\n"), "no JSON"),
        ];
        for (given, word) in rows {
            let error = read(&given).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
