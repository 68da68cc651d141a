//! The one namespace that a run owns: making it, holding it, giving it back.
//!
//! A Lease in it says that a run is under way, so that two runs do not mistake each other's
//! objects for their own, and so that `highwater cleanup` tells a living run from a killed one.

use std::time::Duration;

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Namespace},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp as WallTime,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use serde_json::json;

use super::{
    error::{CALL, ClusterError, call, call_again, unless_gone},
    names,
};

/// How often a run says that it lives.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long the namespace of an earlier run may take to go.
const GOING: Duration = Duration::from_secs(120);
/// Digits of the Lease's uid that make a run's name.
const RUN_CHARS: usize = 8;

/// The namespace while it is ours.
#[derive(Clone)]
pub struct Home {
    client: Client,
    /// Its name.
    pub namespace: String,
    /// The run's own name: a part of the Lease's uid, so the cluster has made it unique.
    pub run: String,
    /// Whether the namespace was made by this run, and goes with it.
    pub is_made: bool,
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").field("namespace", &self.namespace).field("run", &self.run).finish()
    }
}

impl Home {
    /// Takes the namespace: makes it if it is not there, and leaves word that a run is under way.
    ///
    /// # Errors
    /// If it is not Highwater's, another run holds it, or the API server refuses.
    pub async fn enter(
        client: &Client,
        namespace: &str,
        holder: &str,
    ) -> Result<Self, ClusterError> {
        let is_made = ensure_namespace(client, namespace).await?;
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let lease = call("taking the Lease of the run", leases.create(&ours(), &lease(holder)))
            .await
            .map_err(|error| if error.code() == Some(409) { held(namespace) } else { error })?;
        let uid = lease.metadata.uid.unwrap_or_default();
        let run: String = uid.chars().filter(char::is_ascii_alphanumeric).take(RUN_CHARS).collect();
        if run.is_empty() {
            return Err(ClusterError::unfit("taking the Lease of the run", "it has no uid"));
        }
        let home = Self { client: client.clone(), namespace: namespace.into(), run, is_made };
        if is_made {
            home.annotate().await?;
        }
        Ok(home)
    }

    /// Marks the namespace as one that goes with this run.
    async fn annotate(&self) -> Result<(), ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let patch = json!({"metadata": {"annotations": {names::CREATED: self.run}}});
        let params = PatchParams::default();
        call(
            "marking the namespace",
            namespaces.patch(&self.namespace, &params, &Patch::Merge(&patch)),
        )
        .await?;
        Ok(())
    }

    /// Says that the run lives. A failure is no reason to end it: the API server may be away.
    ///
    /// # Errors
    /// [`ClusterError::Unfit`] if the Lease is gone: somebody has cleaned up under the run.
    pub async fn renew(&self) -> Result<(), ClusterError> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let patch = json!({"spec": {"renewTime": MicroTime(wall_now())}});
        let params = PatchParams::default();
        let renewed =
            call("renewing the Lease", leases.patch(names::LEASE, &params, &Patch::Merge(&patch)))
                .await;
        match renewed {
            Err(error) if error.code() == Some(404) => Err(ClusterError::unfit(
                "renewing the Lease",
                "it is gone: somebody has cleaned up while the run was under way",
            )),
            Err(_) | Ok(_) => Ok(()),
        }
    }

    /// Gives the namespace back: deletes the Lease last, or the whole namespace if it was ours.
    ///
    /// # Errors
    /// If it is still there when its time is over.
    pub async fn leave(&self) -> Result<(), ClusterError> {
        if self.is_made {
            return delete_namespace(&self.client, &self.namespace).await;
        }
        delete_lease(&self.client, &self.namespace).await
    }
}

/// Parameters that make a write known as ours.
fn ours() -> PostParams {
    PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() }
}

fn held(namespace: &str) -> ClusterError {
    ClusterError::unfit(
        format!("taking namespace {namespace}"),
        "another run is under way in it; if that one was killed, `highwater cleanup` undoes it \
         (or name another namespace by --namespace)",
    )
}

