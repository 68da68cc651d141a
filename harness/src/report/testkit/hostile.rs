//! Text that nobody should have to trust.

use super::lossy;
use crate::analyze::{Analysis, Fix};

/// Text that wants to be markup, an escape sequence or a lie, wherever text can be.
pub(in super::super) const HOSTILE: &str = "</script><script>alert(1)</script>'\"><img src=x onerror=y>]]>{{&amp;\u{202e}\u{1b}[31m\0`|@all";

/// A lossy run in which all text is hostile.
pub(in super::super) fn hostile() -> Analysis {
    let mut analysis = lossy();
    let text = || HOSTILE.to_owned();
    (analysis.scenario, analysis.description) = (text(), text());
    (analysis.path, analysis.sentence) = (text(), text());
    for loss in &mut analysis.losses {
        loss.evidence = text();
        loss.pods.fill(text());
        loss.fix = Fix {
            advice: text(),
            scenario_patch: Some(format!("a: 1\n```\n{HOSTILE}\r\n")),
            deployment_patch: Some(text()),
        };
        for example in &mut loss.examples {
            (example.pod, example.story) = (Some(text()), text());
        }
    }
    for phase in &mut analysis.phases {
        phase.name = text();
    }
    for objective in &mut analysis.objectives {
        (objective.name, objective.shown) = (text(), text());
    }
    let audit = &mut analysis.audit;
    (audit.reasons, audit.warnings) = (vec![text()], vec![text()]);
    audit.trusted = false;
    for fact in &mut audit.facts {
        (fact.name, fact.found, fact.bound) = (text(), text(), text());
    }
    for (index, pod) in analysis.timeline.pods.iter_mut().enumerate() {
        let name = format!("{index}{HOSTILE}{index}");
        for failure in &mut analysis.timeline.failures {
            if failure.pod.as_ref() == Some(&pod.name) {
                failure.pod = Some(name.clone());
            }
        }
        pod.name = name;
    }
    for action in &mut analysis.timeline.actions {
        action.label = text();
    }
    analysis
}
