//! The program: scenario files, load engine, backends, record, analysis, reports.

pub mod analyze;
pub mod record;
