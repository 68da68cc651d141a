//! `highwater compare`: false alarms, power, and the program itself.
#![allow(clippy::unwrap_used, reason = "a test")]

mod gates;
mod kit;
mod power;
mod program;
