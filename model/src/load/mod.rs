//! Rate profiles and arrival processes: when each request is owed.
//!
//! A [`Profile`] is the intended rate over time, with its integral and the inverse of that; a
//! [`Schedule`] places the arrivals on it. Both are values: the same scenario and seed owe the
//! same requests on every backend, and N generators that each take every Nth arrival owe exactly
//! the whole together.

mod lines;
mod profile;
mod schedule;
mod share;
#[cfg(test)]
mod tests;
mod watch;

pub use lines::{CHORD_ERROR, LINES_MAX, TURN_CHORDS};
pub use profile::Profile;
pub use schedule::{Arrival, Schedule};
pub use share::Share;
pub use watch::{ArrivalCounts, GAP_BINS, Watch};
