//! How many replicas one metric of the pods asks for.
//!
//! *Source*: `replica_calculator.go`: `GetResourceReplicas`, `calcPlainMetricReplicas`, `groupPods`,
//! `calculateRequests`; `metrics/utilization.go`.

use alloc::{string::ToString as _, vec::Vec};

use super::{
    settings::Settings,
    words::Obstacle,
    world::{Moment, Pod, PodPhase, Readiness, Sample},
};

/// How far a ratio may be from 1 before anything is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerances {
    pub(super) up: f64,
    pub(super) down: f64,
}

impl Tolerances {
    /// Both ends inclusive; NaN is outside.
    pub(super) fn are_met_by(self, ratio: f64) -> bool {
        (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
    }
}

/// How a metric's number came about.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Derivation {
    /// What was measured: percent of the requests, or a milli-value.
    pub measured: i64,
    /// What is aimed at, in the same unit.
    pub target: i64,
    /// `measured / target`.
    pub ratio: f64,
    /// The ratio again, with the missing and unready pods assumed; `None` if there was no need.
    pub adjusted: Option<f64>,
    /// The pods that the ratio is multiplied by; `None` if it is by none.
    pub pods: Option<u32>,
    /// Pods with a sample that counts.
    pub ready: u32,
    /// Pods that are not ready yet, or whose sample is too young.
    pub unready: u32,
    /// Pods without a sample.
    pub missing: u32,
    /// Pods that are being deleted or failed.
    pub ignored: u32,
    /// What the number is.
    pub shape: Shape,
}

/// What a metric's number is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The ratio times the pods, rounded up.
    #[default]
    Computed,
    /// As many as there are: the ratio is within tolerance.
    WithinTolerance,
    /// As many as there are: the assumed pods would turn the direction.
    Turned,
    /// As many as there are: the rounded number would go the other way.
    Backwards,
}

/// The rules of one metric.
pub(super) struct Rules<'a> {
    pub(super) settings: &'a Settings,
    pub(super) tolerances: Tolerances,
    /// `spec.replicas`.
    pub(super) replicas: u32,
    /// Readiness matters for CPU only.
    pub(super) is_cpu: bool,
    pub(super) now: Moment,
}

/// A number, and how it came about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    pub(super) replicas: i32,
    /// Percent of the requests, where that is what counts.
    pub(super) utilization: Option<i32>,
    /// Averaged over the pods, milli-value.
    pub(super) average: i64,
    pub(super) derivation: Derivation,
}

/// The pods by what they are to a metric.
#[derive(Debug, Default)]
struct Groups {
    ready: u32,
    unready: Vec<u32>,
    missing: Vec<u32>,
    ignored: Vec<u32>,
}

/// What is summed up of each pod: its number and its milli-value.
type Values = Vec<(u32, i64)>;

