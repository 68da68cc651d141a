//! A reverse proxy's workers as data: the endpoints that each knows, and its idle connections.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};

use crate::{
    outcome::Hop,
    proxy::{
        IDLE_MAX,
        balance::{Balancer, Candidate},
        health::{Health, Limits},
        telling::Telling,
    },
    spec::{Path, Retry},
    time::Timestamp,
};

/// A pod, for as long as it stays in a worker's view.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) pod: u32,
    /// No longer in the view. A pod that comes back is another endpoint.
    pub(super) is_removed: bool,
    /// Requests in flight to it.
    pub(super) active: u32,
    pub(super) health: Health,
    /// Idle connections, the last used last: since when, and their numbers in
    /// [`Client::ups`](super::traffic::Client::ups).
    idle: VecDeque<(Timestamp, u32)>,
}

/// A proxy's worker.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    /// All that it has known: one for each time that a pod came into its view.
    endpoints: Vec<Endpoint>,
    /// Those that it may choose, by their places in `endpoints`.
    view: Vec<u32>,
    balancer: Balancer,
    /// Idle connections of all endpoints.
    idle: usize,
    /// Whether it is planned when it looks for connections that have been idle for too long.
    pub(super) is_watching: bool,
}

/// The proxy as a whole: what its workers have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxy {
    pub(super) workers: Vec<Worker>,
    pub(super) limits: Option<Limits>,
    /// How often a request is sent again at most; 0 if never.
    pub(super) retries: usize,
    /// By attempt: what was tried before, if it is not the first.
    pub(super) before: BTreeMap<u32, Before>,
    pub(super) telling: Telling<Option<String>, Hop>,
    /// Attempts of this second that could not be told.
    pub(super) dropped: u64,
}

/// A request's attempts that failed and were followed by another.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// To which endpoints.
    pub(super) tried: Vec<u32>,
    /// As they are told.
    pub(super) hops: Vec<Hop>,
}

impl Proxy {
    pub(super) fn new(path: &Path, seed: u64) -> Self {
        let workers = (0..path.proxy_workers).map(|index| Worker {
            endpoints: Vec::new(),
            view: Vec::new(),
            balancer: Balancer::new(path.balancing, index, seed),
            idle: 0,
            is_watching: false,
        });
        Self {
            workers: workers.collect(),
            limits: path.passive_health.as_ref().map(|health| Limits {
                max_fails: health.max_fails,
                fail_timeout: health.fail_timeout.0,
            }),
            retries: if path.retry == Retry::None { 0 } else { path.retries as usize },
            ..Self::default()
        }
    }

    pub(super) fn worker(&mut self, worker: u32) -> Option<&mut Worker> {
        self.workers.get_mut(worker as usize)
    }

    pub(super) fn endpoint(&mut self, worker: u32, endpoint: u32) -> Option<&mut Endpoint> {
        self.worker(worker)?.endpoints.get_mut(endpoint as usize)
    }

    /// The endpoint of the next attempt of a request that has been to those `tried`, at `now`: its
    /// number and its pod. It has one more request in flight.
    pub(super) fn pick(
        &mut self,
        worker: u32,
        tried: &[u32],
        now: Timestamp,
    ) -> Option<(u32, u32)> {
        let limits = self.limits;
        let worker = self.workers.get_mut(worker as usize)?;
        let (view, endpoints) = (&worker.view, &worker.endpoints);
        let candidate = |place: usize| {
            let number = view[place];
            let endpoint = &endpoints[number as usize];
            Candidate {
                is_ejected: limits.is_some_and(|limits| endpoint.health.is_ejected(limits, now.0)),
                is_tried: !tried.is_empty() && tried.contains(&number),
                active: endpoint.active,
            }
        };
        let place = worker.balancer.choose(view.len(), candidate)?;
        let number = view[place];
        let endpoint = worker.endpoints.get_mut(number as usize)?;
        endpoint.active += 1;
        if let Some(limits) = limits {
            endpoint.health.chosen(limits, now.0);
        }
        Some((number, endpoint.pod))
    }
}

impl Worker {
    /// Goes by `pods` from the next request on. Returns the idle connections that are closed for it.
    pub(super) fn apply(&mut self, pods: &[u32]) -> Vec<u32> {
        let old = core::mem::take(&mut self.view);
        for pod in pods {
            let is_it = |number: &&u32| self.endpoints[**number as usize].pod == *pod;
            let number = match old.iter().find(is_it) {
                Some(known) => *known,
                None => self.meet(*pod),
            };
            self.view.push(number);
        }
        let view = &self.view;
        let moved = |place: usize| view.iter().position(|number| *number == old[place]);
        self.balancer.view_changed(old.len(), moved);
        let mut closed = Vec::new();
        for number in old.into_iter().filter(|number| !self.view.contains(number)) {
            let endpoint = &mut self.endpoints[number as usize];
            endpoint.is_removed = true;
            closed.extend(core::mem::take(&mut endpoint.idle).into_iter().map(|(_, up)| up));
        }
        self.idle -= closed.len();
        closed
    }

    fn meet(&mut self, pod: u32) -> u32 {
        self.endpoints.push(Endpoint {
            pod,
            is_removed: false,
            active: 0,
            health: Health::default(),
            idle: VecDeque::new(),
        });
        (self.endpoints.len() - 1) as u32
    }

    /// The idle connection to an endpoint that was used last, and since when it is idle.
    #[inline]
    pub(super) fn take_newest(&mut self, endpoint: u32) -> Option<(Timestamp, u32)> {
        let newest = self.endpoints.get_mut(endpoint as usize)?.idle.pop_back()?;
        self.idle -= 1;
        Some(newest)
    }

    /// Keeps a connection that is idle from `now` on. Returns one that is closed for it.
    #[inline]
    pub(super) fn keep(&mut self, endpoint: u32, now: Timestamp, up: u32) -> Option<u32> {
        match self.endpoints.get_mut(endpoint as usize) {
            Some(endpoint) if !endpoint.is_removed => endpoint.idle.push_back((now, up)),
            _ => return Some(up),
        }
        self.idle += 1;
        if self.idle > IDLE_MAX { self.take_oldest(Timestamp::MAX) } else { None }
    }

    /// The connection that has been idle for longest, if that is since `until` or before.
    pub(super) fn take_oldest(&mut self, until: Timestamp) -> Option<u32> {
        let (since, number) = self.oldest()?;
        if since > until {
            return None;
        }
        self.idle -= 1;
        let (_, up) = self.endpoints[number as usize].idle.pop_front()?;
        Some(up)
    }

    /// Since when the connection has been idle that has been so for longest, and its endpoint.
    pub(super) fn oldest(&self) -> Option<(Timestamp, u32)> {
        let of = |number: &u32| {
            let (since, _) = self.endpoints[*number as usize].idle.front()?;
            Some((*since, *number))
        };
        self.view.iter().filter_map(of).min_by_key(|(since, _)| *since)
    }
}
