//! Clients that go or dawdle, and the proxy's own end.

use std::{rc::Rc, time::Duration};

use highwater_model::outcome::HopError;
use tokio::sync::Notify;

use super::testkit::{BodyEnd, GET, OK, Pod, Proxy, config, run, within};
use crate::proxy::{Ended, protocol::Report};

/// A pod that notes when the proxy leaves it without an answer.
async fn silent_pod(beginning: &'static str) -> (Pod, Rc<Notify>) {
    let left = Rc::new(Notify::new());
    let notify = Rc::clone(&left);
    let pod = Pod::start("a", move |mut socket| {
        let notify = Rc::clone(&notify);
        async move {
            socket.read_request().await;
            socket.write(beginning).await;
            socket.wait_for_close().await;
            notify.notify_one();
        }
    })
    .await;
    (pod, left)
}

#[test]
fn a_client_that_goes_is_reported_and_its_request_given_up() {
    for beginning in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
        run(async move {
            let (pod, left) = silent_pod(beginning).await;
            let mut proxy = Proxy::before(config(), &[&pod]).await;
            let mut client = proxy.client().await;
            client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: 123\r\n\r\n").await;
            while pod.heads.borrow().is_empty() {
                tokio::task::yield_now().await;
            }
            if !beginning.is_empty() {
                assert!(client.try_answer(false).await.is_some());
            }
            drop(client);
            let gone = proxy.next_report(|report| matches!(report, Report::ClientGone { .. }));
            let Report::ClientGone { request_id, info } = gone.await else {
                unreachable!("just matched");
            };
            assert_eq!((request_id, info.error), (Some(123), Some(HopError::ClientGone)));
            assert_eq!((info.pod.as_deref(), info.tries), (Some("a"), 1));
            assert!(info.connection.is_some() && info.end > info.start);
            within(left.notified()).await;
        });
    }
}

#[test]
fn a_client_that_goes_right_after_an_answer_of_our_own_may_not_have_read_it() {
    run(async {
        let mut proxy = Proxy::start(config()).await;
        // One that asks for more has read the answer.
        let mut client = proxy.client().await;
        for request_id in [1, 2] {
            client
                .send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {request_id}\r\n\r\n"))
                .await;
            assert_eq!(client.answer().await.info().error, Some(HopError::NoEndpoint));
        }
        drop(client);
        let gone = proxy.next_report(|report| matches!(report, Report::ClientGone { .. }));
        let Report::ClientGone { request_id, info } = gone.await else {
            unreachable!("just matched");
        };
        assert_eq!((request_id, info.error), (Some(2), Some(HopError::NoEndpoint)));
    });
}

#[test]
fn a_client_that_goes_within_its_upload_is_no_failure_of_the_pod() {
    run(async {
        let (pod, left) = silent_pod("").await;
        let mut proxy = Proxy::before(config(), &[&pod]).await;
        let mut client = proxy.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: 7\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
        while pod.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(client);
        let gone = proxy.next_report(|report| matches!(report, Report::ClientGone { .. }));
        assert!(matches!(gone.await, Report::ClientGone { request_id: Some(7), .. }));
        within(left.notified()).await;
    });
}

#[test]
fn slow_clients_are_cut_off() {
    run(async {
        let (pod, left) = silent_pod("").await;
        let mut config = config();
        config.client_timeout = Duration::from_millis(30);
        let mut proxy = Proxy::before(config, &[&pod]).await;
        let mut dawdler = proxy.client().await;
        dawdler.send("GET / HTTP/1.1\r\nHost:").await;
        assert!(within(dawdler.try_answer(true)).await.is_none(), "half a head");
        let mut silent = proxy.client().await;
        assert!(within(silent.try_answer(true)).await.is_none(), "no head");
        assert_eq!(pod.accepted.get(), 0);
        let mut uploader = proxy.client().await;
        uploader.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf").await;
        let answer = uploader.answer().await;
        assert_eq!((answer.status, answer.info().error), (408, Some(HopError::ClientGone)));
        within(left.notified()).await;
        proxy.next_report(|report| matches!(report, Report::ClientGone { .. })).await;
    });
}

