//! From the times that objects state to the run's axis.
//!
//! A cluster states most times in whole seconds, and each machine by its own clock. An observation
//! says no more than "not later than now". Both together, and what is known of the same pod, bound
//! when something happened; an [`Estimate`] is one instant within these bounds and how far off it
//! may be.
//!
//! *Source*: `lifecycle-semantics.md` section 8, rule 1. That a watch is late by milliseconds and
//! a kubelet's word of an exit by up to a second: measured on Kubernetes 1.35.

use std::collections::BTreeMap;

use highwater_model::time::{Nanos, SECOND, Timestamp};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
    jiff,
};

/// A watch on a machine that is not overloaded tells of a write within this. An observation that
/// comes this soon after the stated second is taken for one of the second's end. It bounds nothing:
/// with more to do than processors, a watch was seen to be late by more, and then what a deletion
/// broke seemed to have broken before it.
pub const WATCH_DELAY: Nanos = Nanos::from_millis(250);

/// Where the run's axis lies on the wall clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// The harness's wall clock at the run's zero, nanoseconds since 1970.
    pub zero_wall_ns: i64,
    /// The lead of the cluster's clocks (API server, controllers) over the harness's.
    pub server: Offset,
}

/// How far a machine's wall clock is ahead of the harness's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// The lead, nanoseconds.
    pub ahead_ns: i64,
    /// How far off `ahead_ns` may be.
    pub uncertainty: Nanos,
}

/// Whose clock a time was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock<'a> {
    /// The API server's or a controller's.
    Server,
    /// A node's; the server's is taken for that of a node whose clock is not known.
    Node(Option<&'a str>),
}

/// The clocks of a cluster.
#[derive(Clone, Debug)]
pub struct Clocks {
    anchor: Anchor,
    nodes: BTreeMap<String, Offset>,
}

/// The span that a stated time stands for, on the run's axis (negative: before its start).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stated {
    from: i64,
    until: i64,
    uncertainty: Nanos,
}

/// When something was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The instant of the observation.
    pub now: Timestamp,
    /// The end of what was heard before, if there was a gap in between.
    pub since: Option<Timestamp>,
}

/// An instant, and how far off it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The best guess.
    pub at: Timestamp,
    /// How far off it may be; `None` for "not by more than the observation's own delay".
    pub precision: Option<Nanos>,
    /// What the object states.
    pub stated: Option<Timestamp>,
}

impl Clocks {
    /// Clocks of which the server's is known.
    pub fn new(anchor: Anchor) -> Self {
        Self { anchor, nodes: BTreeMap::new() }
    }

    /// Sets what is known of a node's clock.
    pub fn set_node(&mut self, node: &str, offset: Offset) {
        self.nodes.insert(node.into(), offset);
    }

    fn offset(&self, clock: Clock<'_>) -> Offset {
        match clock {
            Clock::Server | Clock::Node(None) => self.anchor.server,
            Clock::Node(Some(node)) => *self.nodes.get(node).unwrap_or(&self.anchor.server),
        }
    }

    /// A time of whole seconds.
    pub fn second(&self, time: &Time, clock: Clock<'_>) -> Stated {
        let from = time.0.as_second().saturating_mul(SECOND as i64);
        self.stated(from, SECOND as i64, clock)
    }

    /// A time of whole microseconds.
    pub fn micro(&self, time: &MicroTime, clock: Clock<'_>) -> Stated {
        self.stated(wall_ns(time.0), 1_000, clock)
    }

    /// A time to the nanosecond.
    pub fn exact(&self, time: jiff::Timestamp, clock: Clock<'_>) -> Stated {
        self.stated(wall_ns(time), 0, clock)
    }

    fn stated(&self, wall_ns: i64, width: i64, clock: Clock<'_>) -> Stated {
        let offset = self.offset(clock);
        let zero = self.anchor.zero_wall_ns.saturating_add(offset.ahead_ns);
        let from = wall_ns.saturating_sub(zero);
        Stated { from, until: from.saturating_add(width), uncertainty: offset.uncertainty }
    }
}

