//! Replicas and losses of several runs of one scenario on one axis of time, which begins with the
//! traffic of each.

use super::{
    super::clean,
    build::{max, series},
    model::{
        Annotation, Band, ChartModel, Ink, Panel, Point, Series, Shape, TimeAxis, Unit, ValuePanel,
    },
    series as thinned, ticks,
};
use crate::{
    analyze::{Analysis, ReplicaPoint, SecondPoint},
    record::BackendKind,
};

/// Colours for a picture that stands by itself, on white.
pub const STYLE: &str = "svg{background:#fff;font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
    [class^=s-]{fill:none;stroke-linejoin:round}\
    .f-text{fill:#1d2125}.f-muted{fill:#5b636b}.s-grid{stroke:#e6e3dd}.s-frame{stroke:#8d949b}\
    .s-boundary{stroke:#a9a49a;stroke-dasharray:2 5}\
    .s-action{stroke:#3b434b;stroke-dasharray:8 6;opacity:.75}.f-action{fill:#3b434b}\
    .s-metric-a{stroke:#2c6e8f}.s-metric-b{stroke:#b0562a;stroke-dasharray:10 4}\
    .s-metric-c{stroke:#3f7d3a;stroke-dasharray:3 4}";

/// More phases or actions than this are not drawn.
const MARKS_MAX: usize = 60;

/// The model of a picture of runs with their labels.
///
/// *Units and shape*: times are seconds since the start of the traffic, up to the end of the
/// longest. Phases and actions are those of the first run; runs of one scenario have the same.
pub(in super::super) fn build(
    title: &str,
    runs: &[(String, &Analysis)],
    columns: u32,
) -> ChartModel {
    let lasts = runs.iter().map(|(_, run)| lasts(run)).fold(0.0, f64::max);
    let mut time = ticks::time_axis(0.0, thinned::millis(lasts), columns);
    time.label = time.label.replace("of the run", "of the traffic");
    let step = thinned::step(lasts as u64, columns);
    let replicas = |title: &str, of: fn(&ReplicaPoint) -> u32| {
        panel(title, "every change", Unit::Pods, replicas(runs, (&time, columns), of))
    };
    let mut panels = vec![
        replicas("Desired replicas", |point| point.desired),
        replicas("Ready replicas", |point| point.ready),
    ];
    // What never happened has no panel.
    let leaving = replicas("Pods on their way out", |point| point.terminating);
    let note = format!("one step = mean of {step} s of the schedule");
    let lost = panel("Lost per second", &note, Unit::PerSecond, lost(runs, step));
    panels.extend([leaving, lost].into_iter().filter(|panel| max(&panel.series) > 0.0));
    let first = runs.first().map(|(_, run)| *run);
    let names: Vec<&str> = runs.iter().map(|(label, _)| label.as_str()).collect();
    ChartModel {
        title: format!("{}: {}", clean::line(title), names.join(" and ")),
        description: "Desired, ready and terminating pods of each run since the start of its traffic, \
                      and requests lost per second where there are any. The tables hold the figures."
            .into(),
        columns,
        step,
        phases: first.map(|run| phases(run, &time)).unwrap_or_default(),
        actions: first.map(|run| actions(run, &time)).unwrap_or_default(),
        quiet: Vec::new(),
        gaps: Vec::new(),
        panels: panels.into_iter().map(Panel::Values).collect(),
        time,
    }
}

const fn ink(backend: BackendKind) -> Ink {
    match backend {
        BackendKind::Local => Ink::MetricA,
        BackendKind::Kube => Ink::MetricB,
        BackendKind::Sim => Ink::MetricC,
    }
}

fn start(run: &Analysis) -> f64 {
    run.timeline.traffic_start.as_secs_f64()
}

fn lasts(run: &Analysis) -> f64 {
    run.timeline.traffic_end.since(run.timeline.traffic_start).as_secs_f64()
}

fn panel(title: &str, note: &str, unit: Unit, series: Vec<Series>) -> ValuePanel {
    ValuePanel {
        title: title.into(),
        note: note.into(),
        height: 66,
        axis: ticks::linear_axis(unit, max(&series), 3.0),
        series,
        decisions: Vec::new(),
    }
}

/// The last run is drawn first, so that the first is on top.
fn replicas(
    runs: &[(String, &Analysis)],
    (time, columns): (&TimeAxis, u32),
    of: fn(&ReplicaPoint) -> u32,
) -> Vec<Series> {
    let lines = runs.iter().rev().map(|(label, run)| {
        let since = start(run);
        let value = |point: &ReplicaPoint| (point.at.as_secs_f64() - since, f64::from(of(point)));
        let until = lasts(run).min(time.to);
        let points: Vec<(f64, f64)> = run.timeline.replicas.iter().map(value).collect();
        let begin = points.iter().rfind(|(at, _)| *at <= 0.0).map(|(_, value)| (0.0, *value));
        let within = points.iter().copied().filter(|(at, _)| *at > 0.0 && *at < until);
        // What comes after the traffic is the end of the run, and no part of the comparison.
        let end = (until < time.to).then_some((until, f64::NAN));
        let all = begin.into_iter().chain(within).chain(end);
        let points = thinned::steps(all, (time.from, time.to, columns));
        series(label, ink(run.backend), Shape::Steps, points)
    });
    lines.collect()
}

fn lost(runs: &[(String, &Analysis)], step: u64) -> Vec<Series> {
    let lines = runs.iter().rev().map(|(label, run)| {
        let since = run.timeline.traffic_start.as_secs_f64().floor() as u64;
        let seconds: Vec<SecondPoint> = run
            .timeline
            .seconds
            .iter()
            .map(|point| SecondPoint { second: point.second.saturating_sub(since), ..*point })
            .collect();
        let buckets = thinned::buckets(&seconds, step);
        let points: Vec<Point> =
            thinned::rates(&buckets, |bucket| bucket.failed.saturating_add(bucket.unsent));
        series(label, ink(run.backend), Shape::Flats, points)
    });
    lines.collect()
}

fn phases(run: &Analysis, time: &TimeAxis) -> Vec<Band> {
    let since = start(run);
    let bands = run.phases.iter().take(MARKS_MAX).map(|phase| Band {
        from: thinned::millis((phase.start.as_secs_f64() - since).max(0.0)),
        to: thinned::millis((phase.end.as_secs_f64() - since).min(time.to)),
        label: clean::line(&phase.name),
    });
    bands.filter(|band| band.from < band.to).collect()
}

fn actions(run: &Analysis, time: &TimeAxis) -> Vec<Annotation> {
    let since = start(run);
    let marks = run.timeline.actions.iter().take(MARKS_MAX).map(|action| Annotation {
        at: thinned::millis(action.at.as_secs_f64() - since),
        label: clean::shorten(&clean::line(&action.label), 40),
    });
    marks.filter(|mark| mark.at >= 0.0 && mark.at <= time.to).collect()
}
