//! The oracle's stand-ins for users, scheduler and kubelets (`oracle/rollout/{kubelet,actions}.go`).

use std::collections::BTreeMap;

use highwater_model::{
    cluster::{
        controllers::{Controllers, Write},
        deployment::{Change, Reason, Status},
        endpoints::Entry,
        replicaset::{Phase, Pod},
    },
    time::{Nanos, Timestamp},
};
use serde_json::{Value, json};

use crate::case::{Behaviour, Case, merge, seconds, wanted};

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
    case: &'a Case,
    controllers: Controllers,
    spec: Value,
    version: u32,
    highest: u32,
    now: Timestamp,
    /// By time, class (actions first) and order of planning.
    agenda: BTreeMap<(Timestamp, u8, u64), Event>,
    planned: u64,
    uids: u64,
    bound: u32,
    acted: usize,
    errors: &'a [bool],
    status: Option<Status>,
    endpoints: Vec<Entry>,
    trace: Vec<Value>,
}

impl<'a> World<'a> {
    /// Plays a case. `errors` tells of each action whether upstream's validation refused it.
    pub(crate) fn play(case: &'a Case, errors: &'a [bool]) -> Vec<Value> {
        let mut world = Self {
            case,
            controllers: Controllers::new(wanted(&case.deployment, 1), case.turn),
            spec: case.deployment.clone(),
            version: 1,
            highest: 1,
            now: Timestamp::ZERO,
            agenda: BTreeMap::new(),
            planned: 0,
            uids: 0,
            bound: 0,
            acted: 0,
            errors,
            status: None,
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

    fn run(&mut self) {
        loop {
            self.controllers.fire(self.now);
            self.settle();
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
            let next = [agenda, self.controllers.next_deadline(), Some(self.case.until)];
            self.now = next.into_iter().flatten().min().unwrap();
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

    fn add(&mut self, mut entry: Value) {
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
        self.note_endpoints();
    }

    /// As the oracle's controller writes them: at once, for pods with an address that have not
    /// failed.
    fn note_endpoints(&mut self) {
        let entries: Vec<Entry> = self
            .controllers
            .pods()
            .iter()
            .filter(|pod| pod.phase == Phase::Running)
            .map(|pod| {
                let name = format!("v{}-{}", pod.template, pod.number);
                Entry::new(pod.pod, &name, pod.ready.is_some(), pod.is_terminating)
            })
            .collect();
        if entries != self.endpoints {
            let endpoints: Vec<_> = entries.iter().map(|entry| &entry.endpoint).collect();
            self.add(json!({"kind": "endpoints", "endpoints": endpoints}));
            self.endpoints = entries;
        }
    }

    fn note_status(&mut self) {
        let status = *self.controllers.deployment().status();
        if self.status == Some(status) {
            return;
        }
        self.status = Some(status);
        self.add(json!({"kind": "deployment-status", "replicas": status.replicas,
            "updated": status.updated, "ready": status.ready, "available": status.available,
            "terminating": status.terminating}));
        let reason = match status.progress.map(|progress| progress.reason) {
            Some(Reason::Available) => "NewReplicaSetAvailable",
            Some(Reason::TimedOut) => "ProgressDeadlineExceeded",
            _ => "under-way",
        };
        self.add(json!({"kind": "deployment-condition", "type": "Progressing", "reason": reason}));
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
            Write::PodDeleted { pod, is_gone, .. } => {
                let (template, number) = names[&pod];
                self.deleted(pod, template, number, is_gone, "replicaset");
            }
        }
    }

    fn deleted(&mut self, pod: u32, template: u32, number: u32, is_gone: bool, by: &str) {
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
            Event::Unready(_) => self.set_ready(pod, false),
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

    fn update(&mut self, pod: u32, change: impl FnOnce(&mut Pod)) {
        self.controllers.update(self.now, pod, change);
    }

    fn set_ready(&mut self, pod: u32, is_ready: bool) {
        let second = Timestamp::ZERO + Nanos::from_secs(self.now.second());
        self.update(pod, |pod| {
            if pod.ready.is_some() != is_ready {
                pod.ready = is_ready.then_some(second);
            }
        });
    }

    fn act(&mut self, action: &Value) {
        let is_refused = self.errors.get(self.acted).copied().unwrap_or(false);
        self.acted += 1;
        let place = self.trace.len();
        self.add(json!({"kind": "action"}));
        let name = [
            "rollout",
            "scale",
            "pause",
            "resume",
            "rollback",
            "set",
            "killPod",
            "forcePod",
            "evictPod",
            "unreadyPod",
            "readyPod",
            "deletionCost",
        ]
        .into_iter()
        .find(|name| !action[*name].is_null() && action[*name] != false)
        .unwrap();
        let result = match name {
            "rollout" | "scale" | "pause" | "resume" | "rollback" | "set" => {
                self.change(name, &action[name], is_refused)
            }
            _ => self.on_pod(name, action),
        };
        let entry = &mut self.trace[place];
        entry["action"] = json!(name);
        match result {
            Ok(Some(pod)) => entry["pod"] = json!(pod),
            Ok(None) => {}
            Err(pod) => {
                entry["error"] = json!("refused");
                if let Some(pod) = pod {
                    entry["pod"] = json!(pod);
                }
            }
        }
    }

    fn change(
        &mut self,
        name: &str,
        value: &Value,
        is_refused: bool,
    ) -> Result<Option<String>, Option<String>> {
        if is_refused && name != "rollback" {
            return Err(None);
        }
        match name {
            "rollout" => {
                let version = value["version"].as_u64().unwrap_or(0);
                self.version = match u32::try_from(version).unwrap() {
                    0 => self.highest + 1,
                    version => version,
                };
                self.highest = self.highest.max(self.version);
            }
            "scale" => self.spec["replicas"] = value.clone(),
            "pause" => self.spec["paused"] = json!(true),
            "resume" => self.spec["paused"] = json!(false),
            "set" => merge(&mut self.spec, value),
            _ => self.version = self.roll_back(value).ok_or(None)?,
        }
        let wanted = wanted(&self.spec, self.version);
        self.controllers.want(wanted);
        Ok(None)
    }

    /// The template to go back to, as `kubectl rollout undo` finds it.
    fn roll_back(&self, value: &Value) -> Option<u32> {
        if self.spec["paused"] == true {
            return None;
        }
        let sets = self.controllers.deployment().sets();
        let (mut highest, mut second) = (0, 0);
        for set in sets {
            if set.revision > highest {
                (highest, second) = (set.revision, highest);
            } else if set.revision > second {
                second = set.revision;
            }
        }
        let to = match value["toRevision"].as_u64().unwrap_or(0) {
            0 => second,
            to => u32::try_from(to).unwrap(),
        };
        let found = sets.iter().rev().find(|set| set.revision == to)?;
        Some(found.template)
    }

    fn on_pod(&mut self, name: &str, action: &Value) -> Result<Option<String>, Option<String>> {
        let version = u32::try_from(action["ofVersion"].as_u64().unwrap_or(0)).unwrap();
        let which = if name == "deletionCost" { &action[name]["pod"] } else { &action[name] };
        let live: Vec<Pod> = self
            .controllers
            .pods()
            .iter()
            .filter(|pod| !pod.is_terminating && (version == 0 || pod.template == version))
            .cloned()
            .collect();
        let index = match which.as_str() {
            Some("oldest") => 0,
            Some(_) => -1,
            None => which.as_i64().unwrap(),
        };
        let count = i64::try_from(live.len()).unwrap();
        let index = if index < 0 { index + count } else { index };
        let chosen = usize::try_from(index).ok().and_then(|i| live.get(i));
        let pod = chosen.ok_or(None)?.clone();
        let label = format!("v{}-{}", pod.template, pod.number);
        let is_ready = pod.ready.is_some();
        let is_allowed = match name {
            "evictPod" => pod.phase != Phase::Failed && pod.node.is_some(),
            "unreadyPod" => pod.phase == Phase::Running && is_ready,
            "readyPod" => pod.phase == Phase::Running && !is_ready,
            _ => true,
        };
        if !is_allowed {
            return Err(Some(label));
        }
        match name {
            "killPod" => {
                let is_gone = self.controllers.delete(self.now, pod.pod);
                self.deleted(pod.pod, pod.template, pod.number, is_gone, "user");
            }
            "forcePod" => {
                self.controllers.remove(pod.pod);
                self.deleted(pod.pod, pod.template, pod.number, true, "user");
            }
            "evictPod" => self.update(pod.pod, |pod| {
                (pod.phase, pod.ready) = (Phase::Failed, None);
            }),
            "unreadyPod" => self.set_ready(pod.pod, false),
            "readyPod" => self.set_ready(pod.pod, true),
            _ => {
                let cost = i32::try_from(action[name]["cost"].as_i64().unwrap()).unwrap();
                self.update(pod.pod, |pod| pod.deletion_cost = cost);
            }
        }
        Ok(Some(label))
    }
}
