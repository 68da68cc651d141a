//! Servers that know nothing of Highwater, as processes on `local`: real short rolling updates,
//! and what they lose has the right cause.
//!
//! A server that is not installed is passed over with a printed line; with
//! `HIGHWATER_FOREIGN=required` that is a failure.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use highwater::analyze::{Cause, Summary, audit::LAG_P99_WARN};
use highwater_model::time::Nanos;

const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");

/// How often a run is done that the machine disturbs.
const PASSES: usize = 4;

/// The way of requests to the pods, as settings.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    kind: &'static str,
    keep_alive: bool,
}

const L4: Way = Way { name: "l4", kind: "l4", keep_alive: true };
const L4_CLOSE: Way = Way { name: "l4-close", kind: "l4", keep_alive: false };
const L7: Way = Way { name: "l7", kind: "l7", keep_alive: true };
const L7_CLOSE: Way = Way { name: "l7-close", kind: "l7", keep_alive: false };

/// A server to be judged.
struct Server {
    name: &'static str,
    /// Program and arguments, in YAML's flow style.
    command: String,
    /// `lifecycle` of its pods, in the same.
    lifecycle: &'static str,
    /// Requests to it, in the same.
    requests: &'static str,
    folder: tempfile::TempDir,
}

impl Server {
    fn new(name: &'static str, command: &[&str]) -> Self {
        Self {
            name,
            command: serde_json::to_string(command).unwrap(),
            lifecycle: "{}",
            requests: "[{get: /, weight: 3}, {get: /slow}]",
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn lifecycle(self, lifecycle: &'static str) -> Self {
        Self { lifecycle, ..self }
    }

    fn requests(self, requests: &'static str) -> Self {
        Self { requests, ..self }
    }

    /// Two pods, replaced one after the other under load.
    fn scenario(&self, way: Way) -> String {
        let Self { name, command, lifecycle, requests, .. } = self;
        let Way { kind, keep_alive, .. } = way;
        format!(
            "name: {name}\nseed: 5\ntarget:\n  command: {command}\n  deployment:\n    replicas: 2\n    \
             strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}\n    template:\n      \
             terminationGracePeriodSeconds: 20\n      lifecycle: {lifecycle}\n      \
             readinessProbe: {{httpGet: {{path: /}}, periodSeconds: 1, timeoutSeconds: 10}}\n\
             path: {{kind: {kind}, keepAlive: {keep_alive}, propagation: {{uniform: [500ms, 2s]}}}}\n\
             traffic:\n  keepAlive: {keep_alive}\n  phases: [{{hold: 40/s, for: 14s}}]\n  \
             requests: {requests}\n  timeout: 30s\n\
             events: [{{at: 1s, rollout: {{}}}}]\nobjectives: [{{failed: 0}}, {{unexplained: 0}}]\n"
        )
    }

    /// Runs to the end; the summary, and what was printed.
    fn run(&self, way: Way) -> (Summary, String) {
        let file = self.folder.path().join(format!("{}.yaml", way.name));
        let out = self.folder.path().join(way.name);
        // An earlier one of this way.
        let _ = std::fs::remove_dir_all(&out);
        std::fs::write(&file, self.scenario(way)).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("run").arg(&file).arg("--out").arg(&out).stdin(Stdio::null());
        let output = command.output().unwrap();
        let printed = format!(
            "{} {}: {}\n{}",
            self.name,
            way.name,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let text = std::fs::read_to_string(out.join("summary.json"))
            .unwrap_or_else(|error| panic!("{error}\n{printed}"));
        let summary: Summary = serde_json::from_str(&text).unwrap();
        assert!(summary.transitions.observed >= 2, "a pod was replaced: {printed}");
        (summary, printed)
    }

    /// All ways at a time: a run waits for most of its time. One that the machine disturbed proves
    /// nothing, neither way, and is done again alone, [`PASSES`] times at most.
    fn run_all(&self, ways: &[Way]) -> Vec<(Summary, String)> {
        let mut outcomes: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = ways.iter().map(|way| scope.spawn(|| self.run(*way))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        for (outcome, way) in outcomes.iter_mut().zip(ways) {
            for _ in 1..PASSES {
                if !was_disturbed(&outcome.0) {
                    break;
                }
                eprintln!("{} on {} was disturbed: again", self.name, way.name);
                *outcome = self.run(*way);
            }
            assert_eq!(outcome.0.unexplained, 0, "{}", outcome.1);
        }
        outcomes
    }

    /// Demands that this cause is found on each way, and no other.
    fn loses_by(&self, cause: Cause, ways: &[Way]) {
        for (summary, printed) in self.run_all(ways) {
            let causes: Vec<Cause> = summary.losses.iter().map(|loss| loss.cause).collect();
            assert_eq!(causes, [cause], "{printed}");
        }
    }

    fn loses_nothing(&self, ways: &[Way]) {
        for (summary, printed) in self.run_all(ways) {
            assert_eq!(summary.requests.failed, 0, "{printed}");
        }
    }
}

/// Whether the machine kept the generator from sending in time: then it kept the server from its
/// work, too, and connections that it would have accepted waited until its listener was closed.
fn was_disturbed(summary: &Summary) -> bool {
    !summary.audit.trusted || summary.send_lag_ms.p99 > Nanos(LAG_P99_WARN).as_millis_f64()
}

fn source(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(path);
    folder.to_str().unwrap().into()
}

/// Where a program is, if it is installed.
fn find(program: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut files = std::env::split_paths(&path).chain(system).map(|folder| folder.join(program));
    let Some(found) = files.find(|file| file.is_file()) else {
        let is_required = std::env::var("HIGHWATER_FOREIGN").is_ok_and(|word| word == "required");
        assert!(!is_required, "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
        return None;
    };
    Some(found.to_str().unwrap().into())
}

/// Debian's nginx, with a configuration of its own for each pod.
fn nginx() -> Option<Server> {
    let program = find("nginx")?;
    let mut server = Server::new("nginx", &[]);
    let folder = server.folder.path().to_str().unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
        .concat();
    let template = std::fs::read_to_string(source("nginx/nginx.conf"))
        .unwrap()
        .replace("user www-data;\n", "")
        .replace("listen 8080", "listen @ADDRESS@")
        .replace("pid /tmp/nginx.pid", &format!("pid {folder}/@PORT@.pid"))
        .replace("http {\n", &format!("http {{\n{temporary}"));
    assert!(template.contains("@ADDRESS@") && template.contains("@PORT@.pid"));
    std::fs::write(server.folder.path().join("template"), template).unwrap();
    let script = format!(
        "sed -e s/@ADDRESS@/$HOST:$PORT/ -e s/@PORT@/$PORT/ {folder}/template >{folder}/$PORT.conf \
         && exec {program} -c {folder}/$PORT.conf"
    );
    server.command = serde_json::to_string(&["sh", "-c", &script]).unwrap();
    Some(server)
}

#[test]
fn nginx_that_is_ended_by_sigterm_cuts_what_is_in_work() {
    let Some(server) = nginx() else { return };
    server.loses_by(Cause::AbruptExit, &[L4, L7]);
}

#[test]
fn nginx_that_is_ended_by_sigquit_refuses_new_connections_only() {
    let Some(server) = nginx() else { return };
    server
        .lifecycle("{stopSignal: SIGQUIT}")
        .loses_by(Cause::TerminationRace, &[L4_CLOSE, L7_CLOSE]);
}

#[test]
fn nginx_that_waits_before_sigquit_loses_nothing() {
    let Some(server) = nginx() else { return };
    let server = server.lifecycle("{preStop: {sleep: {seconds: 3}}, stopSignal: SIGQUIT}");
    server.loses_nothing(&[L4_CLOSE, L7]);
}

#[test]
fn nginx_that_waits_before_sigterm_cuts_what_is_in_work() {
    let Some(server) = nginx() else { return };
    // Kept connections bring it requests until it ends.
    server.lifecycle("{preStop: {sleep: {seconds: 3}}}").loses_by(Cause::AbruptExit, &[L4]);
}

#[test]
fn node_without_a_handler_is_ended_by_the_signal() {
    let Some(node) = find("node") else { return };
    let server = Server::new("node", &[&node, &source("node/server.js")]);
    server.loses_by(Cause::AbruptExit, &[L4, L7]);
}

#[test]
fn node_that_closes_its_listener_at_once_refuses_new_connections_only() {
    let Some(node) = find("node") else { return };
    let server = Server::new("node-close", &[&node, &source("node/server.js"), "close"]);
    server.loses_by(Cause::TerminationRace, &[L4_CLOSE, L7_CLOSE]);
}

#[test]
fn node_that_waits_and_then_closes_its_listener_loses_nothing() {
    let Some(node) = find("node") else { return };
    let server = Server::new("node-waits", &[&node, &source("node/server.js"), "close"]);
    server.lifecycle("{preStop: {sleep: {seconds: 3}}}").loses_nothing(&[L4_CLOSE]);
}

fn gunicorn() -> Option<Server> {
    let program = find("gunicorn")?;
    let folder = source("gunicorn");
    let options = ["--bind", "{host}:{port}", "--workers", "4", "--chdir", &folder, "app:app"];
    Some(Server::new("gunicorn", &[&[program.as_str()], &options[..]].concat()))
}

#[test]
fn gunicorn_closes_its_listener_at_once() {
    let Some(server) = gunicorn() else { return };
    server.loses_by(Cause::TerminationRace, &[L4, L7]);
}

#[test]
fn gunicorn_that_waits_loses_nothing() {
    let Some(server) = gunicorn() else { return };
    server.lifecycle("{preStop: {sleep: {seconds: 3}}}").loses_nothing(&[L4, L7]);
}

fn go() -> Option<Server> {
    let go = find("go")?;
    let mut server = Server::new("go", &[]);
    let binary = server.folder.path().join("server");
    let mut build = Command::new(go);
    build.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(&binary).arg(".");
    build.current_dir(source("go")).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.command = serde_json::to_string(&[binary.to_str().unwrap()]).unwrap();
    Some(server)
}

#[test]
fn go_that_shuts_down_at_once_refuses_new_connections_only() {
    let Some(server) = go() else { return };
    server.loses_by(Cause::TerminationRace, &[L4, L4_CLOSE, L7_CLOSE]);
}

#[test]
fn go_that_waits_loses_nothing() {
    let Some(server) = go() else { return };
    server.lifecycle("{preStop: {sleep: {seconds: 3}}}").loses_nothing(&[L4_CLOSE, L7]);
}

#[test]
fn python_that_has_no_handler_is_ended_by_the_signal() {
    let Some(python) = find("python3") else { return };
    let folder = source("python");
    let command = [&python, "-m", "http.server", "{port}", "--bind", "{host}", "-d", &folder];
    Server::new("python", &command).requests("[{get: /}]").loses_by(Cause::AbruptExit, &[L4, L7]);
}

#[test]
fn python_that_exits_in_its_handler_cuts_what_is_in_work() {
    let Some(python) = find("python3") else { return };
    let server = Server::new("python-exit", &[&python, &source("python/server.py")]);
    // An exit that nobody says is told from a closed listener by what it cuts: twelve are in work.
    let server = server.requests("[{get: /slower}]");
    server.loses_by(Cause::AbruptExit, &[L4, L7]);
}
