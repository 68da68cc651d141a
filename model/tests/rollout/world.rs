//! The oracle's world: its clock and its stand-ins for scheduler and kubelets
//! (`oracle/rollout/{run_test,kubelet}.go`).

use std::collections::BTreeMap;

use highwater_model::{
    cluster::{
        controllers::{Controllers, Write},
        deployment::{Change, Status, Wanted},
        endpoints::Entry,
        replicaset::{Phase, Pod},
    },
    time::{Nanos, Timestamp},
};
use serde_json::{Value, json};

use crate::{
    case::{Behaviour, Case, seconds, wanted},
    observe::Seen,
};

#[derive(Clone)]
enum Event {
    Act(Value),
    Schedule(u32),
    Start(u32),
    /// With the number of crashes so far.
    Ready(u32, u32),
    Crash(u32, u32),
    Restart(u32, u32),
    Unready(u32),
    Gone(u32),
}

impl Event {
    fn pod(&self) -> Option<u32> {
        match *self {
            Self::Act(_) => None,
            Self::Schedule(pod) | Self::Start(pod) | Self::Unready(pod) | Self::Gone(pod) => {
                Some(pod)
            }
            Self::Ready(pod, _) | Self::Crash(pod, _) | Self::Restart(pod, _) => Some(pod),
        }
    }

    fn belongs_to_the_end(&self) -> bool {
        matches!(self, Self::Unready(_) | Self::Gone(_))
    }
}

pub(crate) struct World<'a> {
    pub(super) case: &'a Case,
    pub(super) controllers: Controllers,
    pub(super) spec: Value,
    pub(super) version: u32,
    pub(super) highest: u32,
    /// What decides between ReplicaSets of one second, by version: see [`Wanted::name`].
    names: &'a BTreeMap<u32, u64>,
    pub(super) now: Timestamp,
    /// By time, class (actions first) and order of planning.
    agenda: BTreeMap<(Timestamp, u8, u64), Event>,
    planned: u64,
    uids: u64,
    bound: u32,
    pub(super) acted: usize,
    pub(super) errors: &'a [bool],
    pub(super) status: Option<(Status, u32)>,
    pub(super) seen: BTreeMap<u32, Seen>,
    pub(super) slice_due: Option<Timestamp>,
    pub(super) endpoints: Vec<Entry>,
    pub(super) trace: Vec<Value>,
}

impl<'a> World<'a> {
    /// Plays a case. `errors` tells of each action whether upstream's validation refused it.
    pub(crate) fn play(
        case: &'a Case,
        errors: &'a [bool],
        names: &'a BTreeMap<u32, u64>,
    ) -> Vec<Value> {
        let first = Wanted { name: name_of(names, 1), ..wanted(&case.deployment, 1) };
        let mut world = Self {
            case,
            controllers: Controllers::new(first, case.turn),
            spec: case.deployment.clone(),
            version: 1,
            highest: 1,
            names,
            now: Timestamp::ZERO,
            agenda: BTreeMap::new(),
            planned: 0,
            uids: 0,
            bound: 0,
            acted: 0,
            errors,
            status: None,
            seen: BTreeMap::new(),
            slice_due: None,
            endpoints: Vec::new(),
            trace: Vec::new(),
        };
        for action in &case.actions {
            let at = action["at"].as_f64().unwrap();
            world.after(at, 0, Event::Act(action.clone()));
        }
        world.run();
        world.trace
    }

    /// The spec as it is now.
    pub(super) fn wanted(&self) -> Wanted {
        let name = name_of(self.names, self.version);
        Wanted { name, ..wanted(&self.spec, self.version) }
    }

