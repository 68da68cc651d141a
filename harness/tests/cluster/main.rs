//! The program on a real cluster: the one that KUBECONFIG names, which must be a test cluster with
//! the image of this version and those of `tests/foreign` in it. `just test-cluster` sees to that.
//!
//! Every test has namespaces of its own (`hw-t-...`) and leaves none. The exit code, the record and
//! the summary tell what Highwater says of a run; `kubectl` tells what is so.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod acting;
mod cleanup;
mod foreign;
mod generators;
mod kubectl;
mod lab;
mod preflight;
mod rights;
mod rolling;
mod run;
mod scaling;
mod watching;
mod without_api;
