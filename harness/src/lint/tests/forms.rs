//! Text, JSON and SARIF of one report, and the pages, against golden files. `UPDATE_GOLDEN=1`
//! writes them anew.

use std::{env, fs, path::PathBuf};

use super::{BASE, Format, changed, lint};
use crate::lint::{page, render, schema};

fn golden(path: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, found).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} (UPDATE_GOLDEN=1 writes it anew)", path.display());
}

#[test]
fn the_report_has_three_forms() {
    let text = changed(
        BASE,
        &[
            ("sleep: {seconds: 10}", "exec: {command: [sleep, '44']}"),
            ("command: [/web]", "command: [sh, -c, /web]"),
            ("replicas: 3", "replicas: 4"),
            ("      maxUnavailable: 0\n", ""),
        ],
    );
    let report = lint(&text);
    golden("tests/golden/lint/report.txt", &render(&report, Format::Text));
    golden("tests/golden/lint/report.json", &render(&report, Format::Json));
    // The rules are on the pages already.
    let mut sarif = crate::lint::sarif::render(&report);
    sarif["runs"][0]["tool"]["driver"]["rules"].as_array_mut().expect("a list").truncate(1);
    golden("tests/golden/lint/report.sarif", &format!("{sarif:#}\n"));
    let schema = schema();
    assert_eq!(schema["$id"], crate::lint::SCHEMA_ID);
}

#[test]
fn sarif_names_only_rules_that_it_describes() {
    let report = lint(&BASE.replace("replicas: 3", "replicas: 1"));
    let sarif = crate::lint::sarif::render(&report);
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().expect("a list");
    assert!(!results.is_empty());
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("a number") as usize;
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        assert!(
            result["locations"][0]["physicalLocation"]["region"]["startLine"].as_u64() > Some(0)
        );
    }
}

#[test]
fn every_rule_has_its_page_in_the_document() {
    const HEAD: &str = include_str!("../../../../docs/lint.md");
    const MARK: &str = "<!-- made from the table of rules: harness/src/lint/table.rs -->\n";
    let (head, _) = HEAD.split_once(MARK).expect("the mark stands in docs/lint.md");
    golden("../docs/lint.md", &format!("{head}{MARK}\n{}", page::all()));
}
