//! What the cluster, the autoscaler and the scenario want done.

use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use super::{
    Sim, Version,
    agenda::{Ask, What},
    exec::{Executed, execute},
    replica::{Act, BUCKETS, Replica, Step},
    traffic::{Attempt, Ending},
};
use crate::{
    autoscaling::Step as ScalingStep,
    cluster::{ContainerId, Effect, Input, PodPhase, PodView},
    event::{DeleteReason, EventKind, ProbeKind, Signal, Source},
    metrics::{Wish, prometheus::Told},
    outcome::{HopError, Outcome},
    rng::Stream,
    spec::{Action, LifecycleHandler, Misbehaviour, Port, Probe, Rollout, Which},
    time::{Nanos, Timestamp},
};

/// How often an eviction is asked for that the budget does not allow, and how long: as on `local`.
const EVICT_EVERY: Nanos = Nanos::from_secs(5);
const EVICT_FOR: Nanos = Nanos::from_secs(120);

impl Sim<'_> {
    /// Tells the cluster what happened.
    pub(super) fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.cluster.handle(self.now, input, &mut effects);
        self.carry_out(effects);
    }

    /// Carries effects out, and those that come of them.
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Emit { source, kind } => self.emit(source, kind),
                Effect::StartContainer { container, .. } => {
                    let wait = &self.run.scenario.simulation.process_start;
                    let at = self.now + wait.sample(&mut self.process_start);
                    self.agenda.plan(at, What::Start(container));
                }
                Effect::Signal { container, signal } => self.signal(container, signal),
                Effect::RunProbe { probe, container, kind, timeout } => {
                    self.probe(probe, container, kind, timeout);
                }
                Effect::RunPreStop { container, hook, timeout } => {
                    self.pre_stop(container, &hook, timeout);
                }
                Effect::ApplyView { consumer, routed, .. } => {
                    if !routed.is_empty() {
                        self.known.insert(consumer);
                    }
                    self.apply_view(consumer, &routed);
                    if let Some(view) = self.views.get_mut(consumer as usize) {
                        *view = routed;
                    }
                }
                Effect::RemovePod { pod } => {
                    if let Some(replica) = self.replicas.get_mut(pod as usize) {
                        *replica = None;
                    }
                }
            }
        }
    }

    /// What the agenda has of the cluster.
    pub(super) fn happen_in_cluster(&mut self, what: What) {
        match what {
            What::Ending(..) | What::Waited | What::Idle(_) => {}
            What::Start(container) => self.start_container(container),
            What::Step(container, step) => {
                let (now, mut acts) = (self.now, Vec::new());
                if let Some(replica) = self.replica(container.pod, container.restarts) {
                    replica.step(now, step, &mut acts);
                }
                self.do_acts(container, acts);
            }
            What::Probe(probe, container, ask) => self.answer_probe(probe, container, ask),
            What::Hook(container, how) => {
                let (ok, detail) = (matches!(how, Executed::Done(_)), how.detail().into());
                self.input(Input::PreStopDone { container, ok, detail });
            }
            What::Thaw(container) => self.thaw(container),
            What::Evict(action_id, which, until) => self.evict(action_id, which.into(), until),
        }
    }

    fn start_container(&mut self, container: ContainerId) {
        let scenario = &self.run.scenario;
        let name = self.cluster.pod_name(container.pod).to_string();
        let revision = self.cluster.revision_of(container.pod).unwrap_or(1);
        let last = self.versions.len() - 1;
        let Version { service, misbehave } =
            self.versions[(revision as usize - 1).min(last)].clone();
        let limits = &scenario.target.deployment.template.resources.limits;
        let limits = (limits.cpu.map(|cpu| cpu.0), limits.memory.map(|memory| memory.0));
        let purpose = format!("service/{name}/{}", container.restarts);
        let streams = [purpose.clone(), format!("overhead/{purpose}")]
            .map(|purpose| Stream::new(scenario.seed, &purpose));
        let mut acts = Vec::new();
        let replica = Replica::new(
            self.now,
            container,
            service,
            &misbehave,
            &scenario.simulation,
            limits,
            streams,
            self.kinds.asks.clone(),
            &mut acts,
        );
        let place = container.pod as usize;
        if self.replicas.len() <= place {
            self.replicas.resize(place + 1, None);
        }
        self.replicas[place] = Some(replica);
        if let Some(autoscaling) = &mut self.autoscaling {
            autoscaling.started(self.now, container);
        }
        let address = Some(format!("{}:8080", address(container.pod)));
        self.input(Input::ContainerStarted { container, address, pid: None });
        self.do_acts(container, acts);
    }

    /// What a replica wants done.
    #[inline]
    pub(super) fn do_acts(&mut self, container: ContainerId, acts: Vec<Act>) {
        if !acts.is_empty() {
            self.do_some_acts(container, acts);
        }
    }

    fn do_some_acts(&mut self, container: ContainerId, acts: Vec<Act>) {
        let is_out_of_memory = acts.contains(&Act::OutOfMemory);
        for act in acts {
            match act {
                Act::OutOfMemory => {}
                Act::Tell(phase, detail) => {
                    let pod = self.cluster.pod_name(container.pod).to_string();
                    self.emit(Source::Target, EventKind::Lifecycle { pod, phase, detail });
                }
                Act::Plan(at, step) => self.agenda.plan(at, What::Step(container, step)),
                Act::CutQueue => self.cut_queue(container.pod, container.restarts),
                Act::Cut => {
                    self.cut(container.pod, container.restarts);
                    self.cut_queue(container.pod, container.restarts);
                }
                Act::Exited(code) => {
                    if let Some(autoscaling) = &mut self.autoscaling {
                        autoscaling.ended(container);
                    }
                    let signal = (code > 128 && code != 143).then(|| code - 128);
                    let mut effects = Vec::new();
                    let input = Input::ContainerExited { container, code, signal };
                    self.cluster.handle(self.now, input, &mut effects);
                    for effect in &mut effects {
                        if let Effect::Emit {
                            kind: EventKind::ContainerExited { oom, .. }, ..
                        } = effect
                        {
                            *oom |= is_out_of_memory;
                        }
                    }
                    self.carry_out(effects);
                    self.look_ahead();
                }
            }
        }
    }

    pub(super) fn plan_end(&mut self, pod: u32, restarts: u32, at: Timestamp, how: Step) {
        let container = ContainerId { pod, restarts };
        self.agenda.plan(at, What::Step(container, how));
    }

    fn signal(&mut self, container: ContainerId, signal: Signal) {
        let (now, mut acts) = (self.now, Vec::new());
        let Some(replica) = self.replica(container.pod, container.restarts) else { return };
        match signal {
            Signal::Sigterm | Signal::Sigint => replica.terminate(now, &mut acts),
            Signal::Sigstop => return self.freeze_now(container),
            Signal::Sigcont => return self.thaw(container),
            // Whoever does not ask for it is not troubled by it.
            Signal::Sigwinch => {}
            other => replica.die(now, 128 + other.number(), &mut acts),
        }
        self.do_acts(container, acts);
    }

    /// Whatever the container does stands still from now on.
    fn freeze_now(&mut self, container: ContainerId) {
        let now = self.now;
        match self.replica(container.pod, container.restarts) {
            Some(replica) if !replica.is_dead() && replica.frozen_at.is_none() => {
                replica.frozen_at = Some(now);
            }
            _ => return,
        }
        for (slot, mut attempt) in self.attempts_at(container) {
            self.client.left.insert(slot, attempt.ending.at.since(now));
            self.stall(&mut attempt);
            self.replan(slot, attempt);
        }
    }

    /// As long as nothing else happens, its client or the proxy gives up.
    fn stall(&self, attempt: &mut Attempt) {
        let deadline = attempt.deadline;
        attempt.ending = Ending { at: deadline, outcome: Outcome::Timeout, hop: None };
        let up = attempt.up.and_then(|up| self.client.ups.get(up));
        if let (Some(_), Some(up)) = (attempt.worker, up) {
            let gives_up = up.sent + self.run.scenario.path.response_timeout;
            self.fails(attempt, gives_up, HopError::Timeout);
        }
    }

    /// It goes on: with what it had, then with what has come meanwhile.
    fn thaw(&mut self, container: ContainerId) {
        let now = self.now;
        let Some(replica) = self.replica(container.pod, container.restarts) else { return };
        if replica.frozen_at.take().is_none() {
            return;
        }
        let pod = self.cluster.pod_name(container.pod).to_string();
        let kind = EventKind::SignalSent { pod, signal: Signal::Sigcont, by_kubelet: false };
        self.emit(Source::Harness, kind);
        for (slot, mut attempt) in self.attempts_at(container) {
            let ways = Nanos(self.network().0 * if attempt.worker.is_some() { 2 } else { 1 });
            let left = self.client.left.remove(&slot);
            let kind = attempt.request.kind;
            let Some(replica) = self.replica(container.pod, container.restarts) else { return };
            let at = match left {
                Some(left) => Timestamp((now + left).0.saturating_sub(ways.0)),
                None => match replica.take_again(now, kind) {
                    Some((at, is_refusal)) => {
                        attempt.is_refusal = is_refusal;
                        at
                    }
                    None => continue,
                },
            };
            if attempt.worker.is_some() {
                self.answers(&mut attempt, at);
            } else {
                let outcome = self.answer(&attempt);
                attempt.ending = Ending { at: at + ways, outcome, hop: None };
            }
            self.replan(slot, attempt);
        }
    }

    fn attempts_at(&self, container: ContainerId) -> Vec<(u32, Attempt)> {
        let is_there = |attempt: &Attempt| {
            attempt.pod == Some(container.pod)
                && attempt.restarts == container.restarts
                && attempt.came().is_some()
        };
        let all = self.client.attempts.iter();
        let mut there: Vec<(u32, Attempt)> = all
            .filter(|(_, attempt)| is_there(attempt))
            .map(|(slot, attempt)| (slot, *attempt))
            .collect();
        there.sort_by_key(|(_, attempt)| (attempt.came(), attempt.request.number));
        there
    }

    /// Asks the probe's question, if the replica answers in time.
    fn probe(&mut self, probe: u64, container: ContainerId, kind: ProbeKind, timeout: Nanos) {
        let template = &self.run.scenario.target.deployment.template;
        let spec = match kind {
            ProbeKind::Startup => &template.startup_probe,
            ProbeKind::Readiness => &template.readiness_probe,
            ProbeKind::Liveness => &template.liveness_probe,
        };
        let Some(spec) = spec else { return };
        let (now, ways) = (self.now, Nanos(4 * self.network().0));
        let asks = question(spec, kind);
        let is_silent = self
            .replica(container.pod, container.restarts)
            .map_or(Some(Nanos::ZERO), |replica| replica.probe_delay(now));
        let (wait, ask) = match is_silent {
            // A process of its own, which no queue keeps waiting.
            _ if let Ask::Executed(how) = asks => {
                if how.takes() > timeout {
                    (timeout, Ask::Silence)
                } else {
                    (how.takes(), asks)
                }
            }
            Some(delay) if delay + ways <= timeout => (delay + ways, asks),
            _ => (timeout, Ask::Silence),
        };
        self.agenda.plan(now + wait, What::Probe(probe, container, ask));
    }

    fn answer_probe(&mut self, probe: u64, container: ContainerId, ask: Ask) {
        let is_out = !self.outages.is_empty();
        let replica = self.replica(container.pod, container.restarts);
        let status = |passed| (passed, if passed { "status 200" } else { "status 503" });
        let (passed, detail) = match (ask, replica) {
            (Ask::Silence, _) => (false, "no answer in time"),
            (_, None) => (false, "connection failed"),
            (_, Some(replica)) if replica.is_dead() => (false, "connection failed"),
            (Ask::Executed(how), _) => (matches!(how, Executed::Done(_)), how.detail()),
            (Ask::Ready, Some(replica)) => status(replica.is_ready()),
            (Ask::Live, Some(replica)) => {
                status(!(is_out && replica.has(Misbehaviour::LivenessOnDependency)))
            }
            (Ask::Started, Some(replica)) => status(replica.has_started()),
            (Ask::Port, Some(replica)) => match replica.door() {
                super::replica::Door::Closed => (false, "connection refused"),
                _ => (true, "connected"),
            },
        };
        self.input(Input::ProbeDone { probe, passed, detail: detail.into() });
    }

    fn pre_stop(&mut self, container: ContainerId, hook: &LifecycleHandler, timeout: Nanos) {
        let is_own = hook.http_get.as_ref().is_some_and(|get| get.path == "/prestop");
        let mut acts = Vec::new();
        let mut wait = Nanos(2 * self.network().0);
        let mut how = Executed::Done(Nanos::ZERO);
        if let Some(exec) = &hook.exec {
            how = execute(&exec.command);
            wait = how.takes();
        }
        if is_own && let Some(replica) = self.replica(container.pod, container.restarts) {
            wait = wait + replica.pre_stop(&mut acts);
        }
        self.agenda.plan(self.now + wait.min(timeout), What::Hook(container, how));
        self.do_acts(container, acts);
    }

    /// Does what is due of the autoscaler.
    pub(super) fn autoscale(&mut self) {
        let Some(mut autoscaling) = self.autoscaling.take() else { return };
        let mut steps = Vec::new();
        if autoscaling.next_deadline() <= self.now {
            autoscaling.advance(self.now, &self.cluster, &mut steps);
        }
        let mut scales = None;
        for step in steps {
            match step {
                ScalingStep::Wish(Wish::Usage(container)) => {
                    if let Some(replica) = self.live(container) {
                        let usage = replica.usage(self.now);
                        autoscaling.used(self.now, container, usage);
                    }
                }
                ScalingStep::Wish(Wish::Scrape(container)) => {
                    if let Some(replica) = self.live(container) {
                        let lines = lines(replica);
                        let told = lines.iter().map(|(name, labels, le, value)| Told {
                            name,
                            labels,
                            le: *le,
                            value: *value,
                        });
                        autoscaling.scraped(self.now, container, told);
                    }
                }
                ScalingStep::Scale(replicas) => scales = Some(replicas),
                ScalingStep::Emit { source, kind, stated } => {
                    self.observer.event(self.now, source, *kind, stated);
                }
            }
        }
        self.autoscaling = Some(autoscaling);
        if let Some(replicas) = scales {
            self.input(Input::Scale { replicas });
        }
    }

    fn live(&self, container: ContainerId) -> Option<&Replica> {
        let replica = self.replicas.get(container.pod as usize)?.as_ref()?;
        let is_it = replica.container == container;
        (is_it && !replica.is_dead() && replica.frozen_at.is_none()).then_some(replica)
    }

    /// An action of the scenario begins.
    pub(super) fn act(&mut self, action_id: u32, action: Action) {
        let kind = EventKind::ActionStarted { action_id, action: action.clone() };
        self.emit(Source::Harness, kind);
        let input = match action {
            Action::Rollout(rollout) => {
                self.next_version(&rollout);
                Input::Rollout
            }
            Action::Scale(scale) => Input::Scale { replicas: scale.replicas },
            Action::Delete(choice) => {
                Input::DeletePod { which: choice.pod, reason: DeleteReason::Deleted }
            }
            Action::Kill(kill) => Input::Kill { which: kill.pod, signal: kill.signal.signal() },
            Action::Evict(choice) => {
                return self.evict(action_id, choice.pod, self.now + EVICT_FOR);
            }
            Action::Freeze(freeze) => return self.freeze(action_id, freeze.pod, freeze.for_),
            Action::DependencyOutage(outage) => {
                let back = self.now + outage.for_;
                let known = self.outages.entry(outage.name).or_insert((back, action_id));
                known.0 = known.0.max(back);
                return self.accept(action_id);
            }
            Action::PatchAutoscaler(patch) => {
                if let Some(autoscaling) = &mut self.autoscaling {
                    autoscaling.patch(&patch);
                }
                return self.accept(action_id);
            }
            Action::MetricsOutage(outage) => {
                if let Some(autoscaling) = &mut self.autoscaling {
                    autoscaling.lose_metrics(self.now + outage.for_);
                }
                return self.accept(action_id);
            }
            // Refused when the plan was checked.
            Action::DrainNode(_) => return self.refuse(action_id, "there are no nodes".into()),
        };
        self.input(input);
        self.accept(action_id);
    }

    fn next_version(&mut self, rollout: &Rollout) {
        let last = self.versions[self.versions.len() - 1].clone();
        self.versions.push(Version {
            service: rollout.service.as_deref().cloned().unwrap_or(last.service),
            misbehave: rollout.misbehave.clone().unwrap_or(last.misbehave),
        });
    }

    fn accept(&mut self, action_id: u32) {
        self.emit(Source::Harness, EventKind::ActionAccepted { action_id });
    }

    fn refuse(&mut self, action_id: u32, reason: String) {
        self.emit(Source::Harness, EventKind::ActionRefused { action_id, reason });
    }

    fn freeze(&mut self, action_id: u32, which: Which, lasts: Nanos) {
        let mut effects = Vec::new();
        let input = Input::Kill { which, signal: Signal::Sigstop };
        self.cluster.handle(self.now, input, &mut effects);
        let frozen = effects.iter().find_map(|effect| match effect {
            Effect::Signal { container, signal: Signal::Sigstop } => Some(*container),
            _ => None,
        });
        self.carry_out(effects);
        match frozen {
            Some(container) => {
                self.agenda.plan(self.now + lasts, What::Thaw(container));
                self.accept(action_id);
            }
            None => self.refuse(action_id, "no pod runs".into()),
        }
    }

    fn evict(&mut self, action_id: u32, which: Which, until: Timestamp) {
        if self.may_evict() {
            self.input(Input::DeletePod { which, reason: DeleteReason::Eviction });
            return self.accept(action_id);
        }
        let next = self.now + EVICT_EVERY;
        if next < until {
            self.agenda.plan(next, What::Evict(action_id, which.into(), until));
        }
        let reason = "it would violate the PodDisruptionBudget; it is asked for again";
        self.refuse(action_id, reason.into());
    }

    /// As on `local`.
    fn may_evict(&self) -> bool {
        let Some(budget) = &self.run.scenario.target.pod_disruption_budget else { return true };
        let status = self.cluster.status();
        let is_healthy = |pod: &&PodView| pod.is_ready && pod.phase != PodPhase::Terminating;
        let healthy = status.pods.iter().filter(is_healthy).count();
        healthy > budget.min_available.resolve_up(status.desired) as usize
    }

    /// Dependencies that are back.
    pub(super) fn restore(&mut self) {
        let now = self.now;
        let back = |(_, (at, _)): &(&String, &(Timestamp, u32))| *at <= now;
        let back: Vec<(String, u32)> = self
            .outages
            .iter()
            .filter(back)
            .map(|(name, (_, action))| (name.clone(), *action))
            .collect();
        for (name, action_id) in back {
            self.outages.remove(&name);
            let kind = EventKind::ActionEffect { action_id, seen: format!("{name} is back") };
            self.emit(Source::Harness, kind);
        }
    }
}

