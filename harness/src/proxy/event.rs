//! What the proxy reports, in the record's terms.

use highwater_model::event::{EventKind, WarningCode};

use super::protocol::Report;
use crate::clock::RunClock;

impl Report {
    /// When it happened, if that is not when it comes: by the proxy's own monotonic clock.
    pub fn happened(&self) -> Option<u64> {
        match self {
            Self::Ejected { mono_ns, .. } | Self::Readmitted { mono_ns, .. } => Some(*mono_ns),
            Self::Retried { info, .. } => Some(info.end),
            _ => None,
        }
    }

    /// The event that it is; `None` if it is none, or if more must be known for it. `clock` is the
    /// run's, by the proxy's own monotonic clock.
    pub fn into_event(self, clock: &RunClock) -> Option<EventKind> {
        match self {
            Self::Started { .. } | Self::ViewApplied { .. } | Self::Stats(_) => None,
            Self::ClientGone { request_id, info } => {
                let hop = info.to_hop(clock);
                request_id.map(|request_id| EventKind::ClientGone { request_id, hop })
            }
            Self::Retried { n, request_id, rescued, info } => {
                Some(EventKind::Retried { n, request_id, rescued, hop: info.to_hop(clock) })
            }
            Self::Ejected { worker, pod, fails, .. } => {
                Some(EventKind::EndpointEjected { consumer: worker, pod, fails })
            }
            Self::Readmitted { worker, pod, .. } => {
                Some(EventKind::EndpointReadmitted { consumer: worker, pod })
            }
            Self::Dropped { count } => {
                let message =
                    format!("the proxy did not report {count} clients that went away or retries");
                Some(EventKind::Warning { code: WarningCode::OutputDropped, message })
            }
            Self::Error { message } => {
                Some(EventKind::Warning { code: WarningCode::Late, message })
            }
        }
    }
}
