//! The recommended setting as a patch that can be applied.

use std::fmt::Write as _;

use highwater_model::spec::Scenario;
use serde_json::{Map, Value};

use crate::scenario::yaml_of;

/// The fields of `HPAScalingRules`.
const RULES: [&str; 4] = ["stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance"];

/// A merge patch for the HorizontalPodAutoscaler, with what else is to be changed as comments.
///
/// *Behaviour*: what the setting leaves to Kubernetes is `null`, which takes away what the object
/// has.
pub(super) fn patch(scenario: &Scenario, sets: &[String]) -> String {
    let mut out = format!(
        "# Made by `highwater tune`, for {}. To apply it:\n\
         #   kubectl patch hpa NAME --type merge --patch-file patch.yaml\n\
         # The same for `highwater run`:\n",
        crate::report::clean::line(&scenario.name)
    );
    for set in sets {
        // A String takes whatever is written.
        let _ = writeln!(out, "#   --set '{}'", crate::report::clean::line(set));
    }
    let others = sets.iter().filter(|set| !set.starts_with("autoscaler"));
    if others.count() > 0 {
        out.push_str(
            "# Those that do not begin with `autoscaler` belong into the Deployment's manifest.\n",
        );
    }
    let Some(autoscaler) = &scenario.autoscaler else { return out };
    let mut spec = serde_json::to_value(autoscaler).unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        let behavior = spec.entry("behavior").or_insert(Value::Null);
        if let Some(behavior) = behavior.as_object_mut() {
            for direction in ["scaleUp", "scaleDown"] {
                let rules = behavior.entry(direction).or_insert(Value::Null);
                if let Some(rules) = rules.as_object_mut() {
                    for field in RULES {
                        rules.entry(field).or_insert(Value::Null);
                    }
                }
            }
        }
    }
    let whole = Value::Object(Map::from_iter([("spec".to_owned(), spec)]));
    out.push_str(&yaml_of(&whole));
    out
}
