//! Watching a cluster.

use std::fmt::Debug;

use futures_util::StreamExt as _;
use highwater_model::{spec::Scenario, time::Timestamp};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{Event, Node, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource, runtime::watcher};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{observe::{News, Seen, Watched}, stage::Stage};
use crate::clock::RunClock;

/// What is watched.
#[derive(Clone, Debug)]
pub struct Config {
    namespace: String,
    pods: String,
    service: String,
}

impl Config {
    /// For a run.
    pub fn of(_scenario: &Scenario, stage: &Stage) -> Self {
        Self {
            namespace: stage.subject.namespace.clone(),
            pods: stage.pods.clone(),
            service: stage.target.service.clone(),
        }
    }
}

type Out = mpsc::Sender<(Timestamp, News)>;

/// Starts.
pub fn start(client: &Client, config: Config, clock: RunClock) -> mpsc::Receiver<(Timestamp, News)> {
    let (out, news) = mpsc::channel(1024);
    let ns = &config.namespace;
    let all = watcher::Config::default();
    let pods = watcher::Config::default().labels(&config.pods);
    let slices = watcher::Config::default()
        .labels(&format!("kubernetes.io/service-name={}", config.service));
    let c = || client.clone();
    tokio::spawn(one(Api::<Pod>::namespaced(c(), ns), pods, Watched::Pods, News::Pods, clock, out.clone()));
    tokio::spawn(one(Api::<EndpointSlice>::namespaced(c(), ns), slices, Watched::EndpointSlices, News::EndpointSlices, clock, out.clone()));
    tokio::spawn(one(Api::<Deployment>::namespaced(c(), ns), all.clone(), Watched::Deployments, News::Deployments, clock, out.clone()));
    tokio::spawn(one(Api::<ReplicaSet>::namespaced(c(), ns), all.clone(), Watched::ReplicaSets, News::ReplicaSets, clock, out.clone()));
    tokio::spawn(one(Api::<HorizontalPodAutoscaler>::namespaced(c(), ns), all.clone(), Watched::Autoscalers, News::Autoscalers, clock, out.clone()));
    tokio::spawn(one(Api::<Event>::namespaced(c(), ns), all.clone(), Watched::Events, News::Events, clock, out.clone()));
    tokio::spawn(one(Api::<Node>::all(c()), all, Watched::Nodes, News::Nodes, clock, out));
    news
}

async fn one<K>(
    api: Api<K>,
    config: watcher::Config,
    what: Watched,
    wrap: fn(Seen<K>) -> News,
    clock: RunClock,
    out: Out,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let mut stream = Box::pin(watcher(api, config));
    let mut objects = Vec::new();
    let mut heard = clock.now();
    let mut gap: Option<Timestamp> = None;
    let mut first = true;
    while let Some(event) = stream.next().await {
        let now = clock.now();
        let mut news = Vec::new();
        match event {
            Ok(watcher::Event::Init) => objects.clear(),
            Ok(watcher::Event::InitApply(object)) => objects.push(object),
            Ok(watcher::Event::InitDone) => {
                let since = if first { None } else { gap.or(Some(heard)) };
                first = false;
                news.push(wrap(Seen::All { objects: std::mem::take(&mut objects), since }));
                if gap.take().is_some() {
                    news.push(News::GapEnded { what: what.clone() });
                }
                heard = now;
            }
            Ok(watcher::Event::Apply(object)) => {
                heard = now;
                news.push(wrap(Seen::Changed(Box::new(object))));
            }
            Ok(watcher::Event::Delete(object)) => {
                heard = now;
                news.push(wrap(Seen::Gone(Box::new(object))));
            }
            Err(error) => {
                if gap.is_none() {
                    gap = Some(heard);
                    news.push(News::GapBegan { what: what.clone(), from: heard, reason: error.to_string() });
                }
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        }
        for one in news {
            if out.send((now, one)).await.is_err() {
                return;
            }
        }
    }
}
