//! The ends of requests: as planned, or cut off by what happens to their pod.

use alloc::{string::ToString as _, vec::Vec};

use super::{
    Sim, Times,
    sending::{REFUSED, RESET},
    traffic::Attempt,
};
use crate::{
    event::{EventKind, Source},
    outcome::{Connection, HopError, Outcome},
    time::{Nanos, Timestamp},
};

impl Sim<'_> {
    /// An attempt comes to its end, unless that was changed meanwhile.
    #[inline(always)]
    pub(super) fn end(&mut self, slot: u32, version: u64) {
        let Some(attempt) = self.client.attempts.get(slot) else { return };
        if attempt.version != version {
            return;
        }
        if attempt.is_failing {
            return self.attempt_failed(slot);
        }
        let mut attempt = *attempt;
        self.client.attempts.remove(slot);
        if !self.client.left.is_empty() {
            self.client.left.remove(&slot);
        }
        self.leave_pod(&attempt);
        let Attempt { request, sent, ending, .. } = attempt;
        let times = Times { scheduled: request.scheduled, sent, ended: self.now };
        self.observer.ended(ending.outcome, request.phase, times);
        if ending.outcome != Outcome::Ok {
            self.tell_failure(&attempt);
        }
        self.leave_proxy(slot, &mut attempt);
        self.give_back(&attempt);
        if !self.client.waiting.is_empty() {
            self.send_waiting();
        }
    }

    /// What the client makes of the pod's answer.
    pub(super) fn answer(&self, attempt: &Attempt) -> Outcome {
        if attempt.is_refusal {
            Outcome::Status503
        } else {
            self.kinds.answer(attempt.request.kind).0
        }
    }

    /// The pod has nothing to do with the request any more.
    #[inline(always)]
    pub(super) fn leave_pod(&mut self, attempt: &Attempt) {
        let (Some(pod), Some(came)) = (attempt.pod, attempt.came()) else { return };
        let now = self.now;
        let is_answered = is_answer(attempt.ending.outcome) && attempt.ending.hop.is_none();
        let mut acts = Vec::new();
        let Some(replica) = self.replica(pod, attempt.restarts) else { return };
        if is_answered {
            replica.answered(came, now, attempt.is_refusal);
        }
        replica.left(now, &mut acts);
        let container = replica.container;
        self.do_acts(container, acts);
    }

    /// Whether the pod ends the connection of its answer, or has ended itself.
    pub(super) fn is_closing(&mut self, attempt: &Attempt) -> bool {
        let replica = attempt.pod.and_then(|pod| self.replica(pod, attempt.restarts));
        replica.is_some_and(|replica| replica.announces_close() || replica.is_dead())
    }

    /// The client's connection goes back to where it waits, or is closed.
    #[inline(always)]
    fn give_back(&mut self, attempt: &Attempt) {
        let is_answered = is_answer(attempt.ending.outcome);
        // The proxy keeps its clients, whatever it answers; a pod only as long as it goes on.
        let is_kept = if attempt.worker.is_some() {
            attempt.ending.outcome != Outcome::Timeout
        } else {
            is_answered && !self.is_closing(attempt)
        };
        if !(is_kept && self.run.scenario.traffic.keep_alive) {
            return self.hang_up(attempt.conn);
        }
        if let Some(conn) = self.client.conns.get_mut(attempt.conn) {
            conn.served += 1;
            conn.idle_since = self.now;
            self.client.idle.push_back(attempt.conn);
        }
    }

    /// A client closes its connection.
    pub(super) fn hang_up(&mut self, slot: u32) {
        let Some(conn) = self.client.conns.remove(slot) else { return };
        if let Some(pod) = conn.pod {
            self.hang_up_upstream(pod, conn.restarts);
        }
    }

    pub(super) fn hang_up_upstream(&mut self, pod: u32, restarts: u32) {
        let now = self.now;
        let mut acts = Vec::new();
        let Some(replica) = self.replica(pod, restarts) else { return };
        replica.hung_up(now, &mut acts);
        let container = replica.container;
        self.do_acts(container, acts);
    }

    /// Whatever is at the container is cut off now: with the process, or by it.
    pub(super) fn cut(&mut self, pod: u32, restarts: u32) {
        let concerned = |attempt: &Attempt| {
            attempt.pod == Some(pod) && attempt.restarts == restarts && attempt.came().is_some()
        };
        self.change(concerned, |attempt, now| {
            let has_come = attempt.came().is_some_and(|came| came <= now);
            if has_come { HopError::Eof } else { HopError::Reset }
        });
    }

    /// Whatever waits in the queue of a listener is cut off, as it closes.
    pub(super) fn cut_queue(&mut self, pod: u32, restarts: u32) {
        let concerned = |attempt: &Attempt| {
            let is_there = attempt.pod == Some(pod) && attempt.restarts == restarts;
            let was_refused = matches!(attempt.ending.outcome, Outcome::ConnectRefused)
                || attempt.ending.hop == Some(HopError::ConnectRefused);
            let waits = attempt.came().is_none() && attempt.answered.is_none();
            is_there && waits && !was_refused
        };
        self.change(concerned, |_, _| HopError::Reset);
    }

    /// Gives the attempts concerned another end, if it comes before theirs.
    fn change(
        &mut self,
        concerned: impl Fn(&Attempt) -> bool,
        how: impl Fn(&Attempt, Timestamp) -> HopError,
    ) {
        let (now, network) = (self.now, self.network());
        let sees = now + network;
        let slots: Vec<u32> = self
            .client
            .attempts
            .iter()
            .filter(|(_, attempt)| concerned(attempt) && attempt.known_at(network) > sees)
            .map(|(slot, _)| slot)
            .collect();
        for slot in slots {
            let Some(mut attempt) = self.client.attempts.get(slot).copied() else { continue };
            let error = how(&attempt, now);
            if attempt.worker.is_some() {
                self.fails(&mut attempt, sees, error);
            } else {
                let served = self.client.conns.get(attempt.conn).map_or(0, |conn| conn.served);
                attempt.ending.at = sees;
                attempt.ending.outcome = match (error, served) {
                    (HopError::Eof, 0) => Outcome::EofNew,
                    (HopError::Eof, _) => Outcome::EofReused,
                    (_, 0) => Outcome::ResetNew,
                    _ => Outcome::ResetReused,
                };
            }
            self.replan(slot, attempt);
        }
    }

    pub(super) fn replan(&mut self, slot: u32, mut attempt: Attempt) {
        attempt.keep_to_deadline();
        attempt.version = self.agenda.plan_end(attempt.ending.at, slot);
        if let Some(known) = self.client.attempts.get_mut(slot) {
            *known = attempt;
        }
    }

    fn tell_failure(&mut self, attempt: &Attempt) {
        let ending = attempt.ending;
        let pod = attempt.pod.map(|pod| self.cluster.pod_name(pod).to_string());
        let conn = self.client.conns.get(attempt.conn).copied();
        let mut failure = self.failure(attempt.request, ending.outcome, attempt.sent);
        failure.status = match ending.outcome {
            Outcome::Status502 => Some(502),
            Outcome::Status503 => Some(503),
            Outcome::Status504 => Some(504),
            Outcome::StatusOther => Some(self.kinds.answer(attempt.request.kind).1),
            _ => None,
        };
        failure.errno = match ending.outcome {
            Outcome::ConnectRefused => Some(REFUSED),
            Outcome::ResetNew | Outcome::ResetReused => Some(RESET),
            _ => None,
        };
        failure.first_byte = failure.status.map(|_| ending.at);
        failure.connection = conn.map(|conn| Connection {
            id: conn.id,
            opened: conn.opened,
            served: conn.served,
            idle: if conn.served > 0 { attempt.sent.since(conn.idle_since) } else { Nanos::ZERO },
        });
        match attempt.worker() {
            None => {
                failure.pod = pod;
                failure.consumer = conn.map(|conn| conn.consumer);
            }
            Some(worker) => {
                failure.request_id = Some(attempt.request.number);
                // A client that gave up has heard nothing of the proxy, which tells of it.
                let is_told = ending.outcome != Outcome::Timeout;
                if !is_told {
                    let mut hop = self.hop(attempt, worker, pod.clone());
                    let met = attempt.answered.map(|(_, error)| error);
                    hop.error = met.or(Some(HopError::ClientGone));
                    let request_id = attempt.request.number;
                    self.emit(Source::Proxy, EventKind::ClientGone { request_id, hop });
                }
                failure.pod = pod.clone().filter(|_| is_told);
                failure.hop = is_told.then(|| self.hop(attempt, worker, pod));
            }
        }
        self.observer.failure(failure);
    }
}

/// Whether a client has got an answer, good or bad.
fn is_answer(outcome: Outcome) -> bool {
    use Outcome::{Ok, Status502, Status503, Status504, StatusOther};
    matches!(outcome, Ok | Status502 | Status503 | Status504 | StatusOther)
}
