//! Sets of pods behind kube-proxy.

use super::{cluster::*, *};

/// `c` for `a` at 100 s. Servers say nothing of their lives, and exit in good order a tenth of a
/// second after SIGTERM.
fn replaced() -> Cluster {
    calm()
        .pod("c", 2, 95.0, 99.9)
        .endpoints(99.95, "a b c")
        .ends("a", 100.0, 0.1, 0)
        .endpoints(100.02, "a! b c")
        .endpoints(101.2, "b c")
}

/// They are replaced one after the other: as [`replaced`], and `d` for `b` at 110 s.
fn rollout() -> Cluster {
    replaced()
        .pod("d", 2, 105.0, 109.9)
        .endpoints(109.95, "b c d")
        .ends("b", 110.0, 0.1, 0)
        .endpoints(110.02, "b! c d")
        .endpoints(111.2, "c d")
}

#[test]
fn the_pod_that_goes_is_met_as_long_as_the_data_path_may_lag() {
    use Cause::{IdleTimeoutRace, Overload, TerminationRace, Unexplained};
    use Outcome as O;
    check([
        ("refused", rollout(), new(O::ConnectRefused, 100.3), TerminationRace, "a"),
        ("refused on a late node", rollout(), new(O::ConnectRefused, 104.9), TerminationRace, "a"),
        ("later than any node", rollout(), new(O::ConnectRefused, 105.2), Unexplained, ""),
        ("the next one", rollout(), new(O::ConnectRefused, 110.3), TerminationRace, "b"),
        ("address gone", rollout(), slow(O::ConnectTimeout, 100.9), TerminationRace, "a"),
        (
            "the next one goes within the time-out, and was there as it began",
            rollout(),
            slow(O::ConnectTimeout, 108.6),
            Overload,
            "",
        ),
        ("no way to it", rollout(), new(O::ConnectUnreachable, 101.3), TerminationRace, "a"),
        (
            "no way to one that goes, although nobody saw it end",
            calm().deleted("a", 100.0).endpoints(100.02, "a! b"),
            new(O::ConnectUnreachable, 100.9),
            TerminationRace,
            "a",
        ),
        (
            "no answer of one that goes, although nobody saw it end",
            calm().deleted("a", 100.0).endpoints(100.02, "a! b"),
            slow(O::ConnectTimeout, 100.9),
            Overload,
            "",
        ),
        ("before anybody goes", rollout(), slow(O::ConnectTimeout, 97.0), Overload, ""),
        ("as the listener closes", rollout(), new(O::ResetNew, 100.05), TerminationRace, "a"),
        (
            "an old connection, closed while idle",
            rollout(),
            reused(O::EofReused, 20.0, 100.06, 0.2),
            TerminationRace,
            "a",
        ),
        (
            "an old connection, long before",
            rollout(),
            reused(O::EofReused, 20.0, 90.0, 0.2),
            IdleTimeoutRace,
            "",
        ),
        (
            "a connection that cannot be the old pod's",
            rollout(),
            reused(O::EofReused, 106.5, 110.06, 0.2),
            TerminationRace,
            "b",
        ),
        (
            "an old connection, long after its pod has ended",
            rollout(),
            reused(O::EofReused, 20.0, 108.0, 0.2),
            IdleTimeoutRace,
            "",
        ),
        ("connected, and no answer", rollout(), slow(O::Timeout, 100.1), Overload, ""),
    ]);
}

