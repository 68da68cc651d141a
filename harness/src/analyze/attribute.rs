//! The cause of each failure.
