//! What can be found wrong before anything is made or any load is sent: missing rights, a missing
//! metrics API, a missing image, no room on the nodes, a workload that is not there.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use highwater_model::spec::{Quantity, Scenario, Workload};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        authorization::v1::{SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        core::v1::{Node, Pod, Service},
    },
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde_json::json;

use super::{
    error::{CALL, ClusterError, call, call_again, unless_gone},
    rights::{Needs, Right},
};

/// Reviews of rights at once.
const REVIEWS: usize = 8;
/// The kubelet reports this many images of a node at most.
///
/// *Source*: kubelet `nodeStatusMaxImages`, default 50.
const IMAGES_MAX: usize = 50;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the run cannot be carried out with it.
    pub is_fatal: bool,
    /// What it is and what to do.
    pub message: String,
}

impl Finding {
    fn fatal(message: impl Into<String>) -> Self {
        Self { is_fatal: true, message: message.into() }
    }

    fn doubt(message: impl Into<String>) -> Self {
        Self { is_fatal: false, message: message.into() }
    }
}

/// Looks at everything that a run of `scenario` needs.
///
/// # Errors
/// If the cluster cannot be asked at all.
pub async fn examine(
    client: &Client,
    scenario: &Scenario,
    needs: &Needs,
    image: &str,
) -> Result<Vec<Finding>, ClusterError> {
    // The first call also tells whether the cluster is there.
    call("reaching the API server", client.apiserver_version()).await?;
    let mut findings = missing_rights(client, needs).await?;
    if !findings.is_empty() {
        // Without rights the other questions fail for that reason alone.
        return Ok(findings);
    }
    findings.extend(metrics(client, scenario).await?);
    if let Some(workload) = &scenario.target.workload {
        findings.extend(workload_findings(client, workload).await?);
    }
    findings.extend(nodes(client, scenario, needs, image).await?);
    Ok(findings)
}

/// Every right that is missing.
///
/// # Errors
/// If the API server cannot be asked.
pub async fn missing_rights(client: &Client, needs: &Needs) -> Result<Vec<Finding>, ClusterError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answers: Vec<Result<Option<Finding>, ClusterError>> = stream::iter(needs.rights())
        .map(|right| {
            let reviews = reviews.clone();
            async move {
                let is_allowed = may(&reviews, &right).await?;
                Ok((!is_allowed).then(|| {
                    Finding::fatal(format!(
                        "the right to {right} is missing; `highwater rbac` prints what is needed"
                    ))
                }))
            }
        })
        .buffered(REVIEWS)
        .collect()
        .await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

