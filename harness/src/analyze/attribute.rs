//! The cause of each failure: a failed attempt, joined with the phase of its pod and the state of
//! its connection at that instant. Never with the nearest event in time.
//!
//! 1. how an attempt finds its pod, and so what a failure knows of it: [`way`]
//! 2. a failure, turned to its pod's side: [`case`]
//! 3. how the target's containers end, from all that broke as they did: `endings`
//! 4. what the record says of a pod at an attempt: `rules`; why it answers too late: `slow`; why
//!    there is none: `absent`
//! 5. of a pod that nobody names, a set of those that it can have been: `hidden`, from whom the
//!    `offers` of the endpoints let the data path choose
//!
//! *Source*: `lifecycle-semantics.md` sections 4.1 (what a socket shows) and 8 (the rules).

mod absent;
pub mod case;
mod endings;
mod hidden;
mod late;
mod offers;
mod rules;
mod slow;
mod stale;
pub mod way;

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::{
    event::{Event, EventKind},
    outcome::{Failure, Hop, OutcomeGroup},
    time::{Nanos, Timestamp},
};

use super::{Cause, pods::Lives};

pub use case::{Case, Contact};
pub use way::Way;

use endings::Endings;
use hidden::{Hidden, Inferred};
use offers::Offers;
use rules::Rules;
use slow::LateAnswers;

/// An exit is noticed by its parent a little after its sockets are closed: by a scheduling delay.
const EXIT_LATENESS: Nanos = Nanos::from_millis(500);
/// A pod whose refusals go on until this long before it is chosen no more never listened at all.
const NEVER_LISTENED: Nanos = Nanos::from_secs(2);

/// A case with its cause.
#[derive(Clone, Debug)]
pub struct Attributed<'a> {
    /// The case.
    pub case: Case<'a>,
    /// Its cause.
    pub cause: Cause,
    /// The pods that it can have met, by name: the one, if that is known; of several it met one;
    /// none if there was none to meet, or nobody knows.
    pub pods: Vec<&'a str>,
    /// Whether it belongs to the coming or going of its pod, or of one of these pods.
    pub transition: Option<TransitionKind>,
    /// Why there is no cause although pods are known that could have shown it.
    pub doubt: Option<Doubt>,
    /// Whether a node can have sent it by a flow that it kept to a pod long gone: an echo of an
    /// earlier failure, which says nothing of how long pods are chosen.
    pub is_stale: bool,
}

impl<'a> Attributed<'a> {
    /// Its pod, if it can have met only one.
    pub fn pod(&self) -> Option<&'a str> {
        match self.pods[..] {
            [pod] => Some(pod),
            _ => None,
        }
    }

    fn give(&mut self, cause: Cause, pods: Vec<&'a str>, lives: &Lives) {
        self.transition = transition(&self.case, cause, &pods, lives);
        (self.cause, self.pods) = (cause, pods);
    }
}

/// Why what could explain a failure does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Several causes that have nothing in common could.
    Ambiguous,
    /// It is only known to have happened in a gap of the watch, in which the failure lies.
    Gap,
}

/// A pod's coming or its going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransitionKind {
    /// It became ready.
    Start,
    /// Its termination began.
    End,
}

/// Attributes every failure, to exactly one cause. Unsent requests are no failures of the target and
/// are left out.
///
/// *Units and shape*: `events` ascend by `(at, seq)`, `lives` are theirs; the failures' order is kept.
pub fn attribute<'a>(
    failures: &'a [Failure],
    events: &'a [Event],
    lives: &'a Lives,
    way: Way,
) -> Vec<Attributed<'a>> {
    attribute_both(failures, &[], events, lives, way).0
}

/// As [`attribute`], and likewise of failures that a proxy `kept` from its clients. What each of them
/// tells of a pod counts for all.
pub(super) fn attribute_both<'a>(
    failures: &'a [Failure],
    kept: &'a [Failure],
    events: &'a [Event],
    lives: &'a Lives,
    way: Way,
) -> (Vec<Attributed<'a>>, Vec<Attributed<'a>>) {
    let gone: BTreeMap<u64, &Hop> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::ClientGone { request_id, hop } => Some((*request_id, hop)),
            _ => None,
        })
        .collect();
    let failed = failures.iter().filter(|failure| failure.outcome.group() == OutcomeGroup::Failed);
    let case = |failure: &'a Failure| Case::of(failure, &gone, way);
    let cases: Vec<Case<'a>> = failed.chain(kept).map(case).collect();
    let rules = Rules {
        lives,
        endings: Endings::of(&cases, lives),
        deaf: deaf_pods(&cases, lives),
        late: LateAnswers::of(&cases, events),
    };
    let offers = if way.hides_pods() { Offers::of(events, lives, way) } else { Offers::default() };
    let hidden = Hidden { rules, offers, way };
    let mut all: Vec<_> = cases.into_iter().map(|case| attributed(case, &hidden)).collect();
    hidden.explain_rest(&mut all);
    if way == Way::Proxy {
        slow::explain_crossed(&mut all, lives);
    }
    let kept = all.split_off(all.len() - kept.len());
    (all, kept)
}

