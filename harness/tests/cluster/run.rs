//! A run as its users start it, and what it left.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use highwater::{
    analyze::{Cause, Summary, audit::LAG_P99_MAX},
    record::{self, RunRecord},
};
use highwater_model::{event::EventKind, time::Nanos};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    kubectl::{exists, labelled, wait_until},
    lab::Lab,
};

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");
/// All kinds of objects that a run makes.
const KINDS: &str = "pods,deployments,services,jobs,configmaps,leases,serviceaccounts,roles,\
                     rolebindings,horizontalpodautoscalers,endpointslices";
/// Those that belong to the cluster.
const CLUSTER_KINDS: &str = "namespaces,flowschemas,prioritylevelconfigurations,clusterroles,\
                             clusterrolebindings";

/// A run before its start.
pub(crate) struct Run {
    home: String,
    out: PathBuf,
    scenario: String,
    sets: Vec<String>,
    args: Vec<String>,
}

impl Run {
    pub(crate) fn new(lab: &Lab, name: &str, scenario: String) -> Self {
        let (home, out) = (lab.home.clone(), lab.path(name));
        Self { home, out, scenario, sets: Vec::new(), args: Vec::new() }
    }

    /// In another namespace than the test's own.
    pub(crate) fn in_namespace(mut self, namespace: &str) -> Self {
        self.home = namespace.into();
        self
    }

    /// Overrides of the scenario, each as `--set` takes it.
    pub(crate) fn set(mut self, sets: &[&str]) -> Self {
        self.sets.extend(sets.iter().map(|set| (*set).to_string()));
        self
    }

    /// Other arguments.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_string()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["run", &self.scenario, "--backend", "kube", "--namespace", &self.home]);
        command.arg("--out").arg(&self.out);
        if !self.args.iter().any(|arg| arg == "--image") {
            command.args(["--image", &image()]);
        }
        for set in &self.sets {
            command.args(["--set", set]);
        }
        command.args(&self.args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub(crate) fn go(self) -> Done {
        Done::new(self.command().output().unwrap(), self.out)
    }

    /// Runs to an end that comes before any load: the exit code and what was printed.
    pub(crate) fn fails(self) -> (i32, String) {
        let output = self.command().output().unwrap();
        let record = std::fs::read_to_string(self.out.join("record.jsonl")).unwrap_or_default();
        assert!(!record.contains("traffic-started"), "{}", printed(&output));
        (output.status.code().unwrap(), printed(&output))
    }

    /// Starts it.
    pub(crate) fn start(self) -> Running {
        Running { child: Some(self.command().spawn().unwrap()), out: self.out }
    }
}

/// The image of this version, or `HIGHWATER_IMAGE`.
pub(crate) fn image() -> String {
    std::env::var("HIGHWATER_IMAGE").unwrap_or_else(|_| highwater::image::default_name())
}

/// `highwater cleanup` of a namespace: the exit code and what it printed.
pub(crate) fn clean_up(namespace: &str, args: &[&str]) -> (i32, String) {
    let cleanup = ["cleanup", "--namespace", namespace];
    let output = Command::new(PROGRAM).args(cleanup).args(args).output().unwrap();
    (output.status.code().unwrap(), printed(&output))
}

/// What a process printed.
fn printed(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}\n{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// A run that goes on; killed if the test fails.
pub(crate) struct Running {
    child: Option<Child>,
    out: PathBuf,
}

impl Running {
    /// The record's lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.out.join("record.jsonl")).unwrap_or_default();
        text.lines().map(Into::into).collect()
    }

    /// Lines so far that hold `word`.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(word)).count()
    }

    /// Waits until so many lines of the record hold `word`; the run must be alive until then.
    pub(crate) fn wait_for(&mut self, word: &str, count: usize) {
        wait_until(word, || {
            if self.count(word) >= count {
                return true;
            }
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the run ended before {count} lines with {word}");
            false
        });
    }

