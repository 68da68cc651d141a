//! Load generators as the processes that they are, driven over loopback: exact shares, cuts,
//! deaths, and callers that are not the harness.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod generators {
    mod callers;
    mod cuts;
    mod deaths;
    pub(crate) mod kit;
    mod shares;
}
