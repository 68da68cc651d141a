//! Looks at the metrics that autoscalers go by, as the metrics APIs give them.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::{
        autoscaling::v2::{
            CrossVersionObjectReference, HorizontalPodAutoscaler, MetricIdentifier, MetricSpec,
        },
        core::v1::{ObjectReference, Pod},
    },
    apimachinery::pkg::api::resource::Quantity,
    jiff,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
    core::Request,
    discovery::pinned_kind,
};
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    judge::{Resource, judge_all},
    reporter::{Look, Reading},
};
use crate::backend::kube::{
    observe::{metrics::PodMetrics, quantity::number},
    watch::{poll, trouble::words},
};

/// How long an API may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How many autoscalers are looked at in one go at most.
pub const LOOKED_AT_MAX: usize = 20;

/// Reads the metrics of autoscalers.
pub struct Reader {
    client: Client,
    namespace: String,
    /// What was found out of what they scale.
    targets: BTreeMap<String, Target>,
}

/// What an autoscaler scales.
#[derive(Clone, Debug)]
struct Target {
    reference: CrossVersionObjectReference,
    /// The label selector of its pods.
    selector: String,
}

/// A list of custom or external metrics.
///
/// *Source*: `metrics/pkg/apis/custom_metrics/v1beta1/types.go`, `external_metrics/v1beta1`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Values {
    items: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    described_object: Option<ObjectReference>,
    #[serde(default)]
    metric_labels: BTreeMap<String, String>,
    value: Quantity,
}

impl Reader {
    /// For the autoscalers of a namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.into(), targets: BTreeMap::new() }
    }

    /// Looks at all that one goes by. What cannot be read is part of the answer.
    pub async fn look(&mut self, object: &HorizontalPodAutoscaler, now: jiff::Timestamp) -> Look {
        let mut look = Look::default();
        let selector = match self.selector(object).await {
            Ok(selector) => selector,
            Err(reason) => {
                look.metrics.push(("what it scales".into(), Err(reason)));
                return look;
            }
        };
        let specs = object.spec.as_ref().and_then(|spec| spec.metrics.as_deref());
        let specs = specs.unwrap_or_default();
        let resources: Vec<Resource> = specs.iter().filter_map(resource).collect();
        if !resources.is_empty() {
            match self.pods(&selector).await {
                Ok((pods, samples)) => {
                    let figures = resources.iter().map(|of| judge_all(&pods, &samples, of, now));
                    look.figures = figures.collect();
                }
                Err(reason) => look.metrics.push(("metrics.k8s.io".into(), Err(reason))),
            }
        }
        for spec in specs {
            if let Some((name, values)) = self.other(spec, &selector).await {
                look.metrics.push((name, values));
            }
        }
        look
    }

    /// The label selector of what an autoscaler scales, from its scale. Asked for once.
    async fn selector(&mut self, object: &HorizontalPodAutoscaler) -> Result<String, String> {
        let name = object.metadata.name.clone().unwrap_or_default();
        let Some(spec) = &object.spec else { return Err("it has no spec".into()) };
        let reference = &spec.scale_target_ref;
        let known = self.targets.get(&name).filter(|target| target.reference == *reference);
        if let Some(target) = known {
            return Ok(target.selector.clone());
        }
        let resource = self.api_resource(reference).await?;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let scale = answer(api.get_scale(&reference.name)).await?;
        let selector = scale.status.and_then(|status| status.selector).unwrap_or_default();
        if selector.is_empty() {
            return Err(format!("{}/{} names no pods", reference.kind, reference.name));
        }
        let target = Target { reference: reference.clone(), selector: selector.clone() };
        self.targets.insert(name, target);
        Ok(selector)
    }

    async fn api_resource(
        &self,
        reference: &CrossVersionObjectReference,
    ) -> Result<ApiResource, String> {
        let version = reference.api_version.as_deref().unwrap_or("v1");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, &reference.kind);
        answer(pinned_kind(&self.client, &kind)).await.map(|(resource, _)| resource)
    }

    /// The pods and their metrics.
    async fn pods(&self, selector: &str) -> Result<(Vec<Pod>, Vec<PodMetrics>), String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pods = answer(api.list(&ListParams::default().labels(selector))).await?;
        let samples = timeout(ANSWER, poll::pods(&self.client, &self.namespace, selector)).await;
        let samples = samples.map_err(|_| silence())?.map_err(|trouble| trouble.to_string())?;
        Ok((pods.items, samples.items))
    }

    /// The values of a metric that is no resource of the pods; `None` if it is one.
    async fn other(&self, spec: &MetricSpec, selector: &str) -> Option<(String, Reading)> {
        if let Some(pods) = &spec.pods {
            let name = pods.metric.name.clone();
            let path = format!("pods/*/{name}");
            return Some((name, self.custom(&path, Some(selector)).await));
        }
        if let Some(object) = &spec.object {
            let name = object.metric.name.clone();
            let values = match self.api_resource(&object.described_object).await {
                Ok(resource) => {
                    let plural = match resource.group.as_str() {
                        "" => resource.plural,
                        group => format!("{}.{group}", resource.plural),
                    };
                    let path = format!("{plural}/{}/{name}", object.described_object.name);
                    self.custom(&path, None).await
                }
                Err(reason) => Err(reason),
            };
            return Some((name, values));
        }
        let external = spec.external.as_ref()?;
        let name = external.metric.name.clone();
        let path =
            format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/{name}", self.namespace);
        Some((name, self.values(&path, metric_labels(&external.metric).as_deref()).await))
    }

    async fn custom(&self, path: &str, objects: Option<&str>) -> Reading {
        let path =
            format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/{path}", self.namespace);
        self.values(&path, objects).await
    }

    async fn values(&self, path: &str, labels: Option<&str>) -> Reading {
        let mut params = ListParams::default();
        if let Some(labels) = labels {
            params = params.labels(labels);
        }
        let request = Request::new(path).list(&params).map_err(|error| error.to_string())?;
        let values: Values = answer(self.client.request(request)).await?;
        let mut found: Vec<(String, f64)> = values.items.into_iter().filter_map(named).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }
}