#[test]
fn a_client_that_takes_nothing_of_its_response_is_cut_off() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            socket.read_request().await;
            socket.write("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n").await;
            socket.write(&"x".repeat(99_999_999)).await;
        })
        .await;
        let mut config = config();
        config.client_timeout = Duration::from_millis(100);
        let mut proxy = Proxy::before(config, &[&pod]).await;
        let mut client = proxy.client().await;
        client.send(GET).await;
        proxy.next_report(|report| matches!(report, Report::ClientGone { .. })).await;
        assert_ne!(client.answer().await.end, BodyEnd::Whole);
    });
}

#[test]
fn the_end_of_the_control_is_the_end() {
    run(async {
        let (pod, _) = silent_pod("").await;
        let mut proxy = Proxy::before(config(), &[&pod]).await;
        let mut client = proxy.client().await;
        client.send(GET).await;
        while pod.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        proxy.control.take();
        let ended = within(&mut proxy.task).await.expect("no panic").expect("no error");
        assert_eq!(ended, Ended::ControllerGone);
        assert!(client.try_answer(true).await.is_none(), "nothing is left of it");
    });
}

#[test]
fn a_stop_lets_requests_in_flight_end_and_takes_no_more() {
    run(async {
        let answer = Rc::new(Notify::new());
        let may_answer = Rc::clone(&answer);
        let pod = Pod::start("a", move |mut socket| {
            let may_answer = Rc::clone(&may_answer);
            async move {
                socket.read_request().await;
                may_answer.notified().await;
                socket.write(OK).await;
            }
        })
        .await;
        let mut proxy = Proxy::before(config(), &[&pod]).await;
        let mut idle = proxy.client().await;
        let mut client = proxy.client().await;
        client.send(GET).await;
        while pod.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        proxy.send_line(r#"{"stop":{}}"#).await;
        assert!(within(idle.try_answer(true)).await.is_none(), "idle ones are closed");
        assert!(tokio::net::TcpStream::connect(proxy.address).await.is_err());
        answer.notify_one();
        let last = client.answer().await;
        assert_eq!((last.status, last.header("connection")), (200, Some("close")));
        proxy
            .next_report(|report| {
                matches!(report, Report::Stats(stats)
                    if stats.requests == 1 && stats.open_downstream == 0)
            })
            .await;
        let ended = within(&mut proxy.task).await.expect("no panic").expect("no error");
        assert_eq!(ended, Ended::Stopped);
    });
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    run(async {
        let (pod, _) = silent_pod("").await;
        let mut config = config();
        config.stop_timeout = Duration::from_millis(30);
        let mut proxy = Proxy::before(config, &[&pod]).await;
        let mut client = proxy.client().await;
        client.send(GET).await;
        while pod.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        proxy.send_line(r#"{"stop":{}}"#).await;
        proxy.next_report(|report| matches!(report, Report::Error { .. })).await;
        let ended = within(&mut proxy.task).await.expect("no panic").expect("no error");
        assert_eq!(ended, Ended::Stopped);
    });
}

#[test]
fn a_thousand_requests_at_once_are_each_answered_once() {
    run(async {
        let pods = [Pod::answering("a", OK).await, Pod::answering("b", OK).await];
        let mut config = config();
        config.max_idle = 50;
        let mut proxy = Proxy::before(config, &[&pods[0], &pods[1]]).await;
        let mut clients = Vec::new();
        for _ in 0..250 {
            clients.push(proxy.client().await);
        }
        for round in 0..4 {
            for (index, client) in clients.iter_mut().enumerate() {
                let id = round * 1000 + index;
                client
                    .send(&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n"))
                    .await;
            }
            for client in &mut clients {
                assert_eq!(client.answer().await.status, 200);
            }
        }
        for pod in &pods {
            assert_eq!(pod.heads.borrow().len(), 500, "round robin, and no more");
        }
        let counts = proxy
            .next_report(|report| matches!(report, Report::Stats(stats) if stats.requests == 1000));
        let Report::Stats(stats) = counts.await else {
            unreachable!("just matched");
        };
        assert_eq!(stats.connects + stats.reused, 1000);
        assert!(stats.errors.is_empty() && stats.cpu_ns > 0);
        assert_eq!(stats.open_downstream, 250);
    });
}
