//! One request: an endpoint, a connection to it, a try, another where that was asked for, the answer.

use std::{convert::Infallible, rc::Rc};

use highwater_model::{
    outcome::HopError,
    proxy::retry::{Failed, Stage, may_repeat, may_retry},
};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::{Body, Bytes, Incoming},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue},
    http::request::Parts,
};

use super::{
    Config,
    body::{Exchange, ProxyBody},
    classify,
    downstream::Downstream,
    header::{self, UpstreamInfo},
    mono_ns,
    report::add,
    rewrite::{self, Outgoing},
    upload::Upload,
    upstream::{Opening, Upstream, connect},
    worker::Endpoint,
};

/// Name of the header as hyper has it.
const UPSTREAM_HEADER: HeaderName = HeaderName::from_static(header::NAME);

/// Answers one request of a client. Never fails: what was met is in the answer.
pub(super) async fn handle(
    downstream: Rc<Downstream>,
    request: Request<Incoming>,
) -> Result<Response<ProxyBody>, Infallible> {
    downstream.begin(!request.body().is_end_stream());
    let worker = Rc::clone(&downstream.worker);
    add(&worker.shared.reporter.counters.requests, 1);
    let start = mono_ns();
    let info = UpstreamInfo { worker: worker.index, start, end: start, ..UpstreamInfo::default() };
    let request_id = rewrite::request_id(request.headers());
    let mut exchange = Exchange::new(worker, info, request_id);
    if rewrite::asks_for_upgrade(&request) {
        exchange.complete();
        let text = "501 Not Implemented: no upgrade here\n".into();
        return Ok(generated(downstream, StatusCode::NOT_IMPLEMENTED, text, &exchange));
    }
    let client_version = request.version();
    let answer = tries(&downstream, &mut exchange, request).await;
    exchange.tell_hidden(answer.is_ok());
    Ok(match answer {
        Ok((upstream, response)) => {
            pass_on(downstream, client_version, exchange, upstream, response)
        }
        Err(error) => {
            exchange.failed(error);
            let status = classify::status(error);
            let text = format!("{status}: {}\n", error.name());
            generated(downstream, status, text.into(), &exchange)
        }
    })
}

/// Tries until a pod answers, or another try is not allowed or there is no pod for it; at most
/// once more than there are retries. What the last try came to is in `exchange`.
async fn tries(
    downstream: &Rc<Downstream>,
    exchange: &mut Exchange,
    request: Request<Incoming>,
) -> Result<(Rc<Upstream>, Response<Incoming>), HopError> {
    let worker = &downstream.worker;
    let Config { retry, retries, .. } = worker.shared.config;
    let (head, incoming) = request.into_parts();
    let repeats = retries > 0 && may_repeat(retry, head.method.as_str());
    let mut asked = Asked {
        has_body: !incoming.is_end_stream(),
        upload: Upload::new(incoming, repeats),
        head: Some(head),
        repeats,
    };
    let mut tried = Vec::new();
    let mut next = worker.pick(&tried);
    while let Some(in_flight) = next {
        let endpoint = Rc::clone(&in_flight.0);
        exchange.begin(in_flight);
        let answer = attempt(downstream, exchange, &mut asked, &endpoint).await;
        exchange.info.end = mono_ns();
        let failed = match answer {
            Ok(answer) => {
                worker.succeeded(&endpoint);
                return Ok(answer);
            }
            Err(failed) => failed,
        };
        exchange.info.error = Some(failed.error);
        worker.failed(&endpoint, failed.error);
        let can_repeat = repeats && asked.upload.can_repeat();
        let is_retried = tried.len() < retries as usize && may_retry(retry, failed, can_repeat);
        tried.push(endpoint);
        next = if is_retried { worker.pick(&tried) } else { None };
        if next.is_none() {
            return Err(failed.error);
        }
        add(&worker.shared.reporter.counters.retries, 1);
    }
    exchange.info.end = mono_ns();
    exchange.info.error = Some(HopError::NoEndpoint);
    Err(HopError::NoEndpoint)
}

