use std::{vec, vec::Vec};

use super::*;
use crate::cluster::deployment::{Deployment, Wanted};

const NOW: Timestamp = Timestamp(1_000 * crate::time::SECOND);

fn second(second: u64) -> Timestamp {
    Timestamp::ZERO + Nanos::from_secs(second)
}

/// A set of template 1 that wants `replicas`.
fn set(replicas: u32, min_ready_seconds: u32) -> ReplicaSet {
    let deployment = crate::spec::Deployment {
        replicas,
        min_ready_seconds,
        ..crate::spec::Deployment::default()
    };
    let mut deployment = Deployment::new(Wanted::new(&deployment));
    deployment.sync(Timestamp::ZERO, &|_| false, &mut Vec::new());
    deployment.sets()[0].clone()
}

/// A pod that has been ready for 900 s of its 1,000.
fn pod(number: u32) -> Pod {
    Pod {
        pod: number,
        template: 1,
        set: 1,
        number: number + 1,
        uid: u64::from(number),
        created: Timestamp::ZERO,
        node: Some(0),
        phase: Phase::Running,
        ready: Some(second(100)),
        restarts: 0,
        deletion_cost: 0,
        is_terminating: false,
    }
}

/// Which of two pods goes: the plain one (0), or the one that `change` has made (1).
fn victim(change: impl FnOnce(&mut Pod), others: &[Pod]) -> u32 {
    let mut pods = vec![pod(0), pod(1)];
    change(&mut pods[1]);
    pods.extend_from_slice(others);
    match difference(&set(1, 0), &pods, NOW) {
        Some(Difference::Delete { victims, .. }) => victims[0],
        other => panic!("{other:?}"),
    }
}

type Change = fn(&mut Pod);

#[test]
fn victims_are_taken_in_the_order_of_upstream() {
    let rows: [(&str, Change, u32); 13] = [
        ("equal ones by UID", |_| (), 0),
        ("unscheduled before scheduled", |pod| pod.node = None, 1),
        ("pending before running", |pod| pod.phase = Phase::Pending, 1),
        ("not ready before ready", |pod| pod.ready = None, 1),
        ("cheaper ones first", |pod| pod.deletion_cost = -1, 1),
        ("dearer ones last", |pod| pod.deletion_cost = 1, 0),
        ("ready for a shorter time", |pod| pod.ready = Some(second(900)), 1),
        ("ready for longer", |pod| pod.ready = Some(second(1)), 0),
        ("shorter, but of the same magnitude", |pod| pod.ready = Some(second(101)), 0),
        ("more restarts", |pod| pod.restarts = 1, 1),
        ("younger", |pod| pod.created = second(900), 1),
        ("younger, but of the same magnitude", |pod| pod.created = second(1), 0),
        ("readiness outweighs cost", |pod| (pod.ready, pod.deletion_cost) = (None, 9), 1),
    ];
    for (name, change, want) in rows {
        assert_eq!(victim(change, &[]), want, "{name}");
    }
}

#[test]
fn pods_on_crowded_nodes_go_first_whatever_their_replica_set() {
    let neighbour = Pod { set: 2, node: Some(7), ..pod(2) };
    let gone = Pod { is_terminating: true, ..neighbour.clone() };
    assert_eq!(victim(|pod| pod.node = Some(7), &[neighbour]), 1);
    assert_eq!(victim(|pod| pod.node = Some(7), &[gone]), 0);
}

#[test]
fn all_pods_go_without_a_choice_and_in_order() {
    let pods = [pod(0), pod(1), pod(2)];
    let want = Some(Difference::Delete { victims: vec![0, 1, 2], by_chance: false });
    assert_eq!(difference(&set(0, 0), &pods, NOW), want);
}

#[test]
fn terminating_failed_and_foreign_pods_are_replaced_or_ignored() {
    let mut pods = [pod(0), pod(1), pod(2), pod(3)];
    pods[1].is_terminating = true;
    pods[2].phase = Phase::Failed;
    pods[3].set = 2;
    assert_eq!(difference(&set(1, 0), &pods, NOW), None);
    let want = Some(Difference::Create(2));
    assert_eq!(difference(&set(3, 0), &pods, NOW), want);
}

#[test]
fn one_sync_makes_at_most_a_burst() {
    let want = Some(Difference::Create(BURST));
    assert_eq!(difference(&set(BURST + 1, 0), &[], NOW), want);
}

#[test]
fn a_pod_is_available_once_it_was_ready_for_long_enough() {
    let set = set(2, 10);
    let mut pods = [pod(0), pod(1)];
    pods[1].ready = Some(second(995));
    let counts = |now| count(&set, &pods, now).available;
    assert_eq!(counts(second(1_000)), 1);
    assert_eq!(next_check(&set, &pods, second(1_000)), Some(second(1_005)));
    assert_eq!(counts(second(1_005)), 2, "exactly then, since v1.34");
    assert_eq!(next_check(&set, &pods, second(1_005)), None);
}

/// Pods of one age (ready for 900 s), and others that have been ready for `ready` s.
fn mixed(count: u32, ready: u64, created: u64) -> Vec<Pod> {
    let change = |number| match number % 2 {
        0 => pod(number),
        _ => Pod { ready: Some(second(1_000 - ready)), created: second(created), ..pod(number) },
    };
    (0..count).map(change).collect()
}

#[test]
fn victims_are_a_matter_of_chance_only_among_many_that_have_no_clear_order() {
    let restarted = |mut pods: Vec<Pod>| {
        // More restarts go first among the equally old, the UID among those of about the same age.
        pods[12].restarts = 1;
        pods
    };
    let rows = [
        ("all alike", mixed(14, 900, 0), false),
        ("ages apart", mixed(14, 100, 0), false),
        ("ages apart, one restarted", restarted(mixed(14, 100, 0)), false),
        ("about the same age", mixed(14, 890, 0), true),
        ("about the same age, one restarted", restarted(mixed(14, 890, 0)), true),
        ("about the same age, but few", mixed(12, 890, 0), false),
    ];
    for (name, pods, want) in rows {
        let size = u32::try_from(pods.len()).expect("few");
        match difference(&set(size - 1, 0), &pods, NOW) {
            Some(Difference::Delete { by_chance, .. }) => assert_eq!(by_chance, want, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}
