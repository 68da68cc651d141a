//! The cause of each failure: a failed attempt, joined with the phase of its pod and the state of
//! its connection at that instant. Never with the nearest event in time.
//!
//! *Source*: `lifecycle-semantics.md` sections 4.1 (what a socket shows) and 8 (the rules).

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::{
    event::{Event, EventKind},
    outcome::{Connection, Failure, Hop, HopError, Outcome, OutcomeGroup},
    time::{Nanos, Timestamp},
};

use super::{
    Cause,
    pods::{Container, Lives, PodLife},
};

/// An exit is noticed by its parent a little after its sockets are closed: by a scheduling delay.
const EXIT_LATENESS: Nanos = Nanos::from_millis(500);
/// A connection that was waiting in the accept queue for less was in the gap between the last
/// accept and the close, which no server can avoid.
const ACCEPT_GAP: Nanos = Nanos::from_millis(2);
/// A pod whose refusals go on until this long before it is chosen no more never listened at all.
const NEVER_LISTENED: Nanos = Nanos::from_secs(2);

/// What an attempt towards a pod came to, the client's or the proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Refused.
    Refused,
    /// No connection in time.
    ConnectTimeout,
    /// No way to the address.
    Unreachable,
    /// Reset before the first byte.
    Reset,
    /// End of stream before the first byte.
    Eof,
    /// Broken within the answer.
    Truncated,
    /// Connected, and no whole answer in time.
    Timeout,
    /// The pod answered, and not as expected.
    Answered,
    /// There was no endpoint to try.
    NoEndpoint,
    /// The generator's or the proxy's own limits.
    Limit,
    /// Not to be told.
    Unknown,
}

/// A failure, seen from its pod.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// The failure.
    pub failure: &'a Failure,
    /// What the attempt came to.
    pub contact: Contact,
    /// The pod.
    pub pod: Option<&'a str>,
    /// The connection to the pod.
    pub connection: Option<&'a Connection>,
    /// When the attempt began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

/// A case with its cause.
#[derive(Clone, Debug)]
pub struct Attributed<'a> {
    /// The case.
    pub case: Case<'a>,
    /// Its cause.
    pub cause: Cause,
    /// Whether it belongs to the pod's coming or going.
    pub transition: Option<TransitionKind>,
}

/// A pod's coming or its going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransitionKind {
    /// It became ready.
    Start,
    /// Its termination began.
    End,
}

/// Attributes every failure. Unsent requests are no failures of the target and are left out.
pub fn attribute<'a>(
    failures: &'a [Failure],
    events: &'a [Event],
    lives: &Lives,
) -> Vec<Attributed<'a>> {
    let gone: BTreeMap<u64, &Hop> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::ClientGone { request_id, hop } => Some((*request_id, hop)),
            _ => None,
        })
        .collect();
    let failed = failures.iter().filter(|failure| failure.outcome.group() == OutcomeGroup::Failed);
    let cases: Vec<Case<'a>> = failed.map(|failure| case(failure, &gone)).collect();
    let cut = cut_containers(&cases, lives);
    let deaf = deaf_pods(&cases, lives);
    let facts = Facts { lives, cut, deaf };
    cases
        .into_iter()
        .map(|case| {
            let cause = facts.cause(&case);
            let transition = facts.transition(&case, cause);
            Attributed { case, cause, transition }
        })
        .collect()
}

/// Turns a failure to its pod's side.
fn case<'a>(failure: &'a Failure, gone: &BTreeMap<u64, &'a Hop>) -> Case<'a> {
    let reported = failure.request_id.and_then(|id| gone.get(&id).copied());
    let hop = failure.hop.as_ref().or(reported);
    let (started, ended) =
        hop.map_or((failure.sent, failure.ended), |hop| (hop.started, hop.ended));
    let pod = hop.and_then(|hop| hop.pod.as_deref()).or(failure.pod.as_deref());
    let connection = match hop {
        Some(hop) => hop.connection.as_ref(),
        None => failure.connection.as_ref(),
    };
    let contact = match hop {
        Some(hop) => proxied(failure, hop),
        None => direct(failure),
    };
    // A body that breaks, breaks after the proxy had the answer's head.
    let ended = if contact == Contact::Truncated { failure.ended } else { ended };
    Case { failure, contact, pod, connection, started, ended }
}

fn direct(failure: &Failure) -> Contact {
    match failure.outcome {
        // The proxy's own connection to the client broke, or it never said anything.
        _ if failure.pod.is_none() && failure.consumer.is_none() => Contact::Unknown,
        Outcome::ConnectRefused if failure.pod.is_none() => Contact::NoEndpoint,
        Outcome::ConnectRefused => Contact::Refused,
        Outcome::ConnectTimeout => Contact::ConnectTimeout,
        Outcome::ConnectUnreachable => Contact::Unreachable,
        Outcome::ResetNew | Outcome::ResetReused => Contact::Reset,
        Outcome::EofNew | Outcome::EofReused => Contact::Eof,
        Outcome::Truncated => Contact::Truncated,
        Outcome::Timeout => Contact::Timeout,
        Outcome::Status502
        | Outcome::Status503
        | Outcome::Status504
        | Outcome::StatusOther
        | Outcome::WrongBody
        | Outcome::BadResponse => Contact::Answered,
        _ => Contact::Unknown,
    }
}

