//! Relations between the fields of a scenario that its types cannot express.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    Deployment, HttpGetAction, Objective, Phase, Port, Probe, RequestKind, Scenario,
    ScheduledEvent, StrategyType, Target, Traffic,
};
use crate::{load::Profile, time::Nanos, units::IntOrPercent};

/// The longest traffic: a week.
pub const TRAFFIC_MAX: Nanos = Nanos::from_secs(7 * 86_400);
/// The most requests of a run.
pub const REQUESTS_MAX: f64 = 1e10;
/// The most pods of a deployment.
pub const REPLICAS_MAX: u32 = 1_000;
/// The most consumers of the endpoints.
pub const CONSUMERS_MAX: u32 = 256;
/// The most actions of a run, repetitions counted.
pub const ACTIONS_MAX: u64 = 100_000;

/// Something wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key: `traffic.phases[1].for`.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// The names of the traffic's phases: `name`, or the shape with its number among that shape.
pub fn phase_names(traffic: &Traffic) -> Vec<String> {
    let (mut holds, mut ramps) = (0, 0);
    let name = |phase: &Phase| {
        let (shape, number) = if phase.ramp.is_some() {
            ramps += 1;
            ("ramp", ramps)
        } else {
            holds += 1;
            ("hold", holds)
        };
        phase.name.clone().unwrap_or_else(|| format!("{shape}-{number}"))
    };
    traffic.phases.iter().map(name).collect()
}

/// Everything that is wrong with a scenario, in the order of the file; empty if nothing is.
pub fn problems(scenario: &Scenario) -> Vec<Problem> {
    let mut check = Check(Vec::new());
    check.name(&scenario.name);
    check.target(&scenario.target);
    let path = &scenario.path;
    check.range("path.clients", path.clients, 1, CONSUMERS_MAX);
    check.range("path.proxyWorkers", path.proxy_workers, 1, CONSUMERS_MAX);
    for (key, span) in [
        ("path.connectTimeout", path.connect_timeout),
        ("path.responseTimeout", path.response_timeout),
        ("path.idleTimeout", path.idle_timeout),
    ] {
        check.that(span > Nanos::ZERO, key, "must be longer than nothing");
    }
    let lasts = check.traffic(&scenario.traffic);
    check.events(&scenario.events, lasts);
    check.objectives(&scenario.objectives, &phase_names(&scenario.traffic));
    check.0
}

struct Check(Vec<Problem>);

impl Check {
    fn that(&mut self, holds: bool, path: impl ToString, message: impl ToString) {
        if !holds {
            self.0.push(Problem { path: path.to_string(), message: message.to_string() });
        }
    }

    fn range(&mut self, path: impl ToString, value: u32, low: u32, high: u32) {
        self.that((low..=high).contains(&value), path, format!("must be from {low} to {high}"));
    }

    fn name(&mut self, name: &str) {
        let is_short = (1..=63).contains(&name.len());
        let is_plain =
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let is_bound = !name.starts_with('-') && !name.ends_with('-');
        self.that(
            is_short && is_plain && is_bound,
            "name",
            "must be 1 to 63 lower-case letters, digits and dashes, without a dash at an end",
        );
    }

    fn target(&mut self, target: &Target) {
        if let Some(command) = &target.command {
            self.that(
                target.service.is_none(),
                "target.command",
                "stands beside `service`; a target is one of them",
            );
            self.that(
                command.first().is_some_and(|program| !program.is_empty()),
                "target.command",
                "names no program",
            );
            self.that(
                command.iter().all(|argument| !argument.contains('\0')),
                "target.command",
                "holds a NUL character",
            );
            self.that(
                target.misbehave.is_empty(),
                "target.misbehave",
                "is for the bundled service; a command misbehaves by itself",
            );
        }
        for (index, variable) in target.env.iter().enumerate() {
            let is_name = !variable.name.is_empty()
                && !variable.name.contains(['=', '\0'])
                && !variable.value.contains('\0');
            self.that(is_name, format!("target.env[{index}]"), "is no environment variable");
        }
        if let Some(service) = &target.service {
            self.that(
                service.cpu <= Nanos::from_secs(60),
                "target.service.cpu",
                "must be at most 60s",
            );
            self.that(service.body.0 <= 64 << 20, "target.service.body", "must be at most 64Mi");
        }
        self.deployment(&target.deployment);
    }

