//! Measures over many runs in a row, with the runs at which they changed.

use super::{
    super::clean,
    build::{max, series},
    model::{Annotation, ChartModel, Ink, Panel, Point, Shape, Tick, TimeAxis, Unit, ValuePanel},
    ticks,
};
use crate::compare::trend::{Trend, TrendSeries};

/// More marks than this on the axis of runs are not made.
const TICKS: usize = 12;
/// More changes than this have no name.
const CHANGES_MAX: usize = 40;

/// The picture of a trend: one step per run.
pub(in super::super) fn build(trend: &Trend, columns: u32) -> ChartModel {
    let count = trend.runs.len();
    let every = count.div_ceil(TICKS).max(1);
    let ticks = (0..count)
        .step_by(every)
        .map(|index| Tick { at: index as f64 + 0.5, label: (index + 1).to_string() });
    let time = TimeAxis {
        from: 0.0,
        to: count.max(1) as f64,
        ticks: ticks.collect(),
        label: "runs in the order given".into(),
    };
    let mut actions: Vec<Annotation> = Vec::new();
    for one in &trend.series {
        for change in &one.changes {
            let label = format!("{} {}", one.name, change.shift);
            actions.push(Annotation { at: change.at as f64, label: clean::line(&label) });
        }
    }
    actions.sort_by(|a, b| a.at.total_cmp(&b.at));
    actions.truncate(CHANGES_MAX);
    ChartModel {
        title: "Measures over runs".into(),
        description:
            "Each measure over the runs in the order given, with the runs at which it changed. \
                      The table holds the changes."
                .into(),
        columns,
        step: 1,
        phases: Vec::new(),
        actions,
        quiet: Vec::new(),
        gaps: Vec::new(),
        panels: trend.series.iter().map(|one| Panel::Values(panel(one))).collect(),
        time,
    }
}

fn panel(one: &TrendSeries) -> ValuePanel {
    let (unit, factor) = match one.unit.as_str() {
        "share" => (Unit::Percent, 100.0),
        "ns" => (Unit::Nanoseconds, 1.0),
        _ => (Unit::Amount, 1.0),
    };
    let known = one.values.iter().enumerate();
    let points: Vec<Point> = known
        .filter_map(|(index, value)| {
            let value = (*value)? * factor;
            Some(Point(index as f64, value, value))
        })
        .collect();
    let lines = vec![series(&one.name, Ink::MetricA, Shape::Flats, points)];
    ValuePanel {
        title: one.name.clone(),
        note: "one step = one run".into(),
        height: 80,
        axis: ticks::linear_axis(unit, max(&lines), 3.0),
        series: lines,
        decisions: Vec::new(),
    }
}
