//! YAML text as a tree that remembers where each part of it stands.
//!
//! Only what scenarios use is read: one document of mappings, lists and scalars. Anchors, aliases
//! and tags are refused, so a small file cannot unfold into a large one; where manifests of others
//! are read, they are allowed, and what they unfold into is counted before it is made. Depth and
//! number of nodes are bounded. The parser is not recursive, and neither depth nor size can exhaust the stack.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::{
    anchors::{self, Anchors},
    error::{Fault, FaultKind, Place, shown},
};

/// How deep mappings and lists may nest. The deepest scenario has 9 levels, a pod 12.
pub(super) const DEPTH_MAX: usize = 32;
/// The most scalars, lists and mappings of a file.
pub(super) const NODES_MAX: usize = 50_000;
/// The most keys of one mapping. Keys are compared with each other, so this bounds that work.
const KEYS_MAX: usize = 500;

/// How much a text may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Scalars, lists and mappings.
    pub(crate) nodes: usize,
    /// Whether it may be several documents.
    pub(crate) is_stream: bool,
    /// How deep mappings and lists may nest, what aliases stand for included.
    pub(crate) depth: usize,
    /// Whether anchors, aliases, merge keys (`<<`) and the tags of YAML's own types are read. What
    /// an alias stands for counts as if it were written out.
    pub(crate) has_anchors: bool,
}

impl Limits {
    /// What scenarios use, of `nodes` values.
    pub(crate) fn plain(nodes: usize, is_stream: bool) -> Self {
        Self { nodes, is_stream, depth: DEPTH_MAX, has_anchors: false }
    }
}

/// A mapping, list or scalar and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Text, and whether it was written without quotes.
    Scalar {
        text: String,
        is_plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file; keys are unique once [`parse`] has passed.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    pub(super) fn map(place: Place) -> Self {
        Self { place, kind: Kind::Map(Vec::new()) }
    }

    /// The value of a key of a mapping.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// Says of every part that it comes from `place`.
    pub(super) fn set_place(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.kind {
            Kind::Scalar { .. } => {}
            Kind::List(items) => items.iter_mut().for_each(|item| item.set_place(place)),
            Kind::Map(entries) => {
                for entry in entries {
                    entry.place = place.clone();
                    entry.value.set_place(place);
                }
            }
        }
    }
}

/// Reads a text. Duplicate keys are told all at once (the first one's value stays in the tree);
/// any other fault ends the reading.
///
/// # Errors
/// The faults found; at least one.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Fault>> {
    parse_all(text, Limits::plain(NODES_MAX, false))?.pop().ok_or_else(|| {
        vec![Fault {
            place: Place::File { line: 1, column: 1 },
            path: String::new(),
            kind: FaultKind::Syntax("the file is empty; a scenario has name and traffic".into()),
        }]
    })
}

/// The same of a text of one document, of several, or of none.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_all(text: &str, limits: Limits) -> Result<Vec<Node>, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(limits);
    let mut parser = Parser::new_from_str(text);
    loop {
        let (event, span) = match parser.next_event() {
            None => break,
            Some(Ok(next)) => next,
            Some(Err(error)) => {
                let message = format!("not YAML: {}", shown(error.info()));
                return Err(builder.fail(*error.marker(), message));
            }
        };
        if event == Event::StreamEnd {
            break;
        }
        if let Err(message) = builder.accept(event, span.start) {
            return Err(builder.fail(span.start, message));
        }
    }
    if builder.faults.is_empty() { Ok(builder.roots) } else { Err(builder.faults) }
}

fn place(marker: Marker) -> Place {
    Place::File { line: marker.line().max(1), column: marker.col() + 1 }
}

fn syntax(marker: Marker, message: String) -> Fault {
    Fault { place: place(marker), path: String::new(), kind: FaultKind::Syntax(message) }
}

/// A mapping or list that is not closed yet.
struct Open {
    node: Node,
    /// The key that waits for its value.
    key: Option<(String, Place)>,
    /// The number of its anchor; 0 if it has none.
    anchor: usize,
}

struct Builder {
    limits: Limits,
    open: Vec<Open>,
    roots: Vec<Node>,
    faults: Vec<Fault>,
    nodes: usize,
    documents: usize,
    anchors: Anchors,
}

