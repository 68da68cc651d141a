//! From a scenario to what a backend carries out.

use highwater_model::{
    load::Profile,
    spec::{Action, Scenario, validate},
    time::Nanos,
};

use crate::record::{BackendKind, Header, PhasePlan, SCHEMA};

/// A scenario, resolved: every instant counts from the start of the traffic.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenario.
    pub scenario: Scenario,
    /// The rate over time.
    pub profile: Profile,
    /// The phases of the traffic.
    pub phases: Vec<PhasePlan>,
    /// What is done to the deployment, ascending, repetitions unrolled.
    pub actions: Vec<PlannedAction>,
}

/// One action at its time.
#[derive(Clone, Debug)]
pub struct PlannedAction {
    /// From the start of the traffic.
    pub at: Nanos,
    /// Ascending from 0.
    pub id: u32,
    /// What.
    pub action: Action,
}

/// Why a scenario cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It contradicts itself (a scenario that was loaded from a file was already checked).
    #[error("{path}: {message}")]
    Invalid {
        /// The key.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The backend cannot do it.
    #[error("the {} backend cannot do `{path}`: {message}", backend.name())]
    Unsupported {
        /// Which backend.
        backend: BackendKind,
        /// The key.
        path: String,
        /// Why not, and what can be done.
        message: String,
    },
}

impl Plan {
    /// Resolves a scenario.
    ///
    /// # Errors
    /// [`PlanError::Invalid`] with the first thing that is wrong.
    pub fn new(scenario: Scenario) -> Result<Self, PlanError> {
        if let Some(problem) = validate::problems(&scenario).into_iter().next() {
            return Err(PlanError::Invalid { path: problem.path, message: problem.message });
        }
        let profile = Profile::new(&scenario.traffic).map_err(|(index, message)| {
            PlanError::Invalid { path: format!("traffic.phases[{index}]"), message: message.into() }
        })?;
        let names = validate::phase_names(&scenario.traffic);
        let closed = scenario.traffic.saturate.map(|saturate| (Nanos::ZERO, saturate.for_));
        let phases = names
            .into_iter()
            .zip(profile.phases().chain(closed))
            .map(|(name, (start, end))| PhasePlan { name, start, end })
            .collect();
        let actions = actions(&scenario);
        Ok(Self { scenario, profile, phases, actions })
    }

    /// How long the traffic lasts.
    pub fn lasts(&self) -> Nanos {
        self.phases.last().map_or(Nanos::ZERO, |phase| phase.end)
    }

    /// What its record begins with.
    pub fn header(&self, backend: BackendKind) -> Header {
        Header {
            schema: SCHEMA.into(),
            backend,
            seed: self.scenario.seed,
            scenario: recorded(&self.scenario),
            phases: self.phases.clone(),
        }
    }
}

/// The scenario as a record keeps it: with its curves, without the single requests of its traces,
/// of which it keeps how many there are and which kinds.
fn recorded(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    for trace in scenario.traffic.phases.iter_mut().filter_map(|phase| phase.trace.as_mut()) {
        trace.data = trace.data.as_ref().map(|data| data.without_requests());
    }
    scenario
}

fn actions(scenario: &Scenario) -> Vec<PlannedAction> {
    let mut actions: Vec<(Nanos, Action)> = Vec::new();
    for event in &scenario.events {
        let Some(action) = event.action() else { continue };
        let (every, times) =
            event.repeat.as_ref().map_or((Nanos::ZERO, 1), |repeat| (repeat.every, repeat.times));
        for number in 0..u64::from(times) {
            let at = event.at + Nanos(every.0.saturating_mul(number));
            actions.push((at, action.clone()));
        }
    }
    actions.sort_by_key(|(at, _)| *at);
    let numbered = actions.into_iter().enumerate();
    numbered.map(|(id, (at, action))| PlannedAction { at, id: id as u32, action }).collect()
}
