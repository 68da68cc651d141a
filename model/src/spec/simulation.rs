//! What `sim` must be told that `local` and `kube` have by themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Distribution;
use crate::time::Nanos;

/// The machines and the network under a simulated run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Simulation {
    /// How many of a pod's requests can be at their CPU work at once: processors of its node. A
    /// CPU limit is enforced as the kernel does it, in periods of 100 ms.
    pub cores: u32,
    /// One way through the network.
    pub network: Nanos,
    /// From the kubelet's order to the process's first instruction.
    pub process_start: Distribution,
    /// What the machine adds to each request beside its CPU and its wait: the grain of timers,
    /// scheduling.
    pub overhead: Distribution,
}

impl Default for Simulation {
    /// *Source*: measured on loopback and with local processes: 30 us to 80 us one way, 5 ms to
    /// 30 ms for a process. No overhead: that of a machine is for `highwater calibrate` to tell.
    fn default() -> Self {
        Self {
            cores: 2,
            network: Nanos(50_000),
            process_start: Distribution::Uniform(Nanos::from_millis(5), Nanos::from_millis(30)),
            overhead: Distribution::Fixed(Nanos::ZERO),
        }
    }
}

impl Simulation {
    /// Whether nothing was said of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
