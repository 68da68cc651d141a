//! The pods: a lane each where there is room, else a sign and a name, else a sign each and the names
//! of those that are not ready or lost requests.

use highwater_model::time::{SECOND, Timestamp};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Style, Stylize as _},
    text::Span,
};

use super::put;
use crate::{
    analyze::PodPhase,
    live::{LiveView, pods::Pod},
    report::clean,
};

/// What a lane shows at least.
const LANE_SECONDS: u64 = 60;
/// Columns of the shortest lane.
const LANE_LEAST: u16 = 10;
/// Columns of a name that still tells pods apart.
const NAME_LEAST: u16 = 5;
/// Columns of the longest name.
const NAME_MOST: u16 = 30;
/// A sign, and blanks around the name.
const SIGN: u16 = 3;
/// Of a pod that is gone.
const GONE: &str = " ";

const fn sign(phase: PodPhase) -> &'static str {
    match phase {
        PodPhase::Pending => "·",
        PodPhase::Starting => "▒",
        PodPhase::Ready => "█",
        PodPhase::Unready => "▚",
        PodPhase::PreStop => "▓",
        PodPhase::Draining => "░",
        PodPhase::Exited => "×",
    }
}

fn style(phase: PodPhase) -> Style {
    match phase {
        PodPhase::Pending => Style::new().gray(),
        PodPhase::Starting => Style::new().cyan(),
        PodPhase::Ready => Style::new().green(),
        PodPhase::Unready => Style::new().yellow(),
        PodPhase::PreStop | PodPhase::Draining => Style::new().magenta(),
        PodPhase::Exited => Style::new().red(),
    }
}

/// How many pods are in which phase, with the signs.
pub(super) fn counts(view: &LiveView) -> Vec<Span<'static>> {
    let mut spans = vec![];
    for (phase, n) in view.pods.by_phase() {
        let blank = if spans.is_empty() { "" } else { "  " };
        spans.push(Span::raw(blank));
        spans.push(Span::styled(sign(phase), style(phase)));
        spans.push(Span::raw(format!(" {n} {}", phase.name())));
    }
    if view.pods.more > 0 {
        spans.push(format!("  and {} more pods", view.pods.more).dim());
    }
    spans
}

/// What a lane stands for.
pub(super) fn title(view: &LiveView) -> String {
    if view.pods.iter().len() == 0 { "none yet".into() } else { String::new() }
}

/// How pods are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Columns of cells; the width of a cell and of the name in it.
    Cells { columns: u16, width: u16, name: u16 },
    /// A sign each.
    Signs,
}

/// The largest cells in which all `pods` fit into `width` × `rows`.
fn plan(pods: usize, longest: u16, width: u16, rows: u16) -> Plan {
    if rows == 0 {
        return Plan::Signs;
    }
    let columns = pods.div_ceil(usize::from(rows)).max(1) as u16;
    let cell = width / columns;
    let longest = longest.min(NAME_MOST);
    if cell >= longest + SIGN + LANE_LEAST {
        Plan::Cells { columns, width: cell, name: longest }
    } else if cell >= NAME_LEAST + SIGN + LANE_LEAST && cell >= longest / 2 + SIGN + LANE_LEAST {
        Plan::Cells { columns, width: cell, name: cell - SIGN - LANE_LEAST }
    } else if cell >= NAME_LEAST + SIGN {
        Plan::Cells { columns, width: cell, name: (cell - SIGN).min(longest) }
    } else {
        Plan::Signs
    }
}

/// Draws the counts and the pods.
pub(super) fn draw(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let counts = ratatui::text::Line::from(counts(view));
    ratatui::widgets::Widget::render(counts, Rect { height: area.height.min(1), ..area }, buf);
    let area = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    if area.height == 0 || area.width == 0 {
        return;
    }
    let pods: Vec<&Pod> = view.pods.iter().collect();
    if !cells(&pods, view.now, area, buf) {
        let rows = signs(&pods, area, buf);
        let rest = Rect { y: area.y + rows, height: area.height - rows, ..area };
        // Those that are worth a name.
        let is_usual = |pod: &&Pod| pod.phase() == Some(PodPhase::Ready) && pod.failed == 0;
        let unusual: Vec<&Pod> = pods.into_iter().filter(|pod| !is_usual(pod)).collect();
        cells(&unusual, view.now, rest, buf);
    }
}

