//! What a pass of the autoscaler reads and writes.

use alloc::{string::String, vec::Vec};

use super::words::Ambiguous;
use crate::{
    spec::{MetricIdentifier, ObjectReference},
    time::{Nanos, Timestamp},
};

/// An instant that may lie before the run: nanoseconds from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// So much later; saturates.
    pub const fn plus(self, span: Nanos) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }

    /// So much earlier; saturates.
    pub const fn minus(self, span: Nanos) -> Self {
        Self(self.0.saturating_sub_unsigned(span.0))
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(i64::try_from(at.0).unwrap_or(i64::MAX))
    }
}

/// The scale of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`.
    pub spec: u32,
    /// `status.replicas`.
    pub status: u32,
}

/// A pod that the target's selector matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod<'a> {
    /// Its number: pods and samples go by it.
    pub id: u32,
    /// Its name, for messages.
    pub name: &'a str,
    /// `status.phase`.
    pub phase: PodPhase,
    /// Whether it is being deleted.
    pub is_deleted: bool,
    /// Its Ready condition, and since when it is as it is.
    pub ready: Option<(Readiness, Moment)>,
    /// `status.startTime`.
    pub started: Option<Moment>,
    /// What its containers request.
    pub requests: &'a [Requests],
    /// What it requests as a whole, where its own spec says so: that wins over its containers.
    pub whole: Option<&'a Requests>,
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Not all of its containers run yet.
    Pending,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
    /// Its node is not heard of.
    Unknown,
}

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// `True`.
    Ready,
    /// `False`.
    NotReady,
    /// `Unknown`.
    Unknown,
}

/// What a container requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// The container.
    pub container: String,
    /// Resources and milli-values.
    pub resources: Vec<(String, i64)>,
}

impl Requests {
    pub(super) fn of(&self, resource: &str) -> Option<i64> {
        let found = self.resources.iter().find(|(name, _)| name == resource);
        found.map(|(_, milli)| *milli)
    }
}

/// What a metrics API says of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The pod.
    pub pod: u32,
    /// Milli-value.
    pub milli: i64,
    /// The end of the time that it is averaged over.
    pub at: Moment,
    /// That time.
    pub window: Nanos,
}

/// Everything outside of the autoscaler. Errors are in the API's own words.
pub trait World {
    /// Reads the scale.
    ///
    /// # Errors
    /// Why it could not be read.
    fn scale(&mut self) -> Result<Scale, String>;

    /// Writes `spec.replicas`.
    ///
    /// # Errors
    /// Why it could not be written.
    fn write(&mut self, replicas: u32) -> Result<(), String>;

    /// The pods that the target's selector matches.
    fn pods(&self) -> &[Pod<'_>];

    /// Which autoscalers match a same pod, if there are others beside this one.
    fn ambiguous(&self) -> Option<Ambiguous> {
        None
    }

    /// Appends what `metrics.k8s.io` says of each pod's `resource`: of one `container`, or of all of
    /// a pod's together. Returns how many pods the API spoke of, with or without such a value; one
    /// pod gives at most one sample.
    ///
    /// # Errors
    /// Why the API did not answer.
    fn resource(
        &self,
        resource: &str,
        container: Option<&str>,
        into: &mut Vec<Sample>,
    ) -> Result<usize, String>;

    /// Appends what `custom.metrics.k8s.io` says of each pod. Returns of how many.
    ///
    /// # Errors
    /// Why the API did not answer.
    fn pods_metric(
        &self,
        metric: &MetricIdentifier,
        into: &mut Vec<Sample>,
    ) -> Result<usize, String>;

    /// What `custom.metrics.k8s.io` says of an object, milli-value.
    ///
    /// # Errors
    /// Why the API did not answer.
    fn object(&self, metric: &MetricIdentifier, object: &ObjectReference) -> Result<i64, String>;

    /// What `external.metrics.k8s.io` says: milli-values of all series.
    ///
    /// # Errors
    /// Why the API did not answer.
    fn external(&self, metric: &MetricIdentifier) -> Result<Vec<i64>, String>;
}