#[test]
fn where_nobody_comes_or_goes_nothing_is_made_up() {
    use Outcome as O;
    let bad = || {
        // A rollout to an image that does not exist: never a container, never ready.
        let created = EventKind::PodCreated { pod: "x".into(), revision: 2 };
        calm().event(40.0, 0.0, created)
    };
    check([
        ("refused", calm(), new(O::ConnectRefused, 50.0), Cause::Unexplained, ""),
        ("reset", calm(), new(O::ResetNew, 50.0), Cause::Unexplained, ""),
        ("cut off", calm(), reused(O::Truncated, 9.0, 50.0, 9.0), Cause::Unexplained, ""),
        ("a bad image", bad(), new(O::ConnectRefused, 50.0), Cause::Unexplained, ""),
        (
            "a bad image, idle",
            bad(),
            reused(O::EofReused, 9.0, 50.0, 0.1),
            Cause::IdleTimeoutRace,
            "",
        ),
        ("no route", calm(), new(O::ConnectUnreachable, 50.0), Cause::Blackhole, ""),
        ("slow", calm(), slow(O::Timeout, 50.0), Cause::Overload, ""),
        ("an error of its own", calm(), new(O::StatusOther, 50.0), Cause::RefusedByApp, ""),
        (
            "an error of its own while one drains",
            calm().ends("a", 49.0, 5.0, 0).endpoints(49.1, "a! b"),
            reused(O::Status503, 9.0, 50.0, 1.0),
            Cause::RefusedByApp,
            "a",
        ),
        (
            "a pod that named itself before",
            rollout(),
            of("a", reused(O::EofReused, 20.0, 100.06, 0.2)),
            Cause::TerminationRace,
            "a",
        ),
        (
            "another that named itself, as one goes",
            rollout(),
            of("b", reused(O::EofReused, 20.0, 100.06, 0.2)),
            Cause::IdleTimeoutRace,
            "b",
        ),
    ]);
}

#[test]
fn without_a_ready_endpoint_connections_are_rejected() {
    let refused = |seconds| new(Outcome::ConnectRefused, seconds);
    // One pod, replaced by `Recreate`, that closes its listener at once and exits 2 s later.
    let recreate = || {
        Cluster::default()
            .pod("a", 1, 0.0, 0.0)
            .endpoints(0.0, "a")
            .ends("a", 100.0, 2.0, 0)
            .endpoints(100.02, "a!")
            .endpoints(103.0, "a?")
            .endpoints(104.0, "")
            .pod("b", 2, 104.0, 108.0)
            .endpoints(108.05, "b")
    };
    let race = Cause::TerminationRace;
    let none = Cause::NoReadyEndpoint;
    check([
        (
            "the last one is still offered while it terminates",
            recreate(),
            refused(101.0),
            race,
            "a",
        ),
        ("until it is taken out", recreate(), refused(102.9), race, "a"),
        ("nobody", recreate(), refused(103.5), none, ""),
        ("nobody at all", recreate(), refused(105.0), none, ""),
        ("a node that does not know of the new one yet", recreate(), refused(108.5), none, ""),
        ("before the first pod", recreate(), refused(50.0), Cause::Unexplained, ""),
        ("no refusal", recreate(), slow(Outcome::ConnectTimeout, 102.9), race, "a"),
    ]);
}

