//! The harness killed at any moment: `highwater cleanup` puts everything back, in the cluster and
//! in what is not Highwater's.

use highwater::analyze::{self, Verdict};

use crate::{
    kubectl::{exists, json, kubectl, kubectl_with, spec, wait_until},
    lab::{Lab, Workload},
    run::{Run, Running, clean_up, nothing_is_left},
};

/// Seconds of traffic of a run that is killed.
const SECONDS: u64 = 24;

/// How many runs are killed: a few, or `HIGHWATER_KILLS` in the long recipe.
fn kills() -> u64 {
    std::env::var("HIGHWATER_KILLS").ok().map_or(3, |text| text.parse().expect("a number"))
}

/// An autoscaler of the user's that never has a reason to scale.
fn autoscaler(workload: &Workload) {
    let autoscaler = format!(
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: theirs}}\n\
         spec:\n  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {}}}\n  \
         minReplicas: 3\n  maxReplicas: 5\n  \
         metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: AverageValue, averageValue: \"8\"}}}}}}]\n",
        workload.name
    );
    let namespace = workload.namespace.as_str();
    kubectl_with(&["--namespace", namespace, "apply", "--filename", "-"], &autoscaler);
}

/// A run that changes whatever can be changed of a workload.
fn run(lab: &Lab, name: &str, workload: &Workload, more: &str) -> Run {
    let yaml = format!(
        "name: killed\ntarget: {}\npath: {{kind: l4}}\n\
         traffic:\n  requests: [{{get: /}}]\n  phases: [{{hold: 20/s, for: {SECONDS}s}}]\n\
         events:\n- {{at: 1s, patchAutoscaler: {{maxReplicas: 7}}}}\n\
         - {{at: 2s, drainNode: {{for: 10s}}}}\n- {{at: 4s, scale: {{replicas: 4}}}}\n\
         - {{at: 6s, rollout: {{env: [{{name: A, value: b}}]}}}}\n\
         - {{at: 15s, drainNode: {{pod: newest}}}}\n{more}",
        workload.as_target()
    );
    lab.scenario(name, &yaml)
}

/// What of the cluster a run may change, as it is now.
#[derive(Debug, PartialEq, Eq)]
struct State {
    deployment: String,
    autoscaler: String,
    cordoned: Vec<String>,
    metrics: String,
}

impl State {
    fn now(workload: &Workload) -> Self {
        let nodes = json(&["get", "nodes"]);
        let cordoned = nodes["items"].as_array().unwrap().iter();
        let cordoned = cordoned.filter(|node| node["spec"].get("unschedulable").is_some());
        let metrics =
            ["get", "apiservice", "v1beta1.metrics.k8s.io", "--output", "jsonpath={.spec}"];
        Self {
            deployment: workload.spec(),
            autoscaler: spec(&workload.namespace, "horizontalpodautoscaler/theirs"),
            cordoned: cordoned.map(|node| node["metadata"]["name"].to_string()).collect(),
            metrics: kubectl(&metrics),
        }
    }
}

/// Waits for the `index`th of `of` moments that are spread over a run, by what is there by then.
fn moment(run: &mut Running, home: &str, index: u64, of: u64) {
    let early: [&[&str]; 2] = [&["namespace", home], &["jobs", "--namespace", home]];
    if let Some(what) = early.get(index as usize).filter(|_| of > 4) {
        wait_until("the beginning", || !run.is_alive() || exists(what));
        return;
    }
    // A window is written for each second.
    let windows = if of > 4 { (index - 2) * SECONDS / (of - 2) } else { 3 + index * SECONDS / of };
    run.wait_for("traffic-started", 1);
    run.wait_for("\"type\":\"window\"", windows as usize);
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn kill_9_at_many_moments_leaves_nothing_after_a_cleanup() {
    let of = kills();
    // The long recipe takes the metrics API away, too.
    let mut lab = if of > 4 { Lab::alone("killed") } else { Lab::cordoning("killed") };
    let workload = lab.workload("python");
    autoscaler(&workload);
    let before = State::now(&workload);
    let metrics = if of > 4 { "- {at: 18s, metricsOutage: {for: 60s}}\n" } else { "" };
    for index in 0..of {
        let name = format!("run-{index}");
        let mut going = run(&lab, &name, &workload, metrics).start();
        moment(&mut going, &lab.home, index, of);
        going.kill();
        let (code, printed) = clean_up(&lab.home, &[]);
        assert_eq!(code, 0, "moment {index} of {of}: {printed}");
        assert_eq!(State::now(&workload), before, "moment {index} of {of}: {printed}");
        nothing_is_left(&lab.home);
        let (code, printed) = clean_up(&lab.home, &[]);
        assert!(code == 0 && printed.contains("nothing is left"), "{code}: {printed}");
        // A record that was cut off opens, and says so.
        if let Ok(record) = highwater::record::read(&lab.path(&name)) {
            assert_eq!(analyze::analyze(&record).unwrap().verdict, Verdict::Aborted);
        }
        workload.settle();
    }
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn ctrl_c_puts_everything_back_by_itself() {
    let mut lab = Lab::cordoning("ctrl-c");
    let workload = lab.workload("go");
    autoscaler(&workload);
    let before = State::now(&workload);
    let mut going = run(&lab, "run", &workload, "").start();
    going.wait_for("action-accepted", 4);
    going.interrupt();
    let done = going.finish();
    assert_eq!((done.code, done.summary.verdict), (3, Verdict::Aborted), "{}", done.printed);
    assert_eq!(State::now(&workload), before, "{}", done.printed);
    done.left_nothing();
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn the_metrics_api_comes_back_after_a_run_that_took_it_away_and_was_killed() {
    let mut lab = Lab::alone("metrics");
    let workload = lab.workload("go");
    autoscaler(&workload);
    let before = State::now(&workload);
    let yaml = format!(
        "name: outage\ntarget: {}\npath: {{kind: l4}}\n\
         traffic: {{requests: [{{get: /}}], phases: [{{hold: 10/s, for: 40s}}]}}\n\
         events: [{{at: 1s, metricsOutage: {{for: 5m}}}}]\n",
        workload.as_target()
    );
    let mut going = lab.scenario("run", &yaml).start();
    going.wait_for("action-accepted", 1);
    going.kill();
    assert_ne!(State::now(&workload).metrics, before.metrics);
    // An autoscaler would see nothing now: the preflight says so before anything is made.
    let other = Lab::beside(&lab, "blind");
    let set = ["path={kind: l4}", "traffic.phases=[{hold: 1/s, for: 1s}]", "objectives=[]"];
    let (code, printed) = other.bundled("run", "spike").set(&set).fails();
    assert_eq!(code, 3, "{printed}");
    assert!(printed.contains("metrics"), "{printed}");
    nothing_is_left(&other.home);
    let (code, printed) = clean_up(&lab.home, &[]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(State::now(&workload), before, "{printed}");
    nothing_is_left(&lab.home);
    let available = ["wait", "--for=condition=Available", "--timeout=60s"];
    kubectl(&[&available[..], &["apiservice/v1beta1.metrics.k8s.io"]].concat());
}
