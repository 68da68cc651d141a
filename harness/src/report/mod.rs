//! From an analysis to what people read: pure functions, no clock, files, terminal, locale or
//! network, so that a report is the same whenever it is rendered.
//!
//! 1. [`chart`]: the time axis, as plain data and then as SVG
//! 2. [`html`]: the whole report as one self-contained file
//! 3. [`markdown`]: a summary for a comment on a pull request
//! 4. [`text`]: what `run` prints at its end
//! 5. [`compare`]: two sets of runs against each other
//! 6. [`fidelity`]: the same scenarios on several backends, side by side
//! 7. [`mod@tune`]: what a search for settings found
//!
//! All text that comes from a target or a file passes through [`clean`] and through the escape of
//! the format it is written in.

pub mod chart;
pub mod clean;
pub mod compare;
pub mod fidelity;
pub mod figures;
pub mod html;
pub mod markdown;
pub mod phrases;
pub mod text;
pub mod tune;

#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;

/// What can be chosen about a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// Width of the time axis in points; longer series are thinned to it. From 200 to 4,000.
    pub chart_columns: u32,
}

impl Default for RenderOptions {
    /// As wide as a page is on a laptop.
    fn default() -> Self {
        Self { chart_columns: 930 }
    }
}
