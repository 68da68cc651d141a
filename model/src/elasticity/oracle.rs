//! The demand for pods, and the scaler that knows the future.

use alloc::{vec, vec::Vec};

use super::{Ceilings, Steps};
use crate::{
    load::Profile,
    time::{Nanos, Timestamp},
};

/// How many pods the traffic needs at each instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// From the start of the traffic.
    pub pods: Steps,
    /// Whether it needs more than were looked at somewhere, so that it is too low there.
    pub is_capped: bool,
}

/// The least pods that can take `profile` at each instant, never below `least`; `least` from its end
/// on. Instants count from the start of the traffic.
pub fn demand(profile: &Profile, ceilings: &Ceilings, least: u32) -> Demand {
    let most = ceilings.pods_max().max(least);
    let mut known = Demand { pods: Steps::new(least), is_capped: false };
    for (from, to, rates) in profile.lines() {
        let crossing = |limit: f64| {
            let part = (limit - rates.0) / (rates.1 - rates.0);
            Timestamp(from.0 + (((to.0 - from.0) as f64) * part.clamp(0.0, 1.0) + 0.5) as u64)
        };
        let [begin, end] = [rates.0, rates.1].map(|rate| ceilings.pods(rate));
        let bounded = |pods: u32| pods.clamp(least, most);
        known.is_capped |= begin.max(end) > most;
        known.pods.set(Timestamp(from.0), bounded(begin));
        if end > begin {
            // It needs one more where it passes what the pods so far can take.
            for pods in begin..end {
                known.pods.set(crossing(ceilings.of(pods)), bounded(pods + 1));
            }
        } else {
            for pods in (end..begin).rev() {
                known.pods.set(crossing(ceilings.of(pods)), bounded(pods));
            }
        }
    }
    known.pods.set(Timestamp(profile.lasts().0), least);
    known
}

/// What a scaler would do that knows the demand ahead.
///
/// It has as many pods ready as are demanded, at every instant. It starts each so early that it is
/// ready when it is needed, and stops it when it is needed no more, unless it will be needed again
/// before `rest` is over or too soon to be started anew: then the pod stays. At the start the first
/// demand is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oracle {
    /// The pods that are ready.
    pub ready: Steps,
    /// The pods that are there, those that start among them: what is paid for.
    pub paid: Steps,
}

impl Oracle {
    /// `lead` is how long a pod takes from its order to its being ready; `rest` for how long a pod
    /// must not be needed to be stopped.
    pub fn new(demand: &Steps, lead: Nanos, rest: Nanos) -> Self {
        let rest = rest.max(lead);
        let (mut ready, mut paid) = (Vec::new(), Vec::new());
        // By level: since when this many pods are not needed. The first are never stopped for good
        // before they are.
        let mut idle_since: Vec<Option<Timestamp>> = vec![None; demand.first() as usize];
        let mut level = demand.first();
        for (at, pods) in demand.iter() {
            for one in idle_since.iter_mut().take(level as usize).skip(pods as usize) {
                *one = Some(at);
            }
            for place in level as usize..pods as usize {
                let before = idle_since.get_mut(place).map(Option::take);
                if before.is_none() {
                    idle_since.push(None);
                }
                if let Some(since) = before.flatten() {
                    if at.since(since) <= rest {
                        continue;
                    }
                    ready.push((since, -1));
                    paid.push((since, -1));
                }
                ready.push((at, 1));
                paid.push((Timestamp(at.0.saturating_sub(lead.0)), 1));
            }
            level = pods;
        }
        for since in idle_since.into_iter().flatten() {
            ready.push((since, -1));
            paid.push((since, -1));
        }
        let of = |differences| Steps::of_differences(demand.first(), differences);
        Self { ready: of(ready), paid: of(paid) }
    }
}

/// By how much a cost is above that of the oracle, as a share of the latter: 0 is as good as knowing
/// the future, 1 costs twice that. Below 0 if the pods were too few. `None` if the oracle costs
/// nothing.
pub fn regret(cost: f64, oracle: f64) -> Option<f64> {
    (oracle > 0.0).then(|| (cost - oracle) / oracle)
}
