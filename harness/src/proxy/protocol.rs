//! What the harness and the proxy say to each other: JSON lines on stdin and stdout.

use std::{collections::BTreeMap, net::SocketAddr};

use highwater_model::{
    outcome::HopError,
    proxy::telling::{GROUPS_MAX, ONE_BY_ONE},
};
use serde::{Deserialize, Serialize};

use super::header::UpstreamInfo;

/// Longest line of control that the proxy reads, in bytes: room for some ten thousand endpoints.
pub const CONTROL_LINE_MAX: usize = 1 << 20;

/// From the harness to the proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Control {
    /// One worker may from now on choose exactly these endpoints.
    View(View),
    /// From the next response on, the instants in its header count from the start of a run. Those
    /// of reports do not.
    RunStart {
        /// What the proxy's monotonic clock read then.
        mono_ns: i64,
    },
    /// Stop accepting, finish what is in flight, exit.
    Stop {},
}

/// The endpoints that one worker knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct View {
    /// Which worker, from 0.
    pub worker: u32,
    /// The version of the endpoints that this is; given back in [`Report::ViewApplied`].
    pub version: u64,
    /// All that it may choose.
    pub endpoints: Vec<EndpointAddress>,
}

/// Where a pod listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointAddress {
    /// The pod's name.
    pub pod: String,
    /// Its address.
    pub address: SocketAddr,
}

/// From the proxy to the harness or to the process that it is a part of. Instants are CLOCK_MONOTONIC in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Report {
    /// The proxy listens.
    Started {
        /// Where.
        address: SocketAddr,
        /// Since when.
        mono_ns: u64,
    },
    /// The next request of that worker goes by this view.
    ViewApplied {
        /// Which worker.
        worker: u32,
        /// Which version.
        version: u64,
        /// Since when.
        mono_ns: u64,
    },
    /// The client went away before the end of its response, or so soon after an answer of the
    /// proxy's own that it may not have read it. At most [`CLIENT_GONE_PER_SECOND`].
    ClientGone {
        /// The request's `x-request-id`, if it had one that is a number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<u64>,
        /// What had been done for it; `error` is `client-gone` and `end` the moment it was noticed,
        /// or both are what the answer says.
        info: UpstreamInfo,
    },
    /// A request was sent again after an attempt that failed. Told when it is answered or given up.
    /// At most [`RETRIED_PER_SECOND`] one by one; from then on, in that second, those that are alike
    /// are counted together.
    Retried {
        /// How many attempts; `info` is the first one's.
        n: u64,
        /// The request's `x-request-id`, if it had one that is a number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<u64>,
        /// Whether a pod answered a later attempt.
        rescued: bool,
        /// The attempt; `tries` is its place among those of its request, from 1.
        info: UpstreamInfo,
    },
    /// A worker passes a pod over from now on, as it failed too often.
    Ejected {
        /// Which worker.
        worker: u32,
        /// Which pod.
        pod: String,
        /// How often it failed.
        fails: u32,
        /// Since when.
        mono_ns: u64,
    },
    /// A worker passes a pod over no more.
    Readmitted {
        /// Which worker.
        worker: u32,
        /// Which pod.
        pod: String,
        /// Since when.
        mono_ns: u64,
    },
    /// Reports that were left out since the last of these events.
    Dropped {
        /// How many.
        count: u64,
    },
    /// Once a second.
    Stats(Stats),
    /// Something that the proxy survived and the harness should know.
    Error {
        /// What.
        message: String,
    },
}

/// Bound on [`Report::ClientGone`] per second.
pub const CLIENT_GONE_PER_SECOND: u32 = 1_000;
/// Bound on [`Report::Retried`] one by one, per second.
pub const RETRIED_PER_SECOND: u32 = ONE_BY_ONE;
/// Bound on [`Report::Retried`] that count several, per second. They differ in worker, pod, error,
/// place among the attempts, and whether the connection had served.
pub const RETRIED_GROUPS_MAX: usize = GROUPS_MAX;

