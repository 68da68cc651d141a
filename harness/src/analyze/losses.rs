//! The losses of a run, by cause: how many, where, and what stops them.

use std::collections::{BTreeMap, BTreeSet};

use highwater_model::{
    outcome::Outcome,
    spec::Target,
    time::{Nanos, Timestamp},
};

use super::{
    Cause, EXAMPLES_MAX, Loss,
    attribute::{Attributed, Way},
    causes::{self, FixFacts, Propagation},
    evidence::{evidence, example},
    pods::Lives,
};
use crate::record::Header;

/// The name of the bundled service's container.
///
/// *Source*: `backend/kube/manifests.rs`, `CONTAINER`; a test holds both together.
pub(super) const BUNDLED_CONTAINER: &str = "app";

/// By cause, most first.
pub(super) fn losses(
    attributed: &[Attributed<'_>],
    lives: &Lives,
    header: &Header,
    slowest_ns: u64,
) -> Vec<Loss> {
    let mut by_cause: BTreeMap<Cause, Vec<&Attributed<'_>>> = BTreeMap::new();
    for one in attributed {
        by_cause.entry(one.cause).or_default().push(one);
    }
    let facts = fix_facts(attributed, lives, header, slowest_ns);
    let mut losses: Vec<Loss> =
        by_cause.into_iter().map(|(cause, cases)| loss(cause, &cases, lives, &facts)).collect();
    losses.sort_by(|a, b| b.count.cmp(&a.count).then(a.cause.cmp(&b.cause)));
    losses
}

fn loss(cause: Cause, cases: &[&Attributed<'_>], lives: &Lives, facts: &FixFacts) -> Loss {
    let mut by_outcome: BTreeMap<Outcome, u64> = BTreeMap::new();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    for one in cases {
        *by_outcome.entry(one.case.failure.outcome).or_default() += one.case.failure.n;
        named.extend(&one.pods);
    }
    let pods: Vec<String> =
        lives.order.iter().filter(|name| named.contains(name.as_str())).cloned().collect();
    let instants = || cases.iter().map(|one| one.case.ended);
    // Spread over the pods, so that the examples are not all of the first one.
    let mut seen = BTreeSet::new();
    let (firsts, others): (Vec<_>, Vec<_>) = cases.iter().partition(|one| seen.insert(&one.pods));
    let examples =
        firsts.into_iter().chain(others).take(EXAMPLES_MAX).map(|one| example(one, lives));
    Loss {
        cause,
        count: cases.iter().map(|one| one.case.failure.n).sum(),
        evidence: evidence(cause, cases, &pods, lives),
        fix: causes::fix(cause, facts),
        first: instants().min().unwrap_or_default(),
        last: instants().max().unwrap_or_default(),
        examples: examples.collect(),
        pods,
        by_outcome,
    }
}

// What fixes are computed from.

fn fix_facts(
    attributed: &[Attributed<'_>],
    lives: &Lives,
    header: &Header,
    slowest_ns: u64,
) -> FixFacts {
    let target = &header.scenario.target;
    let template = &target.deployment.template;
    let hook = template.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    // What a workload has, its spec knows; its deletions tell the grace period.
    let graces = lives.pods.values().filter_map(|life| life.deletion).map(|one| one.grace);
    let grace_seconds = match &target.workload {
        Some(_) => graces.max().map_or(30, |grace| grace.as_secs_f64().ceil() as u32),
        None => template.termination_grace_period_seconds,
    };
    FixFacts {
        propagation: propagation(attributed, lives, header),
        slowest_seconds: Nanos(slowest_ns).as_secs_f64(),
        pre_stop_seconds: hook.and_then(|hook| Some(hook.sleep.as_ref()?.seconds)).unwrap_or(0),
        grace_seconds,
        replicas: target.deployment.replicas,
        container: container(target),
        is_workload: target.workload.is_some(),
    }
}

/// The name of the container that serves, if it is known.
fn container(target: &Target) -> Option<String> {
    match (&target.workload, &target.command) {
        (Some(workload), _) => workload.container.clone(),
        (None, Some(_)) => None,
        (None, None) => Some(BUNDLED_CONTAINER.into()),
    }
}

/// How long it took until nobody chose a pod any more that was being deleted.
///
/// Where consumers of the endpoints tell what they apply, the slowest of them says it. Behind
/// kube-proxy or an ingress nobody does: there the last new connection that a deleted pod lost is
/// the least that it took, and what such a data path takes as a rule is covered in any case, as a
/// run sees few of its moods.
fn propagation(attributed: &[Attributed<'_>], lives: &Lives, header: &Header) -> Propagation {
    let way = Way::of(header);
    if let Some(usual) = way.usual_lag() {
        let seen = attributed.iter().filter_map(|one| lost_after_deletion(one, lives)).max();
        return Propagation::ByLosses {
            seen_seconds: seen.unwrap_or_default().as_secs_f64(),
            usual_seconds: usual.as_secs_f64(),
        };
    }
    let seen = lives.pods.values().filter_map(|life| life.propagation()).max();
    // What was seen may be less than what is possible.
    let bound = header.scenario.path.propagation.upper_bound();
    Propagation::ByViews { seconds: seen.max(bound).unwrap_or_default().as_secs_f64() }
}

/// How long after its pod's deletion a request was still sent to it anew, at most.
fn lost_after_deletion(one: &Attributed<'_>, lives: &Lives) -> Option<Nanos> {
    let is_of_going = matches!(
        one.cause,
        Cause::TerminationRace | Cause::AbruptExit | Cause::AcceptQueueDrop | Cause::RefusedByApp
    );
    // One that a node sent by an old flow was not chosen anew.
    let is_anew =
        !one.is_stale && one.case.connection.is_none_or(|connection| connection.served == 0);
    let after = |pod: &&str| -> Option<Nanos> {
        let deleted: Timestamp = lives.get(pod)?.deletion?.at.at;
        (deleted <= one.case.started).then(|| one.case.started.since(deleted))
    };
    one.pods.iter().filter(|_| is_of_going && is_anew).filter_map(after).max()
}
