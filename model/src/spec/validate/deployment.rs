//! Strategy, probes, hooks and resources, as the API server validates them.
//!
//! *Source*: `pkg/apis/apps/validation/validation.go`, `pkg/apis/core/validation/validation.go`.

use alloc::{format, string::String};

use super::{LENGTH_MAX, Problems, REPLICAS_MAX, target::check_command, traffic::check_header};
use crate::{
    event::Signal,
    spec::{
        Deployment, HttpGetAction, LifecycleHandler, PodTemplate, Port, Probe, Resources, Strategy,
        StrategyType, Target,
    },
    time::SECOND,
    units::IntOrPercent,
};

/// [`LENGTH_MAX`] in seconds.
const SECONDS_MAX: u32 = (LENGTH_MAX.0 / SECOND) as u32;
/// The most passes or failures in a row that a probe may ask for.
const THRESHOLD_MAX: u32 = 100_000;

pub(super) fn check(found: &mut Problems, target: &Target) {
    let (path, deployment) = ("target.deployment", &target.deployment);
    check_counts(found, path, deployment);
    check_strategy(found, &format!("{path}.strategy"), &deployment.strategy);
    check_template(found, &format!("{path}.template"), target, &deployment.template);
}

fn check_counts(found: &mut Problems, path: &str, deployment: &Deployment) {
    found.check_within(format!("{path}.replicas"), deployment.replicas, 0, REPLICAS_MAX);
    let (ready, progress) = (deployment.min_ready_seconds, deployment.progress_deadline_seconds);
    found.check_within(format!("{path}.minReadySeconds"), ready, 0, SECONDS_MAX);
    if progress <= ready {
        found.add(
            format!("{path}.progressDeadlineSeconds"),
            format!("must be above minReadySeconds, which is {ready}"),
        );
    }
}

fn check_strategy(found: &mut Problems, path: &str, strategy: &Strategy) {
    let Some(update) = &strategy.rolling_update else {
        return;
    };
    let path = format!("{path}.rollingUpdate");
    if strategy.kind == StrategyType::Recreate {
        found.add(path.as_str(), "goes with `type: RollingUpdate`, not with Recreate");
    }
    let is_zero = |bound| matches!(bound, IntOrPercent::Int(0) | IntOrPercent::Percent(0));
    if is_zero(update.max_surge) && is_zero(update.max_unavailable) {
        found.add(
            path.as_str(),
            "maxSurge and maxUnavailable are both 0, so no pod could be replaced",
        );
    }
    if matches!(update.max_unavailable, IntOrPercent::Percent(percent) if percent > 100) {
        found.add(format!("{path}.maxUnavailable"), "must be 100% at most");
    }
    if update.max_surge.resolve_up(REPLICAS_MAX) > REPLICAS_MAX {
        found.add(format!("{path}.maxSurge"), format!("must be {REPLICAS_MAX} or 100% at most"));
    }
}

fn check_template(found: &mut Problems, path: &str, target: &Target, template: &PodTemplate) {
    let grace = template.termination_grace_period_seconds;
    found.check_within(format!("{path}.terminationGracePeriodSeconds"), grace, 0, SECONDS_MAX);
    let stop_signal = template.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal);
    let wrong = match stop_signal {
        Some(Signal::Sigkill) => Some(
            "SIGKILL leaves the target no moment to end in; set the grace period to 0 for that",
        ),
        Some(Signal::Sigstop | Signal::Sigcont) => {
            Some("it ends nobody; a `freeze` event stops a pod for a while")
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        found.add(format!("{path}.lifecycle.stopSignal"), wrong);
    }
    if let Some(hook) = template.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) {
        check_hook(found, &format!("{path}.lifecycle.preStop"), target, hook, grace);
    }
    for (name, probe) in [
        ("startupProbe", &template.startup_probe),
        ("readinessProbe", &template.readiness_probe),
        ("livenessProbe", &template.liveness_probe),
    ] {
        if let Some(probe) = probe {
            check_probe(found, &format!("{path}.{name}"), target, probe);
            check_probe_role(found, &format!("{path}.{name}"), name == "readinessProbe", probe);
        }
    }
    check_resources(found, &format!("{path}.resources"), &template.resources);
}

fn check_hook(
    found: &mut Problems,
    path: &str,
    target: &Target,
    hook: &LifecycleHandler,
    grace: u32,
) {
    let given = [hook.sleep.is_some(), hook.exec.is_some(), hook.http_get.is_some()];
    check_one_action(found, path, &given, "sleep, exec and httpGet");
    if let Some(sleep) = &hook.sleep
        && sleep.seconds > grace
    {
        found.add(
            format!("{path}.sleep.seconds"),
            format!("must not be above terminationGracePeriodSeconds, which is {grace}"),
        );
    }
    if let Some(exec) = &hook.exec {
        check_command(found, &format!("{path}.exec.command"), &exec.command);
    }
    if let Some(get) = &hook.http_get {
        check_http_get(found, &format!("{path}.httpGet"), target, get);
    }
}

