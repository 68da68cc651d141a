//! The autoscaler's metrics and decisions, the use of the API, and times without news.

use highwater_model::event::MetricUnit;

use super::{
    super::clean,
    build::{max, series},
    lanes::Window,
    model::{DecisionMark, Ink, Point, Series, Shape, Unit, ValuePanel},
    series::{millis, steps},
    ticks,
};
use crate::analyze::{
    Analysis,
    autoscaler::{Decision, MetricSeries},
    cluster::{ApiPoint, Gap},
};

/// The looks of metrics; more metrics than these are not drawn.
const METRICS: [Ink; 4] = [Ink::MetricA, Ink::MetricB, Ink::MetricC, Ink::MetricD];
/// Decisions nearer to each other than this are one mark, in points.
const MARK_WIDTH: f64 = 7.0;
/// More gaps than this are not drawn.
const GAPS_MAX: usize = 200;
/// A rate of requests to the API is the mean of at least so many seconds: pods tell their counts
/// once in a while, each at a time of its own.
const API_SECONDS: u64 = 5;

/// The metrics against their targets; `None` if no reading is known.
///
/// *Units and shape*: a lone metric in its own unit; several as a percentage of their targets.
pub(super) fn autoscaler(analysis: &Analysis, window: Window) -> Option<ValuePanel> {
    let metrics = &analysis.autoscaling.metrics;
    let first = metrics.first()?;
    let drawn = metrics.iter().zip(METRICS);
    let mut lines: Vec<Series> = match metrics.len() {
        1 => vec![
            target(first, window, |target| target),
            series(&name(first), METRICS[0], Shape::Steps, readings(first, window, |now, _| now)),
        ],
        _ => drawn
            .map(|(metric, ink)| {
                let points = readings(metric, window, |now, target| now / target * 100.0);
                series(&name(metric), ink, Shape::Steps, points)
            })
            .collect(),
    };
    if metrics.len() > 1 {
        lines.insert(0, target(first, window, |_| 100.0));
    }
    let unit = match (metrics.len(), first.unit) {
        (1, MetricUnit::AverageValue | MetricUnit::Value) => Unit::Amount,
        _ => Unit::Percent,
    };
    let what = match (metrics.len(), first.unit) {
        (1, MetricUnit::Percent) => "percent of the pods' requests".into(),
        (1, MetricUnit::AverageValue) => "mean over the pods".into(),
        (1, MetricUnit::Value) => "in all".into(),
        (n, _) if n > METRICS.len() => {
            format!("percent of each target; {} of {n} drawn", METRICS.len())
        }
        _ => "percent of each target".into(),
    };
    Some(ValuePanel {
        title: "Autoscaler".into(),
        note: format!("{what}; every reading"),
        height: 84,
        axis: ticks::linear_axis(unit, max(&lines), 3.0),
        series: lines,
        decisions: decisions(&analysis.autoscaling.decisions, window),
    })
}

fn name(metric: &MetricSeries) -> String {
    clean::shorten(&clean::line(&metric.name), 24)
}

fn readings(metric: &MetricSeries, window: Window, of: fn(f64, f64) -> f64) -> Vec<Point> {
    let values = metric.points.iter().map(|point| {
        let value = point.current.map_or(f64::NAN, |current| of(current, point.target));
        (point.at.as_secs_f64(), if value.is_finite() { value } else { f64::NAN })
    });
    steps(values, (window.from, window.to, window.columns))
}

fn target(metric: &MetricSeries, window: Window, of: fn(f64) -> f64) -> Series {
    let values = metric.points.iter().map(|point| (point.at.as_secs_f64(), of(point.target)));
    let points = steps(values, (window.from, window.to, window.columns));
    series("target", Ink::Target, Shape::Steps, points)
}

/// The decisions within the window, those near each other joined.
pub(super) fn decisions(decisions: &[Decision], window: Window) -> Vec<DecisionMark> {
    let width = window.column_width() * MARK_WIDTH;
    let within = decisions
        .iter()
        .filter(|decision| (window.from..=window.to).contains(&decision.at.as_secs_f64()));
    let mut groups: Vec<(f64, u32, u32, usize)> = Vec::new();
    for decision in within {
        let at = decision.at.as_secs_f64();
        match groups.last_mut() {
            Some((first, _, to, n)) if at - *first < width => {
                *to = decision.to;
                *n += 1;
            }
            _ => groups.push((at, decision.from, decision.to, 1)),
        }
    }
    let mark = |(at, from, to, n): (f64, u32, u32, usize)| DecisionMark {
        at: millis(at),
        up: to >= from,
        label: match n {
            1 => format!("{from} → {to}"),
            n => format!("{from} → {to} in {n}"),
        },
    };
    groups.into_iter().map(mark).collect()
}

