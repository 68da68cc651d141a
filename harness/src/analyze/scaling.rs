//! Time to scale: how long each scale-up by the autoscaler took, and where the time went.
//!
//! A scale-up is a chain of instants; the time from each to the next is a [`Stage`].
//!
//! 1. *load*: the offered load rises, at the begin of a phase of the traffic that is higher than
//!    what was before it
//! 2. *demand*: the first reading since the decision before, and without a break, of a metric
//!    above its target by more than the tolerance: the autoscaler's, or one of the metrics API
//!    that it had not looked at yet
//! 3. *decision*: the autoscaler changed `spec.replicas`
//! 4. *placed*: the last of the new pods is made and has a node
//! 5. *started*, 6. *ready*: the last of them runs, and is ready
//! 7. *serving*: the last of them can be chosen: in a client's or a proxy's view if the record
//!    knows views, else in the EndpointSlices
//!
//! The *time to scale* is the time from demand to serving; from the decision if no reading is
//! known. What the reading was behind the load is a stage of its own and is not in that sum,
//! because a ramp has no instant at which it asks for more.
//!
//! New pods are laid to the decision before them, in order of creation, as many as it asked for;
//! pods that went before they served are left out. "The last of them" is taken for each instant on
//! its own, so that the stages add up.

mod demand;
mod downs;
mod starts;
#[cfg(test)]
mod tests;

use highwater_model::{
    event::Event,
    time::{Nanos, SECOND, Timestamp},
};

use demand::Demands;
pub use downs::{ScaleDown, scale_downs, slowest_down};
pub use starts::{PodStart, PodStarts, StartStage, pod_starts, summarize};

use super::autoscaler::{Autoscaling, Decision};
use crate::record::RunRecord;

/// A part of the time that a scale-up takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// From the load's rise to the first reading that asks for more.
    MetricLag,
    /// From that reading to the decision.
    Decision,
    /// From the decision until the last new pod has a node (is made, where nodes are not told).
    Scheduling,
    /// Until the last container runs.
    Start,
    /// Until the last pod is ready.
    Readiness,
    /// Until the last pod can be chosen.
    Endpoint,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::MetricLag,
        Self::Decision,
        Self::Scheduling,
        Self::Start,
        Self::Readiness,
        Self::Endpoint,
    ];
    /// Those of a pod by itself.
    pub const OF_POD: [Self; 4] = [Self::Scheduling, Self::Start, Self::Readiness, Self::Endpoint];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MetricLag => "metric lag",
            Self::Decision => "decision",
            Self::Scheduling => "scheduling",
            Self::Start => "start",
            Self::Readiness => "readiness",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Instants that are known no better than this are told apart in reports.
pub const COARSE: Nanos = Nanos(SECOND);

/// An instant, and how far off it may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// How far off; zero if exact to the clock.
    pub precision: Nanos,
}

impl Moment {
    /// That of an event.
    pub fn of(event: &Event) -> Self {
        Self { at: event.at, precision: event.precision.unwrap_or_default() }
    }
}

/// How long something took, and how far off that may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// How long.
    pub span: Nanos,
    /// How far off: the sum of what both ends may be off.
    pub precision: Nanos,
}

impl Took {
    /// Whether it may be off by so much of itself that a reader must know.
    pub fn is_uncertain(&self) -> bool {
        self.precision.0 > self.span.0 / 10
    }

    fn between(from: Moment, to: Moment) -> Self {
        Self { span: to.at.since(from.at), precision: from.precision + to.precision }
    }
}

fn took(from: Option<Moment>, to: Option<Moment>) -> Option<Took> {
    Some(Took::between(from?, to?))
}

/// Whether a scale-up came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All its pods took traffic.
    Complete,
    /// Some of its pods did not, by the end of the run.
    Incomplete,
    /// Its pods were taken away before they could.
    Abandoned,
}

/// One scale-up.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleUp {
    /// When it was decided.
    pub at: Timestamp,
    /// Replicas before.
    pub from: u32,
    /// Replicas wanted.
    pub to: u32,
    /// When the load rose, if that is known.
    pub load: Option<Timestamp>,
    /// The first reading that asked for more, if there is one.
    pub demand: Option<Timestamp>,
    /// What each stage took, in the order of [`Stage::ALL`]; `None` if unknown.
    pub stages: [Option<Took>; 6],
    /// The pods, in order of creation.
    pub pods: Vec<PodStart>,
    /// Whether it came to its end.
    pub progress: Progress,
    /// From demand (or decision) until the last pod took traffic; if it is not complete, until
    /// the end of the run.
    pub took: Took,
}

/// How the slowest scale-up went, as the objective `time-to-scale` judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowest {
    /// There was none.
    None,
    /// So long.
    Exactly(Nanos),
    /// At least so long: it was not complete at the end of the run.
    AtLeast(Nanos),
}

/// The scale-up that the others were not slower than; one that is not complete is slower than
/// those that are, and abandoned ones are not counted.
pub fn slowest_of(ups: &[ScaleUp]) -> Option<&ScaleUp> {
    let counted = ups.iter().filter(|up| up.progress != Progress::Abandoned);
    counted.max_by_key(|up| (up.progress == Progress::Incomplete, up.took.span))
}

