//! The fit: from a record to a scenario that reproduces it on the simulator.
//!
//! 1. what the record tells by itself: start-up, propagation, CPU per request
//! 2. how requests wait for each other, where the busy seconds tell: CPU and workers, by search
//! 3. the service time of the quiet seconds: first by their quantiles, then corrected by what the
//!    simulator makes of it

mod record;
mod search;

use highwater_model::spec::{Scenario, Service};

use super::{
    CalibrateError,
    load::{ANSWERS_MIN, Rule, Times},
    seen::Seen,
    shape::Family,
    told::{Origin, Parameter},
    trial::{TRIALS_MAX, Trials},
};

/// A family is tried if it is worse by no more than this share than the best.
const FAMILY_MARGIN: f64 = 0.02;
/// Busy seconds are slower than this, against quiet ones, where requests wait for each other.
const SLOWER: f64 = 1.08;

/// What is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The service and the machine.
    All,
    /// The machine alone: the scenario's service is taken at its word.
    Machine,
}

/// A fit.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) scenario: Scenario,
    pub(super) parameters: Vec<Parameter>,
    pub(super) times: Times,
    pub(super) trials: u32,
}

/// Fits `base` to what is seen.
///
/// # Errors
/// If there are too few good answers, or the simulator cannot run the scenario.
pub(super) fn fit(
    base: Scenario,
    parameters: Vec<Parameter>,
    seen: &Seen<'_>,
    scope: Scope,
) -> Result<Fitted, CalibrateError> {
    let answers: u64 = seen.seconds.iter().map(|second| second.ok).sum();
    let mut rule = Rule::of(seen).ok_or(CalibrateError::TooFew { answers, least: ANSWERS_MIN })?;
    let mut times = rule.times(seen).map_err(CalibrateError::Damaged)?;
    let load = Load::of(&times);
    if load == Load::NotSlower {
        rule = Rule::ALL;
        times = rule.times(seen).map_err(CalibrateError::Damaged)?;
    }
    let mut fit = Fit {
        trials: Trials::new(rule, answers),
        goal: Score::of(&times),
        load,
        scenario: base,
        parameters,
        family: None,
        nearest: f64::INFINITY,
    };
    fit.machine(seen);
    match scope {
        Scope::Machine => fit.overhead(&times)?,
        Scope::All => {
            fit.startup(seen);
            fit.propagation(seen);
            fit.service(seen, &times)?;
        }
    }
    let Fit { scenario, mut parameters, trials, .. } = fit;
    if trials.are_over() {
        let why = format!("the search ended after {TRIALS_MAX} trials: the best so far");
        parameters.push(Parameter::new("", "", Origin::Search, why));
    }
    Ok(Fitted { scenario, parameters, times, trials: trials.made })
}

/// The quantiles that a simulation is judged by.
#[derive(Clone, Debug)]
struct Score(Vec<f64>);

impl Score {
    const SHARES: [f64; 6] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95];

    fn of(times: &Times) -> Self {
        let classes = std::iter::once(&times.quiet).chain(&times.busy);
        let at = |hist: &crate::record::hist::Hist| {
            Self::SHARES.map(|share| hist.value_at_quantile(share) as f64)
        };
        Self(classes.flat_map(at).collect())
    }

    /// The mean of how far each quantile is off, as a share.
    fn off(&self, other: &Self) -> f64 {
        let off = self.0.iter().zip(&other.0).map(|(a, b)| (b.max(1.0) / a.max(1.0)).ln().abs());
        off.sum::<f64>() / self.0.len().max(1) as f64
    }
}

struct Fit {
    trials: Trials,
    goal: Score,
    load: Load,
    scenario: Scenario,
    parameters: Vec<Parameter>,
    /// Of the service time: chosen by the first candidate, the same for all.
    family: Option<Family>,
    /// How far off the best candidate is so far.
    nearest: f64,
}

/// A service that was tried.
#[derive(Clone, Debug)]
struct Candidate {
    service: Service,
    off: f64,
}

impl Fit {
    fn tell(&mut self, key: &str, value: impl ToString, origin: Origin, why: impl Into<String>) {
        self.parameters.push(Parameter::new(key, &value.to_string(), origin, why));
    }

    fn service_of(scenario: &mut Scenario) -> &mut Service {
        scenario.target.service.get_or_insert_default()
    }
}

/// What the busy seconds say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// There are none.
    Even,
    /// Requests do not wait for each other: all seconds tell the service time.
    NotSlower,
    /// They are slower than quiet ones.
    Slower,
}

impl Load {
    fn of(times: &Times) -> Self {
        let Some(busy) = &times.busy else { return Self::Even };
        let slower = |share| {
            let [quiet, busy] = [&times.quiet, busy].map(|hist| hist.value_at_quantile(share));
            busy as f64 > SLOWER * quiet as f64
        };
        if slower(0.5) || slower(0.9) { Self::Slower } else { Self::NotSlower }
    }
}
