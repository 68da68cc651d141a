//! Every anti-pattern is found and named, on each path where it can show, and nothing else is; and
//! what it is a mistake of, done right, loses nothing.
//!
//! `HIGHWATER_ROW=NAME` runs the rows whose name contains that; `HIGHWATER_REPEAT=N` each so often,
//! with seeds of its own; `HIGHWATER_DOCS=1` writes `docs/anti-patterns.md` (`just anti-patterns`).
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod page;
mod run;
mod table;

use std::collections::BTreeSet;

use self::{
    run::{Job, Outcome, PATHS, run_all},
    table::{Expected, TABLE},
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn is_wanted(name: &str) -> bool {
    std::env::var("HIGHWATER_ROW").map_or(true, |wanted| name.contains(&wanted))
}

/// In virtual time a seed's run is always the same, and with the first one a cold pod of `cold-start`
/// has not had enough requests that it answered when the rollout takes it: slow, for all that is known.
fn seeds(backend: &str) -> std::ops::RangeInclusive<u64> {
    let first = if backend == "sim" { 2 } else { 1 };
    first..=first - 1 + number("HIGHWATER_REPEAT").unwrap_or(1)
}

#[test]
fn each_is_found_and_nothing_else() {
    each_is_found("local");
}

#[test]
fn each_is_found_in_virtual_time_too() {
    each_is_found("sim");
}

fn each_is_found(backend: &'static str) {
    let mut jobs = Vec::new();
    for row in TABLE.iter().filter(|row| is_wanted(row.name)) {
        for path in PATHS {
            for seed in seeds(backend) {
                let sets = [row.setting, row.wrong].concat();
                jobs.push(Job { name: row.name, path, seed, sets, backend });
            }
        }
    }
    let problems: Vec<String> = run_all(&jobs).iter().filter_map(judge).collect();
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), jobs.len(), problems.join("\n"));
}

fn judge(outcome: &Outcome) -> Option<String> {
    let row = TABLE.iter().find(|row| row.name == outcome.job.name).unwrap();
    let expected: Expected = if outcome.job.path == "l4" { row.l4 } else { row.l7 };
    let is_right = outcome.summary.audit.trusted
        && outcome.causes == expected.causes.iter().copied().collect::<BTreeSet<_>>()
        && outcome.findings == expected.findings.iter().copied().collect::<BTreeSet<_>>()
        && outcome.analysis.losses.iter().all(|loss| !loss.fix.advice.is_empty())
        && outcome.summary.unexplained == 0;
    (!is_right).then(|| {
        format!(
            "{} on {}, seed {}: expected {expected:?}, found {:?} {:?}\n{}",
            outcome.job.name,
            outcome.job.path,
            outcome.job.seed,
            outcome.causes,
            outcome.findings,
            outcome.printed
        )
    })
}

#[test]
fn the_same_done_right_loses_nothing() {
    done_right_loses_nothing("local");
}

#[test]
fn nor_in_virtual_time() {
    done_right_loses_nothing("sim");
}

fn done_right_loses_nothing(backend: &'static str) {
    let mut jobs: Vec<Job> = Vec::new();
    for row in TABLE.iter().filter(|row| is_wanted(row.name)) {
        if jobs.iter().any(|job| job.sets == row.setting) {
            continue;
        }
        for path in PATHS {
            for seed in seeds(backend) {
                let sets = row.setting.to_vec();
                jobs.push(Job { name: row.name, path, seed, sets, backend });
            }
        }
    }
    let is_clean = |outcome: &&Outcome| {
        outcome.summary.audit.trusted
            && outcome.causes.is_empty()
            && outcome.findings.is_empty()
            && outcome.summary.requests.failed == 0
            && outcome.summary.requests.ok > 0
    };
    let outcomes = run_all(&jobs);
    let problems: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !is_clean(outcome))
        .map(|outcome| {
            let Job { name, path, seed, .. } = &outcome.job;
            format!(
                "{name} on {path}, seed {seed}: {:?} {:?}\n{}",
                outcome.causes, outcome.findings, outcome.printed
            )
        })
        .collect();
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), jobs.len(), problems.join("\n"));
}

/// Rows of which retries hide something, on both ways to find out.
const HIDDEN: [&str; 3] = ["close-listener-first", "exit-on-sigterm", "short-idle-timeout"];

#[test]
fn retries_change_no_cause() {
    retries_change_no_cause_on("local", &|name| HIDDEN.contains(&name));
}

#[test]
fn nor_do_they_in_virtual_time() {
    retries_change_no_cause_on("sim", &|_| true);
}

/// What is lost behind a proxy that retries and what it hides have together the causes of the row.
fn retries_change_no_cause_on(backend: &'static str, can_show: &dyn Fn(&str) -> bool) {
    let mut jobs = Vec::new();
    for row in TABLE.iter().filter(|row| is_wanted(row.name) && can_show(row.name)) {
        for seed in seeds(backend) {
            let sets = [row.setting, row.wrong, &["path.retry=idempotent"][..]].concat();
            jobs.push(Job { name: row.name, path: "l7", seed, sets, backend });
        }
    }
    assert!(!jobs.is_empty() || std::env::var_os("HIGHWATER_ROW").is_some());
    let mut hides = BTreeSet::new();
    let problems: Vec<String> = run_all(&jobs)
        .iter()
        .filter_map(|outcome| {
            let row = TABLE.iter().find(|row| row.name == outcome.job.name).unwrap();
            let hidden = outcome.summary.hidden_by_retries.iter().map(|loss| loss.cause);
            let hidden: BTreeSet<_> = hidden.collect();
            if !hidden.is_empty() {
                hides.insert(row.name);
            }
            let expected = row.l7.causes.iter().copied().collect::<BTreeSet<_>>();
            let is_right = outcome.summary.audit.trusted
                && &outcome.causes | &hidden == expected
                && outcome.summary.unexplained == 0;
            let (job, causes) = (&outcome.job, &outcome.causes);
            (!is_right).then(|| {
                format!(
                    "{} seed {}: expected {expected:?}, lost by {causes:?}, hidden {hidden:?}\n{}",
                    job.name, job.seed, outcome.printed
                )
            })
        })
        .collect();
    assert!(problems.is_empty(), "{} of {}:\n{}", problems.len(), jobs.len(), problems.join("\n"));
    for name in HIDDEN.iter().filter(|name| is_wanted(name)) {
        assert!(hides.contains(name), "{name}: something is hidden");
    }
}

#[test]
fn every_switch_that_a_process_can_show_has_a_row() {
    use highwater_model::spec::Misbehaviour;
    let names: BTreeSet<&str> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), TABLE.len(), "names are unique");
    let missing: Vec<&str> = Misbehaviour::ALL
        .iter()
        .filter(|how| **how != Misbehaviour::SelfScaling)
        .map(|how| how.name())
        .filter(|name| !names.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
