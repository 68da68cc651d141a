//! Our Deployment, ReplicaSet and EndpointSlice controllers against Kubernetes' own.
//!
//! `data/rollout.jsonl` holds random cases of the oracle's generator and what the real controllers
//! (v1.35.4, in virtual time) did: `{"case": .., "entries": [..], "statuses": [..], "endpoints": [..]}`
//! a line, each as [`Compared`] has it. The world around the controllers is
//! the oracle's, played again (`rollout/{world,act,observe}.rs`).
//!
//! More can be compared: `HIGHWATER_ROLLOUT_CASES` and `HIGHWATER_ROLLOUT_RESULTS` name files as the
//! oracle reads and writes them. With `HIGHWATER_ROLLOUT_WRITE` the short ones among these and
//! those in [`KEPT`] replace the data. `.ci/oracle` does this with fresh cases, in two steps: the
//! first writes the cases that differ, in all other orders of the controllers, to the file that
//! `HIGHWATER_ROLLOUT_DIFFERING` names; the second is given upstream's answers to them
//! (`HIGHWATER_ROLLOUT_ORDERS`, `HIGHWATER_ROLLOUT_ORDERS_RESULTS`), tells by them which
//! differences are upstream's own randomness (`rollout/orders.rs`), and fails with any other one.
//!
//! # What is not compared, and why
//!
//! - The reason of `Progressing` while a rollout is under way (NewReplicaSetCreated or
//!   ReplicaSetUpdated, and the like), since it depends on how syncs interleave; that it is under
//!   way, and when it was last written, is compared.
//! - Statuses and endpoints between two writes of one instant, for the same reason.
//! - Messages of conditions, which hold hashes, and `lastTransitionTime`, which nothing reads.
//! - Statuses and annotations of ReplicaSets: what depends on them (sizes, proportions, clean-up,
//!   rollbacks, the deployment's status and revision) is compared.
//! - `Progressing` where the deadline is 1 s: when it is seen to have passed hangs on the rate limit
//!   of retries, and so on how many syncs of all kinds there were.
//! - Which of more than 12 pods go, where upstream's order of victims is not transitive: Go's sort
//!   then takes any, and from such a choice on a case may differ (it is counted).
//! - Whether upstream's validation refuses a change of the spec: the refusals are taken over.
//!   Refused rollbacks and actions on pods are compared.
//! - Endpoints that are written in batches, where the EndpointSlice controller comes between
//!   ReplicaSet and Deployment controller: see [`Compared::of`].

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "rollout/act.rs"]
mod act;
#[path = "rollout/case.rs"]
mod case;
#[path = "rollout/compared.rs"]
mod compared;
#[path = "rollout/observe.rs"]
mod observe;
#[path = "rollout/orders.rs"]
mod orders;
#[path = "rollout/world.rs"]
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use act::ACTIONS;
use case::Case;
use compared::Compared;
use serde_json::{Value, json};
use world::World;

/// How many entries a short case has.
const SHORT: usize = 34;
/// Others that are kept, by the numbers in their `id`, because few others show it when a rule is
/// wrong: restarts or cost of victims, proportions of a scaling, ties in it, upstream's error in
/// cleaning up, pods of a ReplicaSet that was made anew, a conflict that ends a sync, ReplicaSets
/// that are due at the same instant, a pod made ready by hand, a crash of pods that were never ready.
const KEPT: [&str; 16] = [
    "1-27",
    "1-30",
    "1-33",
    "1-80",
    "1-84",
    "1-103",
    "1-157",
    "1-162",
    "1-180",
    "1-183",
    "1-187",
    "2026-41",
    "2026-43",
    "2026-373",
    "102-263",
    "2122305663-68",
];

/// A case with upstream's answer.
struct Answer {
    case: Value,
    upstream: Compared,
    /// The places of the versions in the order of their ReplicaSets' names, which are hashes.
    names: BTreeMap<u32, u64>,
}

impl Answer {
    /// `None` where upstream refused the case, or crashed over it.
    fn new(case: Value, result: &Value) -> Option<Self> {
        assert_eq!(case["id"], result["id"]);
        let trace = result["trace"].as_array()?;
        let made = trace.iter().filter(|entry| entry["kind"] == "replicaset-created");
        let names: BTreeSet<(&str, u64)> = made
            .map(|set| (set["name"].as_str().unwrap(), set["version"].as_u64().unwrap()))
            .collect();
        let place = |(place, (_, version))| (u32::try_from(version).unwrap(), place);
        let names = (1..).zip(names).map(place).collect();
        Some(Self { upstream: Compared::of(&case, trace), names, case })
    }

