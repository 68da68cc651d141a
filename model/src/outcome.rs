//! What became of a request: exactly one [`Outcome`] each, by errno and stage, never by text.
//!
//! *Source*: `lifecycle-semantics.md` section 4.1, measured with plain sockets.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::time::{Nanos, Timestamp};

macro_rules! outcomes {
    ($($variant:ident $name:literal $group:ident $doc:literal,)*) => {
        /// The outcome of one owed request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Outcome {
            $(#[doc = $doc] #[serde(rename = $name)] $variant,)*
        }

        impl Outcome {
            /// All of them, in the order of the record.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in records and summaries.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Which of the sums it counts in.
            pub const fn group(self) -> OutcomeGroup {
                match self { $(Self::$variant => OutcomeGroup::$group,)* }
            }
        }
    };
}

/// owed = ok + failed + unsent; sent = ok + failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutcomeGroup {
    /// Sent and answered as expected.
    Ok,
    /// Sent, and anything else came of it.
    Failed,
    /// Owed, and kept from being sent by our own limits.
    Unsent,
}

outcomes! {
    Ok "ok" Ok "The expected answer, whole and in time.",
    ConnectRefused "connect-refused" Failed "ECONNREFUSED: nothing listens, or no endpoint (REJECT).",
    ConnectTimeout "connect-timeout" Failed "No connection within the time-out.",
    ConnectUnreachable "connect-unreachable" Failed "EHOSTUNREACH or ENETUNREACH.",
    ConnectOther "connect-other" Failed "Any other error of connect.",
    ResetNew "reset-new" Failed "Reset before the first byte, first request of its connection.",
    ResetReused "reset-reused" Failed "Reset before the first byte, on a connection that had served before.",
    EofNew "eof-new" Failed "End of stream before the first byte, first request of its connection.",
    EofReused "eof-reused" Failed "End of stream before the first byte, on a connection that had served before.",
    Truncated "truncated" Failed "Reset or end of stream within the answer.",
    Timeout "timeout" Failed "Connected, and no whole answer within the time-out.",
    Status502 "status-502" Failed "502 Bad Gateway.",
    Status503 "status-503" Failed "503 Service Unavailable.",
    Status504 "status-504" Failed "504 Gateway Timeout.",
    StatusOther "status-other" Failed "Any other status than the expected one.",
    WrongBody "wrong-body" Failed "Another body than the expected one.",
    BadResponse "bad-response" Failed "Not HTTP, or beyond the bounds of a head.",
    UnsentConnections "unsent-connections" Unsent "No free connection below the cap before the time-out.",
    UnsentPorts "unsent-ports" Unsent "No local port left (EADDRNOTAVAIL).",
    UnsentDescriptors "unsent-descriptors" Unsent "No file descriptor left (EMFILE, ENFILE).",
    UnsentGenerator "unsent-generator" Unsent "The generator that owed it died.",
    UnsentAborted "unsent-aborted" Unsent "The run ended early, before the request was due or sent.",
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failed request in detail, or several alike.
///
/// The load engine writes each failure by itself up to a bound per second; past it, those that
/// agree in pod, outcome and connection within ten milliseconds are counted into one (`n` > 1),
/// so that a record grows with the run's length and not with its failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// How many attempts this stands for; at least 1. The rest describes the first of them.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub n: u64,
    /// What became of it. Never `Ok`.
    pub outcome: Outcome,
    /// Index of the traffic's phase.
    pub phase: u16,
    /// Index of the kind of request.
    pub kind: u16,
    /// When it was owed.
    pub scheduled: Timestamp,
    /// When it was sent (or its connection begun); the instant of giving up if never.
    pub sent: Timestamp,
    /// When the first byte of the answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Timestamp>,
    /// When the outcome was known.
    pub ended: Timestamp,
    /// Status, if there was a head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// errno of the failing call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The pod, if known: the endpoint of the connection (`l4`), or what the proxy says (`l7`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The client's connection; `None` if there was none to begin (no endpoint, unsent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// What the proxy did towards the pod (`l7`), if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<Hop>,
    /// The request's id, where the path carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<u64>,
    /// The view of the endpoints that the client had (`l4`): its index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<u32>,
}

const fn one() -> u64 {
    1
}

fn is_one(n: &u64) -> bool {
    *n == 1
}

/// A connection as one attempt saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Unique within the run.
    pub id: u64,
    /// When `connect` was called.
    pub opened: Timestamp,
    /// Requests answered on it before this one; 0 is a new connection.
    pub served: u64,
    /// How long it had been idle before this request.
    pub idle: Nanos,
}

/// One try of a proxy towards a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hop {
    /// Which worker, and so whose view of the endpoints.
    pub consumer: u32,
    /// What the proxy met, in the terms of a client; `None` if it passed the pod's own answer on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<HopError>,
    /// The pod it tried; `None` if it had no endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its connection to the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// When it began the try.
    pub started: Timestamp,
    /// When the try ended.
    pub ended: Timestamp,
    /// How many tries it made in all.
    pub tries: u32,
}

/// What a proxy met towards a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HopError {
    /// There is no endpoint to try.
    NoEndpoint,
    /// ECONNREFUSED.
    ConnectRefused,
    /// No connection within the connect time-out.
    ConnectTimeout,
    /// EHOSTUNREACH or ENETUNREACH.
    ConnectUnreachable,
    /// Any other error of connect, the proxy's own limits included.
    ConnectOther,
    /// Reset before the first byte of the response.
    Reset,
    /// End of stream before the first byte of the response.
    Eof,
    /// Reset or end of stream within the response.
    Truncated,
    /// No response within the time-out.
    Timeout,
    /// Not HTTP.
    BadResponse,
    /// The client went away first.
    ClientGone,
}

impl HopError {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::NoEndpoint,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectUnreachable,
        Self::ConnectOther,
        Self::Reset,
        Self::Eof,
        Self::Truncated,
        Self::Timeout,
        Self::BadResponse,
        Self::ClientGone,
    ];

    /// The name in headers and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoEndpoint => "no-endpoint",
            Self::ConnectRefused => "connect-refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::ConnectUnreachable => "connect-unreachable",
            Self::ConnectOther => "connect-other",
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::Truncated => "truncated",
            Self::Timeout => "timeout",
            Self::BadResponse => "bad-response",
            Self::ClientGone => "client-gone",
        }
    }

    /// The error of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_record() {
        for outcome in Outcome::ALL {
            assert_eq!(
                serde_json::to_string(outcome).expect("serialises"),
                std::format!("\"{outcome}\"")
            );
        }
        for error in HopError::ALL {
            assert_eq!(
                serde_json::to_string(error).expect("serialises"),
                std::format!("\"{}\"", error.name())
            );
            assert_eq!(HopError::from_name(error.name()), Some(*error));
        }
    }
}
