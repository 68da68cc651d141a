//! Phases and requests.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};

use super::{
    CONNECTIONS_MAX, ENTRIES_MAX, GENERATORS_MAX, LENGTH_MAX, Problems, REQUESTS_MAX, THREADS_MAX,
    check_name,
};
use crate::{
    load::Profile,
    spec::{Generators, Header, Phase, RequestKind, TRACE_REQUESTS_MAX, Traffic},
    time::Nanos,
};

/// The longest request path and the longest header value: what common servers accept in a line.
const LINE_BYTES_MAX: usize = 8 << 10;
/// The most bytes of all headers of a request: what common servers accept.
const HEADERS_BYTES_MAX: usize = 16 << 10;
/// The longest body, sent or expected; it is held in memory once per kind.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The most points of all curves: the first line of a record holds them.
const POINTS_MAX: usize = 200_000;
/// The most kinds of requests of all traces.
const TRACED_KINDS_MAX: usize = 20_000;
/// How many levels of parts a phase may have.
const PARTS_DEEP_MAX: usize = 8;
/// The headers that the load engine writes itself.
const OWN_HEADERS: [&str; 4] = ["host", "content-length", "connection", "transfer-encoding"];

/// The names of the phases, in order: the given ones, and `hold-1`, `ramp-1`, `hold-2` ... where
/// none is given.
///
/// *Behaviour*: the number counts all phases of that shape, named ones too, so that naming one
/// phase does not rename the others. A phase without a shape counts as a hold.
pub fn phase_names(traffic: &Traffic) -> Vec<String> {
    if traffic.saturate.is_some() {
        return vec!["saturate".into()];
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = Vec::with_capacity(traffic.phases.len());
    for phase in &traffic.phases {
        let kind = phase.kinds().next().unwrap_or("hold");
        let count = counts.entry(kind).or_default();
        *count += 1;
        names.push(phase.name.clone().unwrap_or_else(|| format!("{kind}-{count}")));
    }
    names
}

/// How long the traffic lasts: the sum of its phases, which saturates; or `saturate`'s length.
pub fn total_length(traffic: &Traffic) -> Nanos {
    if let Some(saturate) = traffic.saturate {
        return saturate.for_;
    }
    let lengths = traffic.phases.iter().filter_map(Phase::length);
    lengths.fold(Nanos::ZERO, |sum, lasts| sum + lasts)
}

/// How many requests the traffic owes on average: the area below the rate over time.
///
/// # Errors
/// As [`Profile::new`].
pub fn expected_requests(traffic: &Traffic) -> Result<f64, (usize, &'static str)> {
    Profile::new(traffic).map(|profile| profile.expected())
}

pub(super) fn check(found: &mut Problems, traffic: &Traffic) {
    match &traffic.saturate {
        None => check_phases(found, traffic),
        Some(_) if !traffic.phases.is_empty() => {
            found.add("traffic.saturate", "stands beside `phases`; a run is one or the other");
        }
        Some(saturate) => {
            let connections = saturate.connections;
            found.check_within("traffic.saturate.connections", connections, 1, CONNECTIONS_MAX);
            found.check_span_above_zero("traffic.saturate.for", saturate.for_);
        }
    }
    if let Some(threads) = traffic.threads {
        let connections = traffic.saturate.map_or(traffic.max_connections, |it| it.connections);
        found.check_within("traffic.threads", threads, 1, THREADS_MAX.min(connections.max(1)));
    }
    found.check_entries("traffic.requests", traffic.requests.len());
    for (index, request) in traffic.requests.iter().enumerate() {
        check_request(found, &format!("traffic.requests[{index}]"), request);
    }
    found.check_span_above_zero("traffic.timeout", traffic.timeout);
    found.check_within("traffic.maxConnections", traffic.max_connections, 1, CONNECTIONS_MAX);
    if let Some(Generators::Pods(pods)) = traffic.generators {
        let most = GENERATORS_MAX.min(traffic.max_connections);
        found.check_within("traffic.generators", pods, 1, most);
    }
}

fn check_phases(found: &mut Problems, traffic: &Traffic) {
    if traffic.phases.is_empty() {
        found.add("traffic.phases", "is empty; give a phase such as {hold: 50/s, for: 20s}");
        return;
    }
    found.check_entries("traffic.phases", traffic.phases.len());
    let before = found.0.len();
    for (index, phase) in traffic.phases.iter().enumerate() {
        let path = format!("traffic.phases[{index}]");
        if let Some(name) = &phase.name {
            check_name(found, &format!("{path}.name"), name);
        }
        check_shape(found, &path, phase, PARTS_DEEP_MAX);
    }
    check_data(found, traffic);
    let are_sound = found.0.len() == before;
    let mut seen = BTreeSet::new();
    for (index, name) in phase_names(traffic).into_iter().enumerate() {
        if let Some(name) = seen.replace(name) {
            let path = format!("traffic.phases[{index}].name");
            found.add(path, format!("another phase is called `{name}` too"));
        }
    }
    let length = total_length(traffic);
    if length > LENGTH_MAX {
        found.add("traffic.phases", format!("last {length} in all; {LENGTH_MAX} is the most"));
    }
    if !are_sound || length > LENGTH_MAX {
        return;
    }
    match expected_requests(traffic) {
        Err((index, problem)) => found.add(format!("traffic.phases[{index}]"), problem),
        Ok(expected) if expected > REQUESTS_MAX => found.add(
            "traffic.phases",
            format!("owe about {expected:.3e} requests; {REQUESTS_MAX:e} is the most"),
        ),
        Ok(0.0) => {
            found.add("traffic.phases", "owe no request at all; give one a rate above 0/s");
        }
        Ok(_) => {}
    }
}

/// What was read from files, or written as points, of all phases together.
fn check_data(found: &mut Problems, traffic: &Traffic) {
    let points: usize = traffic.phases.iter().map(curve_points).sum();
    if points > POINTS_MAX {
        let message = format!("have curves of {points} points; {POINTS_MAX} in all are the most");
        found.add("traffic.phases", message);
    }
    let data = traffic.phases.iter().filter_map(|phase| phase.trace.as_ref()?.data.as_ref());
    let (kinds, requests) =
        data.fold((0, 0), |sum, data| (sum.0 + data.kinds.len(), sum.1 + data.requests));
    if kinds > TRACED_KINDS_MAX || requests > TRACE_REQUESTS_MAX {
        let message = format!(
            "have traces of {requests} requests of {kinds} kinds; {TRACE_REQUESTS_MAX} of \
             {TRACED_KINDS_MAX} in all are the most"
        );
        found.add("traffic.phases", message);
    }
}

fn curve_points(phase: &Phase) -> usize {
    let own = phase.curve.as_ref().map_or(0, |curve| curve.points.len());
    own + phase.sum.iter().chain(&phase.product).map(curve_points).sum::<usize>()
}

/// A phase, or (below the top) a part of one; `deep`: how many levels of parts it may have.
fn check_shape(found: &mut Problems, path: &str, phase: &Phase, deep: usize) {
    if let Some((key, problem)) = phase.fault(deep < PARTS_DEEP_MAX) {
        let separator = if key.is_empty() { "" } else { "." };
        found.add(format!("{path}{separator}{key}"), problem);
    }
    let above_zero = [("for", phase.for_), ("over", phase.over)];
    for (key, span) in above_zero.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        found.check_span_above_zero(format!("{path}.{key}"), span);
    }
    if let Some(at) = phase.at {
        found.check_span(format!("{path}.at"), at);
    }
    if let Some(data) = phase.trace.as_ref().and_then(|trace| trace.data.as_ref()) {
        for (index, request) in data.kinds.iter().enumerate().take(ENTRIES_MAX) {
            check_request(found, &format!("{path}.trace.data.kinds[{index}]"), request);
        }
    }
    for (key, parts) in [("sum", &phase.sum), ("product", &phase.product)] {
        for (index, part) in parts.iter().enumerate() {
            let path = format!("{path}.{key}[{index}]");
            match deep.checked_sub(1) {
                Some(deep) => check_shape(found, &path, part, deep),
                None => found.add(path, "is a part of parts of parts, deeper than 8 levels"),
            }
        }
    }
}

