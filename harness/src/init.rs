//! A tiny init for the bundled container, so that a scenario can kill the service inside it.
//!
//! The kernel delivers no SIGKILL to PID 1 from inside its own namespace, and SIGTERM only if it
//! has a handler (pid_namespaces(7)), so `kubectl exec ... kill -9 1` does nothing. With
//! `highwater init -- COMMAND` as PID 1 the service is an ordinary process, and
//! `highwater signal-child SIGKILL`, run in the same container, ends it; the container then ends as
//! it would have with the service as PID 1: with its exit code, or 128 + the signal.
//!
//! 1. [`main`]: starts the command, passes signals on, reaps whatever is left to it
//! 2. [`signal_child`]: finds the command's process by `/proc` and sends it a signal

use std::{
    fs, io,
    process::{Command, ExitCode},
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::complain;

/// The command does not exist; as shells say it.
const NOT_FOUND: u8 = 127;
/// The command exists and cannot be started; as shells say it.
const NOT_EXECUTABLE: u8 = 126;
/// Nothing could be started, for a reason of the init's own.
const BROKEN: u8 = 125;
/// There is no process to signal.
const NO_CHILD: u8 = 3;
/// There is one, and it may not be signalled.
const NOT_ALLOWED: u8 = 4;

/// What is passed on: all that asks a process to do something. Not SIGCHLD, which is the init's
/// own, and not SIGPIPE or the faults, which are about the process that gets them.
const FORWARDED: [Signal; 8] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TERM,
    Signal::ALARM,
    Signal::WINCH,
];

/// The init cannot do its work.
#[derive(Debug, thiserror::Error)]
enum InitError {
    /// Nothing runs.
    #[error("init: starting `{program}`: {source}")]
    Start {
        /// What.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing runs, either.
    #[error("init: receiving signals: {0}")]
    Signals(#[source] io::Error),
}

impl InitError {
    fn code(&self) -> u8 {
        match self {
            Self::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => NOT_FOUND,
            Self::Start { .. } => NOT_EXECUTABLE,
            Self::Signals(_) => BROKEN,
        }
    }
}

/// Runs `command` as its only service, until that ends; its exit code, or 128 + the signal that
/// ended it. What it leaves behind is reaped meanwhile; as PID 1, the kernel ends it with the init.
///
/// Codes of its own, as shells have them: 127 and 126 if the command does not exist or cannot be
/// started, 125 if the init cannot work.
pub fn main(command: &[String]) -> ExitCode {
    #[cfg(target_os = "linux")]
    // As PID 1 it adopts orphans anyway; else (in tests) it asks to.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended =
        runtime.map_err(InitError::Signals).and_then(|runtime| runtime.block_on(run(command)));
    ExitCode::from(ended.unwrap_or_else(|error| {
        complain(&error);
        error.code()
    }))
}

async fn run(command: &[String]) -> Result<u8, InitError> {
    // Before the start: a signal that comes in between waits, and no end is missed.
    let mut ends = signal(SignalKind::child()).map_err(InitError::Signals)?;
    let (send, mut signals) = tokio::sync::mpsc::channel(FORWARDED.len());
    for kind in FORWARDED {
        let mut arrivals =
            signal(SignalKind::from_raw(kind.as_raw())).map_err(InitError::Signals)?;
        let send = send.clone();
        tokio::spawn(async move {
            while arrivals.recv().await.is_some() && send.send(kind).await.is_ok() {}
        });
    }
    let service = start(command)?;
    loop {
        tokio::select! {
            // The handlers live as long as the runtime.
            Some(kind) = signals.recv() => {
                // It may have ended just now; then its end is the next to come.
                let _ = kill_process(service, kind);
            }
            _ = ends.recv() => if let Some(code) = reap(service) { return Ok(code) },
        }
    }
}

fn start(command: &[String]) -> Result<Pid, InitError> {
    let (program, arguments) =
        command.split_first().map_or(("", &[][..]), |(program, rest)| (program, rest));
    let child = Command::new(program).args(arguments).spawn();
    // Dropping the handle neither kills nor waits: `reap` waits for all.
    child
        .map(|child| Pid::from_child(&child))
        .map_err(|source| InitError::Start { program: program.into(), source })
}

/// Takes all ends that wait, as signals of the same kind merge into one; the service's, if it is
/// among them. Bounded by the processes that have ended.
fn reap(service: Pid) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == service {
            code = code.or(exit_code(status));
        }
    }
    code
}