    fn kept(line: &Value) -> Self {
        let upstream = Compared::read(line);
        Self { case: line["case"].clone(), upstream, names: BTreeMap::new() }
    }

    fn ours(&self) -> Compared {
        let case = Case::read(&self.case);
        Compared::of(&self.case, &World::play(&case, &self.upstream.refusals(), &self.names))
    }

    fn difference(&self) -> Option<String> {
        let text = self.upstream.difference(&self.ours())?;
        Some(format!("{}{text}", self.case["id"]))
    }
}

fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// The file that a variable of the environment names.
fn file(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|path| std::fs::read_to_string(path).unwrap())
}

/// The answers in two files, if the variables name any.
fn answers(cases: &str, results: &str) -> Option<Vec<Answer>> {
    let (cases, results) = (file(cases)?, file(results)?);
    let all = cases.lines().count();
    assert_eq!(all, results.lines().count());
    let pairs = lines(&cases).zip(lines(&results));
    let answers: Vec<Answer> =
        pairs.filter_map(|(case, result)| Answer::new(case, &result)).collect();
    let unanswered = all - answers.len();
    assert!(orders::are_few(unanswered, all), "{unanswered} of {all} have no answer");
    Some(answers)
}

fn kept() -> Vec<Answer> {
    lines(include_str!("data/rollout.jsonl")).map(|line| Answer::kept(&line)).collect()
}

#[test]
fn decisions_are_those_of_the_real_controllers() {
    let known = kept();
    assert!(known.len() >= 50, "the cases are missing");
    let differing: Vec<String> = known.iter().filter_map(Answer::difference).collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_kind_of_action_is_played() {
    let known = kept();
    for action in ACTIONS {
        let is_done =
            |line: &String| line.contains(&format!(" action {action} ")) && line.ends_with(" done");
        assert!(known.iter().any(|answer| answer.upstream.entries.iter().any(is_done)), "{action}");
    }
}

#[test]
fn further_cases_agree_where_they_are_given() {
    let Some(answers) = answers("HIGHWATER_ROLLOUT_CASES", "HIGHWATER_ROLLOUT_RESULTS") else {
        return;
    };
    if let Ok(path) = std::env::var("HIGHWATER_ROLLOUT_WRITE") {
        std::fs::write(path, data(&answers)).unwrap();
    }
    let differing: Vec<(&Answer, String)> =
        answers.iter().filter_map(|answer| Some((answer, answer.difference()?))).collect();
    let all = answers.len();
    eprintln!("{} of {all} rollouts differ", differing.len());
    let others = self::answers("HIGHWATER_ROLLOUT_ORDERS", "HIGHWATER_ROLLOUT_ORDERS_RESULTS");
    if let (None, Ok(path)) = (&others, std::env::var("HIGHWATER_ROLLOUT_DIFFERING")) {
        let cases = differing.iter().flat_map(|(answer, _)| orders::others(&answer.case));
        std::fs::write(path, cases.map(|case| format!("{case}\n")).collect::<String>()).unwrap();
        return;
    }
    let others = others.unwrap_or_default();
    let (by_chance, others_left): (Vec<_>, Vec<_>) =
        differing.into_iter().partition(|(answer, _)| orders::are_victims_by_chance(answer));
    let (by_order, wrong): (Vec<_>, Vec<_>) =
        others_left.into_iter().partition(|(answer, _)| orders::is_upstreams(answer, &others));
    eprintln!("{} of {all} differ in victims that upstream takes by chance", by_chance.len());
    eprintln!("{} of {all} differ between upstream's own orders", by_order.len());
    let texts = |found: &[(&Answer, String)]| {
        found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n")
    };
    assert!(wrong.is_empty(), "{} of {all} are wrong:\n{}", wrong.len(), texts(&wrong));
    let random = [by_chance, by_order].concat();
    assert!(orders::are_few(random.len(), all), "too many:\n{}", texts(&random));
}

/// The answers that are kept in the repository, as text.
fn data(answers: &[Answer]) -> String {
    let mut data = String::new();
    for Answer { case, upstream, .. } in answers {
        let is_kept = KEPT.iter().any(|id| case["id"] == format!("random-{id}"));
        let Compared { entries, statuses, endpoints, .. } = upstream;
        if is_kept || entries.len() <= SHORT {
            let line = json!({"case": case, "entries": entries, "statuses": statuses, "endpoints": endpoints});
            writeln!(data, "{line}").unwrap();
        }
    }
    data
}
