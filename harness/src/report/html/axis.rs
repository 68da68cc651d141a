//! The run over time: the picture, and its data for the read-out.

use serde::Serialize;

use super::{
    super::{
        RenderOptions,
        chart::{
            self,
            model::{ChartModel, Panel, Point, Shape, Unit},
            svg::{self, Svg},
        },
        figures,
    },
    writer::Html,
};
use crate::analyze::Analysis;

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
        .lit("<div class=\"cross\" hidden></div></div></div>\n<figcaption>All panels share one axis. Grey: no traffic. Dotted: phases of the traffic. Dashed: what the scenario did. Red: lost requests, and nothing else.</figcaption></figure>\n");
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
