//! The Kubernetes machines, load shapes and event vocabulary of Highwater.
//!
//! This crate is pure: no I/O, no clock, no threads, no randomness of its own. It is `no_std`, so
//! the compiler refuses files, sockets, clocks and unordered maps; `tests/purity.rs` refuses
//! dependencies that would bring them back.
//!
//! Every machine has the same shape: it accepts an input at `now` and appends effects, fires what
//! is due at `now`, and tells its next deadline. The driver owns the clock: `harness` drives the
//! machines with real processes (`local`) and with virtual time (`sim`).
//!
//! 1. integer nanoseconds, Kubernetes quantities, split random streams: [`time`], [`units`], [`rng`]
//! 2. the scenario as plain data: [`spec`]
//! 3. rate profiles and arrival processes: [`load`]
//! 4. Deployment, ReplicaSet, probes, pods, endpoints, joined into one machine: [`cluster`]
//! 5. the HorizontalPodAutoscaler: [`hpa`]; how metrics reach it: [`metrics`]; both, joined with a
//!    cluster: [`autoscaling`]
//! 6. what a reverse proxy decides: [`proxy`]
//! 7. a whole run in virtual time: [`sim`]; the same in coarse steps, for thousands of settings:
//!    [`coarse`]
//! 8. the one vocabulary that every backend records: [`outcome`], [`event`]
//! 9. how well the pods followed the demand, and what it costs to know it ahead: [`elasticity`]
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod autoscaling;
pub mod cluster;
pub mod coarse;
pub mod elasticity;
pub mod erlang;
pub mod event;
pub mod hpa;
pub mod load;
pub mod metrics;
pub mod outcome;
pub mod proxy;
pub mod rng;
pub mod sim;
pub mod spec;
pub mod time;
pub mod units;
