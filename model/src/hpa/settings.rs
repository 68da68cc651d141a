//! The controller manager's flags, and whose autoscaler it is.

use alloc::{format, string::String};

use crate::time::Nanos;

/// The flags of kube-controller-manager of the same names.
///
/// *Source* of the defaults: `pkg/controller/podautoscaler/config/v1alpha1/defaults.go`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// `--horizontal-pod-autoscaler-sync-period`.
    pub sync_period: Nanos,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization: Nanos,
    /// `--horizontal-pod-autoscaler-tolerance`, a share.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period: Nanos,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay: Nanos,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sync_period: Nanos::from_secs(15),
            downscale_stabilization: Nanos::from_secs(300),
            tolerance: 0.1,
            cpu_initialization_period: Nanos::from_secs(300),
            initial_readiness_delay: Nanos::from_secs(30),
        }
    }
}

/// What an autoscaler belongs to: names that its messages tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// The target's kind: `Deployment`.
    pub kind: String,
    /// The target's name.
    pub name: String,
}

impl Identity {
    /// `Deployment/default/web`.
    pub fn reference(&self) -> String {
        format!("{}/{}/{}", self.kind, self.namespace, self.name)
    }
}
