//! What the proxy's retries and its passive health hid.

use super::{
    super::{figures, phrases},
    writer::Html,
};
use crate::analyze::{Analysis, Loss};

/// Requests that a retry rescued, by what would have lost them, and whom the proxy passed over;
/// nothing if there were neither.
pub(super) fn retries(html: &mut Html, analysis: &Analysis) {
    if analysis.retries.is_empty() {
        return;
    }
    html.lit("<section id=\"retries\"><h2>What the proxy hid</h2>\n");
    if let Some(told) = phrases::retries(analysis) {
        html.put("<p>", told, ".</p>\n");
    }
    if let Some(pods) = phrases::passed_over(analysis) {
        html.put("<p>Passed over for failures: ", pods, ".</p>\n");
    }
    if !analysis.retries.by_cause.is_empty() {
        html.lit("<p class=\"muted\">Without the proxy's retries each of these would have been lost, by the cause that its first attempt met. A POST that was sent is not sent twice: the same cause loses those.</p>\n");
        table(html, &analysis.retries.by_cause);
    }
    html.lit("</section>\n");
}

fn table(html: &mut Html, causes: &[Loss]) {
    html.lit("<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Cause</th><th scope=\"col\" class=\"num\">Rescued</th><th scope=\"col\" class=\"num\">Pods</th><th scope=\"col\" class=\"num\">First</th><th scope=\"col\" class=\"num\">Last</th><th scope=\"col\">Seen</th><th scope=\"col\">What stops it</th></tr></thead><tbody>\n");
    for loss in causes {
        html.put("<tr><th scope=\"row\">", loss.cause.title(), "</th>")
            .put("<td class=\"num\">", figures::count(loss.count), "</td>")
            .put("<td class=\"num\">", figures::count(loss.pods.len() as u64), "</td>")
            .put("<td class=\"num\">", figures::instant(loss.first), "</td>")
            .put("<td class=\"num\">", figures::instant(loss.last), "</td>")
            .put("<td>", &loss.evidence, "</td>")
            .put("<td>", &loss.fix.advice, "</td></tr>\n");
    }
    html.lit("</tbody></table></div>\n");
}