fn lease(holder: &str) -> Lease {
    let now = MicroTime(wall_now());
    let lease = json!({
        "metadata": {"name": names::LEASE, "labels": {names::MANAGED_BY: names::HIGHWATER}},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 30,
            "acquireTime": now,
            "renewTime": now,
        },
    });
    serde_json::from_value(lease).expect("the Lease written here fits its type")
}

/// The wall clock, for the Lease alone.
#[expect(clippy::disallowed_methods, reason = "people read the Lease; nothing is decided by it")]
fn wall_now() -> WallTime {
    std::time::SystemTime::now().try_into().unwrap_or(WallTime::UNIX_EPOCH)
}

/// Whether the namespace had to be made.
async fn ensure_namespace(client: &Client, name: &str) -> Result<bool, ClusterError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let doing = || format!("taking namespace {name}");
    let deadline = tokio::time::Instant::now() + GOING;
    loop {
        let Some(found) = unless_gone(call(doing(), namespaces.get(name)).await)? else { break };
        let is_ours =
            found.labels().get(names::MANAGED_BY).is_some_and(|by| by == names::HIGHWATER);
        if !is_ours {
            return Err(ClusterError::unfit(
                doing(),
                format!(
                    "it is there and not Highwater's; label it {}={}, or name another by \
                     --namespace",
                    names::MANAGED_BY,
                    names::HIGHWATER
                ),
            ));
        }
        if found.metadata.deletion_timestamp.is_none() {
            // One that an earlier run made and could not delete goes with this one.
            return Ok(found.annotations().contains_key(names::CREATED)
                && !has_lease(client, name).await?);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(ClusterError::unfit(
                doing(),
                "the namespace of an earlier run is still going; see `kubectl get namespace -o \
                 yaml` for what holds it",
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let namespace = json!({
        "metadata": {"name": name, "labels": {names::MANAGED_BY: names::HIGHWATER}},
    });
    let namespace: Namespace =
        serde_json::from_value(namespace).expect("the Namespace written here fits its type");
    call(doing(), namespaces.create(&ours(), &namespace)).await?;
    Ok(true)
}

async fn has_lease(client: &Client, namespace: &str) -> Result<bool, ClusterError> {
    Ok(lease_of(client, namespace).await?.is_some())
}

/// The Lease of the run that holds a namespace.
///
/// # Errors
/// As [`call`].
pub async fn lease_of(client: &Client, namespace: &str) -> Result<Option<Lease>, ClusterError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    unless_gone(
        call_again(CALL * 2, "reading the Lease of the run", || leases.get(names::LEASE)).await,
    )
}

/// Deletes the Lease of a run; none is fine.
///
/// # Errors
/// As [`call_again`].
pub async fn delete_lease(client: &Client, namespace: &str) -> Result<(), ClusterError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let params = DeleteParams::default();
    let deleted = call_again(CALL * 3, "giving the Lease back", || async {
        leases.delete(names::LEASE, &params).await.map(|_| ())
    });
    unless_gone(deleted.await).map(|_| ())
}

/// Deletes a namespace and waits until it is gone; none is fine.
///
/// # Errors
/// If it is still there after two minutes, or as [`call_again`].
pub async fn delete_namespace(client: &Client, name: &str) -> Result<(), ClusterError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let doing = format!("deleting namespace {name}");
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    let deleted = call_again(CALL * 3, &doing, || async {
        namespaces.delete(name, &params).await.map(|_| ())
    })
    .await;
    match deleted {
        // 409: it is going already.
        Err(error) if error.code() == Some(409) => {}
        other => {
            if unless_gone(other)?.is_none() {
                return Ok(());
            }
        }
    }
    let deadline = tokio::time::Instant::now() + GOING;
    while unless_gone(call_again(CALL * 2, &doing, || namespaces.get_metadata(name)).await)?
        .is_some()
    {
        if tokio::time::Instant::now() >= deadline {
            return Err(ClusterError::unfit(
                doing,
                "it is still there after two minutes; see `kubectl get namespace -o yaml` for \
                 what holds it",
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
