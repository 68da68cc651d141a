//! `highwater tune`: the settings that hold the objectives for the fewest pod-hours.
//!
//! 1. what may be changed: `space`; the traffics with their seeds, some held out: `cases`
//! 2. what a setting is judged by: `judge`; one setting on one traffic, coarsely: `trial`
//! 3. the search on the coarse model, and its last rung on the full simulator: `search`
//! 4. the best of it on all traffics, beside the present setting and the default of
//!    Kubernetes: `finals`; which one is recommended: `recommend`; what matters: `effect`
//! 5. the result as data: `told`; as a patch: `patch`; for people: [`crate::report::tune`]
//! 6. what was tried is kept, so that an interrupted search goes on: [`journal`]
//! 7. files, terminal and clock: [`command`]
//! 8. the recommended setting beside the others on a real backend: [`confirm`]
//!
//! The clock decides how many settings are tried, and nothing else: the same scenario, seed and number
//! of settings give the same result, byte for byte, on any number of threads.

mod again;
mod cases;
pub mod command;
pub mod confirm;
mod effect;
mod finals;
pub mod journal;
mod judge;
mod patch;
mod recommend;
mod search;
mod space;
mod terminal;
#[cfg(test)]
mod tests;
pub mod told;
mod trial;

use std::path::PathBuf;

use highwater_model::coarse::Station;

use crate::{
    backend::{Backend as _, sim::Sim},
    plan::{Plan, PlanError},
    scenario::{Loaded, ScenarioError, Variants},
};
pub use cases::CaseError;
use cases::{Case, Cases};
use finals::Finalist;
use journal::{Hash, Journal, JournalError};
use judge::Goals;
use search::{Found, Search};
use space::Space;
pub use space::SpaceError;
pub use told::Tuning;
use told::{SCHEMA, TuneCase, TuneParameter, TunePoint, TuneSearch, TuneSetting};
use trial::Problem;

/// So many finalists are judged on the full simulator at a time, and so often.
const FINALISTS: usize = 5;
const FINALS: usize = 2;
/// More settings than this are not tried.
pub const SETTINGS_MAX: usize = 100_000;

/// What is searched, and how far.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--param`.
    pub parameters: Vec<String>,
    /// So many settings at most.
    pub settings: usize,
    /// What a pod costs in an hour.
    pub price: Option<f64>,
    /// Rate curves in place of the scenario's own traffic.
    pub traces: Vec<PathBuf>,
    /// Threads.
    pub threads: usize,
    /// Where what was tried is kept; nowhere if not given.
    pub journal: Option<journal::Place>,
}

/// What the search tells of itself, and what it is told.
pub trait Watch: Sync {
    /// Whether no more settings are to be tried.
    fn is_over(&self) -> bool;
    /// So many of so many steps of a stage are done.
    fn tell(&self, stage: &'static str, done: usize, of: usize);
    /// Something that does not spoil the result. Nobody need listen.
    fn warn(&self, _: &str) {}
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The search space.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The traffic.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// The simulator cannot do it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Too few or too many settings.
    #[error("--settings: 1 to {SETTINGS_MAX}")]
    Settings,
    /// The journal of an earlier search, or of this.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A price that is none.
    #[error("the price of a pod-hour must be a number above zero")]
    Price,
}

/// A result, and the patch of what it recommends.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// The result.
    pub tuning: Tuning,
    /// `patch.yaml`; `None` if nothing is recommended.
    pub patch: Option<String>,
}

/// Searches.
///
/// # Errors
/// [`TuneError`]: all of them bad input.
pub fn tune(loaded: &Loaded, options: &Options, watch: &dyn Watch) -> Result<Tuned, TuneError> {
    let variants = Variants::new(loaded)?;
    let scenario = variants.base();
    Sim.check(&Plan::new(scenario.clone())?)?;
    if options.settings == 0 || options.settings > SETTINGS_MAX {
        return Err(TuneError::Settings);
    }
    let price = options.price.or(scenario.tune.as_ref().and_then(|tune| tune.price));
    if price.is_some_and(|price| !price.is_finite() || price <= 0.0) {
        return Err(TuneError::Price);
    }
    let space = Space::new(&variants, &options.parameters)?;
    let cases = Cases::new(scenario, &options.traces)?;
    let goals = Goals::of(scenario, &Station::new(scenario));
    let journal = match &options.journal {
        Some(place) => Some(Journal::open(place, &Hash::of(&space, &goals, &cases, scenario))?),
        None => None,
    };
    let mut problem = Problem::new(&variants, &space, &goals, options.threads);
    problem.journal = journal.as_ref();
    let found = Search {
        problem: &problem,
        cases: &cases.train,
        wanted: options.settings,
        seed: scenario.seed,
        is_over: &|| watch.is_over(),
        tell: &|stage, done, of| watch.tell(stage, done, of),
    }
    .run();
    let all: Vec<(&Case, bool)> =
        cases.all().enumerate().map(|(place, case)| (case, place >= cases.train.len())).collect();
    let (settings, finalists) = judged(&problem, &found, &all, price, watch)?;
    let held_out: Vec<bool> = all.iter().map(|(_, held_out)| *held_out).collect();
    let recommendation = recommend::recommend(&settings, &held_out);
    let patch = recommendation
        .setting
        .map(|place| patch::patch(&finalists[place].scenario, &settings[place].set));
    let tuning = Tuning {
        schema: SCHEMA.into(),
        scenario: scenario.name.clone(),
        seed: scenario.seed,
        verdict: recommendation.verdict,
        why: recommendation.why,
        objectives: goals.objectives.iter().map(ToString::to_string).collect(),
        objectives_are_default: goals.is_default,
        price,
        search: TuneSearch {
            space: space.size(),
            settings: found.settings,
            simulated: found.simulated,
            exhaustive: found.is_exhaustive && !found.is_cut,
            cut: found.is_cut,
        },
        parameters: parameters(&space, &found),
        cases: all.iter().map(|(case, held_out)| told(case, *held_out)).collect(),
        settings,
        recommended: recommendation.setting,
        tried: found.tried.iter().map(point).collect(),
        confirm: Vec::new(),
    };
    if let Some(error) = journal.and_then(Journal::failure) {
        watch.warn(&format!("the journal could not be written to its end: {error}"));
    }
    Ok(Tuned { tuning, patch })
}

