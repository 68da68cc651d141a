//! How metrics reach the autoscaler, and how its controller is set: what a cluster has beside the
//! autoscaler's own spec. `local` and `sim` model it; on `kube` it is the cluster's own.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Distribution, Quantity};
use crate::{hpa::Settings, time::Nanos};

/// The way of metrics from the pods to the autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsPipeline {
    /// From one reading of a container's use by its kubelet to the next; drawn for each.
    pub kubelet_interval: Distribution,
    /// metrics-server's `--metric-resolution`: from one scrape of the kubelets to the next.
    pub metric_resolution: Nanos,
    /// Prometheus and its adapter.
    pub prometheus: Prometheus,
}

impl Default for MetricsPipeline {
    /// *Source*: cAdvisor's housekeeping interval of 10 s with up to as much again where nothing
    /// changes, of which the kubelet takes 10 s to 15 s; metrics-server's released manifests
    /// (`--metric-resolution=15s`).
    fn default() -> Self {
        Self {
            kubelet_interval: Distribution::Uniform(Nanos::from_secs(10), Nanos::from_secs(15)),
            metric_resolution: Nanos::from_secs(15),
            prometheus: Prometheus::default(),
        }
    }
}

/// Prometheus, which scrapes the pods, and its adapter, which answers the autoscaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Prometheus {
    /// Where a pod tells its metrics.
    pub path: String,
    /// From one scrape of a pod to the next.
    pub scrape_interval: Nanos,
    /// How far back a rate or a quantile looks.
    pub window: Nanos,
    /// How old an answer of the adapter may be.
    pub cache: Nanos,
    /// Metrics by name. Without a rule, `NAME_per_second` is the rate of the counter `NAME_total`,
    /// and any other name is the gauge of that name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<MetricRule>,
}

impl Default for Prometheus {
    /// *Source*: kube-prometheus's scrape interval (30 s is its operator's default, 15 s what most
    /// set); prometheus-adapter's sample configuration (`rate(...[1m])`, names, no cache).
    fn default() -> Self {
        Self {
            path: "/metrics".into(),
            scrape_interval: Nanos::from_secs(15),
            window: Nanos::from_secs(60),
            cache: Nanos::ZERO,
            rules: Vec::new(),
        }
    }
}

/// A metric, made of what the pods tell: exactly one of `rate`, `gauge` and `quantile`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricRule {
    /// Its name in the autoscaler's spec.
    pub name: String,
    /// Only series with these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// The rate per second of this counter, summed over its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// This gauge, summed over its series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gauge: Option<String>,
    /// A quantile of a histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<Quantile>,
}

/// A quantile of a histogram, over the window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quantile {
    /// The histogram, without `_bucket`.
    pub of: String,
    /// Which, between 0 and 1.
    pub q: f64,
}

/// What a metric is made of, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Recipe {
    /// The rate of a counter.
    Rate(String),
    /// A gauge.
    Gauge(String),
    /// A quantile of a histogram.
    Quantile {
        /// The series of its buckets.
        buckets: String,
        /// Which.
        q: f64,
    },
}

impl Prometheus {
    /// The rule for the metric `name`, if there is one.
    pub fn rule(&self, name: &str) -> Option<&MetricRule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// What the metric `name` is made of.
    pub fn recipe(&self, name: &str) -> Recipe {
        if let Some(recipe) = self.rule(name).and_then(MetricRule::recipe) {
            return recipe;
        }
        match name.strip_suffix("_per_second") {
            Some(counter) => Recipe::Rate(alloc::format!("{counter}_total")),
            None => Recipe::Gauge(name.into()),
        }
    }
}

impl MetricRule {
    /// What it is made of; `None` unless exactly one is given.
    pub fn recipe(&self) -> Option<Recipe> {
        match (&self.rate, &self.gauge, &self.quantile) {
            (Some(counter), None, None) => Some(Recipe::Rate(counter.clone())),
            (None, Some(gauge), None) => Some(Recipe::Gauge(gauge.clone())),
            (None, None, Some(Quantile { of, q })) => {
                Some(Recipe::Quantile { buckets: alloc::format!("{of}_bucket"), q: *q })
            }
            _ => None,
        }
    }
}

/// The settings of kube-controller-manager that bear on autoscaling, as its configuration spells
/// them.
///
/// *Source*: kubernetes/kube-controller-manager `config/v1alpha1`, `HPAControllerConfiguration`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ControllerManager {
    /// From one pass of the autoscaler to the next.
    pub horizontal_pod_autoscaler_sync_period: Nanos,
    /// How long a higher recommendation holds the number up, where the behaviour says nothing.
    pub horizontal_pod_autoscaler_downscale_stabilization_window: Nanos,
    /// How far a metric may be from its target before anything is done, as a share.
    pub horizontal_pod_autoscaler_tolerance: Quantity,
    /// How long a pod's CPU is looked at with care after its start.
    #[serde(rename = "horizontalPodAutoscalerCPUInitializationPeriod")]
    pub horizontal_pod_autoscaler_cpu_initialization_period: Nanos,
    /// Until when a pod's first turns of readiness do not count.
    pub horizontal_pod_autoscaler_initial_readiness_delay: Nanos,
}

impl Default for ControllerManager {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            horizontal_pod_autoscaler_sync_period: settings.sync_period,
            horizontal_pod_autoscaler_downscale_stabilization_window: settings
                .downscale_stabilization,
            horizontal_pod_autoscaler_tolerance: Quantity::parse("0.1").expect("a quantity"),
            horizontal_pod_autoscaler_cpu_initialization_period: settings.cpu_initialization_period,
            horizontal_pod_autoscaler_initial_readiness_delay: settings.initial_readiness_delay,
        }
    }
}

impl ControllerManager {
    /// The settings as the autoscaler's machine takes them.
    pub fn settings(&self) -> Settings {
        Settings {
            sync_period: self.horizontal_pod_autoscaler_sync_period,
            downscale_stabilization: self.horizontal_pod_autoscaler_downscale_stabilization_window,
            tolerance: self.horizontal_pod_autoscaler_tolerance.approximate(),
            cpu_initialization_period: self.horizontal_pod_autoscaler_cpu_initialization_period,
            initial_readiness_delay: self.horizontal_pod_autoscaler_initial_readiness_delay,
        }
    }
}

impl MetricsPipeline {
    /// Whether nothing was said of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ControllerManager {
    /// Whether nothing was said of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
