//! Series over time.
