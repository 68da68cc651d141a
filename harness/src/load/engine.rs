//! One thread with an epoll loop that sends what is due and reads what comes.
//!
//! Each turn: take orders, send what is due, give up what is too late, hand over the news of the
//! second, then wait for sockets until the next of these. The clock is read when something is
//! stamped, never to decide about the past.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, mpsc::Receiver},
};

use highwater_model::{
    load::Arrival,
    outcome::{Failure, Hop, Outcome, OutcomeGroup},
    rng::Stream,
    time::{Nanos, SECOND, Timestamp},
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Config, Control, Route, Second, Update,
    connection::{Attempt, Conn, ReadEnd, State, broken_outcome, connect, connect_outcome},
    poll::{Poller, Ready},
    recorder::{Recorder, Times},
    request, response,
};
use crate::{
    clock,
    record::{Sample, hist},
};

/// Requests sent before sockets are looked at again, when many are due at once.
const BURST_MAX: usize = 256;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads from one connection before the others get their turn.
const READS_MAX: usize = 16;

type Endpoints = Vec<(Arc<str>, SocketAddr)>;
/// Pod, client and address of a new connection.
type Chosen = (Option<Arc<str>>, Option<u32>, SocketAddr);

/// A request that waits for a connection.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: u64,
    phase: u16,
    kind: u16,
    scheduled: Timestamp,
}

/// When an attempt is given up: attempts of one kind are sent in order, so their deadlines are in
/// order too, and one queue per kind needs no sorting.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Timestamp,
    slot: usize,
    number: u64,
}

/// The engine; see the module.
pub struct Engine {
    config: Config,
    poller: Poller,
    orders: Receiver<Control>,
    news: UnboundedSender<Update>,
    recorder: Recorder,
    kind_stream: Stream,
    endpoint_stream: Stream,
    next: Option<Arrival>,
    slots: Vec<Option<Conn>>,
    free: Vec<usize>,
    idle: VecDeque<(usize, u64)>,
    waiting: VecDeque<Waiting>,
    deadlines: Vec<VecDeque<Deadline>>,
    views: Vec<Endpoints>,
    next_client: u32,
    next_conn: u64,
    open: u64,
    in_flight: u64,
    next_flush: Timestamp,
    counts: Sample,
    scratch: Vec<u8>,
    buffer: Box<[u8]>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("open", &self.open)
            .field("in_flight", &self.in_flight)
            .finish()
    }
}

impl Engine {
    pub(super) fn new(
        config: Config,
        poller: Poller,
        orders: Receiver<Control>,
        news: UnboundedSender<Update>,
    ) -> Self {
        let clients = match config.route {
            Route::Proxy(_) => 0,
            Route::Endpoints { clients } => clients as usize,
        };
        let share = config.share.0;
        let mut engine = Self {
            kind_stream: Stream::new(config.seed, &format!("request-kinds/{share}")),
            endpoint_stream: Stream::new(config.seed, &format!("endpoints/{share}")),
            deadlines: config.kinds.iter().map(|_| VecDeque::new()).collect(),
            views: vec![Vec::new(); clients],
            next_flush: Timestamp((config.start.second() + 1) * SECOND),
            config,
            poller,
            orders,
            news,
            recorder: Recorder::default(),
            next: None,
            slots: Vec::new(),
            free: Vec::new(),
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
            next_client: 0,
            next_conn: 0,
            open: 0,
            in_flight: 0,
            counts: Sample::default(),
            scratch: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
        };
        engine.next = engine.next_arrival();
        engine
    }

