//! What the record says of a pod at an attempt: why it refused, broke off, or was not there.

use std::collections::BTreeSet;

use highwater_model::time::{Nanos, Timestamp};

use super::{Case, Contact, EXIT_LATENESS, endings::Endings, slow::LateAnswers};
use crate::analyze::{
    Cause,
    moment::Moment,
    pods::{Container, Lives, PodLife},
};

/// A connection that was waiting in the accept queue for less was in the gap between the last
/// accept and the close, which no server can avoid.
const ACCEPT_GAP: Nanos = Nanos::from_millis(2);
/// A node is lost for this long before the control plane says so.
///
/// *Source*: `lifecycle-semantics.md` section 2.6: `node-monitor-grace-period`, 40 s and since 1.32
/// 50 s.
const NODE_GRACE: Nanos = Nanos::from_secs(50);

/// A cause that the record gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) cause: Cause,
    /// Whether the attempt lies in a gap that what gives the cause is only known to have happened
    /// in: then it is possible, and not more.
    pub(super) is_vague: bool,
}

impl Found {
    fn sure(cause: Cause) -> Self {
        Self { cause, is_vague: false }
    }

    /// Given by what happened at `onset`.
    fn since(cause: Cause, onset: Moment, at: Timestamp) -> Self {
        Self { cause, is_vague: onset.is_vague_at(at) }
    }
}

/// What the rules look at.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) lives: &'a Lives,
    pub(super) endings: Endings,
    /// Pods that refused everything until they were chosen no more.
    pub(super) deaf: BTreeSet<String>,
    pub(super) late: LateAnswers,
}

