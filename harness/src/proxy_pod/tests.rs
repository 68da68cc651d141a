//! The whole pod in one process: pods that answer, slices by hand, and the harness's own side of
//! the control stream.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use highwater_model::{
    event::{Event, EventKind},
    outcome::HopError,
    spec::{Balancing, Distribution, Retry},
    time::{Nanos, Timestamp},
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{Args, Order, ProxyPod, Word, pod};
use crate::{
    agent::link::{Config, ConnectError, Connector, Link, News},
    backend::kube::{
        observe::{self, Seen, Watched},
        watch::Message,
    },
    clock::{RunClock, mono_ns, signed},
    proxy::{
        self,
        tests::testkit::{Client, GET, OK, Pod, run, within},
    },
    record::Line,
};

/// How far the run's start lies back by the proxy's clock: nobody could mistake its axis for the
/// machine's.
const RUN_AGE: Duration = Duration::from_millis(5_000);

/// A proxy's pod, and the harness's link to it.
struct Running {
    link: Link<ProxyPod>,
    /// Events that came and were not looked at.
    events: VecDeque<Event>,
    /// What the API server tells.
    told: mpsc::Sender<Message>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), String>>,
    pod_clock: RunClock,
}

fn args(workers: u32, propagation: Distribution) -> Args {
    Args {
        service: "shop".into(),
        propagation,
        seed: 7,
        control: "127.0.0.1:0".parse().expect("an address"),
        orphan_after: Nanos::from_secs(60),
        kept_bytes: 1 << 20,
        pod: "shop-proxy-1".into(),
        pod_ip: None,
        namespace: "highwater".into(),
        node: "node-a".into(),
        proxy: proxy::Args {
            listen: "127.0.0.1:0".parse().expect("an address"),
            workers: workers.try_into().expect("not zero"),
            connect_timeout: Nanos::from_secs(40),
            response_timeout: Nanos::from_secs(40),
            idle_timeout: Nanos::from_secs(40),
            keep_alive: true,
            max_idle: 320,
            max_requests_per_connection: 0,
            balance: Balancing::RoundRobin,
            balance_seed: 7,
            retry: Retry::None,
            retries: 2,
            max_fails: 0,
            fail_timeout: Nanos::from_secs(10),
        },
    }
}

impl Running {
    async fn start(args: Args) -> Self {
        let control = TcpListener::bind(args.control).await.expect("a port");
        let address = control.local_addr().expect("an address");
        let pod_clock = RunClock::start();
        let (told, heard) = mpsc::channel(16);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(pod::serve(args, control, heard, pod_clock, async move {
            // The end of the test stops it as well.
            let _ = stopped.await;
        }));
        let connector = Connector::new(move || async move {
            let connecting = TcpStream::connect(address).await;
            connecting.map_err(|error| ConnectError::Failed(error.to_string()))
        });
        let link = Link::open(Config::new(RunClock::start(), "token".into()), connector);
        Self { link, events: VecDeque::new(), told, stop: Some(stop), task, pod_clock }
    }

    async fn hears(&self, what: observe::News) {
        let message = Message { at: self.pod_clock.now(), what };
        self.told.send(message).await.expect("takes it");
    }

    /// The API server tells that these pods are ready, and `unready` ones are there.
    async fn endpoints(&self, ready: &[&Pod], unready: &[&Pod]) {
        let objects: Vec<EndpointSlice> = ready
            .iter()
            .map(|pod| slice(pod, true))
            .chain(unready.iter().map(|pod| slice(pod, false)))
            .collect();
        self.hears(observe::News::EndpointSlices(Seen::All { objects, since: None })).await;
    }

    /// The next news that `meant` makes something of.
    async fn next<T>(&mut self, meant: impl Fn(News<Word>) -> Option<T>) -> T {
        loop {
            let news = within(self.link.next()).await.expect("the pod is there");
            if let Some(found) = meant(news) {
                return found;
            }
        }
    }

