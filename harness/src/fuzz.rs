//! What reads bytes of others, as functions of bytes: for fuzzers, and for the tests that replay
//! their corpus (`fuzz/`). Each returns whatever the bytes are; a panic is a fault of ours.
//!
//! A new parser gets a function and a row in [`TARGETS`], a file in `fuzz/fuzz_targets`, and some
//! seeds in `fuzz/corpus`.

use std::path::Path;

use futures_util::FutureExt as _;
use highwater_model::{
    load::Profile,
    time::{Nanos, Timestamp},
};

use crate::{
    agent::{
        frame,
        protocol::{FromAgent, ToAgent},
    },
    analyze,
    backend::{
        kube::observe::{News, Observer, Seen, Target, time::Anchor},
        local::shim,
    },
    clock::RunClock,
    generator::{Order, Word},
    import, lint,
    load::response::{Parser, Progress},
    proxy::{header, protocol},
    record, report, scenario,
};

/// A function of bytes.
pub type Entry = fn(&[u8]);

/// Every target, by the name that it has in `fuzz/`.
pub const TARGETS: &[(&str, Entry)] = &[
    ("scenario", scenario),
    ("record", record),
    ("response", response),
    ("hop", hop),
    ("lines", lines),
    ("frames", frames),
    ("lint", lint),
    ("import", import),
];

/// A scenario file: what is refused is refused with a text, and what is taken has a profile.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let origin = scenario::Origin::File("fuzz.yaml".into());
    match scenario::load_text(text.into(), origin, &scenario::Overrides::default()) {
        Ok(loaded) => {
            let profile = Profile::new(&loaded.scenario.traffic);
            assert!(profile.is_ok(), "a scenario that is taken has traffic that can be made");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "says why"),
    }
}

/// A record, through analysis to every report.
pub fn record(bytes: &[u8]) {
    let Ok(record) = record::read_from(bytes, Path::new("record.jsonl")) else { return };
    let Ok(analysis) = analyze::analyze(&record) else { return };
    let _ = report::text::render(&analysis);
    let _ = report::markdown::render(&analysis);
    let _ = report::html::render(&analysis, None, &report::RenderOptions::default());
    let _ = crate::run::summary_json(&analysis);
}

/// An HTTP answer: read at once and in pieces it comes to the same.
pub fn response(bytes: &[u8]) {
    for is_head in [false, true] {
        let whole = answer(bytes, bytes.len().max(1), is_head);
        for step in [1, 7, 300] {
            // Byte by byte a head is looked at as often as it has bytes: long ones take long.
            if bytes.len() / step <= 4_096 {
                assert_eq!(answer(bytes, step, is_head), whole, "in pieces of {step}");
            }
        }
    }
}

/// What an answer comes to: its end, its status and the bytes of its body; `None` if it is none.
fn answer(bytes: &[u8], step: usize, is_head: bool) -> Option<(Option<usize>, u16, u64)> {
    let mut parser = Parser::default();
    parser.reset(is_head);
    let mut at = 0;
    for piece in bytes.chunks(step) {
        match parser.feed(piece, Some(b"expected")) {
            Ok(Progress::Partial) => at += piece.len(),
            Ok(Progress::Done(used)) => {
                assert!(used <= piece.len(), "an answer ends within what came");
                return Some((Some(at + used), parser.status, parser.body_bytes));
            }
            Err(_) => return None,
        }
    }
    Some((None, parser.status, parser.body_bytes))
}

/// The header by which the proxy tells of a hop: what is read is written again as the same.
pub fn hop(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(info) = header::parse(text) {
        let _ = info.to_hop(&RunClock::with_start(-1));
        let _ = info.to_hop(&RunClock::with_start(i64::MAX));
        assert_eq!(header::parse(&header::format(&info)), Ok(info));
    }
}

