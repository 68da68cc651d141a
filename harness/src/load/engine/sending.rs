//! Sending what is due: on an idle connection, on a new one, or later.

use std::sync::Arc;

use highwater_model::{
    load::Arrival,
    outcome::{Failure, Outcome, OutcomeGroup},
    time::{Nanos, Timestamp},
};

use super::{BURST_MAX, Chosen, Deadline, Engine, Waiting};
use crate::load::{
    Route,
    connection::{Attempt, Conn, State, connect, connect_outcome},
    recorder::Times,
    request, response,
};

impl Engine {
    pub(super) fn send_due(&mut self, now: Timestamp) {
        for _ in 0..BURST_MAX {
            let Some(arrival) = self.ahead.front().copied() else { return };
            let scheduled = self.config.start + arrival.at;
            if scheduled > now {
                return;
            }
            self.ahead.pop_front();
            self.recorder.owed(scheduled, arrival.phase);
            self.counts.owed += 1;
            self.watches[0].see(self.config.schedule.profile(), arrival, arrival.at);
            let own = request::own_kinds(&self.config.traffic);
            let kind = match arrival.kind {
                Some(kind) => own as u16 + kind as u16,
                None => request::choose(&self.config.kinds[..own], &mut self.kind_stream),
            };
            let waiting = Waiting { number: arrival.number, phase: arrival.phase, kind, scheduled };
            if !self.waiting.is_empty() || !self.send(waiting) {
                self.waiting.push_back(waiting);
            }
            // After sending, which is what is due.
            self.look_ahead(now);
        }
    }

    /// Sends the request if a connection is free or may be opened.
    pub(super) fn send(&mut self, request: Waiting) -> bool {
        if let Some(slot) = self.take_idle() {
            self.send_on(slot, request, self.now());
            return true;
        }
        if self.open >= u64::from(self.config.traffic.max_connections) {
            return false;
        }
        self.open_and_send(request, self.now());
        true
    }

    /// Sends the request that a closed loop owes at this very instant; it has a connection each.
    pub(super) fn send_now(&mut self, request: Waiting, now: Timestamp) {
        match self.take_idle() {
            Some(slot) => self.send_on(slot, request, now),
            None => self.open_and_send(request, now),
        }
    }

    fn send_on(&mut self, slot: usize, request: Waiting, now: Timestamp) {
        let Some(conn) = &mut self.slots[slot] else { return };
        let State::Idle { since } = conn.state else { unreachable!("only idle ones are taken") };
        conn.state = State::Busy;
        conn.attempt = Some(attempt(request, now, now.since(since)));
        self.began(slot, request, now);
        self.write_request(slot);
    }

    pub(super) fn began(&mut self, slot: usize, request: Waiting, now: Timestamp) {
        self.note_sent(request, now);
        self.in_flight += 1;
        let kind = usize::from(request.kind);
        let at = now + self.config.kinds[kind].timeout;
        self.deadlines[kind].push_back(Deadline { at, slot, number: request.number });
    }

    /// Counts a request as sent at `now`.
    fn note_sent(&mut self, request: Waiting, now: Timestamp) {
        self.counts.sent += 1;
        match self.counts.sent_in.last_mut() {
            Some((second, n)) if *second == now.second() => *n += 1,
            _ => self.counts.sent_in.push((now.second(), 1)),
        }
        if self.closed.is_some() {
            // It owes when it sends; there is no process that it would follow.
            return;
        }
        let start = self.config.start;
        let Waiting { number, phase, scheduled, .. } = request;
        let planned = Arrival { at: scheduled.since(start), phase, number, kind: None };
        self.watches[1].see(self.config.schedule.profile(), planned, now.since(start));
    }

    pub(super) fn take_idle(&mut self) -> Option<usize> {
        while let Some((slot, id)) = self.idle.pop_front() {
            let conn = self.slots[slot].as_ref();
            if conn.is_some_and(|conn| conn.id == id && matches!(conn.state, State::Idle { .. })) {
                return Some(slot);
            }
        }
        None
    }

