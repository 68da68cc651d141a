//! Records whose truth is known, since the simulator itself made them.

use highwater_model::{
    spec::{Distribution, Scenario},
    time::{Nanos, Timestamp},
};

use super::{told::Origin, *};
use crate::{
    record::{BackendKind, Footer},
    scenario::{Origin as File, Overrides, load_text},
};

fn scenario(yaml: &str) -> Scenario {
    let loaded = load_text(yaml.into(), File::Bundled("test"), &Overrides::default());
    loaded.unwrap_or_else(|error| panic!("{error}")).scenario
}

/// A record as a real run would leave it: of `yaml`, simulated, whose scenario says `says` instead
/// of what is true.
fn record(yaml: &str, says: impl FnOnce(&mut Scenario)) -> RunRecord {
    let mut record = trial::simulate(&scenario(yaml)).expect("it can be simulated");
    record.header.backend = BackendKind::Local;
    says(&mut record.header.scenario);
    record
}

const STEADY: &str = "
name: steady
seed: 3
target:
  service: {latency: LATENCY, startup: 700ms}
  deployment:
    replicas: 4
    template: {readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}}
path: {kind: l7, propagation: {uniform: [0s, 2s]}}
simulation: {processStart: {uniform: [100ms, 300ms]}}
traffic:
  phases: [{hold: 200/s, for: 20s}]
events: [{at: 2s, rollout: {}}]
";

/// The scenario says nothing of its service.
fn forget(scenario: &mut Scenario) {
    scenario.target.service = Some(Default::default());
    scenario.simulation = Default::default();
}

fn parameter<'a>(calibration: &'a Calibration, key: &str) -> &'a told::Parameter {
    let found = calibration.parameters.iter().find(|one| one.key == key);
    found.unwrap_or_else(|| panic!("nothing is said of {key}"))
}

fn fitted(calibration: &Calibration) -> Scenario {
    scenario(&calibration.yaml)
}

fn near(got: Nanos, want: Nanos, share: f64) -> bool {
    (got.0 as f64 / want.0 as f64 - 1.0).abs() <= share
}

#[test]
fn a_service_time_is_found_again() {
    for latency in [
        "12ms",
        "{uniform: [5ms, 30ms]}",
        "{exponential: {mean: 12ms}}",
        "{lognormal: {median: 8ms, p99: 40ms}}",
    ] {
        let yaml = STEADY.replace("LATENCY", latency);
        let truth = scenario(&yaml).target.service.expect("a service").latency;
        let calibration = calibrate(&record(&yaml, forget), false).expect(latency);
        let got = fitted(&calibration).target.service.expect("a service");
        assert_eq!(
            std::mem::discriminant(&got.latency),
            std::mem::discriminant(&truth),
            "{latency}: {got:?}"
        );
        for q in [0.25, 0.5, 0.9] {
            let (a, b) = (got.latency.quantile(q), truth.quantile(q));
            assert!(near(a, b, 0.05), "{latency} at {q}: {a}, not {b}");
        }
        let off = calibration.reproduction.p95_ms.off().expect("answers");
        assert!(off.abs() < 0.05, "{latency}: {off}");
        assert_eq!(parameter(&calibration, "target.service.workers").origin, Origin::Scenario);
    }
}

#[test]
fn a_service_time_of_no_family_is_found_by_its_quantiles() {
    // Most answers come of a cache, the others of a disk.
    let latency = "{quantiles: [[0, 3ms], [0.7, 5ms], [0.72, 40ms], [1, 60ms]]}";
    let yaml = STEADY.replace("LATENCY", latency);
    let truth = scenario(&yaml).target.service.expect("a service").latency;
    let calibration = calibrate(&record(&yaml, forget), false).expect("a calibration");
    let got = fitted(&calibration).target.service.expect("a service").latency;
    assert!(matches!(got, Distribution::Quantiles(_)), "{got:?}");
    for q in [0.1, 0.4, 0.6, 0.8, 0.95] {
        let (a, b) = (got.quantile(q), truth.quantile(q));
        assert!(near(a, b, 0.05), "at {q}: {a}, not {b}");
    }
    let off = calibration.reproduction.p95_ms.off().expect("answers");
    assert!(off.abs() < 0.03, "{off}");
}

#[test]
fn start_up_and_propagation_are_measured() {
    let yaml = STEADY.replace("LATENCY", "12ms");
    let says = |scenario: &mut Scenario| {
        forget(scenario);
        scenario.path.propagation = Distribution::Fixed(Nanos::from_millis(100));
    };
    let calibration = calibrate(&record(&yaml, says), false).expect("a calibration");
    let got = fitted(&calibration);
    let service = got.target.service.expect("a service");
    assert!(near(service.startup, Nanos::from_millis(700), 0.01), "{}", service.startup);
    let start = &got.simulation.process_start;
    assert!(near(start.quantile(0.5), Nanos::from_millis(200), 0.25), "{start}");
    let propagation = &got.path.propagation;
    assert!(near(propagation.quantile(0.5), Nanos::from_secs(1), 0.4), "{propagation}");
    assert_eq!(parameter(&calibration, "path.propagation").origin, Origin::Record);
    let kept = calibrate(&record(&yaml, forget), false).expect("a calibration");
    let kept = parameter(&kept, "path.propagation");
    assert_eq!(kept.origin, Origin::Scenario, "what is not contradicted is kept: {kept:?}");
}

/// One quiet phase and one in which requests wait for each other.
const WAITING: &str = "
name: waiting
seed: 5
target:
  service: {cpu: CPU, latency: {exponential: {mean: 6ms}}, workers: WORKERS}
  deployment: {replicas: 1}
traffic:
  phases: [{hold: 30/s, for: 70s}, {hold: 270/s, for: 20s}]
