//! Bundled scenarios, the schema and the reference: what others rely on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use highwater_model::{spec::Misbehaviour, time::Nanos};

use super::super::*;
use super::load_sound;

#[test]
fn bundled_scenarios_can_be_run_and_conform_to_the_schema() {
    for (name, text) in BUNDLED {
        let loaded = load(name, &Overrides::default()).expect(name);
        assert_eq!((loaded.scenario.name.as_str(), loaded.text.as_str()), (*name, *text));
        assert_eq!(loaded.effective_yaml, *text);
        assert!(text.starts_with("# Proves "), "{name} does not say what it proves");
        let tree = tree::parse(text).expect("YAML");
        assert_eq!(check::check(&tree, &schema()), []);
        let written = serde_json::to_string(&loaded.scenario).expect("JSON");
        let again = load_sound(&written, &[]).expect("what we write, we read");
        assert_eq!(again.scenario, loaded.scenario, "{name}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("scenarios/")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let mut names: Vec<_> = files.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
    names.sort_unstable();
    let bundled: Vec<_> = BUNDLED.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, bundled, "every file in scenarios/ is bundled");
}

#[test]
fn the_twins_differ_in_one_setting() {
    let right = load("rolling-update", &Overrides::default()).expect("bundled").scenario;
    let mut wrong = load("rolling-update-wrong", &Overrides::default()).expect("bundled").scenario;
    assert_eq!(wrong.target.misbehave, [Misbehaviour::CloseListenerFirst]);
    wrong.target.misbehave.clear();
    wrong.name.clone_from(&right.name);
    wrong.description.clone_from(&right.description);
    assert_eq!(wrong, right);
    let drain = right.target.service.map(|service| service.drain).expect("bundled service");
    assert!(drain.delay > right.path.propagation.upper_bound().expect("bounded"));
    assert!(
        validate::total_length(&right.traffic) <= Nanos::from_secs(50),
        "start and end fit in 75 s"
    );
}

#[test]
fn the_schema_is_the_same_each_time_and_says_what_it_is() {
    let schema = schema();
    assert_eq!(schema.to_string(), super::super::schema().to_string());
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$id"], SCHEMA_ID);
    for key in ["title", "description", "$defs"] {
        assert!(!schema[key].is_null(), "{key}");
    }
}

#[test]
fn the_reference_names_every_key_and_every_word() {
    fn collect(schema: &Value, words: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            words.extend(properties.keys().cloned());
        }
        words.extend(schema.get("const").and_then(Value::as_str).map(str::to_owned));
        match schema {
            Value::Object(map) => map.values().for_each(|value| collect(value, words)),
            Value::Array(items) => items.iter().for_each(|value| collect(value, words)),
            _ => {}
        }
    }
    let reference = include_str!("../../../../docs/scenario.md");
    let mut words = Vec::new();
    collect(&schema(), &mut words);
    assert!(words.len() > 100, "{}", words.len());
    let names = |word: &str| reference.contains(&format!("`{word}`"));
    for word in words {
        // A gate's `failed.crash` is named as `failed.CAUSE`, and its cause by itself.
        let by_cause = word.split_once('.').filter(|(name, _)| names(&format!("{name}.CAUSE")));
        let is_named = names(&word) || by_cause.is_some_and(|(_, cause)| names(cause));
        assert!(is_named, "docs/scenario.md lacks `{word}`");
    }
}

#[test]
fn examples_in_the_reference_can_be_run() {
    let reference = include_str!("../../../../docs/scenario.md");
    let blocks: Vec<&str> = reference.split("```yaml\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let (text, _) = block.split_once("```").expect("a closed block");
        load_sound(text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}
