//! A small API server that knows one Deployment's scale, over TLS on loopback.

use std::{
    collections::VecDeque,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// What the server does with one request instead of what it should.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// This status and body.
    Answer(u16, String),
    /// Nothing, ever.
    Silence,
    /// Closes the connection.
    Close,
    /// What it should, and then somebody else writes.
    ThenSomebodyWrites,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
    /// The answer's status; 0 for none.
    pub(crate) status: u16,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) replicas: u32,
    pub(crate) version: u64,
    /// For the next requests, in order.
    pub(crate) acts: VecDeque<Act>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) connections: usize,
}

pub(crate) struct FakeApi {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    folder: tempfile::TempDir,
}

pub(crate) const PATH: &str = "/apis/apps/v1/namespaces/shop/deployments/cart/scale";

impl FakeApi {
    /// A server with this many replicas, and a service account for it. It ends with the process.
    pub(crate) fn start(replicas: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = tls(&folder.path().join("ca.crt"));
        fs::write(folder.path().join("token"), "first\n").unwrap();
        fs::write(folder.path().join("namespace"), "shop").unwrap();
        let state =
            State { replicas, version: 1, acts: VecDeque::new(), seen: Vec::new(), connections: 0 };
        let state = Arc::new(Mutex::new(state));
        let (send, receive) = mpsc::channel();
        let shared = state.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                send.send(listener.local_addr().unwrap()).unwrap();
                accept(listener, tls, shared).await;
            });
        });
        Self { address: receive.recv().unwrap(), state, folder }
    }

    pub(crate) fn service_account(&self) -> PathBuf {
        self.folder.path().into()
    }

    pub(crate) fn act(&self, act: Act) {
        self.state.lock().unwrap().acts.push_back(act);
    }
}

/// A certificate for 127.0.0.1 by an authority of its own, whose certificate goes into a file.
fn tls(authority_file: &Path) -> TlsAcceptor {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(authority_file, authority.pem()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move {
            // A client that does not trust this server goes away.
            let Ok(stream) = tls.accept(stream).await else { return };
            state.lock().unwrap().connections += 1;
            let service = service_fn(move |request| serve(state.clone(), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve(
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await?.to_bytes().into())?;
    let header = |name| {
        let value = parts.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_string()
    };
    let mut seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        authorization: header("authorization"),
        content_type: header("content-type"),
        body,
        status: 0,
    };
    let act = state.lock().unwrap().acts.pop_front();
    let answer = match act {
        None | Some(Act::ThenSomebodyWrites) => Some(state.lock().unwrap().scale(&seen)),
        Some(Act::Answer(status, ref body)) => Some((status, body.clone())),
        Some(Act::Silence | Act::Close) => None,
    };
    seen.status = answer.as_ref().map_or(0, |(status, _)| *status);
    {
        let mut state = state.lock().unwrap();
        state.seen.push(seen);
        state.version += u64::from(matches!(act, Some(Act::ThenSomebodyWrites)));
    }
    match (act, answer) {
        (Some(Act::Silence), _) => std::future::pending().await,
        (_, None) => Err("closes".into()),
        (_, Some((status, body))) => {
            Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
        }
    }
}

impl State {
    /// As the API server does it: a PATCH with another resource version than the present is 409.
    fn scale(&mut self, request: &Seen) -> (u16, String) {
        if request.path != PATH {
            return (404, "{}".into());
        }
        if request.method == "PATCH" {
            let patch: Value = serde_json::from_str(&request.body).unwrap();
            let version = patch["metadata"]["resourceVersion"].as_str();
            if version != Some(&self.version.to_string()) {
                return (409, "{}".into());
            }
            self.replicas = patch["spec"]["replicas"].as_u64().unwrap().try_into().unwrap();
            self.version += 1;
        }
        // 0 is left out, as by the API server.
        let spec = if self.replicas == 0 { json!({}) } else { json!({"replicas": self.replicas}) };
        let metadata = json!({"name": "cart", "resourceVersion": self.version.to_string()});
        (200, json!({"kind": "Scale", "metadata": metadata, "spec": spec}).to_string())
    }
}
