//! Whether a request that failed at one pod may be sent to another. Pure.
//!
//! *Source*: nginx, `proxy_next_upstream error timeout` (ingress-nginx's default) and
//! `non_idempotent`; RFC 9110, 9.2.2, for which methods are idempotent.

use highwater_model::{outcome::HopError, spec::Retry};
use hyper::Method;

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There was no connection to send it on.
    Connect,
    /// It was handed to a connection, so that all or part of it may have been sent.
    Exchange,
}

/// An attempt that failed before anything of a response was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) stage: Stage,
    pub(super) error: HopError,
}

/// Whether requests of that method are sent again even if they may have been received.
pub(super) fn may_repeat(retry: Retry, method: &Method) -> bool {
    retry == Retry::Idempotent && method.is_idempotent()
}

/// Whether a request of which an attempt `failed` may be sent again. `can_repeat`: what was read of
/// its body is still there.
pub(super) fn may_retry(retry: Retry, method: &Method, failed: Failed, can_repeat: bool) -> bool {
    match (failed.stage, failed.error) {
        // Our own limits are the same towards every pod.
        (Stage::Connect, error) => retry != Retry::None && error != HopError::ConnectOther,
        (
            Stage::Exchange,
            HopError::Reset | HopError::Eof | HopError::Truncated | HopError::Timeout,
        ) => can_repeat && may_repeat(retry, method),
        // An answer that is no HTTP is an answer; a client that went away wants none.
        (Stage::Exchange, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_again_only_where_that_is_asked_for_and_harmless() {
        use Retry::{ConnectFailure, Idempotent, None};
        use Stage::{Connect, Exchange};
        let (get, post) = (Method::GET, Method::POST);
        let rows = [
            (None, &get, Connect, HopError::ConnectRefused, false, "nobody asked for it"),
            (None, &get, Exchange, HopError::Eof, false, "nobody asked for it"),
            (ConnectFailure, &get, Connect, HopError::ConnectRefused, true, "nothing was sent"),
            (ConnectFailure, &post, Connect, HopError::ConnectTimeout, true, "nor of a POST"),
            (ConnectFailure, &post, Connect, HopError::ConnectUnreachable, true, "no way there"),
            (ConnectFailure, &post, Connect, HopError::Reset, true, "within the handshake"),
            (ConnectFailure, &get, Connect, HopError::ConnectOther, false, "our own limit"),
            (ConnectFailure, &get, Exchange, HopError::Eof, false, "it was sent"),
            (Idempotent, &post, Connect, HopError::ConnectRefused, true, "nothing was sent"),
            (Idempotent, &get, Exchange, HopError::Eof, true, "harmless"),
            (Idempotent, &get, Exchange, HopError::Reset, true, "harmless"),
            (Idempotent, &get, Exchange, HopError::Truncated, true, "half a head"),
            (Idempotent, &get, Exchange, HopError::Timeout, true, "as nginx's `timeout`"),
            (Idempotent, &get, Exchange, HopError::BadResponse, false, "it answered"),
            (Idempotent, &get, Exchange, HopError::ClientGone, false, "for nobody"),
            (Idempotent, &post, Exchange, HopError::Eof, false, "it may have been done"),
            (Idempotent, &post, Exchange, HopError::Reset, false, "it may have been done"),
        ];
        for (retry, method, stage, error, expected, why) in rows {
            let failed = Failed { stage, error };
            assert_eq!(may_retry(retry, method, failed, true), expected, "{failed:?}: {why}");
            let is_again = expected && stage == Connect;
            assert_eq!(may_retry(retry, method, failed, false), is_again, "{failed:?}: no body");
        }
    }

    #[test]
    fn methods_that_may_be_repeated_are_those_of_the_rfc() {
        let names = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];
        for name in names.iter().chain(&["POST", "PATCH", "CONNECT", "LOCK"]) {
            let method = Method::from_bytes(name.as_bytes()).expect("a method");
            assert_eq!(may_repeat(Retry::Idempotent, &method), names.contains(name), "{name}");
            assert!(!may_repeat(Retry::ConnectFailure, &method));
        }
    }
}
