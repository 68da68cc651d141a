//! The wait before a container is started again.

use crate::time::{Nanos, Timestamp};

/// The first wait; each one after doubles. *Source*: `pkg/kubelet/kubelet.go`, `initialBackOff`.
const FIRST: Nanos = Nanos::from_secs(10);
/// The longest wait. *Source*: `kubelet.go`, `MaxContainerBackOff`.
const LONGEST: Nanos = Nanos::from_secs(300);
/// An exit that is this far from the last start counts as the first one.
const FORGET: Nanos = Nanos::from_secs(600);

/// Back-off of a container's restarts: 0, 10, 20, 40 ... 300 s from each exit, clean or not.
///
/// *Source*: `kuberuntime_manager.go`, `doBackOff`; client-go `flowcontrol/backoff.go`.
#[derive(Clone, Debug, Default)]
pub(super) struct BackOff {
    /// The wait for the next exit, and when that was set.
    entry: Option<(Nanos, Timestamp)>,
}

impl BackOff {
    /// How long to wait, from an exit on, before the container is started again.
    pub(super) fn wait(&self, exited_at: Timestamp) -> Nanos {
        match self.entry {
            Some((wait, updated)) if exited_at.since(updated) <= FORGET => wait,
            _ => Nanos::ZERO,
        }
    }

    /// The container is started again, after that exit.
    pub(super) fn restart(&mut self, now: Timestamp, exited_at: Timestamp) {
        let wait = match self.wait(exited_at) {
            Nanos::ZERO => FIRST,
            wait => Nanos(wait.0 * 2).min(LONGEST),
        };
        self.entry = Some((wait, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn crash_after(up: u64, times: usize) -> Vec<u64> {
        let mut backoff = BackOff::default();
        let mut now = Timestamp::ZERO;
        let mut waits = Vec::new();
        for _ in 0..times {
            let exited_at = now + Nanos::from_secs(up);
            let wait = backoff.wait(exited_at);
            waits.push(wait.0 / crate::time::SECOND);
            now = exited_at + wait;
            backoff.restart(now, exited_at);
        }
        waits
    }

    #[test]
    fn waits_double_from_ten_seconds_to_five_minutes() {
        assert_eq!(crash_after(1, 9), [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn ten_minutes_between_start_and_exit_still_count() {
        assert_eq!(crash_after(600, 3), [0, 10, 20]);
    }

    #[test]
    fn more_than_ten_minutes_are_forgotten() {
        assert_eq!(crash_after(601, 3), [0, 0, 0]);
    }
}
