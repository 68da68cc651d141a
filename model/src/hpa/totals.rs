//! How many replicas a value of the whole asks for.
//!
//! *Source*: `replica_calculator.go`: `GetObjectMetricReplicas`, `GetExternalMetricReplicas`,
//! `GetObjectPerPodMetricReplicas`, `GetExternalPerPodMetricReplicas`, `getUsageRatioReplicaCount`.

use super::{
    calculator::{Derivation, Shape, Tolerances, ceil, ceil_saturating, ready_pods},
    words::Obstacle,
    world::{Pod, Scale},
};

/// A number, what the status shows, and how it came about.
pub(super) type Total = (i32, i64, Derivation);

/// Aimed at in all.
pub(super) fn by_value(
    tolerances: Tolerances,
    scale: Scale,
    total: i64,
    target: i64,
    pods: &[Pod<'_>],
) -> Result<Total, Obstacle> {
    let ratio = total as f64 / target as f64;
    let mut derivation = Derivation { measured: total, target, ratio, ..Derivation::default() };
    if scale.spec == 0 {
        return Ok((ceil(ratio), total, derivation));
    }
    if tolerances.are_met_by(ratio) {
        derivation.shape = Shape::WithinTolerance;
        return Ok((scale.spec as i32, total, derivation));
    }
    let ready = ready_pods(pods)?;
    derivation.ready = ready;
    derivation.pods = Some(ready);
    Ok((ceil_saturating(ratio * f64::from(ready)), total, derivation))
}

/// Aimed at per pod, whichever they are.
pub(super) fn by_average(
    tolerances: Tolerances,
    scale: Scale,
    total: i64,
    target: i64,
    is_external: bool,
) -> Total {
    let ratio = total as f64 / (target as f64 * f64::from(scale.status));
    let mut derivation = Derivation { measured: total, target, ratio, ..Derivation::default() };
    let replicas = if tolerances.are_met_by(ratio) {
        derivation.shape = Shape::WithinTolerance;
        scale.status as i32
    } else if is_external {
        ceil_saturating(total as f64 / target as f64)
    } else {
        ceil(total as f64 / target as f64)
    };
    let average = if scale.status == 0 {
        0
    } else {
        libm::ceil(total as f64 / f64::from(scale.status)) as i64
    };
    (replicas, average, derivation)
}

/// The sum of all series; saturates.
pub(super) fn sum(values: &[i64]) -> i64 {
    values.iter().fold(0_i64, |sum, value| sum.saturating_add(*value))
}