    fn deployment(&mut self, deployment: &Deployment) {
        let base = "target.deployment";
        self.that(
            deployment.replicas <= REPLICAS_MAX,
            format!("{base}.replicas"),
            format!("must be at most {REPLICAS_MAX}"),
        );
        self.that(
            deployment.progress_deadline_seconds > deployment.min_ready_seconds,
            format!("{base}.progressDeadlineSeconds"),
            "must be longer than minReadySeconds",
        );
        if let Some(update) = &deployment.strategy.rolling_update {
            let path = format!("{base}.strategy.rollingUpdate");
            self.that(
                deployment.strategy.kind == StrategyType::RollingUpdate,
                &path,
                "stands beside `type: Recreate`",
            );
            let is_zero = |value| matches!(value, IntOrPercent::Int(0) | IntOrPercent::Percent(0));
            self.that(
                !(is_zero(update.max_surge) && is_zero(update.max_unavailable)),
                &path,
                "maxSurge and maxUnavailable may not both be 0",
            );
            self.that(
                !matches!(update.max_unavailable, IntOrPercent::Percent(101..)),
                format!("{path}.maxUnavailable"),
                "must be at most 100%",
            );
        }
        let template = &deployment.template;
        let base = "target.deployment.template";
        for (key, probe, must_be_one) in [
            ("startupProbe", &template.startup_probe, true),
            ("readinessProbe", &template.readiness_probe, false),
            ("livenessProbe", &template.liveness_probe, true),
        ] {
            if let Some(probe) = probe {
                self.probe(&format!("{base}.{key}"), probe, must_be_one);
            }
        }
        let hook = template.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(hook) = hook {
            let path = format!("{base}.lifecycle.preStop");
            let given = [hook.sleep.is_some(), hook.exec.is_some(), hook.http_get.is_some()];
            self.one_of(&path, &given, "sleep, exec and httpGet");
            self.http_get(&path, hook.http_get.as_ref());
            let command = hook.exec.as_ref().map(|exec| exec.command.is_empty());
            self.that(command != Some(true), format!("{path}.exec.command"), "names no program");
        }
    }

    fn one_of(&mut self, path: &str, given: &[bool], names: &str) {
        let count = given.iter().filter(|given| **given).count();
        self.that(count == 1, path, format!("must have exactly one of {names}"));
    }

    fn probe(&mut self, path: &str, probe: &Probe, must_be_one: bool) {
        let given = [probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.exec.is_some()];
        self.one_of(path, &given, "httpGet, tcpSocket and exec");
        for (key, value) in [
            ("periodSeconds", probe.period_seconds),
            ("timeoutSeconds", probe.timeout_seconds),
            ("successThreshold", probe.success_threshold),
            ("failureThreshold", probe.failure_threshold),
        ] {
            self.range(format!("{path}.{key}"), value, 1, 86_400);
        }
        self.that(
            !must_be_one || probe.success_threshold == 1,
            format!("{path}.successThreshold"),
            "must be 1 for startup and liveness probes",
        );
        self.http_get(path, probe.http_get.as_ref());
        self.port(
            &format!("{path}.tcpSocket.port"),
            probe.tcp_socket.as_ref().and_then(|tcp| tcp.port.as_ref()),
        );
        let command = probe.exec.as_ref().map(|exec| exec.command.is_empty());
        self.that(command != Some(true), format!("{path}.exec.command"), "names no program");
    }

    fn http_get(&mut self, path: &str, action: Option<&HttpGetAction>) {
        let Some(action) = action else { return };
        let path = format!("{path}.httpGet");
        self.that(
            is_path(&action.path),
            format!("{path}.path"),
            "must begin with / and hold no spaces",
        );
        self.port(&format!("{path}.port"), action.port.as_ref());
        for (index, header) in action.http_headers.iter().enumerate() {
            self.header(&format!("{path}.httpHeaders[{index}]"), &header.name, &header.value);
        }
    }

    fn port(&mut self, path: &str, port: Option<&Port>) {
        let is_known = match port {
            None | Some(Port::Number(1..)) => true,
            Some(Port::Number(0)) => false,
            Some(Port::Name(name)) => name == "http" || name == "health",
        };
        self.that(is_known, path, "must be `http`, `health` or a number");
    }

