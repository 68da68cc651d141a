//! The objects that a run makes, from the scenario's blocks.
//!
//! Pods run as the restricted Pod Security Standard wants them: no root, no privilege, a read-only
//! root, no capability, no service account token (but where a scenario is about having one).

use std::collections::BTreeMap;

use highwater_model::spec::{
    Misbehaviour, Path, PathKind, Port, Probe, Scenario, ServiceType, StrategyType,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Service, ServiceAccount},
    flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration},
    rbac::v1::{Role, RoleBinding},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::names::{self, Component};
use crate::backend::service;

/// The port that the bundled service answers requests on.
pub const HTTP_PORT: u16 = 8080;
/// The port that it answers probes on.
pub const HEALTH_PORT: u16 = 8081;
/// The port that generators and proxies take orders on: bound to the pod's own 127.0.0.1.
pub const CONTROL_PORT: u16 = 9797;
/// The container's name in every pod that we make.
pub const CONTAINER: &str = "app";
/// The user that the image names.
const USER: u32 = 65_532;

/// What the manifests need to know of the run beside its scenario.
#[derive(Clone, Debug)]
pub struct Making<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The namespace.
    pub namespace: &'a str,
    /// The run.
    pub run: &'a str,
    /// The image with `highwater` in it.
    pub image: &'a str,
}

fn object<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a manifest written here fits its type")
}

