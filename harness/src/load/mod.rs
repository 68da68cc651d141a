//! The load engine: open loop, raw sockets, every owed request with exactly one outcome.
//!
//! 1. the scenario's request kinds as bytes to send and answers to expect: [`request`]
//! 2. an incremental HTTP/1.1 response parser, bounded, without I/O: [`response`]
//! 3. counts, histograms and failures of the current second: [`recorder`]
//! 4. one thread with an epoll loop that sends what is due and reads what comes: [`engine`]
//!
//! The engine never waits for an answer before it sends the next request: a pure
//! [`highwater_model::load::Schedule`] says when each is owed, and latency counts from there.

mod connection;
pub mod engine;
mod poll;
pub mod recorder;
pub mod request;
pub mod response;

use std::{net::SocketAddr, sync::Arc};

use highwater_model::{
    load::{Schedule, Share},
    outcome::Outcome,
    spec::Traffic,
    time::Timestamp,
};
use tokio::sync::mpsc;

use crate::{
    clock::{self, RunClock},
    limits,
    record::{Line, Sample, hist::Hist},
};

/// What an engine is to do.
#[derive(Debug)]
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
    /// Counts and histograms by second of schedule and phase.
    pub windows: Vec<(u64, u16, recorder::WindowPart)>,
    /// Failures.
    pub failures: Vec<highwater_model::outcome::Failure>,
    /// The engine's state.
    pub sample: Sample,
    /// Latency of the good answers in these windows.
    pub latency: Option<Box<Hist>>,
}

impl Second {
    /// The record's lines, with what this process uses. `generator`: whose they are.
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
            generator,
            process_cpu: clock::process_cpu_ns(),
            descriptors: limits::open_descriptors(),
            ..self.sample
        }));
        lines
    }
}

/// A running engine.
#[derive(Debug)]
pub struct Handle {
    control: std::sync::mpsc::Sender<Control>,
    waker: poll::Waker,
    /// News, in order; ends after [`Update::Finished`] or [`Update::Broken`].
    pub updates: mpsc::UnboundedReceiver<Update>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// An engine could not be started.
#[derive(Debug, thiserror::Error)]
#[error("starting the load engine: {0}")]
pub struct StartError(#[from] std::io::Error);

impl Handle {
    /// Gives an order; without effect once the engine has finished.
    pub fn order(&self, control: Control) {
        // Fails only when the engine is gone, which `updates` tells.
        let _ = self.control.send(control);
        self.waker.wake();
    }

    /// Waits for the thread's end; call after the last update.
    pub fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the engine was already seen as the end of `updates` without `Finished`.
            let _ = thread.join();
        }
    }
}

/// Starts an engine on a thread of its own.
///
/// # Errors
/// If the poller or the thread cannot be made.
pub fn start(config: Config) -> Result<Handle, StartError> {
    let (poller, waker) = poll::Poller::new()?;
    let (control, orders) = std::sync::mpsc::channel();
    let (news, updates) = mpsc::unbounded_channel();
    let engine = engine::Engine::new(config, poller, orders, news);
    let thread = std::thread::Builder::new().name("load".into()).spawn(move || engine.run())?;
    Ok(Handle { control, waker, updates, thread: Some(thread) })
}
