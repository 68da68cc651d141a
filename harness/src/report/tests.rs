//! Reports as a whole: golden files, bounds, and pages that are well-formed whatever is in them.

use std::{fs, path::PathBuf};

use super::{RenderOptions, chart, html, markdown, testkit, text};
use crate::analyze::{Analysis, Summary};

mod fidelity;
mod properties;
mod retries;
mod tags;

fn fixtures() -> Vec<(&'static str, Analysis)> {
    vec![
        ("empty", testkit::empty()),
        ("clean", testkit::clean()),
        ("lossy", testkit::lossy()),
        ("untrusted", testkit::untrusted()),
        ("aborted", testkit::aborted()),
        ("hostile", testkit::hostile()),
        ("kube", testkit::kube()),
    ]
}

fn page(analysis: &Analysis) -> String {
    html::render(analysis, Some(&testkit::provenance()), &RenderOptions::default())
}

/// Compares with a file under `tests/golden/report`; `UPDATE_GOLDEN=1` writes it.
fn golden(name: &str, found: &str) {
    crate::golden::same("report", name, found);
}

#[test]
fn reports_are_those_of_the_golden_files() {
    for (name, analysis) in fixtures() {
        golden(&format!("{name}.html"), &page(&analysis));
        golden(&format!("{name}.md"), &markdown::render(&analysis));
        golden(&format!("{name}.txt"), &text::render(&analysis));
        let model = chart::build(&analysis, 300);
        let mut json = serde_json::to_string_pretty(&model).expect("serialises");
        json.push('\n');
        golden(&format!("{name}.chart.json"), &json);
        let summary = serde_json::to_string_pretty(&Summary::of(&analysis)).expect("serialises");
        golden(&format!("{name}.summary.json"), &(summary + "\n"));
    }
}

#[test]
fn summaries_of_runs_without_a_cluster_say_nothing_of_one() {
    for (name, analysis) in fixtures() {
        let summary = serde_json::to_value(Summary::of(&analysis)).expect("serialises");
        let told = ["autoscaler", "timeToScaleMs", "generators", "watchGaps"]
            .map(|key| summary.get(key).is_some());
        let is_kube = matches!(name, "kube" | "hostile");
        assert_eq!(told, [is_kube; 4], "{name}");
        let again: Summary = serde_json::from_value(summary).expect("it reads back");
        assert_eq!(again, Summary::of(&analysis));
    }
}

#[test]
fn pages_are_well_formed_and_load_nothing() {
    for (name, analysis) in fixtures() {
        let page = page(&analysis);
        tags::check(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
        for forbidden in ["http:", "https:", "src=\"", "url(", "@import", "<link"] {
            assert!(!page.contains(forbidden), "{name}: {forbidden}");
        }
    }
}

#[test]
fn every_colour_of_the_picture_is_in_the_style_sheet() {
    let style = include_str!("html/style.css");
    for (name, analysis) in fixtures() {
        let svg = chart::svg::draw(&chart::build(&analysis, 930)).expect("it can be drawn");
        assert!(svg.markup().contains("role=\"img\""), "{name}");
        for class in svg.markup().split("class=\"").skip(1) {
            let class = class.split('"').next().expect("there is one");
            let rules = [format!(".{class} "), format!(".{class},")];
            assert!(rules.iter().any(|rule| style.contains(rule)), "{name}: {class}");
        }
    }
    for ink in chart::model::Ink::ALL {
        assert!(style.contains(&format!("-{} ", ink.name())), "{ink:?}");
    }
}

#[test]
fn doubts_stand_above_the_numbers() {
    for analysis in [testkit::untrusted(), testkit::aborted()] {
        let page = page(&analysis);
        let doubt = page.find("class=\"caveat\"").expect("it is said");
        assert!(doubt < page.find("class=\"numbers\"").expect("there are some"));
    }
    let text = text::render(&testkit::untrusted());
    assert!(text.find("cannot be believed") < text.find(" owed"));
}

#[test]
fn hostile_text_stays_text() {
    let analysis = testkit::hostile();
    let page = page(&analysis);
    for forbidden in ["<script>alert", "<img", "onerror=y>", "\u{202e}", "\u{1b}", "\0"] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
    for output in [markdown::render(&analysis), text::render(&analysis)] {
        for forbidden in ["\u{202e}", "\u{1b}", "\0"] {
            assert!(!output.contains(forbidden), "{forbidden:?}");
        }
    }
}

#[test]
fn long_runs_with_many_pods_fit_into_two_megabytes() {
    for analysis in [testkit::hour(), testkit::day()] {
        let page = page(&analysis);
        assert!(page.len() < 2_000_000, "{} bytes", page.len());
        tags::check(&page).expect("it is well-formed");
        assert_eq!(page, self::page(&analysis), "it is the same each time");
    }
}

#[test]
fn the_text_fits_on_a_page_of_a_terminal() {
    let mut crowded = testkit::untrusted();
    crowded.losses = vec![testkit::lossy().losses[0].clone(); 9];
    crowded.objectives = vec![testkit::lossy().objectives[0].clone(); 30];
    crowded.retries.attempts = 1;
    crowded.audit.reasons = vec!["a reason\nof two lines".into(); 30];
    for (_, analysis) in fixtures().into_iter().chain([("crowded", crowded)]) {
        let text = text::render(&analysis);
        assert!(text.lines().count() <= 25, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 160), "{text}");
    }
}

/// Not a check: writes pages to look at into the folder that `WRITE_REPORTS` names.
#[test]
fn pages_can_be_written_to_be_looked_at() {
    let Some(folder) = std::env::var_os("WRITE_REPORTS").map(PathBuf::from) else {
        return;
    };
    fs::create_dir_all(&folder).expect("the folder can be made");
    for (name, analysis) in
        fixtures().into_iter().chain([("hour", testkit::hour()), ("day", testkit::day())])
    {
        fs::write(folder.join(format!("{name}.html")), page(&analysis)).expect("it can be written");
    }
}