/// The present setting, the default and the finalists, on the full simulator.
fn judged(
    problem: &Problem<'_>,
    found: &Found,
    cases: &[(&Case, bool)],
    price: Option<f64>,
    watch: &dyn Watch,
) -> Result<(Vec<TuneSetting>, Vec<Finalist>), TuneError> {
    let base = problem.variants.base();
    let mut finalists = vec![
        Finalist::new(problem, "present", Vec::new())?,
        Finalist::new(problem, "Kubernetes default", finals::default_sets(base))?,
    ];
    let ladder = recommend::ladder(&found.tried);
    let mut settings = Vec::new();
    for round in ladder.chunks(FINALISTS).take(FINALS) {
        for place in round {
            let sets = changed(problem.space, &found.tried[*place].setting);
            let name = format!("candidate {}", finalists.len() - recommend::DEFAULT);
            // What the scenario refuses was never tried.
            finalists.extend(Finalist::new(problem, &name, sets));
        }
        let fresh = &finalists[settings.len()..];
        let tell = |done, of| watch.tell("full simulations", done, of);
        settings.extend(finals::judge(problem, cases, fresh, price, &tell));
        if !recommend::wants_more(&settings) {
            break;
        }
    }
    let default = settings[recommend::DEFAULT].clone();
    for (place, setting) in settings.iter_mut().enumerate() {
        if place != recommend::DEFAULT {
            setting.against_default = finals::against(setting, &default);
        }
    }
    Ok((settings, finalists))
}

/// What a setting changes in the scenario.
fn changed(space: &Space, setting: &[u8]) -> Vec<(String, String)> {
    let sets = space.sets(setting).into_iter().zip(&space.parameters).zip(setting);
    let is_new = |((_, parameter), level): &((_, &space::Parameter), &u8)| {
        parameter.present != Some(usize::from(**level))
    };
    sets.filter(is_new).map(|((set, _), _)| set).collect()
}

fn told(case: &Case, held_out: bool) -> TuneCase {
    TuneCase { name: case.name.clone(), held_out, coarse: case.is_large() }
}

fn point(one: &search::Tried) -> TunePoint {
    TunePoint {
        setting: one.setting.clone(),
        pod_hours: one.score.pod_hours,
        p99_ms: one.score.p99 * 1e3,
        lost: one.score.lost,
        shortfall: one.score.shortfall,
    }
}

/// Misses above this are all alike: how much a parameter matters is asked of settings that are near.
const SHORTFALL_MAX: f64 = 5.0;

fn parameters(space: &Space, found: &Found) -> Vec<TuneParameter> {
    let design: Vec<_> = found.design.iter().filter(|(_, score)| !score.is_hopeless()).collect();
    let hours: Vec<f64> = design.iter().map(|(_, score)| score.pod_hours).collect();
    let misses: Vec<f64> =
        design.iter().map(|(_, score)| score.shortfall.min(SHORTFALL_MAX)).collect();
    let all = space.parameters.iter().enumerate().map(|(place, parameter)| {
        let levels: Vec<usize> = design.iter().map(|(one, _)| usize::from(one[place])).collect();
        TuneParameter {
            name: parameter.name.clone(),
            path: parameter.path.clone(),
            values: parameter.levels.clone(),
            present: parameter.present.map(|level| parameter.levels[level].clone()),
            effect_on_pod_hours: effect::effect(&levels, &hours),
            effect_on_objectives: effect::effect(&levels, &misses),
        }
    });
    all.collect()
}
