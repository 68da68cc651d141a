//! `--confirm`: the default of Kubernetes, the present and the recommended setting on a real backend.
//!
//! 1. which settings run, with which seeds, in which order: `order`
//! 2. what the simulator says of just these runs: [`confirm`]; then the runs themselves, by the machinery
//!    of `highwater run`: `carry`; where each is kept: `shelf`
//! 3. whether the simulator's promises held: `promise`; all of it in words: `words`
//! 4. the result as data: [`told`]

mod carry;
mod order;
mod promise;
mod shelf;
#[cfg(test)]
mod tests;
pub mod told;
mod words;

use std::path::Path;

use highwater_model::time::Nanos;

use super::{
    cases, finals,
    told::{TuneCase, TuneRun, Tuning},
    trial::in_parallel,
};
use crate::{
    analyze::{self, AnalyzeError},
    backend::{Backend as _, BackendError, kube::Kube, local::Local, sim},
    cli::KubeArgs,
    compare::{
        CompareError, Options, compare,
        run::{self as figures, RunFigures},
    },
    drain::Confirm,
    plan::{Plan, PlanError},
    scenario::{Loaded, ScenarioError},
};
use order::{Arm, Job};
use shelf::{Kept, ShelfError};
use told::{ConfirmRun, ConfirmSetting, TuneConfirm};

/// Runs of each setting, if nothing is said: the least that are compared in pairs.
pub const REPEAT: u32 = 3;
/// The most.
pub const REPEAT_MAX: i64 = 50;

/// What to confirm, and where.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The scenario as it was given to the search, overrides applied.
    pub loaded: &'a Loaded,
    /// As it was named on the command line, and its overrides.
    pub scenario: &'a str,
    /// See `scenario`.
    pub sets: &'a [String],
    /// The backend.
    pub on: Confirm,
    /// Runs of each setting.
    pub repeat: u32,
    /// The cluster.
    pub kube: &'a KubeArgs,
    /// Threads for the simulator.
    pub threads: usize,
    /// The result's folder.
    pub out: &'a Path,
}

/// Why nothing could be confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmError {
    /// A setting that the scenario refuses.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The backend cannot do it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The simulation failed.
    #[error("simulating what is to be confirmed: {0}")]
    Simulate(#[from] BackendError),
    /// A record contradicts itself.
    #[error("analysing what was confirmed: {0}")]
    Analyze(#[from] AnalyzeError),
    /// The figures are damaged.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The result is of another scenario or build.
    #[error(
        "the simulator says something else of the setting `{setting}` than when it was found: give the \
         scenario, --set and --seed of that search, and its build; else search again"
    )]
    Another {
        /// Which setting.
        setting: String,
    },
    /// A run cannot be read or moved.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
}

/// Whether the backend can run the scenario at all: asked before the search.
///
/// # Errors
/// [`PlanError`].
pub fn check(on: Confirm, kube: &KubeArgs, loaded: &Loaded) -> Result<(), PlanError> {
    let plan = Plan::new(loaded.scenario.clone())?;
    match on {
        Confirm::Local => Local::default().check(&plan),
        Confirm::Kube => Kube::new(kube.options()).check(&plan),
    }
}

/// What the simulator said of a job.
struct Simulated {
    figures: RunFigures,
    run: TuneRun,
    /// How long it took in its own time.
    lasted: Nanos,
}

/// Runs what was recommended, and tells what came of it. What was run before in this folder is not run
/// again.
///
/// *Behaviour*: the first run that cannot be carried out, or Ctrl-C, is the last; what is there by
/// then is told. Progress goes to stderr.
///
/// # Errors
/// [`ConfirmError`], all before the first run or after the last.
pub fn confirm(asked: &Asked<'_>, tuning: &Tuning) -> Result<TuneConfirm, ConfirmError> {
    let arms = order::arms(asked, tuning)?;
    let jobs = order::jobs(asked, tuning, &arms)?;
    let simulated: Vec<Result<Simulated, ConfirmError>> =
        in_parallel(asked.threads, jobs.len(), |place| simulate(&jobs[place]));
    let simulated = simulated.into_iter().collect::<Result<Vec<_>, _>>()?;
    refuse_another(tuning, &arms, &jobs, &simulated)?;
    let kept = carry::carry_out(asked, &jobs, &simulated)?;
    tell(asked, tuning, &arms, (&jobs, &simulated, &kept))
}

/// The simulator must say of a setting with the first seed what it said when that was searched with:
/// else what is to be confirmed is not what was found.
fn refuse_another(
    tuning: &Tuning,
    arms: &[Arm],
    jobs: &[Job],
    simulated: &[Simulated],
) -> Result<(), ConfirmError> {
    // With traces the search saw other traffic.
    let is_own = |case: &TuneCase| case.name == cases::of_seed(tuning.seed) && !case.coarse;
    if !tuning.cases.first().is_some_and(is_own) {
        return Ok(());
    }
    let near = |one: f64, other: f64| (one - other).abs() <= 1e-9 * one.abs().max(other.abs());
    let first = jobs.iter().zip(simulated).filter(|(job, _)| job.round == 0);
    for (job, now) in first {
        let setting = &tuning.settings[arms[job.arm].setting];
        let Some(then) = setting.runs.first() else { continue };
        let now = &now.run;
        let is_same = (then.owed, then.lost, then.changes) == (now.owed, now.lost, now.changes)
            && near(then.pod_hours, now.pod_hours)
            && near(then.p99_ms, now.p99_ms);
        if !is_same {
            return Err(ConfirmError::Another { setting: setting.name.clone() });
        }
    }
    Ok(())
}

