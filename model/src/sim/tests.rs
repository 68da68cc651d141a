//! Runs whose outcome is known.

mod nodes;
mod proxy;
mod streams;

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::*;
use crate::spec::{Action, validate};

/// Keeps what it is told.
#[derive(Default)]
struct Notes {
    outcomes: BTreeMap<Outcome, u64>,
    owed: u64,
    arrivals: Vec<(Nanos, u64)>,
    latency: Vec<u64>,
    failures: Vec<Failure>,
    events: Vec<(Timestamp, EventKind)>,
    calls: String,
}

impl Observer for Notes {
    fn event(&mut self, at: Timestamp, source: Source, kind: EventKind, _: Option<Timestamp>) {
        self.calls.push_str(&format!("{} {source:?} {kind:?}\n", at.0));
        self.events.push((at, kind));
    }

    fn owed(&mut self, _: Timestamp, arrival: Arrival) {
        self.arrivals.push((arrival.at, arrival.number));
        self.owed += 1;
    }

    fn sent(&mut self, _: Timestamp, _: Arrival, _: Nanos) {}

    fn ended(&mut self, outcome: Outcome, _: u16, times: Times) {
        *self.outcomes.entry(outcome).or_default() += 1;
        if outcome == Outcome::Ok {
            self.latency.push(times.ended.since(times.scheduled).0);
        }
        self.calls.push_str(&format!("{} {outcome} {}\n", times.scheduled.0, times.ended.0));
    }

    fn unsent(&mut self, outcome: Outcome, _: u16, _: Timestamp) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    fn failure(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    fn second(&mut self, _: &State) -> bool {
        true
    }
}

fn play(yaml_as_json: &str) -> Notes {
    let scenario: Scenario = serde_json::from_str(yaml_as_json).expect("a scenario");
    assert_eq!(validate::problems(&scenario), []);
    let profile = Profile::new(&scenario.traffic).expect("a profile");
    let names = validate::phase_names(&scenario.traffic);
    let phases = profile.phases().map(|(start, _)| start).zip(names).collect();
    let actions: Vec<(Nanos, u32, Action)> = scenario
        .events
        .iter()
        .enumerate()
        .filter_map(|(id, event)| Some((event.at, id as u32, event.action()?)))
        .collect();
    let run_ = Run { scenario, profile, phases, actions };
    let mut notes = Notes::default();
    run(&run_, &mut notes).expect("it comes to its traffic");
    let told: u64 = notes.outcomes.values().sum();
    assert_eq!(told, notes.owed, "every owed request has one outcome");
    notes
}

const ROLLOUT: &str = r#"{"name":"r","seed":3,
    "target":{"service":{"latency":{"lognormal":{"median":"8ms","p99":"40ms"}},"startup":"200ms",
      "drain":{"delay":"3s","deadline":"20s"}},"misbehave":[MISBEHAVE],
      "deployment":{"replicas":2,"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},
      "template":{"readinessProbe":{"httpGet":{"path":"/readyz"},"periodSeconds":1}}}},
    "path":{"kind":"KIND","propagation":{"uniform":["0s","2s"]},"keepAlive":KEEP},
    "traffic":{"phases":[{"hold":"100/s","for":"11s"}],"keepAlive":KEEP},
    "events":[{"at":"1s","rollout":{}}]}"#;

fn rollout(misbehave: &str, kind: &str, keep: bool) -> Notes {
    let keep = keep.to_string();
    let text = ROLLOUT.replace("MISBEHAVE", misbehave).replace("KIND", kind);
    play(&text.replace("KEEP", &keep))
}

#[test]
fn a_clean_service_loses_nothing_on_any_path() {
    for kind in ["l4", "l7"] {
        for keep in [true, false] {
            let notes = rollout("", kind, keep);
            let only_ok = notes.outcomes.keys().all(|outcome| *outcome == Outcome::Ok);
            assert!(only_ok, "{kind} {keep}: {:?}", notes.outcomes);
            let gone =
                |(_, kind): &&(Timestamp, EventKind)| matches!(kind, EventKind::PodGone { .. });
            assert_eq!(notes.events.iter().filter(gone).count(), 2);
        }
    }
}

