//! `highwater compare` and `highwater baseline`: files in, pages and an exit code out.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use highwater_model::spec::Gate;

use super::{
    CompareError, Margins, Options, compare,
    input::{self, BASELINE, BASELINES, Baseline, InputError},
    result::{Comparison, Verdict},
    run::RunFigures,
    trend,
};
use crate::{
    cli::{self, BAD_INPUT, MET, MISSED, NOT_CARRIED_OUT},
    record, report, scenario,
};

/// More runs than this are not followed.
const TREND_MAX: usize = 1_000;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// BASE and NEW: each a run folder, a folder of run folders, a record, a summary.json, a
    /// baseline, or a pattern in quotes ('reports/spike-*'); with --baseline only NEW
    #[arg(required = true, num_args = 1..=2, value_name = "RUNS")]
    runs: Vec<String>,
    /// Compare with the committed baseline of this name (reports/baseline/NAME), or in this folder
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Gates in place of those of NEW's scenario: a YAML file with a list, or a scenario
    #[arg(long, value_name = "FILE")]
    gates: Option<PathBuf>,
    /// The exit code if it cannot be told, or a run cannot be trusted [default: 3]
    #[arg(long, value_enum, value_name = "AS")]
    cannot_tell: Option<CannotTell>,
    /// Compare although scenario, backend or machine differ
    #[arg(long)]
    force: bool,
    /// Latencies that differ by less, in percent, are the same
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    latency_margin: f64,
    /// Shares of lost requests that differ by less, in percentage points, are the same
    #[arg(long, value_name = "POINTS", default_value_t = 0.05)]
    loss_margin: f64,
    /// Numbers of pods that differ by less, in percent, are the same
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    pods_margin: f64,
    /// Write comparison.{html,json,md,xml} into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CannotTell {
    /// 0
    Pass,
    /// 1
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For programs
    Json,
    /// For a comment on a pull request
    Markdown,
    /// JUnit XML
    Junit,
    /// The page
    Html,
}

/// What to do with baselines.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum BaselineCommand {
    /// Write runs as the baseline that later runs are compared with
    Accept {
        /// Runs, as `compare` takes them
        runs: String,
        /// The baseline's name [default: the scenario's]
        #[arg(long)]
        name: Option<String>,
        /// Where baselines are
        #[arg(long, value_name = "DIR", default_value = BASELINES)]
        dir: PathBuf,
    },
}

/// What to follow.
#[derive(Clone, Debug, clap::Args)]
pub struct TrendArgs {
    /// Runs in the order of time, each as `compare` takes them
    #[arg(required = true, value_name = "RUNS")]
    runs: Vec<String>,
    /// Write the page here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Compare(#[from] CompareError),
    #[error("give BASE and NEW, or --baseline NAME and NEW")]
    Sides,
    #[error("a margin is a number of percent above 0")]
    Margin,
    #[error("a baseline of runs that cannot be trusted would make every later run look good: {0}")]
    Untrusted(String),
    #[error("`{0}` is no name of a baseline: letters, digits, dots, dashes and underscores")]
    Name(String),
    #[error("reading gates from {}: {reason}", path.display())]
    Gates { path: PathBuf, reason: String },
    #[error("writing {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl CommandError {
    const fn code(&self) -> u8 {
        match self {
            Self::Write { .. } => NOT_CARRIED_OUT,
            _ => BAD_INPUT,
        }
    }
}

/// Compares; the exit code.
pub fn main(args: &Args) -> u8 {
    told(run(args))
}

/// Accepts a baseline; the exit code.
pub fn baseline(command: &BaselineCommand) -> u8 {
    let BaselineCommand::Accept { runs, name, dir } = command;
    told(accept(runs, name.as_deref(), dir).map(|()| MET))
}

/// Follows runs in a row; the exit code.
pub fn trend(args: &TrendArgs) -> u8 {
    told(follow(args).map(|()| MET))
}

fn follow(args: &TrendArgs) -> Result<(), CommandError> {
    let mut runs = Vec::new();
    for given in &args.runs {
        runs.extend(input::read(given)?);
        let found = runs.len();
        if found > TREND_MAX {
            return Err(InputError::TooMany { path: given.into(), found, most: TREND_MAX }.into());
        }
    }
    let trend = trend::trend(&runs).map_err(CompareError::Damaged)?;
    if let Some(path) = &args.out {
        let failed = |source| CommandError::Write { path: path.clone(), source };
        fs::write(path, report::compare::trend::html(&trend)).map_err(failed)?;
    }
    cli::show(&if args.json {
        serde_json::to_string_pretty(&trend).expect("a trend holds only what JSON can say") + "\n"
    } else {
        report::compare::trend::text(&trend)
    });
    Ok(())
}

fn told(result: Result<u8, CommandError>) -> u8 {
    result.unwrap_or_else(|error| {
        cli::complain(&error);
        error.code()
    })
}

fn run(args: &Args) -> Result<u8, CommandError> {
    let (base_label, new_label) = match (args.runs.as_slice(), &args.baseline) {
        ([base, new], None) => (base.clone(), new.clone()),
        ([new], Some(name)) => (baseline_path(name), new.clone()),
        _ => return Err(CommandError::Sides),
    };
    let options = options(args)?;
    let (base, new) = (input::read(&base_label)?, input::read(&new_label)?);
    let gates = match &args.gates {
        Some(path) => gates_of_file(path)?,
        None => gates_of_runs(&new_label),
    };
    let compared = compare((&base_label, &base), (&new_label, &new), &gates, &options)?;
    let html = || report::compare::html::render(&compared, (&base, &new));
    if let Some(out) = &args.out {
        write_all(out, &compared, &html())?;
    }
    cli::show(&match args.format {
        Format::Text => report::compare::text::render(&compared),
        Format::Json => json(&compared),
        Format::Markdown => report::compare::markdown::render(&compared),
        Format::Junit => report::compare::junit::render(&compared),
        Format::Html => html(),
    });
    if env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        github(&compared, args.format)?;
    }
    Ok(code(compared.verdict, args.cannot_tell))
}

