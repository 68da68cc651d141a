//! What the wrong behaviours do to requests, and how much of it. Those that change the shutdown
//! are the [`crate::drain`] machine's.

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{cli::Args, lifecycle::mono_ns, misbehave::Misbehaviour};

/// `ready-before-warm`: how long the service warms up, from its listening.
pub const WARM_UP: Duration = Duration::from_secs(2);
/// `cold-start`: how many requests of a process are slow.
pub const COLD_REQUESTS: u64 = 20;
/// What a request takes in addition while the service is not warm or still cold.
pub const SLOWNESS: Duration = Duration::from_secs(3);
/// `memory-growth`: what each request leaves behind.
pub const GROWTH_BYTES: usize = 1 << 20;
/// `memory-growth`: the most that is left behind, so that no machine is lost to it.
pub const GROWTH_BYTES_MAX: usize = 512 << 20;
/// `crash-on-request`: the request that ends the process, counted from its start.
pub const CRASH_EVERY: u64 = 100;
/// `crash-on-request`: the exit code, that of a Rust program that panics.
pub const CRASH_CODE: i32 = 101;
/// `blocking-cleanup`: how long nothing else is done on SIGTERM.
pub const CLEANUP: Duration = Duration::from_secs(2);
/// `short-idle-timeout`: the idle time-out, unless the settings give a shorter one.
pub const SHORT_IDLE: Duration = Duration::from_secs(1);
/// `short-idle-timeout`: how long after the server has given a connection up its client learns of
/// it. Between two machines that is the way of a packet; on loopback it is next to nothing.
pub const CLOSE_TRAVELS: Duration = Duration::from_millis(20);

/// What a request of `/work` takes beside its work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct More {
    /// So many times as long, CPU and waiting alike: the process is not warm (`--warm-up-factor`).
    pub factor: f64,
    /// So much longer, of the wrong behaviours.
    pub slowness: Duration,
}

/// The wrong behaviours of one process, and what they have done so far.
#[derive(Debug)]
pub struct Wrong {
    switches: Vec<Misbehaviour>,
    dependencies: Vec<String>,
    outages: Option<PathBuf>,
    /// How long a preStop hook of kind `httpGet` keeps the kubelet waiting.
    pub pre_stop: Duration,
    begun: AtomicU64,
    /// Requests of `/work` that are or were worked on.
    worked: AtomicU64,
    ended: watch::Sender<u64>,
    warm_at: AtomicU64,
    /// Until when, of how many requests and how many times as long they take, while it warms up.
    warming: (Option<Duration>, Option<u64>, f64),
    warming_until: AtomicU64,
    grown: Mutex<Vec<Vec<u8>>>,
}

/// A request under way; it ends when this is dropped, also when it is cancelled.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a Wrong);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}

impl Wrong {
    /// Those of the settings.
    pub fn new(args: &Args) -> Self {
        Self {
            switches: args.misbehave.clone(),
            dependencies: args.dependencies.iter().map(|known| known.name.clone()).collect(),
            outages: args.outages.clone(),
            pre_stop: args.drain_delay,
            begun: AtomicU64::new(0),
            worked: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            warm_at: AtomicU64::new(u64::MAX),
            warming: (args.warm_up_for, args.warm_up_requests, args.warm_up_factor),
            warming_until: AtomicU64::new(0),
            grown: Mutex::new(Vec::new()),
        }
    }

    /// Whether it is switched on.
    pub fn has(&self, how: Misbehaviour) -> bool {
        self.switches.contains(&how)
    }

    /// The service listens, and begins to warm up if it has to.
    pub fn listens(&self) {
        let now = mono_ns();
        self.warm_at.store(now + WARM_UP.as_nanos() as u64, Ordering::Relaxed);
        let lasts = self.warming.0.unwrap_or_default();
        self.warming_until.store(now + lasts.as_nanos() as u64, Ordering::Relaxed);
    }

    /// A request begins.
    pub fn begin(&self) -> UnderWay<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Waits until all requests are over that were under way at the call.
    pub async fn queue(&self) {
        let before = self.begun.load(Ordering::Relaxed);
        let mut ended = self.ended.subscribe();
        // The sender lives as long as this value.
        let _ = ended.wait_for(|ended| *ended >= before).await;
    }

