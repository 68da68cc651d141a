//! `deploy/rbac.yaml`: enough for a run, and not more.

use highwater::backend::kube::rights::{Needs, Right};
use serde_json::{Value, json};

use crate::{
    kubectl::{exists, kubectl, kubectl_with, wait_until},
    lab::Lab,
};

/// The manifests with `name` for the namespace and for all that they make, so that a test has its
/// own.
fn manifests(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/rbac.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replace("name: highwater", &format!("name: {name}"));
    let text = text.replace("namespace: highwater", &format!("namespace: {name}"));
    text.replace("resourceNames: [highwater]", &format!("resourceNames: [{name}]"))
}

/// The manifests in the cluster, gone with the test.
struct Account<'a> {
    name: &'a str,
}

impl<'a> Account<'a> {
    fn make(name: &'a str) -> Self {
        let account = Self { name };
        kubectl_with(&["apply", "--filename", "-"], &manifests(name));
        account
    }

    /// A kubeconfig that has this account and no other.
    fn kubeconfig(&self) -> String {
        let token = ["create", "token", self.name, "--duration=1h"];
        let token = kubectl(&[&["--namespace", self.name], &token[..]].concat());
        let view = ["config", "view", "--raw", "--minify", "--flatten", "--output", "json"];
        let mut config: Value = serde_json::from_str(&kubectl(&view)).unwrap();
        config["users"][0]["user"] = json!({"token": token.trim()});
        config["contexts"][0]["name"] = "kind-least-rights".into();
        config["current-context"] = "kind-least-rights".into();
        config.to_string()
    }

    /// Of these rights, those that the account has.
    fn has(&self, rights: &[Right]) -> Vec<String> {
        let reviews: Vec<Value> = rights.iter().map(|right| self.review(right)).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": reviews});
        let create = ["create", "--filename", "-", "--output", "json"];
        let printed = kubectl_with(&create, &list.to_string());
        // One document after the other.
        let answers = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
        let answers: Vec<Value> = answers.map(Result::unwrap).collect();
        assert_eq!(answers.len(), rights.len());
        let allowed = |answer: &Value| answer["status"]["allowed"] == true;
        let pairs = rights.iter().zip(&answers).filter(|(_, answer)| allowed(answer));
        pairs.map(|(right, _)| right.to_string()).collect()
    }

    fn review(&self, right: &Right) -> Value {
        let (resource, subresource) =
            right.resource.split_once('/').unwrap_or((right.resource, ""));
        json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{0}:{0}", self.name),
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {
                    "namespace": right.namespace.as_deref().unwrap_or_default(),
                    "group": right.group,
                    "resource": resource,
                    "subresource": subresource,
                    "name": right.name.as_deref().unwrap_or_default(),
                    "verb": right.verb,
                },
            },
        })
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        for kind in ["clusterrolebinding", "clusterrole"] {
            crate::kubectl::attempt(&["delete", kind, self.name, "--ignore-not-found"]);
        }
    }
}

/// Rights that nobody gave, by namespace, group, resource and verb.
fn not_given(home: &str) -> Vec<Right> {
    let right = |namespace: Option<&str>, group, resource, verb| Right {
        namespace: namespace.map(Into::into),
        group,
        resource,
        name: None,
        verb,
    };
    let home = Some(home);
    let (system, default) = (Some("kube-system"), Some("default"));
    vec![
        right(home, "", "secrets", "get"),
        right(home, "", "secrets", "list"),
        right(home, "", "serviceaccounts/token", "create"),
        right(home, "", "pods", "create"),
        right(home, "apps", "daemonsets", "create"),
        right(home, "rbac.authorization.k8s.io", "roles", "escalate"),
        right(home, "rbac.authorization.k8s.io", "roles", "bind"),
        right(system, "", "secrets", "get"),
        right(system, "", "pods", "list"),
        right(system, "", "pods", "delete"),
        right(system, "apps", "deployments", "get"),
        right(system, "apps", "deployments", "patch"),
        right(default, "", "pods/exec", "create"),
        right(default, "", "pods/eviction", "create"),
        right(default, "", "configmaps", "create"),
        right(default, "batch", "jobs", "create"),
        right(None, "", "nodes", "delete"),
        right(None, "", "nodes/proxy", "get"),
        right(None, "", "namespaces", "create"),
        right(None, "", "namespaces", "delete"),
        right(None, "", "namespaces", "list"),
        right(None, "", "pods", "list"),
        right(None, "apiregistration.k8s.io", "apiservices", "delete"),
        right(None, "rbac.authorization.k8s.io", "clusterroles", "create"),
        right(None, "admissionregistration.k8s.io", "validatingwebhookconfigurations", "create"),
    ]
}

#[test]
#[ignore = "needs a cluster: just test-cluster"]
fn the_least_rights_are_enough_and_no_more_and_one_that_is_missing_is_named() {
    let lab = Lab::new("rights");
    let account = Account::make(&lab.home);
    let given: Vec<Right> = Needs::all(&lab.home, None).rights().into_iter().collect();
    let words: Vec<String> = given.iter().map(ToString::to_string).collect();
    // The authoriser learns of new roles by a watch.
    wait_until("the roles to hold", || account.has(&given) == words);
    assert_eq!(account.has(&not_given(&lab.home)), [""; 0]);
    let kubeconfig = lab.file("kubeconfig", &account.kubeconfig());
    let run = |name: &str| {
        let sets = [
            "path={kind: l4}",
            "target.deployment.replicas=2",
            "traffic.phases=[{hold: 20/s, for: 12s}]",
            "events=[{at: 1s, rollout: {}}, {at: 2s, delete: {}}]",
            "objectives=[{failed: 0}]",
        ];
        lab.bundled(name, "rolling-update").set(&sets).args(&["--kubeconfig", &kubeconfig])
    };
    let done = run("run").go();
    done.is_flawless();
    done.all_actions_worked(&["rollout", "delete"]);
    let selector = "app.kubernetes.io/managed-by=highwater";
    let in_home = |kinds: &str| {
        let get = ["get", kinds, "--selector", selector, "--output", "name"];
        kubectl(&[&["--namespace", lab.home.as_str()], &get[..]].concat())
    };
    let kinds = "pods,deployments,services,jobs,configmaps,leases,roles,rolebindings";
    assert_eq!(in_home(kinds), "", "nothing is left of the run");
    assert!(exists(&["namespace", &lab.home]), "the namespace was there before");

    let less = manifests(&lab.home)
        .replace("resources: [jobs]\n  verbs: [create, ", "resources: [jobs]\n  verbs: [");
    assert_ne!(less, manifests(&lab.home));
    kubectl_with(&["apply", "--filename", "-"], &less);
    let missing = format!("create jobs.batch in namespace {}", lab.home);
    wait_until("the right to be gone", || !account.has(&given).contains(&missing));
    let (code, printed) = run("less").fails();
    assert_eq!(code, 3, "{printed}");
    let is_finding = |line: &&str| line.starts_with("  - the right to ");
    let named: Vec<&str> = printed.lines().filter(is_finding).collect();
    assert!(named.len() == 1 && named[0].contains(&missing), "{printed}");
    assert_eq!(in_home(kinds), "", "nothing was made");
}
