//! What the cluster machine wants done.

use std::{collections::VecDeque, sync::Arc};

use highwater_model::{
    cluster::{ContainerId, Effect, Input},
    event::ProbeKind,
    time::{Nanos, Timestamp},
};

use super::Driver;
use crate::{
    backend::{BackendError, local::message::Message},
    load,
    proxy::protocol::{Control as ProxyControl, EndpointAddress, View},
};

impl Driver<'_> {
    /// Tells the cluster something that happened at `at`; it reacts `now`.
    pub(super) async fn input(
        &mut self,
        now: Timestamp,
        at: Timestamp,
        input: Input,
    ) -> Result<(), BackendError> {
        let mut effects = Vec::new();
        self.cluster.handle(now, input, &mut effects);
        self.carry_out(at.min(now), effects).await
    }

    /// Carries effects out; what they tell happened at `at`.
    pub(super) async fn carry_out(
        &mut self,
        at: Timestamp,
        effects: Vec<Effect>,
    ) -> Result<(), BackendError> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Emit { source, kind } => self.emit(at, source, kind)?,
                Effect::StartContainer { container, pod, revision } => {
                    if let Err(reason) = self.start_container(container, &pod, revision) {
                        let now = self.clock.now();
                        let mut more = Vec::new();
                        let input = Input::ContainerStartFailed { container, reason };
                        self.cluster.handle(now, input, &mut more);
                        effects.extend(more);
                    }
                }
                Effect::Signal { container, signal } => self.pods.signal(container, signal).await,
                Effect::RunProbe { probe, container, kind, timeout } => {
                    self.run_probe(probe, container, kind, timeout);
                }
                Effect::RunPreStop { container, hook, timeout } => {
                    let (prober, messages) = (self.prober.clone(), self.messages.clone());
                    let Some(address) = self.pod_addresses.get(&container.pod).copied() else {
                        continue;
                    };
                    tokio::spawn(async move {
                        let (ok, detail) = prober.hook(&hook, address, timeout.to_std()).await;
                        // The receiver is gone when the run is over.
                        let _ = messages.send(Message::PreStop { container, ok, detail }).await;
                    });
                }
                Effect::ApplyView { consumer, version, routed } => {
                    self.apply_view(consumer, version, routed).await?;
                }
                Effect::RemovePod { pod } => {
                    self.pods.remove(pod);
                    if let Some(address) = self.pod_addresses.remove(&pod) {
                        self.addresses.give_back(address);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn start_container(
        &mut self,
        container: ContainerId,
        pod: &str,
        revision: u32,
    ) -> Result<(), String> {
        let address = match self.pod_addresses.get(&container.pod) {
            Some(address) => *address,
            None => {
                let address =
                    self.addresses.take(container.pod).map_err(|error| error.to_string())?;
                self.pod_addresses.insert(container.pod, address);
                address
            }
        };
        let index = revision as usize - 1;
        let version = &self.versions[index];
        let seed = self.plan.scenario.seed;
        self.pods.start(container, pod, address, version, seed).map_err(|error| error.to_string())
    }

    pub(super) fn run_probe(
        &mut self,
        probe: u64,
        container: ContainerId,
        kind: ProbeKind,
        timeout: Nanos,
    ) {
        let template = &self.plan.scenario.target.deployment.template;
        let spec = match kind {
            ProbeKind::Startup => &template.startup_probe,
            ProbeKind::Readiness => &template.readiness_probe,
            ProbeKind::Liveness => &template.liveness_probe,
        };
        let (Some(spec), Some(address)) =
            (spec.clone(), self.pod_addresses.get(&container.pod).copied())
        else {
            return;
        };
        let (prober, messages) = (self.prober.clone(), self.messages.clone());
        tokio::spawn(async move {
            let (passed, detail) = prober.probe(&spec, address, timeout.to_std()).await;
            // The receiver is gone when the run is over.
            let _ = messages.send(Message::Probe { probe, passed, detail }).await;
        });
    }

    pub(super) async fn apply_view(
        &mut self,
        consumer: u32,
        version: u64,
        routed: Vec<u32>,
    ) -> Result<(), BackendError> {
        match &mut self.proxy {
            None => self.tell_client(consumer, &routed),
            Some(proxy) => {
                let endpoints = routed.iter().filter_map(|pod| {
                    let address = self.pod_addresses.get(pod)?.main();
                    Some(EndpointAddress { pod: self.cluster.pod_name(*pod).into(), address })
                });
                self.unapplied.insert(consumer, version);
                let view = View { worker: consumer, version, endpoints: endpoints.collect() };
                if let Err(error) = proxy.order(&ProxyControl::View(view)).await {
                    let reason = format!("it takes no orders any more: {error}");
                    return Err(BackendError::PartEnded { part: "the proxy", reason });
                }
            }
        }
        self.views.insert(consumer, routed);
        Ok(())
    }

    pub(super) fn tell_client(&self, client: u32, routed: &[u32]) {
        let (Some(engine), None) = (&self.engine, &self.proxy) else { return };
        let endpoints = routed.iter().filter_map(|pod| {
            let address = self.pod_addresses.get(pod)?.main();
            Some((Arc::from(self.cluster.pod_name(*pod)), address))
        });
        engine.order(load::Control::View { client, endpoints: endpoints.collect() });
    }
}
