//! What a scalar means, and YAML text of a tree.
//!
//! *Source*: YAML 1.2 core schema, decimal numbers only: `0x1F` and `0o17` are text, so that no
//! one has to know which YAML reads `017` how.

use serde_json::{Map, Number, Value};

use super::tree::{Kind, Node};

/// What a scalar means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning<'a> {
    Null,
    Bool(bool),
    /// Fits an `i64` or `u64`.
    Int(Number),
    /// Finite.
    Float(Number),
    /// Endless, not a number, or beyond what can be counted.
    NotFinite,
    Text(&'a str),
}

/// What `text` means.
pub(super) fn meaning(text: &str, is_plain: bool) -> Meaning<'_> {
    if !is_plain {
        return Meaning::Text(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" | "True" | "TRUE" => return Meaning::Bool(true),
        "false" | "False" | "FALSE" => return Meaning::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Meaning::NotFinite,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if [".inf", ".Inf", ".INF"].contains(&unsigned) {
        return Meaning::NotFinite;
    }
    if !is_decimal(unsigned) {
        return Meaning::Text(text);
    }
    let signed = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = signed.parse::<u64>() {
        return Meaning::Int(number.into());
    }
    if let Ok(number) = signed.parse::<i64>() {
        return Meaning::Int(number.into());
    }
    match signed.parse::<f64>().ok().and_then(Number::from_f64) {
        Some(number) => Meaning::Float(number),
        None => Meaning::NotFinite,
    }
}

/// Whether `text` is `1`, `1.5`, `.5`, `1.` or `1e9`, and no longer than a number needs to be.
fn is_decimal(text: &str) -> bool {
    const DIGITS_MAX: usize = 400;
    let (mantissa, exponent) = text
        .split_once(['e', 'E'])
        .map_or((text, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_is_sound = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && is_digits(digits)
    });
    text.len() <= DIGITS_MAX
        && !(whole.is_empty() && fraction.is_empty())
        && is_digits(whole)
        && is_digits(fraction)
        && exponent_is_sound
}

/// The tree as JSON. Numbers that JSON cannot hold become null; [`super::check`] has told them.
pub(crate) fn to_json(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar { text, is_plain } => match meaning(text, *is_plain) {
            Meaning::Null | Meaning::NotFinite => Value::Null,
            Meaning::Bool(value) => Value::Bool(value),
            Meaning::Int(number) | Meaning::Float(number) => Value::Number(number),
            Meaning::Text(text) => Value::String(text.to_owned()),
        },
        Kind::List(items) => Value::Array(items.iter().map(to_json).collect()),
        Kind::Map(entries) => {
            let pairs = entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.value)));
            Value::Object(Map::from_iter(pairs))
        }
    }
}

/// The tree as YAML text in block style, without comments.
pub(super) fn to_yaml(node: &Node) -> String {
    let mut out = String::new();
    write_block(&mut out, node, 0, true);
    out
}

/// Writes a node whose key, dash or nothing stands before it on the line.
fn write_block(out: &mut String, node: &Node, indent: usize, at_line_start: bool) {
    let mut is_first = at_line_start;
    let mut begin_line = |out: &mut String| {
        if !is_first {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
        }
        is_first = false;
    };
    match &node.kind {
        Kind::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                begin_line(out);
                write_scalar(out, &entry.key, false);
                out.push(':');
                write_value(out, &entry.value, indent + 2);
            }
        }
        Kind::List(items) if !items.is_empty() => {
            for item in items {
                begin_line(out);
                out.push_str("- ");
                write_block(out, item, indent + 2, true);
            }
        }
        Kind::Map(_) => out.push_str("{}"),
        Kind::List(_) => out.push_str("[]"),
        Kind::Scalar { text, is_plain } => write_scalar(out, text, *is_plain),
    }
    if indent == 0 && at_line_start {
        out.push('\n');
    }
}

fn write_value(out: &mut String, node: &Node, indent: usize) {
    let is_block = match &node.kind {
        Kind::Map(entries) => !entries.is_empty(),
        Kind::List(items) => !items.is_empty(),
        Kind::Scalar { .. } => false,
    };
    if !is_block {
        out.push(' ');
    }
    write_block(out, node, indent, !is_block);
}

