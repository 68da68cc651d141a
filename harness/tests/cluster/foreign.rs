//! Other people's servers, as workloads that are there already: judged rightly, and left as they
//! were.

use highwater::analyze::Cause;
use highwater_model::event::EventKind;

use crate::lab::{Lab, Workload};

/// Load on a workload.
fn scenario(workload: &Workload, traffic: &str, events: &str, seconds: u32) -> String {
    format!(
        "name: foreign\ntarget: {}\npath: {{kind: l4}}\n\
         traffic: {{{traffic}, phases: [{{hold: 60/s, for: {seconds}s}}], timeout: 5s}}\n\
         events: {events}\nobjectives: [{{failed: 0}}, {{unexplained: 0}}]\n",
        workload.as_target()
    )
}

/// Restarts a workload under load; what it loses must have this cause and no other.
fn is_judged(server: &str, traffic: &str, cause: Cause) {
    let mut lab = Lab::new(server);
    let workload = lab.workload(server);
    let before = workload.spec();
    let yaml = scenario(&workload, traffic, "[{at: 2s, rollout: {}}]", 20);
    let done = lab.scenario("run", &yaml).go();
    assert_eq!(workload.spec(), before, "the workload's spec is as it was");
    assert_eq!(done.causes(), [cause], "{}", done.printed);
    assert_eq!(done.summary.unexplained, 0, "{}", done.printed);
    done.ends_with(1);
    done.all_actions_worked(&["rollout"]);
    let ready = |kind: &EventKind| matches!(kind, EventKind::PodReady { .. });
    assert!(done.events(ready) >= 3, "{}", done.printed);
    done.left_nothing();
    // What was put back is a rollout of its own.
    workload.settle();
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn a_go_server_that_shuts_down_at_once_is_a_termination_race() {
    // What is in flight is finished: only new connections are refused.
    is_judged("go", "keepAlive: false, requests: [{get: /}]", Cause::TerminationRace);
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn nginx_that_stops_fast_is_an_abrupt_exit() {
    is_judged("nginx", "requests: [{get: /slow}]", Cause::AbruptExit);
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn python_that_exits_at_once_is_an_abrupt_exit() {
    is_judged("python", "requests: [{get: /slow}]", Cause::AbruptExit);
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn a_workload_that_is_left_alone_loses_nothing() {
    let mut lab = Lab::new("alone");
    let workload = lab.workload("nginx");
    let of_workload = ["get", "deployment", &workload.name, "--output"];
    let generation = [&of_workload[..], &["jsonpath={.metadata.generation}"]].concat();
    let before = (workload.spec(), workload.kubectl(&generation));
    let done = lab.scenario("run", &scenario(&workload, "requests: [{get: /}]", "[]", 5)).go();
    done.is_flawless();
    assert_eq!(done.summary.transitions.observed, 0, "{}", done.printed);
    assert_eq!((workload.spec(), workload.kubectl(&generation)), before, "nothing was written");
    done.left_nothing();
}
