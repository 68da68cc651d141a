//! Probes and hooks, as a kubelet carries them out.
//!
//! *Source*: kubernetes v1.35 `pkg/probe/http/http.go` (200 to 399 passes, redirects to another
//! host pass with a warning), `pkg/probe/tcp`, `pkg/probe/exec`.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use highwater_model::spec::{ExecAction, HttpGetAction, LifecycleHandler, Port, Probe};
use tokio::process::Command;

use super::address::PodAddress;

/// The most redirects to the same host that a probe follows.
const REDIRECTS_MAX: usize = 10;

/// Carries out probes.
#[derive(Clone, Debug)]
pub(super) struct Prober {
    client: reqwest::Client,
    /// Whether probes without a port go to the health port.
    is_service: bool,
}

/// What a probe or hook came to.
pub(super) type Verdict = (bool, String);

impl Prober {
    pub(super) fn new(is_service: bool) -> Result<Self, reqwest::Error> {
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let first =
                attempt.previous().first().and_then(|url| url.host_str().map(str::to_owned));
            let is_same_host = attempt.url().host_str().map(str::to_owned) == first;
            if attempt.previous().len() > REDIRECTS_MAX {
                attempt.error("too many redirects")
            } else if is_same_host {
                attempt.follow()
            } else {
                attempt.stop()
            }
        });
        // A connection each, as the kubelet does it.
        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .redirect(redirects)
            .no_proxy()
            .user_agent("kube-probe/highwater")
            .build()?;
        Ok(Self { client, is_service })
    }

    /// The client that probes use.
    pub(super) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Runs a probe once, within `timeout`.
    pub(super) async fn probe(
        &self,
        probe: &Probe,
        address: PodAddress,
        timeout: Duration,
    ) -> Verdict {
        let run = async {
            if let Some(action) = &probe.http_get {
                self.http_get(action, address).await
            } else if let Some(action) = &probe.tcp_socket {
                tcp(self.port(action.port.as_ref(), address)).await
            } else if let Some(action) = &probe.exec {
                exec(action, address).await
            } else {
                (false, "the probe has no action".into())
            }
        };
        let in_time = tokio::time::timeout(timeout, run).await;
        in_time.unwrap_or_else(|_| (false, format!("no answer within {timeout:?}")))
    }

    /// Runs a preStop hook of kind `exec` or `httpGet`, within `timeout`.
    pub(super) async fn hook(
        &self,
        hook: &LifecycleHandler,
        address: PodAddress,
        timeout: Duration,
    ) -> Verdict {
        let run = async {
            match (&hook.exec, &hook.http_get) {
                (Some(action), _) => exec(action, address).await,
                (None, Some(action)) => {
                    let action = HttpGetAction {
                        port: action.port.clone().or_else(|| Some(Port::Name("http".into()))),
                        ..action.clone()
                    };
                    self.http_get(&action, address).await
                }
                (None, None) => (true, String::new()),
            }
        };
        let in_time = tokio::time::timeout(timeout, run).await;
        in_time.unwrap_or_else(|_| (false, "cut off by the end of the grace period".into()))
    }

    fn port(&self, port: Option<&Port>, address: PodAddress) -> SocketAddr {
        match port {
            Some(Port::Name(name)) if name == "health" => address.health(),
            None if self.is_service => address.health(),
            _ => address.main(),
        }
    }

    async fn http_get(&self, action: &HttpGetAction, address: PodAddress) -> Verdict {
        let url = format!("http://{}{}", self.port(action.port.as_ref(), address), action.path);
        let mut request = self.client.get(url);
        for header in &action.http_headers {
            request = request.header(&header.name, &header.value);
        }
        match request.send().await {
            Ok(response) => {
                let status = response.status();
                let passed = (200..400).contains(&status.as_u16());
                (passed, format!("status {}", status.as_u16()))
            }
            Err(error) if error.is_connect() => (false, "connection failed".into()),
            Err(error) if error.is_redirect() => {
                (false, format!("more than {REDIRECTS_MAX} redirects"))
            }
            Err(_) => (false, "no valid answer".into()),
        }
    }
}

async fn tcp(address: SocketAddr) -> Verdict {
    match tokio::net::TcpStream::connect(address).await {
        Ok(_) => (true, "connected".into()),
        Err(error) => (false, error.kind().to_string()),
    }
}

async fn exec(action: &ExecAction, address: PodAddress) -> Verdict {
    let Some((program, arguments)) = action.command.split_first() else {
        return (false, "the command is empty".into());
    };
    let child = Command::new(program)
        .args(arguments)
        .env("HOST", address.ip.to_string())
        .env("PORT", address.port.to_string())
        .env("HEALTH_PORT", address.health_port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // The time-out drops the future, and with it the child.
        .kill_on_drop(true)
        .spawn();
    match child {
        Err(error) => (false, format!("cannot start `{program}`: {error}")),
        Ok(mut child) => match child.wait().await {
            Ok(status) if status.success() => (true, "exit 0".into()),
            Ok(status) => (false, status.to_string()),
            Err(error) => (false, error.to_string()),
        },
    }
}
