//! Names for what was met towards a pod: by errno and stage, never by text.

use std::{error::Error, io};

use highwater_model::{outcome::HopError, proxy};
use hyper::StatusCode;
use rustix::io::Errno;

use super::witness::{End, Witness};

/// Names an error of `connect`.
///
/// A reset is no error of `connect` in the truth table (row 2: the handshake was done, then the
/// listener closed with the connection in its queue), but on a socket that does not block it may
/// come while the end of the handshake is looked for. It is a reset before the first byte.
pub(super) fn connect_error(error: &io::Error) -> HopError {
    match errno(error.raw_os_error()) {
        Some(Errno::CONNREFUSED) => HopError::ConnectRefused,
        Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN) => {
            HopError::ConnectUnreachable
        }
        Some(Errno::TIMEDOUT) => HopError::ConnectTimeout,
        Some(Errno::CONNRESET | Errno::PIPE) => HopError::Reset,
        _ => HopError::ConnectOther,
    }
}

/// Names a failure after the connection stood, before or within the response.
///
/// *Behaviour*: our own decision goes first, then the client's failure, then what hyper could not
/// read as HTTP, then what the socket showed first. An end of the stream that was noticed before
/// the request was written is an `eof` like any other: the peer closed, and the request is lost.
pub(super) fn exchange_error(witness: &Witness, error: &hyper::Error) -> HopError {
    if let Some(verdict) = witness.verdict() {
        return verdict;
    }
    if witness.upload_failed() {
        return HopError::ClientGone;
    }
    if is_parse(error) {
        return HopError::BadResponse;
    }
    let within = witness.received() > 0;
    match witness.end() {
        Some(End::Error(code)) if errno(code) == Some(Errno::TIMEDOUT) => HopError::Timeout,
        Some(_) if within => HopError::Truncated,
        Some(End::Eof) => HopError::Eof,
        Some(End::Error(_)) => HopError::Reset,
        // Bytes that no request had asked for, or that are no body: the socket is well.
        None => HopError::BadResponse,
    }
}

/// Names a failure within the body of a response, whose head has been passed on.
pub(super) fn body_error(witness: &Witness) -> HopError {
    match (witness.verdict(), witness.end()) {
        (Some(verdict), _) => verdict,
        (None, Some(End::Error(code))) if errno(code) == Some(Errno::TIMEDOUT) => HopError::Timeout,
        (None, _) => HopError::Truncated,
    }
}

/// The status of an answer of our own.
pub(super) fn status(error: HopError) -> StatusCode {
    StatusCode::from_u16(proxy::status(error)).expect("it is one of those that there are")
}

fn errno(code: Option<i32>) -> Option<Errno> {
    code.map(Errno::from_raw_os_error)
}

/// Whether hyper, here or in the cause of a cancelled request, could not read the response.
fn is_parse(error: &hyper::Error) -> bool {
    if error.is_parse() {
        return true;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connect_are_named_by_errno() {
        let rows = [
            (Errno::CONNREFUSED, HopError::ConnectRefused, 502),
            (Errno::HOSTUNREACH, HopError::ConnectUnreachable, 502),
            (Errno::NETUNREACH, HopError::ConnectUnreachable, 502),
            (Errno::TIMEDOUT, HopError::ConnectTimeout, 504),
            (Errno::CONNRESET, HopError::Reset, 502),
            (Errno::MFILE, HopError::ConnectOther, 502),
            (Errno::ADDRNOTAVAIL, HopError::ConnectOther, 502),
            (Errno::ACCESS, HopError::ConnectOther, 502),
        ];
        for (errno, named, code) in rows {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(connect_error(&error), named, "{errno}");
            assert_eq!(status(named).as_u16(), code);
        }
        let no_errno = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_error(&no_errno), HopError::ConnectOther);
    }
}
