//! Sockets and signals: obeys the [`crate::drain::Machine`].

mod idle;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{header::HeaderValue, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rand_core::SeedableRng as _;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde_json::json;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};

use crate::{
    cli::Args,
    drain::{Config, Effect, Input, Machine},
    lifecycle::{Feed, mono_ns},
    metrics::Metrics,
    misbehave::Misbehaviour,
    routes::{self, App},
    scaling::{Scaler, client::SetupError, counters::Counters},
    work::Work,
    wrong::{CLEANUP, SHORT_IDLE, Wrong},
};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a connection may take to bring its first request once the listener is closed.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// How long `ready-before-listening` is ready before it listens, at least: longer than a readiness
/// probe and the usual propagation together, so that clients do come while it does not.
const PREMATURE_MIN: Duration = Duration::from_secs(5);
/// The pause after an error of accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A port cannot be opened.
    #[error("listening on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("receiving signals: {0}")]
    Signals(#[source] io::Error),
    /// It is to scale itself, and cannot.
    #[error(transparent)]
    Scaling(#[from] SetupError),
}

/// How far the shutdown is, for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closing {
    No,
    Idle,
    Silent,
    Cancel,
}

struct Server {
    app: Arc<App>,
    args: Args,
    /// Until it runs.
    scaler: Option<Scaler>,
    machine: Machine,
    listener: Option<TcpListener>,
    health: Option<TcpListener>,
    connections: JoinSet<()>,
    closing: watch::Sender<Closing>,
    tasks: JoinSet<()>,
    stop_tasks: watch::Sender<bool>,
    inputs: mpsc::UnboundedReceiver<Input>,
    tell: mpsc::UnboundedSender<Input>,
    has_told_drained: bool,
    /// Connections are left in the accept queue.
    is_deaf: bool,
    exit: Option<u8>,
}

/// Serves until a shutdown has run its course; the exit code.
///
/// # Errors
/// If a port cannot be opened, signals cannot be received, or `self-scaling` finds no service account.
pub async fn run(args: Args) -> Result<u8, ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let mut server = Server::new(args)?;
    server.app.feed.tell("starting", json!({"pid": std::process::id()}));
    server.start_tasks();
    server.open(&mut terminate, &mut interrupt).await?;
    let ignores = server.misbehaves(Misbehaviour::NoSignalHandler);
    let mut interrupts = 0;
    while server.exit.is_none() {
        let deadline = server.machine.next_deadline();
        tokio::select! {
            biased;
            // The runtime's own handler keeps the signal from ending the process, as the kernel does
            // for PID 1.
            _ = terminate.recv(), if !ignores => server.signalled("SIGTERM", Input::Signal),
            _ = interrupt.recv() => {
                interrupts += 1;
                let input = if interrupts > 1 { Input::Impatience } else { Input::Signal };
                server.signalled("SIGINT", input);
            }
            Some(input) = server.inputs.recv() => server.handle(input),
            () = until(deadline), if deadline.is_some() => {
                let effects = server.machine.advance(mono_ns());
                server.obey(effects);
            }
            ended = server.connections.join_next(), if !server.connections.is_empty() => {
                // A connection's task ends by itself or by being cancelled; it has no result.
                drop(ended);
                if server.connections.is_empty() && server.listener.is_none() {
                    server.handle(Input::ConnectionsGone);
                }
            }
            accepted = accept(server.listener.as_ref()), if !server.is_deaf => {
                server.accepted(accepted, false).await;
            }
            accepted = accept(server.health.as_ref()) => server.accepted(accepted, true).await,
        }
    }
    Ok(server.exit.unwrap_or_default())
}

/// Replicas of one template have the same seed and each a name: so that they do not draw the same
/// waiting times in step, the name counts, too (FNV-1a, 64 bits).
fn own_seed(seed: u64, pod_name: &str) -> u64 {
    pod_name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

async fn until(deadline: Option<u64>) {
    let left = deadline.map(|deadline| deadline.saturating_sub(mono_ns()));
    tokio::time::sleep(Duration::from_nanos(left.unwrap_or_default())).await;
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| ServeError::Listen { address, source })
}

