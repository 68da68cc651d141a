//! Targets and their Deployments.

use serde_json::{Value, json};
use std::{format, string::String, vec::Vec};

use super::{check_rows, problems, sound};

#[test]
fn a_workload_is_taken_as_it_is() {
    let with = |key: &str, value: Value| {
        let mut target = json!({"workload": {"deployment": "web"}});
        target[key] = value;
        target
    };
    let alone = |rollout: Value| {
        let mut scenario = sound();
        scenario["target"] = json!({"workload": {"deployment": "web"}});
        scenario["events"][0]["rollout"] = rollout;
        scenario
    };
    check_rows(&[
        ("/target", with("service", json!({})), "target.service", "does not go with"),
        ("/target", with("command", json!(["a"])), "target.command", "does not go with"),
        ("/target", with("misbehave", json!(["stay-ready"])), "target.misbehave", "does not go"),
        ("/target", with("deployment", json!({"replicas": 2})), "target.deployment", "does not go"),
        (
            "/target",
            json!({"workload": {"deployment": "Web"}}),
            "target.workload.deployment",
            "name",
        ),
        (
            "",
            alone(json!({"misbehave": []})),
            "events[0].rollout.misbehave",
            "a workload is its own",
        ),
    ]);
    let fine = alone(json!({"image": "shop/web:2", "env": [{"name": "A", "value": "1"}]}));
    let fine = serde_json::from_value(fine).expect("a scenario");
    assert_eq!(problems(&fine), []);
}

