//! From the preflight to the first request.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::PathBuf,
};

use highwater_model::{
    event::{Event, EventKind, Source, WarningCode},
    spec::{Probe, Scenario},
    time::{Nanos, Timestamp},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Node},
};
use kube::{Api, ResourceExt as _, api::ListParams};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Driver, Message, loads::is_final};
use crate::{
    backend::{
        BackendError, Progress,
        kube::{
            Options, act,
            client::Cluster,
            error::{call, unless_gone},
            home::{Home, RENEW_EVERY},
            manifests::Making,
            observe::{
                Observer, Watched,
                time::{Anchor, Offset},
            },
            pods_of_job, preflight,
            rights::Needs,
            stage,
            watch::{self, Watches},
        },
    },
    clock::RunClock,
    plan::Plan,
    record::{Line, Sink},
};

/// How long target and generators may take to be ready, beside the target's own probes' delays.
const START_TIME: Nanos = Nanos::from_secs(180);
/// Orders for the actor that wait.
const ORDERS_MAX: usize = 256;
/// How much of a pod's output is kept in the run folder.
const LOG_BYTES_MAX: usize = 1 << 20;

/// A run whose namespace is taken.
pub(super) struct Begun {
    pub(super) home: Home,
    doubts: Vec<String>,
    version: String,
    nodes: Vec<String>,
}

/// What goes on beside the driver.
pub(super) struct Tasks {
    pub(super) all: JoinSet<()>,
    /// Ends with the journal once there are no more orders.
    pub(super) actor: tokio::task::JoinHandle<crate::backend::kube::journal::Journal>,
}

/// Looks whether the cluster is ready for the run, and takes the namespace. Nothing is left if it
/// fails.
pub(super) async fn begin(
    options: &Options,
    cluster: &Cluster,
    plan: &Plan,
) -> Result<Begun, BackendError> {
    let client = &cluster.client;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = call("reaching the API server", namespaces.get_metadata(&options.namespace)).await;
    let makes_home = match unless_gone(found) {
        Ok(found) => found.is_none(),
        // Without the right to look, the preflight says so by name.
        Err(error) if error.code() == Some(403) => false,
        Err(error) => return Err(error.into()),
    };
    let needs = Needs::of(&plan.scenario, &options.namespace, makes_home);
    let findings = preflight::examine(client, &plan.scenario, &needs, &options.image).await?;
    let (fatal, doubts): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.is_fatal);
    if !fatal.is_empty() {
        let findings = fatal.into_iter().map(|finding| finding.message).collect();
        return Err(BackendError::Preflight { findings });
    }
    let version = call("reading the version", client.apiserver_version()).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = call("listing the nodes", nodes.list_metadata(&ListParams::default())).await?;
    let holder = format!("{}/{}", host_name(), std::process::id());
    let home = Home::enter(client, &options.namespace, &holder).await?;
    Ok(Begun {
        home,
        doubts: doubts.into_iter().map(|finding| finding.message).collect(),
        version: version.git_version,
        nodes: nodes.items.iter().map(|node| node.name_any()).collect(),
    })
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_string()
}

