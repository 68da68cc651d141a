//! The parent of one pod's container: a process of its own that starts the target, passes signals
//! on, tells how it ended, and leaves nothing behind whatever happens to the harness.
//!
//! The harness talks to it over pipes. Orders come on stdin, one word a line (`SIGTERM`, `SIGKILL`, ...);
//! the end of stdin means that the harness is gone, also by `kill -9`, and then everything below
//! the shim is killed. News go to stdout; the target's own output goes to the shim's stderr.
//!
//! On Linux the shim adopts what the target leaves (a subreaper), so that daemons and workers that
//! outlive their parent are found as well, as they are when a container's PID 1 ends.

use std::{
    io::{self, BufRead as _, Write as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    process::{Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};

use crate::clock::mono_ns;

/// How often a container's memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(20);

/// What a shim tells the harness, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The target's process runs.
    Started {
        /// Its pid.
        pid: u32,
        /// When, on the machine's monotonic clock.
        mono_ns: u64,
    },
    /// The target's process could not be started.
    Failed(String),
    /// The target's process ended.
    Exited {
        /// Exit code, or 128 + signal.
        code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Whether it was killed for its memory.
        oom: bool,
        /// When, on the machine's monotonic clock.
        mono_ns: u64,
    },
}

impl News {
    /// The line, without its end.
    pub fn line(&self) -> String {
        match self {
            Self::Started { pid, mono_ns } => format!("started {pid} {mono_ns}"),
            Self::Failed(reason) => format!("failed {}", reason.replace('\n', " ")),
            Self::Exited { code, signal, oom, mono_ns } => {
                let (signal, oom) = (signal.unwrap_or(0), u8::from(*oom));
                format!("exited {code} {signal} {oom} {mono_ns}")
            }
        }
    }

    /// Reads a line; `None` for anything else.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ')?;
        let numbers: Vec<i128> = rest.split(' ').filter_map(|part| part.parse().ok()).collect();
        match (word, &numbers[..]) {
            ("failed", _) => Some(Self::Failed(rest.into())),
            ("started", [pid, at]) => Some(Self::Started {
                pid: u32::try_from(*pid).ok()?,
                mono_ns: u64::try_from(*at).ok()?,
            }),
            ("exited", [code, signal, oom, at]) => Some(Self::Exited {
                code: i32::try_from(*code).ok()?,
                oom: *oom != 0,
                signal: i32::try_from(*signal).ok().filter(|signal| *signal != 0),
                mono_ns: u64::try_from(*at).ok()?,
            }),
            _ => None,
        }
    }
}

/// Runs a shim for `command` until nothing of it is left. `memory`: the most bytes that all of its
/// processes together may have resident; the kernel's own killer of a container's cgroup is
/// stood in for by looking again and again, so that it may come a little late.
pub fn main(command: &[String], memory: Option<u64>) -> ExitCode {
    // A session of its own: Ctrl-C in the terminal is the harness's to handle. It fails only for
    // a process that leads a group already, which is as good.
    let _ = rustix::process::setsid();
    #[cfg(target_os = "linux")]
    // Without it daemons of the target would escape; where the kernel has none, nothing is lost
    // for targets that do not daemonise.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let child = match spawn(command) {
        Ok(child) => child,
        Err(error) => {
            tell(&News::Failed(error.to_string()));
            return ExitCode::FAILURE;
        }
    };
    let pid = Pid::from_child(&child);
    tell(&News::Started { pid: child.id(), mono_ns: mono_ns() });
    std::thread::spawn(move || obey(pid));
    let is_out_of_memory = Arc::new(AtomicBool::new(false));
    if let Some(limit) = memory {
        let flag = is_out_of_memory.clone();
        std::thread::spawn(move || watch_memory(limit, &flag));
    }
    reap(pid, &is_out_of_memory);
    ExitCode::SUCCESS
}

fn spawn(command: &[String]) -> io::Result<std::process::Child> {
    let output = || io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
    let me = std::env::current_exe()?;
    Command::new(me)
        .arg("pod-exec")
        .arg(std::process::id().to_string())
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?)
        .spawn()
}

/// The second step, in the child: ties its life to the shim's and becomes the target.
pub fn exec(parent: u32, command: &[String]) -> ExitCode {
    #[cfg(target_os = "linux")]
    {
        // Fails on no kernel that has the call.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let is_orphan = rustix::process::getppid()
            .is_none_or(|pid| pid.as_raw_nonzero().get() as u32 != parent);
        if is_orphan {
            return ExitCode::FAILURE;
        }
    }
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    let error = Command::new(program).args(arguments).exec();
    // Nobody may read it; the exit code tells as well.
    let _ =
        writeln!(io::stderr(), "highwater: cannot start `{program}` (parent {parent}): {error}");
    ExitCode::from(127)
}

