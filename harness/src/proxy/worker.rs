//! One worker: its view of the endpoints, its place in the round, its idle connections.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

use highwater_model::{
    outcome::HopError,
    proxy::{
        balance::{Balancer, Candidate},
        health::{Health, is_the_pods},
    },
};
use hyper::client::conn::http1;

use super::{
    Config, mono_ns,
    protocol::{EndpointAddress, Report},
    report::Reporter,
    upstream::{HEAD_BYTES_MAX, Upstream},
};
use crate::clock::RunClock;

/// What all workers have in common.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) reporter: Rc<Reporter>,
    /// The clock of the run, once the proxy was told of one.
    pub(super) run: Cell<Option<RunClock>>,
    /// How connections to pods speak HTTP.
    pub(super) http: http1::Builder,
    /// Number of the next connection to a pod.
    next_conn: Cell<u64>,
}

impl Shared {
    pub(super) fn new(config: Config, reporter: Rc<Reporter>) -> Rc<Self> {
        let mut http = http1::Builder::new();
        http.max_buf_size(HEAD_BYTES_MAX).max_header_size(HEAD_BYTES_MAX);
        Rc::new(Self { config, reporter, run: Cell::new(None), http, next_conn: Cell::new(1) })
    }

    pub(super) fn next_conn(&self) -> u64 {
        let number = self.next_conn.get();
        self.next_conn.set(number + 1);
        number
    }
}

/// A pod, for as long as it stays in a worker's view.
pub(super) struct Endpoint {
    /// Its name and where it listens.
    pub(super) at: EndpointAddress,
    /// No longer in the view. A pod that comes back is another endpoint.
    removed: Cell<bool>,
    /// Idle connections, the most recently used last.
    idle: RefCell<VecDeque<Rc<Upstream>>>,
    /// Requests in flight to it.
    active: Cell<u32>,
    health: Cell<Health>,
}

impl Endpoint {
    fn new(at: EndpointAddress) -> Rc<Self> {
        Rc::new(Self {
            at,
            removed: Cell::new(false),
            idle: RefCell::default(),
            active: Cell::new(0),
            health: Cell::default(),
        })
    }
}

/// A request that is in flight to an endpoint, until this is dropped.
pub(super) struct InFlight(pub(super) Rc<Endpoint>);

impl InFlight {
    fn to(endpoint: Rc<Endpoint>) -> Self {
        endpoint.active.set(endpoint.active.get() + 1);
        Self(endpoint)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}

/// One of the proxy's workers.
pub(super) struct Worker {
    pub(super) index: u32,
    pub(super) shared: Rc<Shared>,
    view: RefCell<Vec<Rc<Endpoint>>>,
    balancer: RefCell<Balancer>,
    /// Idle connections of all endpoints.
    idle: Cell<usize>,
}

impl Worker {
    /// A worker that knows no endpoint yet.
    pub(super) fn new(index: u32, shared: Rc<Shared>) -> Rc<Self> {
        let Config { balance, balance_seed, .. } = shared.config;
        Rc::new(Self {
            index,
            shared,
            view: RefCell::default(),
            balancer: RefCell::new(Balancer::new(balance, index, balance_seed)),
            idle: Cell::new(0),
        })
    }

    /// The endpoint of the next attempt of a request that has been to those `tried`; `None` if the
    /// view is empty.
    pub(super) fn pick(&self, tried: &[Rc<Endpoint>]) -> Option<InFlight> {
        let view = self.view.borrow();
        let limits = self.shared.config.passive_health;
        let now = limits.map_or(0, |_| mono_ns());
        let candidate = |place: usize| {
            let endpoint = &view[place];
            Candidate {
                is_ejected: limits
                    .is_some_and(|limits| endpoint.health.get().is_ejected(limits, now)),
                is_tried: tried.iter().any(|tried| Rc::ptr_eq(tried, endpoint)),
                active: endpoint.active.get(),
            }
        };
        let place = self.balancer.borrow_mut().choose(view.len(), candidate)?;
        let endpoint = Rc::clone(view.get(place)?);
        if let Some(limits) = limits {
            let mut health = endpoint.health.get();
            health.chosen(limits, now);
            endpoint.health.set(health);
        }
        Some(InFlight::to(endpoint))
    }

    /// An attempt at `endpoint` was answered.
    pub(super) fn succeeded(&self, endpoint: &Endpoint) {
        let Some(limits) = self.shared.config.passive_health else { return };
        let mut health = endpoint.health.get();
        let is_readmitted = health.succeeded(limits);
        endpoint.health.set(health);
        if is_readmitted && !endpoint.removed.get() {
            let (worker, pod) = (self.index, endpoint.at.pod.clone());
            self.shared.reporter.send(Report::Readmitted { worker, pod, mono_ns: mono_ns() });
        }
    }

    /// An attempt at `endpoint` came to `error`.
    pub(super) fn failed(&self, endpoint: &Endpoint, error: HopError) {
        let Some(limits) = self.shared.config.passive_health else { return };
        if !is_the_pods(error) {
            return;
        }
        let mut health = endpoint.health.get();
        let mono_ns = mono_ns();
        let fails = health.failed(limits, mono_ns);
        endpoint.health.set(health);
        if let Some(fails) = fails
            && !endpoint.removed.get()
        {
            let (worker, pod) = (self.index, endpoint.at.pod.clone());
            self.shared.reporter.send(Report::Ejected { worker, pod, fails, mono_ns });
        }
    }

