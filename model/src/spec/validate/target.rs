//! The service or command.

use alloc::{collections::BTreeSet, format};

use super::{ENTRIES_MAX, Problems, check_name, deployment, is_authority};
use crate::{
    spec::{Deployment, EnvVar, Misbehaviour, Path, Scenario, Service, Target, WarmUp, Workload},
    units::Bytes,
};

/// The largest response body of the bundled service.
const RESPONSE_BYTES_MAX: Bytes = Bytes(64 << 20);
/// The most requests that the bundled service works on at once.
const WORKERS_MAX: u32 = 100_000;
/// The most requests that find a service which is not warm.
const WARM_UP_REQUESTS_MAX: u64 = 1_000_000_000;
/// The most times as long that they take.
const SLOWER_MAX: f64 = 1_000.0;
/// The longest argument and the longest value of a variable: Linux' `MAX_ARG_STRLEN`.
const ARGUMENT_BYTES_MAX: usize = 128 << 10;
/// The variables through which the command learns its address.
const OWN_VARIABLES: [&str; 2] = ["PORT", "HOST"];

pub(super) fn check(found: &mut Problems, target: &Target) {
    if let Some(workload) = &target.workload {
        return check_workload(found, target, workload);
    }
    if target.url.is_some() {
        // See `check_url`.
        return;
    }
    match (&target.service, &target.command) {
        (Some(_), Some(_)) => {
            found.add("target.command", "stands beside `service`; a target is one or the other")
        }
        (Some(service), None) => check_service(found, "target.service", service),
        (None, Some(command)) => check_command(found, "target.command", command),
        (None, None) => {}
    }
    if !target.env.is_empty() && target.command.is_none() {
        found.add("target.env", "goes with `command`; the bundled service reads no variable");
    }
    check_env(found, "target.env", &target.env);
    deployment::check(found, target);
    check_misbehave(found, "target.misbehave", target, &target.misbehave);
}

/// A URL is a server and nothing else: what needs a deployment does not go with it.
pub(super) fn check_url(found: &mut Problems, scenario: &Scenario) {
    let target = &scenario.target;
    let Some(url) = &target.url else { return };
    let rest = url.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    if url.starts_with("https://") {
        found.add("target.url", "is HTTPS, which the load engine does not speak; give an http URL");
    } else if !rest.is_some_and(is_authority) {
        found.add("target.url", "must be http://HOST or http://HOST:PORT; paths go to `requests`");
    }
    let host = scenario.path.host.clone();
    let path = Path { host, ..Path::default() };
    for (key, is_given) in [
        ("target.service", target.service.is_some()),
        ("target.command", target.command.is_some()),
        ("target.workload", target.workload.is_some()),
        ("target.env", !target.env.is_empty()),
        ("target.misbehave", !target.misbehave.is_empty()),
        ("target.deployment", target.deployment != Deployment::default()),
        ("target.podDisruptionBudget", target.pod_disruption_budget.is_some()),
        ("path", scenario.path != path),
        ("autoscaler", scenario.autoscaler.is_some()),
        ("events", !scenario.events.is_empty()),
    ] {
        if is_given {
            found.add(key, "does not go with `target.url`, behind which no deployment is known");
        }
    }
}

pub(super) fn check_service(found: &mut Problems, path: &str, service: &Service) {
    found.check_span(format!("{path}.cpu"), service.cpu);
    found.check_distribution(&format!("{path}.latency"), &service.latency);
    if service.body > RESPONSE_BYTES_MAX {
        found.add(format!("{path}.body"), format!("must be {RESPONSE_BYTES_MAX} at most"));
    }
    found.check_span(format!("{path}.startup"), service.startup);
    found.check_span(format!("{path}.drain.delay"), service.drain.delay);
    found.check_span_above_zero(format!("{path}.drain.deadline"), service.drain.deadline);
    if service.drain.deadline < service.drain.delay {
        found.add(
            format!("{path}.drain.deadline"),
            format!(
                "{} is over before the delay of {} is; both count from SIGTERM",
                service.drain.deadline, service.drain.delay
            ),
        );
    }
    if let Some(idle) = service.idle_timeout {
        found.check_span_above_zero(format!("{path}.idleTimeout"), idle);
    }
    if let Some(workers) = service.workers {
        found.check_within(format!("{path}.workers"), workers, 1, WORKERS_MAX);
    }
    if let Some(queue) = &service.queue {
        if service.workers.is_none() {
            found.add(format!("{path}.queue"), "goes with `workers`; without them nothing waits");
        }
        found.check_within(format!("{path}.queue.length"), queue.length, 0, WORKERS_MAX);
    }
    if let Some(warm_up) = &service.warm_up {
        check_warm_up(found, &format!("{path}.warmUp"), warm_up);
    }
    found.check_entries(&format!("{path}.dependencies"), service.dependencies.len());
    let mut seen = BTreeSet::new();
    for (index, dependency) in service.dependencies.iter().enumerate() {
        let path = &format!("{path}.dependencies[{index}]");
        check_name(found, &format!("{path}.name"), &dependency.name);
        if !seen.insert(&dependency.name) {
            found.add(
                format!("{path}.name"),
                format!("another dependency is called `{}` too", dependency.name),
            );
        }
        found.check_span(format!("{path}.close"), dependency.close);
    }
}

