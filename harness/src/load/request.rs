//! The scenario's request kinds as bytes to send and answers to expect.

use std::io::Write as _;

use highwater_model::{
    rng::Stream,
    spec::{Expect, RequestKind, Traffic},
    time::Nanos,
};

/// One kind of request, ready to send.
#[derive(Clone, Debug)]
pub struct CompiledKind {
    /// `GET /work`, for reports.
    pub label: String,
    /// Request line and headers, without the empty line at the end.
    head: Vec<u8>,
    body: Vec<u8>,
    /// Whether the answer has no body whatever its head says (HEAD).
    pub is_head: bool,
    /// What a good answer is.
    pub expect: Expect,
    /// From sending to the last byte.
    pub timeout: Nanos,
    /// Sum of the weights up to and with this kind, as a share of all.
    share_until: f64,
}

impl CompiledKind {
    /// Appends the request's bytes; with `id` as `x-request-id`.
    pub fn write(&self, id: Option<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        if let Some(id) = id {
            // Writing to a vector does not fail.
            let _ = write!(out, "x-request-id: {id}\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
    }

    /// Whether `status` is the expected one.
    pub fn accepts(&self, status: u16) -> bool {
        match self.expect.status {
            Some(expected) => status == expected,
            None => (200..300).contains(&status),
        }
    }
}

/// Compiles the traffic's request kinds, and behind them those of its traces, which are never
/// drawn; `default_path` is asked for if there are none of its own. `host` is
/// the value of the Host header.
pub fn compile(traffic: &Traffic, default_path: &str, host: &str) -> Vec<CompiledKind> {
    let fallback = [RequestKind { get: Some(default_path.into()), ..RequestKind::default() }];
    let kinds = if traffic.requests.is_empty() { &fallback[..] } else { &traffic.requests };
    let total: f64 = kinds.iter().map(weight).sum();
    let mut until = 0.0;
    let own = kinds.iter().map(|kind| (kind, weight(kind) / total));
    let traces = traffic.phases.iter().filter_map(|phase| phase.trace.as_ref()?.data.as_ref());
    let traced = traces.flat_map(|data| &data.kinds).map(|kind| (kind, 0.0));
    own.chain(traced)
        .filter_map(|(kind, share)| {
            let (method, path) = kind.method_and_path()?;
            until += share;
            Some(CompiledKind {
                label: format!("{method} {path}"),
                head: head(kind, method, path, host, traffic.keep_alive),
                body: kind.body.clone().unwrap_or_default().into_bytes(),
                is_head: method == "HEAD",
                expect: kind.expect.clone().unwrap_or_default(),
                timeout: kind.timeout.unwrap_or(traffic.timeout),
                share_until: until,
            })
        })
        .collect()
}

fn weight(kind: &RequestKind) -> f64 {
    kind.weight.unwrap_or(1.0)
}

fn head(kind: &RequestKind, method: &str, path: &str, host: &str, keep_alive: bool) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    let has = |name: &str| kind.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    if !has("user-agent") {
        head.push_str(concat!("user-agent: highwater/", env!("CARGO_PKG_VERSION"), "\r\n"));
    }
    if !keep_alive {
        head.push_str("connection: close\r\n");
    }
    for header in &kind.headers {
        head.push_str(&format!("{}: {}\r\n", header.name, header.value));
    }
    if let Some(body) = &kind.body {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    } else if matches!(method, "POST" | "PUT" | "PATCH") {
        head.push_str("content-length: 0\r\n");
    }
    head.into_bytes()
}

/// How many kinds are the traffic's own; those of traces follow.
pub fn own_kinds(traffic: &Traffic) -> usize {
    traffic.requests.len().max(1)
}

/// Draws one of the kinds by weight.
pub fn choose(kinds: &[CompiledKind], stream: &mut Stream) -> u16 {
    if kinds.len() < 2 {
        return 0;
    }
    let draw = stream.unit();
    let index = kinds.iter().position(|kind| draw < kind.share_until).unwrap_or(kinds.len() - 1);
    index as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_model::spec::{Arrivals, Header};

    fn traffic(requests: Vec<RequestKind>, keep_alive: bool) -> Traffic {
        Traffic {
            arrivals: Arrivals::Constant,
            phases: vec![],
            requests,
            timeout: Nanos::from_secs(1),
            keep_alive,
            max_connections: 1,
            generators: None,
            saturate: None,
            threads: None,
        }
    }

    #[test]
    fn a_request_is_what_the_scenario_says() {
        let kind = RequestKind {
            post: Some("/work?cpu=1ms".into()),
            headers: vec![Header { name: "x-a".into(), value: "b".into() }],
            body: Some("hello".into()),
            ..RequestKind::default()
        };
        let kinds = compile(&traffic(vec![kind], false), "/", "target");
        let mut out = Vec::new();
        kinds[0].write(Some(7), &mut out);
        let text = String::from_utf8(out).expect("text");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text,
            format!(
                "POST /work?cpu=1ms HTTP/1.1\r\nhost: target\r\nuser-agent: highwater/{version}\r\n\
                 connection: close\r\nx-a: b\r\ncontent-length: 5\r\nx-request-id: 7\r\n\r\nhello"
            )
        );
    }

    #[test]
    fn kinds_come_by_their_weight() {
        let kind = |path: &str, weight| RequestKind {
            get: Some(path.into()),
            weight: Some(weight),
            ..RequestKind::default()
        };
        let kinds = compile(&traffic(vec![kind("/a", 9.0), kind("/b", 1.0)], true), "/", "target");
        let mut stream = Stream::new(1, "kinds");
        let first = (0..10_000).filter(|_| choose(&kinds, &mut stream) == 0).count();
        assert!((8_900..9_100).contains(&first), "{first} of 10000");
    }

    #[test]
    fn without_kinds_the_default_is_asked_for_and_any_2xx_is_good() {
        let kinds = compile(&traffic(vec![], true), "/work", "target");
        assert_eq!(kinds[0].label, "GET /work");
        assert!(kinds[0].accepts(204) && !kinds[0].accepts(302));
    }
}
