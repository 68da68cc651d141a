//! `highwater calibrate` from end to end: a run on processes of this machine, the fit, and the
//! scenario that it makes on the simulator.

#![allow(clippy::unwrap_used, reason = "a test")]
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const SCENARIO: &str = "
name: to-be-fitted
seed: 11
target:
  service: {latency: {lognormal: {median: 8ms, p99: 40ms}}, startup: 300ms, drain: {delay: 1s}}
  deployment:
    replicas: 2
    template: {readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}}
path: {kind: l4, propagation: {uniform: [0s, 500ms]}}
traffic: {phases: [{hold: 80/s, for: 10s}]}
events: [{at: 2s, rollout: {}}]
";

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("calibrate");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn highwater(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_highwater")).args(args).current_dir(folder).output().unwrap()
}

/// Its exit code, what it printed, and what it complained of.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_run_is_fitted_and_its_scenario_simulated() {
    let folder = folder();
    fs::write(folder.join("scenario.yaml"), SCENARIO).unwrap();
    // A machine under load may make it miss an objective or doubt itself: it is calibrated all the same.
    let run = highwater(&folder, &["run", "scenario.yaml", "--out", "run"]);
    assert!(folder.join("run/record.jsonl").exists(), "{:?}", told(&run));

    let calibrate = ["calibrate", "run", "--out", "fitted.yaml", "--format", "json"];
    let (code, printed, complaint) = told(&highwater(&folder, &calibrate));
    assert_eq!(code, 0, "{complaint}");
    let calibration: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(calibration["schema"], "highwater.calibration/v1");
    assert_eq!(calibration["backend"], "local");
    let keys: Vec<&str> = calibration["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["key"].as_str().unwrap())
        .collect();
    for key in ["target.service.latency", "target.service.startup", "simulation.processStart"] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
    let yaml = fs::read_to_string(folder.join("fitted.yaml")).unwrap();
    assert_eq!(calibration["yaml"], yaml.as_str());
    // Whatever the machine was busy with: its latency is reproduced within what 800 answers tell.
    let p50 = &calibration["reproduction"]["p50Ms"];
    let (run, sim) = (p50["run"].as_f64().unwrap(), p50["sim"].as_f64().unwrap());
    assert!((sim / run - 1.0).abs() < 0.25, "{yaml}");

    let simulate = ["run", "fitted.yaml", "--backend", "sim", "--out", "simulated"];
    let (code, _, complaint) = told(&highwater(&folder, &simulate));
    assert_eq!(code, 0, "{complaint}");

    // bad input, its exit code, what is complained of
    let rows: [(&[&str], i32, &str); 3] = [
        (&["calibrate", "run", "--out", "fitted.yaml"], 3, "fitted.yaml"),
        (&["calibrate", "simulated"], 2, "of the simulator"),
        (&["calibrate", "nothing"], 2, "nothing"),
    ];
    for (args, expected, says) in rows {
        let (code, printed, complaint) = told(&highwater(&folder, args));
        assert_eq!((code, printed.as_str()), (expected, ""), "{args:?}: {complaint}");
        assert!(complaint.contains(says), "{args:?}: {complaint}");
    }
}