fn check_one_action(found: &mut Problems, path: &str, given: &[bool], known: &str) {
    if given.iter().filter(|given| **given).count() != 1 {
        found.add(path, format!("needs exactly one of {known}"));
    }
}

fn check_probe(found: &mut Problems, path: &str, target: &Target, probe: &Probe) {
    let given = [probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.exec.is_some()];
    check_one_action(found, path, &given, "httpGet, tcpSocket and exec");
    if let Some(get) = &probe.http_get {
        check_http_get(found, &format!("{path}.httpGet"), target, get);
    }
    if let Some(port) = probe.tcp_socket.as_ref().and_then(|socket| socket.port.as_ref()) {
        check_port(found, format!("{path}.tcpSocket.port"), target, port);
    }
    if let Some(exec) = &probe.exec {
        check_command(found, &format!("{path}.exec.command"), &exec.command);
    }
    for (key, number, low, high) in [
        ("initialDelaySeconds", probe.initial_delay_seconds, 0, SECONDS_MAX),
        ("periodSeconds", probe.period_seconds, 1, SECONDS_MAX),
        ("timeoutSeconds", probe.timeout_seconds, 1, SECONDS_MAX),
        ("successThreshold", probe.success_threshold, 1, THRESHOLD_MAX),
        ("failureThreshold", probe.failure_threshold, 1, THRESHOLD_MAX),
    ] {
        found.check_within(format!("{path}.{key}"), number, low, high);
    }
}

/// What only a readiness probe may have, and what it may not have.
fn check_probe_role(found: &mut Problems, path: &str, is_readiness: bool, probe: &Probe) {
    if !is_readiness && probe.success_threshold > 1 {
        found.add(
            format!("{path}.successThreshold"),
            "must be 1; only readiness probes may ask for more",
        );
    }
    let key = || format!("{path}.terminationGracePeriodSeconds");
    match probe.termination_grace_period_seconds {
        Some(_) if is_readiness => {
            found.add(key(), "does not go with a readiness probe, which ends no container");
        }
        Some(grace) => found.check_within(key(), grace, 1, SECONDS_MAX),
        None => {}
    }
}

fn check_http_get(found: &mut Problems, path: &str, target: &Target, get: &HttpGetAction) {
    if !get.path.starts_with('/') {
        found.add(format!("{path}.path"), format!("`{}` must begin with `/`", get.path));
    } else if !get.path.bytes().all(|byte| byte.is_ascii_graphic()) {
        found.add(format!("{path}.path"), "has a space or a character that is not ASCII");
    }
    if let Some(port) = &get.port {
        check_port(found, format!("{path}.port"), target, port);
    }
    if let Some(scheme) = &get.scheme
        && !["HTTP", "HTTPS"].contains(&scheme.as_str())
    {
        found.add(format!("{path}.scheme"), format!("`{scheme}` must be HTTP or HTTPS"));
    }
    found.check_entries(&format!("{path}.httpHeaders"), get.http_headers.len());
    for (index, header) in get.http_headers.iter().enumerate() {
        let path = format!("{path}.httpHeaders[{index}]");
        check_header(found, &path, &header.name, &header.value);
    }
}

fn check_port(found: &mut Problems, path: String, target: &Target, port: &Port) {
    match port {
        Port::Number(0) => found.add(path, "must lie between 1 and 65535"),
        Port::Number(_) => {}
        Port::Name(name) if name == "http" => {}
        Port::Name(name) if name == "health" && target.command.is_none() => {}
        Port::Name(name) if target.command.is_some() => {
            found.add(path, format!("no port is called `{name}`; a command has `http` only"));
        }
        Port::Name(name) => {
            found.add(path, format!("no port is called `{name}`; there are `http` and `health`"));
        }
    }
}

fn check_resources(found: &mut Problems, path: &str, resources: &Resources) {
    let (requests, limits) = (&resources.requests, &resources.limits);
    if let (Some(request), Some(limit)) = (requests.cpu, limits.cpu)
        && request > limit
    {
        found.add(format!("{path}.requests.cpu"), format!("must not be above the limit, {limit}"));
    }
    if let (Some(request), Some(limit)) = (requests.memory, limits.memory)
        && request > limit
    {
        found.add(
            format!("{path}.requests.memory"),
            format!("must not be above the limit, {limit}"),
        );
    }
}
