//! Relations between the fields of a scenario that its types cannot express, and the bounds of
//! everything that a run loops over, waits for or keeps in memory.
//!
//! 1. this file: the scenario itself, its path, events and objectives
//! 2. `traffic`: phases and requests
//! 3. `target`: the service or command
//! 4. `deployment`: strategy, probes, hooks, resources, as the API server validates them
//! 5. `autoscaler`: bounds, metrics, behaviour, likewise
//! 6. `metrics`: how metrics reach it
//! 7. `nodes`: those of a simulated cluster

mod autoscaler;
mod deployment;
mod l7;
mod metrics;
mod nodes;
mod target;
#[cfg(test)]
mod tests;
mod traffic;

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::fmt;

use super::{
    Autoscaler, Distribution, Path, PathKind, Rollout, Scenario, ScheduledEvent, ServiceType,
    Simulation,
};
use crate::time::Nanos;

pub use l7::{FAILS_MAX, RETRIES_MAX};
pub use traffic::{expected_requests, phase_names, total_length};

/// The longest traffic, and the longest of any single span: seven days.
pub const LENGTH_MAX: Nanos = Nanos::from_secs(7 * 24 * 3600);
/// The most requests that a run may owe. Above it, counts per second and kind no longer fit what
/// a record may hold.
pub const REQUESTS_MAX: f64 = 1e10;
/// The most replicas that a Deployment may have.
pub const REPLICAS_MAX: u32 = 1000;
/// The most clients or proxy workers; each holds a view of the endpoints of its own.
pub const CONSUMERS_MAX: u32 = 256;
/// The most connections that may be open at once; every one is a file descriptor.
pub const CONNECTIONS_MAX: u32 = 1_000_000;
/// The most times that all events together may happen, repeats included.
pub const OCCURRENCES_MAX: u64 = 10_000;
/// The most entries of any list: phases, events, objectives, requests, arguments.
pub const ENTRIES_MAX: usize = 1000;
/// The longest name, as of a Kubernetes object's label.
pub const NAME_CHARS_MAX: usize = 63;
/// The longest text that describes something.
pub const DESCRIPTION_CHARS_MAX: usize = 2000;

/// The most generator pods; each has a connection of its own to the harness.
pub const GENERATORS_MAX: u32 = 64;
/// The most threads of the load engine.
pub const THREADS_MAX: u32 = 64;
/// The longest `path.url` and `target.url`.
pub const URL_CHARS_MAX: usize = 300;

/// Something that is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key that it is about, as `traffic.phases[1].for`; empty for the scenario as a whole.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// Everything that is wrong with `scenario`, in the order of its keys; empty if it can be run.
pub fn problems(scenario: &Scenario) -> Vec<Problem> {
    let mut found = Problems::default();
    check_name(&mut found, "name", &scenario.name);
    if scenario.description.chars().count() > DESCRIPTION_CHARS_MAX {
        found.add("description", format!("is longer than {DESCRIPTION_CHARS_MAX} characters"));
    }
    target::check(&mut found, &scenario.target);
    target::check_url(&mut found, scenario);
    check_path(&mut found, &scenario.path);
    autoscaler::check(&mut found, scenario);
    metrics::check(&mut found, scenario);
    check_simulation(&mut found, &scenario.simulation);
    nodes::check(&mut found, scenario);
    traffic::check(&mut found, &scenario.traffic);
    check_events(&mut found, scenario);
    check_objectives(&mut found, scenario);
    found.0
}

/// Everything that is wrong with an autoscaler on its own, as the API server sees it; the keys begin
/// with `path`.
pub fn autoscaler_problems(autoscaler: &Autoscaler, path: &str) -> Vec<Problem> {
    let mut found = Problems::default();
    autoscaler::check_manifest(&mut found, path, autoscaler);
    found.0
}

/// The most processors of a simulated node.
const CORES_MAX: u32 = 1_024;
/// The slowest simulated network; a ping around the world is a third of it.
const NETWORK_MAX: Nanos = Nanos::from_secs(1);

fn check_simulation(found: &mut Problems, simulation: &Simulation) {
    found.check_within("simulation.cores", simulation.cores, 1, CORES_MAX);
    if simulation.network > NETWORK_MAX {
        found.add("simulation.network", format!("must be {NETWORK_MAX} at most"));
    }
    found.check_distribution("simulation.processStart", &simulation.process_start);
    found.check_distribution("simulation.overhead", &simulation.overhead);
}

