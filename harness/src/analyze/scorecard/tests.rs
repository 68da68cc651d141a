//! Runs whose scorecard is known on paper.

use highwater_model::{
    event::{Event, Source},
    spec::Scenario,
    time::SECOND,
};

use super::*;
use crate::{
    analyze::Percentiles,
    record::{BackendKind, Header, PhasePlan, SCHEMA},
};

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * SECOND)
}

/// A run of 10 s before its traffic, 100 s at 10/s and then 100 s at 30/s.
fn record(target: &str, more: &str) -> RunRecord {
    let scenario: Scenario = serde_json::from_str(&format!(
        r#"{{"name":"x","target":{target},"traffic":{{"phases":[
        {{"hold":"10/s","for":"100s"}},{{"hold":"30/s","for":"100s"}}]}}{more}}}"#
    ))
    .expect("a scenario");
    let plan = |name: &str, start, end| PhasePlan {
        name: name.into(),
        start: Nanos::from_secs(start),
        end: Nanos::from_secs(end),
    };
    RunRecord::new(Header {
        schema: SCHEMA.into(),
        backend: BackendKind::Sim,
        seed: 1,
        scenario,
        phases: vec![plan("a", 0, 100), plan("b", 100, 200)],
    })
}

fn phases() -> Vec<PhaseResult> {
    let phase = |name: &str, from, to| PhaseResult {
        name: name.into(),
        start: at(from),
        end: at(to),
        requests: crate::analyze::Requests { owed: 1_000, ..Default::default() },
        latency: Percentiles::default(),
        service_time: Percentiles::default(),
    };
    vec![phase("a", 10, 110), phase("b", 110, 210)]
}

fn seconds() -> Vec<SecondPoint> {
    let second = |second| {
        let owed = if second < 110 { 10 } else { 30 };
        let latency = Percentiles { count: owed, p99: 20_000_000, ..Percentiles::default() };
        SecondPoint { second, owed, ok: owed, failed: 0, unsent: 0, latency }
    };
    (10..210).map(second).collect()
}

/// One pod, and a second one that is ordered 10 s and ready 20 s after the rise.
fn replicas() -> Vec<ReplicaPoint> {
    let point = |seconds, current, ready| ReplicaPoint {
        at: at(seconds),
        desired: current,
        current,
        ready,
        terminating: 0,
    };
    vec![point(0, 1, 0), point(5, 1, 1), point(120, 2, 1), point(130, 2, 2)]
}

fn card(record: &RunRecord, seconds: &[SecondPoint], starts: &PodStarts) -> Scorecard {
    scorecard(
        record,
        Known {
            traffic: (at(10), at(210)),
            phases: &phases(),
            seconds,
            latency: &|_| None,
            replicas: &replicas(),
            starts,
            scale_downs: Vec::new(),
        },
    )
}

/// A tenth of a core and 4 ms of CPU: 25/s at most, 20/s at four fifths of that.
const SERVICE: &str = r#"{"service":{"cpu":"4ms","startup":"9s"},"deployment":{"template":{
    "readinessProbe":{"httpGet":{"path":"/"},"periodSeconds":1},
    "resources":{"requests":{"cpu":"100m"}}}}}"#;

#[test]
fn supply_that_comes_late_is_what_it_is_on_paper() {
    let found = card(&record(SERVICE, ""), &seconds(), &PodStarts::default());
    let elastic = found.elastic.expect("its demand is known");
    assert_eq!(
        elastic.basis,
        Basis::Model {
            cpu: Usable::Request(highwater_model::units::MilliCpu(100)),
            objective: None
        }
    );
    assert_eq!((elastic.per_pod, elastic.peak, elastic.is_capped), (20.0, 2, false));
    // One of two pods is missing for 20 s of 200 s.
    let metrics = elastic.metrics;
    assert!((metrics.under_accuracy - 0.5 * 20.0 / 200.0).abs() < 1e-12, "{metrics:?}");
    assert_eq!((metrics.under_timeshare, metrics.over_accuracy), (0.1, 0.0));
    assert_eq!(metrics.jitter_per_hour, 0.0);
    // There: one pod for 110 s and two for 90 s. The oracle orders its second one 10 s ahead.
    assert!((elastic.pod_hours * 3_600.0 - 290.0).abs() < 1e-9);
    assert!((elastic.oracle_hours * 3_600.0 - 310.0).abs() < 1e-9);
    assert_eq!((elastic.lead, elastic.is_lead_measured), (Nanos::from_secs(10), false));
    assert!((elastic.regret.expect("it costs") + 20.0 / 310.0).abs() < 1e-12);
}

