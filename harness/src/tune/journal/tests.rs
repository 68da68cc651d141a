//! A search that was ended anywhere goes on and gives the bytes of one that was not.

use std::fs;

use super::{FILE, Place};
use crate::{
    scenario::{self, Loaded, Origin, Overrides},
    tune::{Options, TuneError, Tuned, Watch, tune},
};

/// Small enough for many searches, with more settings than are tried.
const SMALL: &str = "
name: small
seed: 3
target:
  service: {cpu: 10ms, latency: 5ms}
  deployment: {replicas: 2, template: {resources: {requests: {cpu: 50m}}}}
autoscaler:
  minReplicas: 2
  maxReplicas: 6
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
traffic: {phases: [{hold: 10/s, for: 10s}, {hold: 30/s, for: 15s}]}
objectives: [{failed: 0}, {latency.p99: <400ms}]
tune: {parameters: {min: [1, 2, 3, 4], target: [40, 50, 60, 70, 80, 90], down-window: [0, 30, 60, 120]},
  seeds: 2, holdOutSeeds: 0}
";

struct Nobody;

impl Watch for Nobody {
    fn is_over(&self) -> bool {
        false
    }

    fn tell(&self, _: &'static str, _: usize, _: usize) {}
}

fn small(sets: &[&str]) -> Loaded {
    let sets = sets.iter().map(ToString::to_string).collect();
    let overrides = Overrides { sets, seed: None };
    scenario::load_text(SMALL.into(), Origin::Bundled("small"), &overrides).expect("a scenario")
}

fn bytes(tuned: &Tuned) -> String {
    serde_json::to_string(&tuned.tuning).expect("JSON") + tuned.patch.as_deref().unwrap_or_default()
}

/// A folder with a journal in it, or without.
struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn with(journal: &[u8]) -> Self {
        let lab = Self::new();
        fs::write(lab.folder.path().join(FILE), journal).expect("it can be written");
        lab
    }

    fn journal(&self) -> Vec<u8> {
        fs::read(self.folder.path().join(FILE)).expect("a journal")
    }

    fn tune(
        &self,
        loaded: &Loaded,
        is_resumed: bool,
        changes: fn(&mut Options),
    ) -> Result<Tuned, TuneError> {
        let journal = Some(Place { path: self.folder.path().join(FILE), is_resumed });
        let mut options = Options { settings: 20, threads: 1, journal, ..Options::default() };
        changes(&mut options);
        tune(loaded, &options, &Nobody)
    }
}

#[test]
fn a_search_that_was_ended_anywhere_goes_on_to_the_same_bytes() {
    let loaded = small(&[]);
    let whole = Lab::new();
    let expected = bytes(&whole.tune(&loaded, false, |_| {}).expect("a result"));
    let journal = whole.journal();
    let lines: Vec<usize> =
        (0..journal.len()).filter(|at| journal[*at] == b'\n').map(|at| at + 1).collect();
    assert!(lines.len() > 40, "{} lines", lines.len());
    let is_full = |line: &[u8]| line.starts_with(b"{\"full\"");
    let full = journal.split_inclusive(|byte| *byte == b'\n').filter(|line| is_full(line)).count();
    assert!(full > 10, "{full} full simulations");
    let rows = [
        ("before its first line was whole", lines[0] / 2),
        ("after its first line", lines[0]),
        ("in its second", lines[0] + 9),
        ("in the middle of the settings", lines[30]),
        ("just before the end of a line", lines[31] - 1),
        ("among the full simulations", lines[lines.len() - full / 2] + 20),
        ("before the last byte", journal.len() - 1),
        ("at its end", journal.len()),
    ];
    for (what, cut) in rows {
        let lab = Lab::with(&journal[..cut]);
        let found = lab.tune(&loaded, true, |_| {}).expect(what);
        assert!(bytes(&found) == expected, "ended {what}: another result");
        // One thread tries them in one order, so that the journal is the same as well.
        assert!(lab.journal() == journal, "ended {what}: another journal");
    }
    let lab = Lab::with(&journal[..lines[30]]);
    let found = lab.tune(&loaded, true, |options| options.threads = 3).expect("a result");
    assert!(bytes(&found) == expected, "on several threads");
    let none = |options: &mut Options| options.journal = None;
    let found = Lab::new().tune(&loaded, false, none).expect("a result");
    assert!(bytes(&found) == expected, "without a journal");
}

#[test]
fn what_is_known_is_not_tried_again() {
    let loaded = small(&[]);
    let lab = Lab::new();
    lab.tune(&loaded, false, |_| {}).expect("a result");
    // Every setting is said to be as bad as can be; the search believes it.
    let text = String::from_utf8(lab.journal()).expect("text");
    let line = |line: &str| match line.split_once("\"shortfall\":\"") {
        Some((before, after)) => {
            let (_, after) = after.split_once('"').expect("a number's end");
            format!("{before}\"shortfall\":\"77\"{after}\n")
        }
        None => format!("{line}\n"),
    };
    let worse: String = text.lines().map(line).collect();
    let lab = Lab::with(worse.as_bytes());
    let found = lab.tune(&loaded, true, |_| {}).expect("a result");
    let known = found.tuning.tried.iter().filter(|one| one.shortfall >= 77.0).count();
    assert!(known > 10, "{:?}", found.tuning.tried);
}

#[test]
fn a_journal_of_another_search_is_refused() {
    let loaded = small(&[]);
    let lab = Lab::new();
    let settle = |options: &mut Options| options.settings = 1;
    lab.tune(&loaded, false, settle).expect("a result");
    let journal = String::from_utf8(lab.journal()).expect("text");
    let refused = |journal: &str, loaded: &Loaded, changes: fn(&mut Options)| {
        let lab = Lab::with(journal.as_bytes());
        let error = lab.tune(loaded, true, changes).expect_err("it is of no use").to_string();
        assert!(lab.journal() == journal.as_bytes(), "and left as it is");
        error
    };
    let narrower = |options: &mut Options| options.parameters = vec!["min=1,2".into()];
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let torn = journal.replacen("{\"trial\"", "{\"trail\"", 1);
    for (told, fragment) in [
        (refused(&journal, &small(&["seed=4"]), settle), "another search"),
        (refused(&journal, &small(&["target.service.cpu=7ms"]), settle), "another search"),
        (refused(&journal, &small(&["traffic.phases[0].hold=11/s"]), settle), "another search"),
        (refused(&journal, &small(&["objectives=[{failed: 1}]"]), settle), "another search"),
        (refused(&journal, &loaded, narrower), "another search"),
        (refused(&journal.replace(&version, "\"version\":\"0.0.1\""), &loaded, settle), "0.0.1"),
        (refused(&torn, &loaded, settle), "line 2"),
        (refused("{}\n", &loaded, settle), "line 1"),
    ] {
        assert!(told.contains(fragment), "{fragment}: {told}");
    }
    let missing = Lab::new().tune(&loaded, true, settle).expect_err("nothing is there");
    assert!(matches!(missing, TuneError::Journal(_)), "{missing}");
    let there = Lab::with(b"").tune(&loaded, false, settle).expect_err("it is there");
    assert!(matches!(there, TuneError::Journal(_)), "{there}");
}
