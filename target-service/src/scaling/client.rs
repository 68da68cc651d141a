//! The two requests of a tick, over one connection to the API server that is kept while it lasts.
//!
//! One attempt each, with a bound on its time and on its answer's size; errors are told apart by
//! status and kind. TLS 1.2 or 1.3 by rustls; the only trusted authority is the service account's.

use std::{
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem, pem::PemObject as _},
    },
};

use super::ArgsError;

/// From the start of a request, its connection included, to the last byte of its answer.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// The largest answer that is read; a Scale takes less than 1 KiB, an error's Status a few.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The largest file of a service account that is read; a bundle of authorities may be long.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The API server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The settings.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// Not in a pod.
    #[error("self-scaling: there is no valid {0} in the environment, so this is no pod")]
    Environment(&'static str),
    /// No service account, or not the whole.
    #[error("self-scaling: reading {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not what it should be.
    #[error("self-scaling: {} holds no name of a namespace", .0.display())]
    Namespace(PathBuf),
    /// Not PEM.
    #[error("self-scaling: reading the certificates of {}: {source}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// Certificates, but none to trust.
    #[error("self-scaling: trusting the certificates of {}: {source}", path.display())]
    Trust {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The host is neither an address nor a name.
    #[error("self-scaling: the API server's host: {0}")]
    Host(#[from] InvalidDnsNameError),
}

/// A request that was not answered with 200.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Answered, but not with 200.
    #[error("status {0}")]
    Status(StatusCode),
    /// Not within its bound.
    #[error("no answer in time")]
    TimedOut,
    /// The token cannot be read, or is none.
    #[error("reading the token: {0}")]
    Token(#[source] io::Error),
    /// No connection, TLS included.
    #[error("connecting: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke, or brought no HTTP.
    #[error("asking: {0}")]
    Http(#[from] hyper::Error),
    /// Beyond its bound.
    #[error("an answer of more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// 200, but no Scale.
    #[error("reading the answer: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// A Deployment's scale as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`.
    pub replicas: u32,
    /// `metadata.resourceVersion`: a write with it succeeds only if nobody wrote meanwhile.
    pub resource_version: String,
}

/// Of `autoscaling/v1` Scale, what is read.
#[derive(Deserialize)]
struct ScaleObject {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

#[derive(Default, Deserialize)]
struct Spec {
    /// Left out for 0.
    #[serde(default)]
    replicas: u32,
}

/// Asks the API server for one Deployment's scale.
pub struct Client {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    tls: TlsConnector,
    token: PathBuf,
    path: String,
    request_max: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("host", &self.host).field("path", &self.path).finish()
    }
}

impl Client {
    /// A client by `KUBERNETES_SERVICE_HOST`, `KUBERNETES_SERVICE_PORT` and a service account's
    /// folder.
    ///
    /// # Errors
    /// If there is no such environment, or the folder lacks a readable `ca.crt` or `namespace`.
    pub fn in_cluster(service_account: &Path, deployment: &str) -> Result<Self, SetupError> {
        let variable = |name| std::env::var(name).map_err(|_| SetupError::Environment(name));
        let host = variable("KUBERNETES_SERVICE_HOST")?;
        let port = "KUBERNETES_SERVICE_PORT";
        let port = variable(port)?.parse().map_err(|_| SetupError::Environment(port))?;
        Self::new(&host, port, service_account, deployment)
    }

    /// A client for a server.
    ///
    /// # Errors
    /// If the host is none, or the folder lacks a readable `ca.crt` or `namespace`.
    pub fn new(
        host: &str,
        port: u16,
        service_account: &Path,
        deployment: &str,
    ) -> Result<Self, SetupError> {
        let file = service_account.join("namespace");
        let namespace = read(&file)
            .map_err(|source| SetupError::File { path: file.clone(), source })?
            .trim()
            .to_owned();
        if !super::is_object_name(&namespace) {
            return Err(SetupError::Namespace(file));
        }
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}/scale");
        Ok(Self {
            host: host.into(),
            port,
            server_name: ServerName::try_from(host.to_owned())?,
            tls: tls(&service_account.join("ca.crt"))?,
            token: service_account.join("token"),
            path,
            request_max: REQUEST_MAX,
            connection: None,
        })
    }

    /// The same client with another bound on a request, from its start to its answer's last byte.
    pub fn with_time_out(self, request_max: Duration) -> Self {
        Self { request_max, ..self }
    }

    /// Reads the scale.
    ///
    /// # Errors
    /// Anything but a Scale with status 200.
    pub async fn read(&mut self) -> Result<Scale, RequestError> {
        let body = self.ask(Method::GET, Bytes::new()).await?;
        let scale: ScaleObject = serde_json::from_slice(&body)?;
        let resource_version = scale.metadata.resource_version;
        Ok(Scale { replicas: scale.spec.replicas, resource_version })
    }

    /// Writes other replicas over the scale that was read, if nobody has written meanwhile.
    ///
    /// # Errors
    /// Anything but status 200; 409 if somebody has.
    pub async fn write(&mut self, over: &Scale, replicas: u32) -> Result<(), RequestError> {
        let patch = json!({
            "metadata": {"resourceVersion": over.resource_version},
            "spec": {"replicas": replicas},
        });
        self.ask(Method::PATCH, patch.to_string().into()).await.map(drop)
    }

    /// One request. A connection on which it did not end well is not used again.
    async fn ask(&mut self, method: Method, body: Bytes) -> Result<Bytes, RequestError> {
        let mut kept = self.connection.take();
        let request = self.request(method, body)?;
        let exchange = async {
            let is_open = match &mut kept {
                Some(kept) => kept.ready().await.is_ok(),
                None => false,
            };
            let mut connection = match kept {
                Some(kept) if is_open => kept,
                _ => self.connect().await?,
            };
            let answer = connection.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(body_error)?.to_bytes();
            Ok((connection, status, body))
        };
        let ended = tokio::time::timeout(self.request_max, exchange).await;
        let (connection, status, body) = ended.unwrap_or(Err(RequestError::TimedOut))?;
        self.connection = Some(connection);
        if status == StatusCode::OK { Ok(body) } else { Err(RequestError::Status(status)) }
    }

    fn request(&self, method: Method, body: Bytes) -> Result<Request<Full<Bytes>>, RequestError> {
        // The kubelet replaces it long before it expires, so it is read each time.
        let token = read(&self.token).map_err(RequestError::Token)?;
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut bearer = bearer.map_err(|error| RequestError::Token(io::Error::other(error)))?;
        bearer.set_sensitive(true);
        let host = match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        };
        let mut request = Request::new(Full::new(body));
        if method == Method::PATCH {
            let kind = HeaderValue::from_static("application/merge-patch+json");
            request.headers_mut().insert(CONTENT_TYPE, kind);
        }
        *request.method_mut() = method;
        // A name of an object is a valid part of a path, and an address or name a valid host.
        *request.uri_mut() = self.path.parse().expect("names need no escaping");
        let headers = request.headers_mut();
        headers.insert(HOST, host.parse().expect("an address or a DNS name"));
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("highwater-self-scaling"));
        Ok(request)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, RequestError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(RequestError::Connect)?;
        let stream = self.tls.connect(self.server_name.clone(), stream).await;
        let stream = stream.map_err(RequestError::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its sender; its errors come to whoever asks.
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> RequestError {
    match error.downcast::<hyper::Error>() {
        Ok(error) => RequestError::Http(*error),
        Err(other) => {
            debug_assert!(other.is::<LengthLimitError>(), "the only other error: {other}");
            RequestError::TooLarge
        }
    }
}

fn tls(path: &Path) -> Result<TlsConnector, SetupError> {
    let text = read(path).map_err(|source| SetupError::File { path: path.into(), source })?;
    let mut roots = RootCertStore::empty();
    let mut add = |certificate| roots.add(certificate);
    let trust = |source| SetupError::Trust { path: path.into(), source };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates =
        certificates.map_err(|source| SetupError::Pem { path: path.into(), source })?;
    certificates.into_iter().try_for_each(&mut add).map_err(trust)?;
    if roots.is_empty() {
        return Err(SetupError::Pem { path: path.into(), source: pem::Error::NoItemsFound });
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(trust)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Reads a small text file.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}