#[test]
fn a_service_that_makes_no_sense_is_refused() {
    let warm_up = |value: Value| json!({"service": {"warmUp": value}});
    let queue = |length: u32| json!({"service": {"workers": 1, "queue": {"length": length}}});
    let many: Vec<String> = (0..1002).map(|n| format!("{n}us")).collect();
    let latency = |value: Value| json!({"service": {"latency": value}});
    check_rows(&[
        ("/target/service/queue", json!({"length": 1}), "target.service.queue", "`workers`"),
        ("/target", queue(100_001), "target.service.queue.length", "between 0 and 100000"),
        ("/target", warm_up(json!({"factor": 2})), "target.service.warmUp", "exactly one"),
        (
            "/target",
            warm_up(json!({"for": "1s", "requests": 1, "factor": 2})),
            "target.service.warmUp",
            "exactly one",
        ),
        (
            "/target",
            warm_up(json!({"for": "0s", "factor": 2})),
            "target.service.warmUp.for",
            "above zero",
        ),
        (
            "/target",
            warm_up(json!({"requests": 0, "factor": 2})),
            "target.service.warmUp.requests",
            "between 1",
        ),
        (
            "/target",
            warm_up(json!({"requests": 1, "factor": 0.5})),
            "target.service.warmUp.factor",
            "between 1 and 1000",
        ),
        (
            "/target",
            latency(json!({"file": {"path": "a.csv"}})),
            "target.service.latency",
            "is in a file",
        ),
        (
            "/path/propagation",
            json!({"file": {"path": "a.csv"}}),
            "path.propagation",
            "only that of target.service.latency",
        ),
    ]);
    let read = |target: Value| serde_json::from_value::<crate::spec::Target>(target);
    for wrong in [
        latency(json!({"values": many})),
        json!({"service": {"queue": {"length": 1, "full": "wait"}}}),
        json!({"service": {"queue": {"full": "close"}}}),
        json!({"service": {"warmUp": {"for": "1s"}}}),
        json!({"service": {"onCancel": "go-on"}}),
    ] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn targets_that_contradict_themselves_are_refused() {
    let both = json!({"service": {}, "command": ["a"]});
    let wrong_command = json!({"command": ["a"], "misbehave": ["stay-ready"]});
    let env = |name: &str| json!({"command": ["a"], "env": [{"name": name, "value": "1"}]});
    check_rows(&[
        ("/target", both, "target.command", "one or the other"),
        ("/target/command", json!([]), "target.command", "is empty"),
        ("/target/command", json!([" "]), "target.command", "is empty"),
        ("/target/command", json!(["a", "b\u{0}"]), "target.command[1]", "zero byte"),
        ("/target", wrong_command, "target.misbehave", "bundled service"),
        ("/target/misbehave", json!(["stay-ready", "stay-ready"]), "target.misbehave[1]", "twice"),
        ("/target", env("1A"), "target.env[0].name", "no variable"),
        ("/target", env("A=B"), "target.env[0].name", "no variable"),
        ("/target", env("PORT"), "target.env[0].name", "leave it out"),
        ("/target/env", json!([{"name": "A"}]), "target.env", "goes with"),
        (
            "/target/service/drain",
            json!({"delay": "9s", "deadline": "8s"}),
            "target.service.drain.deadline",
            "before the delay",
        ),
        ("/target/service/body", json!("1Gi"), "target.service.body", "at most"),
        (
            "/target/service/latency",
            json!({"exponential": {"mean": "100h"}}),
            "target.service.latency",
            "above",
        ),
        (
            "/target/service/dependencies",
            json!([{"name": "db"}, {"name": "db"}]),
            "target.service.dependencies[1].name",
            "too",
        ),
        ("/path/proxyWorkers", json!(0), "path.proxyWorkers", "between"),
        ("/path/clients", json!(257), "path.clients", "between"),
        ("/path/idleTimeout", json!("0s"), "path.idleTimeout", "above zero"),
    ]);
}

#[test]
fn deployments_that_the_api_server_refuses_are_refused() {
    let deployment = |key: &str| format!("/target/deployment/{key}");
    let rows = [
        ("replicas", json!(1001), "replicas", "between"),
        ("progressDeadlineSeconds", json!(0), "progressDeadlineSeconds", "above"),
        (
            "strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
            "strategy.rollingUpdate",
            "Recreate",
        ),
        (
            "strategy/rollingUpdate",
            json!({"maxSurge": "0%", "maxUnavailable": 0}),
            "strategy.rollingUpdate",
            "both 0",
        ),
        (
            "strategy/rollingUpdate/maxUnavailable",
            json!("101%"),
            "strategy.rollingUpdate.maxUnavailable",
            "100%",
        ),
        (
            "strategy/rollingUpdate/maxSurge",
            json!(4_000_000_000_u32),
            "strategy.rollingUpdate.maxSurge",
            "at most",
        ),
        ("template/lifecycle", json!({"preStop": {}}), "template.lifecycle.preStop", "exactly one"),
        (
            "template/lifecycle",
            json!({"stopSignal": "SIGKILL"}),
            "template.lifecycle.stopSignal",
            "no moment to end in",
        ),
        (
            "template/lifecycle",
            json!({"preStop": {"sleep": {"seconds": 31}}}),
            "template.lifecycle.preStop.sleep.seconds",
            "terminationGrace",
        ),
        (
            "template/lifecycle",
            json!({"preStop": {"exec": {"command": []}}}),
            "template.lifecycle.preStop.exec.command",
            "is empty",
        ),
        ("template/readinessProbe", json!({}), "template.readinessProbe", "exactly one"),
        ("template/readinessProbe/tcpSocket", json!({}), "template.readinessProbe", "exactly one"),
        (
            "template/readinessProbe/periodSeconds",
            json!(0),
            "template.readinessProbe.periodSeconds",
            "between",
        ),
        (
            "template/readinessProbe/timeoutSeconds",
            json!(0),
            "template.readinessProbe.timeoutSeconds",
            "between",
        ),
        (
            "template/readinessProbe/failureThreshold",
            json!(0),
            "template.readinessProbe.failureThreshold",
            "between",
        ),
        (
            "template/readinessProbe/terminationGracePeriodSeconds",
            json!(5),
            "template.readinessProbe.terminationGracePeriodSeconds",
            "readiness",
        ),
        (
            "template/livenessProbe",
            json!({"tcpSocket": {}, "successThreshold": 2}),
            "template.livenessProbe.successThreshold",
            "must be 1",
        ),
        (
            "template/readinessProbe/httpGet/port",
            json!("admin"),
            "template.readinessProbe.httpGet.port",
            "no port",
        ),
        (
            "template/readinessProbe/httpGet/port",
            json!(0),
            "template.readinessProbe.httpGet.port",
            "between",
        ),
        (
            "template/readinessProbe/httpGet/path",
            json!("readyz"),
            "template.readinessProbe.httpGet.path",
            "begin with",
        ),
        (
            "template/readinessProbe/httpGet/scheme",
            json!("ftp"),
            "template.readinessProbe.httpGet.scheme",
            "HTTPS",
        ),
        (
            "template/resources",
            json!({"requests": {"cpu": 2}, "limits": {"cpu": 1}}),
            "template.resources.requests.cpu",
            "limit",
        ),
    ];
    for (key, value, path, fragment) in rows {
        let path = format!("target.deployment.{path}");
        check_rows(&[(&deployment(key), value, &path, fragment)]);
    }
}