    fn header(&mut self, path: &str, name: &str, value: &str) {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        self.that(
            !name.is_empty() && name.bytes().all(is_token),
            format!("{path}.name"),
            "is no header name",
        );
        self.that(
            value.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 127)),
            format!("{path}.value"),
            "holds control characters",
        );
    }

    fn traffic(&mut self, traffic: &Traffic) -> Nanos {
        self.that(!traffic.phases.is_empty(), "traffic.phases", "must have at least one phase");
        let mut total = Nanos::ZERO;
        for (index, phase) in traffic.phases.iter().enumerate() {
            let path = format!("traffic.phases[{index}]");
            if let Err(message) = phase.shape() {
                self.that(false, &path, message);
            }
            let (key, lasts) =
                phase.for_.map_or(("over", phase.over), |lasts| ("for", Some(lasts)));
            self.that(
                lasts != Some(Nanos::ZERO),
                format!("{path}.{key}"),
                "must be longer than nothing",
            );
            total = total + lasts.unwrap_or_default();
        }
        self.that(total <= TRAFFIC_MAX, "traffic.phases", "last longer than a week together");
        if let Ok(profile) = Profile::new(traffic) {
            let expected = profile.expected();
            self.that(
                expected <= REQUESTS_MAX,
                "traffic.phases",
                format!(
                    "owe {expected:.0} requests together; at most {REQUESTS_MAX:.0} are allowed"
                ),
            );
        }
        let names = phase_names(traffic);
        let mut seen = BTreeSet::new();
        for (index, name) in names.iter().enumerate() {
            self.that(
                seen.insert(name) && !name.is_empty(),
                format!("traffic.phases[{index}].name"),
                format!("`{name}` is the name of a phase before it"),
            );
        }
        for (index, kind) in traffic.requests.iter().enumerate() {
            self.request(&format!("traffic.requests[{index}]"), kind);
        }
        self.that(traffic.timeout > Nanos::ZERO, "traffic.timeout", "must be longer than nothing");
        self.range("traffic.maxConnections", traffic.max_connections, 1, 1_000_000);
        total
    }

    fn request(&mut self, path: &str, kind: &RequestKind) {
        match kind.method_and_path() {
            None => self.that(
                false,
                path,
                "must have exactly one of get, post, put, patch, delete and head",
            ),
            Some((_, target)) => {
                self.that(is_path(target), path, "its path must begin with / and hold no spaces")
            }
        }
        if let Some(weight) = kind.weight {
            let is_weight = weight.is_finite() && weight > 0.0 && weight <= 1e9;
            self.that(is_weight, format!("{path}.weight"), "must be above 0");
        }
        for (index, header) in kind.headers.iter().enumerate() {
            let path = format!("{path}.headers[{index}]");
            self.header(&path, &header.name, &header.value);
            let ours =
                ["host", "content-length", "connection", "transfer-encoding", "x-request-id"];
            self.that(
                !ours.iter().any(|known| header.name.eq_ignore_ascii_case(known)),
                format!("{path}.name"),
                "is set by Highwater itself",
            );
        }
        let is_small = kind.body.as_ref().is_none_or(|body| body.len() <= 1 << 20);
        self.that(is_small, format!("{path}.body"), "must be at most 1 MiB");
        self.that(
            kind.timeout != Some(Nanos::ZERO),
            format!("{path}.timeout"),
            "must be longer than nothing",
        );
    }

    fn events(&mut self, events: &[ScheduledEvent], lasts: Nanos) {
        let mut actions = 0u64;
        for (index, event) in events.iter().enumerate() {
            let path = format!("events[{index}]");
            self.that(
                event.action().is_some(),
                &path,
                "must have exactly one of rollout, scale, delete and kill",
            );
            self.that(
                event.at <= lasts,
                format!("{path}.at"),
                format!("is after the traffic's end ({lasts})"),
            );
            if let Some(scale) = &event.scale {
                self.range(format!("{path}.scale.replicas"), scale.replicas, 0, REPLICAS_MAX);
            }
            let Some(repeat) = &event.repeat else {
                actions += 1;
                continue;
            };
            actions += u64::from(repeat.times);
            self.that(
                repeat.every > Nanos::ZERO,
                format!("{path}.repeat.every"),
                "must be longer than nothing",
            );
            self.that(repeat.times >= 1, format!("{path}.repeat.times"), "must be at least 1");
            let last = repeat.every.0.saturating_mul(u64::from(repeat.times.saturating_sub(1)));
            self.that(
                event.at + Nanos(last) <= lasts,
                format!("{path}.repeat"),
                format!("goes on after the traffic's end ({lasts})"),
            );
        }
        self.that(actions <= ACTIONS_MAX, "events", format!("are more than {ACTIONS_MAX} in all"));
    }

    fn objectives(&mut self, objectives: &[Objective], phases: &[String]) {
        for (index, objective) in objectives.iter().enumerate() {
            for name in &objective.during {
                self.that(
                    phases.contains(name),
                    format!("objectives[{index}].during"),
                    format!("there is no phase `{name}`; there are {}", phases.join(", ")),
                );
            }
        }
    }
}