/// Pods with their names, column by column; false if there is no room for that.
fn cells(pods: &[&Pod], now: Timestamp, area: Rect, buf: &mut Buffer) -> bool {
    let longest = pods.iter().map(|pod| pod.name.chars().count()).max().unwrap_or(0) as u16;
    let Plan::Cells { columns, width, name } = plan(pods.len(), longest, area.width, area.height)
    else {
        return false;
    };
    let rows = pods.len().div_ceil(usize::from(columns).max(1)).max(1);
    for (index, pod) in pods.iter().enumerate() {
        let (column, row) = ((index / rows) as u16, (index % rows) as u16);
        let place = Rect {
            x: area.x + column * width,
            y: area.y + row,
            // A blank between the columns.
            width: if columns > 1 { width - 1 } else { width },
            height: 1,
        };
        cell(pod, now, name, place, buf);
    }
    true
}

/// A sign for each pod, row by row. Returns the rows that they take.
fn signs(pods: &[&Pod], area: Rect, buf: &mut Buffer) -> u16 {
    let width = usize::from(area.width);
    let room = width * usize::from(area.height);
    for (index, pod) in pods.iter().take(room).enumerate() {
        let place = ((index % width) as u16, (index / width) as u16);
        let (sign, style) = now(pod);
        put(buf, area, place, sign, style);
    }
    (pods.len().div_ceil(width) as u16).min(area.height)
}

fn now(pod: &Pod) -> (&'static str, Style) {
    pod.phase().map_or((GONE, Style::new()), |phase| (sign(phase), style(phase)))
}

fn cell(pod: &Pod, at: Timestamp, name: u16, area: Rect, buf: &mut Buffer) {
    let (sign, style) = now(pod);
    put(buf, area, (0, 0), sign, style);
    let shown = clean::shorten_middle(&pod.name, usize::from(name));
    let named = if pod.gone.is_some() { Style::new().dim() } else { Style::new() };
    let named = if pod.failed > 0 { named.red().bold() } else { named };
    let clip = Rect { width: area.width.min(2 + name), ..area };
    put(buf, clip, (2, 0), &shown, named);
    let from = 2 + name + 1;
    let Some(room) = area.width.checked_sub(from).filter(|room| *room + 1 >= LANE_LEAST) else {
        return;
    };
    let lost = match pod.failed {
        0 => String::new(),
        n => format!(" {n} failed"),
    };
    let lane = if usize::from(room) > lost.len() + usize::from(LANE_LEAST) {
        put(buf, area, (from + room - lost.len() as u16, 0), &lost, Style::new().red());
        room - lost.len() as u16
    } else {
        room
    };
    self::lane(pod, at, Rect { x: area.x + from, width: lane, ..area }, buf);
}

/// The pod's phases up to now, which is at the right.
fn lane(pod: &Pod, now: Timestamp, area: Rect, buf: &mut Buffer) {
    let step = LANE_SECONDS.div_ceil(u64::from(area.width.max(1))).max(1);
    for x in 0..area.width {
        let back = u64::from(area.width - 1 - x) * step * SECOND;
        // Before the run there was no pod.
        let Some(at) = now.0.checked_sub(back) else { continue };
        if let Some(phase) = pod.phase_at(Timestamp(at)) {
            put(buf, area, (x, 0), sign(phase), style(phase));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_pods_has_a_plan_for_any_room() {
        let cells = |columns, width, name| Plan::Cells { columns, width, name };
        let rows = [
            // Few pods have lanes, many share the rows, more are signs.
            ((3, 5, 80, 5), cells(1, 80, 5)),
            ((50, 5, 66, 40), cells(2, 33, 5)),
            ((50, 22, 66, 40), cells(2, 33, 20)),
            ((50, 5, 80, 5), cells(10, 8, 5)),
            ((50, 22, 80, 5), cells(10, 8, 5)),
            ((200, 22, 80, 5), Plan::Signs),
            ((5, 5, 80, 0), Plan::Signs),
            ((0, 0, 80, 5), cells(1, 80, 0)),
        ];
        for ((pods, longest, width, height), planned) in rows {
            assert_eq!(plan(pods, longest, width, height), planned, "{pods} pods");
        }
    }
}
