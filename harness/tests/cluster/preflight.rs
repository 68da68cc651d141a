//! What is found wrong before any load is sent, named, with exit code 3 and nothing left.

use serde_json::Value;

use crate::{
    kubectl::kubectl,
    lab::Lab,
    run::{Run, clean_up, nothing_is_left},
};

/// A short run of the bundled service.
fn run(lab: &Lab, name: &str) -> Run {
    let traffic = "traffic.phases=[{hold: 5/s, for: 1s}]";
    lab.bundled(name, "rolling-update").set(&[
        "path={kind: l4}",
        traffic,
        "events=[]",
        "objectives=[]",
    ])
}

/// The run is refused in these words, and leaves nothing.
fn is_refused(lab: &Lab, run: Run, words: &[&str]) {
    let (code, printed) = run.fails();
    assert_eq!(code, 3, "{printed}");
    for word in words {
        assert!(printed.contains(word), "{word} in\n{printed}");
    }
    nothing_is_left(&lab.home);
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn what_is_missing_is_named_before_any_load() {
    let mut lab = Lab::new("preflight");
    let empty = lab.namespace("empty");
    let no_image = ["--image", "highwater.test/none:1"];
    is_refused(&lab, run(&lab, "image").args(&no_image), &["highwater.test/none:1"]);
    let wide = "target.deployment.template.resources={requests: {cpu: 100}}";
    is_refused(&lab, run(&lab, "full").set(&[wide]), &["nodes are full", "room for 0"]);
    let absent = format!(
        "name: absent\ntarget: {{workload: {{namespace: {empty}, deployment: web, service: shop}}}}\n\
         path: {{kind: l4}}\ntraffic: {{phases: [{{hold: 5/s, for: 1s}}]}}\n"
    );
    let words = [format!("no Deployment {empty}/web"), format!("no Service {empty}/shop")];
    is_refused(&lab, lab.scenario("absent", &absent), &words.each_ref().map(String::as_str));
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn a_namespace_that_is_not_ours_is_not_touched() {
    let mut lab = Lab::new("not-ours");
    let theirs = lab.namespace("theirs");
    kubectl(&["--namespace", &theirs, "create", "configmap", "precious"]);
    let (code, printed) = run(&lab, "run").in_namespace(&theirs).fails();
    assert_eq!(code, 3, "{printed}");
    assert!(printed.contains("not Highwater's"), "{printed}");
    let (code, printed) = clean_up(&theirs, &["--force"]);
    assert_eq!(code, 3, "{printed}");
    assert!(printed.contains("not Highwater's"), "{printed}");
    kubectl(&["--namespace", &theirs, "get", "configmap", "precious"]);
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn a_context_that_may_be_production_is_not_acted_on() {
    let lab = Lab::new("guard");
    let config = kubectl(&["config", "view", "--raw", "--minify", "--flatten", "--output", "json"]);
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["contexts"][0]["name"] = "production".into();
    config["current-context"] = "production".into();
    let file = lab.file("kubeconfig", &config.to_string());
    let guarded =
        |name: &str, more: &[&str]| run(&lab, name).args(&["--kubeconfig", &file]).args(more);
    let words = ["does not look like a test cluster", "--i-know-this-is-not-a-test-cluster"];
    is_refused(&lab, guarded("plain", &[]), &words);
    // To confirm without naming is not enough.
    let confirmed = "--i-know-this-is-not-a-test-cluster";
    is_refused(&lab, guarded("unnamed", &[confirmed]), &words);
    // Named and confirmed it goes on, to the next thing that is wrong.
    let named = ["--context", "production", confirmed];
    let wide = "target.deployment.template.resources={requests: {cpu: 100}}";
    is_refused(&lab, guarded("named", &named).set(&[wide]), &["nodes are full"]);
}
