//! The ReplicaSet controller: how many pods to make, and which ones to delete.
//!
//! *Source*: Kubernetes v1.35, `pkg/controller/replicaset/replica_set.go` and
//! `pkg/controller/controller_utils.go`.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::deployment::{Counts, ReplicaSet};
use crate::time::{Nanos, Timestamp};

/// A pod's phase (`status.phase`), in the order in which pods are preferred as victims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// No container has run yet.
    Pending,
    /// A container runs, or will again.
    Running,
    /// Will never run again.
    Failed,
}

/// A pod as the API server has it: what the controllers know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Its number, ascending from 0 in order of creation.
    pub pod: u32,
    /// The template of its ReplicaSet.
    pub template: u32,
    /// The `id` of its ReplicaSet.
    pub set: u32,
    /// Its place among all pods ever made of its template, from 1.
    pub number: u32,
    /// Breaks ties between victims, as the UID does upstream.
    pub uid: u64,
    /// When it was made, in whole seconds.
    pub created: Timestamp,
    /// The node that it is bound to.
    pub node: Option<u32>,
    /// Its phase.
    pub phase: Phase,
    /// Since when it has been ready, in whole seconds.
    pub ready: Option<Timestamp>,
    /// How often its container was started again.
    pub restarts: u32,
    /// Annotation `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
    /// Whether it is being deleted.
    pub is_terminating: bool,
}

impl Pod {
    /// *Source*: `controller_utils.go`, `IsPodActive`.
    pub fn is_active(&self) -> bool {
        self.phase != Phase::Failed && !self.is_terminating
    }

    /// When it will be available, if it stays ready. *Source*: `IsPodAvailable`.
    fn available_at(&self, min_ready_seconds: u32) -> Option<Timestamp> {
        let wait = Nanos::from_secs(u64::from(min_ready_seconds));
        self.ready.map(|since| since + wait)
    }
}

/// What a ReplicaSet lacks or has too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// As many pods must be made.
    Create(u32),
    /// Pods must go.
    Delete {
        /// Which ones, in the order of their creation.
        victims: Vec<u32>,
        /// Whether a real cluster might as well take others, though the pods differ.
        by_chance: bool,
    },
}

/// How many pods a sync makes or deletes at most.
///
/// *Source*: `BurstReplicas`. Slow start makes them in batches of 1, 2, 4 ...; without API latency
/// and failures these are all at one instant.
pub const BURST: u32 = 500;

/// What to do so that `set` has its size. `pods` are all pods of the deployment, in order of
/// creation.
///
/// *Source*: `manageReplicas`.
pub fn difference(set: &ReplicaSet, pods: &[Pod], now: Timestamp) -> Option<Difference> {
    let mut own: Vec<&Pod> = active(set, pods).collect();
    let have = u32::try_from(own.len()).expect("pods are counted in 32 bits");
    match have.cmp(&set.replicas) {
        Ordering::Equal => None,
        Ordering::Less => Some(Difference::Create(BURST.min(set.replicas - have))),
        Ordering::Greater => {
            let count = BURST.min(have - set.replicas);
            let by_chance = count < have && rank(&mut own, pods, now);
            let mut victims: Vec<u32> = own
                .iter()
                .take(usize::try_from(count).expect("a count of pods fits"))
                .map(|pod| pod.pod)
                .collect();
            victims.sort_unstable();
            Some(Difference::Delete { victims, by_chance })
        }
    }
}

/// Which `count` of `pods`, all of one set, go first when there are too many; in the order of their
/// creation. Pods that are not active are left out.
///
/// *Source*: as [`difference`].
pub fn victims(pods: &[Pod], count: usize, now: Timestamp) -> Vec<u32> {
    let mut own: Vec<&Pod> = pods.iter().filter(|pod| pod.is_active()).collect();
    rank(&mut own, pods, now);
    let mut victims: Vec<u32> = own.iter().take(count).map(|pod| pod.pod).collect();
    victims.sort_unstable();
    victims
}

/// The status of `set`.
///
/// *Source*: `replica_set_utils.go`, `calculateStatus`.
pub fn count(set: &ReplicaSet, pods: &[Pod], now: Timestamp) -> Counts {
    let mut counts = Counts::default();
    for pod in pods.iter().filter(|pod| pod.set == set.id) {
        counts.terminating += u32::from(pod.is_terminating && pod.phase != Phase::Failed);
        if pod.is_active() {
            let available_at = pod.available_at(set.min_ready_seconds);
            let is_available = pod.ready.is_some()
                && (set.min_ready_seconds == 0 || available_at.is_some_and(|at| at <= now));
            counts.replicas += 1;
            counts.ready += u32::from(pod.ready.is_some());
            counts.available += u32::from(is_available);
        }
    }
    counts
}

