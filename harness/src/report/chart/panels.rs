//! The drawing of a panel: its head, its axis of values, its series or lanes.

use super::{
    super::{clean, figures},
    canvas::{Anchor, At, Canvas, Label, text_width},
    model::{
        DecisionMark, Ink, LanePanel, PhaseKey, Point, Scale, Series, Shape, ValueAxis, ValuePanel,
    },
    svg::{Frame, LEFT},
};

const TITLE: Label = Label::new(Ink::Text, 12.5).bold();
pub(super) const NOTE: Label = Label::new(Ink::Muted, 11.0);
pub(super) const TICK: Label = Label::new(Ink::Muted, 10.5);

/// As much of a text as there is room for; `None` if that would say nothing.
pub(super) fn fit(size: f64, room: f64, text: &str) -> Option<String> {
    if text_width(size, text) <= room {
        return Some(text.to_owned());
    }
    let chars = (room / (size * 0.65)) as usize;
    (chars >= 4).then(|| clean::shorten(text, chars))
}

/// Where a panel's plot is.
#[derive(Clone, Copy)]
pub(super) struct Plot<'a> {
    pub(super) frame: &'a Frame,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Plot<'_> {
    fn right(&self) -> f64 {
        LEFT + self.frame.columns
    }

    fn x(&self, at: f64) -> f64 {
        self.frame.x(at)
    }

    fn y(&self, axis: &ValueAxis, value: f64) -> f64 {
        let share = match axis.scale {
            Scale::Linear => (value - axis.from) / (axis.to - axis.from),
            Scale::Log => (value / axis.from).ln() / (axis.to / axis.from).ln(),
        };
        self.bottom - share.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    /// Title, note and legend above the plot, the legend at the right end.
    fn draw_head(&self, canvas: &mut Canvas, title: &str, note: &str, keys: &[Key]) {
        let y = self.top - 13.0;
        canvas.text(TITLE, (LEFT, y), title);
        let note_at = LEFT + text_width(12.5, title) * 1.08 + 12.0;
        let legend: f64 = keys.iter().map(Key::width).sum();
        let mut x = self.right() - legend;
        if let Some(note) = fit(11.0, x - note_at - 12.0, note) {
            canvas.text(NOTE, (note_at, y), &note);
        }
        for key in keys {
            key.draw(canvas, (x, y));
            x += key.width();
        }
    }
}

/// An entry of a legend.
struct Key {
    name: String,
    ink: Ink,
    swatch: Swatch,
}

#[derive(Clone, Copy)]
enum Swatch {
    Line(f64),
    /// Its height as a share.
    Block(f64),
}

impl Key {
    fn width(&self) -> f64 {
        22.0 + text_width(11.0, &self.name) + 12.0
    }

    fn draw(&self, canvas: &mut Canvas, (x, y): At) {
        match self.swatch {
            Swatch::Line(width) => canvas.line(self.ink, width, &[(x, y), (x + 17.0, y)]),
            Swatch::Block(share) => {
                let half = 5.0 * share;
                canvas.rect(self.ink, (x, y - half), (x + 17.0, y + half));
            }
        }
        canvas.text(NOTE, (x + 22.0, y), &self.name);
    }
}

const fn line_width(ink: Ink) -> f64 {
    match ink {
        Ink::P50 | Ink::Ready => 2.0,
        Ink::P99 | Ink::Desired | Ink::MetricA | Ink::MetricB | Ink::MetricC | Ink::MetricD => 1.5,
        _ => 1.0,
    }
}

/// Series of numbers over their axis.
pub(super) fn draw_values(canvas: &mut Canvas, plot: Plot, panel: &ValuePanel, step: u64) {
    let keys: Vec<Key> = panel
        .series
        .iter()
        .rev()
        .map(|series| Key {
            name: series.name.clone(),
            ink: series.ink,
            swatch: match series.shape {
                Shape::Area | Shape::Bars => Swatch::Block(1.0),
                _ => Swatch::Line(line_width(series.ink)),
            },
        })
        .collect();
    plot.draw_head(canvas, &panel.title, &panel.note, &keys);
    let mut free = f64::INFINITY;
    for tick in &panel.axis.ticks {
        let y = plot.y(&panel.axis, tick.at);
        canvas.line(Ink::Grid, 0.5, &[(LEFT, y), (plot.right(), y)]);
        if y <= free {
            canvas.text(TICK.anchor(Anchor::End), (LEFT - 7.0, y), &tick.label);
            free = y - 11.0;
        }
    }
    for series in &panel.series {
        draw_series(canvas, plot, &panel.axis, series, step as f64);
    }
    canvas.line(Ink::Frame, 1.0, &[(LEFT, plot.bottom), (plot.right(), plot.bottom)]);
    draw_decisions(canvas, plot, &panel.decisions);
}

/// A line and a triangle per decision, and below the plot what it was, where there is room.
fn draw_decisions(canvas: &mut Canvas, plot: Plot, decisions: &[DecisionMark]) {
    let mut free = LEFT;
    for decision in decisions {
        let x = plot.x(decision.at);
        canvas.line(Ink::Decision, 1.0, &[(x, plot.top), (x, plot.bottom)]);
        let (tip, foot) = if decision.up {
            (plot.top - 4.0, plot.top + 3.0)
        } else {
            (plot.top + 3.0, plot.top - 4.0)
        };
        canvas.area(Ink::Decision, &[(x - 4.0, foot), (x + 4.0, foot), (x, tip)]);
        let width = text_width(10.5, &decision.label);
        let from = (x - width / 2.0).clamp(LEFT, (plot.right() - width).max(LEFT));
        if !decision.label.is_empty() && from >= free {
            canvas.text(
                Label::new(Ink::Decision, 10.5),
                (from, plot.bottom + 8.0),
                &decision.label,
            );
            free = from + width + 6.0;
        }
    }
}

fn draw_series(canvas: &mut Canvas, plot: Plot, axis: &ValueAxis, series: &Series, step: f64) {
    let width = line_width(series.ink);
    let y = |value| plot.y(axis, value);
    match series.shape {
        Shape::Bars => {
            for Point(at, low, high) in &series.points {
                let (from, to) = (plot.x(*at), plot.x(at + step));
                // Thinner than this it could be overlooked.
                let to = to.max(from + 1.5);
                let top = y(*high).min(y(*low) - 1.5);
                canvas.rect(series.ink, (from, top), (to, y(*low)));
            }
        }
        Shape::Steps => {
            let mut path: Vec<At> = Vec::new();
            for Point(at, value, _) in &series.points {
                if let Some((_, last)) = path.last() {
                    path.push((plot.x(*at), *last));
                }
                if value.is_nan() {
                    canvas.line(series.ink, width, &path);
                    path.clear();
                } else {
                    path.push((plot.x(*at), y(*value)));
                }
            }
            if let Some((_, last)) = path.last() {
                path.push((plot.right(), *last));
            }
            canvas.line(series.ink, width, &path);
        }
        Shape::Area | Shape::Flats => {
            for run in runs(&series.points, step) {
                let mut path: Vec<At> = run
                    .iter()
                    .flat_map(|Point(at, _, value)| {
                        [(plot.x(*at), y(*value)), (plot.x(at + step), y(*value))]
                    })
                    .collect();
                if series.shape == Shape::Flats {
                    canvas.line(series.ink, width, &path);
                } else if let (Some(first), Some(last)) = (path.first(), path.last()) {
                    path.extend([(last.0, plot.bottom), (first.0, plot.bottom)]);
                    canvas.area(series.ink, &path);
                }
            }
        }
        Shape::Line => {
            for run in runs(&series.points, step) {
                let edge = |of: fn(&Point) -> f64| edge(plot, axis, run, (step, of));
                let (high, low) = (edge(|point| point.2), edge(|point| point.1));
                if high != low {
                    let around: Vec<At> =
                        high.iter().copied().chain(low.into_iter().rev()).collect();
                    canvas.area(series.ink, &around);
                }
                canvas.line(series.ink, width, &high);
            }
        }
    }
}

/// One edge of a run of points; a lone point is as wide as what it stands for.
fn edge(
    plot: Plot,
    axis: &ValueAxis,
    run: &[Point],
    (step, of): (f64, fn(&Point) -> f64),
) -> Vec<At> {
    if let [point] = run {
        let (from, to) = (plot.x(point.0 - step / 2.0), plot.x(point.0 + step / 2.0));
        let y = plot.y(axis, of(point));
        return vec![(from, y), (to.max(from + 2.0), y)];
    }
    run.iter().map(|point| (plot.x(point.0), plot.y(axis, of(point)))).collect()
}

/// Points without a gap between them.
fn runs(points: &[Point], step: f64) -> impl Iterator<Item = &[Point]> {
    points.chunk_by(move |a, b| b.0 - a.0 <= step * 1.5)
}

fn lane_keys(panel: &LanePanel) -> Vec<Key> {
    let key = |name: &str, ink, height| Key {
        name: name.into(),
        ink,
        swatch: Swatch::Block(f64::from(height) / 100.0),
    };
    let mut keys: Vec<Key> =
        panel.phases.iter().map(|phase| key(phase.name, phase.ink, phase.height)).collect();
    if panel.lanes.iter().any(|lane| !lane.routed.is_empty()) {
        keys.push(key("routed", Ink::Routed, 20));
    }
    if panel.lanes.iter().any(|lane| !lane.marks.is_empty()) {
        keys.push(key("lost", Ink::Lost, 100));
    }
    keys
}

/// Lives of pods above each other.
pub(super) fn draw_lanes(canvas: &mut Canvas, plot: Plot, panel: &LanePanel) {
    plot.draw_head(canvas, &panel.title, &panel.note, &lane_keys(panel));
    let pitch = f64::from(panel.pitch);
    let thick = (pitch * 0.62).max(4.0);
    for (index, lane) in panel.lanes.iter().enumerate() {
        let middle = plot.top + (index as f64 + 0.5) * pitch;
        draw_lane(canvas, plot, panel, (index, middle, thick));
        let size = if pitch >= 17.0 { 10.5 } else { 9.5 };
        if lane.labelled {
            let label = Label::new(Ink::Muted, size).anchor(Anchor::End);
            canvas.text(label, (LEFT - 7.0, middle), &lane.label);
            if lane.lost > 0 {
                let label = Label::new(Ink::Lost, size).bold();
                let lost = format!("{} lost", figures::count(lane.lost));
                canvas.text(label, (plot.right() + 6.0, middle), &lost);
            }
        }
    }
}

fn draw_lane(
    canvas: &mut Canvas,
    plot: Plot,
    panel: &LanePanel,
    (index, middle, thick): (usize, f64, f64),
) {
    let lane = &panel.lanes[index];
    if panel.phases.is_empty() {
        canvas.line(Ink::Grid, 0.5, &[(LEFT, middle), (plot.right(), middle)]);
    }
    for span in &lane.spans {
        let PhaseKey { ink, height, .. } = panel.phases[span.phase];
        let half = thick * f64::from(height) / 200.0;
        canvas.rect(ink, (plot.x(span.from), middle - half), (plot.x(span.to), middle + half));
    }
    for (from, to) in &lane.routed {
        let y = middle + thick / 2.0;
        let line = (thick / 6.0).clamp(0.5, 1.5);
        canvas.rect(Ink::Routed, (plot.x(*from), y - line), (plot.x(*to), y));
    }
    for mark in &lane.marks {
        let (from, to) = (plot.x(mark.from), plot.x(mark.to));
        let half = thick / 2.0 + (f64::from(panel.pitch) - thick) / 4.0;
        let (from, to) = (from - 0.75, to.max(from) + 0.75);
        canvas.rect(Ink::Lost, (from, middle - half), (to, middle + half));
    }
}
