//! What harness and proxy tell each other: JSON lines on the proxy's stdin and stdout.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::header::UpstreamInfo;

/// An order to the proxy. The end of its stdin is an order, too: end at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// A worker may from now on choose exactly these.
    View(View),
    /// Accept nothing more and end when all is answered, after ten seconds at most.
    Stop {},
}

/// See [`Order::View`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Which worker.
    pub worker: u32,
    /// The endpoints' version.
    pub version: u64,
    /// What it may choose.
    pub endpoints: Vec<Upstream>,
}

/// A pod and its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// The pod's name.
    pub pod: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What the proxy tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Report {
    /// It accepts connections.
    Started {
        /// Where.
        address: SocketAddr,
        /// When, on the machine's monotonic clock.
        mono_ns: u64,
    },
    /// A worker follows a new view.
    ViewApplied {
        /// Which worker.
        worker: u32,
        /// The version.
        version: u64,
        /// When, on the machine's monotonic clock.
        mono_ns: u64,
    },
    /// A client went away before its answer was whole.
    ClientGone {
        /// Its `x-request-id`.
        request_id: u64,
        /// What the proxy was doing towards the pod.
        info: UpstreamInfo,
    },
    /// Reports of this second that were not told one by one.
    Dropped {
        /// How many.
        reports: u64,
    },
    /// An order that could not be read, or an error of accept.
    Error {
        /// In words.
        message: String,
    },
}
