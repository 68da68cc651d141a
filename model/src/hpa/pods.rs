//! Which pods count for a metric, and what is assumed of the others.
//!
//! *Source*: `replica_calculator.go`, `groupPods` and the assumptions of `GetResourceReplicas` and
//! `calcPlainMetricReplicas`.

use alloc::vec::Vec;

use super::{
    calculator::Rules,
    world::{Pod, PodPhase, Readiness, Sample},
};

/// What is summed up of each pod: its number and its milli-value.
pub(super) type Values = Vec<(u32, i64)>;

/// What a pod is to a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its sample counts.
    Counted,
    /// It has none: assumed to use nothing where the others ask for more, and all that it may where
    /// they ask for less.
    Missing,
    /// It has not settled: assumed to use nothing where the others ask for more, else left out.
    Unready(Unready),
    /// It is left out.
    Ignored(Ignored),
}

/// Why a pod has not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    /// Its phase is Pending.
    Pending,
    /// It has no Ready condition yet, or no start.
    Unknown,
    /// It is not ready, within the CPU initialization period.
    NotReady,
    /// Its sample began before it got ready, within the CPU initialization period.
    SampledBeforeReady,
    /// It is not ready and has not been since its first moments.
    NeverReady,
}

/// Why a pod is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It is being deleted.
    Deleted,
    /// Its phase is Failed.
    Failed,
}

/// The pods by what they are to a metric.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) ready: u32,
    pub(super) unready: Vec<u32>,
    pub(super) missing: Vec<u32>,
    pub(super) ignored: Vec<u32>,
}

impl Standing {
    /// What `pod` is, by its sample. The first rule that fits holds.
    pub(super) fn of(rules: &Rules<'_>, pod: &Pod<'_>, sample: Option<&Sample>) -> Self {
        if pod.is_deleted {
            return Self::Ignored(Ignored::Deleted);
        }
        match pod.phase {
            PodPhase::Failed => return Self::Ignored(Ignored::Failed),
            PodPhase::Pending => return Self::Unready(Unready::Pending),
            PodPhase::Running | PodPhase::Succeeded | PodPhase::Unknown => {}
        }
        let Some(sample) = sample else { return Self::Missing };
        if !rules.is_cpu {
            return Self::Counted;
        }
        unready(rules, pod, sample).map_or(Self::Counted, Self::Unready)
    }
}

/// Why a CPU sample is of a pod that has not settled; `None` if it has.
fn unready(rules: &Rules<'_>, pod: &Pod<'_>, sample: &Sample) -> Option<Unready> {
    let (Some((readiness, since)), Some(started)) = (pod.ready, pod.started) else {
        return Some(Unready::Unknown);
    };
    let is_false = readiness == Readiness::NotReady;
    if started.plus(rules.settings.cpu_initialization_period) > rules.now {
        if is_false {
            return Some(Unready::NotReady);
        }
        return (sample.at < since.plus(sample.window)).then_some(Unready::SampledBeforeReady);
    }
    let is_never = started.plus(rules.settings.initial_readiness_delay) > since;
    (is_false && is_never).then_some(Unready::NeverReady)
}

impl Groups {
    pub(super) fn sort(rules: &Rules<'_>, pods: &[Pod<'_>], samples: &[Sample]) -> Self {
        let mut groups = Self::default();
        for pod in pods {
            let sample = samples.iter().find(|sample| sample.pod == pod.id);
            match Standing::of(rules, pod, sample) {
                Standing::Counted => groups.ready += 1,
                Standing::Missing => groups.missing.push(pod.id),
                Standing::Unready(_) => groups.unready.push(pod.id),
                Standing::Ignored(_) => groups.ignored.push(pod.id),
            }
        }
        groups
    }

    pub(super) fn need_assumptions(&self, ratio: f64) -> bool {
        !self.missing.is_empty() || (!self.unready.is_empty() && ratio > 1.0)
    }

    /// Adds what missing and unready pods are assumed to use: a scale-down must not come of what is
    /// not known, nor a scale-up.
    pub(super) fn assume(&self, ratio: f64, values: &mut Values, full: impl Fn(u32) -> i64) {
        if ratio < 1.0 {
            values.extend(self.missing.iter().map(|&pod| (pod, full(pod))));
        } else if ratio > 1.0 {
            values.extend(self.missing.iter().chain(&self.unready).map(|&pod| (pod, 0)));
        }
    }

    /// Adds the missing pods as using nothing.
    pub(super) fn assume_nothing_of_missing(&self, values: &mut Values) {
        values.extend(self.missing.iter().map(|&pod| (pod, 0)));
    }
}
