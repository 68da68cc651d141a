//! Heads and framing, both ways.

use highwater_model::outcome::HopError;

use super::testkit::{BodyEnd, GET, OK, Pod, Proxy, config, run};

#[test]
fn the_pod_gets_the_clients_head_without_what_belongs_to_one_hop() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let request = "GET /a?b=c HTTP/1.1\r\nHost: shop.example\r\nX-Request-Id: 42\r\n\
                       Connection: keep-alive, x-secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n\
                       X-Forwarded-For: 10.0.0.1\r\n\r\n";
        assert_eq!(proxy.ask(request).await.status, 200);
        let heads = pod.heads.borrow();
        let mut lines: Vec<_> = heads[0].trim_end().lines().collect();
        assert_eq!(lines.remove(0), "GET /a?b=c HTTP/1.1");
        lines.sort_unstable();
        let expected =
            ["host: shop.example", "x-forwarded-for: 10.0.0.1, 127.0.0.1", "x-request-id: 42"];
        assert_eq!(lines, expected);
    });
}

#[test]
fn the_client_gets_the_pods_response_as_it_is() {
    let rows = [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok"),
        ("HTTP/1.1 404 Not Here\r\nContent-Length: 4\r\nX-Mine: 1\r\n\r\ngone", 404, "gone"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            200,
            "ok",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", 304, ""),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", 503, ""),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-highwater-upstream: forged\r\n\r\nok",
            200,
            "ok",
        ),
    ];
    for (response, status, body) in rows {
        run(async move {
            let pod = Pod::answering("a", response).await;
            let proxy = Proxy::before(config(), &[&pod]).await;
            let mut client = proxy.client().await;
            for _ in 0..2 {
                client.send(GET).await;
                let answer = client.answer().await;
                assert_eq!(answer.status, status, "{response:?}");
                assert_eq!(answer.body, body.as_bytes());
                assert_eq!(answer.end, BodyEnd::Whole);
                assert_eq!(answer.info().error, None, "a pod's own 503 is no error of the hop");
                assert_eq!(answer.header("connection"), None);
            }
            assert_eq!(pod.accepted.get(), 1);
        });
    }
}

#[test]
fn a_response_that_ends_with_the_pods_connection_is_framed_anew() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            socket.read_request().await;
            socket.write("HTTP/1.1 200 OK\r\n\r\nall of it").await;
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let answer = proxy.ask(GET).await;
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert_eq!((answer.body.as_slice(), answer.end), (&b"all of it"[..], BodyEnd::Whole));
    });
}

#[test]
fn head_has_the_head_only() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        run(async move {
            let pod = Pod::answering("a", response).await;
            let proxy = Proxy::before(config(), &[&pod]).await;
            let mut client = proxy.client().await;
            for _ in 0..2 {
                client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
                let answer = client.try_answer(false).await.expect("an answer");
                assert_eq!(answer.status, 200);
                let length = response.contains("Length").then_some("5");
                assert_eq!(answer.header("content-length"), length, "{}", answer.head);
            }
        });
    }
}

#[test]
fn clients_may_ask_for_the_end_of_their_connection() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        // The request, what the answer says of the connection, and whether it stays.
        let rows = [
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Some("close"), false),
            ("GET / HTTP/1.0\r\n\r\n", None, false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Some("keep-alive"), true),
            (GET, None, true),
        ];
        for (request, told, stays) in rows {
            let mut client = proxy.client().await;
            client.send(request).await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.end), (200, BodyEnd::Whole), "{request:?}");
            assert_eq!(answer.header("connection"), told, "{request:?}");
            if stays {
                client.send(GET).await;
                assert_eq!(client.answer().await.status, 200);
            } else {
                assert!(client.try_answer(true).await.is_none(), "{request:?}");
            }
        }
        assert_eq!(pod.accepted.get(), 1, "which has nothing to do with the pod's connection");
        assert!(pod.heads.borrow()[1].contains("host: 127.0.0.1:"), "1.1 needs a host");
    });
}

#[test]
fn another_protocol_is_refused() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        ] {
            let answer = proxy.ask(request).await;
            assert_eq!((answer.status, answer.info().tries), (501, 0));
        }
        assert_eq!(pod.accepted.get(), 0);
    });
}

#[test]
fn bodies_of_requests_keep_their_framing() {
    let rows = [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwork",
            "content-length: 4",
            "work",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwork\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "4\r\nwork\r\n0\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwork\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "4\r\nwork\r\n0\r\n\r\n",
        ),
    ];
    for (request, framing, body) in rows {
        run(async move {
            let pod = Pod::start("a", move |mut socket| async move {
                while socket.read_request().await {
                    let got = socket.read_body_until(body.as_bytes()).await;
                    assert_eq!(got, body.as_bytes());
                    socket.write(OK).await;
                }
            })
            .await;
            let proxy = Proxy::before(config(), &[&pod]).await;
            let mut client = proxy.client().await;
            for _ in 0..2 {
                client.send(request).await;
                assert_eq!(client.answer().await.status, 200);
            }
            assert!(pod.heads.borrow()[0].contains(framing), "{}", pod.heads.borrow()[0]);
            assert_eq!(pod.accepted.get(), 1);
        });
    }
}

#[test]
fn a_client_that_waits_to_be_told_to_continue_is_told() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            socket.read_request().await;
            socket.read_body_until(b"work").await;
            socket.write(OK).await;
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let mut client = proxy.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            .await;
        let answer = client.try_answer(false).await.expect("an answer");
        assert_eq!(answer.status, 100);
        client.send("work").await;
        assert_eq!(client.answer().await.status, 200);
        assert!(!pod.heads.borrow()[0].contains("expect"));
    });
}

#[test]
fn heads_beyond_the_bounds_are_refused() {
    run(async {
        let pod = Pod::answering("a", OK).await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70 << 10));
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(200));
        for request in [long, many, "not http at all\r\n\r\n".into()] {
            let mut client = proxy.client().await;
            client.send(&request).await;
            let answer = client.try_answer(true).await;
            let status = answer.map(|answer| answer.status);
            assert!([None, Some(400), Some(431)].contains(&status), "{status:?}");
        }
        assert_eq!((proxy.ask(GET).await.status, pod.accepted.get()), (200, 1));
    });
}

#[test]
fn a_head_of_a_pod_beyond_the_bounds_is_a_bad_response() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            socket.read_request().await;
            socket.write("HTTP/1.1 200 OK\r\n").await;
            socket.write(&"X: 1\r\n".repeat(30_000)).await;
            socket.wait_for_close().await;
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let answer = proxy.ask(GET).await;
        assert_eq!((answer.status, answer.info().error), (502, Some(HopError::BadResponse)));
    });
}
