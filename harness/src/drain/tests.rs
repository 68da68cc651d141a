//! Services whose least settings are known.

use super::{told::Settings, *};

/// Four pods at 50/s, without connection reuse by clients. A bound of 10 % takes 29 endings.
fn found(service: &str, misbehave: &str, path: &str) -> Drain {
    let scenario = scenario(service, misbehave, path);
    drain(&scenario, 0.1, 8).expect("it can be simulated")
}

fn scenario(service: &str, misbehave: &str, path: &str) -> Scenario {
    let text = format!(
        r#"{{"name":"x","target":{{"service":{service},"misbehave":[{misbehave}],
        "deployment":{{"replicas":4,"template":{{
        "readinessProbe":{{"httpGet":{{"path":"/readyz"}},"periodSeconds":1}}}}}}}},
        "path":{path},
        "traffic":{{"phases":[{{"hold":"50/s","for":"10s"}}],"timeout":"5s","keepAlive":false}}}}"#
    );
    serde_json::from_str(&text).expect("a scenario")
}

fn settings(found: &Drain) -> (u32, u32) {
    let Settings { pre_stop_seconds, termination_grace_period_seconds } =
        found.settings.unwrap_or_else(|| panic!("{:?}", found.failure));
    (pre_stop_seconds, termination_grace_period_seconds)
}

/// Serves on for no time, and finishes what it has.
const PROMPT: &str = r#"{"cpu":"100us","latency":"500ms","drain":{"delay":"0s","deadline":"4s"}}"#;

#[test]
fn pre_stop_is_just_above_the_worst_propagation() {
    // New connections go on for up to 2 s; the last request then takes half a second.
    let l4 = r#"{"kind":"l4","clients":2,"propagation":{"uniform":["0s","2s"]}}"#;
    let found = found(PROMPT, "", l4);
    let (pre_stop, grace) = settings(&found);
    assert!((2..=3).contains(&pre_stop), "{pre_stop}");
    assert_eq!(grace, pre_stop + 1);
    let why = found.why.expect("it is explained");
    assert!(why.propagation.expect("it was seen") <= f64::from(pre_stop) * 1e3, "{why:?}");
    assert!((500.0..600.0).contains(&why.slowest_request), "{why:?}");
    assert!(why.propagation_ends && why.grace_margin.expect("seen") >= 0.0);
    assert!(found.tried.iter().all(|tried| tried.pre_stop_seconds >= 2 || tried.lost > 0));
}

#[test]
fn a_proxy_that_notices_late_sets_the_pre_stop() {
    let l7 = r#"{"kind":"l7","proxyWorkers":2,"propagation":"4200ms"}"#;
    let found = found(PROMPT, "", l7);
    assert_eq!(settings(&found).0, 5);
    let propagation = found.why.and_then(|why| why.propagation).expect("it was seen");
    assert!((4_200.0..4_600.0).contains(&propagation), "{propagation}");
}

#[test]
fn a_service_that_serves_on_needs_no_pre_stop() {
    let patient = r#"{"cpu":"100us","latency":"20ms","drain":{"delay":"4s","deadline":"4s"}}"#;
    let l7 = r#"{"kind":"l7","proxyWorkers":2,"propagation":{"uniform":["0s","2s"]}}"#;
    let found = found(patient, "", l7);
    let (pre_stop, grace) = settings(&found);
    // Its grace is what it serves on for.
    assert_eq!((pre_stop, (4..=6).contains(&grace)), (0, true), "{grace}");
    assert!(found.why.and_then(|why| why.pre_stop_margin).expect("it was seen") < 0.0);
    assert!(!found.patch.expect("there is one").contains("preStop"));
}

#[test]
fn what_no_time_mends_is_said_to_be_so() {
    let l4 = r#"{"kind":"l4","propagation":"100ms"}"#;
    // The clients of l4 keep their connections, and nobody tells them to close them: some send their
    // next request as the process ends, whenever that is.
    let mut keeping = scenario(PROMPT, "", l4);
    keeping.traffic.keep_alive = true;
    keeping.simulation.network = highwater_model::time::Nanos::from_millis(20);
    let kept = drain(&keeping, 0.02, 2).expect("it can be simulated");
    assert_eq!(kept.settings, None);
    assert!(kept.failure.expect("it is told").contains("termination-race"));
    let rows = [
        // New pods get traffic before they listen.
        (r#""ready-before-listening""#, "premature-ready"),
        // SIGKILL is all that ends it.
        (r#""no-signal-handler""#, "SIGKILL"),
    ];
    for (misbehave, told) in rows {
        let found = found(PROMPT, misbehave, l4);
        let failure = found.failure.as_ref().expect("there is no answer");
        assert!(failure.contains(told), "{misbehave}: {failure}");
        assert_eq!((found.settings, &found.patch), (None, &None), "{misbehave}");
        assert!(text::render(&found).contains("no setting is enough"));
    }
}

#[test]
fn what_cannot_be_drained_is_refused() {
    let path = r#"{"kind":"l4"}"#;
    let mut command = scenario("{}", "", path);
    command.target.service = None;
    command.target.command = Some(vec!["serve".into()]);
    assert!(matches!(drain(&command, 0.1, 20), Err(DrainError::Plan(_))));
    let mut none = scenario("{}", "", path);
    none.traffic.phases[0].hold = Some(highwater_model::units::RatePerSec(0.0));
    assert!(matches!(drain(&none, 0.1, 20), Err(DrainError::Nothing(_) | DrainError::Plan(_))));
}

#[test]
fn the_same_scenario_has_the_same_answer() {
    let l7 = r#"{"kind":"l7","proxyWorkers":2,"propagation":{"uniform":["0s","1s"]}}"#;
    let [one, other] = [0, 1].map(|_| found(PROMPT, "", l7));
    assert_eq!(one, other);
    let json = serde_json::to_value(&one).expect("serialises");
    let again: Drain = serde_json::from_value(json).expect("it reads back");
    assert_eq!(again, one);
    assert!(text::render(&one).contains("lose nothing"));
}

#[test]
fn shares_are_read_and_bounded() {
    assert_eq!(share("1%"), Ok(0.01));
    assert_eq!(share("0.05"), Ok(0.05));
    for text in ["", "x", "0", "60%", "-1%", "NaN", "0.001%"] {
        assert!(share(text).is_err(), "{text}");
    }
    assert_eq!([0.01, 0.1, 0.5].map(trial::needed), [299, 29, 5]);
}
