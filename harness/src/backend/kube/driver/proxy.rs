//! Highwater's own proxy before the target, if the path is one.

use highwater_model::{
    event::{EventKind, Source},
    time::Timestamp,
};

use super::Driver;
use crate::{
    agent::link,
    backend::{
        BackendError,
        kube::{
            proxies::{News, Proxy},
            stage,
        },
    },
    record::Line,
};

/// The next news; pending if there is no proxy.
pub(super) async fn next(proxy: &mut Option<Proxy>) -> News {
    match proxy {
        Some(proxy) => proxy.next().await,
        None => std::future::pending().await,
    }
}

impl Driver<'_> {
    /// Begins to look for the proxy's pod, if the path is one through it.
    pub(super) fn open_proxy(&mut self) -> Result<(), BackendError> {
        if !stage::uses_own_proxy(&self.plan.scenario) {
            return Ok(());
        }
        let token = link::new_token().map_err(BackendError::system("drawing a token"))?;
        let config = link::Config::new(self.clock, token);
        let (namespace, run) = (&self.home.namespace, &self.home.run);
        let workers = self.plan.scenario.path.proxy_workers;
        self.proxy = Some(Proxy::open(&self.cluster.client, namespace, run, workers, config));
        Ok(())
    }

    /// Whether every worker of the proxy may choose every pod that is ready; true if there is no
    /// proxy.
    pub(super) fn is_proxy_ready(&self) -> bool {
        let Some(proxy) = &self.proxy else { return true };
        let ready = self.observer.endpoints().iter().filter(|endpoint| endpoint.ready);
        proxy.is_ready(ready.map(|endpoint| endpoint.pod.as_str()))
    }

    /// Records what the proxy tells.
    pub(super) fn proxy_news(&mut self, news: News) -> Result<(), BackendError> {
        match news {
            News::Up { who, clock } => {
                self.node_clock(&who.node, &clock);
                Ok(())
            }
            News::Events(events) => {
                for mut event in events {
                    event.seq = self.next_seq();
                    self.sink.line(Line::Event(event))?;
                }
                Ok(())
            }
            News::Resumed { gap } => {
                let now = self.clock.now();
                let (what, from) = ("the proxy".into(), Timestamp(now.0.saturating_sub(gap.0)));
                let reason = "its control stream was cut; its events came later, all of them";
                let kind = EventKind::WatchGap { what, from, reason: reason.into() };
                self.emit(now, Source::Proxy, kind)
            }
            News::Lost { since, reason } => {
                self.emit(since, Source::Proxy, EventKind::ProxyExited { reason: reason.clone() })?;
                // Once all requests have their outcomes, nothing is missed.
                let is_over = self.start.is_some() && self.load.is_none();
                let part = "the proxy";
                if is_over { Ok(()) } else { Err(BackendError::PartEnded { part, reason }) }
            }
        }
    }
}
