//! What the service's own settings do to requests, in runs whose outcome can be counted by hand.

use std::collections::BTreeMap;

use highwater_model::{
    event::{EventKind, Source},
    load::{Arrival, Profile},
    outcome::{Failure, Outcome},
    sim::{self, Observer, Run, State, Times},
    spec::{Scenario, validate},
    time::{Nanos, Timestamp},
};

/// By outcome: when each request ended, milliseconds after it was due, in order of the ends.
#[derive(Default)]
struct Seen(BTreeMap<Outcome, Vec<u64>>);

impl Observer for Seen {
    fn event(&mut self, _: Timestamp, _: Source, _: EventKind, _: Option<Timestamp>) {}
    fn owed(&mut self, _: Timestamp, _: Arrival) {}
    fn sent(&mut self, _: Timestamp, _: Arrival, _: Nanos) {}

    fn ended(&mut self, outcome: Outcome, _: u16, times: Times) {
        let took = times.ended.since(times.scheduled).0 / 1_000_000;
        self.0.entry(outcome).or_default().push(took);
    }

    fn unsent(&mut self, outcome: Outcome, _: u16, _: Timestamp) {
        self.0.entry(outcome).or_default();
    }

    fn failure(&mut self, _: Failure) {}

    fn second(&mut self, _: &State) -> bool {
        true
    }
}

/// One pod with this service; `traffic` beside `phases`.
fn play(service: &str, path: &str, phases: &str, traffic: &str) -> BTreeMap<Outcome, Vec<u64>> {
    let text = format!(
        r#"{{"name":"s","simulation":{{"cores":1,"network":"0s"}},"path":{{"kind":"{path}"}},
        "target":{{"service":{service}}},
        "traffic":{{"arrivals":"constant","phases":[{phases}]{traffic}}}}}"#
    );
    let scenario: Scenario = serde_json::from_str(&text).expect("a scenario");
    assert_eq!(validate::problems(&scenario), [], "{text}");
    let profile = Profile::new(&scenario.traffic).expect("a profile");
    let run = Run { scenario, profile, phases: Vec::new(), actions: Vec::new() };
    let mut seen = Seen::default();
    sim::run(&run, &mut seen).expect("it comes to its traffic");
    seen.0
}

fn numbers(seen: &BTreeMap<Outcome, Vec<u64>>) -> Vec<(Outcome, usize)> {
    seen.iter().map(|(outcome, ended)| (*outcome, ended.len())).collect()
}

/// Ten requests, 10 ms apart, to one worker that has 35 ms for each.
const TEN: &str = r#"{"hold":"100/s","for":"100ms"}"#;

#[test]
fn who_finds_the_queue_full_is_answered_503_or_hung_up_on() {
    // Due 0, 10, ... 90. With nobody waiting 0, 40 and 80 are served; with one waiting also 10, 40
    // (when 10 begins at 35), 80 (at 70 begins 40)...
    for path in ["l4", "l7"] {
        let of = |queue: &str| {
            let service = format!(r#"{{"latency":"35ms","workers":1,"queue":{queue}}}"#);
            play(&service, path, TEN, "")
        };
        let none = of(r#"{"length":0}"#);
        assert_eq!(none[&Outcome::Ok], [35, 35, 35], "{path}");
        assert_eq!(none[&Outcome::Status503], [0; 7], "{path}: at once");
        // 0 begins at 0, 10 at 35, 40 at 70, 70 (due then) at 105; the others find one waiting.
        let one = of(r#"{"length":1}"#);
        assert_eq!(one[&Outcome::Ok], [35, 60, 65, 70], "{path}");
        assert_eq!(one[&Outcome::Status503].len(), 6, "{path}");
        let all = of(r#"{"length":9}"#);
        assert_eq!(numbers(&all), [(Outcome::Ok, 10)], "{path}");
    }
    let service = r#"{"latency":"35ms","workers":1,"queue":{"length":0,"full":"close"}}"#;
    let hung_up = play(service, "l4", TEN, "");
    let eofs: usize =
        numbers(&hung_up).iter().filter(|(o, _)| *o != Outcome::Ok).map(|(_, n)| n).sum();
    assert_eq!((hung_up[&Outcome::Ok].len(), eofs), (3, 7), "{hung_up:?}");
    assert!(hung_up.contains_key(&Outcome::EofNew), "{hung_up:?}");
    let proxied = play(service, "l7", TEN, "");
    assert_eq!(numbers(&proxied), [(Outcome::Ok, 3), (Outcome::Status502, 7)]);
}

#[test]
fn a_request_whose_client_is_gone_is_worked_on_no_more_unless_the_service_says_so() {
    // One worker, 100 ms each, clients that wait for 150 ms: a burst of 20 requests at 5, 15 ... 195
    // ms, and then one each 200 ms, the first at 300 ms.
    let phases = r#"{"hold":"100/s","for":"200ms"},{"hold":"5/s","for":"2s"}"#;
    for path in ["l4", "l7"] {
        let of = |how: &str| {
            let service = format!(r#"{{"latency":"100ms","workers":1{how}}}"#);
            numbers(&play(&service, path, phases, r#","timeout":"150ms""#))
        };
        // Of the burst the first is served; all others are gone by 345 ms, soon after their turn or
        // before it; so the one of 300 ms is done at 445 ms, and those behind it need not wait.
        let stops = [(Outcome::Ok, 11), (Outcome::Timeout, 19)];
        assert_eq!(of(r#","onCancel":"stop""#), stops, "{path}");
        assert_eq!(of(""), stops, "{path}: by default");
        // The burst is 2 s of work, and all that come meanwhile wait behind it until they are gone.
        let finishes = [(Outcome::Ok, 1), (Outcome::Timeout, 29)];
        assert_eq!(of(r#","onCancel":"finish""#), finishes, "{path}");
    }
}

#[test]
fn a_process_is_slower_while_it_warms_up() {
    let of = |service: &str| play(service, "l4", r#"{"hold":"10/s","for":"1s"}"#, "");
    let by_count = of(r#"{"cpu":"2ms","latency":"8ms","warmUp":{"requests":3,"factor":4}}"#);
    assert_eq!(by_count[&Outcome::Ok], [40, 40, 40, 10, 10, 10, 10, 10, 10, 10]);
    // The traffic begins 200 ms after the pod is known to be ready, which depends on the cluster.
    let service = r#"{"cpu":"2ms","latency":"8ms","warmUp":{"for":"2s","factor":1.5}}"#;
    let by_time = &play(service, "l4", r#"{"hold":"10/s","for":"3s"}"#, "")[&Outcome::Ok];
    let slow = by_time.iter().take_while(|took| **took == 15).count();
    assert!((1..20).contains(&slow), "{by_time:?}");
    assert_eq!(by_time[slow..], vec![10; 30 - slow]);
}

#[test]
fn service_times_that_were_measured_are_drawn_again() {
    let seen = play(
        r#"{"latency":{"values":["7ms","30ms"]}}"#,
        "l4",
        r#"{"hold":"100/s","for":"100s"}"#,
        "",
    );
    let sevens = seen[&Outcome::Ok].iter().filter(|took| **took == 7).count();
    let thirties = seen[&Outcome::Ok].iter().filter(|took| **took == 30).count();
    assert_eq!(sevens + thirties, 10_000);
    assert!(sevens.abs_diff(5_000) < 250, "{sevens}");
}
