//! What the run cost, how much it moved, and how well the pods followed the demand.

use super::{
    super::{figures, phrases},
    writer::Html,
};
use crate::analyze::{
    Analysis,
    scaling::slowest_down,
    scorecard::{Attainment, Elastic, REST},
};

/// All of it.
pub(super) fn score(html: &mut Html, analysis: &Analysis) {
    html.lit("<section id=\"score\"><h2>Scorecard</h2>\n");
    figures_of_the_run(html, analysis);
    let card = &analysis.scorecard;
    if let Some(attainment) = &card.attainment {
        self::attainment(html, attainment);
    }
    match &card.elastic {
        Ok(elastic) => self::elastic(html, elastic),
        Err(reason) => {
            html.put(
                "<p class=\"muted\">How many pods the traffic needed is not known: ",
                reason,
                "",
            )
            .lit(".</p>\n");
        }
    }
    html.lit("</section>\n");
}

fn figures_of_the_run(html: &mut Html, analysis: &Analysis) {
    let (replicas, transitions) = (analysis.replicas, &analysis.transitions);
    html.lit("<dl class=\"score\">")
        .put("<div><dt>pod-hours</dt><dd>", figures::hours(analysis.pod_hours), "</dd></div>")
        .put(
            "<div><dt>pod-seconds per 1,000 good requests</dt><dd>",
            analysis.cost_per_thousand_good.map_or_else(|| figures::NONE.into(), phrases::amount),
            "</dd></div>",
        )
        .put("<div><dt>fewest ready</dt><dd>", replicas.min, "</dd></div>")
        .put("<div><dt>most replicas</dt><dd>", replicas.max, "</dd></div>")
        .put(
            "<div><dt>changes of <code>spec.replicas</code></dt><dd>",
            replicas.desired_changes,
            "</dd></div>",
        )
        .put(
            "<div><dt>transitions of pods</dt><dd>",
            figures::count(transitions.observed),
            "</dd></div>",
        )
        .put(
            "<div><dt>of these, with a loss</dt><dd>",
            figures::count(transitions.with_loss),
            "</dd></div>",
        );
    if transitions.observed > 0 {
        html.put(
            "<div><dt>that lose a request, at 95 %</dt><dd>≤ ",
            figures::percent(transitions.upper_bound95),
            "</dd></div>",
        );
    }
    let card = &analysis.scorecard;
    if let Some(attainment) = &card.attainment {
        html.put(
            "<div><dt>seconds within the objectives</dt><dd>",
            figures::percent(attainment.share()),
            "</dd></div>",
        );
    }
    if let Ok(elastic) = &card.elastic {
        html.put("<div><dt>regret against the oracle</dt><dd>", phrases::regret(elastic), "")
            .lit("</dd></div>");
    }
    if let Some(down) = slowest_down(&card.scale_downs) {
        let [total, deletion, drain] = [down.total(), down.deletion, down.drain]
            .map(|span| span.map_or_else(|| figures::NONE.into(), |span| figures::nanos(span.0)));
        html.put("<div><dt>slowest scale-down: ", deletion, " to ask, ")
            .put("", drain, " to go</dt><dd>")
            .put("", total, "</dd></div>");
    }
    html.lit("</dl>\n");
}

fn attainment(html: &mut Html, attainment: &Attainment) {
    html.put("<p>The objectives held in ", figures::count(attainment.held), " of ").put(
        "",
        figures::counted(attainment.seconds, "second"),
        ", each judged by itself",
    );
    match attainment.judged.as_slice() {
        [] => {
            html.lit(" (there are none on a second, so that nothing failed or stayed unsent)");
        }
        judged => {
            html.put(" (", judged.join(", "), ")");
        }
    }
    if let Some(within) = &attainment.requests {
        html.put("; ", figures::share(within.good, within.owed), " of all requests owed ").put(
            "were answered well within ",
            figures::nanos(within.limit.0),
            "",
        );
    }
    html.lit(".</p>\n");
}

fn elastic(html: &mut Html, elastic: &Elastic) {
    let metrics = &elastic.metrics;
    html.lit("<h3>Pods against the demand for them</h3>\n<p>")
        .put("", phrases::basis(elastic), " ")
        .put("At the peak ", figures::counted(u64::from(elastic.peak), "pod"), "");
    html.lit(if elastic.is_capped { " or more were needed.</p>\n" } else { " were needed.</p>\n" });
    html.lit("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Metric</th><th scope=\"col\" class=\"num\">Too few pods</th><th scope=\"col\" class=\"num\">Too many pods</th></tr></thead><tbody>\n");
    let mut row = |name: &'static str, what: &'static str, [under, over]: [f64; 2]| {
        html.put("<tr><th scope=\"row\">", name, "").put(" <small>", what, "</small></th>");
        html.put("<td class=\"num\">", figures::percent(under), "</td>").put(
            "<td class=\"num\">",
            figures::percent(over),
            "</td></tr>\n",
        );
    };
    row(
        "Accuracy θ",
        "missing or idle pods per pod demanded, mean over time",
        [metrics.under_accuracy, metrics.over_accuracy],
    );
    row("Timeshare τ", "of the time", [metrics.under_timeshare, metrics.over_timeshare]);
    html.lit("</tbody></table></div>\n<dl class=\"facts\">\n")
        .put("<dt>Instability υ</dt><dd>", figures::percent(metrics.instability), " of the time ")
        .put("supply and demand did not move alike within ", figures::nanos(elastic.window.0), "")
        .put("</dd>\n<dt>Jitter</dt><dd>", phrases::signed(metrics.jitter_per_hour), " changes per ")
        .lit("hour more than the demand had</dd>\n")
        .put("<dt>Oracle</dt><dd>", figures::hours(elastic.oracle_hours), " pod-hours while traffic ")
        .put("ran, against ", figures::hours(elastic.pod_hours), " (regret ")
        .put("", phrases::regret(elastic), "): it knows the demand ahead, orders each pod ")
        .put("", figures::nanos(elastic.lead.0), " before it is needed (")
        .lit(if elastic.is_lead_measured {
            "the median of this run’s own pods"
        } else {
            "by the scenario: start-up and readiness"
        })
        .put(") and stops none that is needed again within ", figures::nanos(REST.0), "")
        .lit("</dd>\n</dl>\n<p class=\"muted\">Metrics of the SPEC Research Group’s cloud group: Herbst et al. 2015 and 2018, Bauer et al. 2019. The regret leaves out what was lost: pods that are too few cost less than the oracle’s.</p>\n");
}
