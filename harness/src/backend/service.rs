//! The bundled service's command line, the same on every backend that runs it.

use highwater_model::{
    spec::{Distribution, Misbehaviour, OnCancel, Path, Scenario, Service},
    time::Nanos,
};

/// The wrong behaviours of all revisions of a scenario.
pub(super) fn misbehaviours(scenario: &Scenario) -> impl Iterator<Item = &Misbehaviour> {
    let revisions =
        scenario.events.iter().filter_map(|event| event.rollout.as_ref()?.misbehave.as_ref());
    std::iter::once(&scenario.target.misbehave).chain(revisions).flatten()
}

/// The arguments of `highwater` that make it the bundled service: `target-service --cpu ...`.
pub(super) fn arguments(service: &Service, misbehave: &[Misbehaviour], seed: u64) -> Vec<String> {
    let mut args = vec!["target-service".into()];
    let mut flag = |name: &str, value: String| args.extend([format!("--{name}"), value]);
    flag("cpu", span(service.cpu));
    flag("latency", distribution(&service.latency));
    flag("body", service.body.0.to_string());
    flag("startup", span(service.startup));
    flag("drain-delay", span(service.drain.delay));
    flag("drain-deadline", span(service.drain.deadline));
    flag("seed", seed.to_string());
    if let Some(workers) = service.workers {
        flag("workers", workers.to_string());
    }
    if let Some(queue) = service.queue {
        flag("queue", queue.length.to_string());
        flag("when-full", name(&queue.full));
    }
    if let Some(warm_up) = service.warm_up {
        if let Some(lasts) = warm_up.for_ {
            flag("warm-up-for", span(lasts));
        }
        if let Some(requests) = warm_up.requests {
            flag("warm-up-requests", requests.to_string());
        }
        flag("warm-up-factor", warm_up.factor.to_string());
    }
    if service.on_cancel != OnCancel::default() {
        flag("on-cancel", name(&service.on_cancel));
    }
    if let Some(idle) = service.idle_timeout {
        flag("idle-timeout", span(idle));
    }
    for dependency in &service.dependencies {
        flag("dependency", format!("{}={}", dependency.name, span(dependency.close)));
    }
    if !misbehave.is_empty() {
        let names: Vec<&str> = misbehave.iter().map(|how| how.name()).collect();
        flag("misbehave", names.join(","));
    }
    args
}

/// The arguments of `highwater proxy` that say how it treats the pods.
pub(super) fn proxy_arguments(path: &Path, seed: u64) -> Vec<String> {
    let mut values = vec![
        ("--connect-timeout", path.connect_timeout.to_string()),
        ("--response-timeout", path.response_timeout.to_string()),
        ("--idle-timeout", path.idle_timeout.to_string()),
        ("--keep-alive", path.keep_alive.to_string()),
        ("--retry", name(&path.retry)),
        ("--retries", path.retries.to_string()),
        ("--balance", name(&path.balancing)),
        ("--balance-seed", seed.to_string()),
    ];
    if let Some(health) = &path.passive_health {
        values.push(("--max-fails", health.max_fails.to_string()));
        values.push(("--fail-timeout", health.fail_timeout.to_string()));
    }
    if let Some(most) = path.max_requests_per_connection {
        values.push(("--max-requests-per-connection", most.to_string()));
    }
    values.into_iter().flat_map(|(name, value)| [name.to_string(), value]).collect()
}

/// The name of a variant, as a scenario has it.
fn name(variant: &impl serde::Serialize) -> String {
    let name = serde_json::to_value(variant).ok();
    let name = name.as_ref().and_then(serde_json::Value::as_str);
    name.expect("a variant without fields is its name").to_owned()
}

fn span(span: Nanos) -> String {
    span.to_string()
}

fn distribution(distribution: &Distribution) -> String {
    match distribution {
        Distribution::Fixed(fixed) => span(*fixed),
        Distribution::Uniform(low, high) => format!("uniform:{low}:{high}"),
        Distribution::Exponential { mean } => format!("exponential:{mean}"),
        Distribution::Lognormal { median, p99 } => format!("lognormal:{median}:{p99}"),
        Distribution::Values(values) => {
            values.iter().fold(String::from("values"), |text, value| format!("{text}:{value}"))
        }
        Distribution::Quantiles(quantiles) => {
            let mut text = String::from("quantiles");
            for (share, value) in quantiles.iter() {
                text += &format!(":{share}={value}");
            }
            text
        }
        // The scenario was read with all of its files.
        Distribution::File(_) => span(Nanos::ZERO),
    }
}
