//! What a scenario does to the target: each action's start, acceptance and effect are recorded, and
//! outside it is so.

use highwater::analyze::Cause;
use highwater_model::event::EventKind;

use crate::{
    kubectl::{json, kubectl_with, wait_until},
    lab::{Lab, Workload},
    run::image,
};

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn the_bundled_service_is_scaled_deleted_killed_restarted_and_its_autoscaler_patched() {
    let lab = Lab::new("acting");
    let rollout = format!("{{image: {}, env: [{{name: A, value: b}}]}}", image());
    let done = lab
        .bundled("run", "rolling-update")
        .set(&[
            "path={kind: l4}",
            "target.deployment.replicas=2",
            "target.deployment.template.resources={requests: {cpu: 50m}}",
            // It never has a reason to scale of its own.
            "autoscaler={minReplicas: 2, maxReplicas: 5, metrics: [{type: Resource, resource: \
             {name: cpu, target: {type: AverageValue, averageValue: 8}}}]}",
            "traffic.phases=[{hold: 30/s, for: 22s}]",
            &format!(
                "events=[{{at: 1s, patchAutoscaler: {{minReplicas: 1}}}}, \
                 {{at: 2s, scale: {{replicas: 3}}}}, {{at: 5s, delete: {{}}}}, \
                 {{at: 8s, rollout: {rollout}}}, {{at: 18s, kill: {{pod: newest}}}}]"
            ),
            "objectives=[{unexplained: 0}]",
        ])
        .go();
    done.all_actions_worked(&["patchAutoscaler", "scale", "delete", "rollout", "kill"]);
    // The killed process takes what it was at with it; nothing else loses anything.
    assert!(done.causes().iter().all(|cause| *cause == Cause::Crash), "{}", done.printed);
    assert_eq!(done.summary.unexplained, 0, "{}", done.printed);
    done.ends_with(0);
    let is_kill = |kind: &EventKind| {
        matches!(kind, EventKind::ContainerExited { code: 137, signal: Some(9), .. })
    };
    assert_eq!(done.events(is_kill), 1, "{}", done.printed);
    let again = |kind: &EventKind| matches!(kind, EventKind::ContainerStarted { restarts: 1, .. });
    assert_eq!(done.events(again), 1, "{}", done.printed);
    done.left_nothing();
}

/// A budget that lets so many pods of a workload be evicted at once.
fn budget(workload: &Workload, unavailable: u32) {
    let budget = format!(
        "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: theirs}}\n\
         spec: {{maxUnavailable: {unavailable}, selector: {{matchLabels: {{app: {}}}}}}}\n",
        workload.name
    );
    let namespace = workload.namespace.as_str();
    kubectl_with(&["--namespace", namespace, "apply", "--filename", "-"], &budget);
    let allowed = u64::from(unavailable);
    wait_until("the budget to count", || {
        let budget = json(&["--namespace", namespace, "get", "poddisruptionbudget", "theirs"]);
        budget["status"]["disruptionsAllowed"].as_u64() == Some(allowed)
    });
}

/// Images and environments of a workload's pods.
fn has_pod(workload: &Workload, image: &str, env: &str) -> bool {
    let pods = json(&["--namespace", &workload.namespace, "get", "pods"]);
    pods["items"].as_array().unwrap().iter().any(|pod| {
        let container = &pod["spec"]["containers"][0];
        let envs = container["env"].as_array();
        container["image"] == image
            && envs.is_some_and(|envs| envs.iter().any(|one| one["value"] == env))
    })
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn a_workload_is_evicted_by_its_budget_drained_and_rolled_to_another_image_and_back() {
    let mut lab = Lab::cordoning("workload");
    let workload = lab.workload("nginx");
    budget(&workload, 0);
    let before = workload.spec();
    let yaml = format!(
        "name: acted-on\ntarget: {}\npath: {{kind: l4}}\n\
         traffic: {{requests: [{{get: /}}], phases: [{{hold: 20/s, for: 34s}}]}}\n\
         events:\n- {{at: 1s, evict: {{}}}}\n- {{at: 8s, drainNode: {{for: 5s}}}}\n\
         - {{at: 18s, rollout: {{image: highwater.test/foreign-go:1, env: [{{name: A, value: rolled}}]}}}}\n\
         - {{at: 28s, kill: {{signal: SIGTERM}}}}\n",
        workload.as_target()
    );
    let mut going = lab.scenario("run", &yaml).start();
    // 429 until the budget allows it, which the record shows as an action that is not accepted yet.
    going.wait_for("\"kind\":\"action-started\"", 1);
    let windows = going.count("\"type\":\"window\"");
    going.wait_for("\"type\":\"window\"", windows + 3);
    assert_eq!(going.count("action-accepted") + going.count("action-refused"), 0);
    budget(&workload, 1);
    wait_until("a pod of the other image", || {
        has_pod(&workload, "highwater.test/foreign-go:1", "rolled")
    });
    let done = going.finish();
    assert_eq!(workload.spec(), before, "the workload's spec is as it was");
    done.left_nothing();
    let mut acted = done.actions();
    let kill = acted.pop().unwrap();
    for one in &acted {
        let is_done = one.accepted && one.refused.is_none() && one.effects.len() == 1;
        assert!(is_done, "{one:?}\n{}", done.printed);
    }
    let keys: Vec<&str> = acted.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["evict", "drainNode", "rollout"], "{}", done.printed);
    // There is nothing in the image that could send a signal, and that is said.
    assert!(!kill.accepted && kill.effects.is_empty(), "{kill:?}");
    assert!(kill.refused.is_some_and(|why| why.contains("kill -TERM 1")));
    let schedulable = |wanted: &str| {
        done.events(|kind| {
            matches!(kind, EventKind::NodeCondition { condition, status, .. }
                if condition == "Schedulable" && status == wanted)
        })
    };
    assert!(schedulable("False") >= 1 && schedulable("True") >= 1, "{}", done.printed);
    let nodes = json(&["get", "nodes"]);
    let is_cordoned = |node: &serde_json::Value| node["spec"].get("unschedulable").is_some();
    assert!(!nodes["items"].as_array().unwrap().iter().any(is_cordoned));
}
