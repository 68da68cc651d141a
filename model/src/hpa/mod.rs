//! The HorizontalPodAutoscaler of `autoscaling/v2`, decision for decision as Kubernetes 1.35 has it.
//!
//! [`Hpa::sync`] is one pass of the controller: it reads the scale, the pods and the metrics APIs
//! from a [`World`], writes the scale through it, and returns what it did and why.
//!
//! 1. what a pass reads, and how the metrics APIs answer: [`world`]
//! 2. which pods count, and how many replicas one metric asks for: `pods`, `calculator`, `totals`;
//!    for people who ask, pod by pod: `inspect`
//! 3. several metrics, of which the largest wins: `combine`
//! 4. stabilisation windows, rate policies, bounds: `normalize`, `behavior`
//! 5. conditions, events and errors, in the words that `kubectl describe hpa` shows: [`words`]
//! 6. a target at zero: `zero`; what older and newer releases do otherwise: `version`
//!
//! *Source*: kubernetes `pkg/controller/podautoscaler` (v1.35); `shared/facts/hpa-semantics.md`.
//! All values are thousandths in 64-bit integers, all ratios IEEE doubles, as upstream.

mod behavior;
mod calculator;
mod combine;
mod inspect;
mod normalize;
mod pods;
mod settings;
mod totals;
mod version;
pub mod words;
pub mod world;
mod zero;

use alloc::{string::String, vec::Vec};

pub use self::{
    behavior::{Behaviors, Rules},
    calculator::{Derivation, Shape, Tolerances},
    combine::Proposal,
    inspect::{Inspected, counts_for_totals},
    normalize::{Held, Limit, Normalized, Rate},
    pods::{Ignored, Standing, Unready},
    settings::{Identity, Settings},
    version::{Gates, UnknownVersion, Version},
    words::{Ambiguous, Condition, ConditionType, Failure, Note, Trouble},
    world::{Moment, Pod, PodPhase, Readiness, Requests, Sample, Scale, World},
};
use crate::spec::{
    Autoscaler, MetricSpec, MetricTarget, MetricType, Quantity, ResourceMetric, TargetType,
};

/// The utilisation that is aimed at where no metric is given, percent.
///
/// *Source*: `pkg/apis/autoscaling/types.go`, `DefaultCPUUtilization`.
const DEFAULT_CPU_UTILIZATION: u32 = 80;

/// An autoscaler with its memory: what it recommended and changed before.
#[derive(Clone, Debug)]
pub struct Hpa {
    identity: Identity,
    settings: Settings,
    min: u32,
    max: u32,
    metrics: Vec<MetricSpec>,
    behaviors: Option<Behaviors>,
    memory: normalize::Memory,
    status: Status,
}

/// The autoscaler's status, as it would stand in the API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// `status.currentReplicas`: the `spec.replicas` that the last pass saw.
    pub current: u32,
    /// `status.desiredReplicas`.
    pub desired: u32,
    /// When it last wrote the scale.
    pub last_scale: Option<Moment>,
    /// What it measured, in the order of its metrics; `None` for one that failed. Empty if the last
    /// pass measured nothing.
    pub metrics: Vec<Option<Reading>>,
    /// In the order in which they first appeared.
    pub conditions: Vec<Condition>,
}

/// A measured metric, as the status shows it. Milli-values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Percent of the requests.
    pub utilization: Option<i32>,
    /// Averaged over the pods.
    pub average: Option<i64>,
    /// In all.
    pub value: Option<i64>,
}

/// What one pass did.
#[derive(Clone, Debug, PartialEq)]
pub struct Sync {
    /// `spec.replicas` as it was; `None` if the scale could not be read.
    pub from: Option<u32>,
    /// `spec.replicas` as it was written; `None` if nothing was.
    pub to: Option<u32>,
    /// How the number came about; `None` if no metric was looked at.
    pub why: Option<Why>,
    /// Events, in order.
    pub notes: Vec<Note>,
    /// What went wrong, as the controller's log would have it.
    pub trouble: Option<Trouble>,
}

/// How a number came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// What each metric asked for, in their order.
    pub proposals: Vec<Result<Proposal, Failure>>,
    /// Which of them won.
    pub winner: Option<usize>,
    /// What became of the winner's number; `None` if the metrics gave none.
    pub normalized: Option<Normalized>,
}

impl Hpa {
    /// An autoscaler that has just been seen for the first time.
    pub fn new(identity: Identity, spec: &Autoscaler, settings: Settings) -> Self {
        let mut hpa = Self {
            identity,
            settings,
            min: 0,
            max: 0,
            metrics: Vec::new(),
            behaviors: None,
            memory: normalize::Memory::default(),
            status: Status::default(),
        };
        hpa.change(spec);
        hpa
    }

