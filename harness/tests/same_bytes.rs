//! Runs in virtual time give the same bytes: twice on this machine, once with its cores busy, and,
//! by a golden file, on any other and with any other build.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

/// All that a path may do of its own, with an autoscaler, a slow node and a service that is wrong in
/// several ways.
const EVERYTHING: &str = "
name: everything
seed: 5
target:
  service:
    cpu: 3ms
    latency: {lognormal: {median: 8ms, p99: 40ms}}
    startup: 500ms
    idleTimeout: 2s
    drain: {delay: 1s, deadline: 10s}
  misbehave: [exit-on-sigterm]
  deployment:
    replicas: 2
    template:
      readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}
      livenessProbe: {httpGet: {path: /livez}, periodSeconds: 2}
      resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}
path:
  kind: l7
  proxyWorkers: 3
  propagation: {uniform: [0s, 2s]}
  balancing: random
  retry: idempotent
  retries: 2
  passiveHealth: {maxFails: 2, failTimeout: 3s}
  maxRequestsPerConnection: 50
  responseTimeout: 500ms
autoscaler:
  minReplicas: 2
  maxReplicas: 6
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 20}}
nodes:
  count: 2
  allocatable: {cpu: 250m}
  clusterAutoscaler: {maxNodesTotal: 3, provisionTime: {uniform: [10s, 20s]}}
traffic:
  phases: [{hold: 20/s, for: 30s}, {ramp: {to: 90/s}, over: 20s}, {hold: 90/s, for: 60s}, {hold: 10/s, for: 60s}]
  requests: [{get: /work, weight: 4}, {post: /work, body: hello, weight: 1}]
events:
  - {at: 40s, rollout: {}}
  - {at: 70s, freeze: {pod: oldest, for: 3s}}
  - {at: 90s, kill: {pod: newest}}
";
/// Of the bundled ones: both paths, autoscalers by CPU and by requests, rollouts, evictions, idle
/// connections, a day, and what goes wrong with some.
const BUNDLED: [&str; 7] = [
    "spike",
    "spike-rps",
    "rolling-update",
    "rolling-update-wrong",
    "idle-timeout-race-wrong",
    "eviction",
    "day",
];

/// The files of a run, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn run(scenario: &str) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(["run", scenario, "--backend", "sim", "--out"]).arg(&out).stdin(Stdio::null());
    let output = command.output().unwrap();
    let code = output.status.code();
    let told = String::from_utf8_lossy(&output.stderr);
    // Wrong ones do not meet their objectives.
    assert!(matches!(code, Some(0 | 1)), "{scenario}: {code:?} {told}");
    let mut files = files(&out);
    // When, where and with which command stand in the provenance, which the page shows: both must
    // differ. The page is that of the record alone.
    assert!(files.remove("provenance.json").is_some() && files.contains_key("report.html"));
    std::fs::remove_file(out.join("provenance.json")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(["report", "--format", "html"]).arg(out.join("record.jsonl"));
    let page = command.stdin(Stdio::null()).output().unwrap();
    assert!(page.status.success() && !page.stdout.is_empty(), "{scenario}");
    files.insert("report.html".into(), page.stdout);
    files
}

fn files(folder: &Path) -> Files {
    let of = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
    };
    std::fs::read_dir(folder).unwrap().map(of).collect()
}

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sim/records.sha256")
}

/// As `sha256sum` prints it.
fn line(name: &str, record: &[u8]) -> String {
    let digest: String = Sha256::digest(record).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digest}  {name}/record.jsonl\n")
}

#[test]
fn the_same_run_gives_the_same_bytes_and_those_of_the_golden_file() {
    let folder = tempfile::tempdir().unwrap();
    let everything = folder.path().join("everything.yaml");
    std::fs::write(&everything, EVERYTHING).unwrap();
    let all = || BUNDLED.into_iter().chain(everything.to_str());
    let first: Vec<Files> = all().map(run).collect();
    // Again, all at a time: more processes than cores, so that each is held up at other places.
    let again: Vec<Files> = std::thread::scope(|scope| {
        let running: Vec<_> = all().map(|name| scope.spawn(move || run(name))).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut found = String::new();
    for ((name, one), other) in all().zip(&first).zip(&again) {
        let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(one), names(other), "{name}");
        assert!(one.len() >= 4, "{name}: record, scenario, summary and report: {:?}", names(one));
        for (file, bytes) in one {
            let at = bytes.iter().zip(&other[file]).position(|(a, b)| a != b);
            assert!(bytes == &other[file], "{name}: {file} differs, from byte {at:?} on");
        }
        let name = Path::new(name).file_stem().unwrap().to_str().unwrap();
        found.push_str(&line(name, &one["record.jsonl"]));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden_path(), &found).unwrap();
    }
    let kept = std::fs::read_to_string(golden_path()).unwrap_or_default();
    assert_eq!(
        found, kept,
        "another build or machine gives other records; or they were changed on \
        purpose: UPDATE_GOLDEN=1"
    );
}

#[test]
fn another_seed_gives_another_record() {
    let folder = tempfile::tempdir().unwrap();
    let of = |seed: u32| {
        let path = folder.path().join("everything.yaml");
        std::fs::write(&path, EVERYTHING.replace("seed: 5", &format!("seed: {seed}"))).unwrap();
        let files = run(path.to_str().unwrap());
        // Beyond the header, which has the seed itself.
        let record = String::from_utf8(files["record.jsonl"].clone()).unwrap();
        record.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_ne!(of(5), of(6));
}
