//! Which endpoint is next. Pure: what is known of each is asked for, and chance is a stream.
//!
//! An endpoint that is passed over for its failures is chosen only if all are, and one that this
//! request has been to already only if there is no other (`docs/decisions/0015`).
//!
//! *Source*: nginx, `ngx_http_upstream_round_robin.c` and `ngx_http_upstream_least_conn_module.c`,
//! with all weights equal and without a zone that workers share.

use alloc::format;

use crate::{rng::Stream, spec::Balancing};

/// What is known of an endpoint when one is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Passed over for its failures.
    pub is_ejected: bool,
    /// This request has been to it.
    pub is_tried: bool,
    /// Requests in flight to it.
    pub active: u32,
}

impl Candidate {
    /// The lower, the sooner; zero is the best there is.
    fn rank(self) -> (bool, bool) {
        (self.is_ejected, self.is_tried)
    }
}

/// The rank of an endpoint that nothing speaks against.
const BEST: (bool, bool) = (false, false);

/// Chooses for one worker.
#[derive(Clone, Debug)]
pub struct Balancer {
    how: Balancing,
    /// Place of the endpoint whose turn it is.
    next: usize,
    chance: Stream,
}

impl Balancer {
    /// The balancer of a worker. Workers do not all begin with the same endpoint.
    pub fn new(how: Balancing, worker: u32, seed: u64) -> Self {
        let chance = Stream::new(seed, &format!("proxy/balance/{worker}"));
        Self { how, next: worker as usize, chance }
    }

    /// The place of the next endpoint among `count`; `None` if there is none. `candidate` says what
    /// is known of the one at a place.
    #[inline]
    pub fn choose(
        &mut self,
        count: usize,
        candidate: impl Fn(usize) -> Candidate,
    ) -> Option<usize> {
        let turn = if self.next < count { self.next } else { self.next.checked_rem(count)? };
        let round = (turn..count).chain(0..turn);
        let place = match self.how {
            Balancing::RoundRobin if candidate(turn).rank() == BEST => turn,
            Balancing::RoundRobin => first_least(round, BEST, |place| candidate(place).rank())?,
            Balancing::LeastRequest => first_least(round, (BEST, 0), |place| {
                let candidate = candidate(place);
                (candidate.rank(), candidate.active)
            })?,
            Balancing::Random => self.draw(count, candidate)?,
        };
        self.next = place + 1;
        Some(place)
    }

    /// The view has changed from one of `count` places: the round goes on with the endpoint whose
    /// turn it was, or with the next one after it that is still there. `moved` says where the one at a
    /// place is now, if it is.
    pub fn view_changed(&mut self, count: usize, moved: impl Fn(usize) -> Option<usize>) {
        if let Some(turn) = self.next.checked_rem(count) {
            let round = (turn..count).chain(0..turn);
            self.next = round.into_iter().find_map(moved).unwrap_or(0);
        }
    }

    /// Any of those of the lowest rank, each as likely.
    fn draw(&mut self, count: usize, candidate: impl Fn(usize) -> Candidate) -> Option<usize> {
        let guess = self.chance.below(count as u64) as usize;
        if candidate(guess).rank() == BEST {
            return Some(guess);
        }
        let lowest = (0..count).map(|place| candidate(place).rank()).min()?;
        let is_lowest = |place: &usize| candidate(*place).rank() == lowest;
        let of_these = (0..count).filter(is_lowest).count();
        let drawn = self.chance.below(of_these as u64) as usize;
        (0..count).filter(is_lowest).nth(drawn)
    }
}

