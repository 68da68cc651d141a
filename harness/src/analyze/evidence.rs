//! What was seen of a loss, in words.

use std::collections::BTreeMap;

use highwater_model::{
    event::Signal,
    time::{MILLISECOND, Nanos, SECOND, Timestamp},
};

use super::{
    Cause, Example,
    attribute::{Attributed, Case, Contact, Doubt},
    moment::Moment,
    pods::{Container, Lives, PodLife},
};

/// What is known less exactly than this, is said to be.
const EXACT: Nanos = Nanos(10 * MILLISECOND);
/// So many pods of a set are named.
const NAMED_MAX: usize = 4;

/// What was seen of the failures of one cause. `pods`: theirs, in order of creation.
pub(super) fn evidence(
    cause: Cause,
    cases: &[&Attributed<'_>],
    pods: &[String],
    lives: &Lives,
) -> String {
    let mut by_contact: BTreeMap<&str, u64> = BTreeMap::new();
    for one in cases {
        *by_contact.entry(contact_in_words(one.case.contact)).or_default() += one.case.failure.n;
    }
    let parts: Vec<String> = by_contact.iter().map(|(words, n)| format!("{n} {words}")).collect();
    let on_pods = match pods.len() {
        0 => String::new(),
        1 => format!(" on pod {}", pods[0]),
        n => format!(" on {n} pods"),
    };
    let lives_of = || pods.iter().filter_map(|pod| lives.get(pod));
    let mut text = format!("{}{on_pods}", parts.join(", "));
    text.push_str(&delays(cause, cases, lives));
    text.push_str(&ends(cause, lives_of()));
    text.push_str(&inference(cases));
    let is_end = matches!(cause, Cause::TerminationRace | Cause::AbruptExit | Cause::RefusedByApp);
    let slowest = lives_of().filter_map(|life| life.propagation()).max();
    if let (true, Some(slowest)) = (is_end, slowest) {
        text.push_str(&format!(
            "; the last client stopped choosing a pod {:.3} s after its deletion",
            slowest.as_secs_f64()
        ));
    }
    text
}

/// When they were, seen from what the cause begins with, if it has a begin.
fn delays(cause: Cause, cases: &[&Attributed<'_>], lives: &Lives) -> String {
    let words = match cause {
        Cause::PrematureReady => "after the pod became ready",
        Cause::TerminationRace
        | Cause::AbruptExit
        | Cause::AcceptQueueDrop
        | Cause::GraceExceeded
        | Cause::LivenessKill
        | Cause::RefusedByApp => "after SIGTERM",
        _ => return String::new(),
    };
    let reference = |life: &PodLife, at: Timestamp| match cause {
        Cause::PrematureReady => life.first_ready,
        _ => life.container_at(at).and_then(|container| container.sigterm),
    };
    let (mut first, mut last, mut off) = (f64::INFINITY, f64::NEG_INFINITY, Nanos::ZERO);
    for one in cases.iter().filter(|one| !one.is_stale) {
        let at = met(&one.case);
        let of_pods = one.pods.iter().filter_map(|pod| reference(lives.get(pod)?, at));
        // Of several pods the last one that had begun to go; not what may come much later.
        let begun = of_pods.filter(|from| from.may_be_by(at));
        let Some(from) = begun.max_by_key(|from| (from.at <= at, from.at)) else { continue };
        let delay = (at.0 as f64 - from.at.0 as f64) / SECOND as f64;
        (first, last) = (first.min(delay), last.max(delay));
        off = off.max(from.at.since(from.earliest)).max(from.latest.since(from.at));
    }
    if first > last {
        return String::new();
    }
    let known = if off > EXACT {
        format!(" (which is known to within {:.1} s)", off.as_secs_f64())
    } else {
        String::new()
    };
    format!(", {first:.3} to {last:.3} s {words}{known}")
}

/// When an attempt met what it met: at its end, but at its begin if it only waited from then on.
fn met(case: &Case<'_>) -> Timestamp {
    match case.contact {
        Contact::ConnectTimeout
        | Contact::Unreachable
        | Contact::Timeout
        | Contact::GatewayTimeout => case.started,
        _ => case.ended,
    }
}

/// What the pods did, as late as they did it.
fn ends<'a>(cause: Cause, lives: impl Iterator<Item = &'a PodLife>) -> String {
    let since = |later: Option<Moment>, earlier: Option<Moment>| {
        Some(later?.at.since(earlier?.at).as_secs_f64())
    };
    let latest = |of: fn(&Container) -> Option<Moment>,
                  lives: &mut dyn Iterator<Item = &'a PodLife>| {
        let containers = lives.flat_map(|life| &life.containers);
        containers.filter_map(|one| since(of(one), one.sigterm)).reduce(f64::max)
    };
    let mut lives = lives;
    let (text, seconds) = match cause {
        Cause::TerminationRace => (
            "listeners closed up to # s after SIGTERM",
            latest(|container| container.listener_closed, &mut lives),
        ),
        Cause::AbruptExit => (
            "processes exited up to # s after SIGTERM",
            latest(|container| container.exited.map(|exit| exit.at), &mut lives),
        ),
        Cause::PrematureReady => (
            "the pods listened up to # s after they were ready",
            lives
                .filter_map(|life| since(life.containers.first()?.listening, life.first_ready))
                .reduce(f64::max),
        ),
        _ => return String::new(),
    };
    seconds.map_or_else(String::new, |seconds| {
        format!("; {}", text.replace('#', &format!("{seconds:.3}")))
    })
}