#[test]
fn the_runs_own_pods_tell_how_long_the_oracles_take() {
    let mut starts = PodStarts::default();
    (starts.total.known, starts.total.median) = (1, Nanos::from_secs(30));
    let elastic = card(&record(SERVICE, ""), &seconds(), &starts).elastic.expect("known");
    assert_eq!((elastic.lead, elastic.is_lead_measured), (Nanos::from_secs(30), true));
    assert!((elastic.oracle_hours * 3_600.0 - 330.0).abs() < 1e-9);
}

#[test]
fn a_demand_that_cannot_be_known_says_why() {
    let closed = r#"{"service":{"cpu":"4ms"}}"#;
    let mut closed = record(closed, "");
    closed.header.scenario.traffic.saturate =
        Some(serde_json::from_str(r#"{"connections":4,"for":"9s"}"#).expect("a closed loop"));
    let objective = r#","objectives":[{"latency.p99":"<1ms"}]"#;
    let rows = [
        (closed, NoDemand::ClosedLoop),
        (record(r#"{"service":{"latency":"5ms"}}"#, ""), NoDemand::Model(CapacityError::Free)),
        (record(SERVICE, objective), NoDemand::Model(CapacityError::Hopeless)),
        // Of a command only what was seen can tell, and no second held.
        (record(r#"{"command":["x"]}"#, objective), NoDemand::NoCapacity),
    ];
    for (record, reason) in rows {
        assert_eq!(card(&record, &seconds(), &PodStarts::default()).elastic, Err(reason));
    }
    let nothing = scorecard(
        &record(SERVICE, ""),
        Known {
            traffic: (at(10), at(10)),
            phases: &[],
            seconds: &[],
            latency: &|_| None,
            replicas: &[],
            starts: &PodStarts::default(),
            scale_downs: Vec::new(),
        },
    );
    assert_eq!((nothing.elastic, nothing.attainment), (Err(NoDemand::NoTraffic), None));
}

#[test]
fn what_a_command_can_take_is_what_it_was_seen_to() {
    // By the fullest second: 30 good answers by one pod, until the second one was ready.
    let command = r#"{"command":["x"],"deployment":{"template":{"resources":
        {"limits":{"cpu":"200m"}}}}}"#;
    let mut record = record(command, "");
    let elastic = card(&record, &seconds(), &PodStarts::default()).elastic.expect("known");
    assert_eq!((elastic.basis, elastic.per_pod), (Basis::Throughput { second: 129 }, 30.0));
    // By its CPU: 4,000 requests and 40 s, where the metrics API tells of it.
    for second in (10..210).step_by(10) {
        record.events.push(Event {
            at: at(second),
            seq: second,
            source: Source::Api,
            precision: None,
            stated: None,
            kind: highwater_model::event::EventKind::PodMetrics {
                pod: "web-1".into(),
                cpu_nano: 200_000_000,
                memory: 0,
                window: Nanos::from_secs(10),
            },
        });
    }
    let elastic = card(&record, &seconds(), &PodStarts::default()).elastic.expect("known");
    let Basis::Usage { per_request, .. } = elastic.basis else { panic!("{:?}", elastic.basis) };
    assert_eq!(per_request, Nanos::from_millis(10));
    assert!((elastic.per_pod - 16.0).abs() < 1e-9, "{}", elastic.per_pod);
}

#[test]
fn seconds_are_judged_each_by_itself() {
    let mut seconds = seconds();
    // A failure in a, one slow second in b, and one without any good answer.
    (seconds[3].ok, seconds[3].failed) = (9, 1);
    seconds[150].latency.p99 = 2 * SECOND;
    (seconds[160].ok, seconds[160].unsent, seconds[160].latency.count) = (0, 30, 0);
    let rows = [
        // Without objectives nothing may fail or stay unsent.
        ("", 198),
        (r#"{"failed":0}"#, 199),
        (r#"{"failed":"<2"}"#, 200),
        (r#"{"error-rate":"<20%"}"#, 200),
        (r#"{"latency.p99":"<1s"}"#, 198),
        (r#"{"latency.p99":"<1s","during":["a"]}"#, 200),
        // What a second cannot tell.
        (r#"{"time-to-scale":"<1s"},{"unexplained":0}"#, 200),
    ];
    for (objectives, held) in rows {
        let record = record(SERVICE, &format!(r#","objectives":[{objectives}]"#));
        let found = card(&record, &seconds, &PodStarts::default()).attainment.expect("some");
        let judged_none = objectives.contains("time-to-scale");
        let held = if judged_none { 198 } else { held };
        assert_eq!((found.seconds, found.held), (200, held), "{objectives}");
    }
}
