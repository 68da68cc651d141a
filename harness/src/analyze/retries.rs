//! What a proxy's retries hid: the requests that would have been lost without them, by the same
//! causes and rules as those that were.

use std::collections::BTreeSet;

use highwater_model::{
    event::{Event, EventKind},
    outcome::{Failure, Hop, HopError, Outcome, OutcomeGroup},
};

use super::{Loss, attribute::Attributed};

/// What retries did in a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retries {
    /// Requests that a retry rescued: a first attempt failed, a later one was answered well.
    pub rescued: u64,
    /// These by the cause of their first failed attempt, most first. The outcomes are those that
    /// their clients would have seen without retries.
    pub by_cause: Vec<Loss>,
    /// Attempts after which a request was sent again, those in vain included.
    pub attempts: u64,
    /// How often a worker passed a pod over for its failures.
    pub ejections: u64,
    /// The pods that were passed over, by name.
    pub ejected: BTreeSet<String>,
}

impl Retries {
    /// Whether there is anything to tell.
    pub fn is_empty(&self) -> bool {
        self.attempts == 0 && self.ejections == 0
    }
}

/// The attempts that a proxy made again, as the failures that they would have been without retries;
/// in the order of the events, as [`retries`] has them.
pub(super) fn hidden(events: &[Event]) -> Vec<Failure> {
    retried(events).map(|(n, request_id, _, hop)| failure(n, request_id, hop)).collect()
}

fn retried(events: &[Event]) -> impl Iterator<Item = (u64, Option<u64>, bool, &Hop)> {
    events.iter().filter_map(|event| match &event.kind {
        EventKind::Retried { n, request_id, rescued, hop } => {
            Some((*n, *request_id, *rescued, hop))
        }
        _ => None,
    })
}

fn failure(n: u64, request_id: Option<u64>, hop: &Hop) -> Failure {
    let (outcome, status) = match hop.error {
        Some(HopError::ConnectTimeout | HopError::Timeout) => (Outcome::Status504, 504),
        _ => (Outcome::Status502, 502),
    };
    Failure {
        n,
        outcome,
        phase: 0,
        kind: 0,
        scheduled: hop.started,
        sent: hop.started,
        first_byte: None,
        ended: hop.ended,
        status: Some(status),
        errno: None,
        pod: hop.pod.clone(),
        connection: None,
        hop: Some(hop.clone()),
        request_id,
        consumer: None,
    }
}