/// Nanoseconds since 1970; the ends of what fits for what does not (1677 and 2262).
fn wall_ns(time: jiff::Timestamp) -> i64 {
    time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn clamped(ns: i64) -> Timestamp {
    Timestamp(ns.max(0) as u64)
}

impl Stated {
    /// Where the span begins; the run's start if before it.
    pub fn from(self) -> Timestamp {
        clamped(self.from)
    }

    /// Where the span ends; the run's start if before it.
    pub fn until(self) -> Timestamp {
        clamped(self.until)
    }

    /// Where the span begins, negative before the run.
    pub fn from_ns(self) -> i64 {
        self.from
    }

    /// Whether all of it lies before the run.
    pub fn is_before_run(self) -> bool {
        self.until <= 0
    }

    /// The span moved to `earlier` before.
    pub fn minus(self, earlier: Nanos) -> Self {
        let by = i64::try_from(earlier.0).unwrap_or(i64::MAX);
        Self {
            from: self.from.saturating_sub(by),
            until: self.until.saturating_sub(by),
            uncertainty: self.uncertainty,
        }
    }

    /// Whether it may not have ended before `other` began, by clocks that are not exact.
    pub fn reaches(self, other: Self) -> bool {
        let slack = (self.uncertainty + other.uncertainty).0 as i64;
        self.until.saturating_add(slack) > other.from
    }

    /// Whether `instant` lies in it, or a watch's delay after it.
    pub fn holds(self, instant: Timestamp) -> bool {
        let instant = instant.0 as i64;
        let slack = self.uncertainty.0 as i64;
        let late = slack.saturating_add(WATCH_DELAY.0 as i64);
        instant >= self.from.saturating_sub(slack) && instant <= self.until.saturating_add(late)
    }

    /// The instant of a write to the API, of which the watch told: the observation's, if the span
    /// contains it; the span's end if the observation came soon after; else its middle. Never
    /// before `floor`, never after the observation.
    pub fn written(self, sight: Sight, floor: Timestamp) -> Estimate {
        let now = sight.now.0 as i64;
        if now > self.until.saturating_add(WATCH_DELAY.0 as i64) {
            return self.noticed(sight, floor);
        }
        let (low, high) = self.bounds(sight, floor);
        self.estimate(high, (high - low).max(self.from.saturating_sub(now)))
    }

    /// The instant of something that a node did and noticed later: the middle of when it can have
    /// been.
    pub fn noticed(self, sight: Sight, floor: Timestamp) -> Estimate {
        let (low, high) = self.bounds(sight, floor);
        let off = (high - low) / 2;
        self.estimate(low + off, off.max(self.from.saturating_sub(sight.now.0 as i64)))
    }

    /// The instant itself, but not after the observation.
    pub fn told(self, sight: Sight) -> Estimate {
        self.written(Sight { since: None, ..sight }, Timestamp::ZERO)
    }

    /// The least and the greatest instant that it can have been: within the span, not before
    /// `floor` and not after the observation, which outweighs clocks that disagree.
    fn bounds(self, sight: Sight, floor: Timestamp) -> (i64, i64) {
        let now = sight.now.0 as i64;
        let floor = (floor.0 as i64).min(now);
        let low = self.from.clamp(floor, now);
        (low, self.until.clamp(low, now))
    }

    fn estimate(self, at: i64, off: i64) -> Estimate {
        let precision = Nanos(off.max(0) as u64) + self.uncertainty;
        Estimate {
            at: clamped(at),
            precision: (precision > Nanos::ZERO).then_some(precision),
            stated: Some(self.from()),
        }
    }
}

impl Sight {
    /// Seen at `now`, by a watch that works.
    pub fn at(now: Timestamp) -> Self {
        Self { now, since: None }
    }

    /// The instant of something that states no time: the observation's, which may be late by the
    /// gap before it.
    pub fn unstated(self) -> Estimate {
        let precision = self.since.map(|since| self.now.since(since));
        Estimate { at: self.now, precision, stated: None }
    }
}

impl Estimate {
    /// The same, but not before `floor`.
    pub fn not_before(self, floor: Timestamp) -> Self {
        Self { at: self.at.max(floor), ..self }
    }

    /// The same, `span` later, and off by `more`.
    pub fn later(self, span: Nanos, more: Nanos) -> Self {
        let precision = self.precision.unwrap_or_default() + more;
        Self { at: self.at + span, precision: Some(precision), stated: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = SECOND as i64;

    fn sight(now: f64) -> Sight {
        Sight::at(Timestamp((now * 1e9) as u64))
    }

    fn second(at: i64) -> Stated {
        Stated { from: at * S, until: (at + 1) * S, uncertainty: Nanos::ZERO }
    }

    #[test]
    fn a_write_is_placed_where_its_second_and_its_observation_agree() {
        // stated second, observed, floor -> at, precision
        let rows = [
            ("within the second", 10, 10.4, 0.0, 10.4, Some(0.4)),
            ("early in the second", 10, 10.1, 0.0, 10.1, Some(0.1)),
            ("just after its end", 10, 11.2, 0.0, 11.0, Some(1.0)),
            ("long after it", 10, 14.0, 0.0, 10.5, Some(0.5)),
            ("long after it, and not before a floor", 10, 14.0, 10.6, 10.8, Some(0.2)),
            ("the cluster's clock is ahead", 10, 9.0, 0.0, 9.0, Some(1.0)),
            ("the cluster's clock is behind a floor", 10, 14.0, 12.0, 12.0, None),
            ("before the run", -5, 0.2, 0.0, 0.0, None),
        ];
        for (case, stated, now, floor, at, precision) in rows {
            let floor = Timestamp((floor * 1e9) as u64);
            let estimate = second(stated).written(sight(now), floor);
            assert!((estimate.at.as_secs_f64() - at).abs() < 1e-6, "{case}: {estimate:?}");
            let off = estimate.precision.map(Nanos::as_secs_f64);
            assert!(
                off.unwrap_or(0.0) - precision.unwrap_or(0.0) < 1e-6
                    && off.is_some() == precision.is_some(),
                "{case}: {estimate:?}"
            );
        }
    }

    #[test]
    fn after_a_gap_the_whole_second_is_in_doubt() {
        let sight = Sight { now: Timestamp(10_900_000_000), since: Some(Timestamp(3)) };
        let estimate = second(10).written(sight, Timestamp::ZERO);
        assert_eq!(estimate.precision, Some(Nanos::from_millis(900)));
        assert_eq!(sight.unstated().precision, Some(Nanos(10_899_999_997)));
    }

    #[test]
    fn what_a_node_noticed_is_in_the_middle_of_when_it_can_have_been() {
        let early = second(10).noticed(sight(10.5), Timestamp::ZERO);
        assert_eq!((early.at.0, early.precision), (10_250_000_000, Some(Nanos::from_millis(250))));
        let late = second(10).noticed(sight(11.5), Timestamp(10_600_000_000));
        assert_eq!((late.at.0, late.precision), (10_800_000_000, Some(Nanos::from_millis(200))));
    }

    #[test]
    fn each_machine_has_its_own_clock() {
        let server = Offset { ahead_ns: 2 * S, uncertainty: Nanos::from_millis(3) };
        let mut clocks = Clocks::new(Anchor { zero_wall_ns: 100 * S, server });
        clocks.set_node("a", Offset { ahead_ns: -S, uncertainty: Nanos::ZERO });
        let time = Time(jiff::Timestamp::from_second(110).expect("in range"));
        assert_eq!(clocks.second(&time, Clock::Server).from_ns(), 8 * S);
        assert_eq!(clocks.second(&time, Clock::Node(Some("a"))).from_ns(), 11 * S);
        assert_eq!(clocks.second(&time, Clock::Node(Some("b"))).from_ns(), 8 * S);
        let estimate = clocks.second(&time, Clock::Server).written(sight(8.1), Timestamp::ZERO);
        assert_eq!(estimate.precision, Some(Nanos::from_millis(103)));
    }
}