    /// Whether it still goes on.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), Signal::INT).unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.as_mut().unwrap().kill().unwrap();
        self.child.take().unwrap().wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Done {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        Done::new(output, std::mem::take(&mut self.out))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It has ended already, or the test has failed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A run that has ended with a record.
pub(crate) struct Done {
    /// The exit code.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) printed: String,
    /// Its summary.
    pub(crate) summary: Summary,
    /// Its record.
    pub(crate) record: RunRecord,
}

impl Done {
    /// Reads what a run left; the sums must hold in every one.
    fn new(output: Output, out: PathBuf) -> Self {
        let printed = printed(&output);
        let text = std::fs::read_to_string(out.join("summary.json"))
            .unwrap_or_else(|error| panic!("{error}\n{printed}"));
        let summary: Summary = serde_json::from_str(&text).unwrap();
        let requests = &summary.requests;
        assert_eq!(requests.owed, requests.sent + requests.unsent, "{printed}");
        assert_eq!(requests.sent, requests.ok + requests.failed, "{printed}");
        let losses: u64 = summary.losses.iter().map(|loss| loss.count).sum();
        assert_eq!(losses, requests.failed, "every loss has a cause: {printed}");
        let record = record::read(&out).unwrap();
        Self { code: output.status.code().unwrap(), printed, summary, record }
    }

    /// The causes of its losses.
    pub(crate) fn causes(&self) -> Vec<Cause> {
        self.summary.losses.iter().map(|loss| loss.cause).collect()
    }

    /// Nothing was lost, and every objective holds.
    pub(crate) fn is_flawless(&self) {
        assert_eq!(self.causes(), [], "{}", self.printed);
        self.ends_with(0);
        assert_eq!(self.summary.requests.unsent, 0, "{}", self.printed);
        assert!(self.summary.requests.owed > 0, "{}", self.printed);
        let is_met = self.summary.objectives.iter().all(|objective| objective.met);
        assert!(is_met, "{}", self.printed);
    }

    /// The exit code is this one; or 3, where the machine that all the tests share was too slow
    /// for the latency to be believed, and that is all that the run says against itself.
    pub(crate) fn ends_with(&self, code: i32) {
        let audit = &self.summary.audit;
        let was_late = self.summary.send_lag_ms.p99 > Nanos(LAG_P99_MAX).as_millis_f64();
        let is_late_only = !audit.trusted && was_late && audit.reasons.len() == 1;
        let wanted = if is_late_only { 3 } else { code };
        assert_eq!(self.code, wanted, "{}", self.printed);
    }

    /// How many events are such.
    pub(crate) fn events(&self, is_such: impl Fn(&EventKind) -> bool) -> usize {
        self.record.events.iter().filter(|event| is_such(&event.kind)).count()
    }

    /// What became of each action, in order.
    pub(crate) fn actions(&self) -> Vec<Acted> {
        let mut acted: BTreeMap<u32, Acted> = BTreeMap::new();
        for event in &self.record.events {
            match &event.kind {
                EventKind::ActionStarted { action_id, action } => {
                    acted.entry(*action_id).or_default().key = action.key().into();
                }
                EventKind::ActionAccepted { action_id } => {
                    acted.entry(*action_id).or_default().accepted = true;
                }
                EventKind::ActionRefused { action_id, reason } => {
                    acted.entry(*action_id).or_default().refused = Some(reason.clone());
                }
                EventKind::ActionEffect { action_id, seen } => {
                    acted.entry(*action_id).or_default().effects.push(seen.clone());
                }
                _ => {}
            }
        }
        acted.into_values().collect()
    }

    /// Every action has a start, was accepted, and showed once.
    pub(crate) fn all_actions_worked(&self, keys: &[&str]) {
        let acted = self.actions();
        let found: Vec<&str> = acted.iter().map(|one| one.key.as_str()).collect();
        assert_eq!(found, keys, "{}", self.printed);
        for one in &acted {
            let is_done = one.accepted && one.refused.is_none() && one.effects.len() == 1;
            assert!(is_done, "{one:?}\n{}", self.printed);
        }
    }

    /// The run's own name in the cluster, and its namespace.
    fn place(&self) -> (String, String) {
        let found = self.record.events.iter().find_map(|event| match &event.kind {
            EventKind::ClusterFound { run, namespace, .. } => {
                Some((run.clone(), namespace.clone()))
            }
            _ => None,
        });
        found.expect("the run has found its cluster")
    }

    /// Nothing that the run made is left anywhere.
    pub(crate) fn left_nothing(&self) {
        let (run, home) = self.place();
        let selector = format!("highwater.dev/run={run}");
        assert_eq!(labelled(KINDS, &selector), [""; 0]);
        nothing_is_left(&home);
    }
}

/// Nothing of the runs in a namespace is left, nor the namespace.
pub(crate) fn nothing_is_left(home: &str) {
    assert!(!exists(&["namespace", home]), "namespace {home} is left");
    let selector = format!("highwater.dev/namespace={home}");
    assert_eq!(labelled(CLUSTER_KINDS, &selector), [""; 0]);
}

/// What became of an action.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acted {
    /// What it is.
    pub(crate) key: String,
    /// Whether it was accepted.
    pub(crate) accepted: bool,
    /// Why it was not.
    pub(crate) refused: Option<String>,
    /// What was seen of it.
    pub(crate) effects: Vec<String>,
}
