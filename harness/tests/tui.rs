//! The terminal view as its users see it: the real program on a pseudo-terminal, whose other side
//! is read by a terminal emulator.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZero,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use highwater::{
    analyze::Summary,
    record::{self, EndReason},
};
use rustix::{
    fs::{Mode, OFlags, open},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");
/// Long enough for any machine; nothing takes this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(120);
const SIZE: (u16, u16) = (30, 100);

const SHORT: &str = "
name: short
seed: 3
target:
  service: {latency: {lognormal: {median: 3ms, p99: 9ms}}, startup: 100ms}
  deployment:
    replicas: 1
    template: {readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}}
traffic:
  phases: [{hold: 50/s, for: 3s}]
  requests: [{get: /work}]
objectives: [{failed: 0}]
";

/// The program on a terminal of its own.
struct Session {
    folder: tempfile::TempDir,
    child: Child,
    keyboard: File,
    /// What the program wrote; ends with the last process that has the terminal open.
    written: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// The program's side, held open, as a shell does.
    terminal: OwnedFd,
    before: Termios,
}

impl Session {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("scenario.yaml"), SHORT).unwrap();
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let size = Winsize { ws_row: SIZE.0, ws_col: SIZE.1, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let side = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new(PROGRAM)
            .arg("run")
            .arg(folder.path().join("scenario.yaml"))
            .arg("--out")
            .arg(folder.path().join("run"))
            .arg("--tui")
            .args(args)
            .env("TERM", "xterm-256color")
            // Its own group, as a shell with job control starts it: it can be suspended.
            .process_group(0)
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let keyboard = File::from(ours);
        let mut reader = keyboard.try_clone().unwrap();
        let (news, written) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The test's end closes the channel, and the terminal's end is an error here.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if news.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let [rows, columns] = [SIZE.0, SIZE.1].map(|n| NonZero::new(n).unwrap());
        let screen = vt100::Parser::new(rows, columns, 200);
        Self { folder, child, keyboard, written, screen, terminal, before }
    }

    fn run_folder(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn shown(&self) -> String {
        self.screen.screen().contents()
    }

    /// Reads until the screen is as wanted.
    fn until(&mut self, what: &str, is_so: impl Fn(&vt100::Screen) -> bool) {
        while !is_so(self.screen.screen()) {
            match self.written.recv_timeout(PATIENCE) {
                Ok(bytes) => self.screen.process(&bytes),
                Err(error) => panic!("{what}: {error}\n{}", self.shown()),
            }
        }
    }

    fn until_traffic(&mut self) {
        self.until("the traffic shows", |screen| {
            screen.alternate_screen() && screen.contents().contains(" left")
        });
    }

    fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for the program's end; its exit code. The terminal must be as it was.
    fn end(&mut self) -> i32 {
        let code = self.child.wait().unwrap().code().unwrap();
        // What it wrote last may still be on its way; nothing comes after the report's path.
        self.until("the summary is told", |screen| {
            !screen.alternate_screen() && screen.contents().contains("report.html")
        });
        while let Ok(bytes) = self.written.recv_timeout(Duration::from_millis(200)) {
            self.screen.process(&bytes);
        }
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{}", screen.contents());
        let after = tcgetattr(&self.terminal).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        code
    }

    fn reason(&self) -> EndReason {
        record::read(&self.run_folder()).unwrap().footer.unwrap().reason
    }
}

fn is_whole(run: &Path) {
    let text = std::fs::read_to_string(run.join("summary.json")).unwrap();
    let summary: Summary = serde_json::from_str(&text).unwrap();
    assert_eq!(summary.requests.owed, summary.requests.sent + summary.requests.unsent);
    assert!(run.join("report.html").exists());
}

#[test]
fn a_run_shows_itself_and_gives_the_terminal_back() {
    let mut session = Session::start(&[]);
    session.until_traffic();
    let shown = session.shown();
    for words in ["short on local", "offered", "failures by outcome", "v1-1", "q: end the run"] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    assert_eq!(session.end(), 0, "{}", session.shown());
    assert_eq!(session.reason(), EndReason::Completed);
    is_whole(&session.run_folder());
    let shown = session.shown();
    assert!(shown.contains("MET") && shown.contains("backend local"), "{shown}");
}

#[test]
fn keys_and_signals_end_a_run_early_with_a_record() {
    type Stop = fn(&mut Session);
    let stops: [(&str, Stop); 3] = [
        ("q", |session| session.press(b"q")),
        ("Ctrl-C", |session| session.press(b"\x03")),
        ("SIGTERM", |session| kill_process(session.pid(), Signal::TERM).unwrap()),
    ];
    for (name, stop) in stops {
        let mut session = Session::start(&["--set", "traffic.phases=[{hold: 50/s, for: 10m}]"]);
        session.until_traffic();
        stop(&mut session);
        assert_eq!(session.end(), 3, "{name}: {}", session.shown());
        assert_eq!(session.reason(), EndReason::Interrupted, "{name}");
        is_whole(&session.run_folder());
    }
}

#[test]
fn a_run_that_cannot_be_carried_out_gives_the_terminal_back() {
    let never = "target.deployment.template.readinessProbe.httpGet.path=/nowhere";
    let mut session = Session::start(&["--set", never]);
    session.until("the view shows", |screen| {
        screen.alternate_screen() && screen.contents().contains("waiting for the target")
    });
    session.press(b"q");
    assert_eq!(session.end(), 3, "{}", session.shown());
}

#[test]
fn suspending_lends_the_terminal_to_the_shell() {
    let mut session = Session::start(&["--set", "traffic.phases=[{hold: 50/s, for: 10m}]"]);
    session.until_traffic();
    session.press(b"\x1a");
    session.until("the screen is given back", |screen| !screen.alternate_screen());
    let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(session.pid()), stopped).unwrap().unwrap();
    assert!(status.stopped());
    let modes = tcgetattr(&session.terminal).unwrap().local_modes;
    assert_eq!(modes, session.before.local_modes);
    kill_process(session.pid(), Signal::CONT).unwrap();
    session.until_traffic();
    session.press(b"q");
    assert_eq!(session.end(), 3, "{}", session.shown());
    assert_eq!(session.reason(), EndReason::Interrupted);
}

#[test]
fn without_a_terminal_plain_lines_tell_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scenario.yaml"), SHORT).unwrap();
    let output = Command::new(PROGRAM)
        .arg("run")
        .arg(folder.path().join("scenario.yaml"))
        .arg("--out")
        .arg(folder.path().join("run"))
        .arg("--tui")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("no terminal view: stderr is not a terminal; plain lines"), "{told}");
    assert!(told.contains("starting") && !told.contains('\u{1b}'), "{told}");
    is_whole(&folder.path().join("run"));
}
