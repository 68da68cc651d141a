//! What had to hold.

/// An objective and whether it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectiveResult {
    /// The objective in words: `latency.p99 <250ms during hold-2`.
    pub name: String,
    /// The value in the measure's unit (count, share, nanoseconds); `None` if it cannot be told.
    pub value: Option<f64>,
    /// The value in words.
    pub shown: String,
    /// Whether it holds.
    pub met: bool,
}
