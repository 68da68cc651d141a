//! The command: arguments, clock, files and terminal.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use highwater_model::time::Nanos;

use super::{
    Options, TuneError, Tuned,
    again::{self, AgainError},
    confirm::{self, ConfirmError},
    journal::{self, JournalError},
    terminal::Terminal,
    told::{ConfirmVerdict, TuneConfirm, TuneVerdict},
    tune,
};
use crate::{
    cli::{self, BAD_INPUT, KubeArgs, MET, MISSED, NOT_CARRIED_OUT},
    drain::Confirm,
    record::folder,
    report,
    scenario::{self, Loaded, Overrides},
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
    /// Run Kubernetes' default, the present and the recommended setting on this backend, too, and say
    /// whether the simulator's promise held
    ///
    /// It takes as long as their scenario does, so often; what is there already is not run again.
    #[arg(long, value_enum)]
    pub confirm: Option<Confirm>,
    /// With --confirm: run each setting so often, each time with the next seed [default: 3]
    #[arg(long, value_name = "N", requires = "confirm",
        value_parser = clap::value_parser!(u32).range(1..=confirm::REPEAT_MAX))]
    pub repeat: Option<u32>,
    /// With --confirm: search no more, but confirm what is in this folder of an earlier search
    #[arg(long, value_name = "DIR", requires = "confirm",
        conflicts_with_all = ["parameters", "budget", "settings", "price", "traces", "out"])]
    pub from: Option<PathBuf>,
    /// Go on with the search that was ended in this folder: the same scenario and arguments
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "from"])]
    pub resume: Option<PathBuf>,
    /// What is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Threads; the result does not depend on it [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// The cluster, with `--confirm kube`
    #[command(flatten)]
    pub kube: KubeArgs,
}

impl Args {
    fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.unwrap_or(cores).clamp(1, 256)
    }
}

/// See [`Args::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal
    Text,
    /// tune.json
    Json,
}

/// Tunes, confirms, and writes what came of it; the exit code.
pub fn main(args: &Args) -> u8 {
    match run(args) {
        Ok(code) => code,
        Err(failed) => {
            let code = failed.code();
            cli::complain(failed);
            code
        }
    }
}

/// Why there is no result, or no more of it than was written.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Tune(Box<TuneError>),
    #[error(transparent)]
    Again(#[from] AgainError),
    #[error(transparent)]
    Confirm(#[from] ConfirmError),
    #[error("writing {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Failed {
    fn code(&self) -> u8 {
        let Self::Tune(error) = self else { return self.later_code() };
        match **error {
            // A journal that is not there was named wrongly.
            TuneError::Journal(JournalError::Io { ref source, .. })
                if source.kind() != io::ErrorKind::NotFound =>
            {
                NOT_CARRIED_OUT
            }
            _ => BAD_INPUT,
        }
    }

    /// That of what can fail but the search itself.
    const fn later_code(&self) -> u8 {
        match self {
            Self::Tune(_) | Self::Again(_) => BAD_INPUT,
            Self::Confirm(
                ConfirmError::Scenario(_) | ConfirmError::Plan(_) | ConfirmError::Another { .. },
            ) => BAD_INPUT,
            Self::Confirm(_) | Self::Write { .. } => NOT_CARRIED_OUT,
        }
    }
}

impl<E: Into<TuneError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Tune(Box::new(error.into()))
    }
}

fn run(args: &Args) -> Result<u8, Failed> {
    let overrides = Overrides { sets: args.set.clone(), seed: args.seed };
    let loaded = scenario::load(&args.scenario, &overrides)?;
    if let Some(on) = args.confirm {
        confirm::check(on, &args.kube, &loaded)?;
    }
    let (out, mut tuned) = match &args.from {
        Some(folder) => (folder.clone(), again::read(folder, &loaded)?),
        None => search(args, &loaded)?,
    };
    let mut code = match tuned.tuning.verdict {
        TuneVerdict::Better | TuneVerdict::NothingBetter => MET,
        TuneVerdict::NothingHolds => MISSED,
    };
    if let Some(on) = args.confirm {
        let asked = confirm::Asked {
            loaded: &loaded,
            scenario: &args.scenario,
            sets: &args.set,
            on,
            repeat: args.repeat.unwrap_or(confirm::REPEAT),
            kube: &args.kube,
            threads: args.threads(),
            out: &out,
        };
        let confirmed = confirm::confirm(&asked, &tuned.tuning)?;
        code = code.max(code_of(&confirmed));
        let known = &mut tuned.tuning.confirm;
        known.retain(|one| one.backend != confirmed.backend);
        known.push(confirmed);
        known.sort_by_key(|one| one.backend);
        write_all(&out, &tuned)?;
    }
    show(args.format, &out, &tuned);
    Ok(code)
}

