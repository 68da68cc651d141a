//! One pod as its kubelet sees it: start, restarts with back-off, and the termination sequence.
//!
//! *Source*: kubernetes v1.35 `pkg/kubelet/kuberuntime/kuberuntime_container.go` (termination),
//! `kuberuntime_manager.go` and client-go `util/flowcontrol/backoff.go` (restarts).

use alloc::{string::String, vec::Vec};

use super::prober::Worker;
use crate::{
    event::{DeleteReason, ProbeKind},
    spec::LifecycleHandler,
    time::{Nanos, SECOND, Timestamp},
};

/// The first wait of the restart back-off; the very first restart does not wait.
const BACK_OFF_FIRST: Nanos = Nanos(10 * SECOND);
/// The longest wait of the restart back-off.
const BACK_OFF_MAX: Nanos = Nanos(300 * SECOND);
/// What the budget between SIGTERM and SIGKILL is raised to.
const STOP_BUDGET_MIN: Nanos = Nanos(2 * SECOND);

/// Where a pod's container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Not asked for yet (scheduling, sandbox).
    Waiting,
    /// Asked for; the process is not there yet.
    Starting,
    /// The process runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// The process has ended, and the kubelet has not noticed.
    Ended {
        /// When it ended.
        at: Timestamp,
    },
    /// The kubelet waits with the next start.
    BackOff,
    /// No container will come any more.
    Over,
}

/// The termination of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Its whole budget.
    pub grace: Nanos,
    /// Where it is.
    pub stage: StopStage,
}

/// Stages of a termination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopStage {
    /// The kubelet has not begun.
    Asked,
    /// The preStop hook runs.
    PreStop {
        /// Since when.
        since: Timestamp,
    },
    /// SIGTERM was sent.
    Terminating {
        /// When SIGKILL comes.
        kill_at: Timestamp,
    },
    /// SIGKILL was sent.
    Killed,
}

/// A deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When it was requested.
    pub at: Timestamp,
    /// Who wanted it.
    pub reason: DeleteReason,
}

/// One pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// The revision of its template.
    pub revision: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Where its container is.
    pub container: ContainerState,
    /// Containers before this one.
    pub restarts: u32,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
    /// Its deletion.
    pub deletion: Option<Deletion>,
    /// The termination of its container.
    pub stop: Option<Stop>,
    /// The probes of its container.
    pub workers: Vec<Worker>,
    /// The next wait of the back-off, and when that was set.
    back_off: Option<(Nanos, Timestamp)>,
}

impl Pod {
    /// A new pod.
    pub fn new(number: u32, name: String, revision: u32, now: Timestamp) -> Self {
        Self {
            number,
            name,
            revision,
            created: now,
            container: ContainerState::Waiting,
            restarts: 0,
            ready_since: None,
            deletion: None,
            stop: None,
            workers: Vec::new(),
            back_off: None,
        }
    }

    /// Whether its controller counts it.
    pub fn is_active(&self) -> bool {
        self.deletion.is_none()
    }

    /// Its Ready condition.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// Whether it has an address that a slice can hold.
    pub fn has_address(&self) -> bool {
        match self.container {
            ContainerState::Running { .. } | ContainerState::Ended { .. } => true,
            ContainerState::BackOff => true,
            ContainerState::Starting | ContainerState::Waiting | ContainerState::Over => {
                self.restarts > 0
            }
        }
    }

    /// Ready for `min_ready`, so available, at `now`; if only later, when.
    pub fn available_at(&self, min_ready: Nanos) -> Option<Timestamp> {
        self.ready_since.map(|since| since + min_ready)
    }

    /// The worker of one probe.
    pub fn worker(&mut self, kind: ProbeKind) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.kind() == kind)
    }

    /// Whether startup is over: the probe passed, or there is none.
    pub fn has_started(&self) -> bool {
        let startup = self.workers.iter().find(|worker| worker.kind() == ProbeKind::Startup);
        startup.is_none_or(|worker| worker.verdict() == Some(true))
    }

    /// The wait before the next start of a container that ended at `ended`; none the first time,
    /// then 10, 20, 40 ... 300 s, and from the start again after 600 s without a failure.
    pub fn next_back_off(&mut self, ended: Timestamp, now: Timestamp) -> Nanos {
        let (wait, next) = match self.back_off {
            Some((_, set)) if ended.since(set) > Nanos(2 * BACK_OFF_MAX.0) => {
                (Nanos::ZERO, BACK_OFF_FIRST)
            }
            Some((wait, _)) => (wait, Nanos((wait.0 * 2).min(BACK_OFF_MAX.0))),
            None => (Nanos::ZERO, BACK_OFF_FIRST),
        };
        self.back_off = Some((next, now + wait));
        wait
    }
}

