//! Doing to the target what the scenario says, beside the run's loop: an API server that is away
//! delays an action, and the record tells by how much.
//!
//! Changes are made one after the other, since each is noted in the journal first. What may have
//! to wait for something else (an eviction that a PodDisruptionBudget forbids, a signal in a
//! container) goes on by itself and holds nothing up.

use std::{collections::VecDeque, time::Duration};

use highwater_model::{
    spec::{Action, KillSignal, PatchAutoscaler, Rollout},
    time::Nanos,
};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        core::v1::{Node, Pod},
    },
    jiff::Timestamp as WallTime,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, Client,
    api::{AttachParams, DeleteParams, EvictParams, Patch, PatchParams},
};
use serde_json::{Map, Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    error::{CALL, ClusterError, call, call_again},
    journal::{Changed, Journal},
    rights::METRICS_SERVICE,
};

/// How long an action is tried: long enough for an API server that is away for half a minute.
const ACTION: Duration = Duration::from_secs(60);
/// How long an eviction is asked for that a PodDisruptionBudget does not allow.
const EVICTION: Duration = Duration::from_secs(120);
/// How often it is asked for, as `kubectl drain` does it.
///
/// *Source*: kubectl `pkg/drain/drain.go`, `evictPods`.
const EVICT_EVERY: Duration = Duration::from_secs(5);
/// How long a command in a container may take.
const EXEC: Duration = Duration::from_secs(15);
/// The longest output of a command that is told.
const OUTPUT_BYTES_MAX: u64 = 2 << 10;

/// What is acted on.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its namespace.
    pub namespace: String,
    /// The Deployment.
    pub deployment: String,
    /// The container that serves.
    pub container: String,
    /// The autoscaler, if there is one.
    pub autoscaler: Option<String>,
    /// Whether it is the user's, so that every change goes to the journal first.
    pub is_users: bool,
    /// Where the journal is.
    pub home: String,
}

/// An action with what had to be chosen for it.
#[derive(Clone, Debug)]
pub struct Order {
    /// The action's number.
    pub id: u32,
    /// What.
    pub action: Action,
    /// The pod that it is about, where it is about one.
    pub pod: Option<String>,
    /// The node of that pod.
    pub node: Option<String>,
    /// The target's pods on that node.
    pub pods_of_node: Vec<String>,
    /// The container's arguments from a rollout to other misbehaviours on.
    pub arguments: Option<Vec<String>>,
}

/// What became of an order.
#[derive(Clone, Debug)]
pub enum Report {
    /// The API server, or the container, has accepted it.
    Accepted(u32),
    /// It could not be done.
    Refused(u32, String),
    /// Something that an action took away for a while could not be put back yet.
    NotRestored(String),
}

/// Something to be put back at a time.
struct Undo {
    at: Instant,
    changed: Changed,
}

/// Carries orders out until their sender is dropped; then gives the journal back.
pub struct Actor {
    hands: Hands,
    journal: Journal,
    undo: VecDeque<Undo>,
    reports: mpsc::Sender<Report>,
    waiting: JoinSet<()>,
}

/// What acts without changing anything that would have to be put back.
#[derive(Clone)]
struct Hands {
    client: Client,
    subject: Subject,
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("subject", &self.hands.subject).finish_non_exhaustive()
    }
}

impl Actor {
    /// An actor with an empty journal.
    pub fn new(client: &Client, subject: Subject, reports: mpsc::Sender<Report>) -> Self {
        let journal = Journal::new(client, &subject.home);
        let hands = Hands { client: client.clone(), subject };
        Self { hands, journal, undo: VecDeque::new(), reports, waiting: JoinSet::new() }
    }