/// Totals since the start of the proxy, and what is open now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// When they were read.
    pub mono_ns: u64,
    /// Requests received.
    pub requests: u64,
    /// Connections to pods begun, those that failed included.
    pub connects: u64,
    /// Requests sent on a connection that had served before.
    pub reused: u64,
    /// Requests that were sent again, each time counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: u64,
    /// What was met and told to clients, by name; those that never happened are left out.
    pub errors: BTreeMap<HopError, u64>,
    /// Connections of clients that are open.
    pub open_downstream: u64,
    /// Connections to pods that are open, idle ones included.
    pub open_upstream: u64,
    /// CPU time of the proxy, in nanoseconds.
    pub cpu_ns: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_reads_the_lines_of_the_contract() {
        let line = r#"{"view":{"worker":0,"version":12,"endpoints":[
            {"pod":"v1-1","address":"127.1.0.3:20003"}]}}"#;
        let view = View {
            worker: 0,
            version: 12,
            endpoints: vec![EndpointAddress {
                pod: "v1-1".into(),
                address: "127.1.0.3:20003".parse().expect("an address"),
            }],
        };
        assert_eq!(serde_json::from_str::<Control>(line).expect("reads"), Control::View(view));
        assert_eq!(
            serde_json::from_str::<Control>(r#"{"stop":{}}"#).expect("reads"),
            Control::Stop {}
        );
        assert_eq!(
            serde_json::from_str::<Control>(r#"{"run-start":{"monoNs":-5}}"#).expect("reads"),
            Control::RunStart { mono_ns: -5 }
        );
    }

    #[test]
    fn control_refuses_what_it_does_not_know() {
        for line in [
            "",
            "{}",
            "[]",
            r#"{"halt":{}}"#,
            r#"{"run-start":{}}"#,
            r#"{"stop":{"now":true}}"#,
            r#"{"view":{"worker":0,"version":1}}"#,
            r#"{"view":{"worker":-1,"version":1,"endpoints":[]}}"#,
            r#"{"view":{"worker":0,"version":1,"endpoints":[{"pod":"a","address":"a:80"}]}}"#,
        ] {
            assert!(serde_json::from_str::<Control>(line).is_err(), "{line}");
        }
    }

    #[test]
    fn reports_are_written_as_in_the_contract_and_read_again() {
        let info =
            UpstreamInfo { tries: 1, error: Some(HopError::ClientGone), ..UpstreamInfo::default() };
        let stats =
            Stats { requests: 3, errors: BTreeMap::from([(HopError::Eof, 2)]), ..Stats::default() };
        let rows = [
            (
                Report::Started {
                    address: "127.0.0.1:40123".parse().expect("an address"),
                    mono_ns: 5,
                },
                r#"{"event":"started","address":"127.0.0.1:40123","monoNs":5}"#,
            ),
            (
                Report::ViewApplied { worker: 0, version: 12, mono_ns: 5 },
                r#"{"event":"view-applied","worker":0,"version":12,"monoNs":5}"#,
            ),
            (
                Report::ClientGone { request_id: Some(123), info },
                concat!(
                    r#"{"event":"client-gone","requestId":123,"info":{"worker":0,"tries":1,"#,
                    r#""start":0,"end":0,"error":"client-gone"}}"#
                ),
            ),
            (
                Report::Retried {
                    n: 2,
                    request_id: Some(7),
                    rescued: true,
                    info: UpstreamInfo {
                        tries: 1,
                        error: Some(HopError::Eof),
                        ..UpstreamInfo::default()
                    },
                },
                concat!(
                    r#"{"event":"retried","n":2,"requestId":7,"rescued":true,"info":{"worker":0,"#,
                    r#""tries":1,"start":0,"end":0,"error":"eof"}}"#
                ),
            ),
            (
                Report::Ejected { worker: 1, pod: "v1-1".into(), fails: 3, mono_ns: 5 },
                r#"{"event":"ejected","worker":1,"pod":"v1-1","fails":3,"monoNs":5}"#,
            ),
            (
                Report::Readmitted { worker: 1, pod: "v1-1".into(), mono_ns: 5 },
                r#"{"event":"readmitted","worker":1,"pod":"v1-1","monoNs":5}"#,
            ),
            (Report::Dropped { count: 4 }, r#"{"event":"dropped","count":4}"#),
            (
                Report::Stats(stats),
                concat!(
                    r#"{"event":"stats","monoNs":0,"requests":3,"connects":0,"reused":0,"#,
                    r#""errors":{"eof":2},"openDownstream":0,"openUpstream":0,"cpuNs":0}"#
                ),
            ),
        ];
        for (report, line) in rows {
            assert_eq!(serde_json::to_string(&report).expect("writes"), line);
            assert_eq!(serde_json::from_str::<Report>(line).expect("reads"), report);
        }
    }
}
