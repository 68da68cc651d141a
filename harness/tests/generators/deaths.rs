//! Generators that die, and harnesses that do.

use std::time::Duration;

use highwater::{
    analyze,
    generator::What,
    record::{EndReason, Footer, Limits},
};
use highwater_model::{
    event::{Event, EventKind, Source},
    outcome::Outcome,
};
use rustix::process::{Pid, Signal, kill_process};

use super::kit::{Pod, Run, Server, Way, pods, scenario};

/// The reason and the number of the generator that was lost.
fn lost(run: &Run) -> (u32, String, u64) {
    let mut lost = run.said.iter().filter_map(|(generator, what)| match what {
        What::Lost { reason, unsent, .. } => Some((*generator, reason.clone(), *unsent)),
        _ => None,
    });
    let one = lost.next().expect("one was lost");
    assert!(lost.next().is_none(), "and only one");
    one
}

/// All that was planned is owed, and what the lost one did not do is counted as that.
fn sums_hold(run: &Run, server: &Server) {
    let (_, _, unsent) = lost(run);
    assert_eq!(run.counts(), run.planned());
    assert_eq!(run.of(Outcome::UnsentGenerator), unsent);
    assert_eq!(run.of(Outcome::Ok) + unsent, run.owed());
    // What it sent and could not tell any more is counted as unsent.
    assert!(server.served() >= run.of(Outcome::Ok));
}

#[tokio::test]
async fn the_share_of_a_killed_generator_is_counted_to_the_last_request() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(2, &[]);
    let mut run = Run::open(scenario(2), &server, connectors);
    run.start().await;
    run.until_owed(200).await;
    pods[1].child.kill().unwrap();
    run.generators.gone(1, "pod load-1: exit code 137".into());
    run.finish().await;
    sums_hold(&run, &server);
    let (generator, reason, unsent) = lost(&run);
    assert_eq!((generator, reason.as_str()), (1, "pod load-1: exit code 137"));
    assert!(unsent > run.owed() / 8, "{unsent} of {}", run.owed());
    assert_eq!(pods[0].ended().await.0, Some(0));

    // The report says so.
    let kind = run.events.iter().find(|kind| matches!(kind, EventKind::GeneratorLost { .. }));
    let kind = kind.expect("an event").clone();
    let at = run.clock.now();
    let event = Event { at, seq: 0, source: Source::Load, precision: None, stated: None, kind };
    run.record.events.push(event);
    run.record.footer = Some(Footer {
        end: at,
        reason: EndReason::Completed,
        message: String::new(),
        lines: 0,
        limits: Limits::default(),
    });
    let audit = analyze::analyze(&run.record).unwrap().audit;
    assert!(!audit.trusted);
    let named = audit.reasons.iter().any(|reason| {
        reason.contains("generator 1") && reason.contains("pod load-1: exit code 137")
    });
    assert!(named, "{:?}", audit.reasons);
}

#[tokio::test]
async fn a_generator_that_is_not_heard_of_again_is_given_up() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(2, &[]);
    let mut run = Run::open_for(scenario(2), &server, connectors, Duration::from_secs(1));
    run.start().await;
    run.until_owed(200).await;
    pods[0].child.kill().unwrap();
    run.finish().await;
    sums_hold(&run, &server);
    let (generator, reason, _) = lost(&run);
    assert!(generator == 0 && reason.contains("could not be reached"), "{reason}");
}

#[tokio::test]
async fn stopping_a_run_ends_the_share_of_a_lost_generator_too() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(2, &[]);
    let mut run = Run::open(scenario(600), &server, connectors);
    run.start().await;
    run.until_owed(100).await;
    pods[1].child.kill().unwrap();
    run.generators.gone(1, "killed".into());
    run.until(|run| run.of(Outcome::UnsentGenerator) > 100).await;
    run.generators.stop();
    run.finish().await;
    let (_, _, unsent) = lost(&run);
    assert!(run.of(Outcome::UnsentGenerator) < unsent / 10, "the rest is not owed");
}

