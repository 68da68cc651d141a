//! What settings are tried on: traffic and seed. Some are searched with, the others held out.

use std::path::PathBuf;

use highwater_model::{
    coarse::Load,
    load::Profile,
    spec::{Curve, Phase, Scenario, Traffic, validate},
    time::Nanos,
};

use crate::scenario::{DataError, read_curve};

/// Seeds that are searched with and held out, if nothing is given.
const SEEDS: u32 = 3;
const HOLD_OUT_SEEDS: u32 = 2;
/// The most of either.
const SEEDS_MAX: u32 = 32;
/// How much more and less traffic than the scenario's own is held out, as a share.
const OTHER_RATES: [f64; 2] = [0.9, 1.1];
/// Traces are cut into days, of which so many are searched with and held out.
const DAY: Nanos = Nanos::from_secs(24 * 3600);
const DAYS: usize = 3;
const HOLD_OUT_DAYS: usize = 4;

/// One traffic with one seed.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// `seed 7`, `seed 7, 1.1 times the traffic`, `elb.csv day 3`.
    pub(super) name: String,
    pub(super) seed: u64,
    /// In place of the scenario's phases.
    pub(super) traffic: Traffic,
    /// Whether the phases are not those that the scenario's objectives speak of.
    pub(super) is_foreign: bool,
    pub(super) load: Load,
}

/// The name of the scenario's own traffic with a seed.
pub(super) fn of_seed(seed: u64) -> String {
    format!("seed {seed}")
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Cases {
    pub(super) train: Vec<Case>,
    pub(super) held_out: Vec<Case>,
}

/// Why there is no traffic to try settings on.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A trace that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A trace that is too short.
    #[error("{}: its times span nothing", .0.display())]
    Short(PathBuf),
    /// Phases that make no traffic.
    #[error("traffic.phases[{0}]: {1}")]
    Phase(usize, &'static str),
    /// Traffic without a rate.
    #[error("a closed loop (traffic.saturate) has no traffic that a setting could be held against")]
    Closed,
    /// Too many seeds.
    #[error("{place}: {SEEDS_MAX} seeds are the most, and one the least that is searched with")]
    Seeds {
        /// Where it is given.
        place: &'static str,
    },
}

impl Cases {
    /// Of the scenario's own traffic, or of traces in its place.
    pub(super) fn new(scenario: &Scenario, traces: &[PathBuf]) -> Result<Self, CaseError> {
        if scenario.traffic.saturate.is_some() {
            return Err(CaseError::Closed);
        }
        let tune = scenario.tune.clone().unwrap_or_default();
        let (seeds, others) =
            (tune.seeds.unwrap_or(SEEDS), tune.hold_out_seeds.unwrap_or(HOLD_OUT_SEEDS));
        if seeds == 0 || seeds > SEEDS_MAX {
            return Err(CaseError::Seeds { place: "tune.seeds" });
        }
        if others > SEEDS_MAX {
            return Err(CaseError::Seeds { place: "tune.holdOutSeeds" });
        }
        if traces.is_empty() {
            Self::of_seeds(scenario, seeds, others)
        } else {
            Self::of_traces(scenario, traces)
        }
    }

    fn of_seeds(scenario: &Scenario, seeds: u32, others: u32) -> Result<Self, CaseError> {
        let seed = |n: u32| scenario.seed.wrapping_add(u64::from(n));
        let own = |n: u32| {
            Case::new(scenario, of_seed(seed(n)), seed(n), scenario.traffic.clone(), false)
        };
        let train = (0..seeds).map(own).collect::<Result<_, _>>()?;
        let mut held_out = (seeds..seeds + others).map(own).collect::<Result<Vec<_>, _>>()?;
        for (n, share) in (seeds + others..).zip(OTHER_RATES) {
            let mut traffic = scenario.traffic.clone();
            for phase in &mut traffic.phases {
                scale(phase, share);
            }
            let name = format!("seed {}, {share} times the traffic", seed(n));
            held_out.push(Case::new(scenario, name, seed(n), traffic, false)?);
        }
        Ok(Self { train, held_out })
    }

    /// Days of the traces in turn, their peaks made that of the scenario's own traffic.
    fn of_traces(scenario: &Scenario, traces: &[PathBuf]) -> Result<Self, CaseError> {
        let own = profile(&scenario.traffic)?;
        let peak = own.peak(Nanos::ZERO, own.lasts());
        let mut days = Vec::new();
        for path in traces {
            let curve = read_curve(path)?;
            let (Some(first), Some(end)) = (curve.points.first(), curve.end()) else {
                return Err(CaseError::Short(path.clone()));
            };
            let most = curve.points.iter().map(|point| point.1.0).fold(0.0, f64::max);
            if end <= first.0 || most <= 0.0 {
                return Err(CaseError::Short(path.clone()));
            }
            let scale = peak / most;
            let short = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            let count = ((end.0 - first.0.0) / DAY.0).max(1);
            for day in 0..count.min((DAYS + HOLD_OUT_DAYS) as u64) {
                let from = first.0 + Nanos(day * DAY.0);
                let until = (from + DAY).min(end);
                days.push((format!("{short} day {}", day + 1), cut(&curve, from, until), scale));
            }
        }
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for (place, (name, curve, scale)) in days.into_iter().enumerate() {
            let phase = Phase {
                name: Some("trace".into()),
                curve: Some(curve),
                scale: Some(scale),
                ..Phase::default()
            };
            let traffic = Traffic { phases: vec![phase], ..scenario.traffic.clone() };
            let seed = scenario.seed.wrapping_add(place as u64);
            // Every other day is held out, so that both see the whole of the traces.
            let (to, most) =
                if place % 2 == 0 { (&mut train, DAYS) } else { (&mut held_out, HOLD_OUT_DAYS) };
            if to.len() < most {
                to.push(Case::new(scenario, name, seed, traffic, true)?);
            }
        }
        Ok(Self { train, held_out })
    }

    /// All, those that are searched with first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Case> {
        self.train.iter().chain(&self.held_out)
    }
}

