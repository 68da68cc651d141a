//! The processes of the pods: each below a shim of its own.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use highwater_model::{
    cluster::ContainerId,
    event::Signal,
    spec::{EnvVar, Misbehaviour, Rollout, Scenario, Service, Target},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};

use super::{address::PodAddress, message::Message, shim::News};
use crate::backend::{BackendError, service};

/// The longest line of a target that is kept or understood.
const LINE_BYTES_MAX: u64 = 16 << 10;
/// How much of a pod's output is kept in the run folder.
const LOG_BYTES_MAX: usize = 1 << 20;

/// What a pod runs.
#[derive(Clone, Debug)]
pub(super) enum Program {
    /// The bundled service.
    Service(Service),
    /// A command.
    Command(Vec<String>),
}

/// What the pods of one revision run.
#[derive(Clone, Debug)]
pub(super) struct Version {
    program: Program,
    env: Vec<EnvVar>,
    misbehave: Vec<Misbehaviour>,
}

impl Version {
    /// The first one.
    pub(super) fn of(target: &Target) -> Self {
        let program = match &target.command {
            Some(command) => Program::Command(command.clone()),
            None => Program::Service(target.service.clone().unwrap_or_default()),
        };
        Self { program, env: target.env.clone(), misbehave: target.misbehave.clone() }
    }

    /// The one that a rollout makes of this one.
    pub(super) fn next(&self, rollout: &Rollout) -> Self {
        let mut next = self.clone();
        if let Some(service) = &rollout.service {
            next.program = Program::Service((**service).clone());
        }
        if let Some(command) = &rollout.command {
            next.program = Program::Command(command.clone());
        }
        if let Some(misbehave) = &rollout.misbehave {
            next.misbehave.clone_from(misbehave);
        }
        next.env.retain(|old| rollout.env.iter().all(|new| new.name != old.name));
        next.env.extend(rollout.env.iter().cloned());
        next
    }
}

/// The processes of the pods.
#[derive(Debug)]
pub(super) struct Pods {
    me: PathBuf,
    /// The most bytes that a pod may have resident.
    memory: Option<u64>,
    /// Where files say which dependencies are out.
    outages: Option<PathBuf>,
    logs: Option<PathBuf>,
    messages: mpsc::Sender<Message>,
    running: BTreeMap<ContainerId, Running>,
}

#[derive(Debug)]
struct Running {
    shim: Child,
    orders: ChildStdin,
}

