//! From what a cluster shows to the events of a run: pure, without client, clock or runtime.
//!
//! The [`Observer`] is told objects, and sets of them after a gap, each with the instant of its
//! observation, and appends [`Observation`]s, which the driver numbers and records:
//!
//! 1. stated times become instants of the run's axis with a precision: [`time`]
//! 2. each pod's life, from its conditions and container states: [`pod`]; how it ends: [`ending`]
//! 3. the Deployment and its ReplicaSets: [`workload`]; endpoints: [`endpoints`]
//! 4. the autoscaler's status and its decisions: [`autoscaler`]
//! 5. Events, nodes, resource metrics, the target's own lines: [`cluster_event`], [`node`],
//!    [`metrics`], [`mod@line`]
//!
//! What needs word from two sides (who deleted a pod, whether a kill was a probe's) waits a bounded
//! time for both: [`Observer::next_deadline`] and [`Observer::fire`]. Observations may therefore be
//! appended later than their `at`; a record is ordered by `at` when it is read.

pub mod autoscaler;
pub mod cluster_event;
pub mod ending;
pub mod endpoints;
pub mod line;
pub mod metrics;
pub mod news;
pub mod node;
pub mod pod;
pub mod quantity;
pub mod state;
pub mod time;
pub mod workload;

mod container;
mod observer;

#[cfg(test)]
mod tests;

use highwater_model::{
    event::{Event, EventKind, Source},
    time::{Nanos, Timestamp},
};

pub use news::{News, Seen, Watched};
pub use observer::Observer;

use time::{Clocks, Estimate, Sight, Stated};

/// What is observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The Deployment's name.
    pub deployment: String,
    /// The Service's name.
    pub service: String,
    /// The HorizontalPodAutoscaler's name, if there is one.
    pub autoscaler: Option<String>,
    /// The container that serves. If not given: the one that the pod's annotation
    /// `kubectl.kubernetes.io/default-container` names, else its first.
    pub container: Option<String>,
    /// The port that it serves on; the container's first if not given.
    pub port: Option<u16>,
    /// Whether the target tells of its own life in lines that are followed (the bundled one).
    pub tells: bool,
}

/// An event that was observed; it lacks its number only.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When it happened.
    pub at: Timestamp,
    /// Who says so.
    pub source: Source,
    /// How far off `at` may be.
    pub precision: Option<Nanos>,
    /// The time that the object itself gives.
    pub stated: Option<Timestamp>,
    /// What happened.
    pub kind: EventKind,
}

impl Observation {
    /// The event, with its number.
    pub fn event(self, seq: u64) -> Event {
        let Self { at, source, precision, stated, kind } = self;
        Event { at, seq, source, precision, stated, kind }
    }
}

/// Where observations are written down.
struct Scribe<'a> {
    clocks: &'a Clocks,
    sight: Sight,
    out: &'a mut Vec<Observation>,
}

impl Scribe<'_> {
    fn now(&self) -> Timestamp {
        self.sight.now
    }

    /// Tells something that happened at `estimate`.
    fn at(&mut self, estimate: Estimate, source: Source, kind: EventKind) {
        let Estimate { at, precision, stated } = estimate;
        self.out.push(Observation { at, source, precision, stated, kind });
    }

    /// Tells something that states no time.
    fn unstated(&mut self, source: Source, kind: EventKind) {
        self.at(self.sight.unstated(), source, kind);
    }

    /// The instant of a write at a stated time; the observation's if it states none.
    fn written(&self, stated: Option<Stated>, floor: Timestamp) -> Estimate {
        match stated {
            Some(stated) => stated.written(self.sight, floor),
            None => self.sight.unstated().not_before(floor),
        }
    }
}