impl Server {
    fn new(args: Args) -> Result<Self, ServeError> {
        let counters = args
            .misbehave
            .contains(&Misbehaviour::SelfScaling)
            .then(|| Arc::new(Counters::default()));
        let app = App {
            feed: Feed::new(&args.pod_name),
            metrics: Metrics::new(counters.clone()),
            defaults: Work { cpu: args.cpu, wait: Duration::ZERO, bytes: args.body, status: 200 },
            latency: args.latency.clone(),
            random: Mutex::new(Xoshiro256PlusPlus::seed_from_u64(own_seed(
                args.seed,
                &args.pod_name,
            ))),
            pod: HeaderValue::from_str(&args.pod_name).ok().filter(|name| !name.is_empty()),
            listening: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            workers: args.workers.map(|workers| Semaphore::new(workers.get() as usize)),
            queue: args.queue.map(|most| (most, args.when_full)),
            told_full: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            on_cancel: args.on_cancel,
            wrong: Wrong::new(&args),
            state: Mutex::new(Machine::STATES[0]),
        };
        let app = Arc::new(app);
        let scaler = counters
            .map(|counters| Scaler::new(&args.scaling, app.clone(), counters))
            .transpose()?;
        let machine = Machine::new(Config {
            delay_ns: args.drain_delay.as_nanos() as u64,
            deadline_ns: args.drain_deadline.as_nanos() as u64,
            first_request_ns: FIRST_REQUEST.as_nanos() as u64,
            dependency_timeout_ns: args.dependency_timeout.as_nanos() as u64,
            dependencies: args.dependencies.iter().map(|known| known.name.clone()).collect(),
            misbehave: args.misbehave.clone(),
        });
        let health = args.health_port.map(|port| listen((args.host, port).into())).transpose()?;
        let (tell, inputs) = mpsc::unbounded_channel();
        Ok(Self {
            app,
            args,
            scaler,
            machine,
            listener: None,
            health,
            connections: JoinSet::new(),
            closing: watch::Sender::new(Closing::No),
            tasks: JoinSet::new(),
            stop_tasks: watch::Sender::new(false),
            inputs,
            tell,
            has_told_drained: false,
            is_deaf: false,
            exit: None,
        })
    }

    /// Initialises, answering probes meanwhile, and opens the main port. A signal cuts it short.
    async fn open(
        &mut self,
        terminate: &mut Signal,
        interrupt: &mut Signal,
    ) -> Result<(), ServeError> {
        let is_premature = self.misbehaves(Misbehaviour::ReadyBeforeListening);
        let ignores = self.misbehaves(Misbehaviour::NoSignalHandler);
        let mut startup = self.args.startup;
        if is_premature {
            startup = startup.max(PREMATURE_MIN);
            self.ready();
        }
        let initialised = tokio::time::sleep(startup);
        tokio::pin!(initialised);
        loop {
            tokio::select! {
                biased;
                () = &mut initialised => break,
                _ = terminate.recv(), if !ignores => return self.ends_while_starting("SIGTERM"),
                _ = interrupt.recv() => return self.ends_while_starting("SIGINT"),
                accepted = accept(self.health.as_ref()) => self.accepted(accepted, true).await,
            }
        }
        let host = match self.args.host {
            IpAddr::V4(_) if self.misbehaves(Misbehaviour::BindLoopback) => {
                Ipv4Addr::LOCALHOST.into()
            }
            IpAddr::V6(_) if self.misbehaves(Misbehaviour::BindLoopback) => {
                Ipv6Addr::LOCALHOST.into()
            }
            host => host,
        };
        let address = (host, self.args.port).into();
        let listener = listen(address)?;
        let address = listener.local_addr().unwrap_or(address);
        self.listener = Some(listener);
        self.app.listening.store(true, Ordering::Relaxed);
        self.app.wrong.listens();
        self.app.feed.tell("listening", json!({"addr": address.to_string()}));
        if !is_premature {
            self.ready();
        }
        if let Some(scaler) = self.scaler.take() {
            self.tasks.spawn(scaler.run(self.stop_tasks.subscribe()));
        }
        Ok(())
    }

    fn misbehaves(&self, how: Misbehaviour) -> bool {
        self.args.misbehave.contains(&how)
    }

