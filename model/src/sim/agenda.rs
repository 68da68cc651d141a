//! What is to come, in order of time; at one instant in order of planning.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use super::{
    exec::Executed,
    replica::Step,
    soon::{Entry, Soon},
};
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

/// The lowest bits of an end's place among all that is planned are the attempt's number. An attempt has
/// a connection of its own, of which there are a million at most.
const SLOT_BITS: u32 = 22;
/// After all others.
const NEVER: Entry = (Timestamp::MAX, u64::MAX);

/// The agenda. Ends of attempts are most of it, and so have a queue of their own.
#[derive(Clone, Debug)]
pub(super) struct Agenda {
    ends: Soon,
    others: BinaryHeap<Reverse<(Timestamp, u64, What)>>,
    /// The first of `others` as an end would be sorted.
    other: Entry,
    planned: u64,
}

impl Default for Agenda {
    fn default() -> Self {
        Self { ends: Soon::default(), others: BinaryHeap::new(), other: NEVER, planned: 0 }
    }
}

impl Agenda {
    pub(super) fn plan(&mut self, at: Timestamp, what: What) {
        let order = self.order();
        self.others.push(Reverse((at, order, what)));
        self.other = self.other.min((at, place(order, 0)));
    }

    /// Plans the end of the attempt in `slot`; the version of that, which no other has.
    #[inline(always)]
    pub(super) fn plan_end(&mut self, at: Timestamp, slot: u32) -> u64 {
        let order = self.order();
        self.ends.push((at, place(order, slot)));
        order
    }

    /// Below 2^42: a run has 10^10 requests at most.
    fn order(&mut self) -> u64 {
        self.planned += 1;
        self.planned
    }

    #[inline(always)]
    pub(super) fn next(&self) -> Timestamp {
        self.ends.peek().map_or(self.other.0, |end| end.0.min(self.other.0))
    }

    /// The first of what is to come.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<What> {
        match self.ends.peek() {
            Some(end) if *end < self.other => {
                let (_, place) = self.ends.pop()?;
                Some(What::Ending(place as u32 & ((1 << SLOT_BITS) - 1), place >> SLOT_BITS))
            }
            _ => self.take_other(),
        }
    }

    #[inline(never)]
    fn take_other(&mut self) -> Option<What> {
        let Reverse((.., what)) = self.others.pop()?;
        let first = self.others.peek();
        self.other = first.map_or(NEVER, |Reverse((at, order, _))| (*at, place(*order, 0)));
        Some(what)
    }
}

/// What sorts the ends of one instant.
fn place(order: u64, slot: u32) -> u64 {
    debug_assert!(slot < 1 << SLOT_BITS);
    order << SLOT_BITS | u64::from(slot)
}
