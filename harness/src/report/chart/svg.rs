//! The drawing of a [`ChartModel`]: SVG for a page whose style sheet holds the colours.

use super::{
    canvas::{self, Anchor, At, Canvas, FINENESS, Label, text_width},
    model::{
        Band, ChartModel, Ink, LanePanel, Panel, PhaseKey, Point, Scale, Series, Shape, ValueAxis,
        ValuePanel,
    },
};

/// Left of the plot: names of pods and labels of values.
const LEFT: f64 = 138.0;
/// Right of the plot: how many were lost on a pod.
const RIGHT: f64 = 52.0;
/// Above the first panel: names of phases.
const PHASE_ROW: f64 = 18.0;
/// A row of names of actions.
const ACTION_ROW: f64 = 14.0;
/// More rows than this are not made; what finds no room has a line and no name.
const ACTION_ROWS_MAX: usize = 4;
/// Above each panel: its title and legend.
const HEAD: f64 = 34.0;
/// Below the last panel: the axis.
const FOOT: f64 = 44.0;

const TITLE: Label = Label::new(Ink::Text, 12.5).bold();
const NOTE: Label = Label::new(Ink::Muted, 11.0);
const TICK: Label = Label::new(Ink::Muted, 10.5);

/// An SVG picture that is safe to be put into a page: all text in it is escaped. Only [`draw`]
/// makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Svg {
    markup: String,
    plot: (f64, f64),
}

impl Svg {
    /// The element.
    pub fn markup(&self) -> &str {
        &self.markup
    }

    /// Where the plot begins and ends, as shares of the picture's width.
    pub const fn plot(&self) -> (f64, f64) {
        self.plot
    }
}

/// The picture could not be drawn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("drawing the time axis: {reason}")]
pub struct DrawError {
    reason: String,
}

/// Draws a model.
///
/// # Errors
/// Those of the drawing library; writing into memory has none that is known.
pub fn draw(model: &ChartModel) -> Result<Svg, DrawError> {
    let rows = action_rows(model);
    let frame = Frame::new(model, rows.iter().filter_map(|row| *row).max());
    let mut drawn = String::new();
    let mut canvas = Canvas::new(&mut drawn, (frame.width, frame.height));
    frame.draw_back(&mut canvas, model);
    let mut top = frame.top;
    for panel in &model.panels {
        let plot = frame.plot(top + HEAD, height(panel));
        match panel {
            Panel::Values(panel) => draw_values(&mut canvas, plot, panel, model.step),
            Panel::Lanes(panel) => draw_lanes(&mut canvas, plot, panel),
        }
        top += HEAD + height(panel);
    }
    frame.draw_front(&mut canvas, model, &rows);
    canvas.finish().map_err(|reason| DrawError { reason })?;
    Ok(frame.wrap(model, &canvas::restyle(&drawn)))
}

fn height(panel: &Panel) -> f64 {
    match panel {
        Panel::Values(panel) => f64::from(panel.height),
        Panel::Lanes(panel) => f64::from(panel.pitch) * panel.lanes.len() as f64,
    }
}

/// The rows of the actions' names; `None` where there is no room.
fn action_rows(model: &ChartModel) -> Vec<Option<usize>> {
    let frame = Frame::new(model, None);
    let mut ends = [f64::NEG_INFINITY; ACTION_ROWS_MAX];
    model
        .actions
        .iter()
        .map(|action| {
            let (x, width) = (frame.x(action.at), text_width(10.5, &action.label) + 14.0);
            // Those near the right end stand to the left of their lines.
            let from = if x + width > frame.width { x - width } else { x };
            let row = ends.iter().position(|end| *end <= from)?;
            ends[row] = from + width;
            Some(row)
        })
        .collect()
}

/// What all panels share.
struct Frame {
    width: f64,
    height: f64,
    /// Top of the first panel's head.
    top: f64,
    from: f64,
    to: f64,
    columns: f64,
}

impl Frame {
    fn new(model: &ChartModel, last_row: Option<usize>) -> Self {
        let columns = f64::from(model.columns);
        let rows = last_row.map_or(0.0, |row| (row + 1) as f64);
        let phases = if model.phases.is_empty() { 0.0 } else { PHASE_ROW };
        let top = phases + rows * ACTION_ROW;
        let panels: f64 = model.panels.iter().map(|panel| HEAD + height(panel)).sum();
        Self {
            width: LEFT + columns + RIGHT,
            height: top + panels + FOOT,
            top,
            from: model.time.from,
            to: model.time.to,
            columns,
        }
    }

    fn x(&self, at: f64) -> f64 {
        let share = (at - self.from) / (self.to - self.from);
        LEFT + share.clamp(0.0, 1.0) * self.columns
    }

