//! The pods of a run under way, with a short memory of their phases.

use std::collections::VecDeque;

use highwater_model::{
    event::{Event, EventKind, Signal},
    time::{Nanos, Timestamp},
};

use super::view::text;
use crate::analyze::PodPhase;

/// Pods that are kept; past it the oldest that is gone makes room, or else a new one is counted.
pub const PODS_MAX: usize = 256;
/// Changes of phase that are kept of each pod: a lane is a few minutes long.
const CHANGES_MAX: usize = 32;
/// So long a pod stays to be seen after it is gone.
const GONE_STAYS: Nanos = Nanos::from_secs(20);

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name as it can be shown.
    pub name: String,
    /// The name by which events call it.
    key: String,
    /// The revision of its template.
    pub revision: u32,
    /// Since when it was in which phase, ascending; not empty.
    pub changes: VecDeque<(Timestamp, PodPhase)>,
    /// When its deletion was requested.
    pub deleted: Option<Timestamp>,
    /// When it was gone.
    pub gone: Option<Timestamp>,
    /// How often a container was started after the first.
    pub restarts: u32,
    /// Requests that failed on it.
    pub failed: u64,
    is_running: bool,
}

impl Pod {
    /// Its phase; `None` once it is gone.
    pub fn phase(&self) -> Option<PodPhase> {
        self.gone.is_none().then(|| self.changes.back().map(|(_, phase)| *phase)).flatten()
    }

    /// Its phase at an instant; `None` before it was made (or is remembered), and once it is gone.
    pub fn phase_at(&self, at: Timestamp) -> Option<PodPhase> {
        if self.gone.is_some_and(|gone| gone <= at) {
            return None;
        }
        self.changes.iter().rev().find(|(since, _)| *since <= at).map(|(_, phase)| *phase)
    }

    fn change(&mut self, at: Timestamp, phase: PodPhase) {
        if self.changes.back().is_some_and(|(_, last)| *last == phase) {
            return;
        }
        if self.changes.len() >= CHANGES_MAX {
            self.changes.pop_front();
        }
        // What is observed late does not come before what was observed.
        let at = self.changes.back().map_or(at, |(last, _)| at.max(*last));
        self.changes.push_back((at, phase));
    }

    fn take(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::ContainerStarted { restarts, .. } => {
                (self.restarts, self.is_running) = (*restarts, true);
                if self.deleted.is_none() {
                    self.change(at, PodPhase::Starting);
                }
            }
            EventKind::PodReady { .. } if self.deleted.is_none() && self.is_running => {
                self.change(at, PodPhase::Ready);
            }
            EventKind::PodUnready { .. } if self.deleted.is_none() && self.is_running => {
                self.change(at, PodPhase::Unready);
            }
            EventKind::PodDeleted { .. } => {
                self.deleted = Some(at);
                let is_running = self.is_running;
                self.change(at, if is_running { PodPhase::PreStop } else { PodPhase::Exited });
            }
            EventKind::SignalSent { signal: Signal::Sigterm, by_kubelet: true, .. }
                if self.is_running =>
            {
                self.change(at, PodPhase::Draining);
            }
            EventKind::ContainerExited { .. } => {
                self.is_running = false;
                self.change(at, PodPhase::Exited);
            }
            EventKind::PodGone { .. } => self.gone = Some(at),
            _ => {}
        }
    }
}

/// All pods, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    all: VecDeque<Pod>,
    /// Pods that are not shown because there are too many.
    pub more: u64,
}

impl Pods {
    /// Takes an event.
    pub fn take(&mut self, event: &Event) {
        let at = event.at;
        match &event.kind {
            EventKind::PodCreated { pod, revision } => self.add(pod, *revision, at),
            kind => {
                let Some(name) = pod_of(kind) else { return };
                if let Some(pod) = self.all.iter_mut().rev().find(|pod| pod.key == name) {
                    pod.take(at, kind);
                }
            }
        }
    }

    fn add(&mut self, name: &str, revision: u32, at: Timestamp) {
        if self.all.len() >= PODS_MAX {
            match self.all.iter().position(|pod| pod.gone.is_some()) {
                Some(gone) => drop(self.all.remove(gone)),
                None => {
                    self.more += 1;
                    return;
                }
            }
        }
        self.all.push_back(Pod {
            name: text(name),
            key: name.into(),
            revision,
            changes: [(at, PodPhase::Pending)].into(),
            deleted: None,
            gone: None,
            restarts: 0,
            failed: 0,
            is_running: false,
        });
    }

    /// Counts failures on a pod.
    pub fn failed(&mut self, name: &str, n: u64) {
        if let Some(pod) = self.all.iter_mut().rev().find(|pod| pod.key == name) {
            pod.failed += n;
        }
    }

    /// Forgets those that have been gone for long.
    pub fn forget(&mut self, now: Timestamp) {
        self.all.retain(|pod| pod.gone.is_none_or(|gone| gone + GONE_STAYS > now));
    }

