//! Our Deployment and ReplicaSet controllers against Kubernetes' own.
//!
//! `data/rollout.jsonl` holds random cases of the oracle's generator and what the real controllers
//! (v1.35.4, in virtual time) did: `{"case": .., "entries": [..], "statuses": [..], "endpoints": [..]}`
//! a line, each as [`Compared`] has it. The world around the controllers is
//! the oracle's, played again (`rollout/world.rs`).
//!
//! More can be compared: `HIGHWATER_ROLLOUT_CASES` and `HIGHWATER_ROLLOUT_RESULTS` name files as the
//! oracle reads and writes them. With `HIGHWATER_ROLLOUT_WRITE` the short ones among these and
//! those in [`KEPT`] replace the data.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "rollout/case.rs"]
mod case;
#[path = "rollout/world.rs"]
mod world;

use std::fmt::Write;

use case::Case;
use highwater_model::rng::Stream;
use serde_json::{Value, json};
use world::World;

/// How many entries a short case has.
const SHORT: usize = 34;
/// Longer ones that are kept because few others show it when a rule is wrong (restarts or cost of
/// victims, proportions of a scaling, ties in it, upstream's error in cleaning up).
const KEPT: [u64; 11] = [27, 30, 33, 80, 84, 103, 157, 162, 180, 183, 187];

/// What is compared of a trace.
#[derive(PartialEq)]
struct Compared {
    /// Actions, ReplicaSets and pods, in the order of the writes.
    entries: Vec<String>,
    /// The deployment's numbers and the reason of `Progressing` at the end of each instant that
    /// changed them.
    statuses: Vec<String>,
    /// The endpoints at the end of each instant that changed them; none where the controller waits
    /// to write them in batches.
    endpoints: Vec<String>,
}

/// One line for an entry; `None` for kinds that are not compared.
fn entry(entry: &Value) -> Option<String> {
    let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let kind = text("kind");
    let what = match kind.as_str() {
        "replicaset-created" => format!("v{} {}", entry["version"], entry["replicas"]),
        "replicaset-scaled" => {
            format!("v{} {} to {}", entry["version"], entry["from"], entry["replicas"])
        }
        "replicaset-deleted" => format!("v{}", entry["version"]),
        "pod-created" => text("pod"),
        "pod-deleted" => format!("{} by {} in {}", text("pod"), text("by"), entry["grace"]),
        "action" => {
            let verdict = if entry["error"].is_null() { "done" } else { "refused" };
            format!("{} {} {verdict}", text("action"), text("pod"))
        }
        _ => return None,
    };
    Some(format!("{} {kind} {what}", entry["at"].as_f64().unwrap()))
}

/// The statuses of a trace. Which of the reasons that only say "under way" it is depends on how
/// syncs interleave, upstream too, so these are one.
fn statuses(trace: &[Value]) -> Vec<String> {
    let (mut numbers, mut reason) = (String::new(), String::from("under-way"));
    let mut found: Vec<(f64, String)> = Vec::new();
    for entry in trace {
        match entry["kind"].as_str().unwrap() {
            "deployment-status" => {
                let count = |name: &str| entry[name].as_u64().unwrap_or(0);
                numbers = format!(
                    "{} updated {} ready {} available {} terminating {}",
                    count("replicas"),
                    count("updated"),
                    count("ready"),
                    count("available"),
                    count("terminating"),
                );
            }
            "deployment-condition" if entry["type"] == "Progressing" => {
                reason = match entry["reason"].as_str().unwrap_or_default() {
                    known @ ("NewReplicaSetAvailable" | "ProgressDeadlineExceeded") => known.into(),
                    _ => "under-way".into(),
                };
            }
            _ => continue,
        }
        let at = entry["at"].as_f64().unwrap();
        found.retain(|(earlier, _)| *earlier < at);
        found.push((at, format!("{numbers} {reason}")));
    }
    found.dedup_by(|later, earlier| later.1 == earlier.1);
    let line = |(at, status): (f64, String)| format!("{at} {status}");
    found.into_iter().map(line).collect()
}

/// The endpoints of a trace: how many there are, ready, serving and terminating, and a digest.
fn endpoints(trace: &[Value]) -> Vec<String> {
    let mut found: Vec<(f64, String)> = vec![(-1.0, summary(&[]))];
    for entry in trace.iter().filter(|entry| entry["kind"] == "endpoints") {
        let at = entry["at"].as_f64().unwrap();
        found.retain(|(earlier, _)| *earlier < at);
        found.push((at, summary(entry["endpoints"].as_array().unwrap())));
    }
    found.dedup_by(|later, earlier| later.1 == earlier.1);
    let line = |(at, text): (f64, String)| format!("{at} {text}");
    found.into_iter().skip(1).map(line).collect()
}

