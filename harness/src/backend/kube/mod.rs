//! A real cluster: Kubernetes decides, Highwater acts and observes.

pub mod act;
pub mod client;
pub mod error;
pub mod home;
pub mod journal;
pub mod manifests;
pub mod names;
pub mod preflight;
pub mod rights;