    /// Runs until every owed request has its outcome.
    pub(super) fn run(mut self) {
        let mut ready = Vec::new();
        loop {
            self.take_orders();
            let now = self.now();
            self.send_due(now);
            self.give_up(now);
            if now >= self.next_flush {
                self.flush(now);
            }
            if self.next.is_none() && self.in_flight == 0 && self.waiting.is_empty() {
                self.flush(now);
                self.tell(Update::Finished);
                return;
            }
            let wait = self.next_wake().since(self.now());
            if let Err(error) = self.poller.wait(wait.to_std(), &mut ready) {
                self.tell(Update::Broken(format!("waiting for sockets: {error}")));
                return;
            }
            for event in &ready {
                self.on_ready(*event);
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    fn tell(&self, update: Update) {
        // The receiver is gone only when the run has been given up; the thread then just ends.
        let _ = self.news.send(update);
    }

    fn next_arrival(&mut self) -> Option<Arrival> {
        let (index, of) = self.config.share;
        self.config.schedule.by_ref().find(|arrival| arrival.number % of == index)
    }

    fn take_orders(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Control::View { client, endpoints } => {
                    if let Some(view) = self.views.get_mut(client as usize) {
                        *view = endpoints;
                    }
                }
                Control::Stop => self.stop(),
            }
        }
    }

    fn stop(&mut self) {
        self.next = None;
        for waiting in std::mem::take(&mut self.waiting) {
            self.recorder.unsent(Outcome::UnsentAborted, waiting.phase, waiting.scheduled);
        }
    }

    fn next_wake(&self) -> Timestamp {
        let due = self.next.map(|arrival| self.config.start + arrival.at);
        let deadlines =
            self.deadlines.iter().filter_map(|queue| queue.front()).map(|deadline| deadline.at);
        let waiting = self.waiting.front().map(|waiting| self.waits_until(waiting));
        deadlines.chain(due).chain(waiting).fold(self.next_flush, Timestamp::min)
    }

    // Sending.

    fn send_due(&mut self, now: Timestamp) {
        for _ in 0..BURST_MAX {
            let Some(arrival) = self.next else { return };
            let scheduled = self.config.start + arrival.at;
            if scheduled > now {
                return;
            }
            self.next = self.next_arrival();
            self.recorder.owed(scheduled, arrival.phase);
            self.counts.owed += 1;
            let kind = request::choose(&self.config.kinds, &mut self.kind_stream);
            let waiting = Waiting { number: arrival.number, phase: arrival.phase, kind, scheduled };
            if !self.waiting.is_empty() || !self.send(waiting) {
                self.waiting.push_back(waiting);
            }
        }
    }

    /// Sends the request if a connection is free or may be opened.
    fn send(&mut self, request: Waiting) -> bool {
        if let Some(slot) = self.take_idle() {
            let now = self.now();
            if let Some(conn) = &mut self.slots[slot] {
                let State::Idle { since } = conn.state else {
                    unreachable!("only idle ones are taken")
                };
                conn.state = State::Busy;
                conn.attempt = Some(attempt(request, now, now.since(since)));
                self.began(slot, request, now);
                self.write_request(slot);
            }
            return true;
        }
        if self.open >= u64::from(self.config.traffic.max_connections) {
            return false;
        }
        self.open_and_send(request);
        true
    }

    fn began(&mut self, slot: usize, request: Waiting, now: Timestamp) {
        self.counts.sent += 1;
        self.in_flight += 1;
        let kind = usize::from(request.kind);
        let at = now + self.config.kinds[kind].timeout;
        self.deadlines[kind].push_back(Deadline { at, slot, number: request.number });
    }

    fn take_idle(&mut self) -> Option<usize> {
        while let Some((slot, id)) = self.idle.pop_front() {
            let conn = self.slots[slot].as_ref();
            if conn.is_some_and(|conn| conn.id == id && matches!(conn.state, State::Idle { .. })) {
                return Some(slot);
            }
        }
        None
    }

    fn open_and_send(&mut self, request: Waiting) {
        let now = self.now();
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
        let id = self.next_conn;
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
    fn choose_address(&mut self) -> Result<Chosen, Option<u32>> {
        match &self.config.route {
            Route::Proxy(address) => Ok((None, None, *address)),
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
    fn no_endpoint(&mut self, request: Waiting, client: Option<u32>, now: Timestamp) {
        let errno = rustix::io::Errno::CONNREFUSED.raw_os_error();
        self.not_connected(request, None, client, errno, now);
    }

    /// A connection that did not even begin.
    fn not_connected(
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
            self.counts.sent += 1;
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
    }

    fn write_request(&mut self, slot: usize) {
        let Some(conn) = &mut self.slots[slot] else {
            return;
        };
        let Some(attempt) = conn.attempt else { return };
        let kind = &self.config.kinds[usize::from(attempt.kind)];
        conn.parser.reset(kind.is_head);
        self.scratch.clear();
        let id = matches!(self.config.route, Route::Proxy(_)).then_some(attempt.number);
        kind.write(id, &mut self.scratch);
        let written = conn.write(&self.scratch);
        self.after_write(slot, written);
    }

    fn after_write(&mut self, slot: usize, written: std::io::Result<()>) {
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

    fn interest(&mut self, slot: usize, is_writing: bool) {
        let Some(conn) = &self.slots[slot] else {
            return;
        };
        if let Err(error) = self.poller.modify(&conn.socket, slot, is_writing) {
            self.fail(slot, Outcome::ConnectOther, error.raw_os_error());
        }
    }

    // Receiving.

    fn on_ready(&mut self, event: Ready) {
        let Some(Some(conn)) = self.slots.get_mut(event.slot) else {
            return;
        };
        if conn.state == State::Connecting {
            match conn.socket.take_error() {
                Ok(None) => {
                    conn.state = State::Busy;
                    self.interest(event.slot, false);
                    self.write_request(event.slot);
                }
                Ok(Some(error)) | Err(error) => {
                    let errno = error.raw_os_error().unwrap_or(0);
                    self.fail(event.slot, connect_outcome(errno), Some(errno));
                }
            }
            return;
        }
        if event.writable && !conn.unwritten.is_empty() {
            let written = conn.write(&[]);
            let is_done = conn.unwritten.is_empty();
            if written.is_ok() && is_done {
                self.interest(event.slot, false);
            }
            if written.is_err() {
                return self.after_write(event.slot, written);
            }
        }
        if event.readable {
            self.read(event.slot, None);
        }
    }

    /// Reads what there is. `write_errno`: writing failed just now, so nothing more will come
    /// than what is there already.
    fn read(&mut self, slot: usize, write_errno: Option<i32>) {
        for _ in 0..READS_MAX {
            let Some(conn) = &mut self.slots[slot] else {
                return;
            };
            let n = match conn.read(&mut self.buffer) {
                Ok(n) => n,
                Err(ReadEnd::Blocked) => {
                    if let Some(errno) = write_errno {
                        self.ended(slot, ReadEnd::Broken(errno));
                    }
                    return;
                }
                Err(end) => return self.ended(slot, end),
            };
            let Some(attempt) = &mut conn.attempt else {
                // Bytes that nobody asked for.
                return self.close(slot);
            };
            if attempt.first_byte.is_none() {
                attempt.first_byte = Some(self.config.clock.now());
            }
            let expected = self.config.kinds[usize::from(attempt.kind)].expect.body.as_deref();
            match conn.parser.feed(&self.buffer[..n], expected.map(str::as_bytes)) {
                Ok(response::Progress::Partial) => {}
                Ok(response::Progress::Done(used)) => return self.answered(slot, used == n),
                Err(_) => return self.fail(slot, Outcome::BadResponse, None),
            }
            if n < self.buffer.len() && write_errno.is_none() {
                return;
            }
        }
    }

    /// The stream ended, idle or within an attempt.
    fn ended(&mut self, slot: usize, end: ReadEnd) {
        let Some(conn) = &self.slots[slot] else {
            return;
        };
        let Some(attempt) = conn.attempt else {
            return self.close(slot);
        };
        if end == ReadEnd::Eof && conn.parser.ends_at_eof() {
            return self.answered(slot, false);
        }
        let errno = match end {
            ReadEnd::Broken(errno) => Some(errno),
            ReadEnd::Eof | ReadEnd::Blocked => None,
        };
        let outcome = broken_outcome(end, attempt.first_byte.is_some(), conn.served);
        self.fail(slot, outcome, errno);
    }

    /// A whole answer is there. `is_clean`: nothing came after it.
    fn answered(&mut self, slot: usize, is_clean: bool) {
        let now = self.now();
        let Some(conn) = &self.slots[slot] else {
            return;
        };
        let Some(attempt) = conn.attempt else { return };
        let kind = &self.config.kinds[usize::from(attempt.kind)];
        let status = conn.parser.status;
        let outcome = if !kind.accepts(status) {
            match status {
                502 => Outcome::Status502,
                503 => Outcome::Status503,
                504 => Outcome::Status504,
                _ => Outcome::StatusOther,
            }
        } else if kind
            .expect
            .body
            .as_deref()
            .is_some_and(|body| !conn.parser.body_is(body.as_bytes(), true))
        {
            Outcome::WrongBody
        } else {
            Outcome::Ok
        };
        let is_kept = is_clean
            && self.config.traffic.keep_alive
            && conn.parser.keeps_alive
            && conn.unwritten.is_empty();
        self.finish(slot, outcome, None, now);
        if !is_kept {
            self.close(slot);
        } else if let Some(conn) = &mut self.slots[slot] {
            conn.served += 1;
            conn.state = State::Idle { since: now };
            self.idle.push_back((slot, conn.id));
        }
        self.serve_waiting(now);
    }

    fn fail(&mut self, slot: usize, outcome: Outcome, errno: Option<i32>) {
        let now = self.now();
        self.finish(slot, outcome, errno, now);
        self.close(slot);
        self.serve_waiting(now);
    }

    /// Records the attempt's one outcome.
    fn finish(&mut self, slot: usize, outcome: Outcome, errno: Option<i32>, now: Timestamp) {
        let Some(conn) = &mut self.slots[slot] else {
            return;
        };
        let Some(attempt) = conn.attempt else { return };
        self.in_flight -= 1;
        if outcome.group() == OutcomeGroup::Unsent {
            self.counts.sent -= 1;
            self.recorder.unsent(outcome, attempt.phase, attempt.scheduled);
        } else {
            let times = Times { scheduled: attempt.scheduled, sent: attempt.sent, ended: now };
            self.recorder.ended(outcome, attempt.phase, times);
        }
        if outcome != Outcome::Ok {
            let is_proxied = matches!(self.config.route, Route::Proxy(_));
            let hop =
                is_proxied.then(|| parse_hop(&conn.parser.upstream, &self.config.clock)).flatten();
            self.recorder.failure(Failure {
                n: 1,
                outcome,
                phase: attempt.phase,
                kind: attempt.kind,
                scheduled: attempt.scheduled,
                sent: attempt.sent,
                first_byte: attempt.first_byte,
                ended: now,
                status: (conn.parser.status > 0).then_some(conn.parser.status),
                errno,
                pod: hop
                    .as_ref()
                    .map_or_else(|| conn.pod.as_deref().map(Into::into), |hop| hop.pod.clone()),
                connection: Some(conn.identity()),
                hop,
                request_id: is_proxied.then_some(attempt.number),
                consumer: conn.client,
            });
        }
        conn.attempt = None;
    }

    fn close(&mut self, slot: usize) {
        if let Some(conn) = self.slots[slot].take() {
            self.poller.remove(&conn.socket);
            self.open -= 1;
            self.free.push(slot);
        }
    }

    fn serve_waiting(&mut self, _now: Timestamp) {
        while let Some(waiting) = self.waiting.front().copied() {
            if !self.send(waiting) {
                return;
            }
            self.waiting.pop_front();
        }
    }

    // Giving up.

    fn waits_until(&self, waiting: &Waiting) -> Timestamp {
        waiting.scheduled + self.config.kinds[usize::from(waiting.kind)].timeout
    }

    fn give_up(&mut self, now: Timestamp) {
        for kind in 0..self.deadlines.len() {
            while let Some(deadline) = self.deadlines[kind].front().copied() {
                let conn = self.slots[deadline.slot].as_ref();
                let attempt = conn.and_then(|conn| conn.attempt);
                if attempt.is_none_or(|attempt| attempt.number != deadline.number) {
                    self.deadlines[kind].pop_front();
                    continue;
                }
                if deadline.at > now {
                    break;
                }
                self.deadlines[kind].pop_front();
                let is_connecting = conn.is_some_and(|conn| conn.state == State::Connecting);
                let outcome =
                    if is_connecting { Outcome::ConnectTimeout } else { Outcome::Timeout };
                self.fail(deadline.slot, outcome, None);
            }
        }
        while let Some(waiting) = self.waiting.front().copied() {
            if self.waits_until(&waiting) > now {
                break;
            }
            self.waiting.pop_front();
            self.recorder.unsent(Outcome::UnsentConnections, waiting.phase, waiting.scheduled);
        }
    }

    // News.

    fn flush(&mut self, now: Timestamp) {
        self.next_flush = Timestamp((now.second() + 1) * SECOND);
        let (windows, failures) = self.recorder.drain();
        let mut latency: Option<Box<hist::Hist>> = None;
        for (_, _, part) in &windows {
            let times = part.outcomes.get(&Outcome::Ok).and_then(|part| part.times.as_ref());
            if let Some(times) = times {
                let into = latency.get_or_insert_with(|| Box::new(hist::new()));
                // Both have the record's bounds.
                let _ = into.add(&times[0]);
            }
        }
        let sample = Sample {
            at: now,
            in_flight: self.in_flight,
            waiting: self.waiting.len() as u64,
            connections: self.open,
            engine_cpu: clock::thread_cpu_ns(),
            ..self.counts.clone()
        };
        self.tell(Update::Second(Box::new(Second { windows, failures, sample, latency })));
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

fn parse_hop(header: &[u8], clock: &clock::RunClock) -> Option<Hop> {
    let text = std::str::from_utf8(header).ok().filter(|text| !text.is_empty())?;
    crate::proxy::header::parse(text).ok().map(|info| info.to_hop(clock.start_mono_ns()))
}