    fn ready(&self) {
        self.app.ready.store(true, Ordering::Relaxed);
        self.app.feed.tell("ready", json!({}));
    }

    #[expect(clippy::unnecessary_wraps, reason = "the caller ends with it")]
    fn ends_while_starting(&mut self, signal: &str) -> Result<(), ServeError> {
        self.app.feed.tell("signal", json!({"signal": signal}));
        self.obey(vec![Effect::Exit { code: 0 }]);
        Ok(())
    }

    async fn accepted(&mut self, accepted: io::Result<TcpStream>, on_health_port: bool) {
        match accepted {
            Ok(stream) => self.spawn(stream, on_health_port),
            // A connection that broke in the queue is no fault of the listener's; for all else
            // (too many open files) a pause lets others end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }

    fn spawn(&mut self, stream: TcpStream, on_health_port: bool) {
        // Latency matters more than segments; where it is refused the answers still go out.
        let _ = stream.set_nodelay(true);
        if !on_health_port && self.misbehaves(Misbehaviour::ShortIdleTimeout) {
            let idle = self.args.idle_timeout.min(SHORT_IDLE);
            let closing = self.closing.subscribe();
            self.connections.spawn(idle::connection(self.app.clone(), stream, idle, closing));
            return;
        }
        let connection = connection(
            self.app.clone(),
            stream,
            on_health_port,
            self.args.idle_timeout,
            self.closing.subscribe(),
        );
        if on_health_port {
            // Probes go on until the process ends.
            tokio::spawn(connection);
        } else {
            self.connections.spawn(connection);
        }
    }

    fn start_tasks(&mut self) {
        let app = self.app.clone();
        let mut stop = self.stop_tasks.subscribe();
        self.tasks.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    _ = ticks.tick() => app.metrics.sampled(),
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        });
        if self.misbehaves(Misbehaviour::EndlessDrain) {
            self.tasks.spawn(std::future::pending());
        }
        for _ in &self.args.dependencies {
            // A client's keep-alive, as a database pool has it.
            let mut stop = self.stop_tasks.subscribe();
            self.tasks.spawn(async move {
                let _ = stop.wait_for(|stop| *stop).await;
            });
        }
    }

    fn signalled(&mut self, name: &str, input: Input) {
        self.app.feed.tell("signal", json!({"signal": name}));
        self.handle(input);
    }

    fn handle(&mut self, input: Input) {
        let effects = self.machine.handle(mono_ns(), input);
        self.obey(effects);
    }

    fn obey(&mut self, effects: Vec<Effect>) {
        *self.app.state.lock().unwrap_or_else(PoisonError::into_inner) = self.machine.state();
        for effect in effects {
            match effect {
                Effect::FailReadiness => self.fail_readiness(),
                Effect::StartDrain => self.start_drain(),
                Effect::StopAccepting => self.is_deaf = true,
                Effect::Block => std::thread::sleep(CLEANUP),
                Effect::AnnounceClose => self.app.closing.store(true, Ordering::Relaxed),
                Effect::RefuseWork => self.app.refusing.store(true, Ordering::Relaxed),
                Effect::EmptyQueue => self.empty_queue(),
                Effect::CloseListener => self.close_listener(),
                Effect::CloseIdle => {
                    self.closing.send_replace(Closing::Idle);
                }
                Effect::CloseSilent => {
                    self.closing.send_replace(Closing::Silent);
                }
                Effect::Cancel => self.cancel(),
                Effect::CloseDependency { name, timeout_ns } => {
                    self.close_dependency(name, timeout_ns)
                }
                Effect::StopTasks => self.stop_tasks(),
                Effect::Exit { code } => {
                    self.app.feed.tell("exiting", json!({"code": code}));
                    self.exit = Some(code);
                }
            }
        }
    }

    fn input(&self, input: Input) {
        // The receiver lives as long as the server.
        let _ = self.tell.send(input);
    }

    fn fail_readiness(&self) {
        self.app.ready.store(false, Ordering::Relaxed);
        self.app.feed.tell("not-ready", json!({"reason": "shutdown"}));
    }

    fn start_drain(&self) {
        let connections = self.connections.len();
        let details = json!({"inFlight": self.app.metrics.in_flight(), "connections": connections});
        self.app.feed.tell("drain-started", details);
    }

