//! Ready pods of several settings on the same traffic.

use super::{
    build::{max, series},
    model::{ChartModel, Ink, Panel, Shape, Unit, ValuePanel},
    series as thinned, ticks,
};
use crate::tune::told::TuneSetting;

/// One ink per setting; more are not drawn.
const INKS: [Ink; 3] = [Ink::MetricA, Ink::MetricB, Ink::MetricC];

/// The picture of the ready pods of up to three settings; the first is on top. `None` if none has a
/// curve.
pub(in super::super) fn build(settings: &[&TuneSetting], columns: u32) -> Option<ChartModel> {
    let last = |setting: &&TuneSetting| setting.ready.last().map(|point| point.0);
    let lasts = settings.iter().filter_map(last).fold(0.0, f64::max);
    if lasts <= 0.0 {
        return None;
    }
    let time = ticks::time_axis(0.0, thinned::millis(lasts), columns);
    let lines = settings.iter().zip(INKS).rev().map(|(setting, ink)| {
        let points = setting.ready.iter().map(|(at, pods)| (*at, f64::from(*pods)));
        let points = thinned::steps(points, (time.from, time.to, columns));
        series(&setting.name, ink, Shape::Steps, points)
    });
    let lines: Vec<_> = lines.collect();
    let panel = ValuePanel {
        title: "Ready pods".into(),
        note: "every change".into(),
        height: 120,
        axis: ticks::linear_axis(Unit::Pods, max(&lines), 4.0),
        series: lines,
        decisions: Vec::new(),
    };
    Some(ChartModel {
        title: "Ready pods of each setting".into(),
        description: "Ready pods over the first traffic, for each setting.".into(),
        columns,
        step: 1,
        phases: Vec::new(),
        actions: Vec::new(),
        quiet: Vec::new(),
        gaps: Vec::new(),
        panels: vec![Panel::Values(panel)],
        time,
    })
}
