//! How many replicas one metric of the pods asks for.
//!
//! *Source*: `replica_calculator.go`: `GetResourceReplicas`, `calcPlainMetricReplicas`, `groupPods`,
//! `calculateRequests`; `metrics/utilization.go`.

use alloc::{string::ToString as _, vec::Vec};

use super::{
    inspect::counts_for_totals,
    pods::{Groups, Values},
    settings::Settings,
    version::Version,
    words::Obstacle,
    world::{Moment, Pod, Sample},
};

/// How far a ratio may be from 1 before anything is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Above it.
    pub up: f64,
    /// Below it.
    pub down: f64,
    /// Tested as an interval. Before 1.33 it was the distance from 1, which differs at the ends by
    /// how doubles round.
    pub(super) is_interval: bool,
}

impl Default for Tolerances {
    fn default() -> Self {
        Self { up: 0.0, down: 0.0, is_interval: true }
    }
}

impl Tolerances {
    /// Both ends inclusive; NaN is outside.
    pub fn are_met_by(self, ratio: f64) -> bool {
        if self.is_interval {
            (1.0 - self.down) <= ratio && ratio <= (1.0 + self.up)
        } else {
            libm::fabs(1.0 - ratio) <= self.up
        }
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
    /// What would be measured with them; `None` likewise.
    pub assumed: Option<i64>,
    /// How far from 1 a ratio may be.
    pub tolerances: Tolerances,
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
    /// The ratio times the pods, rounded up, whether or not it is the number; `None` if it was not
    /// reckoned.
    pub rounded: Option<i32>,
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
    /// Whether the number must not go the other way than the ratio says.
    pub(super) guards_direction: bool,
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
    let requests = requests(rules.settings.kubernetes, pods, resource, container)?;
    let target_share = f64::from(target);
    let (percent, average) = utilization(&values, &requests)?;
    let ratio = f64::from(percent) / target_share;
    let mut derivation = rules.derive(&groups, i64::from(percent), i64::from(target), ratio);
    let number =
        |replicas, derivation| Number { replicas, utilization: Some(percent), average, derivation };
    if !groups.need_assumptions(ratio) {
        let replicas = rules.plain(&mut derivation);
        return Ok(number(replicas, derivation));
    }
    groups.assume(ratio, &mut values, |pod| {
        let request = request_of(&requests, pod).unwrap_or(0);
        full_of_request(rules.settings.kubernetes, target, request)
    });
    let (percent_then, _) = utilization(&values, &requests)?;
    derivation.assumed = Some(i64::from(percent_then));
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
    let mut derivation = rules.derive(&groups, average, target, ratio);
    let number = |replicas, derivation| Number { replicas, utilization: None, average, derivation };
    if !groups.need_assumptions(ratio) {
        let replicas = rules.plain(&mut derivation);
        return Ok(number(replicas, derivation));
    }
    groups.assume(ratio, &mut values, |_| target);
    if ratio == 1.0 && !rules.settings.kubernetes.leaves_out_missing_on_target() {
        groups.assume_nothing_of_missing(&mut values);
    }
    let then = mean(&values);
    derivation.assumed = Some(then);
    let then = then as f64 / target as f64;
    let replicas = rules.adjusted(&mut derivation, then, values.len());
    Ok(number(replicas, derivation))
}

/// Pods that are Running and ready.
pub(super) fn ready_pods(pods: &[Pod<'_>]) -> Result<u32, Obstacle> {
    if pods.is_empty() {
        return Err(Obstacle::NoPods);
    }
    let counts =
        |pod: &&Pod<'_>| counts_for_totals(pod.phase, pod.ready.map(|(readiness, _)| readiness));
    Ok(pods.iter().filter(counts).count() as u32)
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
        let number = ceil(derivation.ratio * f64::from(derivation.ready));
        derivation.rounded = Some(number);
        number
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
        derivation.rounded = Some(number);
        let is_backwards = (ratio < 1.0 && number > replicas) || (ratio > 1.0 && number < replicas);
        if is_backwards && self.guards_direction {
            derivation.shape = Shape::Backwards;
            return replicas;
        }
        number
    }

    fn derive(&self, groups: &Groups, measured: i64, target: i64, ratio: f64) -> Derivation {
        Derivation {
            measured,
            target,
            ratio,
            tolerances: self.tolerances,
            ready: groups.ready,
            unready: groups.unready.len() as u32,
            missing: groups.missing.len() as u32,
            ignored: groups.ignored.len() as u32,
            ..Derivation::default()
        }
    }
}

/// What a missing pod is assumed to use at most: all of its request, or of its target.
pub(super) fn full_of_request(kubernetes: Version, target: u32, request: i64) -> i64 {
    if kubernetes.assumes_target_above_request() {
        request.saturating_mul(i64::from(target.max(100))) / 100
    } else {
        request
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
    let groups = Groups::sort(rules, pods, samples);
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
fn requests(
    kubernetes: Version,
    pods: &[Pod<'_>],
    resource: &str,
    container: Option<&str>,
) -> Result<Values, Obstacle> {
    let mut all = Vec::with_capacity(pods.len());
    for pod in pods {
        all.push((pod.id, request(kubernetes, pod, resource, container)?));
    }
    all.sort_unstable_by_key(|(pod, _)| *pod);
    Ok(all)
}

pub(super) fn request(
    kubernetes: Version,
    pod: &Pod<'_>,
    resource: &str,
    container: Option<&str>,
) -> Result<i64, Obstacle> {
    let missing = |container: &str| Obstacle::NoRequest {
        resource: resource.to_string(),
        container: container.to_string(),
        pod: pod.name.to_string(),
    };
    if let (None, Some(whole)) = (container, pod.whole) {
        return whole.of(resource).ok_or_else(|| Obstacle::NoPodRequest {
            resource: resource.to_string(),
            pod: pod.name.to_string(),
        });
    }
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
        Some(wanted) if kubernetes.requires_container() => {
            Err(Obstacle::NoContainer { container: wanted.to_string(), pod: pod.name.to_string() })
        }
        _ => Ok(sum),
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
