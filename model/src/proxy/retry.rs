//! Whether a request that failed at one pod may be sent to another. Pure.
//!
//! *Source*: nginx, `proxy_next_upstream error timeout` (ingress-nginx's default) and
//! `non_idempotent`; RFC 9110, 9.2.2, for which methods are idempotent.

use crate::{outcome::HopError, spec::Retry};

/// The methods that may be repeated without harm.
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There was no connection to send it on.
    Connect,
    /// It was handed to a connection, so that all or part of it may have been sent.
    Exchange,
}

/// An attempt that failed before anything of a response was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// How far it came.
    pub stage: Stage,
    /// What was met.
    pub error: HopError,
}

/// Whether requests of that method are sent again even if they may have been received.
pub fn may_repeat(retry: Retry, method: &str) -> bool {
    retry == Retry::Idempotent && IDEMPOTENT.contains(&method)
}

/// Whether a request of which an attempt `failed` may be sent again. `can_repeat`: its method allows
/// it ([`may_repeat`]), and what was read of its body is still there.
pub fn may_retry(retry: Retry, failed: Failed, can_repeat: bool) -> bool {
    match (failed.stage, failed.error) {
        // Our own limits are the same towards every pod.
        (Stage::Connect, error) => retry != Retry::None && error != HopError::ConnectOther,
        (
            Stage::Exchange,
            HopError::Reset | HopError::Eof | HopError::Truncated | HopError::Timeout,
        ) => can_repeat,
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
        let (get, post) = ("GET", "POST");
        let rows = [
            (None, get, Connect, HopError::ConnectRefused, false, "nobody asked for it"),
            (None, get, Exchange, HopError::Eof, false, "nobody asked for it"),
            (ConnectFailure, get, Connect, HopError::ConnectRefused, true, "nothing was sent"),
            (ConnectFailure, post, Connect, HopError::ConnectTimeout, true, "nor of a POST"),
            (ConnectFailure, post, Connect, HopError::ConnectUnreachable, true, "no way there"),
            (ConnectFailure, post, Connect, HopError::Reset, true, "within the handshake"),
            (ConnectFailure, get, Connect, HopError::ConnectOther, false, "our own limit"),
            (ConnectFailure, get, Exchange, HopError::Eof, false, "it was sent"),
            (Idempotent, post, Connect, HopError::ConnectRefused, true, "nothing was sent"),
            (Idempotent, get, Exchange, HopError::Eof, true, "harmless"),
            (Idempotent, get, Exchange, HopError::Reset, true, "harmless"),
            (Idempotent, get, Exchange, HopError::Truncated, true, "half a head"),
            (Idempotent, get, Exchange, HopError::Timeout, true, "as nginx's `timeout`"),
            (Idempotent, get, Exchange, HopError::BadResponse, false, "it answered"),
            (Idempotent, get, Exchange, HopError::ClientGone, false, "for nobody"),
            (Idempotent, post, Exchange, HopError::Eof, false, "it may have been done"),
            (Idempotent, post, Exchange, HopError::Reset, false, "it may have been done"),
        ];
        for (retry, method, stage, error, expected, why) in rows {
            let failed = Failed { stage, error };
            let can_repeat = may_repeat(retry, method);
            assert_eq!(may_retry(retry, failed, can_repeat), expected, "{failed:?}: {why}");
            let is_again = expected && stage == Connect;
            assert_eq!(may_retry(retry, failed, false), is_again, "{failed:?}: no body");
        }
    }

    #[test]
    fn methods_that_may_be_repeated_are_those_of_the_rfc() {
        for name in IDEMPOTENT.iter().chain(&["POST", "PATCH", "CONNECT", "LOCK", "get"]) {
            assert_eq!(may_repeat(Retry::Idempotent, name), IDEMPOTENT.contains(name), "{name}");
            assert!(!may_repeat(Retry::ConnectFailure, name));
        }
    }
}
