//! The page of a comparison: what changed, since when, and is it real? One file that needs nothing
//! else, readable without script.

use super::{
    super::{
        chart::{sides, svg},
        clean, figures,
        html::{
            STYLE,
            writer::{Html, Script},
        },
    },
    advice, method, word,
};
use crate::compare::{
    result::{Comparison, GateVerdict, MeasureResult, MeasureVerdict, Side, Verdict},
    run::RunFigures,
};

/// Width of the time axis in points: that of a page on a laptop.
const COLUMNS: u32 = 930;
/// More rows than this of a table are not shown.
const ROWS_MAX: usize = 300;
/// More stretches of time than this are not told.
const STRETCHES_MAX: usize = 12;
/// Differences of this share are worth a word.
const NOTABLE: f64 = 0.02;

/// Renders the page.
///
/// *Behaviour*: the same input gives the same bytes; its size is bounded by the number of measures
/// and the width of the picture.
pub fn render(compared: &Comparison, sides: (&[RunFigures], &[RunFigures])) -> String {
    let mut html = Html::default();
    html.begin(Script::None);
    html.put("<title>", word(compared.verdict), ": ")
        .put("", &compared.new.scenario, " – Highwater compare</title>\n<style>\n")
        .lit(STYLE)
        .lit("</style>\n</head>\n<body>\n");
    banner(&mut html, compared);
    html.lit("<main>\n");
    gates(&mut html, compared);
    measures(&mut html, compared);
    time(&mut html, sides);
    changed(&mut html, compared);
    runs(&mut html, compared);
    help(&mut html, compared);
    html.lit("</main>\n</body>\n</html>\n");
    html.finish()
}

fn banner(html: &mut Html, compared: &Comparison) {
    let (class, sign) = match compared.verdict {
        Verdict::Worse => ("missed", "✕"),
        Verdict::Better | Verdict::Same => ("met", "✓"),
        Verdict::CannotTell | Verdict::Untrusted => ("untrusted", "?"),
    };
    html.put("<header class=\"banner ", class, "\">\n")
        .put(
            "<p class=\"kicker\">Highwater · comparison of ",
            compared.new.backend.name(),
            " runs</p>\n",
        )
        .put("<h1>", &compared.new.scenario, "</h1>\n")
        .put("<p class=\"about\">", clean::line(&compared.new.label), "")
        .put(" against ", clean::line(&compared.base.label), "</p>\n")
        .put("<p class=\"verdict\"><strong class=\"mark\"><span aria-hidden=\"true\">", sign, "")
        .put("</span> ", word(compared.verdict), "</strong> ")
        .put("<span class=\"sentence\">", &compared.sentence, ".</span></p>\n");
    if !compared.notes.is_empty() {
        html.lit("<div class=\"caveat\" role=\"note\"><ul>");
        for note in compared.notes.iter().take(ROWS_MAX) {
            html.put("<li>", clean::line(note), "</li>");
        }
        html.lit("</ul></div>\n");
    }
    html.lit("</header>\n");
}

fn gates(html: &mut Html, compared: &Comparison) {
    if compared.gates.is_empty() {
        return;
    }
    html.lit("<section id=\"gates\"><h2>Gates</h2>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">Gate</th><th scope=\"col\">Found</th><th scope=\"col\"></th></tr></thead><tbody>\n");
    for gate in compared.gates.iter().take(ROWS_MAX) {
        html.put("<tr><th scope=\"row\"><code>", &gate.name, "</code></th>").put(
            "<td>",
            &gate.found,
            "</td><td>",
        );
        match (gate.verdict, gate.repeats) {
            (GateVerdict::Holds, _) => html.lit("<span class=\"yes\">✓ holds</span>"),
            (GateVerdict::Fails, _) => html.lit("<span class=\"no\">✕ fails</span>"),
            (GateVerdict::CannotTell, None) => {
                html.lit("<span class=\"unsure\">? cannot tell</span>")
            }
            (GateVerdict::CannotTell, Some(n)) => html.put(
                "<span class=\"unsure\">?</span> <small>",
                n,
                " runs on each side would tell</small>",
            ),
        };
        html.lit("</td></tr>\n");
    }
    html.lit("</tbody></table></div></section>\n");
}

