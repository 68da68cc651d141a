//! Runs in virtual time, boiled down to figures, and what is planted in them.

use highwater::{
    backend::{Backend as _, Control, Progress, sim::Sim},
    compare::{
        Options, compare,
        result::Comparison,
        run::{self, RunFigures},
    },
    plan::Plan,
    record::{BackendKind, EndReason, Footer, Line, RunRecord, Sink as _},
    scenario,
};
use highwater_model::rng::Stream;
use tokio::sync::watch;

/// The record of a bundled scenario in virtual time.
pub(crate) fn record(name: &str, sets: &[&str], seed: u64) -> RunRecord {
    let overrides = scenario::Overrides {
        sets: sets.iter().map(ToString::to_string).collect(),
        seed: Some(seed),
    };
    let loaded = scenario::load(name, &overrides).expect("a scenario");
    let plan = Plan::new(loaded.scenario).expect("a plan");
    let mut record = RunRecord::new(plan.header(BackendKind::Sim));
    let (_interrupt, interrupts) = watch::channel(0);
    let mut progress = |_: &Progress| {};
    let mut control = Control { interrupts, progress: &mut progress };
    let ended = Sim.run(&plan, &mut record, &mut control).expect("it runs");
    let (end, limits) = (ended.end, ended.limits.unwrap_or_default());
    let reason = EndReason::Completed;
    let footer = Footer { end, reason, message: String::new(), lines: 0, limits };
    record.line(Line::Footer(footer)).expect("memory takes it");
    record.sort();
    record
}

/// Its figures.
pub(crate) fn simulate(name: &str, sets: &[&str], seed: u64) -> RunFigures {
    let label = format!("{name} {seed}");
    run::of_record(&label, &record(name, sets, seed), None).expect("a sound record")
}

/// `count` runs from a seed on.
pub(crate) fn simulate_many(
    name: &str,
    sets: &[&str],
    first: u64,
    count: usize,
) -> Vec<RunFigures> {
    (first..first + count as u64).map(|seed| simulate(name, sets, seed)).collect()
}

/// The same run in which each good answer is lost with this chance.
pub(crate) fn lose(mut run: RunFigures, chance: f64) -> RunFigures {
    let mut random = Stream::new(run.seed, "planted losses");
    for at in 0..run.cells.len() {
        let ok = run.cells[at].counts.ok;
        let lost = (0..ok).filter(|_| random.unit() < chance).count() as u64;
        run = burst(run, at, lost);
    }
    run
}

/// The same run in which so many good answers of one cell are lost.
pub(crate) fn burst(mut run: RunFigures, at: usize, lost: u64) -> RunFigures {
    let cause = highwater::analyze::Cause::Unexplained;
    let cell = &mut run.cells[at];
    for counts in [&mut cell.counts, &mut run.counts] {
        counts.ok -= lost;
        counts.failed += lost;
    }
    if lost > 0 {
        *cell.lost.entry(cause).or_default() += lost;
        *run.lost.entry(cause).or_default() += lost;
    }
    run
}

/// Compares without gates.
pub(crate) fn compared(base: &[RunFigures], new: &[RunFigures], options: &Options) -> Comparison {
    compare(("base", base), ("new", new), &[], options).expect("they fit together")
}
