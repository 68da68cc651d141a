//! The cluster machine driven in virtual time by a small world of processes.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use highwater_model::{
    cluster::{Cluster, Config, ContainerId, Effect, Input, Timing},
    event::{DeleteReason, EventKind, Signal},
    spec::{
        Deployment, Distribution, HttpGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction,
        Which,
    },
    time::{Nanos, Timestamp},
    units::IntOrPercent,
};
use proptest::prelude::*;

/// Processes that listen some time after their start and exit some time after SIGTERM.
struct World {
    cluster: Cluster,
    now: Timestamp,
    inputs: BTreeMap<(Timestamp, u64), Input>,
    seq: u64,
    listen_after: Nanos,
    exit_after: Nanos,
    running: BTreeMap<ContainerId, Timestamp>,
    events: Vec<(Timestamp, EventKind)>,
    starts: BTreeMap<u32, u32>,
    removed: Vec<u32>,
}

impl World {
    fn new(deployment: Deployment, timing: Timing, seed: u64) -> Self {
        let propagation = Distribution::Uniform(Nanos::ZERO, Nanos::from_secs(2));
        let config = Config { deployment, consumers: 2, propagation, timing, seed };
        Self {
            cluster: Cluster::new(config),
            now: Timestamp::ZERO,
            inputs: BTreeMap::new(),
            seq: 0,
            listen_after: Nanos::from_millis(1_500),
            exit_after: Nanos::from_millis(700),
            running: BTreeMap::new(),
            events: Vec::new(),
            starts: BTreeMap::new(),
            removed: Vec::new(),
        }
    }

    fn later(&mut self, after: Nanos, input: Input) {
        self.seq += 1;
        self.inputs.insert((self.now + after, self.seq), input);
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.cluster.handle(self.now, input, &mut effects);
        self.carry_out(effects);
    }

    fn run_for(&mut self, span: Nanos) {
        let end = self.now + span;
        loop {
            let due = self.cluster.next_deadline();
            let input = self.inputs.keys().next().map(|(at, _)| *at);
            let Some(at) = due.into_iter().chain(input).min().filter(|at| *at <= end) else {
                break;
            };
            assert!(at >= self.now, "time goes back");
            self.now = at;
            let mut effects = Vec::new();
            if input == Some(at) {
                let (_, input) = self.inputs.pop_first().unwrap();
                if let Input::ContainerExited { container, .. } = &input {
                    self.running.remove(container);
                }
                self.cluster.handle(at, input, &mut effects);
            } else {
                self.cluster.advance(at, &mut effects);
                assert!(
                    self.cluster.next_deadline().is_none_or(|next| next > at),
                    "no progress at {at:?}"
                );
            }
            self.carry_out(effects);
        }
        self.now = end;
    }

    fn exit(&mut self, after: Nanos, container: ContainerId, signal: i32) {
        if self.running.contains_key(&container) {
            self.later(
                after,
                Input::ContainerExited { container, code: 128 + signal, signal: Some(signal) },
            );
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::StartContainer { container, .. } => {
                    *self.starts.entry(container.pod).or_default() += 1;
                    self.running.insert(container, self.now);
                    self.later(
                        Nanos::from_millis(20),
                        Input::ContainerStarted { container, address: None, pid: None },
                    );
                }
                Effect::Signal { container, signal: Signal::Sigterm } => {
                    self.exit(self.exit_after, container, 15)
                }
                Effect::Signal { container, signal: Signal::Sigkill } => {
                    self.exit(Nanos(1), container, 9)
                }
                Effect::RunProbe { probe, container, .. } => {
                    let passed = self
                        .running
                        .get(&container)
                        .is_some_and(|at| self.now >= *at + self.listen_after);
                    self.later(
                        Nanos::from_millis(1),
                        Input::ProbeDone { probe, passed, detail: String::new() },
                    );
                }
                Effect::RemovePod { pod } => self.removed.push(pod),
                Effect::Emit { kind, .. } => self.events.push((self.now, kind)),
                Effect::RunPreStop { .. } | Effect::ApplyView { .. } => {}
            }
        }
    }

    fn at(&self, wanted: impl Fn(&EventKind) -> bool) -> Vec<Timestamp> {
        self.events.iter().filter(|(_, kind)| wanted(kind)).map(|(at, _)| *at).collect()
    }
}

