//! Each rule with a small story of a pod.

mod cluster;
mod doubt;
mod hidden;
mod ingress;
mod lives;
mod properties;
mod reports;
mod slow;
mod strangers;

use super::*;
use highwater_model::{
    event::{DeleteReason, LifecyclePhase, ProbeKind, Signal, Source},
    outcome::{Connection, HopError, Outcome},
    time::MILLISECOND,
};

/// Events of one pod, by milliseconds.
#[derive(Default)]
struct Story(Vec<Event>);

impl Story {
    fn at(mut self, ms: u64, kind: EventKind) -> Self {
        let seq = self.0.len() as u64;
        let at = Timestamp(ms * MILLISECOND);
        self.0.push(Event {
            at,
            seq,
            source: Source::Kubelet,
            precision: None,
            stated: None,
            kind,
        });
        self
    }

    fn routed(self, ms: u64, pods: &[&str]) -> Self {
        let routed = pods.iter().map(|pod| (*pod).into()).collect();
        self.at(ms, EventKind::ViewApplied { consumer: 0, version: ms, routed })
    }

    fn lifecycle(self, ms: u64, phase: LifecyclePhase) -> Self {
        self.at(ms, EventKind::Lifecycle { pod: "a".into(), phase, detail: String::new() })
    }

    fn exited(self, ms: u64, code: i32, signal: Option<i32>) -> Self {
        self.at(ms, EventKind::ContainerExited { pod: "a".into(), code, signal, oom: false })
    }

    fn signal(self, ms: u64, signal: Signal) -> Self {
        self.at(ms, EventKind::SignalSent { pod: "a".into(), signal, by_kubelet: true })
    }
}

/// A pod that runs from 1 s on, is ready at 2 s, and routed.
fn running() -> Story {
    let pod = || "a".to_string();
    Story::default()
        .at(0, EventKind::PodCreated { pod: pod(), revision: 1 })
        .at(
            1_000,
            EventKind::ContainerStarted { pod: pod(), restarts: 0, address: None, pid: None },
        )
        .at(2_000, EventKind::PodReady { pod: pod() })
        .routed(2_100, &["a"])
}

/// That pod deleted at 10 s, with SIGTERM at once.
fn deleted() -> Story {
    let reason = DeleteReason::Rollout;
    let grace = Nanos::from_secs(30);
    running()
        .at(10_000, EventKind::PodDeleted { pod: "a".into(), grace, reason })
        .signal(10_000, Signal::Sigterm)
}

fn failure(ms: u64, outcome: Outcome, served: u64, opened_ms: u64) -> Failure {
    let at = |ms: u64| Timestamp(ms * MILLISECOND);
    Failure {
        n: 1,
        outcome,
        phase: 0,
        kind: 0,
        scheduled: at(ms - 1),
        sent: at(ms - 1),
        first_byte: None,
        ended: at(ms),
        status: None,
        errno: None,
        pod: Some("a".into()),
        connection: Some(Connection { id: 1, opened: at(opened_ms), served, idle: Nanos::ZERO }),
        hop: None,
        request_id: None,
        consumer: Some(0),
    }
}

fn cause_of(story: Story, failures: &[Failure]) -> Cause {
    cause_on(Way::Direct, story, failures)
}

fn cause_on(way: Way, story: Story, failures: &[Failure]) -> Cause {
    let lives = Lives::of(&story.0);
    attribute(failures, &story.0, &lives, way).last().expect("a failure").cause
}

fn refused(ms: u64) -> Failure {
    failure(ms, Outcome::ConnectRefused, 0, ms)
}

