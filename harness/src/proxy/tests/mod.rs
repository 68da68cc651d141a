//! The proxy against scripted pods and clients on real sockets.

mod choice;
mod client;
mod errors;
mod forwarding;
mod header;
mod lifecycle;
mod pool;
mod retries;
mod streaming;
pub(crate) mod testkit;
mod views;
