//! Relations between the fields of a scenario that its types cannot express.
