//! How containers end on SIGTERM: with a drain, or cutting what is in work.
//!
//! A target that tells of its life says it. Of any other the manner of its end tells: by the
//! signal itself, or with requests in work. The manner is the program's, so what one container
//! shows holds for all of its revision: at a low rate most of them have nothing in work as they
//! end.

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::{
    event::Signal,
    time::{Nanos, Timestamp},
};

use super::{Case, Contact, EXIT_LATENESS};
use crate::analyze::pods::{Container, Exit, Lives, PodLife};

/// A broken request this old was in work. One that breaks sooner need not have been: it may have
/// met a connection that was closed while idle, within a round trip.
///
/// *Source*: `lifecycle-semantics.md` section 4.1, row 4. A round trip within a cluster takes less
/// than a millisecond; the rest is for the generator's own delay between two looks at its sockets.
const IN_WORK: Nanos = Nanos::from_millis(2);
/// From this age on one is enough. Below it two are wanted, as the generator may have been late.
const LONG_IN_WORK: Nanos = Nanos::from_millis(20);
/// Who is ended by the signal itself ends this soon. Who ends later has drained, and only says so
/// in its exit code: a JVM exits with 143 after its shutdown hooks.
const PROMPT: Nanos = Nanos::from_secs(2);

/// What broke as the containers of a revision ended on SIGTERM.
#[derive(Clone, Copy, Debug, Default)]
struct Broken {
    all: u64,
    in_work: u64,
    long_in_work: u64,
    answers: u64,
}

impl Broken {
    /// Whether requests in work were cut: an answer, or most of what broke was in work.
    fn was_cut(&self) -> bool {
        let is_enough = self.long_in_work >= 1 || self.in_work >= 2;
        self.answers > 0 || (is_enough && self.in_work * 2 > self.all)
    }
}

/// The revisions whose containers cut requests in work as they end on SIGTERM.
#[derive(Debug, Default)]
pub(super) struct Endings {
    cutting: BTreeSet<u32>,
}

impl Endings {
    pub(super) fn of(cases: &[Case<'_>], lives: &Lives) -> Self {
        let mut broken: BTreeMap<u32, Broken> = BTreeMap::new();
        for case in cases {
            let is_broken =
                matches!(case.contact, Contact::Reset | Contact::Eof | Contact::Truncated);
            // A new connection that is reset may have waited in the accept queue all that time, which
            // goes with the listener: nobody had begun to work on it.
            let is_broken = is_broken && (case.contact != Contact::Reset || case.is_reused());
            let Some(revision) = revision(case, lives).filter(|_| is_broken) else { continue };
            let age = case.ended.since(case.started);
            let n = case.failure.n;
            let seen = broken.entry(revision).or_default();
            if case.contact == Contact::Truncated {
                seen.answers += n;
            } else {
                seen.all += n;
                seen.in_work += if age >= IN_WORK { n } else { 0 };
                seen.long_in_work += if age >= LONG_IN_WORK { n } else { 0 };
            }
        }
        let cutting = broken.into_iter().filter(|(_, seen)| seen.was_cut());
        Self { cutting: cutting.map(|(revision, _)| revision).collect() }
    }

    /// Whether a container exited on SIGTERM without a drain. One that tells of its life says
    /// that its listener is closed first, or exits without that word. SIGKILL and the end of its
    /// memory are other ends.
    pub(super) fn is_abrupt(&self, life: &PodLife, container: &Container) -> bool {
        if container.exited.is_some_and(|exit| exit.oom || was_forced(container, exit)) {
            return false;
        }
        if container.tells && (container.listener_closed.is_some() || container.exiting.is_some()) {
            return container.listener_closed.is_none();
        }
        let Some(exit) = container.exited else { return false };
        let is_prompt =
            container.sigterm.is_some_and(|sigterm| exit.at.at.since(sigterm.at) <= PROMPT);
        let was_signalled =
            exit.signal.is_some() && exit.signal == container.stop_signal.map(Signal::number);
        (was_signalled && is_prompt) || self.cutting.contains(&life.revision)
    }
}

/// The revision whose container's end on SIGTERM broke a request, if only one can have.
fn revision(case: &Case<'_>, lives: &Lives) -> Option<u32> {
    let is_ending = |life: &&PodLife| {
        life.containers_at(case.chosen).any(|container| ends_on_sigterm(container, case.ended))
    };
    if let Some(pod) = case.pod {
        return lives.get(pod).filter(is_ending).map(|life| life.revision);
    }
    if !case.is_hidden {
        return None;
    }
    let mut revisions = lives.pods.values().filter(is_ending).map(|life| life.revision);
    let first = revisions.next()?;
    revisions.all(|revision| revision == first).then_some(first)
}

/// Whether a container may be between SIGTERM and its exit at `at`, and ends of itself.
fn ends_on_sigterm(container: &Container, at: Timestamp) -> bool {
    let (Some(sigterm), Some(exit)) = (container.sigterm, container.exited) else { return false };
    let was_killed = exit.oom || container.probe_kill.is_some() || was_forced(container, exit);
    !was_killed && sigterm.may_be_by(at) && at <= exit.at.latest + EXIT_LATENESS
}

/// Whether SIGKILL ended a container.
pub(super) fn was_forced(container: &Container, exit: Exit) -> bool {
    container.sigkill.is_some_and(|sigkill| sigkill.at <= exit.at.at)
}
