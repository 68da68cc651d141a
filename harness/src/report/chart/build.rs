//! From an analysis to the model of its time axis.

use super::{
    super::{clean, figures},
    cluster, lanes,
    model::{
        Annotation, Band, ChartModel, DecisionMark, Ink, Panel, Point, Scale, Series, Shape,
        TimeAxis, Unit, ValuePanel,
    },
    series::{self, Bucket},
    ticks,
};
use crate::analyze::{Analysis, ReplicaPoint, Timeline};

/// More than this of the scenario's actions is not drawn.
const ACTIONS_MAX: usize = 60;
/// More phases of the traffic than this are not drawn.
const PHASES_MAX: usize = 60;
/// How much of the time before and after the traffic is shown, as a share of the traffic...
const MARGIN: f64 = 0.1;
/// ... and at least, in seconds.
const MARGIN_MIN: f64 = 5.0;

/// The time axis of a run.
///
/// *Units and shape*: at most `columns` points per series; see [`super`] for what thinning keeps.
/// Times are seconds since the start of the run.
/// *Behaviour*: a run without seconds or pods has no panel for them.
pub fn build(analysis: &Analysis, columns: u32) -> ChartModel {
    let timeline = &analysis.timeline;
    let time = time_axis(timeline, columns);
    let first = timeline.seconds.iter().map(|point| point.second).min();
    let last = timeline.seconds.iter().map(|point| point.second).max();
    let seconds = match (first, last) {
        (Some(first), Some(last)) => (last - first).saturating_add(1),
        _ => 0,
    };
    let step = series::step(seconds.max((time.to - time.from) as u64), columns);
    let buckets = series::buckets(&timeline.seconds, step);
    let window = lanes::Window { from: time.from, to: time.to, columns };
    let mut panels = Vec::new();
    if !buckets.is_empty() {
        panels.push(Panel::Values(requests(&buckets, step)));
        panels.extend(lost(&buckets, step).map(Panel::Values));
        panels.push(Panel::Values(latency(&buckets, step)));
    }
    if !timeline.replicas.is_empty() {
        panels.push(Panel::Values(replicas(analysis, &time, columns)));
    }
    panels.extend(cluster::autoscaler(analysis, window).map(Panel::Values));
    panels.extend(cluster::api(&analysis.cluster.api, window, step).map(Panel::Values));
    panels.extend(lanes::strays(timeline, window).map(Panel::Lanes));
    panels.extend(lanes::pods(timeline, window).map(Panel::Lanes));
    ChartModel {
        title: "The run over time".into(),
        description: describe(analysis),
        columns,
        step,
        phases: phases(analysis, &time),
        actions: actions(timeline, &time),
        quiet: quiet(timeline, &time),
        gaps: cluster::gaps(&analysis.cluster.gaps, window),
        panels,
        time,
    }
}

/// From a little before the traffic to a little after it; all failures are within.
fn time_axis(timeline: &Timeline, columns: u32) -> TimeAxis {
    let start = timeline.traffic_start.as_secs_f64();
    let seconds_end = timeline
        .seconds
        .iter()
        .map(|point| point.second.saturating_add(1))
        .max()
        .unwrap_or_default() as f64;
    let end = timeline.traffic_end.as_secs_f64().max(seconds_end);
    let margin = ((end - start) * MARGIN).max(MARGIN_MIN);
    let failures = || timeline.failures.iter().map(|mark| mark.at.as_secs_f64());
    let from = failures().fold((start - margin).max(0.0), f64::min);
    let to = failures().fold(timeline.end.as_secs_f64().min(end + margin).max(end), f64::max);
    ticks::time_axis(series::millis(from), series::millis(to), columns)
}

fn describe(analysis: &Analysis) -> String {
    let requests = &analysis.requests;
    format!(
        "Requests, latency, replicas and pods over the run, on one axis of time. {} owed, {} \
         answered well, {} failed, {} unsent; {} drawn. The tables of this report hold the same \
         figures.",
        figures::count(requests.owed),
        figures::count(requests.ok),
        figures::count(requests.failed),
        figures::count(requests.unsent),
        figures::counted(analysis.timeline.pods.len() as u64, "pod"),
    )
}

fn phases(analysis: &Analysis, time: &TimeAxis) -> Vec<Band> {
    analysis
        .phases
        .iter()
        .take(PHASES_MAX)
        .filter_map(|phase| {
            let from = phase.start.as_secs_f64().max(time.from);
            let to = phase.end.as_secs_f64().min(time.to);
            (from < to).then(|| Band {
                from: series::millis(from),
                to: series::millis(to),
                label: clean::line(&phase.name),
            })
        })
        .collect()
}

fn actions(timeline: &Timeline, time: &TimeAxis) -> Vec<Annotation> {
    timeline
        .actions
        .iter()
        .map(|action| (action.at.as_secs_f64(), action))
        .filter(|(at, _)| *at >= time.from && *at <= time.to)
        .take(ACTIONS_MAX)
        .map(|(at, action)| Annotation {
            at: series::millis(at),
            label: clean::shorten(&clean::line(&action.label), 40),
        })
        .collect()
}

