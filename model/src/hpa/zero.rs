//! A target at zero: whether someone else paused it, or the autoscaler went there itself.
//!
//! *Source*: `horizontal.go`, `shouldComputeMetricsForZeroReplicas` and the condition `ScaledToZero`
//! (v1.36, behind the gate `HPAScaleToZero`, which is on from 1.37 on).

use super::{
    Hpa,
    words::{Condition, ConditionType, Reason},
};

impl Hpa {
    /// Its condition in the API says that it went to zero itself. For an autoscaler of 1.36 or later
    /// that is taken over from another controller.
    pub fn take_over_zero(&mut self) {
        self.set(Condition::new(true, Reason::ScaledToZero));
    }

    /// Whether zero replicas mean that someone else paused it.
    pub(super) fn is_paused(&self) -> bool {
        if !self.settings.kubernetes.remembers_zero() {
            return self.min != 0;
        }
        let went_itself = self.settings.gates.scale_to_zero && self.went_to_zero();
        !(went_itself && (self.min != 0 || self.measures_outside()))
    }

    /// Whether something can be measured without pods.
    fn measures_outside(&self) -> bool {
        self.metrics.iter().any(|metric| metric.object.is_some() || metric.external.is_some())
    }

    /// Whether its condition says that it went to zero itself.
    fn went_to_zero(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        conditions.any(|known| known.holds && known.kind() == ConditionType::ScaledToZero)
    }

    pub(super) fn forget_zero(&mut self) {
        self.status.conditions.retain(|known| known.kind() != ConditionType::ScaledToZero);
    }

    /// Remembers, after a change, whether it was one to zero; since 1.36.
    pub(super) fn remember_zero(&mut self, from: u32, to: u32) {
        if !self.settings.kubernetes.remembers_zero() {
            return;
        }
        if !self.settings.gates.scale_to_zero {
            return self.forget_zero();
        }
        if from > 0 && to == 0 && self.min == 0 && self.measures_outside() {
            self.set(Condition::new(true, Reason::ScaledToZero));
        } else {
            self.set(Condition::new(false, Reason::NotScaledToZero));
        }
    }
}
