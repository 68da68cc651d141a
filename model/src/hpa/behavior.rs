//! `spec.behavior`, with what is left out filled in.
//!
//! *Source*: `pkg/apis/autoscaling/v2/defaults.go`, `GenerateHPAScaleUpRules`,
//! `GenerateHPAScaleDownRules`.

use alloc::{vec, vec::Vec};

use crate::{
    spec::{Behavior, Quantity, ScalingPolicy, ScalingPolicyType, ScalingRules, SelectPolicy},
    time::Nanos,
};

/// Both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Behaviors {
    /// On the way up.
    pub up: Rules,
    /// On the way down.
    pub down: Rules,
}

/// One direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// How far it looks back at what it recommended.
    pub window: Nanos,
    /// Which of the policies holds.
    pub select: SelectPolicy,
    /// How much may change within a time.
    pub policies: Vec<ScalingPolicy>,
    /// In place of the controller's tolerance.
    pub tolerance: Option<f64>,
}

impl Behaviors {
    /// The rules of `behavior`; `downscale` is the controller's own window on the way down.
    pub fn new(behavior: &Behavior, downscale: Nanos) -> Self {
        let policy = |kind, value| ScalingPolicy { kind, value, period_seconds: 15 };
        let hundred = policy(ScalingPolicyType::Percent, 100);
        let up = vec![policy(ScalingPolicyType::Pods, 4), hundred.clone()];
        // Upstream counts this window in whole seconds.
        let downscale = Nanos::from_secs(downscale.0 / crate::time::SECOND);
        Self {
            up: Rules::new(behavior.scale_up.as_ref(), Nanos::ZERO, up),
            down: Rules::new(behavior.scale_down.as_ref(), downscale, vec![hundred]),
        }
    }
}

impl Rules {
    fn new(given: Option<&ScalingRules>, window: Nanos, policies: Vec<ScalingPolicy>) -> Self {
        let given = given.cloned().unwrap_or_default();
        let seconds = given.stabilization_window_seconds.map(u64::from).map(Nanos::from_secs);
        Self {
            window: seconds.unwrap_or(window),
            select: given.select_policy.unwrap_or(SelectPolicy::Max),
            policies: if given.policies.is_empty() { policies } else { given.policies },
            tolerance: given.tolerance.as_ref().map(Quantity::approximate),
        }
    }

    /// The longest time that a policy looks back.
    pub(super) fn longest_period(&self) -> Nanos {
        let longest = self.policies.iter().map(|policy| policy.period_seconds).max();
        Nanos::from_secs(u64::from(longest.unwrap_or(0)))
    }
}
