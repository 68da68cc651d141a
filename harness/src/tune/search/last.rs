//! The last rung: on the full simulator.
//!
//! The coarse model tells pod-hours well, and by how much an objective is missed less well. So what is
//! cheaper than the best that is known to hold is looked at in the order in which the coarse model
//! likes it, whether it takes it to hold or not.

use std::collections::BTreeSet;

use super::{Found, Search, Tried};
use crate::tune::{
    cases::Case,
    changed,
    finals::{self, Finalist},
    judge::Score,
    space::Setting,
    trial::{Problem, in_parallel},
};

/// Of the settings that are wanted so many per cent are run on the full simulator, and at least and at
/// most so many,
const PERCENT: usize = 25;
const LEAST: usize = 24;
const MOST: usize = 100;
/// as long as their runs have no more requests than these together.
const REQUESTS: f64 = 5e7;
/// So many are run between two looks at what is best.
const BATCH: usize = 8;
/// What the coarse model takes for dearer by more than this is not taken for cheaper.
const NEAR: f64 = 1.05;
/// What it is called.
const SIMULATED: &str = "settings on the full simulator";

impl Search<'_> {
    /// Runs the most promising settings on the full simulator, and the neighbours of the best of them.
    pub(super) fn last(&self, seen: &mut BTreeSet<Setting>, found: &mut Found) {
        let mut left = self.simulations();
        while left > 0 {
            let best = found.tried.iter().find(|one| holds(one)).cloned();
            let is_fresh = best.as_ref().is_some_and(|best| self.near(best, seen, found));
            let batch = promising(&found.tried, best.as_ref(), left.min(BATCH));
            if batch.is_empty() && !is_fresh {
                break;
            }
            left -= batch.len();
            let settings: Vec<Setting> =
                batch.iter().map(|place| found.tried[*place].setting.clone()).collect();
            for (place, score) in batch.iter().zip(self.simulated(&settings)) {
                found.tried[*place].full = Some(score);
            }
            found.simulated += batch.len();
            (self.tell)(SIMULATED, found.simulated, found.simulated + left);
            found.tried.sort_by(Tried::order);
        }
    }

    /// Tries some neighbours of a setting on the coarse model. Whether there were any.
    fn near(&self, centre: &Tried, seen: &mut BTreeSet<Setting>, found: &mut Found) -> bool {
        let share = self.wanted.saturating_sub(found.settings).min(BATCH);
        if share == 0 || found.is_exhaustive {
            return false;
        }
        if (self.is_over)() {
            found.is_cut = true;
            return false;
        }
        self.around(std::slice::from_ref(&centre.setting), share, seen, found).is_some()
    }

    /// How many settings the full simulator may be asked for. None if it is not asked in the finals.
    fn simulations(&self) -> usize {
        if self.cases.iter().any(|case| case.is_large()) {
            return 0;
        }
        let requests: f64 = self.cases.iter().map(|case| case.load.expected().sum::<f64>()).sum();
        let affordable = (REQUESTS / requests.max(1.0)) as usize;
        (self.wanted * PERCENT / 100).clamp(LEAST, MOST).min(affordable)
    }

    /// What settings come to on the full simulator.
    fn simulated(&self, settings: &[Setting]) -> Vec<Score> {
        let (problem, cases) = (self.problem, self.cases);
        let one = |place: usize| simulate(problem, cases, &settings[place]);
        in_parallel(problem.threads, settings.len(), one)
    }
}

/// What a setting comes to on the full simulator, on the cases in turn until it misses one.
pub(super) fn simulate(problem: &Problem<'_>, cases: &[Case], setting: &[u8]) -> Score {
    let sets = changed(problem.space, setting);
    let finalist = Finalist::new(problem, "", sets).expect("what is refused is hopeless");
    let mut scores = Vec::new();
    for case in cases {
        let score = finals::score(&finals::known(problem, &finalist, case));
        scores.push(score);
        if score.shortfall > 0.0 {
            break;
        }
    }
    let mut score = Score::mean(&scores);
    // Others may be missed as well.
    score.shortfall *= cases.len() as f64 / scores.len() as f64;
    score
}

fn holds(one: &Tried) -> bool {
    one.full.is_some_and(|score| score.shortfall <= 0.0)
}

/// The places of up to `count` settings that may be better than the best which is known to hold; if
/// there is none, of the best by the coarse model. Of those that do the same only the first.
fn promising(tried: &[Tried], best: Option<&Tried>, count: usize) -> Vec<usize> {
    let bar = best.map_or(f64::INFINITY, |best| best.score.pod_hours * NEAR);
    let is_new =
        |one: &Tried| one.full.is_none() && !one.score.is_hopeless() && one.score.pod_hours <= bar;
    let mut places: Vec<usize> = (0..tried.len()).filter(|place| is_new(&tried[*place])).collect();
    places.sort_by(|one, other| tried[*one].score.order(&tried[*other].score));
    let mut picked: Vec<usize> = Vec::new();
    for place in places {
        let score = &tried[place].score;
        let is_known = tried.iter().any(|one| one.full.is_some() && one.score == *score)
            || picked.iter().any(|one| tried[*one].score == *score);
        if !is_known && picked.len() < count {
            picked.push(place);
        }
    }
    picked
}
