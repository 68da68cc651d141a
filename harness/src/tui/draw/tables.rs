//! Percentiles, failures, replicas, and what happened.

use highwater_model::{
    outcome::OutcomeGroup,
    time::{Nanos, human},
};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::put;
use crate::{
    live::{
        LiveView,
        latency::{Figures, RECENT_SECONDS},
        log::Tone,
    },
    report::{
        figures::{NONE, count, share},
        phrases,
    },
};

/// Rows of the table of percentiles.
pub(super) const LATENCY_ROWS: u16 = 3;
/// Its columns.
pub(super) const LATENCY_WIDTH: u16 = 9 + 5 * 9;
/// What a run under way cannot say.
pub(super) const CAUSES_LATER: &str = "their causes are told at the end";

/// Percentiles of just now and of the whole run.
pub(super) fn latency(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let heads = ["p50", "p90", "p99", "p99.9", "max"];
    let row = |cells: [String; 5]| cells.map(|cell| format!("{cell:>9}")).concat();
    let of = |figures: Option<Figures>| {
        let cell = |ns: u64| if figures.is_some() { human(Nanos(ns)) } else { NONE.into() };
        let all = figures.unwrap_or_default();
        row([all.p50, all.p90, all.p99, all.p999, all.max].map(cell))
    };
    put(buf, area, (9, 0), &row(heads.map(Into::into)), Style::new().dim());
    put(buf, area, (0, 1), &format!("last {RECENT_SECONDS} s"), Style::new());
    put(buf, area, (9, 1), &of(view.latency.recent), Style::new().cyan());
    put(buf, area, (0, 2), "run", Style::new());
    put(buf, area, (9, 2), &of(view.latency.run), Style::new());
}

/// Rows that the failures need.
pub(super) fn losses_rows(view: &LiveView) -> u16 {
    view.losses().len() as u16 + 1
}

/// Failures and unsent requests by outcome, the most frequent first.
pub(super) fn losses(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let (failed, sent) = (view.totals.failed(), view.totals.sent());
    let all = format!("{} of {} sent", count(failed), count(sent));
    let more = if failed == 0 { String::new() } else { format!(", {}", share(failed, sent)) };
    let fits = all.len() + more.len() <= usize::from(area.width);
    let all = if fits { all + &more } else { all };
    let style = if failed == 0 { Style::new().green() } else { Style::new().red().bold() };
    put(buf, area, (0, 0), &all, style);
    let losses = view.losses();
    let rows = usize::from(area.height.saturating_sub(1));
    // Figures are cut off last.
    let width = area.width.min(30);
    for (index, (outcome, n)) in losses.iter().take(rows).enumerate() {
        let y = 1 + index as u16;
        let hidden = losses.len() - index;
        if index + 1 == rows && hidden > 1 {
            put(buf, area, (0, y), &format!("and {hidden} more outcomes"), Style::new().dim());
            break;
        }
        let is_failed = outcome.group() == OutcomeGroup::Failed;
        let style = if is_failed { Style::new().red() } else { Style::new().yellow() };
        let n = format!(" {}", count(*n));
        put(buf, Rect { width, ..area }, (0, y), outcome.name(), style);
        put(buf, area, (width.saturating_sub(n.len() as u16), y), &n, style);
    }
}

/// Rows that the replicas need.
pub(super) fn replica_rows(view: &LiveView) -> u16 {
    view.autoscaler.as_ref().map_or(1, |autoscaler| 2 + autoscaler.metrics.len().min(3) as u16)
}

/// What is wanted, what is there, and what the autoscaler sees.
pub(super) fn replicas(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let progress = &view.progress;
    let counts = format!(
        "{} wanted, {} ready, {} ending",
        progress.desired, progress.ready, progress.terminating
    );
    let is_short = progress.ready < progress.desired;
    let style = if is_short { Style::new().yellow() } else { Style::new() };
    put(buf, area, (0, 0), &counts, style);
    let Some(autoscaler) = &view.autoscaler else { return };
    let bounds = autoscaler.bounds.map(|(min, max)| format!(" between {min} and {max}"));
    put(buf, area, (0, 1), &format!("autoscaler{}", bounds.unwrap_or_default()), Style::new());
    for (index, metric) in autoscaler.metrics.iter().take(3).enumerate() {
        let is_over = metric.current.is_some_and(|current| current > metric.target);
        let style = if is_over { Style::new().yellow() } else { Style::new() };
        put(buf, area, (2, 2 + index as u16), &phrases::reading(metric), style);
    }
}

/// What happened, the latest at the bottom.
pub(super) fn said(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let rows = usize::from(area.height);
    let first = view.said.len().saturating_sub(rows);
    for (y, said) in view.said.iter().skip(first).enumerate() {
        let y = y as u16;
        put(buf, area, (0, y), &format!("{:>8}", view.since_start(said.at)), Style::new().dim());
        let style = match said.tone {
            Tone::Plain => Style::new(),
            Tone::Action => Style::new().cyan(),
            Tone::Warning => Style::new().yellow(),
        };
        put(buf, area, (10, y), &said.text, style);
    }
}
