//! Cores, load, clock, timer, accounting, limits.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{Check, read_small};

/// Open files that a run of the default `maxConnections` (1000) needs: both ends of each
/// connection, each pod's own, and room.
const OPEN_FILES_WANTED: u64 = 4096;
/// How late a sleep may end at the median before scheduled instants blur: the bar for schedule
/// slip is 0.2 ms at p99.9 with a spinning pacer, and a sleeping one corrects up to this.
const TIMER_LATE_WARN: Duration = Duration::from_micros(500);
/// Later than this, latencies of milliseconds mean nothing.
const TIMER_LATE_FAIL: Duration = Duration::from_millis(5);
const SLEEPS: u32 = 50;

pub(super) fn examine() -> Vec<Check> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut checks = vec![cores_check(cores)];
    checks.extend(load_check(read_small("/proc/loadavg").as_deref(), cores));
    checks.push(open_files_check());
    checks.extend(clock_source_check());
    checks.push(timer_check(&sleeps_late()));
    checks.push(accounting_check(read_small("/proc/self/stat").as_deref()));
    checks.push(cgroup_check(read_small("/proc/self/cgroup").as_deref()));
    checks.push(governor_check(
        read_small("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").as_deref(),
    ));
    checks
}

fn cores_check(cores: usize) -> Check {
    let found = format!("{cores}");
    if cores >= 2 {
        return Check::ok("cores", found);
    }
    Check::warn(
        "cores",
        found,
        "generator and service share one core and disturb each other; keep rates low",
    )
}

/// `text` is `/proc/loadavg`; no check where there is none.
fn load_check(text: Option<&str>, cores: usize) -> Option<Check> {
    let load: f64 = text?.split_whitespace().next()?.parse().ok()?;
    let found = format!("{load:.2} over the last minute, {cores} cores");
    Some(if load <= cores as f64 * 0.5 {
        Check::ok("load average", found)
    } else {
        Check::warn(
            "load average",
            found,
            "other work takes part in the measurement; end it, or wait a minute",
        )
    })
}

#[cfg(unix)]
fn open_files_check() -> Check {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile);
    let told = |limit: Option<u64>| limit.map_or("no limit".into(), |limit| limit.to_string());
    let found = format!("{} (may be raised to {})", told(limit.current), told(limit.maximum));
    if limit.current.is_none_or(|limit| limit >= OPEN_FILES_WANTED) {
        return Check::ok("open files", found);
    }
    let advice = format!(
        "each connection takes one or two; run `ulimit -n {OPEN_FILES_WANTED}` or lower \
         traffic.maxConnections"
    );
    Check::warn("open files", found, advice)
}

#[cfg(not(unix))]
fn open_files_check() -> Check {
    Check::ok("open files", "not limited per process on this system")
}

fn clock_source_check() -> Option<Check> {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let found = read_small(source)?;
    Some(
        if ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"]
            .contains(&found.as_str())
        {
            Check::ok("clock source", found)
        } else {
            Check::warn(
                "clock source",
                found,
                "reading the time is slow (a system call); high rates cost more CPU than they should",
            )
        },
    )
}

/// How much later than asked each of some sleeps of a millisecond ended, sorted.
fn sleeps_late() -> Vec<Duration> {
    let span = Duration::from_millis(1);
    let mut late: Vec<Duration> = (0..SLEEPS)
        .map(|_| {
            #[expect(clippy::disallowed_methods, reason = "a measurement of the clock itself")]
            let began = Instant::now();
            thread::sleep(span);
            began.elapsed().saturating_sub(span)
        })
        .collect();
    late.sort_unstable();
    late
}

fn timer_check(late: &[Duration]) -> Check {
    let (Some(median), Some(worst)) = (late.get(late.len() / 2), late.last()) else {
        return Check::warn("timer", "not measured", "run it again");
    };
    let ms = |span: &Duration| span.as_secs_f64() * 1e3;
    let found = format!(
        "a sleep of 1 ms ends {:.3} ms late (median), {:.3} ms at worst",
        ms(median),
        ms(worst)
    );
    if *median >= TIMER_LATE_FAIL {
        Check::fail("timer", found, "latencies below 50 ms mean nothing here; use another machine")
    } else if *median >= TIMER_LATE_WARN || *worst >= TIMER_LATE_FAIL {
        Check::warn("timer", found, "end other work; each run reports its own schedule slip")
    } else {
        Check::ok("timer", found)
    }
}

