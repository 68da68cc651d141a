//! A server under load, generators as processes, a control stream that can be cut, and a harness.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use highwater::{
    agent::link::{self, ConnectError, Connector},
    clock::RunClock,
    generator::{Config, Generators, News, Plan, What},
    record::{BackendKind, Header, Line, RunRecord, SCHEMA},
};
use highwater_model::{
    event::EventKind,
    load::Share,
    outcome::Outcome,
    spec::Scenario,
    time::{Nanos, SECOND, Timestamp},
};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream, copy, split},
    net::TcpStream,
    sync::mpsc,
};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_highwater");
/// Long enough for any machine; nothing takes this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// From the order to the start of the traffic, at least.
const LEAD: Nanos = Nanos::from_millis(400);

/// A server that answers every request with 200 and counts them.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) served: Arc<AtomicU64>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(AtomicU64::new(0));
        let count = served.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = count.clone();
                std::thread::spawn(move || answer(stream, &count));
            }
        });
        Self { address, served }
    }

    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: std::net::TcpStream, served: &AtomicU64) {
    stream.set_nodelay(true).unwrap();
    let (mut bytes, mut seen) = ([0; 4096], Vec::new());
    while let Ok(n) = stream.read(&mut bytes) {
        if n == 0 {
            return;
        }
        seen.extend_from_slice(&bytes[..n]);
        while let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            seen.drain(..end + 4);
            served.fetch_add(1, Ordering::SeqCst);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() {
                return;
            }
        }
    }
}

/// A generator's process. Killed with the test.
pub(crate) struct Pod {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Pod {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::listen("127.0.0.1:0", args)
    }

