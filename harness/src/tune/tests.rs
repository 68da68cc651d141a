//! The search as a whole.

use std::fmt::Write as _;

use highwater_model::coarse::Station;

use super::{
    Options, TuneError, Tuned, Watch,
    cases::{Case, Cases},
    finals::{Finalist, judge},
    judge::Goals,
    search::Search,
    space::Space,
    told::TuneVerdict,
    trial::Problem,
    tune,
};
use crate::scenario::{self, Loaded, Origin, Overrides, Variants};

/// Nobody waits, and nobody listens.
struct Patient;

impl Watch for Patient {
    fn is_over(&self) -> bool {
        false
    }

    fn tell(&self, _: &'static str, _: usize, _: usize) {}
}

/// Time is up at once.
struct Hasty;

impl Watch for Hasty {
    fn is_over(&self) -> bool {
        true
    }

    fn tell(&self, _: &'static str, _: usize, _: usize) {}
}

fn spike(sets: &[&str]) -> Loaded {
    let sets = sets.iter().map(ToString::to_string).collect();
    scenario::load("spike", &Overrides { sets, seed: None }).expect("a bundled scenario")
}

fn options(parameters: &[&str], settings: usize, threads: usize) -> Options {
    let parameters = parameters.iter().map(ToString::to_string).collect();
    Options { parameters, settings, threads, ..Options::default() }
}

fn bytes(tuned: &Tuned) -> String {
    let mut bytes = serde_json::to_string(&tuned.tuning).expect("JSON");
    let page = crate::report::tune::html(&tuned.tuning, tuned.patch.as_deref());
    write!(bytes, "{page}{:?}", tuned.patch).expect("a string takes it");
    bytes
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let loaded = spike(&["tune={seeds: 1, holdOutSeeds: 0}"]);
    let [one, two] = [1, 2]
        .map(|threads| tune(&loaded, &options(&[], 48, threads), &Patient).expect("a result"));
    assert!(bytes(&one) == bytes(&two), "the results differ");
    assert!(!one.tuning.search.exhaustive && !one.tuning.search.cut);
}

#[test]
fn a_search_without_time_tries_one_batch_and_says_so() {
    let loaded = spike(&["tune={seeds: 1, holdOutSeeds: 0}"]);
    let tuned =
        tune(&loaded, &options(&["target", "down-window"], 90, 2), &Hasty).expect("a result");
    assert!(tuned.tuning.search.cut);
    assert!(tuned.tuning.search.settings <= 32);
    assert_eq!(tuned.tuning.settings[0].name, "present");
}

#[test]
fn the_ten_best_of_the_fast_search_hold_the_best_of_an_exhaustive_one() {
    let loaded = spike(&[]);
    let variants = Variants::new(&loaded).expect("a scenario");
    let parameters = [
        "autoscaler.metrics[0].resource.target.averageUtilization=30,45,60,75,90",
        "down-window=0,15,30,60,120",
        "min=1,2,3,4",
    ];
    let space = Space::new(&variants, &parameters.map(ToString::to_string)).expect("a space");
    assert_eq!(space.size(), 100);
    let goals = Goals::of(variants.base(), &Station::new(variants.base()));
    let problem = Problem::new(&variants, &space, &goals, 2);
    let mut cases = Cases::new(variants.base(), &[]).expect("cases").train;
    cases.truncate(1);
    let search = |wanted| {
        let (is_over, tell) = (|| false, |_: usize, _: usize| {});
        let (cases, is_over, tell) = (&cases[..], &is_over, &tell);
        Search { problem: &problem, cases, wanted, seed: 7, is_over, tell }.run()
    };
    let every: Vec<Finalist> = search(100)
        .tried
        .iter()
        .map(|one| Finalist::new(&problem, "", space.sets(&one.setting)).expect("a setting"))
        .collect();
    assert_eq!(every.len(), 100, "one case alone has no rungs");
    let of: Vec<(&Case, bool)> = cases.iter().map(|case| (case, false)).collect();
    let hours = |finalists: &[Finalist]| {
        let judged = judge(&problem, &of, finalists, None, &|_, _| {});
        let held = judged.iter().filter(|one| one.searched.met == one.searched.of);
        held.map(|one| one.searched.pod_hours).fold(f64::INFINITY, f64::min)
    };
    let best = hours(&every);
    let fast = search(60);
    let ten: Vec<Finalist> = fast
        .tried
        .iter()
        .take(10)
        .map(|one| Finalist::new(&problem, "", space.sets(&one.setting)).expect("a setting"))
        .collect();
    assert!(best.is_finite(), "a setting holds the objectives");
    assert!(hours(&ten) <= best, "{} and {best} pod-hours", hours(&ten));
}

/// Pods with one worker each, exponential service times and arrivals at random: each is an M/M/1
/// queue, whose 95th percentile is ln 20 / (mu - lambda / pods).
#[test]
fn a_step_load_gets_the_fewest_pods_whose_queues_hold_the_objective() {
    let (mu, lambda, limit) = (20.0_f64, 60.0_f64, 0.32_f64);
    let holds = |pods: &u32| {
        mu > lambda / f64::from(*pods) && 20_f64.ln() / (mu - lambda / f64::from(*pods)) < limit
    };
    let wanted = (1..20).find(holds).expect("enough pods hold it");
    let text = "
name: step
seed: 3
target:
  service: {cpu: 0s, latency: {exponential: {mean: 50ms}}, workers: 1, startup: 0s}
  deployment: {replicas: 4, template: {resources: {requests: {cpu: 100m}}}}
autoscaler:
  minReplicas: 9
  maxReplicas: 12
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 90}}}]
traffic:
  arrivals: poisson
  keepAlive: false
  phases: [{name: low, hold: 1/s, for: 60s}, {name: high, hold: 60/s, for: 900s}]
