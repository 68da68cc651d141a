//! Where a scenario comes from: a file, or one of those that are part of the program.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::error::{ScenarioError, nearest};

/// The longest scenario file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

macro_rules! bundled {
    ($($name:literal)*) => {
        /// The scenarios that are part of the program: name and text.
        pub const BUNDLED: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../scenarios/", $name, ".yaml"))),)*
        ];
    };
}

bundled! {
    "bad-version"
    "bad-version-wrong"
    "crash"
    "crash-wrong"
    "day"
    "eviction"
    "eviction-wrong"
    "idle-timeout-race"
    "idle-timeout-race-wrong"
    "long-requests"
    "long-requests-wrong"
    "rolling-update"
    "rolling-update-wrong"
    "scale-down"
    "scale-down-wrong"
    "self-scaling"
    "self-scaling-wrong"
    "slow-start"
    "slow-start-wrong"
    "spike"
    "spike-rps"
    "transitions"
}

/// Where a scenario was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// One of [`BUNDLED`], by name.
    Bundled(&'static str),
}

impl fmt::Display for Origin {
    /// As it stands before `:LINE:COLUMN` in errors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Bundled(name) => write!(f, "bundled:{name}.yaml"),
        }
    }
}

/// The text of a scenario by path or name, and where it came from.
///
/// *Behaviour*: a file wins over a bundled scenario; a bundled scenario wins over a directory of
/// its name, which may well be a run folder.
///
/// # Errors
/// No such scenario, or a file that cannot be read as bounded UTF-8 text.
pub(super) fn read(name: &str) -> Result<(String, Origin), ScenarioError> {
    let path = Path::new(name);
    let unreadable = |source| ScenarioError::Unreadable { path: path.to_owned(), source };
    let bundled = bundled(name);
    match (fs::metadata(path), bundled) {
        (Ok(metadata), _) if metadata.is_file() => {
            let bytes = read_bounded(path)?;
            Ok((decode(bytes, path)?, Origin::File(path.to_owned())))
        }
        (_, Some((name, text))) => Ok(((*text).to_owned(), Origin::Bundled(name))),
        (Ok(_), None) => Err(ScenarioError::NotAFile { path: path.to_owned() }),
        (Err(error), None) => match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename => Err(not_found(name)),
            _ => Err(unreadable(error)),
        },
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ScenarioError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ScenarioError::TooLong { path: path.to_owned(), limit: FILE_BYTES_MAX });
    }
    Ok(bytes)
}

fn decode(bytes: Vec<u8>, path: &Path) -> Result<String, ScenarioError> {
    String::from_utf8(bytes).map_err(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let sound = String::from_utf8_lossy(sound);
        ScenarioError::NotText {
            path: path.to_owned(),
            line: sound.matches('\n').count() + 1,
            column: sound.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1,
        }
    })
}

/// The short name of what may be meant as a bundled scenario.
fn short_name(name: &str) -> &str {
    let name = name.strip_prefix("./").unwrap_or(name);
    let name = name.strip_prefix("scenarios/").unwrap_or(name);
    let name = name.strip_suffix(".yaml").or(name.strip_suffix(".yml")).unwrap_or(name);
    name.strip_suffix("-scenario").unwrap_or(name)
}

fn bundled(name: &str) -> Option<&'static (&'static str, &'static str)> {
    let short = short_name(name);
    BUNDLED.iter().find(|(known, _)| *known == short)
}

fn not_found(name: &str) -> ScenarioError {
    let known: Vec<&'static str> = BUNDLED.iter().map(|(name, _)| *name).collect();
    let last = name.rsplit('/').next().unwrap_or(name);
    ScenarioError::NotFound {
        name: super::error::shown(name),
        nearest: nearest(short_name(last), known.iter().copied()),
        known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_scenarios_have_several_spellings() {
        for name in [
            "rolling-update",
            "rolling-update-scenario",
            "rolling-update.yaml",
            "scenarios/rolling-update.yaml",
            "./scenarios/rolling-update-scenario.yml",
        ] {
            let (_, origin) = read(name).expect(name);
            assert_eq!(origin, Origin::Bundled("rolling-update"), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_tells_the_nearest_and_all() {
        let told = read("roling-update").expect_err("unknown").to_string();
        assert!(told.contains("did you mean `rolling-update`?"), "{told}");
        assert!(told.contains("rolling-update-wrong"), "{told}");
        let told = read("/no/such/thing\0.yaml").expect_err("unknown").to_string();
        assert!(told.contains("bundled are"), "{told}");
    }

    #[test]
    fn files_win_and_what_is_no_text_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let sound = file("rolling-update.yaml", b"name: mine");
        let (text, origin) = read(&sound).expect("read");
        assert_eq!((text.as_str(), origin), ("name: mine", Origin::File(sound.into())));
        let long = file("long", &vec![b'#'; 1 + (1 << 20)]);
        assert!(matches!(read(&long), Err(ScenarioError::TooLong { .. })));
        let binary = file("binary", b"a: 1\n\xc3\xa4\xff");
        let error = read(&binary).expect_err("no text");
        assert!(error.to_string().contains(":2:2: "), "{error}");
        let folder = folder.path().to_str().expect("UTF-8");
        assert!(matches!(read(folder), Err(ScenarioError::NotAFile { .. })));
        assert!(matches!(read("/dev/zero"), Err(ScenarioError::NotAFile { .. })));
    }
}
