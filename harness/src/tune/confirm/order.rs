//! Which settings run, with which seeds, and in which order.

use std::path::PathBuf;

use highwater_model::{coarse::Station, spec::Objective};

use super::{Asked, ConfirmError};
use crate::{
    plan::Plan,
    scenario::{self, Overrides},
    tune::{
        judge::Goals,
        recommend::{DEFAULT, PRESENT},
        told::Tuning,
    },
};

/// A setting that is run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arm {
    /// Which of the result's settings.
    pub(super) setting: usize,
    /// `default`, `present` or `recommended`.
    pub(super) slug: &'static str,
    /// All that is overridden in the scenario.
    pub(super) sets: Vec<String>,
    /// Where its runs are.
    pub(super) folder: PathBuf,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Which of the arms.
    pub(super) arm: usize,
    pub(super) slug: &'static str,
    /// Counts from 0.
    pub(super) round: u32,
    pub(super) seed: u64,
    pub(super) sets: Vec<String>,
    /// What is run; the simulator runs the same.
    pub(super) plan: Plan,
    /// Where it is kept.
    pub(super) folder: PathBuf,
}

/// The default of Kubernetes, the present setting and the recommended one, each once.
pub(super) fn arms(asked: &Asked<'_>, tuning: &Tuning) -> Result<Vec<Arm>, ConfirmError> {
    let mut places = vec![(DEFAULT, "default"), (PRESENT, "present")];
    places.extend(tuning.recommended.filter(|place| *place > DEFAULT).map(|p| (p, "recommended")));
    let parent = asked.out.join("confirm").join(asked.on.backend().1.name());
    let objectives = objectives(asked, tuning);
    let of = |(setting, slug): (usize, &'static str)| Arm {
        setting,
        slug,
        sets: [asked.sets, &tuning.settings[setting].set[..], &objectives[..]].concat(),
        folder: parent.join(slug),
    };
    let mut arms: Vec<Arm> =
        places.into_iter().filter(|(place, _)| *place < tuning.settings.len()).map(of).collect();
    // The present setting may be the default: it is run once, and then the default is never recommended.
    let is_same = match &arms[..] {
        [default, present, ..] => {
            load(asked, default, 0)?.scenario == load(asked, present, 0)?.scenario
        }
        _ => false,
    };
    if is_same {
        arms.remove(0);
    }
    Ok(arms)
}

/// The objectives that the settings were judged by, if the scenario has none of its own.
fn objectives(asked: &Asked<'_>, tuning: &Tuning) -> Vec<String> {
    let scenario = &asked.loaded.scenario;
    let goals = tuning.objectives_are_default.then(|| Goals::of(scenario, &Station::new(scenario)));
    let json = |goals: Goals| {
        let text = serde_json::to_string::<Vec<Objective>>(&goals.objectives);
        text.expect("objectives hold only what JSON can say")
    };
    goals.map(|goals| format!("objectives={}", json(goals))).into_iter().collect()
}

/// The runs in their order: rounds of all arms, each with a seed of its own; every round begins with
/// another arm, so that none always follows the same one.
pub(super) fn jobs(
    asked: &Asked<'_>,
    tuning: &Tuning,
    arms: &[Arm],
) -> Result<Vec<Job>, ConfirmError> {
    let mut jobs = Vec::new();
    for (round, place) in turns(asked.repeat, arms.len()) {
        let arm = &arms[place];
        let seed = tuning.seed.wrapping_add(u64::from(round));
        let loaded = load(asked, arm, seed)?;
        // As `run --repeat` names them, so that `compare` reads them.
        let folder = arm.folder.join(format!("{}-{}", loaded.scenario.name, round + 1));
        let plan = Plan::new(loaded.scenario)?;
        let (slug, sets) = (arm.slug, arm.sets.clone());
        jobs.push(Job { arm: place, slug, round, seed, sets, plan, folder });
    }
    Ok(jobs)
}

fn load(asked: &Asked<'_>, arm: &Arm, seed: u64) -> Result<scenario::Loaded, ConfirmError> {
    let overrides = Overrides { sets: arm.sets.clone(), seed: Some(seed) };
    Ok(scenario::load(asked.scenario, &overrides)?)
}

/// Rounds and places in the order of the runs.
pub(super) fn turns(rounds: u32, arms: usize) -> Vec<(u32, usize)> {
    let round = |round: u32| (0..arms).map(move |turn| (round, (turn + round as usize) % arms));
    (0..rounds).flat_map(round).collect()
}
