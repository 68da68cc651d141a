//! What a scenario gives on the simulator: pure, the same on every machine.

use highwater_model::spec::Scenario;

use super::{
    CalibrateError,
    load::{Rule, Times},
    seen::Seen,
};
use crate::{backend::sim, plan::Plan, record::RunRecord};

/// More trials than this are not made; the best so far counts then.
pub(super) const TRIALS_MAX: u32 = 400;
/// More requests than this are not simulated in trials.
const REQUESTS_MAX: u64 = 20_000_000;
/// A trial is of as many runs with other seeds as make so many requests: so that the simulator's
/// own chance is less than the record's.
const REQUESTS_ENOUGH: u64 = 20_000;
const SEEDS_MAX: u64 = 6;

/// Trials, as many as there may be.
#[derive(Debug)]
pub(super) struct Trials {
    rule: Rule,
    seeds: u64,
    requests: u64,
    /// How many were made.
    pub(super) made: u32,
    simulated: u64,
}

impl Trials {
    /// Trials to be compared with a record of so many requests, by its own rule.
    pub(super) fn new(rule: Rule, requests: u64) -> Self {
        let requests = requests.max(1);
        let seeds = (REQUESTS_ENOUGH / requests).clamp(1, SEEDS_MAX);
        Self { rule, seeds, requests, made: 0, simulated: 0 }
    }

    /// Whether there may be no more of them.
    pub(super) fn are_over(&self) -> bool {
        self.made >= TRIALS_MAX || self.simulated >= REQUESTS_MAX
    }

    /// The service times that `scenario` gives; `None` if there may be no more trials.
    ///
    /// # Errors
    /// If the simulator cannot run it.
    pub(super) fn times(&mut self, scenario: &Scenario) -> Result<Option<Times>, CalibrateError> {
        if self.are_over() {
            return Ok(None);
        }
        self.made += 1;
        let mut sum: Option<Times> = None;
        for more in 0..self.seeds {
            let seed = scenario.seed.wrapping_add(more);
            let record = simulate(&Scenario { seed, ..scenario.clone() })?;
            self.simulated += self.requests;
            let times = self.rule.times(&Seen::of(&record)).map_err(CalibrateError::Damaged)?;
            match &mut sum {
                None => sum = Some(times),
                Some(sum) => sum.add(&times),
            }
        }
        Ok(sum)
    }
}

/// Runs a scenario on the simulator, into memory.
///
/// # Errors
/// If the simulator cannot run it.
pub(super) fn simulate(scenario: &Scenario) -> Result<RunRecord, CalibrateError> {
    let plan = Plan::new(scenario.clone())?;
    Ok(sim::record(&plan)?)
}