/// `text` is `/proc/self/stat`: where the CPU time of pods comes from.
fn accounting_check(text: Option<&str>) -> Check {
    // The fields after the command in parentheses; utime is the 12th of them (proc(5)).
    let utime = text
        .and_then(|text| text.rsplit_once(") ")?.1.split(' ').nth(11))
        .and_then(|ticks| ticks.parse::<u64>().ok());
    match utime {
        Some(_) => Check::ok("process accounting", "/proc can be read"),
        None => Check::warn(
            "process accounting",
            "/proc cannot be read",
            "CPU of the pods stays unknown, so local runs cannot drive an autoscaler by CPU",
        ),
    }
}

/// `text` is `/proc/self/cgroup`. Whether a cgroup with a CPU limit can be made is tried.
fn cgroup_check(text: Option<&str>) -> Check {
    let name = "cpu and memory limits";
    let path = text.and_then(|text| text.lines().find_map(|line| line.strip_prefix("0::")));
    let Some(path) = path else {
        return Check::warn(name, "not enforced: no cgroup v2", cgroup_advice());
    };
    let own = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    let probe: PathBuf = own.join(format!("highwater-doctor-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&probe) {
        let found = format!("not enforced: {} cannot be written ({error})", own.display());
        return Check::warn(name, found, cgroup_advice());
    }
    let has_cpu = probe.join("cpu.max").exists() && probe.join("memory.max").exists();
    let removed = fs::remove_dir(&probe);
    match (has_cpu, removed) {
        (true, Ok(())) => Check::ok(name, "enforced with cgroup v2"),
        (false, Ok(())) => Check::warn(
            name,
            format!("not enforced: {} does not hand cpu and memory on", own.display()),
            cgroup_advice(),
        ),
        (_, Err(error)) => {
            let advice = format!("remove {} by hand", probe.display());
            Check::warn(name, format!("a trial cgroup stayed behind ({error})"), advice)
        }
    }
}

fn cgroup_advice() -> &'static str {
    "local runs say so and go on without; try `systemd-run --user --scope -p Delegate=yes`"
}

fn governor_check(governor: Option<&str>) -> Check {
    let name = "cpu frequency";
    match governor {
        None => Check::ok(name, "governor not visible, as on most virtual machines"),
        Some("performance" | "schedutil") => {
            Check::ok(name, format!("governor {}", governor.unwrap_or_default()))
        }
        Some(other) => Check::warn(
            name,
            format!("governor {other}"),
            "short requests may meet a slow clock; `cpupower frequency-set -g performance`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn load_counts_against_the_cores() {
        let status = |text, cores| load_check(Some(text), cores).map(|check| check.status);
        assert_eq!(status("0.50 0.40 0.30 1/200 1", 2), Some(Status::Ok));
        assert_eq!(status("1.50 0.40 0.30 1/200 1", 2), Some(Status::Warn));
        assert_eq!(status("", 2), None);
        assert_eq!(load_check(None, 2), None);
    }

    #[test]
    fn late_timers_weaken_and_very_late_ones_end_the_trust() {
        let status = |micros: &[u64]| {
            let late: Vec<_> = micros.iter().map(|late| Duration::from_micros(*late)).collect();
            timer_check(&late).status
        };
        assert_eq!(status(&[50, 60, 70]), Status::Ok);
        assert_eq!(status(&[50, 600, 700]), Status::Warn);
        assert_eq!(status(&[50, 60, 9_000]), Status::Warn);
        assert_eq!(status(&[50, 6_000, 9_000]), Status::Fail);
        assert_eq!(status(&[]), Status::Warn);
    }

    #[test]
    fn accounting_reads_past_a_command_with_spaces_and_parentheses() {
        let line = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 12 3 0 0 20 0 1 0 5 100 1";
        assert_eq!(accounting_check(Some(line)).status, Status::Ok);
        assert_eq!(accounting_check(Some("7 (a")).status, Status::Warn);
        assert_eq!(accounting_check(None).status, Status::Warn);
    }

    #[test]
    fn limits_and_governors_that_are_not_there_are_said() {
        assert_eq!(cgroup_check(None).status, Status::Warn);
        assert_eq!(cgroup_check(Some("4:cpu:/a\n")).status, Status::Warn);
        assert_eq!(cgroup_check(Some("0::/no/such/group")).status, Status::Warn);
        assert_eq!(governor_check(None).status, Status::Ok);
        assert_eq!(governor_check(Some("performance")).status, Status::Ok);
        assert_eq!(governor_check(Some("powersave")).status, Status::Warn);
    }
}
