//! The command: arguments, clock, files and terminal.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use clap::ValueEnum;
use highwater_model::time::{Nanos, SECOND};

use super::{Options, TuneError, Tuned, Watch, told::TuneVerdict, tune};
use crate::{
    cli::{self, BAD_INPUT, MET, MISSED, NOT_CARRIED_OUT},
    clock,
    record::folder,
    report,
    scenario::{self, Overrides},
};

/// What to tune.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A scenario file, or the name of a bundled one
    pub scenario: String,
    /// What may be changed: PATH=from..to, PATH=from..to:step, PATH=a,b,c, or a short name (target,
    /// metric, min, max, up-window, up-policies, up-select, up-tolerance, down-window, down-policies,
    /// down-select, down-tolerance, cpu-request, pre-stop, grace, readiness-period, readiness-delay)
    /// with or without values [default: the scenario's `tune`, else what its autoscaler has]
    #[arg(long = "param", value_name = "PATH=VALUES")]
    pub parameters: Vec<String>,
    /// Override a key of the scenario first: target.deployment.replicas=5
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Try no more settings after this time; the full simulations of the best follow
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub budget: Nanos,
    /// Try so many settings at most
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub settings: usize,
    /// Override the scenario's seed, which is also that of the search
    #[arg(long)]
    pub seed: Option<u64>,
    /// What a pod costs in an hour
    #[arg(long, value_name = "MONEY")]
    pub price: Option<f64>,
    /// Rate curves (CSV) in place of the scenario's traffic, scaled to its peak, cut into days
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub traces: Vec<PathBuf>,
    /// The folder for tune.json, report.html and patch.yaml; must not exist
    /// [default: reports/SCENARIO-tune-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Threads; the result does not depend on it [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// See [`Args::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal
    Text,
    /// tune.json
    Json,
}

/// Tunes, and writes what came of it; the exit code.
pub fn main(args: &Args) -> u8 {
    match run(args) {
        Ok(tuned) => match tuned.tuning.verdict {
            TuneVerdict::Better | TuneVerdict::NothingBetter => MET,
            TuneVerdict::NothingHolds => MISSED,
        },
        Err(Failed::Tune(error)) => {
            cli::complain(error);
            BAD_INPUT
        }
        Err(Failed::Write(path, error)) => {
            cli::complain(format!("writing {}: {error}", path.display()));
            NOT_CARRIED_OUT
        }
    }
}

enum Failed {
    Tune(Box<TuneError>),
    Write(PathBuf, io::Error),
}

impl<E: Into<TuneError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Tune(Box::new(error.into()))
    }
}

fn run(args: &Args) -> Result<Tuned, Failed> {
    let overrides = Overrides { sets: args.set.clone(), seed: args.seed };
    let loaded = scenario::load(&args.scenario, &overrides)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        parameters: args.parameters.clone(),
        settings: args.settings,
        price: args.price,
        traces: args.traces.clone(),
        threads: args.threads.unwrap_or(cores).clamp(1, 256),
    };
    let terminal = Terminal::new(args.budget);
    let tuned = tune(&loaded, &options, &terminal)?;
    let out = make_folder(args, &loaded.scenario.name)?;
    write_all(&out, &tuned)?;
    let shown = match args.format {
        Format::Json => json(&tuned),
        Format::Text => {
            let mut text = report::tune::text(&tuned.tuning);
            text.push_str(&format!("written: {}\n", out.display()));
            text
        }
    };
    cli::show(&shown);
    Ok(tuned)
}

fn make_folder(args: &Args, name: &str) -> Result<PathBuf, Failed> {
    let Some(out) = &args.out else {
        let reports = Path::new("reports");
        return folder::create(reports, &format!("{name}-tune"))
            .map_err(|error| Failed::Write(reports.to_owned(), error));
    };
    let made = match out.parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    };
    made.and_then(|()| fs::create_dir(out)).map_err(|error| Failed::Write(out.clone(), error))?;
    Ok(out.clone())
}

fn json(tuned: &Tuned) -> String {
    let json = serde_json::to_string_pretty(&tuned.tuning);
    json.expect("a result holds only what JSON can say") + "\n"
}

fn write_all(out: &Path, tuned: &Tuned) -> Result<(), Failed> {
    let mut files = vec![
        ("tune.json", json(tuned)),
        ("report.html", report::tune::html(&tuned.tuning, tuned.patch.as_deref())),
    ];
    files.extend(tuned.patch.clone().map(|patch| ("patch.yaml", patch)));
    for (name, text) in files {
        let path = out.join(name);
        fs::write(&path, text).map_err(|error| Failed::Write(path, error))?;
    }
    Ok(())
}

/// The clock of the budget, and lines of progress on stderr.
struct Terminal {
    begun: u64,
    budget: Nanos,
    told: AtomicU64,
}

impl Terminal {
    fn new(budget: Nanos) -> Self {
        Self { begun: clock::mono_ns(), budget, told: AtomicU64::new(0) }
    }

    fn gone(&self) -> u64 {
        clock::mono_ns().saturating_sub(self.begun)
    }
}

impl Watch for Terminal {
    fn is_over(&self) -> bool {
        self.gone() > self.budget.0
    }

    fn tell(&self, stage: &'static str, done: usize, of: usize) {
        let gone = self.gone();
        let last = self.told.load(Ordering::Relaxed);
        // A line per second, and the last of a stage.
        if gone.saturating_sub(last) < SECOND && done < of {
            return;
        }
        self.told.store(gone, Ordering::Relaxed);
        let left = self.budget.0.saturating_sub(gone) / SECOND;
        let until = match stage {
            "settings" => format!(", {left} s of the budget left"),
            _ => String::new(),
        };
        let line = format!("tune: {done} of {of} {stage}, {} s{until}", gone / SECOND);
        // Where nobody reads it, nothing is lost.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}
