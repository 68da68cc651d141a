//! A small L7 reverse proxy that plays the ingress: keep-alive pools to the pods, workers that
//! each learn of endpoints by themselves, time-outs, no retries, and 502, 503 and 504 as ingress
//! proxies give them. A process of its own, so that it costs the load engine nothing.
//!
//! 1. orders and reports: [`protocol`]
//! 2. a worker's view and its pool of connections: [`worker`]
//! 3. one client connection, request by request: [`forward`]
//! 4. what the answer says of the way: [`header`]
//!
//! *Source* of the behaviour: nginx' `proxy_next_upstream off`, `lifecycle-semantics.md` 4.2.

pub mod forward;
pub mod header;
pub mod protocol;
pub mod worker;

use std::{
    cell::{Cell, RefCell},
    io::{BufRead as _, Write as _},
    net::SocketAddr,
    process::ExitCode,
    rc::Rc,
    time::Duration,
};

use highwater_model::time::Nanos;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::{JoinSet, LocalSet},
};

use crate::clock::mono_ns;
use protocol::{Order, Report};
use worker::Worker;

/// How long a stop waits for requests in flight.
const STOP_TIME: Duration = Duration::from_secs(10);
/// Reports of clients that went away, per second; the others are only counted.
const REPORTS_MAX: u64 = 1_000;

/// Settings of the proxy.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Workers, each with a view and a pool of its own
    #[arg(long, default_value_t = 2)]
    pub workers: u32,
    /// How long to wait for a connection to a pod
    #[arg(long, default_value = "5s")]
    pub connect_timeout: Nanos,
    /// How long to wait for the next byte of a pod's answer
    #[arg(long, default_value = "60s")]
    pub response_timeout: Nanos,
    /// After how long an idle connection to a pod is closed
    #[arg(long, default_value = "60s")]
    pub idle_timeout: Nanos,
    /// Connect to the pod anew for each request
    #[arg(long)]
    pub no_keep_alive: bool,
    /// Idle connections that a worker keeps (nginx' upstream keepalive of ingress-nginx: 320)
    #[arg(long, default_value_t = 320)]
    pub max_idle: usize,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) args: Args,
    pub(crate) workers: Vec<RefCell<Worker>>,
    pub(crate) next_connection: Cell<u64>,
    pub(crate) stopping: watch::Receiver<bool>,
    report: Box<dyn Fn(&Report)>,
    reports_left: Cell<u64>,
    reports_dropped: Cell<u64>,
}

impl Shared {
    /// Tells of a client that went away, or only counts it.
    pub(crate) fn client_gone(&self, request_id: Option<u64>, info: header::UpstreamInfo) {
        let Some(request_id) = request_id else { return };
        match self.reports_left.get() {
            0 => self.reports_dropped.set(self.reports_dropped.get() + 1),
            left => {
                self.reports_left.set(left - 1);
                (self.report)(&Report::ClientGone { request_id, info });
            }
        }
    }
}

/// Runs the proxy on stdin and stdout until it is told to stop.
#[expect(clippy::print_stderr, reason = "the last words of a program that cannot start")]
pub fn main_with(args: Args) -> ExitCode {
    let (orders, control) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let order = serde_json::from_str(&line).map_err(|error| error.to_string());
            if orders.send(order).is_err() {
                return;
            }
        }
        // Dropping the sender is the end of the orders: the harness is gone.
    });
    let report = |report: &Report| {
        let mut out = std::io::stdout().lock();
        // If the harness is gone, stdin says so.
        let _ = serde_json::to_writer(&mut out, report);
        let _ = out.write_all(b"\n").and_then(|()| out.flush());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| {
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(args.listen),
                socket2::Type::STREAM,
                Some(socket2::Protocol::TCP),
            )?;
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&args.listen.into())?;
            socket.listen(4096)?;
            serve(TcpListener::from_std(socket.into())?, args, control, Box::new(report)).await
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("highwater proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until an order to stop, or the end of the orders. Call within a [`LocalSet`].
///
/// # Errors
/// If the listener's own address cannot be told.
pub async fn serve(
    listener: TcpListener,
    args: Args,
    mut control: mpsc::UnboundedReceiver<Result<Order, String>>,
    report: Box<dyn Fn(&Report)>,
) -> std::io::Result<()> {
    let (stop, stopping) = watch::channel(false);
    let workers = (0..args.workers.max(1)).map(|_| RefCell::new(Worker::new(args.max_idle)));
    let shared = Rc::new(Shared {
        workers: workers.collect(),
        next_connection: Cell::new(0),
        stopping,
        report,
        reports_left: Cell::new(REPORTS_MAX),
        reports_dropped: Cell::new(0),
        args,
    });
    let address = listener.local_addr()?;
    (shared.report)(&Report::Started { address, mono_ns: mono_ns() });
    let mut connections = JoinSet::new();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut next_worker = 0;
    loop {
        tokio::select! {
            biased;
            order = control.recv() => match order {
                Some(Ok(Order::View(view))) => apply(&shared, view),
                Some(Ok(Order::Stop {})) => break,
                Some(Err(message)) => (shared.report)(&Report::Error { message }),
                None => return Ok(()),
            },
            _ = seconds.tick() => every_second(&shared),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let worker = next_worker % shared.workers.len();
                    next_worker = worker + 1;
                    connections.spawn_local(forward::connection(shared.clone(), worker, stream, peer));
                }
                Err(error) => {
                    (shared.report)(&Report::Error { message: format!("accepting: {error}") });
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            // A connection's task has no result.
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    // What outlives it is cut off with the process.
    let _ = tokio::time::timeout(STOP_TIME, all).await;
    Ok(())
}

fn apply(shared: &Shared, view: protocol::View) {
    let protocol::View { worker, version, endpoints } = view;
    match shared.workers.get(worker as usize) {
        Some(of) => {
            of.borrow_mut().set_view(endpoints);
            (shared.report)(&Report::ViewApplied { worker, version, mono_ns: mono_ns() });
        }
        None => (shared.report)(&Report::Error { message: format!("there is no worker {worker}") }),
    }
}

fn every_second(shared: &Shared) {
    shared.reports_left.set(REPORTS_MAX);
    let reports = shared.reports_dropped.take();
    if reports > 0 {
        (shared.report)(&Report::Dropped { reports });
    }
    let oldest = mono_ns().saturating_sub(shared.args.idle_timeout.0);
    for worker in &shared.workers {
        worker.borrow_mut().sweep(oldest);
    }
}