/// When the next pod of `set` becomes available by the passing of time alone.
///
/// *Source*: `syncReplicaSet`, `FindMinNextPodAvailabilityCheck`.
pub fn next_check(set: &ReplicaSet, pods: &[Pod], now: Timestamp) -> Option<Timestamp> {
    if set.min_ready_seconds == 0 {
        return None;
    }
    active(set, pods)
        .filter_map(|pod| pod.available_at(set.min_ready_seconds))
        .filter(|&at| at > now)
        .min()
}

fn active<'a>(set: &ReplicaSet, pods: &'a [Pod]) -> impl Iterator<Item = &'a Pod> {
    let id = set.id;
    pods.iter().filter(move |pod| pod.set == id && pod.is_active())
}

/// Up to how many pods upstream's sort is one by insertion. *Source*: Go's `sort.Sort`.
const INSERTION: usize = 12;

/// Sorts `own` so that the first is the first to go. Returns whether upstream's order of these pods
/// is a matter of chance.
///
/// Upstream's comparison is not transitive: of two pods whose ages lie within the same power of two
/// the UID decides at once, of two that are equally old restarts and more come before it. Where that
/// shows, the result depends on how one sorts, and on the order that one starts from, which is
/// random in a real cluster. Here it is by insertion, starting from the order of the UIDs. That is
/// what the oracle does with few pods; with more than [`INSERTION`] Go's sort jumps about.
fn rank(own: &mut Vec<&Pod>, pods: &[Pod], now: Timestamp) -> bool {
    let on_node =
        |pod: &Pod| pods.iter().filter(|other| other.is_active() && other.node == pod.node).count();
    let mut ranked: Vec<(usize, &Pod)> = own.iter().map(|pod| (on_node(pod), *pod)).collect();
    ranked.sort_by_key(|(_, pod)| pod.uid);
    for end in 1..ranked.len() {
        let mut i = end;
        while i > 0 && victims_first(ranked[i], ranked[i - 1], now) == Ordering::Less {
            ranked.swap(i, i - 1);
            i -= 1;
        }
    }
    *own = ranked.iter().map(|(_, pod)| *pod).collect();
    ranked.len() > INSERTION && !is_in_order(&ranked, now)
}

/// Whether each pod compares with each one behind it as their places say: less, or equal if all
/// between them are.
fn is_in_order(ranked: &[(usize, &Pod)], now: Timestamp) -> bool {
    (0..ranked.len()).all(|i| {
        let mut want = Ordering::Equal;
        ((i + 1)..ranked.len()).all(|j| {
            if victims_first(ranked[j - 1], ranked[j], now) == Ordering::Less {
                want = Ordering::Less;
            }
            victims_first(ranked[i], ranked[j], now) == want
        })
    })
}

/// Which of two pods goes first; each with how many pods of the deployment share its node.
///
/// *Source*: `controller_utils.go`, `ActivePodsWithRanks.Less`. Nothing here looks at requests in
/// flight.
fn victims_first(a: (usize, &Pod), b: (usize, &Pod), now: Timestamp) -> Ordering {
    let ((rank_a, a), (rank_b, b)) = (a, b);
    let plain = (a.node.is_some().cmp(&b.node.is_some()))
        .then(a.phase.cmp(&b.phase))
        .then(a.ready.is_some().cmp(&b.ready.is_some()))
        .then(a.deletion_cost.cmp(&b.deletion_cost))
        .then(rank_b.cmp(&rank_a));
    let by_ready = || match (a.ready, b.ready) {
        (Some(since_a), Some(since_b)) => by_age(since_a, since_b, a, b, now),
        _ => Ordering::Equal,
    };
    plain
        .then_with(by_ready)
        .then(b.restarts.cmp(&a.restarts))
        .then_with(|| by_age(a.created, b.created, a, b, now))
}

/// The younger first, if their ages differ by a power of two; else by UID.
fn by_age(at_a: Timestamp, at_b: Timestamp, a: &Pod, b: &Pod, now: Timestamp) -> Ordering {
    if at_a == at_b {
        return Ordering::Equal;
    }
    let magnitude = |at: Timestamp| now.since(at).0.checked_ilog2();
    magnitude(at_a).cmp(&magnitude(at_b)).then(a.uid.cmp(&b.uid))
}

#[cfg(test)]
mod tests;
