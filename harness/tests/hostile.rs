//! The whole program where the machine, the target or the user is against it: each ends soon, with
//! a clear error or a classed outcome, and never with a panic.
//!
//! What needs a tool or a right that is not there is passed over with a printed line.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use highwater::{
    analyze::{Summary, Verdict},
    clock::mono_ns,
    record::{self, EndReason},
};
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");
/// Long enough for any machine; nothing takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Two seconds of traffic on one pod of the bundled service.
const SHORT: &str = "
name: short
target:
  deployment: {template: {readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}}}
traffic: {phases: [{hold: 20/s, for: 2s}], requests: [{get: /work}]}
objectives: [{failed: 0}]
";

/// What a program came to.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    printed: String,
}

impl Done {
    /// No panic, and this exit code.
    fn ends_with(self, code: i32) -> Self {
        assert!(!self.printed.contains("panicked"), "{}", self.printed);
        assert_eq!(self.code, Some(code), "{}", self.printed);
        self
    }

    fn says(self, word: &str) -> Self {
        assert!(self.printed.contains(word), "{word} in\n{}", self.printed);
        self
    }
}

/// Runs to the end; kills and fails if that does not come.
fn run_to_end(command: &mut Command) -> Done {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().unwrap())
}

fn finish(mut child: Child) -> Done {
    // Both pipes are read meanwhile, so that nobody waits for room in one.
    let mut pipes: Vec<Box<dyn std::io::Read + Send>> = Vec::new();
    pipes.extend(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    pipes.extend(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let readers: Vec<_> = pipes
        .into_iter()
        .map(|mut pipe| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // What was read until an error is what there is.
                let _ = pipe.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        })
        .collect();
    let end = mono_ns() + PATIENCE.as_nanos() as u64;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if mono_ns() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let printed: Vec<String> = readers.into_iter().map(|one| one.join().unwrap()).collect();
    let printed = printed.join("\n");
    let status = status.unwrap_or_else(|| panic!("it hangs:\n{printed}"));
    Done { code: status.code(), printed }
}

struct Lab(tempfile::TempDir);

impl Lab {
    fn new(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("scenario.yaml"), scenario).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The arguments of a run into the folder `run`.
    fn arguments(&self) -> [String; 4] {
        let text = |name: &str| self.path(name).to_str().unwrap().to_string();
        ["run".into(), text("scenario.yaml"), "--out".into(), text("run")]
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(self.arguments());
        command
    }

    /// Run by another program, which is given as a command line of the shell that ends with what
    /// takes the place of `highwater`.
    fn within(&self, script: &str) -> Done {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{script} \"$@\""), "sh", PROGRAM]).args(self.arguments());
        run_to_end(&mut command)
    }

    fn summary(&self) -> Summary {
        serde_json::from_slice(&fs::read(self.path("run/summary.json")).unwrap()).unwrap()
    }
}

/// Whether a command line of the shell ends well here; says so if not.
fn can(script: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let can = command.status().is_ok_and(|status| status.success());
    if !can {
        eprintln!("skipped: `{script}` does not work here");
    }
    can
}

/// A target that is a command of the user's, with little patience for its start.
fn command_target(command: &str) -> String {
    format!(
        "name: strange\ntarget:\n  command: {command}\n  deployment:\n    progressDeadlineSeconds: 4\n    \
         template: {{readinessProbe: {{httpGet: {{path: /}}, periodSeconds: 1}}}}\n\
         traffic: {{phases: [{{hold: 1/s, for: 1s}}]}}\n"
    )
}

#[test]
fn scenario_files_that_are_none_are_refused_soon() {
    let nested = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
    let laughs: String = (0..30)
        .map(|n| format!("a{}: &a{} [{}]\n", n + 1, n + 1, format!("*a{n},").repeat(9)))
        .collect();
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("deep lists", nested("[", "]").into(), "scenario.yaml:1"),
        ("deep mappings", nested("{a: ", "}").into(), "scenario.yaml:1"),
        ("a bomb of aliases", format!("a0: &a0 lol\n{laughs}").into(), "anchors"),
        ("twice the same key", b"name: a\nname: b\n".to_vec(), "scenario.yaml:2:1"),
        ("binary", (0..=255).cycle().take(5_000).collect(), "scenario.yaml"),
        ("an executable", fs::read("/proc/self/exe").unwrap(), "scenario.yaml"),
        ("an endless rate", SHORT.replace("20/s", ".inf").into(), "traffic.phases[0].hold"),
        ("no rate", SHORT.replace("20/s", ".nan").into(), "traffic.phases[0].hold"),
        (
            "a duration that overflows",
            SHORT.replace("for: 2s", "for: 99999999999999999999h").into(),
            "longer than can be counted",
        ),
    ];
    for (what, bytes, word) in rows {
        let lab = Lab::new("");
        fs::write(lab.path("scenario.yaml"), bytes).unwrap();
        let done = run_to_end(&mut lab.command()).ends_with(2);
        assert!(done.printed.contains(word), "{what}: {word} in\n{:.2000}", done.printed);
        assert!(done.printed.len() < 10_000, "{what}: {:.2000}", done.printed);
        assert!(!lab.path("run").exists(), "{what}: nothing was begun");
    }
    for endless in ["/dev/zero", "/dev/urandom", "/"] {
        run_to_end(Command::new(PROGRAM).args(["run", endless])).ends_with(2).says(endless);
    }
}

