//! The truth of latencies: what the engine records against what servers did that know it.
//!
//! Servers wait for planned spans that are long beside what a machine takes for anything else, and
//! tell when they stalled on the run's own clock. A machine that is short of processors is late all
//! the same; how late is measured while a test runs, by the engine's own send lag and by a witness
//! that only sleeps, and is allowed for on top of the 1 % that is demanded.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater::{
    clock::RunClock,
    load::{self, Control, Route, Update, request},
    record::hist,
};
use highwater_model::{
    load::{Profile, Schedule, Share},
    outcome::Outcome,
    spec::Traffic,
    time::{MILLISECOND, Nanos, SECOND, Timestamp},
};

const QUANTILES: [f64; 9] = [0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999];

/// What an engine recorded of good answers, and how late this machine was meanwhile.
struct Seen {
    latency: hist::Hist,
    service: hist::Hist,
    lag: hist::Hist,
    late: u64,
}

/// Sleeps again and again, and remembers how much too long at most.
fn witness(clock: RunClock, ends: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    const SLEEP: u64 = 2 * MILLISECOND;
    std::thread::spawn(move || {
        let mut worst = 0;
        while !ends.load(Ordering::Relaxed) {
            let before = clock.now();
            std::thread::sleep(Duration::from_nanos(SLEEP));
            worst = worst.max(clock.now().since(before).0.saturating_sub(SLEEP));
        }
        worst
    })
}

fn run(traffic: &Traffic, clock: RunClock, start: Timestamp, address: SocketAddr) -> Seen {
    let ends = Arc::new(AtomicBool::new(false));
    let witness = witness(clock, ends.clone());
    let mut handle = load::start(load::Config {
        clock,
        start,
        schedule: schedule(traffic),
        share: Share::WHOLE,
        kinds: request::compile(traffic, "/", "test"),
        traffic: traffic.clone(),
        route: Route::Endpoints { clients: 1 },
        proxy_clock: clock,
        seed: 1,
    })
    .unwrap();
    handle.order(Control::View { client: 0, endpoints: vec![("pod".into(), address)] });
    let mut seen = Seen { latency: hist::new(), service: hist::new(), lag: hist::new(), late: 0 };
    loop {
        match handle.updates.blocking_recv().expect("the engine does not panic") {
            Update::Finished => break,
            Update::Broken(reason) => panic!("{reason}"),
            Update::Second(second) => {
                for (outcome, part) in
                    second.windows.into_iter().flat_map(|(_, _, part)| part.outcomes)
                {
                    assert_eq!(outcome, Outcome::Ok, "{:?}", second.failures.first());
                    let times = part.times.unwrap();
                    let [latency, service, lag] = &*times;
                    seen.latency.add(latency).unwrap();
                    seen.service.add(service).unwrap();
                    seen.lag.add(lag).unwrap();
                }
            }
        }
    }
    handle.join();
    ends.store(true, Ordering::Relaxed);
    // The server's thread may be late to run, and then the engine to read.
    seen.late = 2 * witness.join().unwrap().max(seen.lag.max());
    seen
}

fn traffic(arrivals: &str, rate: u32, seconds: u32) -> Traffic {
    let traffic = serde_json::json!({
        "arrivals": arrivals,
        "phases": [{"hold": rate, "for": format!("{seconds}s")}],
        "timeout": "20s",
    });
    serde_json::from_value(traffic).unwrap()
}

fn schedule(traffic: &Traffic) -> Schedule {
    Schedule::new(Profile::new(traffic).unwrap(), traffic.arrivals, 1)
}

/// A server that answers a request when `until` says, which it asks at once when the request is
/// there.
fn serve(
    clock: RunClock,
    until: impl Fn(Timestamp) -> Timestamp + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let until = Arc::new(until);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let until = until.clone();
            std::thread::spawn(move || answer(stream, clock, &*until));
        }
    });
    address
}

