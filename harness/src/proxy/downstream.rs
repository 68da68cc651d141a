//! A connection of a client: its requests one after the other, its time-outs, its end.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{header::HeaderValue, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    select,
    sync::watch,
    time::{Instant, Sleep, sleep},
};

use super::{
    forward::handle, header::UpstreamInfo, mono_ns, ns, upstream::HEAD_BYTES_MAX, worker::Worker,
};

/// How long a client may keep a connection without a request. nginx closes it after 75 s; a load
/// engine at a low rate may well pause longer, and would meet a race of our making.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(3600);
/// How long and how far a body that nobody wants is still read before the connection is closed,
/// since a close with bytes unread destroys the response (facts 4.1, row 8). nginx: 5 s at most
/// between two reads, 30 s in all (`lingering_close`).
const LINGER_MAX: Duration = Duration::from_secs(2);
/// See [`LINGER_MAX`].
const LINGER_BYTES_MAX: u64 = 4 << 20;
/// A client that leaves so soon after an answer of our own may have left without it: its patience
/// and ours ended together. A load engine that is very late is later by less.
const UNREAD_MAX: Duration = Duration::from_millis(100);

/// What is known of a client's connection. Instants are [`mono_ns`]; 0 is never.
pub(super) struct Downstream {
    pub(super) worker: Rc<Worker>,
    /// The client's address, as it goes into `X-Forwarded-For`.
    pub(super) peer: HeaderValue,
    in_request: Cell<bool>,
    /// When the last response ended.
    idle_since: Cell<u64>,
    /// When the first byte of the next head came, or the connection itself.
    head_since: Cell<u64>,
    /// Since when the socket takes no more.
    blocked_since: Cell<u64>,
    /// The body of the request has not been read to its end.
    upload_unread: Cell<bool>,
    /// The response ends with the connection, so a broken one must end in a reset.
    ends_with_close: Cell<bool>,
    /// Set when that has happened.
    reset: Cell<bool>,
    /// The request that was last answered, and not by a pod.
    own_answer: RefCell<Option<(u64, UpstreamInfo)>>,
}

impl Downstream {
    fn new(worker: Rc<Worker>, peer: SocketAddr) -> Rc<Self> {
        let address = peer.ip().to_canonical().to_string();
        Rc::new(Self {
            worker,
            // An address is made of digits, letters, dots and colons.
            peer: HeaderValue::from_str(&address)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            in_request: Cell::new(false),
            idle_since: Cell::new(0),
            head_since: Cell::new(mono_ns()),
            blocked_since: Cell::new(0),
            upload_unread: Cell::new(false),
            ends_with_close: Cell::new(false),
            reset: Cell::new(false),
            own_answer: RefCell::new(None),
        })
    }

    /// A request is there, with a body that is still to be read or without.
    pub(super) fn begin(&self, has_body: bool) {
        self.in_request.set(true);
        self.own_answer.take();
        self.head_since.set(0);
        self.upload_unread.set(has_body);
        self.ends_with_close.set(false);
    }

    /// We answer ourselves, for the request of that number.
    pub(super) fn answered_for(&self, answer: Option<(u64, UpstreamInfo)>) {
        *self.own_answer.borrow_mut() = answer;
    }

    /// The answer of our own that a client may not have read which is gone at `now`.
    fn unread(&self, now: u64) -> Option<(u64, UpstreamInfo)> {
        let is_fresh = now.saturating_sub(self.idle_since.get()) <= ns(UNREAD_MAX);
        self.own_answer.take().filter(|_| is_fresh)
    }

    /// The body of the request has been read to its end.
    pub(super) fn upload_was_read(&self) {
        self.upload_unread.set(false);
    }

    /// Its response has been handed over or given up.
    pub(super) fn finish(&self) {
        self.in_request.set(false);
        self.idle_since.set(mono_ns());
    }

    /// The end of the response will be known by the end of the connection only.
    pub(super) fn end_with_close(&self) {
        self.ends_with_close.set(true);
    }

    /// The response is about to be broken off.
    pub(super) fn break_off(&self) {
        self.reset.set(self.ends_with_close.get());
    }

