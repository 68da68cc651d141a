//! What reports say of sets of pods: evidence, stories, transitions, fixes.

use super::{cluster::*, *};
use crate::{
    analyze::{
        Analysis, Loss, analyze,
        losses::{BUNDLED_CONTAINER, losses},
    },
    backend::kube::manifests::CONTAINER,
    record::{BackendKind, Header, RunRecord, SCHEMA},
};

fn header(target: &str) -> Header {
    let text = format!(r#"{{"name": "a", "target": {target}, "traffic": {{"phases": []}}}}"#);
    let scenario = serde_json::from_str(&text).expect("a scenario");
    let schema = SCHEMA.into();
    Header { schema, backend: BackendKind::Kube, seed: 1, scenario, phases: Vec::new() }
}

/// Four pods, of which `a` and `b` go at 100 s.
fn pair() -> Cluster {
    let all = ["a", "b", "c", "d"];
    let all = all.iter().fold(Cluster::default(), |all, name| all.pod(name, 1, 0.0, 0.0));
    all.endpoints(0.0, "a b c d")
        .ends("a", 100.0, 0.1, 0)
        .ends("b", 100.0, 0.1, 0)
        .endpoints(100.02, "a! b! c d")
}

fn found(cluster: &Cluster, failures: &[Failure], target: &str) -> Vec<Loss> {
    let header = header(target);
    cluster.look(failures, |all, lives| losses(all, lives, &header, 40_000_000))
}

fn refused(seconds: f64) -> Failure {
    new(Outcome::ConnectRefused, seconds)
}

#[test]
fn a_set_is_told_as_what_it_is() {
    let failures =
        [refused(100.3), refused(100.9), of("a", reused(Outcome::EofReused, 9.0, 100.06, 0.2))];
    let losses = found(&pair(), &failures, "{}");
    assert_eq!(losses.len(), 1);
    let loss = &losses[0];
    assert_eq!(
        loss.evidence,
        "1 ends of stream before the first byte, 2 refused connections on 2 pods, 0.010 to 0.851 s \
         after SIGTERM (which is known to within 0.5 s); the way to the pods does not name them: 2 \
         met one of up to 2 pods"
    );
    assert_eq!(loss.pods, ["a", "b"]);
    let story = &loss.examples[1].story;
    let end = "; connect-refused after 0.50 ms; it met one of a, b; a had got SIGTERM 250.5 ms before; \
               b had got SIGTERM 250.5 ms before";
    assert!(
        loss.examples.iter().any(|example| example.story.ends_with(end) && example.pod.is_none()),
        "{story}"
    );
}

#[test]
fn a_pod_that_is_the_only_one_possible_is_said_to_be_inferred() {
    let one = Cluster::default()
        .pod("a", 1, 0.0, 0.0)
        .pod("b", 1, 0.0, 0.0)
        .endpoints(0.0, "a b")
        .ends("a", 100.0, 0.1, 143)
        .endpoints(100.02, "a! b");
    let losses = found(&one, &[refused(100.3)], "{}");
    let Loss { cause, evidence, examples, .. } = &losses[0];
    assert_eq!(*cause, Cause::AbruptExit);
    assert!(evidence.starts_with("1 refused connections on pod a, 0.251 to 0.251 s after SIGTERM"));
    assert!(evidence.ends_with("does not name them: 1 can have met one pod only"), "{evidence}");
    assert_eq!(examples[0].pod.as_deref(), Some("a"));
    assert!(examples[0].story.contains("; it can only have met a; the pod had got SIGTERM"));
}

#[test]
fn doubts_are_told_with_what_raises_them() {
    let kill = EventKind::ProbeKill { pod: "b".into(), probe: ProbeKind::Liveness };
    let both = pair().exited("c", 99.0, 139).event(99.0, 0.0, kill);
    let losses = found(&both, &[refused(99.2)], "{}");
    assert_eq!(losses[0].cause, Cause::Unexplained);
    assert!(losses[0].evidence.ends_with("; 1 could have been of several causes"));
    let story = &losses[0].examples[0].story;
    assert!(story.contains("; it met one of b, c, and they give different causes"), "{story}");
}

#[test]
fn transitions_with_a_loss_are_no_more_than_requests_were_lost() {
    let lossy = |failures: &[Failure]| {
        let mut record = RunRecord::new(header("{}"));
        record.events = pair().events();
        for (at, kind) in [(1.0, EventKind::TrafficStarted), (200.0, EventKind::TrafficEnded)] {
            record.events.extend(Cluster::default().event(at, 0.0, kind).events());
        }
        record.events.sort_by_key(|event| event.at);
        record.header.phases.push(crate::record::PhasePlan {
            name: "all".into(),
            start: Nanos::ZERO,
            end: Nanos::from_secs(199),
        });
        record.failures = failures.to_vec();
        let analysis: Analysis = analyze(&record).expect("a record that was cut off");
        (analysis.transitions.observed, analysis.transitions.with_loss)
    };
    let known = of("a", reused(Outcome::EofReused, 9.0, 100.06, 0.2));
    assert_eq!(lossy(&[]), (2, 0));
    assert_eq!(lossy(&[refused(100.3)]), (2, 1), "one of two");
    assert_eq!(lossy(&[refused(100.3), refused(100.4)]), (2, 2), "perhaps both");
    assert_eq!(lossy(std::slice::from_ref(&known)), (2, 1));
    assert_eq!(lossy(&[known, refused(100.3)]), (2, 2));
}

#[test]
fn a_fix_covers_the_last_loss_after_a_deletion_and_what_is_usual_and_names_the_container() {
    let sleep = |seconds: f64, target: &str| {
        let fix = found(&pair(), &[refused(seconds)], target).remove(0).fix;
        let patch = fix.deployment_patch.expect("a setting does it");
        let sleep = patch.lines().find_map(|line| line.trim().strip_prefix("seconds: "));
        let name = patch.lines().find_map(|line| line.trim().strip_prefix("- name: "));
        (sleep.map(String::from), name.map(String::from), fix.advice, fix.scenario_patch)
    };
    let (seconds, name, advice, scenario) = sleep(100.3, "{}");
    // 1.5 s are usual, and a second is added.
    assert_eq!((seconds.as_deref(), name.as_deref()), (Some("3"), Some(CONTAINER)));
    assert_eq!(BUNDLED_CONTAINER, CONTAINER);
    assert!(scenario.is_some_and(|patch| patch.contains("sleep: {seconds: 3}")));
    assert!(
        advice.contains("up to 0.3 s after a deletion here, and up to 1.5 s are usual"),
        "{advice}"
    );
    // 4.2 s were seen.
    let (seconds, ..) = sleep(104.2, "{}");
    assert_eq!(seconds.as_deref(), Some("6"));
    let named = r#"{"workload": {"deployment": "web", "container": "server"}}"#;
    let (_, name, advice, scenario) = sleep(100.3, named);
    assert_eq!((name.as_deref(), scenario), (Some("server"), None));
    assert!(!advice.contains("<yours>"));
    let unnamed = r#"{"workload": {"deployment": "web"}}"#;
    let (_, name, advice, _) = sleep(100.3, unnamed);
    assert_eq!(name.as_deref(), Some("<yours>"));
    assert!(advice.contains("`<yours>`"));
}

#[test]
fn an_echo_is_told_as_one_and_says_nothing_of_how_late_the_data_path_is() {
    let timeout = |seconds| slow(Outcome::ConnectTimeout, seconds);
    let losses = found(&pair(), &[timeout(100.9), timeout(114.0)], "{}");
    let Loss { cause, count, evidence, fix, examples, .. } = &losses[0];
    assert_eq!((losses.len(), *cause, *count), (1, Cause::TerminationRace, 2));
    assert!(fix.advice.contains("sleep of 3 s"), "{}", fix.advice);
    // From SIGTERM to when the first one was sent.
    assert!(evidence.contains(", 0.850 to 0.850 s after SIGTERM"), "{evidence}");
    assert!(evidence.ends_with(
        "; 1 came when nobody came or went, after connections to pods that were gone: nodes keep such \
         flows for two minutes"
    ));
    let is_told = |example: &crate::analyze::Example| example.story.contains("nobody came or went");
    assert_eq!(examples.iter().filter(|example| is_told(example)).count(), 1);
}

#[test]
fn what_does_not_begin_with_a_signal_is_not_told_by_one() {
    // Slow answers, long before anybody goes.
    let slow = of("a", slow(Outcome::Timeout, 20.0));
    let losses = found(&pair(), &[slow], "{}");
    assert_eq!(losses[0].evidence, "1 time-outs on pod a");
}

#[test]
fn only_new_connections_speak_of_how_late_the_data_path_is() {
    // A connection that was kept, cut 25 s after the deletion.
    let forced = Cluster::default()
        .pod("a", 1, 0.0, 0.0)
        .endpoints(0.0, "a")
        .deleted("a", 100.0)
        .signal("a", 100.0, 0.0, Signal::Sigterm)
        .exited("a", 125.0, 0);
    let losses = found(&forced, &[reused(Outcome::EofReused, 9.0, 125.0, 0.2)], "{}");
    assert_eq!(losses[0].cause, Cause::TerminationRace);
    assert!(losses[0].fix.advice.contains("sleep of 3 s"), "{}", losses[0].fix.advice);
}