#[test]
fn a_pod_that_is_ready_and_does_not_listen_is_told_from_one_that_goes() {
    use LifecyclePhase as L;
    let refused = |seconds| new(Outcome::ConnectRefused, seconds);
    // `c` says that it listens 2 s after it was ready.
    let late = |cluster: Cluster| {
        cluster.says("c", 96.0, L::Starting).says_more("c", 102.0, L::Listening, "addr=10.0.0.1:80")
    };
    let loopback = || {
        calm()
            .pod("c", 2, 90.0, 92.0)
            .says_more("c", 91.5, L::Listening, "addr=\"127.0.0.1:8080\"")
            .endpoints(92.0, "a b c")
    };
    let young = || calm().pod("c", 2, 90.0, 92.0).endpoints(92.0, "a b c");
    let rows: [Row; 9] = [
        ("it says so", late(young()), refused(95.0), Cause::PrematureReady, "c"),
        (
            "it says so, as another goes: the one in rotation is met for certain",
            late(rollout()),
            refused(100.4),
            Cause::PrematureReady,
            "c",
        ),
        ("it listens now", late(rollout()), refused(102.5), Cause::TerminationRace, "a"),
        ("it says nothing, and is new", young(), refused(92.4), Cause::PrematureReady, "c"),
        ("it says nothing, and has served since", young(), refused(95.0), Cause::Unexplained, ""),
        (
            "it says nothing, and another goes",
            rollout(),
            refused(100.3),
            Cause::TerminationRace,
            "a",
        ),
        ("on a loopback address", loopback(), refused(200.0), Cause::WrongBind, "c"),
        (
            "not yet an endpoint",
            calm().pod("c", 2, 90.0, 92.0).endpoints(96.0, "a b c"),
            refused(93.0),
            Cause::Unexplained,
            "",
        ),
        (
            "one that ends before it ever was ready loses nothing",
            {
                let created = EventKind::PodCreated { pod: "x".into(), revision: 2 };
                calm().event(90.0, 0.0, created).started("x", 91.0, 0).ends("x", 95.0, 0.1, 0)
            },
            refused(95.3),
            Cause::Unexplained,
            "",
        ),
    ];
    check(rows);
}

#[test]
fn a_pod_that_tells_of_its_life_is_met_when_it_says_that_it_does_not_serve() {
    use LifecyclePhase as L;
    use Outcome as O;
    // Told from the start, by both; `a` goes at 100 s.
    let going = || {
        ["a", "b"]
            .iter()
            .fold(calm(), |all, pod| all.says(pod, 1.1, L::Starting).says(pod, 1.2, L::Listening))
            .deleted("a", 100.0)
            .signal("a", 100.05, 0.0, Signal::Sigterm)
            .endpoints(100.02, "a! b")
    };
    let drains = || {
        let closed = going().says("a", 105.1, L::ListenerClosed).says("a", 105.4, L::Exiting);
        closed.exited("a", 105.5, 0).endpoints(103.0, "a! b")
    };
    let first = || going().says("a", 100.06, L::ListenerClosed).exited("a", 104.0, 0);
    let exits = || going().says("a", 100.06, L::Exiting).exited("a", 100.3, 0);
    // Its log was followed from SIGTERM on only: that it listened, it said before.
    let half = || calm().says("b", 60.0, L::NotReady).exited("a", 100.0, 139);
    let generator = || EventKind::GeneratorReady {
        generator: 0,
        pod: "g".into(),
        node: "n".into(),
        offset_ns: 0,
        uncertainty: Nanos::from_millis(20),
    };
    let race = Cause::TerminationRace;
    check([
        (
            "it drains, and serves on",
            drains(),
            new(O::ConnectRefused, 100.4),
            Cause::Unexplained,
            "",
        ),
        ("it drains, a reset", drains(), new(O::ResetNew, 100.4), Cause::Unexplained, ""),
        ("it has closed", drains(), new(O::ConnectRefused, 105.2), Cause::Unexplained, ""),
        ("it closes first", first(), new(O::ConnectRefused, 100.4), race, "a"),
        ("just before that", first(), new(O::ConnectRefused, 100.04), Cause::Unexplained, ""),
        ("in its queue as it closes", first(), new(O::ResetNew, 100.059), race, "a"),
        (
            "long in its queue as it closes",
            first(),
            Failure { ended: at(100.061), ..new(O::ResetNew, 100.04) },
            Cause::AcceptQueueDrop,
            "a",
        ),
        (
            "long in its queue, or not, by a generator's clock that is not known exactly",
            first().event(1.0, 0.0, generator()),
            Failure { ended: at(100.061), ..new(O::ResetNew, 100.04) },
            race,
            "a",
        ),
        ("it exits at once", exits(), new(O::ConnectRefused, 100.4), Cause::AbruptExit, "a"),
        ("half a log says nothing", half(), new(O::ConnectRefused, 70.0), Cause::Unexplained, ""),
        (
            "half a log, and another crashed",
            half(),
            new(O::ConnectRefused, 100.3),
            Cause::Crash,
            "a",
        ),
    ]);
}

