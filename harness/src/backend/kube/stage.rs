//! What stands in the cluster for a run: target, autoscaler, proxy and generators, made or found.

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Node, Service, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, PostParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

use highwater_model::spec::{PathKind, Scenario, ServiceType, Workload};

use super::{
    act::Subject,
    error::{CALL, ClusterError, call, call_again},
    manifests::{CONTAINER, HTTP_PORT, Making},
    names,
    observe::Target,
    preflight,
};

/// What a run acts on and watches.
#[derive(Clone, Debug)]
pub struct Stage {
    /// For the actor.
    pub subject: Subject,
    /// For the observer.
    pub target: Target,
    /// The label selector of the target's pods.
    pub pods: String,
}

/// Makes the bundled service with all that belongs to it.
///
/// # Errors
/// If something cannot be made.
pub async fn make(client: &Client, making: &Making<'_>) -> Result<Stage, ClusterError> {
    let namespace = making.namespace;
    if let Some(account) = making.self_scaling() {
        create_account(client, namespace, account).await?;
    }
    if let Some((level, schema)) = making.fence() {
        create_in(Api::all(client.clone()), &level).await?;
        create_in(Api::all(client.clone()), &schema).await?;
    }
    if uses_own_proxy(making.scenario) {
        create_account(client, namespace, making.proxy_account()).await?;
    }
    create(client, namespace, &making.service()).await?;
    create_deployment(client, namespace, &making.deployment()).await?;
    if uses_own_proxy(making.scenario) {
        create(client, namespace, &making.proxy_service()).await?;
        create(client, namespace, &making.proxy()).await?;
    }
    let name = making.name();
    let autoscaler = match making.autoscaler() {
        Some(autoscaler) => {
            create(client, namespace, &autoscaler).await?;
            Some(name.clone())
        }
        None => None,
    };
    Ok(Stage {
        subject: Subject {
            namespace: namespace.into(),
            deployment: name.clone(),
            container: CONTAINER.into(),
            autoscaler: autoscaler.clone(),
            is_users: false,
            home: namespace.into(),
        },
        target: Target {
            deployment: name.clone(),
            service: name,
            autoscaler,
            container: Some(CONTAINER.into()),
            port: Some(HTTP_PORT),
            tells: true,
        },
        pods: names::selector(&making.selector(names::Component::Target)),
    })
}

/// Finds the user's workload, and the autoscaler that has it for its own.
///
/// # Errors
/// If it is not there, or its pods cannot be told from others.
pub async fn find(client: &Client, home: &str, workload: &Workload) -> Result<Stage, ClusterError> {
    let namespace = workload.namespace.as_str();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let doing = format!("reading Deployment {namespace}/{}", workload.deployment);
    let deployment = call(doing.as_str(), deployments.get(&workload.deployment)).await?;
    let spec = deployment.spec.unwrap_or_default();
    let labels = spec.selector.match_labels.unwrap_or_default();
    if labels.is_empty() || spec.selector.match_expressions.is_some_and(|list| !list.is_empty()) {
        return Err(ClusterError::unfit(
            doing,
            "its selector has expressions, or no labels; only matchLabels is understood",
        ));
    }
    let containers = spec.template.spec.map(|pod| pod.containers).unwrap_or_default();
    let chosen = match &workload.container {
        Some(name) => containers.iter().find(|container| container.name == *name),
        None => containers.first(),
    };
    let Some(container) = chosen else {
        return Err(ClusterError::unfit(doing, "it has no such container"));
    };
    let port = container.ports.as_ref().and_then(|ports| ports.first());
    let autoscaler = autoscaler_of(client, namespace, &workload.deployment).await?;
    Ok(Stage {
        subject: Subject {
            namespace: namespace.into(),
            deployment: workload.deployment.clone(),
            container: container.name.clone(),
            autoscaler: autoscaler.clone(),
            is_users: true,
            home: home.into(),
        },
        target: Target {
            deployment: workload.deployment.clone(),
            service: workload.service_name().into(),
            autoscaler,
            container: Some(container.name.clone()),
            port: port.and_then(|port| u16::try_from(port.container_port).ok()),
            tells: false,
        },
        pods: names::selector(&labels),
    })
}

/// The autoscaler whose target a Deployment is.
async fn autoscaler_of(
    client: &Client,
    namespace: &str,
    deployment: &str,
) -> Result<Option<String>, ClusterError> {
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
    let list = call("listing the autoscalers", autoscalers.list(&ListParams::default())).await?;
    let is_its = |autoscaler: &&HorizontalPodAutoscaler| {
        autoscaler.spec.as_ref().is_some_and(|spec| {
            spec.scale_target_ref.kind == "Deployment" && spec.scale_target_ref.name == deployment
        })
    };
    Ok(list.items.iter().find(is_its).map(|autoscaler| autoscaler.name_any()))
}

