//! The oracle's stand-in for users (`oracle/rollout/actions.go`).

use highwater_model::cluster::replicaset::{Phase, Pod};
use serde_json::{Value, json};

use crate::{case::merge, world::World};

/// All that a case may do.
pub(crate) const ACTIONS: [&str; 12] = [
    "rollout",
    "scale",
    "pause",
    "resume",
    "rollback",
    "set",
    "killPod",
    "forcePod",
    "evictPod",
    "unreadyPod",
    "readyPod",
    "deletionCost",
];

impl World<'_> {
    pub(super) fn act(&mut self, action: &Value) {
        let is_refused = self.errors.get(self.acted).copied().unwrap_or(false);
        self.acted += 1;
        let place = self.trace.len();
        self.add(json!({"kind": "action"}));
        let name = ACTIONS
            .into_iter()
            .find(|name| !action[*name].is_null() && action[*name] != false)
            .unwrap();
        let result = match name {
            "rollout" | "scale" | "pause" | "resume" | "rollback" | "set" => {
                self.change(name, &action[name], is_refused)
            }
            _ => self.on_pod(name, action),
        };
        let entry = &mut self.trace[place];
        entry["action"] = json!(name);
        match result {
            Ok(Some(pod)) => entry["pod"] = json!(pod),
            Ok(None) => {}
            Err(pod) => {
                entry["error"] = json!("refused");
                if let Some(pod) = pod {
                    entry["pod"] = json!(pod);
                }
            }
        }
    }

    fn change(
        &mut self,
        name: &str,
        value: &Value,
        is_refused: bool,
    ) -> Result<Option<String>, Option<String>> {
        if is_refused && name != "rollback" {
            return Err(None);
        }
        match name {
            "rollout" => {
                let version = value["version"].as_u64().unwrap_or(0);
                self.version = match u32::try_from(version).unwrap() {
                    0 => self.highest + 1,
                    version => version,
                };
                self.highest = self.highest.max(self.version);
            }
            "scale" => self.spec["replicas"] = value.clone(),
            "pause" => self.spec["paused"] = json!(true),
            "resume" => self.spec["paused"] = json!(false),
            "set" => merge(&mut self.spec, value),
            _ => self.version = self.roll_back(value).ok_or(None)?,
        }
        let wanted = self.wanted();
        self.controllers.want(wanted);
        Ok(None)
    }

    /// The template to go back to, as `kubectl rollout undo` finds it.
    fn roll_back(&self, value: &Value) -> Option<u32> {
        if self.spec["paused"] == true {
            return None;
        }
        let sets = self.controllers.deployment().sets();
        let (mut highest, mut second) = (0, 0);
        for set in sets {
            if set.revision > highest {
                (highest, second) = (set.revision, highest);
            } else if set.revision > second {
                second = set.revision;
            }
        }
        let to = match value["toRevision"].as_u64().unwrap_or(0) {
            0 => second,
            to => u32::try_from(to).unwrap(),
        };
        let found = sets.iter().rev().find(|set| set.revision == to)?;
        Some(found.template)
    }

    fn on_pod(&mut self, name: &str, action: &Value) -> Result<Option<String>, Option<String>> {
        let version = u32::try_from(action["ofVersion"].as_u64().unwrap_or(0)).unwrap();
        let which = if name == "deletionCost" { &action[name]["pod"] } else { &action[name] };
        let live: Vec<Pod> = self
            .controllers
            .pods()
            .iter()
            .filter(|pod| !pod.is_terminating && (version == 0 || pod.template == version))
            .cloned()
            .collect();
        let index = match which.as_str() {
            Some("oldest") => 0,
            Some(_) => -1,
            None => which.as_i64().unwrap(),
        };
        let count = i64::try_from(live.len()).unwrap();
        let index = if index < 0 { index + count } else { index };
        let chosen = usize::try_from(index).ok().and_then(|i| live.get(i));
        let pod = chosen.ok_or(None)?.clone();
        let label = format!("v{}-{}", pod.template, pod.number);
        let is_ready = pod.ready.is_some();
        let is_allowed = match name {
            "evictPod" => pod.phase != Phase::Failed && pod.node.is_some(),
            "unreadyPod" => pod.phase == Phase::Running && is_ready,
            "readyPod" => pod.phase == Phase::Running && !is_ready,
            _ => true,
        };
        if !is_allowed {
            return Err(Some(label));
        }
        match name {
            "killPod" => {
                let is_gone = self.controllers.delete(self.now, pod.pod);
                self.deleted(pod.pod, pod.template, pod.number, is_gone, "user");
            }
            "forcePod" => {
                self.controllers.remove(pod.pod);
                self.deleted(pod.pod, pod.template, pod.number, true, "user");
            }
            "evictPod" => self.update(pod.pod, |pod| {
                (pod.phase, pod.ready) = (Phase::Failed, None);
            }),
            "unreadyPod" => self.set_ready(pod.pod, false),
            "readyPod" => self.set_ready(pod.pod, true),
            _ => {
                let cost = i32::try_from(action[name]["cost"].as_i64().unwrap()).unwrap();
                self.update(pod.pod, |pod| pod.deletion_cost = cost);
            }
        }
        Ok(Some(label))
    }
}