    /// Takes orders until there are none to come; what is left to be put back.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Journal {
        loop {
            let next = self.undo.iter().map(|undo| undo.at).min();
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.take(order).await,
                    None => return self.journal,
                },
                () = due => self.put_back().await,
                Some(_) = self.waiting.join_next(), if !self.waiting.is_empty() => {}
            }
        }
    }

    async fn take(&mut self, order: Order) {
        if let Err(error) = self.prepare(&order).await {
            return tell(&self.reports, order.id, Err(error)).await;
        }
        let (hands, reports) = (self.hands.clone(), self.reports.clone());
        if order.may_wait() {
            self.waiting.spawn(async move {
                let done = hands.act(&order).await;
                tell(&reports, order.id, done).await;
            });
        } else {
            let done = hands.act(&order).await;
            tell(&reports, order.id, done).await;
        }
    }

    async fn put_back(&mut self) {
        let now = Instant::now();
        while let Some(index) = self.undo.iter().position(|undo| undo.at <= now) {
            let Some(undo) = self.undo.remove(index) else { return };
            if let Err(error) = self.journal.restore_changed(&undo.changed).await {
                // It stays in the journal, and is tried again at the end.
                let _ = self.reports.send(Report::NotRestored(error.to_string())).await;
            }
        }
    }

    /// Notes what an order will change, and when it is to be put back.
    async fn prepare(&mut self, order: &Order) -> Result<(), ClusterError> {
        let subject = self.hands.subject.clone();
        let (namespace, name) = (subject.namespace, subject.deployment);
        let deployment = Changed::Deployment { namespace: namespace.clone(), name };
        match &order.action {
            Action::Rollout(_) if subject.is_users => {
                self.journal.note(deployment, &["template"]).await
            }
            Action::Scale(_) if subject.is_users => {
                self.journal.note(deployment, &["replicas"]).await
            }
            Action::PatchAutoscaler(patch) if subject.is_users => {
                let Some(name) = subject.autoscaler else { return Ok(()) };
                let spec = json!(patch);
                let fields: Vec<&str> =
                    spec.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                self.journal.note(Changed::Autoscaler { namespace, name }, &fields).await
            }
            Action::DrainNode(drain) => {
                let Some(name) = order.node.clone() else { return Ok(()) };
                let changed = Changed::Node { name };
                self.journal.note(changed.clone(), &["unschedulable"]).await?;
                if let Some(lasts) = drain.for_ {
                    self.put_back_after(changed, lasts);
                }
                Ok(())
            }
            Action::MetricsOutage(outage) => {
                let changed = Changed::ApiService { name: METRICS_SERVICE.into() };
                self.journal.note(changed.clone(), &["service"]).await?;
                self.put_back_after(changed, outage.for_);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn put_back_after(&mut self, changed: Changed, lasts: Nanos) {
        self.undo.push_back(Undo { at: Instant::now() + lasts.to_std(), changed });
    }
}

async fn tell(reports: &mpsc::Sender<Report>, id: u32, done: Result<(), ClusterError>) {
    let report = match done {
        Ok(()) => Report::Accepted(id),
        Err(error) => Report::Refused(id, error.to_string()),
    };
    // The receiver is gone when the run is over.
    let _ = reports.send(report).await;
}

impl Order {
    /// Whether it may have to wait for something, and so must not hold up what comes after it.
    fn may_wait(&self) -> bool {
        matches!(self.action, Action::Evict(_) | Action::DrainNode(_) | Action::Kill(_))
    }
}

impl Hands {
    async fn act(&self, order: &Order) -> Result<(), ClusterError> {
        let pod = || {
            order.pod.clone().ok_or_else(|| {
                ClusterError::unfit("choosing a pod", "the target has none that runs")
            })
        };
        match &order.action {
            Action::Rollout(rollout) => self.rollout(rollout, order.arguments.clone()).await,
            Action::Scale(scale) => {
                let patch = json!({"spec": {"replicas": scale.replicas}});
                self.patch_deployment("scaling the target", Patch::Merge(patch)).await
            }
            Action::Delete(_) => self.delete(&pod()?).await,
            Action::Kill(kill) => self.kill(&pod()?, kill.signal).await,
            Action::Evict(_) => self.evict(&pod()?).await,
            Action::DrainNode(_) => self.drain(order).await,
            Action::PatchAutoscaler(patch) => self.patch_autoscaler(patch).await,
            Action::MetricsOutage(_) => self.take_metrics().await,
            // Refused when the plan was checked.
            other @ (Action::Freeze(_) | Action::DependencyOutage(_)) => {
                Err(ClusterError::unfit(other.key(), "only local processes can do that"))
            }
        }
    }

    async fn patch_deployment(&self, doing: &str, patch: Patch<Value>) -> Result<(), ClusterError> {
        let deployments: Api<Deployment> =
            Api::namespaced(self.client.clone(), &self.subject.namespace);
        let (name, params) = (&self.subject.deployment, PatchParams::default());
        call_again(ACTION, doing, || deployments.patch(name, &params, &patch)).await.map(|_| ())
    }

    /// `kubectl rollout restart`, with the changes of the revision.
    async fn rollout(
        &self,
        rollout: &Rollout,
        arguments: Option<Vec<String>>,
    ) -> Result<(), ClusterError> {
        let mut container = Map::new();
        if let Some(image) = &rollout.image {
            container.insert("image".into(), json!(image));
        }
        if !rollout.env.is_empty() {
            container.insert("env".into(), json!(rollout.env));
        }
        if let Some(arguments) = arguments {
            container.insert("args".into(), json!(arguments));
        }
        let mut template = json!({"metadata": {"annotations": {
            "kubectl.kubernetes.io/restartedAt": now_rfc3339(),
        }}});
        if !container.is_empty() {
            container.insert("name".into(), json!(self.subject.container));
            template["spec"] = json!({"containers": [container]});
        }
        let patch = Patch::Strategic(json!({"spec": {"template": template}}));
        self.patch_deployment("restarting the rollout", patch).await
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.subject.namespace)
    }

    async fn delete(&self, pod: &str) -> Result<(), ClusterError> {
        let (pods, params) = (self.pods(), DeleteParams::default());
        let doing = format!("deleting pod {pod}");
        call_again(ACTION, &doing, || async { pods.delete(pod, &params).await.map(|_| ()) }).await
    }

    /// Asks for an eviction until it is allowed.
    async fn evict(&self, pod: &str) -> Result<(), ClusterError> {
        let (pods, params) = (self.pods(), EvictParams::default());
        let doing = format!("evicting pod {pod}");
        let deadline = Instant::now() + EVICTION;
        loop {
            match call(doing.as_str(), pods.evict(pod, &params)).await {
                // 429: a PodDisruptionBudget does not allow it now.
                Err(error) if error.is_passing() && Instant::now() + EVICT_EVERY < deadline => {
                    tokio::time::sleep(EVICT_EVERY).await;
                }
                other => return other.map(|_| ()),
            }
        }
    }

    async fn drain(&self, order: &Order) -> Result<(), ClusterError> {
        let Some(node) = order.node.clone() else {
            return Err(ClusterError::unfit("draining a node", "the target has no pod on any"));
        };
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
        let params = PatchParams::default();
        let doing = format!("cordoning node {node}");
        call_again(ACTION, &doing, || nodes.patch(&node, &params, &patch)).await?;
        for pod in &order.pods_of_node {
            match self.evict(pod).await {
                // It has gone by itself meanwhile.
                Err(error) if error.code() == Some(404) => {}
                other => other?,
            }
        }
        Ok(())
    }

    async fn patch_autoscaler(&self, patch: &PatchAutoscaler) -> Result<(), ClusterError> {
        let doing = "patching the autoscaler";
        let Some(name) = self.subject.autoscaler.clone() else {
            return Err(ClusterError::unfit(doing, "no autoscaler has the target for its own"));
        };
        let spec = json!(patch);
        let autoscalers: Api<HorizontalPodAutoscaler> =
            Api::namespaced(self.client.clone(), &self.subject.namespace);
        let (params, patch) = (PatchParams::default(), Patch::Merge(json!({"spec": spec})));
        call_again(ACTION, doing, || autoscalers.patch(&name, &params, &patch)).await.map(|_| ())
    }

    /// Leads the metrics API to a Service that is not there.
    async fn take_metrics(&self) -> Result<(), ClusterError> {
        let services: Api<APIService> = Api::all(self.client.clone());
        let nowhere = json!({"spec": {"service": {
            "name": "highwater-metrics-outage", "namespace": self.subject.home,
        }}});
        let (params, patch) = (PatchParams::default(), Patch::Merge(nowhere));
        let doing = "taking the metrics API away";
        call_again(ACTION, doing, || services.patch(METRICS_SERVICE, &params, &patch))
            .await
            .map(|_| ())
    }

    /// A signal to the container's process, from inside the container.
    async fn kill(&self, pod: &str, signal: KillSignal) -> Result<(), ClusterError> {
        let name = signal.signal().name().trim_start_matches("SIG");
        if !self.subject.is_users {
            return self.exec(pod, &["/highwater", "signal-child", name]).await;
        }
        let with_shell = format!("kill -{name} 1");
        match self.exec(pod, &["kill", &format!("-{name}"), "1"]).await {
            // Not every image has the program; a shell has it built in.
            Err(_) => self.exec(pod, &["sh", "-c", &with_shell]).await,
            done => done,
        }
    }

    /// Runs a command in the container; fails unless it exits 0.
    async fn exec(&self, pod: &str, command: &[&str]) -> Result<(), ClusterError> {
        let doing = format!("running `{}` in pod {pod}", command.join(" "));
        let params = AttachParams::default()
            .container(self.subject.container.clone())
            .stdin(false)
            .stdout(true)
            .stderr(true);
        let mut process =
            call(doing.as_str(), self.pods().exec(pod, command.iter().copied(), &params)).await?;
        let status = process.take_status();
        let errors = process.stderr();
        let ended = async {
            use tokio::io::AsyncReadExt as _;
            let mut output = String::new();
            if let Some(errors) = errors {
                // What cannot be read is not told.
                let _ = errors.take(OUTPUT_BYTES_MAX).read_to_string(&mut output).await;
            }
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            (status, output)
        };
        let (status, output) =
            timeout(EXEC.max(CALL), ended).await.map_err(|_| ClusterError::Deadline {
                doing: doing.clone(),
                within: Nanos::from_millis(EXEC.as_millis() as u64),
            })?;
        process.abort();
        match status {
            Some(status) if status.status.as_deref() == Some("Success") => Ok(()),
            Some(status) => {
                let message = status.message.unwrap_or_default();
                Err(ClusterError::unfit(doing, format!("{message} {}", output.trim())))
            }
            // The stream ended with the container: that is what a kill does.
            None => Ok(()),
        }
    }
}

/// The wall clock as `kubectl rollout restart` writes it.
#[expect(clippy::disallowed_methods, reason = "an annotation that people read, as kubectl's")]
fn now_rfc3339() -> String {
    let now: WallTime = std::time::SystemTime::now().try_into().unwrap_or(WallTime::UNIX_EPOCH);
    now.to_string()
}
