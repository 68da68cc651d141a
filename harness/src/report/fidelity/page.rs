//! The page: an overview, the words about it, and for each scenario its picture, its figures side
//! by side, and the differences as numbers.

use std::fmt::Write as _;

use super::{
    against::{self, Against},
    difference,
    group::{BACKENDS, Group, Run},
};
use crate::{
    analyze::{Analysis, Cause, Percentiles, Verdict},
    record::BackendKind,
    report::{
        figures::{self, NONE},
        markdown::escape,
    },
};

const HEAD: &str = "\
# The same scenarios on local processes, in the simulator and on a cluster

<!-- Made by `just fidelity` from the records of runs: do not edit. The words are those of fidelity-notes.md. -->

Each scenario was run from the same file, with the same seed, on the processes of one machine (`local`) and in virtual
time (`sim`), some on a cluster too (`kube`). Locally pods are real processes on loopback, with real signals, while the
controllers, the proxy's views and the kubelet's part are Highwater's own models; in the simulator all is a model; on a
cluster all is Kubernetes. The figures are computed from the records. Their explanations are written by hand.
";

/// The goals of a simulation beside the run of a machine: p95 off by no more than this share,
const P95_GOAL: f64 = 0.05;
/// and replicas the same within one sync for this share of the time.
const REPLICAS_GOAL: f64 = 0.95;

/// What is held against the local runs.
const OTHERS: [BackendKind; 2] = [BackendKind::Sim, BackendKind::Kube];

/// A column of a table; without a run where a backend has none.
struct Column<'a> {
    label: String,
    run: Option<&'a Run>,
}

impl Column<'_> {
    fn cell(&self, of: impl Fn(&Analysis) -> String) -> String {
        self.run.map_or_else(|| NONE.into(), |run| of(&run.analysis))
    }
}

/// The columns of local and sim, and of a cluster if there are such runs.
fn columns(group: &Group) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    for backend in BACKENDS {
        let known = group.labelled().filter(|(_, run)| run.analysis.backend == backend);
        let known: Vec<Column<'_>> =
            known.map(|(label, run)| Column { label, run: Some(run) }).collect();
        if known.is_empty() && backend != BackendKind::Kube {
            columns.push(Column { label: format!("{} (not run)", backend.name()), run: None });
        }
        columns.extend(known);
    }
    columns
}

/// The comparisons with local runs that a group has.
fn comparisons(group: &Group) -> impl Iterator<Item = Against<'_>> {
    OTHERS
        .into_iter()
        .filter(|other| !group.of(*other).is_empty())
        .map(|other| Against { group, other })
}

pub(super) fn write(groups: &[Group], pictures: &[String], notes: &str) -> String {
    let mut out = String::from(HEAD);
    // Writing to a string does not fail.
    let _ = overview(&mut out, groups, BackendKind::Sim);
    let _ = goals(&mut out, groups);
    let _ = overview(&mut out, groups, BackendKind::Kube);
    out.push('\n');
    out.push_str(notes.trim());
    out.push('\n');
    for (group, picture) in groups.iter().zip(pictures) {
        let _ = scenario(&mut out, group, picture);
    }
    let _ = making(&mut out, groups);
    out
}

/// One line for each scenario that was run on `other` as well as locally.
fn overview(out: &mut String, groups: &[Group], other: BackendKind) -> std::fmt::Result {
    let both: Vec<Against<'_>> = groups
        .iter()
        .map(|group| Against { group, other })
        .filter(|against| against.pairs().next().is_some())
        .collect();
    if both.is_empty() {
        return Ok(());
    }
    let name = other.name();
    writeln!(
        out,
        "\n| scenario | lost, local | lost, {name} | p50, {name} / local | p95, {name} / local | by chance | \
         p99, {name} / local | replicas within a sync |"
    )?;
    writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for against in &both {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            escape(&against.group.scenario),
            against.lost(BackendKind::Local),
            against.lost(other),
            against.ratio(|of| of.p50),
            against.ratio(|of| of.p95),
            against.chance(),
            against.ratio(|of| of.p99),
            against.within(|point| point.ready),
        )?;
    }
    Ok(())
}

/// In how many scenarios the simulator is as near as it is meant to be.
fn goals(out: &mut String, groups: &[Group]) -> std::fmt::Result {
    let other = BackendKind::Sim;
    let (mut all, mut p95, mut chance, mut replicas, mut causes) = (0, 0, 0, 0, 0);
    for against in groups.iter().map(|group| Against { group, other }) {
        for (base, run) in against.pairs() {
            let Some(off) =
                difference::ratio(&base.analysis.latency, &run.analysis.latency, |of| of.p95)
            else {
                continue;
            };
            all += 1;
            let off = (off - 1.0).abs();
            p95 += u32::from(off <= P95_GOAL);
            let by_chance = against::chance(base, run).unwrap_or_default();
            chance += u32::from(off <= P95_GOAL.max(by_chance));
            let within = against::within(base, run, |point| point.ready);
            replicas += u32::from(within.is_some_and(|share| share >= REPLICAS_GOAL));
            let of = |run: &Run| difference::losses(&run.analysis).into_keys().collect::<Vec<_>>();
            causes += u32::from(of(base) == of(run));
        }
    }
    if all == 0 {
        return Ok(());
    }
    writeln!(
        out,
        "\nThe simulator beside local processes, of {all} comparisons: p95 within 5 % in {p95}, within 5 % or what \
         chance alone may make in {chance}; ready replicas the same within one sync (15 s) for 95 % of the time in \
         {replicas}; the same causes of loss in {causes}."
    )
}

