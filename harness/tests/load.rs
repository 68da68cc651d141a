//! The load engine against scripted servers: each row of the truth table of failures, the engine's
//! own limits, hostile answers, and the truth of its latencies.
//!
//! Rows are those of `lifecycle-semantics.md` section 4.1, produced with plain sockets.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
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
    outcome::{Failure, Outcome},
    spec::{Arrivals, Expect, Phase, RequestKind, Saturate, Traffic},
    time::Nanos,
    units::RatePerSec,
};

/// What came of a run of the engine.
struct Seen {
    owed: u64,
    outcomes: BTreeMap<Outcome, u64>,
    failures: Vec<Failure>,
    latency: hist::Hist,
    lag: hist::Hist,
}

struct Lab {
    traffic: Traffic,
    views: Vec<Vec<(Arc<str>, SocketAddr)>>,
    /// Everything goes here in place of `views`.
    route: Option<Route>,
    share: Share,
    stop_after: Option<Duration>,
    threads: u32,
}

impl Lab {
    /// `count` requests within half a second to one endpoint.
    fn new(address: SocketAddr, count: u64) -> Self {
        let phase = Phase {
            hold: Some(RatePerSec(count as f64 * 2.0)),
            for_: Some(Nanos::from_millis(500)),
            ..Phase::default()
        };
        let traffic = Traffic {
            arrivals: Arrivals::Constant,
            phases: vec![phase],
            requests: vec![],
            timeout: Nanos::from_secs(20),
            keep_alive: true,
            max_connections: 1000,
            generators: None,
            saturate: None,
            threads: None,
        };
        Self {
            traffic,
            views: vec![vec![("pod".into(), address)]],
            route: None,
            share: Share::WHOLE,
            stop_after: None,
            threads: 1,
        }
    }

    fn timeout_ms(mut self, millis: u64) -> Self {
        self.traffic.timeout = Nanos::from_millis(millis);
        self
    }

    fn expect(mut self, status: Option<u16>, body: Option<&str>) -> Self {
        let expect = Some(Expect { status, body: body.map(Into::into) });
        self.traffic.requests =
            vec![RequestKind { get: Some("/".into()), expect, ..RequestKind::default() }];
        self
    }

    fn run(self) -> Seen {
        let clock = RunClock::start();
        let start = clock.now() + Nanos::from_millis(20);
        let clients = self.views.len() as u32;
        let config = load::Config {
            clock,
            start,
            schedule: Schedule::new(Profile::new(&self.traffic).unwrap(), self.traffic.arrivals, 1),
            share: self.share,
            kinds: request::compile(&self.traffic, "/", "test"),
            traffic: self.traffic,
            route: self.route.unwrap_or(Route::Endpoints { clients }),
            proxy_clock: clock,
            seed: 1,
        };
        let mut handle = load::start_on(config, self.threads).unwrap();
        for (client, endpoints) in self.views.into_iter().enumerate() {
            handle.order(Control::View { client: client as u32, endpoints });
        }
        if let Some(after) = self.stop_after {
            std::thread::sleep(after);
            handle.order(Control::Stop);
        }
        let mut seen = Seen {
            owed: 0,
            outcomes: BTreeMap::new(),
            failures: Vec::new(),
            latency: hist::new(),
            lag: hist::new(),
        };
        loop {
            match handle.updates.blocking_recv().expect("the engine does not panic") {
                Update::Finished => break,
                Update::Broken(reason) => panic!("{reason}"),
                Update::Second(second) => seen.take(*second),
            }
        }
        handle.join();
        let sum: u64 = seen.outcomes.values().sum();
        assert_eq!(sum, seen.owed, "every owed request has one outcome: {:?}", seen.outcomes);
        seen
    }
}

impl Seen {
    fn take(&mut self, second: load::Second) {
        for (_, _, part) in second.windows {
            self.owed += part.owed;
            for (outcome, outcomes) in part.outcomes {
                *self.outcomes.entry(outcome).or_default() += outcomes.n;
                if let Some(times) = outcomes.times {
                    let [latency, _, lag] = &*times;
                    self.latency.add(latency).unwrap();
                    self.lag.add(lag).unwrap();
                }
            }
        }
        self.failures.extend(second.failures);
    }

