//! Why a pod that is there does not answer in time.

use std::collections::BTreeMap;

use highwater_model::{
    event::{Event, EventKind},
    outcome::Outcome,
    time::{Nanos, Timestamp},
};

use super::{Attributed, Case, Contact, endings::was_forced, rules::Rules};
use crate::analyze::{
    Cause,
    pods::{Container, Lives, PodLife},
};

/// A pod that answers in time from then on was cold. One that is not by then is slow.
const WARM: Nanos = Nanos::from_secs(10);
/// A pod that is cold is so from its first requests on.
const AT_FIRST: Nanos = Nanos::from_secs(1);
/// For so long a pod that was cold must have been sent requests that it answered.
const ANSWERS: Nanos = Nanos::from_millis(500);
/// A pod that was ready for so much longer has had the time to warm up.
const OLDER: Nanos = Nanos::from_secs(1);
/// Pods that are slow at the same time are slow for the same reason.
const SAME_TIME: Nanos = Nanos::from_secs(1);

/// The time-outs of one pod.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// When the first one ended.
    first_ended: Timestamp,
    first: Timestamp,
    last: Timestamp,
}

/// When pods answered too late.
#[derive(Debug, Default)]
pub(super) struct LateAnswers {
    pods: BTreeMap<String, Span>,
    /// Begin and end of the traffic.
    traffic: (Timestamp, Timestamp),
}

impl LateAnswers {
    pub(super) fn of(cases: &[Case<'_>], events: &[Event]) -> Self {
        let mut late = Self { traffic: (Timestamp::ZERO, Timestamp(u64::MAX)), ..Self::default() };
        for event in events {
            match event.kind {
                EventKind::TrafficStarted => late.traffic.0 = event.at,
                EventKind::TrafficEnded => late.traffic.1 = event.at,
                _ => {}
            }
        }
        for case in cases.iter().filter(|case| case.contact == Contact::Timeout) {
            let Some(pod) = case.pod else { continue };
            let one = Span { first_ended: case.ended, first: case.started, last: case.started };
            let span = late.pods.entry(pod.into()).or_insert(one);
            span.first_ended = span.first_ended.min(case.ended);
            span.first = span.first.min(case.started);
            span.last = span.last.max(case.started);
        }
        late
    }

    /// Whether a pod was slow only at first, while those that had served for longer were not.
    fn was_cold(&self, pod: &str, rules: &Rules<'_>) -> bool {
        let Some(span) = self.pods.get(pod) else { return false };
        let ready_of = |pod: &str| rules.lives.get(pod)?.first_ready.map(|ready| ready.at);
        let is_older = |other: &str| {
            let (other, ready) = (ready_of(other), ready_of(pod));
            other.zip(ready).is_some_and(|(other, ready)| other + OLDER < ready)
        };
        let mut others = self.pods.iter().filter(|(other, its)| {
            let overlap = its.first <= span.last + SAME_TIME && span.first <= its.last + SAME_TIME;
            *other != pod && overlap && is_older(other)
        });
        // Older ones that are slow at the same time must be as new to their work.
        self.was_slow_at_first(pod, rules)
            && others.all(|(other, _)| self.was_slow_at_first(other, rules))
    }

    /// Whether a pod was slow from its first requests on, and not any more later.
    fn was_slow_at_first(&self, pod: &str, rules: &Rules<'_>) -> bool {
        let Some((span, life)) = self.pods.get(pod).zip(rules.lives.get(pod)) else { return false };
        let Some(container) = life.container_at(span.first) else { return false };
        let Some(ready) = container.ready else { return false };
        let routed = life.routed.values().flatten().map(|(from, _)| *from);
        let first_routed = routed.filter(|from| *from >= ready.earliest).min();
        let begin = first_routed.unwrap_or(ready.at).max(self.traffic.0);
        let ends = [life.deletion.map(|one| one.at.at), container.exited.map(|exit| exit.at.at)];
        let end = ends.into_iter().flatten().fold(self.traffic.1, Timestamp::min);
        span.first <= begin + AT_FIRST && span.last <= begin + WARM && span.last + ANSWERS < end
    }
}

/// Explains time-outs of which the proxy says nothing.
///
/// It tells of every client that leaves before its answer. If it does not, it had passed the answer
/// on as the client gave up, so that the answer was late by next to nothing: for whatever made the
/// other answers late that were under way at the same time, if that is one cause.
pub(super) fn explain_crossed(all: &mut [Attributed<'_>], lives: &Lives) {
    let mut late: BTreeMap<Cause, Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    for one in all.iter().filter(|one| one.case.contact == Contact::Timeout) {
        if one.cause != Cause::Unexplained {
            late.entry(one.cause).or_default().push((one.case.started, one.case.ended));
        }
    }
    late.values_mut().for_each(join);
    for one in all.iter_mut().filter(|one| is_silent(one)) {
        let (from, to) = (one.case.started, one.case.ended);
        let was_then = |spans: &[(Timestamp, Timestamp)]| {
            let next = spans.partition_point(|(_, end)| *end < from);
            spans.get(next).is_some_and(|(begin, _)| *begin <= to)
        };
        let mut causes = late.iter().filter(|(_, spans)| was_then(spans)).map(|(cause, _)| *cause);
        if let (Some(cause), None) = (causes.next(), causes.next()) {
            one.give(cause, Vec::new(), lives);
        }
    }
}

fn is_silent(one: &Attributed<'_>) -> bool {
    one.cause == Cause::Unexplained
        && one.case.contact == Contact::Unknown
        && one.case.failure.outcome == Outcome::Timeout
}

/// Joins spans that overlap, in order.
fn join(spans: &mut Vec<(Timestamp, Timestamp)>) {
    spans.sort_unstable();
    let mut joined: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (from, to) in spans.drain(..) {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    *spans = joined;
}

impl Rules<'_> {
    /// Why a pod that is there does not answer in time.
    pub(super) fn slow(&self, life: &PodLife, pod: &str, case: &Case<'_>) -> Cause {
        let mut containers = life.containers_at(case.ended);
        if containers.any(|one| one.was_frozen(case.started, case.ended)) {
            return Cause::Throttling;
        }
        if let Some(cause) = self.hangs(life, pod, case) {
            return cause;
        }
        if self.late.was_cold(pod, self) { Cause::PrematureReady } else { Cause::Overload }
    }

    /// Whether a pod answers nobody any more since SIGTERM, and that was not so before.
    fn hangs(&self, life: &PodLife, pod: &str, case: &Case<'_>) -> Option<Cause> {
        let container: &Container = life.container_at(case.ended)?;
        let sigterm = container.sigterm.filter(|sigterm| sigterm.may_be_by(case.ended))?;
        let span = self.late.pods.get(pod)?;
        if span.first_ended < sigterm.earliest {
            return None;
        }
        if container.exited.is_some_and(|exit| was_forced(container, exit)) {
            return Some(Cause::GraceExceeded);
        }
        self.endings.is_abrupt(life, container).then_some(Cause::AbruptExit)
    }
}
