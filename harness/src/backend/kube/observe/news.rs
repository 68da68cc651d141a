//! What an [`Observer`](super::Observer) can be told.

use highwater_model::time::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Event, Node, Pod},
    discovery::v1::EndpointSlice,
};

use super::metrics::PodMetrics;

/// Something that was learnt of the cluster.
#[derive(Clone, Debug)]
pub enum News {
    /// Of pods.
    Pods(Seen<Pod>),
    /// Of the Service's EndpointSlices.
    EndpointSlices(Seen<EndpointSlice>),
    /// Of Deployments.
    Deployments(Seen<Deployment>),
    /// Of ReplicaSets.
    ReplicaSets(Seen<ReplicaSet>),
    /// Of HorizontalPodAutoscalers.
    Autoscalers(Seen<HorizontalPodAutoscaler>),
    /// Of Events.
    Events(Seen<Event>),
    /// Of nodes.
    Nodes(Seen<Node>),
    /// The pods' resource metrics.
    Metrics(Vec<PodMetrics>),
    /// A line of a pod's log.
    Line {
        /// The pod.
        pod: String,
        /// The line, without the runtime's time before it.
        line: String,
    },
    /// Nothing is heard of something any more.
    GapBegan {
        /// Of what.
        what: Watched,
        /// Since when nothing was heard.
        from: Timestamp,
        /// Why, in words.
        reason: String,
    },
    /// It is heard of again; what it is now was told before.
    GapEnded {
        /// Of what.
        what: Watched,
    },
}

/// What was seen of objects of one kind.
#[derive(Clone, Debug)]
pub enum Seen<K> {
    /// All that there are now: at first, and after a gap.
    All {
        /// The objects.
        objects: Vec<K>,
        /// The end of what was heard before the gap; `None` at first.
        since: Option<Timestamp>,
    },
    /// One is new or changed.
    Changed(Box<K>),
    /// One is gone; this was its last state.
    Gone(Box<K>),
}

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// Pods.
    Pods,
    /// EndpointSlices.
    EndpointSlices,
    /// Deployments.
    Deployments,
    /// ReplicaSets.
    ReplicaSets,
    /// HorizontalPodAutoscalers.
    Autoscalers,
    /// Events.
    Events,
    /// Nodes.
    Nodes,
    /// `metrics.k8s.io`.
    Metrics,
    /// The log of a pod.
    Log(String),
}

impl std::fmt::Display for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pods => "pods",
            Self::EndpointSlices => "endpointslices",
            Self::Deployments => "deployments",
            Self::ReplicaSets => "replicasets",
            Self::Autoscalers => "horizontalpodautoscalers",
            Self::Events => "events",
            Self::Nodes => "nodes",
            Self::Metrics => "metrics.k8s.io",
            Self::Log(pod) => return write!(f, "the log of {pod}"),
        })
    }
}
