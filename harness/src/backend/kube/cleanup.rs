//! `highwater cleanup`: finishes what a killed run left in a cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};

use super::{
    client::{Access, AccessError},
    error::{CALL, ClusterError, call_again, unless_gone},
    home::{self, RENEW_EVERY},
    journal::Journal,
    names, sweep,
};

/// Why something may be left.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// The cluster is not to be had, or may not be acted on.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The cluster would not do it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The operating system refused a runtime.
    #[error("starting the runtime: {0}")]
    Runtime(#[source] std::io::Error),
    /// A run is alive.
    #[error("a run is under way in namespace {namespace} ({holder}); end it, or say --force")]
    Alive {
        /// Where.
        namespace: String,
        /// Whose.
        holder: String,
    },
    /// Some of it could not be put back.
    #[error("{} of the changes could not be put back: {}", .0.len(), .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NotRestored(Vec<ClusterError>),
}

/// Puts back what the run in `namespace` changed, deletes what it made, and says what was done.
///
/// # Errors
/// [`CleanupError`]; it may be called again.
pub fn run(access: &Access, namespace: &str, force: bool) -> Result<Vec<String>, CleanupError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CleanupError::Runtime)?;
    runtime.block_on(async {
        let cluster = access.connect(true).await?;
        clean(&cluster.client, namespace, force).await
    })
}

/// As [`run`], with a client.
///
/// # Errors
/// As [`run`].
pub async fn clean(
    client: &Client,
    namespace: &str,
    force: bool,
) -> Result<Vec<String>, CleanupError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let doing = format!("reading namespace {namespace}");
    let found = call_again(CALL * 3, &doing, || namespaces.get(namespace)).await;
    let Some(found) = unless_gone(found)? else {
        return Ok(vec![format!("there is no namespace {namespace}: nothing is left")]);
    };
    if found.labels().get(names::MANAGED_BY).is_none_or(|by| by != names::HIGHWATER) {
        return Err(
            ClusterError::unfit(doing, "it is not Highwater's, so nothing is touched").into()
        );
    }
    if !force {
        refuse_if_alive(client, namespace).await?;
    }
    let mut done = Vec::new();
    let mut journal = Journal::read(client, namespace).await?;
    if !journal.is_empty() {
        let failures = journal.restore().await;
        if !failures.is_empty() {
            return Err(CleanupError::NotRestored(failures));
        }
        done.push("what was changed is as it was".to_string());
    }
    sweep::cluster_wide(client, namespace).await?;
    if found.annotations().contains_key(names::CREATED) || !has_foreign_life(&found) {
        home::delete_namespace(client, namespace).await?;
        done.push(format!("namespace {namespace} is gone with all that was in it"));
    } else {
        let count = sweep::everything(client, namespace, None).await?;
        home::delete_lease(client, namespace).await?;
        done.push(format!("{count} objects are gone from namespace {namespace}"));
    }
    Ok(done)
}

/// Whether a namespace was there before any run: one that was made for us to use carries the label
/// and was not made by `highwater`, which marks its own.
fn has_foreign_life(namespace: &Namespace) -> bool {
    // A run that was killed between making the namespace and marking it leaves its manager's name.
    let made_by_us = namespace
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .any(|entry| entry.manager.as_deref() == Some(names::MANAGER));
    !made_by_us
}

/// A run renews its Lease; one that does not within three times its interval is dead. Only changes
/// count, not what any clock says.
async fn refuse_if_alive(client: &Client, namespace: &str) -> Result<(), CleanupError> {
    let renewed = async || -> Result<_, ClusterError> {
        Ok(home::lease_of(client, namespace).await?.and_then(|lease| lease.spec))
    };
    let Some(first) = renewed().await? else { return Ok(()) };
    let deadline = tokio::time::Instant::now() + RENEW_EVERY * 3;
    while tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Some(now) = renewed().await? else { return Ok(()) };
        if now.renew_time != first.renew_time {
            let holder = now.holder_identity.unwrap_or_default();
            return Err(CleanupError::Alive { namespace: namespace.into(), holder });
        }
    }
    Ok(())
}
