//! The autoscaler on local processes: it scales by what the processes really use and tell.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Stdio};

use highwater::{
    analyze::Summary,
    record::{self, RunRecord},
};
use highwater_model::event::EventKind;

const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");

/// Quick clocks, so that a decision is a matter of seconds; the arithmetic is that of slow ones.
const QUICK: &str = "
seed: 3
target:
  service: {cpu: 2ms, latency: 5ms, drain: {delay: 1s, deadline: 10s}}
  deployment:
    replicas: 1
    template:
      readinessProbe: {httpGet: {path: /readyz}, periodSeconds: 1}
      resources: {requests: {cpu: 20m, memory: 16Mi}}
path: {propagation: 100ms}
controllerManager:
  horizontalPodAutoscalerSyncPeriod: 1s
  horizontalPodAutoscalerCPUInitializationPeriod: 0s
metricsPipeline:
  kubeletInterval: 1s
  metricResolution: 1s
  prometheus:
    scrapeInterval: 1s
    window: 4s
    rules: [{name: work_per_second, rate: http_requests_total, matchLabels: {route: /work}}]
objectives: [{failed: 0}]
";

struct Run {
    folder: tempfile::TempDir,
    code: Option<i32>,
    printed: String,
}

fn run(name: &str, more: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.yaml");
    std::fs::write(&file, format!("name: {name}\n{QUICK}{more}")).unwrap();
    let output = Command::new(PROGRAM)
        .arg("run")
        .arg(file)
        .arg("--out")
        .arg(folder.path().join("run"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let printed = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    Run { folder, code: output.status.code(), printed }
}

impl Run {
    fn record(&self) -> RunRecord {
        record::read(&self.folder.path().join("run")).unwrap_or_else(|error| {
            panic!("{error}\n{}", self.printed);
        })
    }

    fn summary(&self) -> Summary {
        let path = self.folder.path().join("run/summary.json");
        let text = std::fs::read_to_string(path);
        serde_json::from_str(&text.unwrap_or_else(|error| panic!("{error}\n{}", self.printed)))
            .unwrap()
    }

    /// Nothing was lost; the machine may have been too slow to believe the latency (3).
    fn lost_nothing(&self) {
        let summary = self.summary();
        assert_eq!((summary.requests.failed, summary.unexplained), (0, 0), "{}", self.printed);
        assert!(matches!(self.code, Some(0 | 3)), "{:?}\n{}", self.code, self.printed);
    }
}

/// The decisions: from, to, why.
fn decisions(record: &RunRecord) -> Vec<(u32, u32, String)> {
    let decision = |kind: &EventKind| match kind {
        EventKind::AutoscalerDecision { from, to, reason } => Some((*from, *to, reason.clone())),
        _ => None,
    };
    record.events.iter().filter_map(|event| decision(&event.kind)).collect()
}

#[test]
fn pods_are_added_by_the_cpu_that_the_processes_use_and_the_bounds_can_be_changed() {
    let run = run(
        "cpu",
        "
autoscaler:
  maxReplicas: 3
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
traffic:
  # 80 requests of 2 ms each: 160 millicores, eight times the request of one pod.
  phases: [{hold: 80/s, for: 20s}]
events:
  - {at: 12s, patchAutoscaler: {maxReplicas: 4}}
",
    );
    run.lost_nothing();
    let record = run.record();
    let decisions = decisions(&record);
    let last = decisions.last().unwrap_or_else(|| panic!("no decision\n{}", run.printed));
    assert_eq!(last.1, 4, "the new bound was reached: {decisions:?}");
    assert!(decisions.iter().any(|(_, to, _)| *to == 3), "the old one before: {decisions:?}");
    for (from, to, reason) in &decisions {
        assert!(to > from, "{decisions:?}");
        let expected = format!(
            "New size: {to}; reason: cpu resource utilization (percentage of request) above target"
        );
        assert_eq!(*reason, expected);
    }
    let figures = record.events.iter().filter_map(|event| match &event.kind {
        EventKind::PodMetrics { cpu_nano, .. } => Some(*cpu_nano),
        _ => None,
    });
    assert!(figures.max().unwrap() > 20_000_000, "a pod used more than it requests");
    assert_eq!(run.summary().replicas.max, 4);
    let to_scale = run.summary().time_to_scale_ms.expect("scale-ups took their time");
    assert!(to_scale.total > 0.0);
}

#[test]
fn requests_per_second_scale_too_and_an_outage_of_resource_metrics_does_not_matter_to_them() {
    let run = run(
        "rps",
        "
autoscaler:
  maxReplicas: 3
  metrics:
    - type: Pods
      pods: {metric: {name: work_per_second}, target: {type: AverageValue, averageValue: 20}}
traffic:
  arrivals: constant
  phases: [{hold: 58/s, for: 18s}]
events:
  - {at: 1s, metricsOutage: {for: 17s}}
",
    );
    run.lost_nothing();
    let decisions = decisions(&run.record());
    assert_eq!(decisions.last().map(|decision| decision.1), Some(3), "{decisions:?}");
    assert!(decisions[0].2.contains("pods metric work_per_second above target"), "{decisions:?}");
}

#[test]
fn without_metrics_nothing_is_scaled_and_the_condition_says_why() {
    let run = run(
        "outage",
        "
autoscaler:
  maxReplicas: 3
  metrics:
    - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
traffic:
  phases: [{hold: 10/s, for: 1s}, {hold: 80/s, for: 8s}]
events:
  - {at: 0s, metricsOutage: {for: 9s}}
",
    );
    run.lost_nothing();
    let record = run.record();
    assert_eq!(decisions(&record), []);
    let says = record.events.iter().any(|event| match &event.kind {
        EventKind::AutoscalerStatus { conditions, .. } => conditions.iter().any(|condition| {
            condition.reason == "FailedGetResourceMetric"
                && condition
                    .message
                    .contains("the server is currently unable to handle the request")
        }),
        _ => false,
    });
    assert!(says, "{}", run.printed);
}
