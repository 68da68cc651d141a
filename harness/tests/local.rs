//! The program as its users run it: real processes, real sockets, real signals.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use highwater::{
    analyze::{self, Cause, Summary, Verdict},
    record::{self, EndReason, RunRecord},
};
use highwater_model::event::EventKind;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");
/// Long enough for any machine; nothing takes this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// One rollout of two pods under load.
const ROLLOUT: &str = "
name: rollout
seed: 3
target:
  service:
    latency: {lognormal: {median: 8ms, p99: 40ms}}
    startup: 200ms
    drain: {delay: 3s, deadline: 20s}
  deployment:
    replicas: 2
    strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
    template:
      readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}
path: {propagation: {uniform: [0s, 2s]}}
traffic:
  phases: [{hold: 100/s, for: 11s}]
  requests: [{get: /work, weight: 4}, {post: /work, body: hello, weight: 1}]
events: [{at: 1s, rollout: {}}]
objectives: [{failed: 0}]
";

struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
        Self { folder }
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, name: &str, sets: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("run").arg(self.out("scenario.yaml")).arg("--out").arg(self.out(name));
        for set in sets {
            command.args(["--set", set]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end; exit code, summary, and what was printed.
    fn run(&self, name: &str, sets: &[&str]) -> (i32, Summary, String) {
        let output = self.command(name, sets).output().unwrap();
        let printed = printed(&output);
        let text = std::fs::read_to_string(self.out(name).join("summary.json"))
            .unwrap_or_else(|error| panic!("{error}\n{printed}"));
        let summary: Summary = serde_json::from_str(&text).unwrap();
        let requests = &summary.requests;
        assert_eq!(requests.owed, requests.sent + requests.unsent, "{printed}");
        assert_eq!(requests.sent, requests.ok + requests.failed, "{printed}");
        let losses: u64 = summary.losses.iter().map(|loss| loss.count).sum();
        assert_eq!(losses, requests.failed, "every loss has a cause: {printed}");
        (output.status.code().unwrap(), summary, printed)
    }

    fn record(&self, name: &str) -> RunRecord {
        record::read(&self.out(name)).unwrap()
    }
}

fn printed(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn paths() -> [(&'static str, Vec<&'static str>); 4] {
    let set = |kind, on: bool| {
        let keep: &[&str] =
            if on { &[] } else { &["traffic.keepAlive=false", "path.keepAlive=false"] };
        [&[kind][..], keep].concat()
    };
    [
        ("l4", set("path.kind=l4", true)),
        ("l4-close", set("path.kind=l4", false)),
        ("l7", set("path.kind=l7", true)),
        ("l7-close", set("path.kind=l7", false)),
    ]
}

#[test]
fn the_correct_service_loses_nothing_on_any_path() {
    let lab = Lab::new(ROLLOUT);
    for (path, sets) in paths() {
        let (code, summary, printed) = lab.run(path, &sets);
        assert_eq!((code, summary.verdict), (0, Verdict::Met), "{path}\n{printed}");
        assert!(summary.losses.is_empty());
        assert_eq!((summary.transitions.observed, summary.transitions.with_loss), (4, 0));
        let bound = summary.transitions.upper_bound95;
        assert!((bound - (1.0 - 0.05f64.powf(0.25))).abs() < 1e-9, "the bound of 0 in 4: {bound}");
        assert!(summary.requests.owed > 900);
        let ended = lab.record(path);
        let completed = ended
            .events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::RolloutComplete { revision: 2 }));
        assert_eq!(completed.count(), 1);
    }
}

#[test]
fn a_fix_that_the_report_prints_stops_the_loss() {
    let lab = Lab::new(ROLLOUT);
    let wrong = ["path.kind=l7", "target.misbehave=[close-listener-first]"];
    let (_, summary, _) = lab.run("wrong", &wrong);
    let fix = &summary.losses[0].fix;
    let set = |key: &str| {
        let line = fix.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
        format!("target.deployment.template.{key}={}", line.unwrap())
    };
    let (sleep, grace) = (set("lifecycle"), set("terminationGracePeriodSeconds"));
    let (code, summary, printed) = lab.run("fixed", &[&wrong[..], &[&sleep, &grace]].concat());
    assert_eq!((code, summary.requests.failed), (0, 0), "{printed}");
}