fn measures(html: &mut Html, compared: &Comparison) {
    html.lit("<section id=\"measures\"><h2>What changed, and is it real?</h2>\n");
    html.put("<p class=\"muted\"><small>", method(compared), ".</small></p>\n");
    let (whole, phases): (Vec<_>, Vec<_>) =
        compared.measures.iter().partition(|measure| measure.phase.is_none());
    table(html, &whole, "Whole run");
    if !phases.is_empty() {
        let open = phases.iter().any(|one| one.verdict == MeasureVerdict::Worse);
        html.lit(if open { "<details open>" } else { "<details>" });
        html.lit("<summary>By phase</summary>\n");
        table(html, &phases, "Phase");
        html.lit("</details>\n");
    }
    html.lit("</section>\n");
}

fn table(html: &mut Html, measures: &[&MeasureResult], of: &'static str) {
    html.put("<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">", of, "</th>")
        .lit("<th scope=\"col\" class=\"num\">Base</th><th scope=\"col\" class=\"num\">New</th><th scope=\"col\" class=\"num\">Difference</th><th scope=\"col\" class=\"num\">Interval</th><th scope=\"col\" class=\"num\">p, corrected</th><th scope=\"col\"></th></tr></thead><tbody>\n");
    for measure in measures.iter().take(ROWS_MAX) {
        let shown = &measure.shown;
        html.put("<tr><th scope=\"row\">", measure.full_name(), "");
        if measure.decides {
            html.lit(" <small>decides</small>");
        }
        for value in [&shown.base, &shown.new, &shown.shift, &shown.interval] {
            html.lit("</th><td class=\"num\">").text(value).lit("</td>");
        }
        match &measure.shift {
            Some(shift) => html.put("<td class=\"num\">", p_value(shift.p_corrected), "</td><td>"),
            None => html.put("<td class=\"num\">", figures::NONE, "</td><td>"),
        };
        match measure.verdict {
            MeasureVerdict::Worse => html.lit("<span class=\"no\">✕ worse</span>"),
            MeasureVerdict::Better => html.lit("<span class=\"yes\">✓ better</span>"),
            MeasureVerdict::Same => html.lit("<span class=\"yes\">✓ same</span>"),
            MeasureVerdict::CannotTell => html.put(
                "<span class=\"unsure\">?</span> <small>",
                advice(measure).unwrap_or_default(),
                "</small>",
            ),
        };
        html.lit("</td></tr>\n");
    }
    html.lit("</tbody></table></div>\n");
}

fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

fn time(html: &mut Html, sides: (&[RunFigures], &[RunFigures])) {
    html.lit("<section id=\"time\"><h2>Since when?</h2>\n");
    // What is damaged was refused before any figure was made from it.
    let Ok(Some(built)) = sides::build(sides, COLUMNS) else {
        html.lit("<p class=\"muted\">Without the records of both sides nothing is known over time.</p></section>\n");
        return;
    };
    stretches(html, &built.stretches);
    match svg::draw(&built.model) {
        Ok(picture) => {
            html.lit("<figure class=\"axis\"><div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Both sides over time, scrolls sideways\"><div class=\"canvas\">")
                .svg(&picture)
                .lit("</div></div>\n<figcaption>Both sides on one axis, which begins with their traffic. All runs of a side are added up.</figcaption></figure>\n");
        }
        Err(error) => {
            html.put("<p class=\"no\">", error, "</p>\n");
        }
    }
    html.lit("</section>\n");
}

/// When the difference changes, in words.
fn stretches(html: &mut Html, stretches: &[(f64, f64, f64)]) {
    let percent = |share: f64| match share {
        share if share.abs() < NOTABLE => "about the same".to_owned(),
        share if share > 0.0 => format!("{:.0} % higher", share * 100.0),
        share => format!("{:.0} % lower", -share * 100.0),
    };
    match stretches {
        [] => {}
        [(_, _, share)] => {
            html.put(
                "<p>The new's p99 per stretch of time is ",
                percent(*share),
                ", from beginning to end.</p>\n",
            );
        }
        many => {
            html.lit("<p>The new's p99 per stretch of time:</p>\n<ul>");
            for (from, to, share) in many.iter().take(STRETCHES_MAX) {
                html.put("<li>from ", from, " s").put(" to ", to, " s: ").put(
                    "",
                    percent(*share),
                    "</li>",
                );
            }
            html.lit("</ul>\n");
        }
    }
}

fn changed(html: &mut Html, compared: &Comparison) {
    if compared.changed.is_empty() {
        return;
    }
    html.lit("<section id=\"changed\"><h2>What differs in the scenario</h2>\n<div class=\"scroll\"><table class=\"wide\"><thead><tr><th scope=\"col\">Key</th><th scope=\"col\">Base</th><th scope=\"col\">New</th></tr></thead><tbody>\n");
    for change in compared.changed.iter().take(ROWS_MAX) {
        let value = |value: &Option<String>| clean::line(value.as_deref().unwrap_or(figures::NONE));
        html.put("<tr><th scope=\"row\"><code>", clean::line(&change.key), "</code></th>")
            .put("<td>", value(&change.base), "</td>")
            .put("<td>", value(&change.new), "</td></tr>\n");
    }
    html.lit("</tbody></table></div></section>\n");
}

fn runs(html: &mut Html, compared: &Comparison) {
    html.lit("<section id=\"runs\"><h2>The runs</h2>\n<div class=\"pair\">");
    for (title, side) in [("Base", &compared.base), ("New", &compared.new)] {
        html.put("<section><h3>", title, "</h3>\n");
        side_of(html, side);
        html.lit("</section>");
    }
    html.lit("</div></section>\n");
}

fn side_of(html: &mut Html, side: &Side) {
    html.put("<p class=\"muted\">", figures::counted(side.owed, "request"), " owed")
        .put(", ", figures::count(side.failed), " failed; ")
        .put("", side.backend.name(), "");
    if let Some(machine) = &side.machine {
        html.put(", ", clean::line(machine), "");
    }
    html.lit("</p>\n<ol>");
    for run in side.runs.iter().take(ROWS_MAX) {
        html.put("<li>", clean::line(&run.label), "").put(" · seed ", run.seed, "");
        for doubt in &run.doubts {
            html.put(" <span class=\"no\">", clean::line(doubt), "</span>");
        }
        html.lit("</li>");
    }
    html.lit("</ol>\n");
}

fn help(html: &mut Html, compared: &Comparison) {
    let share = |share: f64| format!("{:.0} %", share * 100.0);
    html.lit("<section id=\"help\"><details><summary>How to read this</summary>\n<ul>")
        .put("<li><b>worse, better</b>: the difference is beyond noise; of all comparisons of equals, at most ", share(compared.method.level), " call anything so (Holm's correction for the number of rows).</li>")
        .put("<li><b>same</b>: the whole interval lies within the margin.</li>", "", "")
        .lit("<li><b>?</b>: neither is known; the number of runs on each side would find a difference of the margin in nine of ten cases.</li>")
        .put("<li><b>Interval</b>: holds the true difference with ", share(compared.method.confidence), " confidence, for each row by itself. <b>pp</b>: percentage points.</li>")
        .lit("<li>Requests of one run depend on each other, so runs are what is counted; where there are too few, blocks of seconds.</li>")
        .lit("</ul></details></section>\n");
}
