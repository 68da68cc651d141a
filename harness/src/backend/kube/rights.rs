//! The rights that a run needs, and no others: what the preflight asks for and what the RBAC
//! manifests grant are made from the same list.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use highwater_model::spec::{Generators, Misbehaviour, PathKind, Scenario};

use super::names;
use crate::backend::service;

/// The APIService of the resource metrics.
pub const METRICS_SERVICE: &str = "v1beta1.metrics.k8s.io";

/// One right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The namespace; `None` for what belongs to the cluster.
    pub namespace: Option<String>,
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The resource, with its subresource: `pods/log`.
    pub resource: &'static str,
    /// The one object that it is about; `None` for all.
    pub name: Option<String>,
    /// The verb.
    pub verb: &'static str,
}

impl fmt::Display for Right {
    /// `create pods/eviction in namespace shop`, as `kubectl auth can-i` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, "/{name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => write!(f, " in the cluster"),
        }
    }
}

/// What of a scenario asks for rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The namespace that the run owns.
    pub home: String,
    /// Whether it has to be made.
    pub makes_home: bool,
    /// The workload's namespace, if the target is one.
    pub workload: Option<String>,
    /// There is an autoscaler of ours.
    pub autoscaler: bool,
    /// Our proxy stands before the target.
    pub proxy: bool,
    /// Load comes from pods.
    pub generators: bool,
    /// The target scales itself.
    pub self_scaling: bool,
    /// The keys of the actions that occur.
    pub actions: BTreeSet<&'static str>,
}

impl Needs {
    /// Those of a scenario.
    pub fn of(scenario: &Scenario, home: &str, makes_home: bool) -> Self {
        Self {
            home: home.into(),
            makes_home,
            workload: scenario.target.workload.as_ref().map(|known| known.namespace.clone()),
            autoscaler: scenario.autoscaler.is_some(),
            proxy: scenario.path.kind == PathKind::L7 && scenario.path.url.is_none(),
            generators: scenario.traffic.generators != Some(Generators::Local),
            self_scaling: service::misbehaviours(scenario)
                .any(|how| *how == Misbehaviour::SelfScaling),
            actions: scenario
                .events
                .iter()
                .filter_map(|event| event.action().map(|action| action.key()))
                .collect(),
        }
    }

    /// Everything that any scenario with a workload in `workload` can ask for.
    pub fn all(home: &str, workload: Option<&str>) -> Self {
        Self {
            home: home.into(),
            makes_home: false,
            workload: workload.map(Into::into),
            autoscaler: true,
            proxy: true,
            generators: true,
            self_scaling: true,
            actions: ACTIONS.into(),
        }
    }

    fn target(&self) -> &str {
        self.workload.as_deref().unwrap_or(&self.home)
    }

    fn has(&self, action: &str) -> bool {
        self.actions.contains(action)
    }

    /// The rights, each once, in order.
    pub fn rights(&self) -> BTreeSet<Right> {
        let mut rights = Rights::default();
        self.home(&mut rights);
        self.watching(&mut rights);
        self.making(&mut rights);
        self.acting(&mut rights);
        rights.0
    }

    /// The namespace, the Lease and the journal.
    fn home(&self, rights: &mut Rights) {
        let home = Some(self.home.as_str());
        rights.add_named("", "namespaces", &self.home, &["get"]);
        if self.makes_home {
            rights.add(None, "", "namespaces", &["create"]);
            rights.add_named("", "namespaces", &self.home, &["patch", "delete"]);
        }
        let lease = &["create", "get", "patch", "delete"];
        rights.add(home, "coordination.k8s.io", "leases", lease);
        rights.add(home, "", "configmaps", &["create", "get", "list", "patch", "delete"]);
    }

    fn watching(&self, rights: &mut Rights) {
        let target = Some(self.target());
        let watch = &["get", "list", "watch"];
        rights.add(target, "", "pods", watch);
        rights.add(target, "", "services", &["get"]);
        rights.add(target, "", "events", &["list", "watch"]);
        rights.add(target, "apps", "deployments", watch);
        rights.add(target, "apps", "replicasets", &["list", "watch"]);
        rights.add(target, "discovery.k8s.io", "endpointslices", &["list", "watch"]);
        rights.add(None, "", "nodes", watch);
        rights.add(target, "autoscaling", "horizontalpodautoscalers", watch);
        if self.autoscaler || self.workload.is_some() {
            rights.add(target, "metrics.k8s.io", "pods", &["list"]);
        }
        if self.workload.is_none() {
            rights.add(target, "", "pods/log", &["get"]);
        }
    }

