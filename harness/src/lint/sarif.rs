//! The report as SARIF 2.1.0, for code scanning.
//!
//! *Source*: OASIS, Static Analysis Results Interchange Format 2.1.0, sections 3.13 to 3.52.

use serde_json::{Value, json};

use super::{
    finding::{Finding, Level, Report, Rule},
    table::RULES,
};

/// Where the pages of the rules are.
const PAGES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/lint.md");
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The log.
pub fn render(report: &Report) -> Value {
    let unreadable = report
        .unreadable
        .iter()
        .map(|problem| json!({"level": "error", "message": {"text": problem}}));
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "highwater",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": RULES.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.unreadable.is_empty(),
                "toolExecutionNotifications": unreadable.collect::<Vec<_>>(),
            }],
            "results": report.findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.reason},
        "help": {"text": format!("{}\n\n{}\n\nFix: {}", rule.reason, rule.consequence, rule.fix)},
        "helpUri": format!("{PAGES}#{}", rule.name),
        "defaultConfiguration": {"level": rule.level.name()},
    })
}

fn result(finding: &Finding) -> Value {
    let index = RULES.iter().position(|rule| rule.name == finding.rule);
    let mut text = format!("{}: {}.", finding.object, finding.message);
    for (lead, more) in [("Then", &finding.consequence), ("Fix", &finding.fix)] {
        if !more.is_empty() {
            text.push_str(&format!("\n{lead}: {more}."));
        }
    }
    if let Some(patch) = &finding.patch {
        text.push_str(&format!("\n\n{patch}"));
    }
    json!({
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": match finding.level {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        },
        "message": {"text": text},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(&finding.file)},
                "region": {"startLine": finding.line, "startColumn": finding.column},
            },
            "logicalLocations": [{
                "fullyQualifiedName": format!("{} {}", finding.object, finding.path),
            }],
        }],
        "properties": {"figures": finding.figures},
    })
}

/// A path as a relative URI reference, or as a file's if it is absolute.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_references() {
        for (path, expected) in [
            ("a/b.yaml", "a/b.yaml"),
            ("./a b.yaml", "a%20b.yaml"),
            ("/x/\u{e4}.yaml", "file:///x/%C3%A4.yaml"),
            ("stdin", "stdin"),
        ] {
            assert_eq!(uri(path), expected, "{path}");
        }
    }
}
