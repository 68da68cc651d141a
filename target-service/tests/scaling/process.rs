//! The real process with `self-scaling` on.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::fake_api::{Act, FakeApi};

/// Long enough for any machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn command(api: &FakeApi) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_target-service"));
    command
        .args(["--host", "127.0.0.1", "--port", "0", "--drain-delay", "0"])
        .args(["--misbehave", "self-scaling", "--scale-interval", "20ms"])
        .env("HIGHWATER_DEPLOYMENT", "cart")
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", api.address.port().to_string());
    command
}

struct Service {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already in a test that passed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    fn start(api: &FakeApi) -> Self {
        let mut command = command(api);
        command.arg("--service-account").arg(api.service_account());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = send.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines }
    }

    fn wait_for(&self, event: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no `{event}`"));
            if line["event"] == event {
                return line;
            }
        }
    }

    /// Ends it; its last counters.
    fn end(&mut self) -> Value {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.lines.iter().filter(|line| line["event"] == "self-scaling").last().unwrap()
    }
}

fn page(address: &Value) -> String {
    let address: SocketAddr = address.as_str().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn an_idle_replica_scales_its_deployment_to_one_and_counts_what_it_met() {
    let api = FakeApi::start(4);
    // Two ticks in which somebody writes between read and write, a throttled one, a broken one.
    for _ in 0..2 {
        api.act(Act::ThenSomebodyWrites);
        api.act(Act::ThenSomebodyWrites);
    }
    api.act(Act::Answer(429, String::new()));
    api.act(Act::Answer(500, String::new()));
    api.act(Act::Close);
    let mut service = Service::start(&api);
    let address = service.wait_for("listening")["addr"].clone();
    let scaled = service.wait_for("scaled");
    assert_eq!((&scaled["from"], &scaled["to"]), (&4.into(), &1.into()));
    let page = page(&address);
    for line in [
        "highwater_self_scaling_requests_total{result=\"conflict\"} 2",
        "highwater_self_scaling_requests_total{result=\"throttled\"} 1",
        "highwater_self_scaling_requests_total{result=\"other-status\"} 1",
        "highwater_self_scaling_requests_total{result=\"no-answer\"} 1",
        "highwater_self_scaling_changes_total 1",
    ] {
        assert!(page.lines().any(|candidate| candidate == line), "{line} in\n{page}");
    }
    let last = service.end();
    let state = api.state.lock().unwrap();
    assert_eq!(state.replicas, 1);
    let answered = |status| state.seen.iter().filter(|seen| seen.status == status).count() as u64;
    let count = |name: &str| last[name].as_u64().unwrap();
    assert_eq!(count("conflicts"), answered(409));
    assert_eq!(count("throttled"), answered(429));
    assert_eq!(count("otherStatus"), answered(500));
    assert_eq!(count("lastOtherStatus"), 500);
    // The stop may cut one short that the server has answered.
    assert!(answered(200) - count("ok") <= 1, "{last}");
    assert_eq!(count("changes"), 1);
}

#[test]
fn two_replicas_write_against_each_other_and_no_change_is_lost_or_told_twice() {
    let api = FakeApi::start(8);
    let services = [Service::start(&api), Service::start(&api)];
    services.iter().for_each(|service| drop(service.wait_for("ready")));
    // Somebody sets it up again and again; only one of the two may win each time.
    for _ in 0..20 {
        let mut state = api.state.lock().unwrap();
        state.replicas = 8;
        state.version += 1;
        drop(state);
        // Seen in the server's own state: up to a minute in steps of 5 ms.
        let is_one = || {
            std::thread::sleep(Duration::from_millis(5));
            api.state.lock().unwrap().replicas == 1
        };
        assert!((0..12_000).any(|_| is_one()), "nobody scales");
    }
    let ends = services.map(|mut service| service.end());
    let sum = |name: &str| ends.iter().map(|end| end[name].as_u64().unwrap()).sum::<u64>();
    let state = api.state.lock().unwrap();
    let writes = |status| {
        let is_write = |seen: &&crate::fake_api::Seen| seen.method == "PATCH";
        state.seen.iter().filter(is_write).filter(|seen| seen.status == status).count() as u64
    };
    assert_eq!(sum("changes"), writes(200));
    assert_eq!(sum("conflicts"), writes(409));
    assert!((20..=21).contains(&writes(200)), "once each, and once at the start: {}", writes(200));
}

#[test]
fn it_is_refused_where_it_cannot_work() {
    let api = FakeApi::start(4);
    let right = api.service_account();
    let nowhere = std::path::PathBuf::from("/nonexistent");
    let rows = [
        ("HIGHWATER_DEPLOYMENT", &right, 2, "--scale-deployment"),
        ("KUBERNETES_SERVICE_HOST", &right, 1, "KUBERNETES_SERVICE_HOST"),
        ("KUBERNETES_SERVICE_PORT", &right, 1, "KUBERNETES_SERVICE_PORT"),
        ("UNRELATED", &nowhere, 1, "/nonexistent/namespace"),
    ];
    for (removed, folder, code, word) in rows {
        let mut command = command(&api);
        command.env_remove(removed).arg("--service-account").arg(folder);
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(code), "without {removed}");
        assert!(String::from_utf8(out.stderr).unwrap().contains(word), "without {removed}");
    }
    assert!(api.state.lock().unwrap().seen.is_empty(), "nothing was asked");
}

#[test]
fn without_the_switch_no_credential_is_touched() {
    let api = FakeApi::start(4);
    let mut child = Command::new(env!("CARGO_BIN_EXE_target-service"))
        .args(["--host", "127.0.0.1", "--port", "0", "--drain-delay", "0"])
        .arg("--service-account")
        .arg("/nonexistent")
        .env("HIGHWATER_DEPLOYMENT", "Not A Name")
        .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .env("KUBERNETES_SERVICE_PORT", api.address.port().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("\"ready\"")), "it serves as ever");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(lines.all(|line| !line.unwrap().contains("scaling")));
    assert!(api.state.lock().unwrap().seen.is_empty());
}
