//! The life of each pod.

/// The phases of a pod's life, as a lane shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodPhase {
    /// Made, and its container does not run yet.
    Pending,
    /// The container runs and is not ready yet.
    Starting,
    /// Ready.
    Ready,
    /// Was ready, and is not any more (without a deletion).
    Unready,
    /// Deletion was requested, and SIGTERM was not sent yet (preStop).
    PreStop,
    /// SIGTERM was sent, and the process runs on (drain).
    Draining,
    /// The process has ended and the pod is not gone, or waits for a restart.
    Exited,
}

impl PodPhase {
    /// All of them, in order of life.
    pub const ALL: &[Self] = &[
        Self::Pending,
        Self::Starting,
        Self::Ready,
        Self::Unready,
        Self::PreStop,
        Self::Draining,
        Self::Exited,
    ];

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::PreStop => "preStop",
            Self::Draining => "draining",
            Self::Exited => "exited",
        }
    }
}
