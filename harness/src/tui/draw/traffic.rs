//! Rates, latency and pods over time: lines of bars above each other on one axis.

use highwater_model::time::{Nanos, human};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
};

use super::put;
use crate::{
    live::{LiveView, view::SecondPoint},
    report::figures::{NONE, count},
};

/// How many lines there are.
pub(super) const LINES: u16 = 5;
/// Columns of the name and the present figure.
const MARGIN: u16 = 20;
/// Seconds that one column may stand for.
const STEPS: [u64; 8] = [1, 2, 5, 10, 15, 30, 60, 120];
/// Bars of one to eight eighths.
const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// What one column stands for.
#[derive(Clone, Debug, Default, PartialEq)]
struct Column {
    /// Per second.
    offered: f64,
    good: f64,
    failed: f64,
    /// Nanoseconds; the worst second's.
    p99: Option<f64>,
    /// The last second's.
    ready: Option<f64>,
}

/// The seconds that are over: what is owed in the present one is not yet known.
fn points(view: &LiveView) -> impl DoubleEndedIterator<Item = &SecondPoint> + Clone {
    let now = view.now.second();
    view.seconds.iter().filter(move |point| point.second < now)
}

/// Seconds per column: as few as the room allows.
fn step(view: &LiveView, width: u16) -> u64 {
    let room = u64::from(width.saturating_sub(MARGIN).max(1));
    let seconds = points(view).count() as u64;
    // One more column: the first and the last are seldom whole.
    let fits = |step: &u64| seconds.div_ceil(*step) < room.max(2);
    STEPS.into_iter().find(fits).unwrap_or(STEPS[STEPS.len() - 1])
}

/// What one column stands for, in words.
pub(super) fn step_words(view: &LiveView, width: u16) -> String {
    let step = step(view, width);
    format!("by when requests are due, a column is {step} s")
}

/// The columns, on whole multiples of the step, so that they do not change as time goes on.
fn columns(view: &LiveView, width: u16) -> Vec<Column> {
    let step = step(view, width);
    let mut columns: Vec<(u64, f64, Column)> = Vec::new();
    for point in points(view) {
        let key = point.second / step;
        if columns.last().is_none_or(|(last, ..)| *last != key) {
            columns.push((key, 0.0, Column::default()));
        }
        let Some((_, seconds, column)) = columns.last_mut() else { continue };
        *seconds += 1.0;
        column.offered += point.owed as f64;
        column.good += point.ok as f64;
        column.failed += point.failed as f64;
        let p99 = point.latency_p99.map(|ns| ns as f64);
        column.p99 = p99.into_iter().chain(column.p99).reduce(f64::max);
        column.ready = point.pods.map(|(ready, _)| f64::from(ready)).or(column.ready);
    }
    let per_second = columns.into_iter().map(|(_, seconds, column)| Column {
        offered: column.offered / seconds,
        good: column.good / seconds,
        failed: column.failed / seconds,
        ..column
    });
    let columns: Vec<Column> = per_second.collect();
    let room = usize::from(width.saturating_sub(MARGIN));
    columns[columns.len().saturating_sub(room)..].to_vec()
}

/// A line: its name, its present figure, its bars.
struct Row {
    name: &'static str,
    figure: String,
    style: Style,
    /// What is a full bar.
    full: f64,
    /// What that is, in words.
    full_words: String,
    values: Vec<Option<f64>>,
}

fn rows(view: &LiveView, columns: &[Column]) -> [Row; LINES as usize] {
    let values = |of: fn(&Column) -> Option<f64>| columns.iter().map(of).collect::<Vec<_>>();
    let largest = |values: &[Option<f64>]| values.iter().flatten().copied().fold(0.0, f64::max);
    let rate = |value: f64| format!("{}/s", count(value.ceil() as u64));
    let last = view.last_second().copied();
    let now = |of: fn(&SecondPoint) -> u64| {
        last.as_ref().map_or_else(|| NONE.into(), |point| format!("{}/s", count(of(point))))
    };
    let offered = values(|column| Some(column.offered));
    let good = values(|column| Some(column.good));
    let failed = values(|column| Some(column.failed));
    let p99 = values(|column| column.p99);
    let ready = values(|column| column.ready);
    // What is offered and what is answered are compared by eye.
    let (most, worst) = (largest(&offered).max(largest(&good)), largest(&failed));
    let slowest = largest(&p99);
    let progress = &view.progress;
    let pods = largest(&ready).max(f64::from(progress.desired));
    let has_failed = last.is_some_and(|point| point.failed > 0);
    let red = if has_failed { Style::new().red().bold() } else { Style::new().red() };
    let latency = last.and_then(|point| point.latency_p99).or(progress.latency_p99);
    let row = |name, figure, style, full, full_words, values| Row {
        name,
        figure,
        style,
        full,
        full_words,
        values,
    };
    let (cyan, green) = (Style::new().cyan(), Style::new().green());
    [
        row("offered", now(|point| point.owed), Style::new().blue(), most, rate(most), offered),
        row("good", now(|point| point.ok), green, most, rate(most), good),
        row("failed", now(|point| point.failed), red, worst, rate(worst), failed),
        row(
            "p99",
            latency.map_or_else(|| NONE.into(), |ns| human(Nanos(ns))),
            cyan,
            slowest,
            human(Nanos(slowest as u64)),
            p99,
        ),
        row(
            "ready",
            format!("{} of {}", progress.ready, progress.desired),
            green,
            pods,
            format!("{pods:.0} pods"),
            ready,
        ),
    ]
}

