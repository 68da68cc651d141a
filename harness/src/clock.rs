//! The monotonic clock of a run. Shells read it; nothing pure does.

use highwater_model::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Maps the machine's monotonic clock to the run's axis. All processes of a machine share that
/// clock, so what pods and proxies say of time is comparable to the nanosecond.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start_mono_ns: i64,
}

/// The machine's monotonic clock, nanoseconds.
pub fn mono_ns() -> u64 {
    ns(clock_gettime(ClockId::Monotonic))
}

/// The machine's wall clock, nanoseconds since 1970. It may jump: never for a decision.
pub fn wall_ns() -> u64 {
    ns(clock_gettime(ClockId::Realtime))
}

/// CPU time of this thread, nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    ns(clock_gettime(ClockId::ThreadCPUTime))
}

/// CPU time of this process, nanoseconds.
pub fn process_cpu_ns() -> u64 {
    ns(clock_gettime(ClockId::ProcessCPUTime))
}

fn ns(time: rustix::time::Timespec) -> u64 {
    (time.tv_sec.max(0) as u64) * 1_000_000_000 + time.tv_nsec as u64
}

impl RunClock {
    /// A clock that is zero now.
    pub fn start() -> Self {
        Self::with_start(signed(mono_ns()))
    }

    /// A clock that is zero when the machine's monotonic clock reads `start_mono_ns`. For a run
    /// that another machine began it may be negative: this one was booted later.
    pub const fn with_start(start_mono_ns: i64) -> Self {
        Self { start_mono_ns }
    }

    /// Now, on the run's axis.
    pub fn now(&self) -> Timestamp {
        self.at(mono_ns())
    }

    /// The instant of a reading of the machine's monotonic clock; the start for earlier ones.
    pub fn at(&self, mono_ns: u64) -> Timestamp {
        let since = signed(mono_ns).saturating_sub(self.start_mono_ns);
        Timestamp(u64::try_from(since).unwrap_or(0))
    }

    /// The reading of the machine's monotonic clock at an instant.
    pub fn mono_ns(&self, at: Timestamp) -> u64 {
        u64::try_from(self.start_mono_ns.saturating_add(signed(at.0))).unwrap_or(0)
    }

    /// The reading of the machine's monotonic clock at the run's start.
    pub const fn start_mono_ns(&self) -> i64 {
        self.start_mono_ns
    }
}

/// A clock's reading as a signed number; 292 years fit.
pub fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_count_from_a_start_on_either_side_of_the_boot() {
        for (start, mono, at) in [(100, 350, 250), (100, 40, 0), (-100, 350, 450), (-100, 0, 100)] {
            assert_eq!(RunClock::with_start(start).at(mono), Timestamp(at), "{start} {mono}");
            if at > 0 {
                assert_eq!(
                    RunClock::with_start(start).mono_ns(Timestamp(at)),
                    mono,
                    "{start} {mono}"
                );
            }
        }
    }
}
