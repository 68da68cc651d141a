//! YAML with the place of each key and value, bounded against hostile input.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

/// The deepest nesting that is read.
const DEPTH_MAX: usize = 64;
/// The most keys and values that are read.
const NODES_MAX: usize = 100_000;

/// A place in a text: line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A text that is no YAML, or none that is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeError {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Text, number, truth or nothing.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A map, with the place of each key.
    Map(Vec<(String, Place, Node)>),
}

impl Node {
    /// The same without places.
    pub fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(key, _, node)| (key.clone(), node.value()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// The place of the key or value at `path` (`a.b[0].c`), or of the nearest one above it.
    pub fn place_of(&self, path: &[super::Step]) -> Place {
        let Some((step, rest)) = path.split_first() else { return self.place };
        match (&self.kind, step) {
            (Kind::Map(entries), super::Step::Key(key)) => {
                let found = entries.iter().find(|(known, _, _)| known == key);
                found.map_or(self.place, |(_, place, node)| {
                    if rest.is_empty() { *place } else { node.place_of(rest).max(*place) }
                })
            }
            (Kind::List(items), super::Step::Index(index)) => {
                items.get(*index).map_or(self.place, |node| node.place_of(rest))
            }
            _ => self.place,
        }
    }
}

/// Reads one document.
///
/// # Errors
/// If it is malformed, nested too deeply or too large, has anchors, aliases or tags, or a key
/// twice, or if there is none or more than one.
pub fn parse(text: &str) -> Result<Node, TreeError> {
    let mut builder = Builder { events: Parser::new_from_str(text), nodes: 0 };
    let mut root = None;
    loop {
        let (event, span) = builder.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if root.is_some() => {
                return Err(error(&span, "a second document; a scenario is one"));
            }
            other => root = Some(builder.node(other, span, 0)?),
        }
    }
    let nothing =
        TreeError { place: Place { line: 1, column: 1 }, message: "nothing is in it".into() };
    root.ok_or(nothing)
}

struct Builder<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    nodes: usize,
}

fn place(span: &Span) -> Place {
    Place { line: span.start.line().max(1), column: span.start.col() + 1 }
}

fn error(span: &Span, message: impl Into<String>) -> TreeError {
    TreeError { place: place(span), message: message.into() }
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), TreeError> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(failure)) => {
                let at = failure.marker();
                let place = Place { line: at.line().max(1), column: at.col() + 1 };
                Err(TreeError { place, message: format!("not YAML: {}", failure.info()) })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, TreeError> {
        self.nodes += 1;
        if depth > DEPTH_MAX {
            return Err(error(&span, format!("nested more than {DEPTH_MAX} deep")));
        }
        if self.nodes > NODES_MAX {
            return Err(error(&span, format!("more than {NODES_MAX} keys and values")));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => (*anchor, tag.is_some()),
            Event::Alias(_) => (1, false),
            _ => (0, false),
        };
        if anchor != 0 {
            return Err(error(&span, "anchors and aliases are not read; write the value out"));
        }
        if tag {
            return Err(error(&span, "tags are not read"));
        }
        let kind = match event {
            Event::Scalar(text, style, _, _) => Kind::Scalar(scalar(&text, style)),
            Event::SequenceStart(..) => Kind::List(self.list(depth)?),
            Event::MappingStart(..) => Kind::Map(self.map(depth)?),
            _ => return Err(error(&span, "a value is missing")),
        };
        Ok(Node { place: place(&span), kind })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, TreeError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, Place, Node)>, TreeError> {
        let mut entries: Vec<(String, Place, Node)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(error(&span, "a key must be text")),
            };
            if !seen.insert(key.clone()) {
                return Err(error(&span, format!("`{key}` stands here twice")));
            }
            let (event, value_span) = self.next()?;
            let node = self.node(event, value_span, depth + 1)?;
            entries.push((key, place(&span), node));
        }
    }
}

/// YAML's core schema; what JSON has no number for stays text.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.into());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let is_numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if let (true, Ok(number)) = (is_numeric, text.parse::<i64>()) {
        return Value::Number(number.into());
    }
    if let (true, Ok(number)) = (is_numeric, text.parse::<u64>()) {
        return Value::Number(number.into());
    }
    let float = text.parse::<f64>().ok().filter(|_| is_numeric).and_then(Number::from_f64);
    float.map_or_else(|| Value::String(text.into()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Step;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn values_are_those_of_yaml_and_places_are_those_of_the_text() {
        let text = "a: 1\nb:\n  - x: 2s\n    y: [true, ~, 1.5, '7']\n";
        let node = parse(text).unwrap();
        assert_eq!(node.value(), json!({"a": 1, "b": [{"x": "2s", "y": [true, null, 1.5, "7"]}]}));
        let path = [Step::Key("b".into()), Step::Index(0), Step::Key("y".into())];
        assert_eq!(node.place_of(&path), Place { line: 4, column: 5 });
    }

    #[test]
    fn hostile_texts_are_refused_with_a_place() {
        let deep = "[".repeat(100);
        let wide = format!("[{}]", "1,".repeat(200_000));
        let bomb = "a: &a [x,x]\nb: [*a,*a]\n";
        for (text, word) in [
            ("", "nothing"),
            ("a: 1\na: 2\n", "twice"),
            ("a: 1\n---\nb: 2\n", "second document"),
            (bomb, "anchors"),
            ("a: !!binary x\n", "tags"),
            (deep.as_str(), "deep"),
            (wide.as_str(), "more than"),
            ("a: [1\nb: 2", "not YAML"),
            ("? [a]\n: b\n", "key must be text"),
        ] {
            let error = parse(text).expect_err(&text[..text.len().min(40)]);
            assert!(error.message.contains(word), "{error:?}");
            assert!(error.place.line >= 1);
        }
    }

    #[test]
    fn what_json_has_no_number_for_stays_text() {
        for text in [".nan", ".inf", "-.inf", "1e999", "99999999999999999999999999"] {
            let value = parse(text).unwrap().value();
            assert!(value.is_string() || value.is_f64(), "{text} is {value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".{0,300}") {
            let _ = parse(&text);
        }
    }
}
