//! The page.

use super::{
    super::{
        chart::{svg, tune as chart},
        clean, figures,
        html::{
            STYLE,
            writer::{Html, Script},
        },
    },
    ROWS_MAX, confirm, is_missed, row, scatter, searched, verdict,
};
use crate::tune::told::{TuneSetting, Tuning};

/// Width of the pictures in points.
const COLUMNS: u32 = 930;
/// The inks of the recommended, the present and the default setting.
const INKS: [&str; 3] = ["var(--metric-a)", "var(--metric-b)", "var(--metric-c)"];

/// The page: one file that needs no other.
pub fn html(tuning: &Tuning, patch: Option<&str>) -> String {
    let mut html = Html::default();
    head(&mut html, tuning);
    html.lit("<main>\n");
    reasons(&mut html, tuning);
    for confirmed in tuning.confirm.iter().take(ROWS_MAX) {
        confirm::section(&mut html, confirmed);
    }
    pictures(&mut html, tuning);
    settings(&mut html, tuning);
    cases(&mut html, tuning);
    parameters(&mut html, tuning);
    if let Some(patch) = patch {
        html.lit("<section><h2>The patch</h2>\n").put("<pre>", patch, "</pre></section>\n");
    }
    html.lit("</main>\n</body>\n</html>\n");
    html.finish()
}

fn head(html: &mut Html, tuning: &Tuning) {
    html.begin(Script::None);
    let name = clean::line(&tuning.scenario);
    html.put("<title>", &name, " – Highwater tune</title>\n<style>\n").lit(STYLE);
    html.lit("</style>\n</head>\n<body>\n").lit(if is_missed(tuning) {
        "<header class=\"banner missed\">\n"
    } else {
        "<header class=\"banner met\">\n"
    });
    html.lit("<p class=\"kicker\">Highwater · tune</p>\n")
        .put("<h1>", &name, "</h1>\n")
        .put("<p class=\"verdict\">", verdict(tuning), "</p>\n")
        .put("<p>", searched(tuning), "</p>\n</header>\n");
}

fn reasons(html: &mut Html, tuning: &Tuning) {
    html.lit("<section><h2>Why</h2>\n<ul>");
    for why in &tuning.why {
        html.put("<li>", clean::line(why), "</li>");
    }
    let objectives = clean::line(&tuning.objectives.join("; "));
    html.put("<li>Objectives: ", objectives, "</li></ul>\n");
    if let Some(setting) = tuning.recommended.and_then(|place| tuning.settings.get(place)) {
        html.put("<pre>", setting.set.join("\n"), "</pre>");
    }
    html.lit("</section>\n");
}

/// The recommended one, if any, the present one and the default.
fn shown(tuning: &Tuning) -> Vec<&TuneSetting> {
    let recommended = tuning.recommended.filter(|place| *place > 1);
    let places = recommended.into_iter().chain([0, 1]);
    places.filter_map(|place| tuning.settings.get(place)).collect()
}