impl<'a> Driver<'a> {
    /// Makes or finds the target, and starts everything that goes on beside.
    #[expect(clippy::too_many_arguments, reason = "what a run is made of, once")]
    pub(super) async fn open(
        options: &'a Options,
        cluster: Cluster,
        plan: &'a Plan,
        sink: &'a mut dyn Sink,
        clock: RunClock,
        begun: Begun,
        logs: Option<PathBuf>,
        messages: mpsc::Sender<Message>,
    ) -> Result<(Self, Tasks), BackendError> {
        let Begun { home, doubts, version, nodes } = begun;
        let client = cluster.client.clone();
        let scenario = &plan.scenario;
        let making =
            Making { scenario, namespace: &home.namespace, run: &home.run, image: &options.image };
        let before = crate::clock::wall_ns();
        let stage = match &scenario.target.workload {
            Some(workload) => stage::find(&client, &home.namespace, workload).await?,
            None => stage::make(&client, &making).await?,
        };
        let server = server_clock(&cluster, &stage, before).await?;
        let anchor = Anchor {
            zero_wall_ns: crate::clock::signed(crate::clock::wall_ns()) - clock.now().0 as i64,
            server,
        };
        if let Some(logs) = &logs {
            std::fs::create_dir_all(logs)
                .map_err(BackendError::system(format!("making {}", logs.display())))?;
        }
        let tasks = start_tasks(&client, &home, &messages);
        let (orders, given) = mpsc::channel(ORDERS_MAX);
        let (reports, mut reported) = mpsc::channel(ORDERS_MAX);
        let actor = act::Actor::new(&client, stage.subject.clone(), reports);
        let mut tasks = tasks;
        let to = messages.clone();
        tasks.spawn(async move {
            while let Some(report) = reported.recv().await {
                if to.send(Message::Act(report)).await.is_err() {
                    return;
                }
            }
        });
        let tasks = Tasks { all: tasks, actor: tokio::spawn(actor.run(given)) };
        let mut driver = Self {
            plan,
            sink,
            options,
            observer: Observer::new(stage.target.clone(), anchor),
            watches: Watches::start(client.clone(), clock, &watch_plan(scenario, &stage)),
            cluster,
            home,
            clock,
            seq: 0,
            stage,
            orders: Some(orders),
            load: None,
            generators_ready: BTreeSet::new(),
            limits: None,
            actions: plan.actions.iter().cloned().collect(),
            awaited: Vec::new(),
            phases: std::collections::VecDeque::new(),
            start: None,
            misbehave: scenario.target.misbehave.clone(),
            logs,
            log_files: BTreeMap::new(),
            proxy: None,
            progress: Progress { stage: "starting", total: plan.lasts(), ..Progress::default() },
            failed: 0,
            unsent: 0,
        };
        driver.tell_cluster(version, nodes, doubts)?;
        driver.open_proxy()?;
        driver.prepare_load().await?;
        Ok((driver, tasks))
    }

    fn tell_cluster(
        &mut self,
        version: String,
        nodes: Vec<String>,
        doubts: Vec<String>,
    ) -> Result<(), BackendError> {
        let (run, namespace) = (self.home.run.clone(), self.home.namespace.clone());
        let kind = EventKind::ClusterFound { version, nodes, run, namespace };
        let seq = self.next_seq();
        let (at, source) = (Timestamp::ZERO, Source::Api);
        let event = Event { at, seq, source, precision: None, stated: None, kind };
        self.sink.line(Line::Event(event))?;
        for doubt in doubts {
            self.warn(WarningCode::Preflight, doubt)?;
        }
        Ok(())
    }

    /// One step of the beginning: the target's readiness, the generators', the start.
    pub(super) async fn go_on_beginning(&mut self) -> Result<(), BackendError> {
        self.refuse_what_never_starts()?;
        if !self.observer.is_settled() {
            return Ok(());
        }
        self.connect_generators().await?;
        if self.is_proxy_ready() { self.start_traffic().await } else { Ok(()) }
    }

    /// Ends the beginning at once if a pod waits for what will not come by itself.
    fn refuse_what_never_starts(&self) -> Result<(), BackendError> {
        let pods = self.observer.pods();
        let hopeless =
            pods.iter().any(|pod| pod.waiting.as_ref().is_some_and(|(reason, _)| is_final(reason)));
        if hopeless { Err(self.never_ready(self.start_time())) } else { Ok(()) }
    }

