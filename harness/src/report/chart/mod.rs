//! The time axis of a run, in two steps.
//!
//! 1. [`model`]: what is to be seen, as plain data, built by [`build()`]
//! 2. [`svg`]: the drawing
//!
//! [`compare`] builds a model of several runs, [`sides`] one of two sets of runs,
//! [`trend`] one of many runs in a row.
//!
//! The model is thinned to the width of the picture: counts are summed, of latencies the lowest
//! and the highest stay, failures near each other become one mark with their number.

mod build;
mod canvas;
mod cluster;
pub mod compare;
mod lanes;
pub mod model;
mod panels;
mod series;
pub mod sides;
pub mod svg;
mod ticks;
pub mod trend;
pub(super) mod tune;

pub use build::build;
pub use model::ChartModel;
