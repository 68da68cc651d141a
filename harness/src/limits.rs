//! The limits of this machine that a generator may run into.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::record::Limits;

/// The first and the last port that outgoing connections draw from; `None` where it cannot be told.
pub fn ephemeral_ports() -> Option<(u16, u16)> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = range.split_whitespace().map(str::parse);
    Some((ports.next()?.ok()?, ports.next()?.ok()?))
}

/// The limits; 0 where they cannot be told.
pub fn of_machine() -> Limits {
    let ports = ephemeral_ports()
        .map_or(0, |(first, last)| u64::from(last).saturating_sub(u64::from(first)) + 1);
    Limits {
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
        descriptors: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        ports,
    }
}

/// Open files of this process; 0 where they cannot be counted.
pub fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

/// What a run holds open beside its connections and pods, with some room: pipes, sockets and epoll
/// sets of two runtimes and the engine, and its files. Below that tokio panics as it starts.
const DESCRIPTORS_MIN: u64 = 40;

/// Fewer files may be opened than a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only {free} more open files are allowed, and a run needs {DESCRIPTORS_MIN} beside its \
     connections; raise the limit (ulimit -n)"
)]
pub struct TooFewDescriptors {
    free: u64,
}

/// Checks that a run can begin.
///
/// # Errors
/// If too few files may be opened.
pub fn check_descriptors() -> Result<(), TooFewDescriptors> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let free = limit.saturating_sub(open_descriptors());
    if free < DESCRIPTORS_MIN { Err(TooFewDescriptors { free }) } else { Ok(()) }
}

/// Raises the limit on open files as far as the hard limit allows: the usual soft limit of 1,024
/// is soon reached with a connection for each request in flight. A refusal leaves things as they
/// were.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
