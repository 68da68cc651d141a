//! A tree against the JSON Schema of the scenario types: every unknown key, unknown name, wrong
//! kind and unreadable value at once, each with its place.
//!
//! Only the words of JSON Schema that `schemars` writes for our types are understood: `$ref`,
//! `anyOf`, `oneOf`, `type`, `const`, `enum`, `properties`, `additionalProperties`,
//! `required`, `items`, `minimum`, `maximum`, `format`. What is left over is found by reading the
//! tree into the types.

use highwater_model::{
    spec::{Distribution, Gate, Objective, Quantity},
    time::Nanos,
    units::{Bytes, IntOrPercent, MilliCpu, RatePerSec},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    error::{Fault, FaultKind, Place, nearest, shown},
    scalar::{Meaning, meaning, to_json},
    tree::{Entry, Kind, Node, join},
};

/// How often a schema may refer on before a value is reached.
const REFERENCES_MAX: usize = 16;

/// From so many faults on, they are only counted, without a search for what was meant: the first
/// [`super::FAULTS_MAX`] of the file are told, and the tree is walked nearly in its order.
const FAULTS_IN_FULL_MAX: usize = 200;

/// Everything in `root` that does not conform to `schema`.
pub(crate) fn check(root: &Node, schema: &Value) -> Vec<Fault> {
    let mut checker = Checker { schema, faults: Vec::new() };
    checker.check(root, schema, "");
    checker.faults
}

/// One of the schemas that a value may conform to, after references.
struct Alternative<'s> {
    /// The name of its definition.
    name: Option<&'s str>,
    schema: &'s Value,
}

impl<'s> Alternative<'s> {
    fn types(&self) -> Vec<&'s str> {
        match self.schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The schema of the key's value: its own, or the one that all keys of a map have.
    fn property(&self, key: &str) -> Option<&'s Value> {
        let own = self.schema.get("properties").and_then(|properties| properties.get(key));
        own.or_else(|| self.schema.get("additionalProperties").filter(|any| any.is_object()))
    }

    fn keys(&self) -> impl Iterator<Item = &'s str> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        properties.into_iter().flat_map(|keys| keys.keys().map(String::as_str))
    }

    /// The one word that it stands for, or the several.
    fn words(&self) -> impl Iterator<Item = &'s str> {
        let many = self.schema.get("enum").and_then(Value::as_array);
        let one = self.schema.get("const");
        one.into_iter().chain(many.into_iter().flatten()).filter_map(Value::as_str)
    }
}

struct Checker<'s> {
    schema: &'s Value,
    faults: Vec<Fault>,
}

impl<'s> Checker<'s> {
    fn add(&mut self, place: &Place, path: &str, kind: FaultKind) {
        self.faults.push(Fault { place: place.clone(), path: path.to_owned(), kind });
    }

    /// The nearest of the known words, and all of them.
    fn meant(&self, word: &str, known: Vec<&str>) -> (Option<String>, Vec<String>) {
        if self.faults.len() >= FAULTS_IN_FULL_MAX {
            return (None, Vec::new());
        }
        let nearest = nearest(word, known.iter().copied());
        (nearest, known.into_iter().map(str::to_owned).collect())
    }

