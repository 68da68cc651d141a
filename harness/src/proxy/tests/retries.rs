//! Requests that are sent again, and those that must not be.

use std::{net::TcpListener, rc::Rc, time::Duration};

use highwater_model::{
    outcome::HopError,
    spec::{Balancing, Retry},
};
use tokio::sync::Notify;

use super::testkit::{BodyEnd, GET, OK, Pod, PodSocket, Proxy, config, run, within};
use crate::proxy::{
    Config,
    header::UpstreamInfo,
    protocol::{EndpointAddress, Report},
    upload::KEPT_BYTES_MAX,
};

const POST: &str = "POST /work HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwork";
const PUT: &str = "PUT /work HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwork";
const CHUNKED_PUT: &str =
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwork\r\n0\r\n\r\n";

fn retrying(retry: Retry) -> Config {
    Config { retry, ..config() }
}

/// What the first pod does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// Nothing listens.
    Refuse,
    Close,
    CloseUnread,
    Reset,
    HalfAHead,
    HalfABody,
    Garbage,
    Silence,
    /// It is slow, and answers.
    Slow,
}
use Deed::{Close, CloseUnread, Garbage, HalfABody, HalfAHead, Refuse, Silence, Slow};

async fn act(deed: Deed, mut socket: PodSocket) {
    if deed == CloseUnread {
        socket.stream.readable().await.expect("readable");
        return;
    }
    if !socket.read_request().await {
        return;
    }
    match deed {
        Refuse | Close | CloseUnread => {}
        Deed::Reset => socket.reset(),
        HalfAHead => socket.write("HTTP/1.1 200 OK\r\nContent-").await,
        HalfABody => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await,
        Garbage => {
            socket.write("220 mail.example ESMTP\r\n\r\n").await;
            socket.wait_for_close().await;
        }
        Silence => socket.wait_for_close().await,
        Slow => {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            socket.write(OK).await;
        }
    }
}

/// An address at which nothing listens.
fn closed(name: &str) -> EndpointAddress {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    EndpointAddress { pod: name.into(), address: free.local_addr().expect("an address") }
}

/// A proxy before a pod `bad` of that deed, whose turn it is, and a pod `good`.
async fn before(config: Config, deed: Deed) -> (Proxy, Pod) {
    let mut proxy = Proxy::start(config).await;
    let bad = match deed {
        Refuse => closed("bad"),
        deed => Pod::start("bad", move |socket| act(deed, socket)).await.at,
    };
    let good = Pod::answering("good", OK).await;
    proxy.view(0, 1, &[bad, good.at.clone()]).await;
    (proxy, good)
}

/// The next attempt that was hidden: of which request, whether it was rescued, and the attempt.
async fn hidden(proxy: &mut Proxy) -> (Option<u64>, bool, UpstreamInfo) {
    match proxy.next_report(|report| matches!(report, Report::Retried { .. })).await {
        Report::Retried { n: 1, request_id, rescued, info } => (request_id, rescued, info),
        other => panic!("expected one attempt, not {other:?}"),
    }
}

