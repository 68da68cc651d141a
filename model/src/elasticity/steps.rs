//! Curves in steps.

use alloc::vec::Vec;

use crate::time::{Nanos, SECOND, Timestamp};

/// A number of pods over time, in steps: a value from the start on, and what it changes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    first: u32,
    /// In order of time, at most one per instant, each another value than the one before.
    changes: Vec<(Timestamp, u32)>,
}

impl Steps {
    /// A curve that stays at `first`.
    pub const fn new(first: u32) -> Self {
        Self { first, changes: Vec::new() }
    }

    /// From `at` on it is `value`. Instants ascend: one before the last is taken as the last, and
    /// of several values at an instant the last stands.
    pub fn set(&mut self, at: Timestamp, value: u32) {
        let at = self.changes.last().map_or(at, |(last, _)| at.max(*last));
        if at == Timestamp::ZERO {
            self.first = value;
            return;
        }
        if self.changes.last().is_some_and(|(last, _)| *last == at) {
            self.changes.pop();
        }
        if self.last() != value {
            self.changes.push((at, value));
        }
    }

    /// The curve of ups and downs, each an instant and a difference; in any order.
    pub(super) fn of_differences(first: u32, mut differences: Vec<(Timestamp, i64)>) -> Self {
        differences.sort_unstable_by_key(|(at, _)| *at);
        let mut steps = Self::new(first);
        let mut value = i64::from(first);
        for (at, by) in differences {
            value += by;
            steps.set(at, value.clamp(0, i64::from(u32::MAX)) as u32);
        }
        steps
    }

    /// The value at an instant.
    pub fn at(&self, at: Timestamp) -> u32 {
        let behind = self.changes.partition_point(|(change, _)| *change <= at);
        behind.checked_sub(1).map_or(self.first, |last| self.changes[last].1)
    }

    /// The value at the start.
    pub const fn first(&self) -> u32 {
        self.first
    }

    /// The value from the last change on.
    pub fn last(&self) -> u32 {
        self.changes.last().map_or(self.first, |(_, value)| *value)
    }

    /// Its changes, in order: when, and to what.
    pub fn iter(&self) -> impl Iterator<Item = (Timestamp, u32)> {
        self.changes.iter().copied()
    }

    /// How often it changes before `end`.
    pub fn changes(&self, end: Timestamp) -> usize {
        self.changes.partition_point(|(at, _)| *at < end)
    }

    /// The highest value before `end`.
    pub fn peak(&self, end: Timestamp) -> u32 {
        let within = &self.changes[..self.changes(end)];
        within.iter().fold(self.first, |peak, (_, value)| peak.max(*value))
    }

    /// Pods times nanoseconds over `[0, end)`.
    pub fn pod_ns(&self, end: Timestamp) -> u128 {
        let mut area = 0;
        walk([(self, 0)], 0, end.0, |[pods], lasts| area += u128::from(pods) * u128::from(lasts));
        area
    }

    /// Pod-hours over `[0, end)`.
    pub fn pod_hours(&self, end: Timestamp) -> f64 {
        self.pod_ns(end) as f64 / (3600 * SECOND) as f64
    }

    /// The curve as it is from `origin` on, whose instants count from there.
    pub fn since(&self, origin: Timestamp) -> Self {
        let mut steps = Self::new(self.at(origin));
        for (at, value) in self.iter().filter(|(at, _)| *at > origin) {
            steps.set(Timestamp::ZERO + at.since(origin), value);
        }
        steps
    }

    /// The curve, later by `span`; before it begins it has its first value.
    pub fn later(&self, span: Nanos) -> Self {
        let changes = self.changes.iter().map(|(at, value)| (*at + span, *value)).collect();
        Self { first: self.first, changes }
    }
}

/// Calls `each` with the values of some curves, each later by so many nanoseconds, and for how long
/// (nanoseconds) they are those: from `from` to `end`, in order.
pub(super) fn walk<const N: usize>(
    curves: [(&Steps, u64); N],
    from: u64,
    end: u64,
    mut each: impl FnMut([u32; N], u64),
) {
    let shifted = |curve: usize, at: u64| at.saturating_add(curves[curve].1);
    let mut next = [0; N];
    let mut values = curves.map(|(steps, _)| steps.first);
    let mut at = 0;
    while at < end {
        let mut until = end;
        for curve in 0..N {
            let changes = &curves[curve].0.changes;
            while let Some((change, value)) = changes.get(next[curve]) {
                let change = shifted(curve, change.0);
                if change > at {
                    until = until.min(change);
                    break;
                }
                values[curve] = *value;
                next[curve] += 1;
            }
        }
        if until > from {
            each(values, until - at.max(from));
        }
        at = until;
    }
}
