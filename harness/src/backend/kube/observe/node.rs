//! The nodes: their conditions, and whether pods may be put on them.

use std::collections::BTreeMap;

use highwater_model::{
    event::{EventKind, Source},
    time::Timestamp,
};
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use super::{
    Scribe,
    news::Seen,
    time::{Clock, Stated},
};

/// Whether pods may be put on a node, told as if it were a condition.
const SCHEDULABLE: &str = "Schedulable";

/// The nodes of the cluster.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    nodes: BTreeMap<String, NodeState>,
}

/// A node as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Status by condition, and `Schedulable`.
    pub conditions: BTreeMap<String, String>,
}

impl NodeState {
    /// Whether it is ready and may be given pods.
    pub fn takes_pods(&self) -> bool {
        let is_true = |kind: &str| self.conditions.get(kind).is_some_and(|status| status == "True");
        is_true("Ready") && is_true(SCHEDULABLE)
    }
}

impl Nodes {
    /// All nodes, by name.
    pub fn all(&self) -> &BTreeMap<String, NodeState> {
        &self.nodes
    }

    pub(super) fn take(&mut self, seen: &Seen<Node>, scribe: &mut Scribe<'_>) {
        match seen {
            Seen::All { objects, .. } => {
                let names: Vec<&str> =
                    objects.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
                let gone: Vec<String> = self
                    .nodes
                    .keys()
                    .filter(|name| !names.contains(&name.as_str()))
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.gone(name, scribe));
                objects.iter().for_each(|node| self.seen(node, scribe));
            }
            Seen::Changed(node) => self.seen(node, scribe),
            Seen::Gone(node) => {
                self.gone(node.metadata.name.as_deref().unwrap_or_default(), scribe);
            }
        }
    }

    fn gone(&mut self, name: &str, scribe: &mut Scribe<'_>) {
        if self.nodes.remove(name).is_some() {
            scribe.unstated(Source::Api, told(name, "Ready", "Unknown", "NodeDeleted"));
        }
    }

    fn seen(&mut self, node: &Node, scribe: &mut Scribe<'_>) {
        let Some(name) = &node.metadata.name else { return };
        let is_first = !self.nodes.contains_key(name);
        let known = self.nodes.entry(name.clone()).or_default();
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        for condition in conditions.into_iter().flatten() {
            let NodeCondition { type_: kind, status, reason, last_transition_time, .. } = condition;
            let before = known.conditions.insert(kind.clone(), status.clone());
            // What is as it should be needs no word at first.
            let is_news = before
                .as_deref()
                .map_or(kind == "Ready" || status != "False", |before| before != status);
            if is_news {
                let changed = last_transition_time.as_ref();
                let changed = changed.map(|time| scribe.clocks.second(time, Clock::Server));
                let reason = reason.as_deref().unwrap_or_default();
                tell(name, [kind, status, reason], changed, scribe);
            }
        }
        let is_cordoned =
            node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
        let status = if is_cordoned { "False" } else { "True" };
        let before = known.conditions.insert(SCHEDULABLE.into(), status.into());
        if before.as_deref().map_or(is_cordoned, |before| before != status) {
            let reason = match (is_cordoned, is_first) {
                (true, true) => "CordonedBefore",
                (true, false) => "Cordoned",
                (false, _) => "Uncordoned",
            };
            tell(name, [SCHEDULABLE, status, reason], None, scribe);
        }
    }
}

fn tell(name: &str, words: [&str; 3], changed: Option<Stated>, scribe: &mut Scribe<'_>) {
    let [condition, status, reason] = words;
    let at = scribe.written(changed, Timestamp::ZERO);
    scribe.at(at, Source::Api, told(name, condition, status, reason));
}

fn told(node: &str, condition: &str, status: &str, reason: &str) -> EventKind {
    EventKind::NodeCondition {
        node: node.into(),
        condition: condition.into(),
        status: status.into(),
        reason: reason.into(),
    }
}
