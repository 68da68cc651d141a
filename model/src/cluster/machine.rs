//! The composition: one queue of what is due, the controllers' loop, and the kubelet's steps.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    Config, ContainerId, Effect, Input,
    controller::{self, Set, Step, World},
    endpoints::{Propagation, SliceEndpoint},
    pod::{self, ContainerState, Deletion, Pod, Stop, StopStage},
    prober::Worker,
};
use crate::{
    event::{DeleteReason, Endpoint, EventKind, ProbeKind, Signal, Source},
    rng::Stream,
    spec::{Distribution, LifecycleHandler, Which},
    time::{Nanos, Timestamp},
};

/// What comes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The pod's container is to be started (first time or after a back-off).
    Start { pod: u32, restarts: u32 },
    /// The kubelet begins the termination.
    Stop { pod: u32 },
    /// The hook's time is over.
    HookEnd { container: ContainerId },
    /// SIGKILL.
    Kill { container: ContainerId },
    /// The kubelet notices that the container has ended.
    Relist { container: ContainerId },
    /// A probe worker ticks.
    Tick { container: ContainerId, kind: ProbeKind },
    /// A probe's answer is overdue.
    Overdue { probe: u64 },
    /// A pod may have become available.
    Available,
    /// The slice is written.
    WriteSlice,
    /// A consumer applies a version.
    Apply,
    /// The pod is gone.
    Gone { pod: u32 },
    /// The rollout may have stopped.
    Progress,
}

/// The numbers of a deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// `spec.replicas`.
    pub desired: u32,
    /// Pods that are not terminating.
    pub current: u32,
    /// Of these, of the newest revision.
    pub updated: u32,
    /// Of these, ready.
    pub ready: u32,
    /// Of these, available.
    pub available: u32,
    /// Pods on their way out.
    pub terminating: u32,
}

/// A progress of a rollout: more of any of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    updated: u32,
    old: u32,
    ready: u32,
    available: u32,
}

/// See the module above.
#[derive(Clone, Debug)]
pub struct Cluster {
    config: Config,
    queue: BTreeMap<(Timestamp, u64), Due>,
    seq: u64,
    began: bool,
    desired: u32,
    revision: u32,
    sets: Vec<Set>,
    pods: BTreeMap<u32, Pod>,
    names: Vec<String>,
    made: BTreeMap<u32, u32>,
    probes: BTreeMap<u64, (ContainerId, ProbeKind)>,
    next_probe: u64,
    propagation: Propagation,
    slice_pending: bool,
    numbers: Numbers,
    /// Why sets shrink now.
    shrink_reason: DeleteReason,
    rollout_running: bool,
    progress: Progress,
    progress_at: Timestamp,
    deadline_told: bool,
    streams: Streams,
    relist_phase: Nanos,
    checks: BTreeSet<Timestamp>,
}

#[derive(Clone, Debug)]
struct Streams {
    start: Stream,
    kubelet: Stream,
    endpoints: Stream,
    teardown: Stream,
}

type Effects = Vec<Effect>;

impl Cluster {
    /// A cluster in which nothing has happened; the first [`Self::advance`] makes the deployment.
    pub fn new(config: Config) -> Self {
        let seed = config.seed;
        let stream = |purpose| Stream::new(seed, purpose);
        let propagation = Propagation::new(config.consumers, config.propagation.clone(), seed);
        let relist_phase = Nanos(stream("kubelet/relist").below(config.timing.relist.0.max(1)));
        Self {
            queue: BTreeMap::new(),
            seq: 0,
            began: false,
            desired: config.deployment.replicas,
            revision: 1,
            sets: Vec::new(),
            pods: BTreeMap::new(),
            names: Vec::new(),
            made: BTreeMap::new(),
            probes: BTreeMap::new(),
            next_probe: 0,
            propagation,
            slice_pending: false,
            numbers: Numbers::default(),
            shrink_reason: DeleteReason::Rollout,
            rollout_running: false,
            progress: Progress::default(),
            progress_at: Timestamp::ZERO,
            deadline_told: false,
            streams: Streams {
                start: stream("kubelet/start"),
                kubelet: stream("kubelet/delay"),
                endpoints: stream("endpoints/delay"),
                teardown: stream("kubelet/teardown"),
            },
            relist_phase,
            checks: BTreeSet::new(),
            config,
        }
    }