impl Builder {
    fn new(limits: Limits) -> Self {
        let (open, roots, faults) = (Vec::new(), Vec::new(), Vec::new());
        let anchors = Anchors::default();
        Self { limits, open, roots, faults, nodes: 0, documents: 0, anchors }
    }

    /// All faults, this last one included.
    fn fail(mut self, marker: Marker, message: String) -> Vec<Fault> {
        let message = match self.documents {
            number @ 2.. if self.limits.is_stream => format!("{message} (document {number})"),
            _ => message,
        };
        self.faults.push(syntax(marker, message));
        self.faults
    }

    fn accept(&mut self, event: Event<'_>, marker: Marker) -> Result<(), String> {
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.as_deref()),
            Event::Alias(anchor) => (*anchor, None),
            _ => (0, None),
        };
        let has_anchors = self.limits.has_anchors;
        if !has_anchors && (anchor != 0 || matches!(event, Event::Alias(_))) {
            return Err("anchors and aliases (& and *) are not read; write the value out".into());
        }
        if tag.is_some_and(|tag| !(has_anchors && tag.is_yaml_core_schema())) {
            return Err("tags (!) are not read; leave it out".into());
        }
        let is_text = tag.is_some_and(|tag| tag.suffix == "str");
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 && !self.limits.is_stream {
                    return Err("a second document begins; a file holds one scenario".into());
                }
                Ok(())
            }
            Event::Scalar(text, style, ..) => {
                let is_plain = style == ScalarStyle::Plain && !is_text;
                self.add_scalar(text.into_owned(), is_plain, marker, anchor)
            }
            Event::SequenceStart(..) => self.begin(Kind::List(Vec::new()), marker, anchor),
            Event::MappingStart(..) => self.begin(Kind::Map(Vec::new()), marker, anchor),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(_) => self.insert(anchor, marker),
            _ => Ok(()),
        }
    }

    fn count(&mut self) -> Result<(), String> {
        self.nodes += 1;
        let most = self.limits.nodes;
        if self.nodes > most {
            return Err(format!("more than {most} values, which is more than is needed"));
        }
        Ok(())
    }

    fn begin(&mut self, kind: Kind, marker: Marker, anchor: usize) -> Result<(), String> {
        self.count()?;
        self.check_depth(1)?;
        if self.waits_for_key() {
            return Err("a key is text, not a list or mapping".into());
        }
        let place = place(marker);
        self.open.push(Open { node: Node { place, kind }, key: None, anchor });
        Ok(())
    }

    /// Whether mappings and lists of `height` levels may stand here.
    fn check_depth(&self, height: usize) -> Result<(), String> {
        let most = self.limits.depth;
        if self.open.len() + height > most {
            return Err(format!("nested more than {most} levels deep"));
        }
        Ok(())
    }

    /// Closes the innermost mapping or list.
    fn end(&mut self) -> Result<(), String> {
        let Some(Open { mut node, anchor, .. }) = self.open.pop() else { return Ok(()) };
        if self.limits.has_anchors {
            anchors::merge(&mut node);
        }
        self.keep(anchor, &node)?;
        self.add(node);
        Ok(())
    }

    /// Keeps what an anchor names.
    fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), String> {
        if anchor == 0 {
            return Ok(());
        }
        let size = self.anchors.keep(anchor, node);
        self.count_more(size)
    }

    /// Puts what an alias names in its place.
    fn insert(&mut self, anchor: usize, marker: Marker) -> Result<(), String> {
        let Some(kept) = self.anchors.get(anchor) else {
            return Err("an alias of something that it stands in".into());
        };
        let (size, height) = (kept.size, kept.height);
        self.count_more(size)?;
        self.check_depth(height)?;
        let mut node = self.anchors.get(anchor).map(|kept| kept.node.clone());
        if self.waits_for_key() {
            return match node.map(|node| node.kind) {
                Some(Kind::Scalar { text, is_plain }) => self.add_scalar(text, is_plain, marker, 0),
                _ => Err("a key is text, not a list or mapping".into()),
            };
        }
        if let Some(node) = node.take() {
            self.add(node);
        }
        Ok(())
    }

    fn count_more(&mut self, nodes: usize) -> Result<(), String> {
        // One less, since `count` adds one.
        self.nodes = self.nodes.saturating_add(nodes.saturating_sub(1));
        self.count()
    }

    fn waits_for_key(&self) -> bool {
        self.open
            .last()
            .is_some_and(|open| open.key.is_none() && matches!(open.node.kind, Kind::Map(_)))
    }

    fn add_scalar(
        &mut self,
        text: String,
        is_plain: bool,
        marker: Marker,
        anchor: usize,
    ) -> Result<(), String> {
        self.count()?;
        let place = place(marker);
        let node = Node { place: place.clone(), kind: Kind::Scalar { text, is_plain } };
        self.keep(anchor, &node)?;
        let Kind::Scalar { text, .. } = &node.kind else { return Ok(()) };
        if self.waits_for_key() {
            let innermost = self.open.last().map(|open| &open.node);
            if let Some(Kind::Map(entries)) = innermost.map(|node| &node.kind)
                && entries.len() >= KEYS_MAX
            {
                return Err(format!("a mapping of more than {KEYS_MAX} keys"));
            }
            if innermost.is_some_and(|node| node.entry(text).is_some()) {
                let path = self.path();
                let kind = FaultKind::DuplicateKey { key: shown(text) };
                self.faults.push(Fault { place: place.clone(), path, kind });
            }
            if let Some(open) = self.open.last_mut() {
                open.key = Some((text.clone(), place));
            }
            return Ok(());
        }
        self.add(node);
        Ok(())
    }

    fn add(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.roots.push(node);
            return;
        };
        match &mut open.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => {
                if let Some((key, place)) = open.key.take() {
                    entries.push(Entry { key, place, value: node });
                }
            }
            Kind::Scalar { .. } => {}
        }
    }

    /// The path of the innermost open mapping or list.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in self.open.iter().rev().skip(1).rev() {
            match (&open.node.kind, &open.key) {
                (Kind::List(items), _) => path.push_str(&format!("[{}]", items.len())),
                (_, Some((key, _))) => path = join(&path, key),
                _ => {}
            }
        }
        path
    }
}

