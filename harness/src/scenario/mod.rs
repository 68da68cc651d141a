//! Scenario files: found, read, checked, with errors that name file, line, key and what was meant.
//!
//! 1. text to values with places: [`tree`]
//! 2. unknown keys, by the schema that is generated from the types: [`schema`]
//! 3. values to types, then relations between them: [`load`]

pub mod schema;
pub mod tree;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use highwater_model::spec::{Scenario, validate};
use serde_json::Value;

use tree::{Node, Place};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most problems that are told of one file.
const PROBLEMS_MAX: usize = 20;

/// The bundled scenarios: name and text.
pub const BUNDLED: &[(&str, &str)] = &[
    ("rolling-update", include_str!("../../../scenarios/rolling-update.yaml")),
    ("rolling-update-wrong", include_str!("../../../scenarios/rolling-update-wrong.yaml")),
    ("transitions", include_str!("../../../scenarios/transitions.yaml")),
];

/// A scenario that was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The scenario, overrides applied.
    pub scenario: Scenario,
    /// The text as it was read.
    pub text: String,
    /// Where it came from: a path, or `bundled: NAME`.
    pub origin: String,
}

/// One step on the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a map.
    Key(String),
    /// An index of a list, from 0.
    Index(usize),
}

/// A problem of a scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is; `None` if it came with `--set`.
    pub place: Option<Place>,
    /// The key.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Neither a file nor a bundled one.
    #[error(
        "there is no scenario `{name}`: no such file, and bundled are {}{}",
        bundled_names(),
        suggestion(nearest)
    )]
    NotFound {
        /// What was asked for.
        name: String,
        /// The bundled name that is nearest.
        nearest: Option<String>,
    },
    /// The file could not be read.
    #[error("reading the scenario {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large to be a scenario.
    #[error("the scenario {} has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// An override that cannot be followed.
    #[error("--set {given}: {message}")]
    Override {
        /// What was given.
        given: String,
        /// What is wrong with it.
        message: String,
    },
    /// The file says what no scenario can say.
    #[error("{}", show(origin, problems))]
    Problems {
        /// The file.
        origin: String,
        /// All that is wrong, in order.
        problems: Vec<Problem>,
    },
}

fn bundled_names() -> String {
    BUNDLED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

fn show(origin: &str, problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| {
        let place = problem.place.map_or_else(
            || format!("{origin} (--set)"),
            |place| format!("{origin}:{}:{}", place.line, place.column),
        );
        if problem.path.is_empty() {
            format!("{place}: {}", problem.message)
        } else {
            format!("{place}: {}: {}", problem.path, problem.message)
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The name among `known` that is nearest to `given`, if one is near.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|name| {
        let score = strsim::jaro_winkler(&given.to_ascii_lowercase(), &name.to_ascii_lowercase());
        (score, name)
    });
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(score, _)| *score > 0.75).map(|(_, name)| name)
}

/// Loads a scenario by path, or by name among the bundled ones, with or without `-scenario`, and
/// applies the overrides (`PATH=VALUE`).
///
/// # Errors
/// All that is wrong with it, at most 20 problems.
pub fn load(name: &str, overrides: &[String]) -> Result<Loaded, ScenarioError> {
    let (origin, text) = find(name)?;
    let scenario = parse(&origin, &text, overrides)?;
    Ok(Loaded { scenario, text, origin })
}

fn find(name: &str) -> Result<(String, String), ScenarioError> {
    let path = Path::new(name);
    let is_path = name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml");
    if path.is_file() || (is_path && path.exists()) {
        return Ok((name.into(), read_file(path)?));
    }
    let bare = name.strip_suffix(".yaml").unwrap_or(name);
    let names = [bare, bare.strip_suffix("-scenario").unwrap_or(bare)];
    let bundled = BUNDLED.iter().find(|(known, _)| names.contains(known));
    if let (Some((known, text)), false) = (bundled, name.contains('/')) {
        return Ok((format!("bundled: {known}"), (*text).into()));
    }
    let nearest = nearest(names[1], BUNDLED.iter().map(|(known, _)| *known)).map(Into::into);
    Err(ScenarioError::NotFound { name: name.into(), nearest })
}

fn read_file(path: &Path) -> Result<String, ScenarioError> {
    use std::io::Read as _;
    let io = |source| ScenarioError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ScenarioError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes)
        .map_err(|error| io(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))
}

/// Reads a scenario's text; `origin` is for errors.
///
/// # Errors
/// As [`load`].
pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Scenario, ScenarioError> {
    let fail = |problems| ScenarioError::Problems { origin: origin.into(), problems };
    let mut node = tree::parse(text).map_err(|error| {
        fail(vec![Problem {
            place: Some(error.place),
            path: String::new(),
            message: error.message,
        }])
    })?;
    for given in overrides {
        apply_override(&mut node, given)?;
    }
    let schema = schema::scenario();
    let unknown = schema::unknown_keys(&schema, &node, PROBLEMS_MAX);
    if !unknown.is_empty() {
        return Err(fail(unknown.iter().map(|key| unknown_problem(&node, key)).collect()));
    }
    let scenario: Scenario = serde_path_to_error::deserialize(node.value()).map_err(|error| {
        let path: Vec<Step> = error.path().iter().filter_map(step).collect();
        let message = error.inner().to_string();
        fail(vec![problem(&node, &path, message)])
    })?;
    let mut problems = validate::problems(&scenario);
    problems.truncate(PROBLEMS_MAX);
    if problems.is_empty() {
        return Ok(scenario);
    }
    let problems = problems.into_iter();
    Err(fail(
        problems.map(|found| problem(&node, &parse_path(&found.path), found.message)).collect(),
    ))
}

