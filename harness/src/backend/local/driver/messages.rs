//! What the processes tell.

use highwater_model::{
    cluster::{ContainerId, Effect, Input},
    event::{EventKind, LifecyclePhase, Source},
    time::Timestamp,
};

use super::{Driver, LAST_LINES};
use crate::{
    backend::{
        BackendError,
        local::{message::Message, shim::News},
    },
    proxy::protocol::Report,
};

impl Driver<'_> {
    pub(super) async fn message(&mut self, message: Message) -> Result<(), BackendError> {
        let now = self.clock.now();
        match message {
            Message::Container { container, news } => {
                self.container_news(now, container, news).await
            }
            Message::Probe { probe, passed, detail } => {
                self.last_probe.clone_from(&detail);
                self.input(now, now, Input::ProbeDone { probe, passed, detail }).await
            }
            Message::PreStop { container, ok, detail } => {
                self.input(now, now, Input::PreStopDone { container, ok, detail }).await
            }
            Message::Lifecycle { container, line } => self.lifecycle(container, &line),
            Message::Output(line) => {
                if self.start.is_none() && !line.is_empty() {
                    self.last_lines.push_back(line);
                    while self.last_lines.len() > LAST_LINES {
                        self.last_lines.pop_front();
                    }
                }
                Ok(())
            }
            Message::Scraped { container, page } => {
                self.scraped(now, container, &page);
                Ok(())
            }
            Message::Proxy(report) => self.proxy_report(now, report),
            Message::ProxyExited(reason) => {
                Err(BackendError::PartEnded { part: "the proxy", reason })
            }
        }
    }

    pub(super) async fn container_news(
        &mut self,
        now: Timestamp,
        container: ContainerId,
        news: News,
    ) -> Result<(), BackendError> {
        match news {
            News::Started { pid, mono_ns } => {
                self.container_runs(now, container, pid);
                let address = self
                    .pod_addresses
                    .get(&container.pod)
                    .map(|address| address.main().to_string());
                let input = Input::ContainerStarted { container, address, pid: Some(pid) };
                self.input(now, self.clock.at(mono_ns), input).await
            }
            News::Failed(reason) => {
                self.input(now, now, Input::ContainerStartFailed { container, reason }).await
            }
            News::Exited { code, signal, oom, mono_ns } => {
                self.container_ended(container);
                let input = Input::ContainerExited { container, code, signal };
                let mut effects = Vec::new();
                self.cluster.handle(now, input, &mut effects);
                effects.iter_mut().for_each(|effect| mark_oom(effect, oom));
                self.carry_out(self.clock.at(mono_ns).min(now), effects).await
            }
        }
    }

    pub(super) fn lifecycle(
        &mut self,
        container: ContainerId,
        line: &str,
    ) -> Result<(), BackendError> {
        let Ok(mut details) =
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line)
        else {
            return Ok(());
        };
        let phase = details
            .remove("event")
            .and_then(|event| serde_json::from_value::<LifecyclePhase>(event).ok());
        let at = details.remove("monoNs").and_then(|at| at.as_u64()).map(|at| self.clock.at(at));
        let (Some(phase), Some(at)) = (phase, at) else { return Ok(()) };
        for key in ["highwater", "time", "pod"] {
            details.remove(key);
        }
        let parts: Vec<String> =
            details.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let pod = self.cluster.pod_name(container.pod).to_string();
        // A target cannot write history: nothing of its is later than now.
        let at = at.min(self.clock.now());
        self.emit(at, Source::Target, EventKind::Lifecycle { pod, phase, detail: parts.join(" ") })
    }

    pub(super) fn proxy_report(
        &mut self,
        now: Timestamp,
        report: Report,
    ) -> Result<(), BackendError> {
        if let Report::ViewApplied { worker, version, .. } = report {
            self.unapplied.retain(|other, waits| *other != worker || *waits > version);
        }
        // Nothing of the proxy's is later than now.
        let at = report.happened().map_or(now, |at| self.clock.at(at).min(now));
        match report.into_event(&self.clock) {
            Some(kind) => self.emit(at, Source::Proxy, kind),
            None => Ok(()),
        }
    }
}

/// The cluster machine knows of no memory: the shim does, and the record says so.
fn mark_oom(effect: &mut Effect, is_out_of_memory: bool) {
    if let Effect::Emit { kind: EventKind::ContainerExited { oom, .. }, .. } = effect {
        *oom |= is_out_of_memory;
    }
}