impl Pods {
    pub(super) fn new(
        scenario: &Scenario,
        logs: Option<&Path>,
        outages: Option<&Path>,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, BackendError> {
        let limits = &scenario.target.deployment.template.resources.limits;
        let me = std::env::current_exe().map_err(BackendError::system("finding this program"))?;
        if let Some(logs) = logs {
            std::fs::create_dir_all(logs)
                .map_err(BackendError::system(format!("making {}", logs.display())))?;
        }
        Ok(Self {
            me,
            memory: limits.memory.map(|bytes| bytes.0),
            outages: outages.map(Into::into),
            logs: logs.map(Into::into),
            messages,
            running: BTreeMap::new(),
        })
    }

    /// Starts a container; what becomes of it comes as messages.
    pub(super) fn start(
        &mut self,
        container: ContainerId,
        pod: &str,
        address: PodAddress,
        version: &Version,
        seed: u64,
    ) -> std::io::Result<()> {
        let command = match &version.program {
            Program::Command(argv) => argv.iter().map(|part| fill_in(part, pod, address)).collect(),
            Program::Service(service) => {
                self.service_command(service, &version.misbehave, seed, container)
            }
        };
        let memory = self.memory.map(|bytes| format!("--memory={bytes}"));
        let mut shim = Command::new(&self.me)
            .arg("pod-shim")
            .args(memory)
            .arg("--")
            .args(command)
            .env("HOST", address.ip.to_string())
            .env("PORT", address.port.to_string())
            .env("HEALTH_PORT", address.health_port.to_string())
            .env("POD_NAME", pod)
            .env("POD_IP", address.ip.to_string())
            .envs(version.env.iter().map(|known| (&known.name, &known.value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let taken = "a pipe that was asked for is there";
        let orders = shim.stdin.take().expect(taken);
        let news = shim.stdout.take().expect(taken);
        let output = shim.stderr.take().expect(taken);
        let log = self.logs.as_ref().map(|logs| logs.join(format!("{pod}.log")));
        tokio::spawn(read_news(container, news, self.messages.clone()));
        tokio::spawn(read_output(container, output, log, self.messages.clone()));
        self.running.insert(container, Running { shim, orders });
        Ok(())
    }

    fn service_command(
        &self,
        service: &Service,
        misbehave: &[Misbehaviour],
        seed: u64,
        container: ContainerId,
    ) -> Vec<String> {
        let own = seed ^ (u64::from(container.pod) << 20) ^ u64::from(container.restarts);
        let me = self.me.to_string_lossy().into_owned();
        let outages = self.outages.iter().map(|folder| format!("--outages={}", folder.display()));
        let arguments = service::arguments(service, misbehave, own).into_iter().chain(outages);
        std::iter::once(me).chain(arguments).collect()
    }

    /// Sends a signal; without effect on containers that have ended.
    pub(super) async fn signal(&mut self, container: ContainerId, signal: Signal) {
        let Some(running) = self.running.get_mut(&container) else { return };
        let order = format!("{}\n", signal.name());
        // A shim that is gone has told of the container's end.
        let _ = running.orders.write_all(order.as_bytes()).await;
    }

    /// Forgets the containers of a pod that is gone; whatever is left of them is killed.
    pub(super) fn remove(&mut self, pod: u32) {
        self.running.retain(|container, _| container.pod != pod);
    }

    /// Kills all that is left and waits until it is gone, ten seconds at most.
    pub(super) async fn teardown(&mut self) {
        let shims: Vec<Child> = std::mem::take(&mut self.running)
            .into_values()
            .map(|running| {
                // Closing its stdin tells a shim to end everything.
                drop(running.orders);
                running.shim
            })
            .collect();
        let all = async {
            for mut shim in shims {
                // A shim has no result.
                let _ = shim.wait().await;
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(10), all).await;
    }
}

fn fill_in(part: &str, pod: &str, address: PodAddress) -> String {
    part.replace("{port}", &address.port.to_string())
        .replace("{healthPort}", &address.health_port.to_string())
        .replace("{host}", &address.ip.to_string())
        .replace("{pod}", pod)
}

async fn read_news(
    container: ContainerId,
    news: tokio::process::ChildStdout,
    messages: mpsc::Sender<Message>,
) {
    let mut lines = BufReader::new(news).lines();
    let mut has_ended = false;
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(news) = News::parse(&line) {
            has_ended |= matches!(news, News::Exited { .. } | News::Failed(_));
            if messages.send(Message::Container { container, news }).await.is_err() {
                return;
            }
        }
    }
    if !has_ended {
        // The shim itself was killed: nobody knows how the target ended.
        let mono_ns = crate::clock::mono_ns();
        let news = News::Exited { code: -1, signal: None, oom: false, mono_ns };
        // The receiver is gone when the run is over.
        let _ = messages.send(Message::Container { container, news }).await;
    }
}

async fn read_output(
    container: ContainerId,
    output: tokio::process::ChildStderr,
    log: Option<PathBuf>,
    messages: mpsc::Sender<Message>,
) {
    let mut log =
        log.and_then(|path| std::fs::OpenOptions::new().create(true).append(true).open(path).ok());
    let mut kept = 0;
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if kept < LOG_BYTES_MAX
            && let Some(log) = &mut log
        {
            kept += line.len();
            // A log that cannot be written is not worth a run.
            let _ = log.write_all(&line);
        }
        let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
        let is_lifecycle = text.starts_with('{') && text.contains("\"highwater\":\"lifecycle/v1\"");
        let message = if is_lifecycle {
            Message::Lifecycle { container, line: text }
        } else {
            Message::Output(text)
        };
        if messages.send(message).await.is_err() {
            return;
        }
    }
}
