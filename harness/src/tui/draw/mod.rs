//! A picture of a run as it stands. Pure: the same state in the same area is the same picture.
//!
//! 1. where what goes, by the room there is: this module
//! 2. the first and last lines: `edges`; rates over time: `traffic`; percentiles, failures,
//!    replicas, what happened: `tables`; the pods: `pods`
//!
//! Colours are the terminal's own sixteen, and none says what a sign or a word does not.

mod edges;
mod pods;
mod tables;
#[cfg(test)]
mod tests;
mod traffic;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    text::Line,
    widgets::{Block, Borders, Widget as _},
};

use crate::live::{LiveView, plain};

/// Below this there is room for one line.
const LEAST: (u16, u16) = (30, 6);
/// From this on what belongs together has a panel.
const PANELS: (u16, u16) = (60, 18);
/// From this on panels are side by side.
const WIDE: (u16, u16) = (110, 26);

/// Draws a run into an empty buffer.
pub fn draw(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(*buf.area());
    let fits = |(width, height): (u16, u16)| area.width >= width && area.height >= height;
    if !fits(LEAST) {
        let line = Rect { height: area.height.min(1), ..area };
        Line::raw(plain::line(view)).render(line, buf);
        return;
    }
    let [head, body, foot] =
        areas(area, false, [Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)]);
    edges::head(view, head, buf);
    edges::foot(view, foot, buf);
    if fits(WIDE) {
        wide(view, body, buf);
    } else if fits(PANELS) {
        stacked(view, body, buf);
    } else {
        small(view, body, buf);
    }
}

fn areas<const N: usize>(area: Rect, side_by_side: bool, parts: [Constraint; N]) -> [Rect; N] {
    let layout = if side_by_side { Layout::horizontal(parts) } else { Layout::vertical(parts) };
    layout.areas(area)
}

fn wide(view: &LiveView, area: Rect, buf: &mut Buffer) {
    use Constraint::{Fill, Length, Min};
    let [left, _, right] = areas(area, true, [Fill(11), Length(2), Fill(9)]);
    // Two rows for each of the lines of traffic, three if there is room for it.
    let rows = if area.height >= 40 { 3 } else { 2 };
    let traffic = Length(1 + rows * traffic::LINES);
    let failures = Length(1 + tables::losses_rows(view).clamp(2, 6));
    let [over_time, latency, failed, log] =
        areas(left, false, [traffic, Length(tables::LATENCY_ROWS + 1), failures, Min(2)]);
    let replicas = Length(1 + tables::replica_rows(view));
    let [scale, lanes] = areas(right, false, [replicas, Min(2)]);
    traffic::draw(
        view,
        panel("traffic", &traffic::step_words(view, over_time.width), over_time, buf),
        buf,
    );
    tables::latency(view, panel("latency of good answers", "", latency, buf), buf);
    tables::losses(view, panel("failures by outcome", tables::CAUSES_LATER, failed, buf), buf);
    tables::said(view, panel("what happened", "", log, buf), buf);
    tables::replicas(view, panel("replicas", "", scale, buf), buf);
    pods::draw(view, panel("pods", &pods::title(view), lanes, buf), buf);
}

fn stacked(view: &LiveView, area: Rect, buf: &mut Buffer) {
    use Constraint::{Fill, Length, Min};
    let [over_time, middle, lanes, log] = areas(
        area,
        false,
        [Length(1 + traffic::LINES), Length(tables::LATENCY_ROWS + 1), Fill(1), Fill(1)],
    );
    let [latency, _, failed] =
        areas(middle, true, [Length(tables::LATENCY_WIDTH), Length(1), Min(0)]);
    traffic::draw(
        view,
        panel("traffic", &traffic::step_words(view, over_time.width), over_time, buf),
        buf,
    );
    tables::latency(view, panel("latency of good answers", "", latency, buf), buf);
    tables::losses(view, panel("failures by outcome", "", failed, buf), buf);
    pods::draw(view, panel("pods", &pods::title(view), lanes, buf), buf);
    tables::said(view, panel("what happened", "", log, buf), buf);
}

fn small(view: &LiveView, area: Rect, buf: &mut Buffer) {
    use Constraint::{Fill, Length};
    let traffic = Length(traffic::LINES.min(area.height));
    let [over_time, counts, log] = areas(area, false, [traffic, Length(1), Fill(1)]);
    traffic::draw(view, over_time, buf);
    Line::from(pods::counts(view)).render(counts, buf);
    tables::said(view, log, buf);
}

/// A line with a title, and what is left below it.
fn panel(title: &str, more: &str, area: Rect, buf: &mut Buffer) -> Rect {
    let mut words = vec![format!(" {title} ").bold()];
    if !more.is_empty() {
        words.push(format!("{more} ").dim());
    }
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(Style::new().fg(Color::DarkGray))
        .title(Line::from(words));
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

/// Writes text from `x` on in a row of `area`, cut off at its edge.
fn put(buf: &mut Buffer, area: Rect, (x, y): (u16, u16), text: &str, style: Style) {
    if y >= area.height || x >= area.width {
        return;
    }
    let room = usize::from(area.width - x);
    buf.set_stringn(area.x + x, area.y + y, text, room, style);
}
