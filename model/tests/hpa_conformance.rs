//! Our HorizontalPodAutoscaler against Kubernetes' own.
//!
//! `data/hpa.jsonl` holds cases of the oracle's and what the real controller (v1.35.4, in virtual
//! time) did, `{"case": .., "syncs": [..]}` a line: replicas, conditions with their messages, metrics,
//! events and errors of every sync; of each sync only what differs from the one before.
//!
//! `data/hpa-releases.jsonl` holds cases on which other releases decide otherwise, with a `version`
//! each and without messages. They come of the same oracle, built with that release's
//! `pkg/controller/podautoscaler` in place of 1.35's (1.37's paced as those before it).
//!
//! More can be compared: `HIGHWATER_HPA_CASES` and `HIGHWATER_HPA_RESULTS` name files as the oracle
//! reads and writes them; `HIGHWATER_HPA_VERSION` says which release's controller it ran, and for
//! another than 1.35 all but the messages is compared. With `HIGHWATER_HPA_WRITE` the short ones among these replace the data.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "hpa/case.rs"]
mod case;
#[path = "hpa/world.rs"]
mod world;

use std::fmt::Write as _;

use case::Case;
use highwater_model::hpa::Version;
use serde_json::{Value, json};

/// A case of so many syncs is short.
const SHORT: usize = 36;

/// What is left out where it is empty.
fn field<'a>(sync: &'a Value, name: &str) -> &'a Value {
    const NOTHING: &Value = &Value::Null;
    match sync.get(name) {
        Some(Value::Array(list)) if list.is_empty() => NOTHING,
        Some(value) => value,
        None => NOTHING,
    }
}

/// The first difference of ours from upstream's.
fn difference(case: &Value, want: &[Value], kubernetes: Version) -> Option<String> {
    let read: Case = serde_json::from_value(case.clone()).expect("a case reads");
    let (mut ours, mut want) = (world::play(&read, kubernetes), want.to_vec());
    if kubernetes != Version::STANDARD {
        ours.iter_mut().chain(&mut want).for_each(without_messages);
    }
    let id = &read.id;
    if ours.len() != want.len() {
        return Some(format!("{id}: {} syncs upstream, {} ours", want.len(), ours.len()));
    }
    want.iter().zip(&ours).find_map(|(want, ours)| {
        let names = [
            "at",
            "specBefore",
            "specAfter",
            "currentReplicas",
            "desiredReplicas",
            "lastScale",
            "conditions",
            "metrics",
            "events",
            "errors",
        ];
        names.iter().find_map(|name| {
            let (want, got) = (field(want, name), field(ours, name));
            let same = match (want.as_f64(), got.as_f64()) {
                (Some(want), Some(got)) => want == got,
                _ => *name == "metrics" && metrics_agree(want, got) || want == got,
            };
            let at = &ours["at"];
            (!same).then(|| format!("{id} at {at}, {name}:\n  upstream {want}\n  ours     {got}"))
        })
    })
}

/// The words of messages are those of 1.35, whichever release it follows.
fn without_messages(sync: &mut Value) {
    for condition in sync["conditions"].as_array_mut().into_iter().flatten() {
        condition["message"] = Value::Null;
    }
    for event in sync["events"].as_array_mut().into_iter().flatten() {
        *event = event.as_str().and_then(|text| text.split(':').next()).into();
    }
    for error in sync["errors"].as_array_mut().into_iter().flatten() {
        *error = Value::Null;
    }
}

/// An average over no pods is told by no number upstream.
fn metrics_agree(want: &Value, got: &Value) -> bool {
    let (Some(want), Some(got)) = (want.as_array(), got.as_array()) else { return false };
    want.len() == got.len()
        && want
            .iter()
            .zip(got)
            .all(|(want, got)| want == got || (*want == json!({}) && *got == json!({"average": 0})))
}

/// Of each sync what differs from the one before; `null` for what is there no more.
fn pack(syncs: &[Value]) -> Vec<Value> {
    let mut before = serde_json::Map::new();
    let pack = |sync: &Value| {
        let sync = sync.as_object().unwrap();
        let mut packed: serde_json::Map<_, _> = sync
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let gone = before.keys().filter(|name| !sync.contains_key(*name));
        packed.extend(gone.map(|name| (name.clone(), Value::Null)));
        before.clone_from(sync);
        Value::Object(packed)
    };
    syncs.iter().map(pack).collect()
}

fn unpack(packed: &[Value]) -> Vec<Value> {
    let mut sync = serde_json::Map::new();
    let unpack = |packed: &Value| {
        sync.extend(packed.as_object().unwrap().clone());
        sync.retain(|_, value| !value.is_null());
        Value::Object(sync.clone())
    };
    packed.iter().map(unpack).collect()
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn decisions_are_those_of_the_real_controller() {
    let known: Vec<Value> = lines(include_str!("data/hpa.jsonl")).collect();
    assert!(known.len() >= 60, "the cases are missing");
    let differing: Vec<String> = known
        .iter()
        .filter_map(|line| {
            difference(&line["case"], &unpack(line["syncs"].as_array().unwrap()), Version::STANDARD)
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn decisions_of_other_releases_are_those_of_their_controllers() {
    let known: Vec<Value> = lines(include_str!("data/hpa-releases.jsonl")).collect();
    assert!(known.len() >= 30, "the cases are missing");
    let differing: Vec<String> = known
        .iter()
        .filter_map(|line| {
            let version = line["version"].as_str().unwrap();
            let syncs = unpack(line["syncs"].as_array().unwrap());
            let found = difference(&line["case"], &syncs, version.parse().unwrap());
            found.map(|found| format!("{version}: {found}"))
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn further_cases_agree_where_they_are_given() {
    let file = |name| std::env::var(name).ok().map(|path| std::fs::read_to_string(path).unwrap());
    let (Some(cases), Some(results)) = (file("HIGHWATER_HPA_CASES"), file("HIGHWATER_HPA_RESULTS"))
    else {
        return;
    };
    let kubernetes = std::env::var("HIGHWATER_HPA_VERSION").map(|text| text.parse().unwrap());
    let kubernetes = kubernetes.unwrap_or(Version::STANDARD);
    let (mut differing, mut data) = (Vec::new(), String::new());
    let (mut all, mut syncs) = (0, 0);
    for (case, result) in lines(&cases).zip(lines(&results)) {
        // Upstream's validation refused it, or its world cannot be.
        let Some(want) = result["syncs"].as_array() else { continue };
        assert_eq!(case["id"], result["id"]);
        all += 1;
        syncs += want.len();
        differing.extend(difference(&case, want, kubernetes));
        if want.len() <= SHORT {
            let line = json!({"case": case, "syncs": pack(want)});
            writeln!(data, "{line}").unwrap();
        }
    }
    if let Ok(path) = std::env::var("HIGHWATER_HPA_WRITE") {
        std::fs::write(path, data).unwrap();
    }
    let count = differing.len();
    differing.truncate(5);
    assert_eq!(count, 0, "of {all} cases with {syncs} syncs:\n{}", differing.join("\n"));
    eprintln!("{all} cases with {syncs} syncs agree");
}
