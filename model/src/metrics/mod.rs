//! The way of metrics from the pods to the autoscaler, with its clocks: each part looks when its
//! own turn comes, so that what the autoscaler sees is always of some time ago.
//!
//! 1. CPU and memory: the kubelet reads, metrics-server scrapes and differences: [`resource`]
//! 2. custom metrics: Prometheus scrapes the pods, its adapter asks Prometheus: [`prometheus`],
//!    with the arithmetic of its query language in [`query`]
//!
//! The machines wish ([`Wish`]) for readings; the driver gives them: `local` from the processes,
//! `sim` from its model of a replica.

pub mod prometheus;
pub mod query;
pub mod resource;

use crate::cluster::ContainerId;

/// A reading that a part of the pipeline wants now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// What the container has used; answer with [`resource::ResourceMetrics::used`].
    Usage(ContainerId),
    /// What the container tells of itself; answer with [`prometheus::CustomMetrics::scraped`], or not
    /// at all if it does not answer.
    Scrape(ContainerId),
}
