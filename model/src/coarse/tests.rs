//! The coarse run beside the full one, and beside what is known by calculation.

use alloc::{string::String, vec::Vec};

use super::*;
use crate::{
    event::{EventKind, Source},
    load::{Arrival, Profile},
    outcome::{Failure, Outcome as End},
    sim::{self, Observer, State, Times},
    spec::Scenario,
    time::{Nanos, Timestamp},
};

fn spike(changes: impl Fn(&mut Scenario)) -> Scenario {
    let json = r#"{
        "name": "spike", "seed": 7,
        "target": {
            "service": {"cpu": "4ms", "latency": {"lognormal": {"median": "8ms", "p99": "40ms"}},
                "startup": "1s", "drain": {"delay": "5s", "deadline": "20s"}},
            "deployment": {"replicas": 2, "template": {
                "readinessProbe": {"httpGet": {"path": "/readyz"}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "100m"}}}}},
        "autoscaler": {"minReplicas": 2, "maxReplicas": 8,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 60}}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}}},
        "traffic": {"phases": [
            {"name": "calm", "hold": "10/s", "for": "60s"},
            {"name": "rise", "ramp": {"to": "80/s"}, "over": "5s"},
            {"name": "spike", "hold": "80/s", "for": "115s"},
            {"name": "fall", "ramp": {"to": "10/s"}, "over": "5s"},
            {"name": "after", "hold": "10/s", "for": "120s"}]}
    }"#;
    let mut scenario = serde_json::from_str(json).expect("a scenario");
    changes(&mut scenario);
    scenario
}

/// What the full simulation gives.
#[derive(Default)]
struct Full {
    owed: u64,
    lost: u64,
    /// Of good answers, nanoseconds.
    latency: Vec<u64>,
    /// Ready pods by second of the traffic.
    ready: Vec<u32>,
}

impl Observer for Full {
    fn event(&mut self, _: Timestamp, _: Source, _: EventKind, _: Option<Timestamp>) {}

    fn owed(&mut self, _: Timestamp, _: Arrival) {
        self.owed += 1;
    }

    fn sent(&mut self, _: Timestamp, _: Arrival, _: Nanos) {}

    fn ended(&mut self, outcome: End, _: u16, times: Times) {
        if outcome == End::Ok {
            self.latency.push(times.ended.since(times.scheduled).0);
        } else {
            self.lost += 1;
        }
    }

    fn unsent(&mut self, _: End, _: u16, _: Timestamp) {
        self.lost += 1;
    }

    fn failure(&mut self, _: Failure) {}

    fn second(&mut self, state: &State) -> bool {
        if state.start.is_some_and(|start| start <= state.at) {
            self.ready.push(state.replicas[1]);
        }
        true
    }
}

impl Full {
    fn of(scenario: &Scenario) -> Self {
        let mut full = Self::default();
        let profile = Profile::new(&scenario.traffic).expect("a profile");
        let run = sim::Run {
            scenario: scenario.clone(),
            phases: Vec::new(),
            actions: Vec::new(),
            profile,
        };
        sim::run(&run, &mut full).expect("it runs");
        full
    }
}

fn coarse(scenario: &Scenario) -> Outcome {
    let profile = Profile::new(&scenario.traffic).expect("a profile");
    let phases = profile.phases().map(|_| String::new()).collect();
    let load = Load::new(&profile, phases, scenario.traffic.arrivals, scenario.seed);
    let station = Station::new(scenario);
    run(scenario, &load, &station, Options { keeps_curve: true }).expect("it runs")
}

#[test]
fn pods_over_time_are_those_of_the_full_simulation() {
    for seed in [7, 8, 9] {
        let scenario = spike(|scenario| scenario.seed = seed);
        let (full, coarse) = (Full::of(&scenario), coarse(&scenario));
        assert_eq!(coarse.total(&[]).owed, full.owed as f64, "the very same arrivals");
        let seconds = full.ready.len().min(coarse.curve.len());
        let apart: u32 = (0..seconds)
            .map(|second| full.ready[second].abs_diff(coarse.curve[second].serving))
            .sum();
        let all: u32 = full.ready[..seconds].iter().sum();
        assert!(f64::from(apart) < 0.05 * f64::from(all), "{apart} of {all}");
    }
}

/// A row of the comparison: what is changed, and how far pods (as a share), the 95th percentile (as a
/// share) and lost requests (as a share of all) may be off.
struct Row {
    name: &'static str,
    change: fn(&mut Scenario),
    pods: f64,
    p95: f64,
    lost: f64,
}