/// The path of a key of the mapping at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { shown(key) } else { format!("{path}.{}", shown(key)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_know_their_places() {
        let root = parse("# c\nname: a\nlist:\n  - {b: 1}\n").expect("YAML");
        let list = root.entry("list").expect("a list");
        assert_eq!(list.place, Place::File { line: 3, column: 1 });
        let Kind::List(items) = &list.value.kind else { panic!("no list: {list:?}") };
        let b = items[0].entry("b").expect("b");
        assert_eq!(b.place, Place::File { line: 4, column: 6 });
        assert_eq!(b.value.place, Place::File { line: 4, column: 9 });
    }

    #[test]
    fn what_no_scenario_needs_is_refused_where_it_stands() {
        let deep = "[".repeat(100);
        let wide = "- 1\n".repeat(NODES_MAX + 1);
        let rows = [
            ("", "empty", 1),
            ("# only a comment\n", "empty", 1),
            ("a: &x 1\nb: *x\n", "anchors", 1),
            ("a: 1\nb: !!str 1\n", "tags", 2),
            ("a: 1\n---\nb: 1\n", "second document", 2),
            ("a:\n\tb: 1\n", "not YAML", 2),
            ("a: [1\n", "not YAML", 2),
            ("a: \"x\n", "not YAML", 2),
            ("? [1]\n: 2\n", "a key is text", 1),
            (deep.as_str(), "nested", 1),
            (wide.as_str(), "more than", NODES_MAX),
        ];
        for (text, fragment, line) in rows {
            let faults = parse(text).expect_err(text);
            assert!(faults[0].to_string().contains(fragment), "{text:.20}: {faults:?}");
            let Place::File { line: found, .. } = faults[0].place else {
                panic!("no place: {faults:?}")
            };
            assert!(found.abs_diff(line) <= 1, "{text:.20}: {faults:?}");
        }
    }

    #[test]
    fn every_duplicate_key_is_told_with_its_mapping() {
        let faults = parse("a: {b: 1, b: 2}\nl: [{}, {c: 1, c: 1}]\na: 3\n").expect_err("twice");
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "key `b` stands twice in a",
                "key `c` stands twice in l[1]",
                "key `a` stands twice in the scenario"
            ]
        );
    }
}
