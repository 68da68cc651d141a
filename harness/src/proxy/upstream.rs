//! A connection to a pod: opened, used for one exchange at a time, kept or closed.
//!
//! Each is driven by a task of its own, which also has the only timer: it is set again when it
//! fires and not at every request, and is never set later than the shortest time-out, so that no
//! deadline is missed.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use highwater_model::outcome::HopError;
use hyper::{
    Request, Response, Version,
    body::Incoming,
    client::conn::http1::{Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    task::spawn_local,
    time::{Sleep, sleep, timeout},
};

use super::{
    classify::{connect_error, exchange_error},
    downstream::Downstream,
    header::UpstreamConnection,
    mono_ns, ns,
    report::add,
    upload::{Upload, UploadBody},
    witness::{Witness, WitnessedStream},
    worker::{Endpoint, Worker},
};

/// Longest head, either way; nginx takes 4 × 8 KiB from clients by default. The number of headers
/// in it is bounded by hyper's default of 100, which is faster than the same number given.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Kept, or about to be used for the first time.
    Idle,
    /// A request is on it, its response is not.
    Head,
    /// The head of the response came.
    Body,
}

/// A connection to a pod.
pub(super) struct Upstream {
    /// Its number, unique in the life of the proxy.
    pub(super) conn: u64,
    /// Where it leads.
    pub(super) endpoint: Rc<Endpoint>,
    /// What its socket shows.
    pub(super) witness: Rc<Witness>,
    worker: Rc<Worker>,
    opened: u64,
    /// `None` once hung up.
    sender: RefCell<Option<SendRequest<UploadBody>>>,
    phase: Cell<Phase>,
    poolable: Cell<bool>,
    served: Cell<u64>,
    idle_since: Cell<u64>,
}

/// The half-made connection of a [`connect`] that is under way.
pub(super) struct Opening {
    conn: u64,
    opened: u64,
}

impl Opening {
    pub(super) fn new(worker: &Worker) -> Self {
        add(&worker.shared.reporter.counters.connects, 1);
        Self { conn: worker.shared.next_conn(), opened: mono_ns() }
    }

    /// The connection as the response's header names it.
    pub(super) fn info(&self) -> UpstreamConnection {
        UpstreamConnection { conn: self.conn, opened: self.opened, ..UpstreamConnection::default() }
    }
}

/// Connects to `endpoint`, once.
pub(super) async fn connect(
    opening: Opening,
    worker: &Rc<Worker>,
    endpoint: Rc<Endpoint>,
) -> Result<Rc<Upstream>, HopError> {
    let shared = &worker.shared;
    let connecting = TcpStream::connect(endpoint.at.address);
    let stream = timeout(shared.config.connect_timeout, connecting)
        .await
        .map_err(|_| HopError::ConnectTimeout)?
        .map_err(|error| connect_error(&error))?;
    // Fails only on a socket that is dead already, and its first use will tell.
    let _ = stream.set_nodelay(true);
    let witness = Rc::new(Witness::default());
    let io = TokioIo::new(WitnessedStream::new(stream, Rc::clone(&witness)));
    let (sender, connection) =
        shared.http.handshake(io).await.map_err(|error| exchange_error(&witness, &error))?;
    let upstream = Rc::new(Upstream {
        conn: opening.conn,
        endpoint,
        witness,
        worker: Rc::clone(worker),
        opened: opening.opened,
        sender: RefCell::new(Some(sender)),
        phase: Cell::new(Phase::Idle),
        poolable: Cell::new(true),
        served: Cell::new(0),
        idle_since: Cell::new(mono_ns()),
    });
    add(&shared.reporter.counters.open_upstream, 1);
    spawn_local(drive(connection, Rc::clone(&upstream)));
    Ok(upstream)
}

type Driven = Connection<TokioIo<WitnessedStream>, UploadBody>;

/// Keeps a connection going until it ends by itself or by its deadline.
async fn drive(connection: Driven, upstream: Rc<Upstream>) {
    {
        let mut connection = pin!(connection);
        let interval = upstream.interval();
        let mut timer = pin!(sleep(interval));
        poll_fn(|cx| {
            // The result tells no more than the witness saw.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            upstream.release_if_done();
            upstream.poll_deadline(timer.as_mut(), interval, cx)
        })
        .await;
    }
    upstream.ended();
}

