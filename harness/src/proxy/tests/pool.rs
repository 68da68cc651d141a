//! Kept connections: reused, dropped, dead.

use std::{cell::RefCell, io::Write, rc::Rc, time::Duration};

use highwater_model::outcome::HopError;
use tokio::sync::Notify;

use super::testkit::{GET, OK, Pod, Proxy, config, run, within};
use crate::proxy::protocol::Report;

#[test]
fn a_kept_connection_counts_what_it_served() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let mut client = proxy.client().await;
        let mut first = None;
        for served in 0..5 {
            client.send(GET).await;
            let answer = client.answer().await;
            let connection = answer.info().connection.expect("a connection");
            assert_eq!(*first.get_or_insert(connection.conn), connection.conn);
            assert_eq!((answer.status, connection.served), (200, served));
            assert_eq!(connection.idle > 0, served > 0);
        }
        assert_eq!(pod.accepted.get(), 1);
    });
}

#[test]
fn connections_that_may_not_be_kept_are_not() {
    let rows = [
        (true, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        (true, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (true, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
        (false, OK),
    ];
    for (keep_alive, answer) in rows {
        run(async move {
            let pod = Pod::answering("a", answer).await;
            let mut config = config();
            config.keep_alive = keep_alive;
            let proxy = Proxy::before(config, &[&pod]).await;
            let mut client = proxy.client().await;
            for _ in 0..3 {
                client.send(GET).await;
                let got = client.answer().await;
                let connection = got.info().connection.expect("a connection");
                assert_eq!((got.status, connection.served), (200, 0), "{answer:?}");
                assert_eq!(got.header("connection"), None, "the client's is kept");
            }
            assert_eq!(pod.accepted.get(), 3);
            let told = pod.heads.borrow()[0].contains("connection: close");
            assert_eq!(told, !keep_alive, "the pod is told beforehand");
        });
    }
}

#[test]
fn a_connection_that_the_pod_closed_while_idle_is_not_used_again() {
    run(async {
        let noticed = Rc::new(Notify::new());
        let notify = Rc::clone(&noticed);
        let pod = Pod::start("a", move |mut socket| {
            let notify = Rc::clone(&notify);
            async move {
                use tokio::io::AsyncWriteExt;
                socket.read_request().await;
                socket.write(OK).await;
                socket.stream.shutdown().await.expect("shuts down");
                socket.wait_for_close().await;
                notify.notify_one();
            }
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        for accepted in 1..=3 {
            let answer = proxy.ask(GET).await;
            let connection = answer.info().connection.expect("a connection");
            assert_eq!((answer.status, connection.served), (200, 0));
            assert_eq!(pod.accepted.get(), accepted);
            within(noticed.notified()).await;
        }
    });
}

#[test]
fn a_connection_that_was_reset_while_idle_is_not_used_again() {
    run(async {
        let pod = Pod::start("a", move |mut socket| async move {
            socket.read_request().await;
            socket.write(OK).await;
            socket.reset();
        })
        .await;
        let mut proxy = Proxy::before(config(), &[&pod]).await;
        assert_eq!(proxy.ask(GET).await.status, 200);
        proxy
            .next_report(
                |report| matches!(report, Report::Stats(stats) if stats.open_upstream == 0),
            )
            .await;
        let answer = proxy.ask(GET).await;
        assert_eq!((answer.status, pod.accepted.get()), (200, 2));
    });
}

/// The race itself: the request is on its way to the proxy when the pod closes, so that the
/// proxy takes the connection before it can know.
fn race(reset: bool, error: HopError) {
    run(async move {
        let slot: Rc<RefCell<Option<super::testkit::PodSocket>>> = Rc::default();
        let kept = Rc::clone(&slot);
        let pod = Pod::start("a", move |mut socket| {
            let kept = Rc::clone(&kept);
            async move {
                socket.read_request().await;
                socket.write(OK).await;
                *kept.borrow_mut() = Some(socket);
            }
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let mut seen = 0;
        for _ in 0..100 {
            let mut client = proxy.client().await;
            client.send(GET).await;
            assert_eq!(client.answer().await.status, 200);
            let before = pod.accepted.get();
            // Nothing of the proxy's runs between these: this is one thread.
            let request = socket2::SockRef::from(&client.stream);
            (&*request).write_all(GET.as_bytes()).expect("sends");
            let socket = slot.borrow_mut().take().expect("answered before");
            if reset {
                socket.reset();
            } else {
                drop(socket);
            }
            let answer = client.answer().await;
            let info = answer.info();
            if answer.status == 200 {
                assert_eq!(pod.accepted.get(), before + 1, "it was noticed in time");
                continue;
            }
            assert_eq!((answer.status, info.error), (502, Some(error)));
            let served = info.connection.expect("a connection").served;
            assert!(served >= 1, "on a connection that had served");
            assert_eq!(pod.accepted.get(), before, "and not tried again");
            seen += 1;
            slot.borrow_mut().take();
        }
        assert!(seen > 0, "the race was never lost");
    });
}

#[test]
fn a_kept_connection_that_is_closed_as_it_is_taken_is_an_eof() {
    race(false, HopError::Eof);
}

#[test]
fn a_kept_connection_that_is_reset_as_it_is_taken_is_a_reset() {
    race(true, HopError::Reset);
}

#[test]
fn the_most_recently_used_comes_first_and_the_oldest_goes_past_the_bound() {
    run(async {
        let gate = Rc::new(Notify::new());
        let opened = Rc::clone(&gate);
        let pod = Pod::start("a", move |mut socket| {
            let opened = Rc::clone(&opened);
            async move {
                while socket.read_request().await {
                    opened.notified().await;
                    socket.write(OK).await;
                }
            }
        })
        .await;
        let mut config = config();
        config.max_idle = 2;
        let mut proxy = Proxy::before(config, &[&pod]).await;
        let mut clients = Vec::new();
        for count in 1..=3 {
            let mut client = proxy.client().await;
            client.send(GET).await;
            while pod.heads.borrow().len() < count {
                tokio::task::yield_now().await;
            }
            clients.push(client);
        }
        let mut conns = Vec::new();
        for client in &mut clients {
            gate.notify_one();
            conns.push(client.answer().await.info().connection.expect("one").conn);
        }
        gate.notify_one();
        let next = proxy.ask(GET).await.info().connection.expect("a connection");
        assert_eq!(next.conn, conns[2], "the last one used");
        assert_eq!(pod.accepted.get(), 3);
        proxy
            .next_report(|report| {
                matches!(report, Report::Stats(stats)
                    if stats.open_upstream == 2 && stats.reused == 1 && stats.connects == 3)
            })
            .await;
    });
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    run(async {
        let closed = Rc::new(Notify::new());
        let notify = Rc::clone(&closed);
        let pod = Pod::start("a", move |mut socket| {
            let notify = Rc::clone(&notify);
            async move {
                socket.read_request().await;
                socket.write(OK).await;
                socket.wait_for_close().await;
                notify.notify_one();
            }
        })
        .await;
        let mut config = config();
        config.idle_timeout = Duration::from_millis(20);
        let proxy = Proxy::before(config, &[&pod]).await;
        assert_eq!(proxy.ask(GET).await.status, 200);
        within(closed.notified()).await;
        assert_eq!(proxy.ask(GET).await.status, 200);
        assert_eq!(pod.accepted.get(), 2);
    });
}