fn deployment(replicas: u32) -> Deployment {
    let probe =
        Probe { http_get: Some(HttpGetAction::default()), period_seconds: 1, ..Probe::default() };
    let mut deployment = Deployment { replicas, ..Deployment::default() };
    deployment.template.readiness_probe = Some(probe);
    deployment
}

fn is_killed(kind: &EventKind) -> bool {
    matches!(kind, EventKind::SignalSent { signal: Signal::Sigkill, .. })
}

#[test]
fn a_rollout_replaces_every_pod_and_nobody_is_killed() {
    let mut world = World::new(deployment(3), Timing::default(), 1);
    world.run_for(Nanos::from_secs(10));
    assert!(world.cluster.is_settled());
    world.input(Input::Rollout);
    assert!(!world.cluster.is_settled());
    world.run_for(Nanos::from_secs(30));
    assert!(world.cluster.is_settled());
    assert_eq!(world.removed, [0, 1, 2], "the old pods are gone");
    let reasons = world
        .at(|kind| matches!(kind, EventKind::PodDeleted { reason: DeleteReason::Rollout, .. }));
    assert_eq!(reasons.len(), 3);
    assert_eq!(
        world.at(|kind| matches!(kind, EventKind::RolloutComplete { revision: 2 })).len(),
        1
    );
    assert_eq!(world.at(is_killed), []);
}

#[test]
fn pods_without_a_readiness_probe_are_ready_when_they_run() {
    let mut world =
        World::new(Deployment { replicas: 2, ..Deployment::default() }, Timing::default(), 1);
    world.run_for(Nanos::from_secs(5));
    let started = world.at(|kind| matches!(kind, EventKind::ContainerStarted { .. }));
    assert_eq!(started, world.at(|kind| matches!(kind, EventKind::PodReady { .. })));
}

#[test]
fn the_termination_clock_is_that_of_the_kubelet() {
    // preStop seconds, grace seconds, seconds the process takes: SIGTERM and SIGKILL after T0.
    let rows = [
        (0, 30, 1, 0, None),
        (5, 30, 1, 5, None),
        (5, 8, 60, 5, Some(8)),
        (30, 10, 60, 10, Some(12)),
        (9, 10, 60, 9, Some(11)),
    ];
    for (pre_stop, grace, takes, sigterm, sigkill) in rows {
        let mut deployment = deployment(1);
        deployment.template.termination_grace_period_seconds = grace;
        if pre_stop > 0 {
            let sleep = Some(SleepAction { seconds: pre_stop });
            let pre_stop = Some(LifecycleHandler { sleep, ..LifecycleHandler::default() });
            deployment.template.lifecycle = Some(Lifecycle { pre_stop });
        }
        let mut world = World::new(deployment, Timing::immediate(), 3);
        world.exit_after = Nanos::from_secs(takes);
        world.run_for(Nanos::from_secs(10));
        world.input(Input::DeletePod { which: Which::Oldest, reason: DeleteReason::Deleted });
        let t0 = world.now;
        world.run_for(Nanos::from_secs(60));
        let term =
            world.at(|kind| matches!(kind, EventKind::SignalSent { signal: Signal::Sigterm, .. }));
        let seconds = |at: Timestamp| at.since(t0).0 / 1_000_000_000;
        assert_eq!(seconds(term[0]), sigterm, "preStop {pre_stop}, grace {grace}");
        let kill = world.at(is_killed).first().map(|at| seconds(*at));
        assert_eq!(kill, sigkill, "preStop {pre_stop}, grace {grace}");
    }
}

