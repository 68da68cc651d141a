//! The CPU of one container: cores, and a quota as the kernel enforces it.
//!
//! *Source*: kernel `Documentation/scheduler/sched-bwc.rst` (a quota per period of 100 ms; who has
//! used it waits for the next period).

use alloc::{vec, vec::Vec};

use crate::time::{Nanos, Timestamp};

/// The kernel's default period, and Kubernetes'.
const PERIOD: u64 = 100_000_000;

/// The CPU of one container. Work is taken in the order in which it comes, each piece on the core
/// that is free first.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    /// When each core is free.
    free: Vec<Timestamp>,
    quota: Option<Quota>,
    /// All work taken so far.
    taken: u64,
}

#[derive(Clone, Debug)]
struct Quota {
    /// CPU time per period.
    per_period: u64,
    /// The first period of `used`.
    first: u64,
    /// CPU time given out, by period from `first` on.
    used: Vec<u64>,
}

impl Cpu {
    /// `limit` in thousandths of a core.
    pub(crate) fn new(now: Timestamp, cores: u32, limit: Option<u64>) -> Self {
        let quota = limit.map(|milli| Quota {
            per_period: (milli * PERIOD / 1_000).max(1),
            first: now.0 / PERIOD,
            used: Vec::new(),
        });
        Self { free: vec![now; cores.max(1) as usize], quota, taken: 0 }
    }

    /// Takes `work` at `now`; when it is done.
    #[inline]
    pub(crate) fn run(&mut self, now: Timestamp, work: Nanos) -> Timestamp {
        if work == Nanos::ZERO {
            return now;
        }
        self.taken += work.0;
        let (mut core, mut first) = (0, Timestamp::MAX);
        for (index, free) in self.free.iter().enumerate() {
            if *free < first {
                (core, first) = (index, *free);
            }
        }
        let start = first.max(now);
        let end = match &mut self.quota {
            None => start + work,
            Some(quota) => quota.run(now, start, work.0),
        };
        self.free[core] = end;
        end
    }

    /// CPU time used until `now`: all that was taken without what is still to be done. Exact
    /// without a quota; with one it may be off by what one period has.
    pub(super) fn used(&self, now: Timestamp) -> u64 {
        let ahead: u64 = match &self.quota {
            None => self.free.iter().map(|free| free.since(now).0).sum(),
            Some(quota) => quota.ahead(now, self.free.len() as u64),
        };
        self.taken.saturating_sub(ahead)
    }
}

impl Quota {
    fn run(&mut self, now: Timestamp, start: Timestamp, work: u64) -> Timestamp {
        self.forget(now.0 / PERIOD);
        let (mut at, mut left) = (start.0, work);
        loop {
            let period = at / PERIOD;
            let place = (period - self.first) as usize;
            if self.used.len() <= place {
                self.used.resize(place + 1, 0);
            }
            let end = (period + 1) * PERIOD;
            let slice = left.min(self.per_period - self.used[place]).min(end - at);
            self.used[place] += slice;
            left -= slice;
            at += slice;
            if left == 0 {
                return Timestamp(at);
            }
            // Its quota is used up, or the period is over.
            at = end;
        }
    }

    /// CPU time given out that is not used by `now`. In its own period the work is taken to be at its
    /// beginning.
    fn ahead(&self, now: Timestamp, cores: u64) -> u64 {
        let (current, into) = (now.0 / PERIOD, now.0 % PERIOD);
        let ahead = self.used.iter().zip(self.first..).map(|(used, period)| match period {
            past if past < current => 0,
            present if present == current => used.saturating_sub(into * cores),
            _ => *used,
        });
        ahead.sum()
    }

    /// Periods before `current` can be given out no more.
    fn forget(&mut self, current: u64) {
        let past = current.saturating_sub(self.first) as usize;
        if past > 0 {
            self.used.drain(..past.min(self.used.len()));
            self.first = current;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * MS)
    }

    #[test]
    fn work_is_done_in_order_on_the_core_that_is_free_first() {
        let mut cpu = Cpu::new(at(0), 2, None);
        let work = Nanos(10 * MS);
        let ends: Vec<u64> = (0..4).map(|_| cpu.run(at(5), work).0 / MS).collect();
        assert_eq!(ends, [15, 15, 25, 25]);
        assert_eq!((cpu.used(at(5)), cpu.used(at(20)), cpu.used(at(25))), (0, 30 * MS, 40 * MS));
        assert_eq!(cpu.run(at(100), Nanos::ZERO), at(100));
    }

    #[test]
    fn what_waits_for_its_quota_is_not_used_yet_and_what_was_used_counts() {
        // A tenth of a core and a backlog of 10 s of it: 1 s of CPU.
        let mut cpu = Cpu::new(at(0), 2, Some(100));
        for _ in 0..100 {
            cpu.run(at(0), Nanos(10 * MS));
        }
        // 10 ms in each period of 100 ms, whatever waits behind.
        let used: Vec<u64> =
            [50, 150, 1_050, 5_050, 9_999, 20_000].map(|ms| cpu.used(at(ms)) / MS).into();
        assert_eq!(used, [10, 20, 110, 510, 1_000, 1_000]);
        // More work does not take away from what was used.
        cpu.run(at(5_050), Nanos(10 * MS));
        assert_eq!(cpu.used(at(5_050)) / MS, 510);
    }

    #[test]
    fn a_quota_throttles_until_the_next_period() {
        // Half a core: 50 ms in each 100 ms.
        let mut cpu = Cpu::new(at(0), 2, Some(500));
        assert_eq!(cpu.run(at(0), Nanos(40 * MS)), at(40));
        // 10 ms are left in this period; the rest comes with the next one.
        assert_eq!(cpu.run(at(50), Nanos(30 * MS)), at(120));
        // That one has 30 ms left.
        assert_eq!(cpu.run(at(130), Nanos(30 * MS)), at(160));
        assert_eq!(cpu.run(at(170), Nanos(1)), Timestamp(200 * MS + 1));
        // Work of several periods.
        assert_eq!(cpu.run(at(300), Nanos(120 * MS)), at(520));
    }
}
