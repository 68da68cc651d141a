//! Highwater's small L7 reverse proxy: what an ingress proxy is to a service, with nothing hidden.
//!
//! A process of its own between the load engine and the pods, or a part of one that has its views
//! from elsewhere ([`serve_within`]). It has N workers, and each knows
//! the endpoints only from the views it was sent, keeps its own connections to them and has its
//! own place in the round. What it decides stands in [`highwater_model::proxy`], where the simulator
//! asks, too. Every response says what was met on the way to the pod ([`header`]).
//!
//! Stages of a request: `server` accepts and deals the connection to a worker → `downstream`
//! reads the request → `forward` picks an endpoint of the `worker`'s view, takes or opens a connection
//! (`upstream`) and tries again where that was asked for → `body` streams the answer back. `witness`
//! sees what the socket towards the pod shows and `classify` names it. [`protocol`] is what the harness and
//! the proxy say to each other; `report` is how the proxy says it.
//!
//! *Source*: `lifecycle-semantics.md` 4.1 (what sockets show) and 4.2, column nginx (what a proxy
//! makes of it).

mod body;
mod classify;
mod control;
mod downstream;
mod event;
mod forward;
pub mod header;
pub mod protocol;
mod report;
mod rewrite;
mod server;
mod upload;
mod upstream;
mod witness;
mod worker;

#[cfg(test)]
pub(crate) mod tests;

use std::{net::SocketAddr, num::NonZeroU32, process::ExitCode, time::Duration};

use highwater_model::{
    proxy::{IDLE_MAX, health::Limits},
    spec::{Balancing, Retry, validate::RETRIES_MAX},
    time::Nanos,
};
use serde::de::{DeserializeOwned, IntoDeserializer as _, value::StrDeserializer};
use tokio::io::BufReader;

use crate::clock::{mono_ns, process_cpu_ns as cpu_ns};

pub use report::QUEUE_MAX as REPORTS_MAX;
pub use server::{Ended, ServeError, bind, serve, serve_within};

/// How the proxy is started: a hidden subcommand of the harness.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 takes any, and the `started` event tells which.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// How many workers, each with its own view of the endpoints.
    #[arg(long, default_value = "1")]
    pub workers: NonZeroU32,
    /// How long to wait for a connection to a pod.
    #[arg(long, default_value = "5s")]
    pub connect_timeout: Nanos,
    /// How long to wait for the next byte of a pod's response.
    #[arg(long, default_value = "60s")]
    pub response_timeout: Nanos,
    /// After how long an idle connection to a pod is closed.
    #[arg(long, default_value = "60s")]
    pub idle_timeout: Nanos,
    /// Whether connections to pods are kept.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    pub keep_alive: bool,
    /// How many idle connections to pods a worker keeps (320 in ingress-nginx).
    #[arg(long, default_value_t = IDLE_MAX)]
    pub max_idle: usize,
    /// After how many requests a connection to a pod is closed; 0 is never.
    #[arg(long, default_value_t = 0)]
    pub max_requests_per_connection: u32,
    /// How the next endpoint is chosen, as `path.balancing`.
    #[arg(long, default_value = "round-robin", value_parser = named::<Balancing>)]
    pub balance: Balancing,
    /// The seed of what is chosen at random.
    #[arg(long, default_value_t = 1)]
    pub balance_seed: u64,
    /// Which requests are sent again, as `path.retry`.
    #[arg(long, default_value = "none", value_parser = named::<Retry>)]
    pub retry: Retry,
    /// How often a request is sent again at most.
    #[arg(long, default_value_t = 2)]
    pub retries: u32,
    /// After how many failures an endpoint is passed over; 0 is never.
    #[arg(long, default_value_t = 0)]
    pub max_fails: u32,
    /// Within how long it must fail so often, and for how long it is passed over.
    #[arg(long, default_value = "10s")]
    pub fail_timeout: Nanos,
}

