//! The reference service of Highwater: correct shutdown by default, wrong on request.
//!
//! 1. settings: [`cli`]
//! 2. the machine that decides how to shut down, pure: [`drain`]
//! 3. sockets and signals, which obey the machine: [`server`]
//! 4. what is served: [`routes`], [`work`], [`metrics`]
//! 5. what the wrong behaviours do to requests: [`wrong`]
//! 6. what the service says of its own life, as JSON lines on stdout: [`lifecycle`]
//!
//! It holds no credential and scales nothing, unless it is told to misbehave just so: [`scaling`].
//! It depends on nothing else of Highwater.

pub mod cli;
pub mod drain;
pub mod duration;
pub mod lifecycle;
pub mod metrics;
pub mod misbehave;
pub mod routes;
pub mod scaling;
pub mod server;
pub mod work;
pub mod wrong;

pub use cli::{Args, main_with};
