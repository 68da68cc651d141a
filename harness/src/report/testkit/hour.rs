//! Long runs with many pods.

use highwater_model::{
    event::MetricUnit,
    time::{Nanos, Timestamp},
};

use super::{Noise, at, lane, lossy, phase, requests, second};
use crate::analyze::{
    ActionMark, Analysis, Cause, FailureMark, PodLane, ReplicaPoint, SecondPoint, Timeline,
    autoscaler::{Autoscaling, Decision, MetricPoint, MetricSeries},
    cluster::{Cluster, Gap},
};

/// An hour with fifty pods and 5,000 marks of failures.
pub(in super::super) fn hour() -> Analysis {
    let mut noise = Noise::new(11);
    let seconds = seconds(&mut noise, 3_600);
    let mut pods = pods(&mut noise);
    let failures = failures(&mut noise, &mut pods);
    let replicas = (0..240u32)
        .map(|index| ReplicaPoint {
            at: at(f64::from(index) * 15.0),
            desired: 12 + (index / 7) % 9,
            current: 12 + ((index + 1) / 7) % 9,
            ready: 11 + (index / 8) % 9,
            terminating: index % 3,
        })
        .collect();
    let timeline = Timeline {
        traffic_start: at(5.0),
        traffic_end: at(3_605.0),
        end: at(3_620.0),
        seconds,
        replicas,
        pods,
        failures,
        actions: (0..14)
            .map(|index| ActionMark {
                at: at(60.0 + f64::from(index * index) * 18.0),
                label: format!("scale to {}", 12 + index),
            })
            .collect(),
    };
    let phases = ["warm-up", "morning", "noon", "evening", "night"];
    Analysis {
        scenario: "day-in-an-hour".into(),
        sentence: "Many requests were lost while the service was scaled 14 times.".into(),
        requests: requests(&timeline.seconds, &[]),
        phases: (0..5)
            .map(|index| {
                let from = 5.0 + f64::from(index) * 720.0;
                phase(phases[index as usize], from, from + 720.0, &timeline, 12.0)
            })
            .collect(),
        timeline,
        autoscaling: autoscaling(&mut noise),
        cluster: Cluster {
            gaps: (0..40)
                .map(|index| Gap {
                    from: at(80.0 * f64::from(index)),
                    to: at(80.0 * f64::from(index) + 9.0),
                    what: vec!["pods".into()],
                    reason: "410 Gone".into(),
                })
                .collect(),
            ..Cluster::default()
        },
        ..lossy()
    }
}

/// A reading every five seconds, and a decision every minute or two.
fn autoscaling(noise: &mut Noise) -> Autoscaling {
    let reading = |index: u32, current: u64| MetricPoint {
        at: at(5.0 * f64::from(index)),
        current: (index % 90 > 3).then_some(current as f64),
        target: 50.0,
    };
    let points = (0..720).map(|index| reading(index, 30 + noise.below(60))).collect();
    let decision = |index: u32| Decision {
        at: at(75.0 * f64::from(index)),
        precision: Nanos::ZERO,
        from: 12 + (index + 3) % 4 * 3,
        to: 12 + index % 4 * 3,
        reason: "cpu resource utilization (percentage of request) above target".into(),
        readings: Vec::new(),
        changed: Vec::new(),
        limited: None,
    };
    Autoscaling {
        metrics: vec![MetricSeries { name: "cpu".into(), unit: MetricUnit::Percent, points }],
        decisions: (1..48).map(decision).collect(),
        ..Autoscaling::default()
    }
}

/// A day with two hundred pods, twenty of which lose requests in the night.
pub(in super::super) fn day() -> Analysis {
    let mut analysis = hour();
    let mut noise = Noise::new(5);
    let timeline = &mut analysis.timeline;
    timeline.seconds = seconds(&mut noise, 86_400);
    (timeline.traffic_end, timeline.end) = (at(86_405.0), at(86_420.0));
    timeline.failures.clear();
    timeline.pods = (0..200u64)
        .map(|index| {
            let born = (index as f64 - 12.0).max(0.0) * 420.0;
            let gone = born + 9_000.0 + noise.below(9_000) as f64;
            let life = [born, born + 4.0, born + 19.0, gone, gone + 5.0, gone + 31.0];
            let name = format!("checkout-7b9cd4-{index:05}");
            let life = if gone < 86_000.0 { &life } else { &life[..3] };
            lane(&name, 1, life, 86_420.0_f64.min(gone + 33.0))
        })
        .collect();
    for index in 0..60 {
        let pod = &mut timeline.pods[150 + index % 20];
        pod.lost += 2;
        timeline.failures.push(FailureMark {
            at: Timestamp(pod.spans[2].to.0 + noise.below(1_000_000_000)),
            pod: Some(pod.name.clone()),
            cause: Cause::TerminationRace,
            n: 2,
        });
    }
    for action in &mut timeline.actions {
        action.at.0 *= 24;
    }
    for point in &mut timeline.replicas {
        point.at.0 *= 24;
    }
    for phase in &mut analysis.phases {
        (phase.start.0, phase.end.0) = (phase.start.0 * 24, phase.end.0 * 24);
    }
    analysis
}

/// A wave of traffic with spikes of latency.
fn seconds(noise: &mut Noise, length: u64) -> Vec<SecondPoint> {
    (5..5 + length)
        .map(|at| {
            let wave = (at as f64 / length as f64 * std::f64::consts::TAU).sin();
            let rate = (2_000.0 - 1_500.0 * wave) as u64 + noise.below(120);
            let failed = if noise.below(9) == 0 { noise.below(12) } else { 0 };
            let spike = if noise.below(150) == 0 { 20.0 } else { 1.0 };
            second(at, rate, failed, (12.0 - 5.0 * wave + noise.below(30) as f64 / 10.0) * spike)
        })
        .collect()
}

/// Pods that overlap like tiles.
fn pods(noise: &mut Noise) -> Vec<PodLane> {
    (0..50u64)
        .map(|index| {
            let born = if index < 12 { 0.0 } else { index as f64 * 60.0 - 500.0 };
            let gone = born + 900.0 + noise.below(1_400) as f64;
            let life = [born, born + 4.0, born + 19.0, gone, gone + 5.0, gone + 31.0];
            let name = format!("checkout-7b9cd4-{index:05}");
            lane(
                &name,
                1,
                if gone < 3_500.0 { &life } else { &life[..3] },
                3_620.0_f64.min(gone + 33.0),
            )
        })
        .collect()
}

/// Failures everywhere, some of them on no pod.
fn failures(noise: &mut Noise, pods: &mut [PodLane]) -> Vec<FailureMark> {
    (0..5_000u64)
        .map(|index| {
            let pod = &mut pods[(index % 50) as usize];
            pod.lost += 1;
            let (from, to) = (pod.spans[0].from.0, pod.spans[pod.spans.len() - 1].to.0);
            FailureMark {
                at: Timestamp(from + noise.below(to - from)),
                pod: (index % 17 != 0).then(|| pod.name.clone()),
                cause: Cause::ALL[(index % 7) as usize],
                n: 1 + noise.below(3),
            }
        })
        .collect()
}