    /// Accepts until the kernel has nothing more, asking it and not the runtime's cached readiness.
    fn empty_queue(&mut self) {
        let mut accepted = 0;
        while let Some(listener) = &self.listener {
            let next = SockRef::from(listener).accept().and_then(|(socket, _)| {
                socket.set_nonblocking(true)?;
                TcpStream::from_std(socket.into())
            });
            match next {
                Ok(stream) => {
                    accepted += 1;
                    self.spawn(stream, false);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // Closed in the same breath: what comes in between would be reset.
        let effects = self.machine.handle(mono_ns(), Input::QueueEmptied);
        let (first, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| *effect == Effect::CloseListener);
        if !first.is_empty() {
            self.listener = None;
        }
        self.app.feed.tell("accept-queue-emptied", json!({"accepted": accepted}));
        self.obey(first);
        self.obey(rest);
    }

    fn close_listener(&mut self) {
        self.listener = None;
        self.app.listening.store(false, Ordering::Relaxed);
        self.app.feed.tell("listener-closed", json!({}));
        if self.connections.is_empty() {
            self.input(Input::ConnectionsGone);
        }
    }

    fn cancel(&mut self) {
        let in_flight = self.app.metrics.in_flight();
        self.app.feed.tell("cancelled", json!({"requests": in_flight}));
        self.closing.send_replace(Closing::Cancel);
        self.connections.abort_all();
    }

    fn close_dependency(&mut self, name: String, timeout_ns: u64) {
        self.tell_drained();
        let takes = self.args.dependencies.iter().find(|known| known.name == name);
        let takes = takes.map_or(Duration::ZERO, |known| known.close);
        let (feed, tell) = (self.app.feed.clone(), self.tell.clone());
        self.tasks.spawn(async move {
            let limit = Duration::from_nanos(timeout_ns);
            let timed_out = tokio::time::timeout(limit, tokio::time::sleep(takes)).await.is_err();
            feed.tell("dependency-closed", json!({"name": name, "timedOut": timed_out}));
            let _ = tell.send(Input::DependencyClosed);
        });
    }

    /// Tells once that nothing is in flight any more.
    fn tell_drained(&mut self) {
        if !std::mem::replace(&mut self.has_told_drained, true) {
            self.app.feed.tell("drained", json!({"inFlight": self.app.metrics.in_flight()}));
        }
    }

    fn stop_tasks(&mut self) {
        self.tell_drained();
        self.stop_tasks.send_replace(true);
        let mut tasks = std::mem::take(&mut self.tasks);
        let tell = self.tell.clone();
        tokio::spawn(async move {
            // Each of them ends at the word; their results are nothing.
            while tasks.join_next().await.is_some() {}
            let _ = tell.send(Input::TasksEnded);
        });
    }
}

async fn connection(
    app: Arc<App>,
    stream: TcpStream,
    on_health_port: bool,
    idle_timeout: Duration,
    mut closing: watch::Receiver<Closing>,
) {
    let has_request = Arc::new(AtomicBool::new(false));
    let seen = has_request.clone();
    let service = service_fn(move |request| {
        seen.store(true, Ordering::Relaxed);
        routes::serve(app.clone(), request, on_health_port)
    });
    let mut builder = http1::Builder::new();
    // It bounds slow heads and idle connections alike.
    builder.timer(TokioTimer::new()).header_read_timeout(idle_timeout);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let mut told = Closing::No;
    loop {
        tokio::select! {
            biased;
            // How a connection ends is the client's concern; the metrics have counted its answers.
            _ = serving.as_mut() => return,
            changed = closing.wait_for(|now| *now > told), if !on_health_port && told < Closing::Silent => {
                let Ok(now) = changed.map(|now| *now) else { return };
                told = now;
                if has_request.load(Ordering::Relaxed) {
                    // Idle between requests: closed now; else after its answer.
                    serving.as_mut().graceful_shutdown();
                } else if now >= Closing::Silent {
                    return;
                }
                // hyper would close a connection that has brought nothing yet; it may still bring
                // its first request, whose answer then says `Connection: close`.
            }
        }
    }
}
