//! Our machines, given of a recorded rollout only what is not theirs: when the scenario acted, how
//! long a node took to start each container, how long its process took to serve and to exit.

use std::collections::BTreeMap;

use highwater_model::{
    cluster::{Cluster, Config, ContainerId, Effect, Input, Timing},
    event::{DeleteReason, Event, EventKind, ProbeKind, Signal},
    spec::{Action, Distribution, PodTemplate, Port, Which},
    time::{Nanos, Timestamp},
};

use crate::{CLEARLY, Recording, lives::Life};

/// What a probe's answer takes: a request within a node.
const PROBE_TAKES: Nanos = Nanos::from_millis(2);
/// Steps of one replay; more is an endless loop.
const STEPS_MAX: usize = 1_000_000;

enum Todo {
    Start(ContainerId),
    Act(Box<Action>),
    Exit(ContainerId, i32),
    Answer { probe: u64, container: ContainerId, kind: ProbeKind },
}

/// A process of ours, with the recorded times of the one in its place.
#[derive(Clone, Copy)]
struct Process {
    listening: Option<Timestamp>,
    serving: Option<Timestamp>,
    is_told: bool,
}

pub(crate) struct Replay<'a> {
    lives: &'a [Life],
    template: &'a PodTemplate,
    cluster: Cluster,
    now: Timestamp,
    agenda: BTreeMap<(Timestamp, usize), Todo>,
    planned: usize,
    processes: BTreeMap<ContainerId, Process>,
    /// Of each pod of ours, by number: the recorded life in its place.
    made: Vec<usize>,
    /// The recorded life whose end is that of a pod of ours.
    ends: BTreeMap<u32, usize>,
    events: Vec<Event>,
    /// Whether more pods were made than were recorded.
    is_off: bool,
}

/// The events of our machines, to a while after the last that was recorded. `None` if they make
/// more pods than were recorded: then there is nothing to give them.
pub(crate) fn replay<'a>(
    recording: &'a Recording,
    lives: &'a [Life],
    seed: u64,
) -> Option<Vec<Event>> {
    let timing = Timing { start: Distribution::Fixed(Nanos::ZERO), ..Timing::default() };
    let cluster = Cluster::new(Config {
        deployment: recording.scenario.target.deployment.clone(),
        consumers: 0,
        propagation: Distribution::Fixed(Nanos::ZERO),
        timing,
        seed,
    });
    let mut replay = Replay {
        lives,
        template: &recording.scenario.target.deployment.template,
        cluster,
        now: lives[0].created,
        agenda: BTreeMap::new(),
        planned: 0,
        processes: BTreeMap::new(),
        made: Vec::new(),
        ends: BTreeMap::new(),
        events: Vec::new(),
        is_off: false,
    };
    for (at, action) in recording.actions() {
        replay.plan(at, Todo::Act(Box::new(action)));
    }
    replay.run(recording.end() + CLEARLY);
    (!replay.is_off).then_some(replay.events)
}

