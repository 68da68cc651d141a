//! Inputs: what drivers and scenarios tell the cluster.

use alloc::vec::Vec;

use super::{Cluster, Part};
use crate::{
    cluster::{ContainerId, Effect, Input, deployment::Wanted, pod::Pod},
    event::{DeleteReason, Signal},
    spec::Which,
    time::Timestamp,
};

impl Cluster {
    /// Takes in what happened.
    ///
    /// *Behaviour*: what concerns a pod that is gone, a container that has ended or a probe that is
    /// over is ignored. So is an action that finds no pod, and any after the teardown began.
    ///
    /// *Panics* if an answer comes to a [`Effect::StartContainer`] that was not given.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::ContainerStarted { container, address, pid } => {
                self.on_container(now, container, effects, |pod, effects| {
                    pod.container_started(now, container.restarts, address, pid, effects);
                })
            }
            Input::ContainerStartFailed { container, reason } => {
                self.on_container(now, container, effects, |pod, effects| {
                    pod.container_start_failed(now, container.restarts, reason, effects);
                });
            }
            Input::ContainerExited { container, code, signal } => {
                self.on_container(now, container, effects, |pod, effects| {
                    pod.container_exited(now, container.restarts, code, signal, effects);
                })
            }
            Input::PreStopDone { container, ok, detail } => {
                self.on_container(now, container, effects, |pod, effects| {
                    pod.pre_stop_done(now, container.restarts, ok, detail, effects);
                })
            }
            Input::ProbeDone { probe, passed, detail } => {
                self.on_probe(now, probe, passed, &detail, effects)
            }
            _ if self.is_torn_down => {}
            Input::Rollout => {
                self.want(|wanted| wanted.template += 1);
                self.begin_rollout(effects);
                self.settle(now, effects);
            }
            Input::Scale { replicas } => {
                self.want(|wanted| wanted.replicas = replicas);
                self.settle(now, effects);
            }
            Input::DeletePod { which, reason } => self.on_delete(now, which, reason, effects),
            Input::Kill { which, signal } => self.on_kill(which, signal, effects),
        }
        self.note_numbers(effects);
    }

    /// The run's end: scales to 0 and deletes whatever is left; terminations run their course.
    /// Afterwards only facts are taken in.
    pub fn teardown(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.is_torn_down = true;
        self.has_begun = true;
        self.want(|wanted| (wanted.replicas, wanted.paused) = (0, false));
        self.settle(now, effects);
        let left: Vec<u32> = self
            .pods
            .iter()
            .filter(|(_, pod)| !pod.report().is_terminating)
            .map(|(&number, _)| number)
            .collect();
        for number in left {
            self.delete(now, number, DeleteReason::Teardown, effects);
        }
        self.note_numbers(effects);
    }

    fn want(&mut self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.controllers.deployment().wanted().clone();
        change(&mut wanted);
        self.controllers.want(wanted);
    }

    fn on_container(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        effects: &mut Vec<Effect>,
        act: impl FnOnce(&mut Pod, &mut Vec<Effect>),
    ) {
        if let Some(pod) = self.pods.get_mut(&container.pod) {
            act(pod, effects);
            self.follow(now, container.pod, effects);
        }
    }

    fn on_probe(
        &mut self,
        now: Timestamp,
        probe: u64,
        passed: bool,
        detail: &str,
        effects: &mut Vec<Effect>,
    ) {
        let asked = self.pods.iter_mut().find_map(|(&number, pod)| {
            pod.probe_done(now, probe, passed, detail, effects).then_some(number)
        });
        if let Some(number) = asked {
            self.follow(now, number, effects);
        }
    }

    fn on_delete(
        &mut self,
        now: Timestamp,
        which: Which,
        reason: DeleteReason,
        effects: &mut Vec<Effect>,
    ) {
        let chosen = self.choose(which, Pod::is_running).or_else(|| self.choose(which, |_| true));
        if let Some(number) = chosen {
            self.delete(now, number, reason, effects);
        }
    }

    fn delete(
        &mut self,
        now: Timestamp,
        number: u32,
        reason: DeleteReason,
        effects: &mut Vec<Effect>,
    ) {
        self.controllers.delete(now, number);
        self.delete_pod(now, number, reason, effects);
        self.settle(now, effects);
    }

    fn on_kill(&mut self, which: Which, signal: Signal, effects: &mut Vec<Effect>) {
        if let Some(number) = self.choose(which, Pod::is_running)
            && let Some(pod) = self.pods.get_mut(&number)
        {
            pod.kill(signal, effects);
            self.plan(Part::Pod(number));
        }
    }

    /// The oldest or newest pod that is not on its way out and is as wanted.
    fn choose(&self, which: Which, is_wanted: impl Fn(&Pod) -> bool) -> Option<u32> {
        let mut fit = self
            .pods
            .iter()
            .filter(|(_, pod)| !pod.report().is_terminating && is_wanted(pod))
            .map(|(&number, _)| number);
        match which {
            Which::Oldest => fit.next(),
            Which::Newest => fit.next_back(),
        }
    }
}
