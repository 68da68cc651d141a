//! Readiness, liveness, start-up.

use k8s_openapi::api::core::v1::{Container, Probe};

use super::super::{
    draft::{Draft, number, seconds, shown},
    finding::Level,
    patch::{Patch, Spot},
    table,
    world::{ContainerExt as _, Workload, World},
};

/// A probe's times in seconds. *Source* of defaults: `api/core/v1/types.go`.
#[derive(Clone, Copy, Debug)]
struct Timing {
    delay: f64,
    period: f64,
    timeout: f64,
    failures: f64,
}

impl Timing {
    fn of(probe: &Probe) -> Self {
        let or = |given: Option<i32>, default: i32| {
            f64::from(given.filter(|given| *given > 0).unwrap_or(default))
        };
        Self {
            delay: or(probe.initial_delay_seconds, 0),
            period: or(probe.period_seconds, 10),
            timeout: or(probe.timeout_seconds, 1),
            failures: or(probe.failure_threshold, 3),
        }
    }

    /// From the first probe that is not answered to the last that is needed for a failure.
    fn gives_up_after(self) -> f64 {
        (self.failures - 1.0) * self.period + self.timeout
    }

    /// How long a start may take before this probe fails for good.
    fn allows_start(self) -> f64 {
        self.delay + self.gives_up_after()
    }
}

pub(super) fn check<'a>(world: &'a World, workload: &'a Workload) -> Vec<Draft<'a>> {
    let mut found = Vec::new();
    if !world.is_served(workload) {
        return found;
    }
    for (index, container) in world.serving(workload) {
        let path = format!("spec.template.spec.containers[{index}]");
        found.extend(no_readiness(world, workload, container, &path));
        let same = same_question(workload, container, &path);
        if same.is_none() {
            found.extend(tight_liveness(workload, container, &path));
        }
        found.extend(same);
        found.extend(before_start(workload, container, &path));
        found.extend(no_warm_up(world, workload, container, &path));
    }
    found
}

fn named(container: &Container) -> String {
    format!("container `{}`", shown(&container.name))
}

fn no_readiness<'a>(
    world: &World,
    workload: &'a Workload,
    container: &'a Container,
    path: &str,
) -> Option<Draft<'a>> {
    // Until a startup probe has passed, the container is not ready either.
    if container.readiness_probe.is_some() || container.startup_probe.is_some() {
        return None;
    }
    let message = format!("{} is served and has no readiness probe", named(container));
    let draft = Draft::new(
        &table::NO_READINESS_PROBE,
        &workload.subject,
        format!("{path}.readinessProbe"),
        message,
    );
    let known = &workload.known;
    let draft = match (known.rate, known.startup) {
        (Some(rate), Some(startup)) => {
            let lost = rate / f64::from(world.replicas(workload).0.max(1)) * startup;
            draft.figure("lost_requests_per_pod", lost).then(format!(
                "about {} requests are refused for each pod that starts: it is ready at once and \
                 listens after {}",
                number(lost),
                seconds(startup)
            ))
        }
        _ => draft.then(
            "each new pod gets its share of the traffic from its first moment, and loses all of \
             it until it listens; a rollout to a version that never answers goes through",
        ),
    };
    Some(match readiness_lines(container) {
        Some(lines) => draft.patch(&Patch {
            subject: &workload.subject,
            spot: Spot::Container(&container.name),
            lines,
        }),
        None => draft,
    })
}

/// A readiness probe for a container, from the first port that it names.
fn readiness_lines(container: &Container) -> Option<String> {
    let port = container.ports().first()?;
    let port = match &port.name {
        Some(name) => super::super::patch::quoted(name),
        None => port.container_port.to_string(),
    };
    Some(format!(
        "readinessProbe:\n  httpGet:\n    path: / # that answers once requests can be\n    port: \
         {port}\n  periodSeconds: 2"
    ))
}

/// Whether two probes ask the same; a mere connection is no question, and headers are none either.
fn asks_same(left: &Probe, right: &Probe) -> bool {
    let is_question = left.http_get.is_some() || left.exec.is_some() || left.grpc.is_some();
    let page = |probe: &Probe| {
        probe.http_get.as_ref().map(|get| (get.path.clone(), get.port.clone(), get.scheme.clone()))
    };
    is_question && page(left) == page(right) && left.exec == right.exec && left.grpc == right.grpc
}