#[test]
fn a_request_is_rescued_only_where_that_is_asked_for_and_harmless() {
    use Retry::{ConnectFailure, Idempotent, None};
    // Retry, request, what the first pod does, the client's status, what was hidden from it.
    let rows = [
        (None, GET, Refuse, 502, Option::None),
        (None, GET, Close, 502, Option::None),
        (ConnectFailure, GET, Refuse, 200, Some(HopError::ConnectRefused)),
        (ConnectFailure, POST, Refuse, 200, Some(HopError::ConnectRefused)),
        (ConnectFailure, GET, Close, 502, Option::None),
        (ConnectFailure, GET, Silence, 504, Option::None),
        (Idempotent, GET, Refuse, 200, Some(HopError::ConnectRefused)),
        (Idempotent, POST, Refuse, 200, Some(HopError::ConnectRefused)),
        (Idempotent, GET, Close, 200, Some(HopError::Eof)),
        (Idempotent, GET, CloseUnread, 200, Some(HopError::Reset)),
        (Idempotent, GET, Deed::Reset, 200, Some(HopError::Reset)),
        (Idempotent, GET, HalfAHead, 200, Some(HopError::Truncated)),
        (Idempotent, GET, Silence, 200, Some(HopError::Timeout)),
        (Idempotent, GET, Garbage, 502, Option::None),
        (Idempotent, GET, HalfABody, 200, Option::None),
        (Idempotent, GET, Slow, 200, Option::None),
        (Idempotent, PUT, Close, 200, Some(HopError::Eof)),
        (Idempotent, CHUNKED_PUT, Deed::Reset, 200, Some(HopError::Reset)),
        (Idempotent, POST, Close, 502, Option::None),
        (Idempotent, POST, Deed::Reset, 502, Option::None),
        (Idempotent, POST, HalfAHead, 502, Option::None),
        (Idempotent, POST, Silence, 504, Option::None),
    ];
    for (retry, request, deed, status, error) in rows {
        run(async move {
            let mut config = retrying(retry);
            if deed == Silence {
                config.response_timeout = Duration::from_secs(1);
            }
            let (mut proxy, good) = before(config, deed).await;
            let request = request.replace("Host: a", "Host: a\r\nX-Request-Id: 7");
            let request = request.replace("Host: shop", "Host: shop\r\nX-Request-Id: 7");
            let answer = proxy.ask(&request).await;
            let (told, why) = (answer.info(), format!("{retry:?} {request:?} {deed:?}"));
            assert_eq!(answer.status, status, "{why}");
            let Some(error) = error else {
                assert_eq!((told.tries, told.pod.as_deref()), (1, Some("bad")), "{why}");
                assert_eq!(good.accepted.get(), 0, "{why}: sent once");
                let cut = if deed == HalfABody { BodyEnd::Cut } else { BodyEnd::Whole };
                assert_eq!(answer.end, cut, "{why}: what was passed on is not taken back");
                return;
            };
            assert_eq!((told.tries, told.pod.as_deref()), (2, Some("good")), "{why}");
            assert_eq!((told.error, answer.end), (Option::None, BodyEnd::Whole), "{why}");
            let (request_id, rescued, info) = hidden(&mut proxy).await;
            assert_eq!((request_id, rescued, info.tries), (Some(7), true, 1), "{why}");
            assert_eq!((info.pod.as_deref(), info.error), (Some("bad"), Some(error)), "{why}");
            assert!(info.connection.is_some() && info.end >= info.start, "{why}");
            assert!(told.start >= info.end, "{why}: one after the other");
            proxy
                .next_report(|report| {
                    matches!(report, Report::Stats(stats)
                        if stats.retries == 1 && stats.requests == 1 && stats.errors.is_empty())
                })
                .await;
        });
    }
}

#[test]
fn what_is_hidden_of_a_kept_connection_says_that_it_had_served() {
    for deed in [Close, CloseUnread, Deed::Reset, Silence] {
        run(async move {
            let bad = Pod::start("bad", move |mut socket| async move {
                assert!(socket.read_request().await);
                socket.write(OK).await;
                act(deed, socket).await;
            })
            .await;
            let good = Pod::answering("good", OK).await;
            let mut config = retrying(Retry::Idempotent);
            if deed == Silence {
                config.response_timeout = Duration::from_secs(1);
            }
            let mut proxy = Proxy::before(config, &[&bad, &good]).await;
            for expected in ["bad", "good", "good"] {
                assert_eq!(proxy.ask(GET).await.pod(), expected, "{deed:?}");
            }
            let (_, rescued, info) = hidden(&mut proxy).await;
            let served = info.connection.expect("there was a connection").served;
            assert_eq!((rescued, served), (true, 1), "{deed:?}");
            assert_eq!(bad.accepted.get(), 1, "{deed:?}: it turned to the other pod");
        });
    }
}

/// A pod that wants that body, and answers.
async fn wanting(name: &str, body: &'static [u8]) -> Pod {
    Pod::start(name, move |mut socket| async move {
        socket.read_request().await;
        assert_eq!(socket.read_body_until(body).await, body);
        socket.write(OK).await;
    })
    .await
}

#[test]
fn a_body_is_sent_again_from_its_beginning() {
    run(async {
        // The client sends the second half only when the first pod has gone with the first.
        let gone = Rc::new(Notify::new());
        let notify = Rc::clone(&gone);
        let bad = Pod::start("bad", move |mut socket| {
            let notify = Rc::clone(&notify);
            async move {
                socket.read_request().await;
                socket.read_body_until(b"wo").await;
                socket.reset();
                notify.notify_one();
            }
        })
        .await;
        let good = wanting("good", b"work").await;
        let mut proxy = Proxy::before(retrying(Retry::Idempotent), &[&bad, &good]).await;
        let mut client = proxy.client().await;
        client.send(PUT.strip_suffix("rk").expect("so it ends")).await;
        within(gone.notified()).await;
        client.send("rk").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.info().tries), (200, 2));
        assert_eq!(hidden(&mut proxy).await.2.error, Some(HopError::Reset));
    });
}

#[test]
fn a_client_that_waits_to_continue_is_told_once() {
    run(async {
        let bad = Pod::start("bad", |mut socket| async move {
            socket.read_request().await;
            socket.read_body_until(b"work").await;
            socket.reset();
        })
        .await;
        let good = wanting("good", b"work").await;
        let proxy = Proxy::before(retrying(Retry::Idempotent), &[&bad, &good]).await;
        let mut client = proxy.client().await;
        let head = PUT.replace("Host: a", "Host: a\r\nExpect: 100-continue");
        client.send(head.strip_suffix("work").expect("so it ends")).await;
        let told = client.try_answer(false).await.expect("an answer");
        assert_eq!(told.status, 100);
        client.send("work").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.info().tries), (200, 2));
    });
}

