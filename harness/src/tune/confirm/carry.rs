//! The runs on the real backend, one after the other.

use std::cell::OnceCell;

use highwater_model::time::{Nanos, human};

use super::{
    Asked, ConfirmError, Simulated,
    order::Job,
    shelf::{self, Kept},
};
use crate::{
    cli::{self, RunArgs},
    live::plain,
    run,
    signals::Signals,
};

/// All jobs in their order, until one fails.
pub(super) fn carry_out(
    asked: &Asked<'_>,
    jobs: &[Job],
    simulated: &[Simulated],
) -> Result<Vec<Option<Kept>>, ConfirmError> {
    let kind = asked.on.backend().1;
    let mut kept = Vec::new();
    for job in jobs {
        kept.push(shelf::look(job, kind)?);
    }
    let left = |kept: &[Option<Kept>]| {
        let missing = kept.iter().zip(simulated).filter(|(kept, _)| kept.is_none());
        Nanos(missing.map(|(_, one)| one.lasted.0).sum())
    };
    let count = kept.iter().filter(|kept| kept.is_none()).count();
    if count == 0 {
        plain::say(&format!("confirm: all {} runs are there already", jobs.len()));
        return Ok(kept);
    }
    plain::say(&format!(
        "confirm: {count} of {} runs to make on {}, about {} and what it takes to begin and end each",
        jobs.len(),
        kind.name(),
        human(left(&kept))
    ));
    let signals = OnceCell::new();
    for place in 0..jobs.len() {
        if kept[place].is_some() {
            continue;
        }
        let job = &jobs[place];
        let of = jobs.len();
        plain::say(&format!(
            "confirm: run {} of {of}, {}, seed {}; about {} left",
            place + 1,
            job.slug,
            job.seed,
            human(left(&kept))
        ));
        let code = one(asked, job, &signals);
        kept[place] = shelf::look_at(job, kind)?;
        let is_whole = kept[place].as_ref().is_some_and(|one| one.is_finished);
        if code == cli::BAD_INPUT || !is_whole || is_interrupted(&signals) {
            plain::say(&stopped(asked, &kept));
            break;
        }
    }
    Ok(kept)
}

fn is_interrupted(signals: &OnceCell<Signals>) -> bool {
    signals.get().is_some_and(|one: &Signals| *one.interrupts.borrow() > 0)
}

/// That no more is run, and how to go on.
fn stopped(asked: &Asked<'_>, kept: &[Option<Kept>]) -> String {
    let finished = kept.iter().flatten().filter(|one| one.is_finished).count();
    format!(
        "confirm: stopped after {finished} of {} runs; the same command with `--from {}` in place of \
         the search's own arguments makes the others",
        kept.len(),
        asked.out.display()
    )
}

/// Runs a job; the exit code.
fn one(asked: &Asked<'_>, job: &Job, signals: &OnceCell<Signals>) -> u8 {
    let args = RunArgs {
        scenario: asked.scenario.into(),
        backend: asked.on.backend().0,
        out: Some(job.folder.clone()),
        set: job.sets.clone(),
        seed: Some(job.seed),
        repeat: 1,
        tui: false,
        because: None,
        quiet: true,
        kube: asked.kube.clone(),
    };
    run::once(&args, signals)
}
