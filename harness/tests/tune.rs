//! `highwater tune --confirm` as its users run it: real processes beside the simulator's promise.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use highwater::{compare::input, record::BackendKind, tune::told::Tuning};
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");

/// Far more pods than the load needs, so that there is something to recommend.
const WASTEFUL: &str = "
name: wasteful
seed: 3
target:
  service: {cpu: 2ms, latency: 5ms, drain: {delay: 200ms, deadline: 5s}}
  deployment:
    replicas: 2
    template:
      readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}
      resources: {requests: {cpu: 100m, memory: 16Mi}}
path: {propagation: 50ms}
controllerManager: {horizontalPodAutoscalerSyncPeriod: 1s}
metricsPipeline: {kubeletInterval: 1s, metricResolution: 1s}
autoscaler:
  minReplicas: 4
  maxReplicas: 4
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
traffic: {phases: [{name: all, hold: 30/s, for: 3s}]}
objectives: [{failed: 0}]
tune: {parameters: {min: [2, 4]}, seeds: 1, holdOutSeeds: 0}
";

struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("scenario.yaml"), WASTEFUL).unwrap();
        Self { folder }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("tuned")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("tune").arg(self.folder.path().join("scenario.yaml")).args(args);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn result(&self) -> Tuning {
        let text = std::fs::read_to_string(self.out().join("tune.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// Reads a child's stderr up to a line with these words, and the rest of it in the background.
fn wait_for(child: &mut Child, words: &str) -> std::thread::JoinHandle<String> {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.contains(words) {
        assert!(lines.read_line(&mut seen).unwrap() > 0, "{words} never came:\n{seen}");
    }
    std::thread::spawn(move || {
        lines.read_to_string(&mut seen).unwrap();
        seen
    })
}

#[test]
fn settings_are_confirmed_on_processes_and_what_was_interrupted_goes_on() {
    let lab = Lab::new();
    let mut child = lab
        .command(&["--out", "tuned", "--confirm", "local", "--repeat", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The second run of three is under way; the search is written, and so is the first run.
    let errors = wait_for(&mut child, "confirm: run 2 of 3");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = errors.join().unwrap();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("confirm: stopped after"), "{errors}");
    let first = lab.result();
    let told = &first.confirm[0];
    assert!(!told.complete && !told.doubts.is_empty(), "{told:#?}");

    let output =
        lab.run(&["--from", "tuned", "--confirm", "local", "--repeat", "1", "--format", "json"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // The machine may be too busy for a run to be trusted (3).
    assert!(matches!(output.status.code(), Some(0 | 3)), "{errors}");
    assert!(!errors.contains("confirm: run 1 of 3"), "what is there is not run again:\n{errors}");
    let printed: Tuning = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    let tuning = lab.result();
    assert_eq!(printed, tuning);
    assert_eq!(tuning.tried, first.tried, "nothing was searched again");
    let told = &tuning.confirm[0];
    assert!(told.complete, "{told:#?}");
    assert_eq!((told.backend, told.settings.len()), (BackendKind::Local, 3));
    for setting in &told.settings {
        let run = &setting.runs[0];
        assert_eq!(run.simulated.owed, run.measured.owed, "the same arrivals: {run:#?}");
        assert!(run.measured.pod_hours > 0.0, "{run:#?}");
        let folder = lab.out().join(&setting.folder).display().to_string();
        assert_eq!(input::read(&folder).unwrap().len(), 1, "compare reads {folder}");
    }
    let hours = |name: &str| {
        let setting = told.settings.iter().find(|one| one.folder.ends_with(name)).unwrap();
        setting.runs[0].measured.pod_hours
    };
    assert!(hours("recommended") < hours("present"), "{told:#?}");
    let page = std::fs::read_to_string(lab.out().join("report.html")).unwrap();
    assert!(page.contains("Confirmed on local"));

    let other = ["--from", "tuned", "--confirm", "local", "--set", "target.service.latency=9ms"];
    let output = lab.run(&other);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("give the scenario, --set and --seed of that search"), "{errors}");
}

#[test]
fn what_cannot_be_confirmed_is_refused_before_anything_is_run() {
    let lab = Lab::new();
    std::fs::create_dir(lab.out()).unwrap();
    let write = |text: &str| std::fs::write(lab.out().join("tune.json"), text).unwrap();
    let refused = |args: &[&str], word: &str| {
        let output = lab.run(&[args, &["--confirm", "local"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(word), "{errors}");
    };
    refused(&["--from", "nowhere"], "nowhere/tune.json");
    write("{");
    refused(&["--from", "tuned"], "no result that this build can read");
    // The backend cannot do it, and the search is not begun.
    refused(&["--set", "nodes={count: 1, podsPerNode: 9}"], "nodes");
    let begun = lab.folder.path().join("reports");
    assert!(!begun.exists(), "nothing is written");
}
