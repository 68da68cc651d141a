//! Lives as a cluster tells them: out of order, late, and not exactly.

use super::{cluster::*, *};
use crate::analyze::pods::PodLife;

fn life(cluster: &Cluster) -> PodLife {
    Lives::of(&cluster.events()).get("a").expect("it was made").clone()
}

#[test]
fn a_line_belongs_to_the_container_that_said_it_whenever_that_is_said_to_have_started() {
    use LifecyclePhase as L;
    // The container's start is known to half a second, its lines are exact and earlier.
    let cluster = Cluster::default()
        .pod("a", 1, 10.0, 12.0)
        .says("a", 10.6, L::Starting)
        .says_more("a", 10.7, L::Listening, "addr=\"127.0.0.1:80\"")
        .says("a", 20.1, L::Exiting)
        .exited("a", 20.2, 0)
        .started("a", 20.4, 1)
        .says("a", 20.3, L::Starting)
        .says_more("a", 20.5, L::Listening, "addr=\"0.0.0.0:80\"");
    let life = life(&cluster);
    let [first, second] = &life.containers[..] else { panic!("two containers") };
    let moment = |at: Option<crate::analyze::moment::Moment>| at.map(|at| at.at);
    assert_eq!(moment(first.listening), Some(at(10.7)));
    assert_eq!(moment(first.exiting), Some(at(20.1)));
    assert_eq!(moment(second.listening), Some(at(20.5)));
    assert_eq!(second.exiting, None);
    assert!(first.is_on_loopback && !second.is_on_loopback);
    assert_eq!((first.started.at, first.started.latest), (at(10.6), at(10.6)));
    assert_eq!(second.started.latest, at(20.3), "it ran before it could say so");
}

#[test]
fn of_containers_that_are_not_known_exactly_both_may_run() {
    let cluster =
        Cluster::default().pod("a", 1, 10.0, 12.0).exited("a", 20.0, 1).started("a", 20.2, 1);
    let life = life(&cluster);
    let running = |seconds| life.containers_at(at(seconds)).count();
    assert_eq!(
        [running(9.0), running(12.0), running(19.0), running(20.0), running(21.0)],
        [0, 1, 1, 2, 1]
    );
    let newest = life.container_at(at(20.0)).expect("one runs");
    assert_eq!(newest.started.at, at(20.2));
    assert!(life.container_before(newest).is_some_and(|before| before.exited.is_some()));
}

#[test]
fn sigterm_is_not_before_the_deletion_and_not_after_the_exit() {
    // A preStop command: the kubelet's SIGTERM is anywhere in the grace period.
    let cluster = Cluster::default()
        .pod("a", 1, 10.0, 12.0)
        .deleted("a", 100.0)
        .signal("a", 100.0, 30.0, Signal::Sigterm)
        .exited("a", 105.0, 0);
    let sigterm = life(&cluster).containers[0].sigterm.expect("it was sent");
    assert_eq!((sigterm.earliest, sigterm.latest), (at(99.75), at(105.5)));
}

#[test]
fn what_is_seen_after_a_gap_was_not_later() {
    let gone = |off| {
        let kind = EventKind::PodGone { pod: "a".into() };
        life(&Cluster::default().pod("a", 1, 10.0, 12.0).event(100.0, off, kind)).gone
    };
    let bounds = |off| gone(off).map(|gone| (gone.earliest, gone.latest));
    assert_eq!(bounds(30.0), Some((at(70.0), at(100.0))));
    assert_eq!(bounds(0.5), Some((at(99.5), at(100.5))), "by clocks that are not exact");
}

#[test]
fn a_pod_was_ready_all_the_time_only_if_nothing_may_have_been_otherwise() {
    let base = || Cluster::default().pod("a", 1, 10.0, 12.0);
    let unready = EventKind::PodUnready { pod: "a".into(), reason: String::new() };
    for (what, cluster, is_ready) in [
        ("nothing happened", base(), true),
        ("not ready in between", base().event(30.0, 0.0, unready.clone()), false),
        ("perhaps not ready", base().event(90.0, 50.0, unready.clone()), false),
        ("not ready later", base().event(90.0, 0.0, unready), true),
        ("perhaps deleted", base().deleted("a", 50.2), false),
        ("crashed", base().exited("a", 45.0, 1), false),
        ("gone", base().gone("a", 45.0), false),
    ] {
        assert_eq!(life(&cluster).is_ready(at(20.0), at(50.0)), is_ready, "{what}");
    }
    assert!(!life(&base()).is_ready(at(11.9), at(50.0)), "from before it was");
}
