//! Autoscalers of all versions, as far as rules ask.
//!
//! *Source*: `api/autoscaling/{v1,v2beta1,v2beta2,v2}/types.go`, `apis/autoscaling/v2/defaults.go`.

use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};
use serde::Deserialize;

use super::subject::Subject;

/// The percentage of the CPU request that an autoscaler without any metric aims at.
const CPU_PERCENT: u32 = 80;

/// An autoscaler.
#[derive(Debug)]
pub(super) struct Hpa {
    pub(super) subject: Subject,
    /// Kind and name of what it scales.
    pub(super) target: (String, String),
    /// As the manifest says.
    pub(super) min: Option<u32>,
    pub(super) max_replicas: u32,
    pub(super) utilizations: Vec<Utilization>,
    pub(super) behavior: HorizontalPodAutoscalerBehavior,
}

/// A metric that is a percentage of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Utilization {
    /// `cpu`, `memory`.
    pub(super) resource: String,
    /// The one container that it is about; all of the pod if none.
    pub(super) container: Option<String>,
    pub(super) percent: u32,
    /// The key of it.
    pub(super) path: String,
}

/// The spec, in the words of every version.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    scale_target_ref: Reference,
    min_replicas: Option<u32>,
    max_replicas: u32,
    #[serde(rename = "targetCPUUtilizationPercentage")]
    percent: Option<u32>,
    metrics: Option<Vec<Metric>>,
    behavior: Option<HorizontalPodAutoscalerBehavior>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    kind: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metric {
    resource: Option<Resource>,
    container_resource: Option<Resource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    name: String,
    container: Option<String>,
    target: Option<Target>,
    /// `v2beta1`.
    target_average_utilization: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Target {
    average_utilization: Option<u32>,
}

impl Hpa {
    pub(super) fn new(subject: Subject, spec: Spec) -> Self {
        let utilizations = match (&spec.metrics, spec.percent) {
            (Some(metrics), _) if !metrics.is_empty() => metrics
                .iter()
                .enumerate()
                .filter_map(|(index, metric)| metric.read(index))
                .collect(),
            (_, percent) => vec![Utilization {
                resource: "cpu".into(),
                container: None,
                percent: percent.unwrap_or(CPU_PERCENT),
                path: percent.map_or("spec", |_| "spec.targetCPUUtilizationPercentage").into(),
            }],
        };
        Self {
            subject,
            target: (spec.scale_target_ref.kind, spec.scale_target_ref.name),
            min: spec.min_replicas,
            max_replicas: spec.max_replicas,
            utilizations,
            behavior: spec.behavior.unwrap_or_default(),
        }
    }

    pub(super) fn min_replicas(&self) -> u32 {
        self.min.unwrap_or(1)
    }

    pub(super) fn scale_down(&self) -> Option<&HPAScalingRules> {
        self.behavior.scale_down.as_ref()
    }
}

impl Metric {
    fn read(&self, index: usize) -> Option<Utilization> {
        let of = |resource: &Resource, key: &str| {
            let target = resource.target.as_ref().and_then(|target| target.average_utilization);
            let percent = target.or(resource.target_average_utilization)?;
            Some(Utilization {
                resource: resource.name.clone(),
                container: resource.container.clone(),
                percent,
                path: format!("spec.metrics[{index}].{key}"),
            })
        };
        let all = self.resource.as_ref().and_then(|resource| of(resource, "resource"));
        let one = || {
            let resource = self.container_resource.as_ref()?;
            of(resource, "containerResource")
        };
        all.or_else(one)
    }
}