/// A pod's address: one of each, and none of this machine.
fn address(pod: u32) -> core::net::Ipv4Addr {
    core::net::Ipv4Addr::from_bits(0x0a00_0001 + pod % 0x00ff_fff0)
}

/// What a probe asks.
fn question(probe: &Probe, kind: ProbeKind) -> Ask {
    if let Some(get) = &probe.http_get {
        return match get.path.as_str() {
            "/readyz" => Ask::Ready,
            "/startupz" => Ask::Started,
            _ => Ask::Live,
        };
    }
    if let Some(exec) = &probe.exec {
        return Ask::Executed(execute(&exec.command));
    }
    match probe.tcp_socket.as_ref().map(|socket| &socket.port) {
        Some(Some(Port::Name(name))) if name != "health" => Ask::Port,
        Some(Some(Port::Number(_))) => Ask::Port,
        // The health port is open as long as the process lives.
        _ => {
            let _ = kind;
            Ask::Live
        }
    }
}

/// The page of a replica's metrics, as far as the bundled service tells it.
fn lines(replica: &Replica) -> Vec<(&'static str, String, Option<f64>, f64)> {
    let counts = &replica.counts;
    let labels = |status: u16| format!("{{route=\"/work\",method=\"GET\",status=\"{status}\"}}");
    let mut lines = Vec::from([
        ("http_requests_total", labels(200), None, counts.answered as f64),
        ("http_requests_total", labels(503), None, counts.refused as f64),
        ("http_requests_in_flight", String::new(), None, f64::from(replica.in_flight)),
    ]);
    let name = "http_request_duration_seconds_bucket";
    let mut below = 0;
    for (bound, n) in BUCKETS.iter().zip(counts.buckets) {
        below += n;
        let labels = format!("{{route=\"/work\",le=\"{bound}\"}}");
        lines.push((name, labels, Some(*bound), below as f64));
    }
    let all = (counts.answered + counts.refused) as f64;
    lines.push((name, "{route=\"/work\",le=\"+Inf\"}".into(), Some(f64::INFINITY), all));
    lines
}