    /// Whether bytes are waiting for the client to take them.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_since.get() != 0
    }

    /// When the client has taken too long. While it waits for a pod, that is the pod's matter.
    fn deadline(&self) -> u64 {
        let patience = ns(self.worker.shared.config.client_timeout);
        match (self.blocked_since.get(), self.head_since.get()) {
            (0, 0) if self.in_request.get() => u64::MAX,
            (0, 0) => self.idle_since.get() + ns(KEEP_ALIVE_MAX),
            (0, since) | (since, _) => since + patience,
        }
    }
}

/// Serves one client until it or we close the connection.
pub(super) async fn serve_client(
    stream: TcpStream,
    peer: SocketAddr,
    worker: Rc<Worker>,
    mut stop: watch::Receiver<bool>,
) {
    // Fails only on a socket that is dead already, and its first use will tell.
    let _ = stream.set_nodelay(true);
    let interval = worker.shared.config.client_timeout;
    let downstream = Downstream::new(worker, peer);
    let service = {
        let downstream = Rc::clone(&downstream);
        service_fn(move |request| handle(Rc::clone(&downstream), request))
    };
    let io = ClientStream { stream, downstream: Rc::clone(&downstream), linger: None };
    // Its own time-out for heads would cost a timer for each request; ours is in `deadline`.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .auto_date_header(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep(interval));
    let mut stopping = false;
    loop {
        select! {
            biased;
            // An error here is the client's going, or ours in `BrokenOff`: both are told elsewhere.
            _ = connection.as_mut() => {
                if let Some((request_id, info)) = downstream.unread(mono_ns())
                    && !stopping
                {
                    downstream.worker.shared.reporter.unread(request_id, info);
                }
                return;
            }
            () = timer.as_mut() => {
                let left = downstream.deadline().saturating_sub(mono_ns());
                if left == 0 {
                    return;
                }
                let next = Duration::from_nanos(left).min(interval);
                timer.as_mut().reset(Instant::now() + next);
            }
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The socket of a client, observed.
struct ClientStream {
    stream: TcpStream,
    downstream: Rc<Downstream>,
    linger: Option<Linger>,
}

/// See [`LINGER_MAX`].
struct Linger {
    until: Pin<Box<Sleep>>,
    read: u64,
}

impl ClientStream {
    fn note_write<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let blocked = &self.downstream.blocked_since;
        match (&written, blocked.get()) {
            (Poll::Pending, 0) => blocked.set(mono_ns()),
            (Poll::Pending, _) => {}
            (Poll::Ready(_), _) => blocked.set(0),
        }
        written
    }

    /// Reads and forgets what still comes, within the bounds.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let linger = self
            .linger
            .get_or_insert_with(|| Linger { until: Box::pin(sleep(LINGER_MAX)), read: 0 });
        let mut waste = [0; 16 << 10];
        while linger.read < LINGER_BYTES_MAX && linger.until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut waste);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            linger.read += buf.filled().len() as u64;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let downstream = &self.downstream;
        if buf.filled().len() > before
            && !downstream.in_request.get()
            && downstream.head_since.get() == 0
        {
            downstream.head_since.set(mono_ns());
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.downstream.upload_unread.get() { self.poll_linger(cx) } else { Poll::Ready(Ok(())) }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        if self.downstream.reset.get() {
            let socket = socket2::SockRef::from(&self.stream);
            // If it fails the client sees a short response end cleanly: worse, and not ours to mend.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_model::outcome::HopError;

    use super::*;
    use crate::proxy::{report::Reporter, tests::testkit, worker::Shared};

    #[test]
    fn only_the_last_answer_and_only_shortly_after_it_may_be_unread() {
        let (reporter, _) = Reporter::new();
        let worker = Worker::new(0, Shared::new(testkit::config(), reporter));
        let downstream = Downstream::new(worker, "127.0.0.1:1".parse().expect("an address"));
        let answer = || {
            let error = Some(HopError::NoEndpoint);
            downstream.begin(false);
            downstream.answered_for(Some((7, UpstreamInfo { error, ..UpstreamInfo::default() })));
            downstream.finish();
            downstream.idle_since.get()
        };
        let soon = answer() + ns(UNREAD_MAX);
        assert!(matches!(downstream.unread(soon), Some((7, info)) if info.error.is_some()));
        assert_eq!(downstream.unread(soon), None, "it is told once");
        let late = answer() + ns(UNREAD_MAX) + 1;
        assert_eq!(downstream.unread(late), None, "whoever stays so long has read it");
        let next = answer();
        downstream.begin(false);
        assert_eq!(downstream.unread(next), None, "whoever asks for more has read it");
    }
}