    /// Waits until the pod is there, and gives it the order; the start of the run.
    async fn order(&mut self) -> RunClock {
        let who = self
            .next(|news| match news {
                News::Up { who, .. } => Some(who),
                _ => None,
            })
            .await;
        assert_eq!((who.pod.as_str(), who.node.as_str()), ("shop-proxy-1", "node-a"));
        let age = i64::try_from(RUN_AGE.as_nanos()).expect("fits");
        let mono_ns = signed(mono_ns()) - age;
        self.link.order(Order::RunStart { mono_ns }).expect("room");
        RunClock::with_start(mono_ns)
    }

    /// The next event that `meant` makes something of.
    async fn event<T>(&mut self, meant: impl Fn(Timestamp, &EventKind) -> Option<T>) -> T {
        loop {
            while let Some(Event { at, kind, .. }) = self.events.pop_front() {
                if let Some(found) = meant(at, &kind) {
                    return found;
                }
            }
            let lines = self.next(|news| match news {
                News::Lines(lines) => Some(lines),
                _ => None,
            });
            let events = lines.await.into_iter().filter_map(|line| match line {
                Line::Event(event) => Some(event),
                _ => None,
            });
            self.events.extend(events);
        }
    }
}

fn slice(pod: &Pod, is_ready: bool) -> EndpointSlice {
    let (name, address) = (pod.at.pod.as_str(), pod.at.address);
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": format!("slice-of-{name}")},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": address.port(), "protocol": "TCP"}],
        "endpoints": [{
            "addresses": [address.ip()],
            "conditions": {"ready": is_ready},
            "targetRef": {"kind": "Pod", "name": name},
        }],
    }))
    .expect("a slice")
}

fn started(_: Timestamp, kind: &EventKind) -> Option<SocketAddr> {
    match kind {
        EventKind::ProxyStarted { address } => address.parse().ok(),
        _ => None,
    }
}

#[test]
fn once_told_when_the_run_began_all_instants_count_from_there() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let mut running = Running::start(args(1, Distribution::default())).await;
        running.endpoints(&[&pod], &[]).await;
        let before = mono_ns();
        let run_clock = running.order().await;
        let address = running.event(started).await;
        let (at, routed) = running
            .event(|at, kind| match kind {
                EventKind::ViewApplied { consumer: 0, routed, .. } => Some((at, routed.clone())),
                _ => None,
            })
            .await;
        assert_eq!(routed, ["a"]);
        let now = run_clock.now();
        assert!(at >= run_clock.at(running.pod_clock.start_mono_ns() as u64) && at <= now);
        let mut client = Client::connect(address).await;
        // The second request's connection was opened before it.
        for served in 0..2 {
            let sent = run_clock.now();
            client.send(GET).await;
            let info = client.answer().await.info();
            let ended = run_clock.now();
            assert_eq!((info.pod.as_deref(), info.error), (Some("a"), None));
            // On the axis of the header, zero is the run's start.
            let hop = info.to_hop(&RunClock::with_start(0));
            assert!(sent <= hop.started && hop.started <= hop.ended && hop.ended <= ended);
            let connection = hop.connection.expect("has one");
            assert_eq!(connection.served, served);
            assert!(connection.opened >= run_clock.at(before) && connection.opened <= hop.ended);
        }
    });
}

