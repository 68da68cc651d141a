//! The way to a port of a pod that listens on the pod's own loopback address only.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use super::error::call;
use crate::agent::link::{ConnectError, Connector};

/// The way to a pod's control port.
pub fn connector(client: &Client, namespace: &str, pod: &str, port: u16) -> Connector {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = pod.to_string();
    Connector::new(move || {
        let (pods, pod) = (pods.clone(), pod.clone());
        async move {
            let doing = format!("forwarding a port of pod {pod}");
            let mut forwarder =
                call(doing, pods.portforward(&pod, &[port])).await.map_err(|error| {
                    if error.code() == Some(404) {
                        ConnectError::Gone(error.to_string())
                    } else {
                        ConnectError::Failed(error.to_string())
                    }
                })?;
            let stream = forwarder
                .take_stream(port)
                .ok_or_else(|| ConnectError::Failed("the stream was taken already".into()))?;
            // It carries the stream's bytes until either side closes; its errors are the stream's.
            tokio::spawn(async move {
                let _ = forwarder.join().await;
            });
            Ok(stream)
        }
    })
}