#[test]
fn a_program_that_may_not_be_run_is_no_target() {
    let lab = Lab::new("");
    let script = lab.path("server");
    fs::write(&script, "#!/bin/sh\nexec sleep 600\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
    let command = |path: &Path| command_target(&format!("[{}]", path.display()));
    fs::write(lab.path("scenario.yaml"), command(&script)).unwrap();
    run_to_end(&mut lab.command()).ends_with(2).says("there is no program");
    // A folder may be entered, not run.
    fs::write(lab.path("scenario.yaml"), command(lab.0.path())).unwrap();
    run_to_end(&mut lab.command()).ends_with(2).says("there is no program");
}

#[test]
fn targets_that_never_get_ready_are_given_up_with_what_they_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let occupied =
        format!("[{PROGRAM}, target-service, --host, 127.0.0.1, --port, \"{}\"]", address.port());
    let rows = [
        ("ends at once", "[sh, -c, 'echo no database; exit 3']", "no database"),
        ("ends at once, well", "[sh, -c, 'echo all done']", "all done"),
        ("is no program", "[/proc/self/status]", ""),
        ("does nothing", "[sh, -c, 'echo sleeping; exec sleep 600']", "sleeping"),
        ("writes without end", "[sh, -c, 'exec yes nonsense']", "nonsense"),
        ("writes one endless line", "[sh, -c, 'exec cat /dev/zero']", "0 of 1 pods are ready"),
        ("its port is taken", occupied.as_str(), "ddress"),
    ];
    for (what, command, word) in rows {
        let lab = Lab::new(&command_target(command));
        let done = run_to_end(&mut lab.command());
        assert!(!done.printed.contains("panicked"), "{what}: {}", done.printed);
        if what == "is no program" {
            done.ends_with(2).says("there is no program");
            continue;
        }
        let done = done.ends_with(3).says("0 of 1 pods are ready").says(word);
        let record = record::read(&lab.path("run")).unwrap();
        assert_eq!(record.footer.unwrap().reason, EndReason::Failed, "{what}: {}", done.printed);
    }
}

