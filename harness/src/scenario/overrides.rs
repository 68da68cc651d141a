//! `--set PATH=VALUE`: changes of a scenario's tree before it is checked.

use super::{
    error::{OverrideProblem, Place, shown},
    path::{index_of, key_of, segments},
    scalar::{Meaning, meaning},
    tree::{Entry, Kind, Node, parse},
};

/// Applies one `PATH=VALUE`. Missing mappings are made; an index equal to a list's length adds an
/// entry. Everything set remembers the path as its place.
///
/// # Errors
/// Says which part of the path does not fit what is there.
pub(super) fn apply(root: &mut Node, argument: &str) -> Result<(), OverrideProblem> {
    let (path, value) = argument.split_once('=').ok_or(OverrideProblem::NoValue)?;
    let path = path.trim();
    let segments = segments(path).ok_or_else(|| OverrideProblem::BadPath(shown(path)))?;
    let place = Place::Override { path: path.to_owned() };
    let mut value = if value.trim().is_empty() {
        null(&place)
    } else {
        parse(value).map_err(|faults| {
            let told = faults.first().map(ToString::to_string);
            OverrideProblem::BadValue(told.unwrap_or_default())
        })?
    };
    value.set_place(&place);
    *seek(root, &segments, &place)? = value;
    Ok(())
}

fn null(place: &Place) -> Node {
    Node { place: place.clone(), kind: Kind::Scalar { text: String::new(), is_plain: true } }
}

/// The part at the end of `segments`, made if it is missing.
fn seek<'a>(
    root: &'a mut Node,
    segments: &[&str],
    place: &Place,
) -> Result<&'a mut Node, OverrideProblem> {
    let (mut node, mut at) = (root, 0);
    while at < segments.len() {
        let (rest, path) = (&segments[at..], segments[..at].join("."));
        become_container(node, rest[0], place);
        let (next, count) = step(node, rest, path, place)?;
        (node, at) = (next, at + count);
    }
    Ok(node)
}

/// An empty value becomes what the next segment needs.
fn become_container(node: &mut Node, segment: &str, place: &Place) {
    let Kind::Scalar { text, is_plain } = &node.kind else {
        return;
    };
    if meaning(text, *is_plain) != Meaning::Null {
        return;
    }
    *node = Node::map(place.clone());
    if index_of(segment).is_some() {
        node.kind = Kind::List(Vec::new());
    }
}

fn step<'a>(
    node: &'a mut Node,
    rest: &[&str],
    path: String,
    place: &Place,
) -> Result<(&'a mut Node, usize), OverrideProblem> {
    let joined = matches!(node.kind, Kind::Map(_)).then(|| key_of(node, rest));
    let key = rest[0].to_owned();
    match (&mut node.kind, joined) {
        (Kind::Map(entries), Some((key, count))) => {
            let index = entries.iter().position(|entry| entry.key == key);
            let index = index.unwrap_or_else(|| {
                entries.push(Entry { key, place: place.clone(), value: null(place) });
                entries.len() - 1
            });
            Ok((&mut entries[index].value, count))
        }
        (Kind::List(items), _) => {
            let Some(index) = index_of(&key) else {
                return Err(OverrideProblem::NotAnIndex { path, key });
            };
            let length = items.len();
            if index > length {
                return Err(OverrideProblem::IndexTooFar { path, length, index });
            }
            if index == length {
                items.push(null(place));
            }
            Ok((&mut items[index], 1))
        }
        _ => Err(OverrideProblem::NotAContainer { path, key }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::scalar::to_json;
    use super::*;
    use serde_json::{Value, json};

    fn applied(argument: &str) -> Result<Value, OverrideProblem> {
        let mut root = parse("a: {b: 1, l: [x, y]}\no: [{latency.p99: 1}]\nn:\n").expect("YAML");
        apply(&mut root, argument)?;
        Ok(to_json(&root))
    }

    #[test]
    fn values_are_replaced_added_and_made() {
        let null = Value::Null;
        for (argument, pointer, value) in [
            ("a.b=2", "/a/b", json!(2)),
            ("a.l[1]=z", "/a/l/1", json!("z")),
            ("a.l.1=z", "/a/l/1", json!("z")),
            ("a.l[2]=z", "/a/l/2", json!("z")),
            ("a.l=[]", "/a/l", json!([])),
            ("a.new.deep=50/s", "/a/new/deep", json!("50/s")),
            ("n.k[0].m=1", "/n/k/0/m", json!(1)),
            ("a.b=[exit-on-sigterm]", "/a/b", json!(["exit-on-sigterm"])),
            ("a.b={c: 1}", "/a/b", json!({"c": 1})),
            ("a.b=x=y", "/a/b", json!("x=y")),
            ("a.b='5'", "/a/b", json!("5")),
            ("a.b=", "/a/b", null),
            ("o[0].latency.p99=<1s", "/o/0/latency.p99", json!("<1s")),
            ("o[1].latency.p50=<1s", "/o/1/latency.p50", json!("<1s")),
        ] {
            let root = applied(argument).unwrap_or_else(|problem| panic!("{argument}: {problem}"));
            assert_eq!(root.pointer(pointer), Some(&value), "{argument}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_reason() {
        for (argument, fragment) in [
            ("a.b", "no value"),
            ("", "no value"),
            ("=1", "no path"),
            ("a..b=1", "no path"),
            ("a.l[9]=1", "`a.l` has 2 entries"),
            ("a.l.x=1", "`a.l` is a list"),
            ("a.b.c=1", "`a.b` is a single value"),
            ("a.b=[1", "not YAML"),
            ("a.b=*x", "not YAML"),
            ("a.b=&x 1", "anchors"),
        ] {
            let problem = applied(argument).expect_err(argument).to_string();
            assert!(problem.contains(fragment), "{argument}: {problem}");
        }
    }
}
