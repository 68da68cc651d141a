//! One thread with an epoll loop that sends what is due and reads what comes.
//!
//! Each turn: take orders, send what is due, give up what is too late, hand over the news of the
//! second, then wait for sockets until the next of these. The clock is read when something is
//! stamped, never to decide about the past.

mod closed;
mod receiving;
mod sending;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, mpsc::Receiver},
};

use highwater_model::{
    load::{Arrival, Watch},
    outcome::Outcome,
    rng::Stream,
    time::{Nanos, SECOND, Timestamp},
};
use tokio::sync::mpsc::UnboundedSender;

use self::closed::Closed;
use super::{
    Config, Control, Route, Second, Update,
    connection::{Conn, State},
    poll::{ALARMS, Poller},
    recorder::Recorder,
};
use crate::{
    clock,
    record::{Arrivals, Sample},
};

/// Requests sent before sockets are looked at again, when many are due at once.
const BURST_MAX: usize = 256;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Reads from one connection before the others get their turn.
const READS_MAX: usize = 16;

/// In a closed loop: how long it is looked for answers without sleeping, since they are due at any
/// moment, and whoever sends one to a sleeper has to wake it. Others that want the core get it.
const EAGER: Nanos = Nanos(100_000);

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
    thread: u32,
    poller: Poller,
    orders: Receiver<Control>,
    news: UnboundedSender<Update>,
    recorder: Recorder,
    kind_stream: Stream,
    endpoint_stream: Stream,
    /// The next arrivals, in order, each with its alarm set; none once nothing more is owed.
    ahead: VecDeque<Arrival>,
    owes: bool,
    /// In place of `ahead` where the traffic is a closed loop.
    closed: Option<Closed>,
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
    /// Of the arrivals as scheduled and as sent.
    watches: [Watch; 2],
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
        thread: u32,
        poller: Poller,
        orders: Receiver<Control>,
        news: UnboundedSender<Update>,
    ) -> Self {
        let clients = match config.route {
            Route::Proxy(_) | Route::Service(_) | Route::Url(_) => 0,
            Route::Endpoints { clients } => clients as usize,
        };
        let share = config.share.index;
        let closed = Closed::of(&config);
        let watch = Watch::new(config.traffic.arrivals, config.share);
        let mut engine = Self {
            kind_stream: Stream::new(config.seed, &format!("request-kinds/{share}")),
            endpoint_stream: Stream::new(config.seed, &format!("endpoints/{share}")),
            deadlines: config.kinds.iter().map(|_| VecDeque::new()).collect(),
            views: vec![Vec::new(); clients],
            next_flush: Timestamp((config.start.second() + 1) * SECOND),
            config,
            thread,
            poller,
            orders,
            news,
            recorder: Recorder::default(),
            ahead: VecDeque::new(),
            owes: true,
            closed,
            slots: Vec::new(),
            free: Vec::new(),
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
            next_client: 0,
            next_conn: 0,
            open: 0,
            in_flight: 0,
            counts: Sample::default(),
            watches: [watch.clone(), watch],
            scratch: Vec::new(),
            buffer: vec![0; READ_BYTES].into(),
        };
        engine.recorder.warm();
        engine.look_ahead(Timestamp::ZERO);
        engine
    }

    /// Runs until every owed request has its outcome; false if it cannot go on, which it has told.
    pub(super) fn run(mut self) -> bool {
        let mut ready = Vec::new();
        let mut last_ready = Timestamp::ZERO;
        loop {
            self.take_orders();
            let now = self.now();
            self.send_due(now);
            self.send_closed(now);
            self.give_up(now);
            if now >= self.next_flush {
                self.flush(now, false);
            }
            if self.has_ended(now) {
                self.flush(now, true);
                return true;
            }
            let now = self.now();
            let is_eager = self.closed.is_some() && now.since(last_ready) < EAGER;
            let wait = if is_eager { Nanos::ZERO } else { self.next_wake(now).since(now) };
            if let Err(error) = self.poller.wait(wait.to_std(), &mut ready) {
                self.tell(Update::Broken(format!("waiting for sockets: {error}")));
                return false;
            }
            for event in &ready {
                self.on_ready(*event);
            }
            if !ready.is_empty() {
                last_ready = self.now();
            } else if is_eager {
                std::thread::yield_now();
            }
        }
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.ahead.is_empty()
            && self.closed.as_ref().is_none_or(|closed| closed.has_ended(now))
            && self.in_flight == 0
            && self.waiting.is_empty()
    }

    fn now(&self) -> Timestamp {
        self.config.clock.now()
    }

    fn tell(&self, update: Update) {
        // The receiver is gone only when the run has been given up; the thread then just ends.
        let _ = self.news.send(update);
    }

    /// Looks up arrivals until as many are known as there are alarms.
    fn look_ahead(&mut self, now: Timestamp) {
        let share = self.config.share;
        while self.owes && self.ahead.len() < ALARMS {
            let next = self.config.schedule.by_ref().find(|arrival| share.owns(arrival.number));
            let Some(arrival) = next else {
                self.owes = false;
                return;
            };
            let at = self.config.start + arrival.at;
            // What is due already is sent before the next wait.
            if at > now {
                self.poller.alarm(self.config.clock.mono_ns(at));
            }
            self.ahead.push_back(arrival);
        }
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
        self.ahead.clear();
        self.owes = false;
        self.closed = None;
        for waiting in std::mem::take(&mut self.waiting) {
            self.recorder.unsent(Outcome::UnsentAborted, waiting.phase, waiting.scheduled);
        }
    }

    fn next_wake(&self, now: Timestamp) -> Timestamp {
        let due = self.ahead.front().map(|arrival| self.config.start + arrival.at);
        let deadlines =
            self.deadlines.iter().filter_map(|queue| queue.front()).map(|deadline| deadline.at);
        let waiting = self.waiting.front().map(|waiting| self.waits_until(waiting));
        let closed = self.closed.as_ref().and_then(|closed| closed.next_wake(now));
        deadlines.chain(due).chain(waiting).chain(closed).fold(self.next_flush, Timestamp::min)
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

    fn flush(&mut self, now: Timestamp, is_last: bool) {
        self.next_flush = Timestamp((now.second() + 1) * SECOND);
        let (windows, failures) = self.recorder.drain();
        let [scheduled, sent] = &self.watches;
        let arrivals = is_last.then(|| {
            let (scheduled, sent) = (scheduled.counts().clone(), sent.counts().clone());
            Box::new(Arrivals { scheduled, sent })
        });
        let sample = Sample {
            at: now,
            sent_in: std::mem::take(&mut self.counts.sent_in),
            arrivals,
            in_flight: self.in_flight,
            waiting: self.waiting.len() as u64,
            connections: self.open,
            engine_cpu: clock::thread_cpu_ns(),
            ..self.counts.clone()
        };
        self.tell(Update::Second(Box::new(Second {
            thread: self.thread,
            windows,
            failures,
            sample,
        })));
    }
}
