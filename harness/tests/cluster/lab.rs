//! A test's share of the cluster: namespaces of its own, taken away again however it ends.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use crate::{
    kubectl::{attempt, kubectl, kubectl_with, spec},
    run::{Run, clean_up},
};

/// What a test has of the cluster while it lives.
pub(crate) struct Lab {
    /// The namespace for runs to own.
    pub(crate) home: String,
    folder: Option<tempfile::TempDir>,
    namespaces: Vec<String>,
    _turn: Option<Turn>,
}

impl Lab {
    /// For a test that leaves others alone.
    pub(crate) fn new(name: &str) -> Self {
        Self::with(name, Some(Turn::shared()))
    }

    /// For a test that cordons a node: of two, one must be left for all.
    pub(crate) fn cordoning(name: &str) -> Self {
        Self::with(name, Some(Turn::cordoning()))
    }

    /// For a test that takes from the whole cluster what others need.
    pub(crate) fn alone(name: &str) -> Self {
        Self::with(name, Some(Turn::exclusive()))
    }

    /// Another one, in the turn of a test that has one.
    pub(crate) fn beside(_: &Self, name: &str) -> Self {
        Self::with(name, None)
    }

    fn with(name: &str, turn: Option<Turn>) -> Self {
        need_a_test_cluster();
        let home = format!("hw-t-{name}-{}", std::process::id());
        let folder = Some(tempfile::tempdir().unwrap());
        Self { home, folder, namespaces: Vec::new(), _turn: turn }
    }

    /// A file or run folder of the test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.as_ref().unwrap().path().join(name)
    }

    /// Writes a file; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().into()
    }

    /// A run of a bundled scenario, into the folder `name`.
    pub(crate) fn bundled(&self, name: &str, scenario: &str) -> Run {
        Run::new(self, name, scenario.into())
    }

    /// A run of a scenario that is given as YAML, into the folder `name`.
    pub(crate) fn scenario(&self, name: &str, yaml: &str) -> Run {
        Run::new(self, name, self.file(&format!("{name}.yaml"), yaml))
    }

    /// A namespace for what is not Highwater's, gone with the test.
    pub(crate) fn namespace(&mut self, suffix: &str) -> String {
        let namespace = format!("{}-{suffix}", self.home);
        self.namespaces.push(namespace.clone());
        kubectl(&["create", "namespace", &namespace]);
        namespace
    }

    /// One of the servers of `tests/foreign` in a namespace of its own, all of it ready.
    pub(crate) fn workload(&mut self, server: &str) -> Workload {
        let namespace = self.namespace(server);
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/manifests");
        let manifest = std::fs::read_to_string(manifests.join(format!("{server}.yaml"))).unwrap();
        kubectl_with(&["--namespace", &namespace, "apply", "--filename", "-"], &manifest);
        let workload = Workload { namespace, name: format!("foreign-{server}") };
        workload.settle();
        workload
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The namespace of a run that a test left because it failed; none otherwise.
        let (code, printed) = clean_up(&self.home, &["--force"]);
        if code != 0 {
            eprintln!("{}: cleaning up: {printed}", self.home);
        }
        for namespace in self.namespaces.iter().chain([&self.home]) {
            // One that is gone already is what is wanted.
            attempt(&["delete", "namespace", namespace, "--ignore-not-found", "--wait=false"]);
        }
        if std::thread::panicking() {
            let folder = self.folder.take().map(tempfile::TempDir::keep);
            eprintln!("{}: the runs are kept in {}", self.home, folder.unwrap().display());
        }
    }
}

/// A Deployment and a Service that are not Highwater's.
pub(crate) struct Workload {
    /// Their namespace.
    pub(crate) namespace: String,
    /// The name of both.
    pub(crate) name: String,
}

impl Workload {
    /// As a scenario names it.
    pub(crate) fn as_target(&self) -> String {
        format!("{{workload: {{namespace: {}, deployment: {}}}}}", self.namespace, self.name)
    }

    /// The Deployment, as kubectl takes it.
    pub(crate) fn deployment(&self) -> String {
        format!("deployment/{}", self.name)
    }

    /// The Deployment's spec, byte for byte.
    pub(crate) fn spec(&self) -> String {
        spec(&self.namespace, &self.deployment())
    }

    /// Waits until all its pods are of the newest revision and ready.
    pub(crate) fn settle(&self) {
        self.kubectl(&["rollout", "status", &self.deployment(), "--timeout=120s"]);
    }

    /// Runs kubectl in its namespace.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        kubectl(&[&["--namespace", self.namespace.as_str()], args].concat())
    }
}

/// Fails where there is no cluster, and on one that does not look like a test cluster.
fn need_a_test_cluster() {
    let output = attempt(&["config", "current-context"]);
    let context = String::from_utf8_lossy(&output.stdout).trim().to_string();
    assert!(output.status.success(), "these tests need a cluster: KUBECONFIG names none");
    assert!(
        highwater::backend::kube::client::looks_like_a_test_cluster(&context),
        "context {context} does not look like a test cluster"
    );
    let output = attempt(&["get", "--raw", "/readyz"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "these tests need a cluster, and {context} says: {errors}");
}

/// Who may use the cluster: any number of tests that share it, of which one may cordon nodes, or
/// one that is alone. It holds for all processes of this machine.
struct Turn(Vec<File>);

impl Turn {
    fn shared() -> Self {
        Self::take(|lock| lock.lock_shared())
    }

    fn cordoning() -> Self {
        let nodes = lock_file("nodes");
        nodes.lock().unwrap();
        let Self(mut held) = Self::shared();
        held.push(nodes);
        Self(held)
    }

    fn exclusive() -> Self {
        Self::take(File::lock)
    }

    /// Who waits for the lock holds the gate, so that nobody comes in before him.
    fn take(lock: impl Fn(&File) -> std::io::Result<()>) -> Self {
        let gate = lock_file("gate");
        gate.lock().unwrap();
        let file = lock_file("lock");
        lock(&file).unwrap();
        Self(vec![file])
    }
}

fn lock_file(name: &str) -> File {
    let path = std::env::temp_dir().join(format!("highwater-test-cluster.{name}"));
    File::options().create(true).append(true).open(path).unwrap()
}
