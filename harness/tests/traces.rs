//! Real traffic on the simulator: the traces of the folder that `HIGHWATER_TRACES` names, or of
//! `../shared/traces` beside the repository. They are not part of it; without them nothing is tested
//! here, and a line says so.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use highwater::analyze::{Summary, Verdict};

/// A service behind an autoscaler, for any traffic.
const SERVICE: &str = "
name: NAME
seed: 3
target:
  service: {cpu: CPU, latency: {lognormal: {median: 8ms, p99: 40ms}}, startup: 2s}
  deployment:
    replicas: 2
    template:
      readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}
      resources: {requests: {cpu: 500m}}
autoscaler:
  minReplicas: 2
  maxReplicas: 40
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  behavior: {scaleDown: {stabilizationWindowSeconds: 60}}
path: {kind: l4, propagation: {uniform: [0s, 1s]}}
traffic:
  arrivals: constant
  timeout: 30s
  phases:
    - PHASE
objectives: [{failed: 0}]
";

struct Trace {
    name: &'static str,
    /// Its file.
    file: &'static str,
    /// CPU of each request.
    cpu: &'static str,
    /// The phase.
    phase: &'static str,
    /// The requests that are owed, from the file's columns.
    owed: fn(&Rows) -> f64,
}

/// The file's times in seconds since its first line, and its second column.
struct Rows(Vec<(f64, f64)>);

impl Rows {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut first = None;
        let rows = text.lines().skip(1).filter(|line| !line.is_empty()).map(|line| {
            let mut columns = line.split(',');
            let at = seconds(columns.next().unwrap());
            let since = at - *first.get_or_insert(at);
            (since, columns.next().unwrap().parse().unwrap())
        });
        Self(rows.collect())
    }

    /// The area under straight lines from point to point, within two instants.
    fn area(&self, from: f64, until: f64) -> f64 {
        let at = |(t0, v0): (f64, f64), (t1, v1): (f64, f64), t: f64| {
            v0 + (v1 - v0) * (t - t0) / (t1 - t0)
        };
        let pieces = self.0.windows(2).filter_map(|pair| {
            let (a, b) = (pair[0].0.max(from), pair[1].0.min(until));
            (a < b).then(|| (at(pair[0], pair[1], a) + at(pair[0], pair[1], b)) / 2.0 * (b - a))
        });
        pieces.sum()
    }
}

/// Seconds of `2014-04-10 00:04:00.5` since some instant.
fn seconds(time: &str) -> f64 {
    let (date, clock) = time.split_once(' ').unwrap();
    let date: Vec<i64> = date.split('-').map(|part| part.parse().unwrap()).collect();
    let clock: Vec<f64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
    // Days since 0000-03-01 of the Gregorian calendar.
    let (year, month) =
        if date[1] > 2 { (date[0], date[1] - 3) } else { (date[0] - 1, date[1] + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date[2];
    days as f64 * 86_400.0 + clock[0] * 3_600.0 + clock[1] * 60.0 + clock[2]
}

const TRACES: [Trace; 4] = [
    Trace {
        name: "two weeks of a load balancer in twelve minutes, a hundredfold",
        file: "nab-elb-requests-5min.csv",
        cpu: "40ms",
        phase: "{curve: {file: FILE, per: 5m, speed: 1680}, scale: 100}",
        owed: |rows| rows.area(0.0, f64::INFINITY) / 300.0 / 1680.0 * 100.0,
    },
    Trace {
        name: "two days around a flash crowd in ten minutes, fiftyfold",
        file: "nab-twitter-amzn-5min.csv",
        cpu: "40ms",
        phase: "{curve: {file: FILE, per: 5m, speed: 288, from: 288h, until: 336h}, scale: 50}",
        owed: |rows| rows.area(288.0 * 3600.0, 336.0 * 3600.0) / 300.0 / 288.0 * 50.0,
    },
    Trace {
        name: "an hour of code completions in a quarter of one",
        file: "azure-llm-2023-code.csv",
        cpu: "50ms",
        phase: "{trace: {file: FILE, path: '/work?cpu={ContextTokens}0us&wait={GeneratedTokens}ms', \
                digits: 1, speed: 4}}",
        owed: |rows| rows.0.len() as f64,
    },
    Trace {
        name: "an hour of chat in a quarter of one",
        file: "azure-llm-2023-conv.csv",
        cpu: "50ms",
        phase: "{trace: {file: FILE, speed: 4}}",
        owed: |rows| rows.0.len() as f64,
    },
];

fn folder() -> PathBuf {
    std::env::var_os("HIGHWATER_TRACES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/traces"),
        PathBuf::from,
    )
}

fn simulate(trace: &Trace, file: &Path) -> Summary {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("traces");
    fs::create_dir_all(&folder).unwrap();
    let name = trace.file.trim_end_matches(".csv");
    let (scenario, out) = (folder.join(format!("{name}.yaml")), folder.join(name));
    let _ = fs::remove_dir_all(&out);
    let phase = trace.phase.replace("FILE", &format!("{:?}", file.to_str().unwrap()));
    let text = SERVICE.replace("NAME", name).replace("CPU", trace.cpu).replace("PHASE", &phase);
    fs::write(&scenario, text).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["run", "--backend", "sim", "--out"])
        .args([&out, &scenario])
        .output()
        .unwrap();
    let summary = fs::read(out.join("summary.json"));
    let complaint = String::from_utf8_lossy(&run.stderr);
    let summary = summary.unwrap_or_else(|error| panic!("{}: {error}: {complaint}", trace.name));
    serde_json::from_slice(&summary).unwrap()
}

#[test]
fn real_traffic_is_simulated() {
    let folder = folder();
    if !folder.is_dir() {
        eprintln!("passed over: no traces in {}", folder.display());
        return;
    }
    for trace in &TRACES {
        let file = folder.join(trace.file);
        let summary = simulate(trace, &file);
        let (name, requests) = (trace.name, &summary.requests);
        let owed = (trace.owed)(&Rows::read(&file));
        assert!((requests.owed as f64 - owed).abs() <= 1.0, "{name}: {} of {owed}", requests.owed);
        assert_eq!(requests.ok, requests.owed, "{name}: {:?}", summary.verdict);
        assert_eq!(summary.verdict, Verdict::Met, "{name}");
        assert!(summary.replicas.max > 2, "{name}: the autoscaler saw nothing");
        eprintln!(
            "{name}: {} requests, p99 {:.1} ms, {} to {} replicas",
            requests.owed, summary.latency_ms.p99, summary.replicas.min, summary.replicas.max
        );
    }
}
