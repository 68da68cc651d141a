//! `highwater calibrate`: a scenario that reproduces a run on the simulator.
//!
//! 1. `seen`: what the record shows
//! 2. `base`: the record's scenario, as far as the simulator has it
//! 3. `load`: which seconds are quiet, and which busy
//! 4. `fit`, with `shape` (quantiles and distributions) and `trial` (what a scenario gives on the
//!    simulator)
//! 5. `reproduce`: the run and its simulation side by side
//! 6. [`told`]: a calibration as data, of which [`text`] makes tables
//!
//! [`calibrate`] is a pure function of the record: the same record gives the same scenario on every
//! machine. Files and the terminal are [`main`]'s.

mod base;
mod fit;
mod load;
mod reproduce;
mod seen;
mod shape;
#[cfg(test)]
mod tests;
pub mod text;
pub mod told;
mod trial;

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use crate::{
    analyze::{self, AnalyzeError},
    backend::{Backend as _, BackendError, sim::Sim},
    cli::{self, BAD_INPUT, MET, NOT_CARRIED_OUT},
    plan::{Plan, PlanError},
    record::{self, EndReason, RunRecord, hist},
    scenario,
};
use seen::Seen;
pub use told::Calibration;

/// What to calibrate by.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The run folder of a run on local or kube, or its record file
    pub run: PathBuf,
    /// Write the scenario here; must not exist [default: the standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Take the scenario's service at its word, and fit the machine alone
    ///
    /// What is fitted then (the block `simulation`) holds for other scenarios on this machine, too.
    #[arg(long)]
    pub machine: bool,
    /// What is printed: tables (and the scenario, without --out), or JSON with all of it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// See [`Args::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables
    Text,
    /// JSON, as `highwater schema calibration` describes it
    Json,
}

/// Why there is no calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] record::ReadError),
    /// The record contradicts itself.
    #[error("analysing the record: {0}")]
    Analyze(#[from] AnalyzeError),
    /// A histogram of the record is damaged.
    #[error("the record is damaged: {0}")]
    Damaged(#[source] hist::DecodeError),
    /// It is a simulation already.
    #[error(
        "the run is of the simulator: there is nothing to calibrate; give a run on local or kube"
    )]
    Simulated,
    /// It has no end.
    #[error("the run did not come to its end ({0}); give one that did")]
    Unfinished(&'static str),
    /// Too little to go by.
    #[error(
        "the run has {answers} good answers in seconds without a failure; {least} are the least that \
         tell a service time: run it for longer, or with more requests"
    )]
    TooFew {
        /// How many there are.
        answers: u64,
        /// How many there must be.
        least: u64,
    },
    /// No simulation can stand for it.
    #[error("the run cannot be simulated: {0}")]
    Unfit(&'static str),
    /// The simulator refuses the scenario.
    #[error("the run cannot be simulated: {0}")]
    Plan(#[from] PlanError),
    /// The simulation failed.
    #[error("simulating the run: {0}")]
    Simulate(#[from] BackendError),
    /// The scenario cannot be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl CalibrateError {
    const fn code(&self) -> u8 {
        match self {
            Self::Simulate(_) | Self::Write { .. } => NOT_CARRIED_OUT,
            _ => BAD_INPUT,
        }
    }
}

/// Calibrates, and writes what was asked for; the exit code.
pub fn main(args: &Args) -> u8 {
    match run(args) {
        Ok(()) => MET,
        Err(error) => {
            let code = error.code();
            cli::complain(error);
            code
        }
    }
}

fn run(args: &Args) -> Result<(), CalibrateError> {
    let record = record::read(&args.run)?;
    if record.header.backend == record::BackendKind::Sim {
        return Err(CalibrateError::Simulated);
    }
    let calibration = calibrate(&record, args.machine)?;
    if let Some(path) = &args.out {
        write_new(path, &calibration.yaml)?;
    }
    let shown = match args.format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&calibration);
            json.expect("a calibration holds only what JSON can say") + "\n"
        }
        Format::Text if args.out.is_some() => text::render(&calibration),
        // The tables are its comments.
        Format::Text => calibration.yaml,
    };
    cli::show(&shown);
    Ok(())
}

fn write_new(path: &Path, text: &str) -> Result<(), CalibrateError> {
    let failed = |source| CalibrateError::Write { path: path.to_owned(), source };
    let mut file = fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

/// Fits a scenario to a record and runs it on the simulator. With `only_machine` the scenario's
/// service is taken at its word.
///
/// *Behaviour*: pure; the same record gives the same calibration. At most 400 trials of the scenario
/// are simulated.
///
/// # Errors
/// [`CalibrateError`], but for `Read`, `Simulated` and `Write`.
pub fn calibrate(record: &RunRecord, only_machine: bool) -> Result<Calibration, CalibrateError> {
    match record.footer.as_ref().map(|footer| footer.reason) {
        Some(EndReason::Completed) => {}
        Some(EndReason::Interrupted) => return Err(CalibrateError::Unfinished("interrupted")),
        Some(EndReason::Failed) => return Err(CalibrateError::Unfinished("it failed")),
        None => return Err(CalibrateError::Unfinished("its record was cut off")),
    }
    let analysis = analyze::analyze(record)?;
    let seen = Seen::of(record);
    let (base, parameters) = base::base(record, &seen, &analysis)?;
    Sim.check(&Plan::new(base.clone())?)?;
    let scope = if only_machine { fit::Scope::Machine } else { fit::Scope::All };
    let fitted = fit::fit(base, parameters, &seen, scope)?;
    let simulated = trial::simulate(&fitted.scenario)?;
    let again = analyze::analyze(&simulated)?;
    let reproduction = reproduce::reproduce((record, &analysis), (&simulated, &again));
    let [quiet_seconds, busy_seconds] = fitted.times.seconds;
    let mut calibration = Calibration {
        schema: told::SCHEMA.into(),
        scenario: record.header.scenario.name.clone(),
        backend: record.header.backend,
        answers: seen.seconds.iter().map(|second| second.ok).sum(),
        quiet_seconds,
        busy_seconds,
        trials: fitted.trials,
        parameters: fitted.parameters,
        reproduction,
        yaml: String::new(),
    };
    calibration.yaml = yaml(&fitted.scenario, &calibration);
    Ok(calibration)
}

/// The scenario file, with the tables as its comments.
fn yaml(scenario: &highwater_model::spec::Scenario, calibration: &Calibration) -> String {
    let mut out = String::from(
        "# Made by `highwater calibrate`, to be run with --backend sim. What was fitted, and how well it\n\
         # reproduces the run:\n#\n",
    );
    for line in text::render(calibration).lines() {
        let line = format!("# {line}");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push_str(&scenario::to_yaml(scenario));
    out
}
