//! Rollouts, evictions and restarts recorded on a real cluster, done again by our machines: same
//! steps, in their order, and within the clock's grain at their times.
//!
//! `data/recorded/NAME.jsonl` is a record of `highwater run --backend kube` without its load: the
//! scenario in the first line, then events. `HIGHWATER_RECORDED=FOLDER` takes run folders anew
//! (`just record-rollouts`). What a replay is given and what it has to find out by itself is told in
//! `recorded/replay.rs`.
//!
//! # The clock's grain
//!
//! A cluster's own times are whole seconds, and its kubelets look for ended containers once per
//! second ([`GRAIN`]). A probe's first run falls anywhere in its period.
//!
//! # What is not compared
//!
//! Which of several pods of one revision goes first, and which node a pod comes to: upstream draws
//! lots. Pods are compared by the order in which they were made, and ends by the order in which
//! they began.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

#[path = "recorded/lives.rs"]
mod lives;
#[path = "recorded/replay.rs"]
mod replay;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use highwater_model::{
    event::{DeleteReason, Event, EventKind},
    spec::{Action, Deployment, RollingUpdate, Scenario, Strategy},
    time::{Nanos, Timestamp},
    units::IntOrPercent,
};
use lives::{Life, lives};
use replay::replay;
use serde_json::{Value, json};

/// How far the same thing may be apart: a whole second of the stored time, and one of the kubelet's.
const GRAIN: Nanos = Nanos::from_secs(2);
/// Two steps that lie further apart than this must have the same order.
pub(crate) const CLEARLY: Nanos = Nanos::from_secs(4);
/// The machines have randomness of their own: each recording is replayed with so many seeds.
const SEEDS: u64 = 20;

pub(crate) struct Recording {
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    pub(crate) events: Vec<Event>,
}

impl Recording {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let scenario = serde_json::from_value(lines.next().unwrap()["scenario"].take()).unwrap();
        let mut events: Vec<Event> =
            lines.map(|line| serde_json::from_value(line).unwrap()).collect();
        events.sort_by_key(|event| (event.at, event.seq));
        let name = path.file_stem().unwrap().to_str().unwrap().into();
        Self { name, scenario, events }
    }

    /// When the last event happened.
    pub(crate) fn end(&self) -> Timestamp {
        self.events.iter().map(|event| event.at).max().expect("there are events")
    }

    /// What the scenario did, when the cluster accepted it.
    pub(crate) fn actions(&self) -> Vec<(Timestamp, Action)> {
        let mut started = BTreeMap::new();
        let mut actions = Vec::new();
        let mut by_seq: Vec<&Event> = self.events.iter().collect();
        by_seq.sort_by_key(|event| event.seq);
        for event in by_seq {
            match &event.kind {
                EventKind::ActionStarted { action_id, action } => {
                    started.insert(*action_id, action.clone());
                }
                EventKind::ActionAccepted { action_id } => {
                    actions.push((event.at, started[action_id].clone()));
                }
                _ => {}
            }
        }
        actions
    }

    /// The period of a pod's probes: how late one may look.
    fn period(&self) -> Nanos {
        let template = &self.scenario.target.deployment.template;
        let probes = [&template.readiness_probe, &template.liveness_probe, &template.startup_probe];
        let periods = probes.into_iter().flatten().map(|probe| probe.period_seconds);
        Nanos::from_secs(u64::from(periods.max().unwrap_or(0)))
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/recorded")
}

fn recordings() -> Vec<Recording> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| Recording::read(file)).collect()
}