/// Mean pod-hours of knowing the future, over the cases that were searched with.
fn oracle(tuning: &Tuning) -> Option<f64> {
    let runs = &tuning.settings.first()?.runs;
    let cases = runs.iter().zip(&tuning.cases).filter(|(_, case)| !case.held_out);
    let hours: Option<Vec<f64>> = cases.map(|(run, _)| run.oracle_hours).collect();
    hours.filter(|hours| !hours.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
}

fn pictures(html: &mut Html, tuning: &Tuning) {
    let shown = shown(tuning);
    let inked: Vec<_> = shown.iter().copied().zip(INKS).collect();
    html.lit("<section><h2>Cost against objective</h2>\n<figure>");
    scatter::draw(html, tuning, &inked, oracle(tuning));
    html.lit("<figcaption>Small: settings on the coarse model, hollow where they miss the objectives; mean over the traffics that were searched with. Large: on the full simulator, with the worst 99th percentile. Dashed: a scaler that knows the future.</figcaption></figure></section>\n");
    let Some(model) = chart::build(&shown, COLUMNS) else { return };
    html.lit("<section><h2>Replicas</h2>\n");
    match svg::draw(&model) {
        Ok(picture) => {
            html.lit("<figure class=\"axis\"><div class=\"scroll\"><div class=\"canvas\">")
                .svg(&picture)
                .lit("</div></div>\n<figcaption>On the first traffic, full simulator.</figcaption></figure>\n");
        }
        Err(error) => {
            html.put("<p class=\"no\">", error, "</p>\n");
        }
    }
    html.lit("</section>\n");
}

fn header(html: &mut Html, names: &[&'static str]) {
    html.lit("<div class=\"scroll\"><table class=\"wide\"><thead><tr>");
    for (place, name) in names.iter().copied().enumerate() {
        html.lit(if place == 0 {
            "<th scope=\"col\">"
        } else {
            "<th scope=\"col\" class=\"num\">"
        });
        html.lit(name).lit("</th>");
    }
    html.lit("</tr></thead><tbody>\n");
}

fn settings(html: &mut Html, tuning: &Tuning) {
    html.lit("<section><h2>Settings on the full simulator</h2>\n");
    header(
        html,
        &[
            "Setting",
            "Holds",
            "Held out",
            "Pod-hours",
            "Regret",
            "p99, ms",
            "Lost",
            "Changes",
            "Against the default",
        ],
    );
    for setting in tuning.settings.iter().take(ROWS_MAX) {
        html.put("<tr><th scope=\"row\">", clean::line(&setting.name), "</th>");
        for cell in row(setting) {
            html.put("<td class=\"num\">", cell, "</td>");
        }
        let against = setting.against_default.map_or("–".into(), |known| {
            format!(
                "{:+.1} % [{:+.1}, {:+.1}]",
                known.mean * 100.0,
                known.low * 100.0,
                known.high * 100.0
            )
        });
        html.put("<td class=\"num\">", against, "</td></tr>\n");
    }
    html.lit("</tbody></table></div>\n<p class=\"muted\">Pod-hours while traffic ran, mean over the traffics that were searched with. Regret: against a scaler that knows the future, over all traffics. Against the default: pod-hours, paired by traffic, with the interval at 95 %.</p></section>\n");
}

fn cases(html: &mut Html, tuning: &Tuning) {
    let shown = shown(tuning);
    html.lit("<section><h2>Traffics</h2>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">Traffic</th>");
    for setting in &shown {
        html.put("<th scope=\"col\">", clean::line(&setting.name), "</th>");
    }
    html.lit("</tr></thead><tbody>\n");
    for (place, case) in tuning.cases.iter().enumerate().take(ROWS_MAX) {
        html.put("<tr><th scope=\"row\">", clean::line(&case.name), "");
        html.lit(if case.held_out { " (held out)</th>" } else { "</th>" });
        for run in shown.iter().filter_map(|setting| setting.runs.get(place)) {
            let missed = if run.missed.is_empty() {
                "holds".to_owned()
            } else {
                format!("misses {}", clean::line(&run.missed.join("; ")))
            };
            html.put("<td>", format!("{:.4} pod-hours, {missed}", run.pod_hours), "</td>");
        }
        html.lit("</tr>\n");
    }
    html.lit("</tbody></table></div></section>\n");
}

fn parameters(html: &mut Html, tuning: &Tuning) {
    html.lit("<section><h2>What matters</h2>\n");
    header(html, &["Parameter", "Values", "Present", "Of the pod-hours", "Of the objectives"]);
    for parameter in tuning.parameters.iter().take(ROWS_MAX) {
        html.put("<tr><th scope=\"row\">", clean::line(&parameter.name), "</th>")
            .put("<td class=\"num\">", parameter.values.len(), "</td>")
            .put(
                "<td class=\"num\">",
                clean::line(parameter.present.as_deref().unwrap_or("–")),
                "</td>",
            )
            .put("<td class=\"num\">", figures::percent(parameter.effect_on_pod_hours), "</td>")
            .put(
                "<td class=\"num\">",
                figures::percent(parameter.effect_on_objectives),
                "</td></tr>\n",
            );
    }
    html.lit("</tbody></table></div>\n<p class=\"muted\">The share of the variance that the parameter explains alone: first-order indices from given data (Plischke and others 2013), over the settings that fill the space.</p></section>\n");
}