impl Rules<'_> {
    /// The cause of what an attempt met at a pod that is known.
    pub(super) fn known(&self, case: &Case<'_>, pod: &str, life: &PodLife) -> Found {
        match case.contact {
            Contact::Refused => self.refused(case, pod, life),
            Contact::Reset | Contact::Eof | Contact::Truncated => {
                self.cuts(life, case).unwrap_or_else(|| {
                    if was_full(life, case) {
                        return Found::sure(Cause::Overload);
                    }
                    let is_idle = case.is_reused() && case.contact != Contact::Truncated;
                    Found::sure(if is_idle { Cause::IdleTimeoutRace } else { Cause::Unexplained })
                })
            }
            Contact::Unreachable => {
                self.vanished(life, case, case.ended).unwrap_or(Found::sure(Cause::Blackhole))
            }
            Contact::ConnectTimeout => self.vanished(life, case, case.ended).unwrap_or_else(|| {
                let is_gone = has_ended(life, case.ended);
                Found::sure(if is_gone { Cause::Blackhole } else { self.slow(life, pod, case) })
            }),
            // A pod that had ended when the attempt began answers nobody: whoever waited, waited
            // for a connection, and gave up before the proxy did.
            Contact::Timeout => self
                .vanished(life, case, case.started)
                .unwrap_or_else(|| Found::sure(self.slow(life, pod, case))),
            _ => Found::sure(Cause::Unexplained),
        }
    }

    fn refused(&self, case: &Case<'_>, pod: &str, life: &PodLife) -> Found {
        // Nobody ever got through to it, so that nothing else can have ended that.
        let mut last = life.containers_at(case.ended);
        if last.any(|one| one.is_on_loopback && listens(one, case)) {
            return Found::sure(Cause::WrongBind);
        }
        if let Some(found) = self.silent(life, case) {
            return found;
        }
        let Some(container) = life.container_at(case.ended) else {
            return Found::sure(Cause::PrematureReady);
        };
        // It said that it listens, or was never heard on its address, and nobody ended it.
        if listens(container, case) || self.deaf.contains(pod) {
            Found::sure(Cause::WrongBind)
        } else {
            self.not_yet(life, container, case.ended)
        }
    }

    /// Why nobody listens in a pod any more, or not yet, as far as the record says so.
    pub(super) fn silent(&self, life: &PodLife, case: &Case<'_>) -> Option<Found> {
        life.containers_at(case.ended).find_map(|container| {
            let would_say = container.tells_all || container.listening.is_some();
            if would_say && !listens(container, case) {
                // Whatever became of it later: nobody should have been sent to it yet.
                return Some(self.not_yet(life, container, case.ended));
            }
            self.end_of(life, container, case.ended)
        })
    }

    /// Why a container does not listen yet. If it is a restarted one, what ended the one before
    /// it is the cause.
    pub(super) fn not_yet(&self, life: &PodLife, container: &Container, at: Timestamp) -> Found {
        let before = life.container_before(container);
        before.and_then(|before| self.end_of(life, before, at)).unwrap_or(Found::since(
            Cause::PrematureReady,
            container.started,
            at,
        ))
    }

    /// Why a container answers nobody any more at `at`; `None` if nothing has ended it yet.
    pub(super) fn end_of(
        &self,
        life: &PodLife,
        container: &Container,
        at: Timestamp,
    ) -> Option<Found> {
        if let Some(killed) = probe_kill_by(container, at) {
            return Some(Found::since(Cause::LivenessKill, killed, at));
        }
        let deletion = life.deletion.map(|deletion| deletion.at);
        if let Some(sigterm) = container.sigterm {
            let onset = deletion.unwrap_or(sigterm);
            let cause = if container.exited.is_some_and(|exit| exit.oom && exit.at.may_be_by(at)) {
                Cause::Crash
            } else if self.endings.is_abrupt(life, container) {
                Cause::AbruptExit
            } else {
                Cause::TerminationRace
            };
            return sigterm.may_be_by(at).then(|| Found::since(cause, onset, at));
        }
        // Somebody else sent the signal, without a deletion: it drained while it was chosen.
        let closed = container.listener_closed.filter(|closed| closed.may_be_by(at));
        if let Some(closed) = closed {
            return Some(Found::since(Cause::TerminationRace, closed, at));
        }
        if let Some(exit) = container.exited {
            // It ended by itself, or was killed from outside; unless its pod was deleted in a gap,
            // in which nobody saw the signal.
            let is_doubtful =
                |deletion: Moment| deletion.is_vague() && deletion.may_be_by(exit.at.latest);
            let is_vague = deletion.is_some_and(is_doubtful) || exit.at.is_vague_at(at);
            return has_just_exited(exit.at, at).then_some(Found { cause: Cause::Crash, is_vague });
        }
        // Deleted without grace: no signal was seen, and no exit.
        let gone = life.gone.filter(|gone| gone.may_be_by(at))?;
        let deletion = deletion.filter(|deletion| deletion.may_be_by(at))?;
        Some(Found::since(Cause::TerminationRace, deletion.not_after(gone), at))
    }

    /// Why a pod breaks a connection off; `None` if nothing ends the container that it was to.
    pub(super) fn cuts(&self, life: &PodLife, case: &Case<'_>) -> Option<Found> {
        let mut containers = life.containers_at(case.chosen).peekable();
        if containers.peek().is_none() {
            return life.container_at(case.ended).and_then(|one| self.cut(life, one, case));
        }
        containers.find_map(|container| self.cut(life, container, case))
    }

    fn cut(&self, life: &PodLife, container: &Container, case: &Case<'_>) -> Option<Found> {
        let at = case.ended;
        if let Some(killed) = probe_kill_by(container, at) {
            return Some(Found::since(Cause::LivenessKill, killed, at));
        }
        let exited = container.exited.filter(|exit| has_just_exited(exit.at, at));
        if exited.is_some_and(|exit| exit.oom) {
            return self.end_of(life, container, at);
        }
        let forced = [container.sigkill, container.cancelled].into_iter().flatten();
        if let Some(forced) = forced.min_by_key(|moment| moment.at).filter(|one| one.may_be_by(at))
        {
            return Some(Found::since(Cause::GraceExceeded, forced, at));
        }
        let begun = container.sigterm.filter(|sigterm| sigterm.may_be_by(at));
        if begun.is_none() {
            return self.end_of(life, container, at);
        }
        let found = self.end_of(life, container, at)?;
        let is_drain = found.cause == Cause::TerminationRace;
        let cause = if is_drain { broken_in_drain(case, container) } else { found.cause };
        Some(Found { cause, ..found })
    }

    /// Why nobody was at a pod's address at `by`: its sandbox is gone, or its node.
    ///
    /// A pod that was being deleted had its address taken from it after its containers ended, so
    /// that this is the refusal of a moment before in another dress (`docs/decisions/0008`).
    pub(super) fn vanished(&self, life: &PodLife, case: &Case<'_>, by: Timestamp) -> Option<Found> {
        if let Some(lost) = is_node_lost(life, case) {
            return Some(lost);
        }
        let deletion = life.deletion.filter(|deletion| deletion.at.may_be_by(by))?;
        // Without a way to its address it has ended, even if nobody saw that.
        if case.contact != Contact::Unreachable && !has_ended(life, by) {
            return None;
        }
        let end = life.container_at(by).and_then(|container| self.end_of(life, container, by));
        Some(end.unwrap_or(Found::since(Cause::TerminationRace, deletion.at, by)))
    }
}

