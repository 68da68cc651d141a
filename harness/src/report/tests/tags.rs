//! Whether the tags of a page are balanced, its attributes quoted and its ids unique.

use std::collections::BTreeSet;

const VOID: [&str; 2] = ["meta", "br"];

/// Checks a page, or says what is wrong.
pub(super) fn check(page: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("it has no doctype")?;
    while let Some(begin) = rest.find('<') {
        if rest[..begin].contains('>') {
            return Err(format!("`>` in text before {:.60}", &rest[begin..]));
        }
        rest = &rest[begin + 1..];
        let (tag, attributes, after) = tag(rest)?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let expected = open.pop();
            if expected != Some(name) {
                return Err(format!("</{name}> where {expected:?} is open"));
            }
            continue;
        }
        for (name, value) in &attributes {
            if *name == "id" && !ids.insert(*value) {
                return Err(format!("id {value} twice"));
            }
            if name.starts_with("on") || value.contains('<') {
                return Err(format!("attribute {name}=\"{value}\""));
            }
        }
        let closed = attributes.last().is_some_and(|(name, _)| *name == "/");
        if VOID.contains(&tag) || closed {
            continue;
        }
        if tag == "script" || tag == "style" {
            let end = rest.find("</").ok_or("a script does not end")?;
            rest = &rest[end..];
        }
        open.push(tag);
    }
    match open.last() {
        Some(tag) => Err(format!("<{tag}> does not end")),
        None => Ok(()),
    }
}

type Attributes<'a> = Vec<(&'a str, &'a str)>;

/// Name, attributes and what follows; `text` begins after `<`.
fn tag(text: &str) -> Result<(&str, Attributes<'_>, &str), String> {
    let end = text.find([' ', '>', '\n']).ok_or("a tag does not end")?;
    let (name, mut rest) = (&text[..end], &text[end..]);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '/') {
        return Err(format!("tag {name:?}"));
    }
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('>') {
            return Ok((name, attributes, after));
        }
        if let Some(after) = rest.strip_prefix("/>") {
            attributes.push(("/", ""));
            return Ok((name, attributes, after));
        }
        let end = rest.find(['=', '>', ' ']).ok_or("an attribute does not end")?;
        let key = &rest[..end];
        rest = &rest[end..];
        let Some(value) = rest.strip_prefix("=\"") else {
            if rest.starts_with('=') {
                return Err(format!("attribute {key} without quotes"));
            }
            attributes.push((key, ""));
            continue;
        };
        let end = value.find('"').ok_or("a quote does not end")?;
        attributes.push((key, &value[..end]));
        rest = &value[end + 1..];
        if !rest.starts_with([' ', '>', '/', '\n']) {
            return Err(format!("after attribute {key}: {rest:.20}"));
        }
    }
}

#[test]
fn what_is_wrong_is_found() {
    let page = |body: &str| check(&format!("<!DOCTYPE html><html>{body}</html>"));
    assert_eq!(page("<p class=\"a\">x &gt; y</p><rect x=\"1\"/><meta a=\"b\">"), Ok(()));
    for wrong in [
        "<p>",
        "</p>",
        "<p><b></p></b>",
        "<p a=b></p>",
        "<p a=\"b\"c></p>",
        "<p onclick=\"x\"></p>",
        "a > b",
        "<p id=\"a\"></p><p id=\"a\"></p>",
    ] {
        assert!(page(wrong).is_err(), "{wrong}");
    }
}
