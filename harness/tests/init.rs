//! `highwater init` and `highwater signal-child` with real processes. Here the init is not PID 1,
//! but it adopts what its service leaves, as PID 1 does.

#![allow(clippy::unwrap_used, reason = "a test")]
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for any machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn highwater(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(args);
    command
}

/// An init with a shell script as its service, which waits for its stdin where it says `read`.
struct Init {
    child: Child,
    lines: mpsc::Receiver<String>,
    _stdin: ChildStdin,
}

impl Drop for Init {
    fn drop(&mut self) {
        // It has ended already in a test that passed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Init {
    fn start(script: &str) -> Self {
        let mut command = highwater(&["init", "--", "sh", "-c", script]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let stdin = child.stdin.take().unwrap();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self { child, lines, _stdin: stdin }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    fn signal_child(&self, signal: &str) -> Output {
        let of = self.child.id().to_string();
        highwater(&["signal-child", signal, "--of", &of]).output().unwrap()
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn kill(pid: &str, signal: Signal) {
    kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), signal).unwrap();
}

/// State and parent of a process; `None` once it is gone.
fn stat(pid: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().map(String::from);
    Some((fields.next()?, fields.next()?))
}

/// Looks again and again, a minute at most.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("gave up waiting for {what}");
}

#[test]
fn the_exit_code_is_the_services() {
    let not_executable = tempfile::NamedTempFile::new().unwrap();
    let not_executable = not_executable.path().to_str().unwrap();
    for (command, code, why) in [
        (&["true"][..], 0, "a good end, however quick"),
        (&["sh", "-c", "exit 7"], 7, "its own code"),
        (&["sh", "-c", "exit 255"], 255, "the highest code"),
        (&["sh", "-c", "kill -9 $$"], 137, "128 + SIGKILL"),
        (&["sh", "-c", "kill -15 $$"], 143, "128 + SIGTERM"),
        (&["sh", "-c", "sleep 0 & exit 3"], 3, "not the code of an orphan"),
        (&["no-such-program-anywhere"], 127, "as a shell says it"),
        (&[not_executable], 126, "as a shell says it"),
    ] {
        let out = highwater(&["init", "--"]).args(command).output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(code), "{command:?}: {why}: {said}");
        let is_named = said.contains(&format!("`{}`", command[0]));
        assert_eq!(is_named, matches!(code, 126 | 127), "{said}");
    }
    let nothing = highwater(&["init"]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "no command is bad usage");
}

#[test]
fn signals_reach_the_service_each_as_itself() {
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("TERM", Signal::TERM),
        ("ALRM", Signal::ALARM),
        ("WINCH", Signal::WINCH),
    ] {
        // The pause bounds how late the shell runs its trap.
        let script = format!(
            "trap 'echo got {name}; exit 42' {name}
            echo up
            for i in $(seq 1200); do sleep 0.05; done"
        );
        let mut init = Init::start(&script);
        assert_eq!(init.line(), "up");
        kill(&init.child.id().to_string(), signal);
        assert_eq!(init.line(), format!("got {name}"));
        assert_eq!(init.exit_code(), Some(42), "{name}");
    }
}

#[test]
fn orphans_are_adopted_and_reaped_while_the_service_runs() {
    let mut init = Init::start(
        "for i in 1 2 3 4 5; do (sleep 60 >/dev/null & echo $!); done
        read end",
    );
    let orphans: Vec<String> = (0..5).map(|_| init.line()).collect();
    let parent = init.child.id().to_string();
    for orphan in &orphans {
        wait_until("the adoption", || stat(orphan).unwrap().1 == parent);
        kill(orphan, Signal::KILL);
    }
    for orphan in &orphans {
        // Unreaped it would stay as a zombie for good.
        wait_until("the reaping", || stat(orphan).is_none());
    }
    assert!(init.child.try_wait().unwrap().is_none(), "an orphan's end is not the service's");
    assert_eq!(init.signal_child("SIGTERM").status.code(), Some(0));
    assert_eq!(init.exit_code(), Some(143));
}

#[test]
fn signal_child_ends_the_service_and_not_what_was_adopted() {
    for (signal, code) in [("SIGKILL", 137), ("SIGTERM", 42), ("KILL", 137), ("TERM", 42)] {
        let mut init = Init::start(
            "trap 'exit 42' TERM
            (sleep 60 >/dev/null & echo $!)
            echo up
            for i in $(seq 1200); do sleep 0.05; done",
        );
        let orphan = init.line();
        assert_eq!(init.line(), "up");
        let parent = init.child.id().to_string();
        wait_until("the adoption", || stat(&orphan).unwrap().1 == parent);
        let out = init.signal_child(signal);
        assert_eq!(out.status.code(), Some(0), "{signal}: {out:?}");
        assert_eq!(init.exit_code(), Some(code), "{signal}");
        assert!(stat(&orphan).is_some(), "only PID 1 takes it along");
        kill(&orphan, Signal::KILL);
    }
}

#[test]
fn without_a_child_signal_child_says_so() {
    let mut childless = Command::new("sleep").arg("60").spawn().unwrap();
    let nobody = u32::MAX.to_string();
    for of in [childless.id().to_string(), nobody] {
        let out = highwater(&["signal-child", "SIGKILL", "--of", &of]).output().unwrap();
        assert_eq!(out.status.code(), Some(3), "{of}");
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(said.contains(&of) && said.contains("no living child"), "{said}");
    }
    childless.kill().unwrap();
    childless.wait().unwrap();
    let out = highwater(&["signal-child", "SIGSTOP"]).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "a signal that ends nothing");
}

#[test]
fn the_bundled_service_drains_below_an_init_as_it_does_alone() {
    let service = ["target-service", "--host", "127.0.0.1", "--port", "0", "--drain-delay", "0"];
    let binary = env!("CARGO_BIN_EXE_highwater");
    for (signal, code, last) in [("SIGTERM", 0, "exiting"), ("SIGKILL", 137, "ready")] {
        let mut child = highwater(&["init", "--", binary])
            .args(service)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let is_ready = |line: &String| line.contains("\"event\":\"ready\"");
        let ready = lines.by_ref().find(is_ready).unwrap();
        let of = child.id().to_string();
        let out = highwater(&["signal-child", signal, "--of", &of]).output().unwrap();
        assert_eq!(out.status.code(), Some(0));
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        let end = lines.last().unwrap_or(ready);
        assert!(end.contains(&format!("\"event\":\"{last}\"")), "{signal}: {end}");
    }
}
