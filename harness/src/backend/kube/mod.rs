//! A real cluster: Kubernetes decides, Highwater acts and observes.

pub mod observe;
pub mod watch;
