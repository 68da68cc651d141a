//! The whole report as one HTML file that needs nothing else: no network, no script to be read.
//!
//! 1. `head`: verdict, trust, objectives
//! 2. `axis`: the run over time
//! 3. `losses`: why requests were lost, and what stops it
//! 4. `scaling`, `cluster`: the autoscaler's decisions, time to scale, what was seen of a cluster
//! 5. `tables`: phases, latency, provenance; `scorecard`: cost, and supply against demand
//! 6. `help`: how to read it

mod axis;
mod cluster;
mod head;
mod help;
mod losses;
mod retries;
mod scaling;
mod scorecard;
mod tables;
pub(crate) mod writer;

use self::writer::{Html, Script};
use super::RenderOptions;
use crate::{analyze::Analysis, record::folder::Provenance};

pub(super) const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Renders a report.
///
/// *Behaviour*: the same input gives the same bytes. The page loads nothing, and its content
/// security policy forbids it to; its script only adds to it (read-out of the time axis, buttons
/// that copy patches). Its size is bounded by the width of the chart and not by the run's length.
pub fn render(
    analysis: &Analysis,
    provenance: Option<&Provenance>,
    options: &RenderOptions,
) -> String {
    let mut html = Html::default();
    html.begin(Script::Inline);
    html.put("<title>", analysis.verdict.name(), ": ")
        .put("", &analysis.scenario, " – Highwater</title>\n")
        .lit("<style>\n")
        .lit(STYLE)
        .lit("</style>\n</head>\n<body>\n");
    head::banner(&mut html, analysis);
    html.lit("<main>\n<div class=\"pair\">\n");
    head::trust(&mut html, analysis);
    head::objectives(&mut html, analysis);
    html.lit("</div>\n");
    axis::axis(&mut html, analysis, options);
    losses::losses(&mut html, analysis);
    retries::retries(&mut html, analysis);
    losses::findings(&mut html, analysis);
    scaling::scaling(&mut html, analysis);
    cluster::cluster(&mut html, analysis);
    tables::phases(&mut html, analysis);
    tables::latency(&mut html, analysis);
    scorecard::score(&mut html, analysis);
    tables::provenance(&mut html, analysis, provenance);
    help::help(&mut html);
    html.lit("</main>\n<script>\n").lit(SCRIPT).lit("</script>\n</body>\n</html>\n");
    html.finish()
}
