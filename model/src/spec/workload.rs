//! A target that the user already has.

use alloc::string::String;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Deployment and a Service of the user's (`kube`). Highwater sends load to it, does to it what
/// the scenario's events say, and puts back all that it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Their namespace; `default` if not given.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// The Deployment's name.
    pub deployment: String,
    /// The Service's name; the Deployment's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The Service's port, by name or number; its first if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<super::Port>,
    /// The container that serves, for `kill`, `rollout.image` and `rollout.env`; the pod's first
    /// if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

fn default_namespace() -> String {
    "default".into()
}

impl Workload {
    /// The Service's name.
    pub fn service_name(&self) -> &str {
        self.service.as_deref().unwrap_or(&self.deployment)
    }
}
