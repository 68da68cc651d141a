//! The oracle's cases: `../shared/oracle/hpa/case.go`.

use std::collections::BTreeMap;

use highwater_model::{
    hpa::{Gates, Settings, Version},
    spec::Autoscaler,
    time::Nanos,
};
use serde::Deserialize;

/// A time of the oracle's: seconds, exact to the microsecond.
pub(crate) fn nanos(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64 * 1_000
}

fn span(seconds: f64) -> Nanos {
    Nanos(nanos(seconds).unsigned_abs())
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) autoscaler: serde_json::Value,
    #[serde(default)]
    pub(crate) controller: Controller,
    #[serde(default)]
    pub(crate) replicas: u32,
    pub(crate) until: f64,
    pub(crate) follow: Option<Follow>,
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Controller {
    sync_period_seconds: f64,
    downscale_stabilization_seconds: Option<f64>,
    tolerance: Option<f64>,
    cpu_initialization_period_seconds: Option<f64>,
    initial_readiness_delay_seconds: Option<f64>,
    scale_to_zero: bool,
}

impl Controller {
    /// The oracle's feature gates are those of 1.35, whichever release's controller it runs.
    pub(crate) fn settings(&self, kubernetes: Version) -> Settings {
        let standard = Settings::of(kubernetes);
        let knows_tolerances = "1.33".parse().is_ok_and(|first| kubernetes >= first);
        let gates =
            Gates { scale_to_zero: self.scale_to_zero, configurable_tolerance: knows_tolerances };
        let or = |given: Option<f64>, standard| given.map_or(standard, span);
        Settings {
            sync_period: if self.sync_period_seconds == 0.0 {
                standard.sync_period
            } else {
                span(self.sync_period_seconds)
            },
            downscale_stabilization: or(
                self.downscale_stabilization_seconds,
                standard.downscale_stabilization,
            ),
            tolerance: self.tolerance.unwrap_or(standard.tolerance),
            cpu_initialization_period: or(
                self.cpu_initialization_period_seconds,
                standard.cpu_initialization_period,
            ),
            initial_readiness_delay: or(
                self.initial_readiness_delay_seconds,
                standard.initial_readiness_delay,
            ),
            gates,
            ..standard
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Follow {
    pub(crate) startup_seconds: f64,
    pub(crate) initial_age_seconds: f64,
    pub(crate) requests: BTreeMap<String, String>,
    pub(crate) metric_lag_seconds: f64,
    pub(crate) metric_window_seconds: f64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Step {
    pub(crate) at: f64,
    pub(crate) pods: Option<Vec<Pod>>,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) load: Option<Load>,
    pub(crate) replicas: Option<u32>,
    pub(crate) status_replicas: Option<i32>,
    pub(crate) autoscaler: Option<serde_json::Value>,
    pub(crate) scale_error: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) phase: String,
    pub(crate) ready: Option<String>,
    pub(crate) started_at: Option<f64>,
    pub(crate) ready_since: Option<f64>,
    pub(crate) deleted: bool,
    pub(crate) containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) requests: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metrics {
    pub(crate) resource: BTreeMap<String, Option<Vec<Sample>>>,
    pub(crate) pods: BTreeMap<String, Option<Vec<Sample>>>,
    pub(crate) object: BTreeMap<String, i64>,
    pub(crate) external: BTreeMap<String, Option<Vec<i64>>>,
    pub(crate) errors: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Sample {
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) milli: i64,
    pub(crate) timestamp: Option<f64>,
    pub(crate) window: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Load {
    pub(crate) resource: BTreeMap<String, i64>,
    pub(crate) pods: BTreeMap<String, i64>,
    pub(crate) object: BTreeMap<String, i64>,
    pub(crate) external: BTreeMap<String, i64>,
}

/// An autoscaler's spec, without what names its target.
pub(crate) fn autoscaler(spec: &serde_json::Value) -> Autoscaler {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("scaleTargetRef");
    }
    serde_json::from_value(spec).expect("a spec that upstream takes reads")
}
