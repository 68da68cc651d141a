//! A controller's work queue with its one worker.
//!
//! The worker takes a key and then waits for its turn. A key that is added again before its work is
//! done is worked on once more afterwards; one that is added again before it is taken is not.
//!
//! *Source*: client-go v0.35, `util/workqueue/{queue,delaying_queue,default_rate_limiters}.go`. What
//! becomes due at the same instant comes in the order of a binary heap as Go's `container/heap`
//! keeps it, so that ties are broken as upstream breaks them.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};

use crate::time::{Nanos, Timestamp};

/// The wait before a key's first retry; it doubles with each further one.
const RETRY: Nanos = Nanos::from_millis(5);
/// The longest wait of a key.
const RETRY_MAX: Nanos = Nanos::from_secs(1_000);
/// Retries of all keys together that may come without a wait of their own ...
const BURST: u64 = 100;
/// ... and how long it takes until one more of them may.
const REFILL: Nanos = Nanos::from_millis(100);

/// A work queue. It holds each key at most once, and once more in the worker's hand.
#[derive(Clone, Debug)]
pub(super) struct Queue<K> {
    queued: VecDeque<K>,
    /// What needs work: all that is queued, and what is in hand if it was added again.
    dirty: BTreeSet<K>,
    in_hand: Option<K>,
    later: Later<K>,
    retries: BTreeMap<K, u32>,
    /// The time that it takes until the burst is whole again, from `spent_at` on.
    spent: Nanos,
    spent_at: Timestamp,
}

impl<K: Copy + Ord> Queue<K> {
    /// An empty queue.
    pub(super) fn new() -> Self {
        Self {
            queued: VecDeque::new(),
            dirty: BTreeSet::new(),
            in_hand: None,
            later: Later(Vec::new()),
            retries: BTreeMap::new(),
            spent: Nanos::ZERO,
            spent_at: Timestamp::ZERO,
        }
    }

    /// Lets the worker take a key, if it has none. Returns what it has in hand.
    pub(super) fn take(&mut self) -> Option<K> {
        if self.in_hand.is_none() {
            self.in_hand = self.queued.pop_front();
            if let Some(key) = self.in_hand {
                self.dirty.remove(&key);
            }
        }
        self.in_hand
    }

    /// Adds a key, unless it waits for the worker already.
    pub(super) fn add(&mut self, key: K) {
        if self.dirty.insert(key) && self.in_hand != Some(key) {
            self.queued.push_back(key);
        }
    }

    /// Adds a key after a wait. Of several waits of a key the one that ends first counts.
    pub(super) fn add_after(&mut self, now: Timestamp, key: K, wait: Nanos) {
        if wait == Nanos::ZERO {
            self.add(key);
        } else {
            self.later.insert(now + wait, key);
        }
    }

    /// Adds a key after a wait that grows with each retry since [`Queue::forget`], and with the
    /// retries of all keys.
    pub(super) fn retry(&mut self, now: Timestamp, key: K) {
        let retries = self.retries.entry(key).or_default();
        let own = Nanos(RETRY.0 << (*retries).min(20)).min(RETRY_MAX);
        *retries += 1;
        let spent = Nanos(self.spent.0.saturating_sub(now.since(self.spent_at).0)) + REFILL;
        (self.spent, self.spent_at) = (spent, now);
        let shared = Nanos(spent.0.saturating_sub(BURST * REFILL.0));
        self.add_after(now, key, own.max(shared));
    }

    /// How often a key was tried again in a row.
    pub(super) fn retries(&self, key: K) -> u32 {
        self.retries.get(&key).copied().unwrap_or(0)
    }

    /// Ends a row of retries.
    pub(super) fn forget(&mut self, key: K) {
        self.retries.remove(&key);
    }

    /// The work on what is in hand is done.
    pub(super) fn done(&mut self) {
        let Some(key) = self.in_hand.take() else {
            return;
        };
        if self.dirty.contains(&key) {
            self.queued.push_back(key);
        }
    }

    /// Adds what has become due.
    pub(super) fn fire(&mut self, now: Timestamp) {
        while let Some(key) = self.later.pop(now) {
            self.add(key);
        }
    }

