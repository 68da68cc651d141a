//! `highwater run`: scenario, plan, backend, record, report.

use std::{
    cell::OnceCell,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    analyze::{self, Analysis, Summary, Verdict},
    backend::{
        Backend, BackendError, Control, Ended, Progress, kube::Kube, local::Local, sim::Sim,
    },
    cli::{self, BackendArg, RunArgs},
    limits,
    live::{
        Feed, LiveView, Shared,
        plain::{self, Plain},
    },
    plan::Plan,
    record::{self, EndReason, Footer, Line, Sink as _, Writer, folder},
    report, scenario,
    signals::Signals,
    tui::{self, Tui},
};
use highwater_model::{
    event::{Event, EventKind, Source, WarningCode},
    time::Timestamp,
};

/// A run that went wrong outside of the backend.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub struct RunError {
    doing: String,
    #[source]
    source: io::Error,
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let doing = what.into();
    move |source| RunError { doing, source }
}

/// Runs a scenario as often as is asked for; the exit code is that of the worst run.
///
/// *Behaviour*: each repeat has a seed of its own, counted up from the scenario's (or `--seed`), so
/// that the repeats of two builds can be compared in pairs; with `--out` the runs are folders in it.
/// A repeat that was interrupted or is refused is the last.
pub fn run(args: &RunArgs) -> u8 {
    if args.repeat <= 1 {
        return once(args, &OnceCell::new());
    }
    let overrides = scenario::Overrides { sets: args.set.clone(), seed: args.seed };
    let (first, name) = match scenario::load(&args.scenario, &overrides) {
        Ok(loaded) => (loaded.scenario.seed, loaded.scenario.name),
        Err(error) => return bad_input(error),
    };
    if let Some(parent) = &args.out
        && let Err(error) = fs::create_dir_all(parent)
    {
        return bad_input(doing(format!("making {}", parent.display()))(error));
    }
    let signals = OnceCell::new();
    let mut worst = cli::MET;
    for number in 0..u64::from(args.repeat) {
        let out = args.out.as_ref().map(|parent| parent.join(format!("{name}-{}", number + 1)));
        let seed = Some(first.wrapping_add(number));
        let code = once(&RunArgs { seed, out, repeat: 1, ..args.clone() }, &signals);
        worst = worst.max(code);
        let is_interrupted =
            signals.get().is_some_and(|one: &Signals| *one.interrupts.borrow() > 0);
        if code == cli::BAD_INPUT || is_interrupted {
            break;
        }
    }
    worst
}

/// One run; signals are heard from when it is carried out, once for all that are given the same cell.
pub(crate) fn once(args: &RunArgs, signals: &OnceCell<Signals>) -> u8 {
    let overrides = scenario::Overrides { sets: args.set.clone(), seed: args.seed };
    let loaded = match scenario::load(&args.scenario, &overrides) {
        Ok(loaded) => loaded,
        Err(error) => return bad_input(error),
    };
    let plan = match Plan::new(loaded.scenario.clone()) {
        Ok(plan) => plan,
        Err(error) => return bad_input(error),
    };
    limits::raise_descriptors();
    if let Err(error) = limits::check_descriptors() {
        cli::complain(error);
        return cli::NOT_CARRIED_OUT;
    }
    let mut backend: Box<dyn Backend> = match args.backend {
        BackendArg::Local => Box::new(Local::default()),
        BackendArg::Kube => Box::new(Kube::new(args.kube.options())),
        BackendArg::Sim => Box::new(Sim),
    };
    if let Err(error) = backend.check(&plan) {
        return bad_input(error);
    }
    let path = match make_folder(args, &plan.scenario.name) {
        Ok(path) => path,
        Err(error) => return bad_input(error),
    };
    let signals = signals.get_or_init(Signals::hear);
    match carry_out(path, (args, signals), &loaded, &plan, &mut *backend) {
        Ok(code) => code,
        Err(error) => {
            cli::complain(error);
            cli::NOT_CARRIED_OUT
        }
    }
}

fn bad_input(error: impl std::fmt::Display) -> u8 {
    cli::complain(error);
    cli::BAD_INPUT
}