objectives: [{latency.p95: <320ms, during: [high]}]
tune: {parameters: {min: [3, 4, 5, 6, 7, 8, 9]}, seeds: 2, holdOutSeeds: 1}
";
    let origin = Origin::Bundled("step");
    let loaded =
        scenario::load_text(text.into(), origin, &Overrides::default()).expect("a scenario");
    let tuned = tune(&loaded, &options(&[], 20, 2), &Patient).expect("a result");
    let tuning = &tuned.tuning;
    assert_eq!(tuning.verdict, TuneVerdict::Better, "{:?}", tuning.why);
    let set = &tuning.settings[tuning.recommended.expect("a setting")].set;
    assert_eq!(set, &[format!("autoscaler.minReplicas={wanted}")], "{:?}", tuning.why);
    let patch = tuned.patch.expect("a patch");
    assert!(patch.contains(&format!("minReplicas: {wanted}")), "{patch}");
}

#[test]
fn bad_parameters_are_refused_with_their_place() {
    let loaded = spike(&[]);
    for (argument, fragments) in [
        ("targets", ["targets", "target, metric"]),
        ("target=", ["--param target=", "PATH=from..to"]),
        ("=3", ["--param =3", "PATH=from..to"]),
        ("target=60..30", ["--param target=60..30", "above"]),
        ("target=a..b", ["target=a..b", "no number"]),
        ("min=1..9999:1", ["min=1..9999:1", "64"]),
        ("min=0..10:0", ["min=0..10:0", "step"]),
        ("target=60,sixty", ["sixty", "target"]),
        ("down-window=4000", ["4000", "down-window"]),
        ("autoscaler.minReplica=1,2", ["autoscaler.minReplica", "minReplicas"]),
        ("pre-stop", ["pre-stop", "give its values"]),
    ] {
        let told = match tune(&loaded, &options(&[argument], 10, 1), &Patient) {
            Err(error) => with_sources(&error),
            Ok(_) => panic!("{argument} was taken"),
        };
        for fragment in fragments {
            assert!(told.contains(fragment), "{argument}: {told}");
        }
    }
}

#[test]
fn other_bad_input_is_refused() {
    let bad = |sets: &[&str], changes: fn(&mut Options)| -> String {
        let mut options = options(&[], 10, 1);
        changes(&mut options);
        let told = tune(&spike(sets), &options, &Patient).expect_err("it is bad");
        with_sources(&told)
    };
    for (told, fragment) in [
        (bad(&[], |options| options.settings = 0), "--settings"),
        (bad(&[], |options| options.price = Some(-1.0)), "price"),
        (bad(&["tune={seeds: 0}"], |_| {}), "tune.seeds"),
        (bad(&["tune={constraints: ['min']}"], |_| {}), "tune.constraints[0]"),
        (bad(&["tune={constraints: ['min <= mux']}"], |_| {}), "mux"),
        (bad(&[], |options| options.traces = vec!["nowhere.csv".into()]), "nowhere.csv"),
    ] {
        assert!(told.contains(fragment), "{fragment}: {told}");
    }
}

fn with_sources(error: &TuneError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        write!(text, ": {source}").expect("a string takes it");
        next = source.source();
    }
    text
}
