//! Is this machine fit to measure?

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
};

use rustix::process::{Resource, getrlimit};

use crate::{clock::mono_ns, record::Limits};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Fit.
    Ok,
    /// Fit, with a caution.
    Warn,
    /// Not fit.
    Fail,
}

/// One check of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it ended.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do, if anything.
    pub advice: &'static str,
}

/// Descriptors below which a run at usual rates may run out.
const DESCRIPTORS_WISHED: u64 = 4_096;
/// Local ports below which a run without keep-alive may run out.
const PORTS_WISHED: u64 = 20_000;
/// A sleep of a tenth of a millisecond that takes longer than this makes pacing coarse.
const SLEEP_NS_WISHED: u64 = 1_000_000;

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_string())
}

fn numbers(path: &str) -> Vec<u64> {
    read(path).unwrap_or_default().split_whitespace().filter_map(|part| part.parse().ok()).collect()
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

fn ports() -> u64 {
    match numbers("/proc/sys/net/ipv4/ip_local_port_range")[..] {
        [first, last] => last.saturating_sub(first) + 1,
        _ => 0,
    }
}

/// The limits that a generator on this machine may run into; 0 where they cannot be told.
pub fn limits() -> Limits {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Limits { cores: cores(), descriptors, ports: ports() }
}

/// Looks at the machine.
pub fn examine() -> Vec<Check> {
    let limits = limits();
    let mut checks = vec![
        rate("processors", limits.cores, 2, "", "Target and load engine will share one core."),
        rate(
            "open files allowed",
            limits.descriptors,
            DESCRIPTORS_WISHED,
            "",
            "Raise it: ulimit -n 65536.",
        ),
        rate(
            "local ports",
            limits.ports,
            PORTS_WISHED,
            "",
            "Widen net.ipv4.ip_local_port_range for runs without keep-alive.",
        ),
        load_average(limits.cores),
        pacing(),
        loopback(),
    ];
    checks.push(match fs::read_dir("/proc/self/fd") {
        Ok(_) => check("/proc", Status::Ok, "readable".into(), ""),
        Err(error) => check(
            "/proc",
            Status::Warn,
            error.to_string(),
            "Daemons that a target leaves behind cannot be found without it.",
        ),
    });
    let writable = fs::metadata("/sys/fs/cgroup/cgroup.subtree_control")
        .is_ok_and(|meta| !meta.permissions().readonly());
    checks.push(check(
        "CPU and memory limits of pods",
        Status::Ok,
        if writable { "cgroup v2 is there; not used by this version" } else { "not enforced here" }
            .into(),
        "",
    ));
    checks
}

fn check(name: &'static str, status: Status, found: String, advice: &'static str) -> Check {
    let advice = if status == Status::Ok { "" } else { advice };
    Check { name, status, found, advice }
}

fn rate(name: &'static str, found: u64, wished: u64, unit: &str, advice: &'static str) -> Check {
    let status = if found >= wished { Status::Ok } else { Status::Warn };
    check(name, status, format!("{found}{unit}"), advice)
}

fn load_average(cores: u64) -> Check {
    let name = "load average";
    let Some(load) =
        read("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
    else {
        return check(name, Status::Ok, "cannot be told here".into(), "");
    };
    let status = if load < cores as f64 * 0.7 { Status::Ok } else { Status::Warn };
    check(
        name,
        status,
        format!("{load} on {cores} cores"),
        "Others work on this machine; latency will show it.",
    )
}

/// How long a sleep of 0.1 ms takes, the median of 21.
fn pacing() -> Check {
    let mut took: Vec<u64> = (0..21)
        .map(|_| {
            let before = mono_ns();
            std::thread::sleep(std::time::Duration::from_micros(100));
            mono_ns() - before
        })
        .collect();
    took.sort_unstable();
    let median = took[took.len() / 2];
    let status = if median <= SLEEP_NS_WISHED { Status::Ok } else { Status::Warn };
    check(
        "a sleep of 0.10 ms takes",
        status,
        format!("{:.2} ms", median as f64 / 1e6),
        "Timers are coarse here; sends will be late by as much.",
    )
}

fn loopback() -> Check {
    match TcpListener::bind((Ipv4Addr::new(127, 1, 0, 1), 0)) {
        Ok(_) => check("an address for each pod", Status::Ok, "127.1.0.N".into(), ""),
        Err(error) => check(
            "an address for each pod",
            Status::Warn,
            error.to_string(),
            "Pods share 127.0.0.1: a service that binds 127.0.0.1 only is not caught here.",
        ),
    }
}

/// The checks as a table.
pub fn render(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let lines = checks.iter().map(|check| {
        let mark = match check.status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        let advice =
            if check.advice.is_empty() { String::new() } else { format!("  ({})", check.advice) };
        format!("{mark}  {:<width$}  {}{advice}\n", check.name, check.found)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_something_to_say() {
        let checks = examine();
        assert!(checks.len() >= 7);
        assert!(checks.iter().all(|check| !check.found.is_empty()));
    }

    #[test]
    fn the_table_shows_advice_only_where_it_is_needed() {
        let checks = [
            check("a", Status::Ok, "1".into(), "never shown"),
            check("long name", Status::Warn, "2".into(), "Do this."),
        ];
        assert_eq!(render(&checks), "ok    a          1\nwarn  long name  2  (Do this.)\n");
    }
}