#[test]
fn what_retries_hide_is_told_with_the_cause_that_it_would_have_had() {
    let lab = Lab::new(ROLLOUT);
    let wrong = ["path.kind=l7", "target.misbehave=[close-listener-first]"];
    let (code, seen, printed) = lab.run("seen", &wrong);
    assert_eq!(code, 1, "{printed}");
    assert!(seen.hidden_by_retries.is_empty() && seen.proxy.is_none());
    let (_, hidden, printed) =
        lab.run("hidden", &[&wrong[..], &["path.retry=connect-failure"]].concat());
    // What waits in the queue of a listener that closes is reset, and was sent: that stays lost.
    assert!(hidden.requests.failed < seen.requests.failed, "{printed}");
    assert!(printed.contains("rescued by a retry: termination race"), "{printed}");
    let causes: Vec<Cause> = hidden.hidden_by_retries.iter().map(|one| one.cause).collect();
    assert_eq!(causes, [Cause::TerminationRace], "{printed}");
    let (rescued, proxy) = (hidden.hidden_by_retries[0].count, hidden.proxy.unwrap());
    assert!(rescued > 0 && proxy.rescued == rescued, "{printed}");
    let events = lab.record("hidden").events;
    let of_record = events.iter().map(|event| match event.kind {
        EventKind::Retried { n, .. } => n,
        _ => 0,
    });
    assert_eq!(of_record.sum::<u64>(), proxy.retries, "each attempt is recorded");
}