#[test]
fn workers_learn_apart_and_endpoints_that_are_not_ready_are_left_alone() {
    run(async {
        let (a, b) = (Pod::answering("a", OK).await, Pod::answering("b", OK).await);
        let spread = Distribution::Uniform(Nanos::ZERO, Nanos::from_millis(200));
        let mut running = Running::start(args(2, spread)).await;
        running.order().await;
        let address = running.event(started).await;
        let mut client = Client::connect(address).await;
        client.send(GET).await;
        assert_eq!(client.answer().await.info().error, Some(HopError::NoEndpoint));
        let view = |at: Timestamp, kind: &EventKind| match kind {
            EventKind::ViewApplied { consumer, version, routed } => {
                Some((at, *consumer, *version, routed.concat()))
            }
            _ => None,
        };
        running.endpoints(&[&a], &[&b]).await;
        let mut learnt = [running.event(view).await, running.event(view).await];
        learnt.sort_by_key(|(_, consumer, ..)| *consumer);
        for (worker, (_, consumer, version, routed)) in learnt.iter().enumerate() {
            assert_eq!((*consumer as usize, *version, routed.as_str()), (worker, 1, "a"));
        }
        assert_ne!(learnt[0].0, learnt[1].0, "each after a delay of its own");
        client.send(GET).await;
        assert_eq!(client.answer().await.info().pod.as_deref(), Some("a"));
    });
}

#[test]
fn without_the_api_server_it_goes_on_with_what_it_knew_and_tells_the_gap_afterwards() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let mut running = Running::start(args(1, Distribution::default())).await;
        running.order().await;
        let address = running.event(started).await;
        running.endpoints(&[&pod], &[]).await;
        running.event(|_, kind| matches!(kind, EventKind::ViewApplied { .. }).then_some(())).await;
        let (what, reason) = (Watched::EndpointSlices, "connection refused".to_string());
        let from = running.pod_clock.now();
        running.hears(observe::News::GapBegan { what, from, reason: reason.clone() }).await;
        let word = running
            .next(|news| match news {
                News::Word(word) => Some(word),
                _ => None,
            })
            .await;
        assert_eq!(word, Word::Deaf { reason: reason.clone() });
        let mut client = Client::connect(address).await;
        client.send(GET).await;
        assert_eq!(client.answer().await.info().pod.as_deref(), Some("a"));
        running.endpoints(&[], &[&pod]).await;
        running.hears(observe::News::GapEnded { what: Watched::EndpointSlices }).await;
        let gap = running.event(|at, kind| match kind {
            EventKind::WatchGap { from, reason, .. } => Some((*from, at, reason.clone())),
            _ => None,
        });
        let (from, at, why) = gap.await;
        assert!(Timestamp(RUN_AGE.as_nanos() as u64) <= from && from <= at);
        assert_eq!(why, reason);
    });
}

#[test]
fn told_to_end_it_finishes_what_is_in_flight_and_says_all() {
    run(async {
        let (answer, may_answer) = oneshot::channel::<()>();
        let may_answer = std::rc::Rc::new(std::cell::RefCell::new(Some(may_answer)));
        let pod = Pod::start("a", move |mut socket| {
            let may_answer = may_answer.take();
            async move {
                socket.read_request().await;
                if let Some(may_answer) = may_answer {
                    may_answer.await.expect("is told");
                }
                socket.write(OK).await;
            }
        })
        .await;
        let mut running = Running::start(args(1, Distribution::default())).await;
        running.order().await;
        let address = running.event(started).await;
        running.endpoints(&[&pod], &[]).await;
        running.event(|_, kind| matches!(kind, EventKind::ViewApplied { .. }).then_some(())).await;
        let mut client = Client::connect(address).await;
        client.send(GET).await;
        while pod.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        running.stop.take().expect("once").send(()).expect("runs");
        // It takes nobody any more, and has not ended.
        within(async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert!(!running.task.is_finished());
        answer.send(()).expect("waits");
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(within(&mut running.task).await.expect("does not panic"), Ok(()));
    });
}

#[test]
fn a_proxy_that_cannot_listen_is_broken_and_says_so() {
    run(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut wrong = args(1, Distribution::default());
        wrong.proxy.listen = taken.local_addr().expect("an address");
        let mut running = Running::start(wrong).await;
        let reason = running
            .next(|news| match news {
                News::Lost { reason, .. } => Some(reason),
                _ => None,
            })
            .await;
        assert!(reason.contains("listening on 127.0.0.1"), "{reason}");
        assert!(within(&mut running.task).await.expect("does not panic").is_err());
    });
}
