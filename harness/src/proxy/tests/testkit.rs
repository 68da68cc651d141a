//! Scripted pods and a proxy that runs in the test's own thread.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    net::SocketAddr,
    num::NonZeroU32,
    rc::Rc,
    time::Duration,
};

use highwater_model::spec::{Balancing, Retry};
use tokio::{
    io::{
        AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, duplex,
        simplex,
    },
    net::{TcpListener, TcpStream},
    task::{JoinHandle, LocalSet, spawn_local},
};

pub(crate) use super::client::{Answer, BodyEnd, Client};
use crate::proxy::{
    Config, Ended, ServeError, bind,
    protocol::{Control, EndpointAddress, Report, View},
    serve,
};

/// A deadline that is only met by a defect.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request without a body.
pub(crate) const GET: &str = "GET /work HTTP/1.1\r\nHost: shop\r\n\r\n";
/// The answer of a pod that is well.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(crate) fn config() -> Config {
    Config {
        workers: NonZeroU32::MIN,
        connect_timeout: DEADLINE * 2,
        response_timeout: DEADLINE * 2,
        idle_timeout: DEADLINE * 2,
        keep_alive: true,
        max_idle: 320,
        max_requests: u64::MAX,
        balance: Balancing::RoundRobin,
        balance_seed: 7,
        retry: Retry::None,
        retries: 2,
        passive_health: None,
        client_timeout: DEADLINE * 2,
        stop_timeout: DEADLINE * 2,
    }
}

/// Runs a test on a thread of its own runtime.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(within(test)));
    runtime.shutdown_background();
}

/// Waits for what must come.
pub(crate) async fn within<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, awaited).await.expect("came within the deadline")
}

/// A pod that does to each connection what the test says.
pub(crate) struct Pod {
    pub(crate) at: EndpointAddress,
    /// Connections accepted.
    pub(crate) accepted: Rc<Cell<usize>>,
    /// Heads of the requests that [`read_request`] got.
    pub(crate) heads: Rc<RefCell<Vec<String>>>,
}

impl Pod {
    pub(crate) async fn start<S, F>(name: &str, script: S) -> Self
    where
        S: Fn(PodSocket) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let accepted = Rc::new(Cell::new(0));
        let heads = Rc::new(RefCell::default());
        let pod = Self {
            at: EndpointAddress { pod: name.into(), address },
            accepted: Rc::clone(&accepted),
            heads: Rc::clone(&heads),
        };
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accepts");
                accepted.set(accepted.get() + 1);
                spawn_local(script(PodSocket {
                    stream,
                    index: accepted.get(),
                    heads: Rc::clone(&heads),
                    buffer: Vec::new(),
                }));
            }
        });
        pod
    }

    /// A pod that answers every request with `answer`.
    pub(crate) async fn answering(name: &str, answer: &'static str) -> Self {
        Self::start(name, move |mut socket| async move {
            while socket.read_request().await {
                socket.write(answer).await;
            }
        })
        .await
    }
}

/// A pod's side of a connection.
pub(crate) struct PodSocket {
    pub(crate) stream: TcpStream,
    /// Which connection of the pod's, from 1.
    pub(crate) index: usize,
    heads: Rc<RefCell<Vec<String>>>,
    buffer: Vec<u8>,
}

impl PodSocket {
    /// Reads one head; `false` at the end of the connection.
    pub(crate) async fn read_request(&mut self) -> bool {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                let head = String::from_utf8(head).expect("a head is text");
                self.heads.borrow_mut().push(head);
                return true;
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    /// Reads until the body read so far ends so.
    pub(crate) async fn read_body_until(&mut self, end: &[u8]) -> Vec<u8> {
        while !self.buffer.ends_with(end) {
            let read = self.stream.read_buf(&mut self.buffer).await;
            assert!(read.expect("reads") > 0, "the body ended early");
        }
        std::mem::take(&mut self.buffer)
    }

    pub(crate) async fn write(&mut self, text: &str) {
        // A proxy that has gone is part of some tests.
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("lingers");
    }

    /// Waits until the proxy has closed its side.
    pub(crate) async fn wait_for_close(&mut self) {
        let mut waste = [0; 64];
        while !matches!(self.stream.read(&mut waste).await, Ok(0) | Err(_)) {}
    }
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A proxy in this thread.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Its stdin; `None` once it ended.
    pub(crate) control: Option<DuplexStream>,
    reports: Lines<BufReader<tokio::io::ReadHalf<tokio::io::SimplexStream>>>,
    pub(crate) task: JoinHandle<Result<Ended, ServeError>>,
}

impl Proxy {
    pub(crate) async fn start(config: Config) -> Self {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("listens");
        let (control, stdin) = duplex(1 << 16);
        let (reports, stdout) = simplex(1 << 20);
        let task = spawn_local(serve(listener, BufReader::new(stdin), stdout, config));
        let mut proxy = Self {
            address: ([127, 0, 0, 1], 0).into(),
            control: Some(control),
            reports: BufReader::new(reports).lines(),
            task,
        };
        let started = proxy.next_report(|report| matches!(report, Report::Started { .. }));
        let Report::Started { address, .. } = started.await else {
            unreachable!("just matched");
        };
        proxy.address = address;
        proxy
    }

    /// A proxy whose first worker knows `pods`.
    pub(crate) async fn before(config: Config, pods: &[&Pod]) -> Self {
        let mut proxy = Self::start(config).await;
        let addresses: Vec<_> = pods.iter().map(|pod| pod.at.clone()).collect();
        proxy.view(0, 1, &addresses).await;
        proxy
    }

    pub(crate) async fn send_line(&mut self, line: &str) {
        let control = self.control.as_mut().expect("not ended");
        let line = format!("{line}\n");
        control.write_all(line.as_bytes()).await.expect("writes");
    }

    /// Gives a worker a view and waits until it goes by it.
    pub(crate) async fn view(&mut self, worker: u32, version: u64, pods: &[EndpointAddress]) {
        let view = Control::View(View { worker, version, endpoints: pods.to_vec() });
        let line = serde_json::to_string(&view).expect("writes");
        self.send_line(&line).await;
        self.next_report(|report| {
            matches!(report, Report::ViewApplied { worker: w, version: v, .. }
                if (*w, *v) == (worker, version))
        })
        .await;
    }

    /// The next report that is meant.
    pub(crate) async fn next_report(&mut self, meant: impl Fn(&Report) -> bool) -> Report {
        loop {
            let line = within(self.reports.next_line()).await.expect("reads");
            let line = line.expect("the report comes before the end");
            let report = serde_json::from_str(&line).expect("a report");
            if meant(&report) {
                return report;
            }
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await
    }
}
