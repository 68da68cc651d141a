//! Text that nobody should have to trust.

use super::{kube::kube_without_requests, lossy};
use crate::analyze::{Analysis, Fix, cluster::Lost};

/// Text that wants to be markup, an escape sequence or a lie, wherever text can be.
pub(in super::super) const HOSTILE: &str = "</script><script>alert(1)</script>'\"><img src=x onerror=y>]]>{{&amp;\u{202e}\u{1b}[31m\0`|@all";

/// A lossy run on a cluster in which all text is hostile.
pub(in super::super) fn hostile() -> Analysis {
    let mut analysis = lossy();
    cluster(&mut analysis);
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

/// What is known of a cluster, all of its text hostile, and a generator that was lost.
fn cluster(analysis: &mut Analysis) {
    let text = || HOSTILE.to_owned();
    let known = kube_without_requests();
    (analysis.backend, analysis.autoscaling) = (known.backend, known.autoscaling);
    (analysis.scale_ups, analysis.starts) = (known.scale_ups, known.starts);
    (analysis.pod_starts, analysis.actions) = (known.pod_starts, known.actions);
    analysis.cluster = known.cluster;
    for metric in &mut analysis.autoscaling.metrics {
        metric.name = text();
    }
    for decision in &mut analysis.autoscaling.decisions {
        (decision.reason, decision.limited) = (text(), Some(text()));
        decision.readings.iter_mut().for_each(|reading| reading.name = text());
        for condition in &mut decision.changed {
            (condition.kind, condition.reason) = (text(), text());
        }
    }
    for action in &mut analysis.actions {
        action.text = text();
        action.refused = Some((action.at, text()));
        action.effect = Some((action.at, text()));
    }
    for pod in &mut analysis.pod_starts {
        (pod.pod, pod.node) = (text(), Some(text()));
    }
    for pod in &mut analysis.timeline.pods {
        pod.node = Some(text());
    }
    let cluster = &mut analysis.cluster;
    for gap in &mut cluster.gaps {
        (gap.what, gap.reason) = (vec![text(); 3], text());
    }
    for pod in &mut cluster.unschedulable {
        (pod.pod, pod.message) = (text(), text());
    }
    for change in &mut cluster.nodes {
        (change.node, change.condition) = (text(), text());
        (change.status, change.reason) = (text(), text());
    }
    for note in &mut cluster.events {
        (note.object, note.reason, note.message) = (text(), text(), text());
    }
    for generator in &mut cluster.generators {
        (generator.pod, generator.node) = (text(), text());
        generator.lost = Some(Lost { at: super::at(30.0), reason: text(), unsent: 99 });
    }
}