    /// A change of the spec. Its memory stays.
    pub fn change(&mut self, spec: &Autoscaler) {
        self.min = spec.min_replicas;
        self.max = spec.max_replicas;
        self.metrics = spec.metrics.clone();
        if self.metrics.is_empty() {
            self.metrics.push(default_metric());
        }
        self.behaviors = spec
            .behavior
            .as_ref()
            .map(|behavior| Behaviors::new(behavior, self.settings.downscale_stabilization));
    }

    /// As if it had been at work for long, and had neither recommended nor changed anything within
    /// any window. Otherwise what it finds at first sight counts as recommended.
    pub fn settle(&mut self) {
        self.memory = normalize::Memory::settled();
    }

    /// It recommended so many replicas then; in the order of time.
    pub fn recommended(&mut self, at: Moment, replicas: u32) {
        self.memory.recommended(at, replicas);
    }

    /// It changed the scale so then; in the order of time. Counts only with a behaviour.
    pub fn changed(&mut self, at: Moment, from: u32, to: u32) {
        if let Some(behaviors) = &self.behaviors {
            self.memory.store_event(behaviors, at, from, to);
        }
    }

    /// What of the behaviour holds; `None` without one.
    pub const fn behaviors(&self) -> Option<&Behaviors> {
        self.behaviors.as_ref()
    }

    /// The bounds: `minReplicas` and `maxReplicas`.
    pub const fn bounds(&self) -> (u32, u32) {
        (self.min, self.max)
    }

    /// What is measured.
    pub fn metrics(&self) -> &[MetricSpec] {
        &self.metrics
    }

    /// The status after the last pass.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// One pass.
    pub fn sync(&mut self, now: Moment, world: &mut dyn World) -> Sync {
        let mut pass = Pass { notes: Vec::new(), trouble: None };
        let scale = match world.scale() {
            Ok(scale) => scale,
            Err(error) => {
                self.set(Condition::new(false, words::Reason::FailedGetScale(error.clone())));
                pass.notes.push(Note::FailedGetScale(error.clone()));
                let reference = self.identity.reference();
                pass.trouble = Some(Trouble::Scale { reference, error });
                return pass.end(None, None, None);
            }
        };
        self.set(Condition::new(true, words::Reason::SucceededGetScale));
        self.memory.begin(scale.spec, now);
        let decided = self.decide(now, scale, world, &mut pass);
        self.carry_out(now, scale, decided, world, pass)
    }

    /// The number that is wanted.
    fn decide(
        &mut self,
        now: Moment,
        scale: Scale,
        world: &mut dyn World,
        pass: &mut Pass,
    ) -> Decided {
        if scale.spec == 0 && self.is_paused() {
            self.set(Condition::new(false, words::Reason::ScalingDisabled));
            if !self.settings.gates.scale_to_zero {
                self.forget_zero();
            }
            return Decided::Nothing;
        }
        if scale.spec > self.max {
            return Decided::Bound { to: self.max, because: words::Cause::AboveMax };
        }
        if scale.spec < self.min && scale.spec != 0 {
            return Decided::Bound { to: self.min, because: words::Cause::BelowMin };
        }
        let other = world.ambiguous();
        if let Some(all) = other.filter(|_| self.settings.kubernetes.refuses_ambiguity()) {
            self.set(Condition::new(false, words::Reason::AmbiguousSelector(all.clone())));
            pass.notes.push(Note::AmbiguousSelector(all.clone()));
            pass.notes.push(Note::Undecided(all.clone()));
            let reference = self.identity.reference();
            pass.trouble = Some(Trouble::Ambiguous { reference, all });
            return Decided::Refused;
        }
        let combined = combine::combine(self, now, scale, world, &mut pass.notes);
        self.set(combined.condition);
        let why = Why { proposals: combined.proposals, winner: combined.winner, normalized: None };
        let Some(proposal) = combined.replicas else {
            let invalid = combined.invalid.expect("without a number there is a failure");
            pass.notes.push(Note::FailedComputeMetricsReplicas(invalid.clone()));
            let reference = self.identity.reference();
            pass.trouble = Some(Trouble::Metrics { reference, invalid });
            return Decided::Failed { metrics: combined.readings, why };
        };
        if self.settings.kubernetes.tells_partial_failure() {
            pass.trouble = combined.invalid.map(Trouble::SomeMetrics);
        }
        let mut normalized = self.normalize(now, scale.spec, proposal);
        // From zero, where it went itself, to a minimum that was raised meanwhile.
        let is_below = scale.spec == 0 && normalized.to < self.min;
        normalized.to = if is_below { self.min } else { normalized.to };
        let because = if proposal > scale.spec {
            words::Cause::AboveTarget(combined.name)
        } else if proposal < scale.spec {
            words::Cause::BelowTarget
        } else if is_below {
            words::Cause::BelowMin
        } else {
            words::Cause::None
        };
        Decided::Measured {
            to: normalized.to,
            because,
            metrics: combined.readings,
            why,
            normalized,
        }
    }