    /// When [`Self::advance`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        if self.began { self.queue.keys().next().map(|(at, _)| *at) } else { Some(Timestamp::ZERO) }
    }

    /// The numbers of the deployment.
    pub fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// Whether all pods are of the newest revision and available, and every consumer knows.
    /// (Old pods may still terminate.)
    pub fn is_settled(&self) -> bool {
        let numbers = self.numbers;
        numbers.current == numbers.desired
            && numbers.updated == numbers.desired
            && numbers.available == numbers.desired
            && !self.slice_pending
            && self.propagation.is_settled()
    }

    /// The name of a pod that is or was.
    ///
    /// # Panics
    /// If there was no such pod.
    pub fn pod_name(&self, pod: u32) -> &str {
        &self.names[pod as usize]
    }

    /// The container that a pod has now, if its process runs.
    pub fn running_container(&self, pod: u32) -> Option<ContainerId> {
        let pod = self.pods.get(&pod)?;
        matches!(pod.container, ContainerState::Running { .. }).then(|| container_of(pod))
    }

    /// Fires what is due at `now`.
    pub fn advance(&mut self, now: Timestamp, effects: &mut Effects) {
        if !self.began {
            self.began = true;
            self.progress_at = now;
            self.reconcile(now, effects);
        }
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (at, _) = *entry.key();
            let due = entry.remove();
            self.fire(at, now, due, effects);
            self.reconcile(now, effects);
        }
    }

    /// Takes what happened at `now`.
    pub fn handle(&mut self, now: Timestamp, input: Input, effects: &mut Effects) {
        self.advance(now, effects);
        match input {
            Input::ContainerStarted { container, address, pid } => {
                self.container_started(now, container, address, pid, effects);
            }
            Input::ContainerStartFailed { container, reason } => {
                self.start_failed(now, container, reason, effects);
            }
            Input::ContainerExited { container, code, signal } => {
                self.container_exited(now, container, code, signal, effects);
            }
            Input::ProbeDone { probe, passed, detail } => {
                self.probe_done(now, probe, passed, detail, effects)
            }
            Input::PreStopDone { container, ok, detail } => {
                self.hook_done(now, container, ok, detail, effects)
            }
            Input::Rollout => self.begin_rollout(now, effects),
            Input::Scale { replicas } => {
                if replicas < self.desired {
                    self.shrink_reason = DeleteReason::ScaleDown;
                }
                self.desired = replicas;
                self.progress_at = now;
            }
            Input::DeletePod { which, reason } => {
                if let Some(pod) = self.choose(which, |pod| pod.is_active()) {
                    self.delete(now, pod, reason, effects);
                }
            }
            Input::Kill { which, signal } => {
                let is_running =
                    |pod: &Pod| matches!(pod.container, ContainerState::Running { .. });
                if let Some(pod) = self.choose(which, is_running)
                    && let Some(container) = self.running_container(pod)
                {
                    self.signal(container, signal, false, effects);
                }
            }
        }
        self.reconcile(now, effects);
    }

    fn plan(&mut self, at: Timestamp, due: Due) {
        self.seq += 1;
        self.queue.insert((at, self.seq), due);
    }

    fn choose(&self, which: Which, fits: impl Fn(&Pod) -> bool) -> Option<u32> {
        let mut pods = self.pods.values().filter(|pod| fits(pod)).map(|pod| pod.number);
        match which {
            Which::Oldest => pods.next(),
            Which::Newest => pods.next_back(),
        }
    }

    /// `at` is when it was due; a driver on a real clock comes a little later, at `now`.
    fn fire(&mut self, at: Timestamp, now: Timestamp, due: Due, effects: &mut Effects) {
        match due {
            Due::Start { pod, restarts } => self.start(pod, restarts, effects),
            Due::Stop { pod } => self.begin_stop(now, pod, effects),
            Due::HookEnd { container } => self.hook_time_over(now, container, effects),
            Due::Kill { container } => self.kill(container, effects),
            Due::Relist { container } => self.notice_exit(now, container, effects),
            Due::Tick { container, kind } => self.tick(at, now, container, kind, effects),
            Due::Overdue { probe } => {
                self.probe_done(
                    now,
                    probe,
                    false,
                    "no answer within the time-out".to_string(),
                    effects,
                );
            }
            Due::Available => {
                self.checks.remove(&at);
            }
            Due::WriteSlice => self.write_slice(now, effects),
            Due::Apply => self.apply_views(now, effects),
            Due::Gone { pod } => self.gone(now, pod, effects),
            Due::Progress => {}
        }
    }

    // Controllers.

    fn begin_rollout(&mut self, now: Timestamp, effects: &mut Effects) {
        self.revision += 1;
        self.rollout_running = true;
        self.shrink_reason = DeleteReason::Rollout;
        self.progress_at = now;
        self.deadline_told = false;
        emit(effects, Source::Controller, EventKind::RolloutStarted { revision: self.revision });
    }

    fn min_ready(&self) -> Nanos {
        Nanos::from_secs(u64::from(self.config.deployment.min_ready_seconds))
    }

    fn is_available(&self, pod: &Pod, now: Timestamp) -> bool {
        pod.is_active() && pod.available_at(self.min_ready()).is_some_and(|at| at <= now)
    }

    /// Syncs until no controller has anything to do: they react within milliseconds, and nothing
    /// that they wait for happens in between.
    fn reconcile(&mut self, now: Timestamp, effects: &mut Effects) {
        // Each step moves some set towards its final size, so few rounds suffice; the bound
        // catches a controller that contradicts itself.
        for round in 0.. {
            assert!(round < 1_000, "the controllers do not settle: {:?}", self.sets);
            self.count_available(now);
            let has_old_pods = self.pods.values().any(|pod| pod.revision != self.revision);
            let strategy = self.config.deployment.strategy.clone();
            let world = World {
                strategy: &strategy,
                desired: self.desired,
                revision: self.revision,
                sets: &self.sets,
                has_old_pods,
            };
            let annotations = world.annotations();
            let steps = controller::sync(&world);
            let pods_changed = self.apply_steps(now, &steps, annotations, effects);
            if steps.is_empty() && !pods_changed {
                break;
            }
        }
        self.tell_numbers(now, effects);
    }

    fn count_available(&mut self, now: Timestamp) {
        for index in 0..self.sets.len() {
            let revision = self.sets[index].revision;
            let pods = self.pods.values().filter(|pod| pod.revision == revision);
            self.sets[index].available =
                pods.filter(|pod| self.is_available(pod, now)).count() as u32;
        }
    }

    fn apply_steps(
        &mut self,
        now: Timestamp,
        steps: &[Step],
        (desired, max): (u32, u32),
        effects: &mut Effects,
    ) -> bool {
        for step in steps {
            let (revision, from, to) = match *step {
                Step::Create { revision, size } => {
                    self.sets.push(Set { revision, size, available: 0, desired, max });
                    (revision, 0, size)
                }
                Step::Scale { revision, size } => {
                    let Some(set) = self.sets.iter_mut().find(|set| set.revision == revision)
                    else {
                        continue;
                    };
                    let from = set.size;
                    (set.size, set.desired, set.max) = (size, desired, max);
                    (revision, from, size)
                }
            };
            if from != to || matches!(step, Step::Create { .. }) {
                emit(
                    effects,
                    Source::Controller,
                    EventKind::ReplicasetScaled { revision, from, to },
                );
            }
        }
        let sizes: Vec<(u32, u32)> = self.sets.iter().map(|set| (set.revision, set.size)).collect();
        let mut changed = false;
        for (revision, size) in sizes {
            changed |= self.manage_set(now, revision, size, effects);
        }
        changed
    }

    /// The ReplicaSet controller: makes or deletes pods until the set has its size.
    fn manage_set(
        &mut self,
        now: Timestamp,
        revision: u32,
        size: u32,
        effects: &mut Effects,
    ) -> bool {
        let mut active: Vec<&Pod> =
            self.pods.values().filter(|pod| pod.revision == revision && pod.is_active()).collect();
        let count = active.len() as u32;
        if count < size {
            (count..size).for_each(|_| self.create_pod(now, revision, effects));
        } else if count > size {
            active.sort_by(|a, b| pod::by_victim(a, b, now));
            let victims: Vec<u32> =
                active.iter().take((count - size) as usize).map(|pod| pod.number).collect();
            let reason = if revision == self.revision {
                DeleteReason::ScaleDown
            } else {
                self.shrink_reason
            };
            victims.into_iter().for_each(|victim| self.delete(now, victim, reason, effects));
        }
        count != size
    }

    fn create_pod(&mut self, now: Timestamp, revision: u32, effects: &mut Effects) {
        let number = self.names.len() as u32;
        let made = self.made.entry(revision).or_default();
        *made += 1;
        let name = format!("v{revision}-{made}");
        self.names.push(name.clone());
        emit(effects, Source::Controller, EventKind::PodCreated { pod: name.clone(), revision });
        self.pods.insert(number, Pod::new(number, name, revision, now));
        let at = now + self.config.timing.start.sample(&mut self.streams.start);
        self.plan(at, Due::Start { pod: number, restarts: 0 });
    }

    fn tell_numbers(&mut self, now: Timestamp, effects: &mut Effects) {
        let mut numbers = Numbers { desired: self.desired, ..Numbers::default() };
        for pod in self.pods.values() {
            if !pod.is_active() {
                numbers.terminating += 1;
                continue;
            }
            numbers.current += 1;
            numbers.updated += u32::from(pod.revision == self.revision);
            numbers.ready += u32::from(pod.is_ready());
            numbers.available += u32::from(self.is_available(pod, now));
        }
        if numbers != self.numbers {
            self.numbers = numbers;
            let Numbers { desired, current, updated, ready, available, terminating } = numbers;
            let kind =
                EventKind::Replicas { desired, current, updated, ready, available, terminating };
            emit(effects, Source::Controller, kind);
        }
        self.tell_progress(now, effects);
    }

    fn tell_progress(&mut self, now: Timestamp, effects: &mut Effects) {
        let numbers = self.numbers;
        let progress = Progress {
            updated: numbers.updated,
            old: numbers.current - numbers.updated,
            ready: numbers.ready,
            available: numbers.available,
        };
        let before = self.progress;
        let is_progress = progress.updated > before.updated
            || progress.old < before.old
            || progress.ready > before.ready
            || progress.available > before.available;
        self.progress = progress;
        let is_complete = numbers.updated == numbers.desired
            && numbers.current == numbers.desired
            && numbers.available == numbers.desired;
        if is_complete {
            if core::mem::take(&mut self.rollout_running) {
                emit(
                    effects,
                    Source::Controller,
                    EventKind::RolloutComplete { revision: self.revision },
                );
            }
            self.progress_at = now;
            return;
        }
        let deadline =
            Nanos::from_secs(u64::from(self.config.deployment.progress_deadline_seconds));
        if is_progress {
            self.progress_at = now;
            self.plan(now + deadline, Due::Progress);
        } else if !self.deadline_told && now >= self.progress_at + deadline {
            self.deadline_told = true;
            let kind = EventKind::ProgressDeadlineExceeded { revision: self.revision };
            emit(effects, Source::Controller, kind);
        }
    }

    // Kubelet: start and exit.

    fn pod_of(&mut self, container: ContainerId) -> Option<&mut Pod> {
        self.pods.get_mut(&container.pod).filter(|pod| pod.restarts == container.restarts)
    }

    fn start(&mut self, number: u32, restarts: u32, effects: &mut Effects) {
        let Some(pod) = self.pods.get_mut(&number).filter(|pod| pod.deletion.is_none()) else {
            return;
        };
        assert!(
            matches!(pod.container, ContainerState::Waiting | ContainerState::BackOff),
            "{} starts from {:?}",
            pod.name,
            pod.container
        );
        pod.restarts = restarts;
        pod.container = ContainerState::Starting;
        let container = ContainerId { pod: number, restarts };
        effects.push(Effect::StartContainer {
            container,
            pod: pod.name.clone(),
            revision: pod.revision,
        });
    }

    fn container_started(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        address: Option<String>,
        pid: Option<u32>,
        effects: &mut Effects,
    ) {
        let template = self.config.deployment.template.clone();
        let seed = self.config.seed;
        let Some(pod) =
            self.pod_of(container).filter(|pod| pod.container == ContainerState::Starting)
        else {
            return;
        };
        pod.container = ContainerState::Running { since: now };
        let probes = [
            (ProbeKind::Startup, template.startup_probe),
            (ProbeKind::Readiness, template.readiness_probe),
            (ProbeKind::Liveness, template.liveness_probe),
        ];
        pod.workers = probes
            .into_iter()
            .filter_map(|(kind, probe)| {
                let purpose = format!("probe/{}/{}/{}", kind.name(), pod.name, pod.restarts);
                Some(Worker::new(kind, probe?, now, &mut Stream::new(seed, &purpose)))
            })
            .collect();
        let kind = EventKind::ContainerStarted {
            pod: pod.name.clone(),
            restarts: pod.restarts,
            address,
            pid,
        };
        emit(effects, Source::Kubelet, kind);
        let is_stopping = pod.stop.is_some();
        let ticks: Vec<(Timestamp, ProbeKind)> = pod
            .workers
            .iter()
            .filter_map(|worker| Some((worker.next_tick()?, worker.kind())))
            .collect();
        for (at, kind) in ticks {
            self.plan(at, Due::Tick { container, kind });
        }
        self.after_start(now, container, effects);
        if is_stopping {
            self.begin_stop(now, container.pod, effects);
        }
        self.slice_changed(now);
    }

    /// Without a readiness probe a pod is ready as soon as it has started.
    fn after_start(&mut self, now: Timestamp, container: ContainerId, effects: &mut Effects) {
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        if !pod.has_started() {
            return;
        }
        match pod.worker(ProbeKind::Readiness) {
            None => self.set_ready(now, container.pod, true, "", effects),
            Some(worker) => {
                worker.poke(worker.next_tick().map_or(now, |at| at.min(now + Nanos::from_secs(1))));
                if let Some(at) = worker.next_tick() {
                    self.plan(at, Due::Tick { container, kind: ProbeKind::Readiness });
                }
            }
        }
    }

    fn start_failed(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        reason: String,
        effects: &mut Effects,
    ) {
        let Some(pod) =
            self.pod_of(container).filter(|pod| pod.container == ContainerState::Starting)
        else {
            return;
        };
        emit(
            effects,
            Source::Kubelet,
            EventKind::ContainerStartFailed { pod: pod.name.clone(), reason },
        );
        if pod.deletion.is_some() {
            return self.container_over(now, container.pod);
        }
        self.back_off(now, container, now, effects);
    }

    fn back_off(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        ended: Timestamp,
        effects: &mut Effects,
    ) {
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        let wait = pod.next_back_off(ended, now);
        pod.container = ContainerState::BackOff;
        emit(effects, Source::Kubelet, EventKind::BackOff { pod: pod.name.clone(), wait });
        let restarts = pod.restarts + 1;
        self.plan((ended + wait).max(now), Due::Start { pod: container.pod, restarts });
    }

    fn container_exited(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        code: i32,
        signal: Option<i32>,
        effects: &mut Effects,
    ) {
        let relist = self.next_relist(now);
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        let ContainerState::Running { .. } = pod.container else {
            return;
        };
        pod.container = ContainerState::Ended { at: now };
        let kind = EventKind::ContainerExited { pod: pod.name.clone(), code, signal, oom: false };
        emit(effects, Source::Kubelet, kind);
        let is_awaited = pod.stop.as_ref().is_some_and(|stop| stop.stage != StopStage::Asked);
        if is_awaited {
            self.notice_exit(now, container, effects);
        } else {
            self.plan(relist, Due::Relist { container });
        }
    }

    fn next_relist(&self, now: Timestamp) -> Timestamp {
        let period = self.config.timing.relist.0.max(1);
        let rounds = now.since(Timestamp(self.relist_phase.0)).0.div_ceil(period);
        Timestamp(self.relist_phase.0 + rounds * period)
    }

    /// The kubelet has noticed that the container has ended.
    fn notice_exit(&mut self, now: Timestamp, container: ContainerId, effects: &mut Effects) {
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        let ContainerState::Ended { at } = pod.container else {
            return;
        };
        pod.workers.clear();
        pod.stop = None;
        let is_deleted = pod.deletion.is_some();
        self.set_ready(now, container.pod, false, "the container has ended", effects);
        if is_deleted {
            self.container_over(now, container.pod);
        } else {
            self.back_off(now, container, at, effects);
        }
    }

    /// No container will come any more: the pod goes.
    fn container_over(&mut self, now: Timestamp, number: u32) {
        if let Some(pod) = self.pods.get_mut(&number) {
            pod.container = ContainerState::Over;
        }
        let at = now + self.config.timing.teardown.sample(&mut self.streams.teardown);
        self.plan(at, Due::Gone { pod: number });
    }

    fn gone(&mut self, now: Timestamp, number: u32, effects: &mut Effects) {
        let Some(pod) = self.pods.remove(&number) else {
            return;
        };
        effects.push(Effect::RemovePod { pod: number });
        emit(effects, Source::Kubelet, EventKind::PodGone { pod: pod.name });
        self.slice_changed(now);
    }

    fn set_ready(
        &mut self,
        now: Timestamp,
        number: u32,
        ready: bool,
        reason: &str,
        effects: &mut Effects,
    ) {
        let Some(pod) = self.pods.get_mut(&number) else {
            return;
        };
        if pod.is_ready() == ready {
            return;
        }
        pod.ready_since = ready.then_some(now);
        let name = pod.name.clone();
        if ready {
            emit(effects, Source::Kubelet, EventKind::PodReady { pod: name });
            let at = now + self.min_ready();
            if at > now && self.checks.insert(at) {
                self.plan(at, Due::Available);
            }
        } else {
            emit(
                effects,
                Source::Kubelet,
                EventKind::PodUnready { pod: name, reason: reason.into() },
            );
        }
        self.slice_changed(now);
    }

    // Kubelet: termination.

    fn delete(&mut self, now: Timestamp, number: u32, reason: DeleteReason, effects: &mut Effects) {
        let grace = Nanos::from_secs(u64::from(
            self.config.deployment.template.termination_grace_period_seconds,
        ));
        let delay = self.config.timing.kubelet_delay.sample(&mut self.streams.kubelet);
        let Some(pod) = self.pods.get_mut(&number).filter(|pod| pod.is_active()) else {
            return;
        };
        pod.deletion = Some(Deletion { at: now, reason });
        emit(
            effects,
            Source::Controller,
            EventKind::PodDeleted { pod: pod.name.clone(), grace, reason },
        );
        for kind in [ProbeKind::Liveness, ProbeKind::Startup] {
            if let Some(worker) = pod.worker(kind) {
                worker.stop();
            }
        }
        if pod.stop.is_none() {
            pod.stop = Some(Stop { grace, stage: StopStage::Asked });
            self.plan(now + delay, Due::Stop { pod: number });
        }
        self.slice_changed(now);
    }

    fn begin_stop(&mut self, now: Timestamp, number: u32, effects: &mut Effects) {
        let hook = self.pre_stop_hook();
        let Some(pod) = self.pods.get_mut(&number) else {
            return;
        };
        let container = container_of(pod);
        let Some(stop) = pod.stop.as_mut().filter(|stop| stop.stage == StopStage::Asked) else {
            return;
        };
        match pod.container {
            ContainerState::Running { .. } => {}
            // Comes back when the process is there.
            ContainerState::Starting => return,
            ContainerState::Ended { .. } => return self.notice_exit(now, container, effects),
            ContainerState::Waiting | ContainerState::BackOff => {
                return self.container_over(now, number);
            }
            ContainerState::Over => return,
        }
        let grace = stop.grace;
        let Some(hook) = hook.filter(|_| grace > Nanos::ZERO) else {
            return self.terminate(now, container, Nanos::ZERO, effects);
        };
        stop.stage = StopStage::PreStop { since: now };
        emit(effects, Source::Kubelet, EventKind::PreStopStarted { pod: pod.name.clone() });
        let (time, _) = pod::pre_stop_time(&hook, grace);
        if hook.sleep.is_none() {
            effects.push(Effect::RunPreStop { container, hook, timeout: grace });
        }
        self.plan(now + time, Due::HookEnd { container });
    }

    fn pre_stop_hook(&self) -> Option<LifecycleHandler> {
        self.config.deployment.template.lifecycle.as_ref()?.pre_stop.clone()
    }

    fn hook_time_over(&mut self, now: Timestamp, container: ContainerId, effects: &mut Effects) {
        let is_cut = self.pre_stop_hook().is_some_and(|hook| {
            let grace =
                self.pods.get(&container.pod).and_then(|pod| Some(pod.stop.as_ref()?.grace));
            grace.is_some_and(|grace| pod::pre_stop_time(&hook, grace).1)
        });
        let detail =
            if is_cut { "cut off by the end of the grace period".into() } else { String::new() };
        self.hook_done(now, container, !is_cut, detail, effects);
    }

    fn hook_done(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        ok: bool,
        detail: String,
        effects: &mut Effects,
    ) {
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        let Some(Stop { stage: StopStage::PreStop { since }, .. }) = pod.stop else {
            return;
        };
        emit(
            effects,
            Source::Kubelet,
            EventKind::PreStopEnded { pod: pod.name.clone(), ok, detail },
        );
        self.terminate(now, container, now.since(since), effects);
    }

    fn terminate(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        hook: Nanos,
        effects: &mut Effects,
    ) {
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        let Some(stop) = &mut pod.stop else { return };
        let kill_at = now + pod::stop_budget(stop.grace, hook);
        stop.stage = StopStage::Terminating { kill_at };
        self.signal(container, Signal::Sigterm, true, effects);
        self.plan(kill_at, Due::Kill { container });
    }

    fn kill(&mut self, container: ContainerId, effects: &mut Effects) {
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        if !matches!(pod.container, ContainerState::Running { .. }) {
            return;
        }
        let Some(stop) = &mut pod.stop else { return };
        stop.stage = StopStage::Killed;
        self.signal(container, Signal::Sigkill, true, effects);
    }

    fn signal(
        &mut self,
        container: ContainerId,
        signal: Signal,
        by_kubelet: bool,
        effects: &mut Effects,
    ) {
        let pod = self.pod_name(container.pod).to_string();
        emit(effects, Source::Kubelet, EventKind::SignalSent { pod, signal, by_kubelet });
        effects.push(Effect::Signal { container, signal });
    }

    // Kubelet: probes.

    fn tick(
        &mut self,
        at: Timestamp,
        now: Timestamp,
        container: ContainerId,
        kind: ProbeKind,
        effects: &mut Effects,
    ) {
        let probe = self.next_probe;
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        let has_started = pod.has_started();
        let Some(worker) = pod.worker(kind).filter(|worker| worker.next_tick() == Some(at)) else {
            return;
        };
        let may_run = has_started != (kind == ProbeKind::Startup);
        let runs = worker.tick(at, may_run);
        let timeout = worker.timeout();
        if runs {
            worker.runs(probe);
        }
        if let Some(at) = worker.next_tick() {
            self.plan(at, Due::Tick { container, kind });
        }
        if runs {
            self.next_probe += 1;
            self.probes.insert(probe, (container, kind));
            effects.push(Effect::RunProbe { probe, container, kind, timeout });
            self.plan(now + timeout + Nanos::from_secs(1), Due::Overdue { probe });
        }
    }

    fn probe_done(
        &mut self,
        now: Timestamp,
        probe: u64,
        passed: bool,
        detail: String,
        effects: &mut Effects,
    ) {
        let Some((container, kind)) = self.probes.remove(&probe) else {
            return;
        };
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        let name = pod.name.clone();
        let Some(worker) = pod.worker(kind) else {
            return;
        };
        let Some(answer) = worker.answer(probe, passed) else {
            return;
        };
        if answer.changed.is_some() || !passed {
            let run = answer.run;
            let event = EventKind::ProbeResult {
                pod: name,
                probe: kind,
                passed,
                run,
                detail: detail.clone(),
            };
            emit(effects, Source::Kubelet, event);
        }
        match (kind, answer.changed) {
            (_, None) | (ProbeKind::Liveness, Some(true)) => {}
            (ProbeKind::Readiness, Some(ready)) => {
                self.set_ready(now, container.pod, ready, &detail, effects)
            }
            (ProbeKind::Startup, Some(true)) => self.after_start(now, container, effects),
            (ProbeKind::Startup | ProbeKind::Liveness, Some(false)) => {
                self.probe_kill(now, container, kind, effects);
            }
        }
    }

    /// A failed startup or liveness probe ends the container, and its pod stays: no deletion, no
    /// change of the endpoint.
    fn probe_kill(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        kind: ProbeKind,
        effects: &mut Effects,
    ) {
        let default = self.config.deployment.template.termination_grace_period_seconds;
        let Some(pod) = self.pod_of(container) else {
            return;
        };
        if pod.stop.is_some() {
            return;
        }
        let Some(worker) = pod.worker(kind) else {
            return;
        };
        let grace = worker.probe().termination_grace_period_seconds.unwrap_or(default);
        worker.stop();
        pod.stop =
            Some(Stop { grace: Nanos::from_secs(u64::from(grace)), stage: StopStage::Asked });
        emit(effects, Source::Kubelet, EventKind::ProbeKill { pod: pod.name.clone(), probe: kind });
        self.begin_stop(now, container.pod, effects);
    }

    // Endpoints.

    fn slice_changed(&mut self, now: Timestamp) {
        if !core::mem::replace(&mut self.slice_pending, true) {
            let at = now + self.config.timing.endpoints_delay.sample(&mut self.streams.endpoints);
            self.plan(at, Due::WriteSlice);
        }
    }

    fn write_slice(&mut self, now: Timestamp, effects: &mut Effects) {
        self.slice_pending = false;
        let endpoints: Vec<SliceEndpoint> = self
            .pods
            .values()
            .filter(|pod| pod.has_address())
            .map(|pod| SliceEndpoint {
                pod: pod.number,
                serving: pod.is_ready(),
                terminating: pod.deletion.is_some(),
            })
            .collect();
        let named = endpoints.iter().map(|endpoint| Endpoint {
            pod: self.names[endpoint.pod as usize].clone(),
            ready: endpoint.ready(),
            serving: endpoint.serving,
            terminating: endpoint.terminating,
        });
        let named: Vec<Endpoint> = named.collect();
        if let Some(version) = self.propagation.write(now, endpoints) {
            emit(effects, Source::Controller, EventKind::Endpoints { version, endpoints: named });
            self.apply_views(now, effects);
        }
    }

    fn apply_views(&mut self, now: Timestamp, effects: &mut Effects) {
        for applied in self.propagation.advance(now) {
            let routed =
                applied.routed.iter().map(|pod| self.names[*pod as usize].clone()).collect();
            let (consumer, version) = (applied.consumer, applied.version);
            effects.push(Effect::ApplyView { consumer, version, routed: applied.routed });
            emit(effects, Source::Proxy, EventKind::ViewApplied { consumer, version, routed });
        }
        if let Some(at) = self.propagation.next_deadline() {
            self.plan(at, Due::Apply);
        }
    }
}

fn container_of(pod: &Pod) -> ContainerId {
    ContainerId { pod: pod.number, restarts: pod.restarts }
}

fn emit(effects: &mut Effects, source: Source, kind: EventKind) {
    effects.push(Effect::Emit { source, kind });
}

/// No delay at all, for tests of order.
impl super::Timing {
    /// Kubernetes' own parts take no time.
    pub fn immediate() -> Self {
        let none = || Distribution::Fixed(Nanos::ZERO);
        Self {
            start: none(),
            kubelet_delay: none(),
            endpoints_delay: none(),
            relist: Nanos::from_secs(1),
            teardown: none(),
        }
    }
}