/// How the pods are known where nobody names them, and what keeps a failure from a cause.
fn inference(cases: &[&Attributed<'_>]) -> String {
    let count = |wanted: &dyn Fn(&Attributed<'_>) -> bool| -> u64 {
        cases.iter().filter(|one| wanted(one)).map(|one| one.case.failure.n).sum()
    };
    let mut text = String::new();
    let is_inferred =
        |one: &Attributed<'_>| one.case.is_hidden && one.doubt.is_none() && !one.is_stale;
    let only = count(&|one| is_inferred(one) && one.pods.len() == 1);
    let several = count(&|one| is_inferred(one) && one.pods.len() > 1);
    let inferred = cases.iter().filter(|one| is_inferred(one));
    let most = inferred.map(|one| one.pods.len()).max().unwrap_or(0);
    match (only, several) {
        (0, 0) => {}
        (only, 0) => text.push_str(&format!(
            "; the way to the pods does not name them: {only} can have met one pod only"
        )),
        (0, several) => text.push_str(&format!(
            "; the way to the pods does not name them: {several} met one of up to {most} pods"
        )),
        (only, several) => text.push_str(&format!(
            "; the way to the pods does not name them: {only} can have met one pod only, \
             {several} met one of up to {most}"
        )),
    }
    let stale = count(&|one| one.is_stale);
    if stale > 0 {
        text.push_str(&format!(
            "; {stale} came when nobody came or went, after connections to pods that were gone: nodes \
             keep such flows for two minutes"
        ));
    }
    for (doubt, words) in [
        (Doubt::Ambiguous, "could have been of several causes"),
        (Doubt::Gap, "were while nothing was heard of the cluster"),
    ] {
        let n = count(&|one| one.doubt == Some(doubt));
        if n > 0 {
            text.push_str(&format!("; {n} {words}"));
        }
    }
    text
}

fn contact_in_words(contact: Contact) -> &'static str {
    match contact {
        Contact::Refused => "refused connections",
        Contact::ConnectTimeout => "connections that timed out",
        Contact::Unreachable => "unreachable",
        Contact::Reset => "resets before the first byte",
        Contact::Eof => "ends of stream before the first byte",
        Contact::Truncated => "answers cut off",
        Contact::Timeout => "time-outs",
        Contact::Answered => "answers other than expected",
        Contact::NoEndpoint => "without any endpoint",
        Contact::BadGateway => "bad gateways",
        Contact::GatewayTimeout => "time-outs of the gateway",
        Contact::Unavailable => "unavailable by the gateway's word",
        Contact::Limit => "limits of the generator or the proxy",
        Contact::Unknown => "of unknown kind",
    }
}

/// One failure in detail.
pub(super) fn example(one: &Attributed<'_>, lives: &Lives) -> Example {
    let (case, failure) = (&one.case, one.case.failure);
    let mut story = format!(
        "owed at {:.3} s, sent {:.2} ms later",
        failure.scheduled.as_secs_f64(),
        ms(failure.scheduled, failure.sent)
    );
    if let Some(hop) = &failure.hop {
        story.push_str(&format!(
            "; proxy worker {} tried {}",
            hop.consumer,
            hop.pod.as_deref().unwrap_or("no pod")
        ));
    }
    if let Some(connection) = case.connection {
        if connection.served == 0 {
            story.push_str(" on a new connection");
        } else {
            let idle = connection.idle.as_millis_f64();
            story.push_str(&format!(
                " on a connection that had served {} and been idle for {idle:.1} ms",
                connection.served
            ));
        }
    }
    story.push_str(&format!(
        "; {} after {:.2} ms",
        failure.outcome,
        ms(failure.sent, failure.ended)
    ));
    story.push_str(&choice(one));
    for pod in one.pods.iter().take(NAMED_MAX) {
        let name = if one.pods.len() > 1 { pod } else { "the pod" };
        story.push_str(&state(case, name, lives.get(pod)));
    }
    Example { at: case.ended, outcome: failure.outcome, pod: one.pod().map(Into::into), story }
}

/// Which pods it can have met, where nobody says which it met.
fn choice(one: &Attributed<'_>) -> String {
    let doubt = match one.doubt {
        None => "",
        Some(Doubt::Ambiguous) => ", and they give different causes",
        Some(Doubt::Gap) => ", and nothing was heard of the cluster then",
    };
    if one.is_stale {
        return "; nobody came or went: a node may have kept the flow of an earlier connection with its port"
            .into();
    }
    if !one.case.is_hidden {
        return doubt.replacen(", and", ";", 1);
    }
    match &one.pods[..] {
        [] => doubt.replacen(", and", ";", 1),
        [pod] => format!("; it can only have met {pod}{doubt}"),
        pods => {
            let named = pods.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
            let more = match pods.len().saturating_sub(NAMED_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("; it met one of {named}{more}{doubt}")
        }
    }
}

/// How far on its way a pod was.
fn state(case: &Case<'_>, name: &str, life: Option<&PodLife>) -> String {
    let container = life.and_then(|life| life.container_at(case.ended));
    let by = |moment: &Moment| moment.at <= case.ended;
    if let Some(sigterm) = container.and_then(|container| container.sigterm).filter(by) {
        let signal = container.and_then(|container| container.stop_signal);
        let signal = signal.unwrap_or(Signal::Sigterm).name();
        format!("; {name} had got {signal} {:.1} ms before", ms(sigterm.at, case.ended))
    } else if let Some(ready) = life.and_then(|life| life.first_ready).filter(by) {
        format!("; {name} had been ready for {:.1} ms", ms(ready.at, case.ended))
    } else {
        String::new()
    }
}

fn ms(from: Timestamp, to: Timestamp) -> f64 {
    (to.0 as f64 - from.0 as f64) / 1e6
}