    fn alternatives(&self, schema: &'s Value) -> Vec<Alternative<'s>> {
        let mut found = Vec::new();
        self.add_alternatives(&mut found, None, schema, REFERENCES_MAX);
        found
    }

    fn add_alternatives(
        &self,
        found: &mut Vec<Alternative<'s>>,
        name: Option<&'s str>,
        schema: &'s Value,
        references: usize,
    ) {
        if references == 0 {
            return;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let pointer = reference.trim_start_matches('#');
            if let Some(target) = self.schema.pointer(pointer) {
                let name = pointer.rsplit('/').next();
                self.add_alternatives(found, name, target, references - 1);
            }
            return;
        }
        let choices = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)?.as_array());
        match choices {
            None => found.push(Alternative { name, schema }),
            Some(choices) => {
                for choice in choices {
                    self.add_alternatives(found, name, choice, references - 1);
                }
            }
        }
    }

    fn check(&mut self, node: &Node, schema: &'s Value, path: &str) {
        let before = self.faults.len();
        let alternatives = self.alternatives(schema);
        match &node.kind {
            Kind::Map(entries) => self.check_map(node, entries, &alternatives, path),
            Kind::List(items) => self.check_list(node, items, &alternatives, path),
            Kind::Scalar { text, is_plain } => {
                self.check_scalar(node, &meaning(text, *is_plain), &alternatives, path);
            }
        }
        if self.faults.len() > before {
            return;
        }
        if let Some(reader) = definition_names(schema).into_iter().find_map(reader)
            && let value = to_json(node)
            && !value.is_null()
            && let Err(problem) = reader(value)
        {
            self.add(&node.place, path, FaultKind::BadValue(problem));
        }
    }

    fn check_map(
        &mut self,
        node: &Node,
        entries: &[Entry],
        alternatives: &[Alternative<'s>],
        path: &str,
    ) {
        let objects: Vec<&Alternative<'s>> = alternatives
            .iter()
            .filter(|alternative| alternative.types().contains(&"object"))
            .collect();
        if objects.is_empty() {
            self.add_wrong_kind(node, "a mapping".into(), alternatives, path);
            return;
        }
        for entry in entries {
            let property = objects.iter().find_map(|object| object.property(&entry.key));
            if let Some(schema) = property {
                self.check(&entry.value, schema, &join(path, &entry.key));
                continue;
            }
            let known = objects.iter().flat_map(|object| object.keys()).collect();
            let (nearest, known) = self.meant(&entry.key, known);
            let kind = FaultKind::UnknownKey { key: entry.key.clone(), nearest, known };
            self.add(&entry.place, path, kind);
        }
        if let [object] = objects.as_slice() {
            let required = object.schema.get("required").and_then(Value::as_array);
            for key in required.into_iter().flatten().filter_map(Value::as_str) {
                if node.entry(key).is_none() {
                    let key = key.to_owned();
                    self.add(&node.place, path, FaultKind::MissingKey { key });
                }
            }
        }
    }

    fn check_list(
        &mut self,
        node: &Node,
        items: &[Node],
        alternatives: &[Alternative<'s>],
        path: &str,
    ) {
        let list = alternatives.iter().find(|alternative| alternative.types().contains(&"array"));
        let Some(list) = list else {
            self.add_wrong_kind(node, "a list".into(), alternatives, path);
            return;
        };
        if let Some(schema) = list.schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.check(item, schema, &format!("{path}[{index}]"));
            }
        }
    }

    fn check_scalar(
        &mut self,
        node: &Node,
        meant: &Meaning<'_>,
        alternatives: &[Alternative<'s>],
        path: &str,
    ) {
        let types: Vec<&str> = alternatives.iter().flat_map(Alternative::types).collect();
        let words: Vec<&str> = alternatives.iter().flat_map(Alternative::words).collect();
        let takes = |kind: &str| types.contains(&kind);
        let fits = match meant {
            Meaning::Text(text) if !words.is_empty() => {
                if !words.contains(text) {
                    let (nearest, known) = self.meant(text, words);
                    let kind =
                        FaultKind::UnknownValue { value: (*text).to_owned(), nearest, known };
                    self.add(&node.place, path, kind);
                }
                return;
            }
            Meaning::Text(_) => takes("string"),
            Meaning::Null => takes("null"),
            Meaning::Bool(_) => takes("boolean"),
            Meaning::Int(_) => takes("integer") || takes("number"),
            Meaning::Float(_) => takes("number"),
            Meaning::NotFinite => false,
        };
        if !fits {
            self.add_wrong_kind(node, found(meant), alternatives, path);
        } else if let Meaning::Int(number) = meant
            && let Some(problem) = range_problem(number.as_i128(), alternatives)
        {
            self.add(&node.place, path, FaultKind::BadValue(problem));
        }
    }

    fn add_wrong_kind(
        &mut self,
        node: &Node,
        found: String,
        alternatives: &[Alternative<'s>],
        path: &str,
    ) {
        let expected = expected(alternatives);
        self.add(&node.place, path, FaultKind::WrongKind { expected, found });
    }
}

/// What reads a value of a definition into its type and tells why it cannot be read.
type Reader = fn(Value) -> Result<(), String>;

/// The reader of those definitions whose values a schema does not describe in full.
fn reader(definition: &str) -> Option<Reader> {
    fn read<T: DeserializeOwned>(value: Value) -> Result<(), String> {
        serde_json::from_value::<T>(value).map(drop).map_err(|error| error.to_string())
    }
    Some(match definition {
        "Duration" => read::<Nanos>,
        "Rate" => read::<RatePerSec>,
        "Cpu" => read::<MilliCpu>,
        "Bytes" => read::<Bytes>,
        "IntOrPercent" => read::<IntOrPercent>,
        "Distribution" => read::<Distribution>,
        "Gate" => read::<Gate>,
        "Objective" => read::<Objective>,
        "Quantity" => read::<Quantity>,
        _ => return None,
    })
}

/// The definitions that a value of `schema` may be of.
fn definition_names(schema: &Value) -> Vec<&str> {
    let choices = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)?.as_array());
    let direct = std::iter::once(schema).chain(choices.into_iter().flatten());
    direct.filter_map(|schema| schema.get("$ref")?.as_str()?.rsplit('/').next()).collect()
}

