//! Deleting what a run made, by its labels.

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Service, ServiceAccount},
    flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, PropagationPolicy},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;

use super::{
    error::{CALL, ClusterError, call_again, unless_gone},
    names,
};

/// How long the pods may take to go: their grace period at most.
const GOING: std::time::Duration = std::time::Duration::from_secs(90);

/// Deletes every object of ours in `namespace` (of one run if named), and waits until its pods are
/// gone; how many it were.
///
/// # Errors
/// If some cannot be deleted, or pods are still there after their time.
pub async fn everything(
    client: &Client,
    namespace: &str,
    run: Option<&str>,
) -> Result<usize, ClusterError> {
    let selector = match run {
        Some(run) => names::selector(&names::labels(run)),
        None => names::ours(),
    };
    let mut count = 0;
    // The autoscaler first, so that it does not scale what goes.
    count += delete::<HorizontalPodAutoscaler>(client, namespace, &selector).await?;
    count += delete::<Job>(client, namespace, &selector).await?;
    count += delete::<Deployment>(client, namespace, &selector).await?;
    count += delete::<Service>(client, namespace, &selector).await?;
    count += delete::<RoleBinding>(client, namespace, &selector).await?;
    count += delete::<Role>(client, namespace, &selector).await?;
    count += delete::<ServiceAccount>(client, namespace, &selector).await?;
    count += delete::<ConfigMap>(client, namespace, &selector).await?;
    wait_for_pods(client, namespace, &selector).await?;
    Ok(count)
}

/// Deletes what runs in `home` made that belongs to the cluster; how many objects it were.
///
/// # Errors
/// If some cannot be deleted.
pub async fn cluster_wide(client: &Client, home: &str) -> Result<usize, ClusterError> {
    let selector = names::ours_of(home);
    let schemas = delete_in(Api::<FlowSchema>::all(client.clone()), &selector).await?;
    let levels = Api::<PriorityLevelConfiguration>::all(client.clone());
    Ok(schemas + delete_in(levels, &selector).await?)
}

async fn delete<K>(client: &Client, namespace: &str, selector: &str) -> Result<usize, ClusterError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    delete_in(Api::<K>::namespaced(client.clone(), namespace), selector).await
}

async fn delete_in<K>(api: Api<K>, selector: &str) -> Result<usize, ClusterError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let list = ListParams::default().labels(selector);
    let kind = K::kind(&()).to_lowercase();
    let doing = format!("listing our {kind}s");
    let objects = match call_again(CALL * 3, &doing, || api.list_metadata(&list)).await {
        Ok(objects) => objects,
        // What we may not see we did not make: the right to make it was missing.
        Err(error) if error.code() == Some(403) => return Ok(0),
        Err(error) => return Err(error),
    };
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    let mut count = 0;
    for object in objects {
        let name = object.name_any();
        let doing = format!("deleting {kind} {name}");
        let deleted =
            call_again(CALL * 3, &doing, || async { api.delete(&name, &params).await.map(|_| ()) });
        count += usize::from(unless_gone(deleted.await)?.is_some());
    }
    Ok(count)
}

async fn wait_for_pods(
    client: &Client,
    namespace: &str,
    selector: &str,
) -> Result<(), ClusterError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = ListParams::default().labels(selector);
    let deadline = tokio::time::Instant::now() + GOING;
    loop {
        let left = call_again(CALL * 3, "waiting for our pods to go", || pods.list_metadata(&list))
            .await?;
        if left.items.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            let names: Vec<String> = left.items.iter().map(|pod| pod.name_any()).collect();
            return Err(ClusterError::unfit(
                "waiting for our pods to go",
                format!("still there: {}", names.join(", ")),
            ));
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}