/// One thing that happened, with whom it happened to: the how-manieth of its revision.
type Moments = BTreeMap<(u32, usize, &'static str), Timestamp>;

/// The ends of a revision's pods, in the order in which they began.
fn ends(lives: &[Life], revision: u32) -> Vec<&Life> {
    let mut ends: Vec<&Life> = lives
        .iter()
        .filter(|life| life.revision == revision)
        .filter(|life| life.deleted.is_some_and(|(_, reason)| reason != DeleteReason::Teardown))
        .collect();
    ends.sort_by_key(|life| life.deleted.map(|(at, _)| at));
    ends
}

fn moments(lives: &[Life]) -> Moments {
    let mut moments = Moments::new();
    let revisions: Vec<u32> = {
        let mut all: Vec<u32> = lives.iter().map(|life| life.revision).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    for revision in revisions {
        let made = lives.iter().filter(|life| life.revision == revision);
        for (number, life) in made.enumerate() {
            moments.insert((revision, number, "created"), life.created);
            if let Some(at) = life.ready.first() {
                moments.insert((revision, number, "ready"), *at);
            }
        }
        for (number, life) in ends(lives, revision).iter().enumerate() {
            moments.insert((revision, number, "deleted"), life.deleted.unwrap().0);
            let last = life.containers.last();
            if let Some(at) = last.and_then(|last| last.sigterm) {
                moments.insert((revision, number, "terminated"), at);
            }
            if let Some((at, _)) = last.and_then(|last| last.exited) {
                moments.insert((revision, number, "exited"), at);
            }
            if let Some(at) = life.gone {
                moments.insert((revision, number, "gone"), at);
            }
        }
    }
    moments
}

/// From one instant to another, seconds.
fn span(from: Timestamp, to: Timestamp) -> f64 {
    to.as_secs_f64() - from.as_secs_f64()
}

/// Demands that two spans are the same within so much.
fn same(problems: &mut Vec<String>, what: &str, ours: f64, theirs: f64, within: Nanos) {
    if (ours - theirs).abs() > within.as_secs_f64() {
        problems.push(format!("{what}: {ours:.2} s, recorded {theirs:.2} s"));
    }
}

/// What our machines did otherwise.
fn differences(recording: &Recording, theirs: &[Life], ours: &[Life]) -> Vec<String> {
    let mut problems = Vec::new();
    let (period, note) = (recording.period(), &mut problems);
    let (seen, done) = (moments(theirs), moments(ours));
    for key in seen.keys().filter(|key| !done.contains_key(*key)) {
        note.push(format!("{key:?} is missing"));
    }
    // What came at the very end may have come too late for the record.
    let is_late = |at: &Timestamp| *at + CLEARLY > recording.end();
    for (key, _) in done.iter().filter(|(key, at)| !seen.contains_key(*key) && !is_late(at)) {
        note.push(format!("{key:?} was not recorded"));
    }
    // Each pod's life, from its own cause to its own effect.
    let mut of_ours: BTreeMap<u32, Vec<&Life>> = BTreeMap::new();
    for life in ours {
        of_ours.entry(life.revision).or_default().push(life);
    }
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for life in theirs {
        let number = counts.entry(life.revision).or_default();
        let who = format!("pod {number} of revision {}", life.revision);
        let Some(twin) = of_ours.get(&life.revision).and_then(|all| all.get(*number)) else {
            continue;
        };
        *number += 1;
        // A rollout makes a new pod when an old one may go, or a new one is available.
        if let (Some(was), Some(is)) =
            (made_since_ready(theirs, life), made_since_ready(ours, twin))
        {
            same(note, &format!("{who}, ready to creation"), is, was, period + GRAIN);
        }
        compare_starts(note, &who, life, twin, period, recording.end());
    }
    for (revision, _) in counts {
        let pairs = ends(theirs, revision).into_iter().zip(ends(ours, revision));
        for (number, (life, twin)) in pairs.enumerate() {
            // A rollout takes an old pod when a new one is available.
            if let (Some(was), Some(is)) = (since_ready(theirs, life), since_ready(ours, twin)) {
                let what = format!("end {number} of revision {revision}, ready to deletion");
                same(note, &what, is, was, GRAIN);
            }
            compare_ends(note, &format!("end {number} of revision {revision}"), life, twin);
        }
    }
    // The order of all of it.
    let both: Vec<_> =
        seen.iter().filter_map(|(key, at)| Some((key, *at, *done.get(key)?))).collect();
    for (first, seen_first, done_first) in &both {
        for (then, seen_then, done_then) in &both {
            if *seen_then > *seen_first + CLEARLY && done_then <= done_first {
                note.push(format!("{then:?} came before {first:?}"));
            }
        }
    }
    problems
}

/// From the last pod's being ready to a deletion by the rollout, seconds.
fn since_ready(lives: &[Life], life: &Life) -> Option<f64> {
    let (at, _) = life.deleted.filter(|(_, reason)| *reason == DeleteReason::Rollout)?;
    last_ready(lives, at)
}

/// The same to the creation of a pod of a later revision.
fn made_since_ready(lives: &[Life], life: &Life) -> Option<f64> {
    if life.revision == 1 { None } else { last_ready(lives, life.created) }
}

fn last_ready(lives: &[Life], by: Timestamp) -> Option<f64> {
    let ready = lives.iter().flat_map(|life| &life.ready).filter(|ready| **ready <= by).max()?;
    Some(span(*ready, by))
}

fn compare_starts(
    note: &mut Vec<String>,
    who: &str,
    life: &Life,
    twin: &Life,
    period: Nanos,
    end: Timestamp,
) {
    if life.containers.len() != twin.containers.len() {
        let (theirs, ours) = (life.containers.len(), twin.containers.len());
        note.push(format!("{who}: {ours} containers, recorded {theirs}"));
    }
    let pairs: Vec<_> = life.containers.iter().zip(&twin.containers).collect();
    if let (Some((theirs, ours)), Some(ready), Some(was)) =
        (pairs.first(), twin.ready.first(), life.ready.first())
    {
        let within = period + GRAIN;
        same(
            note,
            &format!("{who}, start to ready"),
            span(ours.started, *ready),
            span(theirs.started, *was),
            within,
        );
    }
    for (index, (theirs, ours)) in pairs.iter().enumerate() {
        let what = format!("{who}, container {index}");
        match (theirs.killed_by_probe, ours.killed_by_probe) {
            (Some(was), Some(is)) => {
                same(
                    note,
                    &format!("{what}, start to kill"),
                    span(ours.started, is),
                    span(theirs.started, was),
                    period + GRAIN,
                );
            }
            (None, None) => {}
            // Of one that was recorded at the very end, ours may come too late.
            (Some(was), None) if was + CLEARLY > end => {}
            (was, is) => note.push(format!("{what}: killed by a probe {is:?}, recorded {was:?}")),
        }
        let Some((next_theirs, next_ours)) = pairs.get(index + 1) else { continue };
        if let (Some((was, _)), Some((is, _))) = (theirs.exited, ours.exited) {
            let (ours, theirs) = (span(is, next_ours.started), span(was, next_theirs.started));
            // The kubelet comes back to a back-off up to half as late again: upstream's chance.
            let late = Nanos::from_secs_f64(ours.min(theirs) / 2.0);
            same(note, &format!("{what}, exit to restart"), ours, theirs, late + GRAIN);
        }
    }
}

fn compare_ends(note: &mut Vec<String>, who: &str, life: &Life, twin: &Life) {
    let ((began, why), (begins, reason)) = (life.deleted.unwrap(), twin.deleted.unwrap());
    if why != reason {
        note.push(format!("{who}: {reason:?}, recorded {why:?}"));
    }
    let (Some(theirs), Some(ours)) = (life.containers.last(), twin.containers.last()) else {
        return;
    };
    match (theirs.sigterm, ours.sigterm) {
        (Some(was), Some(is)) => {
            same(
                note,
                &format!("{who}, deletion to SIGTERM"),
                span(begins, is),
                span(began, was),
                GRAIN,
            );
        }
        (None, None) => {}
        // A process that does not tell of its signals.
        (None, Some(_)) => {}
        (Some(_), None) => note.push(format!("{who}: no SIGTERM")),
    }
    if let (Some((was, code)), Some((is, twin_code))) = (theirs.exited, ours.exited) {
        same(note, &format!("{who}, deletion to exit"), span(begins, is), span(began, was), GRAIN);
        if code != twin_code {
            note.push(format!("{who}: exit code {twin_code}, recorded {code}"));
        }
    }
    if let (Some((exit, _)), Some((exits, _)), Some(was), Some(is)) =
        (theirs.exited, ours.exited, life.gone, twin.gone)
    {
        same(note, &format!("{who}, exit to gone"), span(exits, is), span(exit, was), GRAIN);
    }
}

#[test]
fn what_a_cluster_did_is_done_again() {
    let recordings = recordings();
    assert!(recordings.len() >= 10, "{} recordings", recordings.len());
    let mut problems = Vec::new();
    for recording in &recordings {
        let theirs = lives(&recording.events);
        assert!(theirs.len() >= 2 && !recording.actions().is_empty(), "{}", recording.name);
        for seed in 1..=SEEDS {
            let found = match replay(recording, &theirs, seed) {
                Some(events) => differences(recording, &theirs, &lives(&events)),
                None => vec!["too many pods".into()],
            };
            let name = &recording.name;
            problems.extend(found.iter().map(|found| format!("{name}, seed {seed}: {found}")));
        }
    }
    assert!(problems.is_empty(), "{}\n{}", problems.len(), problems.join("\n"));
}

/// The comparison can fail: a cluster that is a little other than the recorded one is told from it.
#[test]
fn another_cluster_is_told_from_the_recorded_one() {
    type Change = fn(&mut Deployment);
    let rows: [(&str, Change); 8] = [
        ("drain", |deployment| deployment.replicas += 1),
        ("drain", |deployment| {
            let (max_surge, max_unavailable) = (IntOrPercent::Int(3), IntOrPercent::Int(0));
            let update = RollingUpdate { max_surge, max_unavailable };
            deployment.strategy.rolling_update = Some(update);
        }),
        ("min-ready", |deployment| deployment.min_ready_seconds = 0),
        ("recreate", |deployment| deployment.strategy = Strategy::default()),
        ("pre-stop", |deployment| deployment.template.lifecycle = None),
        ("grace", |deployment| deployment.template.termination_grace_period_seconds += 4),
        ("pre-stop-eats-grace", |deployment| {
            deployment.template.termination_grace_period_seconds += 4;
        }),
        ("liveness-kills", |deployment| deployment.template.liveness_probe = None),
    ];
    for (name, change) in rows {
        let mut other = Recording::read(&folder().join(format!("{name}.jsonl")));
        let theirs = lives(&other.events);
        change(&mut other.scenario.target.deployment);
        for seed in 1..=SEEDS {
            let is_told = replay(&other, &theirs, seed)
                .is_none_or(|events| !differences(&other, &theirs, &lives(&events)).is_empty());
            assert!(is_told, "{name}, seed {seed}");
        }
    }
}

/// Kinds of events that are kept.
const KEPT: [&str; 14] = [
    "action-started",
    "action-accepted",
    "pod-created",
    "container-started",
    "pod-ready",
    "pod-unready",
    "probe-kill",
    "back-off",
    "pod-deleted",
    "signal-sent",
    "container-exited",
    "pod-gone",
    "lifecycle",
    "rollout-complete",
];

/// Takes run folders anew.
#[test]
#[ignore = "writes the data"]
fn take_anew() {
    let from = std::env::var("HIGHWATER_RECORDED").expect("a folder of run folders");
    fs::create_dir_all(folder()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let run = entry.unwrap().path();
        let text = fs::read_to_string(run.join("record.jsonl")).unwrap();
        let mut kept = Vec::new();
        for line in text.lines() {
            let mut value: Value = serde_json::from_str(line).unwrap();
            let kind = value["type"].as_str().unwrap().to_owned();
            if kind == "header" {
                assert_eq!(value["backend"], "kube", "{}", run.display());
                kept.push(json!({"scenario": value["scenario"]}).to_string());
            } else if kind == "event" && KEPT.contains(&value["kind"].as_str().unwrap()) {
                value.as_object_mut().unwrap().remove("type");
                kept.push(value.to_string());
            }
        }
        let name = run.file_name().unwrap().to_str().unwrap();
        let file = folder().join(format!("{}.jsonl", name.trim_end_matches("-kube")));
        fs::write(file, kept.join("\n") + "\n").unwrap();
    }
}
