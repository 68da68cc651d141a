//! The end of a run: everything that it changed is put back, everything that it made goes.

use highwater_model::event::WarningCode;
use kube::Client;

use super::{Driver, begin::Tasks};
use crate::backend::{
    BackendError,
    kube::{error::ClusterError, home::Home, journal::Journal, sweep},
};

/// How long the actor may take to end the action that it is at.
const ACTOR: std::time::Duration = std::time::Duration::from_secs(10);

impl Driver<'_> {
    /// Ends the tasks, puts back what was changed, and gives the namespace back.
    pub(super) async fn close(&mut self, mut tasks: Tasks) -> Result<(), BackendError> {
        self.observer.expect_teardown();
        // The generators, if any are left, end with their orders.
        self.load = None;
        self.proxy = None;
        self.orders = None;
        let journal = match tokio::time::timeout(ACTOR, &mut tasks.actor).await {
            Ok(Ok(journal)) => Ok(journal),
            // What it noted is in the cluster, too.
            Ok(Err(_)) | Err(_) => {
                tasks.actor.abort();
                Journal::read(&self.cluster.client, &self.home.namespace).await
            }
        };
        let mut failures = Vec::new();
        match journal {
            Ok(mut journal) => failures.extend(journal.restore().await),
            Err(error) => failures.push(error),
        }
        let mut seen = Vec::new();
        self.observer.finish(self.clock.now(), &mut seen);
        self.observed(seen)?;
        tasks.all.shutdown().await;
        if failures.is_empty() {
            failures.extend(give_back(&self.cluster.client, &self.home).await);
        }
        // A journal that is not empty stays where it is, for `highwater cleanup`.
        for failure in &failures {
            self.warn(WarningCode::NotRestored, failure.to_string())?;
        }
        match failures.into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(BackendError::NotRestored(failure)),
        }
    }
}

/// Deletes what the run made and gives the namespace back; what went wrong.
pub(super) async fn give_back(client: &Client, home: &Home) -> Vec<ClusterError> {
    let swept = if home.is_made {
        // All goes with the namespace.
        Ok(0)
    } else {
        sweep::everything(client, &home.namespace, Some(&home.run)).await
    };
    let left = match (swept, sweep::cluster_wide(client, &home.namespace).await) {
        (Ok(_), Ok(_)) => home.leave().await,
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    left.err().into_iter().collect()
}

/// Why a run ended, and what is left of it.
pub(super) fn both(error: BackendError, left: &BackendError) -> BackendError {
    BackendError::PartEnded { part: "the run", reason: format!("{error}; and {left}") }
}
