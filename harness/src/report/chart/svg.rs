//! The drawing of a [`ChartModel`]: SVG for a page whose style sheet holds the colours.
//!
//! This is what all panels share, the frame; the panels themselves are in `panels`.

use super::{
    super::html::writer::escape,
    canvas::{self, Anchor, Canvas, FINENESS, Label, text_width},
    model::{Band, ChartModel, Ink, Panel, ValuePanel},
    panels::{NOTE, Plot, TICK, draw_lanes, draw_values, fit},
};

/// Left of the plot: names of pods and labels of values.
pub(super) const LEFT: f64 = 152.0;
/// Right of the plot: how many were lost on a pod.
const RIGHT: f64 = 52.0;
/// Above the first panel: names of phases.
const PHASE_ROW: f64 = 18.0;
/// A row of names of actions.
const ACTION_ROW: f64 = 14.0;
/// More rows than this are not made; what finds no room has a line and no name.
const ACTION_ROWS_MAX: usize = 6;
/// Above each panel: its title and legend.
const HEAD: f64 = 34.0;
/// Below a panel: what the autoscaler decided.
const DECISION_ROW: f64 = 10.0;
/// Gaps narrower than this have no lines at their ends.
const GAP_EDGES: f64 = 8.0;
/// Below the last panel: the axis.
const FOOT: f64 = 44.0;

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

    /// The picture as a file that stands by itself, with colours of its own.
    pub fn alone(&self, style: &'static str) -> String {
        let (head, body) = self.markup.split_once('>').unwrap_or((&self.markup, ""));
        format!("{head} xmlns=\"http://www.w3.org/2000/svg\"><style>{style}</style>{body}\n")
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
    let mut top = frame.top;
    for panel in &model.panels {
        let plot = frame.plot(top + HEAD, height(panel));
        frame.draw_back(&mut canvas, model, plot);
        match panel {
            Panel::Values(panel) => draw_values(&mut canvas, plot, panel, model.step),
            Panel::Lanes(panel) => draw_lanes(&mut canvas, plot, panel),
        }
        frame.draw_marks(&mut canvas, model, plot);
        top += HEAD + height(panel) + below(panel);
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

/// Room below a panel for what is written there.
fn below(panel: &Panel) -> f64 {
    let is_labelled = |panel: &ValuePanel| panel.decisions.iter().any(|one| !one.label.is_empty());
    match panel {
        Panel::Values(panel) if is_labelled(panel) => DECISION_ROW,
        Panel::Values(_) | Panel::Lanes(_) => 0.0,
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
            // Below all names that reach as far, so that no line runs through a name.
            let row = ends.iter().rposition(|end| *end > from).map_or(0, |row| row + 1);
            *ends.get_mut(row)? = from + width;
            Some(row)
        })
        .collect()
}

/// What all panels share.
pub(super) struct Frame {
    width: f64,
    height: f64,
    /// Top of the first panel's head.
    top: f64,
    from: f64,
    to: f64,
    pub(super) columns: f64,
}

impl Frame {
    fn new(model: &ChartModel, last_row: Option<usize>) -> Self {
        let columns = f64::from(model.columns);
        let rows = last_row.map_or(0.0, |row| (row + 1) as f64);
        let phases = if model.phases.is_empty() { 0.0 } else { PHASE_ROW };
        let top = phases + rows * ACTION_ROW;
        let panels: f64 =
            model.panels.iter().map(|panel| HEAD + height(panel) + below(panel)).sum();
        Self {
            width: LEFT + columns + RIGHT,
            height: top + panels + FOOT,
            top,
            from: model.time.from,
            to: model.time.to,
            columns,
        }
    }

    pub(super) fn x(&self, at: f64) -> f64 {
        let share = (at - self.from) / (self.to - self.from);
        LEFT + share.clamp(0.0, 1.0) * self.columns
    }

    fn plot(&self, top: f64, height: f64) -> Plot<'_> {
        Plot { frame: self, top, bottom: top + height }
    }

    fn bottom(&self) -> f64 {
        self.height - FOOT
    }

    /// What lies behind a panel: times without traffic, and the grid.
    fn draw_back(&self, canvas: &mut Canvas, model: &ChartModel, plot: Plot) {
        for (from, to) in &model.quiet {
            let (from, to) = (self.x(*from), self.x(*to));
            canvas.rect(Ink::Quiet, (from, plot.top), (to, plot.bottom));
        }
        for (from, to) in &model.gaps {
            let (from, to) = (self.x(*from), self.x(*to));
            canvas.rect(Ink::Gap, (from, plot.top), (to, plot.bottom));
            // Two lines near each other would hide what is between them.
            for x in [from, to].into_iter().filter(|_| to - from >= GAP_EDGES) {
                canvas.line(Ink::GapEdge, 1.0, &[(x, plot.top), (x, plot.bottom)]);
            }
        }
        for tick in &model.time.ticks {
            let x = self.x(tick.at);
            canvas.line(Ink::Grid, 0.5, &[(x, plot.top), (x, plot.bottom)]);
        }
    }

    /// What lies on a panel: where phases of the traffic begin, and actions. Heads of panels stay
    /// free of it, so that they can be read.
    fn draw_marks(&self, canvas: &mut Canvas, model: &ChartModel, plot: Plot) {
        let mut line = |ink, at| {
            let x = self.x(at);
            canvas.line(ink, 1.0, &[(x, plot.top - 3.0), (x, plot.bottom)]);
        };
        for band in &model.phases {
            line(Ink::Boundary, band.from);
            line(Ink::Boundary, band.to);
        }
        for action in &model.actions {
            line(Ink::Action, action.at);
        }
    }

    /// What lies around the panels: names of phases and actions, the axis.
    fn draw_front(&self, canvas: &mut Canvas, model: &ChartModel, rows: &[Option<usize>]) {
        for band in &model.phases {
            self.draw_phase(canvas, band);
        }
        let above =
            self.top - rows.iter().flatten().max().map_or(0.0, |row| (row + 1) as f64 * ACTION_ROW);
        for (action, row) in model.actions.iter().zip(rows) {
            let Some(row) = row else { continue };
            let (x, top) = (self.x(action.at), above + *row as f64 * ACTION_ROW);
            canvas.line(Ink::Action, 1.0, &[(x, top + 1.0), (x, self.top + 6.0)]);
            let label = Label::new(Ink::Action, 10.5).bold();
            let fits = x + text_width(10.5, &action.label) + 14.0 <= self.width;
            let (anchor, at) = if fits { (Anchor::Start, x + 4.0) } else { (Anchor::End, x - 4.0) };
            let middle = top + ACTION_ROW / 2.0;
            canvas.text(label.anchor(anchor), (at, middle), &action.label);
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
        canvas.line(Ink::Boundary, 1.0, &[(from, 2.0), (from, 15.0)]);
        canvas.line(Ink::Boundary, 1.0, &[(to, 2.0), (to, 15.0)]);
        canvas.line(Ink::Boundary, 1.0, &[(from, 15.0), (to, 15.0)]);
        let room = to - from - 8.0;
        if let Some(label) = fit(10.5, room, &band.label) {
            canvas.text(TICK, (from + 5.0, 8.0), &label);
        }
    }

    fn wrap(&self, model: &ChartModel, inner: &str) -> Svg {
        let mut title = String::new();
        let mut description = String::new();
        escape(&mut title, &model.title);
        escape(&mut description, &model.description);
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
