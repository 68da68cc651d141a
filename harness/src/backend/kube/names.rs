//! The names and labels of what Highwater makes in a cluster.

use std::collections::BTreeMap;

/// The namespace that a run owns if none is named.
pub const NAMESPACE: &str = "highwater";
/// Every object that Highwater makes carries this label.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const HIGHWATER: &str = "highwater";
/// The name under which our writes are known to the API server (`metadata.managedFields`).
pub const MANAGER: &str = "highwater";
/// Which run made an object.
pub const RUN: &str = "highwater.dev/run";
/// On what belongs to the cluster: the namespace of the run that made it.
pub const HOME: &str = "highwater.dev/namespace";
/// What an object is for: see [`Component`].
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// On a namespace that a run made, and that therefore goes with it.
pub const CREATED: &str = "highwater.dev/created-by-run";
/// The Lease that says that a run is under way, and the ConfigMap of what it changed.
pub const LEASE: &str = "highwater-run";
/// See [`super::journal`].
pub const JOURNAL: &str = "highwater-journal";
/// Long enough for any scenario's name to be told, short enough for what is added to it.
const NAME_CHARS_MAX: usize = 40;

/// What an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The bundled service.
    Target,
    /// A load generator.
    Generator,
    /// The L7 proxy.
    Proxy,
}

impl Component {
    /// The label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Generator => "generator",
            Self::Proxy => "proxy",
        }
    }
}

/// The labels of everything that a run makes.
pub fn labels(run: &str) -> BTreeMap<String, String> {
    [(MANAGED_BY, HIGHWATER), (RUN, run)].map(|(key, value)| (key.into(), value.into())).into()
}

/// The labels of an object of a component: they are also what its pods are found by.
pub fn component_labels(run: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = labels(run);
    labels.insert(COMPONENT.into(), component.name().into());
    labels
}

/// `{a: b}` as a label selector's text.
pub fn selector(labels: &BTreeMap<String, String>) -> String {
    let parts: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(",")
}

/// The labels of what a run in `home` makes that belongs to the cluster.
pub fn cluster_labels(run: &str, home: &str) -> BTreeMap<String, String> {
    let mut labels = labels(run);
    labels.insert(HOME.into(), home.into());
    labels
}

/// The selector of what runs in `home` made that belongs to the cluster.
pub fn ours_of(home: &str) -> String {
    format!("{MANAGED_BY}={HIGHWATER},{HOME}={home}")
}

/// The selector of everything that Highwater made.
pub fn ours() -> String {
    format!("{MANAGED_BY}={HIGHWATER}")
}

/// A scenario's name as a Kubernetes object's.
///
/// *Behaviour*: scenario names are letters, digits and dashes in between; what is left to do is
/// lower case, a bound on the length, and a letter in front (a Service needs one).
pub fn object_name(scenario: &str) -> String {
    let lower = scenario.to_ascii_lowercase();
    let short: String = lower.chars().take(NAME_CHARS_MAX).collect();
    let trimmed = short.trim_end_matches('-');
    if trimmed.starts_with(|c: char| c.is_ascii_lowercase()) {
        trimmed.into()
    } else {
        format!("s-{trimmed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_name_is_a_name_of_an_object() {
        let long = "x".repeat(39) + "-y";
        for (scenario, name) in [
            ("spike", "spike"),
            ("Rolling-Update", "rolling-update"),
            ("2nd", "s-2nd"),
            (long.as_str(), &"x".repeat(39)),
        ] {
            assert_eq!(object_name(scenario), name);
        }
    }

    #[test]
    fn a_selector_names_every_label() {
        let labels = component_labels("ab12", Component::Proxy);
        assert_eq!(
            selector(&labels),
            "app.kubernetes.io/component=proxy,app.kubernetes.io/managed-by=highwater,highwater.dev/run=ab12"
        );
    }
}
