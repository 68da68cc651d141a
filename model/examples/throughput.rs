//! How many requests a second of one core's time the simulator makes of a scenario.
//!
//! `cargo run --release -p highwater-model --example throughput -- mmc|day [SECONDS]`: one line of
//! JSON with requests, seconds and requests per second.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and prints"
)]

use std::time::Instant;

use highwater_model::{
    event::{EventKind, Source},
    load::{Arrival, Profile},
    outcome::{Failure, Outcome},
    sim::{self, Observer, Run, State, Times},
    spec::{Scenario, validate},
    time::{Nanos, Timestamp},
};

/// Counts, and sums up the latency.
#[derive(Default)]
struct Counts {
    ok: u64,
    other: u64,
    latency: u128,
}

impl Observer for Counts {
    fn event(&mut self, _: Timestamp, _: Source, _: EventKind, _: Option<Timestamp>) {}
    fn owed(&mut self, _: Timestamp, _: Arrival) {}
    fn sent(&mut self, _: Timestamp, _: Arrival, _: Nanos) {}

    fn ended(&mut self, outcome: Outcome, _: u16, times: Times) {
        if outcome == Outcome::Ok {
            self.ok += 1;
            self.latency += u128::from(times.ended.since(times.scheduled).0);
        } else {
            self.other += 1;
        }
    }

    fn unsent(&mut self, _: Outcome, _: u16, _: Timestamp) {
        self.other += 1;
    }

    fn failure(&mut self, _: Failure) {}

    fn second(&mut self, _: &State) -> bool {
        true
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let which = arguments.next().unwrap_or_else(|| "mmc".into());
    let seconds: u64 = arguments.next().map_or(3_000, |text| text.parse().unwrap());
    let text = match which.as_str() {
        // Four servers at 80 %.
        "mmc" => format!(
            r#"{{"name":"mmc","simulation":{{"cores":4,"network":"0s"}},
            "target":{{"service":{{"latency":{{"exponential":{{"mean":"4ms"}}}},"workers":4}}}},
            "traffic":{{"phases":[{{"hold":"800/s","for":"{seconds}s"}}],"timeout":"600s",
            "maxConnections":100000}}}}"#
        ),
        // A day's wave around 1,000/s with an autoscaler, probes and a proxy's view.
        "day" => format!(
            r#"{{"name":"day",
            "target":{{"service":{{"cpu":"2ms","latency":{{"lognormal":{{"median":"8ms","p99":"40ms"}}}}}},
            "deployment":{{"replicas":10,"template":{{"readinessProbe":{{"httpGet":{{"path":"/readyz"}},
            "periodSeconds":10}},"resources":{{"requests":{{"cpu":"250m"}}}}}}}}}},
            "autoscaler":{{"minReplicas":4,"maxReplicas":40,"metrics":[{{"type":"Resource","resource":
            {{"name":"cpu","target":{{"type":"Utilization","averageUtilization":60}}}}}}]}},
            "traffic":{{"phases":[{{"sine":{{"mean":"1000/s","amplitude":"600/s","period":"{seconds}s"}},
            "for":"{seconds}s"}}],"maxConnections":10000}}}}"#
        ),
        other => panic!("no `{other}`: mmc or day"),
    };
    let scenario: Scenario = serde_json::from_str(&text).unwrap();
    assert_eq!(validate::problems(&scenario), []);
    let profile = Profile::new(&scenario.traffic).unwrap();
    let names = validate::phase_names(&scenario.traffic);
    let phases = profile.phases().map(|(start, _)| start).zip(names).collect();
    let run = Run { scenario, profile, phases, actions: Vec::new() };
    let mut counts = Counts::default();
    let start = Instant::now();
    sim::run(&run, &mut counts).unwrap();
    let took = start.elapsed().as_secs_f64();
    let all = counts.ok + counts.other;
    println!(
        r#"{{"scenario":"{which}","requests":{all},"other":{},"meanMs":{:.4},"seconds":{took:.3},"perSecond":{:.0}}}"#,
        counts.other,
        counts.latency as f64 / counts.ok.max(1) as f64 / 1e6,
        all as f64 / took
    );
}