    /// Goes by `endpoints` from the next request on.
    ///
    /// *Behaviour*: the round goes on with the endpoint whose turn it was, or with the next one
    /// after it that is still there. An endpoint named twice counts once. Idle connections to those
    /// that are gone are closed.
    pub(super) fn apply(&self, endpoints: Vec<EndpointAddress>) {
        let old = self.view.take();
        let mut known: BTreeMap<&EndpointAddress, &Rc<Endpoint>> =
            old.iter().map(|endpoint| (&endpoint.at, endpoint)).collect();
        let mut missing: BTreeSet<EndpointAddress> = endpoints.iter().cloned().collect();
        let new: Vec<Rc<Endpoint>> = endpoints
            .into_iter()
            .filter(|at| missing.remove(at))
            .map(|at| match known.remove(&at) {
                Some(endpoint) => Rc::clone(endpoint),
                None => Endpoint::new(at),
            })
            .collect();
        let moved = |place: usize| new.iter().position(|kept| Rc::ptr_eq(kept, &old[place]));
        self.balancer.borrow_mut().view_changed(old.len(), moved);
        for gone in known.into_values() {
            self.remove(gone);
        }
        *self.view.borrow_mut() = new;
    }

    fn remove(&self, endpoint: &Endpoint) {
        endpoint.removed.set(true);
        let idle = endpoint.idle.take();
        self.idle.set(self.idle.get() - idle.len());
        for upstream in idle {
            upstream.hang_up();
        }
    }

    /// The most recently used idle connection to `endpoint` that is not known to be dead.
    pub(super) fn take_idle(&self, endpoint: &Endpoint) -> Option<Rc<Upstream>> {
        loop {
            let upstream = endpoint.idle.borrow_mut().pop_back()?;
            self.idle.set(self.idle.get() - 1);
            if upstream.is_usable() {
                return Some(upstream);
            }
            upstream.hang_up();
        }
    }

    /// Keeps a connection whose exchange is over, or closes it if it may not be kept.
    ///
    /// *Behaviour*: past the bound, the one that has been idle the longest is closed, whichever
    /// pod it leads to, as nginx does it.
    pub(super) fn keep(&self, upstream: &Rc<Upstream>) {
        let endpoint = &upstream.endpoint;
        let Config { keep_alive, max_requests, .. } = self.shared.config;
        if endpoint.removed.get() || !keep_alive || upstream.served() >= max_requests {
            upstream.hang_up();
            return;
        }
        endpoint.idle.borrow_mut().push_back(Rc::clone(upstream));
        self.idle.set(self.idle.get() + 1);
        if self.idle.get() > self.shared.config.max_idle {
            self.close_oldest();
        }
    }

    fn close_oldest(&self) {
        let view = self.view.borrow();
        let oldest = view
            .iter()
            .filter_map(|endpoint| {
                let since = endpoint.idle.borrow().front()?.idle_since();
                Some((since, endpoint))
            })
            .min_by_key(|(since, _)| *since);
        if let Some((_, endpoint)) = oldest
            && let Some(upstream) = endpoint.idle.borrow_mut().pop_front()
        {
            self.idle.set(self.idle.get() - 1);
            upstream.hang_up();
        }
    }

    /// Takes a connection that has ended out of the idle ones.
    pub(super) fn forget(&self, upstream: &Upstream) {
        let mut idle = upstream.endpoint.idle.borrow_mut();
        let place = idle.iter().position(|kept| kept.conn == upstream.conn);
        if let Some(place) = place {
            idle.remove(place);
            self.idle.set(self.idle.get() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::tests::testkit;

    fn worker(index: u32) -> Rc<Worker> {
        let (reporter, _) = Reporter::new();
        Worker::new(index, Shared::new(testkit::config(), reporter))
    }

    fn view(pods: &str) -> Vec<EndpointAddress> {
        pods.chars()
            .map(|pod| EndpointAddress {
                pod: pod.into(),
                address: "127.0.0.1:1".parse().expect("an address"),
            })
            .collect()
    }

    fn picks(worker: &Worker, count: usize) -> String {
        (0..count).map(|_| worker.pick(&[]).map_or("-".into(), |to| to.0.at.pod.clone())).collect()
    }

    #[test]
    fn no_endpoint_is_no_choice() {
        let worker = worker(0);
        assert_eq!(picks(&worker, 2), "--");
        worker.apply(view("a"));
        worker.apply(view(""));
        assert_eq!(picks(&worker, 1), "-");
    }

    #[test]
    fn a_round_goes_on_where_it_was_after_a_change() {
        let rows = [
            ("abc", 1, "abc", "bcab", "nothing changed"),
            ("abc", 1, "acd", "cdac", "the next one is gone: the one after it"),
            ("abc", 2, "bca", "cabc", "another order"),
            ("abc", 3, "abcd", "abcd", "one more"),
            ("abc", 2, "xyz", "xyzx", "all are new"),
            ("abc", 2, "a", "aaaa", "one is left"),
        ];
        for (before, count, after, expected, why) in rows {
            let worker = worker(0);
            worker.apply(view(before));
            picks(&worker, count);
            worker.apply(view(after));
            assert_eq!(picks(&worker, 4), expected, "{why}");
        }
    }

    #[test]
    fn changes_at_every_request_starve_nobody() {
        let worker = worker(0);
        let mut chosen = String::new();
        for step in 0..60 {
            worker.apply(view(if step % 2 == 0 { "abcd" } else { "abcx" }));
            chosen += &picks(&worker, 1);
        }
        for pod in ["a", "b", "c"] {
            let count = chosen.matches(pod).count();
            assert!((12..=20).contains(&count), "{pod}: {count} of 60 in {chosen}");
        }
    }

    #[test]
    fn workers_do_not_all_begin_with_the_same_pod() {
        let second = worker(1);
        second.apply(view("abc"));
        assert_eq!(picks(&second, 3), "bca");
    }
}
