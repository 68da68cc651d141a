//! The endings on a real backend, by the machinery of `highwater run`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use highwater_model::spec::Scenario;

use super::{
    Args, Confirm, DrainError, Format,
    told::{Confirmed, Tried, millis},
    trial::{Setting, Trial, needed},
};
use crate::{
    analyze,
    cli::RunArgs,
    record::{self, BackendKind, folder},
    run, scenario,
};

/// Runs a scenario made of endings, and tells what came of it.
pub(super) fn confirm(
    args: &Args,
    on: Confirm,
    endings: &Scenario,
) -> Result<Confirmed, DrainError> {
    let written = |path: &Path| {
        let path = path.to_owned();
        move |source| DrainError::Write { path, source }
    };
    let out = match &args.out {
        Some(out) => out.clone(),
        None => folder::create(Path::new("reports"), &endings.name)
            .and_then(|path| fs::remove_dir(&path).map(|()| path))
            .map_err(written(Path::new("reports")))?,
    };
    let file = beside(&out);
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).map_err(written(parent))?;
    }
    fs::write(&file, scenario::to_yaml(endings)).map_err(written(&file))?;
    let (backend, kind) = on.backend();
    // Its verdict is told by the record, and what kept it from being carried out by itself.
    let _ = run::run(&RunArgs {
        scenario: file.display().to_string(),
        backend,
        out: Some(out.clone()),
        set: Vec::new(),
        seed: None,
        tui: false,
        repeat: 1,
        because: None,
        quiet: args.format != Format::Text,
        kube: args.kube.clone(),
    });
    told(&out, kind, endings, u64::from(needed(args.bound)))
}

/// The scenario of a run folder, next to it: a run folder must not exist before its run.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".yaml");
    out.with_file_name(name)
}

fn told(
    out: &Path,
    backend: BackendKind,
    endings: &Scenario,
    wanted: u64,
) -> Result<Confirmed, DrainError> {
    let record = record::read(out)?;
    let template = &endings.target.deployment.template;
    let pre_stop = template.lifecycle.as_ref().and_then(|one| one.pre_stop.as_ref());
    let mut trial = Trial::of(Setting {
        pre_stop: pre_stop.and_then(|hook| hook.sleep.as_ref()).map_or(0, |sleep| sleep.seconds),
        grace: template.termination_grace_period_seconds,
    });
    trial.add(&record)?;
    let audit = analyze::analyze(&record)?.audit;
    let is_whole =
        record.footer.as_ref().is_some_and(|footer| footer.reason == record::EndReason::Completed);
    let mut doubts = audit.reasons;
    if !is_whole {
        doubts.push("it did not come to its end".into());
    }
    Ok(Confirmed {
        backend,
        run: out.display().to_string(),
        held: doubts.is_empty() && !trial.fails() && trial.endings >= wanted,
        doubts,
        tried: Tried::of(&trial),
        wanted,
        propagation: trial.propagation.map(|span| millis(span.as_millis_f64())),
        slowest_request: millis(trial.slowest.as_millis_f64()),
        drain: trial.drain.map(|span| millis(span.as_millis_f64())),
    })
}
