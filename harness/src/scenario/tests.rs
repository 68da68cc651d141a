//! Scenario files from text to [`Loaded`], and what is said of those that are none.

mod contract;
mod hostile;

use highwater_model::spec::{Generators, Misbehaviour};

use super::*;

const SOUND: &str = "\
name: sound
target:
  deployment:
    replicas: 3
    template:
      readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}
path: {kind: l7, propagation: {uniform: [0s, 2s]}}
traffic:
  phases:
    - {hold: 50/s, for: 20s}
    - {hold: 100/s, for: 40s}
objectives:
  - {failed: 0}
  - {latency.p99: <500ms, during: [hold-2]}
";

fn load_sound(text: &str, sets: &[&str]) -> Result<Loaded, ScenarioError> {
    let overrides =
        Overrides { sets: sets.iter().map(|set| (*set).to_owned()).collect(), seed: None };
    load_text(text.to_owned(), Origin::File("f.yaml".into()), &overrides)
}

/// What is said of the sound scenario with `from` replaced by `to`.
fn told(from: &str, to: &str) -> String {
    let text = SOUND.replacen(from, to, 1);
    assert_ne!(text, SOUND, "{from} is not in the text");
    match load_sound(&text, &[]) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{to} was let pass"),
    }
}

#[test]
fn faults_name_file_line_column_key_and_the_nearest() {
    for (from, to, expected) in [
        (
            "replicas",
            "replica",
            "f.yaml:4:5: unknown key `replica` in target.deployment; did you mean `replicas`?",
        ),
        (
            "name: sound",
            "name: sound\nzzz: 1",
            "f.yaml:2:1: unknown key `zzz` in the scenario; known are autoscaler, controllerManager, \
             description, events, gates, metricsPipeline, name, nodes, \
             objectives, path, seed, simulation, target, traffic, tune",
        ),
        (
            "periodSeconds",
            "periodSecond",
            "f.yaml:6:50: unknown key `periodSecond` in \
             target.deployment.template.readinessProbe; did you mean `periodSeconds`?",
        ),
        (
            "kind: l7",
            "kind: l8",
            "f.yaml:7:14: path.kind: `l8` is not known here; known are l4, l7",
        ),
        (
            "uniform",
            "uniforn",
            "f.yaml:7:32: unknown key `uniforn` in path.propagation; did you mean `uniform`?",
        ),
        (
            "[0s, 2s]",
            "[0s, 2x]",
            "f.yaml:7:46: path.propagation.uniform[1]: `2x` is not a duration; write it like \
             250ms, 5s or 1m30s",
        ),
        (
            "[0s, 2s]",
            "[2s, 0s]",
            "f.yaml:7:31: path.propagation: the lower end is above the upper end",
        ),
        (
            "for: 20s",
            "for: 20",
            "f.yaml:10:25: traffic.phases[0].for: `20` has no unit; write it \
             like 250ms, 5s or 1m30s",
        ),
        (
            "for: 20s",
            "for: 1.5",
            "f.yaml:10:25: traffic.phases[0].for: expected a duration such \
             as 250ms, 5s or 1m30s, found the number 1.5; text needs quotes: \"1.5\"",
        ),
        ("for: 20s", "for: 0s", "f.yaml:10:25: traffic.phases[0].for: must be above zero"),
        (
            "latency.p99",
            "latency.p98",
            "f.yaml:14:6: unknown key `latency.p98` in objectives[1]; \
             did you mean `latency.p90`?",
        ),
        (
            "<500ms",
            "<500",
            "f.yaml:14:5: objectives[1]: `<500` is no bound for `latency.p99`; \
             write a duration such as <250ms",
        ),
        (
            "hold-2",
            "hold-3",
            "f.yaml:14:36: objectives[1].during[0]: no phase is called `hold-3`; \
             the phases are hold-1, hold-2",
        ),
        (
            "replicas: 3",
            "replicas: -3",
            "f.yaml:4:15: target.deployment.replicas: -3 must be a \
             whole number between 0 and 4294967295",
        ),
        (
            "replicas: 3",
            "replicas: three",
            "f.yaml:4:15: target.deployment.replicas: expected a \
             whole number, found the text `three`",
        ),
        ("name: sound\n", "", "f.yaml:1:1: key `name` is missing in the scenario"),
        (
            "name: sound",
            "name: 5",
            "f.yaml:1:7: name: expected text, found the number 5; text \
             needs quotes: \"5\"",
        ),
        (
            "name: sound",
            "name: sound\nname: again",
            "f.yaml:2:1: key `name` stands twice in the scenario",
        ),
        (
            "replicas: 3",
            "replicas: 3\n    strategy: 5",
            "f.yaml:5:15: target.deployment.strategy: \
             expected a mapping, found the number 5; text needs quotes: \"5\"",
        ),
        (
            "replicas: 3",
            "replicas: 3\n    minReadySeconds:",
            "f.yaml:5:20: \
             target.deployment.minReadySeconds: expected a whole number, found nothing",
        ),
    ] {
        assert_eq!(told(from, to), expected, "{to}");
    }
}

#[test]
fn the_error_type_says_what_is_wrong_without_its_text() {
    let text = SOUND.replacen("replicas", "replica", 1);
    let Err(ScenarioError::Invalid(faults)) = load_sound(&text, &[]) else { panic!("let pass") };
    let fault = &faults.faults[0];
    assert_eq!(fault.place, Place::File { line: 4, column: 5 });
    assert!(
        matches!(&fault.kind, FaultKind::UnknownKey { nearest: Some(near), .. } if near == "replicas")
    );
}

