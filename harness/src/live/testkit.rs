//! Lines of a record for tests of what is shown live.

use highwater_model::{
    event::{Event, EventKind, Signal, Source},
    outcome::{Failure, Outcome},
    time::{SECOND, Timestamp},
};

use crate::record::{
    OutcomeWindow, Window,
    hist::{self, Encoded},
};

/// An event at `at` seconds.
pub(crate) fn event(at: f64, kind: EventKind) -> Event {
    let at = Timestamp((at * SECOND as f64) as u64);
    Event { at, seq: 0, source: Source::Harness, precision: None, stated: None, kind }
}

/// `ok` good answers, and `failed` refused ones, that all took `ns` and were sent so late.
pub(crate) fn window(second: u64, ok: u64, failed: u64, ns: u64) -> Window {
    let part = |n: u64| {
        let mut hist = hist::new();
        hist.saturating_record_n(ns, n);
        let times = Encoded::new(&hist);
        OutcomeWindow { n, latency: times.clone(), service: times.clone(), lag: times }
    };
    let parts = [(Outcome::Ok, ok), (Outcome::ConnectRefused, failed)];
    let outcomes = parts.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name, part(n)));
    Window { second, phase: 0, owed: ok + failed, outcomes: outcomes.collect() }
}

/// `n` refused requests on a pod.
pub(crate) fn failure(pod: &str, n: u64) -> Failure {
    Failure {
        n,
        outcome: Outcome::ConnectRefused,
        phase: 0,
        kind: 0,
        scheduled: Timestamp::ZERO,
        sent: Timestamp::ZERO,
        first_byte: None,
        ended: Timestamp::ZERO,
        status: None,
        errno: None,
        pod: Some(pod.into()),
        connection: None,
        hop: None,
        request_id: None,
        consumer: None,
    }
}

pub(crate) fn started(pod: &str, restarts: u32) -> EventKind {
    EventKind::ContainerStarted { pod: pod.into(), restarts, address: None, pid: None }
}

pub(crate) fn exited(pod: &str, code: i32) -> EventKind {
    EventKind::ContainerExited { pod: pod.into(), code, signal: None, oom: false }
}

pub(crate) fn sigterm(pod: &str) -> EventKind {
    EventKind::SignalSent { pod: pod.into(), signal: Signal::Sigterm, by_kubelet: true }
}
