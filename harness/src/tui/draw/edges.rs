//! The first lines (which run, how far) and the last (can it be trusted, what keys do).

use highwater_model::time::{Nanos, SECOND, human};
use ratatui::{
    buffer::Buffer,
    layout::{Alignment, Rect},
    style::{Color, Style, Stylize as _},
    text::{Line, Span},
    widgets::Widget as _,
};

use super::put;
use crate::{
    live::{LiveView, view::AuditState},
    report::clean,
};

/// `1:18`, from an hour on `1:01:18`.
fn minutes(span: Nanos) -> String {
    let whole = span.0 / SECOND;
    let (hours, minutes, seconds) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

fn time(view: &LiveView) -> String {
    let progress = &view.progress;
    let elapsed = progress.elapsed.min(progress.total);
    match progress.stage {
        "traffic" => format!(
            "{} of {}, {} left",
            minutes(elapsed),
            minutes(progress.total),
            minutes(Nanos(progress.total.0 - elapsed.0))
        ),
        "stopping" => format!("{}, ending", minutes(elapsed)),
        _ => "waiting for the target".into(),
    }
}

/// Which run, and how far it is.
pub(super) fn head(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let mut words = vec![view.name.as_str().bold(), format!(" on {}", view.backend).into()];
    if !view.phase.is_empty() {
        words.push(format!(", phase {}", view.phase).into());
    }
    let time = format!(" {}", time(view));
    let first = Rect { height: 1, ..area };
    Line::from(words).render(first, buf);
    let width = (time.chars().count() as u16).min(area.width);
    let right = Rect { x: area.right() - width, width, ..first };
    Line::raw(time).alignment(Alignment::Right).render(right, buf);
    let total = view.progress.total.0.max(1);
    let done = view.progress.elapsed.0.min(total);
    let done = (u128::from(done) * u128::from(area.width) / u128::from(total)) as u16;
    for x in 0..area.width {
        let (sign, color) = if x < done { ("━", Color::Cyan) } else { ("─", Color::DarkGray) };
        put(buf, area, (x, 1), sign, Style::new().fg(color));
    }
}

/// What can be said of the run's trust in so many columns: a figure is whole or not there.
fn audit(view: &LiveView, room: u16) -> Span<'static> {
    let room = usize::from(room);
    let cut = |text: String| clean::shorten(&text, room);
    match view.audit() {
        AuditState::Unknown => "audit: nothing sent yet".into(),
        AuditState::Holds => {
            let lag = view.latency.send_lag.map_or(0, |lag| lag.p99);
            let long = format!("audit: holds, send lag {} (p99)", human(Nanos(lag)));
            let fits = long.chars().count() <= room;
            if fits { long.green() } else { "audit: holds".green() }
        }
        AuditState::Weak(why) => cut(format!("audit: {why}")).yellow(),
        AuditState::Broken(why) => cut(format!("NOT TRUSTED: {why}")).red().bold(),
    }
}

/// Whether the run can be trusted by now, and what keys do.
pub(super) fn foot(view: &LiveView, area: Rect, buf: &mut Buffer) {
    let keys = match view.interrupts {
        0 => " q: end the run",
        1 => " ending; q: give up",
        _ => " giving up",
    };
    let width = (keys.len() as u16).min(area.width);
    let left = Rect { width: area.width - width, ..area };
    let right = Rect { x: area.right() - width, width, ..area };
    Line::from(audit(view, left.width)).render(left, buf);
    Line::from(keys.dim()).render(right, buf);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_grow_hours() {
        for (seconds, shown) in [(0, "0:00"), (78, "1:18"), (3_678, "1:01:18")] {
            assert_eq!(minutes(Nanos::from_secs(seconds)), shown);
        }
    }
}