/// How long the preStop hook may run, and whether the termination cuts it short.
pub fn pre_stop_time(hook: &LifecycleHandler, grace: Nanos) -> (Nanos, bool) {
    match &hook.sleep {
        Some(sleep) => {
            let wanted = Nanos::from_secs(u64::from(sleep.seconds));
            (wanted.min(grace), wanted > grace)
        }
        None => (grace, true),
    }
}

/// The time between SIGTERM and SIGKILL: what the hook left of the grace period, its running time
/// taken in whole seconds, and at least two seconds.
pub fn stop_budget(grace: Nanos, hook: Nanos) -> Nanos {
    let whole = Nanos(hook.0 / SECOND * SECOND);
    Nanos(grace.0.saturating_sub(whole.0)).max(STOP_BUDGET_MIN)
}

/// Orders pods by who dies first in a scale-down.
///
/// *Source*: `pkg/controller/controller_utils.go`, `ActivePodsWithRanks`. One node, no deletion
/// costs; ties go by number, as UIDs would by chance.
pub fn by_victim(a: &Pod, b: &Pod, now: Timestamp) -> core::cmp::Ordering {
    let rank = |pod: &Pod| match pod.container {
        ContainerState::Waiting => 0u8,
        ContainerState::Starting => 1,
        _ => 2,
    };
    // Younger first, but only across powers of two of the age.
    let bucket = |at: Timestamp| now.since(at).0.checked_ilog2().map_or(0, |log| log + 1);
    rank(a)
        .cmp(&rank(b))
        .then(a.is_ready().cmp(&b.is_ready()))
        .then_with(|| match (a.ready_since, b.ready_since) {
            (Some(a), Some(b)) => bucket(a).cmp(&bucket(b)),
            _ => core::cmp::Ordering::Equal,
        })
        .then(b.restarts.cmp(&a.restarts))
        .then_with(|| bucket(a.created).cmp(&bucket(b.created)))
        .then(a.number.cmp(&b.number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::SleepAction;

    fn seconds(seconds: u64) -> Nanos {
        Nanos::from_secs(seconds)
    }

    #[test]
    fn the_first_restart_is_immediate_and_the_next_wait_ever_longer() {
        let mut pod = Pod::new(0, "v1-1".into(), 1, Timestamp::ZERO);
        let mut now = Timestamp::ZERO;
        for wait in [0, 10, 20, 40, 80, 160, 300, 300] {
            assert_eq!(pod.next_back_off(now, now), seconds(wait));
            now = now + seconds(wait + 1);
        }
        now = now + seconds(601);
        assert_eq!(pod.next_back_off(now, now), seconds(0), "600 s without a failure forgive");
    }

    #[test]
    fn the_budget_after_the_hook_is_never_below_two_seconds() {
        let rows = [
            (30, Nanos::ZERO, 30),
            (30, Nanos::from_millis(5_900), 25),
            (30, seconds(5), 25),
            (30, seconds(30), 2),
            (1, Nanos::ZERO, 2),
        ];
        for (grace, hook, budget) in rows {
            assert_eq!(stop_budget(seconds(grace), hook), seconds(budget), "{grace} {hook}");
        }
    }

    #[test]
    fn a_hook_ends_with_the_grace_period() {
        let sleep = |seconds| LifecycleHandler {
            sleep: Some(SleepAction { seconds }),
            ..LifecycleHandler::default()
        };
        assert_eq!(pre_stop_time(&sleep(5), seconds(30)), (seconds(5), false));
        assert_eq!(pre_stop_time(&sleep(30), seconds(30)), (seconds(30), false));
        assert_eq!(pre_stop_time(&sleep(40), seconds(30)), (seconds(30), true));
    }

    #[test]
    fn the_least_useful_pod_dies_first() {
        let now = Timestamp(1_000 * SECOND);
        let pod = |number, container, ready: Option<u64>| {
            let mut pod = Pod::new(number, String::new(), 1, Timestamp(u64::from(number) * SECOND));
            pod.container = container;
            pod.ready_since = ready.map(|at| Timestamp(at * SECOND));
            pod
        };
        let running = ContainerState::Running { since: Timestamp::ZERO };
        let mut pods = [
            pod(1, running, Some(10)),
            pod(2, running, Some(990)),
            pod(3, running, None),
            pod(4, ContainerState::Starting, None),
            pod(5, ContainerState::Waiting, None),
        ];
        pods.sort_by(|a, b| by_victim(a, b, now));
        let order: alloc::vec::Vec<u32> = pods.iter().map(|pod| pod.number).collect();
        assert_eq!(order, [5, 4, 3, 2, 1]);
    }
}