/// Scales by a metric of its own.
fn by_metric(scenario: &mut Scenario, metric: &str, rule: &str, target: &str) {
    let autoscaler = scenario.autoscaler.as_mut().expect("an autoscaler");
    autoscaler.metrics = serde_json::from_str(&alloc::format!(
        r#"[{{"type":"Pods","pods":{{"metric":{{"name":"{metric}"}},
        "target":{{"type":"AverageValue","averageValue":"{target}"}}}}}}]"#
    ))
    .expect("metrics");
    scenario.metrics_pipeline = serde_json::from_str(&alloc::format!(
        r#"{{"prometheus":{{"scrapeInterval":"15s","window":"45s","rules":[{{"name":"{metric}",{rule}}}]}}}}"#
    ))
    .expect("a pipeline");
}

fn limit(scenario: &mut Scenario, milli: &str) {
    let resources = &mut scenario.target.deployment.template.resources;
    *resources = serde_json::from_str(&alloc::format!(
        r#"{{"requests":{{"cpu":"100m"}},"limits":{{"cpu":"{milli}m"}}}}"#
    ))
    .expect("resources");
}

#[test]
fn each_kind_of_path_metric_and_overload_is_as_in_the_full_simulation() {
    let rows = [
        Row { name: "as it is", change: |_| {}, pods: 0.05, p95: 0.1, lost: 0.001 },
        Row {
            name: "a proxy",
            change: |scenario| {
                scenario.path = serde_json::from_str(r#"{"kind":"l7"}"#).expect("a path");
            },
            pods: 0.05,
            p95: 0.1,
            lost: 0.001,
        },
        Row {
            name: "requests per second",
            change: |scenario| {
                by_metric(scenario, "rps", r#""rate":"http_requests_total""#, "15");
            },
            pods: 0.15,
            p95: 0.1,
            lost: 0.001,
        },
        // A gauge that is looked at now and then is mostly chance, and chance is another one here.
        Row {
            name: "requests in flight",
            change: |scenario| {
                by_metric(scenario, "busy", r#""gauge":"http_requests_in_flight""#, "500m");
            },
            pods: 0.35,
            p95: 0.1,
            lost: 0.001,
        },
        // Within a second, the slower of two pods gets fewer requests already: coarsely it is too slow.
        Row {
            name: "a limit that throttles",
            change: |scenario| limit(scenario, "200"),
            pods: 0.05,
            p95: 1.5,
            lost: 0.001,
        },
        Row {
            name: "a limit that is far too low",
            change: |scenario| {
                limit(scenario, "100");
                scenario.traffic.timeout = Nanos::from_secs(2);
            },
            pods: 0.15,
            p95: 0.5,
            lost: 0.15,
        },
        Row {
            name: "workers that are too few, with a bounded queue",
            change: |scenario| {
                let service = scenario.target.service.as_mut().expect("a service");
                service.workers = Some(1);
                service.latency = serde_json::from_str(r#"{"exponential":{"mean":"30ms"}}"#)
                    .expect("a distribution");
                service.queue = serde_json::from_str(r#"{"length":5}"#).expect("a queue");
            },
            pods: 0.05,
            p95: 0.1,
            lost: 0.04,
        },
    ];
    let mut wrong = String::new();
    for Row { name, change, pods, p95, lost } in rows {
        let scenario = spike(change);
        let (mut full, coarse) = (Full::of(&scenario), coarse(&scenario));
        let seconds = full.ready.len().min(coarse.curve.len());
        let apart: u32 = (0..seconds)
            .map(|second| full.ready[second].abs_diff(coarse.curve[second].serving))
            .sum();
        let all: u32 = full.ready[..seconds].iter().sum();
        let total = coarse.total(&[]);
        full.latency.sort_unstable();
        let theirs = full.latency[full.latency.len() * 95 / 100] as f64 / 1e9;
        let ours = coarse.latency(&total, 0.95).expect("answers");
        let off = [
            f64::from(apart) / f64::from(all),
            (ours / theirs - 1.0).abs(),
            (total.failed() - full.lost as f64).abs() / full.owed as f64,
        ];
        let told = alloc::format!(
            "{name}: pods {:.3} apart, p95 {ours:.4} s beside {theirs:.4} s, {:.1} lost beside {} of {}\n",
            off[0],
            total.failed(),
            full.lost,
            full.owed
        );
        if off[0] > pods || off[1] > p95 || off[2] > lost {
            wrong.push_str(&told);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
