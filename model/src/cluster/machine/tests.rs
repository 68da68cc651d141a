use std::{collections::BTreeMap, string::String, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    cluster::{ContainerId, Input},
    event::{EventKind, Signal},
    spec::{self, Distribution, Which},
    time::MILLISECOND,
    units::IntOrPercent,
};

/// A driver whose processes start, answer and end at fixed times.
struct World {
    cluster: Cluster,
    now: Timestamp,
    log: Vec<(u64, EventKind)>,
    effects: Vec<(Timestamp, Effect)>,
    agenda: BTreeMap<(Timestamp, u64), Input>,
    seq: u64,
    start: Nanos,
    drain: Nanos,
    passes: fn(&World, ContainerId, crate::event::ProbeKind) -> bool,
}

impl World {
    fn new(deployment: spec::Deployment) -> Self {
        let config = Config {
            deployment,
            consumers: 2,
            propagation: Distribution::Uniform(Nanos::ZERO, Nanos::from_secs(2)),
            timing: Timing::default(),
            seed: 7,
        };
        Self::with(config)
    }

    fn with(config: Config) -> Self {
        Self {
            cluster: Cluster::new(config),
            now: Timestamp::ZERO,
            log: Vec::new(),
            effects: Vec::new(),
            agenda: BTreeMap::new(),
            seq: 0,
            start: Nanos::from_millis(100),
            drain: Nanos::from_millis(500),
            passes: |_, _, _| true,
        }
    }

    fn later(&mut self, wait: Nanos, input: Input) {
        self.seq += 1;
        self.agenda.insert((self.now + wait, self.seq), input);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.effects.push((self.now, effect.clone()));
            match effect {
                Effect::StartContainer { container, .. } if self.seq % 11 == 10 => self.later(
                    self.start,
                    Input::ContainerStartFailed { container, reason: String::new() },
                ),
                Effect::StartContainer { container, .. } => self.later(
                    self.start,
                    Input::ContainerStarted { container, address: None, pid: None },
                ),
                Effect::Signal { container, signal } => {
                    let (wait, number) = match signal {
                        Signal::Sigkill => (Nanos::ZERO, 9),
                        other => (self.drain, other.number()),
                    };
                    self.later(
                        wait,
                        Input::ContainerExited {
                            container,
                            code: 128 + number,
                            signal: Some(number),
                        },
                    );
                }
                Effect::RunProbe { probe, container, kind, .. } => {
                    let passed = (self.passes)(self, container, kind);
                    self.later(
                        Nanos(MILLISECOND),
                        Input::ProbeDone { probe, passed, detail: String::new() },
                    );
                }
                Effect::RunPreStop { container, .. } => self.later(
                    Nanos::from_secs(1),
                    Input::PreStopDone { container, ok: true, detail: String::new() },
                ),
                Effect::Emit { kind, .. } => {
                    self.log.push((self.now.0 / MILLISECOND, kind));
                }
                Effect::ApplyView { .. } | Effect::RemovePod { .. } => {}
            }
        }
    }

    fn act(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.cluster.handle(self.now, input, &mut effects);
        self.carry_out(effects);
    }

    fn run_until(&mut self, end: Timestamp) {
        loop {
            let mut effects = Vec::new();
            self.cluster.advance(self.now, &mut effects);
            assert!(
                self.cluster.next_deadline().is_none_or(|at| at > self.now),
                "time stands still"
            );
            self.carry_out(effects);
            let agenda = self.agenda.keys().next().map(|&(at, _)| at);
            let next = [agenda, self.cluster.next_deadline()]
                .into_iter()
                .flatten()
                .min()
                .filter(|&at| at <= end);
            let Some(next) = next else {
                self.now = end;
                return;
            };
            self.now = next;
            while let Some(entry) = self.agenda.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let input = entry.remove();
                self.act(input);
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        self.run_until(self.now + Nanos::from_secs(seconds));
    }

    fn teardown(&mut self) {
        let mut effects = Vec::new();
        self.cluster.teardown(self.now, &mut effects);
        self.carry_out(effects);
    }
}

#[test]
fn a_deployment_comes_up_rolls_and_goes() {
    let mut world = World::new(spec::Deployment { replicas: 4, ..spec::Deployment::default() });
    world.run(20);
    let status = world.cluster.status();
    assert!(status.is_complete);
    assert_eq!((status.ready, status.updated), (4, 4));
    world.act(Input::Rollout);
    world.run(60);
    assert!(world.cluster.status().is_complete);
    assert_eq!(world.cluster.status().revision, 2);
    world.teardown();
    world.run(60);
    assert_eq!(world.cluster.status().pods, []);
}