/// The problems found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    /// `span` must lie above zero and within [`LENGTH_MAX`].
    fn check_span_above_zero(&mut self, path: impl Into<String>, span: Nanos) {
        if span == Nanos::ZERO {
            self.add(path, "must be above zero");
        } else {
            self.check_span(path, span);
        }
    }

    /// `span` must lie within [`LENGTH_MAX`].
    fn check_span(&mut self, path: impl Into<String>, span: Nanos) {
        if span > LENGTH_MAX {
            self.add(path, format!("must be {LENGTH_MAX} at most"));
        }
    }

    /// `number` must lie within both bounds, included.
    fn check_within(&mut self, path: impl Into<String>, number: u32, low: u32, high: u32) {
        if !(low..=high).contains(&number) {
            self.add(path, format!("must lie between {low} and {high}"));
        }
    }

    /// `entries` must be [`ENTRIES_MAX`] at most.
    fn check_entries(&mut self, path: &str, entries: usize) {
        if entries > ENTRIES_MAX {
            self.add(path, format!("has {entries} entries; {ENTRIES_MAX} is the most"));
        }
    }

    /// A distribution's numbers must make one, and its longest common draws must be bounded.
    fn check_distribution(&mut self, path: &str, distribution: &Distribution) {
        if let Some(problem) = distribution.problem() {
            self.add(path, problem);
        } else if let Distribution::File(_) = distribution {
            self.add(path, "is in a file; only that of target.service.latency may be");
        } else if distribution.quantile(0.999) > LENGTH_MAX {
            self.add(path, format!("gives spans above {LENGTH_MAX}"));
        }
    }
}

/// A name that is part of file names and of comma-separated lists.
fn check_name(found: &mut Problems, path: &str, name: &str) {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() {
        found.add(path, "is empty; give a short name such as rolling-update");
    } else if name.len() > NAME_CHARS_MAX {
        found.add(path, format!("is longer than {NAME_CHARS_MAX} characters"));
    } else if !name.chars().all(is_legal) || name.starts_with('-') || name.ends_with('-') {
        found.add(
            path,
            format!("`{name}` has other characters than letters, digits and dashes in between"),
        );
    }
}

fn check_path(found: &mut Problems, path: &Path) {
    found.check_within("path.clients", path.clients, 1, CONSUMERS_MAX);
    found.check_within("path.proxyWorkers", path.proxy_workers, 1, CONSUMERS_MAX);
    found.check_distribution("path.propagation", &path.propagation);
    found.check_span_above_zero("path.connectTimeout", path.connect_timeout);
    found.check_span_above_zero("path.responseTimeout", path.response_timeout);
    found.check_span_above_zero("path.idleTimeout", path.idle_timeout);
    l7::check(found, path);
    if path.host.as_ref().is_some_and(|host| !is_authority(host)) {
        found.add("path.host", "is no value of a Host header, such as shop.example.com");
    }
    let Some(url) = &path.url else { return };
    if path.kind != PathKind::L7 || path.service_type != ServiceType::ClusterIp {
        found.add("path.url", "is an ingress of the user's: it goes with `kind: l7` alone");
    }
    let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    if !rest.is_some_and(is_authority) {
        found.add("path.url", "must be http://HOST or http://HOST:PORT; paths go to `requests`");
    }
}

/// A host, with or without a port.
fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= URL_CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
}