#[test]
fn all_faults_of_a_file_are_told_at_once_and_bounded() {
    let text = "nam: x\ntarget: {misbehave: [exit-on-sigtem, stay-readdy]}\npath: {kind: l9}\n\
        traffic: {phases: [{hold: fast, for: ever}]}\n";
    let told = load_sound(text, &[]).expect_err("faults").to_string();
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "f.yaml:1:1: unknown key `nam` in the scenario; did you mean `name`?",
            "f.yaml:1:1: key `name` is missing in the scenario",
            "f.yaml:2:22: target.misbehave[0]: `exit-on-sigtem` is not known here; did you mean \
             `exit-on-sigterm`?",
            "f.yaml:2:38: target.misbehave[1]: `stay-readdy` is not known here; did you mean \
             `stay-ready`?",
            "f.yaml:3:14: path.kind: `l9` is not known here; known are l4, l7",
            "f.yaml:4:27: traffic.phases[0].hold: `fast` is not a rate between 0/s and \
             10000000/s; write it like 50/s or 3000/m",
            "f.yaml:4:38: traffic.phases[0].for: `ever` is not a duration; write it like 250ms, \
             5s or 1m30s",
        ]
    );
    let many: String = (0..50).map(|number| format!("k{number}: 1\n")).collect();
    let Err(ScenarioError::Invalid(faults)) = load_sound(&(SOUND.to_owned() + &many), &[]) else {
        panic!("let pass")
    };
    assert_eq!((faults.faults.len(), faults.omitted), (FAULTS_MAX, 50 - FAULTS_MAX));
    assert!(faults.to_string().ends_with("f.yaml: and 30 more"));
}

#[test]
fn overrides_change_the_scenario_and_are_named_in_its_faults() {
    let sets = ["traffic.phases[0].hold=70/s", "target.misbehave=[exit-on-sigterm]", "seed=5"];
    let loaded = load_sound(SOUND, &sets).expect("a scenario");
    assert_eq!(loaded.scenario.target.misbehave, [Misbehaviour::ExitOnSigterm]);
    assert_eq!(loaded.scenario.traffic.phases[0].hold.map(|rate| rate.0), Some(70.0));
    assert_eq!((loaded.scenario.seed, loaded.text.as_str()), (5, SOUND));
    let again = load_sound(&loaded.effective_yaml, &[]).expect("the effective YAML");
    assert_eq!(again.scenario, loaded.scenario);
    assert_eq!(again.effective_yaml, loaded.effective_yaml);

    for (set, expected) in [
        (
            "target.deployment.replica=4",
            "--set target.deployment.replica: unknown key `replica` \
             in target.deployment; did you mean `replicas`?",
        ),
        (
            "target.deployment.replicas=5000",
            "--set target.deployment.replicas: \
             target.deployment.replicas: must lie between 0 and 1000",
        ),
        ("path.kind=l9", "--set path.kind: path.kind: `l9` is not known here; known are l4, l7"),
        (
            "traffic.phases[7].hold=1/s",
            "--set traffic.phases[7].hold=1/s: `traffic.phases` has 2 \
             entries; index 2 adds one, 7 is too far",
        ),
        ("name", "--set name: has no value; write it like traffic.phases[0].hold=50/s"),
        (
            "name=a\nb: c",
            "--set name=a\\nb: c: the value is not YAML: not YAML: mapping values \
             are not allowed in this context",
        ),
    ] {
        let told = load_sound(SOUND, &[set]).expect_err(set).to_string();
        assert_eq!(told, expected);
    }
}

#[test]
fn a_number_or_a_word_is_either() {
    for (value, expected) in [
        ("2", Some(Generators::Pods(2))),
        ("local", Some(Generators::Local)),
        ("0", None),
        ("1.5", None),
        ("locale", None),
    ] {
        let loaded = load_sound(SOUND, &[&format!("traffic.generators={value}")]);
        let found = loaded.ok().and_then(|loaded| loaded.scenario.traffic.generators);
        assert_eq!(found, expected, "{value}");
    }
}

#[test]
fn a_map_of_labels_takes_any_key() {
    let metric = "name: sound\nautoscaler:\n  maxReplicas: 3\n  metrics:\n    - type: External\n      \
                  external: {metric: {name: queue, selector: {matchLabels: {topic: orders}}}, \
                  target: {type: Value, value: 5}}";
    let text = SOUND.replacen("name: sound", metric, 1);
    let loaded = load_sound(&text, &[]).unwrap_or_else(|error| panic!("{error}"));
    let autoscaler = loaded.scenario.autoscaler.expect("it has one");
    let external = autoscaler.metrics[0].external.as_ref().expect("an external metric");
    let selector = external.metric.selector.as_ref().expect("a selector");
    assert_eq!(selector.match_labels.get("topic").map(String::as_str), Some("orders"));
}

#[test]
fn a_seed_wins_over_the_file_and_over_sets() {
    let overrides = Overrides { sets: vec!["seed=3".into()], seed: Some(u64::MAX) };
    let loaded = load("rolling-update", &overrides).expect("bundled");
    assert_eq!(loaded.scenario.seed, u64::MAX);
    let again = load_sound(&loaded.effective_yaml, &[]).expect("the effective YAML");
    assert_eq!(again.scenario, loaded.scenario);
}
