//! Load from pods: any number of them is one, and one that is lost is missed.

use std::collections::BTreeMap;

use highwater::{analyze::Verdict, plan::Plan};
use highwater_model::{
    event::EventKind,
    load::Schedule,
    time::{Nanos, Timestamp},
};

use crate::{
    kubectl::kubectl,
    lab::Lab,
    run::{Done, Run},
};

fn run(lab: &Lab, name: &str, generators: u32, seconds: u32) -> Run {
    lab.bundled(name, "rolling-update").set(&[
        "path={kind: l4}",
        "target.deployment.replicas=2",
        &format!("traffic.generators={generators}"),
        &format!(
            "traffic.phases=[{{name: calm, hold: 30/s, for: 3s}}, \
             {{name: rise, ramp: {{to: 61/s}}, over: 3s}}, \
             {{name: high, hold: 61/s, for: {seconds}s}}]"
        ),
        "events=[]",
        "objectives=[{failed: 0}]",
    ])
}

/// Requests owed by second of the run and phase.
pub(crate) type Owed = BTreeMap<(u64, u16), u64>;

/// As recorded.
pub(crate) fn owed(done: &Done) -> Owed {
    let windows = done.record.windows.iter().filter(|(_, window)| window.owed > 0);
    windows.map(|(key, window)| (*key, window.owed)).collect()
}

/// As planned, for a run whose traffic started when it did.
pub(crate) fn planned(done: &Done) -> Owed {
    let is_start = |kind: &EventKind| matches!(kind, EventKind::TrafficStarted);
    let started = done.record.events.iter().find(|event| is_start(&event.kind)).unwrap().at;
    let scenario = &done.record.header.scenario;
    let profile = Plan::new(scenario.clone()).unwrap().profile;
    let mut owed = Owed::new();
    for arrival in Schedule::new(profile, scenario.traffic.arrivals, scenario.seed) {
        let second = (started + arrival.at).0 / Nanos::from_secs(1).0;
        *owed.entry((second, arrival.phase)).or_default() += 1;
    }
    owed
}

/// Each generator said when it was ready, and how far its clock is off.
fn all_were_ready(done: &Done, count: usize) {
    let mut ready = BTreeMap::new();
    for event in &done.record.events {
        if let EventKind::GeneratorReady { generator, pod, node, uncertainty, .. } = &event.kind {
            assert!(!pod.is_empty() && !node.is_empty(), "{event:?}");
            // On one machine the offset is known to a fraction of a second.
            let is_known = *uncertainty > Nanos::ZERO && *uncertainty < Nanos::from_secs(1);
            assert!(is_known, "{event:?}");
            ready.insert(*generator, event.at);
        }
    }
    assert_eq!(ready.len(), count, "{}", done.printed);
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn two_generators_send_what_one_does() {
    let lab = Lab::new("two");
    let one = run(&lab, "one", 1, 6).go();
    let two = run(&lab, "two", 2, 6).go();
    for (done, count) in [(&one, 1), (&two, 2)] {
        done.is_flawless();
        all_were_ready(done, count);
        assert_eq!(owed(done), planned(done), "second by second, phase by phase");
    }
    assert_eq!(one.summary.requests, two.summary.requests);
    // The noise of one machine for everything is large; a share that is counted twice, or a clock
    // that is off by its offset, is larger.
    let (one, two) = (one.summary.latency_ms, two.summary.latency_ms);
    for (name, one, two) in [("p50", one.p50, two.p50), ("p90", one.p90, two.p90)] {
        let most = 20.0 + 2.0 * one.min(two);
        assert!((one - two).abs() < most, "{name}: {one} ms by one, {two} ms by two");
    }
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn what_a_lost_generator_owed_is_unsent_and_the_run_is_not_trusted() {
    let lab = Lab::new("lost");
    let mut going = run(&lab, "run", 2, 12).start();
    going.wait_for("\"type\":\"window\"", 5);
    let selector = "app.kubernetes.io/component=generator,\
                    batch.kubernetes.io/job-completion-index=1";
    let delete = ["delete", "pod", "--selector", selector, "--wait=false"];
    kubectl(&[&["--namespace", lab.home.as_str()], &delete[..]].concat());
    let done = going.finish();
    assert_eq!((done.code, done.summary.verdict), (3, Verdict::Untrusted), "{}", done.printed);
    assert_eq!(owed(&done), planned(&done), "the lost share is owed nevertheless");
    let requests = &done.summary.requests;
    let unsent = requests.by_outcome.get("unsent-generator").copied().unwrap_or(0);
    assert!(unsent > 0 && unsent == requests.unsent, "{requests:?}");
    assert_eq!(done.summary.generators.map(|of| (of.count, of.lost)), Some((2, 1)));
    let lost: Vec<(u32, u64, Timestamp)> = done
        .record
        .events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::GeneratorLost { generator, unsent, .. } => {
                Some((generator, unsent, event.at))
            }
            _ => None,
        })
        .collect();
    assert!(matches!(lost[..], [(1, told, _)] if told == unsent), "{lost:?}");
    let reasons = done.summary.audit.reasons.join("\n");
    assert!(reasons.contains("generator 1"), "{reasons}");
    assert!(done.printed.contains("(generator 1: "), "{}", done.printed);
    done.left_nothing();
}
