use std::{vec, vec::Vec};

use super::*;
use crate::{spec::RollingUpdate, units::IntOrPercent};

fn wanted(replicas: u32, max_surge: IntOrPercent, max_unavailable: IntOrPercent) -> Wanted {
    Wanted::new(&spec::Deployment {
        replicas,
        strategy: Strategy {
            kind: StrategyType::RollingUpdate,
            rolling_update: Some(RollingUpdate { max_surge, max_unavailable }),
        },
        ..spec::Deployment::default()
    })
}

fn count(replicas: u32, surge: u32, unavailable: u32) -> Wanted {
    let (surge, unavailable) = (IntOrPercent::Int(surge), IntOrPercent::Int(unavailable));
    wanted(replicas, surge, unavailable)
}

/// A deployment whose first revision is up.
fn up(wanted: Wanted) -> Deployment {
    let mut deployment = Deployment::new(wanted);
    for _ in 0..3 {
        sync(&mut deployment);
        settle_set(&mut deployment, 1, true);
    }
    assert!(deployment.is_complete(deployment.status()));
    deployment
}

fn sync(deployment: &mut Deployment) -> Vec<Change> {
    let mut changes = Vec::new();
    deployment.sync(Timestamp::ZERO, &|_| false, &mut changes);
    changes
}

fn settle_set(deployment: &mut Deployment, template: u32, are_available: bool) {
    let replicas = deployment.set(template).map_or(0, |set| set.replicas);
    count_set(deployment, template, replicas, if are_available { replicas } else { 0 });
}

fn count_set(deployment: &mut Deployment, template: u32, replicas: u32, available: u32) {
    let counts = Counts { replicas, ready: available, available, terminating: 0 };
    deployment.count(template, counts);
}

fn roll(deployment: &mut Deployment) {
    let template = deployment.wanted().template + 1;
    let wanted = Wanted { template, ..deployment.wanted().clone() };
    deployment.want(wanted);
}

fn size(deployment: &Deployment, template: u32) -> u32 {
    deployment.set(template).map_or(0, |set| set.replicas)
}

#[test]
fn bounds_are_resolved_as_upstream_does() {
    let rows = [
        (1, 1, 0, 1, 2),
        (2, 1, 0, 2, 3),
        (3, 1, 0, 3, 4),
        (4, 1, 1, 3, 5),
        (5, 2, 1, 4, 7),
        (8, 2, 2, 6, 10),
        (10, 3, 2, 8, 13),
        (20, 5, 5, 15, 25),
        (100, 25, 25, 75, 125),
    ];
    for (replicas, surge, unavailable, floor, ceiling) in rows {
        let quarter = IntOrPercent::Percent(25);
        let wanted = wanted(replicas, quarter, quarter);
        assert_eq!(wanted.max_surge(), surge, "{replicas}");
        assert_eq!(wanted.max_unavailable(), unavailable, "{replicas}");
        assert_eq!(wanted.min_available(), floor, "{replicas}");
        assert_eq!(replicas + wanted.max_surge(), ceiling, "{replicas}");
    }
}

#[test]
fn two_bounds_of_zero_leave_one_pod_unavailable() {
    let wanted = wanted(1, IntOrPercent::Int(0), IntOrPercent::Percent(25));
    assert_eq!((wanted.max_surge(), wanted.max_unavailable()), (0, 1));
}

#[test]
fn no_more_may_be_unavailable_than_are_wanted() {
    assert_eq!(count(3, 0, 10).min_available(), 0);
    assert_eq!(count(0, 5, 10).max_unavailable(), 0);
}

/// The sizes of old and new after each sync that changed them. New pods are available two syncs
/// after their creation.
fn steps(wanted: Wanted) -> Vec<(u32, u32)> {
    let mut deployment = up(wanted);
    roll(&mut deployment);
    let mut seen = Vec::new();
    let mut last_sizes = vec![0, 0];
    for _ in 0..60 {
        sync(&mut deployment);
        let (old, new) = (size(&deployment, 1), size(&deployment, 2));
        if seen.last() != Some(&(old, new)) {
            seen.push((old, new));
        }
        last_sizes.push(new);
        let available = last_sizes[last_sizes.len() - 3];
        settle_set(&mut deployment, 1, true);
        count_set(&mut deployment, 2, new, available.min(new));
    }
    seen
}