    fn open_and_send(&mut self, request: Waiting, now: Timestamp) {
        let (pod, client, address) = match self.choose_address() {
            Ok(chosen) => chosen,
            Err(client) => return self.no_endpoint(request, client, now),
        };
        self.counts.connects += 1;
        let socket = match connect(address) {
            Ok(socket) => socket,
            Err(errno) => return self.not_connected(request, pod, client, errno, now),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let id = self.config.share.number(self.next_conn);
        self.next_conn += 1;
        if let Err(error) = self.poller.add(&socket, slot) {
            self.free.push(slot);
            return self.not_connected(
                request,
                pod,
                client,
                error.raw_os_error().unwrap_or(0),
                now,
            );
        }
        self.open += 1;
        self.slots[slot] = Some(Conn {
            id,
            socket,
            pod,
            client,
            opened: now,
            served: 0,
            state: State::Connecting,
            attempt: Some(attempt(request, now, Nanos::ZERO)),
            parser: response::Parser::default(),
            unwritten: Vec::new(),
        });
        self.began(slot, request, now);
    }

    /// Pod, client and address of a new connection; the client whose view is empty as an error.
    pub(super) fn choose_address(&mut self) -> Result<Chosen, Option<u32>> {
        match &self.config.route {
            Route::Proxy(address) | Route::Service(address) | Route::Url(address) => {
                Ok((None, None, *address))
            }
            Route::Endpoints { clients } => {
                let client = self.next_client;
                self.next_client = (client + 1) % (*clients).max(1);
                let view = self
                    .views
                    .get(client as usize)
                    .filter(|view| !view.is_empty())
                    .ok_or(Some(client))?;
                let (pod, address) = &view[self.endpoint_stream.below(view.len() as u64) as usize];
                Ok((Some(pod.clone()), Some(client), *address))
            }
        }
    }

    /// No endpoint: kube-proxy rejects the connection, which a client sees as refused (row 11).
    pub(super) fn no_endpoint(&mut self, request: Waiting, client: Option<u32>, now: Timestamp) {
        let errno = rustix::io::Errno::CONNREFUSED.raw_os_error();
        self.not_connected(request, None, client, errno, now);
    }

    /// A connection that did not even begin.
    pub(super) fn not_connected(
        &mut self,
        request: Waiting,
        pod: Option<Arc<str>>,
        client: Option<u32>,
        errno: i32,
        now: Timestamp,
    ) {
        let outcome = connect_outcome(errno);
        let times = Times { scheduled: request.scheduled, sent: now, ended: self.now() };
        if outcome.group() == OutcomeGroup::Unsent {
            self.recorder.unsent(outcome, request.phase, request.scheduled);
        } else {
            self.note_sent(request, now);
            self.recorder.ended(outcome, request.phase, times);
        }
        self.recorder.failure(Failure {
            n: 1,
            outcome,
            phase: request.phase,
            kind: request.kind,
            scheduled: request.scheduled,
            sent: now,
            first_byte: None,
            ended: times.ended,
            status: None,
            errno: Some(errno),
            pod: pod.map(|pod| pod.to_string()),
            connection: None,
            hop: None,
            request_id: None,
            consumer: client,
        });
        self.rest(times.ended);
    }

    pub(super) fn write_request(&mut self, slot: usize) {
        let Some(conn) = &mut self.slots[slot] else {
            return;
        };
        let Some(attempt) = conn.attempt else { return };
        let kind = &self.config.kinds[usize::from(attempt.kind)];
        conn.parser.reset(kind.is_head);
        self.scratch.clear();
        let id = self.config.route.carries_id().then_some(attempt.number);
        kind.write(id, &mut self.scratch);
        let written = conn.write(&self.scratch);
        self.after_write(slot, written);
    }

    pub(super) fn after_write(&mut self, slot: usize, written: std::io::Result<()>) {
        match written {
            Ok(()) => {
                let Some(conn) = &self.slots[slot] else {
                    return;
                };
                if !conn.unwritten.is_empty() {
                    self.interest(slot, true);
                }
            }
            // What the peer had to say before it broke the connection is still to be read; the
            // read then also tells how it broke.
            Err(error) => self.read(slot, Some(error.raw_os_error().unwrap_or(0))),
        }
    }

    pub(super) fn interest(&mut self, slot: usize, is_writing: bool) {
        let Some(conn) = &self.slots[slot] else {
            return;
        };
        if let Err(error) = self.poller.modify(&conn.socket, slot, is_writing) {
            self.fail(slot, Outcome::ConnectOther, error.raw_os_error());
        }
    }
}

fn attempt(request: Waiting, now: Timestamp, idle: Nanos) -> Attempt {
    Attempt {
        kind: request.kind,
        phase: request.phase,
        scheduled: request.scheduled,
        sent: now,
        first_byte: None,
        number: request.number,
        idle,
    }
}
