use proptest::prelude::*;

use super::*;
use crate::{
    cluster::whole_second,
    spec::{self, RollingUpdate, StrategyType},
    units::IntOrPercent,
};

fn wanted(replicas: u32, surge: u32, unavailable: u32) -> Wanted {
    Wanted::new(&spec::Deployment {
        replicas,
        strategy: spec::Strategy {
            kind: StrategyType::RollingUpdate,
            rolling_update: Some(RollingUpdate {
                max_surge: IntOrPercent::Int(surge),
                max_unavailable: IntOrPercent::Int(unavailable),
            }),
        },
        ..spec::Deployment::default()
    })
}

/// Something that happens to the world; numbers choose among the pods there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Rollout,
    Start(usize),
    Flip(usize),
    Vanish(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Rollout),
        6 => any::<usize>().prop_map(Step::Start),
        8 => any::<usize>().prop_map(Step::Flip),
        4 => any::<usize>().prop_map(Step::Vanish),
        2 => (1u64..90).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

struct World {
    controllers: Controllers,
    now: Timestamp,
}

impl World {
    fn pick(&self, choice: usize, fits: impl Fn(&Pod) -> bool) -> Option<u32> {
        let pods: Vec<u32> =
            self.controllers.pods().iter().filter(|pod| fits(pod)).map(|pod| pod.pod).collect();
        (!pods.is_empty()).then(|| pods[choice % pods.len()])
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Rollout => {
                let mut wanted = self.controllers.deployment().wanted().clone();
                wanted.template += 1;
                self.controllers.want(wanted);
            }
            Step::Start(choice) => {
                if let Some(pod) = self.pick(choice, |pod| pod.node.is_none()) {
                    self.controllers.update(now, pod, |pod| {
                        (pod.node, pod.phase) = (Some(0), Phase::Running);
                    });
                }
            }
            Step::Flip(choice) => {
                if let Some(pod) = self.pick(choice, |pod| pod.node.is_some()) {
                    self.controllers.update(now, pod, |pod| {
                        pod.ready = pod.ready.is_none().then(|| whole_second(now));
                    });
                }
            }
            Step::Vanish(choice) => {
                if let Some(pod) = self.pick(choice, |pod| pod.is_terminating) {
                    self.controllers.remove(pod);
                }
            }
            Step::Wait(seconds) => self.now = now + Nanos::from_secs(seconds),
        }
        self.controllers.fire(self.now);
    }

    /// Lets the controllers work, and judges each of their writes by what they knew.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let is_available = |pod: &Pod| pod.is_active() && pod.ready.is_some();
        let mut pods: BTreeMap<u32, bool> = self
            .controllers
            .pods()
            .iter()
            .filter(|pod| pod.is_active())
            .map(|pod| (pod.pod, is_available(pod)))
            .collect();
        let mut writes = Vec::new();
        self.controllers.settle(self.now, &mut |_, number| u64::from(number), &mut writes);
        let wanted = self.controllers.deployment().wanted();
        let most = usize::try_from(wanted.replicas + wanted.max_surge()).expect("small");
        let least = usize::try_from(wanted.min_available()).expect("small");
        for write in writes {
            match write {
                Write::PodCreated { pod, .. } => {
                    pods.insert(pod, false);
                    let sets = self.controllers.deployment().sets();
                    let total: u32 = sets.iter().map(|set| set.replicas).sum();
                    prop_assert!(total <= wanted.replicas + wanted.max_surge());
                }
                Write::PodDeleted { pod, .. } => {
                    let was_available = pods.remove(&pod);
                    let left = pods.values().filter(|available| **available).count();
                    prop_assert!(
                        was_available != Some(true) || left >= least,
                        "{left} of at least {least} stay available"
                    );
                }
                Write::Deployment(_) => {}
            }
        }
        prop_assert!(pods.len() <= most, "{} of at most {most} pods", pods.len());
        Ok(())
    }
}

proptest! {
    #[test]
    fn no_step_of_a_rollout_leaves_its_bounds(
        replicas in 1u32..12,
        surge in 0u32..5,
        unavailable in 0u32..5,
        steps in steps(),
    ) {
        let wanted = wanted(replicas, surge, unavailable);
        let mut world = World {
            controllers: Controllers::new(wanted, Turn::default()),
            now: Timestamp::ZERO,
        };
        world.settle()?;
        for step in steps {
            world.take(step);
            world.settle()?;
        }
    }

    #[test]
    fn a_rollout_whose_pods_come_up_ends(
        replicas in 0u32..12,
        surge in 0u32..5,
        unavailable in 0u32..5,
        rollouts in 0u32..4,
    ) {
        let wanted = wanted(replicas, surge, unavailable);
        let mut world = World {
            controllers: Controllers::new(wanted, Turn::default()),
            now: Timestamp::ZERO,
        };
        for round in 0..400u32 {
            if round < rollouts {
                world.take(Step::Rollout);
            }
            world.settle()?;
            world.take(Step::Start(0));
            world.settle()?;
            if let Some(pod) = world.pick(0, |pod| pod.node.is_some() && pod.ready.is_none()) {
                let now = world.now;
                world.controllers.update(now, pod, |pod| pod.ready = Some(now));
            }
            // Upstream, too, may take an available pod for an unhealthy one if the template changes
            // before the ReplicaSet controller has counted it.
            world.settle()?;
            world.take(Step::Vanish(0));
            world.take(Step::Wait(1));
        }
        world.settle()?;
        let deployment = world.controllers.deployment();
        prop_assert!(deployment.is_complete(deployment.status()));
        prop_assert!(world.controllers.pods().iter().all(|pod| pod.template == rollouts + 1));
    }
}
