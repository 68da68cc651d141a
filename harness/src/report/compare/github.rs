//! Annotations: workflow commands that GitHub Actions reads from the log.

use super::{super::clean, word};
use crate::compare::result::{Comparison, GateVerdict, MeasureVerdict, Verdict};

/// More annotations than this GitHub does not show of one step.
const ANNOTATIONS_MAX: usize = 10;

/// One line per annotation: the verdict, then all that is worse.
///
/// *Source*: "Workflow commands for GitHub Actions", `error`, `warning`, `notice`; values are
/// escaped as its toolkit does it (`%`, CR, LF; in properties also `:` and `,`).
pub fn annotations(compared: &Comparison) -> String {
    let level = match compared.verdict {
        Verdict::Worse => "error",
        Verdict::CannotTell | Verdict::Untrusted => "warning",
        Verdict::Better | Verdict::Same => "notice",
    };
    let title =
        format!("Highwater: {}, {}", word(compared.verdict).to_lowercase(), compared.new.scenario);
    let mut lines = vec![command(level, &title, &compared.sentence)];
    let gates = compared.gates.iter().filter(|gate| gate.verdict == GateVerdict::Fails);
    lines.extend(
        gates.map(|gate| command("error", &format!("Highwater gate: {}", gate.name), &gate.found)),
    );
    let worse = compared.measures.iter().filter(|one| one.verdict == MeasureVerdict::Worse);
    // Where gates decide, what is worse beside them is told and does not fail.
    let level = if compared.gates.is_empty() { "error" } else { "warning" };
    lines.extend(worse.map(|measure| {
        let shown = &measure.shown;
        let text = format!("{} → {}: {} ({})", shown.base, shown.new, shown.shift, shown.interval);
        command(level, &format!("Highwater: {} is worse", measure.full_name()), &text)
    }));
    lines.truncate(ANNOTATIONS_MAX);
    lines.concat()
}

fn command(level: &str, title: &str, text: &str) -> String {
    let escape = |text: &str| {
        clean::line(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
    };
    let title = escape(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={title}::{}\n", escape(text))
}
