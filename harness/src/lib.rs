//! The program: scenario files, load engine, backends, record, analysis, reports.

pub mod analyze;
pub mod clock;
pub mod load;
pub mod record;
