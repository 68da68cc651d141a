//! Rolling updates of the bundled service.

use highwater::analyze::Cause;
use highwater_model::event::EventKind;

use crate::{
    lab::Lab,
    run::{Done, Run, clean_up},
};

/// Pods of the Deployment.
const REPLICAS: u64 = 3;
/// From one rollout to the next: three times as long as one was seen to take.
const ROLLOUT_SECONDS: u64 = 20;

/// How many pods are replaced in all: those of one rollout, or `HIGHWATER_REPLACEMENTS` in the long
/// recipe.
fn rollouts() -> u64 {
    let wanted = std::env::var("HIGHWATER_REPLACEMENTS").ok();
    wanted.map_or(1, |text| text.parse::<u64>().expect("a number").div_ceil(REPLICAS))
}

/// Rollouts of the bundled service over kube-proxy.
fn rolling(lab: &Lab, name: &str, rollouts: u64) -> Run {
    let seconds = 4 + rollouts * ROLLOUT_SECONDS;
    let every = format!("{{every: {ROLLOUT_SECONDS}s, times: {rollouts}}}");
    lab.bundled(name, "rolling-update").set(&[
        "path={kind: l4}",
        &format!("target.deployment.replicas={REPLICAS}"),
        &format!(
            "traffic.phases=[{{name: calm, hold: 20/s, for: 3s}}, \
             {{name: rollouts, hold: 40/s, for: {seconds}s}}]"
        ),
        &format!("events=[{{at: 4s, rollout: {{}}, repeat: {every}}}]"),
        "objectives=[{failed: 0}, {unexplained: 0}]",
    ])
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn the_correct_service_loses_nothing_and_nothing_is_left_of_the_run() {
    let lab = Lab::new("rolling");
    let rollouts = rollouts();
    let mut run = rolling(&lab, "run", rollouts).start();
    run.wait_for("traffic-started", 1);
    // Who cleans up under a run that is alive is refused, and harms nothing.
    let (code, printed) = clean_up(&lab.home, &[]);
    assert_eq!(code, 3, "{printed}");
    assert!(printed.contains("under way"), "{printed}");
    let done = run.finish();
    done.is_flawless();
    let summary = &done.summary;
    assert!(summary.transitions.observed >= 2 * REPLICAS * rollouts, "{}", done.printed);
    assert_eq!(summary.transitions.with_loss, 0);
    done.all_actions_worked(&vec!["rollout"; rollouts as usize]);
    tells_its_life(&done);
    let revision = rollouts as u32 + 1;
    let is_last = |kind: &EventKind| matches!(kind, EventKind::RolloutComplete { revision: last } if *last == revision);
    assert_eq!(done.events(is_last), 1, "{}", done.printed);
    done.left_nothing();
}

/// The bundled service's own words came with the cluster's.
fn tells_its_life(done: &Done) {
    use highwater_model::event::LifecyclePhase::{DrainStarted, Exiting, ListenerClosed, Signal};
    for wanted in [Signal, DrainStarted, ListenerClosed, Exiting] {
        let count = done
            .events(|kind| matches!(kind, EventKind::Lifecycle { phase, .. } if *phase == wanted))
            as u64;
        assert!(count >= REPLICAS, "{wanted:?} {count} times\n{}", done.printed);
    }
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn a_listener_that_closes_first_loses_requests_and_the_printed_fix_stops_that() {
    let lab = Lab::new("race");
    // Only a new connection can meet a closed door.
    let wrong = ["target.misbehave=[close-listener-first]", "traffic.keepAlive=false"];
    let done = rolling(&lab, "wrong", 1).set(&wrong).go();
    assert_eq!(done.causes(), [Cause::TerminationRace], "{}", done.printed);
    done.ends_with(1);
    assert_eq!(done.summary.unexplained, 0);
    assert!(done.summary.transitions.with_loss >= 1, "{}", done.printed);
    let fix = sets_of(&done.summary.losses[0].fix);
    let fix: Vec<&str> = fix.iter().map(String::as_str).collect();
    let fixed = rolling(&lab, "fixed", 1).set(&wrong).set(&fix).go();
    fixed.is_flawless();
    assert!(fixed.summary.transitions.observed >= 2 * REPLICAS);
}

/// A patch as it is printed, block mappings to any depth, as overrides of a scenario.
fn sets_of(patch: &str) -> Vec<String> {
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut sets = Vec::new();
    for line in patch.lines() {
        let (key, value) = line.trim().split_once(':').expect("a mapping");
        let indent = line.len() - line.trim_start().len();
        path.retain(|(known, _)| *known < indent);
        path.push((indent, key));
        if !value.trim().is_empty() {
            let keys: Vec<&str> = path.iter().map(|(_, key)| *key).collect();
            sets.push(format!("{}={}", keys.join("."), value.trim()));
        }
    }
    assert!(!sets.is_empty(), "no patch: {patch}");
    sets
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn a_node_port_is_reached_from_outside_and_from_pods() {
    let lab = Lab::new("nodeport");
    for (generators, pods) in [("local", None), ("1", Some(1))] {
        let done = lab
            .bundled(generators, "rolling-update")
            .set(&[
                "path={kind: l4, serviceType: NodePort}",
                &format!("traffic.generators={generators}"),
                "traffic.phases=[{hold: 30/s, for: 5s}]",
                "target.deployment.replicas=2",
                "events=[]",
                "objectives=[{failed: 0}]",
            ])
            .go();
        done.is_flawless();
        assert_eq!(done.summary.generators.map(|of| of.count), pods);
        done.left_nothing();
    }
}
