//! Two sides of a comparison on one axis of time, which begins with the traffic of each, and the
//! difference below.

use std::collections::BTreeMap;

use super::{
    super::clean,
    build::{max, series},
    model::{
        Band, ChartModel, Ink, Panel, Point, Scale, Series, Shape, Tick, Unit, ValueAxis,
        ValuePanel,
    },
    series as thinned, ticks,
};
use crate::{
    compare::{changes, run::RunFigures},
    record::hist::{self, DecodeError},
};

/// The latency that is set against the other side's.
const QUANTILE: f64 = 0.99;
/// More phases than this are not drawn.
const PHASES_MAX: usize = 60;
/// Differences beyond this are drawn at the edge, in percent.
const PERCENT_MAX: f64 = 200.0;

/// All runs of a side, added up by stretch of time.
#[derive(Default)]
struct Stretch {
    runs: u64,
    lost: u64,
    p50: f64,
    p99: f64,
}

/// A picture of two sides, and since when they differ.
pub(in super::super) struct Sides {
    /// The picture.
    pub(in super::super) model: ChartModel,
    /// From when to when, in seconds of the traffic, and by which share the new's p99 is higher.
    pub(in super::super) stretches: Vec<(f64, f64, f64)>,
}

/// The picture of two sides; `None` if they have no cells of one length.
///
/// # Errors
/// If a histogram is damaged.
pub(in super::super) fn build(
    (base, new): (&[RunFigures], &[RunFigures]),
    columns: u32,
) -> Result<Option<Sides>, DecodeError> {
    let seconds = base.first().map_or(0, |run| run.cell_seconds);
    let all = || base.iter().chain(new);
    if seconds == 0 || all().any(|run| run.cell_seconds != seconds || run.cells.is_empty()) {
        return Ok(None);
    }
    let (base_cells, new_cells) = (stretches(base)?, stretches(new)?);
    let last = base_cells.keys().chain(new_cells.keys()).max().copied().unwrap_or_default();
    let mut time = ticks::time_axis(0.0, ((last + 1) * seconds) as f64, columns);
    time.label = time.label.replace("of the run", "of the traffic");
    let ratios = ratios(&base_cells, &new_cells);
    let both = |of: fn(&Stretch) -> f64, shape| {
        // The new is drawn last, so that it is on top.
        let lines = [("base", Ink::MetricA, &base_cells), ("new", Ink::MetricB, &new_cells)];
        let lines = lines
            .map(|(name, ink, cells)| series(name, ink, shape, points(cells, seconds, shape, of)));
        lines.to_vec()
    };
    let note = format!("one point = {seconds} s of all runs");
    let mut panels = vec![
        latency("p99 of latency", &note, both(|one| one.p99, Shape::Line)),
        difference(&ratios, seconds),
        latency("p50 of latency", &note, both(|one| one.p50, Shape::Line)),
    ];
    let lost = both(|one| one.lost as f64 / one.runs.max(1) as f64, Shape::Flats);
    if max(&lost) > 0.0 {
        panels.push(panel("Lost per run", &format!("in {seconds} s"), Unit::Amount, lost));
    }
    let pods = [("base", Ink::MetricA, base), ("new", Ink::MetricB, new)]
        .map(|(name, ink, runs)| series(name, ink, Shape::Flats, pods(runs, seconds)));
    if max(&pods) > 0.0 {
        panels.push(panel(
            "Pods",
            "mean of all runs, those on their way out too",
            Unit::Amount,
            pods.to_vec(),
        ));
    }
    let model = ChartModel {
        title: "Both sides over time".into(),
        description: "Latency, losses and pods of base and new since the start of the traffic, and by how much \
                      the new's latency is higher. The table holds the figures."
            .into(),
        columns,
        step: seconds,
        phases: phases(&base[0], seconds),
        actions: Vec::new(),
        quiet: Vec::new(),
        gaps: Vec::new(),
        panels: panels.into_iter().map(Panel::Values).collect(),
        time,
    };
    Ok(Some(Sides { model, stretches: since(&ratios, seconds) }))
}

fn stretches(runs: &[RunFigures]) -> Result<BTreeMap<u64, Stretch>, DecodeError> {
    let mut cells: BTreeMap<u64, Vec<&crate::compare::run::Cell>> = BTreeMap::new();
    for cell in runs.iter().flat_map(|run| &run.cells) {
        cells.entry(cell.time).or_default().push(cell);
    }
    let mut sum = hist::new();
    let stretch = |(time, cells): (u64, Vec<&crate::compare::run::Cell>)| {
        sum.reset();
        let mut stretch = Stretch { runs: runs.len() as u64, ..Stretch::default() };
        for cell in cells {
            cell.latency.add_to(&mut sum)?;
            stretch.lost = stretch.lost.saturating_add(cell.counts.failed);
        }
        if !sum.is_empty() {
            stretch.p50 = sum.value_at_quantile(0.5) as f64;
            stretch.p99 = sum.value_at_quantile(QUANTILE) as f64;
        }
        Ok((time, stretch))
    };
    cells.into_iter().map(stretch).collect()
}