fn same_question<'a>(
    workload: &'a Workload,
    container: &'a Container,
    path: &str,
) -> Option<Draft<'a>> {
    let (liveness, readiness) =
        (container.liveness_probe.as_ref()?, container.readiness_probe.as_ref()?);
    let (kills, unready) =
        (Timing::of(liveness).gives_up_after(), Timing::of(readiness).gives_up_after());
    if !asks_same(liveness, readiness) || kills > unready {
        return None;
    }
    let patience = (unready * 2.0).max(30.0);
    let period = Timing::of(liveness).period;
    let failures = (patience / period).ceil() + 1.0;
    let lines = format!("livenessProbe:\n  failureThreshold: {failures:.0}");
    let message = format!(
        "liveness and readiness of {} are the same probe, and liveness gives up no later",
        named(container)
    );
    Some(
        Draft::new(
            &table::LIVENESS_IS_READINESS,
            &workload.subject,
            format!("{path}.livenessProbe"),
            message,
        )
        .then(format!(
            "{} after whatever the probe depends on fails, every pod is restarted; readiness takes \
             them out after {}",
            seconds(kills),
            seconds(unready)
        ))
        .figure("killed_after_s", kills)
        .figure("unready_after_s", unready)
        .patch(&Patch {
            subject: &workload.subject,
            spot: Spot::Container(&container.name),
            lines,
        }),
    )
}

fn tight_liveness<'a>(
    workload: &'a Workload,
    container: &'a Container,
    path: &str,
) -> Option<Draft<'a>> {
    /// A spike that lasts no longer is no death.
    const PATIENCE_MIN: f64 = 10.0;
    let liveness = container.liveness_probe.as_ref()?;
    let timing = Timing::of(liveness);
    let kills = timing.gives_up_after();
    let unready =
        container.readiness_probe.as_ref().map(|probe| Timing::of(probe).gives_up_after());
    let is_first = unready.is_some_and(|unready| kills < unready);
    if kills >= PATIENCE_MIN && !is_first {
        return None;
    }
    let consequence = match unready {
        Some(unready) if is_first => format!(
            "the container is killed after {} of slow answers, and leaves the rotation only after \
             {}: clients go on to send to it while it ends",
            seconds(kills),
            seconds(unready)
        ),
        _ => format!(
            "{} of slow answers are enough: the busiest pod is restarted first, and its load goes \
             to the others",
            seconds(kills)
        ),
    };
    let message = format!(
        "liveness of {} gives up after {} ({} x {} period, {} timeout)",
        named(container),
        seconds(kills),
        number(timing.failures),
        seconds(timing.period),
        seconds(timing.timeout)
    );
    let least = unready.map_or(30.0, |unready| (unready * 1.5).max(30.0));
    let failures = (least / timing.period).ceil() + 1.0;
    let timeout = timing.timeout.max(5.0_f64.min(timing.period));
    let lines = format!(
        "livenessProbe:\n  timeoutSeconds: {timeout:.0}\n  failureThreshold: {failures:.0}"
    );
    let mut draft = Draft::new(
        &table::TIGHT_LIVENESS,
        &workload.subject,
        format!("{path}.livenessProbe"),
        message,
    )
    .then(consequence)
    .figure("killed_after_s", kills)
    .patch(&Patch {
        subject: &workload.subject,
        spot: Spot::Container(&container.name),
        lines,
    });
    if let Some(unready) = unready {
        draft = draft.figure("unready_after_s", unready);
    }
    Some(draft)
}

