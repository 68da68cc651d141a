//! The load engine: raw sockets, every owed request with exactly one outcome.
//!
//! 1. the scenario's request kinds as bytes to send and answers to expect: [`request`]
//! 2. an incremental HTTP/1.1 response parser, bounded, without I/O: [`response`]
//! 3. counts, histograms and failures of the current second: [`recorder`]
//! 4. one thread with an epoll loop that sends what is due and reads what comes: [`engine`]
//! 5. as many of these as the rate needs, each with its exact share: `threads`
//!
//! The engine never waits for an answer before it sends the next request: a pure
//! [`highwater_model::load::Schedule`] says when each is owed, and latency counts from there. The
//! exception has a name: `traffic.saturate`, a closed loop, in which each request is owed when it
//! is sent.

mod connection;
pub mod engine;
mod poll;
pub mod recorder;
pub mod request;
pub mod response;
mod threads;

pub use threads::{Handle, StartError, start, start_on, threads};

use std::{net::SocketAddr, sync::Arc};

use crate::{
    clock::{self, RunClock},
    limits,
    record::{Line, Sample},
};
use highwater_model::{
    load::{Schedule, Share},
    outcome::Outcome,
    spec::Traffic,
    time::Timestamp,
};

/// What an engine is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The run's clock.
    pub clock: RunClock,
    /// When the traffic starts, on the run's axis.
    pub start: Timestamp,
    /// When each request is owed.
    pub schedule: Schedule,
    /// Which of the arrivals are this engine's. The cap on connections in `traffic` is its own
    /// already.
    pub share: Share,
    /// What to ask for.
    pub kinds: Vec<request::CompiledKind>,
    /// Connections and time-outs.
    pub traffic: Traffic,
    /// Where to connect.
    pub route: Route,
    /// What a proxy's instants (`x-highwater-upstream`) count by: the run's clock if the proxy
    /// runs on this machine.
    pub proxy_clock: RunClock,
    /// The run's seed; the engine draws kinds and endpoints from streams of its own.
    pub seed: u64,
}

/// Where connections go.
#[derive(Clone, Debug)]
pub enum Route {
    /// To a proxy that gives each request to a pod of its own choice (Highwater's, an ingress).
    /// Requests carry `x-request-id`, and answers may say in `x-highwater-upstream` what was done
    /// towards the pod, or in `x-highwater-pod` which pod they are of.
    Proxy(SocketAddr),
    /// To a Service's address (ClusterIP, NodePort), behind which a connection stays with its pod.
    /// As `Proxy`, and the pod that last answered on a connection is that of what fails on it.
    Service(SocketAddr),
    /// To a server of which nothing is known but its address.
    Url(SocketAddr),
    /// To the endpoints, each new connection to one of the view of the client that it belongs to;
    /// connections belong to `clients` clients in turn.
    Endpoints {
        /// How many clients, each with a view of its own.
        clients: u32,
    },
}

impl Route {
    /// Whether requests carry an id that what is on the way may tell of.
    pub const fn carries_id(&self) -> bool {
        matches!(self, Self::Proxy(_) | Self::Service(_))
    }
}

/// An order to a running engine.
#[derive(Clone, Debug)]
pub enum Control {
    /// A client's view of the endpoints from now on.
    View {
        /// Which client.
        client: u32,
        /// What it may choose.
        endpoints: Vec<(Arc<str>, SocketAddr)>,
    },
    /// Owe nothing more; let what is in flight end.
    Stop,
}

/// What an engine tells while it runs.
#[derive(Debug)]
pub enum Update {
    /// Once per second, and at the end: what became known since the last one.
    Second(Box<Second>),
    /// The engine cannot go on.
    Broken(String),
    /// All owed requests have their outcome.
    Finished,
}

/// One second's news.
#[derive(Debug, Default)]
pub struct Second {
    /// Which of the engine's threads tells it, from 0.
    pub thread: u32,
    /// Counts and histograms by second of schedule and phase.
    pub windows: Vec<(u64, u16, recorder::WindowPart)>,
    /// Failures.
    pub failures: Vec<highwater_model::outcome::Failure>,
    /// The engine's state.
    pub sample: Sample,
}

impl Second {
    /// 99th percentile of the good answers' latency, nanoseconds, in the window that has most of
    /// them.
    pub fn latency_p99(&self) -> Option<u64> {
        let good = self.windows.iter().filter_map(|(_, _, part)| part.outcomes.get(&Outcome::Ok));
        let latencies = good.filter_map(|part| part.times.as_ref().map(|times| &times[0]));
        latencies.max_by_key(|latency| latency.len()).map(|latency| latency.value_at_quantile(0.99))
    }

    /// The record's lines, with what this process uses. `generator`: whose they are, or the first
    /// thread's where each thread is a generator of its own.
    pub fn into_lines(self, generator: u32) -> Vec<Line> {
        let windows = self.windows.iter();
        let mut lines: Vec<Line> = windows
            .map(|(second, phase, part)| Line::Window(part.encode(*second, *phase)))
            .collect();
        lines.extend(self.failures.into_iter().map(|failure| {
            debug_assert_ne!(failure.outcome, Outcome::Ok);
            Line::Failure(Box::new(failure))
        }));
        lines.push(Line::Sample(Sample {
            generator: generator + self.thread,
            process_cpu: clock::process_cpu_ns(),
            descriptors: limits::open_descriptors(),
            ..self.sample
        }));
        lines
    }
}
