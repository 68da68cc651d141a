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