fn check_request(found: &mut Problems, path: &str, request: &RequestKind) {
    match request.method_and_path() {
        None => found.add(
            path,
            "needs exactly one of get, post, put, patch, delete and head, such as `get: /work`",
        ),
        Some((method, target)) => {
            let key = format!("{path}.{}", method.to_ascii_lowercase());
            check_request_target(found, key, target);
        }
    }
    if let Some(weight) = request.weight
        && !(weight.is_finite() && weight > 0.0)
    {
        found.add(format!("{path}.weight"), "must be a number above zero");
    }
    if let Some(timeout) = request.timeout {
        found.check_span_above_zero(format!("{path}.timeout"), timeout);
    }
    check_headers(found, path, &request.headers);
    let expected = request.expect.as_ref();
    for (key, body) in [
        ("body", request.body.as_ref()),
        ("expect.body", expected.and_then(|expect| expect.body.as_ref())),
    ] {
        if body.is_some_and(|body| body.len() > BODY_BYTES_MAX) {
            found.add(format!("{path}.{key}"), format!("is longer than {BODY_BYTES_MAX} bytes"));
        }
    }
    if let Some(status) = expected.and_then(|expect| expect.status)
        && !(200..=599).contains(&status)
    {
        found.add(format!("{path}.expect.status"), "must lie between 200 and 599");
    }
}

