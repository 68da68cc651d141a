//! Cost against objective: every setting that was tried, and those that were judged.

use super::super::html::writer::Html;
use crate::tune::told::{TuneSetting, Tuning};

/// Size of the picture, and of its margins, points.
const WIDTH: f64 = 930.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 44.0;
/// More points than this are not drawn.
const POINTS_MAX: usize = 2_000;
/// Marks on each axis.
const TICKS: u32 = 5;

/// Where values lie.
struct Plane {
    x: (f64, f64),
    y: (f64, f64),
}

impl Plane {
    fn of(tuning: &Tuning, oracle: Option<f64>) -> Self {
        let hours = tuning.tried.iter().map(|one| one.pod_hours).filter(|hours| *hours < 1e8);
        let judged = tuning.settings.iter().map(|one| one.searched.pod_hours);
        let x = hours.chain(judged).chain(oracle);
        let (low, high) = x.fold((f64::INFINITY, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
        let low = if low.is_finite() { low * 0.97 } else { 0.0 };
        let y = tuning.tried.iter().map(|one| one.p99_ms).filter(|ms| *ms < 1e8);
        let judged = tuning.settings.iter().map(|one| one.searched.p99_ms);
        let y = y.chain(judged).filter(|ms| *ms > 0.0).map(f64::ln);
        let (least, most) = y.fold((f64::INFINITY, 0.0_f64), |(a, b), y| (a.min(y), b.max(y)));
        let least = if least.is_finite() { least - 0.1 } else { 0.0 };
        Self { x: (low, (high * 1.03).max(low + 1e-9)), y: (least, (most + 0.1).max(least + 0.1)) }
    }

    fn x(&self, hours: f64) -> f64 {
        LEFT + (hours - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, ms: f64) -> f64 {
        let share = (ms.max(1e-9).ln() - self.y.0) / (self.y.1 - self.y.0);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }
}

/// The picture: the settings `shown` with their names. `oracle` is the cost of knowing the future.
pub(super) fn draw(
    html: &mut Html,
    tuning: &Tuning,
    shown: &[(&TuneSetting, &'static str)],
    oracle: Option<f64>,
) {
    let plane = Plane::of(tuning, oracle);
    html.put("<svg viewBox=\"0 0 ", WIDTH, "")
        .put(" ", HEIGHT, "\" role=\"img\" font-size=\"11\" fill=\"currentColor\">")
        .lit("<title>Pod-hours against the 99th percentile of latency</title>");
    axes(html, &plane);
    for one in tuning.tried.iter().filter(|one| one.pod_hours < 1e8).take(POINTS_MAX) {
        let at = (plane.x(one.pod_hours), plane.y(one.p99_ms));
        if one.shortfall > 0.0 {
            circle(html, at, "2.5", "none", "var(--metric-d)");
        } else {
            circle(html, at, "2.5", "var(--metric-d)", "none");
        }
    }
    if let Some(hours) = oracle {
        let x = round(plane.x(hours));
        html.put("<path d=\"M", x, " 16")
            .put("V", HEIGHT - BOTTOM, "\" stroke=\"currentColor\" stroke-dasharray=\"4 4\"/>")
            .put("<text x=\"", x + 4.0, "\" y=\"26\">oracle</text>");
    }
    for (place, (setting, ink)) in shown.iter().enumerate() {
        let at = (plane.x(setting.searched.pod_hours), plane.y(setting.searched.p99_ms));
        circle(html, at, "6", ink, "currentColor");
        // Above and below in turn, so that near ones do not hide each other.
        let below = if place % 2 == 0 { -10.0 } else { 18.0 };
        let near_end = at.0 > WIDTH - 160.0;
        html.put("<text x=\"", round(at.0), "\" y=\"").put("", round(at.1 + below), "\"");
        html.lit(if near_end { " text-anchor=\"end\">" } else { ">" });
        html.put("", super::clean::line(&setting.name), "</text>");
    }
    html.lit("</svg>");
}

fn axes(html: &mut Html, plane: &Plane) {
    for tick in 0..=TICKS {
        let share = f64::from(tick) / f64::from(TICKS);
        let hours = plane.x.0 + share * (plane.x.1 - plane.x.0);
        html.put("<text text-anchor=\"middle\" x=\"", round(plane.x(hours)), "\" y=\"").put(
            "",
            HEIGHT - BOTTOM + 16.0,
            "\">",
        );
        html.put("", format!("{hours:.3}"), "</text>");
        let ms = (plane.y.0 + share * (plane.y.1 - plane.y.0)).exp();
        let y = round(plane.y(ms));
        html.put("<path stroke=\"currentColor\" stroke-opacity=\"0.15\" d=\"M70 ", y, "H910\"/>")
            .put("<text text-anchor=\"end\" x=\"64\" y=\"", round(y + 4.0), "\">")
            .put("", format!("{ms:.0} ms"), "</text>");
    }
    html.put("<text text-anchor=\"middle\" x=\"490\" y=\"", HEIGHT - 8.0, "\">pod-hours</text>");
}

fn circle(
    html: &mut Html,
    (x, y): (f64, f64),
    radius: &'static str,
    fill: &'static str,
    stroke: &'static str,
) {
    html.put("<circle cx=\"", round(x), "\" cy=\"").put("", round(y), "\" r=\"");
    html.lit(radius).lit("\" style=\"fill:").lit(fill).lit(";stroke:").lit(stroke).lit("\"/>");
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