/// A value with what it is of.
fn named(value: Value) -> Option<(String, f64)> {
    let number = number(&value.value)?;
    let name = match value.described_object {
        Some(object) => {
            format!("{}/{}", object.kind.unwrap_or_default(), object.name.unwrap_or_default())
        }
        None => {
            let labels = value.metric_labels.iter().map(|(key, value)| format!("{key}={value}"));
            labels.collect::<Vec<_>>().join(",")
        }
    };
    Some((name, number))
}

/// The labels that choose among an external metric's series.
fn metric_labels(metric: &MetricIdentifier) -> Option<String> {
    let labels = metric.selector.as_ref()?.match_labels.as_ref()?;
    let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
    Some(labels.collect::<Vec<_>>().join(","))
}

fn resource(spec: &MetricSpec) -> Option<Resource> {
    if let Some(resource) = &spec.resource {
        return Some(Resource { name: resource.name.clone(), container: None });
    }
    let resource = spec.container_resource.as_ref()?;
    Some(Resource { name: resource.name.clone(), container: Some(resource.container.clone()) })
}

async fn answer<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, String> {
    let answer = timeout(ANSWER, request).await.map_err(|_| silence())?;
    answer.map_err(|error| words(&error))
}

fn silence() -> String {
    format!("no answer within {} s", ANSWER.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_named_by_object_or_by_labels() {
        let values: Values = serde_json::from_value(json!({"items": [
            {"describedObject": {"kind": "Pod", "name": "a"}, "value": "1500m"},
            {"metricLabels": {"queue": "q", "zone": "z"}, "value": "3"},
            {"value": "nonsense"},
        ]}))
        .expect("values");
        let found: Vec<(String, f64)> = values.items.into_iter().filter_map(named).collect();
        assert_eq!(found, [("Pod/a".into(), 1.5), ("queue=q,zone=z".into(), 3.0)]);
    }
}