/// What has that name in a scenario.
fn named<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    T::deserialize(name).map_err(|error| error.to_string())
}

/// How the proxy behaves; [`Args`] without the address, and what only tests change.
#[derive(Clone, Debug)]
pub struct Config {
    /// See [`Args::workers`].
    pub workers: NonZeroU32,
    /// See [`Args::connect_timeout`].
    pub connect_timeout: Duration,
    /// See [`Args::response_timeout`].
    pub response_timeout: Duration,
    /// See [`Args::idle_timeout`].
    pub idle_timeout: Duration,
    /// See [`Args::keep_alive`].
    pub keep_alive: bool,
    /// See [`Args::max_idle`].
    pub max_idle: usize,
    /// See [`Args::max_requests_per_connection`]; `u64::MAX` for no limit.
    pub max_requests: u64,
    /// See [`Args::balance`].
    pub balance: Balancing,
    /// See [`Args::balance_seed`].
    pub balance_seed: u64,
    /// See [`Args::retry`].
    pub retry: Retry,
    /// See [`Args::retries`].
    pub retries: u32,
    /// When an endpoint is passed over; never if `None`.
    passive_health: Option<Limits>,
    /// How long a client may take for the head of a request, between two pieces of its body, and
    /// to take the next piece of the response. 60 s as in nginx (`client_header_timeout`,
    /// `client_body_timeout`, `send_timeout`).
    pub client_timeout: Duration,
    /// How long the requests in flight may take after `stop`.
    pub stop_timeout: Duration,
}

/// Longest wait for a client; nginx's default for all three of its own.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest drain after `stop`.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Shortest of the time-outs towards pods: a timer cannot do less, and a zero would fire at once.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// The exit code when the proxy could not do its work or lost its harness.
const EXIT_NOT_CARRIED_OUT: u8 = 3;

impl From<&Args> for Config {
    fn from(args: &Args) -> Self {
        Self {
            workers: args.workers,
            connect_timeout: args.connect_timeout.to_std().max(TIMEOUT_MIN),
            response_timeout: args.response_timeout.to_std().max(TIMEOUT_MIN),
            idle_timeout: args.idle_timeout.to_std().max(TIMEOUT_MIN),
            keep_alive: args.keep_alive,
            max_idle: args.max_idle,
            max_requests: match args.max_requests_per_connection {
                0 => u64::MAX,
                most => u64::from(most),
            },
            balance: args.balance,
            balance_seed: args.balance_seed,
            retry: args.retry,
            retries: args.retries.min(RETRIES_MAX),
            passive_health: (args.max_fails > 0)
                .then_some(Limits { max_fails: args.max_fails, fail_timeout: args.fail_timeout.0 }),
            client_timeout: CLIENT_TIMEOUT,
            stop_timeout: STOP_TIMEOUT,
        }
    }
}

/// Runs the proxy: control on stdin, reports on stdout, one thread.
///
/// *Behaviour*: returns 0 after `stop`; 3 when stdin ended without it (the harness died), or when
/// the proxy could not start. What went wrong goes to stderr.
pub fn main_with(args: Args) -> ExitCode {
    crate::limits::raise_descriptors();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("starting the proxy's runtime failed: {error}")),
    };
    let ended = runtime.block_on(async {
        let listener = bind(args.listen)?;
        let control = BufReader::new(tokio::io::stdin());
        serve(listener, control, tokio::io::stdout(), Config::from(&args)).await
    });
    // The thread that reads stdin may be blocked there for good; it must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::ControllerGone) => fail("the proxy's stdin ended without a stop"),
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(message: &str) -> ExitCode {
    use std::io::Write;
    // Nobody is left to be told if stderr is closed too.
    let _ = writeln!(std::io::stderr(), "highwater proxy: {message}");
    ExitCode::from(EXIT_NOT_CARRIED_OUT)
}

/// `span` in nanoseconds; saturates.
fn ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
