//! What is to come, in order of time; at one instant in order of planning.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use super::{exec::Executed, replica::Step};
use crate::{cluster::ContainerId, spec::Which, time::Timestamp};

/// Something to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// An attempt comes to its end: number and version.
    Ending(u32, u64),
    /// A request has been waiting for a connection for as long as it may.
    Waited,
    /// A container's process starts.
    Start(ContainerId),
    /// A proxy's worker looks for connections that have been idle for too long.
    Idle(u32),
    /// A replica does a step.
    Step(ContainerId, Step),
    /// A probe is answered.
    Probe(u64, ContainerId, Ask),
    /// A hook is done, and how.
    Hook(ContainerId, Executed),
    /// A frozen container goes on.
    Thaw(ContainerId),
    /// An eviction is asked for again: its action, pod, and until when.
    Evict(u32, Pick, Timestamp),
}

/// A probe's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// Whether it is ready.
    Ready,
    /// Whether it has started.
    Started,
    /// Whether it lives.
    Live,
    /// Whether the main port takes connections.
    Port,
    /// How a program ends.
    Executed(Executed),
    /// None that is answered in time.
    Silence,
}

/// [`Which`], with an order of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pick {
    Oldest,
    Newest,
}

impl From<Which> for Pick {
    fn from(which: Which) -> Self {
        match which {
            Which::Oldest => Self::Oldest,
            Which::Newest => Self::Newest,
        }
    }
}

impl From<Pick> for Which {
    fn from(which: Pick) -> Self {
        match which {
            Pick::Oldest => Self::Oldest,
            Pick::Newest => Self::Newest,
        }
    }
}

/// An attempt's end to come, in one number that sorts as (when, order of planning): 64 bits of
/// each, the lowest [`SLOT_BITS`] of the latter the attempt's number.
type End = u128;
/// An attempt has a connection of its own, of which there are a million at most.
const SLOT_BITS: u32 = 22;

/// The agenda. Ends of attempts are most of it, and so have a heap of their own, of small entries
/// that one comparison sorts.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    ends: BinaryHeap<Reverse<End>>,
    others: BinaryHeap<Reverse<(Timestamp, u64, What)>>,
    planned: u64,
}

impl Agenda {
    pub(super) fn plan(&mut self, at: Timestamp, what: What) {
        let order = self.order();
        self.others.push(Reverse((at, order, what)));
    }

    /// Plans the end of the attempt in `slot`; the version of that, which no other has.
    pub(super) fn plan_end(&mut self, at: Timestamp, slot: u32) -> u64 {
        debug_assert!(slot < 1 << SLOT_BITS);
        let order = self.order();
        let place = order << SLOT_BITS | u64::from(slot);
        self.ends.push(Reverse(u128::from(at.0) << 64 | u128::from(place)));
        order
    }

    /// Below 2^42: a run has 10^10 requests at most.
    fn order(&mut self) -> u64 {
        self.planned += 1;
        self.planned
    }

    pub(super) fn next(&self) -> Timestamp {
        let end = self.ends.peek().map_or(Timestamp::MAX, |Reverse(end)| when(*end).0);
        let other = self.others.peek().map_or(Timestamp::MAX, |Reverse((at, ..))| *at);
        end.min(other)
    }

    /// The first of what is due at `now`, which is [`Self::next`].
    pub(super) fn take(&mut self, now: Timestamp) -> Option<What> {
        let end = self.ends.peek().map(|Reverse(end)| when(*end));
        let other = self.others.peek().map(|Reverse((at, order, _))| (*at, *order));
        let is_end = match (end, other) {
            (Some(end), Some(other)) => end < other,
            (end, _) => end.is_some(),
        };
        if is_end {
            let Reverse(end) = self.ends.pop()?;
            let (at, order) = when(end);
            debug_assert!(at <= now);
            return Some(What::Ending(end as u32 & ((1 << SLOT_BITS) - 1), order));
        }
        self.others.pop().map(|Reverse((.., what))| what)
    }
}

/// When an end is, and its order of planning.
fn when(end: End) -> (Timestamp, u64) {
    (Timestamp((end >> 64) as u64), end as u64 >> SLOT_BITS)
}