#[test]
fn the_summary_has_exactly_the_keys_of_its_contract() {
    let lab = Lab::new(&ROLLOUT.replace("for: 11s", "for: 2s").replace("events:", "events: []\n#"));
    lab.run("run", &[]);
    let text = std::fs::read_to_string(lab.out("run").join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let is = |value: &Value, expected: &str| {
        let mut expected: Vec<&str> = expected.split(' ').collect();
        expected.sort_unstable();
        let mut found: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    };
    is(
        &summary,
        "schema scenario backend seed verdict requests losses unexplained transitions latencyMs \
         serviceTimeMs sendLagMs replicas podHours costPerThousandGood objectives scorecard audit",
    );
    is(&summary["requests"], "owed sent unsent ok failed byOutcome");
    is(&summary["latencyMs"], "p50 p90 p99 p999 max");
    is(&summary["transitions"], "observed withLoss upperBound95");
    is(&summary["replicas"], "min max desiredChanges");
    is(&summary["objectives"][0], "name met value");
    is(&summary["audit"], "trusted reasons");
    for file in ["record.jsonl", "scenario.yaml", "report.html", "summary.json", "provenance.json"]
    {
        assert!(lab.out("run").join(file).is_file(), "{file}");
    }
    // The same record gives the same reports.
    let before = std::fs::read(lab.out("run").join("report.html")).unwrap();
    let again = Command::new(PROGRAM).arg("report").arg(lab.out("run")).output().unwrap();
    assert!(again.status.success());
    assert_eq!(before, std::fs::read(lab.out("run").join("report.html")).unwrap());
}

// Ends that are not the planned one.

/// Processes that carry `mark` in their environment or command line, other than this one.
fn marked(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let is_process = entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit());
        let read = |name: &str| {
            let mut bytes = Vec::new();
            if let Ok(mut file) = std::fs::File::open(entry.path().join(name)) {
                let _ = file.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let is_zombie = read("stat").rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"));
        if is_process
            && !is_zombie
            && (read("environ").contains(mark) || read("cmdline").contains(mark))
        {
            found.push(format!("{:?}: {}", entry.file_name(), read("cmdline")));
        }
    }
    found
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = highwater::clock::mono_ns() + PATIENCE.as_nanos() as u64;
    while !is_so() {
        assert!(highwater::clock::mono_ns() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Kills the child if a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in a test that passed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines_of(record: &Path) -> usize {
    std::fs::read(record).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

#[test]
fn kill_9_at_many_moments_leaves_no_orphan_and_a_record_that_opens() {
    let lab = Lab::new(ROLLOUT);
    // Moments by what is in the record, so that they spread over the run on any machine.
    for (round, lines) in [0, 1, 2, 8, 14, 20, 26, 32, 40, 60].into_iter().enumerate() {
        let name = format!("run-{round}");
        let mark = format!("highwater-mark-{}-{round}", std::process::id());
        let env = format!("target.env=[{{name: MARK, value: {mark}}}]");
        let kind = if round % 2 == 0 { "path.kind=l7" } else { "path.kind=l4" };
        let mut child =
            Running(lab.command(&name, &[&env, kind]).env("MARK", &mark).spawn().unwrap());
        let record = lab.out(&name).join("record.jsonl");
        wait_until("the record", || {
            lines_of(&record) >= lines || child.0.try_wait().unwrap().is_some()
        });
        child.0.kill().unwrap();
        child.0.wait().unwrap();
        wait_until("the orphans' end", || marked(&mark).is_empty());
        match record::read(&lab.out(&name)) {
            Ok(opened) => {
                assert!(opened.footer.is_none());
                let analysis = analyze::analyze(&opened).unwrap();
                assert_eq!(analysis.verdict, Verdict::Aborted);
            }
            Err(error) => assert_eq!(lines_of(&record), 0, "{error}"),
        }
    }
}

#[test]
fn ctrl_c_ends_early_with_a_valid_marked_record() {
    let lab = Lab::new(ROLLOUT);
    let mut child = Running(lab.command("run", &["path.kind=l7"]).spawn().unwrap());
    let record = lab.out("run").join("record.jsonl");
    wait_until("traffic", || {
        std::fs::read_to_string(&record).is_ok_and(|text| text.contains("\"type\":\"window\""))
    });
    kill_process(Pid::from_child(&child.0), Signal::INT).unwrap();
    let status = child.0.wait().unwrap();
    assert_eq!(status.code(), Some(3));
    let opened = lab.record("run");
    assert_eq!(opened.footer.as_ref().unwrap().reason, EndReason::Interrupted);
    let analysis = analyze::analyze(&opened).unwrap();
    assert_eq!(analysis.verdict, Verdict::Aborted);
    assert_eq!(analysis.requests.pending, 0, "requests in flight were waited for");
    assert!(lab.out("run").join("report.html").is_file());
}

#[test]
fn a_target_that_leaves_a_daemon_behind_leaves_none() {
    let mark = format!("highwater-daemon-{}", std::process::id());
    let script = format!(
        "(setsid sh -c 'exec -a {mark} sleep 600; sleep 600' >/dev/null 2>&1 &) ; exec {PROGRAM} target-service"
    );
    let scenario = format!(
        "name: daemon\ntarget:\n  command: [bash, -c, {script:?}]\n  deployment:\n    template:\n      \
         readinessProbe: {{httpGet: {{path: /readyz}}, periodSeconds: 1}}\n  env: [{{name: MARK, value: {mark}}}]\n\
         traffic: {{phases: [{{hold: 10/s, for: 1s}}], requests: [{{get: /work}}]}}\n"
    );
    let lab = Lab::new(&scenario);
    let (code, summary, printed) = lab.run("run", &[]);
    assert_eq!((code, summary.requests.failed), (0, 0), "{printed}");
    wait_until("the daemon's end", || marked(&mark).is_empty());
}

#[test]
fn what_cannot_be_carried_out_is_said_with_the_right_exit_code() {
    let rows: [(&str, &[&str], i32, &str); 8] = [
        (ROLLOUT, &["target.deployment.replica=3"], 2, "did you mean `replicas`?"),
        (ROLLOUT, &["target.misbehave=[self-scaling]"], 2, "needs an API server"),
        (
            "name: x\ntraffic: {phases: [{hold: 1/s, for: 1s}]}\ntrafic: 1\n",
            &[],
            2,
            "scenario.yaml:3:1",
        ),
        (
            "name: x\ntarget: {command: [no-such-program]}\ntraffic: {phases: [{hold: 1/s, for: 1s}]}\n",
            &[],
            2,
            "there is no program `no-such-program`",
        ),
        (
            "name: x\ntarget: {deployment: {template: {readinessProbe: {httpGet: {scheme: HTTPS}}}}}\n\
             traffic: {phases: [{hold: 1/s, for: 1s}]}\n",
            &[],
            2,
            "scheme",
        ),
        ("a: [1\n", &[], 2, "not YAML"),
        ("", &[], 2, "the file is empty"),
        (ROLLOUT, &["name=../../etc"], 2, "other characters"),
    ];
    for (scenario, sets, code, word) in rows {
        let lab = Lab::new(scenario);
        let output = lab.command("run", sets).output().unwrap();
        let printed = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{scenario}\n{printed}");
        assert!(printed.contains(word), "{word} in\n{printed}");
        assert!(!lab.out("run").exists(), "nothing was begun");
    }
    let lab = Lab::new(ROLLOUT);
    std::fs::create_dir(lab.out("run")).unwrap();
    assert_eq!(
        lab.command("run", &[]).output().unwrap().status.code(),
        Some(2),
        "the folder exists"
    );
}

#[test]
fn a_target_that_never_gets_ready_ends_when_the_user_ends_it_and_says_what_was_seen() {
    let scenario = "name: stuck\ntarget:\n  command: [sh, -c, 'echo cannot open the database >&2; sleep 600']\n  \
                    deployment: {template: {readinessProbe: {httpGet: {path: /}, periodSeconds: 1}}}\n\
                    traffic: {phases: [{hold: 1/s, for: 1s}]}\n";
    let lab = Lab::new(scenario);
    let mut child = Running(lab.command("run", &[]).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("ready 0/1")));
    let log = || std::fs::read_to_string(lab.out("run").join("pods/v1-1.log")).unwrap_or_default();
    wait_until("the target's words", || log().contains("cannot open the database"));
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(3));
    assert_eq!(lab.record("run").footer.unwrap().reason, EndReason::Interrupted);
}

#[test]
fn a_crash_is_restarted_and_named() {
    let scenario =
        ROLLOUT.replace("events: [{at: 1s, rollout: {}}]", "events: [{at: 2s, kill: {}}]");
    let lab = Lab::new(&scenario);
    let (_, summary, printed) = lab.run("run", &["path.kind=l4", "traffic.keepAlive=false"]);
    let causes: Vec<Cause> = summary.losses.iter().map(|loss| loss.cause).collect();
    assert_eq!(causes, [Cause::Crash], "{printed}");
    let restarts = lab
        .record("run")
        .events
        .into_iter()
        .filter(|event| matches!(event.kind, EventKind::ContainerStarted { restarts: 1, .. }));
    assert_eq!(restarts.count(), 1);
}

#[test]
fn what_a_full_queue_turns_away_is_overload_in_the_flesh_and_simulated() {
    // Twice what the two workers of both pods can do.
    let scenario = "
name: full
seed: 4
target:
  service: {latency: 20ms, workers: 1, queue: {length: 2, full: FULL}}
  deployment: {replicas: 2}
traffic: {phases: [{hold: 200/s, for: 3s}]}
";
    for full in ["close", "unavailable"] {
        let lab = Lab::new(&scenario.replace("FULL", full));
        for backend in ["local", "sim"] {
            let mut command = lab.command(backend, &[]);
            let printed = printed(&command.args(["--backend", backend]).output().unwrap());
            let text = std::fs::read_to_string(lab.out(backend).join("summary.json")).unwrap();
            let summary: Summary = serde_json::from_str(&text).unwrap();
            let causes: Vec<Cause> = summary.losses.iter().map(|loss| loss.cause).collect();
            assert_eq!(causes, [Cause::Overload], "{full} on {backend}: {printed}");
            assert_eq!(summary.unexplained, 0, "{full} on {backend}");
            let lost = summary.requests.failed as f64 / summary.requests.owed as f64;
            assert!((0.35..0.65).contains(&lost), "{full} on {backend}: {lost}");
        }
    }
}

#[test]
fn small_commands_do_what_they_say() {
    let run = |args: &[&str]| Command::new(PROGRAM).args(args).output().unwrap();
    let schema = run(&["schema"]);
    assert_eq!(
        serde_json::from_slice::<Value>(&schema.stdout).unwrap()["title"],
        "Highwater scenario"
    );
    assert!(
        serde_json::from_slice::<Value>(&run(&["schema", "summary"]).stdout).unwrap()["properties"]
            .is_object()
    );
    assert!(String::from_utf8(run(&["completions", "bash"]).stdout).unwrap().contains("highwater"));
    assert!(String::from_utf8(run(&["scenarios"]).stdout).unwrap().contains("rolling-update"));
    assert!(run(&["doctor"]).status.success());
    assert_eq!(run(&["report", "/nowhere"]).status.code(), Some(2));
    assert_eq!(run(&["run"]).status.code(), Some(2));
    assert_eq!(run(&["nonsense"]).status.code(), Some(2));
}

/// A server that answers everything well until it has answered so many requests, and then closes
/// each connection without a word.
fn answering(most: u64) -> std::net::SocketAddr {
    use std::{
        io::Write as _,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answered = Arc::new(AtomicU64::new(0));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answered = answered.clone();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        let is_over = answered.fetch_add(1, Ordering::SeqCst) >= most;
                        let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                        if is_over || stream.write_all(ok).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_url_is_saturated_and_the_closed_loop_named_everywhere() {
    let url = format!("target.url=http://{}", answering(u64::MAX));
    let lab = Lab::new("name: bare\ntraffic: {saturate: {connections: 3, for: 1s}}\n");
    let (code, summary, printed) = lab.run("one", &[&url]);
    assert_eq!(code, 0, "{printed}");
    let closed = summary.closed_loop.unwrap();
    assert_eq!(closed.connections, 3);
    assert!(closed.rate > 3.0 && summary.requests.owed as f64 >= closed.rate, "{closed:?}");
    let note = "closed loop: latency is not that of an open system";
    let page = std::fs::read_to_string(lab.out("one").join("report.html")).unwrap();
    assert!(closed.note.contains(note) && printed.contains(note) && page.contains(note));
    let record = lab.record("one");
    let kinds: Vec<&EventKind> = record.events.iter().map(|event| &event.kind).collect();
    assert!(matches!(
        kinds[..],
        [EventKind::TrafficStarted, EventKind::PhaseStarted { .. }, EventKind::TrafficEnded]
    ));
}

#[test]
fn a_url_is_loaded_openly_and_its_losses_are_unobserved() {
    let url = format!("target.url=http://{}", answering(150));
    let lab =
        Lab::new("name: bare\ntraffic: {phases: [{hold: 200/s, for: 1s}], arrivals: constant}\n");
    let (_, summary, printed) = lab.run("one", &[&url, "traffic.threads=2"]);
    assert_eq!((summary.requests.owed, summary.requests.ok), (200, 150), "{printed}");
    let causes: Vec<(Cause, u64)> =
        summary.losses.iter().map(|loss| (loss.cause, loss.count)).collect();
    assert_eq!((causes, summary.unexplained), (vec![(Cause::Unobserved, 50)], 0));
    assert!(summary.closed_loop.is_none());
    let threads: std::collections::BTreeSet<u32> =
        lab.record("one").samples.iter().map(|sample| sample.generator).collect();
    assert_eq!(threads, [0, 1].into());
}

#[test]
fn a_closed_loop_saturates_a_deployment_too() {
    let lab = Lab::new(ROLLOUT);
    let sets = ["traffic.phases=[]", "traffic.saturate={connections: 4, for: 2s}", "events=[]"];
    let (code, summary, printed) = lab.run("one", &sets);
    assert_eq!(code, 0, "{printed}");
    assert!(summary.closed_loop.is_some_and(|closed| closed.rate > 4.0), "{printed}");
}