fn scenario(out: &mut String, group: &Group, picture: &str) -> std::fmt::Result {
    let name = escape(&group.scenario);
    writeln!(out, "\n## {name}\n")?;
    let description = group.labelled().map(|(_, run)| run.analysis.description.clone()).next();
    if let Some(text) = description.filter(|text| !text.trim().is_empty()) {
        writeln!(out, "{}\n", escape(&text))?;
    }
    writeln!(out, "![Replicas over time]({})\n", format_args!("images/{picture}"))?;
    for (label, run) in group.labelled() {
        writeln!(out, "- {label}: {}", escape(&run.analysis.path))?;
    }
    writeln!(out)?;
    table(out, group)?;
    for against in comparisons(group) {
        writeln!(out, "\nDifferences, {} against local:\n", against.other.name())?;
        against.differences(out)?;
    }
    Ok(())
}

fn table(out: &mut String, group: &Group) -> std::fmt::Result {
    let columns = columns(group);
    let others: Vec<Against<'_>> = comparisons(group).collect();
    write!(out, "| |")?;
    for column in &columns {
        write!(out, " {} |", column.label)?;
    }
    for against in &others {
        write!(out, " {} / local |", against.other.name())?;
    }
    writeln!(out, "\n| --- |{}", " ---: |".repeat(columns.len() + others.len()))?;
    type Ratio = fn(&Percentiles) -> u64;
    let mut row = |name: &str, of: &dyn Fn(&Analysis) -> String, ratio: Option<Ratio>| {
        write!(out, "| {name} |")?;
        for column in &columns {
            write!(out, " {} |", column.cell(of))?;
        }
        for against in &others {
            write!(out, " {} |", ratio.map_or_else(String::new, |of| against.ratio(of)))?;
        }
        writeln!(out)
    };
    row("verdict", &verdict, None)?;
    for (name, of) in COUNTS {
        row(name, &|run| figures::count(of(run)), None)?;
    }
    for cause in causes(group) {
        let name = format!("lost: {}", escape(cause.title()).to_lowercase());
        let of = |run: &Analysis| {
            figures::count(difference::losses(run).get(&cause).copied().unwrap_or_default())
        };
        row(&name, &of, None)?;
    }
    for (name, of) in PERCENTILES {
        let shown = |run: &Analysis| figures::percentile(&run.latency, of(&run.latency));
        row(&format!("latency, {name}"), &shown, Some(of))?;
    }
    row("transitions", &transitions, None)?;
    row("ready replicas", &|run| format!("{} to {}", run.replicas.min, run.replicas.max), None)?;
    row("slowest scale-up", &scale_up, None)?;
    row(
        "send lag of the generator, p99",
        &|run| figures::percentile(&run.send_lag, run.send_lag.p99),
        None,
    )?;
    row("to be trusted", &|run| if run.audit.trusted { "yes" } else { "**no**" }.into(), None)
}

type Count = (&'static str, fn(&Analysis) -> u64);
const COUNTS: [Count; 4] = [
    ("owed", |run| run.requests.owed),
    ("ok", |run| run.requests.ok),
    ("failed", |run| run.requests.failed),
    ("unsent", |run| run.requests.unsent),
];

type Quantile = (&'static str, fn(&Percentiles) -> u64);
const PERCENTILES: [Quantile; 5] = [
    ("p50", |of| of.p50),
    ("p90", |of| of.p90),
    ("p95", |of| of.p95),
    ("p99", |of| of.p99),
    ("max", |of| of.max),
];

fn verdict(run: &Analysis) -> String {
    match run.verdict {
        Verdict::Met => "met".into(),
        other => format!("**{}**", other.name()),
    }
}

fn transitions(run: &Analysis) -> String {
    let seen = &run.transitions;
    if seen.observed == 0 {
        return "0".into();
    }
    let bound = figures::percent(seen.upper_bound95);
    format!("{}, {} with a loss (at most {bound})", seen.observed, seen.with_loss)
}

fn scale_up(run: &Analysis) -> String {
    match difference::time_to_scale(run) {
        None => NONE.into(),
        Some((span, true)) => figures::nanos(span.0),
        Some((span, false)) => format!("at least {}", figures::nanos(span.0)),
    }
}

/// Every cause that any run has, and the unexplained in any case.
fn causes(group: &Group) -> Vec<Cause> {
    let mut causes = vec![Cause::Unexplained];
    for (_, run) in group.labelled() {
        causes.extend(difference::losses(&run.analysis).into_keys());
    }
    causes.sort_unstable();
    causes.dedup();
    causes
}

/// An instant of RFC 3339 to the minute.
fn minute(instant: &str) -> String {
    instant.replacen('T', " ", 1).chars().take("2026-01-01 00:00".len()).collect()
}

fn making(out: &mut String, groups: &[Group]) -> std::fmt::Result {
    writeln!(out, "\n## The runs\n")?;
    writeln!(out, "| scenario | on | seed | started (UTC) | build | machine | Kubernetes |")?;
    writeln!(out, "| --- | --- | ---: | --- | --- | --- | --- |")?;
    for group in groups {
        for (label, run) in group.labelled() {
            let known = run.provenance.clone().unwrap_or_default();
            let machine = match known.cores {
                0 => NONE.into(),
                cores => format!("{} cores, {}, {}", cores, known.processor, known.system),
            };
            let cluster = run.cluster.as_ref().map_or_else(
                || NONE.into(),
                |(version, nodes)| {
                    format!("{version}, {}", figures::counted(*nodes as u64, "node"))
                },
            );
            let or_none = |text: &str| if text.is_empty() { NONE.into() } else { escape(text) };
            writeln!(
                out,
                "| {} | {label} | {} | {} | {} | {} | {} |",
                escape(&group.scenario),
                run.analysis.seed,
                or_none(&minute(&known.started)),
                or_none(&known.version),
                escape(&machine),
                escape(&cluster),
            )?;
        }
    }
    Ok(())
}