";

#[test]
fn workers_are_found_by_how_busy_seconds_wait() {
    let yaml = WAITING.replace("CPU", "0s").replace("WORKERS", "2");
    let calibration = calibrate(&record(&yaml, forget), false).expect("a calibration");
    let service = fitted(&calibration).target.service.expect("a service");
    assert_eq!(service.workers, Some(2), "{}", text::render(&calibration));
    assert_eq!(parameter(&calibration, "target.service.workers").origin, Origin::Search);
    let p95 = service.latency.quantile(0.95);
    assert!(near(p95, Nanos(17_970_000), 0.08), "the wait is not in the service time: {p95}");
}

/// An autoscaler measures CPU.
const MEASURED: &str = "
name: measured
seed: 9
target:
  service: {cpu: 4ms, latency: 10ms}
  deployment:
    replicas: 2
    template: {resources: {requests: {cpu: 1}}}
autoscaler:
  minReplicas: 2
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
traffic:
  phases: [{hold: 20/s, for: 90s}, {hold: 80/s, for: 90s}]
";

#[test]
fn cpu_is_told_by_the_metrics() {
    let calibration = calibrate(&record(MEASURED, forget), false).expect("a calibration");
    let cpu = parameter(&calibration, "target.service.cpu");
    assert_eq!(cpu.origin, Origin::Record, "{cpu:?}");
    let service = fitted(&calibration).target.service.expect("a service");
    assert!(near(service.cpu, Nanos::from_millis(4), 0.1), "{}", service.cpu);
    assert!(near(service.latency.quantile(0.5), Nanos::from_millis(10), 0.1), "{service:?}");
}

#[test]
fn what_a_machine_adds_is_found_where_the_service_is_known() {
    let yaml = STEADY
        .replace("LATENCY", "{lognormal: {median: 8ms, p99: 40ms}}")
        .replace("simulation: {", "simulation: {overhead: 1500us, ");
    let says = |scenario: &mut Scenario| scenario.simulation = Default::default();
    let calibration = calibrate(&record(&yaml, says), true).expect("a calibration");
    let got = fitted(&calibration);
    let overhead = &got.simulation.overhead;
    assert!(near(overhead.quantile(0.5), Nanos(1_500_000), 0.2), "{overhead}");
    let service = got.target.service.expect("a service");
    assert_eq!(service, scenario(&yaml).target.service.expect("a service"), "taken at its word");
    assert_eq!(parameter(&calibration, "simulation.overhead").origin, Origin::Search);
}

#[test]
fn the_same_record_gives_the_same_calibration() {
    let yaml = STEADY.replace("LATENCY", "{exponential: {mean: 12ms}}");
    let record = record(&yaml, forget);
    let [one, two] = [(); 2].map(|()| calibrate(&record, false).expect("a calibration"));
    assert_eq!(one, two);
    assert!(one.trials <= trial::TRIALS_MAX);
    let again: Calibration = serde_json::from_str(&serde_json::to_string(&one).expect("JSON"))
        .expect("of the same form");
    assert_eq!(again.parameters, one.parameters);
}

#[test]
fn a_command_is_simulated_by_the_bundled_service() {
    let yaml = STEADY.replace("LATENCY", "12ms");
    let says = |scenario: &mut Scenario| {
        scenario.target.service = None;
        scenario.target.command = Some(vec!["server".into()]);
        scenario.events[0].rollout = Some(highwater_model::spec::Rollout {
            command: Some(vec!["server2".into()]),
            ..Default::default()
        });
    };
    let calibration = calibrate(&record(&yaml, says), false).expect("a calibration");
    let got = fitted(&calibration);
    assert_eq!(got.target.command, None);
    assert_eq!(got.target.deployment.replicas, 4, "its deployment is kept");
    assert!(got.target.service.is_some_and(|service| near(
        service.latency.quantile(0.5),
        Nanos::from_millis(12),
        0.05
    )));
    let drain = parameter(&calibration, "target.service.drain");
    assert_eq!(drain.origin, Origin::Assumed);
    assert!(drain.value.starts_with("delay 5s"), "{drain:?}");
    assert_eq!(parameter(&calibration, "events[0]").origin, Origin::Assumed);
}

#[test]
fn what_tells_nothing_is_refused_with_the_reason() {
    let yaml = STEADY.replace("LATENCY", "12ms");
    let sound = record(&yaml, |_| {});
    let few = record(&yaml.replace("200/s", "20/s"), |_| {});
    let with = |change: fn(&mut RunRecord)| {
        let mut record = sound.clone();
        change(&mut record);
        record
    };
    let ended = |reason| Footer {
        end: Timestamp::ZERO,
        reason,
        message: String::new(),
        lines: 0,
        limits: record::Limits::default(),
    };
    let mut early = sound.clone();
    early.footer = Some(ended(EndReason::Interrupted));
    let rows = [
        ("too few answers", few, "500 are the least"),
        ("no end", with(|record| record.footer = None), "cut off"),
        ("ended early", early, "interrupted"),
        (
            "a URL",
            with(|record| record.header.scenario.target.url = Some("http://127.0.0.1:1".into())),
            "nothing is known of pods",
        ),
        (
            "a trace",
            with(|record| {
                record.header.scenario.traffic.phases[0].trace = Some(Default::default());
            }),
            "trace",
        ),
        (
            "a closed loop",
            with(|record| {
                record.header.scenario.traffic.saturate =
                    Some(highwater_model::spec::Saturate { connections: 1, for_: Nanos(1) });
            }),
            "closed loop",
        ),
    ];
    for (case, record, says) in rows {
        let error = calibrate(&record, false).expect_err(case).to_string();
        assert!(error.contains(says), "{case}: {error}");
    }
}
