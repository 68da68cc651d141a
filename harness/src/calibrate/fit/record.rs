//! What a record tells by itself: starts, propagation, CPU per request.

use highwater_model::{cluster::Timing, spec::Distribution, time::Nanos};

use super::{
    super::{
        seen::{CpuReading, Seen},
        shape::{self, Family, Grid},
        told::Origin,
    },
    FAMILY_MARGIN, Fit,
};

/// Fewer CPU readings than this tell nothing.
const READINGS_MIN: usize = 5;
/// Fewer delays than this tell no distribution.
const DELAYS_MIN: usize = 8;

impl Fit {
    pub(super) fn machine(&mut self, seen: &Seen<'_>) {
        let key = "simulation.processStart";
        let own = self.scenario.simulation.process_start.clone();
        let grid =
            shape::grid_of_spans(&seen.process_start).filter(|_| seen.process_start.len() > 1);
        let Some(grid) = grid else {
            return self.tell(key, own, Origin::Scenario, "no two pods were seen to start");
        };
        let n = seen.process_start.len();
        // The simulator's kubelet takes its time as well.
        let own_start = Timing::default().start;
        let (fitted, kubelet) = (less(&grid, &own_start), own_start.quantile(0.5));
        let why =
            format!("from pod to container, {n} pods, less the kubelet's part (about {kubelet})");
        self.tell(key, &fitted, Origin::Record, why);
        self.scenario.simulation.process_start = fitted;
        let network = self.scenario.simulation.network;
        let why = "a record cannot tell it from the service time";
        self.tell("simulation.network", network, Origin::Scenario, why);
    }

    pub(super) fn startup(&mut self, seen: &Seen<'_>) {
        let key = "target.service.startup";
        let own = Self::service_of(&mut self.scenario).startup;
        let median = |spans: &[Nanos]| {
            let mut spans = spans.to_vec();
            spans.sort_unstable();
            spans.get(spans.len() / 2).copied()
        };
        let template = &self.scenario.target.deployment.template;
        let period = template.readiness_probe.as_ref().map_or(0, |probe| probe.period_seconds);
        let (value, origin, why) = match (median(&seen.listening), median(&seen.ready)) {
            (Some(listens), _) => {
                let n = seen.listening.len();
                (listens, Origin::Record, format!("container to listening, median of {n} pods"))
            }
            (None, Some(ready)) => {
                // The probe finds out half a period late, on the average.
                let half = Nanos(Nanos::from_secs(u64::from(period)).0 / 2);
                let n = seen.ready.len();
                let why = format!("container to ready less half a probe's period, {n} pods");
                (Nanos(ready.0.saturating_sub(half.0)), Origin::Record, why)
            }
            (None, None) => (own, Origin::Scenario, "no pod was seen to start".into()),
        };
        let value = shape::span(value.0 as f64);
        Self::service_of(&mut self.scenario).startup = value;
        self.tell(key, value, origin, why);
    }

    pub(super) fn propagation(&mut self, seen: &Seen<'_>) {
        let key = "path.propagation";
        let own = self.scenario.path.propagation.clone();
        let n = seen.propagation.iter().filter(|delay| delay.arrived).count();
        let grid = shape::grid_of_delays(&seen.propagation);
        let Some(grid) = grid.filter(|_| n >= DELAYS_MIN) else {
            let why = format!("{n} arrivals of changes at consumers were seen, too few to tell");
            return self.tell(key, own, Origin::Scenario, why);
        };
        if shape::may_be_of(&grid, n, &own) {
            let why = format!("{n} arrivals at consumers do not contradict it");
            return self.tell(key, own, Origin::Scenario, why);
        }
        let family = Family::best(&grid, FAMILY_MARGIN);
        let fitted = family.distribution(family.numbers(&grid));
        let why = format!("endpoints to consumers, {n} arrivals");
        self.tell(key, &fitted, Origin::Record, why);
        self.scenario.path.propagation = fitted;
    }
}

/// What is left of delays without a part of them: by mean and variance, evenly spread.
fn less(of: &Grid, part: &Distribution) -> Distribution {
    let part = Grid::of_distribution(part);
    let mean = (of.mean() - part.mean()).max(0.0);
    // The variance of an even spread is the square of half its width, divided by 3.
    let half = (3.0 * (of.variance() - part.variance()).max(0.0)).sqrt().min(mean);
    match (shape::span(mean - half), shape::span(mean + half)) {
        (low, high) if low == high => Distribution::Fixed(low),
        (low, high) => Distribution::Uniform(low, high),
    }
}

/// CPU time per request, and how it was told: the slope of CPU over requests, or, where the rate
/// hardly changed, their ratio. `None` of too few readings.
pub(super) fn cpu_per_request(readings: &[CpuReading]) -> Option<(Nanos, String)> {
    let readings: Vec<&CpuReading> = readings.iter().filter(|one| one.rate > 0.0).collect();
    let n = readings.len();
    if n < READINGS_MIN {
        return None;
    }
    let mean =
        |of: fn(&CpuReading) -> f64| readings.iter().map(|one| of(one)).sum::<f64>() / n as f64;
    let (rate, cores) = (mean(|one| one.rate), mean(|one| one.cores));
    let least = readings.iter().map(|one| one.rate).fold(f64::INFINITY, f64::min);
    let most = readings.iter().map(|one| one.rate).fold(0.0, f64::max);
    let (mut above, mut below) = (0.0, 0.0);
    for one in &readings {
        above += (one.rate - rate) * (one.cores - cores);
        below += (one.rate - rate).powi(2);
    }
    let slope = above / below;
    if most >= 1.5 * least && slope > 0.0 {
        let idle = (cores - slope * rate).max(0.0);
        let why = format!("the slope of {n} CPU readings over requests; {idle:.3} cores at rest");
        return Some((shape::span(slope * 1e9), why));
    }
    let why = format!("the ratio of {n} CPU readings to requests: the rate hardly changed");
    (cores > 0.0).then(|| (shape::span(cores / rate * 1e9), why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_per_request_is_a_slope_where_the_rate_changes() {
        let reading = |rate: f64, cores: f64| CpuReading { rate, cores };
        let of = |readings: &[CpuReading]| cpu_per_request(readings).map(|(cpu, _)| cpu);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[reading(10.0, 0.1); 4]), None, "too few");
        assert_eq!(of(&[reading(0.0, 0.1); 9]), None, "no requests");
        let line: Vec<_> =
            (1..9).map(|n| reading(f64::from(n), 0.05 + 0.004 * f64::from(n))).collect();
        assert_eq!(of(&line), Some(Nanos::from_millis(4)), "what is used at rest is not counted");
        assert_eq!(of(&[reading(10.0, 0.04); 6]), Some(Nanos::from_millis(4)));
        assert_eq!(of(&[reading(10.0, 0.0); 6]), None, "nothing was used");
    }
}