fn cut(curve: &Curve, from: Nanos, until: Nanos) -> Curve {
    Curve { file: None, from: Some(from), until: Some(until), ..curve.clone() }
}

/// A phase with so many times its rates. A ramp may begin where the phase before ends, which is scaled
/// already; so holds and ramps are scaled themselves and not by their factor.
fn scale(phase: &mut Phase, share: f64) {
    if let Some(rate) = &mut phase.hold {
        rate.0 *= share;
    } else if let Some(ramp) = &mut phase.ramp {
        ramp.to.0 *= share;
        if let Some(from) = &mut ramp.from {
            from.0 *= share;
        }
    } else {
        phase.scale = Some(phase.scale.unwrap_or(1.0) * share);
    }
}

fn profile(traffic: &Traffic) -> Result<Profile, CaseError> {
    Profile::new(traffic).map_err(|(index, problem)| CaseError::Phase(index, problem))
}

impl Case {
    fn new(
        scenario: &Scenario,
        name: String,
        seed: u64,
        traffic: Traffic,
        is_foreign: bool,
    ) -> Result<Self, CaseError> {
        let profile = profile(&traffic)?;
        let phases = validate::phase_names(&traffic);
        let load = Load::new(&profile, phases, scenario.traffic.arrivals, seed);
        Ok(Self { name, seed, traffic, is_foreign, load })
    }

    /// A scenario on this traffic and seed.
    pub(super) fn scenario(&self, of: &Scenario) -> Scenario {
        let mut scenario = of.clone();
        scenario.seed = self.seed;
        scenario.traffic = self.traffic.clone();
        if self.is_foreign {
            for objective in &mut scenario.objectives {
                objective.during.clear();
            }
        }
        scenario
    }

    /// Whether the full simulator would take too long for it.
    pub(super) fn is_large(&self) -> bool {
        self.load.expected().sum::<f64>() > super::finals::REQUESTS_MAX
    }

    /// Where the hardest `seconds` of it begin: those around its highest rate.
    pub(super) fn hardest(&self, seconds: usize) -> usize {
        let rates = self.load.expected();
        let peak = rates.enumerate().max_by(|one, other| one.1.total_cmp(&other.1));
        let last = self.load.seconds().saturating_sub(seconds);
        peak.map_or(0, |(at, _)| at.saturating_sub(seconds * 2 / 3)).min(last)
    }
}