/// What retries did. `hidden` are the attempts of [`hidden`] with their causes, `failures` the
/// record's; `losses` makes losses of attempts.
pub(super) fn retries<'a>(
    events: &[Event],
    hidden: &[Attributed<'a>],
    failures: &[Failure],
    losses: impl Fn(&[Attributed<'a>]) -> Vec<Loss>,
) -> Retries {
    let failed = failures.iter().filter(|failure| failure.outcome.group() == OutcomeGroup::Failed);
    let lost: BTreeSet<u64> = failed.filter_map(|failure| failure.request_id).collect();
    let is_rescued = |request_id: Option<u64>, rescued: bool, hop: &Hop| {
        rescued && hop.tries == 1 && !request_id.is_some_and(|id| lost.contains(&id))
    };
    let rescued: Vec<Attributed<'a>> = retried(events)
        .zip(hidden)
        .filter(|((_, id, rescued, hop), _)| is_rescued(*id, *rescued, hop))
        .map(|(_, attributed)| attributed.clone())
        .collect();
    let mut ejected = BTreeSet::new();
    let mut ejections = 0;
    for event in events {
        if let EventKind::EndpointEjected { pod, .. } = &event.kind {
            ejections += 1;
            ejected.insert(pod.clone());
        }
    }
    Retries {
        rescued: rescued.iter().map(|one| one.case.failure.n).sum(),
        by_cause: losses(&rescued),
        attempts: retried(events).map(|(n, ..)| n).sum(),
        ejections,
        ejected,
    }
}

#[cfg(test)]
mod tests {
    use highwater_model::{
        event::{DeleteReason, Signal, Source},
        outcome::Connection,
        time::{MILLISECOND, Nanos, Timestamp},
    };

    use super::*;
    use crate::analyze::{
        Cause,
        attribute::{Way, attribute_both},
        pods::Lives,
    };

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * MILLISECOND)
    }

    /// An attempt on a connection that had `served` before.
    fn hop(ms: u64, tries: u32, error: HopError, served: u64) -> Hop {
        let connection = Connection { id: 1, opened: at(500), served, idle: Nanos::ZERO };
        Hop {
            consumer: 0,
            error: Some(error),
            pod: Some("a".into()),
            connection: Some(connection),
            started: at(ms - 1),
            ended: at(ms),
            tries,
        }
    }

    fn events(kinds: Vec<(u64, EventKind)>) -> Vec<Event> {
        let event = |(seq, (ms, kind))| Event {
            at: at(ms),
            seq,
            source: Source::Proxy,
            precision: None,
            stated: None,
            kind,
        };
        (0..).zip(kinds).map(event).collect()
    }

    /// What retries did to pod `a`, which is ready from 100 ms on and gets SIGTERM at 1000 ms.
    fn found(retried: Vec<(u64, EventKind)>, failures: &[Failure]) -> Vec<(Cause, u64)> {
        let pod = || String::from("a");
        let (by_kubelet, reason) = (true, DeleteReason::ScaleDown);
        let signal = Signal::Sigterm;
        let mut kinds = vec![
            (0, EventKind::PodCreated { pod: pod(), revision: 1 }),
            (10, EventKind::ContainerStarted { pod: pod(), restarts: 0, address: None, pid: None }),
            (100, EventKind::PodReady { pod: pod() }),
        ];
        kinds.extend(retried.iter().filter(|(ms, _)| *ms < 1000).cloned());
        kinds.push((
            1000,
            EventKind::PodDeleted { pod: pod(), grace: Nanos::from_secs(30), reason },
        ));
        kinds.push((1000, EventKind::SignalSent { pod: pod(), signal, by_kubelet }));
        kinds.extend(retried.into_iter().filter(|(ms, _)| *ms >= 1000));
        let events = events(kinds);
        let lives = Lives::of(&events);
        let kept = hidden(&events);
        let (_, kept) = attribute_both(failures, &kept, &events, &lives, Way::Proxy);
        let causes = std::cell::RefCell::new(Vec::new());
        retries(&events, &kept, failures, |rescued| {
            let told = rescued.iter().map(|one| (one.cause, one.case.failure.n));
            causes.borrow_mut().extend(told);
            Vec::new()
        });
        causes.into_inner()
    }

    fn retried(n: u64, id: Option<u64>, rescued: bool, hop: Hop) -> (u64, EventKind) {
        (hop.ended.0 / MILLISECOND, EventKind::Retried { n, request_id: id, rescued, hop })
    }

    #[test]
    fn what_was_hidden_has_the_cause_that_it_would_have_had_as_a_loss() {
        let idle = hop(600, 1, HopError::Eof, 3);
        let refused = hop(1100, 1, HopError::ConnectRefused, 0);
        assert_eq!(
            found(vec![retried(1, Some(1), true, idle), retried(4, None, true, refused)], &[]),
            [(Cause::IdleTimeoutRace, 1), (Cause::TerminationRace, 4)]
        );
    }

    #[test]
    fn only_what_came_to_a_good_end_was_rescued_and_once() {
        let eof = |tries| hop(600, tries, HopError::Eof, 3);
        let told = vec![
            retried(1, Some(1), true, eof(1)),
            retried(1, Some(1), true, eof(2)),
            retried(1, Some(2), false, eof(1)),
            retried(1, Some(3), true, eof(1)),
        ];
        // The answer of the third broke after its head.
        let truncated = Failure { outcome: Outcome::Truncated, ..failure(1, Some(3), &eof(2)) };
        assert_eq!(found(told, &[truncated]), [(Cause::IdleTimeoutRace, 1)]);
    }

    #[test]
    fn attempts_are_told_as_the_answers_that_a_proxy_without_retries_gives() {
        let rows = [
            (HopError::ConnectRefused, Outcome::Status502, 502),
            (HopError::Eof, Outcome::Status502, 502),
            (HopError::ConnectTimeout, Outcome::Status504, 504),
            (HopError::Timeout, Outcome::Status504, 504),
        ];
        for (error, outcome, status) in rows {
            let failure = failure(2, None, &hop(600, 1, error, 0));
            assert_eq!((failure.outcome, failure.status), (outcome, Some(status)), "{error:?}");
            assert_eq!((failure.n, failure.pod.as_deref()), (2, Some("a")));
        }
    }

    #[test]
    fn who_was_passed_over_is_counted_by_pod_and_by_time() {
        let ejected =
            |pod: &str| EventKind::EndpointEjected { consumer: 0, pod: pod.into(), fails: 1 };
        let events = events(vec![(1, ejected("a")), (2, ejected("b")), (3, ejected("a"))]);
        let found = retries(&events, &[], &[], |_| Vec::new());
        assert_eq!((found.ejections, found.ejected.len(), found.is_empty()), (3, 2, false));
        assert!(retries(&[], &[], &[], |_| Vec::new()).is_empty());
    }
}
