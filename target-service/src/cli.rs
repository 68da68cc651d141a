//! Settings, from flags and the environment.

use std::{net::IpAddr, process::ExitCode, str::FromStr, time::Duration};

use crate::{
    duration::{self, Distribution},
    misbehave::Misbehaviour,
    scaling, server,
};

/// The reference service: a well-behaved HTTP server to put under load.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "target-service", version)]
pub struct Args {
    /// Address to listen on; `::` for IPv6
    #[arg(long, env = "HOST", default_value = "0.0.0.0")]
    pub host: IpAddr,
    /// Port to listen on
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// A port of its own for probes and metrics, open before the main one
    #[arg(long, env = "HEALTH_PORT")]
    pub health_port: Option<u16>,
    /// Name of this pod, told in `x-highwater-pod` and in lifecycle events
    #[arg(long, env = "POD_NAME", default_value = "")]
    pub pod_name: String,
    /// From the start of the process to its listening
    #[arg(long, default_value = "0", value_parser = duration::parse)]
    pub startup: Duration,
    /// CPU time of a request
    #[arg(long, default_value = "0", value_parser = duration::parse)]
    pub cpu: Duration,
    /// Waiting time of a request: 12ms, exponential:12ms, uniform:0ms:20ms or lognormal:12ms:60ms
    #[arg(long, default_value = "0")]
    pub latency: Distribution,
    /// Size of an answer's body
    #[arg(long, default_value_t = 0)]
    pub body: u64,
    /// Seed of the waiting times
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How long to serve on after SIGTERM: until every client knows that this pod goes
    #[arg(long, default_value = "5s", value_parser = duration::parse)]
    pub drain_delay: Duration,
    /// When to cancel what is still in flight, from SIGTERM
    #[arg(long, default_value = "30s", value_parser = duration::parse)]
    pub drain_deadline: Duration,
    /// A simulated dependency and how long closing it takes: NAME=DURATION
    #[arg(long = "dependency", value_name = "NAME=DURATION")]
    pub dependencies: Vec<Dependency>,
    /// How long closing one dependency may take
    #[arg(long, default_value = "2s", value_parser = duration::parse)]
    pub dependency_timeout: Duration,
    /// After how long an idle connection is closed
    #[arg(long, default_value = "120s", value_parser = duration::parse)]
    pub idle_timeout: Duration,
    /// Requests of /work that are worked on at once; the others wait
    #[arg(long)]
    pub workers: Option<std::num::NonZeroU32>,
    /// How many may wait for a worker; any number if not given
    #[arg(long, requires = "workers")]
    pub queue: Option<u32>,
    /// What becomes of a request that finds the queue full
    #[arg(long, value_enum, default_value_t)]
    pub when_full: WhenFull,
    /// How long requests are slower, from the listening
    #[arg(long, value_parser = duration::parse, conflicts_with = "warm_up_requests")]
    pub warm_up_for: Option<Duration>,
    /// How many requests are slower
    #[arg(long)]
    pub warm_up_requests: Option<u64>,
    /// How many times as long they take
    #[arg(long, default_value_t = 1.0, value_parser = factor)]
    pub warm_up_factor: f64,
    /// What becomes of a request whose client is gone
    #[arg(long, value_enum, default_value_t)]
    pub on_cancel: OnCancel,
    /// A folder in which a file of a dependency's name says that it is out
    #[arg(long)]
    pub outages: Option<std::path::PathBuf>,
    /// Wrong behaviours, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub misbehave: Vec<Misbehaviour>,
    /// Settings of `self-scaling`.
    #[command(flatten)]
    pub scaling: scaling::ScalingArgs,
}

/// What becomes of a request that finds the queue full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum WhenFull {
    /// It is answered 503 at once.
    #[default]
    Unavailable,
    /// Its connection is closed without an answer.
    Close,
}

/// What becomes of a request whose client is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnCancel {
    /// It waits no more, neither for its turn nor in it; CPU work that was begun is done.
    #[default]
    Stop,
    /// It is worked on to its end.
    Finish,
}

/// A factor from 1 to 1000.
fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (1.0..=1_000.0).contains(factor));
    factor.ok_or_else(|| format!("`{text}` is no number from 1 to 1000"))
}

/// A simulated dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// How long closing it takes.
    pub close: Duration,
}

impl FromStr for Dependency {
    type Err = duration::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, close) =
            text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                duration::ParseError {
                    text: text.into(),
                    expected: "a dependency; write it like db=500ms",
                }
            })?;
        Ok(Self { name: name.into(), close: duration::parse(close)? })
    }
}

/// Settings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// It could not show.
    #[error("`{0}` shows only with a health port; give --health-port")]
    NeedsHealthPort(Misbehaviour),
    /// Not a header value.
    #[error("the pod name {0:?} cannot be a header's value")]
    PodName(String),
    /// Beyond what a request may ask for.
    #[error("--{0} is beyond what a request may ask for")]
    TooMuch(&'static str),
    /// `self-scaling` lacks something.
    #[error(transparent)]
    Scaling(#[from] scaling::ArgsError),
}

impl Args {
    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), SettingsError> {
        let lacks_port =
            |how: &&Misbehaviour| how.needs_health_port() && self.health_port.is_none();
        if let Some(how) = self.misbehave.iter().find(lacks_port) {
            return Err(SettingsError::NeedsHealthPort(*how));
        }
        if hyper::header::HeaderValue::from_str(&self.pod_name).is_err() {
            return Err(SettingsError::PodName(self.pod_name.clone()));
        }
        if self.cpu > crate::work::CPU_MAX {
            return Err(SettingsError::TooMuch("cpu"));
        }
        if self.body > crate::work::BYTES_MAX {
            return Err(SettingsError::TooMuch("body"));
        }
        if self.misbehave.contains(&Misbehaviour::SelfScaling) {
            self.scaling.check()?;
        }
        Ok(())
    }
}

/// Runs the service until it is told to end. Exit codes: that of the shutdown; 2 for settings that
/// cannot be followed; 1 if a port cannot be opened, or `self-scaling` finds no service account.
#[expect(clippy::print_stderr, reason = "the last words of a program that cannot start")]
pub fn main_with(args: Args) -> ExitCode {
    if let Err(error) = args.check() {
        eprintln!("target-service: {error}");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Requests that burn CPU at the same time; the others wait for a thread.
        .max_blocking_threads(64)
        .build();
    let ended = runtime.map(|runtime| {
        let code = runtime.block_on(server::run(args));
        // Threads of the pool that still burn CPU for cancelled requests are not waited for.
        runtime.shutdown_background();
        code
    });
    match ended {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(error)) => {
            eprintln!("target-service: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("target-service: starting the runtime: {error}");
            ExitCode::FAILURE
        }
    }
}