fn attributed<'a>(case: Case<'a>, hidden: &Hidden<'a>) -> Attributed<'a> {
    let Inferred { cause, pods, doubt } = match case.contact {
        contact if hidden.way == Way::Url => {
            let is_ours = contact == Contact::Limit;
            of_itself(&case, if is_ours { Cause::ClientLimit } else { Cause::Unobserved })
        }
        _ if case.is_hidden => hidden.infer(&case),
        Contact::NoEndpoint => of_itself(&case, absent::cause(hidden.rules.lives, case.ended)),
        Contact::Answered => {
            let life = case.pod.and_then(|pod| hidden.rules.lives.get(pod));
            let is_full = life.is_some_and(|life| rules::was_full(life, &case));
            of_itself(&case, if is_full { Cause::Overload } else { Cause::RefusedByApp })
        }
        Contact::Limit => of_itself(&case, Cause::ClientLimit),
        Contact::Unknown => of_itself(&case, Cause::Unexplained),
        _ => known(&case, &hidden.rules),
    };
    let cause = cause.unwrap_or(Cause::Unexplained);
    let transition = transition(&case, cause, &pods, hidden.rules.lives);
    Attributed { case, cause, pods, transition, doubt, is_stale: false }
}

/// A cause that the contact itself gives.
fn of_itself<'a>(case: &Case<'a>, cause: Cause) -> Inferred<'a> {
    Inferred { cause: Some(cause), pods: case.pod.into_iter().collect(), doubt: None }
}

fn known<'a>(case: &Case<'a>, rules: &Rules<'_>) -> Inferred<'a> {
    let life = case.pod.and_then(|pod| Some((pod, rules.lives.get(pod)?)));
    let Some((pod, life)) = life else { return of_itself(case, Cause::Unexplained) };
    let found = rules.known(case, pod, life);
    let doubt = found.is_vague.then_some(Doubt::Gap);
    Inferred { cause: (!found.is_vague).then_some(found.cause), pods: vec![pod], doubt }
}

/// Pods that refused everything until they were chosen no more.
fn deaf_pods(cases: &[Case<'_>], lives: &Lives) -> BTreeSet<String> {
    let mut refusals: BTreeMap<&str, (Timestamp, Timestamp)> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.contact == Contact::Refused) {
        if let Some(pod) = case.pod {
            let span = refusals.entry(pod).or_insert((case.ended, case.ended));
            *span = (span.0.min(case.ended), span.1.max(case.ended));
        }
    }
    let last = cases.iter().map(|case| case.ended).max().unwrap_or_default();
    let is_deaf = |pod: &str, (first, until): (Timestamp, Timestamp)| {
        let Some(life) = lives.get(pod) else { return false };
        // Of one that tells of its life it is known.
        let is_silent = life.containers.iter().all(|container| !container.tells);
        let end = life.deletion.map_or(last, |deletion| deletion.at.at).min(last);
        is_silent && until.since(first) > NEVER_LISTENED && until + NEVER_LISTENED >= end
    };
    refusals
        .into_iter()
        .filter(|(pod, span)| is_deaf(pod, *span))
        .map(|(pod, _)| pod.into())
        .collect()
}

fn transition(
    case: &Case<'_>,
    cause: Cause,
    pods: &[&str],
    lives: &Lives,
) -> Option<TransitionKind> {
    match cause {
        _ if !pods.iter().any(|pod| lives.get(pod).is_some()) => None,
        Cause::PrematureReady => Some(TransitionKind::Start),
        Cause::TerminationRace
        | Cause::AbruptExit
        | Cause::AcceptQueueDrop
        | Cause::GraceExceeded => Some(TransitionKind::End),
        _ => {
            let is_going =
                |pod: &&str| lives.get(pod).is_some_and(|life| life.may_be_deleted_by(case.ended));
            pods.iter().all(is_going).then_some(TransitionKind::End)
        }
    }
}

#[cfg(test)]
mod tests;
