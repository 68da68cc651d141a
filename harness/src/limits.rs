//! The limits of this machine that a generator may run into.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::record::Limits;

/// The limits; 0 where they cannot be told.
pub fn of_machine() -> Limits {
    let range =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let range: Vec<u64> = range.split_whitespace().filter_map(|part| part.parse().ok()).collect();
    let ports = match range[..] {
        [first, last] => last.saturating_sub(first) + 1,
        _ => 0,
    };
    Limits {
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
        descriptors: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        ports,
    }
}

/// Raises the limit on open files as far as the hard limit allows: the usual soft limit of 1,024
/// is soon reached with a connection for each request in flight. A refusal leaves things as they
/// were.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
