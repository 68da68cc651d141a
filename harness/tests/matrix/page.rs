//! `docs/anti-patterns.md`, made from the table, and its pictures, made from runs.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use highwater::{
    analyze::Analysis,
    report::chart::{self, model::Panel, svg},
};

use crate::{
    run::{Job, run_all},
    table::{BASE, Expected, Row, TABLE},
};

/// Width of a picture's plot.
const COLUMNS: u32 = 620;
/// Colours for a picture that stands by itself: those of a report on white.
const STYLE: &str = "svg{background:#fff;font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
    [class^=s-]{fill:none;stroke-linejoin:round}\
    .f-text{fill:#1d2125}.f-muted{fill:#5b636b}.s-grid{stroke:#e6e3dd}.s-frame{stroke:#8d949b}\
    .f-quiet{fill:#f2f0ec}.s-boundary{stroke:#a9a49a;stroke-dasharray:2 5}\
    .s-action{stroke:#3b434b;stroke-dasharray:8 6;opacity:.75}.f-action{fill:#3b434b}\
    .f-lost{fill:#c1202f}.s-lost{stroke:#c1202f}\
    .f-phase-pending{fill:#cdc9c0}.f-phase-starting{fill:#a9c3d8}.f-phase-ready{fill:#a5d3c3}\
    .f-phase-unready{fill:#e8bd66}.f-phase-pre-stop{fill:#ddd4f3}.f-phase-draining{fill:#bcabe8}\
    .f-phase-exited{fill:#8f8b83}.f-routed{fill:#3d7f6c}";

const INTRO: &str = "\
# Anti-patterns

What goes wrong when pods come and go, how it looks from outside, and what stops it. Each of these is a row of a test \
that runs it with real processes (`just matrix`): on each path where it can show it is found and named as said here, and \
nothing else is; and the same setting without the mistake loses nothing. This page is made from that table by \
`just anti-patterns`; its pictures are those of the runs: a lane for each pod, coloured by its phase, with the line of \
the time in which somebody could choose it, and what was lost on it in red.

`l4` is the path of kube-proxy, where connections stay with their pod; `l7` goes through a proxy with a pool, as an \
ingress. Names in `code` are those of the report's causes of loss, and of what it finds besides.

";

/// The page.
fn page() -> String {
    let mut page = INTRO.to_string();
    page.push_str("| anti-pattern | found on `l4` as | found on `l7` as |\n| --- | --- | --- |\n");
    for row in TABLE {
        let (l4, l7) = (in_words(row.l4), in_words(row.l7));
        writeln!(page, "| [{}](#{}) | {l4} | {l7} |", row.title, anchor(row.title)).unwrap();
    }
    write!(page, "\nEach can be run: the `--set`s go with this scenario.\n\n```yaml{BASE}```\n")
        .unwrap();
    for row in TABLE {
        section(&mut page, row);
    }
    page
}

fn section(page: &mut String, row: &Row) {
    let sets: Vec<String> = sets(row).map(|set| format!("--set '{set}'")).collect();
    write!(
        page,
        "\n## {}\n\n![]({})\n\n- **Symptom**: {}\n- **Cause**: {}\n- **Fix**: {}\n\n```sh\nhighwater run matrix.yaml \
         \\\n  {}\n```\n",
        row.title,
        picture_of(row).display(),
        row.symptom,
        row.why,
        row.fix,
        sets.join(" \\\n  ")
    )
    .unwrap();
}

fn sets(row: &Row) -> impl Iterator<Item = String> {
    let kind = format!("path.kind={}", path_of(row));
    row.setting.iter().chain(row.wrong).map(ToString::to_string).chain([kind])
}

fn in_words(expected: Expected) -> String {
    let causes = expected.causes.iter().map(|cause| format!("`{}`", cause.name()));
    let findings = expected.findings.iter().map(|kind| format!("`{}`", kind.name()));
    let all: Vec<String> = causes.chain(findings).collect();
    if all.is_empty() { "does not show".into() } else { all.join(", ") }
}

/// As GitHub makes it from a heading.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The path that the picture is of: where more is to be seen.
fn path_of(row: &Row) -> &'static str {
    if row.l7.causes.len() < row.l4.causes.len() { "l4" } else { "l7" }
}

fn picture_of(row: &Row) -> PathBuf {
    Path::new("images").join(format!("anti-pattern-{}.svg", row.name))
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The lanes of a run.
fn picture(row: &Row, analysis: &Analysis) -> String {
    let mut model = chart::build(analysis, COLUMNS);
    model.panels.retain(|panel| matches!(panel, Panel::Lanes(_)));
    model.title = row.title.into();
    model.description = format!("A lane for each pod. {}", row.symptom);
    svg::draw(&model).unwrap().alone(STYLE)
}

#[test]
fn golden_page_is_that_of_the_table() {
    let (file, made) = (docs().join("anti-patterns.md"), page());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == made, "docs/anti-patterns.md is not that of the table: just anti-patterns");
    for row in TABLE {
        assert!(docs().join(picture_of(row)).is_file(), "no picture of {}", row.name);
    }
}

#[test]
#[ignore = "writes docs/anti-patterns.md and its pictures (just anti-patterns)"]
fn docs_are_written() {
    let rows = || TABLE.iter().filter(|row| crate::is_wanted(row.name));
    let jobs: Vec<Job> = rows()
        .map(|row| {
            let sets = [row.setting, row.wrong].concat();
            Job { name: row.name, path: path_of(row), seed: 1, sets, backend: "local" }
        })
        .collect();
    for (row, outcome) in rows().zip(run_all(&jobs)) {
        std::fs::write(docs().join(picture_of(row)), picture(row, &outcome.analysis)).unwrap();
    }
    std::fs::write(docs().join("anti-patterns.md"), page()).unwrap();
}
