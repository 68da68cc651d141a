//! A failure, turned to its pod's side.

use std::collections::BTreeMap;

use highwater_model::{
    outcome::{Connection, Failure, Hop, HopError, Outcome},
    time::Timestamp,
};

use super::Way;

/// What an attempt towards a pod came to, the client's or the proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Refused.
    Refused,
    /// No connection in time.
    ConnectTimeout,
    /// No way to the address.
    Unreachable,
    /// Reset before the first byte.
    Reset,
    /// End of stream before the first byte.
    Eof,
    /// Broken within the answer.
    Truncated,
    /// Connected, and no whole answer in time.
    Timeout,
    /// The pod answered, and not as expected.
    Answered,
    /// There was no endpoint to try.
    NoEndpoint,
    /// An ingress's own 502: refused, unreachable, reset or end of stream; it does not say which.
    BadGateway,
    /// An ingress's own 504, or its silence: no connection or no answer in time.
    GatewayTimeout,
    /// An ingress's own 503: no endpoint, or whatever Envoy met.
    Unavailable,
    /// The generator's or the proxy's own limits.
    Limit,
    /// Not to be told.
    Unknown,
}

/// A failure, seen from its pod.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// The failure.
    pub failure: &'a Failure,
    /// What the attempt came to.
    pub contact: Contact,
    /// The pod, if the failure knows it.
    pub pod: Option<&'a str>,
    /// Whether there was a pod, and who chose it does not say which.
    pub is_hidden: bool,
    /// The connection to the pod.
    pub connection: Option<&'a Connection>,
    /// When the pod was chosen: as the connection began, or the attempt.
    pub chosen: Timestamp,
    /// When the attempt began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

impl<'a> Case<'a> {
    /// Turns a failure to its pod's side. `gone`: what a proxy said of clients that left, by
    /// request.
    pub(super) fn of(failure: &'a Failure, gone: &BTreeMap<u64, &'a Hop>, way: Way) -> Self {
        let reported = failure.request_id.and_then(|id| gone.get(&id).copied());
        let hop = failure.hop.as_ref().or(reported);
        let (started, ended) =
            hop.map_or((failure.sent, failure.ended), |hop| (hop.started, hop.ended));
        let pod = hop.and_then(|hop| hop.pod.as_deref()).or(failure.pod.as_deref());
        let connection = match (hop, way) {
            (Some(hop), _) => hop.connection.as_ref(),
            // That to the ingress.
            (None, Way::Ingress) => None,
            (None, _) => failure.connection.as_ref(),
        };
        let contact = match hop {
            Some(hop) => proxied(failure, hop),
            None => unproxied(failure, way),
        };
        // A body that breaks, breaks after the proxy had the answer's head.
        let ended = if contact == Contact::Truncated { failure.ended } else { ended };
        let is_towards_pod = !matches!(contact, Contact::Unknown | Contact::Limit);
        let is_hidden = hop.is_none() && pod.is_none() && way.hides_pods() && is_towards_pod;
        let chosen = connection.map_or(started, |connection| connection.opened);
        Self { failure, contact, pod, is_hidden, connection, chosen, started, ended }
    }

    /// Whether its connection had served before.
    pub(super) fn is_reused(&self) -> bool {
        self.connection.is_some_and(|connection| connection.served > 0)
    }
}

/// What an attempt without a proxy's word came to.
fn unproxied(failure: &Failure, way: Way) -> Contact {
    let is_named = failure.pod.is_some();
    match (way, failure.outcome) {
        (Way::Direct, Outcome::ConnectRefused) if !is_named => Contact::NoEndpoint,
        (Way::Proxy, _) if !is_named => Contact::Unknown,
        (Way::Ingress, outcome) if !is_named => through_ingress(outcome),
        (_, outcome) => direct(outcome),
    }
}

fn direct(outcome: Outcome) -> Contact {
    match outcome {
        Outcome::ConnectRefused => Contact::Refused,
        Outcome::ConnectTimeout => Contact::ConnectTimeout,
        Outcome::ConnectUnreachable => Contact::Unreachable,
        Outcome::ResetNew | Outcome::ResetReused => Contact::Reset,
        Outcome::EofNew | Outcome::EofReused => Contact::Eof,
        Outcome::Truncated => Contact::Truncated,
        Outcome::Timeout => Contact::Timeout,
        Outcome::Status502
        | Outcome::Status503
        | Outcome::Status504
        | Outcome::StatusOther
        | Outcome::WrongBody
        | Outcome::BadResponse => Contact::Answered,
        _ => Contact::Unknown,
    }
}

/// What an ingress met, by its answer. What breaks before any answer, is the way to the ingress.
///
/// *Source*: `lifecycle-semantics.md` section 4.2.
fn through_ingress(outcome: Outcome) -> Contact {
    match outcome {
        Outcome::Status502 => Contact::BadGateway,
        Outcome::Status503 => Contact::Unavailable,
        Outcome::Status504 | Outcome::Timeout => Contact::GatewayTimeout,
        Outcome::Truncated => Contact::Truncated,
        Outcome::StatusOther | Outcome::WrongBody | Outcome::BadResponse => Contact::Answered,
        _ => Contact::Unknown,
    }
}

fn proxied(failure: &Failure, hop: &Hop) -> Contact {
    match hop.error {
        Some(HopError::NoEndpoint) => Contact::NoEndpoint,
        Some(HopError::ConnectRefused) => Contact::Refused,
        Some(HopError::ConnectTimeout) => Contact::ConnectTimeout,
        Some(HopError::ConnectUnreachable) => Contact::Unreachable,
        Some(HopError::ConnectOther) => Contact::Limit,
        Some(HopError::Reset) => Contact::Reset,
        Some(HopError::Eof) => Contact::Eof,
        Some(HopError::Truncated) => Contact::Truncated,
        Some(HopError::Timeout) => Contact::Timeout,
        Some(HopError::BadResponse) => Contact::Answered,
        // The client gave up while the pod still worked.
        Some(HopError::ClientGone) => Contact::Timeout,
        None if failure.outcome == Outcome::Truncated => Contact::Truncated,
        None if failure.outcome == Outcome::Timeout => Contact::Timeout,
        None => Contact::Answered,
    }
}
