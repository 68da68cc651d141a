//! What is run, and what is said of it.

use std::path::Path;

use super::{
    Asked,
    order::{self, turns},
    promise,
    told::{ConfirmRun, ConfirmSetting, ConfirmVerdict, Promise, PromiseVerdict, TuneConfirm},
    words,
};
use crate::{
    backend::sim,
    cli::KubeArgs,
    compare::{result::Shown, run::RunFigures},
    drain::Confirm,
    plan::Plan,
    record::BackendKind,
    scenario::{self, Loaded, Overrides},
    tune::{Options, Watch, told::TuneRun, told::Tuning, tune},
};

/// Small enough that its simulation takes no time; without objectives of its own.
const TINY: &str = "
name: tiny
seed: 3
target:
  service: {cpu: 2ms, latency: 5ms, drain: {delay: 200ms, deadline: 5s}}
  deployment: {replicas: 2, template: {resources: {requests: {cpu: 20m}}}}
path: {propagation: 50ms}
autoscaler:
  minReplicas: 3
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 5}}
traffic: {phases: [{name: all, hold: 40/s, for: 50s}]}
tune: {parameters: {min: [1, 3]}, seeds: 1, holdOutSeeds: 0}
";

struct Nobody;

impl Watch for Nobody {
    fn is_over(&self) -> bool {
        false
    }

    fn tell(&self, _: &'static str, _: usize, _: usize) {}
}

/// The scenario as a file, as `run` takes it.
struct Lab {
    folder: tempfile::TempDir,
    path: String,
    loaded: Loaded,
    kube: KubeArgs,
}

impl Lab {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tiny.yaml").display().to_string();
        std::fs::write(&path, text).expect("it can be written");
        let loaded = scenario::load(&path, &Overrides::default()).expect("a scenario");
        let kube = KubeArgs {
            kubeconfig: None,
            context: None,
            i_know_this_is_not_a_test_cluster: false,
            namespace: "highwater".into(),
            image: None,
        };
        Self { folder, path, loaded, kube }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            loaded: &self.loaded,
            scenario: &self.path,
            sets: &[],
            on: Confirm::Local,
            repeat: 2,
            kube: &self.kube,
            threads: 1,
            out: self.folder.path(),
        }
    }

    fn tuned(&self) -> Tuning {
        let options = Options { settings: 10, threads: 1, ..Options::default() };
        tune(&self.loaded, &options, &Nobody).expect("a result").tuning
    }
}

