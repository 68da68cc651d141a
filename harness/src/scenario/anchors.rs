//! What anchors name, and merge keys.

use std::collections::BTreeMap;

use super::tree::{Entry, Kind, Node};

/// The key whose mappings are merged into the one that it stands in.
///
/// *Source*: yaml.org/type/merge.html, which Kubernetes' YAML reader follows.
const MERGE: &str = "<<";

/// Something that an anchor names.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) node: Node,
    /// How many scalars, lists and mappings it is.
    pub(super) size: usize,
    /// How many levels of lists and mappings.
    pub(super) height: usize,
}

/// All that anchors name, by the number of the anchor.
#[derive(Debug, Default)]
pub(super) struct Anchors(BTreeMap<usize, Kept>);

impl Anchors {
    /// Keeps a copy; tells its size.
    pub(super) fn keep(&mut self, anchor: usize, node: &Node) -> usize {
        let (size, height) = measure(node);
        self.0.insert(anchor, Kept { node: node.clone(), size, height });
        size
    }

    /// What an anchor names, once it is closed.
    pub(super) fn get(&self, anchor: usize) -> Option<&Kept> {
        self.0.get(&anchor)
    }
}

/// Size and height. Recursive, as deep as the reader lets nodes be.
fn measure(node: &Node) -> (usize, usize) {
    let add = |sum: (usize, usize), node: &Node| {
        let (size, height) = measure(node);
        (sum.0 + size, sum.1.max(height + 1))
    };
    match &node.kind {
        Kind::Scalar { .. } => (1, 0),
        Kind::List(items) => items.iter().fold((1, 1), add),
        Kind::Map(entries) => entries.iter().fold((1, 1), |sum, entry| add(sum, &entry.value)),
    }
}

/// Merges what `<<` names into the mapping: its own keys win, then those of the first mapping.
pub(super) fn merge(node: &mut Node) {
    let Kind::Map(entries) = &mut node.kind else { return };
    let Some(at) = entries.iter().position(|entry| entry.key == MERGE) else { return };
    let merged = entries.remove(at).value;
    let sources = match merged.kind {
        Kind::List(items) => items,
        _ => vec![merged],
    };
    for source in sources {
        let Kind::Map(more) = source.kind else { continue };
        let is_new = |entry: &Entry| entries.iter().all(|known| known.key != entry.key);
        let more: Vec<Entry> = more.into_iter().filter(is_new).collect();
        entries.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        scalar::to_json,
        tree::{Limits, parse_all},
    };
    use super::*;

    fn read(text: &str) -> Result<Node, String> {
        let limits = Limits { nodes: 5_000, is_stream: true, depth: 50, has_anchors: true };
        let faults = |faults: Vec<super::super::Fault>| faults[0].to_string();
        parse_all(text, limits).map_err(faults).map(|mut roots| roots.remove(0))
    }

    #[test]
    fn aliases_merge_keys_and_tags_mean_what_kubernetes_reads() {
        let rows = [
            ("a: &x {b: 1}\nc: *x\n", r#"{"a":{"b":1},"c":{"b":1}}"#),
            ("a: &x {b: 1, d: 2}\nc: {d: 3, <<: *x}\n", r#"{"a":{"b":1,"d":2},"c":{"b":1,"d":3}}"#),
            ("a: &x 1\nb: [*x, *x]\n", r#"{"a":1,"b":[1,1]}"#),
            ("a: !!str 1\n", r#"{"a":"1"}"#),
            ("&k a: 1\nb: {*k : 2}\n", r#"{"a":1,"b":{"a":2}}"#),
            (
                "a: [&x {p: 1}, &y {p: 2, q: 3}]\nb: {<<: [*x, *y]}",
                r#"{"a":[{"p":1},{"p":2,"q":3}],"b":{"p":1,"q":3}}"#,
            ),
        ];
        for (text, expected) in rows {
            let json = to_json(&read(text).expect(text));
            assert_eq!(json.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_small_file_cannot_unfold_into_a_large_or_deep_one() {
        let mut wide = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        let mut deep = "a0: &a0 [x]\n".to_owned();
        for level in 1..60 {
            let below = format!("*a{}", level - 1);
            let items = vec![below.clone(); 10].join(",");
            wide.push_str(&format!("a{level}: &a{level} [{items}]\n"));
            deep.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        for (text, expected) in [
            (wide.as_str(), "more than 5000 values"),
            (deep.as_str(), "nested more than 50"),
            ("a: &x [*x]\n", "an alias of something that it stands in"),
            ("a: *nothing\n", "not YAML"),
            ("a: !Ref b\n", "tags (!) are not read"),
            ("a: &x [1]\nb: {*x : 1}\n", "a key is text"),
            ("a: 1\n---\nb: 1\n---\nc: [\n", "(document 3)"),
        ] {
            let told = read(text).expect_err(text);
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }
}