fn before_start<'a>(
    workload: &'a Workload,
    container: &'a Container,
    path: &str,
) -> Option<Draft<'a>> {
    /// Below this a start of an ordinary service on a busy node is killed.
    const SHORT: f64 = 10.0;
    /// Below this that of one with a large runtime.
    const FAIR: f64 = 30.0;
    let liveness = container.liveness_probe.as_ref()?;
    let (allows, probe, key) = match &container.startup_probe {
        Some(startup) => (Timing::of(startup).allows_start(), startup, "startupProbe"),
        None => (Timing::of(liveness).allows_start(), liveness, "livenessProbe"),
    };
    let starts = container.readiness_probe.as_ref().map_or(0.0, |probe| Timing::of(probe).delay);
    let starts = starts.max(workload.known.startup.unwrap_or(0.0));
    let has_startup = container.startup_probe.is_some();
    let level = if starts > allows {
        Level::Error
    } else if has_startup || workload.known.startup.is_some() {
        return None;
    } else if allows < SHORT {
        Level::Warning
    } else if allows < FAIR {
        Level::Note
    } else {
        return None;
    };
    let consequence = if level == Level::Error {
        format!(
            "the start takes {} by the manifest's own word, so the container is killed and tried \
             again, after 10, 20, 40 s and more",
            seconds(starts)
        )
    } else {
        format!(
            "a start that takes longer than {} is killed and tried again, after 10, 20, 40 s and \
             more; a rollout stands still",
            seconds(allows)
        )
    };
    let message = format!(
        "{key} of {} allows a start of {}{}",
        named(container),
        seconds(allows),
        if has_startup { "" } else { ", and there is no startup probe" }
    );
    let tries = (starts.max(FAIR) * 2.0 / 2.0_f64).ceil();
    let action = probe_lines(probe);
    let lines =
        format!("startupProbe:\n{action}  periodSeconds: 2\n  failureThreshold: {tries:.0}");
    let mut draft = Draft::new(
        &table::LIVENESS_BEFORE_START,
        &workload.subject,
        format!("{path}.{key}"),
        message,
    )
    .level(level)
    .then(consequence)
    .figure("allowed_start_s", allows)
    .patch(&Patch {
        subject: &workload.subject,
        spot: Spot::Container(&container.name),
        lines,
    });
    if starts > 0.0 {
        draft = draft.figure("start_s", starts);
    }
    Some(draft)
}

/// What a probe does, as YAML below its key.
fn probe_lines(probe: &Probe) -> String {
    let json = |key: &str, value: serde_json::Value| format!("  {key}: {value}\n");
    if let Some(get) = &probe.http_get {
        return json("httpGet", serde_json::json!(get));
    }
    if let Some(socket) = &probe.tcp_socket {
        return json("tcpSocket", serde_json::json!(socket));
    }
    if let Some(grpc) = &probe.grpc {
        return json("grpc", serde_json::json!(grpc));
    }
    probe.exec.as_ref().map(|exec| json("exec", serde_json::json!(exec))).unwrap_or_default()
}

fn no_warm_up<'a>(
    world: &World,
    workload: &'a Workload,
    container: &'a Container,
    path: &str,
) -> Option<Draft<'a>> {
    /// A first readiness this late says that the start is slow.
    const DELAY: f64 = 20.0;
    /// So does a startup probe this patient.
    const PATIENCE: f64 = 60.0;
    let startup = container.startup_probe.as_ref().map(|probe| Timing::of(probe).allows_start());
    let delay = container.readiness_probe.as_ref().map_or(0.0, |probe| Timing::of(probe).delay);
    let is_slow = delay >= DELAY || startup.is_some_and(|startup| startup >= PATIENCE);
    let has_several = world.replicas(workload).1 >= 2;
    if !is_slow || !has_several || workload.min_ready_seconds > 0 || !workload.is_rolling() {
        return None;
    }
    let key = if delay >= DELAY { "readinessProbe" } else { "startupProbe" };
    let lines = "minReadySeconds: 10".to_owned();
    Some(
        Draft::new(
            &table::NO_WARM_UP,
            &workload.subject,
            format!("{path}.{key}"),
            format!(
                "{} starts slowly ({}), and minReadySeconds is 0",
                named(container),
                seconds(delay.max(startup.unwrap_or(0.0)))
            ),
        )
        .then(
            "a rollout takes the next old pod away at the moment a new one is ready, warm or not: \
             the latency has a tooth at each step",
        )
        .patch(&Patch { subject: &workload.subject, spot: Spot::Spec, lines }),
    )
}
