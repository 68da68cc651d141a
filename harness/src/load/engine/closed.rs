//! The closed loop (`traffic.saturate`): so many connections, each of which sends its next request
//! as soon as it has the answer to the one before.
//!
//! A request is owed when it is sent, so latency counts from there and nothing is ever late: what
//! an open system would have met while an answer took long is not in its figures.

use std::collections::VecDeque;

use highwater_model::{
    spec::Saturate,
    time::{MILLISECOND, Nanos, Timestamp},
};

use super::{BURST_MAX, Config, Engine, Waiting};
use crate::load::request;

/// From a request that got no answer to the next one in its place: a target that refuses
/// everything is not called as fast as it can refuse.
const REST: Nanos = Nanos(10 * MILLISECOND);

/// The loop's state. What is neither `free` nor `resting` is in flight.
#[derive(Debug)]
pub(super) struct Closed {
    start: Timestamp,
    until: Timestamp,
    /// How many may send at once.
    free: u32,
    /// When those that met no answer may send again; ascending, as many as connections at most.
    resting: VecDeque<Timestamp>,
    number: u64,
}

impl Closed {
    /// The loop of this engine's part of the connections, if the traffic is one.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let Saturate { connections, for_ } = config.traffic.saturate?;
        Some(Self {
            start: config.start,
            until: config.start + for_,
            free: connections,
            resting: VecDeque::new(),
            number: 0,
        })
    }

    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.until
    }

    /// When the loop has something to do that no socket tells of; `None` once it has ended.
    pub(super) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if self.has_ended(now) {
            return None;
        }
        let rested = self.resting.front().copied().map(|at| at.max(self.start));
        let first = (self.free > 0).then_some(self.start);
        rested.into_iter().chain(first).chain([self.until]).min()
    }

    fn take(&mut self, now: Timestamp) -> bool {
        while self.resting.front().is_some_and(|at| *at <= now) {
            self.resting.pop_front();
            self.free += 1;
        }
        let may_send = self.free > 0 && now >= self.start && now < self.until;
        self.free -= u32::from(may_send);
        may_send
    }
}

impl Engine {
    /// Sends for those that are free: all at the start, and those that have rested.
    pub(super) fn send_closed(&mut self, now: Timestamp) {
        for _ in 0..BURST_MAX {
            if !self.closed.as_mut().is_some_and(|closed| closed.take(now)) {
                return;
            }
            self.send_next(now);
        }
    }

    /// An answer came: the next request, at once.
    pub(super) fn next_of_loop(&mut self, now: Timestamp) {
        if let Some(closed) = &mut self.closed {
            closed.free += 1;
            if closed.take(now) {
                self.send_next(now);
            }
        }
    }

    /// No answer came: the next request, after a rest.
    pub(super) fn rest(&mut self, now: Timestamp) {
        if let Some(closed) = &mut self.closed {
            closed.resting.push_back(now + REST);
        }
    }

    fn send_next(&mut self, now: Timestamp) {
        let Some(closed) = &mut self.closed else { return };
        let number = self.config.share.number(closed.number);
        closed.number += 1;
        let kind = request::choose(&self.config.kinds, &mut self.kind_stream);
        self.recorder.owed(now, 0);
        self.counts.owed += 1;
        self.send_now(Waiting { number, phase: 0, kind, scheduled: now }, now);
    }
}