/// An origin-form request target.
fn is_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 8_192 && path.bytes().all(|b| (0x21..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn scenario() -> Value {
        json!({
            "name": "test",
            "traffic": {"phases": [{"hold": "50/s", "for": "20s"}, {"ramp": {"to": "100/s"}, "over": "5s"}]},
            "events": [{"at": "5s", "rollout": {}, "repeat": {"every": "5s", "times": 3}}],
            "objectives": [{"failed": 0, "during": ["ramp-1"]}],
        })
    }

    fn set(scenario: &mut Value, path: &str, value: Value) {
        let mut at = scenario;
        for part in path.split('.') {
            at = match part.parse::<usize>() {
                Ok(index) => &mut at[index],
                Err(_) => &mut at[part],
            };
        }
        *at = value;
    }

    #[test]
    fn a_sound_scenario_has_no_problems() {
        let scenario: Scenario = serde_json::from_value(scenario()).expect("reads");
        assert_eq!(problems(&scenario), []);
        assert_eq!(phase_names(&scenario.traffic), ["hold-1", "ramp-1"]);
    }

    #[test]
    fn each_contradiction_is_named_by_its_key() {
        let probe = |inner: Value| json!({"readinessProbe": inner});
        let rows: [(&str, Value, &str); 27] = [
            ("name", json!("../up"), "name"),
            ("name", json!(""), "name"),
            ("target", json!({"command": ["a"], "service": {}}), "target.command"),
            ("target", json!({"command": []}), "target.command"),
            ("target", json!({"command": ["a"], "misbehave": ["cold-start"]}), "target.misbehave"),
            ("target", json!({"env": [{"name": "A=B"}]}), "target.env[0]"),
            ("target", json!({"deployment": {"replicas": 1001}}), "target.deployment.replicas"),
            (
                "target",
                json!({"deployment": {"strategy": {"type": "Recreate", "rollingUpdate": {}}}}),
                "target.deployment.strategy.rollingUpdate",
            ),
            (
                "target",
                json!({"deployment": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}),
                "target.deployment.strategy.rollingUpdate",
            ),
            (
                "target",
                json!({"deployment": {"template": probe(json!({}))}}),
                "target.deployment.template.readinessProbe",
            ),
            (
                "target",
                json!({"deployment": {"template": probe(json!({"httpGet": {}, "periodSeconds": 0}))}}),
                "target.deployment.template.readinessProbe.periodSeconds",
            ),
            (
                "target",
                json!({"deployment": {"template": {"lifecycle": {"preStop": {}}}}}),
                "target.deployment.template.lifecycle.preStop",
            ),
            (
                "target",
                json!({"deployment": {"template": {"livenessProbe": {"tcpSocket": {}, "successThreshold": 2}}}}),
                "target.deployment.template.livenessProbe.successThreshold",
            ),
            ("path", json!({"proxyWorkers": 0}), "path.proxyWorkers"),
            ("traffic.phases", json!([]), "traffic.phases"),
            ("traffic.phases.0", json!({"hold": "50/s"}), "traffic.phases[0]"),
            ("traffic.phases.0", json!({"hold": "50/s", "for": "0s"}), "traffic.phases[0].for"),
            ("traffic.phases.0", json!({"hold": "50/s", "for": "200h"}), "traffic.phases"),
            ("traffic.phases.0", json!({"hold": "10000000/s", "for": "1h"}), "traffic.phases"),
            ("traffic.phases.1.name", json!("hold-1"), "traffic.phases[1].name"),
            ("traffic.requests", json!([{"get": "/", "post": "/"}]), "traffic.requests[0]"),
            ("traffic.requests", json!([{"get": "work"}]), "traffic.requests[0]"),
            (
                "traffic.requests",
                json!([{"get": "/", "headers": [{"name": "Host", "value": "x"}]}]),
                "traffic.requests[0].headers[0].name",
            ),
            (
                "traffic.requests",
                json!([{"get": "/", "headers": [{"name": "a", "value": "x\r\ny: z"}]}]),
                "traffic.requests[0].headers[0].value",
            ),
            ("events.0", json!({"at": "1s"}), "events[0]"),
            ("events.0.at", json!("26s"), "events[0].at"),
            ("objectives.0.during", json!(["hold-9"]), "objectives[0].during"),
        ];
        for (path, value, expected) in rows {
            let mut changed = scenario();
            set(&mut changed, path, value.clone());
            let parsed: Scenario = serde_json::from_value(changed).expect("reads");
            let found = problems(&parsed);
            let paths: Vec<&str> = found.iter().map(|problem| problem.path.as_str()).collect();
            assert!(paths.contains(&expected), "{path} = {value}: {found:?}");
        }
    }
}