/// What stands in a request line (RFC 9112 section 3.2.1): no fragment, no space, only ASCII.
fn check_request_target(found: &mut Problems, key: String, target: &str) {
    if !target.starts_with('/') {
        found.add(key, format!("`{target}` must begin with `/`"));
    } else if target.len() > LINE_BYTES_MAX {
        found.add(key, format!("is longer than {LINE_BYTES_MAX} bytes"));
    } else if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        found.add(
            key,
            "has a space, a `#` or a character that is not ASCII; write it as %20 and the like",
        );
    }
}

fn check_headers(found: &mut Problems, path: &str, headers: &[Header]) {
    found.check_entries(&format!("{path}.headers"), headers.len());
    for (index, header) in headers.iter().enumerate() {
        let path = format!("{path}.headers[{index}]");
        check_header(found, &path, &header.name, &header.value);
        if OWN_HEADERS.contains(&header.name.to_ascii_lowercase().as_str()) {
            found.add(
                format!("{path}.name"),
                format!("`{}` is written by the load engine; leave it out", header.name),
            );
        }
    }
    let bytes: usize =
        headers.iter().map(|header| header.name.len() + header.value.len() + ": \r\n".len()).sum();
    if bytes > HEADERS_BYTES_MAX {
        found.add(
            format!("{path}.headers"),
            format!("are longer than {HEADERS_BYTES_MAX} bytes in all"),
        );
    }
}

/// A header that no server may read as two (RFC 9110 section 5.1 and 5.5).
pub(super) fn check_header(found: &mut Problems, path: &str, name: &str, value: &str) {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(is_token) {
        let name: String = name.escape_debug().take(64).collect();
        found.add(format!("{path}.name"), format!("`{name}` is no header's name"));
    }
    if value.chars().any(|c| c != '\t' && c.is_control()) {
        found.add(format!("{path}.value"), "has a line break or another control character");
    } else if value.len() > LINE_BYTES_MAX {
        found.add(format!("{path}.value"), format!("is longer than {LINE_BYTES_MAX} bytes"));
    }
}
