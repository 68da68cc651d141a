//! From what the metrics ask for to what is written: stabilisation, rates, bounds.
//!
//! *Source*: `horizontal.go`: `normalizeDesiredReplicas`, `stabilizeRecommendation`,
//! `convertDesiredReplicasWithRules` without a behaviour; `stabilizeRecommendationWithBehaviors`,
//! `convertDesiredReplicasWithBehaviorRate`, `calculateScaleUpLimitWithScalingRules`,
//! `calculateScaleDownLimitWithBehaviors`, `storeScaleEvent` with one.

use alloc::vec::Vec;

use super::{
    Hpa,
    behavior::{Behaviors, Rules},
    words::{Condition, Reason},
    world::Moment,
};
use crate::{
    spec::{ScalingPolicyType, SelectPolicy},
    time::Nanos,
};

/// What became of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalized {
    /// What the metrics ask for.
    pub proposal: u32,
    /// After the stabilisation.
    pub stabilized: u32,
    /// After rates and bounds: what is wanted.
    pub to: u32,
    /// What limited it.
    pub limit: Limit,
}

/// What limits a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Nothing.
    None,
    /// `minReplicas`.
    Min,
    /// `maxReplicas`.
    Max,
    /// The rate on the way up.
    UpRate,
    /// The rate on the way down.
    DownRate,
}

impl Limit {
    const fn reason(self) -> Reason {
        match self {
            Self::None => Reason::DesiredWithinRange,
            Self::Min => Reason::TooFewReplicas,
            Self::Max => Reason::TooManyReplicas,
            Self::UpRate => Reason::ScaleUpLimit,
            Self::DownRate => Reason::ScaleDownLimit,
        }
    }
}

/// What the controller remembers of an autoscaler.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    recommendations: Option<Vec<Recommendation>>,
    ups: Vec<ScaleEvent>,
    downs: Vec<ScaleEvent>,
}

#[derive(Clone, Copy, Debug)]
struct Recommendation {
    replicas: u32,
    at: Moment,
}

#[derive(Clone, Copy, Debug)]
struct ScaleEvent {
    change: u32,
    at: Moment,
    is_outdated: bool,
}

impl Memory {
    /// At first sight, what is there counts as recommended.
    pub(super) fn begin(&mut self, replicas: u32, now: Moment) {
        self.recommendations
            .get_or_insert_with(|| alloc::vec![Recommendation { replicas, at: now }]);
    }

    fn recommendations(&mut self) -> &mut Vec<Recommendation> {
        self.recommendations.get_or_insert_with(Vec::new)
    }

    /// Keeps a recommendation, in the last slot that is `old` if there is one.
    fn keep(&mut self, replicas: u32, now: Moment, old: impl Fn(&Recommendation) -> bool) {
        let new = Recommendation { replicas, at: now };
        let known = self.recommendations();
        match known.iter().rposition(old) {
            Some(place) => known[place] = new,
            None => known.push(new),
        }
    }

    /// Keeps a change that was written.
    pub(super) fn store_event(&mut self, rules: &Behaviors, now: Moment, from: u32, to: u32) {
        let (events, rules, change) = if to > from {
            (&mut self.ups, &rules.up, to - from)
        } else {
            (&mut self.downs, &rules.down, from - to)
        };
        let cutoff = now.minus(rules.longest_period());
        for event in events.iter_mut() {
            event.is_outdated |= event.at < cutoff;
        }
        let new = ScaleEvent { change, at: now, is_outdated: false };
        match events.iter().rposition(|event| event.is_outdated) {
            Some(place) => events[place] = new,
            None => events.push(new),
        }
    }

    /// The replicas before everything that happened within `period`.
    fn at_start(&self, replicas: u32, now: Moment, period: Nanos) -> i64 {
        let cutoff = now.minus(period);
        let sum = |events: &[ScaleEvent]| {
            events
                .iter()
                .filter(|event| event.at > cutoff)
                .map(|event| i64::from(event.change))
                .sum::<i64>()
        };
        i64::from(replicas) - sum(&self.ups) + sum(&self.downs)
    }
}

impl Hpa {
    /// From the metrics' number to the one that is wanted; sets the conditions.
    pub(super) fn normalize(&mut self, now: Moment, current: u32, proposal: u32) -> Normalized {
        let stabilized = match self.behaviors.clone() {
            None => self.stabilize_plainly(now, proposal),
            Some(rules) => self.stabilize(now, &rules, current, proposal),
        };
        let (to, limit) = match &self.behaviors {
            None => self.limit_plainly(current, stabilized),
            Some(rules) => self.limit(now, rules, current, stabilized),
        };
        self.set(Condition::new(to != stabilized, limit.reason()));
        Normalized { proposal, stabilized, to, limit }
    }

