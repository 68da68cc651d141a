//! What can be wrong with a scenario, said so that it can be put right: file, line, key, and the
//! nearest key or value that is known.

use std::{fmt, io, path::PathBuf};

use thiserror::Error;

/// The most faults that one error tells; the rest are counted.
pub const FAULTS_MAX: usize = 20;

/// Why no scenario could be loaded. Its text may have several lines, one per fault.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// Neither a file nor a bundled scenario.
    #[error("no scenario `{name}`: there is no such file, and {}", bundled_hint(nearest.as_deref(), known))]
    NotFound {
        /// What was asked for.
        name: String,
        /// The bundled scenario whose name is nearest.
        nearest: Option<String>,
        /// The names of all bundled scenarios.
        known: Vec<&'static str>,
    },
    /// The operating system would not give the file.
    #[error("reading the scenario {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A directory, pipe or device.
    #[error("reading the scenario {}: it is no regular file; give a YAML file", path.display())]
    NotAFile {
        /// What was given.
        path: PathBuf,
    },
    /// More bytes than a scenario may have.
    #[error("reading the scenario {}: it is longer than {limit} bytes, which no scenario needs", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The most bytes.
        limit: u64,
    },
    /// Bytes that are no UTF-8.
    #[error("{}:{line}:{column}: the file is not UTF-8 text; save it as UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line of the first wrong byte, from 1.
        line: usize,
        /// Its column in characters, from 1.
        column: usize,
    },
    /// An override that cannot be applied.
    #[error("--set {argument}: {problem}")]
    Override {
        /// The argument as it was given.
        argument: String,
        /// What is wrong with it.
        problem: OverrideProblem,
    },
    /// The text is no scenario, or one that cannot be run.
    #[error(transparent)]
    Invalid(#[from] Faults),
    /// A file that the traffic is made from cannot be used.
    #[error(transparent)]
    Data(#[from] super::DataError),
}

fn bundled_hint(nearest: Option<&str>, known: &[&str]) -> String {
    let known = known.join(", ");
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`? Bundled are: {known}"),
        None => format!("bundled are: {known}"),
    }
}

/// Why an override cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OverrideProblem {
    /// No `=`.
    #[error("has no value; write it like traffic.phases[0].hold=50/s")]
    NoValue,
    /// The path is empty, too long or ends in the middle.
    #[error("`{0}` is no path of keys; write it like traffic.phases[0].hold")]
    BadPath(String),
    /// An index behind the end of a list.
    #[error("`{path}` has {length} entries; index {length} adds one, {index} is too far")]
    IndexTooFar {
        /// The list.
        path: String,
        /// Its length.
        length: usize,
        /// What was asked for.
        index: usize,
    },
    /// A key in a list.
    #[error("`{path}` is a list; give an index in place of `{key}`")]
    NotAnIndex {
        /// The list.
        path: String,
        /// What was asked for.
        key: String,
    },
    /// A key in a scalar.
    #[error("`{path}` is a single value, so it has no `{key}`")]
    NotAContainer {
        /// The scalar.
        path: String,
        /// What was asked for.
        key: String,
    },
    /// The value is no YAML.
    #[error("the value is not YAML: {0}")]
    BadValue(String),
}

/// All that is wrong with a scenario's text, bounded; at least one.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct Faults {
    /// The scenario, as people know it: its file's path or its bundled name.
    pub origin: String,
    /// The faults in the order of the file, those of overrides last; [`FAULTS_MAX`] at most.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub omitted: usize,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match &fault.place {
                Place::File { line, column } => write!(f, "{}:{line}:{column}: ", self.origin)?,
                Place::Override { path } => write!(f, "--set {path}: ")?,
            }
            write!(f, "{fault}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n{}: and {} more", self.origin, self.omitted)?;
        }
        Ok(())
    }
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file.
    File {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// In an override.
    Override {
        /// The `PATH` of its `PATH=VALUE`.
        path: String,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The full path of the key, as `traffic.phases[1].for`; empty at the top.
    pub path: String,
    /// What.
    pub kind: FaultKind,
}

/// What is wrong at one place.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// The text is no YAML, or YAML that scenarios do not use (anchors, tags, several documents).
    Syntax(String),
    /// A key stands twice in one mapping.
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A key that means nothing here. The fault's path is that of the mapping.
    UnknownKey {
        /// The key.
        key: String,
        /// The known key that is nearest, if one is near.
        nearest: Option<String>,
        /// All known keys.
        known: Vec<String>,
    },
    /// A key that must be there. The fault's path is that of the mapping.
    MissingKey {
        /// The key.
        key: String,
    },
    /// A name that means nothing here.
    UnknownValue {
        /// What was written.
        value: String,
        /// The known value that is nearest, if one is near.
        nearest: Option<String>,
        /// All known values.
        known: Vec<String>,
    },
    /// Another kind of value than this key takes.
    WrongKind {
        /// What the key takes.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A value that cannot be read, such as a malformed duration.
    BadValue(String),
    /// A value that contradicts another one or lies out of bounds.
    Relation(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "the scenario" } else { &self.path };
        match &self.kind {
            FaultKind::Syntax(message) => f.write_str(message),
            FaultKind::DuplicateKey { key } => write!(f, "key `{key}` stands twice in {place}"),
            FaultKind::UnknownKey { key, nearest, known } => {
                write!(f, "unknown key `{}` in {place}; ", shown(key))?;
                write_known(f, nearest.as_deref(), known)
            }
            FaultKind::MissingKey { key } => write!(f, "key `{key}` is missing in {place}"),
            FaultKind::UnknownValue { value, nearest, known } => {
                write!(f, "{place}: `{}` is not known here; ", shown(value))?;
                write_known(f, nearest.as_deref(), known)
            }
            FaultKind::WrongKind { expected, found } => {
                write!(f, "{place}: expected {expected}, found {found}")
            }
            FaultKind::BadValue(message) | FaultKind::Relation(message) => {
                write!(f, "{place}: {message}")
            }
        }
    }
}

fn write_known(f: &mut fmt::Formatter<'_>, near: Option<&str>, known: &[String]) -> fmt::Result {
    match near {
        Some(near) => write!(f, "did you mean `{near}`?"),
        None => write!(f, "known are {}", known.join(", ")),
    }
}

/// Text of the file as an error may show it: on one line, without control characters, not endless.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

/// The known word nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const WORD_BYTES_MAX: usize = 200;
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let folded = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&folded, &known.to_lowercase()), known))
        .min()
        .filter(|(distance, known)| *distance * 3 <= known.len().max(word.len()))
        .map(|(_, known)| known.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_offered() {
        let known = ["replicas", "strategy", "template"];
        assert_eq!(nearest("replica", known).as_deref(), Some("replicas"));
        assert_eq!(nearest("REPLICAS", known).as_deref(), Some("replicas"));
        assert_eq!(nearest("zzz", known), None);
        assert_eq!(nearest(&"replicas".repeat(1000), known), None);
    }

    #[test]
    fn shown_text_stays_on_one_line_and_short() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown("\u{1b}[31m"), "\\u{1b}[31m");
        assert!(shown(&"x".repeat(5000)).len() < 70);
    }
}
