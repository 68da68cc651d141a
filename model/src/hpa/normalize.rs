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
    /// The lowest recommendation of the way up's window, which holds a growing number down; `None`
    /// without a behaviour, where nothing does.
    pub low: Option<Held>,
    /// The highest recommendation of the way down's window, which holds a shrinking number up.
    pub high: Held,
    /// How far the rate lets it go; `None` if it stays where it is.
    pub rate: Option<Rate>,
}

/// A recommendation that holds a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The replicas that were recommended.
    pub replicas: u32,
    /// When; this very pass if no older one is lower, or higher.
    pub at: Moment,
    /// How far it was looked back.
    pub window: Nanos,
}

/// How far a number may go in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Replicas. Below zero where much was taken away within a period.
    pub limit: i64,
    /// The policy that says so, by its place; `None` if none does: without a behaviour, or if that
    /// way is disabled.
    pub policy: Option<usize>,
    /// The replicas at the start of its period.
    pub start: i64,
}

impl Held {
    /// Takes over `other` if it holds more.
    fn or(self, other: &Recommendation, holds_more: impl Fn(u32, u32) -> bool) -> Self {
        if holds_more(other.replicas, self.replicas) {
            Self { replicas: other.replicas, at: other.at, ..self }
        } else {
            self
        }
    }
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

/// Which changes a policy counts.
#[derive(Clone, Copy)]
struct Directions {
    up: bool,
    down: bool,
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
    /// That of an autoscaler that has been seen before.
    pub(super) fn settled() -> Self {
        Self { recommendations: Some(Vec::new()), ..Self::default() }
    }

    pub(super) fn recommended(&mut self, at: Moment, replicas: u32) {
        self.recommendations().push(Recommendation { replicas, at });
    }

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
    fn at_start(&self, replicas: u32, now: Moment, period: Nanos, which: Directions) -> i64 {
        let cutoff = now.minus(period);
        let sum = |events: &[ScaleEvent]| {
            events
                .iter()
                .filter(|event| event.at > cutoff)
                .map(|event| i64::from(event.change))
                .sum::<i64>()
        };
        let ups = if which.up { sum(&self.ups) } else { 0 };
        let downs = if which.down { sum(&self.downs) } else { 0 };
        i64::from(replicas) - ups + downs
    }
}

impl Hpa {
    /// From the metrics' number to the one that is wanted; sets the conditions.
    pub(super) fn normalize(&mut self, now: Moment, current: u32, proposal: u32) -> Normalized {
        // Taken out and put back: a copy in each pass would be an allocation.
        let (stabilized, low, high) = match self.behaviors.take() {
            None => self.stabilize_plainly(now, proposal),
            Some(rules) => {
                let found = self.stabilize(now, &rules, current, proposal);
                self.behaviors = Some(rules);
                found
            }
        };
        let (to, limit, rate) = match &self.behaviors {
            None => self.limit_plainly(current, stabilized),
            Some(rules) => self.limit(now, rules, current, stabilized),
        };
        self.set(Condition::new(to != stabilized, limit.reason()));
        Normalized { proposal, stabilized, to, limit, low, high, rate }
    }

    fn stabilize_plainly(&mut self, now: Moment, proposal: u32) -> (u32, Option<Held>, Held) {
        let window = self.settings.downscale_stabilization;
        let cutoff = now.minus(window);
        let mut high = Held { replicas: proposal, at: now, window };
        for known in self.memory.recommendations().iter().filter(|known| known.at >= cutoff) {
            high = high.or(known, |one, other| one > other);
        }
        self.memory.keep(proposal, now, |known| known.at < cutoff);
        let reason = if high.replicas == proposal {
            Reason::ReadyForNewScale
        } else {
            Reason::ScaleDownStabilized
        };
        self.set(Condition::new(true, reason));
        (high.replicas, None, high)
    }

    fn stabilize(
        &mut self,
        now: Moment,
        rules: &Behaviors,
        current: u32,
        proposal: u32,
    ) -> (u32, Option<Held>, Held) {
        let (up, down) = (now.minus(rules.up.window), now.minus(rules.down.window));
        let mut low = Held { replicas: proposal, at: now, window: rules.up.window };
        let mut high = Held { replicas: proposal, at: now, window: rules.down.window };
        for known in self.memory.recommendations().iter() {
            if known.at > up {
                low = low.or(known, |one, other| one < other);
            }
            if known.at > down {
                high = high.or(known, |one, other| one > other);
            }
        }
        self.memory.keep(proposal, now, |known| known.at < up && known.at < down);
        let stabilized = if self.settings.kubernetes.stabilizes_both_ways() {
            current.max(low.replicas).min(high.replicas)
        } else if proposal >= current {
            low.replicas
        } else {
            high.replicas
        };
        let reason = if stabilized == proposal {
            Reason::ReadyForNewScale
        } else if proposal >= current {
            Reason::ScaleUpStabilized
        } else {
            Reason::ScaleDownStabilized
        };
        self.set(Condition::new(true, reason));
        (stabilized, Some(low), high)
    }

