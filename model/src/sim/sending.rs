//! Sending what is due, straight to the pods (`l4`) or to the proxy.
//!
//! As the load engine does it: the connection that has been idle for longest, else a new one to a
//! pod at random from the client's view, else the request waits.

use alloc::string::String;

use super::{
    Sim,
    agenda::What,
    replica::{Door, Replica, Reply, Step},
    traffic::{Attempt, Conn, Request},
};
use crate::{
    event::{EventKind, LifecyclePhase, Source},
    load::Arrival,
    outcome::{Failure, Outcome},
    spec::PathKind,
    time::{Nanos, Timestamp},
};

/// ECONNREFUSED and ECONNRESET, as Linux numbers them.
pub(super) const REFUSED: i32 = 111;
pub(super) const RESET: i32 = 104;

/// What a connection that was idle turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Open.
    Open,
    /// Closed, and its client knows.
    Closed,
    /// Closed at this time, and its client does not know yet.
    Closing(Timestamp),
}

/// Whether a server still holds a connection that was idle since `since`, as its client saw it.
pub(super) fn kept(
    replica: Option<&Replica>,
    since: Timestamp,
    now: Timestamp,
    network: Nanos,
) -> Kept {
    let Some(replica) = replica else { return Kept::Closed };
    let mut closed = replica.dead_at.unwrap_or(Timestamp::MAX);
    if let Some(timeout) = replica.idle_timeout() {
        closed = closed.min(since + timeout);
    }
    if let Some(at) = replica.closed_idle_at
        && at >= since
    {
        closed = closed.min(at);
    }
    if closed >= now + network {
        Kept::Open
    } else if closed + (network + replica.close_travels()) <= now {
        Kept::Closed
    } else {
        Kept::Closing(closed)
    }
}

