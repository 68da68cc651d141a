//! `highwater drain`: the least preStop and grace period that lose nothing.
//!
//! 1. `trial`: the scenario made into many endings under load, run on the simulator, and what was
//!    lost
//! 2. `search`: the least preStop by bisection, then the least grace period
//! 3. [`told`]: the answer as data, why it is so long, and the patch; [`text`] prints it
//! 4. `confirm`: the same endings on processes or on a cluster
//!
//! [`drain`] is a pure function of the scenario; files, backends and the terminal are [`main`]'s.

mod confirm;
mod search;
#[cfg(test)]
mod tests;
pub mod text;
pub mod told;
mod trial;

use std::{io, path::PathBuf};

use clap::ValueEnum;
use highwater_model::spec::Scenario;

use crate::{
    analyze::AnalyzeError,
    backend::{Backend as _, BackendError, sim::Sim},
    cli::{self, BAD_INPUT, BackendArg, KubeArgs, MET, MISSED, NOT_CARRIED_OUT},
    plan::{Plan, PlanError},
    record::{self, BackendKind},
    scenario,
};
pub use told::Drain;

/// What to search for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A scenario file, or the name of a bundled one: its target, path and traffic count
    pub scenario: String,
    /// Override a key of the scenario: path.propagation=2s
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Override the seed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Which share of endings may lose a request, at 95 % confidence: 1% takes 299 endings
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = share)]
    pub bound: f64,
    /// The longest preStop that is looked at, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub max: u32,
    /// Let as many pods end on this backend, too, with what was found
    ///
    /// It takes as long as the endings do: some seconds per `replicas` of them.
    #[arg(long, value_enum)]
    pub confirm: Option<Confirm>,
    /// Where the confirming run is written; must not exist [default: reports/SCENARIO-drain-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// The cluster, with `--confirm kube`
    #[command(flatten)]
    pub kube: KubeArgs,
}

/// Where to confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Confirm {
    /// Processes on this machine
    Local,
    /// A cluster
    Kube,
}

impl Confirm {
    /// As `run` takes it, and as records have it.
    pub const fn backend(self) -> (BackendArg, BackendKind) {
        match self {
            Self::Local => (BackendArg::Local, BackendKind::Local),
            Self::Kube => (BackendArg::Kube, BackendKind::Kube),
        }
    }
}

/// See [`Args::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// In words
    Text,
    /// JSON, as `highwater schema drain` describes it
    Json,
    /// The patch alone, for `kubectl patch --patch-file` or a scenario
    Patch,
}

/// The least share that can be asked for: 30,000 endings.
const BOUND_MIN: f64 = 1e-4;

fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map(|share| share / scale);
    let share = share.map_err(|_| format!("`{text}` is no share; write it like 1%"))?;
    if !(BOUND_MIN..=0.5).contains(&share) {
        return Err(format!("`{text}` must be from 0.01% to 50%"));
    }
    Ok(share)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The scenario cannot be used.
    #[error("the endings cannot be simulated: {0}")]
    Plan(#[from] PlanError),
    /// Without a deployment or traffic nothing can be lost.
    #[error("there is nothing to drain: {0}")]
    Nothing(&'static str),
    /// The simulation failed.
    #[error("simulating the endings: {0}")]
    Simulate(#[from] BackendError),
    /// The record contradicts itself.
    #[error("analysing the endings: {0}")]
    Analyze(#[from] AnalyzeError),
    /// The confirming run cannot be read.
    #[error("reading the confirming run: {0}")]
    Read(#[from] record::ReadError),
    /// A file cannot be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DrainError {
    const fn code(&self) -> u8 {
        match self {
            Self::Plan(_) | Self::Nothing(_) => BAD_INPUT,
            _ => NOT_CARRIED_OUT,
        }
    }
}

/// Searches, confirms if that was asked for, and prints; the exit code.
pub fn main(args: &Args) -> u8 {
    let overrides = scenario::Overrides { sets: args.set.clone(), seed: args.seed };
    let loaded = match scenario::load(&args.scenario, &overrides) {
        Ok(loaded) => loaded,
        Err(error) => {
            cli::complain(error);
            return BAD_INPUT;
        }
    };
    match answer(args, &loaded.scenario) {
        Ok(found) => {
            let is_good = found.settings.is_some()
                && found.confirmed.as_ref().is_none_or(|confirmed| confirmed.held);
            print(args.format, &found);
            if is_good { MET } else { MISSED }
        }
        Err(error) => {
            let code = error.code();
            cli::complain(error);
            code
        }
    }
}

fn answer(args: &Args, scenario: &Scenario) -> Result<Drain, DrainError> {
    let mut found = drain(scenario, args.bound, args.max)?;
    if let (Some(on), Some(settings)) = (args.confirm, found.settings) {
        let of = trial::Endings::new(scenario, args.bound, 1)?;
        let plan = of.scenario(settings.into(), scenario.seed);
        found.confirmed = Some(confirm::confirm(args, on, &plan)?);
    }
    Ok(found)
}

fn print(format: Format, found: &Drain) {
    let shown = match format {
        Format::Text => text::render(found),
        Format::Patch => found.patch.clone().unwrap_or_default(),
        Format::Json => {
            let json = serde_json::to_string_pretty(found);
            json.expect("an answer holds only what JSON can say") + "\n"
        }
    };
    cli::show(&shown);
}

/// The least preStop (whole seconds, `max` at most) and grace period with which as many pods end
/// without a lost request or a SIGKILL as bound the share that loses one to `bound` at 95 %.
///
/// *Behaviour*: pure; the same scenario gives the same answer.
///
/// # Errors
/// [`DrainError`], but for `Read` and `Write`.
pub fn drain(scenario: &Scenario, bound: f64, max: u32) -> Result<Drain, DrainError> {
    Sim.check(&Plan::new(scenario.clone())?)?;
    let endings = trial::Endings::new(scenario, bound, trial::SEEDS)?;
    let found = search::search(&endings, max)?;
    Ok(told::tell(scenario, bound, max, &endings, found))
}