#[test]
fn a_second_signal_ends_at_once_what_the_first_lets_finish() {
    // Requests that are in flight for as long as nobody gives them up.
    let scenario = SHORT
        .replace("get: /work", "get: \"/work?wait=60s\"")
        .replace("requests:", "timeout: 100s, requests:");
    let lab = Lab::new(&scenario);
    let mut command = lab.command();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let record = lab.path("run/record.jsonl");
    let end = mono_ns() + PATIENCE.as_nanos() as u64;
    while !fs::read_to_string(&record).is_ok_and(|text| text.contains("\"traffic-started\"")) {
        assert!(mono_ns() < end, "waited in vain for traffic");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Two that come together may count as one, so the second goes on until it is heard.
    let signals = std::thread::spawn(move || {
        for _ in 0..200 {
            if kill_process(pid, Signal::TERM).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let began = mono_ns();
    finish(child).ends_with(3);
    assert!(mono_ns() - began < 60_000_000_000, "the requests were not waited for");
    signals.join().unwrap();
    let record = record::read(&lab.path("run")).unwrap();
    assert_eq!(record.footer.unwrap().reason, EndReason::Interrupted);
}

#[test]
fn readers_that_go_away_change_nothing() {
    let lab = Lab::new(SHORT);
    let rows = [
        ("run", lab.arguments().to_vec()),
        ("schema", vec!["schema".into()]),
        ("completions", vec!["completions".into(), "bash".into()]),
        ("scenarios", vec!["scenarios".into()]),
        ("rbac", vec!["rbac".into()]),
        ("help", vec!["--help".into()]),
        (
            "page",
            vec!["report".into(), lab.arguments()[3].clone(), "--format".into(), "html".into()],
        ),
    ];
    for (what, arguments) in rows {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let done = finish(child);
        assert_eq!(done.code, Some(0), "{what}: {}", done.printed);
        assert!(!done.printed.contains("panicked"), "{what}: {}", done.printed);
    }
    // Nobody to complain to.
    let mut command = Command::new(PROGRAM);
    command.args(["run", "/nowhere"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    drop(child.stderr.take());
    finish(child).ends_with(2);
}

/// A namespace of mounts of our own, as root or as one who is root in there.
fn own_mounts() -> Option<&'static str> {
    let ways = ["unshare --mount", "unshare --user --map-root-user --mount"];
    ways.into_iter().find(|way| can(&format!("{way} true")))
}

#[test]
fn a_full_disk_ends_the_run_with_the_reason() {
    let Some(unshare) = own_mounts() else { return };
    let scenario = SHORT.replace("for: 2s", "for: 600s");
    // Room for nothing, for the header of the record, and for some seconds of it.
    for size in ["4k", "12k", "24k"] {
        let lab = Lab::new(&scenario);
        let disk = lab.path("disk");
        fs::create_dir(&disk).unwrap();
        let script = format!(
            "exec {unshare} sh -c 'mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"' {}",
            disk.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{script} \"$@\""), "sh", PROGRAM, "run"]);
        command.arg(lab.path("scenario.yaml")).arg("--out").arg(disk.join("run"));
        run_to_end(&mut command).ends_with(3).says("No space left on device");
    }
}

#[test]
fn without_descriptors_requests_are_unsent_and_the_run_says_so() {
    if !can("prlimit --nofile=64:64 true") {
        return;
    }
    let scenario =
        SHORT.replace("hold: 20/s", "hold: 150/s").replace("get: /work", "get: \"/work?wait=3s\"");
    let lab = Lab::new(&scenario);
    lab.within("exec prlimit --nofile=64:64").ends_with(3);
    let summary = lab.summary();
    let unsent = summary.requests.by_outcome.get("unsent-descriptors").copied();
    assert!(unsent.unwrap_or(0) > 0, "{:?}", summary.requests);
    assert_eq!(summary.verdict, Verdict::Untrusted, "{:?}", summary.audit);
    assert_eq!(summary.requests.owed, summary.requests.sent + summary.requests.unsent);
}

#[test]
fn with_hardly_any_descriptors_no_run_begins() {
    if !can("prlimit --nofile=64:64 true") {
        return;
    }
    for limit in [8, 16, 40] {
        let lab = Lab::new(SHORT);
        let done = lab.within(&format!("exec prlimit --nofile={limit}:{limit}"));
        done.ends_with(3).says("open files");
        assert!(!lab.path("run").exists(), "{limit}: nothing was begun");
    }
}

#[test]
fn without_ports_requests_are_unsent_and_the_run_says_so() {
    let inside = "ip link set lo up && echo 40000 40019 >/proc/sys/net/ipv4/ip_local_port_range";
    let ways = ["unshare --net", "unshare --user --map-root-user --net"];
    let Some(unshare) = ways.into_iter().find(|way| can(&format!("{way} sh -c '{inside}'"))) else {
        return;
    };
    let scenario =
        SHORT.replace("hold: 20/s", "hold: 60/s").replace("get: /work", "get: \"/work?wait=3s\"");
    let lab = Lab::new(&scenario);
    lab.within(&format!("exec {unshare} sh -c '{inside} && exec \"$0\" \"$@\"'")).ends_with(3);
    let summary = lab.summary();
    let unsent = summary.requests.by_outcome.get("unsent-ports").copied();
    assert!(unsent.unwrap_or(0) > 0, "{:?}", summary.requests);
    assert_eq!(summary.verdict, Verdict::Untrusted, "{:?}", summary.audit);
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    // Real time keeps the run's own clock; the wall clock stands still, runs, or goes back.
    for wall in
        ["2001-01-01 00:00:00", "@2038-01-19 03:14:00 x100000", "@2020-01-01 00:00:00 x0.01"]
    {
        let fake = format!(
            "env FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 faketime -f '{wall}'"
        );
        if !can(&format!("{fake} true")) {
            return;
        }
        let lab = Lab::new(SHORT);
        lab.within(&format!("exec {fake}")).ends_with(0);
        let summary = lab.summary();
        let requests = &summary.requests;
        assert!(requests.owed > 20 && requests.ok == requests.owed, "{wall}: {requests:?}");
        assert!(summary.latency_ms.max < 60_000.0, "{wall}: {:?}", summary.latency_ms);
        let record = record::read(&lab.path("run")).unwrap();
        let mut last = 0;
        for event in &record.events {
            assert!(event.at.0 < PATIENCE.as_nanos() as u64, "{wall}: {event:?}");
            last = last.max(event.at.0);
        }
        assert!(last > 2_000_000_000, "{wall}: two seconds of traffic");
    }
}