fn proxied(failure: &Failure, hop: &Hop) -> Contact {
    match hop.error {
        Some(HopError::NoEndpoint) => Contact::NoEndpoint,
        Some(HopError::ConnectRefused) => Contact::Refused,
        Some(HopError::ConnectTimeout) => Contact::ConnectTimeout,
        Some(HopError::ConnectUnreachable) => Contact::Unreachable,
        Some(HopError::ConnectOther) => Contact::Limit,
        Some(HopError::Reset) => Contact::Reset,
        Some(HopError::Eof) => Contact::Eof,
        Some(HopError::Truncated) => Contact::Truncated,
        Some(HopError::Timeout) => Contact::Timeout,
        Some(HopError::BadResponse) => Contact::Answered,
        // The client gave up while the pod still worked.
        Some(HopError::ClientGone) => Contact::Timeout,
        None if failure.outcome == Outcome::Truncated => Contact::Truncated,
        None if failure.outcome == Outcome::Timeout => Contact::Timeout,
        None => Contact::Answered,
    }
}

/// Containers that were cut off with a request in work: something broke as they ended that had
/// been read. By pod and start of the container.
fn cut_containers(cases: &[Case<'_>], lives: &Lives) -> BTreeSet<(String, Timestamp)> {
    let cut = cases.iter().filter_map(|case| {
        let is_reused = case.connection.is_some_and(|connection| connection.served > 0);
        let was_read = match case.contact {
            Contact::Eof | Contact::Truncated => true,
            Contact::Reset => is_reused,
            _ => false,
        };
        let pod = case.pod.filter(|_| was_read)?;
        let container = lives.get(pod)?.container_at(case.ended)?;
        let (exited, _, _) = container.exited?;
        let is_at_exit = case.ended >= container.sigterm? && case.ended <= exited + EXIT_LATENESS;
        is_at_exit.then(|| (pod.to_string(), container.started))
    });
    cut.collect()
}

/// Pods that refused everything until they were chosen no more.
fn deaf_pods(cases: &[Case<'_>], lives: &Lives) -> BTreeSet<String> {
    let mut refusals: BTreeMap<&str, (Timestamp, Timestamp)> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.contact == Contact::Refused) {
        if let Some(pod) = case.pod {
            let span = refusals.entry(pod).or_insert((case.ended, case.ended));
            *span = (span.0.min(case.ended), span.1.max(case.ended));
        }
    }
    let last = cases.iter().map(|case| case.ended).max().unwrap_or_default();
    let is_deaf = |pod: &str, (first, until): (Timestamp, Timestamp)| {
        let Some(life) = lives.get(pod) else { return false };
        // Of one that tells of its life it is known.
        let is_silent = life.containers.iter().all(|container| !container.tells);
        let end = life.deletion.map_or(last, |deletion| deletion.at).min(last);
        is_silent && until.since(first) > NEVER_LISTENED && until + NEVER_LISTENED >= end
    };
    refusals
        .into_iter()
        .filter(|(pod, span)| is_deaf(pod, *span))
        .map(|(pod, _)| pod.into())
        .collect()
}

struct Facts<'a> {
    lives: &'a Lives,
    cut: BTreeSet<(String, Timestamp)>,
    deaf: BTreeSet<String>,
}