    fn making(&self, rights: &mut Rights) {
        let home = Some(self.home.as_str());
        // What is made is found by its labels when it is deleted.
        let make = &["create", "list", "delete"];
        if self.workload.is_none() || self.proxy {
            rights.add(home, "apps", "deployments", make);
            rights.add(home, "", "services", make);
        }
        if self.workload.is_none() && self.autoscaler {
            rights.add(home, "autoscaling", "horizontalpodautoscalers", make);
        }
        if self.proxy {
            // Who makes a role must have what it gives.
            rights.add(Some(self.target()), "discovery.k8s.io", "endpointslices", &["get"]);
            rights.add(home, "apps", "deployments", &["get"]);
        }
        if self.self_scaling {
            let verbs = &["get", "patch"];
            rights.add(home, "apps", "deployments/scale", verbs);
            let group = "flowcontrol.apiserver.k8s.io";
            for resource in ["flowschemas", "prioritylevelconfigurations"] {
                rights.add(None, group, resource, &["create", "list", "delete"]);
            }
        }
        if self.proxy || self.self_scaling {
            let accounts = if self.proxy {
                [self.home.as_str(), self.target()]
            } else {
                [self.home.as_str(); 2]
            };
            rights.add(home, "", "serviceaccounts", make);
            for namespace in accounts {
                let group = "rbac.authorization.k8s.io";
                rights.add(Some(namespace), group, "roles", make);
                rights.add(Some(namespace), group, "rolebindings", make);
            }
        }
        if self.generators {
            rights.add(home, "batch", "jobs", make);
        }
        if self.generators || self.proxy {
            rights.add(home, "", "pods", &["get", "list", "watch"]);
            // A WebSocket begins with a GET, and is authorised as a create, too, since 1.35.
            rights.add(home, "", "pods/portforward", &["get", "create"]);
        }
    }

    fn acting(&self, rights: &mut Rights) {
        let target = Some(self.target());
        let change = &["get", "patch", "update"];
        if self.has("rollout") {
            rights.add(target, "apps", "deployments", change);
        }
        if self.has("scale") {
            rights.add(target, "apps", "deployments", change);
        }
        if self.has("delete") {
            rights.add(target, "", "pods", &["delete"]);
        }
        if self.has("kill") {
            rights.add(target, "", "pods/exec", &["get", "create"]);
        }
        if self.has("evict") || self.has("drainNode") {
            rights.add(target, "", "pods/eviction", &["create"]);
        }
        if self.has("drainNode") {
            rights.add(None, "", "nodes", &["patch"]);
        }
        if self.has("patchAutoscaler") {
            rights.add(target, "autoscaling", "horizontalpodautoscalers", change);
        }
        if self.has("metricsOutage") {
            let group = "apiregistration.k8s.io";
            rights.add_named(group, "apiservices", METRICS_SERVICE, change);
        }
    }
}

/// The keys of all actions.
const ACTIONS: [&str; 8] = [
    "rollout",
    "scale",
    "delete",
    "kill",
    "evict",
    "drainNode",
    "patchAutoscaler",
    "metricsOutage",
];

#[derive(Default)]
struct Rights(BTreeSet<Right>);

