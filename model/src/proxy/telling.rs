//! How many attempts that retries hid are told one by one, and which are counted together: so a
//! record grows with the run's length and not with its failures.

use alloc::collections::BTreeMap;

use crate::outcome::HopError;

/// How many are told one by one, per second.
pub const ONE_BY_ONE: u32 = 1_000;
/// Past it: how many kinds of them are told per second, each with its number.
pub const GROUPS_MAX: usize = 1_000;

/// What attempts agree in that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike<P> {
    /// The worker that made it.
    pub worker: u32,
    /// To which pod.
    pub pod: P,
    /// What it came to.
    pub error: Option<HopError>,
    /// Its place among the attempts of its request, from 1.
    pub tries: u32,
    /// Whether its connection had served before.
    pub has_served: bool,
    /// Whether a later attempt was answered.
    pub rescued: bool,
}

/// The attempts of one second: `T` is what is told of one.
#[derive(Clone, Debug)]
pub struct Telling<P, T> {
    told: u32,
    groups: BTreeMap<Alike<P>, (u64, T)>,
}

impl<P, T> Default for Telling<P, T> {
    fn default() -> Self {
        Self { told: 0, groups: BTreeMap::new() }
    }
}

/// What to do with an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    /// Tell it by itself.
    Alone(T),
    /// It is counted, and told at the end of the second.
    Counted,
    /// It is one too many, and left out.
    Dropped,
}

impl<P: Ord, T> Telling<P, T> {
    /// Another one.
    pub fn add(&mut self, key: Alike<P>, one: T) -> Told<T> {
        if self.told < ONE_BY_ONE {
            self.told += 1;
            return Told::Alone(one);
        }
        if let Some((n, _)) = self.groups.get_mut(&key) {
            *n += 1;
        } else if self.groups.len() < GROUPS_MAX {
            self.groups.insert(key, (1, one));
        } else {
            return Told::Dropped;
        }
        Told::Counted
    }

    /// The second is over: those that were counted, each kind with its number and its first.
    pub fn end_second(&mut self) -> impl Iterator<Item = (Alike<P>, u64, T)> + use<P, T> {
        self.told = 0;
        let groups = core::mem::take(&mut self.groups);
        groups.into_iter().map(|(key, (n, first))| (key, n, first))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn alike(pod: u32) -> Alike<u32> {
        let error = Some(HopError::Eof);
        Alike { worker: 0, pod, error, tries: 1, has_served: false, rescued: true }
    }

    #[test]
    fn past_the_bound_those_alike_are_one_and_too_many_kinds_are_dropped() {
        let mut telling = Telling::default();
        for one in 0..ONE_BY_ONE {
            assert_eq!(telling.add(alike(one), one), Told::Alone(one));
        }
        for round in 0..2 {
            for one in 0..GROUPS_MAX as u32 {
                assert_eq!(telling.add(alike(one), 10 * one + round), Told::Counted);
            }
        }
        assert_eq!(telling.add(alike(u32::MAX), 0), Told::Dropped);
        let told: Vec<_> = telling.end_second().map(|(_, n, first)| (n, first)).collect();
        assert_eq!((told.len(), told[0], told[7]), (GROUPS_MAX, (2, 0), (2, 70)));
        assert_eq!(telling.end_second().count(), 0);
        assert_eq!(telling.add(alike(7), 7), Told::Alone(7), "another second");
    }
}