#[test]
fn a_body_beyond_the_bound_is_sent_once() {
    run(async {
        let bad = Pod::start("bad", |mut socket| async move {
            socket.read_request().await;
            socket.read_body_until(b"end").await;
            socket.reset();
        })
        .await;
        let good = Pod::answering("good", OK).await;
        let proxy = Proxy::before(retrying(Retry::Idempotent), &[&bad, &good]).await;
        let mut client = proxy.client().await;
        let length = KEPT_BYTES_MAX + 1;
        let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        client.send(&head).await;
        client.send(&format!("{}end", "x".repeat(length - 3))).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.info().tries), (502, 1));
        assert_eq!(good.accepted.get(), 0);
    });
}

#[test]
fn head_is_sent_again_too() {
    run(async {
        let (proxy, _good) = before(retrying(Retry::Idempotent), Close).await;
        let mut client = proxy.client().await;
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let answer = client.try_answer(false).await.expect("an answer");
        assert_eq!((answer.status, answer.info().tries), (200, 2));
        assert_eq!(answer.header("content-length"), Some("2"));
    });
}

#[test]
fn retries_end_at_their_bound_and_go_to_another_pod_each_time() {
    let rows = [
        (0, Balancing::RoundRobin),
        (1, Balancing::RoundRobin),
        (3, Balancing::LeastRequest),
        // Of five that are drawn from five, all differ one time in 26: not by chance.
        (4, Balancing::Random),
    ];
    for (retries, balance) in rows {
        run(async move {
            let mut pods = Vec::new();
            for name in ["a", "b", "c", "d", "e"] {
                pods.push(Pod::start(name, |socket| act(Close, socket)).await);
            }
            let config = Config { retries, balance, ..retrying(Retry::Idempotent) };
            let mut proxy = Proxy::before(config, &pods.iter().collect::<Vec<_>>()).await;
            let answer = proxy.ask(GET).await;
            let info = answer.info();
            assert_eq!((answer.status, info.error), (502, Some(HopError::Eof)));
            assert_eq!(info.tries, retries + 1);
            for attempt in 1..=retries {
                let (_, rescued, info) = hidden(&mut proxy).await;
                assert_eq!((rescued, info.tries), (false, attempt), "it was in vain");
            }
            let accepted: Vec<_> = pods.iter().map(|pod| pod.accepted.get() as u32).collect();
            assert_eq!(accepted.iter().sum::<u32>(), retries + 1, "{balance:?}");
            assert_eq!(accepted.iter().max(), Some(&1), "{balance:?}: {accepted:?}");
        });
    }
}

#[test]
fn a_pod_that_is_alone_is_tried_again() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            if socket.read_request().await && socket.index > 1 {
                socket.write(OK).await;
            }
        })
        .await;
        let proxy = Proxy::before(retrying(Retry::Idempotent), &[&pod]).await;
        let answer = proxy.ask(GET).await;
        assert_eq!((answer.status, answer.info().tries, pod.accepted.get()), (200, 2, 2));
    });
}

#[test]
fn without_a_pod_there_is_nothing_to_try_again() {
    run(async {
        let proxy = Proxy::before(retrying(Retry::Idempotent), &[]).await;
        let answer = proxy.ask(GET).await;
        let info = answer.info();
        assert_eq!((answer.status, info.error), (503, Some(HopError::NoEndpoint)));
        assert_eq!((info.tries, info.pod), (0, None));
    });
}

#[test]
fn a_client_that_goes_while_it_is_tried_again_is_told_with_what_it_left() {
    run(async {
        let bad = Pod::start("bad", |socket| act(Close, socket)).await;
        let silent = Pod::start("silent", |socket| act(Silence, socket)).await;
        let mut proxy = Proxy::before(retrying(Retry::Idempotent), &[&bad, &silent]).await;
        let mut client = proxy.client().await;
        client.send(&GET.replace("Host: shop", "Host: shop\r\nX-Request-Id: 9")).await;
        while silent.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(client);
        let (request_id, rescued, info) = hidden(&mut proxy).await;
        assert_eq!((request_id, rescued, info.error), (Some(9), false, Some(HopError::Eof)));
        let gone = proxy.next_report(|report| matches!(report, Report::ClientGone { .. })).await;
        let Report::ClientGone { request_id, info } = gone else { unreachable!("just matched") };
        assert_eq!((request_id, info.pod.as_deref()), (Some(9), Some("silent")));
        assert_eq!((info.tries, info.error), (2, Some(HopError::ClientGone)));
    });
}