/// Whether a pod's node is lost at an attempt. One that is lost after the pod's deletion has
/// nothing to do with it.
pub(super) fn is_node_lost(life: &PodLife, case: &Case<'_>) -> Option<Found> {
    let is_during = |(from, to): &&(Moment, Option<Moment>)| {
        from.earliest.since(case.ended) <= NODE_GRACE
            && to.is_none_or(|to| to.latest >= case.started)
            && life.deletion.is_none_or(|deletion| deletion.at.at > from.at)
    };
    let lost = life.node_lost.iter().find(is_during)?;
    Some(Found::since(Cause::Blackhole, lost.0, case.ended))
}

/// Whether a container said that it listens, before the attempt began. (Refused at some instant
/// between its begin and when that was noticed.)
fn listens(container: &Container, case: &Case<'_>) -> bool {
    container.listening.is_some_and(|listening| listening.is_by(case.started))
}

/// Whether a container still serves by its own word at the end of an attempt.
pub(super) fn still_serves(container: &Container, case: &Case<'_>) -> bool {
    let at = case.ended;
    let exit = container.exited.map(|exit| exit.at);
    let ends = [container.listener_closed, container.cancelled, container.exiting, exit];
    let may_have_ended = ends.into_iter().flatten().any(|end| end.may_be_by(at + ACCEPT_GAP));
    listens(container, case) && !may_have_ended
}

fn probe_kill_by(container: &Container, at: Timestamp) -> Option<Moment> {
    container.probe_kill.map(|(killed, _)| killed).filter(|killed| killed.may_be_by(at))
}

/// Whether a container has ended at `at`, its exit being noticed a little late.
fn has_just_exited(exited: Moment, at: Timestamp) -> bool {
    exited.may_be_by(at + EXIT_LATENESS)
}

/// Whether nothing runs in a pod any more. Where nobody saw its container's end, the container's own
/// last word counts.
/// Whether the pod said that it turned requests away, since its queue was full.
pub(super) fn was_full(life: &PodLife, case: &Case<'_>) -> bool {
    life.containers_at(case.ended).any(|container| container.was_full(case.started, case.ended))
}

fn has_ended(life: &PodLife, at: Timestamp) -> bool {
    let has_exited = |container: &Container| {
        let ends = [container.exiting, container.exited.map(|exit| exit.at)];
        ends.into_iter().flatten().any(|end| end.may_be_by(at))
    };
    life.gone.is_some_and(|gone| gone.may_be_by(at)) || life.container_at(at).is_none_or(has_exited)
}

/// Broken between SIGTERM and a proper end.
fn broken_in_drain(case: &Case<'_>, container: &Container) -> Cause {
    if case.contact == Contact::Truncated {
        return Cause::AbruptExit;
    }
    if case.is_reused() {
        // It closed an idle connection that was being used again: nobody had told its user.
        return Cause::TerminationRace;
    }
    let waited = case
        .connection
        .zip(container.listener_closed)
        .map(|(connection, closed)| closed.earliest.since(connection.opened));
    let was_queued = waited.is_some_and(|waited| waited > ACCEPT_GAP);
    if case.contact == Contact::Reset && was_queued {
        Cause::AcceptQueueDrop
    } else {
        Cause::TerminationRace
    }
}