    /// Without a behaviour: at most twice as many, or 4.
    fn limit_plainly(&self, current: u32, wanted: u32) -> (u32, Limit, Option<Rate>) {
        let rate = current.saturating_mul(2).max(4);
        let told = Rate { limit: i64::from(rate), policy: None, start: i64::from(current) };
        let told = (wanted > current).then_some(told);
        let (most, limit) =
            if self.max > rate { (rate, Limit::UpRate) } else { (self.max, Limit::Max) };
        if wanted < self.min {
            (self.min, Limit::Min, told)
        } else if wanted > most {
            (most, limit, told)
        } else {
            (wanted, Limit::None, told)
        }
    }

    fn limit(
        &self,
        now: Moment,
        rules: &Behaviors,
        current: u32,
        wanted: u32,
    ) -> (u32, Limit, Option<Rate>) {
        let here = i64::from(current);
        if wanted > current {
            let told = self.up_limit(now, &rules.up, current);
            let (rate, max) = (told.limit.max(here), i64::from(self.max));
            let (most, limit) = if max > rate { (rate, Limit::UpRate) } else { (max, Limit::Max) };
            if i64::from(wanted) > most {
                return (most.max(0) as u32, limit, Some(told));
            }
            return (wanted, Limit::None, Some(told));
        }
        if wanted < current {
            let told = self.down_limit(now, &rules.down, current);
            let (rate, min) = (told.limit.min(here), i64::from(self.min));
            let (least, limit) =
                if min < rate { (rate, Limit::DownRate) } else { (min, Limit::Min) };
            if i64::from(wanted) < least {
                return (least.max(0) as u32, limit, Some(told));
            }
            return (wanted, Limit::None, Some(told));
        }
        (wanted, Limit::None, None)
    }

    fn up_limit(&self, now: Moment, rules: &Rules, current: u32) -> Rate {
        let both = self.settings.kubernetes.counts_both_directions();
        let limits = rules.policies.iter().enumerate().map(|(place, policy)| {
            let period = Nanos::from_secs(u64::from(policy.period_seconds));
            let which = Directions { up: true, down: both };
            let start = self.memory.at_start(current, now, period, which);
            let value = policy.value;
            let limit = match policy.kind {
                ScalingPolicyType::Pods => start + i64::from(value),
                ScalingPolicyType::Percent => {
                    libm::ceil(start as f64 * (1.0 + f64::from(value) / 100.0)) as i64
                }
            };
            Rate { limit, policy: Some(place), start }
        });
        let chosen = match rules.select {
            SelectPolicy::Disabled => None,
            SelectPolicy::Min => limits.min_by_key(|rate| rate.limit),
            SelectPolicy::Max => limits.max_by_key(|rate| rate.limit),
        };
        chosen.unwrap_or_else(|| Rate::none(current))
    }

    fn down_limit(&self, now: Moment, rules: &Rules, current: u32) -> Rate {
        let both = self.settings.kubernetes.counts_both_directions();
        let limits = rules.policies.iter().enumerate().map(|(place, policy)| {
            let period = Nanos::from_secs(u64::from(policy.period_seconds));
            let which = Directions { up: both, down: true };
            let start = self.memory.at_start(current, now, period, which);
            let value = policy.value;
            let limit = match policy.kind {
                ScalingPolicyType::Pods => start - i64::from(value),
                // Towards zero, as upstream's conversion does.
                ScalingPolicyType::Percent => {
                    (start as f64 * (1.0 - f64::from(value) / 100.0)) as i64
                }
            };
            Rate { limit, policy: Some(place), start }
        });
        let chosen = match rules.select {
            SelectPolicy::Disabled => None,
            SelectPolicy::Min => limits.max_by_key(|rate| rate.limit),
            SelectPolicy::Max => limits.min_by_key(|rate| rate.limit),
        };
        chosen.unwrap_or_else(|| Rate::none(current))
    }
}

impl Rate {
    /// No change.
    fn none(current: u32) -> Self {
        let here = i64::from(current);
        Self { limit: here, policy: None, start: here }
    }
}