fn quiet(timeline: &Timeline, time: &TimeAxis) -> Vec<(f64, f64)> {
    let start = timeline.traffic_start.as_secs_f64().min(time.to);
    let end = timeline.traffic_end.as_secs_f64().min(time.to);
    [(time.from, start), (end, time.to)]
        .into_iter()
        .filter(|(from, to)| from < to)
        .map(|(from, to)| (series::millis(from), series::millis(to)))
        .collect()
}

/// `1 s`, `2 min`: the window of one point.
fn window(step: u64) -> String {
    match step {
        3_600.. => format!("{} h", step / 3_600),
        60.. => format!("{} min", step / 60),
        _ => format!("{step} s"),
    }
}

pub(super) fn series(name: &str, ink: Ink, shape: Shape, points: Vec<Point>) -> Series {
    Series { name: name.into(), ink, shape, points }
}

pub(super) fn max(series: &[Series]) -> f64 {
    series.iter().flat_map(|series| &series.points).fold(0.0, |max, point| point.2.max(max))
}

fn requests(buckets: &[(u64, Bucket)], step: u64) -> ValuePanel {
    let series = vec![
        series("answered", Ink::Answered, Shape::Area, series::rates(buckets, |bucket| bucket.ok)),
        series("offered", Ink::Offered, Shape::Flats, series::rates(buckets, |bucket| bucket.owed)),
    ];
    ValuePanel {
        title: "Requests per second".into(),
        note: if step == 1 {
            "one step = 1 s of the schedule".into()
        } else {
            format!("one step = mean of {} of the schedule", window(step))
        },
        height: 110,
        axis: ticks::linear_axis(Unit::PerSecond, max(&series), 3.0),
        series,
        decisions: Vec::new(),
    }
}

/// The requests without a good answer on an axis of their own: beside hundreds per second, a few
/// could not be seen.
fn lost(buckets: &[(u64, Bucket)], step: u64) -> Option<ValuePanel> {
    let failed = series::sums(buckets, |bucket| bucket.failed, |_| 0);
    let unsent = series::sums(buckets, |bucket| bucket.unsent, |bucket| bucket.failed);
    let series: Vec<Series> = [
        series("failed", Ink::Lost, Shape::Bars, failed),
        series("unsent", Ink::Unsent, Shape::Bars, unsent),
    ]
    .into_iter()
    .filter(|series| !series.points.is_empty())
    .collect();
    if series.is_empty() {
        return None;
    }
    Some(ValuePanel {
        title: format!("Lost per {}", if step == 1 { "second".into() } else { window(step) }),
        note: format!("one bar = sum of {} of the schedule", window(step)),
        height: 52,
        axis: ticks::linear_axis(Unit::Count, max(&series), 2.0),
        series,
        decisions: Vec::new(),
    })
}

fn latency(buckets: &[(u64, Bucket)], step: u64) -> ValuePanel {
    let line = |name, ink, of: fn(&Bucket) -> Option<(u64, u64)>| {
        series(name, ink, Shape::Line, series::ranges(buckets, step, of))
    };
    let series = vec![
        line("p99.9", Ink::P999, |bucket| bucket.p999),
        line("p99", Ink::P99, |bucket| bucket.p99),
        line("p50", Ink::P50, |bucket| bucket.p50),
    ];
    let values = || {
        series
            .iter()
            .flat_map(|series| &series.points)
            .flat_map(|point| [point.1, point.2])
            .filter(|value| *value > 0.0)
    };
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(0.0, f64::max);
    let axis = ticks::latency_axis((low <= high).then_some((low, high)));
    let scale = match axis.scale {
        Scale::Log => "logarithmic; ",
        Scale::Linear => "",
    };
    ValuePanel {
        title: "Latency of good answers".into(),
        note: if step == 1 {
            format!("{scale}one point = percentile of 1 s")
        } else {
            format!("{scale}line = highest second of {}, shade = down to the lowest", window(step))
        },
        height: 120,
        axis,
        series,
        decisions: Vec::new(),
    }
}

fn replicas(analysis: &Analysis, time: &TimeAxis, columns: u32) -> ValuePanel {
    let points = &analysis.timeline.replicas;
    let line = |name, ink, of: fn(&ReplicaPoint) -> u32| {
        let steps = series::replica_steps(points, (time.from, time.to, columns), of);
        series(name, ink, Shape::Steps, steps)
    };
    let mut series = vec![
        line("terminating", Ink::Terminating, |point| point.terminating),
        line("current", Ink::Current, |point| point.current),
        line("ready", Ink::Ready, |point| point.ready),
        line("desired", Ink::Desired, |point| point.desired),
    ];
    series
        .retain(|series| series.ink != Ink::Terminating || max(std::slice::from_ref(series)) > 0.0);
    let decisions = cluster::decisions(
        &analysis.autoscaling.decisions,
        lanes::Window { from: time.from, to: time.to, columns },
    );
    let note = if decisions.is_empty() {
        "every change"
    } else {
        "every change; triangles: decisions of the autoscaler"
    };
    ValuePanel {
        title: "Replicas".into(),
        note: note.into(),
        height: 84,
        axis: ticks::linear_axis(Unit::Pods, max(&series), 3.0),
        series,
        // Named in the panel below.
        decisions: decisions
            .into_iter()
            .map(|mark| DecisionMark { label: String::new(), ..mark })
            .collect(),
    }
}
