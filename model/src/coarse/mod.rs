//! A run in coarse steps, for thousands of settings: a day in some ten milliseconds.
//!
//! What decides is the real thing: the autoscaler with its metrics' clocks
//! ([`crate::autoscaling`]), the choice of victims, each pod's start, probes and end with the delays
//! that [`crate::sim`] draws. What is coarse is the traffic: second by second, as a fluid that
//! queues.
//!
//! 1. the requests of each second, the same for every setting: [`Load`]
//! 2. what a pod does with them, as tables: [`Station`], made from closed forms ([`wait`])
//! 3. pods and their instants: `pods`
//! 4. the run: `engine`; what came of it: [`Outcome`]
//!
//! *Left out*: what a scenario does to the deployment (`events`, but for changes of the
//! autoscaler), nodes with bounds, wrong behaviours, warm-up, retries and ejections of a proxy,
//! requests that wait for one of the client's connections. Who searches with it asks [`crate::sim`]
//! in the end.

mod engine;
mod latency;
mod load;
mod outcome;
mod pods;
mod station;
#[cfg(test)]
mod tests;
pub mod wait;

pub use engine::{Options, run};
pub use load::Load;
pub use outcome::{CoarseError, Outcome, Part, Point};
pub use station::Station;