    /// How long to wait for target and generators.
    pub(super) fn start_time(&self) -> Nanos {
        let template = &self.plan.scenario.target.deployment.template;
        let of = |probe: &Option<Probe>| {
            probe.as_ref().map_or(0, |probe| {
                u64::from(probe.initial_delay_seconds)
                    + u64::from(probe.period_seconds) * u64::from(probe.success_threshold)
            })
        };
        let seconds = of(&template.startup_probe)
            + of(&template.readiness_probe)
            + u64::from(self.plan.scenario.target.deployment.min_ready_seconds);
        let service = self.plan.scenario.target.service.as_ref();
        START_TIME
            + Nanos::from_secs(seconds)
            + service.map_or(Nanos::ZERO, |service| service.startup)
    }

    /// Keeps a line of a pod in the run folder.
    pub(super) fn keep_line(&mut self, pod: &str, line: &str) {
        let Some(logs) = &self.logs else { return };
        let file = match self.log_files.get_mut(pod) {
            Some(file) => file,
            None => {
                let path = logs.join(format!("{pod}.log"));
                let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
                // A log that cannot be written is not worth a run.
                let Ok(file) = opened else { return };
                self.log_files.entry(pod.into()).or_insert((file, 0))
            }
        };
        if file.1 < LOG_BYTES_MAX {
            file.1 += line.len() + 1;
            let _ = writeln!(file.0, "{line}");
        }
    }
}

/// The lead of the API server's clock over ours: what it wrote as an object's creation lies between
/// our asking and its answer, and is a whole second.
async fn server_clock(
    cluster: &Cluster,
    stage: &stage::Stage,
    before: u64,
) -> Result<Offset, BackendError> {
    if stage.subject.is_users {
        return Ok(Offset::default());
    }
    let deployments: Api<Deployment> =
        Api::namespaced(cluster.client.clone(), &stage.subject.namespace);
    let doing = "reading the target's Deployment";
    let made = call(doing, deployments.get_metadata(&stage.subject.deployment)).await?;
    let after = crate::clock::wall_ns();
    let Some(created) = made.metadata.creation_timestamp else { return Ok(Offset::default()) };
    let second = i128::from(created.0.as_second()) * 1_000_000_000;
    let (low, high) = (second - i128::from(after), second + 1_000_000_000 - i128::from(before));
    if low <= 0 && high >= 0 {
        // Nothing speaks against the same time on both.
        return Ok(Offset::default());
    }
    let ahead_ns = i64::try_from((low + high) / 2).unwrap_or(0);
    let uncertainty = Nanos(u64::try_from((high - low) / 2).unwrap_or(0));
    Ok(Offset { ahead_ns, uncertainty })
}

fn watch_plan(scenario: &Scenario, stage: &stage::Stage) -> watch::Plan {
    let mut kinds = watch::all_kinds();
    if scenario.autoscaler.is_none() && stage.target.autoscaler.is_none() {
        kinds.remove(&Watched::Metrics);
        kinds.remove(&Watched::Autoscalers);
    }
    watch::Plan {
        namespace: stage.subject.namespace.clone(),
        pods: stage.pods.clone(),
        deployment: Some(stage.target.deployment.clone()),
        service: Some(stage.target.service.clone()),
        autoscaler: stage.target.autoscaler.clone(),
        kinds,
        pace: watch::Pace::default(),
    }
}

fn start_tasks(
    client: &kube::Client,
    home: &Home,
    messages: &mpsc::Sender<Message>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (to, renewed) = (messages.clone(), home.clone());
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            if let Err(error) = renewed.renew().await {
                // The receiver is gone when the run is over.
                let _ = to.send(Message::LeaseLost(error)).await;
                return;
            }
        }
    });
    let (looked, mut seen) = mpsc::channel(64);
    let (namespace, run) = (home.namespace.clone(), home.run.clone());
    tasks.spawn(pods_of_job::look(client.clone(), namespace, run, looked));
    let to = messages.clone();
    tasks.spawn(async move {
        while let Some(seen) = seen.recv().await {
            if to.send(Message::Generator(seen)).await.is_err() {
                return;
            }
        }
    });
    tasks
}