impl Sim<'_> {
    /// The next request is due.
    #[inline(always)]
    pub(super) fn arrive(&mut self) {
        let Some(&arrival) = self.due.peek() else { return };
        self.due.advance();
        self.observer.owed(self.now, arrival);
        let Arrival { phase, number, kind, .. } = arrival;
        self.client.owed += 1;
        let kind = match kind {
            Some(kind) => self.kinds.of_trace(kind),
            None => self.kinds.draw(),
        };
        let request = Request { number, phase, kind, scheduled: self.now };
        if self.client.waiting.is_empty() && self.send(&request) {
            return;
        }
        let timeout = self.kinds.timeout(kind);
        self.client.waiting.push_back(request);
        self.agenda.plan(self.now + timeout, What::Waited);
    }

    /// Gives up those that have waited for as long as they may.
    pub(super) fn give_up_waiting(&mut self) {
        while let Some(request) = self.client.waiting.front().copied() {
            if request.scheduled + self.kinds.timeout(request.kind) > self.now {
                return;
            }
            self.client.waiting.pop_front();
            let outcome = Outcome::UnsentConnections;
            self.observer.unsent(outcome, request.phase, request.scheduled);
            self.observer.failure(self.failure(request, outcome, self.now));
        }
    }

    /// Sends those that wait, as far as connections allow it.
    pub(super) fn send_waiting(&mut self) {
        while let Some(request) = self.client.waiting.front().copied() {
            if !self.send(&request) {
                return;
            }
            self.client.waiting.pop_front();
        }
    }

    /// Sends a request if a connection is free or may be opened.
    fn send(&mut self, request: &Request) -> bool {
        while let Some(slot) = self.client.idle.pop_front() {
            let Some(conn) = self.client.conns.get(slot).copied() else { continue };
            let state = match conn.pod {
                None => Kept::Open,
                Some(pod) => {
                    let (now, network) = (self.now, self.network());
                    let replica = self.replica(pod, conn.restarts);
                    kept(replica.as_deref(), conn.idle_since, now, network)
                }
            };
            match state {
                Kept::Closed => self.hang_up(slot),
                Kept::Open => {
                    self.on_connection(request, slot, conn, None);
                    return true;
                }
                Kept::Closing(at) => {
                    self.on_connection(request, slot, conn, Some(at));
                    return true;
                }
            }
        }
        if self.client.conns.len() as u64 >= u64::from(self.run.scenario.traffic.max_connections) {
            return false;
        }
        match self.run.scenario.path.kind {
            PathKind::L4 => self.connect_to_pod(request),
            PathKind::L7 => self.connect_to_proxy(request),
        }
        true
    }

    /// On a connection that was idle; `closed` by its server meanwhile.
    #[inline(always)]
    fn on_connection(
        &mut self,
        request: &Request,
        slot: u32,
        conn: Conn,
        closed: Option<Timestamp>,
    ) {
        let network = self.network();
        let mut attempt = self.attempt(request, slot);
        attempt.pod = conn.pod;
        attempt.restarts = conn.restarts;
        match (conn.pod, closed) {
            (None, _) => {
                let comes = self.now + network;
                self.through_proxy(&mut attempt, conn.consumer, comes);
            }
            (Some(_), Some(at)) => {
                attempt.ending.outcome = Outcome::EofReused;
                attempt.ending.at = (at + network).max(self.now);
            }
            (Some(pod), None) => self.at_pod(&mut attempt, pod, self.now + network),
        }
        self.begin(&mut attempt);
    }

    fn connect_to_pod(&mut self, request: &Request) {
        let consumer = self.client.next_client;
        self.client.next_client = (consumer + 1) % self.views.len().max(1) as u32;
        let view = self.views.get(consumer as usize).map_or(&[][..], |view| view);
        if view.is_empty() {
            return self.no_endpoint(request, consumer);
        }
        let pod = view[self.endpoints.below(view.len() as u64) as usize];
        let network = self.network();
        let restarts = self.restarts(pod);
        let slot = self.open(Some(pod), restarts, consumer);
        let mut attempt = self.attempt(request, slot);
        attempt.pod = Some(pod);
        attempt.restarts = restarts;
        match self.door(pod) {
            Door::Closed => {
                attempt.ending.outcome = Outcome::ConnectRefused;
                attempt.ending.at = self.now + network + network;
            }
            Door::Queued => {}
            Door::Open => {
                if let Some(replica) = self.replica(pod, restarts) {
                    replica.open += 1;
                }
                let comes = self.now + Nanos(3 * network.0);
                self.at_pod(&mut attempt, pod, comes);
            }
        }
        self.begin(&mut attempt);
    }

    fn connect_to_proxy(&mut self, request: &Request) {
        let workers = self.proxy.workers.len().max(1) as u64;
        let worker = self.balancing.below(workers) as u32;
        let slot = self.open(None, 0, worker);
        let mut attempt = self.attempt(request, slot);
        let comes = self.now + Nanos(3 * self.network().0);
        self.through_proxy(&mut attempt, worker, comes);
        self.begin(&mut attempt);
    }

    pub(super) fn restarts(&self, pod: u32) -> u32 {
        let replica = self.replicas.get(pod as usize).and_then(Option::as_ref);
        replica.map_or(0, |replica| replica.container.restarts)
    }

    /// What a connection attempt to the pod meets now.
    pub(super) fn door(&self, pod: u32) -> Door {
        let replica = self.replicas.get(pod as usize).and_then(Option::as_ref);
        replica.map_or(Door::Closed, Replica::door)
    }

    fn open(&mut self, pod: Option<u32>, restarts: u32, consumer: u32) -> u32 {
        let id = self.client.next_conn;
        self.client.next_conn += 1;
        self.client.connects += 1;
        self.client.conns.insert(Conn {
            id,
            pod,
            restarts,
            consumer,
            opened: self.now,
            served: 0,
            idle_since: self.now,
        })
    }

    #[inline(always)]
    fn attempt(&self, request: &Request, conn: u32) -> Attempt {
        Attempt::new(request, self.now, conn, self.now + self.kinds.timeout(request.kind))
    }

    /// The request reaches the pod at `comes`.
    #[inline(always)]
    fn at_pod(&mut self, attempt: &mut Attempt, pod: u32, comes: Timestamp) {
        let network = self.network();
        attempt.comes(comes);
        let kind = attempt.request.kind;
        let (deadline, outcome) = (attempt.deadline, self.kinds.answer(kind).0);
        let Some(replica) = self.replica(pod, attempt.restarts) else { return };
        // It closes the connection, and the pod learns of that one way later.
        match replica.take(comes, deadline + network, kind) {
            Reply::Answer { at, is_refusal } => {
                if is_refusal {
                    self.tell_full(pod, attempt.restarts);
                }
                attempt.is_refusal = is_refusal;
                attempt.ending.outcome = if is_refusal { Outcome::Status503 } else { outcome };
                attempt.ending.at = at + network;
            }
            Reply::Stalled => {}
            Reply::Closed => {
                self.tell_full(pod, attempt.restarts);
                let served = self.client.conns.get(attempt.conn).map_or(0, |conn| conn.served);
                let is_new = served == 0;
                attempt.ending.outcome = if is_new { Outcome::EofNew } else { Outcome::EofReused };
                attempt.ending.at = comes + network;
            }
            Reply::Crash => self.plan_end(pod, attempt.restarts, comes, Step::Crash),
            Reply::OutOfMemory => {
                self.plan_end(pod, attempt.restarts, comes, Step::OutOfMemory);
            }
        }
    }

    /// A pod that turned a request away tells that its queue is full, if it is time to.
    pub(super) fn tell_full(&mut self, pod: u32, restarts: u32) {
        let Some(replica) = self.replica(pod, restarts) else { return };
        if core::mem::take(&mut replica.tells_full) {
            let (pod, detail) = (self.cluster.pod_name(pod).into(), String::new());
            let kind = EventKind::Lifecycle { pod, phase: LifecyclePhase::QueueFull, detail };
            self.emit(Source::Target, kind);
        }
    }

    #[inline(always)]
    fn count_sent(&mut self, request: &Request) {
        self.client.sent += 1;
        let &Request { number, phase, scheduled, .. } = request;
        let at = self.start.map_or(Nanos::ZERO, |start| scheduled.since(start));
        let arrival = Arrival { at, number, phase, kind: None };
        self.observer.sent(self.now, arrival, self.now.since(scheduled));
    }

    /// Plans an attempt's end, which is at its client's patience at the latest.
    #[inline(always)]
    pub(super) fn begin(&mut self, attempt: &mut Attempt) {
        self.count_sent(&attempt.request);
        attempt.keep_to_deadline();
        let at = attempt.ending.at;
        attempt.version = self.agenda.plan_end(at, self.client.attempts.next());
        self.client.attempts.insert(*attempt);
    }

    /// No endpoint: kube-proxy rejects the connection, which a client sees as refused.
    fn no_endpoint(&mut self, request: &Request, consumer: u32) {
        self.count_sent(request);
        let times = super::Times { scheduled: request.scheduled, sent: self.now, ended: self.now };
        self.observer.ended(Outcome::ConnectRefused, request.phase, times);
        let mut failure = self.failure(*request, Outcome::ConnectRefused, self.now);
        failure.errno = Some(REFUSED);
        failure.consumer = Some(consumer);
        self.observer.failure(failure);
    }

    pub(super) fn failure(&self, request: Request, outcome: Outcome, sent: Timestamp) -> Failure {
        Failure {
            n: 1,
            outcome,
            phase: request.phase,
            kind: request.kind,
            scheduled: request.scheduled,
            sent,
            first_byte: None,
            ended: self.now,
            status: None,
            errno: None,
            pod: None,
            connection: None,
            hop: None,
            request_id: None,
            consumer: None,
        }
    }
}