impl Facts<'_> {
    fn cause(&self, case: &Case<'_>) -> Cause {
        match case.contact {
            Contact::NoEndpoint => return Cause::NoReadyEndpoint,
            Contact::Answered => return Cause::RefusedByApp,
            Contact::Limit => return Cause::ClientLimit,
            Contact::Unknown => return Cause::Unexplained,
            _ => {}
        }
        let Some((pod, life)) = case.pod.and_then(|pod| Some((pod, self.lives.get(pod)?))) else {
            return Cause::Unexplained;
        };
        match case.contact {
            Contact::Refused => self.refused(case, pod, life),
            Contact::Reset | Contact::Eof | Contact::Truncated => self.broken(case, pod, life),
            Contact::Unreachable => Cause::Blackhole,
            Contact::ConnectTimeout if has_ended(life, case.ended) => Cause::Blackhole,
            Contact::ConnectTimeout | Contact::Timeout => Cause::Overload,
            _ => Cause::Unexplained,
        }
    }

    fn refused(&self, case: &Case<'_>, pod: &str, life: &PodLife) -> Cause {
        let at = case.ended;
        let Some(container) = life.container_at(at) else { return Cause::PrematureReady };
        // Refused at some instant between its begin and when that was noticed.
        let listens = container.listening.is_some_and(|listening| listening <= case.started);
        let not_yet = || {
            // A container that is being restarted: what ended the one before it is the cause.
            let before = life.container_before(at);
            before.and_then(|before| self.end_of(before, pod, at)).unwrap_or(Cause::PrematureReady)
        };
        if container.tells && !listens {
            // Whatever became of it later: nobody should have been sent to it yet.
            return not_yet();
        }
        if let Some(cause) = self.end_of(container, pod, at) {
            return cause;
        }
        // It said that it listens, or was never heard on its address, and nobody ended it.
        if listens || self.deaf.contains(pod) { Cause::WrongBind } else { not_yet() }
    }

    /// Why a container answers nobody any more at `at`; `None` if nothing has ended it yet.
    fn end_of(&self, container: &Container, pod: &str, at: Timestamp) -> Option<Cause> {
        if container.probe_kill.is_some_and(|(killed, _)| killed <= at) {
            return Some(Cause::LivenessKill);
        }
        match container.sigterm {
            Some(sigterm) if sigterm > at => None,
            Some(_) if self.is_abrupt(container, pod) => Some(Cause::AbruptExit),
            Some(_) => Some(Cause::TerminationRace),
            // It ended by itself, or was killed from outside.
            None => has_just_exited(container, at).then_some(Cause::Crash),
        }
    }

    /// Whether a container exited on SIGTERM without a drain. One that tells of its life says that
    /// its listener is closed first; of another the manner of its end tells: by the signal itself,
    /// or with requests in work.
    fn is_abrupt(&self, container: &Container, pod: &str) -> bool {
        let Some((exited, _, signal)) = container.exited else { return false };
        if container.sigkill.is_some_and(|sigkill| sigkill <= exited) {
            return false;
        }
        if container.tells {
            return container.listener_closed.is_none();
        }
        signal == Some(rustix::process::Signal::TERM.as_raw())
            || self.cut.contains(&(pod.to_string(), container.started))
    }

    fn broken(&self, case: &Case<'_>, pod: &str, life: &PodLife) -> Cause {
        let at = case.ended;
        let Some(container) = life.container_at(at) else { return Cause::Unexplained };
        let is_after = |instant: Option<Timestamp>| instant.is_some_and(|instant| instant <= at);
        if container.probe_kill.is_some_and(|(killed, _)| killed <= at) {
            return Cause::LivenessKill;
        }
        if is_after(container.sigkill) || is_after(container.cancelled) {
            return Cause::GraceExceeded;
        }
        if is_after(container.sigterm) {
            if self.is_abrupt(container, pod) {
                return Cause::AbruptExit;
            }
            return self.broken_in_drain(case, container);
        }
        let exited =
            container.exited.is_some_and(|(exited, _, _)| exited.0 <= (at + EXIT_LATENESS).0);
        if exited {
            return Cause::Crash;
        }
        let is_reused = case.connection.is_some_and(|connection| connection.served > 0);
        if is_reused && case.contact != Contact::Truncated {
            Cause::IdleTimeoutRace
        } else {
            Cause::Unexplained
        }
    }

    /// Broken between SIGTERM and a proper end.
    fn broken_in_drain(&self, case: &Case<'_>, container: &Container) -> Cause {
        if case.contact == Contact::Truncated {
            return Cause::AbruptExit;
        }
        let connection = case.connection;
        if connection.is_some_and(|connection| connection.served > 0) {
            // It closed an idle connection that was being used again: nobody had told its user.
            return Cause::TerminationRace;
        }
        let waited = connection
            .zip(container.listener_closed)
            .map(|(connection, closed)| closed.since(connection.opened));
        let was_queued = waited.is_some_and(|waited| waited > ACCEPT_GAP);
        if case.contact == Contact::Reset && was_queued {
            Cause::AcceptQueueDrop
        } else {
            Cause::TerminationRace
        }
    }

    fn transition(&self, case: &Case<'_>, cause: Cause) -> Option<TransitionKind> {
        let life = self.lives.get(case.pod?)?;
        match cause {
            Cause::PrematureReady => Some(TransitionKind::Start),
            Cause::TerminationRace
            | Cause::AbruptExit
            | Cause::AcceptQueueDrop
            | Cause::GraceExceeded => Some(TransitionKind::End),
            _ => life
                .deletion
                .is_some_and(|deletion| deletion.at <= case.ended)
                .then_some(TransitionKind::End),
        }
    }
}

/// Whether a container has ended at `at`, its exit being noticed a little late.
fn has_just_exited(container: &Container, at: Timestamp) -> bool {
    container.exited.is_some_and(|(exited, _, _)| exited <= at + EXIT_LATENESS)
}

fn has_ended(life: &PodLife, at: Timestamp) -> bool {
    life.gone.is_some_and(|gone| gone <= at)
        || life
            .container_at(at)
            .is_none_or(|container| container.exited.is_some_and(|(exited, _, _)| exited <= at))
}

#[cfg(test)]
mod tests;
