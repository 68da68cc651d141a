//! The Deployment controller's decisions: which ReplicaSet gets which size.
//!
//! *Source*: kubernetes v1.35 `pkg/controller/deployment/{sync,rolling,recreate}.go` and
//! `util/deployment_util.go`; the order of the steps is theirs.

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::spec::{Strategy, StrategyType};

/// A ReplicaSet as the Deployment controller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The revision of its template; sets are made in ascending order.
    pub revision: u32,
    /// `spec.replicas`.
    pub size: u32,
    /// Its pods that are available.
    pub available: u32,
    /// The annotation `desired-replicas`: the Deployment's size when this set was last scaled.
    pub desired: u32,
    /// The annotation `max-replicas`: size plus surge at that time.
    pub max: u32,
}

/// What a sync does to one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes the newest revision's set, already sized.
    Create {
        /// Its revision.
        revision: u32,
        /// Its size.
        size: u32,
    },
    /// Changes a set's size, or (size unchanged) only its annotations.
    Scale {
        /// Which.
        revision: u32,
        /// The new size.
        size: u32,
    },
}

/// What a sync is told.
#[derive(Clone, Debug)]
pub struct World<'a> {
    /// How pods are replaced.
    pub strategy: &'a Strategy,
    /// `spec.replicas` of the Deployment.
    pub desired: u32,
    /// The newest revision.
    pub revision: u32,
    /// All sets, ascending by revision.
    pub sets: &'a [Set],
    /// Whether pods of older revisions exist, terminating ones included (`Recreate` waits).
    pub has_old_pods: bool,
}

impl World<'_> {
    fn new_set(&self) -> Option<&Set> {
        self.sets.iter().find(|set| set.revision == self.revision)
    }

    fn old_sets(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().filter(|set| set.revision != self.revision)
    }

    fn fenceposts(&self) -> (u32, u32) {
        match self.strategy.kind {
            StrategyType::RollingUpdate => self.strategy.fenceposts(self.desired),
            StrategyType::Recreate => (0, 0),
        }
    }

    /// `desired-replicas` and `max-replicas` of a set that is scaled now.
    pub fn annotations(&self) -> (u32, u32) {
        (self.desired, self.desired.saturating_add(self.fenceposts().0))
    }

    fn total(&self) -> u32 {
        self.sets.iter().map(|set| set.size).sum()
    }
}

/// One sync. An empty answer means that there is nothing to do now.
pub fn sync(world: &World<'_>) -> Vec<Step> {
    let is_scaling = world.sets.iter().any(|set| set.size > 0 && set.desired != world.desired);
    if is_scaling {
        return scale(world);
    }
    match world.strategy.kind {
        StrategyType::RollingUpdate => rolling(world),
        StrategyType::Recreate => recreate(world),
    }
}

/// `NewRSNewReplicas` for a rolling update: as many as the surge leaves room for.
fn new_size(world: &World<'_>, size: u32) -> u32 {
    let room = (world.desired + world.fenceposts().0).saturating_sub(world.total());
    size + room.min(world.desired.saturating_sub(size))
}

/// `rolloutRolling`.
fn rolling(world: &World<'_>) -> Vec<Step> {
    let Some(new) = world.new_set() else {
        // Creation is not scaling: the same sync goes on to the old sets.
        let size = new_size(world, 0);
        let mut steps = alloc::vec![Step::Create { revision: world.revision, size }];
        let created =
            Set { revision: world.revision, size, available: 0, desired: world.desired, max: 0 };
        let mut sets = world.sets.to_vec();
        sets.push(created);
        steps.extend(reconcile_old(&World { sets: &sets, ..world.clone() }));
        return steps;
    };
    let size = if new.size > world.desired { world.desired } else { new_size(world, new.size) };
    if size != new.size {
        return alloc::vec![Step::Scale { revision: new.revision, size }];
    }
    reconcile_old(world)
}

