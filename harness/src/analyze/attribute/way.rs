//! How an attempt finds its pod.

use highwater_model::{spec::PathKind, time::Nanos};

use super::hidden::{INGRESS, KUBE_PROXY};
use crate::record::{BackendKind, Header};

/// How an attempt finds its pod, and so what a failure knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The load engine chooses an endpoint and connects to it (`l4` on `local` and `sim`): the pod
    /// is known, and its absence means that there was no endpoint.
    Direct,
    /// Highwater's own proxy chooses, and says what it did towards which pod. Without its word the
    /// client's own connection to the proxy broke.
    Proxy,
    /// A Service's address (`l4` on `kube`). kube-proxy chooses, once for each connection, and says
    /// nothing: the pod is known only if it has answered on the connection before and names
    /// itself.
    Service,
    /// An ingress of the user's (`path.url`). It chooses for each request and says nothing; its own
    /// 502, 503 and 504 stand for what it met.
    Ingress,
    /// To an address of which nothing else is known (`target.url`).
    Url,
}

impl Way {
    /// That of a run.
    pub fn of(header: &Header) -> Self {
        let path = &header.scenario.path;
        if header.scenario.target.url.is_some() {
            return Self::Url;
        }
        match (header.backend, path.kind) {
            (BackendKind::Kube, _) if path.url.is_some() => Self::Ingress,
            (BackendKind::Kube, PathKind::L4) => Self::Service,
            (_, PathKind::L4) => Self::Direct,
            (_, PathKind::L7) => Self::Proxy,
        }
    }

    /// Whether who chooses the pod says nothing of it.
    pub const fn hides_pods(self) -> bool {
        matches!(self, Self::Service | Self::Ingress)
    }

    /// How long a data path that tells nothing takes as a rule to learn of a change of the
    /// endpoints; `None` if who chooses tells.
    pub const fn usual_lag(self) -> Option<Nanos> {
        match self {
            Self::Direct | Self::Proxy | Self::Url => None,
            Self::Service => Some(KUBE_PROXY.usual),
            Self::Ingress => Some(INGRESS.usual),
        }
    }
}