/// The first place of the least cost. `least` is a cost below which there is none: whoever has it
/// ends the search.
fn first_least<C: Ord>(
    places: impl Iterator<Item = usize>,
    least: C,
    cost: impl Fn(usize) -> C,
) -> Option<usize> {
    let mut best: Option<(C, usize)> = None;
    for place in places {
        let cost = cost(place);
        if cost == least {
            return Some(place);
        }
        if best.as_ref().is_none_or(|(lowest, _)| cost < *lowest) {
            best = Some((cost, place));
        }
    }
    best.map(|(_, place)| place)
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    const ALL: [Balancing; 3] = [Balancing::RoundRobin, Balancing::LeastRequest, Balancing::Random];

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (any::<bool>(), any::<bool>(), 0..4u32)
            .prop_map(|(is_ejected, is_tried, active)| Candidate { is_ejected, is_tried, active });
        prop::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn an_ejected_one_is_never_chosen_while_another_is_there(
            all in candidates(),
            worker in 0..300u32,
            seed in any::<u64>(),
        ) {
            for how in ALL {
                let mut balancer = Balancer::new(how, worker, seed);
                for _ in 0..2 * all.len() + 1 {
                    let Some(place) = balancer.choose(all.len(), |place| all[place]) else {
                        prop_assert!(all.is_empty());
                        break;
                    };
                    let chosen = all[place];
                    let others = || all.iter();
                    prop_assert!(!chosen.is_ejected || others().all(|other| other.is_ejected));
                    let peers = || others().filter(|other| other.is_ejected == chosen.is_ejected);
                    prop_assert!(!chosen.is_tried || peers().all(|other| other.is_tried));
                    if how == Balancing::LeastRequest {
                        let alike = peers().filter(|other| other.is_tried == chosen.is_tried);
                        prop_assert_eq!(alike.map(|other| other.active).min(), Some(chosen.active));
                    }
                }
            }
        }

        #[test]
        fn those_that_nothing_speaks_against_share_evenly(
            ejected in prop::collection::vec(any::<bool>(), 1..12),
            worker in 0..300u32,
            seed in any::<u64>(),
        ) {
            let candidate =
                |place: usize| Candidate { is_ejected: ejected[place], ..Candidate::default() };
            let well = ejected.iter().filter(|is_ejected| !**is_ejected).count();
            let sharing = if well == 0 { ejected.len() } else { well };
            for how in ALL {
                let mut balancer = Balancer::new(how, worker, seed);
                let mut counts = vec![0u32; ejected.len()];
                for _ in 0..400 * sharing {
                    counts[balancer.choose(ejected.len(), candidate).expect("one is there")] += 1;
                }
                for (place, count) in counts.into_iter().enumerate() {
                    let due = if well == 0 || !ejected[place] { 400 } else { 0 };
                    // Six standard deviations of a binomial count: one case in 5e8 is beyond.
                    let slack = if how == Balancing::Random && due > 0 { 120 } else { 0 };
                    prop_assert!(count.abs_diff(due) <= slack, "{how:?} {place}: {count} of {due}");
                }
            }
        }

        #[test]
        fn with_requests_that_last_the_least_loaded_stay_level(
            ends in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
            count in 1..9usize,
        ) {
            let mut active = vec![0u32; count];
            let mut balancer = Balancer::new(Balancing::LeastRequest, 0, 1);
            for end in ends {
                let candidate = |place: usize| {
                    Candidate { active: active[place], ..Candidate::default() }
                };
                let place = balancer.choose(count, candidate).expect("one is there");
                let lowest = active.iter().min().copied();
                prop_assert_eq!(Some(active[place]), lowest);
                active[place] += 1;
                let ending = end.index(count);
                if end.index(3) == 0 {
                    active[ending] = active[ending].saturating_sub(1);
                }
            }
        }
    }

    #[test]
    fn a_seed_repeats_what_is_drawn_and_workers_draw_apart() {
        let drawn = |worker, seed| {
            let mut balancer = Balancer::new(Balancing::Random, worker, seed);
            let draw = |_| balancer.choose(7, |_| Candidate::default());
            (0..50).map(draw).collect::<Vec<_>>()
        };
        assert_eq!(drawn(0, 7), drawn(0, 7));
        assert_ne!(drawn(0, 7), drawn(1, 7));
        assert_ne!(drawn(0, 7), drawn(0, 8));
    }

    #[test]
    fn equals_take_turns() {
        let mut balancer = Balancer::new(Balancing::LeastRequest, 0, 1);
        let active = [1, 0, 0, 2];
        let candidate = |place: usize| Candidate { active: active[place], ..Candidate::default() };
        let chosen: Vec<_> = (0..4).filter_map(|_| balancer.choose(4, candidate)).collect();
        assert_eq!(chosen, [1, 2, 1, 2]);
    }
}