/// The exit code, or 128 + the signal; `None` for a status that is no end.
fn exit_code(status: WaitStatus) -> Option<u8> {
    let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal))?;
    // Exit codes have 8 bits, and the highest signal is 64.
    u8::try_from(code).ok()
}

/// A signal that ends a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EndingSignal {
    /// Asks it to end
    #[value(name = "SIGTERM", alias = "TERM")]
    Term,
    /// Ends it
    #[value(name = "SIGKILL", alias = "KILL")]
    Kill,
}

/// A service cannot be signalled.
#[derive(Debug, thiserror::Error)]
enum SignalError {
    /// It has ended, or this is no container of ours.
    #[error("signal-child: process {of} has no living child; is `highwater init` its command?")]
    NoChild {
        /// Whose.
        of: u32,
    },
    /// It runs as somebody else.
    #[error("signal-child: signalling process {pid}: {source}")]
    NotAllowed {
        /// Which.
        pid: u32,
        /// Why.
        #[source]
        source: rustix::io::Errno,
    },
}

/// Sends a signal to the service below the init with pid `of`. Exit codes: 0 sent; 3 there is no
/// such process; 4 there is one, and it may not be signalled.
pub fn signal_child(kind: EndingSignal, of: u32) -> ExitCode {
    match send(kind, of) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(match error {
                SignalError::NoChild { .. } => NO_CHILD,
                SignalError::NotAllowed { .. } => NOT_ALLOWED,
            })
        }
    }
}

fn send(kind: EndingSignal, of: u32) -> Result<(), SignalError> {
    let child = service_of(of).ok_or(SignalError::NoChild { of })?;
    let pid =
        i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(SignalError::NoChild { of })?;
    let kind = match kind {
        EndingSignal::Term => Signal::TERM,
        EndingSignal::Kill => Signal::KILL,
    };
    kill_process(pid, kind).map_err(|source| match source {
        // It ended between the look and the signal.
        rustix::io::Errno::SRCH => SignalError::NoChild { of },
        source => SignalError::NotAllowed { pid: child, source },
    })
}

/// The pid of the init's service: of its living children the eldest. Orphans that it adopted are
/// children, too, and are all younger, for the service was there before it left any. `None` if
/// there is none, or no `/proc`.
///
/// It looks at the parent of each process, as not every kernel lists children
/// (`/proc/PID/task/TID/children` needs CONFIG_PROC_CHILDREN).
fn service_of(init: u32) -> Option<u32> {
    let children = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = Stat::parse(&fs::read_to_string(entry.path().join("stat")).ok()?)?;
        (stat.parent == init && stat.is_living).then_some((stat.birth, pid))
    });
    children.min().map(|(_, pid)| pid)
}

/// What `/proc/PID/stat` says of a process. *Source*: proc_pid_stat(5), fields 3, 4 and 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// Not a zombie.
    is_living: bool,
    parent: u32,
    /// Clock ticks since boot.
    birth: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // `pid (name) state ppid ...`: the name may hold anything, so count from its end.
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let is_living = !matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        Some(Self { is_living, parent, birth: fields.nth(17)?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let rest = "17 17 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 11 12";
        for (line, is_living) in [
            (format!("42 (sleep) S 1 {rest}"), true),
            (format!("42 (a) Z 9 (b)) R 1 {rest}\n"), true),
            (format!("42 (sleep) Z 1 {rest}"), false),
        ] {
            let stat = Stat { is_living, parent: 1, birth: 987_654 };
            assert_eq!(Stat::parse(&line), Some(stat), "{line}");
        }
        for line in ["", "42 (sleep", "42 (sleep) S", "42 (sleep) S x y", "42 (sleep) S 1 17"] {
            assert_eq!(Stat::parse(line), None, "{line}");
        }
    }
}
