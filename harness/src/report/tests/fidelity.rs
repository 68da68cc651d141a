//! The page of several backends.

use crate::{
    analyze::Analysis,
    record::{BackendKind, folder::Provenance},
    report::{
        chart::compare,
        fidelity::{Group, GroupError, Run, groups, picture, render},
        testkit,
    },
};

use super::golden;

const NOTES: &str = "\n## Why they differ\n\nBy *hand*.\n\n";

fn run(analysis: Analysis, backend: BackendKind) -> Run {
    let is_kube = backend == BackendKind::Kube;
    Run {
        analysis: Analysis { backend, ..analysis },
        cluster: is_kube.then(|| ("v1.35.4".into(), 2)),
        provenance: Some(testkit::provenance()),
        p95_chance: Some(0.03),
    }
}

fn group(scenario: &str, runs: Vec<Run>) -> Group {
    let mut group = Group { scenario: scenario.into(), runs: Default::default() };
    for run in runs {
        group.runs.entry(run.analysis.backend).or_default().push(run);
    }
    group.ordered()
}

/// The same run, each change of the replicas later by so many seconds of its traffic.
fn later(mut analysis: Analysis, seconds: f64) -> Analysis {
    let start = analysis.timeline.traffic_start;
    for point in analysis.timeline.replicas.iter_mut().filter(|point| point.at > start) {
        point.at = point.at + testkit::at(seconds).since(testkit::at(0.0));
    }
    analysis
}

fn fixtures() -> Vec<Group> {
    use BackendKind::{Kube, Local, Sim};
    let slow =
        Analysis { latency: testkit::percentiles(9_900, 22.0), ..later(testkit::lossy(), 1.5) };
    let again = Analysis { seed: 8, latency: testkit::percentiles(9_900, 25.0), ..slow.clone() };
    vec![
        group("rolling-update", vec![run(testkit::clean(), Local), run(slow.clone(), Kube)]),
        group(
            "several",
            vec![
                run(again, Kube),
                run(testkit::lossy(), Local),
                run(slow, Kube),
                run(testkit::clean(), Sim),
            ],
        ),
        group("spike", vec![run(testkit::kube(), Kube)]),
        group("without-traffic", vec![run(testkit::empty(), Local), run(testkit::empty(), Kube)]),
    ]
}

#[test]
fn the_page_is_that_of_the_golden_file() {
    let page = render(&fixtures(), NOTES).expect("it can be drawn");
    golden("fidelity.md", &page.markdown);
    for group in &fixtures()[..2] {
        let mut json = serde_json::to_string_pretty(&picture(group, 300)).expect("serialises");
        json.push('\n');
        golden(&format!("fidelity-{}.chart.json", group.scenario), &json);
    }
}

#[test]
fn pictures_stand_by_themselves() {
    let page = render(&fixtures(), NOTES).expect("it can be drawn");
    let names: Vec<&str> = page.pictures.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(names[0], "fidelity-rolling-update.svg");
    for picture in &page.pictures {
        assert!(page.markdown.contains(&format!("](images/{})", picture.name)), "{}", picture.name);
        super::tags::check(&format!("<!DOCTYPE html>{}", picture.svg)).expect("well-formed");
        assert!(picture.svg.contains(" xmlns=\"http://www.w3.org/2000/svg\"><style>"));
        for class in picture.svg.split("class=\"").skip(1) {
            let class = class.split('"').next().expect("there is one");
            let rule = format!(".{class}{{");
            assert!(class == "chart" || compare::STYLE.contains(&rule), "{class}");
        }
    }
}

#[test]
fn the_page_does_not_depend_on_the_order_of_the_runs() {
    let page = render(&fixtures(), NOTES).expect("it can be drawn");
    let turned: Vec<Group> = fixtures()
        .into_iter()
        .map(|group| {
            let runs = group.runs.into_values().flatten().rev().collect();
            self::group(&group.scenario, runs)
        })
        .collect();
    assert_eq!(render(&turned, NOTES).expect("it can be drawn"), page);
}

#[test]
fn names_from_records_are_harmless() {
    let mut hostile = testkit::hostile();
    hostile.scenario = testkit::HOSTILE.into();
    let hostile = |backend| run(hostile.clone(), backend);
    let pair =
        |name: &str| group(name, vec![hostile(BackendKind::Local), hostile(BackendKind::Kube)]);
    let groups = [pair(testkit::HOSTILE), pair("../a b"), pair("---a-b")];
    let page = render(&groups, "").expect("it can be drawn");
    for forbidden in ["<script>", "<img", "\u{202e}", "\u{1b}", "\0", "@all"] {
        assert!(!page.markdown.contains(forbidden), "{forbidden:?}");
        assert!(
            page.pictures
                .iter()
                .all(|picture| !picture.svg.contains(forbidden) || forbidden == "@all")
        );
    }
    let mut names: Vec<&str> = page.pictures.iter().map(|picture| picture.name.as_str()).collect();
    assert!(names.iter().all(|name| !name.contains(['/', ' ', '<']) && name.ends_with(".svg")));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), groups.len());
}

#[test]
fn runs_of_two_scenarios_with_one_name_are_refused() {
    let record = testkit::kube_record();
    let mut local = record.clone();
    local.header.backend = BackendKind::Local;
    local.header.scenario.seed += 1;
    let mut other = local.clone();
    other.header.scenario.traffic.timeout.0 += 1;
    let labelled = |records: Vec<crate::record::RunRecord>| {
        groups(
            records
                .into_iter()
                .enumerate()
                .map(|(index, record)| (format!("run-{index}"), record, None::<Provenance>)),
        )
    };
    let found = labelled(vec![record.clone(), local]).expect("they are of one scenario");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].labelled().map(|(label, _)| label).collect::<Vec<_>>(), ["local", "kube"]);
    let refused = labelled(vec![record, other]);
    assert!(matches!(refused, Err(GroupError::Different { .. })), "{refused:?}");
}
