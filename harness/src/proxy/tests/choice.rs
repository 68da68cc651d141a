//! Which pod is chosen, and which is passed over.

use std::{cell::Cell, rc::Rc, time::Duration};

use highwater_model::{
    outcome::HopError,
    proxy::health::Limits,
    spec::{Balancing, Retry},
};
use tokio::sync::Notify;

use super::testkit::{GET, OK, Pod, Proxy, config, run, within};
use crate::proxy::{Config, protocol::Report};

/// A time-out that no test outlives.
const LONG: Duration = Duration::from_secs(3600);

fn watching(max_fails: u32, fail_timeout: Duration) -> Config {
    let fail_timeout = fail_timeout.as_nanos() as u64;
    Config { passive_health: Some(Limits { max_fails, fail_timeout }), ..config() }
}

/// A pod that closes each connection after its first request, until it is well.
async fn failing(name: &str) -> (Pod, Rc<Cell<bool>>) {
    let is_well = Rc::new(Cell::new(false));
    let well = Rc::clone(&is_well);
    let pod = Pod::start(name, move |mut socket| {
        let well = Rc::clone(&well);
        async move {
            while socket.read_request().await && well.get() {
                socket.write(OK).await;
            }
        }
    })
    .await;
    (pod, is_well)
}

fn is_about_health(report: &Report) -> bool {
    matches!(report, Report::Ejected { .. } | Report::Readmitted { .. })
}

#[test]
fn a_pod_that_failed_too_often_is_passed_over() {
    run(async {
        let (bad, _) = failing("bad").await;
        let good = Pod::answering("good", OK).await;
        let mut proxy = Proxy::before(watching(2, LONG), &[&bad, &good]).await;
        for expected in [502, 200, 502, 200, 200, 200, 200, 200] {
            assert_eq!(proxy.ask(GET).await.status, expected);
        }
        assert_eq!(bad.accepted.get(), 2);
        let told = proxy.next_report(is_about_health).await;
        let Report::Ejected { worker, pod, fails, mono_ns } = told else {
            panic!("expected an ejection, not {told:?}");
        };
        assert_eq!((worker, pod.as_str(), fails), (0, "bad", 2));
        assert!(mono_ns > 0);
    });
}

#[test]
fn with_retries_no_client_sees_a_pod_that_is_passed_over() {
    run(async {
        let (bad, _) = failing("bad").await;
        let good = Pod::answering("good", OK).await;
        let config = Config { retry: Retry::Idempotent, ..watching(1, LONG) };
        let proxy = Proxy::before(config, &[&bad, &good]).await;
        let mut tries = Vec::new();
        for _ in 0..6 {
            let answer = proxy.ask(GET).await;
            assert_eq!(answer.status, 200);
            tries.push(answer.info().tries);
        }
        assert_eq!(tries, [2, 1, 1, 1, 1, 1]);
    });
}

#[test]
fn a_pod_that_is_well_again_is_readmitted_by_the_request_that_tries_it() {
    run(async {
        let (bad, is_well) = failing("bad").await;
        let good = Pod::answering("good", OK).await;
        let mut proxy = Proxy::before(watching(1, Duration::from_millis(1)), &[&bad, &good]).await;
        assert_eq!(proxy.ask(GET).await.status, 502);
        assert!(matches!(proxy.next_report(is_about_health).await, Report::Ejected { .. }));
        is_well.set(true);
        let until_tried = async { while proxy.ask(GET).await.pod() != "bad" {} };
        within(until_tried).await;
        let told = proxy.next_report(is_about_health).await;
        assert!(matches!(told, Report::Readmitted { worker: 0, pod, .. } if pod == "bad"));
    });
}

#[test]
fn if_all_are_to_be_passed_over_none_is() {
    run(async {
        let (first, is_well) = failing("first").await;
        let (second, _) = failing("second").await;
        let proxy = Proxy::before(watching(1, LONG), &[&first, &second]).await;
        let mut pods = Vec::new();
        for _ in 0..4 {
            let answer = proxy.ask(GET).await;
            assert_eq!((answer.status, answer.info().error), (502, Some(HopError::Eof)));
            pods.push(answer.pod());
        }
        assert_eq!(pods, ["first", "second", "first", "second"]);
        is_well.set(true);
        assert_eq!(proxy.ask(GET).await.status, 200);
    });
}

#[test]
fn a_client_that_leaves_does_not_speak_against_the_pod() {
    run(async {
        let pod = Pod::start("slow", |mut socket| async move {
            socket.read_request().await;
            socket.wait_for_close().await;
        })
        .await;
        let mut proxy = Proxy::before(watching(1, LONG), &[&pod]).await;
        let mut client = proxy.client().await;
        client.send(GET).await;
        while pod.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(client);
        let told = |report: &Report| {
            is_about_health(report) || matches!(report, Report::ClientGone { .. })
        };
        assert!(matches!(proxy.next_report(told).await, Report::ClientGone { .. }));
    });
}

#[test]
fn the_pod_with_the_fewest_requests_is_next() {
    run(async {
        let gate = Rc::new(Notify::new());
        let opened = Rc::clone(&gate);
        let slow = Pod::start("slow", move |mut socket| {
            let opened = Rc::clone(&opened);
            async move {
                while socket.read_request().await {
                    // The head alone does not end a request.
                    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
                    opened.notified().await;
                    socket.write("ok").await;
                }
            }
        })
        .await;
        let quick = Pod::answering("quick", OK).await;
        let config = Config { balance: Balancing::LeastRequest, ..config() };
        let proxy = Proxy::before(config, &[&slow, &quick]).await;
        let mut waiting = proxy.client().await;
        waiting.send(GET).await;
        let head = waiting.try_answer(false).await.expect("a head");
        assert_eq!(head.pod(), "slow");
        for _ in 0..4 {
            assert_eq!(proxy.ask(GET).await.pod(), "quick");
        }
        gate.notify_one();
        let until_done = async { while proxy.ask(GET).await.pod() == "quick" {} };
        gate.notify_one();
        within(until_done).await;
    });
}

#[test]
fn what_is_drawn_is_the_seeds() {
    run(async {
        let mut orders = Vec::new();
        for balance_seed in [7, 7, 8] {
            let mut pods = Vec::new();
            for name in ["a", "b", "c"] {
                pods.push(Pod::answering(name, OK).await);
            }
            let config = Config { balance: Balancing::Random, balance_seed, ..config() };
            let proxy = Proxy::before(config, &pods.iter().collect::<Vec<_>>()).await;
            let mut client = proxy.client().await;
            let mut order = String::new();
            for _ in 0..40 {
                client.send(GET).await;
                order += &client.answer().await.pod();
            }
            orders.push(order);
        }
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
    });
}

#[test]
fn a_connection_is_closed_after_so_many_requests() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let proxy = Proxy::before(Config { max_requests: 2, ..config() }, &[&pod]).await;
        let mut client = proxy.client().await;
        let mut served = Vec::new();
        for _ in 0..5 {
            client.send(GET).await;
            let answer = client.answer().await;
            served.push(answer.info().connection.expect("a connection").served);
            assert_eq!(answer.header("connection"), None, "the client's is another matter");
        }
        assert_eq!((served, pod.accepted.get()), (vec![0, 1, 0, 1, 0], 3));
    });
}