#[test]
fn rollouts_step_as_in_the_reference_traces() {
    type Row = ((u32, u32, u32), &'static [(u32, u32)]);
    let rows: [Row; 5] = [
        ((10, 3, 2), &[(8, 3), (8, 5), (5, 5), (5, 8), (3, 8), (3, 10), (0, 10)]),
        ((4, 1, 1), &[(3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 4), (0, 4)]),
        ((3, 1, 0), &[(3, 1), (2, 1), (2, 2), (1, 2), (1, 3), (0, 3)]),
        ((4, 0, 1), &[(3, 0), (3, 1), (2, 1), (2, 2), (1, 2), (1, 3), (0, 3), (0, 4)]),
        ((10, 10, 0), &[(10, 10), (0, 10)]),
    ];
    for ((replicas, surge, unavailable), want) in rows {
        let got = steps(count(replicas, surge, unavailable));
        assert_eq!(got, want, "{replicas}/{surge}/{unavailable}");
    }
}

#[test]
fn a_new_replica_set_is_made_at_its_size() {
    let mut deployment = up(count(10, 3, 2));
    roll(&mut deployment);
    let changes = sync(&mut deployment);
    assert_eq!(changes[0], Change::Created { template: 2, replicas: 3 });
    assert!(changes.contains(&Change::Scaled { template: 1, from: 10, to: 8 }));
}

#[test]
fn a_rollout_that_never_gets_available_does_not_eat_the_old_capacity() {
    let mut deployment = up(count(10, 3, 2));
    roll(&mut deployment);
    for _ in 0..50 {
        sync(&mut deployment);
        settle_set(&mut deployment, 1, true);
        settle_set(&mut deployment, 2, false);
    }
    assert_eq!((size(&deployment, 1), size(&deployment, 2)), (8, 5));
}

#[test]
fn unhealthy_old_pods_go_first_and_all_at_once() {
    let mut deployment = up(count(10, 3, 2));
    count_set(&mut deployment, 1, 10, 3);
    roll(&mut deployment);
    sync(&mut deployment);
    // total 13, floor 8, three new ones unavailable: two may go, though seven are unhealthy.
    assert_eq!((size(&deployment, 1), size(&deployment, 2)), (8, 3));
}

/// Old 8 and new 5 of 10, as in the middle of a rollout.
fn halfway() -> Deployment {
    let mut deployment = up(wanted(10, IntOrPercent::Percent(25), IntOrPercent::Int(2)));
    roll(&mut deployment);
    for _ in 0..2 {
        sync(&mut deployment);
        settle_set(&mut deployment, 1, true);
        settle_set(&mut deployment, 2, false);
    }
    assert_eq!((size(&deployment, 1), size(&deployment, 2)), (8, 5));
    deployment
}

#[test]
fn a_change_of_replicas_in_a_rollout_keeps_the_proportion() {
    for (replicas, want) in [(20, (15, 10)), (4, (3, 2)), (0, (0, 0))] {
        let mut deployment = halfway();
        let wanted = Wanted { replicas, ..deployment.wanted().clone() };
        deployment.want(wanted);
        sync(&mut deployment);
        let got = (size(&deployment, 1), size(&deployment, 2));
        assert_eq!(got, want, "to {replicas}");
    }
}

#[test]
fn recreation_waits_for_pods_that_terminate() {
    let mut deployment = up(Wanted {
        strategy: Strategy { kind: StrategyType::Recreate, rolling_update: None },
        ..count(3, 0, 0)
    });
    roll(&mut deployment);
    sync(&mut deployment);
    assert_eq!((size(&deployment, 1), deployment.set(2)), (0, None));
    settle_set(&mut deployment, 1, true);
    let mut changes = Vec::new();
    deployment.sync(Timestamp::ZERO, &|_| true, &mut changes);
    assert_eq!(deployment.set(2), None, "an old pod still terminates");
    sync(&mut deployment);
    assert_eq!(size(&deployment, 2), 3);
}

#[test]
fn without_progress_the_deadline_is_noted_once_and_nothing_stops() {
    let mut deployment = Deployment::new(count(2, 1, 0));
    let at = |seconds| Timestamp::ZERO + Nanos::from_secs(seconds);
    let mut look = Look::Never;
    for _ in 0..3 {
        look = deployment.sync(Timestamp::ZERO, &|_| false, &mut Vec::new());
        count_set(&mut deployment, 1, 2, 0);
    }
    assert_eq!(look, Look::After(Nanos::from_secs(601)));
    let mut changes = Vec::new();
    deployment.sync(at(601), &|_| false, &mut changes);
    let progress = deployment.status().progress.map(|progress| progress.reason);
    assert_eq!(progress, Some(Reason::TimedOut));
    assert_eq!(changes, [Change::Status]);
    count_set(&mut deployment, 1, 2, 2);
    sync(&mut deployment);
    let progress = deployment.status().progress.map(|progress| progress.reason);
    assert_eq!(progress, Some(Reason::Available));
}

#[test]
fn going_back_to_a_template_takes_its_replica_set_with_a_new_revision() {
    let mut deployment = up(count(2, 2, 0));
    roll(&mut deployment);
    for _ in 0..5 {
        sync(&mut deployment);
        settle_set(&mut deployment, 1, true);
        settle_set(&mut deployment, 2, true);
    }
    let wanted = Wanted { template: 1, ..deployment.wanted().clone() };
    deployment.want(wanted);
    sync(&mut deployment);
    assert_eq!(deployment.sets().len(), 2);
    assert_eq!(deployment.set(1).map(|set| set.revision), Some(3));
}

/// As the real controller did in case 271 of seed 2686492998: paused between the end of the old pods and the
/// new ReplicaSet, it scales up the last one, and removes it in the same sync by what it had read.
#[test]
fn a_paused_deployment_removes_by_what_it_read_before_it_scaled() {
    for (history_limit, is_kept) in [(0, false), (1, true)] {
        let mut deployment = up(Wanted { history_limit, ..count(1, 1, 0) });
        let wanted = Wanted { replicas: 0, ..deployment.wanted().clone() };
        deployment.want(wanted);
        sync(&mut deployment);
        settle_set(&mut deployment, 1, true);
        let wanted =
            Wanted { paused: true, template: 2, replicas: 1, ..deployment.wanted().clone() };
        deployment.want(wanted);
        let changes = sync(&mut deployment);
        let scaled = Change::Scaled { template: 1, from: 0, to: 1 };
        assert!(changes.contains(&scaled), "{history_limit}: {changes:?}");
        let removed = changes.contains(&Change::Removed { template: 1 });
        assert_eq!((removed, deployment.set(1).is_some()), (!is_kept, is_kept), "{changes:?}");
    }
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut deployment = up(count(4, 1, 1));
    let wanted = Wanted { paused: true, template: 2, replicas: 6, ..deployment.wanted().clone() };
    deployment.want(wanted);
    sync(&mut deployment);
    assert_eq!((size(&deployment, 1), deployment.set(2)), (6, None));
}
