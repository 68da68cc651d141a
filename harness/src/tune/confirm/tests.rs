//! What is run, and what is said of it.
