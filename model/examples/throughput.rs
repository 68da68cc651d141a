//! How many requests a second of one core's time the simulator makes of a scenario.
//!
//! `cargo run --release -p highwater-model --example throughput -- mmc|full|day [SECONDS
//! [percentiles]]`: one line of JSON with requests, seconds and requests per second. `peers` has the
//! same models in SimPy and Ciw; `just bench-sim` writes `docs/performance-sim.md` of them.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and prints"
)]

use std::time::Instant;

use hdrhistogram::Histogram;
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
    /// Nanoseconds, to three digits, as a record keeps them.
    percentiles: Option<Histogram<u64>>,
}

impl Observer for Counts {
    fn event(&mut self, _: Timestamp, _: Source, _: EventKind, _: Option<Timestamp>) {}
    fn owed(&mut self, _: Timestamp, _: Arrival) {}
    fn sent(&mut self, _: Timestamp, _: Arrival, _: Nanos) {}

    fn ended(&mut self, outcome: Outcome, _: u16, times: Times) {
        if outcome == Outcome::Ok {
            self.ok += 1;
            let latency = times.ended.since(times.scheduled).0;
            self.latency += u128::from(latency);
            if let Some(percentiles) = &mut self.percentiles {
                percentiles.saturating_record(latency);
            }
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
        // Through a proxy, with a probe each second.
        "full" => format!(
            r#"{{"name":"full","path":{{"kind":"l7"}},
            "target":{{"service":{{"cpu":"2ms","latency":{{"lognormal":{{"median":"8ms","p99":"40ms"}}}}}},
            "deployment":{{"replicas":10,"template":{{"readinessProbe":{{"httpGet":{{"path":"/readyz"}},
            "periodSeconds":1}},"resources":{{"requests":{{"cpu":"250m"}}}}}}}}}},
            "autoscaler":{{"minReplicas":4,"maxReplicas":40,"metrics":[{{"type":"Resource","resource":
            {{"name":"cpu","target":{{"type":"Utilization","averageUtilization":60}}}}}}]}},
            "traffic":{{"phases":[{{"sine":{{"mean":"1000/s","amplitude":"600/s","period":"{seconds}s"}},
            "for":"{seconds}s"}}],"maxConnections":10000}}}}"#
        ),
        other => panic!("no `{other}`: mmc, full or day"),
    };
    let scenario: Scenario = serde_json::from_str(&text).unwrap();
    assert_eq!(validate::problems(&scenario), []);
    let profile = Profile::new(&scenario.traffic).unwrap();
    let names = validate::phase_names(&scenario.traffic);
    let phases = profile.phases().map(|(start, _)| start).zip(names).collect();
    let run = Run { scenario, profile, phases, actions: Vec::new() };
    let mut counts = Counts::default();
    if arguments.next().is_some_and(|text| text == "percentiles") {
        counts.percentiles = Some(Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3).unwrap());
    }
    let start = Instant::now();
    sim::run(&run, &mut counts).unwrap();
    let took = start.elapsed().as_secs_f64();
    let all = counts.ok + counts.other;
    let p99 = counts.percentiles.as_ref().map_or(0, |known| known.value_at_quantile(0.99));
    println!(
        r#"{{"scenario":"{which}","requests":{all},"other":{},"meanMs":{:.4},"p99Ms":{:.4},"seconds":{took:.3},"perSecond":{:.0}}}"#,
        counts.other,
        counts.latency as f64 / counts.ok.max(1) as f64 / 1e6,
        p99 as f64 / 1e6,
        all as f64 / took
    );
}
