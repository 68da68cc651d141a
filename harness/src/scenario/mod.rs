//! Scenario files: found, read, overridden, checked.
//!
//! 1. `find`: a file, or a bundled scenario
//! 2. `tree`, `scalar`: YAML with places
//! 3. `overrides`, `path`: `--set PATH=VALUE`
//! 4. `check`: the tree against the JSON Schema of the types
//! 5. the types of [`highwater_model::spec`]
//! 6. `data`: the files that the traffic is made from
//! 7. the relations between the fields
//!
//! A search over many settings of one scenario goes through `variants`.
//!
//! Every step tells all that it finds wrong, with file, line and key, before the next one begins.

mod anchors;
pub(crate) mod check;
pub(crate) mod data;
pub(crate) mod error;
mod find;
mod overrides;
pub(crate) mod path;
pub(crate) mod scalar;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
mod variants;

use highwater_model::spec::{Gate, Scenario, validate};
use schemars::generate::SchemaSettings;
use serde_json::Value;

pub use data::{DataError, DataProblem};
pub use error::{FAULTS_MAX, Fault, FaultKind, Faults, OverrideProblem, Place, ScenarioError};
pub use variants::{Variants, read_curve, value_at};

pub use find::{BUNDLED, FILE_BYTES_MAX, Origin};

/// The address under which the schema of scenario files is known.
pub const SCHEMA_ID: &str = "https://highwater.dev/schema/scenario-v1.json";

/// What is changed in a scenario before it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `PATH=VALUE`, in order.
    pub sets: Vec<String>,
    /// The seed, after all of `sets`.
    pub seed: Option<u64>,
}

impl Overrides {
    fn arguments(&self) -> impl Iterator<Item = String> {
        let seed = self.seed.map(|seed| format!("seed={seed}"));
        self.sets.iter().cloned().chain(seed)
    }
}

/// A scenario that can be run, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The scenario, overrides applied, without [`validate::problems`].
    pub scenario: Scenario,
    /// The text as it was read, before overrides.
    pub text: String,
    /// Where it was read from.
    pub origin: Origin,
    /// A scenario file that says the same as `scenario`: `text` itself if nothing was overridden.
    pub effective_yaml: String,
}

/// Loads a scenario by path, or by name among the bundled ones (with or without `.yaml` and
/// `-scenario`); a file that exists wins.
///
/// # Errors
/// See [`ScenarioError`]; faults of the text come all at once.
pub fn load(name: &str, overrides: &Overrides) -> Result<Loaded, ScenarioError> {
    let (text, origin) = find::read(name)?;
    load_text(text, origin, overrides)
}

/// Loads a scenario from text that was read already, as from a run folder.
///
/// # Errors
/// As [`load`].
pub fn load_text(
    text: String,
    origin: Origin,
    overrides: &Overrides,
) -> Result<Loaded, ScenarioError> {
    let told = |faults| ScenarioError::Invalid(bounded(&origin, faults));
    let mut root = tree::parse(&text).map_err(told)?;
    let mut effective_yaml = String::new();
    for argument in overrides.arguments() {
        if let Err(problem) = overrides::apply(&mut root, &argument) {
            let argument = error::shown(&argument);
            return Err(ScenarioError::Override { argument, problem });
        }
        let shown = error::shown(&argument);
        effective_yaml.push_str(&format!("# {origin} with --set {shown}\n"));
    }
    let faults = check::check(&root, &schema());
    if !faults.is_empty() {
        return Err(told(faults));
    }
    let mut scenario = read_types(&root).map_err(told)?;
    data::read(&mut scenario, &origin)?;
    let problems = validate::problems(&scenario);
    if !problems.is_empty() {
        let faults = problems.into_iter().map(|problem| relation(&root, problem));
        return Err(told(faults.collect()));
    }
    if effective_yaml.is_empty() {
        effective_yaml.clone_from(&text);
    } else {
        effective_yaml.push_str(&scalar::to_yaml(&root));
    }
    Ok(Loaded { scenario, text, origin, effective_yaml })
}

/// Reads gates from text: a list of them, or anything with a list of them under `gates`.
///
/// # Errors
/// In words: where and what is wrong.
pub fn gates(text: &str) -> Result<Vec<Gate>, String> {
    let origin = Origin::File("gates".into());
    let told = |faults| bounded(&origin, faults).to_string();
    let root = tree::parse(text).map_err(told)?;
    let json = scalar::to_json(&root);
    let list = match json {
        Value::Object(mut parts) => parts.remove("gates").unwrap_or_default(),
        other => other,
    };
    let gates: Vec<Gate> =
        serde_path_to_error::deserialize(list).map_err(|error| error.to_string())?;
    if gates.is_empty() { Err("it has no gates".into()) } else { Ok(gates) }
}

/// The faults in the order of the file, bounded.
fn bounded(origin: &Origin, mut faults: Vec<Fault>) -> Faults {
    faults.sort_by(|left, right| left.place.cmp(&right.place));
    let omitted = faults.len().saturating_sub(FAULTS_MAX);
    faults.truncate(FAULTS_MAX);
    Faults { origin: origin.to_string(), faults, omitted }
}

/// Reads the tree into the types. What [`check`] lets pass and the types do not is told with the
/// key at which reading stopped.
fn read_types(root: &tree::Node) -> Result<Scenario, Vec<Fault>> {
    serde_path_to_error::deserialize(scalar::to_json(root)).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        vec![Fault {
            place: path::find(root, &path).place.clone(),
            path,
            kind: FaultKind::BadValue(error.into_inner().to_string()),
        }]
    })
}

fn relation(root: &tree::Node, problem: validate::Problem) -> Fault {
    Fault {
        place: path::find(root, &problem.path).place.clone(),
        path: problem.path,
        kind: FaultKind::Relation(problem.message),
    }
}

/// A scenario as a file that says the same, in block style.
pub fn to_yaml(scenario: &Scenario) -> String {
    let json = serde_json::to_string(scenario).expect("a scenario holds only what JSON can say");
    let root = tree::parse(&json).expect("JSON is YAML, and a scenario is no longer than its file");
    scalar::to_yaml(&root)
}

/// A value as YAML, in block style.
pub(crate) fn yaml_of(value: &Value) -> String {
    let root =
        tree::parse(&value.to_string()).expect("JSON is YAML, and a scenario's is not too long");
    scalar::to_yaml(&root)
}

/// The JSON Schema (draft 2020-12) of scenario files; the same value on every call.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Scenario>();
    schema.insert("$id".into(), SCHEMA_ID.into());
    schema.insert("title".into(), "Highwater scenario".into());
    schema.insert(
        "description".into(),
        "What is put under load, how, what is done to it meanwhile, and what must hold. \
         Reference: docs/scenario.md"
            .into(),
    );
    schema.to_value()
}