/// Why the number is outside the range of an integer type, if it is.
fn range_problem(number: Option<i128>, alternatives: &[Alternative<'_>]) -> Option<String> {
    let number = number?;
    let integer = alternatives.iter().find(|one| one.types() == ["integer"])?;
    let bound = |key: &str| integer.schema.get(key).and_then(Value::as_i64).map(i128::from);
    let low = bound("minimum").unwrap_or(i64::MIN.into());
    let format = integer.schema.get("format").and_then(Value::as_str);
    let high = bound("maximum").unwrap_or(match format {
        Some("uint16") => u16::MAX.into(),
        Some("uint32") => u32::MAX.into(),
        _ => u64::MAX.into(),
    });
    (!(low..=high).contains(&number))
        .then(|| format!("{number} must be a whole number between {low} and {high}"))
}

/// What a value of one of the alternatives looks like.
fn expected(alternatives: &[Alternative<'_>]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for alternative in alternatives {
        let description = alternative.schema.get("description").and_then(Value::as_str);
        let named = alternative.name.filter(|name| reader(name).is_some()).and(description);
        let words: Vec<&str> = alternative.words().collect();
        if let Some(named) = named.filter(|_| !alternative.types().contains(&"object")) {
            let mut letters = named.chars();
            let first = letters.next().map(|letter| letter.to_ascii_lowercase());
            parts.extend(first.map(|first| format!("{first}{}", letters.as_str())));
        } else if words.is_empty() {
            let names = alternative.types().into_iter().filter_map(type_name);
            parts.extend(names.map(str::to_owned));
        } else {
            parts.extend(words.into_iter().map(|word| format!("`{word}`")));
        }
    }
    let mut told: Vec<String> = Vec::new();
    for part in parts {
        if !told.contains(&part) {
            told.push(part);
        }
    }
    told.join(" or ")
}

fn type_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "object" => "a mapping",
        "array" => "a list",
        _ => return None,
    })
}

/// What was found, and how to write it if it was meant as text.
fn found(meant: &Meaning<'_>) -> String {
    match meant {
        Meaning::Null => "nothing".into(),
        Meaning::Bool(value) => format!("{value}; text needs quotes: \"{value}\""),
        Meaning::Int(number) | Meaning::Float(number) => {
            format!("the number {number}; text needs quotes: \"{number}\"")
        }
        Meaning::NotFinite => "a number that is endless or none".into(),
        Meaning::Text(text) => format!("the text `{}`", shown(text)),
    }
}