fn carry_out(
    path: PathBuf,
    (args, signals): (&RunArgs, &Signals),
    loaded: &scenario::Loaded,
    plan: &Plan,
    backend: &mut dyn Backend,
) -> Result<u8, RunError> {
    backend.keep_logs_in(path.join("pods"));
    let write = |name: &str, text: &str| {
        let file = path.join(name);
        fs::write(&file, text).map_err(doing(format!("writing {}", file.display())))
    };
    write(folder::SCENARIO, &loaded.text)?;
    let note = args.because.clone().unwrap_or_default();
    let provenance = provenance(loaded, &note);
    let text = serde_json::to_string_pretty(&provenance)
        .map_err(|error| doing("the provenance")(error.into()))?;
    write(folder::PROVENANCE, &(text + "\n"))?;
    let record_path = path.join(folder::RECORD);
    let mut writer = Writer::create(&record_path, plan.header(backend.kind()))
        .map_err(|error| doing("making the record")(io::Error::other(error)))?;
    if !note.is_empty() {
        plain::say(&note);
        // It belongs to the record, since the report is made from that alone.
        let kind = EventKind::Warning { code: WarningCode::BackendFallback, message: note };
        let (at, source) = (Timestamp::ZERO, Source::Harness);
        let event = Event { at, seq: 0, source, precision: None, stated: None, kind };
        writer
            .line(Line::Event(event))
            .map_err(|error| doing("writing the record")(io::Error::other(error)))?;
    }
    plain::say(&headline(plan, backend.kind().name(), &path));
    let ended = show((args.tui, signals), plan, backend, &mut writer);
    let footer = footer(&ended);
    let failed = ended.as_ref().err().map(ToString::to_string);
    // Where the disk is full the footer is missing too, and the record says that it was cut off.
    let finished = writer.line(Line::Footer(footer)).and_then(|()| writer.flush());
    if let Some(reason) = &failed {
        cli::complain(reason);
    }
    if let Err(error) = finished {
        // The reason that ended the run may be this very one, and was told.
        if failed.is_none() {
            cli::complain(error);
        }
        return Ok(cli::NOT_CARRIED_OUT);
    }
    drop(writer);
    finish(&path, &provenance, args.quiet)
}

/// Runs, and shows how the run stands until it has ended.
fn show(
    (wants_tui, signals): (bool, &Signals),
    plan: &Plan,
    backend: &mut dyn Backend,
    writer: &mut Writer,
) -> Result<Ended, BackendError> {
    let shared = Shared::new(LiveView::new(&plan.scenario.name, backend.kind().name()));
    let tui = if wants_tui { open_tui(&shared, signals) } else { None };
    let mut line = Plain::new();
    let mut progress = |progress: &Progress| {
        shared.progress(progress);
        if tui.as_ref().is_none_or(|tui| !tui.is_under_way()) {
            shared.look(|view| line.tell(view));
        }
    };
    let interrupts = signals.interrupts.subscribe();
    let mut control = Control { interrupts, progress: &mut progress };
    let ended = backend.run(plan, &mut Feed::new(writer, shared.clone()), &mut control);
    match tui.map(Tui::end) {
        None => line.end(),
        Some(Ok(())) => {}
        Some(Err(error)) => plain::say(&format!("the terminal view ended early: {error}")),
    }
    ended
}

/// The terminal view; without one the plain lines tell of the run, and the first says why.
fn open_tui(shared: &Shared, signals: &Signals) -> Option<Tui> {
    let (interrupts, continued) = (signals.interrupts.clone(), signals.continued.clone());
    let opened = tui::fit()
        .map_err(io::Error::other)
        .and_then(|()| Tui::start(shared.clone(), interrupts, continued));
    opened
        .map_err(|error| plain::say(&format!("no terminal view: {error}; plain lines instead")))
        .ok()
}

/// What a run says first.
fn headline(plan: &Plan, backend: &str, path: &Path) -> String {
    let scenario = &plan.scenario;
    let separator = if scenario.description.is_empty() { "" } else { ": " };
    let (name, description) = (&scenario.name, &scenario.description);
    format!("{name}{separator}{description}\nbackend {backend}, results in {}", path.display())
}

