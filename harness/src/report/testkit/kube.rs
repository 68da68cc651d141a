//! A run on a cluster as its record: a spike with an autoscaler, two generators, an API server
//! that is away for a while, and everything that a cluster tells.

use highwater_model::{
    event::{
        AutoscalerCondition, DeleteReason, Endpoint, Event, EventKind, MetricReading, MetricUnit,
        Source, WarningCode,
    },
    outcome::Outcome,
    spec::{Action, DrainNode, PatchAutoscaler, PodChoice},
    time::{MILLISECOND, Nanos, SECOND, Timestamp},
};

use super::Noise;
use crate::{
    analyze::{Analysis, analyze},
    record::{
        BackendKind, EndReason, Footer, Header, Limits, Line, OutcomeWindow, PhasePlan, RunRecord,
        SCHEMA, Window, hist,
    },
};

/// Begin of the traffic, in seconds.
const START: u64 = 5;
/// Whole seconds of the server's clock.
const WHOLE: Nanos = Nanos(SECOND);

/// The run, analysed.
pub(in super::super) fn kube() -> Analysis {
    let mut record = RunRecord::new(header());
    traffic(&mut record);
    events(&mut record);
    let mut analysis = analyze(&record).expect("the record is sound");
    // Logarithms differ in their last digit from one machine to another.
    let bound = &mut analysis.transitions.upper_bound95;
    *bound = (*bound * 1e6).round() / 1e6;
    analysis
}

/// The same without its requests, which is made much faster.
pub(super) fn kube_without_requests() -> Analysis {
    analyze(&kube_record()).expect("the record is sound")
}

/// Its record, without its requests.
pub(in super::super) fn kube_record() -> RunRecord {
    let mut record = RunRecord::new(header());
    events(&mut record);
    record
}

/// What comes of other events than its own, in a record that was cut off.
pub(in super::super) fn kube_of(events: Vec<Event>) -> Analysis {
    let mut record = RunRecord::new(header());
    record.events = events;
    record.sort();
    analyze(&record).expect("events cannot contradict each other")
}

fn events(record: &mut RunRecord) {
    let mut told = Told(Vec::new());
    begin(&mut told);
    autoscaler(&mut told);
    for (index, (born, node, wait)) in BIRTHS.into_iter().enumerate() {
        told.pod(index, born, node, wait);
    }
    scenario(&mut told);
    cluster(&mut told);
    endpoints(&mut told);
    replicas(&mut told);
    for (seq, mut event) in told.0.into_iter().enumerate() {
        event.seq = seq as u64;
        record.push(Line::Event(event));
    }
    record.push(Line::Footer(Footer {
        end: at(252.0),
        reason: EndReason::Completed,
        message: String::new(),
        lines: 0,
        limits: Limits::default(),
    }));
    record.sort();
}

fn header() -> Header {
    let scenario = serde_json::json!({
        "name": "spike",
        "description": "Eight times the traffic at once. Do new pods arrive in time, and does nobody notice?",
        "seed": 7,
        "target": {"service": {"cpu": "1ms"}, "deployment": {"template": {"resources": {"requests": {"cpu": "100m"}}}}},
        "autoscaler": {"minReplicas": 2, "maxReplicas": 8, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "64Mi"}}},
        ]},
        "traffic": {"generators": 2, "phases": [
            {"name": "calm", "hold": "50/s", "for": "60s"},
            {"name": "spike", "hold": "400/s", "for": "120s"},
            {"name": "after", "hold": "50/s", "for": "60s"},
        ]},
        "objectives": [{"failed": 0}, {"latency.p99": "<250ms"}, {"time-to-scale": "<60s"}],
    });
    let phase = |name: &str, start, end| PhasePlan {
        name: name.into(),
        start: Nanos::from_secs(start),
        end: Nanos::from_secs(end),
    };
    Header {
        schema: SCHEMA.into(),
        backend: BackendKind::Kube,
        seed: 7,
        scenario: serde_json::from_value(scenario).expect("a scenario"),
        phases: vec![phase("calm", 0, 60), phase("spike", 60, 180), phase("after", 180, 240)],
    }
}