    /// All requests came to this.
    fn all(&self, outcome: Outcome) {
        let sum: u64 = self.outcomes.values().sum();
        assert_eq!(self.outcomes, BTreeMap::from([(outcome, sum)]));
        let detailed: u64 = self.failures.iter().map(|failure| failure.n).sum();
        assert_eq!(detailed, if outcome == Outcome::Ok { 0 } else { sum });
    }
}

/// A server that handles each connection on a thread of its own.
fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(stream));
        }
    });
    address
}

/// Reads one request's head; false at the end of the stream.
fn read_request(stream: &mut TcpStream) -> bool {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// A server that answers each request with these bytes and keeps the connection.
fn answer(bytes: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| while read_request(&mut stream) && stream.write_all(bytes).is_ok() {})
}

/// A server that answers each request with these bytes and then closes.
fn answer_and_close(bytes: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        if read_request(&mut stream) {
            let _ = stream.write_all(bytes);
        }
    })
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn good_answers_are_good_and_connections_are_used_again() {
    let address = answer(OK);
    let seen = Lab::new(address, 100).run();
    seen.all(Outcome::Ok);
    assert_eq!((seen.owed, seen.latency.len(), seen.lag.len()), (100, 100, 100));
}

#[test]
fn row_1_nothing_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let seen = Lab::new(address, 20).run();
    seen.all(Outcome::ConnectRefused);
    assert!(seen.failures.iter().all(|failure| failure.pod.as_deref() == Some("pod")));
    assert!(seen.failures.iter().all(|failure| failure.errno == Some(111)));
}

#[test]
fn row_11_no_endpoint_is_refused_without_a_pod() {
    let mut lab = Lab::new("127.0.0.1:1".parse().unwrap(), 10);
    lab.views = vec![vec![]];
    let seen = lab.run();
    seen.all(Outcome::ConnectRefused);
    assert!(
        seen.failures.iter().all(|failure| failure.pod.is_none() && failure.consumer == Some(0))
    );
}

#[test]
fn row_2_a_listener_that_closes_resets_what_waits_in_its_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(800));
        drop(listener);
    });
    let seen = Lab::new(address, 20).run();
    seen.all(Outcome::ResetNew);
    assert!(seen.failures.iter().all(|failure| failure.errno == Some(104)));
}

#[test]
fn row_4_an_idle_connection_that_the_server_closed_is_not_used_again() {
    // The engine sees the end of the stream before the next request and opens a new connection. On
    // a busy machine a close may come so late that it meets the next request: the race itself.
    let seen = Lab::new(answer_and_close(OK), 20).run();
    assert!(seen.outcomes[&Outcome::Ok] >= 17, "{:?}", seen.outcomes);
}

#[test]
fn row_5_dying_with_the_request_unread_is_a_reset() {
    let address = serve(|stream| {
        let mut byte = [0];
        // Peeking leaves the request unread.
        let _ = stream.peek(&mut byte);
    });
    let seen = Lab::new(address, 20).run();
    seen.all(Outcome::ResetNew);
}

#[test]
fn row_6_dying_after_reading_the_request_is_an_end_of_stream() {
    Lab::new(answer_and_close(b""), 20).run().all(Outcome::EofNew);
    let twice = serve(|mut stream| {
        if read_request(&mut stream) && stream.write_all(OK).is_ok() {
            read_request(&mut stream);
        }
    });
    let seen = Lab::new(twice, 40).run();
    assert!(seen.outcomes[&Outcome::EofReused] >= 10, "{:?}", seen.outcomes);
    let failure =
        seen.failures.iter().find(|failure| failure.outcome == Outcome::EofReused).unwrap();
    let connection = failure.connection.as_ref().unwrap();
    assert_eq!(connection.served, 1);
    assert!(connection.idle > Nanos::ZERO);
}

