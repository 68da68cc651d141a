//! Runs scenarios as their users do, several at a time.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
    sync::Mutex,
};

use highwater::{
    analyze::{self, Analysis, Cause, Summary, findings::FindingKind},
    record,
};

use crate::table::BASE;

/// How a request reaches a pod.
pub(crate) const PATHS: [&str; 2] = ["l4", "l7"];
/// The most runs at a time. They wait most of the time, so that there are two for each core.
const THREADS_MAX: usize = 8;
/// How often a run is done that cannot be trusted.
const PASSES: usize = 4;

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) seed: u64,
    pub(crate) sets: Vec<&'static str>,
    /// `local` or `sim`.
    pub(crate) backend: &'static str,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) job: Job,
    pub(crate) summary: Summary,
    pub(crate) analysis: Analysis,
    pub(crate) causes: BTreeSet<Cause>,
    pub(crate) findings: BTreeSet<FindingKind>,
    pub(crate) printed: String,
}

/// Runs all of them, several at a time; the order of the outcomes is that of the jobs.
///
/// A run that says of itself that it cannot be trusted (the machine kept it from sending in time)
/// proves nothing, neither way: it is done again, with less beside it, [`PASSES`] times at most.
pub(crate) fn run_all(jobs: &[Job]) -> Vec<Outcome> {
    let mut outcomes: Vec<Option<Outcome>> = jobs.iter().map(|_| None).collect();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut threads = (2 * cores).min(THREADS_MAX);
    for pass in 1..=PASSES {
        let open: Vec<usize> = (0..jobs.len())
            .filter(|index| outcomes[*index].as_ref().is_none_or(|one| !one.summary.audit.trusted))
            .collect();
        if open.is_empty() {
            break;
        }
        if pass > 1 {
            eprintln!("pass {pass}: {} runs could not be trusted", open.len());
        }
        for (index, outcome) in run_some(jobs, &open, threads) {
            outcomes[index] = Some(outcome);
        }
        threads = (threads / 2).max(1);
    }
    outcomes.into_iter().map(Option::unwrap).collect()
}

fn run_some(jobs: &[Job], open: &[usize], threads: usize) -> Vec<(usize, Outcome)> {
    let next = Mutex::new(open.iter());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(open.len()) {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap().next() else { return };
                    let outcome = run(&jobs[*index]);
                    outcomes.lock().unwrap().push((*index, outcome));
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

fn run(job: &Job) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let (scenario, out) = (folder.path().join("scenario.yaml"), folder.path().join("run"));
    std::fs::write(&scenario, BASE).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.arg("run").arg(&scenario).arg("--out").arg(&out).stdin(Stdio::null());
    command.args(["--backend", job.backend]);
    let own = [format!("path.kind={}", job.path), format!("seed={}", job.seed)];
    for set in job.sets.iter().copied().chain(own.iter().map(String::as_str)) {
        command.args(["--set", set]);
    }
    let output = command.output().unwrap();
    let printed = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(out.join("summary.json"))
        .unwrap_or_else(|error| panic!("{job:?}: {error}\n{printed}"));
    let summary: Summary = serde_json::from_str(&text).unwrap();
    let analysis = analyze::analyze(&record::read(&out).unwrap()).unwrap();
    if let Some(keep) = std::env::var_os("HIGHWATER_KEEP") {
        let to =
            std::path::Path::new(&keep).join(format!("{}-{}-{}", job.name, job.path, job.seed));
        // Another run of the same name may be there.
        let _ = std::fs::remove_dir_all(&to);
        std::fs::create_dir_all(&keep).unwrap();
        std::fs::rename(&out, &to).unwrap_or_else(|_| {
            Command::new("cp").arg("-r").args([&out, &to]).status().unwrap();
        });
    }
    Outcome {
        job: job.clone(),
        causes: summary.losses.iter().map(|loss| loss.cause).collect(),
        findings: summary.findings.iter().map(|found| found.kind).collect(),
        summary,
        analysis,
        printed,
    }
}
