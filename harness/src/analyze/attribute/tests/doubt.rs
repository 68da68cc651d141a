//! Instants that are not known exactly, gaps of the watch, and nodes that are lost unnoticed.

use super::{cluster::*, *};

#[test]
fn times_that_are_known_to_a_second_count_for_all_that_they_may_mean() {
    let begun = || {
        calm().deleted("a", 100.0).signal("a", 100.0, 1.0, Signal::Sigterm).exited("a", 130.0, 0)
    };
    // The deletion bounds its SIGTERM: 99.75 s at the earliest.
    let killed = |seconds| calm().exited("a", seconds, 139);
    let refused = |seconds| new(Outcome::ConnectRefused, seconds);
    let idle = |seconds| reused(Outcome::EofReused, 9.0, seconds, 0.2);
    check([
        ("before SIGTERM can have been", begun(), refused(99.7), Cause::Unexplained, ""),
        ("as it may have been", begun(), refused(99.8), Cause::TerminationRace, "a"),
        ("idle before it", begun(), idle(99.7), Cause::IdleTimeoutRace, ""),
        ("idle as it may have been", begun(), idle(99.8), Cause::TerminationRace, "a"),
        ("before a crash can have been", killed(100.0), refused(98.9), Cause::Unexplained, ""),
        ("as a crash may have been", killed(100.0), refused(99.6), Cause::Crash, "a"),
        ("after it", killed(100.0), refused(100.6), Cause::Crash, "a"),
        (
            "cut as a crash may have been",
            killed(100.0),
            reused(Outcome::EofReused, 9.0, 99.6, 0.2),
            Cause::Crash,
            "a",
        ),
    ]);
}

#[test]
fn a_gap_of_the_watch_gives_no_cause() {
    // Nothing was heard from 100 s to 130 s. What states its time is known all the same.
    let replaced = |stated: bool| {
        let (at, off) = if stated { (110.0, 0.5) } else { (130.0, 30.0) };
        let deleted = |cluster: Cluster, pod: &str| {
            let (grace, reason) = (Nanos::from_secs(30), DeleteReason::Unknown);
            cluster
                .event(at, off, EventKind::PodDeleted { pod: pod.into(), grace, reason })
                .signal(pod, at, off, Signal::Sigterm)
                .event(130.0, 30.0, EventKind::PodGone { pod: pod.into() })
        };
        deleted(calm(), "a").pod("c", 2, 102.0, 109.0)
    };
    let survived = |stated| replaced(stated).endpoints_known_to(130.0, 30.0, "b c");
    let disjoint = |stated| {
        let cluster = replaced(stated).endpoints_known_to(130.0, 30.0, "c");
        cluster.event(130.0, 30.0, EventKind::PodUnready { pod: "b".into(), reason: "x".into() })
    };
    // Its deletion was seen after the gap, its exit states its time, and its signal nobody saw.
    let unsigned = || {
        let (grace, reason) = (Nanos::from_secs(30), DeleteReason::Unknown);
        let deleted = EventKind::PodDeleted { pod: "a".into(), grace, reason };
        calm()
            .event(130.0, 30.0, deleted)
            .exited("a", 110.0, 0)
            .endpoints_known_to(130.0, 30.0, "b")
    };
    let refused = |seconds| new(Outcome::ConnectRefused, seconds);
    let idle = |seconds| reused(Outcome::EofReused, 9.0, seconds, 0.2);
    let gap = Some(Doubt::Gap);
    let rows = [
        ("before it", survived(false), refused(99.0), Cause::Unexplained, None),
        (
            "in it, and the deletion states its time",
            survived(true),
            refused(110.6),
            Cause::TerminationRace,
            None,
        ),
        ("in it, before that time", survived(true), refused(108.0), Cause::Unexplained, None),
        ("in it, and nobody knows when", survived(false), refused(110.6), Cause::Unexplained, gap),
        ("an idle connection", survived(false), idle(110.6), Cause::Unexplained, gap),
        (
            "an idle connection of a known pod",
            survived(false),
            of("a", idle(110.6)),
            Cause::Unexplained,
            gap,
        ),
        (
            "of a pod that nothing befell",
            survived(false),
            of("c", idle(125.0)),
            Cause::IdleTimeoutRace,
            None,
        ),
        ("an exit in it, of a crash or not", unsigned(), refused(110.6), Cause::Unexplained, gap),
        ("after it", survived(false), refused(131.0), Cause::TerminationRace, None),
        (
            "nobody outlived it, and one was ready all the time",
            disjoint(true),
            refused(112.0),
            Cause::TerminationRace,
            None,
        ),
        (
            "nobody outlived it, and perhaps there was nobody",
            disjoint(true),
            refused(109.7),
            Cause::Unexplained,
            gap,
        ),
    ];
    for (what, cluster, failure, cause, doubt) in rows {
        let (found, _, found_doubt) = cluster.judge(&[failure]).remove(0);
        assert_eq!((found, found_doubt), (cause, doubt), "{what}");
    }
}

#[test]
fn a_node_that_is_lost_is_a_black_hole_and_one_that_is_drained_is_not() {
    let on = |cluster: Cluster, pod: &str, node: &str| {
        cluster.event(0.1, 0.0, EventKind::PodScheduled { pod: pod.into(), node: node.into() })
    };
    let placed = || on(on(calm(), "a", "one"), "b", "two").node(0.2, "one", "True");
    let lost = || placed().node(100.0, "one", "Unknown");
    let removed = || lost().deleted_by("a", 400.0, DeleteReason::Unknown);
    let drained = || {
        placed()
            .deleted_by("a", 100.0, DeleteReason::Eviction)
            .signal("a", 100.0, HALF, Signal::Sigterm)
            .exited("a", 100.1, 0)
            .endpoints(100.02, "a! b")
            .node(130.0, "one", "False")
    };
    let timeout = |seconds| slow(Outcome::ConnectTimeout, seconds);
    check([
        ("noticed", lost(), timeout(120.0), Cause::Blackhole, "a"),
        ("not noticed yet", lost(), timeout(60.0), Cause::Blackhole, "a"),
        ("long before", lost(), timeout(40.0), Cause::Overload, ""),
        ("connected, and then lost", lost(), slow(Outcome::Timeout, 110.0), Cause::Blackhole, "a"),
        ("its pods deleted for it", removed(), timeout(402.0), Cause::Blackhole, "a"),
        ("back", lost().node(150.0, "one", "True"), timeout(160.0), Cause::Overload, ""),
        ("drained", drained(), timeout(101.0), Cause::TerminationRace, "a"),
        (
            "drained, refused",
            drained(),
            new(Outcome::ConnectRefused, 100.4),
            Cause::TerminationRace,
            "a",
        ),
    ]);
}