#[tokio::test]
async fn a_generator_that_dies_before_the_start_owes_its_share_all_the_same() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(2, &[]);
    let mut run = Run::open(scenario(1), &server, connectors);
    run.until(|run| run.count(|what| matches!(what, What::Ready { .. })) == 2).await;
    pods[1].child.kill().unwrap();
    run.generators.gone(1, "killed".into());
    run.until(|run| run.count(|what| matches!(what, What::Lost { .. })) == 1).await;
    run.start().await;
    run.finish().await;
    sums_hold(&run, &server);
    assert_eq!(run.of(Outcome::UnsentGenerator), run.owed() / 2);
}

#[tokio::test]
async fn a_pod_that_is_told_to_end_tells_what_it_did() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(1, &[]);
    let mut run = Run::open(scenario(2), &server, connectors);
    run.start().await;
    run.until_owed(100).await;
    kill_process(Pid::from_child(&pods[0].child), Signal::TERM).unwrap();
    run.finish().await;
    sums_hold(&run, &server);
    assert_eq!(server.served(), run.of(Outcome::Ok), "it told of all that it sent");
    assert!(lost(&run).1.contains("SIGTERM"));
    let (code, said) = pods[0].ended().await;
    assert!(code == Some(3) && said.contains("SIGTERM"), "{code:?} {said}");
}

#[tokio::test]
async fn a_process_that_was_started_anew_is_not_taken_for_the_one_before() {
    let server = Server::start();
    let mut pod = Pod::start(&[]);
    let way = Way::default();
    let mut run = Run::open(scenario(2), &server, vec![way.to(pod.address)]);
    run.start().await;
    run.until_owed(50).await;
    way.cut();
    pod.child.kill().unwrap();
    pod.child.wait().unwrap();
    let _again = Pod::listen(&pod.address.to_string(), &[]);
    way.mend();
    run.finish().await;
    sums_hold(&run, &server);
    assert!(lost(&run).1.contains("new one"), "{:?}", run.said);
}

#[tokio::test]
async fn without_its_harness_a_generator_ends_by_itself() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(2, &["--orphan-after", "5s"]);
    let mut run = Run::open(scenario(600), &server, connectors);
    run.start().await;
    run.until_owed(50).await;
    assert_eq!(run.of(Outcome::UnsentGenerator), 0, "it is the harness that goes");
    drop(run);
    for pod in &mut pods {
        let (code, said) = pod.ended().await;
        assert!(code == Some(3) && said.contains("nothing was heard of the harness"), "{said}");
    }
    let served = server.served();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.served(), served, "and so does its traffic");
}

#[tokio::test]
async fn a_generator_that_nobody_ever_connects_to_ends_by_itself() {
    let mut pod = Pod::start(&["--orphan-after", "5s"]);
    assert_eq!(pod.ended().await.0, Some(3));
}

#[tokio::test]
async fn a_generator_that_is_not_started_in_time_ends() {
    let server = Server::start();
    let (mut pods, _ways, connectors) = pods(1, &["--start-deadline", "1s"]);
    let mut run = Run::open(scenario(1), &server, connectors);
    run.until(|run| run.count(|what| matches!(what, What::Lost { .. })) == 1).await;
    assert!(lost(&run).1.contains("in time"));
    assert_eq!(pods[0].ended().await.0, Some(3));
}

#[tokio::test]
async fn a_generator_that_can_keep_no_more_ends_and_is_counted_out() {
    let server = Server::start();
    let (mut pods, ways, connectors) = pods(1, &["--kept-bytes", "4000"]);
    let mut run = Run::open_for(scenario(10), &server, connectors, Duration::from_secs(1));
    run.start().await;
    run.until_owed(50).await;
    ways[0].cut();
    let (code, said) = pods[0].ended().await;
    assert!(code == Some(3) && said.contains("wait for the harness"), "{said}");
    run.until(|run| run.count(|what| matches!(what, What::Lost { .. })) == 1).await;
    run.generators.stop();
    run.finish().await;
}