    fn plot(&self, top: f64, height: f64) -> Plot<'_> {
        Plot { frame: self, top, bottom: top + height }
    }

    fn bottom(&self) -> f64 {
        self.height - FOOT
    }

    /// What lies behind the panels: times without traffic, and the grid.
    fn draw_back(&self, canvas: &mut Canvas, model: &ChartModel) {
        let top = self.top + HEAD;
        if model.panels.is_empty() {
            return;
        }
        for (from, to) in &model.quiet {
            canvas.rect(Ink::Quiet, (self.x(*from), top), (self.x(*to), self.bottom()));
        }
        for tick in &model.time.ticks {
            let x = self.x(tick.at);
            canvas.line(Ink::Grid, 0.5, &[(x, top), (x, self.bottom() + 4.0)]);
        }
    }

    /// What lies on the panels: phases, actions, the axis.
    fn draw_front(&self, canvas: &mut Canvas, model: &ChartModel, rows: &[Option<usize>]) {
        for band in &model.phases {
            self.draw_phase(canvas, band);
        }
        let above =
            self.top - rows.iter().flatten().max().map_or(0.0, |row| (row + 1) as f64 * ACTION_ROW);
        for (action, row) in model.actions.iter().zip(rows) {
            let x = self.x(action.at);
            let y = row.map_or(self.top + HEAD, |row| above + (row as f64 + 0.5) * ACTION_ROW);
            canvas.line(Ink::Action, 1.0, &[(x, y), (x, self.bottom())]);
            if row.is_some() {
                let label = Label::new(Ink::Action, 10.5).bold();
                let fits = x + text_width(10.5, &action.label) + 14.0 <= self.width;
                let (anchor, at) =
                    if fits { (Anchor::Start, x + 4.0) } else { (Anchor::End, x - 4.0) };
                canvas.text(label.anchor(anchor), (at, y), &action.label);
            }
        }
        let y = self.bottom();
        canvas.line(Ink::Frame, 1.0, &[(LEFT, y), (LEFT + self.columns, y)]);
        for tick in &model.time.ticks {
            let label = TICK.anchor(Anchor::Middle);
            canvas.text(label, (self.x(tick.at), y + 13.0), &tick.label);
        }
        let middle = (LEFT + self.columns / 2.0, y + 31.0);
        canvas.text(NOTE.anchor(Anchor::Middle), middle, &model.time.label);
    }

    fn draw_phase(&self, canvas: &mut Canvas, band: &Band) {
        let (from, to) = (self.x(band.from), self.x(band.to));
        canvas.line(Ink::Boundary, 1.0, &[(from, 2.0), (from, self.bottom())]);
        canvas.line(Ink::Boundary, 1.0, &[(to, 2.0), (to, self.bottom())]);
        canvas.line(Ink::Boundary, 1.0, &[(from, 15.0), (to, 15.0)]);
        let room = to - from - 8.0;
        if let Some(label) = fit(10.5, room, &band.label) {
            canvas.text(TICK, (from + 5.0, 8.0), &label);
        }
    }

    fn wrap(&self, model: &ChartModel, inner: &str) -> Svg {
        let mut title = String::new();
        let mut description = String::new();
        super::super::html::writer::escape(&mut title, &model.title);
        super::super::html::writer::escape(&mut description, &model.description);
        let markup = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" \
             aria-labelledby=\"chart-title chart-desc\"><title id=\"chart-title\">{title}</title>\
             <desc id=\"chart-desc\">{description}</desc>{inner}</svg>",
            (self.width * FINENESS).ceil(),
            (self.height * FINENESS).ceil(),
        );
        let plot = (LEFT / self.width, (LEFT + self.columns) / self.width);
        Svg { markup, plot }
    }
}

/// As much of a text as there is room for; `None` if that would say nothing.
fn fit(size: f64, room: f64, text: &str) -> Option<String> {
    if text_width(size, text) <= room {
        return Some(text.to_owned());
    }
    let chars = (room / (size * 0.65)) as usize;
    (chars >= 4).then(|| super::super::clean::shorten(text, chars))
}

/// Where a panel's plot is.
#[derive(Clone, Copy)]
struct Plot<'a> {
    frame: &'a Frame,
    top: f64,
    bottom: f64,
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
        Ink::P99 | Ink::Desired => 1.5,
        _ => 1.0,
    }
}

fn draw_values(canvas: &mut Canvas, plot: Plot, panel: &ValuePanel, step: u64) {
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
                path.push((plot.x(*at), y(*value)));
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
                canvas.line(series.ink, width, &through(plot, axis, run, step));
            }
        }
    }
}

/// A line through lowest and highest of each point; a lone point is as wide as what it stands for.
fn through(plot: Plot, axis: &ValueAxis, run: &[Point], step: f64) -> Vec<At> {
    if let [Point(at, low, high)] = run {
        let (from, to) = (plot.x(at - step / 2.0), plot.x(at + step / 2.0));
        return vec![(from, plot.y(axis, *low)), (to.max(from + 2.0), plot.y(axis, *high))];
    }
    run.iter()
        .flat_map(|Point(at, low, high)| {
            let x = plot.x(*at);
            [(x, plot.y(axis, *low)), (x, plot.y(axis, *high))]
        })
        .collect()
}

/// Points without a gap between them.
fn runs(points: &[Point], step: f64) -> impl Iterator<Item = &[Point]> {
    points.chunk_by(move |a, b| b.0 - a.0 <= step * 1.5)
}

fn draw_lanes(canvas: &mut Canvas, plot: Plot, panel: &LanePanel) {
    let keys: Vec<Key> = panel
        .phases
        .iter()
        .map(|phase| Key {
            name: phase.name.into(),
            ink: phase.ink,
            swatch: Swatch::Block(f64::from(phase.height) / 100.0),
        })
        .collect();
    plot.draw_head(canvas, &panel.title, &panel.note, &keys);
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
                let lost = format!("{} lost", super::super::figures::count(lane.lost));
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