fn check_warm_up(found: &mut Problems, path: &str, warm_up: &WarmUp) {
    if warm_up.for_.is_some() == warm_up.requests.is_some() {
        found.add(path, "needs exactly one of `for` and `requests`");
    }
    if let Some(span) = warm_up.for_ {
        found.check_span_above_zero(format!("{path}.for"), span);
    }
    if warm_up.requests.is_some_and(|requests| !(1..=WARM_UP_REQUESTS_MAX).contains(&requests)) {
        let message = format!("must lie between 1 and {WARM_UP_REQUESTS_MAX}");
        found.add(format!("{path}.requests"), message);
    }
    if !(1.0..=SLOWER_MAX).contains(&warm_up.factor) {
        found.add(format!("{path}.factor"), format!("must lie between 1 and {SLOWER_MAX}"));
    }
}

/// A program and its arguments, as the operating system takes them.
pub(super) fn check_command(found: &mut Problems, path: &str, command: &[alloc::string::String]) {
    if command.first().is_none_or(|program| program.trim().is_empty()) {
        found.add(
            path,
            "is empty; give a program and its arguments: [./server, --port, \"{port}\"]",
        );
    }
    found.check_entries(path, command.len());
    for (index, argument) in command.iter().enumerate().take(ENTRIES_MAX) {
        if argument.contains('\0') || argument.len() > ARGUMENT_BYTES_MAX {
            found.add(
                format!("{path}[{index}]"),
                format!("has a zero byte or is longer than {ARGUMENT_BYTES_MAX} bytes"),
            );
        }
    }
}

/// A workload is what it is: the blocks that describe a target of ours do not go with it.
fn check_workload(found: &mut Problems, target: &Target, workload: &Workload) {
    for (path, name) in [
        ("target.workload.namespace", Some(&workload.namespace)),
        ("target.workload.deployment", Some(&workload.deployment)),
        ("target.workload.service", workload.service.as_ref()),
        ("target.workload.container", workload.container.as_ref()),
    ] {
        if name.is_some_and(|name| !is_dns_subdomain(name)) {
            found.add(path, "is no name of a Kubernetes object");
        }
    }
    for (key, is_given) in [
        ("target.service", target.service.is_some()),
        ("target.command", target.command.is_some()),
        ("target.env", !target.env.is_empty()),
        ("target.misbehave", !target.misbehave.is_empty()),
        ("target.podDisruptionBudget", target.pod_disruption_budget.is_some()),
        ("target.deployment", target.deployment != Deployment::default()),
    ] {
        if is_given {
            found.add(key, "does not go with `workload`, which is taken as it is");
        }
    }
}

/// RFC 1123 subdomain: lower case letters, digits, dashes and dots.
///
/// *Source*: `apimachinery pkg/util/validation/validation.go`, `IsDNS1123Subdomain`.
fn is_dns_subdomain(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            label.starts_with(is_end)
                && label.ends_with(is_end)
                && label.chars().all(|c| is_end(c) || c == '-')
        })
}

/// Whether `image` may be the name of an image: what a registry and a shell line can carry.
pub(super) fn is_image(image: &str) -> bool {
    !image.is_empty()
        && image.len() <= 512
        && image.bytes().all(|b| b.is_ascii_alphanumeric() || b"./:@-_".contains(&b))
}

pub(super) fn check_env(found: &mut Problems, list: &str, env: &[EnvVar]) {
    found.check_entries(list, env.len());
    let mut seen = BTreeSet::new();
    for (index, variable) in env.iter().enumerate() {
        let path = format!("{list}[{index}]");
        let name = variable.name.as_str();
        let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || name.len() > ARGUMENT_BYTES_MAX
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !name.chars().all(is_legal)
        {
            found.add(
                format!("{path}.name"),
                "is no variable's name; use letters, digits and underscores",
            );
        } else if OWN_VARIABLES.contains(&name) {
            found
                .add(format!("{path}.name"), format!("`{name}` is set for each pod; leave it out"));
        } else if !seen.insert(name) {
            found.add(format!("{path}.name"), format!("`{name}` is set twice"));
        }
        if variable.value.contains('\0') || variable.value.len() > ARGUMENT_BYTES_MAX {
            found.add(
                format!("{path}.value"),
                format!("has a zero byte or is longer than {ARGUMENT_BYTES_MAX} bytes"),
            );
        }
    }
}

/// Wrong behaviours are the bundled service's, each once.
pub(super) fn check_misbehave(
    found: &mut Problems,
    path: &str,
    target: &Target,
    misbehave: &[Misbehaviour],
) {
    if target.command.is_some() && !misbehave.is_empty() {
        found.add(path, "goes with the bundled service; a command behaves as it does");
    }
    let mut seen = BTreeSet::new();
    for (index, wrong) in misbehave.iter().enumerate() {
        if !seen.insert(wrong) {
            found.add(format!("{path}[{index}]"), format!("`{wrong}` is named twice"));
        }
    }
}
