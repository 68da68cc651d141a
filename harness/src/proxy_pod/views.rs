//! When each worker learns of a change: the propagation of an ingress.

use highwater_model::{cluster::endpoints::View as Consumer, spec::Distribution, time::Timestamp};

use crate::proxy::protocol::{EndpointAddress, View};

/// The views of all workers.
///
/// Each worker learns of a change after a delay of its own, drawn anew for every change from a
/// stream of its own, as each consumer of a `local` run does; a change that overtakes earlier ones
/// makes them void. On the way are at most the changes within one such delay.
#[derive(Clone, Debug)]
pub struct Views {
    workers: Vec<Consumer<EndpointAddress>>,
    endpoints: Vec<EndpointAddress>,
    version: u64,
}

impl Views {
    /// The views of workers that know of no endpoint yet.
    pub fn new(workers: u32, propagation: &Distribution, seed: u64) -> Self {
        let workers =
            (0..workers).map(|worker| Consumer::new(worker, propagation.clone(), seed)).collect();
        Self { workers, endpoints: Vec::new(), version: 0 }
    }

    /// The endpoints that may be chosen are `endpoints` from `now` on: if these are others than
    /// before, a new version sets out to every worker.
    pub fn see(&mut self, now: Timestamp, endpoints: Vec<EndpointAddress>) {
        if endpoints == self.endpoints {
            return;
        }
        self.version += 1;
        for worker in &mut self.workers {
            worker.send(now, self.version, endpoints.clone());
        }
        self.endpoints = endpoints;
    }

    /// When a worker learns of something next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.workers.iter().filter_map(Consumer::next_deadline).min()
    }

    /// What workers learn of until `now`, by worker.
    pub fn fire(&mut self, now: Timestamp) -> Vec<View> {
        let workers = (0..).zip(&mut self.workers);
        let learns = workers.filter_map(|(worker, consumer)| {
            let (version, endpoints) = consumer.fire(now)?;
            Some(View { worker, version, endpoints })
        });
        learns.collect()
    }
}

#[cfg(test)]
mod tests {
    use highwater_model::time::Nanos;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Nanos::from_millis(millis)
    }

    fn pods(names: &str) -> Vec<EndpointAddress> {
        let address = "10.0.0.1:8080".parse().expect("an address");
        names.chars().map(|pod| EndpointAddress { pod: pod.into(), address }).collect()
    }

    /// All that workers learn, as (when, worker, version, pods).
    fn learnt(views: &mut Views) -> Vec<(Timestamp, u32, u64, String)> {
        let mut learnt = Vec::new();
        while let Some(at) = views.next_deadline() {
            for View { worker, version, endpoints } in views.fire(at) {
                let pods = endpoints.into_iter().map(|endpoint| endpoint.pod).collect();
                learnt.push((at, worker, version, pods));
            }
        }
        learnt
    }

    #[test]
    fn a_change_reaches_every_worker_after_the_delay_and_no_change_reaches_none() {
        let mut views = Views::new(2, &Distribution::Fixed(Nanos::from_millis(100)), 1);
        assert_eq!(views.next_deadline(), None);
        views.see(at(0), Vec::new());
        assert_eq!(views.next_deadline(), None, "that is what they know already");
        views.see(at(10), pods("ab"));
        views.see(at(20), pods("ab"));
        views.see(at(30), pods("b"));
        assert!(views.fire(at(109)).is_empty());
        assert_eq!(
            learnt(&mut views),
            [
                (at(110), 0, 1, "ab".into()),
                (at(110), 1, 1, "ab".into()),
                (at(130), 0, 2, "b".into()),
                (at(130), 1, 2, "b".into()),
            ]
        );
    }

    #[test]
    fn every_worker_and_change_has_a_delay_of_its_own_and_a_seed_repeats_them() {
        let spread = Distribution::Uniform(Nanos::ZERO, Nanos::from_secs(2));
        let run = |seed| {
            let mut views = Views::new(3, &spread, seed);
            views.see(at(0), pods("a"));
            let mut all = learnt(&mut views);
            views.see(at(10_000), pods("b"));
            all.extend(learnt(&mut views));
            all
        };
        let delays = run(7);
        assert_eq!(delays.len(), 6);
        let mut instants: Vec<Timestamp> = delays.iter().map(|(at, ..)| *at).collect();
        assert!(instants.iter().all(|&when| when <= at(2_000) || when >= at(10_000)));
        instants.dedup();
        assert_eq!(instants.len(), 6, "no two are the same");
        assert_eq!(run(7), delays);
        assert_ne!(run(8), delays);
    }

    #[test]
    fn no_worker_goes_back_to_an_older_version() {
        let spread = Distribution::Uniform(Nanos::ZERO, Nanos::from_secs(2));
        for seed in 0..50 {
            let mut views = Views::new(2, &spread, seed);
            for step in 0..20 {
                views.see(at(step * 100), pods(if step % 2 == 0 { "ab" } else { "b" }));
            }
            let learnt = learnt(&mut views);
            for worker in 0..2 {
                let versions = learnt.iter().filter(|(_, of, ..)| *of == worker);
                let versions: Vec<u64> = versions.map(|(_, _, version, _)| *version).collect();
                assert!(versions.is_sorted(), "seed {seed}: {versions:?}");
                assert!(versions.len() < 20, "seed {seed}: nothing was overtaken");
                let last = learnt.iter().rfind(|(_, of, ..)| *of == worker).expect("learns");
                assert_eq!(last.3, "b", "seed {seed}: the newest is what remains");
            }
        }
    }
}
