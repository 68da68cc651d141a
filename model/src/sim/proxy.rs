//! The way through a reverse proxy (`l7`): workers, each with a view of its own and a pool of
//! connections to the pods.

use super::{
    Sim,
    replica::{Door, Reply, Step},
    sending::{Kept, kept},
    traffic::{Attempt, Conn, Up},
};
use crate::{
    outcome::{HopError, Outcome},
    time::{Nanos, Timestamp},
};

impl Sim<'_> {
    /// The request reaches the worker at `comes`.
    pub(super) fn through_proxy(&mut self, attempt: &mut Attempt, worker: u32, comes: Timestamp) {
        attempt.worker = Some(worker);
        let view = self.views.get(worker as usize).map_or(&[][..], |view| view);
        let Some(place) = self.workers.get_mut(worker as usize) else { return };
        if view.is_empty() {
            return self.answer_itself(attempt, comes, HopError::NoEndpoint);
        }
        let pod = view[(place.next % view.len() as u64) as usize];
        place.next += 1;
        attempt.pod = Some(pod);
        attempt.restarts = self.restarts(pod);
        match self.idle_upstream(worker, pod, comes) {
            Some((conn, Kept::Closing(at))) => {
                let idle = comes.since(conn.idle_since);
                attempt.up = Some(self.client.ups.insert(Up { conn, started: comes, idle }));
                let sees = (at + self.network()).max(comes);
                self.answer_itself(attempt, sees, HopError::Eof);
            }
            Some((conn, _)) => {
                let idle = comes.since(conn.idle_since);
                attempt.up = Some(self.client.ups.insert(Up { conn, started: comes, idle }));
                let at_pod = comes + self.network();
                self.upstream(attempt, pod, at_pod, comes);
            }
            None => self.connect_upstream(attempt, worker, pod, comes),
        }
    }

    /// The worker's connection to the pod that was used last, if it is open as far as is known.
    fn idle_upstream(&mut self, worker: u32, pod: u32, now: Timestamp) -> Option<(Conn, Kept)> {
        let (network, timeout) = (self.network(), self.run.scenario.path.idle_timeout);
        loop {
            let idle = &mut self.workers.get_mut(worker as usize)?.idle;
            let place = idle.iter().rposition(|conn| conn.pod == Some(pod))?;
            let conn = idle.remove(place);
            let replica = self.replica(pod, conn.restarts);
            let state = if now.since(conn.idle_since) > timeout {
                Kept::Closed
            } else {
                kept(replica.as_deref(), conn.idle_since, now, network)
            };
            if state != Kept::Closed {
                return Some((conn, state));
            }
            self.hang_up_upstream(pod, conn.restarts);
        }
    }

    fn connect_upstream(&mut self, attempt: &mut Attempt, worker: u32, pod: u32, now: Timestamp) {
        let network = self.network();
        let id = self.client.next_conn;
        self.client.next_conn += 1;
        let restarts = attempt.restarts;
        let conn = Conn {
            id,
            pod: Some(pod),
            restarts,
            consumer: worker,
            opened: now,
            served: 0,
            idle_since: now,
        };
        let up = Up { conn, started: now, idle: Nanos::ZERO };
        attempt.up = Some(self.client.ups.insert(up));
        match self.door(pod) {
            Door::Closed => {
                let sees = now + network + network;
                self.answer_itself(attempt, sees, HopError::ConnectRefused);
            }
            Door::Queued => {
                let sees = now + self.run.scenario.path.response_timeout;
                self.answer_itself(attempt, sees, HopError::Timeout);
            }
            Door::Open => {
                if let Some(replica) = self.replica(pod, restarts) {
                    replica.open += 1;
                }
                self.upstream(attempt, pod, now + Nanos(3 * network.0), now);
            }
        }
    }

    /// The request reaches the pod at `comes`; the worker began with it at `began`.
    fn upstream(&mut self, attempt: &mut Attempt, pod: u32, comes: Timestamp, began: Timestamp) {
        let network = self.network();
        let gives_up = began + self.run.scenario.path.response_timeout;
        attempt.came = Some(comes);
        let Some(replica) = self.replica(pod, attempt.restarts) else { return };
        // The proxy closes its connection as it gives up, and as soon as it learns that its client did.
        let closes = (gives_up + network).min(attempt.deadline + network + network);
        match replica.take(comes, closes) {
            Reply::Answer { at, is_refusal } if at + network <= gives_up => {
                attempt.is_refusal = is_refusal;
                attempt.ending.outcome = if is_refusal { Outcome::Status503 } else { Outcome::Ok };
                attempt.ending.at = at + network + network;
            }
            Reply::Answer { .. } | Reply::Stalled => {
                self.answer_itself(attempt, gives_up, HopError::Timeout);
            }
            Reply::Closed => self.answer_itself(attempt, comes + network, HopError::Eof),
            Reply::Crash => {
                self.answer_itself(attempt, gives_up, HopError::Timeout);
                self.plan_end(pod, attempt.restarts, comes, Step::Crash);
            }
            Reply::OutOfMemory => {
                self.answer_itself(attempt, gives_up, HopError::Timeout);
                self.plan_end(pod, attempt.restarts, comes, Step::OutOfMemory);
            }
        }
    }

    /// The worker sees an error at `sees` and answers by itself.
    pub(super) fn answer_itself(&self, attempt: &mut Attempt, sees: Timestamp, error: HopError) {
        attempt.ending.at = sees + self.network();
        attempt.ending.hop = Some(error);
        attempt.ending.outcome = match error {
            HopError::NoEndpoint => Outcome::Status503,
            HopError::Timeout | HopError::ConnectTimeout => Outcome::Status504,
            _ => Outcome::Status502,
        };
    }
}
