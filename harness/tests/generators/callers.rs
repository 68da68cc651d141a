//! Callers that are not the harness, and agents that are none.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use highwater::generator::What;
use highwater_model::outcome::Outcome;

use serde_json::{Value, json};

use super::kit::{PATIENCE, Pod, Run, Server, Way, scenario};

/// Says something to an agent; the line that it answers.
fn call(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may hang up before it has read all.
    let _ = stream.write_all(bytes);
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    line
}

#[tokio::test]
async fn whoever_is_not_its_harness_is_refused_with_the_reason_and_disturbs_nothing() {
    let server = Server::start();
    let pod = Pod::start(&[]);
    let hello = |version: u32, kind: &str, resumes: bool, received: u64| {
        format!(
            "{{\"hello\":{{\"version\":{version},\"kind\":\"{kind}\",\"token\":\"other\",\
             \"resumes\":{resumes},\"received\":{received}}}}}\n"
        )
        .into_bytes()
    };
    let endless = vec![b'x'; (16 << 20) + 10];
    let rows: [(&[u8], &str); 8] = [
        (&hello(2, "generator", false, 0), "speaks version 1 of the protocol, the other side 2"),
        (&hello(1, "proxy", false, 0), "is a generator, and a `proxy` was expected"),
        (&hello(1, "generator", true, 0), "a new one"),
        (&hello(1, "generator", false, 4), "never sent"),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", "`GET / HTTP/1.1` is not understood"),
        (b"\x16\x03\x01\n", "is not understood"),
        (b"{}\n", "is not understood"),
        (&endless, "is longer than"),
    ];
    for (bytes, reason) in rows {
        let answer = call(pod.address, bytes);
        assert!(answer.contains("refused") && answer.contains(reason), "{reason}: {answer}");
    }
    let way = Way::default();
    let mut run = Run::open(scenario(1), &server, vec![way.to(pod.address)]);
    run.start().await;
    // A second harness, in the middle of the run.
    let answer = call(pod.address, &hello(1, "generator", false, 0));
    assert!(answer.contains("another run's"), "{answer}");
    run.finish().await;
    assert_eq!(run.of(Outcome::Ok), run.owed());
    assert_eq!(run.counts(), run.planned());
    assert_eq!(run.count(|what| matches!(what, What::Cut { .. })), 0);
}

#[tokio::test]
async fn garbage_after_the_hello_ends_that_connection_only() {
    let hello = "{\"hello\":{\"version\":1,\"kind\":\"generator\",\"token\":\"t\"}}\n";
    let pod = Pod::start(&[]);
    for bytes in ["rubbish\n", "{\"order\":{\"n\":1,\"order\":{\"dance\":{}}}}\n", "[]\n"] {
        let mut stream = TcpStream::connect(pod.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{hello}{bytes}").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("{\"welcome\""), "{said}");
        assert!(said.contains("refused") && said.contains("is not understood"), "{said}");
    }
    for bytes in
        ["{\"order\":{\"n\":2,\"order\":{\"stop\":{}}}}\n", "{\"ack\":{\"seq\":9}}\n", hello]
    {
        let mut stream = TcpStream::connect(pod.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{hello}{bytes}").as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said.lines().count(), 1, "welcome, and then nothing: {said}");
    }
}

#[tokio::test]
async fn what_is_no_generator_is_lost_at_once_with_the_reason() {
    let server = Server::start();
    let welcome = |version: u32, taken: u64| {
        format!(
            "{{\"welcome\":{{\"version\":{version},\"who\":{{\"pod\":\"p\"}},\"taken\":{taken}}}}}\n"
        )
    };
    let rows: [(String, &str); 7] = [
        ("HTTP/1.1 400 Bad Request\r\n\r\n".into(), "`HTTP/1.1 400 Bad Request` is not understood"),
        (welcome(2, 0), "makes no sense"),
        (welcome(1, 3), "makes no sense"),
        ("{\"took\":{\"n\":0}}\n".into(), "before its welcome"),
        (welcome(1, 0) + "{\"item\":{\"seq\":5,\"item\":{\"lines\":[]}}}\n", "item 5 came after 0"),
        (welcome(1, 0) + "{\"item\":{\"seq\":1,\"item\":{\"lines\":[{}]}}}\n", "not understood"),
        ("x".repeat((16 << 20) + 10), "is longer than"),
    ];
    for (bytes, reason) in rows {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(bytes.as_bytes());
            // Until the harness hangs up.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let way = Way::default();
        let mut run = Run::open(scenario(1), &server, vec![way.to(address)]);
        run.until(|run| run.count(|what| matches!(what, What::Lost { .. })) == 1).await;
        let (_, what) = run.said.pop().unwrap();
        let What::Lost { reason: said, .. } = what else { panic!("{what:?}") };
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

/// A generator that is a script: it answers pings until the first order, and hangs up. On the next
/// connection it says that it has `taken` so many; the orders that it is then sent.
fn orders_after_a_cut(listener: &TcpListener, taken: u64) -> Vec<Value> {
    let mut lines = welcome_a_harness(listener, 0);
    let mut next = || -> (TcpStream, Value) {
        let stream = lines.get_ref().try_clone().unwrap();
        (stream, read(&mut lines))
    };
    loop {
        let (mut stream, frame) = next();
        if frame.get("order").is_some() {
            break;
        }
        let pong = json!({"pong": {"n": frame["ping"]["n"], "monoNs": 1, "wallNs": 1}});
        writeln!(stream, "{pong}").unwrap();
    }
    drop(lines);
    let mut lines = welcome_a_harness(listener, taken);
    let mut orders = Vec::new();
    loop {
        let frame = read(&mut lines);
        match frame.get("order") {
            Some(order) => orders.push(order["n"].clone()),
            // Orders that are sent again come first.
            None => return orders,
        }
    }
}

fn welcome_a_harness(listener: &TcpListener, taken: u64) -> BufReader<TcpStream> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    assert!(read(&mut lines).get("hello").is_some());
    let welcome = json!({"welcome": {"version": 1, "who": {"pod": "p"}, "taken": taken}});
    writeln!(stream, "{welcome}").unwrap();
    lines
}

fn read(lines: &mut BufReader<TcpStream>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[tokio::test]
async fn an_order_is_sent_again_after_a_cut_unless_it_was_taken() {
    let server = Server::start();
    for (taken, again) in [(0, vec![json!(1)]), (1, vec![])] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = tokio::task::spawn_blocking(move || orders_after_a_cut(&listener, taken));
        let way = Way::default();
        let _run = Run::open(scenario(1), &server, vec![way.to(address)]);
        let orders = tokio::time::timeout(PATIENCE, script).await.unwrap().unwrap();
        assert_eq!(orders, again, "taken: {taken}");
    }
}