#[test]
fn wrong_services_lose_as_they_do_in_the_flesh() {
    for (misbehave, kind, keep, outcomes) in [
        ("close-listener-first", "l4", false, &[Outcome::ConnectRefused][..]),
        ("close-listener-first", "l7", true, &[Outcome::Status502]),
        (
            "exit-on-sigterm",
            "l4",
            true,
            &[Outcome::EofNew, Outcome::EofReused, Outcome::ConnectRefused],
        ),
        ("refuse-while-draining", "l4", true, &[Outcome::Status503]),
        ("drop-accept-queue", "l4", false, &[Outcome::ResetNew, Outcome::ConnectRefused]),
    ] {
        let notes = rollout(&format!("\"{misbehave}\""), kind, keep);
        let lost: Vec<Outcome> =
            notes.outcomes.keys().copied().filter(|outcome| *outcome != Outcome::Ok).collect();
        assert!(!lost.is_empty(), "{misbehave} on {kind} loses something");
        assert!(lost.iter().all(|one| outcomes.contains(one)), "{misbehave} on {kind}: {lost:?}");
        assert_eq!(
            notes.failures.iter().map(|failure| failure.n).sum::<u64>(),
            notes.owed - notes.outcomes[&Outcome::Ok],
            "each in detail"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_calls_and_another_does_not() {
    let of = |seed: &str| {
        play(
            &ROLLOUT
                .replace("MISBEHAVE", "")
                .replace("KIND", "l7")
                .replace("KEEP", "true")
                .replace("\"seed\":3", seed),
        )
        .calls
    };
    assert_eq!(of("\"seed\":3"), of("\"seed\":3"));
    assert_ne!(of("\"seed\":3"), of("\"seed\":4"));
}

#[test]
fn what_a_request_asks_for_is_done() {
    for kind in ["l4", "l7"] {
        let notes = play(
            &r#"{"name":"a","seed":4,
            "target":{"service":{"cpu":"1ms","latency":"5ms"},"deployment":{"replicas":2}},
            "path":{"kind":"KIND"},
            "traffic":{"phases":[{"hold":"20/s","for":"10s"}],"requests":[
              {"get":"/work?cpu=3ms&wait=40ms"},{"get":"/work?status=503"},{"get":"/nowhere"}]}}"#
                .replace("KIND", kind),
        );
        let known = [Outcome::Ok, Outcome::Status503, Outcome::StatusOther];
        assert!(notes.outcomes.keys().eq(&known), "{kind}: {:?}", notes.outcomes);
        let ms = |ns: &u64| *ns >= 43_000_000 && *ns < 60_000_000;
        assert!(notes.latency.iter().all(ms), "{kind}: {:?}", notes.latency);
        let statuses: BTreeSet<Option<u16>> =
            notes.failures.iter().map(|failure| failure.status).collect();
        assert!(statuses.into_iter().eq([Some(404), Some(503)]), "{kind}");
    }
}

#[test]
fn an_autoscaler_follows_the_load() {
    let notes = play(
        r#"{"name":"s","seed":5,
        "target":{"service":{"cpu":"4ms","latency":"5ms"},"deployment":{"replicas":2,
          "template":{"readinessProbe":{"httpGet":{"path":"/readyz"},"periodSeconds":1},
          "resources":{"requests":{"cpu":"100m"}}}}},
        "autoscaler":{"minReplicas":2,"maxReplicas":8,"metrics":[{"type":"Resource","resource":{
          "name":"cpu","target":{"type":"Utilization","averageUtilization":60}}}],
          "behavior":{"scaleDown":{"stabilizationWindowSeconds":30}}},
        "traffic":{"phases":[{"hold":"10/s","for":"60s"},{"hold":"80/s","for":"180s"},
          {"hold":"10/s","for":"180s"}]}}"#,
    );
    let decisions: Vec<(u32, u32)> = notes
        .events
        .iter()
        .filter_map(|(_, kind)| match kind {
            EventKind::AutoscalerDecision { from, to, .. } => Some((*from, *to)),
            _ => None,
        })
        .collect();
    // 80/s of 4 ms are 320 millicores: 60 of 100 in each of six pods.
    let most = decisions.iter().map(|(_, to)| *to).max();
    assert!(matches!(most, Some(5..=7)), "{decisions:?}");
    assert_eq!(decisions.last().map(|(_, to)| *to), Some(2), "{decisions:?}");
    assert_eq!(notes.outcomes.len(), 1, "{:?}", notes.outcomes);
}

/// What is not plain is looked at more closely, and here comes to the same.
#[test]
fn a_service_without_specials_does_as_one_whose_specials_never_apply() {
    let scenario = |service: &str, limits: &str| {
        format!(
            r#"{{"name":"plain","target":{{"service":{{"cpu":"2ms","workers":3,{service}
            "latency":{{"lognormal":{{"median":"8ms","p99":"40ms"}}}}}},
            "deployment":{{"replicas":2,"template":{{"resources":{{"limits":{{{limits}}}}}}}}}}},
            "traffic":{{"phases":[{{"hold":"300/s","for":"20s"}}]}}}}"#
        )
    };
    let plain = play(&scenario("", ""));
    assert!(plain.owed > 5_000);
    let others = [
        (r#""queue":{"length":100000},"#, ""),
        (r#""warmUp":{"requests":1,"factor":1},"#, ""),
        ("", r#""memory":"100Gi""#),
    ];
    for (service, limits) in others {
        let other = play(&scenario(service, limits));
        assert!(plain.latency == other.latency, "{service} {limits}");
    }
}
