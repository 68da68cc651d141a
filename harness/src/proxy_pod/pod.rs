//! The process: the proxy on its thread, and beside it what feeds it and what tells of it.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    process::ExitCode,
    thread,
    time::Duration,
};

use highwater_model::time::Timestamp;
use kube::Client;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{Args, Order, ProxyPod, Word, slices::Slices, teller::Teller, views::Views};
use crate::{
    agent::{
        self,
        protocol::{Item, ORDERS_MAX, Who},
    },
    backend::kube::{
        observe::{News, Watched},
        watch::{Message, Pace, Plan, Watches},
    },
    clock::{RunClock, mono_ns, signed},
    limits,
    proxy::{
        self, Ended, REPORTS_MAX,
        protocol::{Control, Report},
    },
    record::Line,
};

/// Items that wait to be put among those that are kept.
const ITEMS_MAX: usize = 16;
/// Orders that wait for the proxy, which takes them at once.
const CONTROLS_MAX: usize = 64;
/// Messages of the API server's that wait.
const HEARD_MAX: usize = 64;
/// Reports that are told together.
const BATCH_MAX: usize = 256;
/// How long the harness may take for the last items, once the proxy has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The exit code when the proxy could not do its work.
const EXIT_NOT_CARRIED_OUT: u8 = 3;

/// Runs a proxy as the process of a pod.
///
/// *Behaviour*: SIGTERM ends it: no new connections, what is in flight is finished within 10 s,
/// then 0 is returned. 3, with the reason on stderr, if it could not serve, or if nothing was heard
/// of the harness for too long.
pub fn main_with(args: Args) -> ExitCode {
    limits::raise_descriptors();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("starting the runtime: {error}")),
    };
    match runtime.block_on(run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(&reason),
    }
}

fn fail(message: &str) -> ExitCode {
    use std::io::Write as _;
    // Nobody is left to be told if stderr is closed too.
    let _ = writeln!(std::io::stderr(), "highwater proxy-pod: {message}");
    ExitCode::from(EXIT_NOT_CARRIED_OUT)
}

async fn run(args: Args) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let control = TcpListener::bind(args.control)
        .await
        .map_err(|error| format!("listening on {}: {error}", args.control))?;
    let clock = RunClock::start();
    let heard = hear(&args, clock)?;
    serve(args, control, heard, clock, async move {
        terminate.recv().await;
    })
    .await
}

/// Watches the Service's EndpointSlices by the rights of the pod's own account.
fn hear(args: &Args, clock: RunClock) -> Result<mpsc::Receiver<Message>, String> {
    let mut config = kube::Config::incluster()
        .map_err(|error| format!("finding the API server: {error}; this runs in a pod only"))?;
    // Outages are told, and tried again at a pace of our own.
    config.default_retry = false;
    let client = Client::try_from(config)
        .map_err(|error| format!("preparing to ask the API server: {error}"))?;
    let plan = Plan {
        namespace: args.namespace.clone(),
        pods: String::new(),
        deployment: None,
        service: Some(args.service.clone()),
        autoscaler: None,
        kinds: [Watched::EndpointSlices].into(),
        pace: Pace::default(),
    };
    let mut watches = Watches::start(client, clock, &plan);
    let (tell, heard) = mpsc::channel(HEARD_MAX);
    tokio::spawn(async move {
        while let Some(message) = watches.next().await {
            if tell.send(message).await.is_err() {
                return;
            }
        }
    });
    Ok(heard)
}

