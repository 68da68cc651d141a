//! What a reverse proxy does of its own on the way to a pod: retries, passive health, balancing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Nanos;

/// See [`Path::retry`](super::Path::retry). The names are those of Envoy and of nginx.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Never: every failure is seen.
    #[default]
    None,
    /// Any request whose connection to a pod could not be made: nothing of it was sent.
    ConnectFailure,
    /// Beside these, a request of an idempotent method (GET, HEAD, PUT, DELETE, OPTIONS, TRACE) of
    /// which the pod had not given the whole head of a response when it closed, reset or timed out:
    /// what nginx calls `error timeout`.
    Idempotent,
}

/// See [`Path::balancing`](super::Path::balancing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balancing {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight of this worker, of several such the next in the
    /// round, as nginx's `least_conn` without a shared zone.
    LeastRequest,
    /// Any, drawn evenly from the run's seed.
    Random,
}

impl Balancing {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// See [`Path::passive_health`](super::Path::passive_health). The defaults are nginx's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PassiveHealth {
    /// How many attempts in [`PassiveHealth::fail_timeout`] must fail for a worker to pass a pod over.
    pub max_fails: u32,
    /// The time in which they must fail, and for how long the pod is then passed over before one
    /// request tries it.
    pub fail_timeout: Nanos,
}

impl Default for PassiveHealth {
    /// *Source*: nginx, `ngx_http_upstream_module`, `server`: `max_fails=1`, `fail_timeout=10s`.
    fn default() -> Self {
        Self { max_fails: 1, fail_timeout: Nanos::from_secs(10) }
    }
}