/// Lines that processes print: shim, proxy (its orders too) and target.
pub fn lines(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut observer = Observer::new(Target { tells: true, ..target() }, Anchor::default());
    let mut told = Vec::new();
    let pods = serde_json::from_str(POD).map(|pod| Seen::All { objects: vec![pod], since: None });
    observer.take(Timestamp(1), &News::Pods(pods.expect("the pod is one")), &mut told);
    for (number, line) in text.lines().enumerate() {
        if let Some(news) = shim::News::parse(line) {
            assert_eq!(shim::News::parse(&news.line()), Some(news));
        }
        if let Ok(said) = serde_json::from_str::<protocol::Report>(line) {
            let _ = said.into_event(&RunClock::with_start(0));
        }
        let _ = serde_json::from_str::<protocol::Control>(line);
        let news = News::Line { pod: "web-1".into(), line: line.into() };
        observer.take(Timestamp(number as u64 * 1_000_000), &news, &mut told);
    }
    observer.finish(Timestamp(u64::MAX / 2), &mut told);
}

fn target() -> Target {
    Target { deployment: "web".into(), service: "web".into(), ..Target::default() }
}

/// A pod of the target whose container runs.
const POD: &str = r#"{"metadata": {"name": "web-1", "uid": "u", "creationTimestamp": "1970-01-01T00:00:00Z"},
    "spec": {"nodeName": "n", "containers": [{"name": "app"}]},
    "status": {"phase": "Running", "containerStatuses": [{"name": "app", "containerID": "c", "ready": true,
        "started": true, "restartCount": 0, "image": "i", "imageID": "i",
        "state": {"running": {"startedAt": "1970-01-01T00:00:00Z"}}}]}}"#;

/// What harness and generators say to each other: plans that are taken have a schedule.
pub fn frames(bytes: &[u8]) {
    let mut input = bytes;
    let mut line = Vec::new();
    // A slice is always ready, and each turn takes a line of it.
    while let Some(Ok(())) = frame::read_line(&mut input, &mut line).now_or_never() {
        if let Ok(ToAgent::Order { order: Order::Plan(plan), .. }) =
            frame::decode::<ToAgent<Order>>(&line)
            && plan.check().is_ok()
        {
            assert!(plan.schedule().is_ok(), "a plan that is taken can be carried out");
        }
        let _ = frame::decode::<FromAgent<Word>>(&line);
    }
}

/// Manifests: whatever they hold, the report has a place for each finding, in every form.
pub fn lint(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let args = lint::Args {
        files: Vec::new(),
        disable: Vec::new(),
        only: Vec::new(),
        level: lint::finding::Level::Note,
        format: lint::Format::Text,
        propagation: Some(Nanos::from_secs(5)),
        slowest: None,
        rate: "100/s".parse().ok(),
        explain: None,
    };
    let Ok(report) = lint::lint_text(text, &args) else { return };
    let is_placed = |finding: &lint::finding::Finding| finding.line > 0 && finding.column > 0;
    assert!(report.findings.iter().all(is_placed), "each finding has a place");
    for format in [lint::Format::Text, lint::Format::Json, lint::Format::Sarif] {
        let _ = lint::render(&report, format);
    }
}

/// Logs and results of others: what is taken is written, and no more.
pub fn import(bytes: &[u8]) {
    for into in [import::Into::Curve, import::Into::Trace] {
        let args = import::Args {
            files: Vec::new(),
            format: import::format::Format::Auto,
            into,
            resolution: Nanos::from_secs(1),
            out: None,
            time_field: None,
            method_field: None,
            path_field: None,
            rate_field: None,
            per: Nanos::from_secs(1),
            max_bad: 100,
            reorder: Nanos::from_secs(10),
            keep_query: true,
        };
        let mut out = Vec::new();
        let source = std::io::Cursor::new(bytes.to_vec());
        if let Ok(summary) = import::import_from(&args, source, &mut out) {
            let lines = out.iter().filter(|byte| **byte == b'\n').count() as u64;
            assert_eq!(lines, summary.rows + 1, "a line for each row, and the header");
        }
    }
}

#[cfg(test)]
mod tests;