/// A template with every kind of probe and a hook.
fn probed(period_seconds: u32) -> spec::PodTemplate {
    let probe = |failure_threshold| {
        Some(spec::Probe { period_seconds, failure_threshold, ..spec::Probe::default() })
    };
    spec::PodTemplate {
        termination_grace_period_seconds: 4,
        startup_probe: probe(30),
        readiness_probe: probe(1),
        liveness_probe: probe(2),
        lifecycle: Some(spec::Lifecycle {
            pre_stop: Some(spec::LifecycleHandler {
                exec: Some(spec::ExecAction { command: std::vec!["true".into()] }),
                ..spec::LifecycleHandler::default()
            }),
            ..spec::Lifecycle::default()
        }),
        ..spec::PodTemplate::default()
    }
}

#[derive(Clone, Debug)]
enum Do {
    Rollout,
    Scale(u32),
    Delete(Which),
    Kill(Which, Signal),
}

fn actions() -> impl Strategy<Value = Vec<(u64, Do)>> {
    let which = || prop_oneof![Just(Which::Oldest), Just(Which::Newest)];
    let signal = prop_oneof![Just(Signal::Sigterm), Just(Signal::Sigkill)];
    let action = prop_oneof![
        Just(Do::Rollout),
        (0u32..8).prop_map(Do::Scale),
        which().prop_map(Do::Delete),
        (which(), signal).prop_map(|(which, signal)| Do::Kill(which, signal)),
    ];
    prop::collection::vec((0u64..20_000, action), 0..8)
}

fn play(config: Config, actions: &[(u64, Do)]) -> World {
    let mut world = World::with(config);
    world.passes = |world, container, _| {
        !(u64::from(container.pod) * 7 + world.now.second()).is_multiple_of(5)
    };
    for (wait, action) in actions {
        world.run_until(world.now + Nanos::from_millis(*wait));
        world.act(match action.clone() {
            Do::Rollout => Input::Rollout,
            Do::Scale(replicas) => Input::Scale { replicas },
            Do::Delete(which) => Input::DeletePod { which, reason: DeleteReason::Deleted },
            Do::Kill(which, signal) => Input::Kill { which, signal },
        });
    }
    world.run(20);
    world.teardown();
    world.run(30);
    world
}

