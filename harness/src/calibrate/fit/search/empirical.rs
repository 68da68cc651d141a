//! A service time that is of no family: by its own quantiles.

use highwater_model::{
    spec::{Distribution, Service},
    time::Nanos,
};

use super::{Candidate, Fit, ROUNDS, Score};
use crate::{
    calibrate::{
        CalibrateError,
        load::Times,
        shape::{PLACES, share, span},
    },
    record::hist::Hist,
};

/// A family that is off by less than this is good enough.
const GOOD: f64 = 0.03;
/// Quantiles are taken in place of a family if they are nearer by this at least.
const NEARER: f64 = 0.01;
/// Quantiles beyond the grid: the shape of the tail.
const TAIL: [f64; 2] = [0.99, 0.999];
/// How many quantiles: the ends, the grid, the tail.
const KNOTS: usize = PLACES + TAIL.len() + 2;

/// The place `index` is this quantile.
fn place(index: usize) -> f64 {
    match index {
        0 => 0.0,
        _ if index <= PLACES => share(index - 1),
        _ => TAIL.get(index - PLACES - 1).copied().unwrap_or(1.0),
    }
}

fn knots(hist: &Hist) -> [f64; KNOTS] {
    std::array::from_fn(|index| match index {
        0 => hist.min() as f64,
        _ => hist.value_at_quantile(place(index)) as f64,
    })
}

/// The distribution with these quantiles, in nanoseconds, as far as they ascend.
fn distribution(values: &[f64; KNOTS]) -> Distribution {
    let mut least = Nanos::ZERO;
    let quantiles = values.iter().enumerate().map(|(index, value)| {
        least = span(*value).max(least);
        (place(index), least)
    });
    Distribution::Quantiles(quantiles.collect())
}

impl Fit {
    /// The same with quantiles for its latency, if that is of no family.
    pub(super) fn empirical(
        &mut self,
        fitted: Candidate,
        times: &Times,
    ) -> Result<Candidate, CalibrateError> {
        if fitted.off <= GOOD {
            return Ok(fitted);
        }
        let wanted = knots(&times.quiet);
        let known = self.known(&fitted.service).0 as f64;
        let mut values = wanted.map(|value| value - known);
        let mut best = Candidate { off: fitted.off - NEARER, service: fitted.service.clone() };
        for _ in 0..ROUNDS {
            let service = Service { latency: distribution(&values), ..fitted.service.clone() };
            let mut scenario = self.scenario.clone();
            *Self::service_of(&mut scenario) = service.clone();
            let Some(got) = self.trials.times(&scenario)? else { break };
            let off = self.goal.off(&Score::of(&got));
            if off < best.off {
                best = Candidate { service, off };
            }
            let got = knots(&got.quiet);
            for index in 0..KNOTS {
                values[index] += wanted[index] - got[index];
            }
        }
        let is_nearer = best.service != fitted.service;
        Ok(if is_nearer { best } else { fitted })
    }
}