#[test]
fn refusals_are_told_apart_by_the_phase_of_their_pod() {
    use LifecyclePhase as L;
    let tells = || running().lifecycle(1_010, L::Starting);
    let served = || deleted().lifecycle(1_500, L::Listening);
    let rows: [(&str, Story, u64, Cause); 12] = [
        (
            "listens before its refusal is noticed",
            tells().lifecycle(3_000, L::Listening),
            3_000,
            Cause::PrematureReady,
        ),
        (
            "ended before it ever listened",
            deleted().lifecycle(1_010, L::Starting).exited(10_002, 0, None),
            10_500,
            Cause::PrematureReady,
        ),
        (
            "ends a moment later",
            deleted().lifecycle(1_010, L::Starting).exited(10_002, 0, None),
            9_999,
            Cause::PrematureReady,
        ),
        (
            "ready before it listens",
            tells().lifecycle(4_000, L::Listening),
            3_000,
            Cause::PrematureReady,
        ),
        ("a stranger that does not listen yet", running(), 3_000, Cause::PrematureReady),
        ("says that it listens", tells().lifecycle(1_500, L::Listening), 3_000, Cause::WrongBind),
        (
            "closed its listener and drains",
            served().lifecycle(10_001, L::ListenerClosed).exited(12_000, 0, None),
            11_000,
            Cause::TerminationRace,
        ),
        (
            "closed its listener, drained and is gone",
            served().lifecycle(10_001, L::ListenerClosed).exited(10_020, 0, None),
            11_000,
            Cause::TerminationRace,
        ),
        (
            "exited without a drain",
            served().lifecycle(10_001, L::Exiting).exited(10_002, 143, None),
            11_000,
            Cause::AbruptExit,
        ),
        (
            "a stranger that the signal killed",
            deleted().exited(10_002, 143, Some(15)),
            11_000,
            Cause::AbruptExit,
        ),
        (
            "a stranger that ended by itself, cutting nothing",
            deleted().exited(10_200, 0, None),
            11_000,
            Cause::TerminationRace,
        ),
        (
            "crashed and not yet noticed",
            running().exited(5_000, 139, Some(11)),
            5_300,
            Cause::Crash,
        ),
    ];
    for (what, story, ms, cause) in rows {
        assert_eq!(cause_of(story, &[refused(ms)]), cause, "{what}");
    }
}

#[test]
fn a_stranger_that_cuts_requests_in_work_as_it_ends_exits_abruptly() {
    let broken = |sent: u64, outcome| Failure {
        sent: Timestamp(sent * MILLISECOND),
        ..failure(10_050, outcome, 3, 9_000)
    };
    let rows: [(&str, Vec<Failure>, Cause); 8] = [
        ("long in work", vec![broken(10_010, Outcome::EofReused)], Cause::AbruptExit),
        ("an answer", vec![broken(10_049, Outcome::Truncated)], Cause::AbruptExit),
        ("two in work", vec![broken(10_046, Outcome::EofReused); 2], Cause::AbruptExit),
        ("unread all that time", vec![broken(10_010, Outcome::ResetReused)], Cause::AbruptExit),
        (
            "right after it was sent",
            vec![broken(10_049, Outcome::EofReused)],
            Cause::TerminationRace,
        ),
        (
            "right after they were sent",
            vec![broken(10_049, Outcome::EofReused); 9],
            Cause::TerminationRace,
        ),
        (
            "one a little later, by the generator's own delay",
            vec![broken(10_046, Outcome::EofReused)],
            Cause::TerminationRace,
        ),
        (
            "one much later among many right after",
            [vec![broken(10_020, Outcome::EofReused)], vec![broken(10_049, Outcome::EofReused); 3]]
                .concat(),
            Cause::TerminationRace,
        ),
    ];
    let queued = Failure {
        sent: Timestamp(10_005 * MILLISECOND),
        ..failure(10_050, Outcome::ResetNew, 0, 10_005)
    };
    let rows = rows.into_iter().chain([(
        "new, and reset with the queue that they waited in",
        vec![queued; 5],
        Cause::TerminationRace,
    )]);
    for (what, mut failures, cause) in rows {
        failures.push(refused(11_000));
        assert_eq!(cause_of(deleted().exited(10_049, 0, None), &failures), cause, "{what}");
    }
}