#[test]
fn a_pod_that_said_that_it_exits_has_ended_even_if_nobody_saw_that() {
    use LifecyclePhase as L;
    // The API server was gone as it ended: no exit, and its pod is never gone.
    let said = |phase| {
        calm()
            .says("a", 1.1, L::Starting)
            .says("a", 1.2, L::Listening)
            .deleted("a", 100.0)
            .told("a", 100.05, Signal::Sigterm)
            .endpoints(100.02, "a! b")
            .says("a", 100.1, phase)
    };
    let timeout = || slow(Outcome::ConnectTimeout, 100.9);
    check([
        ("it exits", said(L::Exiting), timeout(), Cause::AbruptExit, "a"),
        (
            "it drained and exits",
            said(L::ListenerClosed).says("a", 100.2, L::Exiting),
            timeout(),
            Cause::TerminationRace,
            "a",
        ),
        ("it still drains", said(L::DrainStarted), timeout(), Cause::Overload, ""),
    ]);
}

/// A story, its failures, and cause and pods of the last of them.
type Echo = (&'static str, Cluster, Vec<Failure>, (Cause, &'static str));

#[test]
fn a_flow_that_a_node_keeps_to_a_pod_long_gone_echoes_the_time_outs_of_its_end() {
    use Outcome as O;
    let first = || slow(O::ConnectTimeout, 100.9);
    let later = |seconds| slow(O::ConnectTimeout, seconds);
    let quiet = |seconds| slow(O::Timeout, seconds);
    // All of its own are in the first wave, and `c` has been there since.
    let gone = replaced;
    let race = (Cause::TerminationRace, "a");
    let overload = (Cause::Overload, "");
    let rows: [Echo; 9] = [
        ("13 s later", gone(), vec![first(), later(114.0)], race),
        ("no route 13 s later", gone(), vec![first(), new(O::ConnectUnreachable, 114.0)], race),
        ("as long as the flow is kept", gone(), vec![first(), later(222.8)], race),
        ("no longer", gone(), vec![first(), later(223.0)], overload),
        ("before the first one's port was free", gone(), vec![first(), later(97.0)], overload),
        ("without a first wave", gone(), vec![later(114.0)], overload),
        ("a first wave of overload", calm(), vec![first(), later(114.0)], overload),
        (
            "while connections wait for answers in vain",
            gone(),
            vec![first(), quiet(109.0), later(114.0)],
            overload,
        ),
        ("long after some waited in vain", gone(), vec![first(), quiet(103.9), later(114.0)], race),
    ];
    for (what, cluster, failures, (cause, pods)) in rows {
        let (found, named, _) = cluster.judge(&failures).pop().expect("a failure");
        assert_eq!((found, &*named.join(" ")), (cause, pods), "{what}");
    }
    // An ingress connects to pods without the node's translation.
    let ingress = gone().through(Way::Ingress);
    let found = ingress.judge(&[first(), slow(O::Timeout, 300.0)]);
    assert_eq!(found[1].0, Cause::Overload);
}

