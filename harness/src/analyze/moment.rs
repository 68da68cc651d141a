//! When something happened, as exactly as the record knows.

use highwater_model::{
    event::{Event, EventKind},
    time::{Nanos, Timestamp},
};

/// What whole seconds, a working watch and a kubelet that is late leave open. What is known less
/// exactly happened while nothing was heard of the cluster, and proves nothing within its bounds.
///
/// *Source*: one second of the API's times, up to 1.5 s of a kubelet that sees a deletion and
/// tells of it (`backend/kube/observe/ending.rs`), and half a second to spare.
const KNOWN: Nanos = Nanos::from_secs(3);

/// An instant with its bounds: `earliest` ≤ `at` ≤ `latest`. All three agree where clocks are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The best guess.
    pub at: Timestamp,
    /// It was not before.
    pub earliest: Timestamp,
    /// It was not after.
    pub latest: Timestamp,
}

/// How events and failures of a run lie to each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Axis {
    /// How far the clocks may disagree that failures and events were read from.
    apart: Nanos,
}

impl Axis {
    /// That of a run: generators in pods have clocks of their own, whose offset to the harness's is
    /// known to some uncertainty only.
    pub fn of(events: &[Event]) -> Self {
        let uncertain = events.iter().filter_map(|event| match &event.kind {
            EventKind::GeneratorReady { uncertainty, .. } => Some(*uncertainty),
            _ => None,
        });
        Self { apart: uncertain.max().unwrap_or_default() }
    }

    /// When an event was, seen from failures: within its precision on both sides. What was only
    /// seen after a gap is bounded by that on the other; but for signals, which nobody sees: their
    /// instants are worked out.
    pub fn moment(self, event: &Event) -> Moment {
        let off = event.precision.unwrap_or_default() + self.apart;
        let at = event.at;
        let both = Moment { at, earliest: Timestamp(at.0.saturating_sub(off.0)), latest: at + off };
        let is_worked_out = matches!(event.kind, EventKind::SignalSent { .. });
        if both.is_vague() && !is_worked_out { Moment { latest: at, ..both } } else { both }
    }
}

impl Moment {
    /// An instant that is known exactly.
    pub const fn exact(at: Timestamp) -> Self {
        Self { at, earliest: at, latest: at }
    }

    /// Whether it may have been at `instant` or before.
    pub fn may_be_by(self, instant: Timestamp) -> bool {
        self.earliest <= instant
    }

    /// Whether it was at `instant` or before for sure.
    pub fn is_by(self, instant: Timestamp) -> bool {
        self.latest <= instant
    }

    /// Whether at `instant` nobody can say that it had happened: it is known to no more than a gap
    /// in which nothing was heard, and `instant` lies in it.
    pub fn is_vague_at(self, instant: Timestamp) -> bool {
        self.is_vague() && !self.is_by(instant)
    }

    /// Whether it is known to no more than a gap in which nothing was heard.
    pub fn is_vague(self) -> bool {
        self.latest.since(self.earliest) > KNOWN
    }

    /// The same, and not before `floor` may have been.
    pub fn not_before(self, floor: Self) -> Self {
        let earliest = self.earliest.max(floor.earliest);
        Self { at: self.at.max(earliest), earliest, latest: self.latest.max(earliest) }
    }

    /// The same, and not after `ceiling` may have been.
    pub fn not_after(self, ceiling: Self) -> Self {
        let latest = self.latest.min(ceiling.latest);
        Self { at: self.at.min(latest), earliest: self.earliest.min(latest), latest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(earliest: u64, at: u64, latest: u64) -> Moment {
        let second = |s| Timestamp(s * highwater_model::time::SECOND);
        Moment { at: second(at), earliest: second(earliest), latest: second(latest) }
    }

    #[test]
    fn what_must_come_after_or_before_another_is_bounded_by_it() {
        let term = moment(4, 10, 40);
        assert_eq!(term.not_before(moment(9, 10, 11)), moment(9, 10, 40));
        assert_eq!(term.not_before(moment(12, 13, 14)), moment(12, 12, 40));
        assert_eq!(term.not_after(moment(19, 20, 21)), moment(4, 10, 21));
        assert_eq!(term.not_after(moment(1, 2, 3)), moment(3, 3, 3));
        assert_eq!(Moment::exact(Timestamp(7)).not_before(Moment::exact(Timestamp(7))).at.0, 7);
    }

    #[test]
    fn clocks_of_generators_that_are_not_known_exactly_widen_every_moment() {
        let event = |kind| Event {
            at: Timestamp(50_000_000),
            seq: 0,
            source: highwater_model::event::Source::Load,
            precision: None,
            stated: None,
            kind,
        };
        let ready = |ms| {
            event(EventKind::GeneratorReady {
                generator: 0,
                pod: "g".into(),
                node: "n".into(),
                offset_ns: 5,
                uncertainty: Nanos::from_millis(ms),
            })
        };
        let ended = event(EventKind::TrafficEnded);
        assert_eq!(Axis::of(&[]).moment(&ended), Moment::exact(Timestamp(50_000_000)));
        let moment = Axis::of(&[ready(1), ready(4), ready(2)]).moment(&ended);
        assert_eq!((moment.earliest.0, moment.latest.0), (46_000_000, 54_000_000));
    }

    #[test]
    fn only_a_gap_is_vague_and_only_within_its_bounds() {
        let second = |s| Timestamp(s * highwater_model::time::SECOND);
        assert!(!moment(9, 10, 12).is_vague_at(second(11)), "the second of an API");
        let gap = moment(0, 30, 60);
        assert!(gap.is_vague_at(second(59)) && gap.may_be_by(second(0)));
        assert!(!gap.is_vague_at(second(60)) && gap.is_by(second(60)));
    }
}
