//! The search as a whole.

mod known;
mod rank;

use std::fmt::Write as _;

use super::{Options, TuneError, Tuned, Watch, tune};
use crate::scenario::{self, Loaded, Origin, Overrides};

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

/// A burst of traffic that is over in a minute and so hard that settings differ, on clocks that are
/// three times as fast as Kubernetes' own: what a test can afford without optimisation.
const BURST: &str = "
name: burst
seed: 7
target:
  service: {cpu: 4ms, latency: {lognormal: {median: 8ms, p99: 40ms}}, startup: 1s, drain: {delay: 2s, deadline: 20s}}
  deployment:
    replicas: 2
    template:
      readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}
      resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}
autoscaler:
  minReplicas: 2
  maxReplicas: 6
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 30}}
metricsPipeline: {kubeletInterval: {uniform: [3s, 5s]}, metricResolution: 5s}
controllerManager: {horizontalPodAutoscalerSyncPeriod: 5s}
traffic:
  arrivals: poisson
  phases:
    - {name: calm, hold: 5/s, for: 10s}
    - {name: high, hold: 60/s, for: 20s}
    - {name: after, hold: 5/s, for: 20s}
objectives: [{failed: 0}, {latency.p90: <500ms}]
tune: {seeds: 1, holdOutSeeds: 0}
";

/// A scenario from its text.
fn scenario_of(text: &str) -> Loaded {
    changed(text, &[], None)
}

/// The same with `--set` and `--seed`.
fn changed(text: &str, sets: &[String], seed: Option<u64>) -> Loaded {
    let overrides = Overrides { sets: sets.to_vec(), seed };
    scenario::load_text(text.into(), Origin::Bundled("test"), &overrides).expect("a scenario")
}

fn spike(sets: &[String], seed: Option<u64>) -> Loaded {
    let overrides = Overrides { sets: sets.to_vec(), seed };
    scenario::load("spike", &overrides).expect("a bundled scenario")
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
    let loaded = scenario_of(BURST);
    let [one, two] = [1, 2]
        .map(|threads| tune(&loaded, &options(&[], 48, threads), &Patient).expect("a result"));
    assert!(bytes(&one) == bytes(&two), "the results differ");
    assert!(!one.tuning.search.exhaustive && !one.tuning.search.cut);
}

#[test]
fn a_search_without_time_tries_one_batch_and_says_so() {
    let loaded = scenario_of(BURST);
    let tuned =
        tune(&loaded, &options(&["target", "down-window"], 90, 2), &Hasty).expect("a result");
    assert!(tuned.tuning.search.cut);
    assert!(tuned.tuning.search.settings <= 32);
    assert_eq!(tuned.tuning.settings[0].name, "present");
}

#[test]
fn bad_parameters_are_refused_with_their_place() {
    let loaded = spike(&[], None);
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
    let bad = |set: &str, changes: fn(&mut Options)| -> String {
        let mut options = options(&[], 10, 1);
        changes(&mut options);
        let sets: Vec<String> = (!set.is_empty()).then(|| set.into()).into_iter().collect();
        let told = tune(&spike(&sets, None), &options, &Patient).expect_err("it is bad");
        with_sources(&told)
    };
    for (told, fragment) in [
        (bad("", |options| options.settings = 0), "--settings"),
        (bad("", |options| options.price = Some(-1.0)), "price"),
        (bad("tune={seeds: 0}", |_| {}), "tune.seeds"),
        (bad("tune={constraints: ['min']}", |_| {}), "tune.constraints[0]"),
        (bad("tune={constraints: ['min <= mux']}", |_| {}), "mux"),
        (bad("", |options| options.traces = vec!["nowhere.csv".into()]), "nowhere.csv"),
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