/// Draws the lines; they share the height.
pub(super) fn draw(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let height = (area.height / LINES).clamp(1, 3);
    let columns = columns(view, area.width);
    for (index, row) in rows(view, &columns).into_iter().enumerate() {
        let top = index as u16 * height;
        if top >= area.height {
            break;
        }
        let place = Rect { y: area.y + top, height, ..area };
        let margin = Rect { width: place.width.min(MARGIN - 1), ..place };
        put(buf, margin, (0, 0), row.name, Style::new());
        put(buf, margin, (8, 0), &format!("{:>10}", row.figure), row.style.bold());
        if height > 1 && row.full > 0.0 {
            let words = format!("{:>18}", format!("bar {}", row.full_words));
            put(buf, margin, (0, height - 1), &words, Style::new().fg(Color::DarkGray));
        }
        for (x, value) in row.values.iter().enumerate() {
            let eighths = eighths(*value, row.full, height);
            bar(buf, place, MARGIN + x as u16, eighths, row.style);
        }
    }
}

/// How many eighths of a row a bar has: something that is not nothing is seen.
fn eighths(value: Option<f64>, full: f64, height: u16) -> u16 {
    let Some(value) = value.filter(|value| *value > 0.0 && full > 0.0) else { return 0 };
    let all = 8.0 * f64::from(height);
    ((value / full * all).round() as u16).clamp(1, 8 * height)
}

fn bar(buf: &mut Buffer, area: Rect, x: u16, eighths: u16, style: Style) {
    for row in 0..area.height {
        let above = eighths.saturating_sub(8 * row).min(8);
        if above > 0 {
            let sign = BARS[usize::from(above) - 1];
            put(buf, area, (x, area.height - 1 - row), sign, style);
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_model::{event::EventKind, time::MILLISECOND};

    use super::*;
    use crate::{
        live::{LiveView, testkit},
        record::Line,
    };

    #[test]
    fn bars_show_the_least_thing_and_never_more_than_all() {
        let rows = [
            (Some(0.0), 10.0, 1, 0),
            (Some(0.001), 1_000.0, 3, 1),
            (Some(5.0), 10.0, 1, 4),
            (Some(10.0), 10.0, 3, 24),
            (Some(99.0), 10.0, 1, 8),
            (Some(f64::NAN), 10.0, 1, 0),
            (Some(1.0), 0.0, 1, 0),
            (None, 10.0, 1, 0),
        ];
        for (value, full, height, shown) in rows {
            assert_eq!(eighths(value, full, height), shown, "{value:?} of {full}");
        }
    }

    #[test]
    fn columns_stand_for_whole_multiples_of_their_step() {
        let mut view = LiveView::new("test", "local");
        view.line(&Line::Event(testkit::event(0.0, EventKind::TrafficStarted)));
        for second in 0..100 {
            let failed = u64::from(second == 3);
            view.line(&Line::Window(testkit::window(second, 10, failed, MILLISECOND)));
        }
        view.line(&Line::Event(testkit::event(100.5, EventKind::TrafficEnded)));
        assert_eq!((step(&view, MARGIN + 110), step(&view, MARGIN + 60)), (1, 2));
        let seen = columns(&view, MARGIN + 60);
        assert_eq!(seen.len(), 50);
        assert_eq!((seen[1].offered, seen[1].good, seen[1].failed), (10.5, 10.0, 0.5));
        // However narrow, and however long.
        for width in 0..40 {
            assert!(columns(&view, width).len() <= usize::from(width.saturating_sub(MARGIN)));
        }
    }
}