fn simulate(job: &Job) -> Result<Simulated, ConfirmError> {
    let record = sim::record(&job.plan)?;
    let analysis = analyze::analyze(&record)?;
    let label = format!("simulated, seed {}", job.seed);
    let lasted = record.footer.as_ref().map_or(0, |footer| footer.end.0);
    Ok(Simulated {
        figures: figures::of_record(&label, &record, None)?,
        run: finals::figures(&job.plan.scenario, &analysis),
        lasted: Nanos(lasted),
    })
}

/// The jobs with what the simulator said and what was measured, in one order.
type Done<'a> = (&'a [Job], &'a [Simulated], &'a [Option<Kept>]);

fn tell(
    asked: &Asked<'_>,
    tuning: &Tuning,
    arms: &[Arm],
    (jobs, simulated, kept): Done<'_>,
) -> Result<TuneConfirm, ConfirmError> {
    let mut settings = Vec::new();
    let mut sides: Vec<Vec<RunFigures>> = Vec::new();
    for (place, arm) in arms.iter().enumerate() {
        let all = jobs.iter().zip(simulated).zip(kept);
        let mut runs: Vec<(&Job, &Simulated, &Kept)> = all
            .filter(|((job, _), _)| job.arm == place)
            .filter_map(|((job, simulated), kept)| Some((job, simulated, kept.as_ref()?)))
            .collect();
        runs.sort_by_key(|(job, ..)| job.round);
        settings.push(setting(asked, tuning, arm, &runs)?);
        let finished = runs.iter().filter(|(.., kept)| kept.is_finished);
        sides.push(finished.map(|(.., kept)| kept.figures.clone()).collect());
    }
    let mut confirmed = TuneConfirm {
        backend: asked.on.backend().1,
        repeat: asked.repeat,
        complete: kept.iter().all(|kept| kept.as_ref().is_some_and(|one| one.is_finished)),
        verdict: words::verdict(&settings, tuning.recommended),
        why: Vec::new(),
        doubts: words::doubts(&settings, asked.repeat),
        settings,
        comparisons: Vec::new(),
        calibrate: None,
    };
    compare_all(asked, tuning, &sides, &mut confirmed);
    confirmed.calibrate = words::calibrate(&confirmed, tuning.recommended, asked.out);
    confirmed.why = words::why(&confirmed, tuning);
    Ok(confirmed)
}

/// A run with the pod-hours that its promise speaks of.
fn told_run(run: &TuneRun, figures: &RunFigures) -> TuneRun {
    let pod_hours = promise::pod_hours(figures).unwrap_or(run.pod_hours);
    TuneRun { pod_hours, ..run.clone() }
}

fn setting(
    asked: &Asked<'_>,
    tuning: &Tuning,
    arm: &Arm,
    runs: &[(&Job, &Simulated, &Kept)],
) -> Result<ConfirmSetting, ConfirmError> {
    let told = |(job, simulated, kept): &(&Job, &Simulated, &Kept)| ConfirmRun {
        folder: shelf::within(asked.out, &job.folder),
        seed: job.seed,
        doubts: kept.figures.doubts.clone(),
        simulated: told_run(&simulated.run, &simulated.figures),
        measured: told_run(&kept.run, &kept.figures),
    };
    let sound = runs.iter().filter(|(.., kept)| kept.figures.doubts.is_empty());
    let (promised, real): (Vec<RunFigures>, Vec<RunFigures>) =
        sound.map(|(_, one, kept)| (one.figures.clone(), kept.figures.clone())).unzip();
    Ok(ConfirmSetting {
        setting: arm.setting,
        name: tuning.settings[arm.setting].name.clone(),
        folder: shelf::within(asked.out, &arm.folder),
        runs: runs.iter().map(told).collect(),
        promises: if real.is_empty() { Vec::new() } else { promise::promises(&promised, &real)? },
    })
}

/// The recommended setting against each of the others, by the scenario's gates.
fn compare_all(
    asked: &Asked<'_>,
    tuning: &Tuning,
    sides: &[Vec<RunFigures>],
    confirmed: &mut TuneConfirm,
) {
    let is_new = |one: &&ConfirmSetting| Some(one.setting) == tuning.recommended;
    let Some(new) = confirmed.settings.iter().position(|one| is_new(&one)) else { return };
    let gates = &asked.loaded.scenario.gates;
    for (base, side) in sides.iter().enumerate().filter(|(base, _)| *base != new) {
        let name = |place: usize| confirmed.settings[place].name.as_str();
        let sides = ((name(base), &side[..]), (name(new), &sides[new][..]));
        match compare(sides.0, sides.1, gates, &Options::default()) {
            Ok(comparison) => confirmed.comparisons.push(comparison),
            // What was run is told all the same.
            Err(error) => confirmed.doubts.push(error.to_string()),
        }
    }
}