impl Upstream {
    /// The connection as the response's header names it, for a request that begins now.
    pub(super) fn info(&self) -> UpstreamConnection {
        let served = self.served.get();
        UpstreamConnection {
            conn: self.conn,
            opened: self.opened,
            served,
            idle: match served {
                0 => 0,
                _ => mono_ns().saturating_sub(self.idle_since.get()),
            },
        }
    }

    /// How many requests were answered on it.
    pub(super) fn served(&self) -> u64 {
        self.served.get()
    }

    /// Since when it has been idle.
    pub(super) fn idle_since(&self) -> u64 {
        self.idle_since.get()
    }

    /// Whether nothing has shown that it is dead. It may be, and only its use will tell.
    pub(super) fn is_usable(&self) -> bool {
        let sender = self.sender.borrow();
        let open = sender.as_ref().is_some_and(|sender| !sender.is_closed());
        open && self.witness.end().is_none()
    }

    /// Closes it, at once if it is idle and else after its exchange.
    pub(super) fn hang_up(&self) {
        self.sender.borrow_mut().take();
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// *Behaviour*: if dropped before, the connection is closed.
    pub(super) async fn exchange(
        self: &Rc<Self>,
        request: Request<&Rc<Upload>>,
        downstream: &Rc<Downstream>,
    ) -> Result<Response<Incoming>, HopError> {
        self.witness.begin(mono_ns());
        self.phase.set(Phase::Head);
        let (witness, downstream) = (Rc::clone(&self.witness), Rc::clone(downstream));
        let request = request.map(|upload| UploadBody::new(upload, witness, downstream));
        let response = match self.sender.borrow_mut().as_mut() {
            Some(sender) => sender.send_request(request),
            None => return Err(HopError::Eof),
        };
        let response = response.await.map_err(|error| exchange_error(&self.witness, &error))?;
        self.served.set(self.served.get() + 1);
        // A pod that speaks HTTP/1.0 may offer to keep the connection; nobody relies on that.
        self.poolable.set(response.version() == Version::HTTP_11);
        self.phase.set(Phase::Body);
        self.release_if_done();
        Ok(response)
    }

    /// Gives the connection back once the exchange is over in both directions.
    fn release_if_done(self: &Rc<Self>) {
        if self.phase.get() != Phase::Body {
            return;
        }
        let is_ready = self.sender.borrow().as_ref().is_some_and(SendRequest::is_ready);
        if !is_ready {
            return;
        }
        self.phase.set(Phase::Idle);
        self.idle_since.set(mono_ns());
        if self.poolable.get() && self.witness.end().is_none() {
            self.worker.keep(self);
        } else {
            self.hang_up();
        }
    }

    /// The longest that the timer may be set to.
    fn interval(&self) -> Duration {
        let config = &self.worker.shared.config;
        config.idle_timeout.min(config.response_timeout).min(config.client_timeout)
    }

    /// Ready when the connection has to end, with the verdict left at the witness.
    fn poll_deadline(
        &self,
        mut timer: Pin<&mut Sleep>,
        interval: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let config = &self.worker.shared.config;
            let (deadline, verdict) = match self.phase.get() {
                Phase::Idle => (self.idle_since.get() + ns(config.idle_timeout), None),
                Phase::Head | Phase::Body => {
                    let (response, client) =
                        (ns(config.response_timeout), ns(config.client_timeout));
                    let (deadline, blame) = self.witness.deadline(response, client);
                    (deadline, Some(blame))
                }
            };
            let left = deadline.saturating_sub(mono_ns());
            if left == 0 {
                if let Some(verdict) = verdict {
                    self.witness.condemn(verdict);
                }
                return Poll::Ready(());
            }
            let next = Duration::from_nanos(left).min(interval);
            timer.as_mut().reset(tokio::time::Instant::now() + next);
        }
    }

    fn ended(&self) {
        self.hang_up();
        self.worker.forget(self);
        add(&self.worker.shared.reporter.counters.open_upstream, -1);
    }
}
