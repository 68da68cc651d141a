//! The page: an overview, the words about it, and for each scenario its picture, its figures side
//! by side, and the differences as numbers.

use std::fmt::Write as _;

use super::{
    difference,
    group::{BACKENDS, Group, Run},
};
use crate::{
    analyze::{Analysis, Cause, Percentiles, Verdict},
    record::BackendKind,
    report::{
        figures::{self, NONE},
        markdown::{code, escape},
    },
};

const HEAD: &str = "\
# The same scenarios on local processes and on a cluster

<!-- Made by `just fidelity` from the records of runs: do not edit. The words are those of fidelity-notes.md. -->

Each scenario was run from the same file, with the same seed, on the processes of one machine (`local`) and on a cluster
(`kube`). Locally the controllers, the proxy's views and the kubelet's part are Highwater's own models, and pods are
processes on loopback; on the cluster all of this is Kubernetes. The figures are computed from the records. Their
explanations are written by hand.
";

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

fn columns(group: &Group) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    for backend in BACKENDS {
        let known = group.labelled().filter(|(_, run)| run.analysis.backend == backend);
        let known: Vec<Column<'_>> =
            known.map(|(label, run)| Column { label, run: Some(run) }).collect();
        if known.is_empty() {
            let why = if backend == BackendKind::Sim { "not there yet" } else { "not run" };
            columns.push(Column { label: format!("{} ({why})", backend.name()), run: None });
        }
        columns.extend(known);
    }
    columns
}

/// All pairs of a local run and one on a cluster.
fn pairs(group: &Group) -> impl Iterator<Item = (&Analysis, &Analysis)> {
    let kube = group.of(BackendKind::Kube);
    let local = group.of(BackendKind::Local).iter();
    local.flat_map(move |base| kube.iter().map(|other| (&base.analysis, &other.analysis)))
}

/// The least and the greatest of some numbers, shown as one if they are shown alike.
fn range(values: impl Iterator<Item = Option<f64>>, show: impl Fn(f64) -> String) -> String {
    let known: Option<Vec<f64>> = values.collect();
    let Some(known) = known.filter(|known| !known.is_empty()) else { return NONE.into() };
    let low = show(known.iter().copied().fold(f64::INFINITY, f64::min));
    let high = show(known.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    if low == high { low } else { format!("{low} to {high}") }
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2} ×")
}

pub(super) fn write(groups: &[Group], pictures: &[String], notes: &str) -> String {
    let mut out = String::from(HEAD);
    // Writing to a string does not fail.
    let _ = overview(&mut out, groups);
    out.push('\n');
    out.push_str(notes.trim());
    out.push('\n');
    for (group, picture) in groups.iter().zip(pictures) {
        let _ = scenario(&mut out, group, picture);
    }
    let _ = making(&mut out, groups);
    out
}

fn overview(out: &mut String, groups: &[Group]) -> std::fmt::Result {
    writeln!(
        out,
        "\n| scenario | lost, local | lost, kube | p95, kube / local | ready replicas equal |"
    )?;
    writeln!(out, "| --- | ---: | ---: | ---: | ---: |")?;
    for group in groups {
        let lost = |backend| {
            let runs = group.of(backend).iter();
            let lost = runs.map(|run| Some(figures::lost(&run.analysis.requests) as f64));
            range(lost, |lost| figures::count(lost as u64))
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            escape(&group.scenario),
            lost(BackendKind::Local),
            lost(BackendKind::Kube),
            ratio(group, |of| of.p95),
            equal(group, |point| point.ready),
        )?;
    }
    Ok(())
}

fn ratio(group: &Group, of: fn(&Percentiles) -> u64) -> String {
    let ratios =
        pairs(group).map(|(base, other)| difference::ratio(&base.latency, &other.latency, of));
    range(ratios, times)
}

fn equal(group: &Group, of: fn(&crate::analyze::ReplicaPoint) -> u32) -> String {
    let shares = pairs(group)
        .map(|(base, other)| difference::equal_share(&base.timeline, &other.timeline, of));
    range(shares, figures::percent)
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
    writeln!(out, "\nDifferences, kube against local:\n")?;
    differences(out, group)
}