const fn code(verdict: Verdict, cannot_tell: Option<CannotTell>) -> u8 {
    match (verdict, cannot_tell) {
        (Verdict::Worse, _) => MISSED,
        (Verdict::Better | Verdict::Same, _) => MET,
        (Verdict::CannotTell | Verdict::Untrusted, Some(CannotTell::Pass)) => MET,
        (Verdict::CannotTell | Verdict::Untrusted, Some(CannotTell::Fail)) => MISSED,
        (Verdict::CannotTell | Verdict::Untrusted, None) => NOT_CARRIED_OUT,
    }
}

fn options(args: &Args) -> Result<Options, CommandError> {
    let share = |percent: f64| {
        let fits = percent.is_finite() && percent > 0.0 && percent <= 1_000.0;
        fits.then_some(percent / 100.0).ok_or(CommandError::Margin)
    };
    let margins = Margins {
        latency: share(args.latency_margin)?,
        loss: share(args.loss_margin)?,
        pods: share(args.pods_margin)?,
    };
    Ok(Options { margins, force: args.force, ..Options::default() })
}

/// A name among the committed baselines, or a path.
fn baseline_path(name: &str) -> String {
    let committed = Path::new(BASELINES).join(name);
    if committed.exists() { committed.display().to_string() } else { name.into() }
}

/// The gates of the scenario of the first of NEW's records; none without a record.
fn gates_of_runs(given: &str) -> Vec<Gate> {
    let first = input::first_record(given);
    first
        .and_then(|path| record::read_header(&path).ok())
        .map_or_else(Vec::new, |header| header.scenario.gates)
}

fn gates_of_file(path: &Path) -> Result<Vec<Gate>, CommandError> {
    let failed = |reason: String| CommandError::Gates { path: path.to_owned(), reason };
    let length = fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > scenario::FILE_BYTES_MAX {
        return Err(failed(format!("it is longer than {} bytes", scenario::FILE_BYTES_MAX)));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    scenario::gates(&text).map_err(failed)
}

fn write_all(out: &Path, compared: &Comparison, html: &str) -> Result<(), CommandError> {
    let failed = |path: &Path, source| CommandError::Write { path: path.to_owned(), source };
    fs::create_dir_all(out).map_err(|source| failed(out, source))?;
    let json = json(compared);
    let markdown = report::compare::markdown::render(compared);
    let junit = report::compare::junit::render(compared);
    for (name, text) in [
        ("comparison.html", html),
        ("comparison.json", &json),
        ("comparison.md", &markdown),
        ("comparison.xml", &junit),
    ] {
        let path = out.join(name);
        fs::write(&path, text).map_err(|source| failed(&path, source))?;
    }
    Ok(())
}

fn json(compared: &Comparison) -> String {
    let text = serde_json::to_string_pretty(compared);
    text.expect("a comparison holds only what JSON can say") + "\n"
}

/// Annotations where the log is read by GitHub, and the summary of the step.
fn github(compared: &Comparison, format: Format) -> Result<(), CommandError> {
    // Commands in the middle of JSON or XML would spoil it.
    if matches!(format, Format::Text | Format::Markdown) {
        cli::show(&report::compare::github::annotations(compared));
    }
    let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from) else { return Ok(()) };
    let failed = |source| CommandError::Write { path: path.clone(), source };
    let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).map_err(failed)?;
    file.write_all(report::compare::markdown::render(compared).as_bytes()).map_err(failed)
}

fn accept(given: &str, name: Option<&str>, dir: &Path) -> Result<(), CommandError> {
    let mut runs: Vec<RunFigures> = input::read(given)?;
    if let Some(run) = runs.iter().find(|run| !run.doubts.is_empty()) {
        return Err(CommandError::Untrusted(format!("{}: {}", run.label, run.doubts.join("; "))));
    }
    let name = name.unwrap_or(&runs[0].scenario).to_owned();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_name) {
        return Err(CommandError::Name(name));
    }
    // Where the runs lay is of no account to those who read the repository.
    for (index, run) in runs.iter_mut().enumerate() {
        run.label = format!("{name} baseline {}", index + 1);
    }
    let baseline =
        Baseline { schema: input::SCHEMA.into(), version: env!("CARGO_PKG_VERSION").into(), runs };
    let folder = dir.join(&name);
    let path = folder.join(BASELINE);
    let failed = |source| CommandError::Write { path: path.clone(), source };
    fs::create_dir_all(&folder).map_err(failed)?;
    let text = serde_json::to_string(&baseline).expect("a baseline holds only what JSON can say");
    // A line per run, so that a diff shows which changed.
    let text = text.replace("{\"label\"", "\n{\"label\"") + "\n";
    fs::write(&path, &text).map_err(failed)?;
    let (count, kib) = (baseline.runs.len(), text.len().div_ceil(1_024));
    cli::show(&format!("{}: {count} runs, {kib} KiB; commit it\n", path.display()));
    Ok(())
}