#[test]
fn a_crash_is_noticed_at_the_next_relist_and_restarts_wait_ever_longer() {
    let mut world = World::new(deployment(1), Timing::immediate(), 5);
    world.run_for(Nanos::from_secs(10));
    for expected in [0u64, 10, 20] {
        let container = *world.running.keys().next().unwrap();
        world.exit(Nanos::ZERO, container, 11);
        world.run_for(Nanos(0));
        let crash = world.now;
        world.run_for(Nanos::from_secs(60));
        let unready =
            *world.at(|kind| matches!(kind, EventKind::PodUnready { .. })).last().unwrap();
        assert!(unready.since(crash) <= Nanos::from_secs(1));
        let waits: Vec<Nanos> = world
            .events
            .iter()
            .filter_map(|(_, kind)| match kind {
                EventKind::BackOff { wait, .. } => Some(*wait),
                _ => None,
            })
            .collect();
        assert_eq!(waits.last(), Some(&Nanos::from_secs(expected)));
    }
    assert_eq!(world.starts, BTreeMap::from([(0, 4)]), "one pod, its container started four times");
}

#[test]
fn a_failed_liveness_probe_restarts_the_container_and_keeps_the_pod() {
    let mut deployment = deployment(1);
    deployment.template.liveness_probe = Some(Probe {
        http_get: Some(HttpGetAction::default()),
        period_seconds: 1,
        failure_threshold: 3,
        ..Probe::default()
    });
    let mut world = World::new(deployment, Timing::immediate(), 7);
    world.listen_after = Nanos::from_secs(60);
    world.run_for(Nanos::from_millis(4_500));
    assert_eq!(world.at(|kind| matches!(kind, EventKind::ProbeKill { .. })).len(), 1);
    assert_eq!(world.at(|kind| matches!(kind, EventKind::PodDeleted { .. })), []);
    assert_eq!(world.starts[&0], 2);
}

#[test]
fn a_pending_pod_is_gone_at_once_without_a_signal() {
    let mut timing = Timing::immediate();
    timing.start = Distribution::Fixed(Nanos::from_secs(100));
    let mut world = World::new(deployment(2), timing, 1);
    world.run_for(Nanos::from_secs(1));
    world.input(Input::Scale { replicas: 1 });
    world.run_for(Nanos::from_secs(1));
    assert_eq!(world.removed.len(), 1);
    assert_eq!(world.at(|kind| matches!(kind, EventKind::SignalSent { .. })), []);
}

fn run(seed: u64, replicas: u32, surge: u32, unavailable: u32, scales: &[u32]) -> World {
    let mut deployment = deployment(replicas);
    deployment.strategy.rolling_update = Some(highwater_model::spec::RollingUpdate {
        max_surge: IntOrPercent::Int(surge),
        max_unavailable: IntOrPercent::Int(unavailable),
    });
    let mut world = World::new(deployment, Timing::default(), seed);
    world.run_for(Nanos::from_secs(10));
    for (index, replicas) in scales.iter().enumerate() {
        if index % 2 == 0 {
            world.input(Input::Rollout);
        }
        world.run_for(Nanos::from_millis(1_300));
        world.input(Input::Scale { replicas: *replicas });
        world.run_for(Nanos::from_millis(2_100));
    }
    world.run_for(Nanos::from_secs(120));
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sequence_of_rollouts_and_scalings_settles(
        seed in any::<u64>(),
        replicas in 1u32..8,
        surge in 0u32..4,
        unavailable in 0u32..4,
        scales in proptest::collection::vec(0u32..10, 0..6),
    ) {
        prop_assume!(surge + unavailable > 0);
        let world = run(seed, replicas, surge, unavailable, &scales);
        prop_assert!(world.cluster.is_settled());
        let numbers = world.cluster.numbers();
        prop_assert_eq!(numbers.current, *scales.last().unwrap_or(&replicas));
        prop_assert_eq!(numbers.terminating, 0);
        let again = run(seed, replicas, surge, unavailable, &scales);
        prop_assert_eq!(world.events, again.events);
    }

    #[test]
    fn a_rollout_keeps_within_its_bounds(
        seed in any::<u64>(), replicas in 1u32..10, surge in 0u32..4, unavailable in 0u32..4,
    ) {
        prop_assume!(surge + unavailable > 0);
        let world = run(seed, replicas, surge, unavailable, &[replicas]);
        for (_, kind) in world.events.iter().skip_while(|(at, _)| *at < Timestamp(10_000_000_000)) {
            if let EventKind::Replicas { current, available, .. } = kind {
                prop_assert!(*current <= replicas + surge);
                prop_assert!(*available + unavailable >= replicas);
            }
        }
    }
}
