//! Paths of keys: `traffic.phases[0].hold`, also written `traffic.phases.0.hold`.

use highwater_model::spec::Measure;

use super::tree::{Kind, Node};

/// The most segments of a path; no key of a scenario is deeper.
const SEGMENTS_MAX: usize = 32;
/// The longest path.
const BYTES_MAX: usize = 1000;

/// One step of a path. `0` may be an index or a key; what stands there decides.
pub(super) type Segment<'a> = &'a str;

/// The segments of a path; `None` if it is no path.
pub(super) fn segments(path: &str) -> Option<Vec<Segment<'_>>> {
    if path.len() > BYTES_MAX {
        return None;
    }
    let mut segments = Vec::new();
    for part in path.split('.') {
        let (key, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
        if key.is_empty() && (rest.is_empty() || !segments.is_empty()) {
            return None;
        }
        if !key.is_empty() {
            segments.push(key);
        }
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            index_of(index)?;
            segments.push(index);
            rest = after;
        }
    }
    (segments.len() <= SEGMENTS_MAX).then_some(segments)
}

/// The segment as an index of a list.
pub(super) fn index_of(segment: Segment<'_>) -> Option<usize> {
    if segment.bytes().all(|byte| byte.is_ascii_digit()) { segment.parse().ok() } else { None }
}

/// The key that the first of `segments` make, and how many they are. Keys may have dots in them
/// (`latency.p99`): the longest that is there, or that is a measure, wins.
pub(super) fn key_of(node: &Node, segments: &[Segment<'_>]) -> (String, usize) {
    for count in (2..=segments.len()).rev() {
        let key = segments[..count].join(".");
        if node.entry(&key).is_some() || Measure::NAMES.contains(&key.as_str()) {
            return (key, count);
        }
    }
    (segments.first().map(|key| (*key).to_owned()).unwrap_or_default(), 1)
}

/// The part of the tree at `path`, or the innermost one around it that is there.
pub(crate) fn find<'a>(root: &'a Node, path: &str) -> &'a Node {
    let segments = segments(path).unwrap_or_default();
    let (mut node, mut rest) = (root, segments.as_slice());
    while let Some(first) = rest.first() {
        let (next, count) = match &node.kind {
            Kind::Map(_) => {
                let (key, count) = key_of(node, rest);
                (node.entry(&key).map(|entry| &entry.value), count)
            }
            Kind::List(items) => (index_of(first).and_then(|index| items.get(index)), 1),
            Kind::Scalar { .. } => (None, 1),
        };
        let Some(next) = next else { break };
        (node, rest) = (next, &rest[count..]);
    }
    node
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;

    #[test]
    fn both_spellings_of_an_index_are_read() {
        let expected = Some(vec!["traffic", "phases", "0", "hold"]);
        assert_eq!(segments("traffic.phases[0].hold"), expected);
        assert_eq!(segments("traffic.phases.0.hold"), expected);
        assert_eq!(segments("a[1][2]"), Some(vec!["a", "1", "2"]));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = "a.".repeat(600);
        let deep = ["a"; 40].join(".");
        for path in ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[0", "a[0]b", "a.[0]", "a[-1]"] {
            assert_eq!(segments(path), None, "{path}");
        }
        assert_eq!(segments(&long), None);
        assert_eq!(segments(&deep), None);
    }

    #[test]
    fn the_innermost_part_that_is_there_is_found() {
        let root = parse("a:\n  - {latency.p99: 1}\n").expect("YAML");
        assert_eq!(find(&root, "a[0].latency.p99").place, parse_place(2, 19));
        assert_eq!(find(&root, "a[0].missing").place, parse_place(2, 5));
        assert_eq!(find(&root, "").place, root.place);
    }

    fn parse_place(line: usize, column: usize) -> super::super::error::Place {
        super::super::error::Place::File { line, column }
    }
}