/// The slowest of some scale-ups; abandoned ones are not counted.
pub fn slowest<'a>(ups: impl IntoIterator<Item = &'a ScaleUp>) -> Slowest {
    let mut slowest = Slowest::None;
    for up in ups {
        slowest = match (up.progress, slowest) {
            (Progress::Abandoned, known) => known,
            (Progress::Incomplete, Slowest::None) => Slowest::AtLeast(up.took.span),
            (Progress::Complete, Slowest::None) => Slowest::Exactly(up.took.span),
            (Progress::Complete, Slowest::Exactly(ns)) => Slowest::Exactly(ns.max(up.took.span)),
            (_, Slowest::AtLeast(ns) | Slowest::Exactly(ns)) => {
                Slowest::AtLeast(ns.max(up.took.span))
            }
        };
    }
    slowest
}

/// The scale-ups of a run, in order.
pub fn scale_ups(
    record: &RunRecord,
    autoscaling: &Autoscaling,
    starts: &[PodStart],
    traffic_start: Timestamp,
) -> Vec<ScaleUp> {
    let demands = Demands::of(record, autoscaling);
    let rises = demand::rises(record, traffic_start);
    let decisions = &autoscaling.decisions;
    let mut next_pod = 0;
    let mut ups = Vec::new();
    for (index, decision) in decisions.iter().enumerate() {
        if decision.to <= decision.from {
            continue;
        }
        let before = index.checked_sub(1).map(|before| decisions[before].at);
        let demand = demands.before(decision.at, before);
        let asked = demand.map_or(decision.at, |demand| demand.at);
        let load = rises.iter().copied().rfind(|rise| *rise <= asked);
        let load = load.filter(|rise| before.is_none_or(|before| *rise > before));
        let until = decisions.get(index + 1).map_or(Timestamp::MAX, |next| next.at);
        let pods = pods_of(decision, until, starts, &mut next_pod);
        let chain = Chain { load, demand, decision };
        ups.push(chain.scale_up(pods, record.end()));
    }
    ups
}

/// The next pods that are made after a decision and before the following one, as many as it
/// asked for at most.
fn pods_of(
    decision: &Decision,
    until: Timestamp,
    starts: &[PodStart],
    next: &mut usize,
) -> Vec<PodStart> {
    let wanted = (decision.to - decision.from) as usize;
    let mut pods = Vec::new();
    while let Some(start) = starts.get(*next).filter(|start| start.created.at < until) {
        // Both instants may be whole seconds.
        let slack = decision.precision + start.created.precision;
        if start.created.at + slack >= decision.at {
            if pods.len() == wanted {
                break;
            }
            pods.push(start.clone());
        }
        *next += 1;
    }
    pods
}

/// What comes before the pods.
struct Chain<'a> {
    load: Option<Timestamp>,
    demand: Option<Moment>,
    decision: &'a Decision,
}

impl Chain<'_> {
    fn scale_up(&self, pods: Vec<PodStart>, end: Timestamp) -> ScaleUp {
        let decision = self.decision;
        let decided = Moment { at: decision.at, precision: decision.precision };
        let wanted = (decision.to - decision.from) as usize;
        let staying: Vec<&PodStart> = pods.iter().filter(|pod| !pod.is_abandoned()).collect();
        let abandoned = pods.len() - staying.len();
        let is_whole = staying.len() + abandoned >= wanted;
        let progress = if is_whole && staying.is_empty() {
            Progress::Abandoned
        } else if is_whole && staying.iter().all(|pod| pod.serving.is_some()) {
            Progress::Complete
        } else {
            Progress::Incomplete
        };
        let knows_nodes = staying.iter().any(|pod| pod.scheduled.is_some());
        let last = |of: &dyn Fn(&PodStart) -> Option<Moment>| {
            let known: Option<Vec<Moment>> = staying.iter().map(|pod| of(pod)).collect();
            known.filter(|_| is_whole)?.into_iter().max()
        };
        let instants = [
            self.load.map(|at| Moment { at, precision: Nanos::ZERO }),
            self.demand,
            Some(decided),
            last(&|pod| pod.placed(knows_nodes)),
            last(&|pod| pod.started),
            last(&|pod| pod.ready),
            last(&|pod| pod.serving),
        ];
        let asked = self.demand.unwrap_or(decided);
        let served = instants[6].filter(|_| progress == Progress::Complete);
        let ended = served.unwrap_or(Moment { at: end, precision: Nanos::ZERO });
        ScaleUp {
            at: decision.at,
            from: decision.from,
            to: decision.to,
            load: self.load,
            demand: self.demand.map(|demand| demand.at),
            stages: stages(instants),
            progress,
            took: Took::between(asked, ended),
            pods,
        }
    }
}

/// The times between instants. Coarse clocks may put one before the one that it follows: it
/// counts as at the same time then, so that the stages add up.
fn stages(instants: [Option<Moment>; 7]) -> [Option<Took>; 6] {
    let mut latest = Timestamp::ZERO;
    let ordered = instants.map(|moment| {
        moment.map(|moment| {
            latest = latest.max(moment.at);
            Moment { at: latest, ..moment }
        })
    });
    std::array::from_fn(|index| took(ordered[index], ordered[index + 1]))
}
