//! Many runs in a row: a page, and what is printed.

use std::fmt::Write as _;

use super::super::{
    chart::{svg, trend as chart},
    clean, figures,
    html::{
        STYLE,
        writer::{Html, Script},
    },
};
use crate::compare::trend::{Change, Trend};

/// Width of the picture in points.
const COLUMNS: u32 = 930;
/// More rows than this are not listed.
const ROWS_MAX: usize = 200;

/// What `highwater trend` prints.
pub fn text(trend: &Trend) -> String {
    let mut out = String::new();
    // A String takes whatever is written.
    let _ = write_all(&mut out, trend);
    out
}

fn write_all(out: &mut String, trend: &Trend) -> std::fmt::Result {
    writeln!(
        out,
        "{}: {}",
        clean::line(&trend.scenario),
        figures::counted(trend.runs.len() as u64, "run")
    )?;
    for note in trend.notes.iter().take(ROWS_MAX) {
        writeln!(out, "note   {}", clean::line(note))?;
    }
    for (name, change) in changes(trend) {
        let sign = if change.worse { "worse" } else { "better" };
        let Change { at, before, after, shift, .. } = change;
        let run = clean::line(&change.run);
        writeln!(
            out,
            "{sign:<6} {name}: {before} → {after} ({shift}) from run {} on: {run}",
            at + 1
        )?;
    }
    if changes(trend).next().is_none() {
        writeln!(out, "no measure changed")?;
    }
    Ok(())
}

fn changes(trend: &Trend) -> impl Iterator<Item = (&str, &Change)> {
    let all = trend
        .series
        .iter()
        .flat_map(|one| one.changes.iter().map(|change| (one.name.as_str(), change)));
    all.take(ROWS_MAX)
}

/// The page.
pub fn html(trend: &Trend) -> String {
    let mut html = Html::default();
    html.begin(Script::None);
    html.put("<title>", &trend.scenario, " – Highwater trend</title>\n<style>\n")
        .lit(STYLE)
        .lit("</style>\n</head>\n<body>\n<header class=\"banner ")
        .lit(if changes(trend).any(|(_, change)| change.worse) { "missed" } else { "met" })
        .lit("\">\n<p class=\"kicker\">Highwater · trend</p>\n")
        .put("<h1>", &trend.scenario, "</h1>\n")
        .put("<p class=\"verdict\">", figures::counted(trend.runs.len() as u64, "run"), "")
        .put(", ", figures::counted(changes(trend).count() as u64, "change"), "</p>\n");
    if !trend.notes.is_empty() {
        html.lit("<div class=\"caveat\" role=\"note\"><ul>");
        for note in trend.notes.iter().take(ROWS_MAX) {
            html.put("<li>", clean::line(note), "</li>");
        }
        html.lit("</ul></div>\n");
    }
    html.lit("</header>\n<main>\n");
    table(&mut html, trend);
    html.lit("<section><h2>Over the runs</h2>\n");
    match svg::draw(&chart::build(trend, COLUMNS)) {
        Ok(picture) => {
            html.lit("<figure class=\"axis\"><div class=\"scroll\"><div class=\"canvas\">")
                .svg(&picture)
                .lit("</div></div>\n<figcaption>Dashed: where a measure changed. By optimal partitioning (Jackson and others 2005), on ratios of times and arcsines of shares.</figcaption></figure>\n");
        }
        Err(error) => {
            html.put("<p class=\"no\">", error, "</p>\n");
        }
    }
    html.lit("</section>\n<section><h2>The runs</h2>\n<ol>");
    for run in trend.runs.iter().take(ROWS_MAX) {
        html.put("<li>", clean::line(&run.label), "").put(" · seed ", run.seed, "</li>");
    }
    html.lit("</ol></section>\n</main>\n</body>\n</html>\n");
    html.finish()
}

fn table(html: &mut Html, trend: &Trend) {
    html.lit("<section><h2>Changes</h2>\n");
    if changes(trend).next().is_none() {
        html.lit("<p class=\"muted\">No measure changed.</p></section>\n");
        return;
    }
    html.lit("<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">Measure</th><th scope=\"col\">From run</th><th scope=\"col\" class=\"num\">Before</th><th scope=\"col\" class=\"num\">After</th><th scope=\"col\" class=\"num\">Difference</th><th scope=\"col\"></th></tr></thead><tbody>\n");
    for (name, change) in changes(trend) {
        html.put("<tr><th scope=\"row\">", name, "</th>").put("<td>", change.at + 1, "").put(
            ": ",
            clean::line(&change.run),
            "</td>",
        );
        for value in [&change.before, &change.after, &change.shift] {
            html.put("<td class=\"num\">", value, "</td>");
        }
        html.lit(if change.worse {
            "<td><span class=\"no\">✕ worse</span></td></tr>\n"
        } else {
            "<td><span class=\"yes\">✓ better</span></td></tr>\n"
        });
    }
    html.lit("</tbody></table></div></section>\n");
}
