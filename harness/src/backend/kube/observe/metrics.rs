//! The pods' resource metrics, as `metrics.k8s.io` gives them.

use std::collections::BTreeMap;

use highwater_model::{
    event::{EventKind, Source},
    time::Nanos,
};
use k8s_openapi::{
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
    jiff,
};
use serde::Deserialize;

use super::{
    Scribe,
    quantity::{bytes, nano_cpu},
    time::{Clock, Sight},
};

/// `GET /apis/metrics.k8s.io/v1beta1/namespaces/NAMESPACE/pods`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PodMetricsList {
    /// Its items.
    #[serde(default)]
    pub items: Vec<PodMetrics>,
}

/// The metrics of a pod.
///
/// *Source*: `metrics/pkg/apis/metrics/v1beta1/types.go`.
#[derive(Clone, Debug, Deserialize)]
pub struct PodMetrics {
    /// Its name and labels are the pod's.
    pub metadata: ObjectMeta,
    /// The end of the window.
    pub timestamp: Time,
    /// The time that the usage is averaged over, as Go writes a duration: `14.981s`, `1m0s`.
    pub window: String,
    /// The containers.
    #[serde(default)]
    pub containers: Vec<ContainerMetrics>,
}

/// The metrics of a container.
#[derive(Clone, Debug, Deserialize)]
pub struct ContainerMetrics {
    /// Its name.
    pub name: String,
    /// `cpu` and `memory`.
    #[serde(default)]
    pub usage: BTreeMap<String, Quantity>,
}

impl PodMetrics {
    /// Billionths of a core, summed over the containers; `None` if one has no figure.
    pub fn cpu_nano(&self) -> Option<u64> {
        self.sum("cpu", nano_cpu)
    }

    /// Bytes, summed over the containers; `None` if one has no figure.
    pub fn memory(&self) -> Option<u64> {
        self.sum("memory", bytes)
    }

    /// The window's length; `None` if it is no duration.
    pub fn window(&self) -> Option<Nanos> {
        self.window.parse().ok()
    }

    fn sum(&self, resource: &str, number: impl Fn(&Quantity) -> Option<u64>) -> Option<u64> {
        let figures =
            self.containers.iter().map(|container| container.usage.get(resource).and_then(&number));
        figures.reduce(|sum, figure| Some(sum?.saturating_add(figure?)))?
    }
}

/// Which metrics were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    told: BTreeMap<String, jiff::Timestamp>,
}

impl Metrics {
    /// Tells what is new. The figures count from when they could be read, not from their window's
    /// end: nothing, the autoscaler included, knew of them before.
    pub(super) fn take(
        &mut self,
        metrics: &[PodMetrics],
        is_ours: impl Fn(&str) -> bool,
        scribe: &mut Scribe<'_>,
    ) {
        let names: Vec<&str> =
            metrics.iter().filter_map(|metrics| metrics.metadata.name.as_deref()).collect();
        self.told.retain(|pod, _| names.contains(&pod.as_str()));
        for figures in metrics {
            let Some(pod) = figures.metadata.name.clone().filter(|pod| is_ours(pod)) else {
                continue;
            };
            let (Some(cpu_nano), Some(memory)) = (figures.cpu_nano(), figures.memory()) else {
                continue;
            };
            let end = figures.timestamp.0;
            if self.told.insert(pod.clone(), end) == Some(end) {
                continue;
            }
            let window = figures.window().unwrap_or_default();
            let mut at = Sight::at(scribe.now()).unstated();
            at.stated = Some(scribe.clocks.second(&figures.timestamp, Clock::Server).from());
            let kind = EventKind::PodMetrics { pod, cpu_nano, memory, window };
            scribe.at(at, Source::Metrics, kind);
        }
    }
}
