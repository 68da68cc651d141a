//! The proxy as a pod: what an ingress controller is to a Service, in one process.
//!
//! 1. what the harness tells it and what it says: [`Order`], [`Word`], on top of [`crate::agent`]
//! 2. from the Service's EndpointSlices to what may be chosen: [`slices`]
//! 3. when each worker learns of it: [`views`]
//! 4. what becomes of the proxy's reports: [`teller`]
//! 5. the process, a hidden subcommand: [`main_with`]
//!
//! The proxy itself ([`crate::proxy`]) has a thread of its own, so that neither the API server's
//! answers nor the harness hold up a request. It never waits for either: without the API server it
//! goes on with its last views, without the harness it goes on as it is.

mod order;
mod pod;
pub mod slices;
pub mod teller;
pub mod views;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use highwater_model::{spec::Distribution, time::Nanos};

use crate::proxy;

pub use order::{Order, ProxyPod, Word};
pub use pod::main_with;

/// How a proxy in a pod is started.
#[derive(Clone, Debug, clap::Args)]
// The proxy's own arguments are a group of that name.
#[group(id = "proxy-pod")]
pub struct Args {
    /// The Service whose endpoints are chosen from, in the pod's own namespace
    #[arg(long)]
    pub service: String,
    /// How long each worker takes to learn of a change, beside the cluster's own delays, as JSON
    #[arg(long, value_parser = distribution)]
    pub propagation: Distribution,
    /// The seed of these delays
    #[arg(long)]
    pub seed: u64,
    /// Where the harness connects; a loopback address, so that only a port-forward gets there
    #[arg(long, default_value = "127.0.0.1:9797")]
    pub control: SocketAddr,
    /// How long it goes on without a word of the harness
    #[arg(long, default_value = "1h")]
    pub orphan_after: Nanos,
    /// How many bytes of the record it keeps while the harness cannot be reached
    #[arg(long, default_value_t = 64 << 20)]
    pub kept_bytes: usize,
    /// The name of its pod
    #[arg(long, env = "POD_NAME", default_value = "")]
    pub pod: String,
    /// Its address
    #[arg(long, env = "POD_IP")]
    pub pod_ip: Option<IpAddr>,
    /// Its namespace
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// The name of its pod's node
    #[arg(long, env = "NODE_NAME", default_value = "")]
    pub node: String,
    /// The proxy itself
    #[command(flatten)]
    pub proxy: proxy::Args,
}

fn distribution(json: &str) -> Result<Distribution, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}
