//! Load generators as processes of their own: pods of an Indexed Job, each with its share of the
//! traffic, driven by the harness over a control stream that carries no measured traffic.
//!
//! 1. what a generator is told and says: [`Order`], [`Word`], on top of [`crate::agent`]
//! 2. the pod's side, a hidden subcommand: [`main_with`]
//! 3. the harness's side, all generators of a run: [`Generators`]
//! 4. what a lost generator still owed, counted from the plan: [`ledger`]
//!
//! Shares are exact: every generator has the whole schedule and takes each arrival whose number is
//! its own, so that N of them owe in each second and phase what one would.

mod fleet;
pub mod ledger;
mod order;
mod pod;

pub use fleet::{Config, Generators, News, What};
pub use order::{Generator, Order, OrderError, Plan, Word, too_long};
pub use pod::{Args, main_with};
