//! Where Kubernetes' releases differ in what an autoscaler does.
//!
//! *Source* of every boundary: `pkg/controller/podautoscaler` and `pkg/features` of the last patch
//! releases of 1.20 to 1.37, compared with each other; from 1.23 on run as well, see
//! `tests/hpa_conformance.rs`. Decisions follow the release; the words of conditions and events are
//! those of 1.35 throughout.

use core::{fmt, str::FromStr};

/// A release of Kubernetes that the autoscaler can follow, `1.20` to `1.37`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u8);

/// Why a text names no release that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no release between {} and {}, such as 1.35", Version::OLDEST, Version::NEWEST)]
pub struct UnknownVersion;

/// The feature gates that bear on autoscaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// `HPAScaleToZero`. Up to 1.35 it only lets the API server take `minReplicas: 0`.
    pub scale_to_zero: bool,
    /// `HPAConfigurableTolerance`.
    pub configurable_tolerance: bool,
}

impl Version {
    /// The oldest.
    pub const OLDEST: Self = Self(20);
    /// The newest.
    pub const NEWEST: Self = Self(37);
    /// The one whose controller the conformance tests compare with.
    pub const STANDARD: Self = Self(35);

    /// The feature gates as they are unless someone sets them.
    pub const fn gates(self) -> Gates {
        Gates { scale_to_zero: self.0 >= 37, configurable_tolerance: self.0 >= 35 }
    }

    /// Whether a metric that fails keeps the others from making the target smaller, and not only
    /// all metrics failing.
    pub(super) const fn failure_blocks_shrinking(self) -> bool {
        self.0 >= 21
    }

    /// Whether a mean-value metric must not go the other way by its number of pods.
    pub(super) const fn guards_mean_values(self) -> bool {
        self.0 >= 21
    }

    /// Whether both stabilisation windows hold at once, and not only that of the direction which
    /// the metrics ask for.
    pub(super) const fn stabilizes_both_ways(self) -> bool {
        self.0 >= 21
    }

    /// Whether a missing pod is assumed to use the target where that is above its request.
    pub(super) const fn assumes_target_above_request(self) -> bool {
        self.0 >= 26
    }

    /// Whether two autoscalers that match a same pod are both refused.
    pub(super) const fn refuses_ambiguity(self) -> bool {
        self.0 >= 26
    }

    /// Whether a policy counts the changes of the other direction too.
    pub(super) const fn counts_both_directions(self) -> bool {
        self.0 >= 26
    }

    /// Whether a pass goes on with some metrics and still tells that others failed; likewise, a
    /// container's metric is called so since then.
    pub(super) const fn tells_partial_failure(self) -> bool {
        self.0 >= 27
    }

    /// Whether missing pods stay out of a mean that is exactly the target.
    pub(super) const fn leaves_out_missing_on_target(self) -> bool {
        self.0 >= 28
    }

    /// Whether restartable init containers' requests count.
    pub const fn counts_sidecars(self) -> bool {
        self.0 >= 29
    }

    /// Whether a failed pass shows the metrics of its own, and not those of the pass before.
    pub(super) const fn shows_failed_metrics(self) -> bool {
        self.0 >= 29
    }

    /// Whether the tolerance is tested as an interval, and not as a distance.
    pub(super) const fn has_tolerance_interval(self) -> bool {
        self.0 >= 33
    }

    /// Whether a pod's own request wins over its containers' (gate `PodLevelResources`).
    pub const fn has_pod_level_requests(self) -> bool {
        self.0 >= 34
    }

    /// Whether a container that a pod has not fails the metric.
    pub(super) const fn requires_container(self) -> bool {
        self.0 >= 35
    }

    /// Whether the autoscaler remembers that it went to zero itself.
    pub const fn remembers_zero(self) -> bool {
        self.0 >= 36
    }
}

impl Default for Version {
    fn default() -> Self {
        Self::STANDARD
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    /// Reads `1.32`, `v1.32` and `v1.32.4`.
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
        let is_number = |part: &str| part.parse::<u16>().is_ok();
        if major != Some("1") || !patch.is_none_or(is_number) || parts.next().is_some() {
            return Err(UnknownVersion);
        }
        let minor = minor.and_then(|minor| minor.parse().ok()).ok_or(UnknownVersion)?;
        let version = Self(minor);
        if (Self::OLDEST..=Self::NEWEST).contains(&version) {
            Ok(version)
        } else {
            Err(UnknownVersion)
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn releases_are_read_as_people_write_them() {
        for text in ["1.32", "v1.32", "v1.32.10"] {
            assert_eq!(text.parse::<Version>().map(|v| v.to_string()), Ok("1.32".into()), "{text}");
        }
        for text in ["", "1", "1.19", "1.38", "2.30", "1.32.x", "1.32.1.1", "1.-3", "1.300", "v"] {
            assert_eq!(text.parse::<Version>(), Err(UnknownVersion), "{text}");
        }
        assert!(UnknownVersion.to_string().contains("between 1.20 and 1.37"));
    }
}