fn check_events(found: &mut Problems, scenario: &Scenario) {
    found.check_entries("events", scenario.events.len());
    let mut occurrences: u64 = 0;
    for (index, event) in scenario.events.iter().enumerate() {
        let path = format!("events[{index}]");
        let times = event.repeat.as_ref().map_or(1, |repeat| repeat.times);
        occurrences = occurrences.saturating_add(u64::from(times));
        check_event(found, &path, event, total_length(&scenario.traffic));
        if let Some(scale) = &event.scale
            && scale.replicas > REPLICAS_MAX
        {
            found.add(format!("{path}.scale.replicas"), format!("must be {REPLICAS_MAX} at most"));
        }
        if let Some(misbehave) = event.rollout.as_ref().and_then(|r| r.misbehave.as_ref()) {
            let path = format!("{path}.rollout.misbehave");
            if scenario.target.workload.is_some() {
                // Even an empty list would replace the container's arguments by ours.
                found.add(path.as_str(), "goes with the bundled service; a workload is its own");
            }
            target::check_misbehave(found, &path, &scenario.target, misbehave);
        }
        if let Some(rollout) = &event.rollout {
            target::check_env(found, &format!("{path}.rollout.env"), &rollout.env);
            check_version(found, &format!("{path}.rollout"), scenario, rollout);
            if rollout.image.as_ref().is_some_and(|image| !target::is_image(image)) {
                found.add(format!("{path}.rollout.image"), "is no name of an image");
            }
        }
        if let Some(patch) = &event.patch_autoscaler {
            autoscaler::check_patch(found, &format!("{path}.patchAutoscaler"), scenario, patch);
        }
        if let Some(outage) = &event.metrics_outage {
            found.check_span_above_zero(format!("{path}.metricsOutage.for"), outage.for_);
        }
        if let Some(freeze) = &event.freeze {
            found.check_span_above_zero(format!("{path}.freeze.for"), freeze.for_);
        }
        if let Some(outage) = &event.dependency_outage {
            found.check_span_above_zero(format!("{path}.dependencyOutage.for"), outage.for_);
            let dependencies = scenario.target.service.iter().flat_map(|one| &one.dependencies);
            if !dependencies.into_iter().any(|known| known.name == outage.name) {
                found.add(
                    format!("{path}.dependencyOutage.name"),
                    format!("`{}` is not among target.service.dependencies", outage.name),
                );
            }
        }
        if let Some(span) = event.drain_node.as_ref().and_then(|drain| drain.for_) {
            found.check_span_above_zero(format!("{path}.drainNode.for"), span);
        }
    }
    if occurrences > OCCURRENCES_MAX {
        found.add(
            "events",
            format!("happen {occurrences} times in all; {OCCURRENCES_MAX} is the most"),
        );
    }
}

/// What a new revision runs.
fn check_version(found: &mut Problems, path: &str, scenario: &Scenario, rollout: &Rollout) {
    let (target, is_command) = (&scenario.target, scenario.target.command.is_some());
    if let Some(service) = &rollout.service {
        if is_command || target.workload.is_some() {
            found.add(format!("{path}.service"), "goes with the bundled service");
        }
        target::check_service(found, &format!("{path}.service"), service);
    }
    if let Some(command) = &rollout.command {
        if !is_command {
            found.add(format!("{path}.command"), "goes with target.command");
        }
        target::check_command(found, &format!("{path}.command"), command);
    }
}

fn check_event(found: &mut Problems, path: &str, event: &ScheduledEvent, length: Nanos) {
    if event.action().is_none() {
        found.add(
            path,
            "needs exactly one of rollout, scale, delete, kill, evict, freeze, drainNode, \
             patchAutoscaler, metricsOutage and dependencyOutage, such as `rollout: {}`",
        );
    }
    if event.at >= length {
        found.add(
            format!("{path}.at"),
            format!("{} is not within the traffic, which ends at {length}", event.at),
        );
    }
    let Some(repeat) = &event.repeat else { return };
    if repeat.times == 0 {
        found.add(format!("{path}.repeat.times"), "must be at least 1; the first time counts");
    }
    if repeat.every == Nanos::ZERO {
        found.add(format!("{path}.repeat.every"), "must be above zero");
    }
    let again = u64::from(repeat.times.saturating_sub(1));
    let last = Nanos(repeat.every.0.saturating_mul(again)) + event.at;
    if event.at < length && last >= length {
        found.add(
            format!("{path}.repeat"),
            format!(
                "the last time is {last}, which is not within the traffic; it ends at {length}"
            ),
        );
    }
}

fn check_objectives(found: &mut Problems, scenario: &Scenario) {
    found.check_entries("objectives", scenario.objectives.len());
    found.check_entries("gates", scenario.gates.len());
    let names = phase_names(&scenario.traffic);
    for (index, objective) in scenario.objectives.iter().enumerate() {
        check_during(found, &format!("objectives[{index}]"), &objective.during, &names);
    }
    for (index, gate) in scenario.gates.iter().enumerate() {
        check_during(found, &format!("gates[{index}]"), &gate.during, &names);
    }
}

fn check_during(found: &mut Problems, of: &str, during: &[String], names: &[String]) {
    let mut seen = BTreeSet::new();
    for (place, name) in during.iter().enumerate() {
        let path = format!("{of}.during[{place}]");
        if !names.contains(name) {
            found.add(
                path,
                format!("no phase is called `{name}`; the phases are {}", names.join(", ")),
            );
        } else if !seen.insert(name) {
            found.add(path, format!("`{name}` is named twice"));
        }
    }
}
