//! One client connection: its socket, its state, and the attempt that it carries.

use std::{
    io,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use highwater_model::{
    outcome::{Connection as Identity, Outcome},
    time::{Nanos, Timestamp},
};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::response::Parser;

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) kind: u16,
    pub(super) phase: u16,
    pub(super) scheduled: Timestamp,
    pub(super) sent: Timestamp,
    pub(super) first_byte: Option<Timestamp>,
    pub(super) number: u64,
    pub(super) idle: Nanos,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The handshake is under way.
    Connecting,
    /// An attempt was written, or part of it.
    Busy,
    /// Nothing is under way.
    Idle {
        /// Since when.
        since: Timestamp,
    },
}

/// A connection of the engine.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: u64,
    pub(super) socket: TcpStream,
    /// The endpoint that was connected to, or the pod that last answered ([`Conn::remember_pod`]).
    pub(super) pod: Option<Arc<str>>,
    pub(super) client: Option<u32>,
    pub(super) opened: Timestamp,
    pub(super) served: u64,
    pub(super) state: State,
    pub(super) attempt: Option<Attempt>,
    pub(super) parser: Parser,
    /// Bytes that the socket did not take yet.
    pub(super) unwritten: Vec<u8>,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// Nothing more for now.
    Blocked,
    /// The peer ended the stream.
    Eof,
    /// The connection broke.
    Broken(i32),
}

impl Conn {
    /// What a failure says of this connection.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            id: self.id,
            opened: self.opened,
            served: self.served,
            idle: self.attempt.map_or(Nanos::ZERO, |attempt| attempt.idle),
        }
    }

    /// Keeps the pod that the present answer names, if it names one.
    pub(super) fn remember_pod(&mut self) {
        let named = self.parser.pod.as_slice();
        let known = self.pod.as_deref().map(str::as_bytes);
        if !named.is_empty() && known != Some(named) {
            self.pod = std::str::from_utf8(named).ok().map(Into::into);
        }
    }

    /// The pod of what fails now: the endpoint that was connected to, the one that the answer
    /// names, or the one that was remembered.
    pub(super) fn failing_pod(&self) -> Option<&str> {
        let named = || std::str::from_utf8(&self.parser.pod).ok().filter(|name| !name.is_empty());
        self.pod.as_deref().or_else(named)
    }

    /// Writes what is unwritten and then `bytes`; keeps what the socket does not take.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.unwritten.is_empty() {
            let written = write_some(&mut self.socket, bytes)?;
            self.unwritten.extend_from_slice(&bytes[written..]);
            return Ok(());
        }
        self.unwritten.extend_from_slice(bytes);
        let written = write_some(&mut self.socket, &self.unwritten)?;
        self.unwritten.drain(..written);
        Ok(())
    }

    /// Reads once into `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadEnd> {
        loop {
            return match self.socket.read(buffer) {
                Ok(0) => Err(ReadEnd::Eof),
                Ok(n) => Ok(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(ReadEnd::Blocked),
                Err(error) => Err(ReadEnd::Broken(error.raw_os_error().unwrap_or(0))),
            };
        }
    }
}

fn write_some(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match socket.write(&bytes[written..]) {
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Begins a connection. The handshake may still be under way.
///
/// # Errors
/// errno of `socket` or `connect`.
pub(super) fn connect(address: SocketAddr) -> Result<TcpStream, i32> {
    let errno = |error: io::Error| error.raw_os_error().unwrap_or(0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(errno)?;
    socket.set_nonblocking(true).map_err(errno)?;
    socket.set_tcp_nodelay(true).map_err(errno)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(errno(error)),
    }
    Ok(socket.into())
}

/// The outcome of an errno of `socket` or `connect`. Rows 1, 2, 11 to 14 of the truth table.
pub(super) fn connect_outcome(errno: i32) -> Outcome {
    match Errno::from_raw_os_error(errno) {
        Errno::CONNREFUSED => Outcome::ConnectRefused,
        Errno::TIMEDOUT => Outcome::ConnectTimeout,
        Errno::HOSTUNREACH | Errno::NETUNREACH => Outcome::ConnectUnreachable,
        // The handshake was done, and the connection reset before we looked: row 2.
        Errno::CONNRESET | Errno::PIPE => Outcome::ResetNew,
        Errno::ADDRNOTAVAIL => Outcome::UnsentPorts,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Outcome::UnsentDescriptors,
        _ => Outcome::ConnectOther,
    }
}

/// The outcome of a stream that ended within an attempt. Rows 4 to 7 and 9 of the truth table.
pub(super) fn broken_outcome(end: ReadEnd, has_bytes: bool, served: u64) -> Outcome {
    match (end, has_bytes, served) {
        (_, true, _) => Outcome::Truncated,
        (ReadEnd::Eof, false, 0) => Outcome::EofNew,
        (ReadEnd::Eof, false, _) => Outcome::EofReused,
        (_, false, 0) => Outcome::ResetNew,
        (_, false, _) => Outcome::ResetReused,
    }
}
