//! Rate profiles and arrival processes: when each request is owed.