    fn run(&mut self) {
        loop {
            self.controllers.fire(self.now);
            let is_due = self.slice_due.is_some_and(|due| due <= self.now);
            if is_due {
                self.slice_due = None;
            }
            if is_due && self.case.is_slice_first {
                self.note_endpoints();
            }
            self.settle();
            if is_due && !self.case.is_slice_first {
                self.note_endpoints();
            }
            let mut is_busy = false;
            while let Some(entry) = self.agenda.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let event = entry.remove();
                self.happen(event);
                is_busy = true;
                if self.case.settles_each {
                    break;
                }
            }
            if is_busy {
                continue;
            }
            if self.now >= self.case.until {
                return;
            }
            let agenda = self.agenda.keys().next().map(|&(at, ..)| at);
            let own = self.controllers.next_deadline();
            let next = [agenda, own, self.slice_due].into_iter().flatten().min();
            self.now = next.map_or(self.case.until, |next| next.min(self.case.until));
        }
    }

    fn after(&mut self, wait: f64, class: u8, event: Event) {
        if wait >= 0.0 {
            self.planned += 1;
            self.agenda.insert((self.now + seconds(wait), class, self.planned), event);
        }
    }

    fn step(&mut self, wait: f64, event: Event) {
        self.after(wait, 1, event);
    }

    pub(super) fn add(&mut self, mut entry: Value) {
        entry["at"] = json!(self.now.as_secs_f64());
        self.trace.push(entry);
    }

    fn settle(&mut self) {
        let (mut writes, mut uids, ascend) = (Vec::new(), self.uids, self.case.uids_ascend);
        let mut uid = |_, _| {
            uids += 1;
            if ascend { uids } else { u64::MAX - uids }
        };
        let before: BTreeMap<u32, Pod> =
            self.controllers.pods().iter().map(|pod| (pod.pod, pod.clone())).collect();
        self.controllers.settle(self.now, &mut uid, &mut writes);
        self.uids = uids;
        let mut names: BTreeMap<u32, (u32, u32)> =
            before.values().map(|pod| (pod.pod, (pod.template, pod.number))).collect();
        for write in writes {
            self.note(write, &mut names);
        }
        self.note_status();
        self.look_at_pods();
    }

    fn note(&mut self, write: Write, names: &mut BTreeMap<u32, (u32, u32)>) {
        match write {
            Write::Deployment(Change::Created { template, replicas }) => {
                self.add(json!({"kind": "replicaset-created", "version": template, "replicas": replicas}));
            }
            Write::Deployment(Change::Scaled { template, from, to }) => {
                self.add(json!({"kind": "replicaset-scaled", "version": template, "from": from, "replicas": to}));
            }
            Write::Deployment(Change::Removed { template }) => {
                self.add(json!({"kind": "replicaset-deleted", "version": template}));
            }
            Write::Deployment(Change::Annotated { .. } | Change::Status) => {}
            Write::PodCreated { pod, template, number } => {
                names.insert(pod, (template, number));
                self.add(json!({"kind": "pod-created", "pod": format!("v{template}-{number}")}));
                let schedule = self.case.behaviour(template).schedule.unwrap_or(0.0);
                self.step(schedule, Event::Schedule(pod));
            }
            Write::PodDeleted { pod, is_gone, by_chance, .. } => {
                let (template, number) = names[&pod];
                if by_chance {
                    self.add(json!({"kind": "by-chance"}));
                }
                self.deleted(pod, template, number, is_gone, "replicaset");
            }
        }
    }

    pub(super) fn deleted(
        &mut self,
        pod: u32,
        template: u32,
        number: u32,
        is_gone: bool,
        by: &str,
    ) {
        let grace = if is_gone { 0 } else { self.case.grace };
        let name = format!("v{template}-{number}");
        self.add(json!({"kind": "pod-deleted", "pod": name, "by": by, "grace": grace}));
        if is_gone {
            return;
        }
        let behaviour = self.case.behaviour(template);
        let most = grace as f64;
        let end = behaviour.termination.unwrap_or(most);
        let end = if end < 0.0 || end > most { most } else { end };
        if let Some(unready) = behaviour.unready
            && unready < end
        {
            self.step(unready, Event::Unready(pod));
        }
        self.step(end, Event::Gone(pod));
    }

    fn happen(&mut self, event: Event) {
        if let Event::Act(action) = event {
            self.act(&action);
            return;
        }
        let pod = event.pod().unwrap();
        let Some(known) = self.controllers.pod(pod).cloned() else {
            return;
        };
        if !event.belongs_to_the_end() && (known.is_terminating || known.phase == Phase::Failed) {
            return;
        }
        let behaviour = self.case.behaviour(known.template);
        match event {
            Event::Act(_) => {}
            Event::Schedule(_) => {
                let node = self.bound % self.case.nodes;
                self.bound += 1;
                self.update(pod, |pod| pod.node = Some(node));
                let spread = behaviour.spread.unwrap_or(0.0) * f64::from((known.number - 1) % 8);
                let start = behaviour.start.unwrap_or(1.0);
                let start = if start < 0.0 { start } else { start + spread };
                self.step(start, Event::Start(pod));
            }
            Event::Start(_) => {
                self.update(pod, |pod| pod.phase = Phase::Running);
                self.live(pod, behaviour, 0);
            }
            Event::Ready(_, crashes) => {
                if known.restarts == crashes {
                    self.set_ready(pod, true);
                }
            }
            Event::Crash(_, crashes) => {
                self.set_ready(pod, false);
                let wait = (10.0 * 2f64.powi(i32::try_from(crashes).unwrap())).min(300.0);
                self.step(wait, Event::Restart(pod, crashes));
            }
            Event::Restart(_, crashes) => {
                self.update(pod, |pod| pod.restarts += 1);
                self.live(pod, behaviour, crashes + 1);
            }
            Event::Unready(_) if known.ready.is_some() => self.set_ready(pod, false),
            Event::Unready(_) => {}
            Event::Gone(_) => self.controllers.remove(pod),
        }
    }

    fn live(&mut self, pod: u32, behaviour: Behaviour, crashes: u32) {
        let (ready, crash) = (behaviour.ready.unwrap_or(1.0), behaviour.crash.unwrap_or(-1.0));
        if crash < 0.0 || ready < crash {
            self.step(ready, Event::Ready(pod, crashes));
        }
        self.step(crash, Event::Crash(pod, crashes));
    }

    pub(super) fn update(&mut self, pod: u32, change: impl FnOnce(&mut Pod)) {
        self.controllers.update(self.now, pod, change);
    }

    pub(super) fn set_ready(&mut self, pod: u32, is_ready: bool) {
        let second = Timestamp::ZERO + Nanos::from_secs(self.now.second());
        self.update(pod, |pod| {
            if pod.ready.is_some() != is_ready {
                pod.ready = is_ready.then_some(second);
            }
        });
    }
}

fn name_of(names: &BTreeMap<u32, u64>, version: u32) -> u64 {
    names.get(&version).copied().unwrap_or(0)
}