fn tell(news: &News) {
    let mut out = io::stdout().lock();
    // If the harness is gone, the end of stdin says so, too.
    let _ = writeln!(out, "{}", news.line()).and_then(|()| out.flush());
}

/// Passes signals on until the harness is gone.
fn obey(child: Pid) {
    for order in io::stdin().lock().lines() {
        let signal = match order.as_deref() {
            Ok("SIGTERM") => Signal::TERM,
            Ok("SIGKILL") => Signal::KILL,
            Ok("SIGINT") => Signal::INT,
            Ok("SIGHUP") => Signal::HUP,
            Ok("SIGQUIT") => Signal::QUIT,
            Ok("SIGABRT") => Signal::ABORT,
            Ok("SIGUSR1") => Signal::USR1,
            Ok("SIGUSR2") => Signal::USR2,
            Ok("SIGWINCH") => Signal::WINCH,
            Ok("SIGSTOP") => Signal::STOP,
            Ok("SIGCONT") => Signal::CONT,
            Ok(_) => continue,
            Err(_) => break,
        };
        if matches!(signal, Signal::STOP | Signal::CONT) {
            // A machine that pauses pauses all of a container.
            descendants(std::process::id()).into_iter().for_each(|pid| send(pid, signal));
        } else {
            // It may have ended by itself just now.
            let _ = kill_process(child, signal);
        }
    }
    kill_all();
    // The main thread ends when the last child is reaped.
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = kill_process(pid, signal);
    }
}

/// Kills everything once it has more than `limit` bytes resident. Ends with the process.
fn watch_memory(limit: u64, flag: &AtomicBool) {
    loop {
        let resident: u64 = descendants(std::process::id()).into_iter().map(resident).sum();
        if resident > limit {
            flag.store(true, Ordering::Relaxed);
            kill_all();
            return;
        }
        std::thread::sleep(MEMORY_EVERY);
    }
}

/// The resident bytes of a process; 0 if it is gone, or where there is no `/proc`.
fn resident(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Waits for the target, then ends what it left, then for that.
fn reap(target: Pid, is_out_of_memory: &AtomicBool) {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == target => {
                tell(&exited(status, is_out_of_memory.load(Ordering::Relaxed)));
                std::thread::spawn(kill_all);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // No children left.
            Err(_) => return,
        }
    }
}

fn exited(status: WaitStatus, oom: bool) -> News {
    let signal = status.terminating_signal();
    let code = status.exit_status().or(signal.map(|signal| 128 + signal)).unwrap_or(-1);
    News::Exited { code, signal, oom, mono_ns: mono_ns() }
}

/// Kills everything below this process, again and again until nothing is left (processes that
/// fork while they are killed). Bounded: 1,000 rounds, ten seconds.
fn kill_all() {
    for _ in 0..1_000 {
        let below = descendants(std::process::id());
        if below.is_empty() {
            return;
        }
        below.into_iter().for_each(|pid| send(pid, Signal::KILL));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The living processes below `root`, by `/proc`. Empty where there is none.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // `pid (name) state ppid ...`: the name may hold anything, so count from its end.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let (state, parent) =
            (fields.next(), fields.next().and_then(|parent| parent.parse::<u32>().ok()));
        if let (Some(state), Some(parent)) = (state, parent)
            && state != "Z"
        {
            parents.push((pid, parent));
        }
    }
    let mut below = vec![root];
    let mut at = 0;
    while at < below.len() {
        let parent = below[at];
        below.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    below.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_read_back() {
        for news in [
            News::Started { pid: 7, mono_ns: u64::MAX },
            News::Failed("no such file".into()),
            News::Exited { code: 143, signal: Some(15), oom: false, mono_ns: 1 },
            News::Exited { code: 137, signal: Some(9), oom: true, mono_ns: 1 },
            News::Exited { code: 0, signal: None, oom: false, mono_ns: 1 },
        ] {
            assert_eq!(News::parse(&news.line()), Some(news));
        }
        for line in ["", "started", "started x y", "exited 1", "hello world"] {
            assert_eq!(News::parse(line), None, "{line}");
        }
    }

    #[test]
    fn descendants_are_found_below_their_root_only() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
        assert!(descendants(std::process::id()).contains(&child.id()));
        assert!(!descendants(child.id()).contains(&child.id()));
        child.kill().expect("kills");
        child.wait().expect("reaps");
        assert!(!descendants(std::process::id()).contains(&child.id()));
    }
}