/// `reconcileOldReplicaSets`: first the unhealthy old pods, then as many as availability allows.
fn reconcile_old(world: &World<'_>) -> Vec<Step> {
    let Some(new) = world.new_set() else {
        return Vec::new();
    };
    let min_available = i64::from(world.desired) - i64::from(world.fenceposts().1);
    let new_unavailable = i64::from(new.size) - i64::from(new.available);
    let scale_down_max = i64::from(world.total()) - min_available - new_unavailable;
    if scale_down_max <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<(u32, u32)> = world.old_sets().map(|set| (set.revision, set.size)).collect();
    let mut left = scale_down_max;
    for (set, (_, size)) in world.old_sets().zip(&mut sizes) {
        let unhealthy = i64::from(set.size) - i64::from(set.available);
        let down = unhealthy.clamp(0, left);
        *size -= down as u32;
        left -= down;
    }
    let available: i64 = world.sets.iter().map(|set| i64::from(set.available)).sum();
    let mut left = available - min_available;
    for (_, size) in &mut sizes {
        let down = i64::from(*size).min(left).max(0);
        *size -= down as u32;
        left -= down;
    }
    let changed = world.old_sets().zip(sizes).filter(|(set, (_, size))| set.size != *size);
    changed.map(|(_, (revision, size))| Step::Scale { revision, size }).collect()
}

/// `rolloutRecreate`.
fn recreate(world: &World<'_>) -> Vec<Step> {
    let old: Vec<Step> = world
        .old_sets()
        .filter(|set| set.size > 0)
        .map(|set| Step::Scale { revision: set.revision, size: 0 })
        .collect();
    if !old.is_empty() || world.has_old_pods {
        return old;
    }
    match world.new_set() {
        None => alloc::vec![Step::Create { revision: world.revision, size: world.desired }],
        Some(new) if new.size != world.desired => {
            alloc::vec![Step::Scale { revision: new.revision, size: world.desired }]
        }
        Some(_) => Vec::new(),
    }
}

/// `scale`: the Deployment's size changed, in a rollout or out of one.
fn scale(world: &World<'_>) -> Vec<Step> {
    let active: Vec<&Set> = world.sets.iter().filter(|set| set.size > 0).collect();
    if let [only] = active[..] {
        return alloc::vec![Step::Scale { revision: only.revision, size: world.desired }];
    }
    let saturated = world.new_set().is_some_and(|new| {
        new.size == world.desired && new.desired == world.desired && new.available == world.desired
    });
    if saturated {
        let old = active.iter().filter(|set| set.revision != world.revision);
        return old.map(|set| Step::Scale { revision: set.revision, size: 0 }).collect();
    }
    match world.strategy.kind {
        StrategyType::RollingUpdate => proportional(world, active),
        StrategyType::Recreate => recreate(world),
    }
}

