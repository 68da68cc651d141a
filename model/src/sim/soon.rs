//! A queue whose next are near at hand.
//!
//! What comes out in the next while is kept sorted, so that the first is taken without a comparison
//! and most of what is added finds its place after a few; the rest is a heap, from which many come at
//! a time. The order is that of a heap alone.

use alloc::{collections::BinaryHeap, vec::Vec};
use core::cmp::Reverse;

use crate::time::Timestamp;

/// So many are near at most: where a heap begins to be as quick.
const NEAR: usize = 32;

/// When, and what. Of one instant, what is pushed later must not be less.
pub(super) type Entry = (Timestamp, u64);

/// A queue, the least first.
#[derive(Clone, Debug, Default)]
pub(super) struct Soon {
    /// Ascending from `first` on; none of them after any of `rest`. Empty only if all is.
    near: Vec<Entry>,
    first: usize,
    rest: BinaryHeap<Reverse<Entry>>,
}

impl Soon {
    pub(super) fn len(&self) -> usize {
        self.near.len() - self.first + self.rest.len()
    }

    /// The least.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<&Entry> {
        self.near.get(self.first)
    }

    /// Takes the least.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let least = *self.near.get(self.first)?;
        self.first += 1;
        if self.first == self.near.len() {
            self.fetch();
        }
        Some(least)
    }

    #[inline(always)]
    pub(super) fn push(&mut self, entry: Entry) {
        let near = self.near.len() - self.first;
        let is_far = self.near.last().is_some_and(|last| entry.0 >= last.0);
        if near > 0 && is_far && (near == NEAR || !self.rest.is_empty()) {
            return self.push_far(entry);
        }
        if self.near.len() == 2 * NEAR {
            self.make_room();
        }
        self.near.push(entry);
        let near = &mut self.near[self.first..];
        let mut place = near.len() - 1;
        while place > 0 && near[place - 1].0 > entry.0 {
            near[place] = near[place - 1];
            place -= 1;
        }
        near[place] = entry;
        if near.len() > NEAR {
            self.rest.extend(self.near.pop().map(Reverse));
        }
    }

    #[inline(never)]
    fn push_far(&mut self, entry: Entry) {
        self.rest.push(Reverse(entry));
    }

    /// Nothing is near any more.
    #[inline(never)]
    fn fetch(&mut self) {
        self.near.clear();
        self.first = 0;
        while self.near.len() < NEAR
            && let Some(Reverse(entry)) = self.rest.pop()
        {
            self.near.push(entry);
        }
    }

    #[inline(never)]
    fn make_room(&mut self) {
        self.near.drain(..self.first);
        self.first = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue_as_a_heap_is(
            steps in prop::collection::vec(prop::option::weighted(0.6, 0u64..500), 0..2_000),
            many in prop::collection::vec(0u64..500, 0..200),
        ) {
            let (mut soon, mut heap) = (Soon::default(), BinaryHeap::new());
            for (order, step) in (0..).zip(many.into_iter().map(Some).chain(steps)) {
                match step {
                    Some(at) => {
                        soon.push((Timestamp(at), order));
                        heap.push(Reverse((Timestamp(at), order)));
                    }
                    None => prop_assert_eq!(soon.pop(), heap.pop().map(|Reverse(entry)| entry)),
                }
                prop_assert_eq!(soon.peek(), heap.peek().map(|Reverse(entry)| entry));
                prop_assert_eq!(soon.len(), heap.len());
                prop_assert!(soon.near.len() <= 2 * NEAR);
            }
        }
    }
}
