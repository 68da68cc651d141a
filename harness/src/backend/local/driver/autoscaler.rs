//! The autoscaler's side: its clock, and the readings of its metrics.

use highwater_model::{
    autoscaling::Step,
    cluster::{ContainerId, Input},
    metrics::Wish,
    time::Timestamp,
};

use super::Driver;
use crate::backend::{
    BackendError,
    local::{message::Message, metrics},
};

impl Driver<'_> {
    /// Does what is due of the autoscaler and of the metrics on their way to it.
    pub(super) async fn autoscale(&mut self, now: Timestamp) -> Result<(), BackendError> {
        let mut steps = Vec::new();
        if let Some(autoscaling) = &mut self.autoscaling {
            if autoscaling.next_deadline() > now {
                return Ok(());
            }
            autoscaling.advance(now, &self.cluster, &mut steps);
        }
        for step in steps {
            match step {
                Step::Wish(Wish::Usage(container)) => self.read_usage(now, container),
                Step::Wish(Wish::Scrape(container)) => self.scrape(container),
                Step::Scale(replicas) => self.input(now, now, Input::Scale { replicas }).await?,
                Step::Emit { source, kind, stated } => {
                    self.emit_stated(now, source, *kind, stated)?;
                }
            }
        }
        Ok(())
    }

    fn read_usage(&mut self, now: Timestamp, container: ContainerId) {
        let Some(usage) = self.pids.get(&container).and_then(|pid| metrics::usage(*pid)) else {
            return;
        };
        if let Some(autoscaling) = &mut self.autoscaling {
            autoscaling.used(now, container, usage);
        }
    }

    fn scrape(&self, container: ContainerId) {
        let Some(address) = self.pod_addresses.get(&container.pod) else { return };
        let path = &self.plan.scenario.metrics_pipeline.prometheus.path;
        let url = format!("http://{}{path}", address.main());
        let (client, messages) = (self.prober.client().clone(), self.messages.clone());
        tokio::spawn(async move {
            if let Some(page) = metrics::scrape(&client, url).await {
                // The receiver is gone when the run is over.
                let _ = messages.send(Message::Scraped { container, page }).await;
            }
        });
    }

    pub(super) fn scraped(&mut self, now: Timestamp, container: ContainerId, page: &str) {
        if let Some(autoscaling) = &mut self.autoscaling {
            autoscaling.scraped(now, container, metrics::series(page));
        }
    }

    pub(super) fn container_runs(&mut self, now: Timestamp, container: ContainerId, pid: u32) {
        self.pids.insert(container, pid);
        if let Some(autoscaling) = &mut self.autoscaling {
            autoscaling.started(now, container);
        }
    }

    pub(super) fn container_ended(&mut self, container: ContainerId) {
        self.pids.remove(&container);
        if let Some(autoscaling) = &mut self.autoscaling {
            autoscaling.ended(container);
        }
    }
}
