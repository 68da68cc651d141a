//! Parts of a run that are processes elsewhere: pods that send lines of the record and take
//! orders, over any stream of bytes (`kubectl port-forward` and the like).
//!
//! 1. what both sides say, as bounded lines of JSON: [`protocol`]
//! 2. the agent's side, in the pod: [`serve()`], with an outbox that keeps what is not acknowledged
//! 3. the harness's side: [`link`], which connects again after a cut and measures the clock
//! 4. what one clock is on another: [`clock`]
//!
//! A cut connection loses and doubles nothing: lines are numbered, kept until they are
//! acknowledged, and sent again on the next connection; orders likewise the other way. What an
//! agent does beside this is its [`Kind`]: load generators are in [`crate::generator`].
//!
//! Measured traffic never goes over this stream.

pub mod clock;
mod door;
pub(crate) mod frame;
pub mod link;
mod outbox;
pub mod protocol;
mod serve;
mod wire;

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

pub use serve::{Config, ServeError, serve};

/// A kind of agent: what it is told, and what it says beside lines of the record.
pub trait Kind: Debug + Send + Sync + 'static {
    /// Its name in the first words of a connection.
    const NAME: &'static str;
    /// What it is told to do.
    type Order: Serialize + DeserializeOwned + Debug + Send + 'static;
    /// What it says of itself.
    type Word: Serialize + DeserializeOwned + Debug + Send + 'static;
}