/// Requests: slow while there are too few pods.
fn traffic(record: &mut RunRecord) {
    let mut noise = Noise::new(17);
    for second in START..START + 240 {
        let (phase, rate, millis) = match second {
            ..65 => (0, 50, 14),
            65..110 => (1, 400, 140 + 9 * (second - 65)),
            110..130 => (1, 400, 60),
            130..185 => (1, 400, 19),
            _ => (2, 50, 13),
        };
        let owed = rate - 6 + noise.below(13);
        let mut latency = hist::new();
        for _ in 0..owed {
            let spread = noise.below(1_000) * noise.below(1_000) / 400;
            latency.saturating_record((millis * 700 + millis * spread) * 1_000);
        }
        let mut lag = hist::new();
        lag.saturating_record_n(40_000, owed);
        let good = OutcomeWindow {
            n: owed,
            latency: hist::Encoded::new(&latency),
            service: hist::Encoded::new(&latency),
            lag: hist::Encoded::new(&lag),
        };
        let outcomes = [(Outcome::Ok, good)].into();
        record.push(Line::Window(Window { second, phase, owed, outcomes }));
    }
}

fn at(seconds: f64) -> Timestamp {
    super::at(seconds)
}

/// Events in the order in which they are written.
struct Told(Vec<Event>);

impl Told {
    fn seen(&mut self, seconds: f64, source: Source, kind: EventKind) {
        let precision = (source != Source::Harness).then_some(Nanos(40 * MILLISECOND));
        self.0.push(Event { at: at(seconds), seq: 0, source, precision, stated: None, kind });
    }

    /// A time that the server gives, in whole seconds.
    fn stated(&mut self, seconds: f64, kind: EventKind) {
        let at = at(seconds.floor());
        let (source, precision) = (Source::Api, Some(WHOLE));
        self.0.push(Event { at, seq: 0, source, precision, stated: Some(at), kind });
    }

    fn pod(&mut self, index: usize, born: f64, node: &str, wait: f64) {
        let pod = name(index);
        self.seen(born, Source::Api, EventKind::PodCreated { pod: pod.clone(), revision: 1 });
        if wait > 1.0 {
            let message = "0/3 nodes are available: 1 node(s) had untolerated taint \
                           {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu."
                .into();
            self.seen(
                born + 0.1,
                Source::Api,
                EventKind::PodUnschedulable { pod: pod.clone(), message },
            );
        }
        let placed = born + wait;
        let node = node.into();
        self.seen(placed, Source::Api, EventKind::PodScheduled { pod: pod.clone(), node });
        let (restarts, address, pid) = (0, Some(format!("10.244.1.{}:8080", index + 10)), None);
        let started = EventKind::ContainerStarted { pod: pod.clone(), restarts, address, pid };
        self.stated(placed + 1.9, started);
        self.seen(ready(born, wait), Source::Api, EventKind::PodReady { pod: pod.clone() });
        if let Some(deleted) = DEATHS.iter().find(|(dead, _)| *dead == index).map(|(_, at)| *at) {
            let grace = Nanos::from_secs(30);
            let reason = DeleteReason::ScaleDown;
            let kind = EventKind::PodDeleted { pod: pod.clone(), grace, reason };
            self.seen(deleted, Source::Api, kind);
            let exited =
                EventKind::ContainerExited { pod: pod.clone(), code: 0, signal: None, oom: false };
            self.stated(deleted + 7.0, exited);
            self.seen(deleted + 7.6, Source::Api, EventKind::PodGone { pod });
        }
    }
}

/// Birth, node, and wait for it, of each pod.
const BIRTHS: [(f64, &str, f64); 9] = [
    (0.1, "kind-worker", 0.03),
    (0.1, "kind-worker2", 0.03),
    (80.1, "kind-worker", 0.04),
    (80.1, "kind-worker2", 0.05),
    (95.2, "kind-worker2", 0.03),
    (95.2, "kind-worker", 0.04),
    (95.2, "kind-worker2", 0.06),
    (95.2, "kind-worker", 13.4),
    (126.3, "kind-worker", 0.05),
];
/// When a pod's deletion is requested.
const DEATHS: [(usize, f64); 3] = [(2, 121.0), (7, 231.2), (8, 231.2)];

fn ready(born: f64, wait: f64) -> f64 {
    born + wait + 4.4
}

fn name(index: usize) -> String {
    const TAILS: [&str; 9] =
        ["2kx9q", "8mw4t", "zr6vb", "4hs2n", "c8xpl", "qq7dj", "n5f2k", "t9w8z", "m3d7c"];
    format!("checkout-7b9cd4-{}", TAILS[index])
}

fn begin(told: &mut Told) {
    for generator in 0..2 {
        let kind = EventKind::GeneratorReady {
            generator,
            pod: format!("highwater-load-{generator}-x7k2p"),
            node: if generator == 0 { "kind-worker" } else { "kind-worker2" }.into(),
            offset_ns: if generator == 0 { 182_000 } else { -94_000 },
            uncertainty: Nanos(310_000),
        };
        told.seen(4.2, Source::Harness, kind);
    }
    told.seen(START as f64, Source::Harness, EventKind::TrafficStarted);
    told.seen(245.0, Source::Harness, EventKind::TrafficEnded);
    told.seen(0.3, Source::Autoscaler, EventKind::AutoscalerSpec { min: 2, max: 8 });
    told.seen(118.2, Source::Autoscaler, EventKind::AutoscalerSpec { min: 2, max: 9 });
    let message = "The Service has one ready endpoint per node only; externalTrafficPolicy is \
                   Local";
    let (code, message) = (WarningCode::Preflight, message.into());
    told.seen(0.1, Source::Harness, EventKind::Warning { code, message });
}