fn answer(mut stream: TcpStream, clock: RunClock, until: &dyn Fn(Timestamp) -> Timestamp) {
    let (mut head, mut bytes) = (Vec::new(), [0; 1024]);
    while let Ok(n @ 1..) = stream.read(&mut bytes) {
        head.extend_from_slice(&bytes[..n]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        let at = until(clock.now());
        std::thread::sleep(at.since(clock.now()).to_std());
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

/// The value that `quantile` of all are at or below, as the histogram has it.
fn quantile(sorted: &[u64], quantile: f64) -> u64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Every quantile within 1 % of the truth, and above by `late` at most.
fn compare(what: &str, found: &hist::Hist, mut truth: Vec<u64>, late: u64) {
    assert_eq!(found.len(), truth.len() as u64, "{what}");
    truth.sort_unstable();
    for q in QUANTILES {
        let (found, truth) = (found.value_at_quantile(q), quantile(&truth, q));
        let bounds = truth / 100 * 99..=truth / 100 * 101 + late;
        assert!(
            bounds.contains(&found),
            "{what}, p{}: {found} for {truth}, late {late}",
            q * 100.0
        );
    }
}

#[test]
fn a_known_distribution_is_recorded_as_it_is() {
    // A grid from 100 ms to 1.095 s, steep at its end so that the high quantiles lie apart, in an
    // order that has nothing to do with its size.
    const GRID: u64 = 200;
    let delay = |number: u64| {
        let place = (number * 77) % GRID;
        let tail = place.saturating_sub(GRID - 10);
        (100 + place * 5 + tail * tail * 10) * MILLISECOND
    };
    let clock = RunClock::start();
    let count = AtomicU64::new(0);
    let address =
        serve(clock, move |now| now + Nanos(delay(count.fetch_add(1, Ordering::Relaxed))));
    let start = clock.now() + Nanos::from_millis(100);
    let traffic = traffic("constant", 200, 5);
    let seen = run(&traffic, clock, start, address);
    let truth: Vec<u64> = (0..1000).map(delay).collect();
    compare("service time", &seen.service, truth.clone(), seen.late);
    compare("latency", &seen.latency, truth, seen.late);
}

#[test]
fn a_stall_is_in_the_latency_of_all_that_were_owed_meanwhile() {
    const BASE: Nanos = Nanos::from_millis(100);
    const STALL: Nanos = Nanos::from_secs(1);
    for arrivals in ["constant", "poisson"] {
        let clock = RunClock::start();
        let start = clock.now() + Nanos::from_millis(100);
        // The server stalls from the first request on that comes two seconds into the traffic.
        let stalls_at = start + Nanos::from_secs(2);
        let stalled: Arc<Mutex<Option<Timestamp>>> = Arc::default();
        let told = stalled.clone();
        let address = serve(clock, move |now| {
            let mut stalled = stalled.lock().unwrap();
            if now >= stalls_at {
                stalled.get_or_insert(now);
            }
            let ends = stalled.map_or(Timestamp::ZERO, |since| since + STALL);
            ends.max(now + BASE)
        });
        let traffic = traffic(arrivals, 200, 5);
        let seen = run(&traffic, clock, start, address);
        let since = told.lock().unwrap().expect("the server stalled");
        let truth: Vec<u64> = schedule(&traffic)
            .map(|arrival| {
                let scheduled = start + arrival.at;
                let is_held = scheduled + Nanos(MILLISECOND) >= stalls_at;
                let ends = if is_held { since + STALL } else { Timestamp::ZERO };
                ends.since(scheduled).max(BASE).0
            })
            .collect();
        // A client that waits for each answer would have seen one slow request in a thousand.
        let slow = truth.iter().filter(|latency| **latency > SECOND / 2).count();
        assert!(slow > 60, "{slow}");
        compare(arrivals, &seen.latency, truth, seen.late);
    }
}