/// The proportional part of `scale`: each set grows or shrinks by its share, the largest takes
/// what rounding leaves.
fn proportional(world: &World<'_>, mut active: Vec<&Set>) -> Vec<Step> {
    let surge = world.fenceposts().0;
    let allowed = if world.desired > 0 { i64::from(world.desired + surge) } else { 0 };
    let to_add = allowed - i64::from(world.total());
    if to_add > 0 {
        active.sort_by_key(|set| (Reverse(set.size), Reverse(set.revision)));
    } else {
        active.sort_by_key(|set| (Reverse(set.size), set.revision));
    }
    let mut added = 0;
    let mut sizes: Vec<i64> = Vec::with_capacity(active.len());
    for set in &active {
        let size = i64::from(set.size);
        let share = if to_add == 0 {
            0
        } else if to_add > 0 {
            fraction(world, set, surge).min(to_add - added)
        } else {
            fraction(world, set, surge).max(to_add - added)
        };
        added += share;
        sizes.push(size + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    let steps = active.iter().zip(sizes);
    steps
        .map(|(set, size)| Step::Scale { revision: set.revision, size: size.max(0) as u32 })
        .collect()
}

/// `getReplicaSetFraction`: how many pods a set gains (or loses) by its share of the new total.
fn fraction(world: &World<'_>, set: &Set, surge: u32) -> i64 {
    if world.desired == 0 {
        return -i64::from(set.size);
    }
    let total = f64::from(world.desired + surge);
    let share = f64::from(set.size) * total / f64::from(set.max.max(1));
    libm::floor(share + 0.5) as i64 - i64::from(set.size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::RollingUpdate, units::IntOrPercent};
    use std::{vec, vec::Vec};

    fn strategy(surge: u32, unavailable: u32) -> Strategy {
        Strategy {
            kind: StrategyType::RollingUpdate,
            rolling_update: Some(RollingUpdate {
                max_surge: IntOrPercent::Int(surge),
                max_unavailable: IntOrPercent::Int(unavailable),
            }),
        }
    }

    /// Plays a rollout of two revisions: a new pod is available two syncs after its creation. The
    /// sizes (old, new) whenever they change.
    fn play(replicas: u32, strategy: &Strategy) -> Vec<(u32, u32)> {
        let full = strategy.fenceposts(replicas).0 + replicas;
        let mut sets = vec![Set {
            revision: 1,
            size: replicas,
            available: replicas,
            desired: replicas,
            max: full,
        }];
        let (mut sizes, mut ages): (Vec<(u32, u32)>, Vec<u32>) = (vec![], vec![]);
        for _ in 0..100 {
            let world = World {
                strategy,
                desired: replicas,
                revision: 2,
                sets: &sets,
                has_old_pods: false,
            };
            for step in sync(&world) {
                match step {
                    Step::Create { revision, size } => {
                        sets.push(Set {
                            revision,
                            size,
                            available: 0,
                            desired: replicas,
                            max: full,
                        });
                    }
                    Step::Scale { revision, size } => {
                        let set =
                            sets.iter_mut().find(|set| set.revision == revision).expect("known");
                        set.size = size;
                        set.available = set.available.min(size);
                    }
                }
            }
            ages.iter_mut().for_each(|age| *age += 1);
            let new = sets.last().expect("made").size;
            ages.resize(new as usize, 0);
            let available = ages.iter().filter(|age| **age >= 2).count() as u32;
            sets.last_mut().expect("made").available = available;
            let now = (sets[0].size, new);
            if sizes.last() != Some(&now) {
                sizes.push(now);
            }
            if now == (0, replicas) {
                break;
            }
        }
        sizes
    }

    #[test]
    fn rollouts_take_the_steps_that_kubernetes_takes() {
        type Row<'a> = (u32, u32, u32, &'a [(u32, u32)]);
        let rows: [Row<'_>; 4] = [
            (10, 3, 2, &[(8, 3), (8, 5), (5, 5), (5, 8), (3, 8), (3, 10), (0, 10)]),
            (4, 1, 1, &[(3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 4), (0, 4)]),
            (3, 1, 0, &[(3, 1), (2, 1), (2, 2), (1, 2), (1, 3), (0, 3)]),
            (10, 10, 0, &[(10, 10), (0, 10)]),
        ];
        for (replicas, surge, unavailable, expected) in rows {
            assert_eq!(
                play(replicas, &strategy(surge, unavailable)),
                expected,
                "{replicas}/{surge}/{unavailable}"
            );
        }
        assert_eq!(play(4, &strategy(0, 1)).first(), Some(&(3, 0)));
        assert_eq!(
            play(1, &strategy(0, 0)).first(),
            Some(&(0, 0)),
            "both zero: one may be unavailable"
        );
    }

    #[test]
    fn a_crash_looping_revision_does_not_eat_the_old_one() {
        let sets = [
            Set { revision: 1, size: 3, available: 3, desired: 4, max: 5 },
            Set { revision: 2, size: 2, available: 0, desired: 4, max: 5 },
        ];
        let strategy = strategy(1, 1);
        let world = World {
            strategy: &strategy,
            desired: 4,
            revision: 2,
            sets: &sets,
            has_old_pods: false,
        };
        assert_eq!(sync(&world), []);
    }

    #[test]
    fn a_change_of_size_in_a_rollout_is_shared_in_proportion() {
        let sets = [
            Set { revision: 1, size: 8, available: 8, desired: 10, max: 13 },
            Set { revision: 2, size: 5, available: 5, desired: 10, max: 13 },
        ];
        let rows: [(u32, (u32, u32)); 3] = [(20, (15, 10)), (4, (3, 2)), (0, (0, 0))];
        for (desired, (old, new)) in rows {
            let strategy = Strategy::default();
            let world = World {
                strategy: &strategy,
                desired,
                revision: 2,
                sets: &sets,
                has_old_pods: true,
            };
            let mut steps = sync(&world);
            steps.sort_by_key(|step| match step {
                Step::Create { revision, .. } | Step::Scale { revision, .. } => *revision,
            });
            let expected =
                [Step::Scale { revision: 1, size: old }, Step::Scale { revision: 2, size: new }];
            assert_eq!(steps, expected, "10 to {desired}");
        }
    }

    #[test]
    fn recreate_waits_for_the_last_old_pod() {
        let strategy = Strategy { kind: StrategyType::Recreate, rolling_update: None };
        let steps = |size, has_old_pods| {
            let sets = [Set { revision: 1, size, available: size, desired: 3, max: 3 }];
            sync(&World { strategy: &strategy, desired: 3, revision: 2, sets: &sets, has_old_pods })
        };
        assert_eq!(steps(3, true), [Step::Scale { revision: 1, size: 0 }]);
        assert_eq!(steps(0, true), [], "old pods still terminate");
        assert_eq!(steps(0, false), [Step::Create { revision: 2, size: 3 }]);
    }
}
