//! What is learnt of a cluster while a run goes on: a watch for each kind of object, a poll of the
//! resource metrics, and the logs of the target's pods, all into one bounded channel.
//!
//! 1. one kind: list, watch, and again after trouble: [`kind`]
//! 2. what went wrong, and how long to wait: [`trouble`]
//! 3. the resource metrics: [`poll`]; logs: [`log`]
//!
//! `kube::runtime::watcher` is not used here, because it does not tell what a record needs to know:
//! that a watch was resumed (the end of a gap in which nothing changed), or that a server which
//! accepts connections says nothing any more. The loop is the same otherwise. The client must be
//! made without `default_retry`, which would hide throttling and outages for minutes.

pub mod kind;
pub mod log;
pub mod poll;
pub mod trouble;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, collections::BTreeSet, time::Duration};

use highwater_model::time::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Event, Node, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
};

use super::observe::{News, Watched, endpoints::SERVICE_NAME};
use crate::clock::RunClock;
use kind::{Kind, Selection};

/// How many messages wait at most; then the watches wait.
const MESSAGES_MAX: usize = 1_024;
/// How many logs are followed at most, each of which is a connection.
pub const LOGS_MAX: usize = 256;

/// Something that was learnt, and when.
#[derive(Clone, Debug)]
pub struct Message {
    /// The instant at which it arrived.
    pub at: Timestamp,
    /// What.
    pub what: News,
}

/// What is watched.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The target's namespace.
    pub namespace: String,
    /// The pods' labels, as a selector: `app=web`. ReplicaSets have the same.
    pub pods: String,
    /// The Deployment's name; all if not given.
    pub deployment: Option<String>,
    /// The Service's name; EndpointSlices of all Services if not given.
    pub service: Option<String>,
    /// The autoscaler's name; all if not given.
    pub autoscaler: Option<String>,
    /// Which kinds: a right may be missing, or an API.
    pub kinds: BTreeSet<Watched>,
    /// How long things may take.
    pub pace: Pace,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long the server lets a watch be, whole seconds. A healthy server ends it then, which
    /// tells a quiet watch from a dead one.
    pub watch: Duration,
    /// How much longer a watch may be silent.
    pub silence: Duration,
    /// How long a server may take to answer.
    pub answer: Duration,
    /// The first wait after trouble; doubled from then on.
    pub wait_min: Duration,
    /// The longest wait after trouble: so much longer than its cause a gap may be.
    pub wait_max: Duration,
    /// How long a server that throttles is left alone at most, whatever it asks for.
    pub throttled_max: Duration,
    /// How often the resource metrics are asked for. They change every 15 s.
    pub metrics: Duration,
    /// How long a log may be silent before it is asked for anew.
    pub log_silence: Duration,
}

impl Default for Pace {
    /// A server that is frozen is noticed within 13 s, one that is gone at once.
    fn default() -> Self {
        Self {
            watch: Duration::from_secs(10),
            silence: Duration::from_secs(3),
            answer: Duration::from_secs(5),
            wait_min: Duration::from_millis(100),
            wait_max: Duration::from_secs(2),
            throttled_max: Duration::from_secs(10),
            metrics: Duration::from_secs(3),
            log_silence: Duration::from_secs(30),
        }
    }
}

/// All kinds that can be watched.
pub fn all_kinds() -> BTreeSet<Watched> {
    use Watched::{
        Autoscalers, Deployments, EndpointSlices, Events, Metrics, Nodes, Pods, ReplicaSets,
    };
    BTreeSet::from([
        Pods,
        EndpointSlices,
        Deployments,
        ReplicaSets,
        Autoscalers,
        Events,
        Nodes,
        Metrics,
    ])
}

/// Watches that run. They end when it is dropped.
pub struct Watches {
    client: Client,
    namespace: String,
    line: Line,
    messages: mpsc::Receiver<Message>,
    tasks: JoinSet<()>,
    logs: BTreeMap<String, AbortHandle>,
}

/// The way of messages, for a task.
#[derive(Clone, Debug)]
pub(super) struct Line {
    sender: mpsc::Sender<Message>,
    clock: RunClock,
    pace: Pace,
}