/// Whether Highwater's own proxy stands before the target.
pub fn uses_own_proxy(scenario: &Scenario) -> bool {
    scenario.path.kind == PathKind::L7 && scenario.path.url.is_none()
}

/// Where the load goes, as `host:port`, and the Host header.
///
/// # Errors
/// If the Service has no address that the generators can reach.
pub async fn entry(
    client: &Client,
    scenario: &Scenario,
    stage: &Stage,
    proxy: &str,
) -> Result<(String, String), ClusterError> {
    let host = |default: &str| scenario.path.host.clone().unwrap_or_else(|| default.to_string());
    if let Some(url) = &scenario.path.url {
        let authority = url.trim_start_matches("http://").trim_end_matches('/');
        let has_port =
            authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { authority.to_string() } else { format!("{authority}:80") };
        return Ok((address, host(authority)));
    }
    let (namespace, name) = if uses_own_proxy(scenario) {
        (stage.subject.home.as_str(), proxy)
    } else {
        (stage.subject.namespace.as_str(), stage.target.service.as_str())
    };
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let doing = format!("reading Service {namespace}/{name}");
    let service = call_again(CALL * 2, &doing, || services.get(name)).await?;
    let any = Workload {
        namespace: namespace.into(),
        deployment: name.into(),
        service: None,
        port: None,
        container: None,
    };
    let workload = scenario.target.workload.as_ref().unwrap_or(&any);
    let Some((port, node_port)) = preflight::service_port(&service, workload) else {
        return Err(ClusterError::unfit(doing, "it has not the port that is asked for"));
    };
    if scenario.path.service_type == ServiceType::NodePort {
        let Some(node_port) = node_port else {
            return Err(ClusterError::unfit(
                doing,
                "it has no node port; its type is not NodePort",
            ));
        };
        return Ok((format!("{}:{node_port}", node_address(client).await?), host(&scenario.name)));
    }
    let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
    if address.is_empty() || address == "None" {
        return Err(ClusterError::unfit(
            doing,
            "it is headless: kube-proxy has nothing to do with it, and there is no address",
        ));
    }
    // An IPv6 address needs brackets before a port.
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    Ok((format!("{address}:{port}"), host(&scenario.name)))
}

/// An address of a node that is ready.
async fn node_address(client: &Client) -> Result<String, ClusterError> {
    let nodes: Api<Node> = Api::all(client.clone());
    let list = call("listing the nodes", nodes.list(&ListParams::default())).await?;
    let address = |node: &Node| {
        let status = node.status.as_ref()?;
        let is_ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let addresses = status.addresses.iter().flatten();
        let internal = addresses.into_iter().find(|address| address.type_ == "InternalIP")?;
        is_ready.then(|| internal.address.clone())
    };
    list.items
        .iter()
        .find_map(address)
        .ok_or_else(|| ClusterError::unfit("choosing a node for the NodePort", "none is ready"))
}

/// Starts the generators' Job.
///
/// # Errors
/// If it cannot be made.
pub async fn make_generators(
    client: &Client,
    making: &Making<'_>,
    count: u32,
    seconds: u64,
) -> Result<(), ClusterError> {
    create::<Job>(client, making.namespace, &making.generators(count, seconds)).await
}

async fn create_account(
    client: &Client,
    namespace: &str,
    (account, role, binding): (ServiceAccount, Role, RoleBinding),
) -> Result<(), ClusterError> {
    create(client, namespace, &account).await?;
    create(client, namespace, &role).await?;
    create(client, namespace, &binding).await
}

async fn create<K>(client: &Client, namespace: &str, object: &K) -> Result<(), ClusterError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    create_in(Api::namespaced(client.clone(), namespace), object).await.map(|_| ())
}

/// Makes the target. A cluster that knows no stop signals drops them without a word, and would end
/// the pods by another signal than the scenario's.
async fn create_deployment(
    client: &Client,
    namespace: &str,
    deployment: &Deployment,
) -> Result<(), ClusterError> {
    let made = create_in(Api::namespaced(client.clone(), namespace), deployment).await?;
    if stop_signal(&made) == stop_signal(deployment) {
        return Ok(());
    }
    Err(ClusterError::unfit(
        format!("making Deployment {}", deployment.name_any()),
        "the cluster does not take `lifecycle.stopSignal`: it needs Kubernetes 1.33 or newer with \
         the feature gate ContainerStopSignals",
    ))
}

fn stop_signal(deployment: &Deployment) -> Option<&str> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.lifecycle.as_ref()?.stop_signal.as_deref()
}

/// Makes an object. Not tried again: one that was made by a lost answer would be in the way.
async fn create_in<K>(api: Api<K>, object: &K) -> Result<K, ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let params = PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
    let doing = format!("making {} {}", K::kind(&()), object.name_any());
    call(doing, api.create(&params, object)).await
}
