//! Servers that say nothing of their lives: told by what breaks as they end, and by how they exit.

use super::{cluster::*, *};

/// Two pods, of which `a` goes at 100 s, by SIGTERM, exits `lasts` later, and is offered no more at
/// 100.02 s.
fn going(lasts: f64, code: i32) -> Cluster {
    Cluster::default()
        .pod("a", 1, 0.0, 0.0)
        .pod("b", 1, 0.0, 0.0)
        .endpoints(0.0, "a b")
        .ends("a", 100.0, lasts, code)
        .endpoints(100.02, "a! b")
        .endpoints(101.0, "b")
}

fn refused(seconds: f64) -> Failure {
    new(Outcome::ConnectRefused, seconds)
}

fn causes(cluster: &Cluster, failures: &[Failure]) -> Vec<Cause> {
    cluster.judge(failures).into_iter().map(|(cause, _, _)| cause).collect()
}

#[test]
fn go_closes_its_listener_and_idle_connections_and_that_is_a_termination_race() {
    // As seen on a cluster: 10 refused, 5 connect time-outs, 3 without an answer.
    let mut failures: Vec<Failure> =
        (0..10).map(|n| refused(100.1 + f64::from(n) / 20.0)).collect();
    failures.extend((0..5).map(|n| slow(Outcome::ConnectTimeout, 100.7 + f64::from(n) / 20.0)));
    failures.push(reused(Outcome::EofReused, 30.0, 100.06, 0.3));
    failures.push(reused(Outcome::ResetReused, 31.0, 100.06, 0.4));
    failures.push(reused(Outcome::EofReused, 32.0, 100.07, 3.0));
    let found = going(0.1, 0).judge(&failures);
    for (failure, one) in failures.iter().zip(found) {
        assert_eq!(one, (Cause::TerminationRace, vec!["a".into()], None), "{:?}", failure.outcome);
    }
}

#[test]
fn python_and_nginx_cut_what_is_in_work_and_exit_without_a_word() {
    let cluster = going(0.0, 0);
    let cut = [
        reused(Outcome::EofReused, 30.0, 100.06, 4.0),
        reused(Outcome::EofReused, 31.0, 100.061, 3.0),
        refused(100.3),
        slow(Outcome::ConnectTimeout, 100.9),
        reused(Outcome::EofReused, 32.0, 100.065, 0.2),
    ];
    assert_eq!(causes(&cluster, &cut), [Cause::AbruptExit; 5]);
    let answer = [reused(Outcome::Truncated, 30.0, 100.02, 40.0), refused(100.3)];
    assert_eq!(causes(&cluster, &answer), [Cause::AbruptExit; 2]);
    // Nothing in work as it ended: it cannot be told from one that drains, and need not be.
    assert_eq!(causes(&cluster, &[refused(100.3)]), [Cause::TerminationRace]);
}

#[test]
fn what_one_container_cuts_tells_of_all_of_its_revision_and_of_no_other() {
    let cut = [
        reused(Outcome::EofReused, 30.0, 100.06, 50.0),
        refused(100.3),
        refused(120.3),
        refused(140.3),
    ];
    let cluster = going(0.1, 0)
        .pod("c", 2, 90.0, 95.0)
        .endpoints(99.0, "a b c")
        .ends("b", 120.0, 0.1, 0)
        .endpoints(120.02, "b! c")
        .ends("c", 140.0, 0.1, 0)
        .endpoints(140.02, "c! d")
        .pod("d", 3, 130.0, 139.0);
    let (abrupt, race) = (Cause::AbruptExit, Cause::TerminationRace);
    assert_eq!(causes(&cluster, &cut), [abrupt, abrupt, abrupt, race]);
    // Of two revisions that end at once nobody knows whose it was.
    let both = going(0.1, 0)
        .pod("c", 2, 0.0, 0.0)
        .endpoints(1.0, "a b c")
        .ends("c", 100.0, 0.1, 0)
        .endpoints(100.02, "a! b c!")
        .ends("b", 120.0, 0.1, 0)
        .endpoints(120.02, "b! d");
    assert_eq!(causes(&both, &cut[..3]), [race; 3]);
}

#[test]
fn the_manner_of_its_end_tells_where_nothing_is_cut() {
    let oom = |cluster: Cluster, seconds: f64| {
        let kind =
            EventKind::ContainerExited { pod: "a".into(), code: 137, signal: Some(9), oom: true };
        cluster.event(seconds, HALF, kind)
    };
    let calm =
        || Cluster::default().pod("a", 1, 0.0, 0.0).pod("b", 1, 0.0, 0.0).endpoints(0.0, "a b");
    let killed = || {
        let kill = EventKind::ProbeKill { pod: "a".into(), probe: ProbeKind::Liveness };
        calm()
            .event(100.0, 0.2, kill)
            .signal("a", 100.0, 0.2, Signal::Sigterm)
            .exited("a", 101.0, 0)
            .started("a", 101.5, 1)
            .event(104.0, 0.0, EventKind::PodReady { pod: "a".into() })
    };
    let forced = || {
        calm()
            .deleted("a", 100.0)
            .signal("a", 100.05, HALF, Signal::Sigterm)
            .signal("a", 130.0, HALF, Signal::Sigkill)
            .exited("a", 130.0, 137)
            .endpoints(100.02, "a! b")
    };
    let idle = |seconds| reused(Outcome::EofReused, 9.0, seconds, 0.2);
    let rows: [(&str, Cluster, Failure, Cause); 15] = [
        ("by the signal", going(0.0, 143), refused(100.3), Cause::AbruptExit),
        (
            "by the signal's code, after a drain",
            going(8.0, 143),
            refused(100.6),
            Cause::TerminationRace,
        ),
        ("SIGKILL at the end of its grace", forced(), idle(130.0), Cause::GraceExceeded),
        ("refused before that", forced(), refused(101.0), Cause::TerminationRace),
        ("out of memory", oom(calm(), 100.0), idle(100.0), Cause::Crash),
        ("out of memory, refused", oom(calm(), 100.0), refused(100.2), Cause::Crash),
        (
            "out of memory while it drains",
            oom(calm().deleted("a", 99.0).signal("a", 99.0, HALF, Signal::Sigterm), 100.0),
            idle(100.4),
            Cause::Crash,
        ),
        ("killed from outside", calm().exited("a", 100.0, 137), idle(100.0), Cause::Crash),
        ("killed by its probe", killed(), idle(100.1), Cause::LivenessKill),
        ("killed by its probe, refused", killed(), refused(100.5), Cause::LivenessKill),
        ("started again, not ready again", killed(), refused(103.0), Cause::LivenessKill),
        ("ready again", killed(), refused(104.5), Cause::Unexplained),
        (
            "crashed, started again",
            calm().exited("a", 100.0, 1).started("a", 101.0, 1),
            refused(102.5),
            Cause::Crash,
        ),
        (
            "deleted without grace: no signal, no exit",
            calm().deleted("a", 100.0).gone("a", 100.1).endpoints(100.1, "b"),
            refused(100.6),
            Cause::TerminationRace,
        ),
        (
            "crashed before its SIGTERM was due",
            calm().deleted("a", 100.0).exited("a", 101.0, 1).endpoints(100.1, "a! b"),
            idle(101.0),
            Cause::Crash,
        ),
    ];
    for (what, cluster, failure, cause) in rows {
        assert_eq!(causes(&cluster, &[failure]), [cause], "{what}");
    }
}
