//! What is to come, in order of time; at one instant in order of planning.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use super::replica::Step;
use crate::{cluster::ContainerId, spec::Which, time::Timestamp};

/// Something to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// An attempt comes to its end: number and version.
    Ending(u32, u32),
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
    /// A hook is done.
    Hook(ContainerId),
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

/// An attempt's end to come: when, order of planning, number and version.
type End = (Timestamp, u64, u32, u32);

/// The agenda. Ends of attempts are most of it, and so have a heap of their own, of small entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    ends: BinaryHeap<Reverse<End>>,
    others: BinaryHeap<Reverse<(Timestamp, u64, What)>>,
    planned: u64,
}

impl Agenda {
    pub(super) fn plan(&mut self, at: Timestamp, what: What) {
        let order = self.planned;
        self.planned += 1;
        match what {
            What::Ending(attempt, version) => {
                self.ends.push(Reverse((at, order, attempt, version)));
            }
            what => self.others.push(Reverse((at, order, what))),
        }
    }

    pub(super) fn next(&self) -> Timestamp {
        let end = self.ends.peek().map_or(Timestamp::MAX, |Reverse((at, ..))| *at);
        let other = self.others.peek().map_or(Timestamp::MAX, |Reverse((at, ..))| *at);
        end.min(other)
    }

    /// The first of what is due at `now`, which is [`Self::next`].
    pub(super) fn take(&mut self, now: Timestamp) -> Option<What> {
        let end = self.ends.peek().map(|Reverse((at, order, ..))| (*at, *order));
        let other = self.others.peek().map(|Reverse((at, order, _))| (*at, *order));
        let is_end = match (end, other) {
            (Some(end), Some(other)) => end < other,
            (end, _) => end.is_some(),
        };
        if is_end {
            let Reverse((at, _, attempt, version)) = self.ends.pop()?;
            debug_assert!(at <= now);
            return Some(What::Ending(attempt, version));
        }
        self.others.pop().map(|Reverse((.., what))| what)
    }
}