fn points(
    cells: &BTreeMap<u64, Stretch>,
    seconds: u64,
    shape: Shape,
    of: fn(&Stretch) -> f64,
) -> Vec<Point> {
    let middle = if shape == Shape::Line { seconds as f64 / 2.0 } else { 0.0 };
    let known = cells.iter().filter(|(_, one)| shape != Shape::Line || of(one) > 0.0);
    known
        .map(|(time, one)| {
            let value = thinned::millis(of(one));
            Point((time * seconds) as f64 + middle, value, value)
        })
        .collect()
}

fn pods(runs: &[RunFigures], seconds: u64) -> Vec<Point> {
    let most = runs.iter().map(|run| run.pods.len()).max().unwrap_or_default();
    let point = |index: usize| {
        let known: Vec<f64> = runs.iter().filter_map(|run| run.pods.get(index).copied()).collect();
        let mean = thinned::millis(known.iter().sum::<f64>() / known.len().max(1) as f64);
        Point((index as u64 * seconds) as f64, mean, mean)
    };
    (0..most).map(point).collect()
}

/// Time and logarithm of new over base of each stretch that both know.
fn ratios(base: &BTreeMap<u64, Stretch>, new: &BTreeMap<u64, Stretch>) -> Vec<(u64, f64)> {
    let known = base.iter().filter_map(|(time, base)| Some((*time, base, new.get(time)?)));
    known
        .filter(|(_, base, new)| base.p99 > 0.0 && new.p99 > 0.0)
        .map(|(time, base, new)| (time, (new.p99 / base.p99).ln()))
        .collect()
}

/// The stretches between which the difference changes.
fn since(ratios: &[(u64, f64)], seconds: u64) -> Vec<(f64, f64, f64)> {
    let values: Vec<f64> = ratios.iter().map(|(_, ratio)| *ratio).collect();
    let mut edges = changes::changes(&values, 0.001);
    edges.insert(0, 0);
    edges.push(values.len());
    let stretch = |edge: &[usize]| {
        let part = ratios.get(edge[0]..edge[1]).filter(|part| !part.is_empty())?;
        let mean = part.iter().map(|(_, ratio)| ratio).sum::<f64>() / part.len() as f64;
        let (from, to) = (part[0].0 * seconds, (part[part.len() - 1].0 + 1) * seconds);
        Some((from as f64, to as f64, mean.exp_m1()))
    };
    edges.windows(2).filter_map(stretch).collect()
}

fn panel(title: &str, note: &str, unit: Unit, series: Vec<Series>) -> ValuePanel {
    let axis = ticks::linear_axis(unit, max(&series), 3.0);
    ValuePanel {
        title: title.into(),
        note: note.into(),
        height: 66,
        axis,
        series,
        decisions: Vec::new(),
    }
}

fn latency(title: &str, note: &str, series: Vec<Series>) -> ValuePanel {
    let values = || series.iter().flat_map(|one| &one.points).map(|point| point.2);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let axis = ticks::latency_axis((low <= high).then_some((low, high)));
    let note = match axis.scale {
        Scale::Log => format!("logarithmic; {note}"),
        Scale::Linear => note.into(),
    };
    ValuePanel { title: title.into(), note, height: 110, axis, series, decisions: Vec::new() }
}

/// By how much the new is higher, around zero.
fn difference(ratios: &[(u64, f64)], seconds: u64) -> ValuePanel {
    let percent = |ratio: f64| (ratio.exp_m1() * 100.0).clamp(-PERCENT_MAX, PERCENT_MAX);
    let points: Vec<Point> = ratios
        .iter()
        .map(|(time, ratio)| {
            let value = thinned::millis(percent(*ratio));
            Point((time * seconds) as f64, value.min(0.0), value.max(0.0))
        })
        .collect();
    let most = points.iter().flat_map(|point| [-point.1, point.2]).fold(10.0, f64::max);
    let above = ticks::linear_axis(Unit::Percent, most, 2.0);
    let below = above.ticks.iter().rev().filter(|tick| tick.at > 0.0);
    let below = below.map(|tick| Tick { at: -tick.at, label: format!("−{}", tick.label) });
    let ticks: Vec<Tick> = below.chain(above.ticks.iter().cloned()).collect();
    let axis = ValueAxis {
        scale: Scale::Linear,
        unit: Unit::Percent,
        from: -above.to,
        to: above.to,
        ticks,
    };
    ValuePanel {
        title: "p99: new over base".into(),
        note: "above zero: the new is slower".into(),
        height: 90,
        axis,
        series: vec![series("difference", Ink::Decision, Shape::Bars, points)],
        decisions: Vec::new(),
    }
}

/// The phases by the cells in them.
fn phases(run: &RunFigures, seconds: u64) -> Vec<Band> {
    let named = run.phases.iter().take(PHASES_MAX).enumerate();
    let band = |(index, name): (usize, &String)| {
        let times = || {
            run.cells.iter().filter(|cell| usize::from(cell.phase) == index).map(|cell| cell.time)
        };
        let (from, to) = (times().min()?, times().max()? + 1);
        Some(Band {
            from: (from * seconds) as f64,
            to: (to * seconds) as f64,
            label: clean::line(name),
        })
    };
    let mut bands: Vec<Band> = named.filter_map(band).collect();
    // A stretch in which phases meet is of both; the line is drawn once.
    for next in (1..bands.len()).rev() {
        bands[next - 1].to = bands[next - 1].to.min(bands[next].from);
    }
    bands.retain(|band| band.from < band.to);
    bands
}