    /// When the next key becomes due.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.later.0.first().map(|&(at, _)| at)
    }
}

/// Keys with the time at which they are due: a binary heap, the earliest first.
#[derive(Clone, Debug)]
struct Later<K>(Vec<(Timestamp, K)>);

impl<K: Copy + Ord> Later<K> {
    fn insert(&mut self, at: Timestamp, key: K) {
        match self.0.iter().position(|&(_, known)| known == key) {
            None => {
                self.0.push((at, key));
                self.up(self.0.len() - 1);
            }
            Some(place) if self.0[place].0 > at => {
                self.0[place].0 = at;
                self.up(place);
            }
            Some(_) => {}
        }
    }

    fn pop(&mut self, now: Timestamp) -> Option<K> {
        self.0.first().filter(|&&(at, _)| at <= now)?;
        let (_, key) = self.0.swap_remove(0);
        self.down();
        Some(key)
    }

    fn up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.0[place].0 >= self.0[parent].0 {
                return;
            }
            self.0.swap(place, parent);
            place = parent;
        }
    }

    /// Lets the first one sink to its place.
    fn down(&mut self) {
        let mut place = 0;
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            if left >= self.0.len() {
                return;
            }
            let is_right = right < self.0.len() && self.0[right].0 < self.0[left].0;
            let child = if is_right { right } else { left };
            if self.0[child].0 >= self.0[place].0 {
                return;
            }
            self.0.swap(place, child);
            place = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Nanos::from_millis(millis)
    }

    fn work_off(queue: &mut Queue<u32>) -> Vec<u32> {
        let mut done = Vec::new();
        while let Some(key) = queue.take() {
            done.push(key);
            queue.done();
        }
        done
    }

    #[test]
    fn a_key_is_worked_on_again_if_it_is_added_while_in_hand() {
        let mut queue = Queue::new();
        for key in [1, 2, 1] {
            queue.add(key);
        }
        assert_eq!(queue.take(), Some(1));
        for key in [2, 1, 1, 3] {
            queue.add(key);
        }
        assert_eq!(work_off(&mut queue), [1, 2, 3, 1]);
    }

    #[test]
    fn of_several_waits_the_first_to_end_counts() {
        let mut queue = Queue::new();
        queue.add_after(at(0), 1, Nanos::from_millis(20));
        queue.add_after(at(0), 1, Nanos::from_millis(10));
        queue.add_after(at(0), 1, Nanos::from_millis(30));
        queue.add_after(at(0), 2, Nanos::from_millis(15));
        assert_eq!(queue.next_deadline(), Some(at(10)));
        queue.fire(at(9));
        assert_eq!(queue.take(), None);
        queue.fire(at(40));
        assert_eq!(work_off(&mut queue), [1, 2]);
        assert_eq!(queue.next_deadline(), None);
    }

    #[test]
    fn ties_come_as_a_binary_heap_has_them() {
        // Worked out by hand: 1 goes first, 3 takes its place and does not sink below its equal.
        let mut queue = Queue::new();
        for key in [1, 2, 3] {
            queue.add_after(at(0), key, Nanos::from_millis(10));
        }
        queue.fire(at(10));
        assert_eq!(work_off(&mut queue), [1, 3, 2]);
    }

    #[test]
    fn retries_wait_longer_each_time_until_forgotten_or_the_burst_is_spent() {
        let wait = |queue: &mut Queue<u32>| {
            queue.retry(at(0), 1);
            let due = queue.next_deadline().map(|due| due.since(at(0)).as_millis_f64());
            queue.later.0.clear();
            due
        };
        let mut queue = Queue::new();
        let waits: Vec<_> = (0..4).filter_map(|_| wait(&mut queue)).collect();
        assert_eq!(waits, vec![5.0, 10.0, 20.0, 40.0]);
        assert_eq!(queue.retries(1), 4);
        let mut last = None;
        for _ in 4..102 {
            queue.forget(1);
            last = wait(&mut queue);
        }
        assert_eq!(last, Some(200.0), "two more than the burst");
    }
}
