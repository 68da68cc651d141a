//! The program: scenario files, load engine, backends, record, analysis, reports.
//!
//! A scenario becomes a [`plan`], a [`backend`] carries it out and writes a [`record`],
//! [`analyze`] says what the record means, and [`report`] shows it.

pub mod agent;
pub mod analyze;
pub mod backend;
pub mod calibrate;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod doctor;
pub mod drain;
pub mod explain;
pub mod fidelity;
#[doc(hidden)]
pub mod fuzz;
pub mod generator;
#[cfg(test)]
mod golden;
pub mod http1;
pub mod image;
pub mod import;
pub mod init;
pub mod limits;
pub mod lint;
pub mod live;
pub mod load;
pub mod plan;
pub mod proxy;
pub mod proxy_pod;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod signals;
pub mod tui;
pub mod tune;
pub mod watch;
