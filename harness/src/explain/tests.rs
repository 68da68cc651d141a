//! Explanations as a whole: golden files, the real controller's answers, bad and hostile input.

use std::{fs, path::PathBuf};

use serde_json::Value;

use super::{
    Args, ExplainError, explain_objects, input,
    told::{Explanation, Outcome, Standing},
};

mod oracle;
mod sad;

/// The arguments of a command line.
pub(super) fn args(line: &[&str]) -> Args {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let line = ["explain", "test.yaml"].into_iter().chain(line.iter().copied());
    <Line as clap::Parser>::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args
}

/// What a file's text is explained as.
pub(super) fn explained(text: &str, line: &[&str]) -> Result<Explanation, ExplainError> {
    explain_objects(&input::objects(text, "test.yaml")?, &args(line))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/explain")
}

fn example(name: &str) -> String {
    fs::read_to_string(folder().join(format!("{name}.yaml"))).expect("an example")
}

/// Compares with a file; `UPDATE_GOLDEN=1` writes it.
fn golden(name: &str, found: &str) {
    crate::golden::same("explain", name, found);
}

/// A name, flags, and the passes.
type Example = (&'static str, &'static [&'static str], &'static [(u32, u32)]);

/// The examples, and `spec.replicas` before and after each pass. The real controller (v1.35.4)
/// answered so to the same cases; but for the last three, which no oracle of that release can play.
const EXAMPLES: [Example; 10] = [
    ("policy", &[], &[(4, 8), (8, 8), (8, 8), (8, 8), (8, 12)]),
    ("held", &[], HELD),
    ("unready", &[], &[(4, 4)]),
    ("missing", &[], &[(5, 5)]),
    ("tolerance", &[], &[(4, 4)]),
    ("bounds", &[], &[(5, 6), (9, 6), (0, 0)]),
    ("failing", &[], &[(4, 4), (4, 7), (7, 9)]),
    ("tolerance", &["--kubernetes", "1.32"], &[(4, 5)]),
    ("cluster", &[], &[(3, 3)]),
    ("ambiguous", &["--hpa", "web"], &[(1, 1)]),
];

const HELD: &[(u32, u32)] = &{
    let mut passes = [(10, 10); 22];
    passes[21] = (10, 4);
    passes
};

#[test]
fn examples_are_decided_as_the_real_controller_does_and_told_as_the_golden_files_say() {
    for (name, line, wanted) in EXAMPLES {
        let explanation = explained(&example(name), line).unwrap_or_else(|e| panic!("{name}: {e}"));
        let passes = explanation.passes.iter();
        let found: Vec<_> = passes.map(|pass| (pass.from.unwrap(), pass.to.unwrap())).collect();
        assert_eq!(found, wanted, "{name}");
        let name = line.last().map_or(name.to_owned(), |version| format!("{name}-{version}"));
        golden(&format!("{name}.txt"), &super::text::render(&explanation));
        if ["unready", "failing"].contains(&name.as_str()) {
            let json = format!("{:#}\n", serde_json::json!(explanation));
            golden(&format!("{name}.json"), &json);
        }
    }
}

#[test]
fn autoscalers_with_the_same_pods_are_refused_from_1_26_on_and_only_with_pods() {
    let text = example("ambiguous");
    let active = |text: &str, line: &[&str]| {
        let told = explained(text, line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let conditions = told.passes.last().expect("a pass").conditions.clone();
        let active = conditions.into_iter().find(|one| one.kind == "ScalingActive");
        active.map(|one| (one.reason, one.message)).expect("a condition")
    };
    for hpa in ["web", "by-queue"] {
        let (reason, message) = active(&text, &["--hpa", hpa]);
        assert_eq!(reason, "AmbiguousSelector");
        assert_eq!(
            message,
            "pods by selector app=web,tier=front are controlled by multiple HPAs: \
             [shop/by-queue shop/web]"
        );
    }
    let rows = [
        (text.clone(), &["--hpa", "web", "--kubernetes", "1.25"][..], "of an older release"),
        (text.clone(), &["--hpa", "other"], "has its own pods"),
        (
            text.replace("name: by-queue, namespace: shop", "name: by-queue, namespace: b"),
            &["--hpa", "web"],
            "elsewhere",
        ),
    ];
    for (text, line, why) in rows {
        assert_ne!(active(&text, line).0, "AmbiguousSelector", "{why}");
    }
    // A pod that both select makes two Deployments' autoscalers rivals.
    let shared = text.replace("labels: {app: other}}", "labels: {app: other, tier: x}}");
    let shared = shared.replace(
        "selector: {matchLabels: {tier: front, app: web}}",
        "selector: {matchLabels: {tier: x}}",
    );
    let told = active(&shared, &["--hpa", "other"]).1;
    assert!(told.ends_with("[shop/by-queue shop/other shop/web]"), "{told}");
}

#[test]
fn the_page_shows_what_is_told() {
    let page = include_str!("../../../docs/explain.md");
    let told = explained(&example("unready"), &[]).expect("explained");
    assert!(page.contains(&example("unready")), "the example's file");
    assert!(page.contains(&super::text::render(&told)), "what is told of it");
    // The other blocks of YAML are states too.
    let blocks = page.split("```yaml\n").skip(2).map(|rest| rest.split("```").next().unwrap());
    let hpa = example("failing").split("---\n").next().unwrap().to_owned();
    for block in blocks {
        let states = if block.contains("states:") { "" } else { "states: [{replicas: 4}]\n" };
        let told = explained(&format!("{hpa}---\n{block}{states}"), &[]);
        assert!(told.is_ok(), "{block}: {:?}", told.err().map(|error| error.to_string()));
    }
}

#[test]
fn what_programs_read_has_the_form_that_its_schema_says() {
    let schema = super::explanation_schema();
    let properties = schema["$defs"]["Pass"]["properties"].as_object().expect("properties");
    for name in ["failing", "bounds", "cluster"] {
        let told = serde_json::json!(explained(&example(name), &[]).expect(name));
        assert_eq!(told["version"], 1);
        for pass in told["passes"].as_array().expect("passes") {
            let unknown = pass.as_object().expect("an object").keys();
            let unknown: Vec<_> = unknown.filter(|key| !properties.contains_key(*key)).collect();
            assert!(unknown.is_empty(), "{unknown:?}");
        }
    }
    assert_eq!(super::schema()["properties"]["states"]["type"], Value::from("array"));
}

#[test]
fn an_autoscaler_that_has_long_been_there_is_not_held_by_what_it_found() {
    let fresh = explained(&example("held"), &[]).expect("explained");
    assert_eq!((fresh.passes[0].to, fresh.passes[0].settled), (Some(10), Some(4)));
    let settled = explained(&example("held"), &["--settled"]).expect("explained");
    assert_eq!((settled.passes[0].to, settled.passes[0].settled), (Some(4), None));
    let with = |more: &str| {
        let text = example("held").replace("states:", &format!("{more}\nstates:"));
        explained(&text, &[]).expect("explained").passes[0].to
    };
    assert_eq!(with("recommended: [{ago: 2m, replicas: 7}]"), Some(7));
    assert_eq!(with("recommended: [{ago: 6m, replicas: 7}]"), Some(4));
    // What was added within the period is not added again.
    let policy =
        example("policy").replace("states:", "changed: [{ago: 30s, from: 2, to: 4}]\nstates:");
    assert_eq!(explained(&policy, &[]).expect("explained").passes[0].to, Some(6));
}

#[test]
fn flags_are_those_of_the_controller() {
    let first =
        |name: &str, line: &[&str]| explained(&example(name), line).expect(name).passes[0].to;
    assert_eq!(first("tolerance", &["--tolerance", "0.05"]), Some(5));
    let held =
        explained(&example("held"), &["--downscale-stabilization", "30s"]).expect("explained");
    assert_eq!(held.passes.iter().position(|pass| pass.to == Some(4)), Some(3));
    let slow = explained(&example("held"), &["--sync-period", "1m"]).expect("explained");
    assert_eq!(slow.passes.len(), 6);
    // Without the periods, young pods count at once.
    let line = ["--cpu-initialization-period", "0s", "--initial-readiness-delay", "0s"];
    let hasty = explained(&example("unready"), &line).expect("explained");
    let pods = &hasty.passes[0].metrics[0].pods;
    let unready = pods.iter().filter(|pod| pod.standing == Standing::Unready);
    assert_eq!(unready.map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["pending"]);
}

#[test]
fn an_autoscaler_of_the_first_version_is_read_where_it_hides_nothing() {
    let old = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\n\
        spec:\n  scaleTargetRef: {kind: Deployment, name: web}\n  maxReplicas: 9\n  \
        targetCPUUtilizationPercentage: 50\n---\nstates:\n- replicas: 2\n  pods:\n  \
        - {name: web, count: 2, requests: {cpu: 1}, usage: {cpu: 900m}}\n";
    let told = explained(old, &[]).expect("explained");
    assert_eq!((told.autoscaler.min_replicas, told.passes[0].to), (1, Some(4)));
}

#[test]
fn objects_of_several_files_and_times_make_a_timeline() {
    let text = example("cluster");
    let objects = input::objects(&text, "test.yaml").expect("objects");
    // The same objects as two states: JSON is YAML.
    let list = |names: [&str; 2], cpu: &str| {
        let items: Vec<Value> = objects
            .iter()
            .filter(|object| names.contains(&object.kind.as_str()))
            .map(|object| {
                let mut value = crate::scenario::scalar::to_json(&object.node);
                value["kind"] = object.kind.clone().into();
                if object.kind == "PodMetrics" {
                    value["containers"][0]["usage"]["cpu"] = cpu.into();
                }
                value
            })
            .collect();
        Value::from(items)
    };
    let hpa: Vec<Value> = objects
        .iter()
        .filter(|object| ["HorizontalPodAutoscaler", "Deployment"].contains(&object.kind.as_str()))
        .map(|object| crate::scenario::scalar::to_json(&object.node))
        .collect();
    let states = serde_json::json!({"states": [
        {"objects": list(["Pod", "PodMetrics"], "180m")},
        {"at": "2026-11-28T12:01:00Z", "objects": list(["Pod", "PodMetrics"], "400m")},
    ]});
    let hpa = serde_json::json!({"kind": "List", "items": hpa});
    let told = explained(&format!("{hpa}\n---\n{states}\n"), &[]).expect("explained");
    assert_eq!(told.passes.len(), 5);
    assert_eq!((told.passes[0].from, told.passes[0].to), (Some(3), Some(3)));
    assert_eq!(told.passes[4].at, "2026-11-28T12:01:00Z");
    assert_eq!((told.passes[4].outcome, told.passes[4].to), (Outcome::Scaled, Some(7)));
}