/// Serves clients and the harness until `stop`. `heard` is what is heard of the EndpointSlices, its
/// instants by `clock`.
///
/// # Errors
/// Why it could not go on, in words.
pub(super) async fn serve(
    args: Args,
    control: TcpListener,
    heard: mpsc::Receiver<Message>,
    clock: RunClock,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    let config = agent::Config {
        who: Who { pod: args.pod.clone(), node: args.node.clone(), completion_index: None },
        orphan_after: args.orphan_after.to_std(),
        kept_bytes_max: args.kept_bytes,
    };
    let (give, orders) = mpsc::channel(ORDERS_MAX);
    let (items, said) = mpsc::channel(ITEMS_MAX);
    let proxy = Proxy::start(args.proxy.clone())?;
    let work = Work {
        orders,
        items,
        heard,
        clock,
        slices: Slices::default(),
        views: Views::new(args.proxy.workers.get(), &args.propagation, args.seed),
        teller: Teller::default(),
        proxy,
        pod_ip: args.pod_ip,
    };
    let mut work = tokio::spawn(work.run(stop));
    let mut serving = pin!(agent::serve::<ProxyPod>(control, config, give, said));
    tokio::select! {
        ended = &mut work => {
            // If nobody takes the last items by then, nobody is there.
            let _ = timeout(LAST_WORDS, serving).await;
            ended.unwrap_or_else(|_| Err("the work beside the proxy panicked".into()))
        }
        served = &mut serving => match served {
            Ok(()) => work.await.unwrap_or_else(|error| Err(error.to_string())),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// The proxy, on its thread. Dropped, it ends at once.
struct Proxy {
    controls: mpsc::Sender<Control>,
    reports: mpsc::Receiver<Report>,
    ended: oneshot::Receiver<Result<Ended, String>>,
}

impl Proxy {
    fn start(args: proxy::Args) -> Result<Self, String> {
        let (controls, given) = mpsc::channel(CONTROLS_MAX);
        let (report, reports) = mpsc::channel(REPORTS_MAX);
        let (tell, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("proxy".into());
        let started = thread.spawn(move || {
            // The receiver is gone if the process ends anyway.
            let _ = tell.send(run_proxy(&args, given, report));
        });
        started.map_err(|error| format!("starting the proxy's thread: {error}"))?;
        Ok(Self { controls, reports, ended })
    }

    async fn control(&self, control: Control) {
        // It fails if the proxy has ended, which its reports tell.
        let _ = self.controls.send(control).await;
    }

    /// Why its reports have ended.
    async fn ending(self) -> Result<(), String> {
        match self.ended.await {
            Ok(Ok(Ended::Stopped)) => Ok(()),
            Ok(Ok(Ended::ControllerGone)) => Err("the proxy lost its orders".into()),
            Ok(Err(reason)) => Err(reason),
            Err(_) => Err("the proxy panicked".into()),
        }
    }
}

fn run_proxy(
    args: &proxy::Args,
    control: mpsc::Receiver<Control>,
    report: mpsc::Sender<Report>,
) -> Result<Ended, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("starting the proxy's runtime: {error}"))?;
    runtime.block_on(async {
        let listener = proxy::bind(args.listen).map_err(|error| error.to_string())?;
        let config = proxy::Config::from(args);
        let served = proxy::serve_within(listener, control, report, config).await;
        served.map_err(|error| error.to_string())
    })
}

/// What is done with orders, endpoints and reports.
struct Work {
    orders: mpsc::Receiver<Order>,
    items: mpsc::Sender<Item<Word>>,
    heard: mpsc::Receiver<Message>,
    /// The pod's own, zero at its start.
    clock: RunClock,
    slices: Slices,
    views: Views,
    teller: Teller,
    proxy: Proxy,
    pod_ip: Option<IpAddr>,
}

impl Work {
    /// Works until `stop`; tells the harness of what went wrong, and returns it.
    async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), String> {
        let told_to_stop = self.work(stop).await;
        if told_to_stop {
            self.proxy.control(Control::Stop {}).await;
            while let Some(report) = self.proxy.reports.recv().await {
                self.reports(report).await;
            }
        }
        let last = self.teller.finish(mono_ns());
        self.say(last).await;
        let ended = self.proxy.ending().await;
        if let Err(reason) = &ended {
            // It fails when nobody serves any more.
            let _ = self.items.send(Item::Broken { reason: reason.clone() }).await;
        }
        ended
    }

    /// True at `stop`, false when the proxy has ended by itself.
    async fn work(&mut self, stop: impl Future<Output = ()>) -> bool {
        let mut stop = pin!(stop);
        loop {
            let deadline = self.views.next_deadline();
            let wait = deadline.map(|at| at.since(self.clock.now()).to_std());
            tokio::select! {
                biased;
                () = stop.as_mut() => return true,
                report = self.proxy.reports.recv() => match report {
                    Some(report) => self.reports(report).await,
                    None => return false,
                },
                Some(order) = self.orders.recv() => self.obey(order).await,
                Some(message) = self.heard.recv() => self.hear(message).await,
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            self.pass_on().await;
        }
    }

    async fn obey(&mut self, order: Order) {
        let Order::RunStart { mono_ns } = order;
        // The header's axis first: the traffic starts only after what is told here.
        self.proxy.control(Control::RunStart { mono_ns }).await;
        let items = self.teller.start(RunClock::with_start(mono_ns));
        self.say(items).await;
    }

    async fn hear(&mut self, Message { at, what }: Message) {
        let items = match what {
            News::EndpointSlices(seen) => {
                self.slices.take(&seen);
                self.views.see(at, self.slices.endpoints());
                return;
            }
            News::GapBegan { from, reason, .. } => self.teller.deaf(self.mono(from), reason),
            News::GapEnded { .. } => self.teller.hears(self.mono(at)),
            // Nothing else is watched.
            _ => return,
        };
        self.say(items).await;
    }

    /// What the monotonic clock read at an instant of the pod's own clock.
    fn mono(&self, at: Timestamp) -> u64 {
        u64::try_from(self.clock.start_mono_ns().saturating_add(signed(at.0))).unwrap_or(0)
    }

    /// Gives workers what they learn of by now.
    async fn pass_on(&mut self) {
        for view in self.views.fire(self.clock.now()) {
            self.teller.given(&view);
            self.proxy.control(Control::View(view)).await;
        }
    }

    /// Tells of a report, and of those that wait behind it.
    async fn reports(&mut self, report: Report) {
        let mut items = self.report(report);
        for _ in 1..BATCH_MAX {
            let Ok(report) = self.proxy.reports.try_recv() else { break };
            items.extend(self.report(report));
        }
        self.say(items).await;
    }

    fn report(&mut self, report: Report) -> Vec<Item<Word>> {
        let report = match (report, self.pod_ip) {
            // Where it is reached, not where it was told to listen.
            (Report::Started { address, mono_ns }, Some(ip)) if address.ip().is_unspecified() => {
                Report::Started { address: SocketAddr::new(ip, address.port()), mono_ns }
            }
            (report, _) => report,
        };
        self.teller.report(mono_ns(), report)
    }

    /// Says items in their order, lines that follow each other together.
    async fn say(&self, items: Vec<Item<Word>>) {
        let mut lines: Vec<Line> = Vec::new();
        for item in items {
            match item {
                Item::Lines(more) => lines.extend(more),
                item => {
                    self.send_lines(std::mem::take(&mut lines)).await;
                    // It fails when nobody serves any more; the process is then about to end.
                    let _ = self.items.send(item).await;
                }
            }
        }
        self.send_lines(lines).await;
    }

    async fn send_lines(&self, lines: Vec<Line>) {
        if !lines.is_empty() {
            // As above.
            let _ = self.items.send(Item::Lines(lines)).await;
        }
    }
}
