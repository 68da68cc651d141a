//! One setting on one traffic, coarsely; and many of them on all cores.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use highwater_model::{
    coarse::{Load, Options, Outcome, Station, run},
    spec::Scenario,
};

use super::{
    cases::Case,
    journal::{Journal, Trial},
    judge::{Goals, Score},
    space::{Setting, Space},
};
use crate::scenario::Variants;

/// What is the same for all settings.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub(super) variants: &'a Variants,
    pub(super) space: &'a Space,
    pub(super) goals: &'a Goals,
    /// What a pod does, if no parameter changes that.
    station: Option<Station>,
    pub(super) threads: usize,
    /// What was tried before, if that is kept.
    pub(super) journal: Option<&'a Journal>,
}

/// Where what a pod does with requests is described.
const POD_PATHS: [&str; 6] = [
    "target.service",
    "target.deployment.template.resources.limits",
    "simulation",
    "path",
    "traffic",
    "target.deployment.template.resources=",
];

impl<'a> Problem<'a> {
    pub(super) fn new(
        variants: &'a Variants,
        space: &'a Space,
        goals: &'a Goals,
        threads: usize,
    ) -> Self {
        let touches = space
            .parameters
            .iter()
            .any(|one| POD_PATHS.iter().any(|path| format!("{}=", one.path).starts_with(path)));
        let station = (!touches).then(|| Station::new(variants.base()));
        Self { variants, space, goals, station, threads, journal: None }
    }

    /// The scenario with a setting, to be judged by the goals; `None` if it is refused.
    pub(super) fn scenario(&self, setting: &Setting) -> Option<Scenario> {
        let mut scenario = self.variants.with(&self.space.sets(setting)).ok()?;
        scenario.objectives.clone_from(&self.goals.objectives);
        Some(scenario)
    }

    /// What a scenario comes to on a case, or on `part` of its traffic.
    pub(super) fn try_on(&self, scenario: &Scenario, case: &Case, part: Option<&Load>) -> Score {
        let scenario = case.scenario(scenario);
        match self.outcome(&scenario, part.unwrap_or(&case.load), Options::default()) {
            Some(outcome) => self.goals.score(&scenario, &outcome),
            None => Score::HOPELESS,
        }
    }

    fn outcome(&self, scenario: &Scenario, load: &Load, options: Options) -> Option<Outcome> {
        match &self.station {
            Some(station) => run(scenario, load, station, options).ok(),
            None => run(scenario, load, &Station::new(scenario), options).ok(),
        }
    }

    /// The scores of settings on a case, in their order, whatever the number of threads.
    pub(super) fn scores(
        &self,
        settings: &[Setting],
        cases: &[&Case],
        part: Option<&Load>,
    ) -> Vec<Vec<Score>> {
        in_parallel(self.threads, settings.len(), |place| {
            let setting = &settings[place];
            match self.scenario(setting) {
                Some(scenario) => {
                    let of = |case: &&Case| self.known(setting, &scenario, case, part);
                    cases.iter().map(of).collect()
                }
                None => vec![Score::HOPELESS; cases.len()],
            }
        })
    }

    /// [`Self::try_on`], unless the journal knows it.
    fn known(
        &self,
        setting: &Setting,
        scenario: &Scenario,
        case: &Case,
        part: Option<&Load>,
    ) -> Score {
        let find = || self.try_on(scenario, case, part);
        let Some(journal) = self.journal else { return find() };
        let (setting, part) = (setting.clone(), part.is_some());
        journal.trial(Trial { setting, case: case.name.clone(), seed: case.seed, part }, find)
    }
}

/// Does `count` jobs on so many threads; the results are in the order of the jobs.
pub(super) fn in_parallel<T: Send>(
    threads: usize,
    count: usize,
    job: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= count {
                        return;
                    }
                    let result = job(place);
                    done.lock().expect("no job panics while it holds it").push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no job panics while it holds it");
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
