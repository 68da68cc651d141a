//! Large bodies: whole, and never more of them held than the sockets hold.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::testkit::{BodyEnd, GET, OK, Pod, Proxy, config, run};

const LARGE: usize = 10 << 20;
/// More than all sockets on the way can hold (at most 6 MiB in and 4 MiB out, twice).
const ENDLESS: usize = 96 << 20;
/// Without progress for so long, a writer counts as held back. Too short a time only makes the
/// test pass for less.
const STALL: Duration = Duration::from_millis(500);

fn pattern() -> Vec<u8> {
    (0..LARGE).map(|index| (index % 251) as u8).collect()
}

#[test]
fn ten_megabytes_come_through_both_ways() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            socket.read_request().await;
            let mut body = Vec::new();
            let mut rest = (&mut socket.stream).take(LARGE as u64);
            rest.read_to_end(&mut body).await.expect("reads");
            assert!(body == pattern(), "the upload is whole");
            socket.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n")).await;
            socket.stream.write_all(&body).await.expect("writes");
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let mut client = proxy.client().await;
        // The head goes by itself, so that the pod's reader of heads gets nothing of the body.
        client
            .send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"))
            .await;
        while pod.heads.borrow().is_empty() {
            tokio::task::yield_now().await;
        }
        client.stream.write_all(&pattern()).await.expect("sends");
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.end), (200, BodyEnd::Whole));
        assert!(answer.body == pattern(), "the download is whole");
    });
}

/// Writes chunks until nobody takes them any more; how much that was.
async fn write_until_held_back(mut to: impl AsyncWrite + Unpin) -> usize {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let mut written = 0;
    while written < ENDLESS {
        match tokio::time::timeout(STALL, to.write_all(chunk.as_bytes())).await {
            Ok(result) => result.expect("writes"),
            Err(_) => break,
        }
        written += chunk.len();
    }
    written
}

#[test]
fn a_client_that_does_not_read_holds_the_pod_back() {
    run(async {
        let (tell, told) = tokio::sync::oneshot::channel();
        let tell = std::cell::RefCell::new(Some(tell));
        let pod = Pod::start("a", move |mut socket| {
            let tell = tell.borrow_mut().take().expect("one connection");
            async move {
                socket.read_request().await;
                socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                tell.send(write_until_held_back(&mut socket.stream).await).expect("told");
                socket.wait_for_close().await;
            }
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let mut client = proxy.client().await;
        client.send(GET).await;
        assert!(told.await.expect("told") < ENDLESS);
    });
}

#[test]
fn a_pod_that_does_not_read_holds_the_client_back() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            socket.read_request().await;
            std::future::pending::<()>().await;
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        assert!(write_until_held_back(&mut client.stream).await < ENDLESS);
    });
}

#[test]
fn an_answer_before_the_end_of_the_upload_is_passed_on() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            socket.read_request().await;
            socket.write(OK).await;
            socket.wait_for_close().await;
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let mut client = proxy.client().await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nbeginning").await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.info().error), (200, None));
    });
}

#[test]
fn an_error_is_seen_even_if_the_upload_was_not_wanted() {
    // Closing with bytes unread would reset the connection and may destroy the answer.
    run(async {
        let mut proxy = Proxy::start(config()).await;
        proxy.view(0, 1, &[]).await;
        let mut client = proxy.client().await;
        client
            .send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"))
            .await;
        client.stream.write_all(&vec![b'x'; 1 << 20]).await.expect("sends");
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.end), (503, BodyEnd::Whole));
    });
}
