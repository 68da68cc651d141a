//! The JSON Schema of the scenario, and unknown keys by it.

use highwater_model::spec::Scenario;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{
    Step,
    tree::{Kind, Node},
};

/// The scenario's JSON Schema (draft 2020-12), for editors.
pub fn scenario() -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Scenario>()
        .to_value();
    schema["$id"] = json!("https://highwater.dev/schema/scenario-v1.json");
    schema["title"] = json!("Highwater scenario");
    schema
}

/// A key that the schema does not know at that place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The way to it, itself included.
    pub path: Vec<Step>,
    /// The keys that are known there.
    pub known: Vec<String>,
}

/// All unknown keys of a document, at most `limit`.
pub fn unknown_keys(root: &Value, node: &Node, limit: usize) -> Vec<UnknownKey> {
    let mut found = Vec::new();
    walk(root, root, node, &mut Vec::new(), &mut found);
    found.truncate(limit);
    found
}

/// The schemas that `schema` stands for: itself without references and alternatives.
fn resolve<'a>(root: &'a Value, schema: &'a Value, into: &mut Vec<&'a Value>, depth: usize) {
    if depth > 16 {
        return;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = target.trim_start_matches('#');
        if let Some(target) = root.pointer(pointer) {
            resolve(root, target, into, depth + 1);
        }
        return;
    }
    let alternatives =
        ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(key)?.as_array());
    let mut has_alternatives = false;
    for alternative in alternatives.flatten() {
        has_alternatives = true;
        resolve(root, alternative, into, depth + 1);
    }
    if !has_alternatives || schema.get("properties").is_some() {
        into.push(schema);
    }
}

fn walk(
    root: &Value,
    schema: &Value,
    node: &Node,
    path: &mut Vec<Step>,
    found: &mut Vec<UnknownKey>,
) {
    let mut schemas = Vec::new();
    resolve(root, schema, &mut schemas, 0);
    match &node.kind {
        Kind::Scalar(_) => {}
        Kind::List(items) => {
            let Some(item) = schemas.iter().find_map(|schema| schema.get("items")) else { return };
            for (index, node) in items.iter().enumerate() {
                path.push(Step::Index(index));
                walk(root, item, node, path, found);
                path.pop();
            }
        }
        Kind::Map(entries) => {
            let maps: Vec<&serde_json::Map<String, Value>> =
                schemas.iter().filter_map(|schema| schema.get("properties")?.as_object()).collect();
            if maps.is_empty() {
                return;
            }
            for (key, _, node) in entries {
                path.push(Step::Key(key.clone()));
                match maps.iter().find_map(|map| map.get(key)) {
                    Some(inner) => walk(root, inner, node, path, found),
                    None => {
                        let known = maps.iter().flat_map(|map| map.keys().cloned()).collect();
                        found.push(UnknownKey { path: path.clone(), known });
                    }
                }
                path.pop();
            }
        }
    }
}
