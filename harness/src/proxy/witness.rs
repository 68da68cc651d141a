//! The socket towards a pod, with a memory of what it showed.
//!
//! hyper reports a dead connection in its own terms, and for a connection that died idle only to
//! whoever polls it. What the socket showed *first*, an end of stream or an error, is therefore
//! noted here, below hyper, and is what failures are named by.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use highwater_model::outcome::HopError;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::mono_ns;

/// How a socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A read gave the end of the stream: the peer closed its side.
    Eof,
    /// A read or a write failed, with this errno if there was one.
    Error(Option<i32>),
}

/// What a socket showed, and since when it is waited for. Instants are [`mono_ns`]; 0 is never.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// The first end that was seen; later ones only follow from it.
    end: Cell<Option<End>>,
    /// Bytes read since the exchange began.
    received: Cell<u64>,
    /// Since when nothing is there to read; 0 if the last read gave something, so that nobody
    /// knows whether there is more (a slow client holds back the reading).
    waiting_since: Cell<u64>,
    /// The last read or write that moved bytes, or the beginning of the exchange.
    progress: Cell<u64>,
    /// Since when the client owes the next piece of the request's body; 0 if it does not.
    client_owes_since: Cell<u64>,
    /// The request's body broke off on the client's side.
    upload_failed: Cell<bool>,
    /// What our own clock decided.
    verdict: Cell<Option<HopError>>,
}

impl Witness {
    /// Forgets the last exchange, but not the end of the connection.
    pub(super) fn begin(&self, now: u64) {
        self.received.set(0);
        self.progress.set(now);
        self.client_owes_since.set(0);
        self.upload_failed.set(false);
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end.get()
    }

    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    pub(super) fn upload_failed(&self) -> bool {
        self.upload_failed.get()
    }

    pub(super) fn verdict(&self) -> Option<HopError> {
        self.verdict.get()
    }

    pub(super) fn condemn(&self, verdict: HopError) {
        self.verdict.set(Some(verdict));
    }

    /// Notes how the client does with the body of its request.
    pub(super) fn upload(&self, moved: Moved) {
        match moved {
            Moved::Waiting if self.client_owes_since.get() == 0 => {
                self.client_owes_since.set(mono_ns());
            }
            Moved::Waiting => {}
            Moved::On => {
                self.client_owes_since.set(0);
                self.progress.set(mono_ns());
            }
            Moved::Failed => self.upload_failed.set(true),
        }
    }

    /// When the exchange has taken too long if nothing more moves, and who is then to blame.
    pub(super) fn deadline(&self, response_timeout: u64, client_timeout: u64) -> (u64, HopError) {
        let owed = self.client_owes_since.get();
        let waiting = self.waiting_since.get();
        let (since, timeout, blame) = if owed != 0 {
            (owed, client_timeout, HopError::ClientGone)
        } else if waiting != 0 {
            let since = waiting.max(self.progress.get());
            (since, response_timeout, HopError::Timeout)
        } else {
            (self.progress.get(), client_timeout, HopError::ClientGone)
        };
        (since.saturating_add(timeout), blame)
    }

    fn saw_end(&self, end: End) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
        }
    }

    fn saw_read(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        self.waiting_since.set(0);
        self.progress.set(mono_ns());
    }

    fn saw_nothing(&self) {
        if self.waiting_since.get() == 0 {
            self.waiting_since.set(mono_ns());
        }
    }

    fn saw_write(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(_)) => self.progress.set(mono_ns()),
            Poll::Ready(Err(error)) => self.saw_end(End::Error(error.raw_os_error())),
            Poll::Pending => {}
        }
    }
}

/// See [`Witness::upload`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// The next piece is not there yet.
    Waiting,
    /// A piece came, or the end.
    On,
    /// The client went away within the body, or it is malformed.
    Failed,
}

/// A socket whose reads and writes are witnessed.
#[derive(Debug)]
pub(super) struct WitnessedStream {
    stream: TcpStream,
    witness: Rc<Witness>,
}

impl WitnessedStream {
    pub(super) fn new(stream: TcpStream, witness: Rc<Witness>) -> Self {
        Self { stream, witness }
    }
}

impl AsyncRead for WitnessedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) => match buf.filled().len() - before {
                0 if room > 0 => self.witness.saw_end(End::Eof),
                bytes => self.witness.saw_read(bytes),
            },
            Poll::Ready(Err(error)) => self.witness.saw_end(End::Error(error.raw_os_error())),
            Poll::Pending => self.witness.saw_nothing(),
        }
        read
    }
}

impl AsyncWrite for WitnessedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.witness.saw_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.witness.saw_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_end_counts() {
        let witness = Witness::default();
        witness.saw_end(End::Eof);
        witness.saw_end(End::Error(Some(32)));
        assert_eq!(witness.end(), Some(End::Eof));
    }

    #[test]
    fn the_one_who_owes_the_next_bytes_is_to_blame() {
        let witness = Witness::default();
        witness.begin(100);
        assert_eq!(
            witness.deadline(10, 50),
            (150, HopError::ClientGone),
            "read something and then nothing more was asked for: the client does not take it"
        );
        witness.waiting_since.set(90);
        assert_eq!(
            witness.deadline(10, 50),
            (110, HopError::Timeout),
            "waiting for the pod counts from the request, not from the idle time before it"
        );
        witness.client_owes_since.set(105);
        assert_eq!(
            witness.deadline(10, 50),
            (155, HopError::ClientGone),
            "a pod need not answer before it has the request"
        );
    }
}
