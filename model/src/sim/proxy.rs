//! The way through a reverse proxy (`l7`): what its workers decide ([`crate::proxy`]), in virtual
//! time.
//!
//! What becomes of an attempt is planned as it begins, as on the straight way: an answer for when
//! its client has it, an error for when the worker sees it, which then sends the request elsewhere
//! or answers by itself.

use alloc::{format, string::String};

use super::{
    Sim,
    agenda::What,
    replica::{Door, Reply, Step},
    sending::{Kept, kept},
    traffic::{Attempt, Conn, Up},
};
use crate::{
    event::{EventKind, Source, WarningCode},
    outcome::{Connection, Hop, HopError, Outcome},
    proxy::{
        health::is_the_pods,
        retry::{Failed, Stage, may_retry},
        status,
        telling::{Alike, Told},
    },
    spec::Path,
    time::{Nanos, Timestamp},
};

impl<'a> Sim<'a> {
    fn path(&self) -> &'a Path {
        &self.run.scenario.path
    }

    /// A worker goes by another view.
    pub(super) fn apply_view(&mut self, worker: u32, pods: &[u32]) {
        let Some(worker) = self.proxy.worker(worker) else { return };
        for up in worker.apply(pods) {
            self.close_upstream(up);
        }
    }

    /// The proxy closes a connection.
    fn close_upstream(&mut self, up: u32) {
        let Some(Up { conn, .. }) = self.client.ups.remove(up) else { return };
        self.tell_closed(conn);
    }

    /// The pod learns that a connection is closed.
    fn tell_closed(&mut self, conn: Conn) {
        if let Some(pod) = conn.pod {
            self.hang_up_upstream(pod, conn.restarts);
        }
    }

    /// The request reaches the worker at `comes`.
    pub(super) fn through_proxy(&mut self, attempt: &mut Attempt, worker: u32, comes: Timestamp) {
        attempt.worker = Some(worker as u16);
        match self.proxy.pick(worker, &[], comes) {
            Some(to) => self.attempt_at(attempt, worker, to, comes),
            None => self.answer_itself(attempt, comes, HopError::NoEndpoint),
        }
    }

    /// The worker begins an attempt, at an endpoint and its pod.
    fn attempt_at(&mut self, attempt: &mut Attempt, worker: u32, to: (u32, u32), now: Timestamp) {
        let (endpoint, pod) = to;
        attempt.tries = attempt.tries.saturating_add(1);
        attempt.endpoint = Some(endpoint);
        attempt.pod = Some(pod);
        attempt.restarts = self.restarts(pod);
        let Some((up, state)) = self.idle_upstream(worker, endpoint, now) else {
            return self.connect_upstream(attempt, worker, pod, now);
        };
        attempt.up = Some(up);
        match state {
            Kept::Closing(at) => {
                let sees = (at + self.network()).max(now);
                self.fails(attempt, sees, HopError::Eof);
            }
            _ => self.upstream(attempt, pod, now + self.network(), now),
        }
    }

    /// The worker's connection to the endpoint that was used last, if it is open as far as is known.
    fn idle_upstream(&mut self, worker: u32, endpoint: u32, now: Timestamp) -> Option<(u32, Kept)> {
        let (network, timeout) = (self.network(), self.path().idle_timeout);
        loop {
            let (since, slot) = self.proxy.worker(worker)?.take_newest(endpoint)?;
            let up = self.client.ups.get_mut(slot)?;
            let idle = now.since(since);
            (up.started, up.sent, up.idle) = (now, now, idle);
            let state = if idle >= timeout {
                Kept::Closed
            } else {
                let (pod, restarts) = (up.conn.pod?, up.conn.restarts);
                kept(self.replica(pod, restarts).as_deref(), since, now, network)
            };
            if state != Kept::Closed {
                return Some((slot, state));
            }
            self.close_upstream(slot);
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
        let stands = now + network + network;
        let up = Up { conn, started: now, sent: stands, idle: Nanos::ZERO };
        attempt.up = Some(self.client.ups.insert(up));
        match self.door(pod) {
            Door::Closed => self.fails(attempt, stands, HopError::ConnectRefused),
            Door::Queued => {
                let sees = stands + self.path().response_timeout;
                self.fails(attempt, sees, HopError::Timeout);
            }
            Door::Open => {
                if let Some(replica) = self.replica(pod, restarts) {
                    replica.open += 1;
                }
                self.upstream(attempt, pod, stands + network, stands);
            }
        }
    }

    /// The request reaches the pod at `comes`; the worker sent it at `sent`.
    fn upstream(&mut self, attempt: &mut Attempt, pod: u32, comes: Timestamp, sent: Timestamp) {
        attempt.comes(comes);
        self.fails(attempt, sent + self.path().response_timeout, HopError::Timeout);
        // The proxy closes its connection as it gives up, and as soon as it learns that its client did.
        let network = self.network();
        let closes = (sent + self.path().response_timeout + network)
            .min(attempt.deadline + network + network);
        let kind = attempt.request.kind;
        let Some(replica) = self.replica(pod, attempt.restarts) else { return };
        match replica.take(comes, closes, kind) {
            Reply::Answer { at, is_refusal } => {
                if is_refusal {
                    self.tell_full(pod, attempt.restarts);
                }
                attempt.is_refusal = is_refusal;
                self.answers(attempt, at);
            }
            Reply::Stalled => {}
            Reply::Closed => {
                self.tell_full(pod, attempt.restarts);
                self.fails(attempt, comes + network, HopError::Eof);
            }
            Reply::Crash => self.plan_end(pod, attempt.restarts, comes, Step::Crash),
            Reply::OutOfMemory => {
                self.plan_end(pod, attempt.restarts, comes, Step::OutOfMemory);
            }
        }
    }

    /// The pod's answer leaves it at `at`, if the worker waits for so long.
    pub(super) fn answers(&self, attempt: &mut Attempt, at: Timestamp) {
        let (network, patience) = (self.network(), self.path().response_timeout);
        let sent = attempt.up.and_then(|up| self.client.ups.get(up)).map(|up| up.sent);
        match sent.map(|sent| sent + patience) {
            Some(gives_up) if at + network > gives_up => {
                self.fails(attempt, gives_up, HopError::Timeout);
            }
            _ => {
                attempt.is_failing = false;
                attempt.ending.hop = None;
                attempt.ending.outcome = self.answer(attempt);
                attempt.ending.at = at + network + network;
            }
        }
    }

    /// The worker will see an error at `sees`.
    pub(super) fn fails(&self, attempt: &mut Attempt, sees: Timestamp, error: HopError) {
        attempt.is_failing = true;
        attempt.ending.at = sees;
        attempt.ending.hop = Some(error);
        attempt.ending.outcome = own_answer(error);
    }

    /// The worker sees an error at `sees` and answers by itself.
    fn answer_itself(&self, attempt: &mut Attempt, sees: Timestamp, error: HopError) {
        self.fails(attempt, sees + self.network(), error);
        attempt.is_failing = false;
        attempt.answered = Some((sees, error));
    }

    /// A worker sees now that its attempt has failed: the request goes elsewhere, or the worker
    /// answers by itself.
    pub(super) fn attempt_failed(&mut self, slot: u32) {
        let Some(mut attempt) = self.client.attempts.get(slot).copied() else { return };
        let (Some(worker), Some(error)) = (attempt.worker(), attempt.ending.hop) else { return };
        let now = self.now;
        self.client.left.remove(&slot);
        self.health_failed(worker, attempt.endpoint, error);
        self.leave_pod(&attempt);
        self.close_failed(&attempt);
        let tried = self.leave_endpoint(&mut attempt);
        attempt.leaves();
        attempt.is_failing = false;
        match self.another(slot, &attempt, worker, tried, error) {
            None => self.answer_itself(&mut attempt, now, error),
            Some(to) => {
                let pod = attempt.pod.map(|pod| self.cluster.pod_name(pod).into());
                let hop = Hop { ended: now, ..self.hop(&attempt, worker, pod) };
                self.proxy.before.entry(slot).or_default().hops.push(hop);
                if let Some(up) = attempt.up.take() {
                    self.client.ups.remove(up);
                }
                self.attempt_at(&mut attempt, worker, to, now);
            }
        }
        self.replan(slot, attempt);
    }

    /// To whom a request is sent again of which an attempt came to `error`.
    fn another(
        &mut self,
        slot: u32,
        attempt: &Attempt,
        worker: u32,
        tried: Option<u32>,
        error: HopError,
    ) -> Option<(u32, u32)> {
        let made = self.proxy.before.get(&slot).map_or(0, |before| before.tried.len());
        let stage = match error {
            HopError::ConnectRefused => Stage::Connect,
            _ => Stage::Exchange,
        };
        let can_repeat = self.kinds.may_repeat(attempt.request.kind);
        let retry = self.path().retry;
        if made >= self.proxy.retries || !may_retry(retry, Failed { stage, error }, can_repeat) {
            return None;
        }
        let before = self.proxy.before.entry(slot).or_default();
        before.tried.extend(tried);
        let tried = before.tried.clone();
        self.proxy.pick(worker, &tried, self.now)
    }

    /// The connection of a failed attempt is of no more use.
    fn close_failed(&mut self, attempt: &Attempt) {
        let Some(up) = attempt.up.and_then(|up| self.client.ups.get(up)) else { return };
        let conn = up.conn;
        if attempt.came().is_some() || conn.served > 0 {
            self.tell_closed(conn);
        }
    }

    /// The endpoint has one request less in flight. Returns which.
    fn leave_endpoint(&mut self, attempt: &mut Attempt) -> Option<u32> {
        let number = attempt.endpoint.take()?;
        let endpoint = self.proxy.endpoint(attempt.worker()?, number)?;
        endpoint.active = endpoint.active.saturating_sub(1);
        Some(number)
    }

    fn health_failed(&mut self, worker: u32, endpoint: Option<u32>, error: HopError) {
        let (Some(limits), Some(endpoint)) = (self.proxy.limits, endpoint) else { return };
        if !is_the_pods(error) {
            return;
        }
        let now = self.now.0;
        let Some(endpoint) = self.proxy.endpoint(worker, endpoint) else { return };
        if let Some(fails) = endpoint.health.failed(limits, now)
            && !endpoint.is_removed
        {
            let pod = String::from(self.cluster.pod_name(endpoint.pod));
            self.emit(Source::Proxy, EventKind::EndpointEjected { consumer: worker, pod, fails });
        }
    }

    fn health_succeeded(&mut self, worker: u32, endpoint: Option<u32>) {
        let (Some(limits), Some(endpoint)) = (self.proxy.limits, endpoint) else { return };
        let Some(endpoint) = self.proxy.endpoint(worker, endpoint) else { return };
        if endpoint.health.succeeded(limits) && !endpoint.is_removed {
            let pod = String::from(self.cluster.pod_name(endpoint.pod));
            self.emit(Source::Proxy, EventKind::EndpointReadmitted { consumer: worker, pod });
        }
    }

    /// A request is over: what the worker had of it, and what it hid.
    pub(super) fn leave_proxy(&mut self, slot: u32, attempt: &mut Attempt) {
        let Some(worker) = attempt.worker() else { return };
        let ending = attempt.ending;
        let is_answered = ending.hop.is_none() && ending.outcome != Outcome::Timeout;
        if is_answered {
            self.health_succeeded(worker, attempt.endpoint);
        }
        if self.proxy.retries > 0
            && let Some(before) = self.proxy.before.remove(&slot)
        {
            for hop in before.hops {
                self.tell_hidden(attempt.request.number, is_answered, hop);
            }
        }
        self.give_back_upstream(attempt, worker, is_answered);
        self.leave_endpoint(attempt);
    }

    /// The connection to the pod goes back to where it waits, or is closed.
    fn give_back_upstream(&mut self, attempt: &Attempt, worker: u32, is_answered: bool) {
        let Some(slot) = attempt.up else { return };
        if attempt.answered.is_some() {
            self.client.ups.remove(slot);
            return;
        }
        let (now, path) = (self.now, self.path());
        let is_closing = !is_answered || self.is_closing(attempt);
        let Some(up) = self.client.ups.get_mut(slot) else { return };
        let was_used = attempt.came().is_some() || up.conn.served > 0;
        up.conn.served += 1;
        up.conn.idle_since = now;
        let most = path.max_requests_per_connection.map_or(u64::MAX, u64::from);
        let keeps = path.keep_alive && !is_closing && up.conn.served < most;
        match attempt.endpoint.zip(self.proxy.worker(worker)).filter(|_| keeps) {
            Some((endpoint, worker)) => {
                if let Some(closed) = worker.keep(endpoint, now, slot) {
                    self.close_upstream(closed);
                }
            }
            None if was_used => self.close_upstream(slot),
            // A connection that never came about needs no end.
            None => {
                self.client.ups.remove(slot);
            }
        }
        if keeps {
            self.watch_idle(worker, now + path.idle_timeout);
        }
    }

    fn watch_idle(&mut self, worker: u32, at: Timestamp) {
        if let Some(of) = self.proxy.worker(worker)
            && !of.is_watching
        {
            of.is_watching = true;
            self.agenda.plan(at, What::Idle(worker));
        }
    }

    /// Closes what has been idle for too long.
    pub(super) fn close_idle(&mut self, worker: u32) {
        let timeout = self.path().idle_timeout;
        let until = Timestamp(self.now.0.saturating_sub(timeout.0));
        loop {
            let Some(of) = self.proxy.worker(worker) else { return };
            of.is_watching = false;
            let Some(up) = of.take_oldest(until) else { break };
            self.close_upstream(up);
        }
        let oldest = self.proxy.worker(worker).and_then(|of| of.oldest());
        if let Some((since, _)) = oldest {
            self.watch_idle(worker, since + timeout);
        }
    }

    fn tell_hidden(&mut self, number: u64, rescued: bool, hop: Hop) {
        let key = Alike {
            worker: hop.consumer,
            pod: hop.pod.clone(),
            error: hop.error,
            tries: hop.tries,
            has_served: hop.connection.as_ref().is_some_and(|connection| connection.served > 0),
            rescued,
        };
        match self.proxy.telling.add(key, hop) {
            Told::Alone(hop) => self.retried(1, Some(number), rescued, hop),
            Told::Counted => {}
            Told::Dropped => self.proxy.dropped += 1,
        }
    }

    fn retried(&mut self, n: u64, request_id: Option<u64>, rescued: bool, hop: Hop) {
        let at = hop.ended;
        let kind = EventKind::Retried { n, request_id, rescued, hop };
        self.observer.event(at, Source::Proxy, kind, None);
    }

    /// Tells what is told once a second.
    pub(super) fn tell_retries(&mut self) {
        for (key, n, hop) in self.proxy.telling.end_second() {
            self.retried(n, None, key.rescued, hop);
        }
        let count = core::mem::take(&mut self.proxy.dropped);
        if count > 0 {
            let message = format!("the proxy did not report {count} retries");
            let code = WarningCode::OutputDropped;
            self.emit(Source::Proxy, EventKind::Warning { code, message });
        }
    }

    /// An attempt in the record's terms.
    pub(super) fn hop(&self, attempt: &Attempt, worker: u32, pod: Option<String>) -> Hop {
        let up = attempt.up.and_then(|up| self.client.ups.get(up));
        let sees = Timestamp(attempt.ending.at.0.saturating_sub(self.network().0));
        Hop {
            consumer: worker,
            error: attempt.ending.hop,
            pod,
            connection: up.map(|up| Connection {
                id: up.conn.id,
                opened: up.conn.opened,
                served: up.conn.served,
                idle: up.idle,
            }),
            started: up.map_or(attempt.sent, |up| up.started),
            ended: attempt.answered.map_or(sees, |(seen, _)| seen),
            tries: attempt.tries.into(),
        }
    }
}

/// What the client sees of the worker's own answer.
fn own_answer(error: HopError) -> Outcome {
    match status(error) {
        502 => Outcome::Status502,
        503 => Outcome::Status503,
        504 => Outcome::Status504,
        _ => Outcome::StatusOther,
    }
}
