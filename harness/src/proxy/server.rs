//! The proxy as a whole: accepts, obeys, reports, stops.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncBufRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    sync::{Notify, mpsc, watch},
    task::{LocalSet, spawn_local, yield_now},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Config,
    control::{Command, Commands, Lines},
    downstream::serve_client,
    mono_ns,
    protocol::{Control, Report, View},
    report::{Reporter, add, write_out},
    worker::{Shared, Worker},
};
use crate::clock::RunClock;

/// Connections that may wait to be accepted: enough for a burst of a load engine's.
const BACKLOG: u32 = 4096;
/// First and longest pause after `accept` failed: no descriptor is left, and none comes back
/// faster for asking.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// How long the last reports may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why [`serve`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, and all in flight was answered or given up at the time-out.
    Stopped,
    /// The control ended: whoever started the proxy is gone.
    ControllerGone,
}

/// Why the proxy could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No socket on that address.
    #[error("listening on {address} failed: {source}; choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The listener has no address.
    #[error("reading the listener's address failed: {0}")]
    Address(#[source] io::Error),
}

/// A listener with a backlog that a load test needs.
///
/// *Errors*: [`ServeError::Listen`].
///
/// *Panics*: outside a tokio runtime.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| ServeError::Listen { address, source })
}

/// Runs the proxy on `listener` until `control` says stop or ends.
///
/// *Behaviour*: all of it happens on the calling thread. A line of control that is malformed or
/// names an unknown worker is reported and passed over. Nothing waits for `report`; if it is
/// closed, reports are lost and the proxy goes on.
///
/// *Errors*: [`ServeError::Address`], before anything is served.
///
/// *Panics*: outside a tokio runtime with I/O and time.
pub async fn serve<C, W>(
    listener: TcpListener,
    control: C,
    report: W,
    config: Config,
) -> Result<Ended, ServeError>
where
    C: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin + 'static,
{
    let (reporter, queue) = Reporter::new();
    run(listener, Lines(control), reporter, write_out(queue, report), config).await
}

/// As [`serve`], for a process that the proxy is a part of: the ends of two channels in place of
/// input and output. The one for reports should have room for [`super::REPORTS_MAX`].
///
/// *Errors*: [`ServeError::Address`], before anything is served.
///
/// *Panics*: outside a tokio runtime with I/O and time.
pub async fn serve_within(
    listener: TcpListener,
    control: mpsc::Receiver<Control>,
    reports: mpsc::Sender<Report>,
    config: Config,
) -> Result<Ended, ServeError> {
    run(listener, control, Reporter::into(reports), std::future::ready(()), config).await
}

/// Runs the proxy. `writing` ends some time after the reporter was closed.
async fn run(
    listener: TcpListener,
    mut control: impl Commands,
    reporter: Rc<Reporter>,
    writing: impl Future<Output = ()> + 'static,
    config: Config,
) -> Result<Ended, ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    let serving = async move {
        let writing = spawn_local(writing);
        let proxy = Proxy::new(config, Rc::clone(&reporter));
        reporter.send(Report::Started { address, mono_ns: mono_ns() });
        spawn_local(tick(Rc::clone(&reporter)));
        let (stop, stopped) = watch::channel(false);
        let accepting = spawn_local(Rc::clone(&proxy).accept(listener, stopped));
        let ended = proxy.obey(&mut control).await;
        if ended == Ended::Stopped {
            stop.send_replace(true);
            let draining = async {
                // The task neither panics nor is it cancelled.
                let _ = accepting.await;
                proxy.drained().await;
            };
            if timeout(proxy.shared.config.stop_timeout, draining).await.is_err() {
                reporter.error("stopping: requests in flight were given up at the time-out".into());
            }
            reporter.tick();
            reporter.close();
            // If nobody reads them, nobody misses them.
            let _ = timeout(LAST_WORDS, writing).await;
        }
        Ok(ended)
    };
    LocalSet::new().run_until(serving).await
}

async fn tick(reporter: Rc<Reporter>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds.tick().await;
    loop {
        seconds.tick().await;
        reporter.tick();
    }
}

struct Proxy {
    shared: Rc<Shared>,
    workers: Vec<Rc<Worker>>,
    /// Told whenever a client's connection has ended.
    client_ended: Notify,
}

impl Proxy {
    fn new(config: Config, reporter: Rc<Reporter>) -> Rc<Self> {
        let count = config.workers.get();
        let shared = Shared::new(config, reporter);
        let workers = (0..count).map(|index| Worker::new(index, Rc::clone(&shared))).collect();
        Rc::new(Self { shared, workers, client_ended: Notify::new() })
    }

    /// Follows the control until it says stop or ends.
    async fn obey(&self, control: &mut impl Commands) -> Ended {
        let reporter = &self.shared.reporter;
        loop {
            match control.next().await {
                Ok(Command::Given(Control::View(view))) => self.apply(view),
                Ok(Command::Given(Control::RunStart { mono_ns })) => {
                    self.shared.run.set(Some(RunClock::with_start(mono_ns)));
                }
                Ok(Command::Given(Control::Stop {})) => return Ended::Stopped,
                Ok(Command::Malformed(message)) => reporter.error(message),
                // Control that cannot be read is as good as none.
                Ok(Command::End) | Err(_) => return Ended::ControllerGone,
            }
        }
    }

    fn apply(&self, view: View) {
        let reporter = &self.shared.reporter;
        let Some(worker) = self.workers.get(view.worker as usize) else {
            reporter.error(format!(
                "applying a view: there is no worker {}, only {}; it was left out",
                view.worker,
                self.workers.len()
            ));
            return;
        };
        worker.apply(view.endpoints);
        reporter.send(Report::ViewApplied {
            worker: view.worker,
            version: view.version,
            mono_ns: mono_ns(),
        });
    }

    /// Accepts clients and deals them to the workers in turn, until told to stop; then those that
    /// still wait to be accepted.
    async fn accept(self: Rc<Self>, listener: TcpListener, stopped: watch::Receiver<bool>) {
        let mut stop = stopped.clone();
        let mut round = self.workers.iter().cycle();
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            let accepted = select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = listener.accept() => accepted,
            };
            match (accepted, round.next()) {
                (Ok(client), Some(worker)) => {
                    pause = ACCEPT_PAUSE.0;
                    self.welcome(client, worker, &stopped);
                }
                (Ok(_), None) => return,
                (Err(error), _) => {
                    self.shared
                        .reporter
                        .error(format!("accepting a connection failed: {error}; trying again"));
                    sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
        yield_now().await;
        for worker in round.take(BACKLOG as usize) {
            select! {
                biased;
                Ok(client) = listener.accept() => self.welcome(client, worker, &stopped),
                () = std::future::ready(()) => break,
            }
        }
    }

    fn welcome(
        self: &Rc<Self>,
        (stream, peer): (TcpStream, SocketAddr),
        worker: &Rc<Worker>,
        stopped: &watch::Receiver<bool>,
    ) {
        let (proxy, worker, stopped) = (Rc::clone(self), Rc::clone(worker), stopped.clone());
        add(&self.shared.reporter.counters.open_downstream, 1);
        spawn_local(async move {
            serve_client(stream, peer, worker, stopped).await;
            add(&proxy.shared.reporter.counters.open_downstream, -1);
            proxy.client_ended.notify_one();
        });
    }

    /// Returns when no client is connected.
    async fn drained(&self) {
        while self.shared.reporter.counters.open_downstream.get() > 0 {
            self.client_ended.notified().await;
        }
    }
}
