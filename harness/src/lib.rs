//! The program: scenario files, load engine, backends, record, analysis, reports.

pub mod analyze;
pub mod clock;
pub mod http1;
pub mod load;

pub mod proxy;
pub mod record;
pub mod scenario;