fn step(segment: &serde_path_to_error::Segment) -> Option<Step> {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn problem(node: &Node, path: &[Step], message: String) -> Problem {
    let place = node.place_of(path);
    let is_override = place == OVERRIDDEN;
    Problem { place: (!is_override).then_some(place), path: show_path(path), message }
}

fn unknown_problem(node: &Node, key: &schema::UnknownKey) -> Problem {
    let name = match key.path.last() {
        Some(Step::Key(name)) => name.as_str(),
        _ => "",
    };
    let known = key.known.iter().map(String::as_str);
    let advice = match nearest(name, known.clone()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("known here are {}", known.collect::<Vec<_>>().join(", ")),
    };
    problem(node, &key.path, format!("unknown key `{name}`; {advice}"))
}

/// `a.b[0].c`.
fn show_path(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        use fmt::Write as _;
        // Writing to a string does not fail.
        let _ = match step {
            Step::Key(key) if text.is_empty() => write!(text, "{key}"),
            Step::Key(key) => write!(text, ".{key}"),
            Step::Index(index) => write!(text, "[{index}]"),
        };
    }
    text
}

/// Reads `a.b[0].c` and `a.b.0.c`. Keys with dots (objectives) cannot be reached.
fn parse_path(path: &str) -> Vec<Step> {
    let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']'));
    let steps = parts.filter(|part| !part.is_empty());
    steps.map(|part| part.parse().map_or_else(|_| Step::Key(part.into()), Step::Index)).collect()
}

/// The place of what came with `--set`.
const OVERRIDDEN: Place = Place { line: usize::MAX, column: 0 };

fn apply_override(root: &mut Node, given: &str) -> Result<(), ScenarioError> {
    let fail = |message: String| ScenarioError::Override { given: given.into(), message };
    let (path, value) = given
        .split_once('=')
        .ok_or_else(|| fail("write it as PATH=VALUE, like target.deployment.replicas=3".into()))?;
    let mut value = tree::parse(value).map_err(|error| fail(error.message))?;
    mark_overridden(&mut value);
    let steps = parse_path(path);
    if steps.is_empty() {
        return Err(fail("the path is empty".into()));
    }
    let mut at = root;
    for (index, step) in steps.iter().enumerate() {
        if matches!(&at.kind, tree::Kind::Scalar(Value::Null)) && matches!(step, Step::Key(_)) {
            at.kind = tree::Kind::Map(Vec::new());
        }
        at = match (&mut at.kind, step) {
            (tree::Kind::Map(entries), Step::Key(key)) => {
                let found = entries.iter().position(|(known, _, _)| known == key);
                let found = found.unwrap_or_else(|| {
                    let node = Node { place: OVERRIDDEN, kind: tree::Kind::Map(Vec::new()) };
                    entries.push((key.clone(), OVERRIDDEN, node));
                    entries.len() - 1
                });
                &mut entries[found].2
            }
            (tree::Kind::List(items), Step::Index(wanted)) => {
                let count = items.len();
                items.get_mut(*wanted).ok_or_else(|| {
                    fail(format!("{} has {count} entries", show_path(&steps[..index])))
                })?
            }
            (tree::Kind::List(_), Step::Key(_)) => {
                return Err(fail(format!(
                    "{} is a list; give an index",
                    show_path(&steps[..index])
                )));
            }
            _ => {
                return Err(fail(format!("{} has nothing inside it", show_path(&steps[..index]))));
            }
        };
    }
    *at = value;
    Ok(())
}