    pub(crate) fn listen(listen: &str, args: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["generator", "--listen", listen, "--node", "here"]).args(args);
        Self::spawn(command)
    }

    /// A generator whose monotonic clock is so many seconds ahead of this machine's, or `None` if
    /// time cannot be unshared here.
    pub(crate) fn start_ahead(seconds: i64) -> Option<Self> {
        let unshare = |program: &str| {
            let mut command = Command::new("unshare");
            command.args(["--time", "--fork", "--kill-child"]);
            command.arg(format!("--monotonic={seconds}")).arg(program);
            command
        };
        let can = unshare("true").stderr(Stdio::null()).status().is_ok_and(|ended| ended.success());
        can.then(|| {
            let mut command = unshare(PROGRAM);
            command.args(["generator", "--listen", "127.0.0.1:0"]);
            Self::spawn(command)
        })
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: BTreeMap<String, SocketAddr> = serde_json::from_str(&line).unwrap();
        Self { child, address: said["listening"] }
    }

    /// Waits for its end; the exit code and what it said.
    pub(crate) async fn ended(&mut self) -> (Option<i32>, String) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut said = String::new();
                let stderr: Option<ChildStderr> = self.child.stderr.take();
                stderr.unwrap().read_to_string(&mut said).unwrap();
                return (status.code(), said);
            }
            assert!(tokio::time::Instant::now() < deadline, "the generator does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The way to a generator: an API server, as it were.
#[derive(Clone, Default)]
pub(crate) struct Way(Arc<Mutex<WayState>>);

#[derive(Default)]
struct WayState {
    is_cut: bool,
    pumps: Vec<tokio::task::AbortHandle>,
    /// True once what is sent goes nowhere.
    swallows: tokio::sync::watch::Sender<bool>,
    /// After so many bytes from the generator a connection breaks.
    breaks_after: Option<u64>,
    connections: usize,
}

impl Way {
    /// Ends the present connection, and refuses others until [`Self::mend`].
    pub(crate) fn cut(&self) {
        let mut state = self.0.lock().unwrap();
        state.is_cut = true;
        state.pumps.drain(..).for_each(|pump| pump.abort());
    }

    /// From now on the present connection stays open, and nothing comes through.
    pub(crate) fn swallow(&self) {
        let state = self.0.lock().unwrap();
        state.swallows.send_replace(true);
    }

    /// Each connection breaks after some more bytes than the one before, from `first` on.
    pub(crate) fn break_within(&self, first: u64) {
        self.0.lock().unwrap().breaks_after = Some(first);
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.0.lock().unwrap().connections
    }

    pub(crate) fn mend(&self) {
        self.0.lock().unwrap().is_cut = false;
    }

    pub(crate) fn to(&self, address: SocketAddr) -> Connector {
        let way = self.clone();
        Connector::new(move || {
            let way = way.clone();
            async move {
                if way.0.lock().unwrap().is_cut {
                    return Err(ConnectError::Failed("the way is cut".into()));
                }
                let connected = TcpStream::connect(address).await;
                let mut far = connected.map_err(|error| ConnectError::Failed(error.to_string()))?;
                let (near, mut middle) = tokio::io::duplex(1 << 16);
                let mut state = way.0.lock().unwrap();
                state.connections += 1;
                let breaks_after = state.breaks_after;
                if let Some(bytes) = &mut state.breaks_after {
                    // By bytes through the first words, then by more through the lines.
                    *bytes += if *bytes < 1_700 { 7 } else { 101 };
                }
                state.swallows.send_replace(false);
                let mut swallows = state.swallows.subscribe();
                let pump = tokio::spawn(async move {
                    let swallowed = async {
                        // The guard must not be held.
                        swallows.wait_for(|swallows| *swallows).await.is_ok()
                    };
                    tokio::select! {
                        _ = pump(&mut middle, &mut far, breaks_after) => return,
                        _ = swallowed => {}
                    }
                    // Both ends stay open, as behind an API server that is gone.
                    std::future::pending().await
                });
                state.pumps.push(pump.abort_handle());
                Ok(near)
            }
        })
    }
}

/// Passes bytes on in both directions, so many at most from `far`.
async fn pump(near: &mut DuplexStream, far: &mut TcpStream, bytes_max: Option<u64>) {
    let (mut from_near, mut to_near) = split(near);
    let (mut from_far, mut to_far) = far.split();
    let mut limited = (&mut from_far).take(bytes_max.unwrap_or(u64::MAX));
    tokio::select! {
        _ = copy(&mut from_near, &mut to_far) => {}
        _ = copy(&mut limited, &mut to_near) => {}
    }
}

/// Poisson arrivals over two phases: `seconds` at 150/s, then as long up to 300/s.
pub(crate) fn scenario(seconds: u64) -> Scenario {
    serde_json::from_value(serde_json::json!({
        "name": "generators",
        "seed": 9,
        "path": {"kind": "l4"},
        "traffic": {
            "phases": [
                {"hold": "150/s", "for": format!("{seconds}s")},
                {"ramp": {"to": "300/s"}, "over": format!("{seconds}s")},
            ],
            "requests": [{"get": "/a", "weight": 3}, {"get": "/b", "weight": 1}],
        },
    }))
    .unwrap()
}

/// A run of generators, from the harness's side.
pub(crate) struct Run {
    pub(crate) generators: Generators,
    pub(crate) news: mpsc::Receiver<News>,
    pub(crate) clock: RunClock,
    pub(crate) scenario: Scenario,
    pub(crate) record: RunRecord,
    /// Everything but lines, by generator.
    pub(crate) said: Vec<(u32, What)>,
    pub(crate) events: Vec<EventKind>,
    pub(crate) finished: usize,
    /// When the traffic started, on the run's axis.
    pub(crate) start: Timestamp,
}

impl Run {
    pub(crate) fn open(scenario: Scenario, server: &Server, connectors: Vec<Connector>) -> Self {
        Self::open_for(scenario, server, connectors, PATIENCE)
    }

    pub(crate) fn open_for(
        scenario: Scenario,
        server: &Server,
        connectors: Vec<Connector>,
        give_up_after: Duration,
    ) -> Self {
        let mut link = link::Config::new(RunClock::start(), link::new_token().unwrap());
        link.give_up_after = give_up_after;
        Self::open_with(link, scenario, server, connectors)
    }

    pub(crate) fn open_with(
        link: link::Config,
        scenario: Scenario,
        server: &Server,
        connectors: Vec<Connector>,
    ) -> Self {
        let clock = link.clock;
        let config = Config {
            link,
            scenario: scenario.clone(),
            address: server.address.to_string(),
            host: "test".into(),
            default_path: "/".into(),
        };
        let (generators, news) = Generators::open(config, connectors).unwrap();
        let header = Header {
            schema: SCHEMA.into(),
            backend: BackendKind::Kube,
            seed: scenario.seed,
            scenario: scenario.clone(),
            phases: highwater::plan::Plan::new(scenario.clone()).unwrap().phases,
        };
        Self {
            generators,
            news,
            clock,
            scenario,
            record: RunRecord::new(header),
            said: Vec::new(),
            events: Vec::new(),
            finished: 0,
            start: Timestamp::ZERO,
        }
    }

    /// Waits for all to be ready and starts the traffic with a whole second, soon.
    pub(crate) async fn start(&mut self) {
        let all = self.generators.count() as usize;
        self.until(|run| run.count(|what| matches!(what, What::Ready { .. })) == all).await;
        self.start = Timestamp(((self.clock.now() + LEAD).second() + 1) * SECOND);
        self.generators.start(self.start);
    }

    pub(crate) fn count(&self, of: impl Fn(&What) -> bool) -> usize {
        self.said.iter().filter(|(_, what)| of(what)).count()
    }

    /// Takes news until `done`.
    pub(crate) async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !done(self) {
            let news = tokio::time::timeout_at(deadline, self.news.recv()).await;
            let news = news.unwrap_or_else(|_| panic!("it takes too long; said: {:?}", self.said));
            self.take(news.expect("generators are there"));
        }
    }

    fn take(&mut self, news: News) {
        self.events.extend(news.event());
        let News { generator, what } = news;
        match what {
            What::Lines(lines) => {
                for line in lines {
                    if let Line::Sample(sample) = &line {
                        assert_eq!(sample.generator, generator);
                    }
                    self.record.push(line);
                }
            }
            What::Finished => self.finished += 1,
            what => self.said.push((generator, what)),
        }
    }

    /// Takes news until all have finished, and then demands that every owed request has exactly
    /// one outcome, second by second and phase by phase.
    pub(crate) async fn finish(&mut self) {
        let all = self.generators.count() as usize;
        self.until(|run| run.finished == all).await;
        self.record.sort();
        for (key, window) in &self.record.windows {
            let ended: u64 = window.outcomes.values().map(|sum| sum.n).sum();
            assert_eq!(window.owed, ended, "in {key:?}: {window:?}");
        }
    }

    /// Until so many requests are in the record.
    pub(crate) async fn until_owed(&mut self, owed: u64) {
        self.until(|run| run.owed() >= owed).await;
    }

    pub(crate) fn owed(&self) -> u64 {
        self.record.totals().owed
    }

    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.record.totals().by_outcome.get(&outcome).copied().unwrap_or_default()
    }

    /// Owed requests by second of the traffic and phase.
    pub(crate) fn counts(&self) -> BTreeMap<(u64, u16), u64> {
        let windows = self.record.windows.iter();
        let from = self.start.second();
        windows.map(|((second, phase), window)| ((second - from, *phase), window.owed)).collect()
    }

    /// The same from the schedule alone, up to `until`.
    pub(crate) fn planned(&self) -> BTreeMap<(u64, u16), u64> {
        let plan = Plan {
            scenario: self.scenario.clone(),
            share: Share::WHOLE,
            address: String::new(),
            host: String::new(),
            default_path: "/".into(),
        };
        let mut counts = BTreeMap::new();
        for arrival in plan.schedule().unwrap() {
            *counts.entry((arrival.at.0 / SECOND, arrival.phase)).or_default() += 1;
        }
        counts
    }
}

/// The sum of counts.
pub(crate) fn sum(counts: &BTreeMap<(u64, u16), u64>) -> u64 {
    counts.values().sum()
}

/// `count` generators with a way to each.
pub(crate) fn pods(count: usize, args: &[&str]) -> (Vec<Pod>, Vec<Way>, Vec<Connector>) {
    let pods: Vec<Pod> = (0..count).map(|_| Pod::start(args)).collect();
    let ways: Vec<Way> = pods.iter().map(|_| Way::default()).collect();
    let connectors = pods.iter().zip(&ways).map(|(pod, way)| way.to(pod.address)).collect();
    (pods, ways, connectors)
}

/// How far a run goes on before something is done to it.
pub(crate) const A_WHILE: Duration = Duration::from_millis(1500);
/// A span that is surely no time.
pub(crate) const LONG: Nanos = Nanos::from_secs(20);