/// Reads the record back and reports on it: what is reported is what is recorded.
fn finish(path: &Path, provenance: &folder::Provenance, is_quiet: bool) -> Result<u8, RunError> {
    let analysis = record::read(path)
        .map_err(|error| doing("reading the record back")(io::Error::other(error)))
        .and_then(|record| {
            analyze::analyze(&record)
                .map_err(|error| doing("analysing the record")(io::Error::other(error)))
        })?;
    write_reports(path, &analysis, Some(provenance))?;
    if !is_quiet {
        let mut out = io::stdout().lock();
        // A reader that went away is no error.
        let _ = writeln!(out, "{}", report::text::render(&analysis));
        let _ = writeln!(out, "report  {}", path.join(folder::REPORT).display());
    }
    Ok(match analysis.verdict {
        Verdict::Met => cli::MET,
        Verdict::Missed => cli::MISSED,
        Verdict::Untrusted | Verdict::Aborted => cli::NOT_CARRIED_OUT,
    })
}

fn make_folder(args: &RunArgs, name: &str) -> Result<PathBuf, RunError> {
    match &args.out {
        None => folder::create(Path::new("reports"), name)
            .map_err(doing("making a run folder in reports/")),
        Some(path) => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)
                    .map_err(doing(format!("making {}", parent.display())))?;
            }
            fs::create_dir(path)
                .map_err(doing(format!("making the run folder {}", path.display())))?;
            Ok(path.clone())
        }
    }
}

fn footer(ended: &Result<Ended, BackendError>) -> Footer {
    let here = limits::of_machine;
    match ended {
        Ok(ended) => Footer {
            end: ended.end,
            reason: ended.reason,
            message: String::new(),
            lines: 0,
            limits: ended.limits.clone().unwrap_or_else(here),
        },
        Err(error) => Footer {
            end: Timestamp::ZERO,
            reason: EndReason::Failed,
            message: error.to_string(),
            lines: 0,
            limits: here(),
        },
    }
}

/// `summary.json` as text.
pub fn summary_json(analysis: &Analysis) -> String {
    let summary = serde_json::to_string_pretty(&Summary::of(analysis));
    summary.expect("a summary holds only what JSON can say") + "\n"
}

/// Writes `report.html` and `summary.json`.
///
/// # Errors
/// If they cannot be written.
pub fn write_reports(
    path: &Path,
    analysis: &Analysis,
    provenance: Option<&folder::Provenance>,
) -> Result<(), RunError> {
    fs::create_dir_all(path).map_err(doing(format!("making {}", path.display())))?;
    let html = report::html::render(analysis, provenance, &report::RenderOptions::default());
    for (name, text) in [(folder::REPORT, html), (folder::SUMMARY, summary_json(analysis))] {
        let file = path.join(name);
        fs::write(&file, text).map_err(doing(format!("writing {}", file.display())))?;
    }
    Ok(())
}

/// The provenance of a run folder, if it can be read.
pub fn read_provenance(path: &Path) -> Option<folder::Provenance> {
    serde_json::from_str(&fs::read_to_string(path.join(folder::PROVENANCE)).ok()?).ok()
}

#[expect(clippy::disallowed_methods, reason = "the wall clock is what provenance is about")]
fn provenance(loaded: &scenario::Loaded, note: &str) -> folder::Provenance {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    folder::Provenance {
        started: target_service::lifecycle::rfc3339(
            since_epoch.as_secs(),
            since_epoch.subsec_nanos(),
        ),
        version: env!("CARGO_PKG_VERSION").into(),
        command: std::env::args().collect(),
        host: read("/proc/sys/kernel/hostname"),
        system: format!(
            "{} {} {}",
            std::env::consts::OS,
            read("/proc/sys/kernel/osrelease"),
            std::env::consts::ARCH
        ),
        processor: model
            .and_then(|line| line.split_once(':'))
            .map(|(_, name)| name.trim().into())
            .unwrap_or_default(),
        cores: limits::of_machine().cores,
        scenario: loaded.origin.to_string(),
        note: note.into(),
    }
}