    fn carry_out(
        &mut self,
        now: Moment,
        scale: Scale,
        decided: Decided,
        world: &mut dyn World,
        mut pass: Pass,
    ) -> Sync {
        let from = scale.spec;
        let (to, because, metrics, why) = match decided {
            Decided::Nothing => {
                self.tell(from, from, Vec::new());
                return pass.end(Some(from), None, None);
            }
            Decided::Refused => {
                let metrics = self.failed_metrics(Vec::new());
                self.tell(from, self.status.desired, metrics);
                return pass.end(Some(from), None, None);
            }
            Decided::Failed { metrics, why } => {
                let metrics = self.failed_metrics(metrics);
                self.tell(from, self.status.desired, metrics);
                return pass.end(Some(from), None, Some(why));
            }
            Decided::Bound { to, because } => (to, because, Vec::new(), None),
            Decided::Measured { to, because, metrics, mut why, normalized } => {
                why.normalized = Some(normalized);
                (to, because, metrics, Some(why))
            }
        };
        if to == from {
            self.tell(from, from, metrics);
            return pass.end(Some(from), None, why);
        }
        if let Err(error) = world.write(to) {
            self.set(Condition::new(false, words::Reason::FailedUpdateScale(error.clone())));
            pass.notes.push(Note::FailedRescale { to, because, error: error.clone() });
            let metrics = self.failed_metrics(metrics);
            self.tell(from, self.status.desired, metrics);
            let reference = self.identity.reference();
            pass.trouble = Some(Trouble::Rescale { reference, error });
            return pass.end(Some(from), None, why);
        }
        self.set(Condition::new(true, words::Reason::SucceededRescale(to)));
        pass.notes.push(Note::SuccessfulRescale { to, because });
        if let Some(behaviors) = &self.behaviors {
            self.memory.store_event(behaviors, now, from, to);
        }
        self.remember_zero(from, to);
        self.tell(from, to, metrics);
        self.status.last_scale = Some(now);
        pass.end(Some(from), Some(to), why)
    }

    /// What a pass that failed shows.
    fn failed_metrics(&mut self, metrics: Vec<Option<Reading>>) -> Vec<Option<Reading>> {
        if self.settings.kubernetes.shows_failed_metrics() {
            metrics
        } else {
            core::mem::take(&mut self.status.metrics)
        }
    }

    fn tell(&mut self, current: u32, desired: u32, metrics: Vec<Option<Reading>>) {
        self.status.current = current;
        self.status.desired = desired;
        self.status.metrics = metrics;
    }

    /// Sets a condition; one of each type.
    fn set(&mut self, condition: Condition) {
        let conditions = &mut self.status.conditions;
        match conditions.iter_mut().find(|known| known.kind() == condition.kind()) {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
    }
}

enum Decided {
    Nothing,
    /// Other autoscalers have the same pods.
    Refused,
    Bound {
        to: u32,
        because: words::Cause,
    },
    Failed {
        metrics: Vec<Option<Reading>>,
        why: Why,
    },
    Measured {
        to: u32,
        because: words::Cause,
        metrics: Vec<Option<Reading>>,
        why: Why,
        normalized: Normalized,
    },
}

/// What a pass tells.
struct Pass {
    notes: Vec<Note>,
    trouble: Option<Trouble>,
}

impl Pass {
    fn end(self, from: Option<u32>, to: Option<u32>, why: Option<Why>) -> Sync {
        Sync { from, to, why, notes: self.notes, trouble: self.trouble }
    }
}

/// What is measured where nothing is given.
fn default_metric() -> MetricSpec {
    let target = MetricTarget {
        kind: TargetType::Utilization,
        average_utilization: Some(DEFAULT_CPU_UTILIZATION),
        average_value: None,
        value: None,
    };
    MetricSpec {
        kind: MetricType::Resource,
        resource: Some(ResourceMetric { name: String::from("cpu"), target }),
        container_resource: None,
        pods: None,
        object: None,
        external: None,
    }
}

/// A target's milli-value; 0 where it is not given.
fn milli(quantity: Option<&Quantity>) -> Option<i64> {
    quantity.map(Quantity::milli)
}
