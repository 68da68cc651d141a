//! How pods end: hooks, grace, signals.

use k8s_openapi::api::core::v1::Container;

use super::super::{
    draft::{Draft, number, pods, seconds, shown},
    finding::Level,
    hooks::{self, Hook},
    patch::{Patch, Spot},
    table,
    world::{ContainerExt as _, Workload, World},
};

/// The least from SIGTERM to SIGKILL: kubelet, `minimumGracePeriodInSeconds`.
const DRAIN_MIN: f64 = 2.0;
/// What should be left of the grace period for a drain, at least.
const DRAIN_FAIR: f64 = 5.0;
/// A hook that takes less of the grace period than this share is not what makes it short.
const HOOK_FAIR: f64 = 0.5;
/// The preStop sleep that is proposed where nothing is known: more than ingress-nginx's 4.3 s.
const SLEEP: f64 = 5.0;
/// The same behind an AWS load balancer: users end at 25 to 70 s.
const SLEEP_AWS: f64 = 30.0;

pub(super) fn check<'a>(world: &'a World, workload: &'a Workload) -> Vec<Draft<'a>> {
    let mut found = Vec::new();
    for (index, container) in workload.pod.containers.iter().enumerate() {
        let path = format!("spec.template.spec.containers[{index}]");
        let hook = hooks::of(container);
        found.extend(hook.as_ref().and_then(|hook| eats_grace(workload, container, hook, &path)));
        let needs = hook.as_ref().and_then(|hook| needs_program(workload, container, hook, &path));
        found.extend(needs);
    }
    if world.is_served(workload) {
        for (index, container) in world.serving(workload) {
            let path = format!("spec.template.spec.containers[{index}]");
            found.extend(no_pre_stop(world, workload, container, &path));
            found.extend(swallows_signal(workload, container, &path));
            found.extend(unready_last(world, workload, container, &path));
        }
        found.extend(grace_too_short(world, workload));
    }
    found
}

fn named(container: &Container) -> String {
    format!("container `{}`", shown(&container.name))
}

fn no_pre_stop<'a>(
    world: &'a World,
    workload: &'a Workload,
    container: &'a Container,
    path: &str,
) -> Option<Draft<'a>> {
    let known = &workload.known;
    let hook = hooks::of(container);
    // A hook whose length nobody knows may be long enough.
    let slept = match &hook {
        Some(hook) => hook.seconds?,
        None => 0.0,
    };
    let waits = slept + known.serves_on.unwrap_or(0.0);
    let is_enough = match known.propagation {
        Some(propagation) => waits >= propagation,
        None => waits > 0.0,
    };
    if is_enough {
        return None;
    }
    let is_aws = super::edge::is_behind_aws(world, workload);
    let sleep = match known.propagation {
        Some(propagation) => propagation.ceil() + 1.0,
        None if is_aws => SLEEP_AWS,
        None => SLEEP,
    };
    let message = match (&hook, known.propagation) {
        (Some(_), Some(propagation)) => format!(
            "the preStop hook of {} takes {}, and clients learn that the pod goes after {} at most",
            named(container),
            seconds(slept),
            seconds(propagation)
        ),
        _ => format!("{} has no preStop hook, so SIGTERM comes at once", named(container)),
    };
    let at = format!("{path}.lifecycle.preStop");
    let lines = format!("lifecycle:\n  preStop:\n    sleep:\n      seconds: {sleep:.0}");
    let patch = Patch { subject: &workload.subject, spot: Spot::Container(&container.name), lines };
    let draft = Draft::new(&table::NO_PRE_STOP, &workload.subject, at, message)
        .fix(format!(
            "a preStop sleep of {}, and a grace period of that plus the slowest request",
            seconds(sleep)
        ))
        .patch(&patch);
    Some(loss_of_race(world, workload, draft, waits))
}

/// What is lost between the end of the listener and the last client's learning of it.
fn loss_of_race<'a>(world: &World, workload: &Workload, draft: Draft<'a>, waits: f64) -> Draft<'a> {
    let replicas = world.replicas(workload).0.max(1);
    let known = &workload.known;
    let Some(propagation) = known.propagation else {
        return draft.then(
            "unless the service itself serves on after SIGTERM, each pod that ends loses one \
             request for every request per second that it gets and second until clients know: up \
             to 4.3 s behind ingress-nginx, 25 s and more behind an AWS load balancer",
        );
    };
    let exposed = (propagation - waits).max(0.0);
    let draft = draft.figure("exposed_s_per_pod", exposed);
    let Some(rate) = known.rate else {
        return draft.then(format!(
            "each pod that ends refuses what is sent to it for up to {}; give --rate for a number",
            seconds(exposed)
        ));
    };
    let per_pod = rate / f64::from(replicas) * exposed;
    draft.figure("lost_requests_per_pod", per_pod).figure("lost_requests_per_rollout", rate * exposed).then(
        format!(
            "up to {} requests for each pod that ends, {} for a rollout of {}: {}/s over {}, for {}",
            number(per_pod),
            number(rate * exposed),
            pods(replicas),
            number(rate),
            pods(replicas),
            seconds(exposed)
        ),
    )
}

