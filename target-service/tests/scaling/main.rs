//! `self-scaling` against a fake API server: its client alone, and the real process.

#![allow(clippy::unwrap_used, reason = "a test")]

mod client;
mod fake_api;
mod process;