fn any_config() -> impl Strategy<Value = Config> {
    let bounds = (0u32..4, 0u32..4);
    let counts = (0u32..8, 0u32..4, 1u32..4);
    (counts, bounds, any::<bool>(), any::<u64>()).prop_map(
        |((replicas, min_ready_seconds, period), (surge, unavailable), recreate, seed)| Config {
            deployment: spec::Deployment {
                replicas,
                min_ready_seconds,
                strategy: spec::Strategy {
                    kind: if recreate {
                        spec::StrategyType::Recreate
                    } else {
                        spec::StrategyType::RollingUpdate
                    },
                    rolling_update: Some(spec::RollingUpdate {
                        max_surge: IntOrPercent::Int(surge),
                        max_unavailable: IntOrPercent::Int(unavailable),
                    }),
                },
                template: probed(period),
                ..spec::Deployment::default()
            },
            consumers: 3,
            propagation: Distribution::Uniform(Nanos::ZERO, Nanos::from_secs(3)),
            timing: Timing::default(),
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_everything_started_is_removed_in_the_end(
        config in any_config(),
        actions in actions(),
    ) {
        let world = play(config, &actions);
        prop_assert!(world.cluster.status().pods.is_empty());
        let mut pods: Vec<u32> = Vec::new();
        let mut versions = BTreeMap::new();
        for (_, effect) in &world.effects {
            match effect {
                Effect::StartContainer { container, .. } if !pods.contains(&container.pod) => {
                    pods.push(container.pod);
                }
                Effect::RemovePod { pod } => {
                    prop_assert!(pods.contains(pod), "{pod} is removed twice or never started");
                    pods.retain(|known| known != pod);
                }
                Effect::ApplyView { consumer, version, .. } => {
                    let before = versions.insert(*consumer, *version);
                    prop_assert!(before.is_none_or(|before| before < *version));
                }
                _ => {}
            }
        }
        prop_assert!(pods.is_empty(), "{pods:?} are not removed");
        let routed = world.cluster.views.iter().map(|view| view.routed().len());
        prop_assert_eq!(routed.sum::<usize>(), 0);
    }

    #[test]
    fn the_same_config_and_inputs_have_the_same_effects(
        config in any_config(),
        actions in actions(),
    ) {
        let once = play(config.clone(), &actions).effects;
        prop_assert_eq!(once, play(config, &actions).effects);
    }
}

/// Three pods with a readiness probe that fails from second 20 on.
fn unready_from_second_20() -> World {
    let mut world = World::new(spec::Deployment {
        replicas: 3,
        template: spec::PodTemplate {
            readiness_probe: probed(1).readiness_probe,
            ..spec::PodTemplate::default()
        },
        ..spec::Deployment::default()
    });
    world.passes = |world, _, _| world.now.second() < 20;
    world
}

#[test]
fn a_pod_that_fails_readiness_leaves_the_endpoints_and_stays() {
    let mut world = unready_from_second_20();
    world.run(19);
    assert_eq!(world.cluster.status().ready, 3);
    world.run(11);
    let status = world.cluster.status();
    assert_eq!((status.ready, status.current), (0, 3));
    assert!(world.cluster.views.iter().all(|view| view.routed().is_empty()));
    assert!(world.log.iter().any(|(_, kind)| matches!(kind, EventKind::PodUnready { .. })));
}

#[test]
fn one_more_probe_does_not_move_what_else_is_random() {
    let start = |template: spec::PodTemplate| {
        let mut world =
            World::new(spec::Deployment { replicas: 5, template, ..spec::Deployment::default() });
        world.run(3);
        let starts = |(at, kind): &(u64, EventKind)| {
            matches!(kind, EventKind::ContainerStarted { .. }).then_some(*at)
        };
        world.log.iter().filter_map(starts).collect::<Vec<u64>>()
    };
    let plain = start(spec::PodTemplate::default());
    assert_eq!(plain.len(), 5);
    assert_eq!(plain, start(probed(1)));
}

#[test]
fn deletions_say_why() {
    let mut world = World::new(spec::Deployment { replicas: 3, ..spec::Deployment::default() });
    world.run(5);
    world.act(Input::Scale { replicas: 2 });
    world.run(5);
    world.act(Input::Rollout);
    world.run(10);
    world.act(Input::DeletePod { which: Which::Newest, reason: DeleteReason::Eviction });
    world.run(10);
    world.teardown();
    let reasons: Vec<DeleteReason> = world
        .log
        .iter()
        .filter_map(|(_, kind)| match kind {
            EventKind::PodDeleted { reason, .. } => Some(*reason),
            _ => None,
        })
        .collect();
    use DeleteReason::{Eviction, Rollout, ScaleDown, Teardown};
    assert_eq!(reasons, [ScaleDown, Rollout, Rollout, Eviction, Teardown, Teardown]);
}

#[test]
fn a_kill_from_outside_is_noticed_and_the_container_starts_again() {
    let mut world = World::new(spec::Deployment::default());
    world.run(5);
    world.act(Input::Kill { which: Which::Oldest, signal: Signal::Sigkill });
    world.run(3);
    let status = world.cluster.status();
    assert_eq!((status.pods[0].restarts, status.ready), (1, 1));
    let name = |kind: &EventKind| match kind {
        EventKind::SignalSent { by_kubelet, .. } => {
            Some(if *by_kubelet { "ended" } else { "killed" })
        }
        EventKind::ContainerExited { .. } => Some("exited"),
        EventKind::PodUnready { .. } => Some("unready"),
        EventKind::BackOff { .. } => Some("back-off"),
        EventKind::ContainerStarted { .. } => Some("started"),
        EventKind::PodReady { .. } => Some("ready"),
        _ => None,
    };
    let names: Vec<&str> = world.log.iter().filter_map(|(_, kind)| name(kind)).collect();
    let want = ["started", "ready", "killed", "exited", "unready", "back-off", "started", "ready"];
    assert_eq!(names, want);
}

#[test]
fn a_rollout_that_gets_stuck_is_reported() {
    let mut world = World::new(spec::Deployment {
        replicas: 2,
        progress_deadline_seconds: 20,
        template: probed(1),
        ..spec::Deployment::default()
    });
    world.passes = |_, container, _| container.pod < 2;
    world.run(30);
    world.act(Input::Rollout);
    world.run(60);
    let seen =
        |kind: &EventKind| matches!(kind, EventKind::ProgressDeadlineExceeded { revision: 2 });
    assert_eq!(world.log.iter().filter(|(_, kind)| seen(kind)).count(), 1);
    assert_eq!(world.cluster.status().ready, 2, "the old ones serve on");
}

#[test]
fn recreation_without_a_grace_period_goes_on_at_once() {
    let mut world = World::new(spec::Deployment {
        replicas: 3,
        strategy: spec::Strategy { kind: spec::StrategyType::Recreate, rolling_update: None },
        template: spec::PodTemplate {
            termination_grace_period_seconds: 0,
            ..spec::PodTemplate::default()
        },
        ..spec::Deployment::default()
    });
    world.run(5);
    world.act(Input::Rollout);
    let status = world.cluster.status();
    assert_eq!((status.current, status.updated, status.terminating), (3, 3, 3));
    world.run(10);
    let status = world.cluster.status();
    assert_eq!((status.ready, status.pods.len()), (3, 3));
}