/// Whether we have a right.
async fn may(reviews: &Api<SelfSubjectAccessReview>, right: &Right) -> Result<bool, ClusterError> {
    let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
    let spec = json!({"resourceAttributes": {
        "namespace": right.namespace.as_deref().unwrap_or(""),
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "name": right.name.as_deref().unwrap_or(""),
        "verb": right.verb,
    }});
    let spec: SelfSubjectAccessReviewSpec =
        serde_json::from_value(spec).expect("the review written here fits its type");
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let doing = "asking for our rights";
    let params = PostParams::default();
    let answer = call_again(CALL * 2, doing, || reviews.create(&params, &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Whether the APIs that the autoscaler measures by are there and answer.
async fn metrics(client: &Client, scenario: &Scenario) -> Result<Vec<Finding>, ClusterError> {
    let Some(autoscaler) = &scenario.autoscaler else { return Ok(Vec::new()) };
    let groups: std::collections::BTreeSet<&str> = autoscaler
        .metrics
        .iter()
        .filter_map(|metric| metric.source().map(|source| source.api_group()))
        // Without metrics an HPA aims at 80 % CPU.
        .chain(autoscaler.metrics.is_empty().then_some("metrics.k8s.io"))
        .collect();
    let known = call("reading the list of APIs", client.list_api_groups()).await?;
    let mut findings = Vec::new();
    for group in groups {
        if !known.groups.iter().any(|known| known.name == group) {
            findings.push(Finding::fatal(format!(
                "the autoscaler measures by {group}, and the cluster has no such API{}",
                if group == "metrics.k8s.io" {
                    "; install metrics-server"
                } else {
                    "; install its adapter"
                }
            )));
        } else if group == "metrics.k8s.io" {
            findings.extend(resource_metrics(client).await);
        }
    }
    Ok(findings)
}

/// Whether metrics-server answers.
async fn resource_metrics(client: &Client) -> Option<Finding> {
    let request = http::Request::get("/apis/metrics.k8s.io/v1beta1").body(Vec::new()).ok()?;
    let answer: Result<serde_json::Value, _> =
        call("asking the metrics API", client.request(request)).await;
    let error = answer.err()?;
    Some(Finding::fatal(format!(
        "the metrics API does not answer, so nothing would scale: {error}"
    )))
}

async fn workload_findings(
    client: &Client,
    workload: &Workload,
) -> Result<Vec<Finding>, ClusterError> {
    let namespace = &workload.namespace;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let mut findings = Vec::new();
    let name = &workload.deployment;
    let found =
        unless_gone(call("reading the workload's Deployment", deployments.get(name)).await)?;
    match found.and_then(|deployment| deployment.spec) {
        None => {
            findings.push(Finding::fatal(format!("there is no Deployment {namespace}/{name}")));
        }
        Some(spec) => {
            let names: Vec<String> = spec
                .template
                .spec
                .map(|pod| pod.containers.into_iter().map(|container| container.name).collect())
                .unwrap_or_default();
            if let Some(container) = &workload.container
                && !names.contains(container)
            {
                findings.push(Finding::fatal(format!(
                    "Deployment {namespace}/{name} has no container `{container}`; it has {}",
                    names.join(", ")
                )));
            }
        }
    }
    let name = workload.service_name();
    let found = unless_gone(call("reading the workload's Service", services.get(name)).await)?;
    match found {
        None => findings.push(Finding::fatal(format!("there is no Service {namespace}/{name}"))),
        Some(service) => {
            if service_port(&service, workload).is_none() {
                findings.push(Finding::fatal(format!(
                    "Service {namespace}/{name} has not the port that target.workload.port names"
                )));
            }
        }
    }
    Ok(findings)
}

/// The port of a workload's Service that load goes to: its number, and the node's port if it has
/// one.
pub fn service_port(service: &Service, workload: &Workload) -> Option<(u16, Option<u16>)> {
    use highwater_model::spec::Port;
    let ports = service.spec.as_ref()?.ports.as_ref()?;
    let port = match &workload.port {
        None => ports.first(),
        Some(Port::Number(number)) => ports.iter().find(|port| port.port == i32::from(*number)),
        Some(Port::Name(name)) => ports.iter().find(|port| port.name.as_ref() == Some(name)),
    }?;
    let number = u16::try_from(port.port).ok()?;
    Some((number, port.node_port.and_then(|port| u16::try_from(port).ok())))
}

/// Whether some node may take pods, has the image, and has room for the first ones.
async fn nodes(
    client: &Client,
    scenario: &Scenario,
    needs: &Needs,
    image: &str,
) -> Result<Vec<Finding>, ClusterError> {
    let all = ListParams::default();
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = call("listing the nodes", nodes.list(&all)).await?.items;
    let usable: Vec<&Node> = nodes.iter().filter(|node| takes_pods(node)).collect();
    if usable.is_empty() {
        return Ok(vec![Finding::fatal(format!(
            "none of the {} nodes takes pods (not Ready, cordoned, or tainted)",
            nodes.len()
        ))]);
    }
    let mut findings = Vec::new();
    let makes_pods = needs.workload.is_none() || needs.generators || needs.proxy;
    if makes_pods {
        findings.extend(missing_image(&usable, image));
    }
    if needs.workload.is_none() {
        let used = used_cpu(client, &needs.home).await;
        findings.extend(full_nodes(&usable, &used, scenario));
    }
    Ok(findings)
}

/// Ready, not cordoned, and without a taint that keeps ordinary pods away.
fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.clone().unwrap_or_default();
    let is_tainted = spec
        .taints
        .unwrap_or_default()
        .iter()
        .any(|taint| taint.effect == "NoSchedule" || taint.effect == "NoExecute");
    let conditions = node.status.as_ref().and_then(|status| status.conditions.clone());
    let is_ready = conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is_ready && !is_tainted && spec.unschedulable != Some(true)
}

/// Whether an image that no registry has is known on no node. The kubelet's list is up to a minute
/// old and of bounded length, so this is a doubt; pods that cannot start tell it for certain.
fn missing_image(nodes: &[&Node], image: &str) -> Option<Finding> {
    let images =
        |node: &Node| node.status.clone().and_then(|status| status.images).unwrap_or_default();
    let is_listed = |node: &&Node| {
        let images = images(node);
        images.len() >= IMAGES_MAX
            || images.iter().any(|known| known.names.iter().flatten().any(|name| name == image))
    };
    (!nodes.iter().any(is_listed)).then(|| {
        Finding::doubt(format!(
            "no node says that it has the image {image}: load it by `just image` and `kind load \
             image-archive` (a node says so up to a minute late)"
        ))
    })
}

/// CPU requests of the pods by node, thousandths; empty if other namespaces may not be read, in
/// which case only our own are counted.
async fn used_cpu(client: &Client, home: &str) -> BTreeMap<String, i64> {
    let all: Api<Pod> = Api::all(client.clone());
    let own: Api<Pod> = Api::namespaced(client.clone(), home);
    let params = ListParams::default();
    let pods = match call("listing pods", all.list(&params)).await {
        Ok(pods) => pods.items,
        Err(_) => match call("listing pods", own.list(&params)).await {
            Ok(pods) => pods.items,
            Err(_) => Vec::new(),
        },
    };
    let mut used = BTreeMap::new();
    for pod in pods {
        let is_over = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
        let Some(spec) = pod.spec.filter(|_| !is_over) else { continue };
        let Some(node) = spec.node_name else { continue };
        let requests = spec.containers.iter().filter_map(|container| {
            container.resources.as_ref()?.requests.as_ref()?.get("cpu").map(milli)
        });
        *used.entry(node).or_default() += requests.sum::<i64>();
    }
    used
}

fn milli(quantity: &ApiQuantity) -> i64 {
    Quantity::parse(&quantity.0).map_or(0, |quantity| quantity.milli())
}

/// Whether the pods that the run starts with fit on the nodes, by their CPU requests.
fn full_nodes(
    nodes: &[&Node],
    used: &BTreeMap<String, i64>,
    scenario: &Scenario,
) -> Option<Finding> {
    let deployment = &scenario.target.deployment;
    let request = deployment.template.resources.requests.cpu.map_or(0, |cpu| cpu.0 as i64);
    if request == 0 {
        return None;
    }
    let slots = |node: &&Node| {
        let allocatable = node
            .status
            .as_ref()
            .and_then(|status| status.allocatable.as_ref()?.get("cpu").map(milli))
            .unwrap_or(0);
        let free = allocatable - used.get(&node.name_any()).copied().unwrap_or(0);
        (free / request).max(0)
    };
    let room: i64 = nodes.iter().map(slots).sum();
    let first = i64::from(deployment.replicas);
    let most =
        scenario.autoscaler.as_ref().map_or(first, |autoscaler| i64::from(autoscaler.max_replicas));
    if room < first {
        return Some(Finding::fatal(format!(
            "the nodes are full: {first} pods of {request}m CPU are wanted, and there is room for \
             {room}"
        )));
    }
    (room < most).then(|| {
        Finding::doubt(format!(
            "the autoscaler may want {most} pods of {request}m CPU, and the nodes have room for \
             {room}: the others would stay Pending"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    fn node(name: &str, value: serde_json::Value) -> Node {
        let mut node = json!({
            "metadata": {"name": name},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"cpu": "2"},
            },
        });
        for (pointer, value) in value.as_object().expect("pointers") {
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            if node.pointer(parent).is_none() {
                node[parent.trim_start_matches('/')] = json!({});
            }
            node.pointer_mut(parent).expect("is there")[key] = value.clone();
        }
        serde_json::from_value(node).expect("a node")
    }

    #[test]
    fn nodes_that_take_no_pods_are_told_apart() {
        for (change, takes) in [
            (json!({}), true),
            (json!({"/spec/unschedulable": true}), false),
            (json!({"/spec/taints": [{"key": "a", "effect": "NoSchedule"}]}), false),
            (json!({"/spec/taints": [{"key": "a", "effect": "PreferNoSchedule"}]}), true),
            (json!({"/status/conditions": [{"type": "Ready", "status": "Unknown"}]}), false),
            (json!({"/status/conditions": []}), false),
        ] {
            assert_eq!(takes_pods(&node("a", change.clone())), takes, "{change}");
        }
    }

    #[test]
    fn an_image_on_one_node_or_a_full_list_is_no_doubt() {
        let with = node("a", json!({"/status/images": [{"names": ["x/y:1", "x/y@sha256:0"]}]}));
        let without = node("b", json!({"/status/images": [{"names": ["other:1"]}]}));
        let bare = node("c", json!({}));
        assert_eq!(missing_image(&[&with, &without], "x/y:1"), None);
        assert!(missing_image(&[&without, &bare], "x/y:1").is_some());
        let many: Vec<_> = (0..50).map(|n| json!({"names": [format!("i{n}")]})).collect();
        let full = node("d", json!({"/status/images": many}));
        assert_eq!(missing_image(&[&full], "x/y:1"), None);
    }

    #[test]
    fn full_nodes_are_named_before_any_load() {
        let scenario = |replicas: u32| {
            let sets = vec![
                format!("target.deployment.replicas={replicas}"),
                "target.deployment.template.resources={requests: {cpu: 500m}}".into(),
            ];
            let overrides = scenario::Overrides { sets, seed: None };
            scenario::load("rolling-update", &overrides).expect("a bundled scenario").scenario
        };
        let (a, b) = (node("a", json!({})), node("b", json!({})));
        let used = BTreeMap::from([("a".to_string(), 1_900), ("b".to_string(), 0)]);
        assert_eq!(full_nodes(&[&a, &b], &used, &scenario(4)), None);
        let finding = full_nodes(&[&a, &b], &used, &scenario(5)).expect("is found");
        assert!(finding.is_fatal && finding.message.contains("room for 4"), "{finding:?}");
    }

    #[test]
    fn the_port_is_the_one_that_is_named_or_the_first() {
        let service: Service = serde_json::from_value(json!({"spec": {"ports": [
            {"name": "http", "port": 80, "nodePort": 30080}, {"name": "admin", "port": 81},
        ]}}))
        .expect("a Service");
        let workload = |port: serde_json::Value| -> Workload {
            serde_json::from_value(json!({"deployment": "web", "port": port})).expect("a workload")
        };
        assert_eq!(service_port(&service, &workload(json!("admin"))), Some((81, None)));
        assert_eq!(service_port(&service, &workload(json!(80))), Some((80, Some(30080))));
        assert_eq!(service_port(&service, &workload(json!("nope"))), None);
        let first: Workload = serde_json::from_value(json!({"deployment": "web"})).expect("reads");
        assert_eq!(service_port(&service, &first), Some((80, Some(30080))));
    }
}