/// Requests per second to the API server, of all pods; `None` if none are told.
pub(super) fn api(points: &[ApiPoint], window: Window, step: u64) -> Option<ValuePanel> {
    points.first()?;
    let width = step.max(API_SECONDS).next_multiple_of(step.max(1));
    let line = |name, ink, of: fn(&ApiPoint) -> u64| {
        series(name, ink, Shape::Steps, rates(points, (width, window), of))
    };
    let lines = vec![
        line("requests", Ink::MetricA, |point| point.requests),
        line("conflicts (409)", Ink::MetricB, |point| point.conflicts),
        line("throttled (429)", Ink::MetricC, |point| point.throttled),
    ];
    Some(ValuePanel {
        title: "Requests to the API server per second".into(),
        note: format!("one step = mean of {width} s, all pods"),
        height: 84,
        axis: ticks::linear_axis(Unit::PerSecond, max(&lines), 3.0),
        series: lines,
        decisions: Vec::new(),
    })
}

/// The rates of a count that only grows, by stretches of `width` seconds.
fn rates(
    points: &[ApiPoint],
    (width, window): (u64, Window),
    of: impl Fn(&ApiPoint) -> u64,
) -> Vec<Point> {
    let mut values = Vec::new();
    let mut before = 0;
    let mut next = None;
    for group in points.chunk_by(|a, b| a.at.second() / width == b.at.second() / width) {
        let from = group[0].at.second() / width * width;
        // Between stretches that nothing is told of there are no requests.
        if let Some(end) = next.filter(|end| *end < from) {
            values.push((end as f64, 0.0));
        }
        let count = of(&group[group.len() - 1]);
        values.push((from as f64, count.saturating_sub(before) as f64 / width as f64));
        before = count;
        next = Some(from.saturating_add(width));
    }
    values.extend(next.map(|end| (end as f64, 0.0)));
    steps(values.into_iter(), (window.from, window.to, window.columns))
}

/// Times without news within the window.
pub(super) fn gaps(gaps: &[Gap], window: Window) -> Vec<(f64, f64)> {
    gaps.iter()
        .filter_map(|gap| window.clip(gap.from.as_secs_f64(), gap.to.as_secs_f64()))
        .take(GAPS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::time::{Nanos, SECOND, Timestamp};

    const WINDOW: Window = Window { from: 0.0, to: 100.0, columns: 100 };

    fn decision(seconds: u64, from: u32, to: u32) -> Decision {
        Decision {
            at: Timestamp(seconds * SECOND),
            precision: Nanos::ZERO,
            from,
            to,
            reason: String::new(),
            readings: Vec::new(),
            changed: Vec::new(),
            limited: None,
        }
    }

    #[test]
    fn decisions_near_each_other_are_one_mark_and_those_outside_are_none() {
        let all = [decision(10, 2, 4), decision(13, 4, 8), decision(40, 8, 3), decision(101, 3, 2)];
        let found: Vec<(f64, bool, String)> = decisions(&all, WINDOW)
            .into_iter()
            .map(|mark| (mark.at, mark.up, mark.label))
            .collect();
        let mark = |at, up, label: &str| (at, up, label.to_owned());
        assert_eq!(found, [mark(10.0, true, "2 → 8 in 2"), mark(40.0, false, "8 → 3")]);
        let many: Vec<Decision> = (0..10_000).map(|n| decision(n / 100, 1, 2)).collect();
        assert!(decisions(&many, WINDOW).len() <= 15);
    }

    #[test]
    fn rates_are_those_of_counts_that_grow_and_zero_where_nothing_is_told() {
        let point = |seconds: u64, requests| ApiPoint {
            at: Timestamp(seconds * SECOND),
            requests,
            ..ApiPoint::default()
        };
        let points = [point(1, 5), point(4, 10), point(5, 30), point(31, 40)];
        let found = rates(&points, (5, WINDOW), |point| point.requests);
        let at = |at, rate| Point(at, rate, rate);
        assert_eq!(
            found,
            [at(0.0, 2.0), at(5.0, 4.0), at(10.0, 0.0), at(30.0, 2.0), at(35.0, 0.0)]
        );
    }
}
