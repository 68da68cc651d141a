//! The response header, written and read.

use highwater_model::{
    outcome::HopError,
    time::{Nanos, Timestamp},
};
use proptest::prelude::*;

use crate::proxy::header::{ParseError, UpstreamConnection, UpstreamInfo, format, parse};

fn full() -> UpstreamInfo {
    UpstreamInfo {
        worker: 1,
        tries: 1,
        pod: Some("v1-1".into()),
        connection: Some(UpstreamConnection { conn: 17, opened: 100, served: 3, idle: 40 }),
        start: 200,
        end: 300,
        error: Some(HopError::ConnectRefused),
    }
}

#[test]
fn the_form_is_that_of_the_contract() {
    assert_eq!(
        format(&full()),
        "worker=1;tries=1;pod=v1-1;conn=17;opened=100;served=3;idle=40;start=200;end=300;\
         error=connect-refused"
    );
    let none = UpstreamInfo {
        end: u64::MAX,
        error: Some(HopError::NoEndpoint),
        ..UpstreamInfo::default()
    };
    assert_eq!(
        format(&none),
        "worker=0;tries=0;start=0;end=18446744073709551615;error=no-endpoint"
    );
}

#[test]
fn what_is_not_ours_is_refused_with_the_reason() {
    let rows = [
        ("", ParseError::NotAField(String::new())),
        ("worker=0;tries=1;start=1", ParseError::Missing("end")),
        ("worker=0;tries=1;conn=1;start=1;end=1", ParseError::Missing("opened")),
        ("worker=0;worker=0", ParseError::Unexpected("worker".into())),
        ("colour=red", ParseError::Unexpected("colour".into())),
        ("worker=x", ParseError::BadValue { field: "worker".into(), value: "x".into() }),
        ("pod=%f", ParseError::BadValue { field: "pod".into(), value: "%f".into() }),
    ];
    for (value, error) in rows {
        assert_eq!(parse(value), Err(error), "{value}");
    }
}

#[test]
fn a_hop_counts_from_the_start_of_the_run() {
    let hop = full().to_hop(&crate::clock::RunClock::with_start(150));
    assert_eq!(hop.started, Timestamp(50));
    assert_eq!(hop.ended, Timestamp(150));
    let connection = hop.connection.expect("has one");
    assert_eq!(connection.opened, Timestamp::ZERO, "opened before the run");
    assert_eq!(connection.idle, Nanos(40), "a span has no start to count from");
    assert_eq!((hop.consumer, hop.tries, hop.pod.as_deref()), (1, 1, Some("v1-1")));
}

fn any_info() -> impl Strategy<Value = UpstreamInfo> {
    let connection = proptest::option::of(any::<(u64, u64, u64, u64)>());
    let error = proptest::option::of(proptest::sample::select(HopError::ALL));
    let pod = proptest::option::of(any::<String>());
    (any::<(u32, u32, u64, u64)>(), pod, connection, error).prop_map(
        |((worker, tries, start, end), pod, connection, error)| UpstreamInfo {
            worker,
            tries,
            pod,
            connection: connection.map(|(conn, opened, served, idle)| UpstreamConnection {
                conn,
                opened,
                served,
                idle,
            }),
            start,
            end,
            error,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(info in any_info()) {
        let text = format(&info);
        prop_assert!(text.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
        prop_assert_eq!(parse(&text), Ok(info));
    }

    #[test]
    fn no_value_makes_the_reader_panic(value in "[a-z0-9=;%-]{0,60}|.{0,60}") {
        let _ = parse(&value);
    }
}