    /// Those that are shown, in the order in which they were made.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Pod> {
        self.all.iter()
    }

    /// How many are in each phase, in the order of life; only phases that occur.
    pub fn by_phase(&self) -> Vec<(PodPhase, usize)> {
        let count = |phase| self.all.iter().filter(|pod: &&Pod| pod.phase() == Some(phase)).count();
        let counts = PodPhase::ALL.iter().map(|phase| (*phase, count(*phase)));
        counts.filter(|(_, n)| *n > 0).collect()
    }
}

/// The pod whose life an event changes.
fn pod_of(kind: &EventKind) -> Option<&str> {
    match kind {
        EventKind::ContainerStarted { pod, .. }
        | EventKind::PodReady { pod }
        | EventKind::PodUnready { pod, .. }
        | EventKind::PodDeleted { pod, .. }
        | EventKind::SignalSent { pod, .. }
        | EventKind::ContainerExited { pod, .. }
        | EventKind::PodGone { pod } => Some(pod),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use highwater_model::{event::DeleteReason, time::SECOND};

    use super::*;
    use crate::live::testkit::{event, exited, sigterm, started};

    fn pods(events: &[(f64, EventKind)]) -> Pods {
        let mut pods = Pods::default();
        for (at, kind) in events {
            pods.take(&event(*at, kind.clone()));
        }
        pods
    }

    fn created(name: &str) -> EventKind {
        EventKind::PodCreated { pod: name.into(), revision: 1 }
    }

    fn deleted(name: &str) -> EventKind {
        let (grace, reason) = (Nanos::from_secs(30), DeleteReason::Rollout);
        EventKind::PodDeleted { pod: name.into(), grace, reason }
    }

    #[test]
    fn a_pod_goes_through_its_phases() {
        let pod = || "a".to_string();
        let pods = pods(&[
            (0.0, created("a")),
            (1.0, started("a", 0)),
            (2.0, EventKind::PodReady { pod: pod() }),
            (3.0, EventKind::PodUnready { pod: pod(), reason: "503".into() }),
            (4.0, EventKind::PodReady { pod: pod() }),
            (5.0, deleted("a")),
            (5.5, EventKind::PodUnready { pod: pod(), reason: "deleted".into() }),
            (6.0, sigterm("a")),
            (7.0, exited("a", 0)),
            (8.0, EventKind::PodGone { pod: pod() }),
        ]);
        let pod = pods.iter().next().unwrap();
        let seen: Vec<_> =
            (0..9).map(|at| pod.phase_at(Timestamp(at * SECOND + SECOND / 2))).collect();
        use PodPhase::{Draining, Exited, Pending, PreStop, Ready, Starting, Unready};
        let life = [Pending, Starting, Ready, Unready, Ready, PreStop, Draining, Exited];
        let life: Vec<_> = life.into_iter().map(Some).chain([None]).collect();
        assert_eq!(seen, life);
        assert_eq!((pod.phase(), pods.by_phase().len()), (None, 0));
    }

    #[test]
    fn a_crash_and_a_restart_show() {
        let mut pods = pods(&[
            (0.0, created("a")),
            (1.0, started("a", 0)),
            (2.0, exited("a", 1)),
            // A readiness that is told after the end does not bring it back.
            (2.1, EventKind::PodReady { pod: "a".into() }),
        ]);
        assert_eq!(pods.by_phase(), [(PodPhase::Exited, 1)]);
        pods.take(&event(12.0, started("a", 1)));
        pods.failed("a", 3);
        pods.failed("unheard of", 3);
        let pod = pods.iter().next().unwrap();
        assert_eq!((pod.phase(), pod.restarts, pod.failed), (Some(PodPhase::Starting), 1, 3));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pods = Pods::default();
        for number in 0..PODS_MAX + 10 {
            pods.take(&event(0.0, created(&format!("p{number}"))));
        }
        assert_eq!((pods.iter().len(), pods.more), (PODS_MAX, 10));
        pods.take(&event(1.0, EventKind::PodGone { pod: "p7".into() }));
        pods.take(&event(2.0, created("next")));
        assert!(pods.iter().any(|pod| pod.name == "next"));
        assert!(pods.iter().all(|pod| pod.name != "p7"));
        for turn in 0..200 {
            let at = 3.0 + f64::from(turn);
            pods.take(&event(at, started("p1", turn)));
            pods.take(&event(at, exited("p1", 1)));
        }
        let pod = pods.iter().find(|pod| pod.name == "p1").unwrap();
        assert!(pod.changes.len() <= CHANGES_MAX);
        pods.take(&event(300.0, EventKind::PodGone { pod: "p2".into() }));
        pods.forget(Timestamp(310 * SECOND));
        assert_eq!(pods.iter().len(), PODS_MAX);
        pods.forget(Timestamp(321 * SECOND));
        assert_eq!(pods.iter().len(), PODS_MAX - 1);
    }
}
