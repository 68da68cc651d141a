//! What a kind of request asks of the bundled service, by its path.
//!
//! *Source*: `target-service/src/routes.rs` (paths) and `work.rs` (the query of `/work`).

use crate::{
    outcome::Outcome,
    spec::{Expect, RequestKind},
    time::Nanos,
};

/// The most CPU time and the longest wait that a request may ask for.
const CPU_MAX: Nanos = Nanos::from_secs(60);
const WAIT_MAX: Nanos = Nanos::from_secs(600);
const BYTES_MAX: u64 = 64 << 20;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// CPU time, in place of the service's own.
    pub(super) cpu: Option<Nanos>,
    /// Waiting, in place of a draw of the service's own.
    pub(super) wait: Option<Nanos>,
    /// Whether it is work at all; what is not is answered at once.
    pub(super) is_work: bool,
    /// The answer's status.
    pub(super) status: u16,
    /// What its client calls it.
    pub(super) outcome: Outcome,
}

impl Ask {
    /// What the service does of its own.
    pub(super) const PLAIN: Self =
        Self { cpu: None, wait: None, is_work: true, status: 200, outcome: Outcome::Ok };

    pub(super) fn new(kind: &RequestKind) -> Self {
        let Some((_, target)) = kind.method_and_path() else { return Self::PLAIN };
        let expect = kind.expect.as_ref();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let at_once = |status| Self { is_work: false, status, ..Self::PLAIN };
        let ask = match path {
            "/work" => work(query).unwrap_or(at_once(400)),
            "/healthz" | "/livez" | "/readyz" | "/startupz" | "/prestop" | "/metrics" => {
                at_once(200)
            }
            _ => at_once(404),
        };
        Self { outcome: seen(ask.status, expect), ..ask }
    }
}

/// What the query of `/work` asks for; `None` if it is malformed.
fn work(query: &str) -> Option<Ask> {
    let mut ask = Ask::PLAIN;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let span = |most| value.parse().ok().filter(|span| *span <= most);
        match name {
            "cpu" => ask.cpu = Some(span(CPU_MAX)?),
            "wait" => ask.wait = Some(span(WAIT_MAX)?),
            "status" => {
                ask.status = value.parse().ok().filter(|status| (200..=599).contains(status))?;
            }
            "bytes" if value.parse().is_ok_and(|bytes: u64| bytes <= BYTES_MAX) => {}
            _ => return None,
        }
    }
    Some(ask)
}

/// What the client makes of a status.
fn seen(status: u16, expect: Option<&Expect>) -> Outcome {
    let is_good = match expect.and_then(|expect| expect.status) {
        Some(expected) => status == expected,
        None => (200..300).contains(&status),
    };
    match status {
        _ if is_good => Outcome::Ok,
        502 => Outcome::Status502,
        503 => Outcome::Status503,
        504 => Outcome::Status504,
        _ => Outcome::StatusOther,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_followed_as_the_service_follows_it() {
        let ms = Nanos::from_millis;
        let plain = Ask::PLAIN;
        let at_once = |status, outcome| Ask { is_work: false, status, outcome, ..plain };
        let table = [
            ("/work", plain),
            ("/work?bytes=100", plain),
            ("/work?cpu=4ms&wait=1s", Ask { cpu: Some(ms(4)), wait: Some(ms(1_000)), ..plain }),
            ("/work?cpu=1.5ms", Ask { cpu: Some(Nanos(1_500_000)), ..plain }),
            ("/work?cpu=0", Ask { cpu: Some(Nanos::ZERO), ..plain }),
            (
                "/work?status=503&wait=2ms",
                Ask { wait: Some(ms(2)), status: 503, outcome: Outcome::Status503, ..plain },
            ),
            ("/work?status=404", Ask { status: 404, outcome: Outcome::StatusOther, ..plain }),
            ("/healthz", at_once(200, Outcome::Ok)),
            ("/", at_once(404, Outcome::StatusOther)),
            ("/works", at_once(404, Outcome::StatusOther)),
            ("/work?cpu=5", at_once(400, Outcome::StatusOther)),
            ("/work?cpu=61s", at_once(400, Outcome::StatusOther)),
            ("/work?speed=1", at_once(400, Outcome::StatusOther)),
            ("/work?status=100", at_once(400, Outcome::StatusOther)),
            ("/work?bytes=-1", at_once(400, Outcome::StatusOther)),
        ];
        for (path, ask) in table {
            let kind = RequestKind { get: Some(path.into()), ..RequestKind::default() };
            assert_eq!(Ask::new(&kind), ask, "{path}");
        }
    }

    #[test]
    fn what_is_expected_is_good() {
        for (status, expected, outcome) in [
            (404, Some(404), Outcome::Ok),
            (200, Some(404), Outcome::StatusOther),
            (503, None, Outcome::Status503),
            (299, None, Outcome::Ok),
            (300, None, Outcome::StatusOther),
        ] {
            let expect = Expect { status: expected, ..Expect::default() };
            assert_eq!(seen(status, Some(&expect)), outcome, "{status} where {expected:?}");
        }
    }
}
