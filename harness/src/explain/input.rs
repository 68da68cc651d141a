//! Files as objects: YAML or JSON, one document or several, `kind: List` unfolded.

use std::{fs, io::Read, rc::Rc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{ExplainError, fault, faults};
use crate::scenario::{
    Fault, FaultKind,
    error::shown,
    path, scalar,
    tree::{Kind, Limits, Node, parse_all},
};

/// The longest file: the pods of a large workload with everything that `kubectl` prints.
pub(super) const FILE_BYTES_MAX: u64 = 32 << 20;
/// The most values of a file.
const NODES_MAX: usize = 2_000_000;
/// The file name that means the standard input.
const STDIN: &str = "-";

/// An object and where it was read.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// The file, as people know it.
    pub(crate) origin: Rc<str>,
    /// `apiVersion`; a list's items may have none and take the list's.
    pub(crate) api_version: String,
    /// `kind`; likewise. Empty for a document that is no object of Kubernetes.
    pub(crate) kind: String,
    pub(crate) node: Node,
}

/// All objects of a file.
pub(super) fn read(name: &str) -> Result<Vec<Object>, ExplainError> {
    let unreadable = |source| ExplainError::Unreadable { name: name.to_owned(), source };
    let mut bytes = Vec::new();
    if name == STDIN {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(name).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
    }
    .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ExplainError::TooLong { name: name.to_owned(), limit: FILE_BYTES_MAX });
    }
    let text =
        String::from_utf8(bytes).map_err(|_| ExplainError::NotText { name: name.to_owned() })?;
    objects(&text, if name == STDIN { "stdin" } else { name })
}

/// All objects of a text.
pub(super) fn objects(text: &str, origin: &str) -> Result<Vec<Object>, ExplainError> {
    let roots =
        parse_all(text, Limits::plain(NODES_MAX, true)).map_err(|found| faults(origin, found))?;
    let origin: Rc<str> = origin.into();
    let mut objects = Vec::new();
    for root in roots {
        match &root.kind {
            Kind::Map(_) => unfold(Object::new(&origin, root, "", ""), &mut objects),
            // Nothing between two `---`.
            Kind::Scalar { text, .. } if text.is_empty() || text == "~" || text == "null" => {}
            _ => {
                let message = "expected an object with apiVersion and kind, or `states`".into();
                return Err(fault(&origin, &root.place, message));
            }
        }
    }
    Ok(objects)
}

/// Adds an object, or the items of a list.
pub(crate) fn unfold(object: Object, into: &mut Vec<Object>) {
    let Some(items) = object.kind.strip_suffix("List").map(str::to_owned) else {
        into.push(object);
        return;
    };
    let Kind::Map(entries) = object.node.kind else { return };
    let found = entries.into_iter().find(|entry| entry.key == "items");
    let Some(Kind::List(nodes)) = found.map(|entry| entry.value.kind) else { return };
    for node in nodes {
        into.push(Object::new(&object.origin, node, &object.api_version, &items));
    }
}

impl Object {
    pub(crate) fn new(origin: &Rc<str>, node: Node, api_version: &str, kind: &str) -> Self {
        let or = |key: &str, implied: &str| text(&node, key).unwrap_or(implied).to_owned();
        let (api_version, kind) = (or("apiVersion", api_version), or("kind", kind));
        Self { origin: origin.clone(), api_version, kind, node }
    }

    /// A text of it, by its keys one below the other.
    pub(crate) fn text(&self, keys: &[&str]) -> Option<&str> {
        let (last, above) = keys.split_last()?;
        let mut node = &self.node;
        for key in above {
            node = &node.entry(key)?.value;
        }
        text(node, last)
    }

    /// The namespace; empty if it has none.
    pub(crate) fn namespace(&self) -> &str {
        self.text(&["metadata", "namespace"]).unwrap_or_default()
    }

    /// The name; empty if it has none.
    pub(crate) fn name(&self) -> &str {
        self.text(&["metadata", "name"]).unwrap_or_default()
    }

    /// That something is wrong with one of its keys, or with itself.
    pub(super) fn fault(&self, key: &str, message: String) -> ExplainError {
        fault(&self.origin, &path::find(&self.node, key).place, message)
    }

    /// The object as a type that ignores what it does not know.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ExplainError> {
        read_node(&self.node).map_err(|found| faults(&self.origin, found))
    }
}

/// A part of a file as a type.
pub(crate) fn read_node<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Fault>> {
    read_value(node, scalar::to_json(node))
}

/// What was made of a part of a file, as a type.
pub(crate) fn read_value<T: DeserializeOwned>(node: &Node, value: Value) -> Result<T, Vec<Fault>> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let place = path::find(node, &path).place.clone();
        let message = shown_lines(&error.into_inner().to_string());
        vec![Fault { place, path, kind: FaultKind::BadValue(message) }]
    })
}

/// A message that may hold text of the file.
fn shown_lines(message: &str) -> String {
    const CHARS_MAX: usize = 300;
    let cut: String = message.chars().take(CHARS_MAX).collect();
    crate::report::clean::line(&cut)
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match &node.entry(key)?.value.kind {
        Kind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// A name as an error or a report may show it.
pub(super) fn name(text: &str) -> String {
    shown(text)
}
