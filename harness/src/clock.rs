//! The monotonic clock of a run. Shells read it; nothing pure does.

use highwater_model::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Maps the machine's monotonic clock to the run's axis. All processes of a machine share that
/// clock, so what pods and proxies say of time is comparable to the nanosecond.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start_mono_ns: u64,
}

/// The machine's monotonic clock, nanoseconds.
pub fn mono_ns() -> u64 {
    ns(clock_gettime(ClockId::Monotonic))
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
        Self { start_mono_ns: mono_ns() }
    }

    /// Now, on the run's axis.
    pub fn now(&self) -> Timestamp {
        self.at(mono_ns())
    }

    /// The instant of a reading of the machine's monotonic clock; the start for earlier ones.
    pub fn at(&self, mono_ns: u64) -> Timestamp {
        Timestamp(mono_ns.saturating_sub(self.start_mono_ns))
    }

    /// The reading of the machine's monotonic clock at the run's start.
    pub fn start_mono_ns(&self) -> u64 {
        self.start_mono_ns
    }
}
