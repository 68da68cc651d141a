//! What is needed to tell whether arrivals are those of the intended process, in constant memory.
//!
//! Run through the expected count, a Poisson process of any rate becomes one of rate 1 (time
//! rescaling): the gaps between its arrivals are exponential with mean 1, or Erlang if only every
//! Nth is seen. A gap's own distribution function makes of it a number that is uniform between 0
//! and 1; those are counted in [`GAP_BINS`] equal bins. Constant arrivals have one place each in the
//! expected count, and are told by how far the worst of them is from its own.

use alloc::{vec, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{Arrival, Profile, Share};
use crate::{spec::Arrivals, time::Nanos};

/// Equal bins that gaps are counted in.
pub const GAP_BINS: usize = 20;

/// Gaps of a share of more parts than this are not counted: its terms would leave what a number
/// can hold.
const SHARES_MAX: u32 = 200;
/// A sum of [`SHARES_MAX`] spans is never longer than this.
const LONGEST: f64 = 700.0;

/// Of the arrivals of one generator, those of traces left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArrivalCounts {
    /// Arrivals.
    pub n: u64,
    /// Gaps between them by bin; empty for constant arrivals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<u64>,
    /// Of the worst arrival: how far it is from its place, in requests. 0 for Poisson arrivals.
    pub off: f64,
    /// How much later than scheduled the arrivals were, in expected requests, all added up.
    pub moved: f64,
}

/// Counts arrivals as they come, in order of time.
#[derive(Clone, Debug)]
pub struct Watch {
    arrivals: Arrivals,
    share: Share,
    counts: ArrivalCounts,
    last: Option<f64>,
    cursors: [usize; 2],
}

impl Watch {
    /// A watch over the arrivals of one share.
    pub fn new(arrivals: Arrivals, share: Share) -> Self {
        let gaps = match arrivals {
            Arrivals::Poisson => vec![0; GAP_BINS],
            Arrivals::Constant => Vec::new(),
        };
        Self {
            arrivals,
            share,
            counts: ArrivalCounts { gaps, ..ArrivalCounts::default() },
            last: None,
            cursors: [0; 2],
        }
    }

    /// Takes note of `arrival`, which came at `at` (from the start of the traffic).
    pub fn see(&mut self, profile: &Profile, arrival: Arrival, at: Nanos) {
        if profile.is_trace(arrival.phase) {
            self.last = None;
            return;
        }
        let [seen, planned] = &mut self.cursors;
        let place = profile.expected_from(seen, at);
        if at != arrival.at {
            self.counts.moved += (place - profile.expected_from(planned, arrival.at)).max(0.0);
        }
        self.counts.n += 1;
        match self.arrivals {
            Arrivals::Constant => {
                let off = (place - arrival.number as f64 - 0.5).abs();
                self.counts.off = self.counts.off.max(off);
            }
            Arrivals::Poisson => {
                let last = self.last.replace(place).filter(|_| self.share.of <= SHARES_MAX);
                if let Some(last) = last {
                    let share = erlang((place - last).max(0.0), self.share.of);
                    let bin = ((share * GAP_BINS as f64) as usize).min(GAP_BINS - 1);
                    self.counts.gaps[bin] += 1;
                }
            }
        }
    }

    /// What was counted.
    pub fn counts(&self) -> &ArrivalCounts {
        &self.counts
    }
}

/// The distribution function of the sum of `of` exponential spans of mean 1.
fn erlang(x: f64, of: u32) -> f64 {
    if x > LONGEST {
        return 1.0;
    }
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..of {
        term *= x / f64::from(k);
        sum += term;
    }
    1.0 - libm::exp(-x) * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Schedule;
    use crate::spec::Traffic;

    fn traffic(arrivals: &str) -> Traffic {
        let phases = serde_json::json!({"arrivals": arrivals, "phases": [
            {"hold": 300, "for": "20s"},
            {"sine": {"mean": 200, "amplitude": 200, "period": "7s"}, "for": "40s"},
            {"hold": 0, "for": "9s"},
            {"ramp": {"from": 0, "to": 900}, "over": "30s"},
        ]});
        serde_json::from_value(phases).expect("traffic")
    }

    /// Each arrival `late` expected requests after its time, at the rate there.
    fn counts(arrivals: &str, share: Share, late: f64) -> ArrivalCounts {
        let traffic = traffic(arrivals);
        let profile = Profile::new(&traffic).expect("shapes");
        let mut watch = Watch::new(traffic.arrivals, share);
        let all = Schedule::new(profile.clone(), traffic.arrivals, 11);
        for arrival in all.filter(|arrival| share.owns(arrival.number)) {
            let after = Nanos::from_secs_f64(late / profile.rate(arrival.at).max(1.0));
            watch.see(&profile, arrival, arrival.at + after);
        }
        watch.counts().clone()
    }

    fn chi_square(gaps: &[u64]) -> f64 {
        let expected = gaps.iter().sum::<u64>() as f64 / GAP_BINS as f64;
        gaps.iter().map(|n| (*n as f64 - expected) * (*n as f64 - expected) / expected).sum()
    }

    #[test]
    fn gaps_of_the_process_are_even_over_the_bins_whatever_the_rate_and_the_share() {
        for of in [1, 2, 7] {
            let found = counts("poisson", Share { index: 0, of }, 0.0);
            assert!(found.n > 27_000 / u64::from(of) && found.moved == 0.0 && found.off == 0.0);
            // The mean is 19, and 60 has a chance of 4e-6; the seed is fixed.
            let statistic = chi_square(&found.gaps);
            assert!(statistic < 60.0, "{statistic}: {found:?}");
            let other = counts("poisson", Share { index: 0, of: of + 1 }, 0.0);
            assert_ne!(other, found);
        }
    }

    #[test]
    fn constant_arrivals_are_at_their_place_and_late_ones_are_told() {
        let found = counts("constant", Share { index: 1, of: 3 }, 0.0);
        assert!(found.gaps.is_empty() && found.off < 1e-3, "{found:?}");
        let late = counts("constant", Share::WHOLE, 0.5);
        assert!((0.4..2.0).contains(&late.off), "{late:?}");
        assert!((late.moved / late.n as f64 - 0.5).abs() < 0.1, "{late:?}");
    }

    #[test]
    fn an_erlang_of_one_is_exponential_and_of_many_is_steep_around_its_mean() {
        assert!((erlang(1.0, 1) - (1.0 - libm::exp(-1.0))).abs() < 1e-12);
        assert!((erlang(64.0, 64) - 0.5166).abs() < 1e-3);
        assert!(erlang(0.0, 5) == 0.0 && erlang(1e9, SHARES_MAX) == 1.0);
        assert!((erlang(LONGEST, SHARES_MAX) - 1.0).abs() < 1e-12);
    }
}