fn eats_grace<'a>(
    workload: &'a Workload,
    container: &'a Container,
    hook: &Hook<'_>,
    path: &str,
) -> Option<Draft<'a>> {
    let slept = hook.seconds.filter(|slept| *slept > 0.0)?;
    let grace = f64::from(workload.grace());
    let left = grace - slept;
    // Of a grace period that is short by itself the hook may leave most.
    if left >= DRAIN_FAIR || slept < grace * HOOK_FAIR {
        return None;
    }
    let drain = left.max(DRAIN_MIN);
    let is_all = left <= 0.0;
    let consequence = if grace == 0.0 {
        "with a grace period of 0 the hook is not run at all: the pod is killed at once".into()
    } else {
        format!(
            "SIGTERM comes after {} and SIGKILL {} later, whatever is still in flight",
            seconds(slept.min(grace)),
            seconds(drain)
        )
    };
    let needed = slept + workload.known.slowest.map_or(25.0, |slowest| slowest.ceil() + 5.0);
    let lines = format!("terminationGracePeriodSeconds: {needed:.0}");
    let message = format!(
        "the preStop hook of {} takes {} of a grace period of {}",
        named(container),
        seconds(slept),
        seconds(grace)
    );
    let at = format!("{path}.{}", hook.path);
    Some(
        Draft::new(&table::PRE_STOP_EATS_GRACE, &workload.subject, at, message)
            .level(if is_all { Level::Error } else { Level::Warning })
            .then(consequence)
            .fix(format!(
                "a grace period of the hook plus the slowest request plus a margin, such as {}",
                seconds(needed)
            ))
            .figure("drain_s", if grace == 0.0 { 0.0 } else { drain })
            .patch(&Patch { subject: &workload.subject, spot: Spot::Pod, lines }),
    )
}

fn grace_too_short<'a>(world: &'a World, workload: &'a Workload) -> Option<Draft<'a>> {
    let known = workload.known.slowest;
    let by_ingress = || {
        world.ingresses.iter().filter(|ingress| ingress.leads_to(world, workload)).find_map(
            |ingress| {
                let is_read = |key: &String| key.ends_with("/proxy-read-timeout");
                let (_, value) = ingress.annotations.iter().find(|(key, _)| is_read(key))?;
                let seconds = value.trim_end_matches('s').parse::<f64>().ok()?;
                Some((ingress, seconds)).filter(|(_, seconds)| seconds.is_finite())
            },
        )
    };
    let (slowest, ingress) = match known {
        Some(slowest) => (slowest, None),
        None => by_ingress().map(|(ingress, slowest)| (slowest, Some(ingress)))?,
    };
    let containers = world.serving(workload);
    let hooks = containers.iter().filter_map(|(_, container)| hooks::of(container)?.seconds);
    let slept = hooks.fold(0.0, f64::max);
    let grace = f64::from(workload.grace());
    let drain = (grace - slept).max(DRAIN_MIN);
    if slowest <= drain {
        return None;
    }
    let needed = (slept + slowest).ceil() + 5.0;
    let whence = match ingress {
        Some(ingress) => format!("by the proxy-read-timeout of {}", ingress.subject.title()),
        None => "as far as is known".into(),
    };
    let message = format!(
        "requests may take {} ({whence}), and a pod has {} to drain: a grace period of {} less {} \
         of preStop",
        seconds(slowest),
        seconds(drain),
        seconds(grace),
        seconds(slept)
    );
    let lines = format!("terminationGracePeriodSeconds: {needed:.0}");
    let draft = Draft::new(
        &table::GRACE_TOO_SHORT,
        &workload.subject,
        "spec.template.spec.terminationGracePeriodSeconds",
        message,
    )
    // A proxy's time-out is how long it would wait, not how long requests take.
    .level(if ingress.is_some() { Level::Note } else { Level::Warning })
    .then(format!(
        "requests that have more than {} to go when their pod ends are cut off",
        seconds(drain)
    ))
    .fix(format!("a grace period of {}", seconds(needed)))
    .figure("drain_s", drain)
    .figure("slowest_s", slowest)
    .patch(&Patch { subject: &workload.subject, spot: Spot::Pod, lines });
    Some(match ingress {
        Some(ingress) => draft.with(&ingress.subject),
        None => draft,
    })
}