#[test]
fn a_late_listener_that_says_nothing_refuses_from_the_moment_it_is_ready_and_without_a_break() {
    let young = || calm().pod("c", 2, 90.0, 92.0).endpoints(92.0, "a b c");
    let refused = |seconds: &[f64]| -> Vec<Failure> {
        seconds.iter().map(|at| new(Outcome::ConnectRefused, *at)).collect()
    };
    let endless: Vec<f64> = (185..320).map(|half| f64::from(half) / 2.0).collect();
    let rows: [(&str, Cluster, &[f64], &[bool]); 6] = [
        ("while they go on", young(), &[92.4, 93.9, 95.5, 99.0], &[true, true, true, false]),
        ("not before it is ready", young(), &[91.0, 92.1, 92.2], &[false, true, true]),
        ("from its first moments", young(), &[94.0, 94.1, 94.2], &[false; 3]),
        ("not for ever", young(), &endless, &[]),
        ("one that was there before", calm(), &[0.1, 0.2, 0.3], &[false; 3]),
        (
            "one that says that it listened",
            young().says("c", 91.5, LifecyclePhase::Listening),
            &[92.1, 92.2],
            &[false; 2],
        ),
    ];
    for (what, cluster, seconds, late) in rows {
        for (index, (cause, pods, _)) in cluster.judge(&refused(seconds)).into_iter().enumerate() {
            // An endless row ends 60 s after the container may have started.
            let is_late = late.get(index).copied().unwrap_or(seconds[index] < 151.5);
            let expected =
                if is_late { (Cause::PrematureReady, "c") } else { (Cause::Unexplained, "") };
            assert_eq!((cause, &*pods.join(" ")), expected, "{what}: {}", seconds[index]);
        }
    }
}

#[test]
fn several_pods_that_go_are_a_set_and_name_no_cause_that_they_do_not_share() {
    use Doubt::Ambiguous;
    let refused = new(Outcome::ConnectRefused, 100.4);
    let kill = |pod: &str| EventKind::ProbeKill { pod: pod.into(), probe: ProbeKind::Liveness };
    let many = |n: u32| {
        let names = ["a", "b", "c", "d"];
        let all = names.iter().take(4).fold(Cluster::default(), |all, name| {
            let revision = if *name > "b" && n == 2 { 2 } else { 1 };
            all.pod(name, revision, 0.0, 0.0)
        });
        all.endpoints(0.0, "a b c d")
    };
    let rows = [
        (
            "two at once",
            many(1).ends("a", 100.0, 0.1, 0).ends("b", 100.0, 0.1, 0).endpoints(100.1, "a! b! c d"),
            Cause::TerminationRace,
            "a b",
            None,
        ),
        (
            "two rollouts at once: one of each revision",
            many(2).ends("b", 100.0, 0.1, 0).ends("c", 100.1, 0.1, 0).endpoints(100.2, "a b! c! d"),
            Cause::TerminationRace,
            "b c",
            None,
        ),
        (
            "one drains, one exits by the signal: what claims least",
            many(2)
                .ends("b", 100.0, 0.1, 0)
                .ends("c", 100.0, 0.1, 143)
                .endpoints(100.2, "a b! c! d"),
            Cause::TerminationRace,
            "b c",
            None,
        ),
        (
            "both exit by the signal",
            many(1)
                .ends("a", 100.0, 0.1, 143)
                .ends("b", 100.0, 0.1, 143)
                .endpoints(100.2, "a! b! c d"),
            Cause::AbruptExit,
            "a b",
            None,
        ),
        (
            "a crash and a probe's kill, both still offered",
            many(1).exited("a", 100.0, 139).event(100.0, 0.0, kill("b")),
            Cause::Unexplained,
            "a b",
            Some(Ambiguous),
        ),
        (
            "a crash that is still offered, and one that goes",
            many(1).exited("a", 100.0, 139).ends("b", 100.0, 0.1, 0).endpoints(100.2, "a b! c d"),
            Cause::Crash,
            "a",
            None,
        ),
        (
            "one that went a while ago, and one that goes now",
            many(1)
                .ends("a", 97.0, 0.1, 143)
                .endpoints(97.2, "a! b c d")
                .ends("b", 100.0, 0.1, 0)
                .endpoints(100.2, "b! c d"),
            Cause::TerminationRace,
            "b",
            None,
        ),
    ];
    for (what, cluster, cause, pods, doubt) in rows {
        let (found, named, found_doubt) = cluster.judge(std::slice::from_ref(&refused)).remove(0);
        assert_eq!((found, &*named.join(" "), found_doubt), (cause, pods, doubt), "{what}");
    }
}
