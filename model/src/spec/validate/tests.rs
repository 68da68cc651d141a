//! One sentence per row: a change of a sound scenario and the key that must be named for it.

mod nodes;
mod target;

use serde_json::{Value, json};
use std::{format, string::String, string::ToString, vec, vec::Vec};

use super::*;

fn sound() -> Value {
    json!({
        "name": "sound",
        "target": {"deployment": {
            "replicas": 3,
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"readinessProbe": {"httpGet": {"path": "/readyz"}}}
        }},
        "traffic": {
            "phases": [{"hold": "50/s", "for": "20s"}, {"ramp": {"to": "200/s"}, "over": "5s"},
                {"hold": "200/s", "for": "60s"}],
            "requests": [{"get": "/work"}]
        },
        "events": [{"at": "40s", "rollout": {}}],
        "objectives": [{"failed": 0}, {"latency.p99": "<1s", "during": ["hold-2"]}]
    })
}

fn scenario(value: Value) -> Scenario {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// The sound scenario with the value at `pointer` replaced; missing objects are made.
fn changed(pointer: &str, value: Value) -> Value {
    let mut whole = sound();
    let mut place = &mut whole;
    for key in pointer.split('/').skip(1) {
        place = match place {
            Value::Array(list) => &mut list[key.parse::<usize>().expect("an index")],
            other => {
                other.as_object_mut().expect("an object").entry(key).or_insert_with(|| json!({}))
            }
        };
    }
    *place = value;
    whole
}

fn check_rows(rows: &[(&str, Value, &str, &str)]) {
    for (pointer, value, path, fragment) in rows {
        let found = problems(&scenario(changed(pointer, value.clone())));
        assert!(
            found.iter().any(|problem| problem.path == *path && problem.message.contains(fragment)),
            "{pointer} = {value}: wanted {path}: {fragment}, found {found:?}"
        );
    }
}

#[test]
fn a_sound_scenario_has_no_problem() {
    assert_eq!(problems(&scenario(sound())), []);
    for (pointer, value) in [
        ("/target/command", json!(["./server", "--port", "{port}"])),
        ("/events/0/repeat", json!({"every": "15s", "times": 3})),
        ("/traffic/phases/0/hold", json!("0/s")),
        ("/target/deployment/replicas", json!(0)),
        ("/target/deployment/template/readinessProbe/httpGet/port", json!(8080)),
    ] {
        assert_eq!(problems(&scenario(changed(pointer, value))), [], "{pointer}");
    }
}

#[test]
fn phases_are_named_by_shape_and_place() {
    let mut traffic = scenario(sound()).traffic;
    assert_eq!(phase_names(&traffic), ["hold-1", "ramp-1", "hold-2"]);
    traffic.phases[0].name = Some("warm-up".into());
    assert_eq!(phase_names(&traffic), ["warm-up", "ramp-1", "hold-2"]);
    assert_eq!(total_length(&traffic), Nanos::from_secs(85));
    assert_eq!(expected_requests(&traffic), Ok(50.0 * 20.0 + 125.0 * 5.0 + 200.0 * 60.0));
}

#[test]
fn names_are_fit_for_file_names() {
    let long = "x".repeat(64);
    for name in ["", "a/b", "..", "-a", "a-", "ä", "a b", long.as_str()] {
        let found = problems(&scenario(changed("/name", json!(name))));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(found[0].path, "name");
    }
}

#[test]
fn phases_that_make_no_traffic_are_refused() {
    let phases = "/traffic/phases";
    check_rows(&[
        (phases, json!([]), "traffic.phases", "is empty"),
        (phases, json!([{"hold": "5/s"}]), "traffic.phases[0]", "needs `for`"),
        (phases, json!([{}]), "traffic.phases[0]", "either"),
        (phases, json!([{"hold": "5/s", "for": "0s"}]), "traffic.phases[0].for", "above zero"),
        (phases, json!([{"hold": "5/s", "for": "200h"}]), "traffic.phases[0].for", "at most"),
        (
            phases,
            json!([{"hold": "5/s", "for": "100h"}, {"hold": "5/s", "for": "100h"}]),
            "traffic.phases",
            "in all",
        ),
        (phases, json!([{"hold": "1000000/s", "for": "24h"}]), "traffic.phases", "owe about"),
        (phases, json!([{"hold": "0/s", "for": "24h"}]), "traffic.phases", "no request"),
        (
            phases,
            json!([{"hold": "5/s", "for": "80s"}, {"hold": "5/s", "for": "9s", "name": "hold-1"}]),
            "traffic.phases[1].name",
            "too",
        ),
        ("/traffic/phases/1/name", json!("a,b"), "traffic.phases[1].name", "characters"),
        ("/traffic/timeout", json!("0s"), "traffic.timeout", "above zero"),
        ("/traffic/maxConnections", json!(0), "traffic.maxConnections", "between"),
    ]);
}

#[test]
fn a_closed_loop_stands_in_place_of_phases() {
    let mut value = sound();
    value["traffic"]["phases"] = json!([]);
    value["traffic"]["saturate"] = json!({"connections": 50, "for": "85s"});
    value["objectives"] = json!([]);
    let closed = scenario(value.clone());
    assert_eq!(problems(&closed), []);
    assert_eq!(phase_names(&closed.traffic), ["saturate"]);
    assert_eq!(total_length(&closed.traffic), Nanos::from_secs(85));
    let both = json!({"connections": 50, "for": "85s"});
    check_rows(&[
        ("/traffic/saturate", both, "traffic.saturate", "beside `phases`"),
        ("/traffic/threads", json!(0), "traffic.threads", "between"),
        ("/traffic/threads", json!(65), "traffic.threads", "between"),
    ]);
    for (key, wrong, path) in [
        ("connections", json!(0), "traffic.saturate.connections"),
        ("connections", json!(2_000_000), "traffic.saturate.connections"),
        ("for", json!("0s"), "traffic.saturate.for"),
        ("for", json!("200h"), "traffic.saturate.for"),
    ] {
        let mut wrong_one = value.clone();
        wrong_one["traffic"]["saturate"][key] = wrong.clone();
        let found = problems(&scenario(wrong_one));
        assert!(found.iter().any(|problem| problem.path == path), "{key} {wrong}: {found:?}");
    }
}

#[test]
fn a_url_goes_with_traffic_alone() {
    let bare = |url: &str| {
        json!({
            "name": "a", "target": {"url": url},
            "traffic": {"phases": [{"hold": "5/s", "for": "9s"}]},
        })
    };
    for url in ["http://10.0.0.1:80", "http://a.example", "http://[::1]:8080/"] {
        assert_eq!(problems(&scenario(bare(url))), [], "{url}");
    }
    for (url, fragment) in [
        ("https://a.example", "HTTPS"),
        ("a.example:80", "must be http://"),
        ("http://", "must be http://"),
        ("http://a/path", "paths go to `requests`"),
        ("http://user@a", "must be http://"),
    ] {
        let found = problems(&scenario(bare(url)));
        assert_eq!(found.len(), 1, "{url}: {found:?}");
        assert_eq!(found[0].path, "target.url");
        assert!(found[0].message.contains(fragment), "{url}: {found:?}");
    }
    for (key, beside) in [
        ("target.service", json!({"target": {"url": "http://a", "service": {}}})),
        ("target.command", json!({"target": {"url": "http://a", "command": ["x"]}})),
        ("target.misbehave", json!({"target": {"url": "http://a", "misbehave": ["cold-start"]}})),
        (
            "target.deployment",
            json!({"target": {"url": "http://a", "deployment": {"replicas": 2}}}),
        ),
        ("path", json!({"path": {"kind": "l7"}})),
        ("autoscaler", json!({"autoscaler": {"maxReplicas": 3}})),
        ("events", json!({"events": [{"at": "1s", "rollout": {}}]})),
    ] {
        let mut value = bare("http://a");
        for (name, part) in beside.as_object().expect("an object") {
            value[name] = part.clone();
        }
        let found = problems(&scenario(value));
        let named = |path: &str| {
            found
                .iter()
                .any(|problem| problem.path == path && problem.message.contains("target.url"))
        };
        assert!(named(key), "{key}: {found:?}");
    }
}

#[test]
fn what_a_proxy_does_of_its_own_needs_our_proxy_and_bounds() {
    let all = json!({"retry": "idempotent", "retries": 10, "balancing": "least-request",
        "passiveHealth": {"maxFails": 3}, "maxRequestsPerConnection": 100});
    let with = |kind: &str, more: Value| {
        let mut path = more;
        path["kind"] = json!(kind);
        path
    };
    assert_eq!(problems(&scenario(changed("/path", with("l7", all.clone())))), []);
    for (key, value, path, fragment) in [
        ("retries", json!(0), "path.retries", "between 1 and 10"),
        ("retries", json!(11), "path.retries", "between 1 and 10"),
        ("passiveHealth", json!({"maxFails": 0}), "path.passiveHealth.maxFails", "between"),
        (
            "passiveHealth",
            json!({"failTimeout": "0s"}),
            "path.passiveHealth.failTimeout",
            "above zero",
        ),
        ("maxRequestsPerConnection", json!(0), "path.maxRequestsPerConnection", "at least 1"),
    ] {
        check_rows(&[("/path", with("l7", json!({key: value})), path, fragment)]);
    }
    for key in ["retry", "balancing", "passiveHealth", "maxRequestsPerConnection"] {
        let one = json!({key: all[key]});
        let mut ingress = with("l7", one.clone());
        ingress["url"] = json!("http://10.0.0.1");
        let path = format!("path.{key}");
        check_rows(&[
            ("/path", with("l4", one), path.as_str(), "there is none"),
            ("/path", ingress, path.as_str(), "does not change"),
        ]);
    }
}

#[test]
fn requests_that_cannot_be_sent_are_refused() {
    let (request, first) = ("/traffic/requests/0", "traffic.requests[0]");
    let header =
        |name: &str, value: &str| json!({"get": "/", "headers": [{"name": name, "value": value}]});
    let row = |value: Value, key: &str, fragment: &'static str| {
        (request, value, format!("{first}{key}"), fragment)
    };
    let rows = vec![
        row(json!({}), "", "exactly one"),
        row(json!({"get": "/", "post": "/"}), "", "exactly one"),
        row(json!({"get": "work"}), ".get", "begin with"),
        row(json!({"put": "/a b"}), ".put", "space"),
        row(json!({"get": "/a\r\nX: y"}), ".get", "space"),
        row(json!({"get": "/#top"}), ".get", "`#`"),
        row(json!({"get": "/", "weight": 0.0}), ".weight", "above zero"),
        row(json!({"get": "/", "weight": -1}), ".weight", "above zero"),
        row(json!({"get": "/", "timeout": "0s"}), ".timeout", "above zero"),
        row(json!({"get": "/", "expect": {"status": 700}}), ".expect.status", "between"),
        row(header("Host", "a"), ".headers[0].name", "load engine"),
        row(header("transfer-Encoding", "a"), ".headers[0].name", "load engine"),
        row(header("a b", "a"), ".headers[0].name", "no header"),
        row(header("", "a"), ".headers[0].name", "no header"),
        row(header("a", "b\r\nc: d"), ".headers[0].value", "line break"),
        row(header("a", &"b".repeat(9000)), ".headers[0].value", "longer"),
        row(json!({"post": "/", "body": "b".repeat(1 << 21)}), ".body", "longer"),
    ];
    for (pointer, value, path, fragment) in rows {
        check_rows(&[(pointer, value, &path, fragment)]);
    }
}

