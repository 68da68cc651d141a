//! A case as the oracle reads it (`oracle/rollout/case.go`).

use std::collections::BTreeMap;

use highwater_model::{
    cluster::{controllers::Turn, deployment::Wanted},
    spec::{Deployment, RollingUpdate, Strategy, StrategyType},
    time::{Nanos, Timestamp},
    units::IntOrPercent,
};
use serde_json::Value;

/// The controllers of the oracle, in its order.
pub(crate) const CONTROLLERS: [&str; 3] = ["deployment", "replicaset", "endpointslice"];

/// A case.
pub(crate) struct Case {
    pub deployment: Value,
    pub grace: u64,
    pub behaviour: Behaviour,
    pub versions: BTreeMap<u32, Value>,
    pub nodes: u32,
    pub settles_each: bool,
    pub turn: Turn,
    /// `--endpoint-slice-updates-batch-period`.
    pub batch: Nanos,
    /// Whether the EndpointSlice controller has its turn before the ReplicaSet controller.
    pub is_slice_first: bool,
    pub uids_ascend: bool,
    pub actions: Vec<Value>,
    pub until: Timestamp,
}

/// What the stand-in kubelet does, in seconds; `None` is the default of the field.
#[derive(Clone, Copy, Default)]
pub(crate) struct Behaviour {
    pub schedule: Option<f64>,
    pub start: Option<f64>,
    pub spread: Option<f64>,
    pub ready: Option<f64>,
    pub crash: Option<f64>,
    pub termination: Option<f64>,
    pub unready: Option<f64>,
}

impl Behaviour {
    fn read(self, value: &Value) -> Self {
        let or = |name: &str, otherwise: Option<f64>| value[name].as_f64().or(otherwise);
        Self {
            schedule: or("scheduleSeconds", self.schedule),
            start: or("startSeconds", self.start),
            spread: or("spreadSeconds", self.spread),
            ready: or("readySeconds", self.ready),
            crash: or("crashSeconds", self.crash),
            termination: or("terminationSeconds", self.termination),
            unready: or("unreadySeconds", self.unready),
        }
    }
}

/// Seconds as the oracle takes them: whole milliseconds.
pub(crate) fn seconds(seconds: f64) -> Nanos {
    Nanos::from_millis((seconds * 1000.0 + 0.5) as u64)
}

impl Case {
    pub(crate) fn read(case: &Value) -> Self {
        let kubelet = &case["kubelet"];
        let versions = kubelet["versions"].as_object().into_iter().flatten();
        let order = order(case);
        let place = |name: &str| order.iter().position(|other| other == name);
        Self {
            deployment: case["deployment"].clone(),
            grace: case["deployment"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30),
            behaviour: Behaviour::default().read(kubelet),
            versions: versions
                .map(|(version, own)| (version.parse().unwrap(), own.clone()))
                .collect(),
            nodes: u32::try_from(case["nodes"].as_u64().unwrap_or(1).max(1)).unwrap(),
            settles_each: case["settle"] != "instant",
            turn: if place("replicaset") < place("deployment") {
                Turn::ReplicaSetFirst
            } else {
                Turn::DeploymentFirst
            },
            batch: seconds(case["batchSeconds"].as_f64().unwrap_or(0.0)),
            is_slice_first: place("endpointslice") < place("replicaset"),
            uids_ascend: case["uids"] != "descending",
            actions: case["actions"].as_array().cloned().unwrap_or_default(),
            until: Timestamp::ZERO + seconds(case["until"].as_f64().unwrap()),
        }
    }

    /// What pods of a template version do.
    pub(crate) fn behaviour(&self, version: u32) -> Behaviour {
        match self.versions.get(&version) {
            Some(own) => self.behaviour.read(own),
            None => self.behaviour,
        }
    }
}

/// The controllers in the order in which those with work get their turn.
pub(crate) fn order(case: &Value) -> Vec<String> {
    let named = case["order"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut order: Vec<String> = Vec::new();
    for name in named.chain(CONTROLLERS) {
        if !order.iter().any(|known| known == name) {
            order.push(name.into());
        }
    }
    order
}

/// A DeploymentSpec with the API server's defaults.
pub(crate) fn wanted(spec: &Value, template: u32) -> Wanted {
    let count = |name: &str, otherwise: u64| {
        u32::try_from(spec[name].as_u64().unwrap_or(otherwise)).unwrap()
    };
    let strategy = &spec["strategy"];
    let part = |name: &str| match &strategy["rollingUpdate"][name] {
        Value::Number(number) => {
            IntOrPercent::Int(u32::try_from(number.as_u64().unwrap()).unwrap())
        }
        Value::String(text) => text.parse().unwrap(),
        _ => IntOrPercent::Percent(25),
    };
    let deployment = Deployment {
        replicas: count("replicas", 1),
        strategy: Strategy {
            kind: if strategy["type"] == "Recreate" {
                StrategyType::Recreate
            } else {
                StrategyType::RollingUpdate
            },
            rolling_update: Some(RollingUpdate {
                max_surge: part("maxSurge"),
                max_unavailable: part("maxUnavailable"),
            }),
        },
        min_ready_seconds: count("minReadySeconds", 0),
        progress_deadline_seconds: count("progressDeadlineSeconds", 600),
        ..Deployment::default()
    };
    let endless = spec["progressDeadlineSeconds"].as_u64() == Some(i32::MAX as u64);
    let wanted = Wanted::new(&deployment);
    Wanted {
        progress_deadline: wanted.progress_deadline.filter(|_| !endless),
        history_limit: count("revisionHistoryLimit", 10),
        paused: spec["paused"] == true,
        template,
        ..wanted
    }
}

/// Merges fields into a spec as Go's decoder does into a struct.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
