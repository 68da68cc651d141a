//! Pods that are there and do not answer in time, pods that are not there at all, and pods that end
//! without a deletion.

use super::*;

fn late(pod: &str, from: u64, to: u64) -> Failure {
    let sent = Timestamp(from * MILLISECOND);
    Failure { sent, pod: Some(pod.into()), ..failure(to, Outcome::Timeout, 0, from) }
}

fn outside(story: Story, ms: u64, signal: Signal) -> Story {
    story.at(ms, EventKind::SignalSent { pod: "a".into(), signal, by_kubelet: false })
}

/// A second pod, ready at `ms` and routed at once.
fn beside(story: Story, ms: u64) -> Story {
    let pod = || "b".to_string();
    story
        .at(ms - 500, EventKind::PodCreated { pod: pod(), revision: 2 })
        .at(
            ms - 400,
            EventKind::ContainerStarted { pod: pod(), restarts: 0, address: None, pid: None },
        )
        .at(ms, EventKind::PodReady { pod: pod() })
        .routed(ms, &["a", "b"])
}

fn ended(story: Story) -> Story {
    story.at(30_000, EventKind::TrafficEnded)
}

#[test]
fn time_outs_are_told_apart_by_what_their_pod_did_then() {
    let frozen = || outside(running(), 5_000, Signal::Sigstop);
    let thawed = || outside(frozen(), 8_000, Signal::Sigcont);
    let rows: [(&str, Story, Vec<Failure>, Cause); 11] = [
        ("frozen", thawed(), vec![late("a", 5_500, 6_500)], Cause::Throttling),
        ("frozen as it was under way", thawed(), vec![late("a", 4_900, 5_900)], Cause::Throttling),
        ("never thawed", frozen(), vec![late("a", 20_000, 21_000)], Cause::Throttling),
        ("thawed long before", thawed(), vec![late("a", 9_000, 10_000)], Cause::Overload),
        (
            "cold",
            ended(beside(running(), 10_000)),
            vec![late("b", 10_100, 11_100), late("b", 11_500, 12_500)],
            Cause::PrematureReady,
        ),
        (
            "slow from some time on",
            ended(beside(running(), 10_000)),
            vec![late("b", 11_500, 12_500)],
            Cause::Overload,
        ),
        (
            "slow until its end",
            ended(beside(running(), 10_000)),
            vec![late("b", 10_100, 11_100), late("b", 29_800, 30_800)],
            Cause::Overload,
        ),
        (
            "slow with all the others",
            ended(beside(running(), 10_000)),
            vec![late("a", 10_200, 11_200), late("b", 10_100, 11_100)],
            Cause::Overload,
        ),
        (
            "cold together with one that is a little older",
            ended(beside(outside(running(), 2_050, Signal::Sigusr1), 4_000)),
            vec![late("a", 2_200, 3_200), late("b", 4_100, 5_100), late("a", 3_900, 4_900)],
            Cause::PrematureReady,
        ),
        (
            "hangs since SIGTERM until it exits",
            deleted().lifecycle(12_000, LifecyclePhase::Exiting).exited(12_001, 0, None),
            vec![late("a", 10_500, 11_500)],
            Cause::AbruptExit,
        ),
        (
            "was slow before SIGTERM",
            deleted().lifecycle(12_000, LifecyclePhase::Exiting).exited(12_001, 0, None),
            vec![late("a", 5_000, 6_000), late("a", 10_500, 11_500)],
            Cause::Overload,
        ),
    ];
    for (what, story, failures, cause) in rows {
        assert_eq!(cause_of(story, &failures), cause, "{what}");
    }
    let forced = deleted().signal(40_000, Signal::Sigkill).exited(40_001, 137, Some(9));
    assert_eq!(cause_of(forced, &[late("a", 20_000, 25_000)]), Cause::GraceExceeded);
}

#[test]
fn without_any_endpoint_what_took_all_of_them_is_the_cause() {
    let nobody = |ms| Failure { pod: None, connection: None, ..refused(ms) };
    let kill = |story: Story, ms, pod: &str| {
        let kind = EventKind::ProbeKill { pod: pod.into(), probe: ProbeKind::Liveness };
        story.at(ms, kind)
    };
    let unready = |story: Story, ms| {
        story.at(ms, EventKind::PodUnready { pod: "a".into(), reason: "".into() })
    };
    let again = |story: Story, ms: u64, restarts| {
        story.at(
            ms,
            EventKind::ContainerStarted { pod: "a".into(), restarts, address: None, pid: None },
        )
    };
    let crashed = || unready(running().exited(5_000, 139, None), 5_500);
    let rows: [(&str, Story, u64, Cause); 8] = [
        ("it crashed", crashed(), 6_000, Cause::Crash),
        ("it starts again", again(crashed(), 6_000, 1), 6_500, Cause::Crash),
        (
            "it is ready again, and nobody knows",
            again(crashed(), 6_000, 1).at(7_000, EventKind::PodReady { pod: "a".into() }),
            7_100,
            Cause::Crash,
        ),
        (
            "its probe had it killed",
            unready(kill(running(), 5_000, "a"), 5_500),
            6_000,
            Cause::LivenessKill,
        ),
        ("it is unready, and runs", unready(running(), 5_000), 6_000, Cause::NoReadyEndpoint),
        (
            "one crashed, the other's probe had it killed",
            kill(beside(running(), 4_000), 5_000, "b")
                .exited(5_000, 139, None)
                .at(5_500, EventKind::PodUnready { pod: "a".into(), reason: "".into() })
                .at(5_500, EventKind::PodUnready { pod: "b".into(), reason: "".into() }),
            6_000,
            Cause::NoReadyEndpoint,
        ),
        ("it was deleted", deleted().exited(10_010, 0, None), 11_000, Cause::NoReadyEndpoint),
        ("there never was any", Story::default(), 11_000, Cause::NoReadyEndpoint),
    ];
    for (what, story, ms, cause) in rows {
        assert_eq!(cause_of(story, &[nobody(ms)]), cause, "{what}");
    }
}

