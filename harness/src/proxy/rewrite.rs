//! Heads as they are passed on: without what belongs to one hop only.

use std::net::SocketAddr;

use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri, Version,
    header::{
        self, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
    http::uri::PathAndQuery,
};

/// Who sent the request, and by which proxies.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// See [`request_id`].
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Headers of one hop that may come without being named in `Connection`.
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// See [`KEEP_ALIVE`]; never a standard, but sent.
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The number in `x-request-id`: decimal, or else hexadecimal with or without `0x`.
pub(super) fn request_id(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(X_REQUEST_ID)?.to_str().ok()?.trim();
    text.parse().ok().or_else(|| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(digits, 16).ok()
    })
}

/// Whether the request asks for another protocol on the connection, which is not done here.
pub(super) fn asks_for_upgrade<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT || request.headers().contains_key(UPGRADE)
}

/// What becomes of a request's head on the way to the pod.
pub(super) struct Outgoing<'a> {
    /// The client.
    pub(super) peer: &'a HeaderValue,
    /// The pod.
    pub(super) address: SocketAddr,
    /// Whether the connection may serve again.
    pub(super) keep_alive: bool,
    /// Whether a body follows.
    pub(super) has_body: bool,
}

impl Outgoing<'_> {
    /// Turns the client's head into the pod's.
    pub(super) fn apply<B>(&self, request: &mut Request<B>) {
        let authority = request.uri().authority().cloned();
        if let Some(authority) = authority {
            // Absolute form is for proxies; its authority counts before `Host` (RFC 9112, 3.2.2).
            if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
                request.headers_mut().insert(HOST, host);
            }
            *request.uri_mut() = origin_form(request.uri());
        }
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        strip_hop_by_hop(headers);
        headers.remove(EXPECT);
        if !headers.contains_key(HOST) {
            // HTTP/1.0 need not have one, HTTP/1.1 must.
            if let Ok(host) = HeaderValue::from_str(&self.address.to_string()) {
                headers.insert(HOST, host);
            }
        }
        if self.has_body && !headers.contains_key(CONTENT_LENGTH) {
            // Else hyper leaves out the body of a GET whose length it does not know.
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if !self.keep_alive {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.add_forwarded_for(headers);
    }

    fn add_forwarded_for(&self, headers: &mut HeaderMap) {
        let value = match headers.get(X_FORWARDED_FOR) {
            None => self.peer.clone(),
            Some(before) => {
                let list = [before.as_bytes(), b", ", self.peer.as_bytes()].concat();
                // Both parts were header values, so the whole is one.
                HeaderValue::from_bytes(&list).unwrap_or_else(|_| self.peer.clone())
            }
        };
        headers.insert(X_FORWARDED_FOR, value);
    }
}

fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::from(path)
}

/// Takes out what belongs to one hop: named in `Connection`, or known to.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let header::Entry::Occupied(connection) = headers.entry(CONNECTION) {
        let (_, values) = connection.remove_entry_mult();
        let named: Vec<HeaderName> = values
            .flat_map(|value| names(&value))
            .filter(|name| *name != CONTENT_LENGTH && *name != HOST)
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    if headers.remove(TRANSFER_ENCODING).is_some() {
        // It counts before a length, which must then not be passed on (RFC 9112, 6.3).
        headers.remove(CONTENT_LENGTH);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, UPGRADE] {
        headers.remove(name);
    }
}

fn names(value: &HeaderValue) -> Vec<HeaderName> {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// Whether a response of this status cannot be passed on: a switch of protocols that nobody
/// asked for.
pub(super) fn is_unwanted(status: StatusCode) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                (name, HeaderValue::from_str(value).expect("a value"))
            })
            .collect()
    }

    #[test]
    fn request_ids_are_decimal_or_else_hexadecimal() {
        let rows = [
            ("123", Some(123)),
            ("00ff", Some(255)),
            ("0x10", Some(16)),
            ("18446744073709551615", Some(u64::MAX)),
            ("ffffffffffffffff", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("3f2a-11", None),
        ];
        for (text, id) in rows {
            assert_eq!(request_id(&headers(&[("x-request-id", text)])), id, "{text}");
        }
        assert_eq!(request_id(&HeaderMap::new()), None);
    }

    #[test]
    fn what_belongs_to_one_hop_is_not_passed_on() {
        let mut map = headers(&[
            ("connection", "keep-alive, X-Mine"),
            ("connection", "close, content-length"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("content-length", "3"),
            ("x-yours", "2"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("content-length", "3"), ("x-yours", "2")]));
    }

    #[test]
    fn a_length_beside_a_transfer_encoding_is_not_believed() {
        let mut map = headers(&[("transfer-encoding", "chunked"), ("content-length", "3")]);
        strip_hop_by_hop(&mut map);
        assert!(map.is_empty());
    }

    #[test]
    fn a_head_is_turned_into_the_form_for_a_server() {
        let mut request = Request::builder()
            .uri("http://shop.example/cart?x=1")
            .version(Version::HTTP_10)
            .header("x-forwarded-for", "10.0.0.1")
            .header("expect", "100-continue")
            .body(())
            .expect("a request");
        let outgoing = Outgoing {
            peer: &HeaderValue::from_static("10.0.0.2"),
            address: "127.0.0.1:80".parse().expect("an address"),
            keep_alive: false,
            has_body: true,
        };
        outgoing.apply(&mut request);
        assert_eq!(request.uri(), "/cart?x=1");
        assert_eq!(request.version(), Version::HTTP_11);
        let expected = [
            ("x-forwarded-for", "10.0.0.1, 10.0.0.2"),
            ("host", "shop.example"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
        ];
        assert_eq!(*request.headers(), headers(&expected));
    }
}