#[test]
fn broken_connections_are_told_apart_by_what_ended_their_pod() {
    use LifecyclePhase as L;
    let kill = EventKind::ProbeKill { pod: "a".into(), probe: ProbeKind::Liveness };
    let graceful = || deleted().lifecycle(13_000, L::ListenerClosed);
    let rows: [(&str, Story, Failure, Cause); 9] = [
        (
            "idle, and nothing happens to the pod",
            running(),
            failure(5_000, Outcome::EofReused, 9, 2_200),
            Cause::IdleTimeoutRace,
        ),
        (
            "new, and nothing happens to the pod",
            running(),
            failure(5_000, Outcome::EofNew, 0, 4_999),
            Cause::Unexplained,
        ),
        (
            "cut by SIGKILL",
            graceful().signal(40_000, Signal::Sigkill).exited(40_001, 137, Some(9)),
            failure(40_001, Outcome::EofReused, 1, 9_000),
            Cause::GraceExceeded,
        ),
        (
            "an answer cut by SIGKILL",
            graceful().signal(40_000, Signal::Sigkill).exited(40_001, 137, Some(9)),
            failure(40_001, Outcome::Truncated, 1, 9_000),
            Cause::GraceExceeded,
        ),
        (
            "cancelled at the drain's deadline",
            graceful().lifecycle(30_000, L::Cancelled),
            failure(30_001, Outcome::EofReused, 1, 9_000),
            Cause::GraceExceeded,
        ),
        (
            "had waited in the queue",
            graceful(),
            failure(13_000, Outcome::ResetNew, 0, 12_900),
            Cause::AcceptQueueDrop,
        ),
        (
            "came in the gap before the close",
            graceful(),
            failure(13_000, Outcome::ResetNew, 0, 12_999),
            Cause::TerminationRace,
        ),
        (
            "killed by its liveness probe",
            running().at(5_000, kill),
            failure(5_010, Outcome::EofReused, 1, 4_000),
            Cause::LivenessKill,
        ),
        (
            "crashed",
            running().exited(5_000, 139, Some(11)),
            failure(4_999, Outcome::EofReused, 1, 4_000),
            Cause::Crash,
        ),
    ];
    for (what, story, failure, cause) in rows {
        assert_eq!(cause_of(story, &[failure]), cause, "{what}");
    }
}

#[test]
fn answers_time_outs_and_missing_endpoints_have_causes_of_their_own() {
    let nobody = Failure { pod: None, connection: None, ..refused(3_000) };
    let gone =
        || deleted().exited(10_010, 0, None).at(10_100, EventKind::PodGone { pod: "a".into() });
    let lost = || running().at(5_000, EventKind::PodGone { pod: "a".into() });
    let full = || {
        let (pod, phase) = ("a".into(), LifecyclePhase::QueueFull);
        running().at(5_000, EventKind::Lifecycle { pod, phase, detail: String::new() })
    };
    let rows: [(&str, Story, Failure, Cause); 14] = [
        (
            "turned away by a full queue",
            full(),
            failure(5_001, Outcome::Status503, 0, 4_900),
            Cause::Overload,
        ),
        (
            "the same, in the second of which it does not tell",
            full(),
            failure(5_900, Outcome::EofReused, 1, 4_900),
            Cause::Overload,
        ),
        (
            "a 503 long after that",
            full(),
            failure(7_000, Outcome::Status503, 0, 6_900),
            Cause::RefusedByApp,
        ),
        (
            "a 503 before it",
            full(),
            failure(4_900, Outcome::Status503, 0, 4_800),
            Cause::RefusedByApp,
        ),
        (
            "closed, and no queue was full",
            running(),
            failure(5_001, Outcome::EofNew, 0, 4_900),
            Cause::Unexplained,
        ),
        (
            "503 while draining",
            deleted(),
            failure(10_500, Outcome::Status503, 1, 9_000),
            Cause::RefusedByApp,
        ),
        ("no endpoint", running(), nobody, Cause::NoReadyEndpoint),
        ("slow", running(), failure(9_000, Outcome::Timeout, 0, 4_000), Cause::Overload),
        (
            "address gone after a deletion",
            gone(),
            failure(15_000, Outcome::ConnectTimeout, 0, 10_200),
            Cause::TerminationRace,
        ),
        (
            "no way to it after a deletion",
            gone(),
            failure(13_000, Outcome::ConnectUnreachable, 0, 10_200),
            Cause::TerminationRace,
        ),
        (
            "address gone after an exit without a drain",
            deleted().exited(10_001, 143, Some(15)),
            failure(15_000, Outcome::ConnectTimeout, 0, 10_200),
            Cause::AbruptExit,
        ),
        (
            "address gone, and nobody deleted it",
            lost(),
            failure(15_000, Outcome::ConnectTimeout, 0, 10_200),
            Cause::Blackhole,
        ),
        (
            "unreachable",
            running(),
            failure(5_000, Outcome::ConnectUnreachable, 0, 5_000),
            Cause::Blackhole,
        ),
        ("an unknown pod", Story::default(), refused(3_000), Cause::Unexplained),
    ];
    for (what, story, failure, cause) in rows {
        assert_eq!(cause_of(story, &[failure]), cause, "{what}");
    }
}

