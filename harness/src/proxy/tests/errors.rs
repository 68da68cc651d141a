//! Each row of the truth table (facts 4.1) through the proxy: status, error, connection.

use std::{net::TcpListener, os::fd::AsFd, time::Duration};

use highwater_model::outcome::HopError;

use super::testkit::{BodyEnd, GET, OK, Pod, PodSocket, Proxy, config, run, within};
use crate::proxy::protocol::EndpointAddress;

/// What a pod does once it has a connection.
#[derive(Clone, Copy, Debug)]
enum Deed {
    CloseAfterReading,
    CloseUnread,
    Reset,
    HalfAHead,
    HalfAHeadThenReset,
    Garbage,
    SwitchProtocols,
    Silence,
}

async fn act(deed: Deed, mut socket: PodSocket) {
    if let Deed::CloseUnread = deed {
        socket.stream.readable().await.expect("readable");
        return;
    }
    assert!(socket.read_request().await);
    match deed {
        Deed::CloseAfterReading | Deed::CloseUnread => {}
        Deed::Reset => socket.reset(),
        Deed::HalfAHead => socket.write("HTTP/1.1 200 OK\r\nContent-").await,
        Deed::HalfAHeadThenReset => {
            socket.write("HTTP/1.1 200 OK\r\nContent-").await;
            socket.reset();
        }
        Deed::Garbage => {
            socket.write("220 mail.example ESMTP\r\n\r\n").await;
            socket.wait_for_close().await;
        }
        Deed::SwitchProtocols => {
            socket
                .write(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
                )
                .await;
            socket.wait_for_close().await;
        }
        Deed::Silence => socket.wait_for_close().await,
    }
}

#[test]
fn what_a_pod_does_before_its_response_is_named_and_never_tried_again() {
    let rows = [
        (Deed::CloseAfterReading, 502, HopError::Eof),
        (Deed::CloseUnread, 502, HopError::Reset),
        (Deed::Reset, 502, HopError::Reset),
        (Deed::HalfAHead, 502, HopError::Truncated),
        (Deed::Garbage, 502, HopError::BadResponse),
        (Deed::SwitchProtocols, 502, HopError::BadResponse),
        (Deed::Silence, 504, HopError::Timeout),
    ];
    for (deed, status, error) in rows {
        run(async move {
            let pod = Pod::start("v1-1", move |socket| act(deed, socket)).await;
            let mut config = config();
            if let Deed::Silence = deed {
                config.response_timeout = Duration::from_millis(30);
            }
            let proxy = Proxy::before(config, &[&pod]).await;
            let answer = proxy.ask(GET).await;
            let info = answer.info();
            assert_eq!((answer.status, info.error), (status, Some(error)), "{deed:?}");
            let connection = info.connection.expect("there was a connection");
            assert_eq!((connection.served, connection.idle), (0, 0), "{deed:?}");
            assert_eq!((info.tries, info.pod.as_deref()), (1, Some("v1-1")));
            assert!(connection.opened >= info.start && info.end >= connection.opened);
            assert_eq!(pod.accepted.get(), 1, "{deed:?}: no second try");
            assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
            let text = String::from_utf8(answer.body).expect("text");
            assert!(text.contains(error.name()), "{text}");
        });
    }
}

#[test]
fn the_same_on_a_connection_that_has_served_says_so() {
    let rows = [
        (Deed::CloseAfterReading, 502, HopError::Eof),
        (Deed::CloseUnread, 502, HopError::Reset),
        (Deed::Reset, 502, HopError::Reset),
        (Deed::Silence, 504, HopError::Timeout),
    ];
    for (deed, status, error) in rows {
        run(async move {
            let pod = Pod::start("v1-1", move |mut socket| async move {
                assert!(socket.read_request().await);
                socket.write(OK).await;
                act(deed, socket).await;
            })
            .await;
            let mut config = config();
            if let Deed::Silence = deed {
                config.response_timeout = Duration::from_millis(30);
            }
            let proxy = Proxy::before(config, &[&pod]).await;
            let first = proxy.ask(GET).await;
            assert_eq!((first.status, first.info().error), (200, None), "{deed:?}");
            let answer = proxy.ask(GET).await;
            let info = answer.info();
            assert_eq!((answer.status, info.error), (status, Some(error)), "{deed:?}");
            let connection = info.connection.expect("there was a connection");
            assert_eq!(connection.served, 1, "{deed:?}");
            assert!(connection.idle > 0 && connection.opened < info.start);
            assert_eq!(pod.accepted.get(), 1, "{deed:?}: no second try");
        });
    }
}

#[test]
fn a_reset_within_the_head_is_truncated_or_a_reset_as_the_kernel_has_it() {
    // The reset may overtake the bytes before it.
    run(async {
        let pod = Pod::start("a", |socket| act(Deed::HalfAHeadThenReset, socket)).await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let answer = proxy.ask(GET).await;
        assert_eq!(answer.status, 502);
        let error = answer.info().error.expect("an error");
        assert!([HopError::Truncated, HopError::Reset].contains(&error), "{error:?}");
    });
}