/// A request of a client, for as many tries as there may be.
struct Asked {
    /// `None` once it was sent for the last time.
    head: Option<Parts>,
    upload: Rc<Upload>,
    has_body: bool,
    /// Whether it may be sent a second time.
    repeats: bool,
}

impl Asked {
    /// The request as `endpoint` gets it.
    fn request(
        &mut self,
        downstream: &Downstream,
        endpoint: &Endpoint,
    ) -> Result<Request<&Rc<Upload>>, HopError> {
        let head = if self.repeats { self.head.clone() } else { self.head.take() };
        // Only what may be repeated is sent twice.
        let head = head.ok_or(HopError::BadResponse)?;
        let mut request = Request::from_parts(head, &self.upload);
        Outgoing {
            peer: &downstream.peer,
            address: endpoint.at.address,
            keep_alive: downstream.worker.shared.config.keep_alive,
            has_body: self.has_body,
        }
        .apply(&mut request);
        Ok(request)
    }
}

/// One try.
async fn attempt(
    downstream: &Rc<Downstream>,
    exchange: &mut Exchange,
    asked: &mut Asked,
    endpoint: &Rc<Endpoint>,
) -> Result<(Rc<Upstream>, Response<Incoming>), Failed> {
    let at = |stage: Stage| move |error: HopError| Failed { stage, error };
    let upstream = connection_to(downstream, exchange, Rc::clone(endpoint)).await;
    let upstream = upstream.map_err(at(Stage::Connect))?;
    let request = asked.request(downstream, endpoint).map_err(at(Stage::Exchange))?;
    let response = upstream.exchange(request, downstream).await.map_err(at(Stage::Exchange))?;
    if rewrite::is_unwanted(response.status()) {
        return Err(at(Stage::Exchange)(HopError::BadResponse));
    }
    Ok((upstream, response))
}

/// A kept connection to `endpoint`, or else a new one.
async fn connection_to(
    downstream: &Downstream,
    exchange: &mut Exchange,
    endpoint: Rc<Endpoint>,
) -> Result<Rc<Upstream>, HopError> {
    let worker = &downstream.worker;
    if let Some(upstream) = worker.take_idle(&endpoint) {
        exchange.info.connection = Some(upstream.info());
        add(&worker.shared.reporter.counters.reused, 1);
        return Ok(upstream);
    }
    let opening = Opening::new(worker);
    exchange.info.connection = Some(opening.info());
    connect(opening, worker, endpoint).await
}

/// The pod's response.
fn pass_on(
    downstream: Rc<Downstream>,
    client_version: Version,
    exchange: Exchange,
    upstream: Rc<Upstream>,
    response: Response<Incoming>,
) -> Response<ProxyBody> {
    let (mut parts, incoming) = response.into_parts();
    rewrite::strip_hop_by_hop(&mut parts.headers);
    insert_header(&mut parts.headers, &downstream, &exchange);
    parts.version = Version::HTTP_11;
    if client_version == Version::HTTP_10 && !parts.headers.contains_key(CONTENT_LENGTH) {
        downstream.end_with_close();
    }
    let body = ProxyBody::pod(downstream, incoming, exchange, upstream);
    Response::from_parts(parts, body)
}

/// A response of our own.
fn generated(
    downstream: Rc<Downstream>,
    status: StatusCode,
    text: Bytes,
    exchange: &Exchange,
) -> Response<ProxyBody> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    insert_header(&mut headers, &downstream, exchange);
    downstream.answered_for(exchange.own_answer());
    let mut response = Response::new(ProxyBody::text(downstream, text));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn insert_header(headers: &mut HeaderMap, downstream: &Downstream, exchange: &Exchange) {
    let text = match downstream.worker.shared.run.get() {
        Some(clock) => header::format_since(&exchange.info, &clock),
        None => header::format(&exchange.info),
    };
    // The form is visible ASCII by its tests; a header is no reason to lose a response.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(UPSTREAM_HEADER, value);
    }
}
