//! The way to a cluster, and the guard before it: Highwater restarts, evicts and kills, so it acts
//! only where that is plainly wanted.

use std::path::PathBuf;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// Which cluster, and whether the user has said that it may be any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The kubeconfig file; `KUBECONFIG` or `~/.kube/config` if not given.
    pub kubeconfig: Option<PathBuf>,
    /// The context; the current one if not given.
    pub context: Option<String>,
    /// `--i-know-this-is-not-a-test-cluster`.
    pub confirmed: bool,
}

/// A cluster that may be acted on.
#[derive(Clone)]
pub struct Cluster {
    /// Its client.
    pub client: Client,
    /// The context's name.
    pub context: String,
    /// The API server.
    pub server: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("context", &self.context).finish_non_exhaustive()
    }
}

/// Why a cluster is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// No kubeconfig, or none that can be read.
    #[error("reading the kubeconfig: {0}; set KUBECONFIG, or make a cluster by `just kind-up`")]
    Kubeconfig(#[source] KubeconfigError),
    /// The context is not in it.
    #[error("there is no context `{context}` in the kubeconfig; there are: {}", known.join(", "))]
    NoContext {
        /// What was asked for.
        context: String,
        /// What is there.
        known: Vec<String>,
    },
    /// No context is chosen.
    #[error("the kubeconfig has no current context; choose one by --context (there are: {})", known.join(", "))]
    NoCurrent {
        /// What is there.
        known: Vec<String>,
    },
    /// It may be somebody's production.
    #[error(
        "context `{context}` does not look like a test cluster (kind-*, minikube, k3d-*), and a run \
         restarts, evicts and kills; if it is meant, say --context {context} \
         --i-know-this-is-not-a-test-cluster"
    )]
    Guarded {
        /// The context.
        context: String,
    },
    /// The client cannot be made.
    #[error("connecting by context `{context}`: {source}")]
    Client {
        /// The context.
        context: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Whether a context's name is one that kind, minikube or k3d gives.
pub fn looks_like_a_test_cluster(context: &str) -> bool {
    context == "minikube" || context.starts_with("kind-") || context.starts_with("k3d-")
}

impl Access {
    /// The context, if it may be acted on.
    ///
    /// # Errors
    /// [`AccessError::NoContext`], [`AccessError::NoCurrent`] or [`AccessError::Guarded`].
    fn guarded(&self, kubeconfig: &Kubeconfig, acts: bool) -> Result<String, AccessError> {
        let known: Vec<String> =
            kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
        let chosen = self.context.as_ref().or(kubeconfig.current_context.as_ref());
        let Some(context) = chosen.filter(|context| !context.is_empty()) else {
            return Err(AccessError::NoCurrent { known });
        };
        if !known.contains(context) {
            return Err(AccessError::NoContext { context: context.clone(), known });
        }
        // Confirming without naming is no confirmation: the current context may be another tomorrow.
        let is_meant = self.confirmed && self.context.is_some();
        if acts && !looks_like_a_test_cluster(context) && !is_meant {
            return Err(AccessError::Guarded { context: context.clone() });
        }
        Ok(context.clone())
    }

    /// Connects. `acts`: whether anything will be changed; reading needs no guard.
    ///
    /// # Errors
    /// [`AccessError`]; nothing has been sent to the cluster yet.
    pub async fn connect(&self, acts: bool) -> Result<Cluster, AccessError> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let kubeconfig = kubeconfig.map_err(AccessError::Kubeconfig)?;
        let context = self.guarded(&kubeconfig, acts)?;
        let options =
            KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(AccessError::Kubeconfig)?;
        // Throttling and outages are part of the record; what may be tried again, we try ourselves.
        config.default_retry = false;
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|source| AccessError::Client {
            context: context.clone(),
            source: Box::new(source),
        })?;
        Ok(Cluster { client, context, server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(current: Option<&str>) -> Kubeconfig {
        let yaml = serde_json::json!({
            "contexts": [
                {"name": "kind-x", "context": {"cluster": "c", "user": "u"}},
                {"name": "production", "context": {"cluster": "c", "user": "u"}},
            ],
            "current-context": current,
        });
        serde_json::from_value(yaml).expect("a kubeconfig")
    }

    #[test]
    fn only_test_clusters_are_acted_on_unless_one_is_named_and_confirmed() {
        for (context, confirmed, current, acts, expected) in [
            (None, false, Some("kind-x"), true, Ok("kind-x")),
            (Some("kind-x"), false, Some("production"), true, Ok("kind-x")),
            (None, false, Some("production"), false, Ok("production")),
            (Some("production"), true, None, true, Ok("production")),
            (None, false, Some("production"), true, Err("guarded")),
            (None, true, Some("production"), true, Err("guarded")),
            (Some("production"), false, None, true, Err("guarded")),
            (Some("other"), true, None, true, Err("unknown")),
            (None, true, None, true, Err("none")),
            (None, true, Some(""), true, Err("none")),
        ] {
            let access = Access { kubeconfig: None, context: context.map(Into::into), confirmed };
            let got = access.guarded(&kubeconfig(current), acts);
            let got = match &got {
                Ok(context) => Ok(context.as_str()),
                Err(AccessError::Guarded { .. }) => Err("guarded"),
                Err(AccessError::NoContext { .. }) => Err("unknown"),
                Err(AccessError::NoCurrent { .. }) => Err("none"),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(got, expected, "{context:?} {confirmed} {current:?} {acts}");
        }
    }

    #[test]
    fn names_of_test_clusters_are_known() {
        for (name, is_test) in [
            ("kind-highwater", true),
            ("minikube", true),
            ("k3d-a", true),
            ("kind", false),
            ("my-minikube-like", false),
            ("prod-kind-eu", false),
        ] {
            assert_eq!(looks_like_a_test_cluster(name), is_test, "{name}");
        }
    }
}