#[test]
fn row_7_dying_within_the_answer_is_a_truncation() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
    ] {
        Lab::new(answer_and_close(bytes), 10).run().all(Outcome::Truncated);
    }
}

#[test]
fn row_9_a_close_without_linger_is_a_reset() {
    let address = serve(|mut stream| {
        read_request(&mut stream);
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    });
    Lab::new(address, 20).run().all(Outcome::ResetNew);
}

#[test]
fn row_10_a_frozen_process_times_out_and_then_its_queue_is_full() {
    // A listener that nobody accepts from: two connections fit (backlog 1), the others' handshakes
    // are not answered.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.listen(1).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let seen = Lab::new(address, 20).timeout_ms(600).run();
    assert_eq!(seen.outcomes[&Outcome::Timeout], 2, "{:?}", seen.outcomes);
    assert_eq!(seen.outcomes[&Outcome::ConnectTimeout], 18);
}

#[test]
fn statuses_and_bodies_are_compared_with_what_is_expected() {
    type Row = (&'static [u8], Option<u16>, Option<&'static str>, Outcome);
    let rows: [Row; 8] = [
        (b"HTTP/1.1 502 X\r\ncontent-length: 0\r\n\r\n", None, None, Outcome::Status502),
        (b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n", None, None, Outcome::Status503),
        (b"HTTP/1.1 504 X\r\ncontent-length: 0\r\n\r\n", None, None, Outcome::Status504),
        (b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", None, None, Outcome::StatusOther),
        (
            b"HTTP/1.1 302 X\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
            None,
            None,
            Outcome::StatusOther,
        ),
        (b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", Some(404), None, Outcome::Ok),
        (OK, None, Some("ok"), Outcome::Ok),
        (OK, None, Some("ko"), Outcome::WrongBody),
    ];
    for (bytes, status, body, outcome) in rows {
        Lab::new(answer(bytes), 10).expect(status, body).run().all(outcome);
    }
}

#[test]
fn hostile_answers_are_classed_and_never_hang() {
    Lab::new(answer_and_close(b"\x16\x03\x01 this is not HTTP\r\n\r\n"), 5)
        .run()
        .all(Outcome::BadResponse);
    let endless_head = serve(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n").is_ok()
        {
        }
    });
    Lab::new(endless_head, 5).run().all(Outcome::BadResponse);
    let endless_body = serve(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    Lab::new(endless_body, 3).timeout_ms(500).run().all(Outcome::Timeout);
    let byte_by_byte = serve(|mut stream| {
        read_request(&mut stream);
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".iter().cycle() {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    Lab::new(byte_by_byte, 3).timeout_ms(700).run().all(Outcome::Timeout);
    // Bytes after the answer: the answer counts, the connection is not used again.
    Lab::new(answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 X\r\n\r\n"), 20)
        .run()
        .all(Outcome::Ok);
}

/// A server that answers the first request of each connection with `head` and then with `more`
/// for as long as anyone listens.
fn endless(head: &'static [u8], more: &'static [u8], every: Duration) -> SocketAddr {
    serve(move |mut stream| {
        if !read_request(&mut stream) || stream.write_all(head).is_err() {
            return;
        }
        while stream.write_all(more).is_ok() {
            std::thread::sleep(every);
        }
    })
}

#[test]
fn endless_answers_are_cut_off_by_their_bounds_or_by_the_time_out() {
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let gigabytes = &[b'x'; 1 << 16];
    type Row = (&'static str, &'static [u8], &'static [u8], u64, Outcome);
    let rows: [Row; 9] = [
        ("one header of gigabytes", b"HTTP/1.1 200 OK\r\na: ", gigabytes, 0, Outcome::BadResponse),
        ("a status line of gigabytes", b"HTTP/1.1 200 ", gigabytes, 0, Outcome::BadResponse),
        ("interim answers", b"", b"HTTP/1.1 103 Early\r\n\r\n", 0, Outcome::BadResponse),
        ("interim answers now and then", b"", b"HTTP/1.1 103 E\r\n\r\n", 300, Outcome::Timeout),
        ("chunks", chunked, b"1\r\nx\r\n", 0, Outcome::Timeout),
        ("an extension of a chunk", chunked, b"1;xxxxxxxx", 0, Outcome::BadResponse),
        (
            "a trailer",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"a: b\r\n",
            0,
            Outcome::BadResponse,
        ),
        ("a byte now and then", b"HTTP/1.1 200 OK\r\na: ", b"b", 300, Outcome::Timeout),
        ("empty lines", b"", b"\r\n", 0, Outcome::BadResponse),
    ];
    for (what, head, more, every_ms, outcome) in rows {
        let address = endless(head, more, Duration::from_millis(every_ms));
        let seen = Lab::new(address, 3).timeout_ms(1_000).run();
        assert_eq!(seen.outcomes.keys().collect::<Vec<_>>(), [&outcome], "{what}");
    }
}

#[test]
fn lengths_that_are_wrong_are_classed_by_what_came() {
    type Row = (&'static [u8], Outcome);
    let rows: [Row; 6] = [
        // More is promised than comes, and the connection stays.
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", Outcome::Timeout),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nok", Outcome::Timeout),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n", Outcome::BadResponse),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", Outcome::BadResponse),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
            Outcome::BadResponse,
        ),
        // Less is promised than comes: what was promised counts.
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nok", Outcome::Ok),
    ];
    for (bytes, outcome) in rows {
        let seen = Lab::new(answer(bytes), 3).timeout_ms(500).run();
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(seen.outcomes.keys().collect::<Vec<_>>(), [&outcome], "{text}");
    }
}

#[test]
fn redirects_are_not_followed() {
    let (asked, followed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counts, elsewhere) = (asked.clone(), followed.clone());
    let address = serve(move |mut stream| {
        let mut request = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut request) {
            let is_elsewhere = request[..n].starts_with(b"GET /elsewhere");
            let count = if is_elsewhere { &elsewhere } else { &counts };
            count.fetch_add(1, Ordering::Relaxed);
            let answer = b"HTTP/1.1 307 X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n";
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    });
    Lab::new(address, 10).run().all(Outcome::StatusOther);
    assert_eq!((asked.load(Ordering::Relaxed), followed.load(Ordering::Relaxed)), (10, 0));
}

#[test]
fn what_nobody_asked_for_is_no_answer_to_the_next_request() {
    // After each answer comes another, of its own, that belongs to no request. The connection it
    // came on is given up; if it meets the next request, it is that one's, and wrong.
    let address = serve(|mut stream| {
        while read_request(&mut stream) && stream.write_all(OK).is_ok() {
            std::thread::sleep(Duration::from_millis(3));
            let stray = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray";
            if stream.write_all(stray).is_err() {
                return;
            }
        }
    });
    let seen = Lab::new(address, 20).expect(None, Some("ok")).run();
    assert!(seen.outcomes[&Outcome::Ok] >= 15, "{:?}", seen.outcomes);
    // Before any request.
    let early = serve(|mut stream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        read_request(&mut stream);
    });
    Lab::new(early, 5).run().all(Outcome::BadResponse);
}

#[test]
fn a_cap_on_connections_makes_requests_wait_and_then_unsent() {
    let slow = serve(|mut stream| {
        while read_request(&mut stream) {
            std::thread::sleep(Duration::from_millis(300));
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    });
    let mut lab = Lab::new(slow, 40).timeout_ms(1_000);
    lab.traffic.max_connections = 2;
    let seen = lab.run();
    assert!(seen.outcomes[&Outcome::UnsentConnections] >= 20, "{:?}", seen.outcomes);
    assert!(seen.outcomes[&Outcome::Ok] >= 4);
    assert!(seen.lag.max() >= 300_000_000, "waiting is lag, and is seen");
}

#[test]
fn without_keep_alive_every_request_has_a_new_connection() {
    let address = serve(|mut stream| {
        // One request; a second one on the same connection would never be answered.
        if read_request(&mut stream) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            std::thread::sleep(Duration::from_secs(30));
        }
    });
    let mut lab = Lab::new(address, 30);
    lab.traffic.keep_alive = false;
    lab.run().all(Outcome::Ok);
}

#[test]
fn stopping_ends_the_schedule_and_lets_requests_in_flight_end() {
    let slow = serve(|mut stream| {
        while read_request(&mut stream) {
            std::thread::sleep(Duration::from_millis(500));
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    });
    let mut lab = Lab::new(slow, 100);
    lab.traffic.phases[0].for_ = Some(Nanos::from_secs(600));
    lab.stop_after = Some(Duration::from_millis(400));
    let seen = lab.run();
    seen.all(Outcome::Ok);
    assert!(seen.owed < 1_000);
}

#[test]
fn what_a_proxy_says_of_the_pod_is_kept_with_the_failure() {
    let address = answer(
        b"HTTP/1.1 502 Bad Gateway\r\nx-highwater-upstream: worker=1;tries=1;pod=v1-2;conn=9;opened=1;\
          served=3;idle=7;start=1;end=2;error=reset\r\ncontent-length: 0\r\n\r\n",
    );
    let mut lab = Lab::new(address, 10);
    lab.route = Some(Route::Proxy(address));
    let seen = lab.run();
    seen.all(Outcome::Status502);
    let failure = &seen.failures[0];
    let hop = failure.hop.as_ref().unwrap();
    assert_eq!((failure.pod.as_deref(), hop.consumer), (Some("v1-2"), 1));
    assert_eq!(hop.error, Some(highwater_model::outcome::HopError::Reset));
    assert_eq!(hop.connection.as_ref().unwrap().served, 3);
    assert!(failure.request_id.is_some());
}

#[test]
fn behind_a_service_a_connection_is_of_the_pod_that_last_answered_on_it() {
    const NAMED: &[u8] =
        b"HTTP/1.1 200 OK\r\nX-Highwater-Pod: web-1\r\ncontent-length: 2\r\n\r\nok";
    let dies = || {
        serve(|mut stream| {
            if read_request(&mut stream) && stream.write_all(NAMED).is_ok() {
                read_request(&mut stream);
            }
        })
    };
    let run = |route: fn(SocketAddr) -> Route| {
        let address = dies();
        let mut lab = Lab::new(address, 40);
        lab.route = Some(route(address));
        let failures = lab.run().failures;
        let mut reused: Vec<Failure> =
            failures.into_iter().filter(|one| one.outcome == Outcome::EofReused).collect();
        reused.pop().expect("a connection that was used twice")
    };
    let failure = run(Route::Service);
    assert_eq!(failure.pod.as_deref(), Some("web-1"));
    assert_eq!(failure.connection.expect("one").served, 1);
    assert!(failure.request_id.is_some());
    // A proxy chooses anew for each request: who answered the last one says nothing of this one.
    assert_eq!(run(Route::Proxy).pod, None);
}

#[test]
fn an_answer_that_fails_and_names_its_pod_is_of_that_pod() {
    for route in [Route::Proxy as fn(SocketAddr) -> Route, Route::Service] {
        let address =
            answer(b"HTTP/1.1 503 X\r\nx-highwater-pod: web-2\r\ncontent-length: 0\r\n\r\n");
        let mut lab = Lab::new(address, 10);
        lab.route = Some(route(address));
        let seen = lab.run();
        seen.all(Outcome::Status503);
        assert!(seen.failures.iter().all(|failure| failure.pod.as_deref() == Some("web-2")));
    }
}

#[test]
fn a_share_owes_its_part_and_numbers_its_connections_apart() {
    let address = answer(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n");
    let mut ids = std::collections::BTreeSet::new();
    let mut owed = 0;
    for share in Share::all(3) {
        let mut lab = Lab::new(address, 100);
        (lab.share, lab.traffic.keep_alive) = (share, false);
        let seen = lab.run();
        owed += seen.owed;
        for failure in seen.failures {
            assert!(ids.insert(failure.connection.expect("one").id), "an id that was there before");
        }
    }
    assert_eq!((owed, ids.len()), (100, 100));
}

#[test]
fn a_stall_of_the_server_is_in_the_latency_of_every_request_that_it_held_up() {
    // One connection, one stall of a second: coordinated omission would show one slow request.
    let address = serve(|mut stream| {
        let mut count = 0;
        while read_request(&mut stream) {
            count += 1;
            if count == 20 {
                std::thread::sleep(Duration::from_secs(1));
            }
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    });
    let mut lab = Lab::new(address, 100);
    lab.traffic.max_connections = 1;
    lab.traffic.phases[0] = Phase {
        hold: Some(RatePerSec(100.0)),
        for_: Some(Nanos::from_secs(2)),
        ..Phase::default()
    };
    let seen = lab.run();
    seen.all(Outcome::Ok);
    // About 100 requests were owed within the stall; the k-th of them waited 1 s - k * 10 ms.
    let over_half =
        seen.latency.len() as f64 * (1.0 - seen.latency.percentile_below(500_000_000) / 100.0);
    assert!((40.0..=70.0).contains(&over_half), "{over_half} requests above 500 ms");
    assert!(seen.latency.max() >= 990_000_000);
}

/// What a closed loop over `connections` did in `millis` on `threads`.
fn saturated(address: SocketAddr, connections: u32, threads: u32, millis: u64) -> Seen {
    let mut lab = Lab::new(address, 1);
    lab.traffic.phases.clear();
    lab.traffic.saturate = Some(Saturate { connections, for_: Nanos::from_millis(millis) });
    lab.route = Some(Route::Url(address));
    lab.threads = threads;
    lab.run()
}

#[test]
fn a_closed_loop_sends_on_each_connection_as_soon_as_it_has_an_answer() {
    let slow = || {
        let (open, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counted = most.clone();
        let address = serve(move |mut stream| {
            counted.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while read_request(&mut stream) {
                std::thread::sleep(Duration::from_millis(20));
                if stream.write_all(OK).is_err() {
                    break;
                }
            }
            open.fetch_sub(1, Ordering::SeqCst);
        });
        (address, most)
    };
    for (connections, threads) in [(1, 1), (7, 1), (7, 3)] {
        let (address, most) = slow();
        let seen = saturated(address, connections, threads, 500);
        seen.all(Outcome::Ok);
        assert_eq!(most.load(Ordering::SeqCst), connections, "that many, and kept");
        // Never more than one at a time on each: 500 ms / 20 ms, and the one at the end.
        let most = u64::from(connections) * 26;
        assert!((u64::from(connections)..=most).contains(&seen.owed), "{} owed", seen.owed);
        assert!(seen.latency.min() >= 20_000_000 - 100_000, "{}", seen.latency.min());
        assert!(seen.lag.max() < hist::LOWEST_NS, "nothing is late in a closed loop");
    }
}

#[test]
fn a_closed_loop_rests_where_nobody_answers() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let seen = saturated(address, 4, 1, 300);
    seen.all(Outcome::ConnectRefused);
    // Ten milliseconds from each to the next.
    assert!((4..=4 * 31).contains(&seen.owed), "{} owed", seen.owed);
    assert!(seen.failures.iter().all(|failure| failure.pod.is_none()));
}

#[test]
fn a_closed_loop_goes_on_over_connections_that_are_closed_after_each_answer() {
    let address =
        answer_and_close(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let seen = saturated(address, 3, 1, 200);
    seen.all(Outcome::Ok);
    assert!(seen.owed > 6, "{} owed", seen.owed);
}

#[test]
fn threads_owe_together_what_one_owes() {
    for threads in [1, 3] {
        let mut lab = Lab::new(answer(OK), 400);
        lab.threads = threads;
        let seen = lab.run();
        seen.all(Outcome::Ok);
        assert_eq!((seen.owed, seen.latency.len(), seen.lag.len()), (400, 400, 400));
    }
}
