//! What was asked of a run: its scenario as keys and values, and which differences between two of
//! them forbid a comparison.

use std::collections::BTreeMap;

use highwater_model::spec::Scenario;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Longer lists and longer values are kept as a hash: it is enough to know that they differ.
const ENTRIES_MAX: usize = 64;
/// See [`ENTRIES_MAX`].
const CHARS_MAX: usize = 120;

/// What says nothing about what was asked.
const OF_NO_ACCOUNT: [&str; 5] = ["name", "description", "seed", "objectives", "gates"];
/// What must be the same for figures to mean the same. The rest (target, autoscaler and its
/// pipeline, the simulated machines) is what one changes in order to compare.
const MUST_AGREE: [&str; 3] = ["traffic", "path", "events"];

/// The scenario as keys (`traffic.phases[0].hold`) and values.
pub fn keys(scenario: &Scenario) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    // A scenario holds only what JSON can say.
    if let Ok(Value::Object(parts)) = serde_json::to_value(scenario) {
        for (key, value) in parts {
            if !OF_NO_ACCOUNT.contains(&key.as_str()) {
                flatten(&mut keys, key, &value);
            }
        }
    }
    keys
}

fn flatten(keys: &mut BTreeMap<String, String>, path: String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(parts) => {
            for (key, value) in parts {
                flatten(keys, format!("{path}.{key}"), value);
            }
        }
        Value::Array(parts) if parts.len() <= ENTRIES_MAX => {
            for (index, value) in parts.iter().enumerate() {
                flatten(keys, format!("{path}[{index}]"), value);
            }
        }
        leaf => {
            let text = match leaf {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let is_short = text.chars().count() <= CHARS_MAX;
            keys.insert(path, if is_short { text } else { hashed(&text) });
        }
    }
}

fn hashed(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("({} bytes, sha256 {hex}…)", text.len())
}

/// A key that differs.
#[derive(
    Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Which.
    pub key: String,
    /// Its value in the base; null if it is not there.
    pub base: Option<String>,
    /// Its value in the new.
    pub new: Option<String>,
}

impl Difference {
    /// Whether a comparison across it misleads.
    pub fn misleads(&self) -> bool {
        MUST_AGREE.iter().any(|part| {
            self.key
                .strip_prefix(part)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }
}

/// All that differs.
pub fn differences(
    base: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Vec<Difference> {
    let mut keys: Vec<&String> = base.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let different = keys.into_iter().filter(|key| base.get(*key) != new.get(*key));
    different
        .map(|key| Difference {
            key: key.clone(),
            base: base.get(key).cloned(),
            new: new.get(key).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(target: &str, hold: &str, seed: u64) -> Scenario {
        let text = format!(
            r#"{{"name":"n{seed}","seed":{seed},"target":{{"service":{{"startup":"{target}"}}}},
               "traffic":{{"phases":[{{"hold":"{hold}","for":"1s"}}]}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn only_what_is_asked_of_the_target_forbids_a_comparison() {
        let base = keys(&scenario("1s", "10/s", 1));
        let rows = [
            (scenario("1s", "10/s", 2), None),
            (scenario("2s", "10/s", 1), Some(("target.service.startup", false))),
            (scenario("1s", "11/s", 1), Some(("traffic.phases[0].hold", true))),
        ];
        for (other, expected) in rows {
            let found = differences(&base, &keys(&other));
            let told: Vec<_> = found.iter().map(|one| (one.key.as_str(), one.misleads())).collect();
            assert_eq!(told, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn long_lists_are_known_by_their_hash() {
        let mut keys = BTreeMap::new();
        flatten(&mut keys, "a".into(), &Value::from(vec![1; 1_000]));
        assert_eq!(keys.len(), 1);
        assert!(keys["a"].starts_with("(2001 bytes, sha256 "), "{keys:?}");
    }
}