impl Rights {
    fn add(
        &mut self,
        namespace: Option<&str>,
        group: &'static str,
        resource: &'static str,
        verbs: &[&'static str],
    ) {
        for verb in verbs {
            let namespace = namespace.map(Into::into);
            self.0.insert(Right { namespace, group, resource, name: None, verb });
        }
    }

    /// A right to one object of the cluster.
    fn add_named(
        &mut self,
        group: &'static str,
        resource: &'static str,
        name: &str,
        verbs: &[&'static str],
    ) {
        for verb in verbs {
            let name = Some(name.into());
            self.0.insert(Right { namespace: None, group, resource, name, verb });
        }
    }
}

/// The rights as RBAC manifests: a Role for each namespace and a ClusterRole for what belongs to
/// the cluster, bound to the ServiceAccount `highwater` of `home`.
pub fn manifests(home: &str, rights: &BTreeSet<Right>) -> String {
    let mut text = String::from(
        "# The least rights that Highwater needs, made by `highwater rbac`; do not edit.\n",
    );
    let account = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {home}\n  labels: {{{}: {}}}\n---\n\
         apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: highwater\n  namespace: {home}\n",
        names::MANAGED_BY,
        names::HIGHWATER
    );
    text.push_str(&account);
    let mut scopes: BTreeMap<Option<&str>, Vec<&Right>> = BTreeMap::new();
    for right in rights {
        scopes.entry(right.namespace.as_deref()).or_default().push(right);
    }
    for (namespace, rights) in scopes {
        role(&mut text, home, namespace, &rights);
    }
    text
}

fn role(text: &mut String, home: &str, namespace: Option<&str>, rights: &[&Right]) {
    let (prefix, metadata) = match namespace {
        Some(namespace) => ("", format!("  name: highwater\n  namespace: {namespace}\n")),
        None => ("Cluster", "  name: highwater\n".to_string()),
    };
    let mut rules: BTreeMap<(&str, &str, Option<&str>), Vec<&str>> = BTreeMap::new();
    for right in rights {
        let key = (right.group, right.resource, right.name.as_deref());
        rules.entry(key).or_default().push(right.verb);
    }
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {prefix}Role\nmetadata:\n{metadata}rules:\n"
    );
    for ((group, resource, name), verbs) in rules {
        let verbs = verbs.join(", ");
        let _ = write!(text, "- apiGroups: [\"{group}\"]\n  resources: [{resource}]\n");
        if let Some(name) = name {
            let _ = writeln!(text, "  resourceNames: [{name}]");
        }
        let _ = writeln!(text, "  verbs: [{verbs}]");
    }
    let _ = write!(
        text,
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {prefix}RoleBinding\nmetadata:\n{metadata}\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {prefix}Role, name: highwater}}\n\
         subjects:\n- {{kind: ServiceAccount, name: highwater, namespace: {home}}}\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    fn needs(sets: &[&str]) -> Needs {
        let overrides = scenario::Overrides {
            sets: sets.iter().map(|set| (*set).to_string()).collect(),
            seed: None,
        };
        let loaded = scenario::load("rolling-update", &overrides).expect("a bundled scenario");
        Needs::of(&loaded.scenario, "highwater", false)
    }

    fn words(needs: &Needs) -> Vec<String> {
        needs.rights().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_scenario_asks_for_what_its_events_do_and_no_more() {
        let plain = words(&needs(&["path={kind: l4}"]));
        let has = |rights: &[String], right: &str| rights.iter().any(|known| known == right);
        assert!(has(&plain, "patch deployments.apps in namespace highwater"), "{plain:?}");
        for absent in [
            "create pods/exec in namespace highwater",
            "create pods/eviction in namespace highwater",
            "delete pods in namespace highwater",
            "patch nodes in the cluster",
            "create roles.rbac.authorization.k8s.io in namespace highwater",
            "create namespaces in the cluster",
        ] {
            assert!(!has(&plain, absent), "{absent}");
        }
        let kills = words(&needs(&["events=[{at: 5s, kill: {}}, {at: 6s, drainNode: {}}]"]));
        assert!(has(&kills, "create pods/exec in namespace highwater"));
        assert!(has(&kills, "patch nodes in the cluster"));
        assert!(!has(&kills, "patch deployments.apps in namespace highwater"));
    }

    #[test]
    fn what_is_made_can_be_found_and_deleted() {
        let all = [Needs::all("highwater", Some("shop")), needs(&[]), needs(&["path={kind: l4}"])];
        for rights in all.map(|needs| needs.rights()) {
            let is_swept = |right: &&Right| {
                // The Lease is deleted by its name; subresources are no objects.
                right.verb == "create"
                    && right.resource != "leases"
                    && !right.resource.contains('/')
            };
            for made in rights.iter().filter(is_swept) {
                for verb in ["list", "delete"] {
                    let needed = Right { verb, ..made.clone() };
                    assert!(rights.contains(&needed), "{needed}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_ever_asked_of_secrets_or_of_everything() {
        let all = Needs::all("highwater", Some("shop")).rights();
        assert!(all.iter().all(|right| right.resource != "secrets" && right.verb != "*"));
        let outside: Vec<_> =
            all.iter().filter(|right| right.namespace.is_none()).map(ToString::to_string).collect();
        assert_eq!(
            outside,
            [
                "get namespaces/highwater in the cluster",
                "get nodes in the cluster",
                "list nodes in the cluster",
                "patch nodes in the cluster",
                "watch nodes in the cluster",
                "get apiservices.apiregistration.k8s.io/v1beta1.metrics.k8s.io in the cluster",
                "patch apiservices.apiregistration.k8s.io/v1beta1.metrics.k8s.io in the cluster",
                "update apiservices.apiregistration.k8s.io/v1beta1.metrics.k8s.io in the cluster",
                "create flowschemas.flowcontrol.apiserver.k8s.io in the cluster",
                "delete flowschemas.flowcontrol.apiserver.k8s.io in the cluster",
                "list flowschemas.flowcontrol.apiserver.k8s.io in the cluster",
                "create prioritylevelconfigurations.flowcontrol.apiserver.k8s.io in the cluster",
                "delete prioritylevelconfigurations.flowcontrol.apiserver.k8s.io in the cluster",
                "list prioritylevelconfigurations.flowcontrol.apiserver.k8s.io in the cluster",
            ]
        );
    }

    #[test]
    fn the_committed_manifest_is_what_is_made() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/rbac.yaml");
        let made = manifests("highwater", &Needs::all("highwater", None).rights());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &made).expect("writes");
        }
        let committed = std::fs::read_to_string(path).expect("deploy/rbac.yaml is there");
        assert_eq!(committed, made, "run `just golden` and look at the difference");
    }
}
