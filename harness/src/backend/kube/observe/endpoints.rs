//! The Service's endpoints, merged from its EndpointSlices.

use std::collections::BTreeMap;

use highwater_model::event::{Endpoint, EventKind, Source};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{Scribe, news::Seen};

/// The label of an EndpointSlice that names its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The endpoints of a Service.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    service: String,
    slices: BTreeMap<String, Vec<Endpoint>>,
    merged: Vec<Endpoint>,
    version: u64,
}

impl Endpoints {
    pub(super) fn new(service: &str) -> Self {
        Self { service: service.into(), ..Self::default() }
    }

    /// All endpoints, by name of the pod.
    pub fn all(&self) -> &[Endpoint] {
        &self.merged
    }

    /// How often they changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn take(&mut self, seen: &Seen<EndpointSlice>, scribe: &mut Scribe<'_>) {
        match seen {
            Seen::All { objects, .. } => {
                self.slices.clear();
                objects.iter().for_each(|slice| self.insert(slice));
            }
            Seen::Changed(slice) => self.insert(slice),
            Seen::Gone(slice) => {
                self.slices.remove(slice.metadata.name.as_deref().unwrap_or_default());
            }
        }
        let merged = merge(self.slices.values().flatten());
        let is_first = matches!(seen, Seen::All { .. }) && self.version == 0;
        if merged != self.merged || is_first {
            self.version += 1;
            self.merged.clone_from(&merged);
            let kind = EventKind::Endpoints { version: self.version, endpoints: merged };
            scribe.unstated(Source::Controller, kind);
        }
    }

    fn is_of_service(&self, slice: &EndpointSlice) -> bool {
        let labels = slice.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(SERVICE_NAME)) == Some(&self.service)
    }

    fn insert(&mut self, slice: &EndpointSlice) {
        if self.is_of_service(slice) {
            let name = slice.metadata.name.clone().unwrap_or_default();
            self.slices.insert(name, slice.endpoints.iter().filter_map(endpoint).collect());
        }
    }
}

/// An endpoint that is a pod. Absent conditions mean: ready, serving as it is ready, not
/// terminating.
///
/// *Source*: `api/discovery/v1/types.go`, `EndpointConditions`.
fn endpoint(endpoint: &k8s_openapi::api::discovery::v1::Endpoint) -> Option<Endpoint> {
    let target = endpoint.target_ref.as_ref();
    let target = target.filter(|target| target.kind.as_deref() == Some("Pod"))?;
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    Some(Endpoint {
        pod: target.name.clone()?,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
    })
}

/// One endpoint for each pod. A pod is in two slices while it moves from one to the other, and
/// where it has two addresses; it may be chosen as long as one of them says so.
fn merge<'a>(endpoints: impl Iterator<Item = &'a Endpoint>) -> Vec<Endpoint> {
    let mut pods: BTreeMap<&str, Endpoint> = BTreeMap::new();
    for endpoint in endpoints {
        pods.entry(&endpoint.pod)
            .and_modify(|known| {
                known.ready |= endpoint.ready;
                known.serving |= endpoint.serving;
                known.terminating &= endpoint.terminating;
            })
            .or_insert_with(|| endpoint.clone());
    }
    pods.into_values().collect()
}