async fn ask_address(address: &str, connect_timeout: Duration) -> (u16, Option<HopError>, bool) {
    let mut config = config();
    config.connect_timeout = connect_timeout;
    let mut proxy = Proxy::start(config).await;
    let at = EndpointAddress { pod: "a".into(), address: address.parse().expect("an address") };
    proxy.view(0, 1, &[at]).await;
    let answer = proxy.ask(GET).await;
    let info = answer.info();
    (answer.status, info.error, info.connection.is_some())
}

#[test]
fn nothing_listens() {
    run(async {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address").to_string();
        drop(free);
        let met = ask_address(&address, config().connect_timeout).await;
        assert_eq!(met, (502, Some(HopError::ConnectRefused), true));
    });
}

#[test]
fn no_way_leads_there() {
    // TCP to a broadcast address: ENETUNREACH without leaving the machine.
    run(async {
        let met = ask_address("127.255.255.255:9", config().connect_timeout).await;
        assert_eq!(met, (502, Some(HopError::ConnectUnreachable), true));
    });
}

#[test]
fn the_accept_queue_is_full() {
    run(async {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&any.into()).expect("binds");
        socket.listen(0).expect("listens");
        let address = socket.local_addr().expect("an address");
        let address = address.as_socket().expect("an address");
        let filling: Vec<_> = (0..4)
            .map(|_| {
                let stream =
                    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
                        .expect("a socket");
                stream.set_nonblocking(true).expect("does not block");
                // EINPROGRESS is all that is wanted.
                let _ = stream.connect(&address.into());
                stream
            })
            .collect();
        let met = ask_address(&address.to_string(), Duration::from_millis(100)).await;
        assert_eq!(met, (504, Some(HopError::ConnectTimeout), true));
        drop(filling);
    });
}

#[test]
fn the_listener_closes_with_the_connection_in_its_queue() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let waiting = tokio::task::spawn_blocking(move || {
            use rustix::event::{PollFd, PollFlags, poll};
            let mut fds = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
            poll(&mut fds, None).expect("polls");
            drop(listener);
        });
        let met = ask_address(&address, config().connect_timeout).await;
        assert_eq!(met, (502, Some(HopError::Reset), true));
        waiting.await.expect("ends");
    });
}

#[test]
fn there_is_no_endpoint() {
    run(async {
        let proxy = Proxy::start(config()).await;
        let answer = proxy.ask(GET).await;
        let info = answer.info();
        assert_eq!((answer.status, info.error), (503, Some(HopError::NoEndpoint)));
        assert_eq!((info.pod, info.connection, info.tries), (None, None, 0));
    });
}

#[test]
fn a_death_within_the_body_is_a_truncated_body_at_the_client() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    // Head and end come at once here, and the head must still reach the client.
    const HEAD_ONLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    for (beginning, body, silence) in [
        (CHUNKED, "half", false),
        (LENGTH, "half", false),
        (HEAD_ONLY, "", false),
        (CHUNKED, "half", true),
        (LENGTH, "half", true),
        (HEAD_ONLY, "", true),
    ] {
        run(async move {
            let pod = Pod::start("a", move |mut socket| async move {
                socket.read_request().await;
                socket.write(beginning).await;
                if silence {
                    socket.wait_for_close().await;
                }
            })
            .await;
            let mut config = config();
            if silence {
                config.response_timeout = Duration::from_millis(30);
            }
            let mut proxy = Proxy::before(config, &[&pod]).await;
            let answer = proxy.ask(GET).await;
            assert_eq!((answer.status, answer.info().error), (200, None));
            assert_eq!(answer.body, body.as_bytes(), "what came before is passed on, and the head");
            assert_eq!(answer.end, BodyEnd::Cut, "{beginning:?} {silence}");
            let error = if silence { HopError::Timeout } else { HopError::Truncated };
            let counted = |report: &crate::proxy::protocol::Report| {
                matches!(report, crate::proxy::protocol::Report::Stats(stats)
                    if stats.errors.get(&error) == Some(&1))
            };
            within(proxy.next_report(counted)).await;
        });
    }
}

#[test]
fn a_response_that_ends_with_the_connection_is_reset_if_it_broke_off() {
    run(async {
        let pod = Pod::start("a", |mut socket| async move {
            socket.read_request().await;
            socket
                .write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                .await;
            if socket.index == 2 {
                socket.write("0\r\n\r\n").await;
            }
        })
        .await;
        let proxy = Proxy::before(config(), &[&pod]).await;
        let broken = proxy.ask("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!((broken.status, broken.end), (200, BodyEnd::Reset));
        let whole = proxy.ask("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!((whole.status, whole.end), (200, BodyEnd::Close));
        assert_eq!(whole.body, b"half");
    });
}