    fn stabilize_plainly(&mut self, now: Moment, proposal: u32) -> u32 {
        let cutoff = now.minus(self.settings.downscale_stabilization);
        let recent = self.memory.recommendations().iter().filter(|known| known.at >= cutoff);
        let highest = recent.map(|known| known.replicas).max().unwrap_or(0).max(proposal);
        self.memory.keep(proposal, now, |known| known.at < cutoff);
        let reason = if highest == proposal {
            Reason::ReadyForNewScale
        } else {
            Reason::ScaleDownStabilized
        };
        self.set(Condition::new(true, reason));
        highest
    }

    fn stabilize(&mut self, now: Moment, rules: &Behaviors, current: u32, proposal: u32) -> u32 {
        let (up, down) = (now.minus(rules.up.window), now.minus(rules.down.window));
        let (mut low, mut high) = (proposal, proposal);
        for known in self.memory.recommendations().iter() {
            if known.at > up {
                low = low.min(known.replicas);
            }
            if known.at > down {
                high = high.max(known.replicas);
            }
        }
        self.memory.keep(proposal, now, |known| known.at < up && known.at < down);
        let stabilized = current.max(low).min(high);
        let reason = if stabilized == proposal {
            Reason::ReadyForNewScale
        } else if proposal >= current {
            Reason::ScaleUpStabilized
        } else {
            Reason::ScaleDownStabilized
        };
        self.set(Condition::new(true, reason));
        stabilized
    }

    /// Without a behaviour: at most twice as many, or 4.
    fn limit_plainly(&self, current: u32, wanted: u32) -> (u32, Limit) {
        let rate = current.saturating_mul(2).max(4);
        let (most, limit) =
            if self.max > rate { (rate, Limit::UpRate) } else { (self.max, Limit::Max) };
        if wanted < self.min {
            (self.min, Limit::Min)
        } else if wanted > most {
            (most, limit)
        } else {
            (wanted, Limit::None)
        }
    }

    fn limit(&self, now: Moment, rules: &Behaviors, current: u32, wanted: u32) -> (u32, Limit) {
        let here = i64::from(current);
        if wanted > current {
            let rate = self.up_limit(now, &rules.up, current).max(here);
            let max = i64::from(self.max);
            let (most, limit) = if max > rate { (rate, Limit::UpRate) } else { (max, Limit::Max) };
            if i64::from(wanted) > most {
                return (most.max(0) as u32, limit);
            }
        } else if wanted < current {
            let rate = self.down_limit(now, &rules.down, current).min(here);
            let min = i64::from(self.min);
            let (least, limit) =
                if min < rate { (rate, Limit::DownRate) } else { (min, Limit::Min) };
            if i64::from(wanted) < least {
                return (least.max(0) as u32, limit);
            }
        }
        (wanted, Limit::None)
    }

    fn up_limit(&self, now: Moment, rules: &Rules, current: u32) -> i64 {
        let limits = rules.policies.iter().map(|policy| {
            let period = Nanos::from_secs(u64::from(policy.period_seconds));
            let start = self.memory.at_start(current, now, period);
            let value = policy.value;
            match policy.kind {
                ScalingPolicyType::Pods => start + i64::from(value),
                ScalingPolicyType::Percent => {
                    libm::ceil(start as f64 * (1.0 + f64::from(value) / 100.0)) as i64
                }
            }
        });
        let chosen = match rules.select {
            SelectPolicy::Disabled => None,
            SelectPolicy::Min => limits.min(),
            SelectPolicy::Max => limits.max(),
        };
        chosen.unwrap_or(i64::from(current))
    }

    fn down_limit(&self, now: Moment, rules: &Rules, current: u32) -> i64 {
        let limits = rules.policies.iter().map(|policy| {
            let period = Nanos::from_secs(u64::from(policy.period_seconds));
            let start = self.memory.at_start(current, now, period);
            let value = policy.value;
            match policy.kind {
                ScalingPolicyType::Pods => start - i64::from(value),
                // Towards zero, as upstream's conversion does.
                ScalingPolicyType::Percent => {
                    (start as f64 * (1.0 - f64::from(value) / 100.0)) as i64
                }
            }
        });
        let chosen = match rules.select {
            SelectPolicy::Disabled => None,
            SelectPolicy::Min => limits.max(),
            SelectPolicy::Max => limits.min(),
        };
        chosen.unwrap_or(i64::from(current))
    }
}
