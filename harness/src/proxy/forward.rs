//! One request: an endpoint, a connection to it, one try, the answer.

use std::{convert::Infallible, rc::Rc};

use highwater_model::outcome::HopError;
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::{Body, Bytes, Incoming},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue},
};

use super::{
    body::{Exchange, ProxyBody},
    classify,
    downstream::Downstream,
    header::{self, UpstreamInfo},
    mono_ns,
    report::add,
    rewrite::{self, Outgoing},
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
    let answer = attempt(&downstream, &mut exchange, request).await;
    exchange.info.end = mono_ns();
    Ok(match answer {
        Ok((upstream, response)) => {
            pass_on(downstream, client_version, exchange, upstream, response)
        }
        Err(error) => {
            exchange.info.error = Some(error);
            exchange.failed(error);
            let status = classify::status(error);
            let text = format!("{status}: {}\n", error.name());
            generated(downstream, status, text.into(), &exchange)
        }
    })
}

/// The one try.
async fn attempt(
    downstream: &Rc<Downstream>,
    exchange: &mut Exchange,
    mut request: Request<Incoming>,
) -> Result<(Rc<Upstream>, Response<Incoming>), HopError> {
    let worker = &downstream.worker;
    let endpoint = worker.pick().ok_or(HopError::NoEndpoint)?;
    exchange.info.tries = 1;
    exchange.info.pod = Some(endpoint.at.pod.clone());
    let has_body = !request.body().is_end_stream();
    Outgoing {
        peer: &downstream.peer,
        address: endpoint.at.address,
        keep_alive: worker.shared.config.keep_alive,
        has_body,
    }
    .apply(&mut request);
    let upstream = connection_to(downstream, exchange, endpoint).await?;
    let response = upstream.exchange(request, downstream).await?;
    if rewrite::is_unwanted(response.status()) {
        return Err(HopError::BadResponse);
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