    /// What a request of `/work` does beside its work; how much longer it takes.
    ///
    /// *Behaviour*: ends the process if this is the request that crashes it.
    pub fn at_work(&self) -> More {
        let number = self.worked.fetch_add(1, Ordering::Relaxed) + 1;
        if self.has(Misbehaviour::CrashOnRequest) && number >= CRASH_EVERY {
            std::process::exit(CRASH_CODE);
        }
        if self.has(Misbehaviour::MemoryGrowth) {
            self.grow();
        }
        let is_cold = self.has(Misbehaviour::ColdStart) && number <= COLD_REQUESTS;
        let is_warming = self.has(Misbehaviour::ReadyBeforeWarm)
            && mono_ns() < self.warm_at.load(Ordering::Relaxed);
        let slowness = if is_cold || is_warming { SLOWNESS } else { Duration::ZERO };
        let (_, requests, factor) = self.warming;
        let is_early = requests.is_some_and(|requests| number <= requests);
        let is_young = mono_ns() < self.warming_until.load(Ordering::Relaxed);
        More { factor: if is_early || is_young { factor } else { 1.0 }, slowness }
    }

    fn grow(&self) {
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        if grown.len() < GROWTH_BYTES_MAX / GROWTH_BYTES {
            // Written to, so that the memory is really there.
            grown.push(vec![1; GROWTH_BYTES]);
        }
    }

    /// Whether a dependency is out: a file of its name is in the folder of outages.
    pub fn is_dependency_out(&self) -> bool {
        let Some(folder) = &self.outages else { return false };
        self.dependencies.iter().any(|name| folder.join(name).exists())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn wrong(args: &[&str]) -> Wrong {
        Wrong::new(&Args::parse_from([&["target-service"], args].concat()))
    }

    const NOTHING: More = More { factor: 1.0, slowness: Duration::ZERO };

    #[test]
    fn a_process_that_warms_up_is_slower_for_so_many_requests_or_so_long() {
        let slow = |args: &[&str]| {
            let warming = wrong(&[args, &["--warm-up-factor", "3"]].concat());
            warming.listens();
            (0..10).filter(|_| warming.at_work().factor == 3.0).count()
        };
        assert_eq!(slow(&["--warm-up-requests", "4"]), 4);
        assert_eq!(slow(&["--warm-up-for", "1h"]), 10);
        assert_eq!(slow(&["--warm-up-for", "0"]), 0);
        assert_eq!(slow(&[]), 0);
    }

    #[test]
    fn a_correct_service_adds_nothing() {
        let right = wrong(&[]);
        right.listens();
        for _ in 0..2 * CRASH_EVERY {
            let _request = right.begin();
            assert_eq!(right.at_work(), NOTHING);
        }
        assert!(right.grown.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn only_the_first_requests_of_a_cold_process_are_slow() {
        let cold = wrong(&["--misbehave", "cold-start"]);
        let slow = (0..3 * COLD_REQUESTS)
            .filter(|_| {
                let _request = cold.begin();
                cold.at_work().slowness > Duration::ZERO
            })
            .count();
        assert_eq!(slow as u64, COLD_REQUESTS);
    }

    #[test]
    fn what_grows_is_bounded() {
        let growing = wrong(&["--misbehave", "memory-growth"]);
        growing.begin();
        assert_eq!(growing.at_work(), NOTHING);
        assert_eq!(growing.grown.lock().expect("not poisoned").len(), 1);
        let full = GROWTH_BYTES_MAX / GROWTH_BYTES;
        growing.grown.lock().expect("not poisoned").resize(full, Vec::new());
        growing.at_work();
        assert_eq!(growing.grown.lock().expect("not poisoned").len(), full);
    }

    #[tokio::test]
    async fn a_probe_that_queues_waits_for_what_came_before_it_and_for_nothing_else() {
        let service = wrong(&["--misbehave", "slow-probe-under-load"]);
        service.queue().await;
        let before = service.begin();
        let mut probe = Box::pin(service.queue());
        assert!(futures_poll(&mut probe).is_pending());
        let _after = service.begin();
        drop(before);
        probe.await;
    }

    fn futures_poll(future: &mut (impl Future<Output = ()> + Unpin)) -> std::task::Poll<()> {
        std::pin::Pin::new(future)
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