#[test]
fn through_a_proxy_the_hop_decides() {
    let at = |ms: u64| Timestamp(ms * MILLISECOND);
    let hop = |error| Hop {
        consumer: 1,
        error: Some(error),
        pod: Some("a".into()),
        connection: None,
        started: at(10_900),
        ended: at(11_000),
        tries: 1,
    };
    let story = || {
        deleted()
            .lifecycle(1_500, LifecyclePhase::Listening)
            .lifecycle(10_001, LifecyclePhase::ListenerClosed)
            .exited(12_000, 0, None)
    };
    let with = |error, outcome| Failure {
        pod: None,
        consumer: None,
        hop: Some(hop(error)),
        ..failure(11_001, outcome, 5, 100)
    };
    for (error, outcome, cause) in [
        (HopError::ConnectRefused, Outcome::Status502, Cause::TerminationRace),
        (HopError::NoEndpoint, Outcome::Status503, Cause::NoReadyEndpoint),
        (HopError::Timeout, Outcome::Status504, Cause::Overload),
        (HopError::ConnectOther, Outcome::Status502, Cause::ClientLimit),
    ] {
        let failure = [with(error, outcome)];
        assert_eq!(cause_on(Way::Proxy, story(), &failure), cause, "{error:?}");
    }
    // The client gave up; the proxy told of it under the request's id.
    let gone = EventKind::ClientGone { request_id: 7, hop: hop(HopError::ClientGone) };
    let silent = Failure {
        pod: None,
        consumer: None,
        request_id: Some(7),
        ..failure(11_001, Outcome::Timeout, 5, 100)
    };
    let left = story().at(11_001, gone);
    assert_eq!(cause_on(Way::Proxy, left, std::slice::from_ref(&silent)), Cause::Overload);
    assert_eq!(
        cause_on(Way::Proxy, story(), std::slice::from_ref(&silent)),
        Cause::Unexplained,
        "without its word"
    );
    // The pod's address was gone already, as was seen or as it said itself: the proxy waited for a
    // connection.
    let gone = || EventKind::ClientGone { request_id: 7, hop: hop(HopError::ClientGone) };
    let closed = || deleted().lifecycle(10_050, LifecyclePhase::ListenerClosed);
    let said = |story: Story| story.lifecycle(10_100, LifecyclePhase::Exiting);
    for (ended, cause) in [
        (deleted().exited(10_100, 0, None), Cause::TerminationRace),
        (said(closed()), Cause::TerminationRace),
        // It exits, and never said that it had closed its listener: without a drain.
        (said(deleted()), Cause::AbruptExit),
    ] {
        let left = ended.at(11_001, gone());
        assert_eq!(cause_on(Way::Proxy, left, std::slice::from_ref(&silent)), cause);
    }
}

#[test]
fn unsent_requests_are_no_losses_of_the_target() {
    let story = running();
    let lives = Lives::of(&story.0);
    let unsent = [failure(3_000, Outcome::UnsentPorts, 0, 3_000)];
    assert!(attribute(&unsent, &story.0, &lives, Way::Direct).is_empty());
}

#[test]
fn a_pod_that_never_listens_on_its_address_is_bound_wrongly() {
    let failures: Vec<Failure> = (3..60).map(|second| refused(second * 1_000)).collect();
    assert_eq!(cause_of(running(), &failures), Cause::WrongBind);
}
