//! A result that is there already: read back from its folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use highwater_model::spec::Scenario;

use super::{Tuned, told};
use crate::scenario::{Loaded, ScenarioError, Variants};

/// The files of a result's folder.
pub(super) const RESULT: &str = "tune.json";
pub(super) const REPORT: &str = "report.html";
pub(super) const PATCH: &str = "patch.yaml";
/// The longest of them that is read, bytes.
const BYTES_MAX: u64 = 64 << 20;

/// Why a folder holds no result of a scenario.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgainError {
    /// A file could not be read.
    #[error("reading {}: {source}; give the folder that `highwater tune` wrote", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No result, or one of another version.
    #[error("{} is no result that this build can read: {source}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Too long.
    #[error("{} is longer than {BYTES_MAX} bytes", path.display())]
    TooLong {
        /// Which.
        path: PathBuf,
    },
    /// A result of something else.
    #[error(
        "{} is about {there}, and what was given is {here}: give the scenario, --set and --seed of that \
         search",
        path.display()
    )]
    Foreign {
        /// Which.
        path: PathBuf,
        /// What it is about.
        there: String,
        /// What was given.
        here: String,
    },
    /// A setting that the scenario refuses.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// Reads a result back.
///
/// # Errors
/// [`AgainError`], also if it is of another scenario or seed.
pub(super) fn read(folder: &Path, loaded: &Loaded) -> Result<Tuned, AgainError> {
    let path = folder.join(RESULT);
    let text = text(&path)?;
    let tuning: told::Tuning = serde_json::from_str(&text)
        .map_err(|source| AgainError::Damaged { path: path.clone(), source })?;
    let of = |schema: &str, name: &str, seed: u64| format!("{schema} `{name}`, seed {seed}");
    let there = of(&tuning.schema, &tuning.scenario, tuning.seed);
    let Scenario { name, seed, .. } = &loaded.scenario;
    let here = of(told::SCHEMA, name, *seed);
    let has_settings = tuning.settings.len() > tuning.recommended.unwrap_or_default();
    if there != here || !has_settings {
        return Err(AgainError::Foreign { path, there, here });
    }
    refuse_other_settings(loaded, &tuning)?;
    let patch = folder.join(PATCH);
    let patch = patch.exists().then(|| self::text(&patch)).transpose()?;
    Ok(Tuned { tuning, patch })
}

/// What real runs said of a result stays with it if the search goes on and comes to the same.
pub(super) fn keep_confirmed(folder: &Path, loaded: &Loaded, tuning: &mut told::Tuning) {
    // Without a result there is nothing to keep.
    let Ok(before) = read(folder, loaded) else { return };
    let sets = |of: &told::Tuning| -> Vec<Vec<String>> {
        of.settings.iter().map(|one| one.set.clone()).collect()
    };
    let (there, here) = (&before.tuning, &*tuning);
    if there.recommended == here.recommended && sets(there) == sets(here) {
        tuning.confirm = before.tuning.confirm;
    }
}

/// The scenario must take what the search found.
fn refuse_other_settings(loaded: &Loaded, tuning: &told::Tuning) -> Result<(), AgainError> {
    let variants = Variants::new(loaded)?;
    for setting in &tuning.settings {
        let pairs = setting.set.iter().filter_map(|set| set.split_once('='));
        let pairs: Vec<_> = pairs.map(|(path, value)| (path.into(), value.into())).collect();
        variants.with(&pairs)?;
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, AgainError> {
    let failed = |source| AgainError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > BYTES_MAX {
        return Err(AgainError::TooLong { path: path.to_owned() });
    }
    fs::read_to_string(path).map_err(failed)
}
