//! What a reverse proxy does of its own.

use super::Problems;
use crate::spec::{Balancing, Path, PathKind, Retry};

/// The most retries of one request. More would only add to what overloads the pods.
pub const RETRIES_MAX: u32 = 10;
/// The most of `path.passiveHealth.maxFails`.
pub const FAILS_MAX: u32 = 1000;

/// What the proxy does of its own, which goes with Highwater's proxy alone.
pub(super) fn check(found: &mut Problems, path: &Path) {
    found.check_within("path.retries", path.retries, 1, RETRIES_MAX);
    if let Some(health) = &path.passive_health {
        found.check_within("path.passiveHealth.maxFails", health.max_fails, 1, FAILS_MAX);
        found.check_span_above_zero("path.passiveHealth.failTimeout", health.fail_timeout);
    }
    if path.max_requests_per_connection == Some(0) {
        found.add("path.maxRequestsPerConnection", "must be at least 1; leave it out for no limit");
    }
    let asked = [
        ("path.retry", path.retry != Retry::None),
        ("path.balancing", path.balancing != Balancing::RoundRobin),
        ("path.passiveHealth", path.passive_health.is_some()),
        ("path.maxRequestsPerConnection", path.max_requests_per_connection.is_some()),
    ];
    let whose = match (path.kind, &path.url) {
        (PathKind::L4, _) => "is a proxy's, and there is none: it goes with `kind: l7`",
        (PathKind::L7, Some(_)) => {
            "is set in the ingress at `url`, which Highwater does not change"
        }
        (PathKind::L7, None) => return,
    };
    for (key, _) in asked.iter().filter(|(_, is_asked)| *is_asked) {
        found.add(*key, whose);
    }
}
