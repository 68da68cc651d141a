//! Views: each worker its own, from its next request on.

use std::{num::NonZeroU32, rc::Rc, slice::from_ref};

use tokio::sync::Notify;

use super::testkit::{Client, GET, OK, Pod, Proxy, config, run, within};

async fn pods_of(client: &mut Client, count: usize) -> String {
    let mut pods = String::new();
    for _ in 0..count {
        client.send(GET).await;
        pods += &client.answer().await.pod();
    }
    pods
}

#[test]
fn a_view_counts_for_the_next_request_of_its_worker_only() {
    run(async {
        let (a, b) = (Pod::answering("a", OK).await, Pod::answering("b", OK).await);
        let mut config = config();
        config.workers = NonZeroU32::new(2).expect("not zero");
        let mut proxy = Proxy::start(config).await;
        for worker in 0..2 {
            proxy.view(worker, 1, from_ref(&a.at)).await;
        }
        // Clients are dealt to the workers in turn.
        let mut clients = [proxy.client().await, proxy.client().await];
        for (worker, client) in clients.iter_mut().enumerate() {
            client.send(GET).await;
            let answer = client.answer().await;
            assert_eq!((answer.info().worker as usize, answer.pod()), (worker, "a".into()));
        }
        proxy.view(1, 2, from_ref(&b.at)).await;
        assert_eq!(pods_of(&mut clients[0], 3).await, "aaa");
        assert_eq!(pods_of(&mut clients[1], 3).await, "bbb");
        proxy.view(0, 2, &[a.at.clone(), b.at.clone()]).await;
        assert_eq!(pods_of(&mut clients[0], 4).await, "abab");
        proxy.view(1, 3, &[]).await;
        clients[1].send(GET).await;
        assert_eq!(clients[1].answer().await.status, 503);
        assert_eq!(pods_of(&mut clients[0], 2).await, "ab");
    });
}

#[test]
fn pools_are_each_workers_own() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let mut config = config();
        config.workers = NonZeroU32::new(2).expect("not zero");
        let mut proxy = Proxy::start(config).await;
        for worker in 0..2 {
            proxy.view(worker, 1, from_ref(&pod.at)).await;
        }
        let mut clients = [proxy.client().await, proxy.client().await];
        for _ in 0..3 {
            for client in &mut clients {
                assert_eq!(pods_of(client, 1).await, "a");
            }
        }
        assert_eq!(pod.accepted.get(), 2);
    });
}

#[test]
fn a_pod_out_of_the_view_loses_its_idle_connections_at_once_and_the_busy_ones_after() {
    run(async {
        let answer = Rc::new(Notify::new());
        let closed = Rc::new(Notify::new());
        let (may_answer, has_closed) = (Rc::clone(&answer), Rc::clone(&closed));
        let pod = Pod::start("a", move |mut socket| {
            let (may_answer, has_closed) = (Rc::clone(&may_answer), Rc::clone(&has_closed));
            async move {
                socket.read_request().await;
                if socket.index == 1 {
                    may_answer.notified().await;
                }
                socket.write(OK).await;
                socket.wait_for_close().await;
                has_closed.notify_one();
            }
        })
        .await;
        let mut proxy = Proxy::before(config(), &[&pod]).await;
        let mut slow = proxy.client().await;
        slow.send(GET).await;
        while pod.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(proxy.ask(GET).await.status, 200);
        proxy.view(0, 2, &[]).await;
        within(closed.notified()).await;
        // It comes back, and is another endpoint: what was in flight is not kept.
        proxy.view(0, 3, from_ref(&pod.at)).await;
        answer.notify_one();
        assert_eq!(slow.answer().await.status, 200, "in flight goes on");
        within(closed.notified()).await;
        assert_eq!(proxy.ask(GET).await.info().connection.expect("one").served, 0);
        assert_eq!(pod.accepted.get(), 3);
    });
}

#[test]
fn what_the_control_gets_wrong_is_reported_and_passed_over() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let mut proxy = Proxy::before(config(), &[&pod]).await;
        for line in [
            "rubbish",
            r#"{"view":{"worker":7,"version":2,"endpoints":[]}}"#,
            r#"{"view":{"worker":0,"version":2,"endpoints":[{"pod":"a","address":"nowhere"}]}}"#,
        ] {
            proxy.send_line(line).await;
            proxy
                .next_report(|report| {
                    matches!(report, crate::proxy::protocol::Report::Error { .. })
                })
                .await;
            assert_eq!(proxy.ask(GET).await.status, 200, "the view stays as it was");
        }
    });
}
