//! Refusals of pods that say nothing of their lives, and are ready before they listen.
//!
//! Nothing in the record says of such a pod when it listened, and behind kube-proxy nobody says whom
//! a connection met. But a pod that does not listen refuses all that it gets, from the moment when
//! it is chosen: refusals that nothing else explains are its own if they begin as it becomes ready,
//! and as long as they go on.

use std::collections::BTreeMap;

use highwater_model::time::{Nanos, Timestamp};

use super::{hidden::KUBE_PROXY, offers::Offers};
use crate::analyze::pods::{Lives, PodLife};

/// A server listens this long after its container started, at the latest.
///
/// *Source*: `lifecycle-semantics.md` section 7 ("process start → listening").
const LATE_LISTENER: Nanos = Nanos::from_secs(60);
/// Refusals that follow each other within this much go on. At rates so low that they do not,
/// nobody can say so.
const GOES_ON: Nanos = Nanos::from_secs(2);

/// From when until when each pod that says nothing may have refused all that it got.
#[derive(Debug, Default)]
pub(super) struct LateListeners<'a>(BTreeMap<&'a str, (Timestamp, Timestamp)>);

impl<'a> LateListeners<'a> {
    /// `refusals`: the instants of those that nothing else explains, ascending.
    pub(super) fn of(refusals: &[Timestamp], lives: &'a Lives) -> Self {
        let spans = lives.pods.iter().filter_map(|(pod, life)| {
            let (ready, last) = silent_from(life)?;
            let from = refusals.partition_point(|at| *at < ready);
            let mut until = ready;
            let mut bound = ready + KUBE_PROXY.usual;
            for at in refusals[from..].iter().take_while(|at| **at <= last) {
                if *at > bound {
                    break;
                }
                until = *at;
                bound = *at + GOES_ON;
            }
            (until > ready).then_some((pod.as_str(), (ready, until)))
        });
        Self(spans.collect())
    }

    /// The pods that may have refused a connection of `from` to `until`.
    pub(super) fn at(
        &self,
        from: Timestamp,
        until: Timestamp,
        offers: &Offers<'a>,
    ) -> Vec<&'a str> {
        let is_one = |pod: &str| {
            self.0.get(pod).is_some_and(|(ready, last)| (*ready..=*last).contains(&until))
        };
        let offered = offers.between(from, until);
        offered
            .filter(|(pod, _, lag)| *lag == Nanos::ZERO && is_one(pod))
            .map(|(pod, ..)| pod)
            .collect()
    }
}

/// From when until when at most a pod may be ready and not listen. One that was there before the
/// run has listened, and of one that became ready in a gap nobody knows when.
fn silent_from(life: &PodLife) -> Option<(Timestamp, Timestamp)> {
    let container = life.containers.first().filter(|container| !container.tells)?;
    let ready = container.ready.filter(|ready| !ready.is_vague())?;
    let is_new = life.created.at > Timestamp::ZERO;
    is_new.then_some((ready.earliest, container.started.latest + LATE_LISTENER))
}
