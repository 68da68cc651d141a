//! The wait before a container is started again.

use crate::time::{Nanos, Timestamp};

/// The first wait; each one after doubles. *Source*: `pkg/kubelet/kubelet.go`, `initialBackOff`.
const FIRST: Nanos = Nanos::from_secs(10);
/// The longest wait. *Source*: `kubelet.go`, `MaxContainerBackOff`.
const LONGEST: Nanos = Nanos::from_secs(300);
/// An exit that is this far from the last start counts as the first one.
const FORGET: Nanos = Nanos::from_secs(600);

/// The longest time from a sync of a pod to the next. *Source*: `kubelet.go`, `SyncFrequency`.
const RESYNC: Nanos = Nanos::from_secs(60);
/// How much longer than asked for the kubelet waits at most, as a share. *Source*: `pod_workers.go`,
/// `workerBackOffPeriodJitterFactor`.
const JITTER: f64 = 0.5;

/// Back-off of a container's restarts: 0, 10, 20, 40 ... 300 s from each exit, clean or not.
///
/// The kubelet starts a container that a probe's failures ended in the very sync that ended it. What
/// it knows then is older than that end, so the back-off counts from the exit before: who runs
/// longer than the wait is started again at once, and the first time nothing is counted.
///
/// *Source*: `kuberuntime_manager.go`, `SyncPod` and `doBackOff`; client-go `flowcontrol/backoff.go`;
/// seen on a real one (`tests/data/recorded/liveness-kills.jsonl`).
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

    /// The kubelet itself ended the container at `now`, after the exit `before`. Returns whether it
    /// starts it again at once.
    pub(super) fn passes_after_kill(&mut self, now: Timestamp, before: Option<Timestamp>) -> bool {
        let Some(before) = before else { return true };
        let passes = before + self.wait(before) <= now;
        if passes {
            self.restart(now, before);
        }
        passes
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

/// When the kubelet, at `now`, will start a container whose back-off is over at `due`: it comes back
/// to the pod up to half as late again as it has to, after a minute at the latest, in one of its
/// looks (`next_look`). `chance` is uniform between 0 and 1.
///
/// *Source*: `pod_workers.go`, `completeWork`; `kubelet.go`, `syncLoopIteration`.
pub(super) fn comes_back(
    now: Timestamp,
    due: Timestamp,
    mut chance: impl FnMut() -> f64,
    next_look: impl Fn(Timestamp) -> Timestamp,
) -> Timestamp {
    let mut at = now;
    while at < due {
        let wait = due.since(at).min(RESYNC);
        let late = Nanos((wait.0 as f64 * JITTER * chance()) as u64);
        at = next_look(at + wait + late);
    }
    at
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
    fn who_is_ended_by_a_probe_waits_by_the_exit_before() {
        // The exits that `tests/data/recorded/liveness-kills.jsonl` has, seconds.
        let (mut backoff, mut before) = (BackOff::default(), None);
        let passes = [14, 28, 42, 56].map(|exit| {
            let now = Timestamp::ZERO + Nanos::from_secs(exit);
            let passes = backoff.passes_after_kill(now, before.replace(now));
            (passes, backoff.wait(now).0 / crate::time::SECOND)
        });
        assert_eq!(passes, [(true, 0), (true, 10), (true, 20), (false, 20)]);
    }

    #[test]
    fn the_kubelet_comes_back_late_and_never_early() {
        let at = |seconds: u64| Timestamp::ZERO + Nanos::from_secs(seconds);
        let back = |due: u64, chance: f64| {
            let look = |after: Timestamp| at(after.second() + 1);
            comes_back(at(1), at(due), || chance, look).second()
        };
        assert_eq!(back(1, 1.0), 1);
        assert_eq!(back(11, 0.0), 12, "the next look");
        assert_eq!(back(11, 1.0), 17, "half as late again");
        assert_eq!(back(161, 1.0), 183, "a minute and its half, twice");
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