#[test]
fn every_round_runs_each_setting_once_and_begins_with_another() {
    let rows = [
        (2, 3, vec![(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (1, 0)]),
        (3, 2, vec![(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1)]),
        (2, 1, vec![(0, 0), (1, 0)]),
        (2, 0, Vec::new()),
    ];
    for (rounds, arms, expected) in rows {
        assert_eq!(turns(rounds, arms), expected, "{rounds} rounds of {arms}");
    }
}

#[test]
fn what_is_run_is_what_was_judged_with_a_seed_for_each_round() {
    let lab = Lab::new(TINY);
    let (asked, mut tuning) = (lab.asked(), lab.tuned());
    assert!(tuning.objectives_are_default);
    tuning.recommended = Some(2);
    let arms = order::arms(&asked, &tuning).expect("arms");
    let slugs: Vec<&str> = arms.iter().map(|arm| arm.slug).collect();
    assert_eq!(slugs, ["default", "present", "recommended"]);
    let jobs = order::jobs(&asked, &tuning, &arms).expect("jobs");
    assert_eq!(jobs.iter().map(|job| job.seed).collect::<Vec<_>>(), [3, 3, 3, 4, 4, 4]);
    for job in &jobs {
        let objectives = job.plan.scenario.objectives.iter().map(ToString::to_string);
        assert_eq!(objectives.collect::<Vec<_>>(), tuning.objectives, "{}", job.slug);
        assert_eq!(job.plan.scenario.seed, job.seed);
    }
    let least = |slug: &str| {
        let job = jobs.iter().find(|job| job.slug == slug).expect("a job");
        job.plan.scenario.autoscaler.as_ref().map(|scaler| scaler.min_replicas)
    };
    assert_eq!((least("present"), least("recommended")), (Some(3), Some(1)));
    assert!(jobs[5].folder.ends_with("confirm/local/default/tiny-2"), "{:?}", jobs[5].folder);
    for (recommended, expected) in [(None, 2), (Some(1), 2)] {
        tuning.recommended = recommended;
        assert_eq!(order::arms(&asked, &tuning).expect("arms").len(), expected);
    }
}

#[test]
fn a_present_setting_that_is_the_default_is_run_once() {
    let plain = TINY
        .replace("averageUtilization: 70", "averageUtilization: 80")
        .replace("  behavior: {scaleDown: {stabilizationWindowSeconds: 5}}\n", "");
    let lab = Lab::new(&plain);
    let arms = order::arms(&lab.asked(), &lab.tuned()).expect("arms");
    let slugs: Vec<&str> = arms.iter().map(|arm| arm.slug).collect();
    assert!(!slugs.contains(&"default") && slugs.contains(&"present"), "{slugs:?}");
}

/// Three simulated runs, said to be of a backend.
fn runs(sets: &[&str], backend: BackendKind) -> Vec<RunFigures> {
    let run = |seed: u64| {
        let sets = sets.iter().map(ToString::to_string).collect();
        let overrides = Overrides { sets, seed: Some(seed) };
        let origin = scenario::Origin::Bundled("tiny");
        let loaded = scenario::load_text(TINY.into(), origin, &overrides).expect("a scenario");
        let record = sim::record(&Plan::new(loaded.scenario).expect("a plan")).expect("a record");
        let mut figures =
            crate::compare::run::of_record("", &record, None).expect("a sound record");
        figures.backend = backend;
        figures
    };
    (3..6).map(run).collect()
}

#[test]
fn a_promise_is_held_against_what_was_measured_of_the_same_seeds() {
    use PromiseVerdict::{CannotTell, Held, NotHeld};
    // Bounds that leave the autoscaler no choice, so that the runs are alike.
    let fixed = "autoscaler={minReplicas: 4, maxReplicas: 4}";
    let fewer = "autoscaler={minReplicas: 3, maxReplicas: 3}";
    let promised = runs(&[fixed], BackendKind::Sim);
    let same = runs(&[fixed], BackendKind::Local);
    let slow = runs(&[fixed, "target.service.latency=9ms"], BackendKind::Local);
    let few = runs(&[fewer], BackendKind::Local);
    let lost = |mut runs: Vec<RunFigures>, count: u64| {
        for run in &mut runs {
            let cell = &mut run.cells[0];
            let count = count.min(cell.counts.ok);
            for counts in [&mut cell.counts, &mut run.counts] {
                counts.ok -= count;
                counts.failed += count;
            }
        }
        runs
    };
    let lossy = lost(same.clone(), 30);
    let rows: [(&str, &[RunFigures], [PromiseVerdict; 3]); 5] = [
        ("the same", &same, [Held, Held, Held]),
        ("slower", &slow, [Held, NotHeld, Held]),
        ("fewer pods", &few, [NotHeld, Held, Held]),
        ("with losses", &lossy, [Held, Held, NotHeld]),
        ("a single run", &same[..1], [CannotTell, CannotTell, CannotTell]),
    ];
    for (what, measured, expected) in rows {
        let promised = &promised[..measured.len()];
        let found = promise::promises(promised, measured).expect("promises");
        let verdicts: Vec<_> = found.iter().map(|promise| promise.verdict).collect();
        assert_eq!(verdicts, expected, "{what}: {found:#?}");
    }
    assert!(promise::promises(&promised, &[]).is_err(), "nothing was measured");
}

fn setting(
    place: usize,
    missed: &[&str],
    doubts: &[&str],
    promise: PromiseVerdict,
) -> ConfirmSetting {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<String>>();
    let name = ["present", "Kubernetes default", "candidate 1"][place].to_owned();
    let run = ConfirmRun {
        folder: format!("confirm/local/{place}/tiny-1"),
        seed: 3,
        doubts: words(doubts),
        simulated: TuneRun::default(),
        measured: TuneRun { missed: words(missed), ..TuneRun::default() },
    };
    let promise = Promise {
        measure: "pod-hours".into(),
        simulated: Some(1.0),
        measured: Some(1.2),
        off: Some(super::told::Off { relative: true, value: 0.2, low: 0.1, high: 0.3 }),
        tolerance: 0.05,
        verdict: promise,
        repeat: None,
        shown: Shown::default(),
    };
    let folder = format!("confirm/local/{place}");
    ConfirmSetting { setting: place, name, folder, runs: vec![run], promises: vec![promise] }
}

#[test]
fn the_verdict_is_the_worst_that_is_known_of_what_was_recommended() {
    use ConfirmVerdict as Of;
    use PromiseVerdict::{CannotTell, Held, NotHeld};
    let good = || setting(0, &[], &[], Held);
    let rows = [
        ("all is well", vec![good(), setting(2, &[], &[], Held)], Some(2), Of::Held, false),
        (
            "objectives are missed, which is worse than a promise",
            vec![good(), setting(2, &["failed: 3"], &[], NotHeld)],
            Some(2),
            Of::Misses,
            true,
        ),
        (
            "a run that cannot be trusted misses nothing",
            vec![good(), setting(2, &["failed: 3"], &["slow"], CannotTell)],
            Some(2),
            Of::CannotTell,
            false,
        ),
        ("more pods", vec![good(), setting(2, &[], &[], NotHeld)], Some(2), Of::NotHeld, true),
        (
            "another setting's promise is told, and decides nothing",
            vec![setting(0, &["failed: 1"], &[], NotHeld), setting(2, &[], &[], Held)],
            Some(2),
            Of::Held,
            true,
        ),
        (
            "nothing was recommended: all count",
            vec![setting(0, &[], &[], NotHeld), setting(1, &[], &[], Held)],
            None,
            Of::NotHeld,
            true,
        ),
        ("nothing ran", Vec::new(), Some(2), Of::CannotTell, false),
    ];
    for (what, settings, recommended, expected, is_mended) in rows {
        assert_eq!(words::verdict(&settings, recommended), expected, "{what}");
        let confirmed = confirmed(settings, expected);
        let command = words::calibrate(&confirmed, recommended, Path::new("out of it"));
        assert_eq!(command.is_some(), is_mended, "{what}");
        if let Some(command) = command {
            assert!(
                command.starts_with("highwater calibrate 'out of it/confirm/local/"),
                "{command}"
            );
        }
    }
}

fn confirmed(settings: Vec<ConfirmSetting>, verdict: ConfirmVerdict) -> TuneConfirm {
    TuneConfirm {
        backend: BackendKind::Local,
        repeat: 2,
        complete: true,
        verdict,
        why: Vec::new(),
        doubts: words::doubts(&settings, 2),
        settings,
        comparisons: Vec::new(),
        calibrate: None,
    }
}

#[test]
fn what_is_missed_is_said_first_and_what_is_missing_is_a_doubt() {
    let lab = Lab::new(TINY);
    let mut tuning = lab.tuned();
    tuning.recommended = Some(2);
    let settings = vec![
        setting(0, &[], &["slow"], PromiseVerdict::Held),
        setting(2, &["failed: 3"], &[], PromiseVerdict::NotHeld),
    ];
    let mut confirmed = confirmed(settings, ConfirmVerdict::Misses);
    assert_eq!(
        confirmed.doubts,
        [
            "present: 1 of 2 runs were made",
            "confirm/local/0/tiny-1: slow",
            "candidate 1: 1 of 2 runs were made"
        ]
    );
    let why = words::why(&confirmed, &tuning);
    assert!(why[0].contains("misses its objectives in 1 of 1 run on local: failed: 3"), "{why:?}");
    assert!(why[1].contains("Not held for candidate 1"), "{why:?}");
    confirmed.why = why;
    tuning.confirm = vec![confirmed];
    let text = crate::report::tune::text(&tuning);
    let first = text.lines().next().expect("a line");
    assert!(first.ends_with("but it MISSES its objectives on local"), "{first}");
    let page = crate::report::tune::html(&tuning, None);
    assert!(page.contains("<header class=\"banner missed\">"), "the page says so, too");
    // What was written is read back as it was.
    let json = serde_json::to_string(&tuning).expect("JSON");
    assert_eq!(serde_json::from_str::<Tuning>(&json).expect("a result"), tuning);
}