/// A pass every 15 s: CPU (`None`: not to be had), replicas before and after, the limit.
fn autoscaler(told: &mut Told) {
    type Pass = (f64, Option<f64>, u32, u32, &'static str);
    const PASSES: [Pass; 11] = [
        (20.0, None, 2, 2, ""),
        (35.0, Some(31.0), 2, 2, ""),
        (65.0, Some(33.0), 2, 2, ""),
        (80.0, Some(118.0), 2, 4, "ScaleUpLimit"),
        (95.0, Some(262.0), 4, 8, "TooManyReplicas"),
        (110.0, Some(97.0), 8, 8, "TooManyReplicas"),
        (126.0, Some(61.0), 8, 9, ""),
        (170.0, Some(46.0), 9, 9, ""),
        (200.0, Some(12.0), 9, 9, ""),
        (215.0, Some(7.0), 9, 9, ""),
        (231.0, Some(6.0), 9, 7, "ScaleDownLimit"),
    ];
    for (seconds, cpu, from, to, limit) in PASSES {
        if from != to {
            let what = if to > from { "above" } else { "below" };
            let reason = match what {
                "above" => "cpu resource utilization (percentage of request) above target",
                _ => "All metrics below target",
            };
            let (reason, decided) = (reason.into(), seconds);
            told.seen(
                decided,
                Source::Autoscaler,
                EventKind::AutoscalerDecision { from, to, reason },
            );
        }
        let reading = |name: &str, unit, current, target| MetricReading {
            name: name.into(),
            unit,
            current,
            target,
        };
        let metrics = vec![
            reading("cpu", MetricUnit::Percent, cpu, 50.0),
            reading(
                "memory",
                MetricUnit::AverageValue,
                Some(21e6 + seconds * 4e4),
                f64::from(64 << 20),
            ),
        ];
        let condition = |kind: &str, status, reason: &str| AutoscalerCondition {
            kind: kind.into(),
            status,
            reason: reason.into(),
            message: "as the autoscaler says".into(),
        };
        let limited = if limit.is_empty() { "DesiredWithinRange" } else { limit };
        let conditions = vec![
            condition(
                "AbleToScale",
                true,
                if from == to { "ReadyForNewScale" } else { "SucceededRescale" },
            ),
            condition("ScalingActive", cpu.is_some(), "ValidMetricFound"),
            condition("ScalingLimited", !limit.is_empty(), limited),
        ];
        let kind = EventKind::AutoscalerStatus { current: from, desired: to, metrics, conditions };
        told.seen(seconds + 0.04, Source::Autoscaler, kind);
    }
}

/// What is done to it.
fn scenario(told: &mut Told) {
    let patch = PatchAutoscaler { max_replicas: Some(9), ..PatchAutoscaler::default() };
    for (action_id, seconds, action) in [
        (0, 118.0, Action::PatchAutoscaler(patch)),
        (1, 120.5, Action::Evict(PodChoice::default())),
        (2, 121.0, Action::DrainNode(DrainNode::default())),
    ] {
        told.seen(seconds, Source::Harness, EventKind::ActionStarted { action_id, action });
    }
    let effect = |action_id, seen: &str| EventKind::ActionEffect { action_id, seen: seen.into() };
    told.seen(118.05, Source::Harness, EventKind::ActionAccepted { action_id: 0 });
    told.seen(118.2, Source::Api, effect(0, "maxReplicas is 9"));
    let reason = "Cannot evict pod as it would violate the pod's disruption budget.".into();
    told.seen(120.54, Source::Harness, EventKind::ActionRefused { action_id: 1, reason });
    told.seen(121.06, Source::Harness, EventKind::ActionAccepted { action_id: 2 });
    told.seen(121.3, Source::Api, effect(2, "kind-worker takes no pods; 1 pod evicted"));
}

/// What else is seen.
fn cluster(told: &mut Told) {
    for (seconds, status) in [(121.1, "False"), (150.0, "True")] {
        let kind = EventKind::NodeCondition {
            node: "kind-worker".into(),
            condition: "Schedulable".into(),
            status: status.into(),
            reason: "cordon".into(),
        };
        told.seen(seconds, Source::Api, kind);
    }
    for (what, from, to) in [("pods", 140.2, 161.9), ("endpoints", 140.2, 162.3)] {
        let reason = "connection refused".into();
        let kind = EventKind::WatchGap { what: what.into(), from: at(from), reason };
        told.seen(to, Source::Harness, kind);
    }
    for (seconds, object, warning, reason, message, count) in [
        (
            80.0,
            "HorizontalPodAutoscaler/checkout",
            false,
            "SuccessfulRescale",
            "New size: 4; reason: cpu resource utilization (percentage of request) above target",
            1,
        ),
        (
            20.0,
            "HorizontalPodAutoscaler/checkout",
            true,
            "FailedGetResourceMetric",
            "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API",
            3,
        ),
        (
            95.3,
            "Pod/checkout-7b9cd4-t9w8z",
            true,
            "FailedScheduling",
            "0/3 nodes are available: 2 Insufficient cpu.",
            2,
        ),
        (
            99.0,
            "Pod/checkout-7b9cd4-c8xpl",
            true,
            "Unhealthy",
            "Readiness probe failed: dial tcp 10.244.1.14:8080: connect: connection refused",
            4,
        ),
    ] {
        let kind = EventKind::ClusterEvent {
            object: object.into(),
            warning,
            reason: reason.into(),
            message: message.into(),
            count,
        };
        told.stated(seconds, kind);
    }
    for (second, cpu_milli) in [(46, 16), (61, 16), (76, 118), (91, 262), (106, 97), (121, 61)] {
        for index in 0..2 {
            let kind = EventKind::PodMetrics {
                pod: name(index),
                cpu_nano: cpu_milli * MILLISECOND,
                memory: 24 << 20,
                window: Nanos::from_secs(15),
            };
            told.seen(f64::from(second), Source::Metrics, kind);
        }
    }
    for second in (70..240u64).step_by(5) {
        for index in 0..2usize {
            let used = (second - 65) * (9 + index as u64);
            let kind = EventKind::ApiUse {
                pod: name(index),
                requests: used,
                conflicts: used / 3,
                throttled: used.saturating_sub(500) / 4,
                errors: 0,
            };
            told.seen(second as f64 + 0.3 * index as f64, Source::Target, kind);
        }
    }
}

/// The pods that live at an instant, those that are ready, and those that go.
fn living(seconds: f64) -> (Vec<usize>, Vec<usize>, usize) {
    let dead = |index: usize| DEATHS.iter().find(|(dead, _)| *dead == index).map(|(_, at)| *at);
    let born = (0..BIRTHS.len()).filter(|index| BIRTHS[*index].0 <= seconds);
    let (there, going): (Vec<usize>, Vec<usize>) =
        born.partition(|index| dead(*index).is_none_or(|dead| dead > seconds));
    let going =
        going.into_iter().filter(|index| dead(*index).is_some_and(|dead| dead + 7.6 > seconds));
    let is_ready = |index: &usize| ready(BIRTHS[*index].0, BIRTHS[*index].2) <= seconds;
    let ready = there.iter().copied().filter(is_ready).collect();
    (there, ready, going.count())
}

/// The instants at which pods come, become ready, go and are gone.
fn changes() -> Vec<f64> {
    let births = BIRTHS.iter().flat_map(|(born, _, wait)| [*born, ready(*born, *wait)]);
    let deaths = DEATHS.iter().flat_map(|(_, dead)| [*dead, dead + 7.6]);
    let mut changes: Vec<f64> = births.chain(deaths).collect();
    changes.sort_by(f64::total_cmp);
    changes.dedup();
    changes
}

fn endpoints(told: &mut Told) {
    for (version, seconds) in changes().into_iter().enumerate() {
        let (_, ready, _) = living(seconds);
        let endpoints = ready
            .into_iter()
            .map(|index| Endpoint {
                pod: name(index),
                ready: true,
                serving: true,
                terminating: false,
            })
            .collect();
        let kind = EventKind::Endpoints { version: version as u64, endpoints };
        told.seen(seconds + 0.15, Source::Api, kind);
    }
}

fn replicas(told: &mut Told) {
    let wanted = |seconds: f64| match seconds {
        ..80.0 => 2,
        80.0..95.0 => 4,
        95.0..126.0 => 8,
        126.0..231.0 => 9,
        _ => 7,
    };
    for seconds in changes() {
        let (there, ready, going) = living(seconds);
        let (current, ready) = (there.len() as u32, ready.len() as u32);
        let kind = EventKind::Replicas {
            desired: wanted(seconds),
            current,
            updated: current,
            ready,
            available: ready,
            terminating: going as u32,
        };
        told.seen(seconds + 0.02, Source::Api, kind);
    }
}