/// As [`cli`] has it: what was not carried out or cannot be trusted is worse than what was missed.
fn code_of(confirmed: &TuneConfirm) -> u8 {
    match confirmed.verdict {
        _ if !confirmed.complete || !confirmed.doubts.is_empty() => NOT_CARRIED_OUT,
        ConfirmVerdict::Misses => MISSED,
        _ => MET,
    }
}

fn search(args: &Args, loaded: &Loaded) -> Result<(PathBuf, Tuned), Failed> {
    let out = match &args.resume {
        Some(folder) => folder.clone(),
        None => make_folder(args, &loaded.scenario.name)?,
    };
    let journal =
        journal::Place { path: out.join(journal::FILE), is_resumed: args.resume.is_some() };
    let options = Options {
        parameters: args.parameters.clone(),
        settings: args.settings,
        price: args.price,
        traces: args.traces.clone(),
        threads: args.threads(),
        journal: Some(journal),
    };
    let hint = format!(
        "tune: what is tried is kept; if it is ended, `--resume {}` goes on",
        out.display()
    );
    let mut tuned = match tune(loaded, &options, &Terminal::new(args.budget, hint)) {
        Ok(tuned) => tuned,
        Err(error) => {
            if args.resume.is_none() {
                // It is empty if nothing was tried, and then it should not be there; else it stays.
                let _ = fs::remove_dir(&out);
            }
            return Err(error.into());
        }
    };
    if args.resume.is_some() {
        again::keep_confirmed(&out, loaded, &mut tuned.tuning);
    }
    // What follows may take hours; the result is there before.
    write_all(&out, &tuned)?;
    Ok((out, tuned))
}

fn show(format: Format, out: &Path, tuned: &Tuned) {
    cli::show(&match format {
        Format::Json => json(tuned),
        Format::Text => {
            let mut text = report::tune::text(&tuned.tuning);
            text.push_str(&format!("written: {}\n", out.display()));
            text
        }
    });
}

fn make_folder(args: &Args, name: &str) -> Result<PathBuf, Failed> {
    let Some(out) = &args.out else {
        let reports = Path::new("reports");
        return folder::create(reports, &format!("{name}-tune"))
            .map_err(|source| Failed::Write { path: reports.to_owned(), source });
    };
    let made = match out.parent() {
        Some(parent) => fs::create_dir_all(parent),
        None => Ok(()),
    };
    made.and_then(|()| fs::create_dir(out))
        .map_err(|source| Failed::Write { path: out.clone(), source })?;
    Ok(out.clone())
}

fn json(tuned: &Tuned) -> String {
    let json = serde_json::to_string_pretty(&tuned.tuning);
    json.expect("a result holds only what JSON can say") + "\n"
}

fn write_all(out: &Path, tuned: &Tuned) -> Result<(), Failed> {
    let mut files = vec![
        (again::RESULT, json(tuned)),
        (again::REPORT, report::tune::html(&tuned.tuning, tuned.patch.as_deref())),
    ];
    files.extend(tuned.patch.clone().map(|patch| (again::PATCH, patch)));
    for (name, text) in files {
        let path = out.join(name);
        fs::write(&path, text).map_err(|source| Failed::Write { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::BackendKind;

    #[test]
    fn what_was_not_carried_out_is_worse_than_what_was_missed() {
        use ConfirmVerdict::{CannotTell, Held, Misses, NotHeld};
        let rows = [
            (Held, true, false, MET),
            (NotHeld, true, false, MET),
            (CannotTell, true, false, MET),
            (Misses, true, false, MISSED),
            (Misses, false, false, NOT_CARRIED_OUT),
            (Held, true, true, NOT_CARRIED_OUT),
        ];
        for (verdict, complete, is_doubted, expected) in rows {
            let confirmed = TuneConfirm {
                backend: BackendKind::Local,
                repeat: 3,
                complete,
                verdict,
                why: Vec::new(),
                doubts: is_doubted.then(|| "a run cannot be trusted".into()).into_iter().collect(),
                settings: Vec::new(),
                comparisons: Vec::new(),
                calibrate: None,
            };
            assert_eq!(code_of(&confirmed), expected, "{verdict:?} {complete} {is_doubted}");
        }
    }
}
