//! The client's side: connections and attempts as data. What happens to them is in the engine.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::num::NonZeroU64;

use crate::{
    load::{Arrival, Schedule},
    outcome::{HopError, Outcome},
    time::{Nanos, Timestamp},
};

/// A request that is owed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) phase: u16,
    pub(super) kind: u16,
    pub(super) scheduled: Timestamp,
}

/// How many arrivals are calculated at a time.
const BLOCK: usize = 256;

/// What is owed from now on, in order of time. It is calculated in blocks, which is faster than one
/// by one.
#[derive(Clone, Debug)]
pub(super) struct Due {
    schedule: Schedule,
    block: Vec<Arrival>,
    place: usize,
}

impl Due {
    pub(super) fn new(schedule: Schedule) -> Self {
        let mut due = Self { schedule, block: Vec::with_capacity(BLOCK), place: 0 };
        due.fill();
        due
    }

    #[inline(never)]
    fn fill(&mut self) {
        self.block.clear();
        self.schedule.extend(&mut self.block, BLOCK);
        self.place = 0;
    }

    /// The next one; `None` if there are no more.
    pub(super) fn peek(&self) -> Option<&Arrival> {
        self.block.get(self.place)
    }

    /// Goes on behind it.
    pub(super) fn advance(&mut self) {
        self.place += 1;
        if self.place >= self.block.len() {
            self.fill();
        }
    }
}

/// A connection: of a client to a pod or a proxy, or of a proxy's worker to a pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conn {
    pub(super) id: u64,
    /// The pod that it leads to; `None` to the proxy.
    pub(super) pod: Option<u32>,
    /// The container of the pod: a new one knows nothing of it.
    pub(super) restarts: u32,
    /// Client (`l4`), or the worker that it leads to (`l7`).
    pub(super) consumer: u32,
    pub(super) opened: Timestamp,
    pub(super) served: u64,
    pub(super) idle_since: Timestamp,
}

/// A slab of things with stable numbers.
#[derive(Clone, Debug)]
pub(super) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// The number of what is inserted next.
    pub(super) fn next(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.entries.len() as u32)
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.entries[place as usize] = Some(value);
                place
            }
            None => {
                self.entries.push(Some(value));
                (self.entries.len() - 1) as u32
            }
        }
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.entries.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.entries.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.entries.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(place, entry)| Some((place as u32, entry.as_ref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

/// How an attempt ends, and when its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) at: Timestamp,
    pub(super) outcome: Outcome,
    /// What the proxy met, if it was that.
    pub(super) hop: Option<HopError>,
}

/// A request on its way. It is small enough to be moved without a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) request: Request,
    pub(super) sent: Timestamp,
    /// When its client gives up.
    pub(super) deadline: Timestamp,
    /// Its connection at the client.
    pub(super) conn: u32,
    /// The proxy's connection to the pod: its number in [`Client::ups`].
    pub(super) up: Option<u32>,
    /// The proxy's worker that has it.
    pub(super) worker: Option<u16>,
    /// The pod that it is at, or was meant for.
    pub(super) pod: Option<u32>,
    pub(super) restarts: u32,
    /// The worker's endpoint of that pod, while it has the request.
    pub(super) endpoint: Option<u32>,
    /// How often the proxy has tried a pod.
    pub(super) tries: u8,
    /// `ending` is when the proxy sees an error, which its client need not come to know.
    pub(super) is_failing: bool,
    /// The proxy answered by itself: when, and for what.
    pub(super) answered: Option<(Timestamp, HopError)>,
    /// When it reached the pod, in nanoseconds; `None` if it never did, or has nothing to do with it any
    /// more. No request comes at time 0.
    came: Option<NonZeroU64>,
    pub(super) ending: Ending,
    /// The agenda's of `ending`: news of any other version are stale.
    pub(super) version: u64,
    pub(super) is_refusal: bool,
}

impl Attempt {
    /// One that is sent at `sent` on the connection `conn`, and gets no answer as long as nothing else
    /// is known.
    pub(super) fn new(request: &Request, sent: Timestamp, conn: u32, deadline: Timestamp) -> Self {
        Self {
            request: *request,
            sent,
            deadline,
            conn,
            up: None,
            worker: None,
            pod: None,
            restarts: 0,
            endpoint: None,
            tries: 0,
            is_failing: false,
            answered: None,
            came: None,
            ending: Ending { at: deadline, outcome: Outcome::Timeout, hop: None },
            version: 0,
            is_refusal: false,
        }
    }

    /// When it reached the pod; `None` if it never did, or has nothing to do with it any more.
    pub(super) fn came(&self) -> Option<Timestamp> {
        self.came.map(|at| Timestamp(at.get()))
    }

    /// It reaches the pod.
    pub(super) fn comes(&mut self, at: Timestamp) {
        self.came = NonZeroU64::new(at.0);
    }

    /// It has nothing to do with its pod any more.
    pub(super) fn leaves(&mut self) {
        self.came = None;
    }

    /// The worker that has it.
    pub(super) fn worker(&self) -> Option<u32> {
        self.worker.map(u32::from)
    }

    /// When whoever waits for the pod knows how it ends: its client, or the proxy `network` earlier.
    pub(super) fn known_at(&self, network: Nanos) -> Timestamp {
        let is_passed_on = self.worker.is_some() && !self.is_failing;
        if is_passed_on && self.ending.outcome != Outcome::Timeout {
            return Timestamp(self.ending.at.0.saturating_sub(network.0));
        }
        self.ending.at
    }

    /// It ends at its client's patience at the latest.
    pub(super) fn keep_to_deadline(&mut self) {
        if self.ending.at > self.deadline {
            self.ending = Ending { at: self.deadline, outcome: Outcome::Timeout, hop: None };
            self.is_failing = false;
        }
    }
}

/// A proxy's connection to a pod, and what its present attempt, or the last one, made of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Up {
    pub(super) conn: Conn,
    /// When the attempt began.
    pub(super) started: Timestamp,
    /// When the request was sent on it: the connection stood.
    pub(super) sent: Timestamp,
    /// For how long it had been idle.
    pub(super) idle: Nanos,
}

/// What the client has.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) conns: Slab<Conn>,
    /// Idle connections, the longest idle first; they are taken in that order, as the load engine
    /// takes them.
    pub(super) idle: VecDeque<u32>,
    pub(super) attempts: Slab<Attempt>,
    /// The proxies' connections to pods.
    pub(super) ups: Slab<Up>,
    /// By attempt: how much was left to do when its pod was frozen.
    pub(super) left: BTreeMap<u32, Nanos>,
    pub(super) waiting: VecDeque<Request>,
    pub(super) next_client: u32,
    pub(super) next_conn: u64,
    pub(super) connects: u64,
    pub(super) owed: u64,
    pub(super) sent: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_small_enough_to_be_moved_without_a_call() {
        assert!(size_of::<Option<Attempt>>() <= 128, "{}", size_of::<Option<Attempt>>());
    }
}