fn table(out: &mut String, group: &Group) -> std::fmt::Result {
    let columns = columns(group);
    write!(out, "| |")?;
    for column in &columns {
        write!(out, " {} |", column.label)?;
    }
    writeln!(out, " kube / local |")?;
    writeln!(out, "| --- |{} ---: |", " ---: |".repeat(columns.len()))?;
    let mut row = |name: &str, of: &dyn Fn(&Analysis) -> String, last: &str| {
        write!(out, "| {name} |")?;
        for column in &columns {
            write!(out, " {} |", column.cell(of))?;
        }
        writeln!(out, " {last} |")
    };
    row("verdict", &verdict, "")?;
    for (name, of) in COUNTS {
        row(name, &|run| figures::count(of(run)), "")?;
    }
    for cause in causes(group) {
        let name = format!("lost: {}", escape(cause.title()).to_lowercase());
        let of = |run: &Analysis| {
            figures::count(difference::losses(run).get(&cause).copied().unwrap_or_default())
        };
        row(&name, &of, "")?;
    }
    for (name, of) in PERCENTILES {
        let shown = |run: &Analysis| figures::percentile(&run.latency, of(&run.latency));
        row(&format!("latency, {name}"), &shown, &ratio(group, of))?;
    }
    row("transitions", &transitions, "")?;
    row("ready replicas", &|run| format!("{} to {}", run.replicas.min, run.replicas.max), "")?;
    row("slowest scale-up", &scale_up, "")?;
    row(
        "send lag of the generator, p99",
        &|run| figures::percentile(&run.send_lag, run.send_lag.p99),
        "",
    )?;
    row("to be trusted", &|run| if run.audit.trusted { "yes" } else { "**no**" }.into(), "")
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

fn differences(out: &mut String, group: &Group) -> std::fmt::Result {
    if pairs(group).next().is_none() {
        return writeln!(out, "- nothing to compare: one of the two was not run");
    }
    writeln!(out, "- latency p95: {} as long", ratio(group, |of| of.p95))?;
    writeln!(
        out,
        "- replicas equal for so much of the time with traffic: desired {}, ready {}",
        equal(group, |point| point.desired),
        equal(group, |point| point.ready)
    )?;
    let lost = |run: &Analysis| figures::lost(&run.requests) as f64;
    let more = pairs(group).map(|(base, other)| Some(lost(other) - lost(base)));
    let more = range(more, |more| if more == 0.0 { "0".into() } else { format!("{more:+}") });
    writeln!(out, "- requests lost: {more}")?;
    writeln!(out, "- causes on one side only: {}", one_sided(group))?;
    scaling(out, group)
}

/// Causes that one side has in some run and the other in none.
fn one_sided(group: &Group) -> String {
    let all = |backend| -> Vec<Cause> {
        let runs = group.of(backend).iter();
        runs.flat_map(|run| difference::losses(&run.analysis).into_keys()).collect()
    };
    let (local, kube) = (all(BackendKind::Local), all(BackendKind::Kube));
    let side = |name: &str, of: &[Cause], other: &[Cause]| {
        let mut only: Vec<Cause> =
            of.iter().filter(|cause| !other.contains(cause)).copied().collect();
        only.sort_unstable();
        only.dedup();
        let names: Vec<String> = only.iter().map(|cause| code(cause.name())).collect();
        (!names.is_empty()).then(|| format!("{name} {}", names.join(", ")))
    };
    let sides = [side("local", &local, &kube), side("kube", &kube, &local)];
    let sides: Vec<String> = sides.into_iter().flatten().collect();
    if sides.is_empty() { "none".into() } else { sides.join("; ") }
}

fn scaling(out: &mut String, group: &Group) -> std::fmt::Result {
    let longer = |(base, other): (&Analysis, &Analysis)| {
        let span = |run| difference::time_to_scale(run).map(|(span, _)| span.as_secs_f64());
        Some(span(other)? - span(base)?)
    };
    if pairs(group).all(|pair| longer(pair).is_none()) {
        return Ok(());
    }
    let spans = range(pairs(group).map(longer), |span| format!("{span:+.1}"));
    writeln!(out, "- slowest scale-up, s: {spans}")
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
