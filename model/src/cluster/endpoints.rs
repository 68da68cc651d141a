//! The EndpointSlice and how its changes reach each consumer.
//!
//! *Source*: kubernetes/endpointslice `utils.go` (ready, serving, terminating), kubernetes v1.35
//! `pkg/proxy/topology.go` (selection and fallback), KEP-1669 and KEP-1672.

use alloc::{collections::BTreeMap, format, vec::Vec};

use crate::{rng::Stream, spec::Distribution, time::Timestamp};

/// An endpoint by its pod's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// The pod.
    pub pod: u32,
    /// Its Ready condition.
    pub serving: bool,
    /// It is being deleted.
    pub terminating: bool,
}

impl SliceEndpoint {
    /// Serving and not terminating.
    pub fn ready(self) -> bool {
        self.serving && !self.terminating
    }
}

/// The pods that a consumer of these endpoints may choose: the ready ones, or if there are none,
/// those that still serve while they terminate.
pub fn routed(endpoints: &[SliceEndpoint]) -> Vec<u32> {
    let pods = |chosen: fn(SliceEndpoint) -> bool| {
        endpoints
            .iter()
            .filter(|endpoint| chosen(**endpoint))
            .map(|endpoint| endpoint.pod)
            .collect::<Vec<_>>()
    };
    let ready = pods(SliceEndpoint::ready);
    if ready.is_empty() { pods(|endpoint| endpoint.serving && endpoint.terminating) } else { ready }
}

/// The slice, its versions on their way, and what each consumer has applied.
#[derive(Clone, Debug)]
pub struct Propagation {
    delay: Distribution,
    version: u64,
    endpoints: Vec<SliceEndpoint>,
    versions: BTreeMap<u64, Vec<SliceEndpoint>>,
    consumers: Vec<Consumer>,
}

#[derive(Clone, Debug)]
struct Consumer {
    stream: Stream,
    version: u64,
    routed: Vec<u32>,
    due: BTreeMap<u64, Timestamp>,
}

/// A consumer's new view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Which consumer.
    pub consumer: u32,
    /// The version.
    pub version: u64,
    /// The pods that it may choose.
    pub routed: Vec<u32>,
}

impl Propagation {
    /// Nothing is known to anybody.
    pub fn new(consumers: u32, delay: Distribution, seed: u64) -> Self {
        let consumer = |index: u32| Consumer {
            stream: Stream::new(seed, &format!("propagation/consumer-{index}")),
            version: 0,
            routed: Vec::new(),
            due: BTreeMap::new(),
        };
        Self {
            delay,
            version: 0,
            endpoints: Vec::new(),
            versions: BTreeMap::new(),
            consumers: (0..consumers).map(consumer).collect(),
        }
    }

    /// The slice is written at `now`; its new version, or `None` if nothing changed.
    pub fn write(&mut self, now: Timestamp, endpoints: Vec<SliceEndpoint>) -> Option<u64> {
        if endpoints == self.endpoints {
            return None;
        }
        self.version += 1;
        self.endpoints.clone_from(&endpoints);
        self.versions.insert(self.version, endpoints);
        for consumer in &mut self.consumers {
            let at = now + self.delay.sample(&mut consumer.stream);
            consumer.due.insert(self.version, at);
        }
        Some(self.version)
    }

    /// When the next consumer applies something.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.consumers.iter().flat_map(|consumer| consumer.due.values()).min().copied()
    }

    /// Applies what is due at `now`. A version that arrives after a later one is dropped: no view
    /// goes back. Only views that changed are told.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Applied> {
        let mut applied = Vec::new();
        for (index, consumer) in self.consumers.iter_mut().enumerate() {
            let newest = consumer
                .due
                .iter()
                .filter(|(_, at)| **at <= now)
                .map(|(version, _)| *version)
                .max();
            let Some(version) = newest else { continue };
            consumer.due.retain(|other, _| *other > version);
            debug_assert!(version > consumer.version);
            consumer.version = version;
            let routed =
                self.versions.get(&version).map(|endpoints| routed(endpoints)).unwrap_or_default();
            if routed != consumer.routed {
                consumer.routed.clone_from(&routed);
                applied.push(Applied { consumer: index as u32, version, routed });
            }
        }
        let oldest = self.consumers.iter().flat_map(|consumer| consumer.due.keys()).min().copied();
        self.versions.retain(|version, _| oldest.is_some_and(|oldest| *version >= oldest));
        applied
    }

    /// Whether every consumer has applied the newest version.
    pub fn is_settled(&self) -> bool {
        self.consumers.iter().all(|consumer| consumer.due.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Nanos;
    use proptest::prelude::*;
    use std::vec;

    fn endpoint(pod: u32, serving: bool, terminating: bool) -> SliceEndpoint {
        SliceEndpoint { pod, serving, terminating }
    }

    #[test]
    fn ready_pods_are_chosen_and_terminating_ones_only_when_there_is_no_other() {
        let rows: [(&[SliceEndpoint], &[u32]); 4] = [
            (&[endpoint(1, true, false), endpoint(2, true, true), endpoint(3, false, false)], &[1]),
            (&[endpoint(2, true, true), endpoint(3, false, true)], &[2]),
            (&[endpoint(3, false, true), endpoint(4, false, false)], &[]),
            (&[], &[]),
        ];
        for (endpoints, pods) in rows {
            assert_eq!(routed(endpoints), pods);
        }
    }

    #[test]
    fn an_unchanged_slice_is_not_written() {
        let mut propagation = Propagation::new(1, Distribution::default(), 1);
        assert_eq!(propagation.write(Timestamp::ZERO, vec![endpoint(1, true, false)]), Some(1));
        assert_eq!(propagation.write(Timestamp::ZERO, vec![endpoint(1, true, false)]), None);
    }

    proptest! {
        #[test]
        fn no_view_goes_back_and_all_settle_on_the_last(seed in any::<u64>(), writes in 1u64..40) {
            let delay = Distribution::Uniform(Nanos::ZERO, Nanos::from_secs(2));
            let mut propagation = Propagation::new(3, delay, seed);
            let mut seen = [0u64; 3];
            let mut now = Timestamp::ZERO;
            for number in 1..=writes {
                now = now + Nanos::from_millis(100);
                propagation.write(now, vec![endpoint(number as u32, true, false)]);
                for applied in propagation.advance(now) {
                    prop_assert!(applied.version > seen[applied.consumer as usize]);
                    seen[applied.consumer as usize] = applied.version;
                }
            }
            while let Some(at) = propagation.next_deadline() {
                for applied in propagation.advance(at) {
                    prop_assert!(applied.version > seen[applied.consumer as usize]);
                    seen[applied.consumer as usize] = applied.version;
                }
            }
            prop_assert!(propagation.is_settled());
            prop_assert_eq!(seen, [writes; 3]);
        }
    }
}
