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
    /// Ready pods by second of the traffic.
    ready: Vec<u32>,
}

impl Observer for Full {
    fn event(&mut self, _: Timestamp, _: Source, _: EventKind, _: Option<Timestamp>) {}

    fn owed(&mut self, _: Timestamp, _: Arrival) {
        self.owed += 1;
    }

    fn sent(&mut self, _: Timestamp, _: Arrival, _: Nanos) {}

    fn ended(&mut self, _: End, _: u16, _: Times) {}

    fn unsent(&mut self, _: End, _: u16, _: Timestamp) {}

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