impl Making<'_> {
    /// The name that target, Service and autoscaler have.
    pub fn name(&self) -> String {
        names::object_name(&self.scenario.name)
    }

    /// The name of the proxy's Deployment and Service.
    pub fn proxy_name(&self) -> String {
        format!("{}-proxy", self.name())
    }

    /// The name of the generators' Job.
    pub fn job_name(&self) -> String {
        format!("{}-load", self.name())
    }

    fn metadata(&self, name: &str, component: Component) -> Value {
        json!({
            "name": name,
            "namespace": self.namespace,
            "labels": names::component_labels(self.run, component),
        })
    }

    /// The labels that select the pods of a component.
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        names::component_labels(self.run, component)
    }

    /// Whether the target PATCHes its own replicas, and so needs the right to.
    pub fn is_self_scaling(&self) -> bool {
        service::misbehaviours(self.scenario).any(|how| *how == Misbehaviour::SelfScaling)
    }

    /// The target's Deployment.
    pub fn deployment(&self) -> Deployment {
        let deployment = &self.scenario.target.deployment;
        let selector = self.selector(Component::Target);
        let strategy = match deployment.strategy.kind {
            StrategyType::Recreate => json!({"type": "Recreate"}),
            StrategyType::RollingUpdate => json!({
                "type": "RollingUpdate",
                "rollingUpdate": deployment.strategy.rolling_update,
            }),
        };
        object(json!({
            "metadata": self.metadata(&self.name(), Component::Target),
            "spec": {
                "replicas": deployment.replicas,
                "strategy": strategy,
                "minReadySeconds": deployment.min_ready_seconds,
                "progressDeadlineSeconds": deployment.progress_deadline_seconds,
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {"labels": selector},
                    "spec": self.target_pod(),
                },
            },
        }))
    }

    fn target_pod(&self) -> Value {
        let template = &self.scenario.target.deployment.template;
        let mut container = json!({
            "name": CONTAINER,
            "image": self.image,
            "imagePullPolicy": pull_policy(self.image),
            "args": self.target_args(&self.scenario.target.misbehave),
            "env": [
                {"name": "PORT", "value": HTTP_PORT.to_string()},
                {"name": "HEALTH_PORT", "value": HEALTH_PORT.to_string()},
                {"name": "HIGHWATER_DEPLOYMENT", "value": self.name()},
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "ports": [
                {"name": "http", "containerPort": HTTP_PORT},
                {"name": "health", "containerPort": HEALTH_PORT},
            ],
            "resources": without_empty(json!(template.resources)),
            "securityContext": container_security(),
        });
        if let Some(lifecycle) = &template.lifecycle {
            container["lifecycle"] = with_ports(json!(lifecycle), "/preStop");
        }
        for (key, probe) in [
            ("startupProbe", &template.startup_probe),
            ("readinessProbe", &template.readiness_probe),
            ("livenessProbe", &template.liveness_probe),
        ] {
            if let Some(probe) = probe {
                container[key] = probe_json(probe);
            }
        }
        let mut pod = json!({
            "terminationGracePeriodSeconds": template.termination_grace_period_seconds,
            "serviceAccountName": if self.is_self_scaling() { self.name() } else { "default".into() },
            "automountServiceAccountToken": self.is_self_scaling(),
            "enableServiceLinks": false,
            "securityContext": pod_security(),
            "containers": [container],
        });
        if template.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.stop_signal.is_some()) {
            // The API server takes a stop signal only for a known system.
            pod["os"] = json!({"name": "linux"});
        }
        pod
    }

    /// The target's arguments. Where the scenario kills, a small init is process 1, since the
    /// kernel lets nothing inside a container kill that one.
    pub fn target_args(&self, misbehave: &[Misbehaviour]) -> Vec<String> {
        let service = self.scenario.target.service.clone().unwrap_or_default();
        let mut args = service::arguments(&service, misbehave, self.scenario.seed);
        if self.scenario.events.iter().any(|event| event.kill.is_some()) {
            let init = ["init", "--", "/highwater"].map(String::from);
            args.splice(0..0, init);
        }
        args
    }

    /// The target's Service.
    pub fn service(&self) -> Service {
        let is_entry = self.scenario.path.kind == PathKind::L4;
        object(json!({
            "metadata": self.metadata(&self.name(), Component::Target),
            "spec": {
                "type": self.service_type(is_entry),
                "selector": self.selector(Component::Target),
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            },
        }))
    }

    /// The scenario's type of Service for the one that clients connect to.
    fn service_type(&self, is_entry: bool) -> &'static str {
        match self.scenario.path.service_type {
            ServiceType::NodePort if is_entry => "NodePort",
            ServiceType::NodePort | ServiceType::ClusterIp => "ClusterIP",
        }
    }

    /// The autoscaler, if the scenario has one.
    pub fn autoscaler(&self) -> Option<HorizontalPodAutoscaler> {
        let mut spec = json!(self.scenario.autoscaler.as_ref()?);
        spec["scaleTargetRef"] =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": self.name()});
        Some(object(json!({
            "metadata": self.metadata(&self.name(), Component::Target),
            "spec": spec,
        })))
    }

    /// What lets a self-scaling target do what no target should: its account, and the right to
    /// scale itself and nothing else.
    pub fn self_scaling(&self) -> Option<(ServiceAccount, Role, RoleBinding)> {
        self.is_self_scaling().then(|| {
            let rules = json!([{
                "apiGroups": ["apps"],
                "resources": ["deployments/scale"],
                "resourceNames": [self.name()],
                "verbs": ["get", "patch"],
            }]);
            self.account(&self.name(), Component::Target, rules)
        })
    }

    /// What keeps a self-scaling target from taking the API server away from everybody else, and
    /// makes the server's throttling show: a priority level with one seat and no queue, for its
    /// account alone.
    ///
    /// *Source*: `flowcontrol/v1/types.go`; a level without shares still has one seat (measured on
    /// Kubernetes 1.35: 37 of 100 requests of a pod were answered 429).
    pub fn fence(&self) -> Option<(PriorityLevelConfiguration, FlowSchema)> {
        if !self.is_self_scaling() {
            return None;
        }
        let name = format!("highwater-{}", self.run);
        let metadata = json!({
            "name": name,
            "labels": names::cluster_labels(self.run, self.namespace),
        });
        let level = json!({
            "metadata": metadata,
            "spec": {"type": "Limited", "limited": {
                "nominalConcurrencyShares": 0,
                "lendablePercent": 0,
                "borrowingLimitPercent": 0,
                "limitResponse": {"type": "Reject"},
            }},
        });
        let account = json!({"kind": "ServiceAccount", "serviceAccount": {
            "name": self.name(), "namespace": self.namespace,
        }});
        let schema = json!({
            "metadata": metadata,
            "spec": {
                "priorityLevelConfiguration": {"name": name},
                "matchingPrecedence": 100,
                "rules": [{
                    "subjects": [account],
                    "resourceRules": [{
                        "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"],
                        "namespaces": ["*"],
                    }],
                }],
            },
        });
        Some((object(level), object(schema)))
    }

    /// What lets the proxy watch the endpoints, as an ingress controller does.
    pub fn proxy_account(&self) -> (ServiceAccount, Role, RoleBinding) {
        let rules = json!([{
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        }]);
        self.account(&self.proxy_name(), Component::Proxy, rules)
    }

    fn account(
        &self,
        name: &str,
        component: Component,
        rules: Value,
    ) -> (ServiceAccount, Role, RoleBinding) {
        let metadata = self.metadata(name, component);
        let binding = json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [
                {"kind": "ServiceAccount", "name": name, "namespace": self.namespace},
            ],
        });
        (
            object(json!({"metadata": metadata})),
            object(json!({"metadata": metadata, "rules": rules})),
            object(binding),
        )
    }

    /// The proxy's Deployment: one pod with the scenario's workers.
    pub fn proxy(&self) -> Deployment {
        let selector = self.selector(Component::Proxy);
        let Path { proxy_workers, propagation, .. } = &self.scenario.path;
        let mut args: Vec<String> = vec![
            "proxy-pod".into(),
            "--service".into(),
            self.name(),
            "--propagation".into(),
            json!(propagation).to_string(),
            "--control".into(),
            format!("127.0.0.1:{CONTROL_PORT}"),
            "--seed".into(),
            self.scenario.seed.to_string(),
            "--listen".into(),
            format!("0.0.0.0:{HTTP_PORT}"),
            "--workers".into(),
            proxy_workers.to_string(),
        ];
        args.extend(service::proxy_arguments(&self.scenario.path, self.scenario.seed));
        object(json!({
            "metadata": self.metadata(&self.proxy_name(), Component::Proxy),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {"labels": selector},
                    "spec": {
                        "serviceAccountName": self.proxy_name(),
                        "enableServiceLinks": false,
                        "terminationGracePeriodSeconds": 15,
                        "securityContext": pod_security(),
                        "containers": [{
                            "name": CONTAINER,
                            "image": self.image,
                            "imagePullPolicy": pull_policy(self.image),
                            "args": args,
                            "env": own_identity(),
                            "ports": [{"name": "http", "containerPort": HTTP_PORT}],
                            "readinessProbe": {
                                "tcpSocket": {"port": "http"},
                                "periodSeconds": 1,
                            },
                            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                            "securityContext": container_security(),
                        }],
                    },
                },
            },
        }))
    }

    /// The proxy's Service.
    pub fn proxy_service(&self) -> Service {
        object(json!({
            "metadata": self.metadata(&self.proxy_name(), Component::Proxy),
            "spec": {
                "type": self.service_type(true),
                "selector": self.selector(Component::Proxy),
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            },
        }))
    }

    /// The generators: an Indexed Job, each pod a part of the plan. It ends by itself `seconds`
    /// after its start at the latest, and is never run twice: a share that was lost is counted as
    /// lost.
    ///
    /// *Source*: `batch/v1/types.go`; with a `backoffLimit` of 0 in place of the limit per index,
    /// the first pod that fails would have the Job end all others.
    pub fn generators(&self, count: u32, seconds: u64) -> Job {
        let selector = self.selector(Component::Generator);
        let args = [
            "generator",
            "--listen",
            &format!("127.0.0.1:{CONTROL_PORT}"),
            "--orphan-after",
            "120s",
        ]
        .map(String::from);
        object(json!({
            "metadata": self.metadata(&self.job_name(), Component::Generator),
            "spec": {
                "completionMode": "Indexed",
                "completions": count,
                "parallelism": count,
                "backoffLimitPerIndex": 0,
                "podReplacementPolicy": "Failed",
                "activeDeadlineSeconds": seconds,
                "ttlSecondsAfterFinished": 600,
                "template": {
                    "metadata": {"labels": selector},
                    "spec": {
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": false,
                        "enableServiceLinks": false,
                        "terminationGracePeriodSeconds": 15,
                        "securityContext": pod_security(),
                        "topologySpreadConstraints": [{
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": selector},
                        }],
                        "containers": [{
                            "name": CONTAINER,
                            "image": self.image,
                            "imagePullPolicy": pull_policy(self.image),
                            "args": args,
                            "env": own_identity(),
                            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                            "securityContext": container_security(),
                        }],
                    },
                },
            },
        }))
    }
}

/// When the kubelet asks a registry for an image. A host under `.test` never exists (RFC 2606): to
/// ask for it takes the resolver's time-outs, and comes to the same.
fn pull_policy(image: &str) -> &'static str {
    let host = image.split('/').next().unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    if name.ends_with(".test") { "Never" } else { "IfNotPresent" }
}

fn own_identity() -> Value {
    json!([
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ])
}

fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// Without the members that are empty objects.
fn without_empty(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, member| member.as_object().is_none_or(|members| !members.is_empty()));
    }
    value
}

/// A probe; one without a port goes to the health port, as in `local`.
fn probe_json(probe: &Probe) -> Value {
    with_ports(json!(probe), "")
}

/// Puts the health port where an action names none.
fn with_ports(mut value: Value, below: &str) -> Value {
    for action in ["httpGet", "tcpSocket"] {
        let port = json!(Port::Name("health".into()));
        if let Some(Value::Object(action)) = value.pointer_mut(&format!("{below}/{action}")) {
            action.entry("port").or_insert(port);
        }
    }
    value
}

#[cfg(test)]
mod tests;