fn summary(endpoints: &[Value]) -> String {
    let count = |name: &str| endpoints.iter().filter(|endpoint| endpoint[name] == true).count();
    let (ready, serving, terminating) = (count("ready"), count("serving"), count("terminating"));
    let whole = serde_json::to_string(endpoints).unwrap();
    let digest = Stream::new(0, &whole).next_u64() >> 32;
    format!("{} {ready} {serving} {terminating} {digest:x}", endpoints.len())
}

impl Compared {
    fn of(case: &Value, trace: &[Value]) -> Self {
        let is_batched = !case["batchSeconds"].is_null();
        Self {
            entries: trace.iter().filter_map(entry).collect(),
            statuses: statuses(trace),
            endpoints: if is_batched { Vec::new() } else { endpoints(trace) },
        }
    }

    fn read(line: &Value) -> Self {
        let texts = |name: &str| {
            let lines = line[name].as_array().unwrap();
            lines.iter().map(|text| text.as_str().unwrap().into()).collect()
        };
        Self {
            entries: texts("entries"),
            statuses: texts("statuses"),
            endpoints: texts("endpoints"),
        }
    }

    /// Which actions upstream's validation refused.
    fn refusals(&self) -> Vec<bool> {
        let actions = self.entries.iter().filter(|line| line.contains(" action "));
        actions.map(|line| line.ends_with("refused")).collect()
    }

    /// The first difference of ours from upstream's.
    fn difference(&self, ours: &Self) -> Option<String> {
        let mut text = String::new();
        for (name, want, got) in [
            ("entry", &self.entries, &ours.entries),
            ("status", &self.statuses, &ours.statuses),
            ("endpoints", &self.endpoints, &ours.endpoints),
        ] {
            let longest = want.len().max(got.len());
            if let Some(place) = (0..longest).find(|&i| want.get(i) != got.get(i)) {
                write!(
                    text,
                    "\n  {name} {place}: upstream {:?}, ours {:?}, after {:?}",
                    want.get(place),
                    got.get(place),
                    place.checked_sub(1).map(|before| &want[before]),
                )
                .unwrap();
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

fn difference(case: &Value, want: &Compared) -> Option<String> {
    let ours = World::play(&Case::read(case), &want.refusals());
    let mut ours = Compared::of(case, &ours);
    if case["deployment"]["progressDeadlineSeconds"] == 1 {
        // When a deadline that short is seen depends on the rate limiter of upstream's queue.
        ours.statuses.clone_from(&want.statuses);
    }
    want.difference(&ours).map(|text| format!("{}{text}", case["id"]))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn decisions_are_those_of_the_real_controllers() {
    let known = lines(include_str!("data/rollout.jsonl"));
    assert!(known.len() >= 50, "the cases are missing");
    let differing: Vec<String> =
        known.iter().filter_map(|line| difference(&line["case"], &Compared::read(line))).collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn further_cases_agree_where_they_are_given() {
    let file = |name| std::env::var(name).ok().map(|path| std::fs::read_to_string(path).unwrap());
    let (Some(cases), Some(results)) =
        (file("HIGHWATER_ROLLOUT_CASES"), file("HIGHWATER_ROLLOUT_RESULTS"))
    else {
        return;
    };
    let (cases, results) = (lines(&cases), lines(&results));
    assert_eq!(cases.len(), results.len());
    let (mut differing, mut data) = (Vec::new(), String::new());
    for (case, result) in cases.iter().zip(&results) {
        let Some(trace) = result["trace"].as_array() else {
            continue;
        };
        let want = Compared::of(case, trace);
        differing.extend(difference(case, &want));
        let Compared { entries, statuses, endpoints } = want;
        let is_kept = KEPT.iter().any(|id| case["id"] == format!("random-1-{id}"));
        if is_kept || entries.len() <= SHORT {
            let line = json!({"case": case, "entries": entries, "statuses": statuses, "endpoints": endpoints});
            writeln!(data, "{line}").unwrap();
        }
    }
    if let Ok(path) = std::env::var("HIGHWATER_ROLLOUT_WRITE") {
        std::fs::write(path, data).unwrap();
    }
    let (count, all) = (differing.len(), cases.len());
    assert_eq!(count, 0, "of {all}:\n{}", differing.join("\n"));
}