fn mark_overridden(node: &mut Node) {
    node.place = OVERRIDDEN;
    match &mut node.kind {
        tree::Kind::Scalar(_) => {}
        tree::Kind::List(items) => items.iter_mut().for_each(mark_overridden),
        tree::Kind::Map(entries) => {
            for (_, place, node) in entries {
                *place = OVERRIDDEN;
                mark_overridden(node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::{spec::Misbehaviour, units::RatePerSec};
    use proptest::prelude::*;

    const SOUND: &str = "name: test\ntraffic:\n  phases:\n    - {hold: 50/s, for: 20s}\n";

    fn problems(text: &str) -> String {
        parse("file.yaml", text, &[]).expect_err(text).to_string()
    }

    #[test]
    fn every_bundled_scenario_loads_by_its_names() {
        for (name, _) in BUNDLED {
            for asked in [name.to_string(), format!("{name}-scenario"), format!("{name}.yaml")] {
                let loaded = load(&asked, &[]).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(loaded.scenario.name, *name);
                assert!(loaded.text.starts_with('#'), "{name} begins with what it proves");
            }
        }
        let error = load("roling-update", &[]).expect_err("a slip").to_string();
        assert!(error.contains("did you mean `rolling-update`?"), "{error}");
    }

    #[test]
    fn errors_name_file_line_key_and_what_was_meant() {
        let rows = [
            (
                "name: test\ntrafic: {}\n",
                "file.yaml:2:1: trafic: unknown key `trafic`; did you mean `traffic`?",
            ),
            (
                "name: test\ntarget:\n  deployment:\n    replica: 3\ntraffic: {phases: []}\n",
                "file.yaml:4:5: target.deployment.replica: unknown key `replica`; did you mean `replicas`?",
            ),
            (
                "name: test\ntraffic:\n  phases:\n    - {hold: fast, for: 20s}\n",
                "file.yaml:4:8: traffic.phases[0].hold: `fast` is not a rate",
            ),
            (
                "name: test\ntarget: {misbehave: [exit-on-sigtrem]}\ntraffic: {phases: []}\n",
                "file.yaml:2:22: target.misbehave[0]: unknown variant `exit-on-sigtrem`",
            ),
            ("name: test\n", "missing field `traffic`"),
            (
                "name: test\ntraffic:\n  phases:\n    - {hold: 50/s}\n",
                "file.yaml:4:7: traffic.phases[0]: `hold` needs `for`",
            ),
            (
                "name: test\ntraffic: {phases: [{hold: 1/s, for: 1s}]}\nobjectives: [{failled: 0}]\n",
                "unknown key `failled`; did you mean `failed`?",
            ),
        ];
        for (text, expected) in rows {
            let found = problems(text);
            assert!(found.contains(expected), "{found}\nfor\n{text}");
        }
    }

    #[test]
    fn all_unknown_keys_are_told_at_once() {
        let found = problems("nam: test\ntrafic: {}\nzzz: 1\n");
        assert_eq!(found.lines().count(), 3, "{found}");
        assert!(found.contains("zzz: unknown key `zzz`; known here are "));
    }

    #[test]
    fn overrides_change_what_is_there_and_make_what_is_not() {
        let sets = [
            "traffic.phases[0].hold=75/s",
            "traffic.phases.0.for=1m",
            "target.misbehave=[exit-on-sigterm]",
            "target.deployment.template.readinessProbe={httpGet: {path: /readyz}}",
        ];
        let scenario = parse("file.yaml", SOUND, &sets.map(String::from)).expect("sound");
        assert_eq!(scenario.traffic.phases[0].hold, Some(RatePerSec(75.0)));
        assert_eq!(scenario.target.misbehave, [Misbehaviour::ExitOnSigterm]);
        assert!(scenario.target.deployment.template.readiness_probe.is_some());
    }

    #[test]
    fn overrides_that_cannot_be_followed_say_why() {
        for (set, word) in [
            ("name", "PATH=VALUE"),
            ("=1", "path is empty"),
            ("traffic.phases[7].hold=1/s", "has 1 entries"),
            ("traffic.phases.hold=1/s", "give an index"),
            ("name.first=1", "nothing inside"),
            ("target.deployment.replica=3", "(--set): target.deployment.replica: unknown key"),
            ("seed=[", "not YAML"),
        ] {
            let error = parse("file.yaml", SOUND, &[set.into()]).expect_err(set).to_string();
            assert!(error.contains(word), "{set}: {error}");
        }
    }

    #[test]
    fn files_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("large.yaml"), vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        std::fs::write(path("binary.yaml"), [0xff, 0xfe, 0x00]).unwrap();
        std::fs::create_dir(path("folder.yaml")).unwrap();
        for name in ["large.yaml", "binary.yaml", "folder.yaml", "missing.yaml"] {
            assert!(load(path(name).to_str().unwrap(), &[]).is_err(), "{name}");
        }
    }

    #[test]
    fn the_schema_is_the_same_each_time_and_describes_every_key() {
        assert_eq!(schema::scenario(), schema::scenario());
        let reference = include_str!("../../../docs/scenario.md");
        let mut missing = Vec::new();
        collect_keys(&schema::scenario(), &mut |key| {
            if !reference.contains(&format!("`{key}`")) {
                missing.push(key.to_string());
            }
        });
        assert_eq!(missing, Vec::<String>::new(), "keys that docs/scenario.md does not explain");
    }

    fn collect_keys(schema: &Value, tell: &mut dyn FnMut(&str)) {
        match schema {
            Value::Object(map) => {
                for (key, value) in map {
                    if let ("properties", Some(properties)) = (key.as_str(), value.as_object()) {
                        properties.keys().for_each(|key| tell(key));
                    }
                    collect_keys(value, tell);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect_keys(item, tell)),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_override_panics(text in ".{0,200}", set in ".{0,60}") {
            let _ = parse("file.yaml", &text, &[]);
            let _ = parse("file.yaml", SOUND, &[set]);
        }
    }
}
