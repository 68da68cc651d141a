//! The run over time: the picture, and its data for the read-out.

use highwater_model::time::Timestamp;
use serde::Serialize;

use super::{
    super::{
        RenderOptions,
        chart::{
            self,
            model::{ChartModel, Panel, Point, Shape, Unit},
            svg::{self, Svg},
        },
        clean, figures, phrases,
    },
    writer::Html,
};
use crate::analyze::{Analysis, actions::ActionResult};

/// More actions than this are not listed.
const ACTIONS_MAX: usize = 200;

/// What the page's script needs to tell the values under the pointer.
#[derive(Serialize)]
struct ReadOut<'a> {
    /// Begin and end of the plot as shares of the picture's width.
    plot: (f64, f64),
    /// Begin and end of the axis in seconds.
    time: (f64, f64),
    /// Seconds of one point.
    step: u64,
    series: Vec<ReadOutSeries<'a>>,
}

#[derive(Serialize)]
struct ReadOutSeries<'a> {
    name: &'a str,
    unit: Unit,
    shape: Shape,
    points: &'a [Point],
}

/// The time axis.
pub(super) fn axis(html: &mut Html, analysis: &Analysis, options: &RenderOptions) {
    let model = chart::build(analysis, options.chart_columns.clamp(200, 4_000));
    html.lit("<section id=\"time\"><h2>The run over time</h2>\n");
    if model.panels.is_empty() {
        html.lit("<p class=\"muted\">Nothing happened that could be drawn.</p></section>\n");
        return;
    }
    if let Some(times) = phrases::times(analysis) {
        html.put("<p class=\"muted\"><small>", times, "</small></p>\n");
    }
    match svg::draw(&model) {
        Ok(picture) => figure(html, &model, &picture),
        Err(error) => {
            html.put("<p class=\"no\">", error, "</p>\n");
        }
    }
    actions(html, analysis);
    html.lit("</section>\n");
}

fn figure(html: &mut Html, model: &ChartModel, picture: &Svg) {
    html.lit("<figure class=\"axis\"><p class=\"readout\" hidden></p>\n<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"The run over time, scrolls sideways\"><div class=\"canvas\">")
        .svg(picture)
        .lit("<div class=\"cross\" hidden></div></div></div>\n<figcaption>All panels share one axis. Grey: no traffic. Dotted: phases of the traffic. Dashed: what the scenario did. Red: lost requests, and nothing else.");
    if !model.gaps.is_empty() {
        html.lit(" Yellow: nothing was heard of the cluster.");
    }
    html.lit("</figcaption></figure>\n");
    let series = model.panels.iter().filter_map(|panel| match panel {
        Panel::Values(panel) => Some(panel.series.iter().rev().map(|series| ReadOutSeries {
            name: &series.name,
            unit: panel.axis.unit,
            shape: series.shape,
            points: &series.points,
        })),
        Panel::Lanes(_) => None,
    });
    html.lit("<script type=\"application/json\" id=\"time-data\">")
        .data(&ReadOut {
            plot: picture.plot(),
            time: (model.time.from, model.time.to),
            step: model.step,
            series: series.flatten().collect(),
        })
        .lit("</script>\n");
}

fn actions(html: &mut Html, analysis: &Analysis) {
    let actions = &analysis.timeline.actions;
    if actions.is_empty() {
        return;
    }
    if analysis.actions.iter().any(|action| action.effect.is_some() || action.refused.is_some()) {
        results(html, &analysis.actions);
        return;
    }
    html.put(
        "<details><summary>",
        figures::counted(actions.len() as u64, "action"),
        " of the scenario</summary>\n<ol class=\"actions\">",
    );
    for action in actions.iter().take(ACTIONS_MAX) {
        html.put("<li><span class=\"num\">", figures::instant(action.at), "</span> ").put(
            "",
            &action.label,
            "</li>",
        );
    }
    html.lit("</ol>");
    if let Some(more @ 1..) = actions.len().checked_sub(ACTIONS_MAX) {
        html.put("<p class=\"muted\">… and ", figures::count(more as u64), " more.</p>");
    }
    html.lit("</details>\n");
}

/// What became of each action, where more is known than its begin.
fn results(html: &mut Html, actions: &[ActionResult]) {
    let refused = actions.iter().filter(|action| action.refused.is_some()).count();
    html.lit(if refused > 0 { "<details open>" } else { "<details>" });
    html.put("<summary>", figures::counted(actions.len() as u64, "action"), "")
        .lit(" of the scenario</summary>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\" class=\"num\">At</th><th scope=\"col\">Action</th><th scope=\"col\">Answer</th><th scope=\"col\">First effect seen</th></tr></thead><tbody>\n");
    for action in actions.iter().take(ACTIONS_MAX) {
        html.put("<tr><th scope=\"row\" class=\"num\">", figures::instant(action.at), "</th>").put(
            "<td>",
            &action.text,
            "</td><td>",
        );
        let after = |at: Timestamp| figures::nanos(at.since(action.at).0);
        match (&action.refused, action.accepted) {
            (Some((at, reason)), _) => html
                .put("<span class=\"no\">✕ refused after ", after(*at), ":</span> ")
                .text(clean::line(reason)),
            (None, Some(at)) => {
                html.put("<span class=\"yes\">✓ accepted</span> after ", after(at), "")
            }
            (None, None) => html.lit("<span class=\"unsure\">none known</span>"),
        };
        html.lit("</td><td>");
        match &action.effect {
            Some((at, seen)) => html.put("after ", after(*at), ": ").text(clean::line(seen)),
            None => html.text(figures::NONE),
        };
        html.lit("</td></tr>\n");
    }
    html.lit("</tbody></table></div>\n");
    if let Some(more @ 1..) = actions.len().checked_sub(ACTIONS_MAX) {
        html.put("<p class=\"muted\">… and ", figures::count(more as u64), " more.</p>");
    }
    html.lit("</details>\n");
}