#[test]
fn events_and_objectives_that_never_come_to_pass_are_refused() {
    let repeat = |every: &str, times: u32| json!({"every": every, "times": times});
    check_rows(&[
        ("/events/0", json!({"at": "1s"}), "events[0]", "exactly one"),
        ("/events/0/kill", json!({}), "events[0]", "exactly one"),
        ("/events/0/at", json!("85s"), "events[0].at", "not within"),
        ("/events/0/repeat", repeat("0s", 2), "events[0].repeat.every", "above zero"),
        ("/events/0/repeat", repeat("1s", 0), "events[0].repeat.times", "at least 1"),
        ("/events/0/repeat", repeat("45s", 2), "events[0].repeat", "the last time"),
        ("/events/0/repeat", repeat("5000000h", u32::MAX), "events[0].repeat", "the last time"),
        ("/events/0/repeat", repeat("1ns", 20_000), "events", "in all"),
        (
            "/events/0",
            json!({"at": "1s", "scale": {"replicas": 2000}}),
            "events[0].scale.replicas",
            "at most",
        ),
        ("/objectives/1/during", json!(["hold-3"]), "objectives[1].during[0]", "hold-1, ramp-1"),
        ("/objectives/1/during", json!(["hold-1", "hold-1"]), "objectives[1].during[1]", "twice"),
    ]);
}

#[test]
fn all_problems_are_told_at_once() {
    let mut value = changed("/name", json!(""));
    value["events"][0]["at"] = json!("2h");
    value["target"]["deployment"]["replicas"] = json!(5000);
    let paths: Vec<String> = problems(&scenario(value)).into_iter().map(|p| p.path).collect();
    assert_eq!(paths, ["name", "target.deployment.replicas", "events[0].at"]);
    assert_eq!(
        Problem { path: "name".into(), message: "is empty".into() }.to_string(),
        "name: is empty"
    );
}