/// How many replicas a percentage of the requests asks for.
pub(super) fn by_utilization(
    rules: &Rules<'_>,
    target: u32,
    pods: &[Pod<'_>],
    samples: &[Sample],
    resource: &str,
    container: Option<&str>,
) -> Result<Number, Obstacle> {
    let (groups, mut values) = prepare(rules, pods, samples)?;
    let requests = requests(pods, resource, container)?;
    let target_share = f64::from(target);
    let (percent, average) = utilization(&values, &requests)?;
    let ratio = f64::from(percent) / target_share;
    let mut derivation = groups.derive(i64::from(percent), i64::from(target), ratio);
    let number =
        |replicas, derivation| Number { replicas, utilization: Some(percent), average, derivation };
    if !groups.need_assumptions(ratio) {
        let replicas = rules.plain(&mut derivation);
        return Ok(number(replicas, derivation));
    }
    let of_request = i64::from(target.max(100));
    groups.assume(ratio, &mut values, |pod| {
        request_of(&requests, pod).unwrap_or(0).saturating_mul(of_request) / 100
    });
    let (percent_then, _) = utilization(&values, &requests)?;
    let replicas =
        rules.adjusted(&mut derivation, f64::from(percent_then) / target_share, values.len());
    Ok(number(replicas, derivation))
}

/// How many replicas a value per pod asks for.
pub(super) fn by_value(
    rules: &Rules<'_>,
    target: i64,
    pods: &[Pod<'_>],
    samples: &[Sample],
) -> Result<Number, Obstacle> {
    let (groups, mut values) = prepare(rules, pods, samples)?;
    let average = mean(&values);
    let ratio = average as f64 / target as f64;
    let mut derivation = groups.derive(average, target, ratio);
    let number = |replicas, derivation| Number { replicas, utilization: None, average, derivation };
    if !groups.need_assumptions(ratio) {
        let replicas = rules.plain(&mut derivation);
        return Ok(number(replicas, derivation));
    }
    groups.assume(ratio, &mut values, |_| target);
    let then = mean(&values) as f64 / target as f64;
    let replicas = rules.adjusted(&mut derivation, then, values.len());
    Ok(number(replicas, derivation))
}

/// Pods that are Running and ready.
pub(super) fn ready_pods(pods: &[Pod<'_>]) -> Result<u32, Obstacle> {
    if pods.is_empty() {
        return Err(Obstacle::NoPods);
    }
    let is_ready = |pod: &&Pod<'_>| {
        pod.phase == PodPhase::Running && matches!(pod.ready, Some((Readiness::Ready, _)))
    };
    Ok(pods.iter().filter(is_ready).count() as u32)
}

/// A double as a replica count. What no 32 bits hold becomes the least number, as on the x86-64
/// that control planes run on (on arm64 it would be the nearest).
pub(super) fn ceil(number: f64) -> i32 {
    let whole = libm::ceil(number);
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&whole) {
        whole as i32
    } else {
        i32::MIN
    }
}

/// The same where upstream itself stops at the greatest number.
pub(super) fn ceil_saturating(number: f64) -> i32 {
    if number > f64::from(i32::MAX) { i32::MAX } else { ceil(number) }
}

impl Rules<'_> {
    /// Without assumptions.
    fn plain(&self, derivation: &mut Derivation) -> i32 {
        if self.tolerances.are_met_by(derivation.ratio) {
            derivation.shape = Shape::WithinTolerance;
            return self.replicas as i32;
        }
        derivation.pods = Some(derivation.ready);
        ceil(derivation.ratio * f64::from(derivation.ready))
    }

    /// With the missing and unready pods assumed.
    fn adjusted(&self, derivation: &mut Derivation, ratio: f64, pods: usize) -> i32 {
        let (before, replicas) = (derivation.ratio, self.replicas as i32);
        derivation.adjusted = Some(ratio);
        if self.tolerances.are_met_by(ratio) {
            derivation.shape = Shape::WithinTolerance;
            return replicas;
        }
        if (before < 1.0 && ratio > 1.0) || (before > 1.0 && ratio < 1.0) {
            derivation.shape = Shape::Turned;
            return replicas;
        }
        derivation.pods = Some(pods as u32);
        let number = ceil(ratio * pods as f64);
        if (ratio < 1.0 && number > replicas) || (ratio > 1.0 && number < replicas) {
            derivation.shape = Shape::Backwards;
            return replicas;
        }
        number
    }

    /// Whether a CPU sample is of a pod that has not settled.
    fn is_unready(&self, pod: &Pod<'_>, sample: &Sample) -> bool {
        let (Some((readiness, since)), Some(started)) = (pod.ready, pod.started) else {
            return true;
        };
        let is_false = readiness == Readiness::NotReady;
        if started.plus(self.settings.cpu_initialization_period) > self.now {
            is_false || sample.at < since.plus(sample.window)
        } else {
            is_false && started.plus(self.settings.initial_readiness_delay) > since
        }
    }

    fn sort(&self, pods: &[Pod<'_>], samples: &[Sample]) -> Groups {
        let mut groups = Groups::default();
        for pod in pods {
            if pod.is_deleted || pod.phase == PodPhase::Failed {
                groups.ignored.push(pod.id);
                continue;
            }
            if pod.phase == PodPhase::Pending {
                groups.unready.push(pod.id);
                continue;
            }
            match samples.iter().find(|sample| sample.pod == pod.id) {
                None => groups.missing.push(pod.id),
                Some(sample) if self.is_cpu && self.is_unready(pod, sample) => {
                    groups.unready.push(pod.id);
                }
                Some(_) => groups.ready += 1,
            }
        }
        groups
    }
}

impl Groups {
    fn derive(&self, measured: i64, target: i64, ratio: f64) -> Derivation {
        Derivation {
            measured,
            target,
            ratio,
            ready: self.ready,
            unready: self.unready.len() as u32,
            missing: self.missing.len() as u32,
            ignored: self.ignored.len() as u32,
            ..Derivation::default()
        }
    }

    fn need_assumptions(&self, ratio: f64) -> bool {
        !self.missing.is_empty() || (!self.unready.is_empty() && ratio > 1.0)
    }

    /// Adds what missing and unready pods are assumed to use: a scale-down must not come of what is
    /// not known, nor a scale-up.
    fn assume(&self, ratio: f64, values: &mut Values, full: impl Fn(u32) -> i64) {
        if ratio < 1.0 {
            values.extend(self.missing.iter().map(|&pod| (pod, full(pod))));
        } else if ratio > 1.0 {
            values.extend(self.missing.iter().chain(&self.unready).map(|&pod| (pod, 0)));
        }
    }
}

/// The pods sorted, and the values that count. Samples of pods that are not the target's count too.
fn prepare(
    rules: &Rules<'_>,
    pods: &[Pod<'_>],
    samples: &[Sample],
) -> Result<(Groups, Values), Obstacle> {
    if pods.is_empty() {
        return Err(Obstacle::NoPods);
    }
    let groups = rules.sort(pods, samples);
    let values: Values = samples
        .iter()
        .filter(|sample| {
            !groups.ignored.contains(&sample.pod) && !groups.unready.contains(&sample.pod)
        })
        .map(|sample| (sample.pod, sample.milli))
        .collect();
    if values.is_empty() { Err(Obstacle::NoSamples) } else { Ok((groups, values)) }
}

/// What each pod requests, ascending by pod.
fn requests(pods: &[Pod<'_>], resource: &str, container: Option<&str>) -> Result<Values, Obstacle> {
    let mut all = Vec::with_capacity(pods.len());
    for pod in pods {
        all.push((pod.id, request(pod, resource, container)?));
    }
    all.sort_unstable_by_key(|(pod, _)| *pod);
    Ok(all)
}

fn request(pod: &Pod<'_>, resource: &str, container: Option<&str>) -> Result<i64, Obstacle> {
    let missing = |container: &str| Obstacle::NoRequest {
        resource: resource.to_string(),
        container: container.to_string(),
        pod: pod.name.to_string(),
    };
    let mut sum: i64 = 0;
    for known in pod.requests {
        match container {
            Some(wanted) if wanted != known.container => {}
            Some(_) => return known.of(resource).ok_or_else(|| missing(&known.container)),
            None => {
                let milli = known.of(resource).ok_or_else(|| missing(&known.container))?;
                sum = sum.saturating_add(milli);
            }
        }
    }
    match container {
        Some(wanted) => {
            Err(Obstacle::NoContainer { container: wanted.to_string(), pod: pod.name.to_string() })
        }
        None => Ok(sum),
    }
}

fn request_of(requests: &Values, pod: u32) -> Option<i64> {
    let place = requests.binary_search_by_key(&pod, |(known, _)| *known).ok()?;
    Some(requests[place].1)
}

/// Whole percent of the requests, and the mean: both rounded towards zero.
fn utilization(values: &Values, requests: &Values) -> Result<(i32, i64), Obstacle> {
    let (mut used, mut requested, mut pods) = (0_i64, 0_i64, 0_i64);
    for (pod, milli) in values {
        if let Some(request) = request_of(requests, *pod) {
            used = used.saturating_add(*milli);
            requested = requested.saturating_add(request);
            pods += 1;
        }
    }
    if requested == 0 {
        return Err(Obstacle::NoMatch);
    }
    let percent = i128::from(used) * 100 / i128::from(requested);
    Ok((i32::try_from(percent).unwrap_or(i32::MAX), used / pods))
}

/// Rounded towards zero.
fn mean(values: &Values) -> i64 {
    let sum = values.iter().fold(0_i64, |sum, (_, milli)| sum.saturating_add(*milli));
    sum / values.len() as i64
}