#[test]
fn a_pod_that_listens_elsewhere_is_bound_wrongly_whatever_ends_it() {
    use LifecyclePhase as L;
    let listens = |of_pod: &str, at: &str| {
        let pod = || "a".to_string();
        let address = Some(format!("{of_pod}:80"));
        Story::default()
            .at(0, EventKind::PodCreated { pod: pod(), revision: 1 })
            .at(1_000, EventKind::ContainerStarted { pod: pod(), restarts: 0, address, pid: None })
            .lifecycle(1_010, L::Starting)
            .at(
                1_020,
                EventKind::Lifecycle {
                    pod: pod(),
                    phase: L::Listening,
                    detail: format!("addr=\"{at}:80\""),
                },
            )
            .at(2_000, EventKind::PodReady { pod: pod() })
            .routed(2_100, &["a"])
            .signal(10_000, Signal::Sigterm)
            .lifecycle(10_001, L::ListenerClosed)
    };
    let rows = [
        ("127.1.0.3", "127.0.0.1", Cause::WrongBind),
        ("10.0.0.3", "127.0.0.1", Cause::WrongBind),
        // Pods of the local backend have loopback addresses themselves.
        ("127.1.0.3", "127.1.0.3", Cause::TerminationRace),
        ("127.1.0.3", "0.0.0.0", Cause::TerminationRace),
    ];
    for (of_pod, at, cause) in rows {
        assert_eq!(cause_of(listens(of_pod, at), &[refused(11_000)]), cause, "{of_pod} {at}");
    }
}

#[test]
fn a_signal_from_outside_and_a_drain_while_it_is_chosen_are_a_race_and_no_crash() {
    use LifecyclePhase as L;
    let drained = || {
        outside(running().lifecycle(1_500, L::Listening), 5_000, Signal::Sigterm)
            .lifecycle(8_000, L::ListenerClosed)
            .lifecycle(8_100, L::Exiting)
            .exited(8_101, 0, None)
    };
    assert_eq!(cause_of(drained(), &[refused(8_050)]), Cause::TerminationRace);
    assert_eq!(cause_of(drained(), &[refused(8_600)]), Cause::TerminationRace);
    let crashed = outside(running().lifecycle(1_500, L::Listening), 5_000, Signal::Sigkill);
    assert_eq!(cause_of(crashed.exited(5_001, 137, Some(9)), &[refused(5_500)]), Cause::Crash);
}

#[test]
fn an_answer_that_crossed_its_client_is_late_for_what_made_the_others_late() {
    let hop = |from: u64, to: u64| Hop {
        consumer: 0,
        error: Some(HopError::ClientGone),
        pod: Some("a".into()),
        connection: None,
        started: Timestamp(from * MILLISECOND),
        ended: Timestamp(to * MILLISECOND),
        tries: 1,
    };
    let told = Failure { pod: None, hop: Some(hop(9_000, 11_000)), ..late("a", 9_000, 11_000) };
    let silent = |from, to| Failure { pod: None, request_id: Some(7), ..late("a", from, to) };
    let cause = |failures: &[Failure]| cause_on(Way::Proxy, running(), failures);
    assert_eq!(cause(&[told.clone(), silent(8_000, 10_000)]), Cause::Overload);
    assert_eq!(cause(&[told.clone(), silent(11_500, 13_500)]), Cause::Unexplained, "not then");
    let frozen = || outside(running(), 10_500, Signal::Sigstop);
    let two = [told.clone(), silent(8_000, 10_000)];
    assert_eq!(cause_on(Way::Proxy, frozen(), &two), Cause::Throttling);
    let early = Failure { pod: None, hop: Some(hop(7_000, 9_000)), ..late("a", 7_000, 9_000) };
    let three = [early, told, silent(8_000, 10_000)];
    assert_eq!(cause_on(Way::Proxy, frozen(), &three), Cause::Unexplained, "of either");
}