impl Replay<'_> {
    fn plan(&mut self, at: Timestamp, todo: Todo) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), todo);
    }

    fn run(&mut self, end: Timestamp) {
        let mut effects = Vec::new();
        self.cluster.advance(self.now, &mut effects);
        self.carry_out(effects);
        for _ in 0..STEPS_MAX {
            let todo = self.agenda.first_key_value().map(|(key, _)| *key);
            let (due, own) = (self.cluster.next_deadline(), todo.map(|(at, _)| at));
            let Some(next) = [due, own].into_iter().flatten().min() else { return };
            if next > end {
                return;
            }
            self.now = self.now.max(next);
            if own == Some(next) {
                let todo = self.agenda.remove(&todo.expect("it is due")).expect("it is due");
                self.carry_on(todo);
            } else {
                let mut effects = Vec::new();
                self.cluster.advance(self.now, &mut effects);
                self.carry_out(effects);
            }
        }
        panic!("no end");
    }

    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.cluster.handle(self.now, input, &mut effects);
        self.carry_out(effects);
    }

    fn carry_on(&mut self, todo: Todo) {
        match todo {
            Todo::Start(container) => self.start(container),
            Todo::Act(action) => self.act(&action),
            Todo::Exit(container, code) => {
                if self.processes.remove(&container).is_some() {
                    let signal = (code > 128).then(|| code - 128);
                    self.input(Input::ContainerExited { container, code, signal });
                }
            }
            Todo::Answer { probe, container, kind } => {
                let process = self.processes.get(&container);
                let since = process.and_then(|process| match kind {
                    _ if self.is_elsewhere(kind) => None,
                    ProbeKind::Readiness if process.is_told => None,
                    ProbeKind::Readiness => process.serving,
                    ProbeKind::Liveness | ProbeKind::Startup => process.listening,
                });
                let passed = since.is_some_and(|since| since <= self.now);
                self.input(Input::ProbeDone { probe, passed, detail: String::new() });
            }
        }
    }

    /// Whether a probe asks at a port where nothing listens.
    fn is_elsewhere(&self, kind: ProbeKind) -> bool {
        let probe = match kind {
            ProbeKind::Startup => &self.template.startup_probe,
            ProbeKind::Readiness => &self.template.readiness_probe,
            ProbeKind::Liveness => &self.template.liveness_probe,
        };
        let socket = probe.as_ref().and_then(|probe| probe.tcp_socket.as_ref());
        socket.is_some_and(|socket| matches!(socket.port, Some(Port::Number(_))))
    }

    fn act(&mut self, action: &Action) {
        self.input(match action {
            Action::Rollout(_) => Input::Rollout,
            Action::Scale(scale) => Input::Scale { replicas: scale.replicas },
            Action::Evict(choice) => {
                Input::DeletePod { which: choice.pod, reason: DeleteReason::Eviction }
            }
            Action::Delete(choice) => {
                Input::DeletePod { which: choice.pod, reason: DeleteReason::Deleted }
            }
            Action::Kill(_) => Input::Kill { which: Which::Oldest, signal: Signal::Sigkill },
            other => panic!("{} is not replayed", other.key()),
        });
    }

    /// The recorded container in the place of this one.
    fn recorded(&self, container: ContainerId) -> Option<&crate::lives::Container> {
        let life = &self.lives[self.made[container.pod as usize]];
        life.containers.get(container.restarts as usize)
    }

    fn start(&mut self, container: ContainerId) {
        let now = self.now;
        let mut process = Process { listening: None, serving: None, is_told: false };
        let mut exit = None;
        if let Some(recorded) = self.recorded(container) {
            let here = |at: Timestamp| now + at.since(recorded.started);
            process.listening = recorded.listening.map(here);
            process.serving = recorded.serving.map(here);
            // An end that nobody ordered is the process's own.
            if recorded.sigterm.is_none() && recorded.killed_by_probe.is_none() {
                exit = recorded.exited.filter(|(_, code)| *code != 137);
                exit = exit.map(|(at, code)| (here(at), code));
            }
        }
        self.processes.insert(container, process);
        self.input(Input::ContainerStarted { container, address: None, pid: None });
        if let Some((at, code)) = exit {
            self.plan(at, Todo::Exit(container, code));
        }
    }

    fn signal(&mut self, container: ContainerId, signal: Signal) {
        if signal == Signal::Sigkill {
            return self.plan(self.now, Todo::Exit(container, 137));
        }
        let place = self.ends.get(&container.pod).copied();
        let place = place.unwrap_or(self.made[container.pod as usize]);
        let containers = &self.lives[place].containers;
        let index = if self.ends.contains_key(&container.pod) {
            containers.len().saturating_sub(1)
        } else {
            container.restarts as usize
        };
        // One that did not end of itself waits for SIGKILL.
        let end = containers.get(index).and_then(|recorded| {
            let (at, code) = recorded.exited.filter(|(_, code)| *code != 137)?;
            Some((self.now + at.since(recorded.sigterm?), code))
        });
        if let Some(process) = self.processes.get_mut(&container) {
            process.is_told = true;
        }
        if let Some((at, code)) = end {
            self.plan(at, Todo::Exit(container, code));
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Emit { source, kind } => {
                    self.note(&kind);
                    let seq = self.events.len() as u64;
                    let (precision, stated) = (None, None);
                    self.events.push(Event { at: self.now, seq, source, precision, stated, kind });
                }
                Effect::StartContainer { container, .. } => {
                    // A restart begins when the back-off is over; a first start took the node its time.
                    let mut at = self.now;
                    if container.restarts == 0 {
                        let life = &self.lives[self.made[container.pod as usize]];
                        let first = life.containers.first();
                        let Some(first) = first else { continue };
                        at = at + first.started.since(life.created);
                    }
                    self.plan(at, Todo::Start(container));
                }
                Effect::Signal { container, signal } => self.signal(container, signal),
                Effect::RunProbe { probe, container, kind, .. } => {
                    self.plan(self.now + PROBE_TAKES, Todo::Answer { probe, container, kind });
                }
                Effect::RunPreStop { .. } => panic!("only `sleep` is replayed"),
                Effect::ApplyView { .. } | Effect::RemovePod { .. } => {}
            }
        }
    }

    /// Finds the recorded pod for one that is made, and for one that goes: the first of its revision
    /// that has no other in its place. Which of several pods goes is upstream's chance.
    fn note(&mut self, kind: &EventKind) {
        match kind {
            EventKind::PodCreated { revision, .. } => {
                let mut of_revision = (0..self.lives.len())
                    .filter(|place| self.lives[*place].revision == *revision)
                    .filter(|place| !self.made.contains(place));
                let place = of_revision.next();
                self.is_off |= place.is_none();
                self.made.push(place.unwrap_or(0));
            }
            EventKind::PodDeleted { pod, .. } => {
                let numbers = 0..u32::try_from(self.made.len()).expect("few");
                let mut named = numbers.filter(|number| self.cluster.pod_name(*number) == pod);
                let number = named.next().expect("it was made");
                let revision = self.lives[self.made[number as usize]].revision;
                let first = (0..self.lives.len())
                    .filter(|place| self.lives[*place].revision == revision)
                    .filter(|place| !self.ends.values().any(|taken| taken == place))
                    .filter_map(|place| Some((self.lives[place].deleted?.0, place)))
                    .min();
                if let Some((_, place)) = first {
                    self.ends.insert(number, place);
                }
            }
            _ => {}
        }
    }
}