/// Nobody takes messages any more.
#[derive(Debug)]
struct Closed;

impl Line {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sends something that was learnt now; waits while the channel is full.
    async fn send(&self, what: News) -> Result<(), Closed> {
        let message = Message { at: self.now(), what };
        self.sender.send(message).await.map_err(|_| Closed)
    }
}

impl Watches {
    /// Starts to watch. Must be called within a tokio runtime.
    pub fn start(client: Client, clock: RunClock, plan: &Plan) -> Self {
        let (sender, messages) = mpsc::channel(MESSAGES_MAX);
        let line = Line { sender, clock, pace: plan.pace };
        let mut tasks = JoinSet::new();
        for what in &plan.kinds {
            spawn(what, &client, plan, line.clone(), &mut tasks);
        }
        let namespace = plan.namespace.clone();
        Self { client, namespace, line, messages, tasks, logs: BTreeMap::new() }
    }

    /// The next message. Never ends by itself.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// Follows the log of a pod's container until the pod is gone or [`Watches::unfollow`]. Does
    /// nothing if it is followed already; returns `false` if [`LOGS_MAX`] are.
    pub fn follow(&mut self, pod: &str, container: Option<&str>) -> bool {
        self.logs.retain(|_, task| !task.is_finished());
        if self.logs.contains_key(pod) {
            return true;
        }
        if self.logs.len() >= LOGS_MAX {
            return false;
        }
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let follow = log::Follow::new(api, pod, container);
        let task = self.tasks.spawn(follow.run(self.line.clone()));
        self.logs.insert(pod.into(), task);
        true
    }

    /// Ends the following of a pod's log.
    pub fn unfollow(&mut self, pod: &str) {
        if let Some(task) = self.logs.remove(pod) {
            task.abort();
        }
    }
}

fn spawn(what: &Watched, client: &Client, plan: &Plan, line: Line, tasks: &mut JoinSet<()>) {
    let (client, namespace) = (client.clone(), plan.namespace.as_str());
    let labels = || Selection::labels(&plan.pods);
    let named = |name: &Option<String>| match name {
        Some(name) => Selection::name(name),
        None => Selection::default(),
    };
    match what {
        Watched::Pods => {
            let api: Api<Pod> = Api::namespaced(client, namespace);
            tasks.spawn(Kind::new(api, Watched::Pods, labels(), News::Pods).run(line));
        }
        Watched::ReplicaSets => {
            let api: Api<ReplicaSet> = Api::namespaced(client, namespace);
            tasks
                .spawn(Kind::new(api, Watched::ReplicaSets, labels(), News::ReplicaSets).run(line));
        }
        Watched::EndpointSlices => {
            let of_service = plan.service.as_ref().map_or_else(Selection::default, |service| {
                Selection::labels(&format!("{SERVICE_NAME}={service}"))
            });
            let api: Api<EndpointSlice> = Api::namespaced(client, namespace);
            let kind = Kind::new(api, Watched::EndpointSlices, of_service, News::EndpointSlices);
            tasks.spawn(kind.run(line));
        }
        Watched::Deployments => {
            let api: Api<Deployment> = Api::namespaced(client, namespace);
            let selection = named(&plan.deployment);
            let kind = Kind::new(api, Watched::Deployments, selection, News::Deployments);
            tasks.spawn(kind.run(line));
        }
        Watched::Autoscalers => {
            let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client, namespace);
            let selection = named(&plan.autoscaler);
            let kind = Kind::new(api, Watched::Autoscalers, selection, News::Autoscalers);
            tasks.spawn(kind.run(line));
        }
        Watched::Events => {
            let api: Api<Event> = Api::namespaced(client, namespace);
            let kind = Kind::new(api, Watched::Events, Selection::default(), News::Events);
            tasks.spawn(kind.run(line));
        }
        Watched::Nodes => {
            let api: Api<Node> = Api::all(client);
            let kind = Kind::new(api, Watched::Nodes, Selection::default(), News::Nodes);
            tasks.spawn(kind.run(line));
        }
        Watched::Metrics => {
            tasks.spawn(poll::run(client, namespace.into(), plan.pods.clone(), line));
        }
        // Logs are followed one by one.
        Watched::Log(_) => {}
    }
}