fn write_scalar(out: &mut String, text: &str, is_plain: bool) {
    let meant = meaning(text, is_plain);
    if meant == Meaning::Null {
        out.push_str("null");
    } else if is_safe_plain(text) && meaning(text, true) == meant {
        out.push_str(text);
    } else {
        out.push_str(&quoted(text));
    }
}

/// Whether the text can stand without quotes in block style and means the same to every YAML.
fn is_safe_plain(text: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_./<=%+- ".contains(c);
    let is_safe_first = |c: char| c.is_ascii_alphanumeric() || "_./<+-".contains(c);
    let second_is_bound =
        !text.starts_with('-') || text[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.');
    // What YAML 1.1 takes for numbers or truth values.
    let is_other_elsewhere = ["yes", "no", "on", "off", "y", "n"]
        .contains(&text.to_ascii_lowercase().as_str())
        || (text.starts_with(['0', '+', '-', '.'])
            && meaning(text, true) == Meaning::Text(text)
            && text.len() > 1
            && !text.contains('/'));
    text.starts_with(is_safe_first)
        && text.chars().all(is_safe)
        && !text.ends_with(' ')
        && second_is_bound
        && !is_other_elsewhere
}

/// The text in double quotes, with everything escaped that is not plain printable ASCII.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scalars_mean_what_the_core_schema_says() {
        let int = |number: i64| Meaning::Int(number.into());
        for (text, meant) in [
            ("", Meaning::Null),
            ("~", Meaning::Null),
            ("true", Meaning::Bool(true)),
            ("yes", Meaning::Text("yes")),
            ("-7", int(-7)),
            ("+7", int(7)),
            ("007", int(7)),
            ("18446744073709551615", Meaning::Int(u64::MAX.into())),
            (".inf", Meaning::NotFinite),
            ("-.inf", Meaning::NotFinite),
            (".nan", Meaning::NotFinite),
            ("1e999", Meaning::NotFinite),
            ("NaN", Meaning::Text("NaN")),
            ("inf", Meaning::Text("inf")),
            ("0x1F", Meaning::Text("0x1F")),
            ("50/s", Meaning::Text("50/s")),
            ("1e", Meaning::Text("1e")),
            (".", Meaning::Text(".")),
            ("-", Meaning::Text("-")),
        ] {
            assert_eq!(meaning(text, true), meant, "{text}");
        }
        assert!(matches!(meaning("1.5", true), Meaning::Float(_)));
        assert!(matches!(meaning("99999999999999999999", true), Meaning::Float(_)));
        assert_eq!(meaning("1", false), Meaning::Text("1"));
    }

    #[test]
    fn written_trees_are_read_back() {
        let text = "a: [{b: 50/s, c: '5', d: }, [], {}, [1, [2, 3]]]\n\"k: e\": |\n  two\n  lines\n\
            e: <250ms\nf: 'yes'\ng: \"\\u0007 ü\"\n";
        let tree = parse(text).expect("YAML");
        let written = to_yaml(&tree);
        assert_eq!(to_json(&parse(&written).expect(&written)), to_json(&tree), "{written}");
        assert!(written.contains("b: 50/s") && written.contains("c: \"5\""), "{written}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            "[-0-9.:#~ a-z]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn tree(value: &Value) -> Node {
        // JSON is YAML once its strings are written with our escapes.
        fn write(value: &Value) -> String {
            match value {
                Value::String(text) => quoted(text),
                Value::Array(items) => {
                    format!("[{}]", items.iter().map(write).collect::<Vec<_>>().join(", "))
                }
                Value::Object(map) => {
                    let pairs: Vec<_> = map
                        .iter()
                        .map(|(key, value)| format!("{}: {}", quoted(key), write(value)))
                        .collect();
                    format!("{{{}}}", pairs.join(", "))
                }
                other => other.to_string(),
            }
        }
        let text = write(value);
        parse(&text).unwrap_or_else(|faults| panic!("{faults:?}: {text}"))
    }

    proptest! {
        #[test]
        fn any_tree_survives_being_written(value in value()) {
            let tree = tree(&value);
            prop_assert_eq!(to_json(&tree), value.clone());
            let written = to_yaml(&tree);
            let read = parse(&written);
            prop_assert!(read.is_ok(), "{:?}: {}", read, written);
            prop_assert_eq!(read.map(|tree| to_json(&tree)).unwrap_or_default(), value, "{}", written);
        }
    }
}