fn needs_program<'a>(
    workload: &'a Workload,
    container: &'a Container,
    hook: &Hook<'_>,
    path: &str,
) -> Option<Draft<'a>> {
    /// Parts of the names of images that have no shell.
    const BARE: [&str; 4] = ["distroless", "cgr.dev/chainguard", "/static:", "-static:"];
    /// Parts of the names of their variants that have one.
    const WITH_SHELL: [&str; 3] = ["debug", "-dev", "busybox"];
    let program = hooks::base_name(hook.command?.first()?);
    let image = container.image.as_deref().unwrap_or_default();
    let has = |parts: &[&str]| parts.iter().any(|part| image.contains(part));
    let is_bare = has(&BARE) && !has(&WITH_SHELL);
    // What only sleeps can do so without a program; what does more is the image's own business.
    let is_sleep = hook.seconds.is_some() && is_only_sleep(hook.command?);
    let is_common = ["sh", "bash", "ash", "dash", "sleep"].contains(&program);
    let level = match (is_bare && is_common, is_sleep) {
        (true, _) => Level::Warning,
        (false, true) => Level::Note,
        (false, false) => return None,
    };
    let message = match level {
        Level::Warning => format!(
            "the preStop hook of {} runs `{}`, and the image `{}` has no shell",
            named(container),
            shown(program),
            shown(image)
        ),
        _ => format!(
            "the preStop hook of {} needs `{}` in the image to wait",
            named(container),
            shown(program)
        ),
    };
    let at = format!("{path}.{}", hook.path);
    let draft = Draft::new(&table::PRE_STOP_NEEDS_PROGRAM, &workload.subject, at, message)
        .level(level)
        .then("if it is not there, the hook ends at once and SIGTERM follows: only an event FailedPreStopHook tells");
    Some(match hook.seconds {
        Some(slept) => {
            // Strategic merge: the other action has to be taken away.
            let lines = format!(
                "lifecycle:\n  preStop:\n    exec: null\n    sleep:\n      seconds: {:.0}",
                slept.ceil()
            );
            draft.figure("lost_wait_s", slept).patch(&Patch {
                subject: &workload.subject,
                spot: Spot::Container(&container.name),
                lines,
            })
        }
        None => draft,
    })
}

fn is_only_sleep(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match hooks::script(&words) {
        Some((_, script)) => hooks::statements(script).all(|statement| {
            statement.split_whitespace().next().map(hooks::base_name) == Some("sleep")
        }),
        None => words.first().map(|word| hooks::base_name(word)) == Some("sleep"),
    }
}

fn swallows_signal<'a>(
    workload: &'a Workload,
    container: &'a Container,
    path: &str,
) -> Option<Draft<'a>> {
    let words = container.words();
    container.command.as_ref()?;
    let (shell, script) = hooks::script(&words)?;
    let starts_with = |word: &str| {
        hooks::statements(script).any(|statement| {
            statement.split_whitespace().any(|part| part.trim_matches(['"', '\'']) == word)
        })
    };
    if starts_with("exec") || starts_with("trap") {
        return None;
    }
    let statements = hooks::statements(script).count();
    // These shells become their last command by themselves.
    let image = container.image.as_deref().unwrap_or_default();
    let becomes = shell == "bash" || (statements == 1 && image.contains("alpine"));
    if statements == 0 || becomes {
        return None;
    }
    // A hook that stops the service needs no signal.
    let stops =
        |word: &str| ["kill", "pkill", "quit", "stop"].iter().any(|stop| word.contains(stop));
    let hook = hooks::of(container).and_then(|hook| hook.command);
    if hook.into_iter().flatten().any(|word| stops(word)) {
        return None;
    }
    let grace = workload.grace();
    let draft = Draft::new(
        &table::SHELL_SWALLOWS_SIGNAL,
        &workload.subject,
        format!("{path}.command"),
        format!(
            "`{shell}` is process 1 of {} and starts the service without exec",
            named(container)
        ),
    )
    .then(format!(
        "SIGTERM does not reach the service: each pod lingers for {} and is then killed with what \
         is in flight",
        seconds(f64::from(grace))
    ))
    .figure("lingers_s_per_pod", f64::from(grace));
    if statements > 1 || script.contains('\n') {
        return Some(draft.fix("`exec` before the command that is the service"));
    }
    let command = serde_json::json!([words[0], "-c", format!("exec {}", script.trim())]);
    let lines = format!("command: {command}\nargs: null");
    Some(draft.patch(&Patch {
        subject: &workload.subject,
        spot: Spot::Container(&container.name),
        lines,
    }))
}

fn unready_last<'a>(
    world: &'a World,
    workload: &'a Workload,
    container: &'a Container,
    path: &str,
) -> Option<Draft<'a>> {
    if world.replicas(workload).0 != 1 || world.has_peers(workload) {
        return None;
    }
    let hook = hooks::of(container)?;
    let probe = container.readiness_probe.as_ref()?.exec.as_ref()?.command.as_deref()?;
    let files = |words: &[String]| -> Vec<String> {
        let words = words.iter().flat_map(|word| word.split([' ', ';', '\n', '&', '|', '\'', '"']));
        let is_file = |word: &&str| {
            word.len() > 2
                && word.starts_with('/')
                && !word.contains("bin/")
                && *word != "/dev/null"
        };
        words.filter(is_file).map(str::to_owned).collect()
    };
    let probed = files(probe);
    let file = files(hook.command?).into_iter().find(|file| probed.contains(file))?;
    Some(
        Draft::new(
            &table::UNREADY_LAST_POD,
            &workload.subject,
            format!("{path}.{}", hook.path),
            format!(
                "the preStop hook of {} changes `{}`, which its readiness probe looks at, and \
                 there may be one pod only",
                named(container),
                shown(&file)
            ),
        )
        .then(
            "at an eviction or a deletion every connection is refused from then until another pod \
             is ready: kube-proxy falls back to a pod that ends only while it passes its readiness",
        ),
    )
}
