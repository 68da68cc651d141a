//! The real process over real sockets: the correct service, and each wrong behaviour beside it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Long enough for any machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Service {
    child: Child,
    main: SocketAddr,
    health: SocketAddr,
    lines: mpsc::Receiver<Value>,
    seen: Vec<Value>,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already in a test that passed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Service {
    fn start(args: &[&str]) -> Self {
        let (main, health) = (free_port(), free_port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_target-service"))
            // As the downward API gives it.
            .env("POD_NAME", "pod-1")
            .env("HOST", "127.0.0.1")
            .args(["--port", &main.port().to_string(), "--health-port", &health.port().to_string()])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, main, health, lines, seen: Vec::new() }
    }

    fn listening(args: &[&str]) -> Self {
        let mut service = Self::start(args);
        service.wait_for("listening");
        service
    }

    fn wait_for(&mut self, event: &str) -> Value {
        if let Some(line) = self.seen.iter().find(|line| line["event"] == event) {
            return line.clone();
        }
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("no `{event}`: {:?}", self.seen));
            self.seen.push(line.clone());
            if line["event"] == event {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn events(&mut self) -> Vec<String> {
        self.seen.extend(self.lines.iter());
        self.seen.iter().map(|line| line["event"].as_str().unwrap().to_string()).collect()
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn send(stream: &mut TcpStream, method: &str, path: &str) {
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").unwrap();
}

/// Status and head of one answer; `None` if the stream ends or breaks before it is whole.
fn receive(stream: &mut TcpStream) -> Option<(u16, String)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((status, head))
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = connect(address).ok()?;
    send(&mut stream, "GET", path);
    receive(&mut stream)
}

/// What a client sees of a start and a shutdown.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    ready_while_refused: bool,
    in_flight_answered: bool,
    new_connection_accepted: bool,
    new_request_status: Option<u16>,
    exit_code: Option<i32>,
}

const RIGHT: Seen = Seen {
    ready_while_refused: false,
    in_flight_answered: true,
    new_connection_accepted: true,
    new_request_status: Some(200),
    exit_code: Some(0),
};

fn observe(misbehave: &str) -> Seen {
    let mut args = vec!["--startup", "300ms", "--drain-delay", "3s"];
    if !misbehave.is_empty() {
        args.extend(["--misbehave", misbehave]);
    }
    let mut service = Service::start(&args);
    service.wait_for("ready");
    let (ready, _) = get(service.health, "/readyz").unwrap();
    assert_eq!(ready, 200);
    let ready_while_refused = connect(service.main).is_err();
    service.wait_for("listening");

    let mut in_flight = connect(service.main).unwrap();
    send(&mut in_flight, "GET", "/work?wait=1s");
    // Once the metrics count it, it is surely being served.
    while flying(service.health) < 1 {}
    service.signal(Signal::TERM);
    let last = match misbehave {
        "exit-on-sigterm" => "exiting",
        "close-listener-first" => "listener-closed",
        _ => "drain-started",
    };
    service.wait_for(last);
    if misbehave == "exit-on-sigterm" {
        service.child.wait().unwrap();
    }
    let new = connect(service.main);
    let new_connection_accepted = new.is_ok();
    let new_request_status = new.ok().and_then(|mut stream| {
        send(&mut stream, "GET", "/work");
        receive(&mut stream).map(|(status, head)| {
            assert!(head.contains("connection: close"), "announced in {head}");
            status
        })
    });
    let in_flight_answered = receive(&mut in_flight).is_some_and(|(status, _)| status == 200);
    let exit_code = service.exit_code();
    Seen {
        ready_while_refused,
        in_flight_answered,
        new_connection_accepted,
        new_request_status,
        exit_code,
    }
}

fn flying(health: SocketAddr) -> u32 {
    let mut stream = connect(health).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let line = page.lines().find(|line| line.starts_with("http_requests_in_flight ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn exit_on_sigterm_cuts_what_is_in_flight_and_refuses_the_next_and_a_right_service_does_neither() {
    let wrong = Seen {
        in_flight_answered: false,
        new_connection_accepted: false,
        new_request_status: None,
        exit_code: Some(143),
        ..RIGHT
    };
    assert_eq!(observe("exit-on-sigterm"), wrong);
    assert_eq!(observe(""), RIGHT);
}

#[test]
fn close_listener_first_refuses_the_next_and_a_right_service_does_not() {
    let wrong = Seen { new_connection_accepted: false, new_request_status: None, ..RIGHT };
    assert_eq!(observe("close-listener-first"), wrong);
    assert_eq!(observe(""), RIGHT);
}

#[test]
fn ready_before_listening_refuses_while_it_is_ready_and_a_right_service_does_not() {
    assert_eq!(observe("ready-before-listening"), Seen { ready_while_refused: true, ..RIGHT });
    assert_eq!(observe(""), RIGHT);
}

#[test]
fn refuse_while_draining_answers_503_and_a_right_service_does_not() {
    assert_eq!(observe("refuse-while-draining"), Seen { new_request_status: Some(503), ..RIGHT });
    assert_eq!(observe(""), RIGHT);
}

#[test]
fn a_shutdown_tells_its_steps_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let args =
            ["--drain-delay", "200ms", "--dependency", "db=10ms", "--dependency", "slow=60s"];
        let mut service =
            Service::listening(&[&args[..], &["--dependency-timeout", "100ms"]].concat());
        service.signal(signal);
        assert_eq!(service.exit_code(), Some(0));
        let expected = [
            "starting",
            "listening",
            "ready",
            "signal",
            "not-ready",
            "drain-started",
            "accept-queue-emptied",
            "listener-closed",
            "drained",
            "dependency-closed",
            "dependency-closed",
            "exiting",
        ];
        assert_eq!(service.events(), expected);
        let timed_out: Vec<&Value> = service
            .seen
            .iter()
            .filter(|line| line["event"] == "dependency-closed")
            .map(|line| &line["timedOut"])
            .collect();
        assert_eq!(timed_out, [&Value::Bool(false), &Value::Bool(true)]);
        for line in &service.seen {
            assert_eq!(
                (&line["highwater"], &line["pod"]),
                (&"lifecycle/v1".into(), &"pod-1".into())
            );
            assert!(line["monoNs"].as_u64().unwrap() > 0);
        }
    }
}

#[test]
fn what_outlives_the_deadline_is_cancelled_and_counted() {
    let mut service = Service::listening(&["--drain-delay", "100ms", "--drain-deadline", "500ms"]);
    let mut stream = connect(service.main).unwrap();
    send(&mut stream, "GET", "/work?wait=10m");
    while flying(service.health) < 1 {}
    service.signal(Signal::TERM);
    assert_eq!(service.wait_for("cancelled")["requests"], 1);
    assert_eq!(receive(&mut stream), None);
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn connections_in_the_accept_queue_are_answered_and_none_is_reset() {
    let mut service =
        Service::listening(&["--drain-delay", "0", "--misbehave", "close-listener-first"]);
    // One CPU-burning request at a time keeps no thread from accepting, so freeze the process to
    // fill its queue, and let it wake to the signal.
    service.signal(Signal::STOP);
    let mut streams: Vec<TcpStream> = (0..200).map(|_| connect(service.main).unwrap()).collect();
    streams.iter_mut().for_each(|stream| send(stream, "GET", "/work"));
    service.signal(Signal::TERM);
    service.signal(Signal::CONT);
    service.wait_for("listener-closed");
    assert!(connect(service.main).is_err(), "the listener is closed");
    let answered =
        streams.iter_mut().filter_map(receive).filter(|(status, _)| *status == 200).count();
    assert_eq!(answered, 200);
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn an_accepted_connection_may_bring_its_first_request_after_the_listener_is_closed() {
    let mut service = Service::listening(&["--drain-delay", "100ms"]);
    let mut early = connect(service.main).unwrap();
    let _silent = connect(service.main).unwrap();
    service.signal(Signal::TERM);
    service.wait_for("listener-closed");
    send(&mut early, "GET", "/work");
    assert_eq!(receive(&mut early).unwrap().0, 200);
    assert_eq!(service.exit_code(), Some(0), "a silent connection does not hold it");
}

#[test]
fn probes_and_metrics_tell_the_state() {
    let mut service = Service::start(&["--startup", "2s", "--drain-delay", "2s"]);
    service.wait_for("starting");
    for (path, status) in
        [("/readyz", 503), ("/startupz", 503), ("/livez", 200), ("/healthz", 200), ("/work", 404)]
    {
        assert_eq!(get(service.health, path).unwrap().0, status, "{path} while starting");
    }
    service.wait_for("ready");
    for path in ["/readyz", "/startupz", "/livez", "/healthz", "/work", "/metrics"] {
        let (status, head) = get(service.main, path).unwrap();
        assert_eq!(status, 200, "{path}");
        assert!(head.contains("x-highwater-pod: pod-1"));
    }
    service.signal(Signal::TERM);
    service.wait_for("not-ready");
    assert_eq!(get(service.health, "/readyz").unwrap().0, 503);
    assert_eq!(get(service.health, "/livez").unwrap().0, 200);
    assert_eq!(get(service.main, "/work").unwrap().0, 200, "it serves on");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn a_pod_without_a_name_says_none() {
    let mut service = Service::listening(&["--pod-name", ""]);
    for (address, path) in
        [(service.main, "/work"), (service.main, "/none"), (service.health, "/readyz")]
    {
        let (_, head) = get(address, path).unwrap();
        assert!(!head.contains("x-highwater-pod"), "{path}: {head}");
    }
    assert_eq!(service.wait_for("listening")["pod"], "");
}

#[test]
fn requests_are_answered_as_their_query_says_and_bad_ones_are_named() {
    let service = Service::listening(&["--latency", "lognormal:1ms:2ms", "--body", "10"]);
    let mut stream = connect(service.main).unwrap();
    for (method, path, status, length) in [
        ("GET", "/work", 200, "content-length: 10\r\n"),
        ("POST", "/work?bytes=40000&status=201", 201, "content-length: 40000\r\n"),
        ("DELETE", "/work?cpu=1ms&wait=1ms&bytes=0", 200, "content-length: 0\r\n"),
        ("GET", "/work?cpu=1d", 400, ""),
        ("POST", "/metrics", 405, "allow: get, head\r\n"),
        ("GET", "/nowhere", 404, ""),
    ] {
        send(&mut stream, method, path);
        let (seen, head) = receive(&mut stream).unwrap();
        assert_eq!(seen, status, "{method} {path}");
        assert!(head.contains(length), "{method} {path}: {head}");
    }
}

#[test]
fn settings_that_cannot_be_followed_are_refused_with_exit_code_2() {
    for (args, word) in [
        (&["--misbehave", "bind-loopback"][..], "--health-port"),
        (&["--misbehave", "nonsense"][..], "nonsense"),
        (&["--misbehave", "ready-before-listening"][..], "--health-port"),
        (&["--cpu", "2"][..], "2"),
        (&["--latency", "gamma:1s"][..], "gamma"),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_target-service")).args(args).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        assert!(String::from_utf8(out.stderr).unwrap().contains(word), "{args:?}");
    }
}

// The other wrong behaviours, each beside a right service in the same test.

/// A service with a drain delay of `delay`, wrong in this way unless `how` is empty.
fn with(how: &str, delay: &str, more: &[&str]) -> Service {
    let wrong: &[&str] = if how.is_empty() { &[] } else { &["--misbehave", how] };
    Service::listening(&[&["--drain-delay", delay], wrong, more].concat())
}

#[test]
fn without_a_signal_handler_sigterm_changes_nothing() {
    let mut service = with("no-signal-handler", "0", &[]);
    service.signal(Signal::TERM);
    // The second signal is handled in order after the first.
    service.signal(Signal::INT);
    service.wait_for("exiting");
    let signals: Vec<&Value> = service
        .seen
        .iter()
        .filter(|line| line["event"] == "signal")
        .map(|line| &line["signal"])
        .collect();
    assert_eq!(signals, ["SIGINT"]);
}

#[test]
fn a_dropped_accept_queue_is_reset_and_a_right_service_answers_it() {
    for (how, answered) in [("drop-accept-queue", false), ("", true)] {
        let mut service = with(how, "500ms", &[]);
        service.signal(Signal::TERM);
        service.wait_for("drain-started");
        let mut queued = connect(service.main).unwrap();
        send(&mut queued, "GET", "/work");
        assert_eq!(receive(&mut queued).is_some(), answered, "{how}");
        assert_eq!(service.exit_code(), Some(0));
    }
}

#[test]
fn who_stays_ready_passes_its_readiness_while_it_drains() {
    for (how, status) in [("stay-ready", 200), ("", 503)] {
        let mut service = with(how, "2s", &[]);
        service.signal(Signal::TERM);
        service.wait_for("drain-started");
        assert_eq!(get(service.health, "/readyz").unwrap().0, status, "{how}");
        assert_eq!(service.exit_code(), Some(0));
    }
}

#[test]
fn the_pre_stop_hook_waits_for_the_delay_and_only_a_wrong_one_fails_readiness() {
    for (how, status) in [("unready-too-early", 503), ("", 200)] {
        let service = with(how, "1s", &[]);
        let mut hook = connect(service.main).unwrap();
        send(&mut hook, "GET", "/prestop");
        // Another request on another connection: the hook has been read by then or soon after.
        let seen = || get(service.health, "/readyz").unwrap().0;
        if how.is_empty() {
            assert_eq!(seen(), status);
        } else {
            while seen() != status {}
        }
        assert_eq!(receive(&mut hook).unwrap().0, 200);
        assert_eq!(seen(), status);
    }
}

#[test]
fn bound_to_loopback_it_listens_there_and_its_probes_pass_elsewhere() {
    let mut service = Service::start(&["--host", "127.0.0.2", "--misbehave", "bind-loopback"]);
    let told = service.wait_for("listening")["addr"].as_str().unwrap().to_string();
    assert_eq!(told, format!("127.0.0.1:{}", service.main.port()));
    let elsewhere = |of: SocketAddr| SocketAddr::from(([127, 0, 0, 2], of.port()));
    assert!(connect(elsewhere(service.main)).is_err());
    assert_eq!(get(elsewhere(service.health), "/readyz").unwrap().0, 200);
}

#[test]
fn an_idle_connection_is_given_up_with_what_comes_too_late_unread() {
    let args = ["--idle-timeout", "50ms"];
    let service = with("short-idle-timeout", "0", &args);
    let mut broken = 0;
    // Each request comes when the connection has been given up and its client does not know yet.
    for _ in 0..20 {
        let mut stream = connect(service.main).unwrap();
        send(&mut stream, "GET", "/work");
        receive(&mut stream).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let sent = write!(stream, "GET /work HTTP/1.1\r\nhost: x\r\n\r\n");
        broken += u32::from(sent.is_err() || receive(&mut stream).is_none());
    }
    assert!(broken > 0);
}

#[test]
fn without_connection_close_old_connections_keep_it_until_its_deadline() {
    let mut service = with("no-connection-close", "100ms", &["--drain-deadline", "1s"]);
    let mut stream = connect(service.main).unwrap();
    send(&mut stream, "GET", "/work");
    receive(&mut stream).unwrap();
    service.signal(Signal::TERM);
    service.wait_for("listener-closed");
    send(&mut stream, "GET", "/work");
    let (status, head) = receive(&mut stream).unwrap();
    assert!(status == 200 && !head.contains("connection: close"), "{head}");
    service.wait_for("cancelled");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn a_blocking_cleanup_answers_nobody_and_then_cuts_everybody_off() {
    let mut service = with("blocking-cleanup", "3s", &[]);
    let mut in_flight = connect(service.main).unwrap();
    send(&mut in_flight, "GET", "/work?wait=200ms");
    while flying(service.health) < 1 {}
    service.signal(Signal::TERM);
    assert_eq!(receive(&mut in_flight), None);
    assert_eq!(service.exit_code(), Some(0));
    assert!(!service.events().contains(&"listener-closed".into()));
}

#[test]
fn an_endless_drain_ends_with_everything_served_and_no_exit() {
    let mut service = with("endless-drain", "0", &["--drain-deadline", "100ms"]);
    service.signal(Signal::TERM);
    service.wait_for("drained");
    assert!(connect(service.main).is_err());
    assert_eq!(get(service.health, "/livez").unwrap().0, 200, "it lives on");
}

#[test]
fn only_a_wrong_liveness_follows_a_dependency() {
    let folder = std::env::temp_dir().join(format!("highwater-outages-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let args = ["--dependency", "db=1ms", "--outages", folder.to_str().unwrap()];
    let (wrong, right) = (with("liveness-on-dependency", "0", &args), with("", "0", &args));
    let alive = |service: &Service| get(service.health, "/livez").unwrap().0;
    assert_eq!((alive(&wrong), alive(&right)), (200, 200));
    std::fs::write(folder.join("db"), "").unwrap();
    assert_eq!((alive(&wrong), alive(&right)), (503, 200));
    std::fs::remove_file(folder.join("db")).unwrap();
    assert_eq!(alive(&wrong), 200);
    std::fs::remove_dir(folder).unwrap();
}

#[test]
fn a_slow_probe_waits_for_the_requests_before_it_and_a_right_one_does_not() {
    for (how, wait, flies_on) in [("slow-probe-under-load", "500ms", 0), ("", "10m", 1)] {
        let service = with(how, "0", &[]);
        let mut slow = connect(service.main).unwrap();
        send(&mut slow, "GET", &format!("/work?wait={wait}"));
        while flying(service.health) < 1 {}
        assert_eq!(get(service.health, "/livez").unwrap().0, 200);
        assert_eq!(flying(service.health), flies_on, "{how}");
    }
}

#[test]
fn the_hundredth_request_crashes_it() {
    let mut service = with("crash-on-request", "0", &[]);
    let mut stream = connect(service.main).unwrap();
    for _ in 1..100 {
        send(&mut stream, "GET", "/work");
        assert_eq!(receive(&mut stream).unwrap().0, 200);
    }
    send(&mut stream, "GET", "/work");
    assert_eq!(receive(&mut stream), None);
    assert_eq!(service.exit_code(), Some(101));
}

#[test]
fn workers_bound_what_is_worked_on_at_once() {
    let service = with("", "0", &["--workers", "1"]);
    let mut streams: Vec<TcpStream> = (0..3).map(|_| connect(service.main).unwrap()).collect();
    let start = clock();
    streams.iter_mut().for_each(|stream| send(stream, "GET", "/work?wait=100ms"));
    streams.iter_mut().for_each(|stream| assert_eq!(receive(stream).unwrap().0, 200));
    assert!(clock() - start >= Duration::from_millis(300), "one after the other");
}

#[test]
fn who_finds_the_queue_full_is_answered_503_or_hung_up_on() {
    for (full, answer) in [("unavailable", Some(503)), ("close", None)] {
        let args = ["--workers", "1", "--queue", "1", "--when-full", full];
        let mut service = with("", "0", &args);
        let mut streams: Vec<TcpStream> = (0..2).map(|_| connect(service.main).unwrap()).collect();
        for (n, stream) in streams.iter_mut().enumerate() {
            send(stream, "GET", "/work?wait=2s");
            until_flying(&service, n as u32 + 1);
        }
        assert_eq!(get(service.main, "/work?wait=0").map(|(status, _)| status), answer, "{full}");
        assert_eq!(service.wait_for("queue-full")["waiting"], 1, "{full}");
        // Who had room is served.
        streams.iter_mut().for_each(|stream| assert_eq!(receive(stream).unwrap().0, 200));
    }
}

#[test]
fn a_request_whose_client_is_gone_is_worked_on_no_more_unless_it_is_to_be_finished() {
    for (how, must_wait) in [("stop", false), ("finish", true)] {
        let service = with("", "0", &["--workers", "1", "--on-cancel", how]);
        let mut gone = connect(service.main).unwrap();
        send(&mut gone, "GET", "/work?wait=3s");
        until_flying(&service, 1);
        let start = clock();
        drop(gone);
        assert_eq!(get(service.main, "/work?wait=0").unwrap().0, 200, "{how}");
        let took = clock() - start;
        assert_eq!(took > Duration::from_millis(2_500), must_wait, "{how}: {took:?}");
    }
}

/// Waits until so many requests are under way.
fn until_flying(service: &Service, n: u32) {
    let start = clock();
    while flying(service.health) != n {
        assert!(clock() - start < PATIENCE, "{n} are never under way");
    }
}

/// The machine's monotonic clock.
fn clock() -> Duration {
    Duration::from_nanos(target_service::lifecycle::mono_ns())
}
